//! Virtual keys: `clv_` + type + accessor + secret + checksum.
//!
//! All parts have a fixed length and come from base 62, so that secret scanners find a key by
//! `clv_[a-z][0-9A-Za-z]{44}` and a typo is refused by its checksum without a look-up.

use std::fmt;

/// What every key starts with.
pub const PREFIX: &str = "clv_";
/// Length of the accessor: 62^10 is about 2^59, enough to be unique in a vault.
pub const ACCESSOR_LEN: usize = 10;
/// Length of the secret: 62^28 is about 2^166.
pub const SECRET_LEN: usize = 28;
/// Length of the checksum: 62^6 holds a CRC-32.
pub const CHECKSUM_LEN: usize = 6;
/// Random bytes that one key takes.
pub const RANDOM_BYTES: usize = (ACCESSOR_LEN + SECRET_LEN) * 8;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Given to a person or a service.
    Standing,
    /// Bound to one run of an agent.
    Run,
}

impl KeyKind {
    const fn letter(self) -> char {
        match self {
            Self::Standing => 'k',
            Self::Run => 'r',
        }
    }
}

/// The public part of a key: its id in lists, logs and commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Accessor([u8; ACCESSOR_LEN]);

impl Accessor {
    /// The accessor as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Accessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Accessor {
    type Err = crate::id::InvalidId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match <[u8; ACCESSOR_LEN]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_alphanumeric) => Ok(Self(bytes)),
            _ => Err(crate::id::InvalidId {
                what: "key id",
                text: text.chars().take(64).collect(),
                why: "10 letters and digits are expected",
            }),
        }
    }
}

/// A key as a client presents it, its checksum verified. Borrowed from the request: it cannot be kept.
pub struct Presented<'a> {
    /// What it is for.
    pub kind: KeyKind,
    /// Its public part.
    pub accessor: Accessor,
    /// The whole text, whose keyed digest is compared.
    text: &'a str,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({})", self.accessor)
    }
}

impl<'a> Presented<'a> {
    /// Reads a key. `None` for anything that is not one: wrong prefix, length, letters or checksum.
    pub fn read(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        if rest.len() != 1 + ACCESSOR_LEN + SECRET_LEN + CHECKSUM_LEN || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let (body, sum) = text.split_at_checked(text.len() - CHECKSUM_LEN)?;
        if sum.as_bytes() != checksum(body.as_bytes()) {
            return None;
        }
        let kind = [KeyKind::Standing, KeyKind::Run].into_iter().find(|kind| rest.starts_with(kind.letter()))?;
        let accessor = rest.as_bytes().get(1..=ACCESSOR_LEN)?.try_into().ok()?;
        Some(Self { kind, accessor: Accessor(accessor), text })
    }

    /// The whole text, to be hashed.
    pub fn expose(&self) -> &'a str {
        self.text
    }
}

/// Writes a new key from random bytes.
pub fn compose(kind: KeyKind, random: &[u8; RANDOM_BYTES]) -> (Accessor, crate::secret::SecretText) {
    let mut text = String::with_capacity(PREFIX.len() + 1 + ACCESSOR_LEN + SECRET_LEN + CHECKSUM_LEN);
    text.push_str(PREFIX);
    text.push(kind.letter());
    let mut accessor = [0_u8; ACCESSOR_LEN];
    for (position, chunk) in random.chunks_exact(8).enumerate() {
        // 64 random bits per letter: the bias of the remainder is below 2^-58.
        let word = chunk.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
        let letter = letter(word % 62);
        if let Some(slot) = accessor.get_mut(position) {
            *slot = letter;
        }
        text.push(char::from(letter));
    }
    let sum = checksum(text.as_bytes());
    text.extend(sum.iter().map(|byte| char::from(*byte)));
    (Accessor(accessor), crate::secret::SecretText::new(text))
}

fn letter(index: u64) -> u8 {
    usize::try_from(index).ok().and_then(|index| ALPHABET.get(index)).copied().unwrap_or(b'0')
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = u64::from(crc32fast::hash(body));
    let mut sum = [b'0'; CHECKSUM_LEN];
    for slot in sum.iter_mut().rev() {
        *slot = letter(rest % 62);
        rest /= 62;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> String {
        let random = std::array::from_fn(|i| fill.wrapping_add(u8::try_from(i % 251).unwrap()));
        compose(KeyKind::Standing, &random).1.expose().to_owned()
    }

    #[test]
    fn a_key_reads_back_with_its_accessor() {
        let text = key(7);
        let presented = Presented::read(&text).unwrap();
        assert_eq!(presented.kind, KeyKind::Standing);
        assert_eq!(text.get(5..15), Some(presented.accessor.as_str()));
        assert_eq!(text.len(), 49);
    }

    #[test]
    fn any_single_typo_is_refused() {
        let text = key(9);
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'x' { b'y' } else { b'x' };
            assert!(Presented::read(std::str::from_utf8(&bytes).unwrap()).is_none(), "position {position}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_panic() {
        for text in ["", "clv_", "sk-ant-1", "clv_k", &"clv_kä".repeat(9), &format!("{}0", key(1))] {
            assert!(Presented::read(text).is_none(), "{text}");
        }
    }
}
