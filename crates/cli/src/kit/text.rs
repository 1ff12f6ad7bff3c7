//! What a recovery kit says, in lines that a person can read, copy and type.
//!
//! ```text
//! claviger recovery kit 1
//! # Whoever has this and the vault has every credential in it. …
//! vault: 32 hexadecimal digits
//! sealed-with: key_file | passphrase | keyring
//! made-at: 2026-01-02T03:04:05Z
//! secret: 64 hexadecimal digits
//! checksum: the first 16 hexadecimal digits of the SHA-256 of the lines above, comments left out, each with its line feed
//! ```

use crate::hex::{hex, unhex};
use claviger_admin::time_text;
use claviger_domain::time::Timestamp;
use claviger_store::{RootSecret, SealKind};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use zeroize::Zeroizing;

const FIRST_LINE: &str = "claviger recovery kit 1";
const COMMENT: &str = "\
# Whoever has this and the vault has every credential in it. Keep it apart from both the vault and its key.
# To use it: claviger seal rewrap --kit FILE --to keyfile
# It opens nothing any more once the vault is sealed anew; make another one then: claviger seal kit FILE";

/// Enough for the text, so that no copy of it is left behind by a buffer that grows.
const TEXT_CAPACITY: usize = 1024;

/// Bytes of the checksum: it finds slips of the pen, the encryption finds everything else.
const CHECKSUM_BYTES: usize = 8;

/// The content of a kit.
#[derive(Debug)]
pub struct KitText {
    /// The vault that it opens.
    pub vault_id: [u8; 16],
    /// What the vault was sealed with when it was made.
    pub sealed_with: SealKind,
    /// When it was made.
    pub made_at: Timestamp,
    /// What opens the vault.
    pub secret: RootSecret,
}

/// Why a text is no kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KitTextError {
    /// Something else, or a kit of a newer version.
    #[error("it holds no recovery kit that this program knows")]
    Unknown,
    /// A line is missing or malformed.
    #[error("its line {0:?} is missing or malformed")]
    Line(&'static str),
    /// A slip of the pen.
    #[error("its checksum does not fit: a letter was changed")]
    Checksum,
}

impl KitText {
    /// As text.
    pub fn write(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_CAPACITY));
        let lines = self.lines();
        let (head, rest) = lines.split_once('\n').expect("the text begins with a line of its own");
        write!(text, "{head}\n{COMMENT}\n{rest}checksum: {}\n", *hex(&checksum(&lines))).expect("writing to a String never fails");
        text
    }

    /// From text.
    pub fn read(text: &str) -> Result<Self, KitTextError> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        if lines.first() != Some(&FIRST_LINE) {
            return Err(KitTextError::Unknown);
        }
        let field = |name: &'static str| {
            let found = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(str::trim).ok_or(KitTextError::Line(name))
        };
        let kit = Self {
            vault_id: unhex(field("vault")?).map(|id| *id).ok_or(KitTextError::Line("vault"))?,
            sealed_with: kind(field("sealed-with")?).ok_or(KitTextError::Line("sealed-with"))?,
            made_at: time_text::parse(field("made-at")?).map_err(|_no_time| KitTextError::Line("made-at"))?,
            secret: unhex(field("secret")?).map(RootSecret::from_bytes).ok_or(KitTextError::Line("secret"))?,
        };
        let said = unhex::<CHECKSUM_BYTES>(field("checksum")?).ok_or(KitTextError::Line("checksum"))?;
        if *said == checksum(&kit.lines()) { Ok(kit) } else { Err(KitTextError::Checksum) }
    }

    /// The lines that the checksum is about.
    fn lines(&self) -> Zeroizing<String> {
        let Self { vault_id, sealed_with, made_at, secret } = self;
        let mut lines = Zeroizing::new(String::with_capacity(TEXT_CAPACITY));
        let made_at = time_text::format(*made_at);
        write!(lines, "{FIRST_LINE}\nvault: {}\nsealed-with: {}\nmade-at: {made_at}\nsecret: ", *hex(vault_id), sealed_with.as_str())
            .expect("writing to a String never fails");
        lines.push_str(&hex(secret.expose()));
        lines.push('\n');
        lines
    }
}

fn kind(word: &str) -> Option<SealKind> {
    [SealKind::KeyFile, SealKind::Passphrase, SealKind::Keyring].into_iter().find(|kind| kind.as_str() == word)
}

fn checksum(lines: &str) -> [u8; CHECKSUM_BYTES] {
    let mut check = [0; CHECKSUM_BYTES];
    for (slot, byte) in check.iter_mut().zip(Sha256::digest(lines)) {
        *slot = byte;
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit() -> KitText {
        KitText {
            vault_id: [0xab; 16],
            sealed_with: SealKind::KeyFile,
            made_at: Timestamp::from_secs(1_700_000_000),
            secret: RootSecret::from_bytes(Zeroizing::new([7; 32])),
        }
    }

    #[test]
    fn what_was_written_is_read_again_also_by_a_careless_copy() {
        let text = kit().write();
        assert_eq!(text.capacity(), TEXT_CAPACITY, "no copy is left behind");
        for copy in [text.to_string(), text.replace('\n', "\r\n"), text.replace("secret: ", "  secret:   ")] {
            let read = KitText::read(&copy).unwrap();
            assert_eq!((read.vault_id, read.sealed_with, read.made_at), ([0xab; 16], SealKind::KeyFile, kit().made_at));
            assert_eq!(read.secret.expose(), &[7; 32]);
        }
        let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(KitText::read(&without_comments.join("\n")).is_ok());
    }

    #[test]
    fn a_wrong_letter_is_found() {
        let text = kit().write();
        assert_eq!(KitText::read(&text.replacen("0707", "0708", 1)).unwrap_err(), KitTextError::Checksum);
        assert_eq!(KitText::read(&text.replacen("abab", "abac", 1)).unwrap_err(), KitTextError::Checksum);
        assert_eq!(KitText::read(&text.replacen("0707", "07", 1)).unwrap_err(), KitTextError::Line("secret"));
        assert_eq!(KitText::read(&text.replacen("kit 1", "kit 2", 1)).unwrap_err(), KitTextError::Unknown);
        assert_eq!(KitText::read(&text.replacen("checksum", "check", 1)).unwrap_err(), KitTextError::Line("checksum"));
        assert_eq!(KitText::read("").unwrap_err(), KitTextError::Unknown);
    }
}
