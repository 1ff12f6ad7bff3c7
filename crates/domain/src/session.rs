//! Sessions: which conversation a request belongs to, as a hash.

/// A conversation at one provider. Two requests with the same hash go to the same account while it can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionHash(pub u64);

impl SessionHash {
    /// Hashes the parts that name a session, each with its length, so that parts cannot run into each other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.digest())
    }
}

/// Mixes two words into one; the hash of rendezvous choice.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    // The finalizer of SplitMix64 (Steele, Lea, Flood 2014) over the sum with an odd constant.
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b).wrapping_add(0x6a09_e667_f3bc_c909);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(SessionHash::of(&[b"ab", b"c"]), SessionHash::of(&[b"a", b"bc"]));
        assert_eq!(SessionHash::of(&[b"ab"]), SessionHash::of(&[b"ab"]));
    }
}
