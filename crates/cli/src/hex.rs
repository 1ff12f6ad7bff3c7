//! Bytes as hexadecimal digits and back, in memory that is overwritten.

use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
    }
    text
}

/// Exactly so many bytes from hexadecimal digits.
pub fn unhex<const LEN: usize>(text: &str) -> Option<Zeroizing<[u8; LEN]>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != LEN || !rest.is_empty() {
        return None;
    }
    let mut bytes = Zeroizing::new([0; LEN]);
    for (slot, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *slot = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_many_digits_as_there_are_bytes_are_read() {
        assert_eq!(*unhex::<2>(&hex(&[0x0f, 0xa0])).unwrap(), [0x0f, 0xa0]);
        for bad in ["", "0f", "0fa", "0fag", "0fa000", "äöü"] {
            assert!(unhex::<2>(bad).is_none(), "{bad}");
        }
    }
}
