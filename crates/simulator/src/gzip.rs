//! A gzip bomb, written by hand: a compressor would be a dependency for one fault.

/// A gzip member (RFC 1952) that unpacks to `size_bytes` blanks, at about 1 byte for 158.
pub(crate) fn bomb(size_bytes: u64) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = Bits { out: &mut out, pending: 0, count: 0 };
    bits.push(0b011, 3); // the last block, fixed Huffman codes (RFC 1951 §3.2.6)
    let matches = size_bytes.saturating_sub(1) / 258;
    let literals = size_bytes - matches * 258;
    for _ in 0..literals {
        bits.push_code(0x30 + u32::from(b' '), 8);
    }
    for _ in 0..matches {
        bits.push_code(0b1100_0101, 8); // length 258
        bits.push_code(0, 5); // distance 1
    }
    bits.push_code(0, 7); // end of block
    bits.finish();
    let size_modulo = u32::try_from(size_bytes % (1 << 32)).unwrap_or_default();
    out.extend_from_slice(&checksum(size_bytes).to_le_bytes());
    out.extend_from_slice(&size_modulo.to_le_bytes());
    out
}

fn checksum(size_bytes: u64) -> u32 {
    let blanks = [b' '; 4096];
    let mut hasher = crc32fast::Hasher::new();
    let mut left = size_bytes;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(blanks.len());
        hasher.update(blanks.get(..step).unwrap_or(&blanks));
        left -= step as u64;
    }
    hasher.finalize()
}

/// Packs bits from the least significant end, as deflate does.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits<'_> {
    fn push(&mut self, value: u32, count: u32) {
        self.pending |= value << self.count;
        self.count += count;
        while self.count >= 8 {
            let [low, ..] = self.pending.to_le_bytes();
            self.out.push(low);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Huffman codes alone are packed from their most significant bit.
    fn push_code(&mut self, code: u32, count: u32) {
        self.push(code.reverse_bits() >> (32 - count), count);
    }

    fn finish(&mut self) {
        self.push(0, (8 - self.count % 8) % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blanks_pack_to_the_bytes_of_zlib() {
        // The deflate part is that of Python's zlib.compressobj(9, DEFLATED, -15, 8, Z_FIXED).
        let packed = bomb(2);
        assert_eq!(&packed[10..14], [0x53, 0x50, 0x00, 0x00]);
        assert_eq!(&packed[14..18], 0xef33_1695_u32.to_le_bytes());
        assert_eq!(&packed[packed.len() - 4..], 2_u32.to_le_bytes());
    }

    #[test]
    fn a_bomb_is_a_hundredth_of_what_it_unpacks_to() {
        assert!(bomb(10_000_000).len() < 100_000);
    }
}
