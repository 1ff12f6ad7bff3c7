//! The root key: where it comes from, and how it wraps the data keys.

use crate::seal::{CHECK_LEN, Key, NONCE_LEN, TAG_LEN, decrypt, encrypt, first_bytes, length_prefixed};
use crate::{StoreError, home};
use claviger_domain::secret::SecretText;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Most bytes of a key file: a comment line and 64 digits need 200.
pub const KEY_FILE_MAX_BYTES: u64 = 4096;
/// Most memory that a vault on disk may ask for; a hostile file must not exhaust the machine.
pub const KDF_MEMORY_MAX_KIB: u32 = 1024 * 1024;
/// Most passes that a vault on disk may ask for.
pub const KDF_PASSES_MAX: u32 = 16;
/// Most lanes that a vault on disk may ask for.
pub const KDF_LANES_MAX: u32 = 16;

const KEY_FILE_COMMENT: &str = "# Claviger root key. Whoever has this file and the vault has every credential in it.";
/// The format of wrapped keys that this program writes.
const FORMAT: u8 = 1;

/// What a vault is sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealKind {
    /// A file with 32 random bytes.
    KeyFile,
    /// A passphrase, stretched with Argon2id.
    Passphrase,
    /// 32 random bytes in the keyring of the operating system.
    Keyring,
}

impl SealKind {
    /// The word in the vault's header: `key_file`, `passphrase` or `keyring`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "key_file",
            Self::Passphrase => "passphrase",
            Self::Keyring => "keyring",
        }
    }

    /// How a sentence names it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::KeyFile => "key file",
            Self::Passphrase => "passphrase",
            Self::Keyring => "key in the keyring",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        [Self::KeyFile, Self::Passphrase, Self::Keyring].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What opens a vault.
#[derive(Debug)]
pub enum RootKey {
    /// A file with 32 random bytes, as [`root_key_file_create`] writes it.
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// A passphrase.
    Passphrase(SecretText),
    /// A key that the keyring of the operating system keeps.
    Keyring {
        /// The name of the keyring's entry.
        entry: String,
        /// What the entry holds.
        key: RootSecret,
    },
    /// What a recovery kit holds, as [`crate::SqliteStore::recovery_secret`] gave it: opens the vault whatever it is sealed
    /// with, until the seal is changed.
    Kit(RootSecret),
}

impl RootKey {
    /// What a vault can be sealed with by this key; `None` for a recovery kit, which opens and seals nothing anew.
    pub fn kind(&self) -> Option<SealKind> {
        match self {
            Self::KeyFile { .. } => Some(SealKind::KeyFile),
            Self::Passphrase(_) => Some(SealKind::Passphrase),
            Self::Keyring { .. } => Some(SealKind::Keyring),
            Self::Kit(_) => None,
        }
    }
}

/// 32 bytes that open a vault. Overwrites itself; printed as its name only.
#[derive(Clone)]
pub struct RootSecret(Key);

impl RootSecret {
    /// A new one, from the system's random source.
    pub fn generate() -> Self {
        Self(Zeroizing::new(claviger_runtime::random_bytes()))
    }

    /// From the bytes that [`RootSecret::expose`] gave.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The bytes, for whoever keeps them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootSecret")
    }
}

/// What a guess at the passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for KdfCost {
    /// 64 MiB, 3 passes, 4 lanes: the second recommendation of RFC 9106 §4.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl KdfCost {
    /// Whether the cost is one that this program is willing to pay.
    pub(crate) fn is_bearable(self) -> bool {
        self.memory_kib <= KDF_MEMORY_MAX_KIB && self.passes <= KDF_PASSES_MAX && self.lanes <= KDF_LANES_MAX
    }
}

/// Stretches a passphrase. `None` where Argon2 knows no such cost.
pub(crate) fn stretch(passphrase: &SecretText, salt: &[u8], cost: KdfCost) -> Option<RootSeal> {
    let params = argon2::Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon2.hash_password_into(passphrase.expose().as_bytes(), salt, &mut *key).ok()?;
    Some(RootSeal::new(&key))
}

/// Writes a new key file: 32 random bytes as digits under one comment line, mode 0600, synced.
///
/// The folder is made with mode 0700 where it is missing. Never overwrites ([`StoreError::Exists`]). Blocks.
pub fn root_key_file_create(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    home::folder_ensure(folder)?;
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_COMMENT.len() + 66));
    text.push_str(KEY_FILE_COMMENT);
    text.push('\n');
    for byte in Zeroizing::new(claviger_runtime::random_bytes::<32>()).iter() {
        write!(text, "{byte:02x}").expect("a String takes any text");
    }
    text.push('\n');
    let mut file = home::file_create(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(StoreError::io("writing the key", path))?;
    home::folder_sync(folder)
}

/// Reads a key file: regular, ours, closed to others, no symbolic link.
pub(crate) fn root_key_file_read(path: &Path) -> Result<RootSeal, StoreError> {
    let file = home::file_open(path)?;
    let mut text = Zeroizing::new(String::with_capacity(1024));
    file.take(KEY_FILE_MAX_BYTES).read_to_string(&mut text).map_err(StoreError::io("reading the key", path))?;
    let digits = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    match digits.and_then(key_from_digits) {
        Some(key) => Ok(RootSeal::new(&key)),
        None => Err(StoreError::Unsafe { path: path.to_owned(), why: "is no key file: 64 hexadecimal digits are expected".to_owned() }),
    }
}

fn key_from_digits(digits: &str) -> Option<Key> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let mut key = Zeroizing::new([0; 32]);
    if pairs.len() != key.len() || !rest.is_empty() {
        return None;
    }
    for (slot, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *slot = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

/// Why a wrapped key does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnwrapError {
    /// Its bytes were damaged.
    Damaged,
    /// It is whole, but was wrapped with another root key, or belongs to another place.
    WrongKey,
}

/// The root key, ready to wrap. Printed as its name only.
pub(crate) struct RootSeal(Key);

impl std::fmt::Debug for RootSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootSeal")
    }
}

impl RootSeal {
    /// From the root key itself.
    pub(crate) fn new(root: &[u8; 32]) -> Self {
        Self(Zeroizing::new(blake3::derive_key("claviger vault root wrap v1", root)))
    }

    /// From what a recovery kit holds.
    pub(crate) fn from_kit(secret: &RootSecret) -> Self {
        Self(secret.0.clone())
    }

    /// What a recovery kit holds.
    pub(crate) fn to_kit(&self) -> RootSecret {
        RootSecret(self.0.clone())
    }

    /// Wraps a key for one place. The checksum has no key, so that damage shows whatever root key is tried.
    pub(crate) fn wrap(&self, place: &[&[u8]], plain: &[u8]) -> Vec<u8> {
        let nonce = claviger_runtime::random_bytes::<NONCE_LEN>();
        let mut wrapped = Vec::with_capacity(1 + NONCE_LEN + plain.len() + TAG_LEN + CHECK_LEN);
        wrapped.push(FORMAT);
        wrapped.extend_from_slice(&nonce);
        encrypt(&self.0, &nonce, &length_prefixed(place), plain, &mut wrapped);
        let check = first_bytes(blake3::hash(&wrapped));
        wrapped.extend_from_slice(&check);
        wrapped
    }

    /// Opens what was wrapped for the same place.
    pub(crate) fn unwrap(&self, place: &[&[u8]], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let (body, check) = wrapped.split_last_chunk::<CHECK_LEN>().ok_or(UnwrapError::Damaged)?;
        if first_bytes(blake3::hash(body)) != *check {
            return Err(UnwrapError::Damaged);
        }
        let (format, rest) = body.split_first().ok_or(UnwrapError::Damaged)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(UnwrapError::Damaged)?;
        if *format != FORMAT {
            return Err(UnwrapError::Damaged);
        }
        decrypt(&self.0, nonce, &length_prefixed(place), text).ok_or(UnwrapError::WrongKey)
    }

    /// Opens a wrapped 256-bit key.
    pub(crate) fn unwrap_key(&self, place: &[&[u8]], wrapped: &[u8]) -> Result<Key, UnwrapError> {
        let plain = self.unwrap(place, wrapped)?;
        <[u8; 32]>::try_from(plain.as_slice()).map(Zeroizing::new).map_err(|_length| UnwrapError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_root_key_and_damage_are_told_apart() {
        let root = RootSeal::new(&Zeroizing::new([1; 32]));
        let other = RootSeal::new(&Zeroizing::new([2; 32]));
        let wrapped = root.wrap(&[b"data_keys", b"1"], &[9; 32]);
        assert_eq!(*root.unwrap_key(&[b"data_keys", b"1"], &wrapped).unwrap(), [9; 32]);
        assert_eq!(other.unwrap(&[b"data_keys", b"1"], &wrapped).unwrap_err(), UnwrapError::WrongKey);
        assert_eq!(root.unwrap(&[b"data_keys", b"2"], &wrapped).unwrap_err(), UnwrapError::WrongKey);
        for position in 0..wrapped.len() {
            let mut damaged = wrapped.clone();
            damaged[position] ^= 0x40;
            assert_eq!(root.unwrap(&[b"data_keys", b"1"], &damaged).unwrap_err(), UnwrapError::Damaged, "byte {position}");
        }
    }

    #[test]
    fn a_cost_from_a_hostile_file_is_not_paid() {
        let cost = KdfCost::default();
        assert!(cost.is_bearable());
        assert!(!KdfCost { memory_kib: 64 * 1024 * 1024, ..cost }.is_bearable());
        assert!(!KdfCost { passes: 1000, ..cost }.is_bearable());
        assert!(!KdfCost { lanes: 1000, ..cost }.is_bearable());
        assert!(
            stretch(&SecretText::new("canary-passphrase".to_owned()), &[0; 16], KdfCost { memory_kib: 0, passes: 0, lanes: 0 }).is_none()
        );
    }

    #[test]
    fn only_64_digits_are_a_key() {
        assert!(key_from_digits(&"0f".repeat(32)).is_some_and(|key| *key == [0x0f; 32]));
        for bad in ["", "0f", &"0g".repeat(32), &"0".repeat(63), &"0f".repeat(33), &"ä".repeat(32)] {
            assert!(key_from_digits(bad).is_none(), "{bad}");
        }
    }
}
