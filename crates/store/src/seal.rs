//! Sealing of fields: XChaCha20-Poly1305 under versioned data keys, bound to everything that a field belongs to.
//!
//! A sealed field is `format (1) | key version (4) | nonce (24) | ciphertext and tag | checksum (8)`. The checksum is keyed
//! and covers all bytes before it, so that damage (the checksum fails) and a field at the wrong place (the checksum
//! holds, the tag does not) are told apart.

use crate::{Fingerprint, RowFaultKind};
use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A 256-bit key that overwrites itself.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// The format of sealed fields that this program writes.
const FORMAT: u8 = 1;
pub(crate) const NONCE_LEN: usize = 24;
pub(crate) const TAG_LEN: usize = 16;
/// 64 bits: the checksum tells damage from a swap; the tag alone is what protects.
pub(crate) const CHECK_LEN: usize = 8;
const PREFIX_LEN: usize = 1 + 4;
/// How much longer a sealed field is than its text.
pub(crate) const SEAL_OVERHEAD_BYTES: usize = PREFIX_LEN + NONCE_LEN + TAG_LEN + CHECK_LEN;

/// What a sealed field belongs to. If any part differs when it is opened, it does not open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    /// The table.
    pub(crate) table: &'a str,
    /// The row's id.
    pub(crate) row: &'a str,
    /// The column.
    pub(crate) column: &'a str,
    /// The grant revision.
    pub(crate) revision: u64,
    /// The provider.
    pub(crate) provider: &'a str,
    /// The stored origins of the field's purpose, canonical.
    pub(crate) origins: &'a str,
}

impl Binding<'_> {
    fn associated_data(&self, key_version: u32) -> Vec<u8> {
        let Self { table, row, column, revision, provider, origins } = self;
        let parts: [&[u8]; 8] = [
            &[FORMAT],
            &key_version.to_be_bytes(),
            table.as_bytes(),
            row.as_bytes(),
            column.as_bytes(),
            &revision.to_be_bytes(),
            provider.as_bytes(),
            origins.as_bytes(),
        ];
        length_prefixed(&parts)
    }
}

/// Joins parts so that no two different lists give the same bytes.
pub(crate) fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// One version of the data key: what seals, and what checks.
struct DataKey {
    cipher: Key,
    check: Key,
}

impl DataKey {
    fn new(key: &Key) -> Self {
        Self {
            cipher: Zeroizing::new(blake3::derive_key("claviger vault field cipher v1", &**key)),
            check: Zeroizing::new(blake3::derive_key("claviger vault field checksum v1", &**key)),
        }
    }

    fn checksum(&self, bytes: &[u8]) -> [u8; CHECK_LEN] {
        first_bytes(blake3::keyed_hash(&self.check, bytes))
    }
}

/// The first bytes of a hash, as a checksum.
pub(crate) fn first_bytes(hash: blake3::Hash) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    for (slot, byte) in check.iter_mut().zip(hash.as_bytes()) {
        *slot = *byte;
    }
    check
}

/// The opened data keys of a vault. Printed as its name only.
pub(crate) struct Keyring {
    keys: BTreeMap<u32, DataKey>,
    fingerprint: Key,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// A keyring of data keys by version. The fingerprint key is random until [`Keyring::with_fingerprint_key`].
    pub(crate) fn new(keys: impl IntoIterator<Item = (u32, Key)>) -> Self {
        let keys = keys.into_iter().map(|(version, key)| (version, DataKey::new(&key))).collect();
        Self { keys, fingerprint: Zeroizing::new(claviger_runtime::random_bytes()) }
    }

    /// The same keyring with the vault's own key for fingerprints.
    pub(crate) fn with_fingerprint_key(self, fingerprint: Key) -> Self {
        Self { fingerprint, ..self }
    }

    /// The same keyring with the key for fingerprints of an older one, which a vault never changes.
    pub(crate) fn with_fingerprint_key_of(self, older: &Self) -> Self {
        Self { fingerprint: older.fingerprint.clone(), ..self }
    }

    /// The version that seals.
    pub(crate) fn newest(&self) -> u32 {
        *self.keys.last_key_value().expect("a keyring is made of at least one data key").0
    }

    /// The keyed hash of a secret; constant for a vault, whatever becomes of its data keys.
    pub(crate) fn fingerprint(&self, secret: &str) -> Fingerprint {
        Fingerprint(*blake3::keyed_hash(&self.fingerprint, secret.as_bytes()).as_bytes())
    }

    /// Seals a text under the newest data key.
    pub(crate) fn seal(&self, binding: &Binding<'_>, plain: &[u8]) -> Vec<u8> {
        let (version, key) = self.keys.last_key_value().expect("a keyring is made of at least one data key");
        let nonce = claviger_runtime::random_bytes::<NONCE_LEN>();
        let mut sealed = Vec::with_capacity(plain.len() + SEAL_OVERHEAD_BYTES);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&version.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        encrypt(&key.cipher, &nonce, &binding.associated_data(*version), plain, &mut sealed);
        let check = key.checksum(&sealed);
        sealed.extend_from_slice(&check);
        sealed
    }

    /// Opens a field at the place that it says it belongs to.
    pub(crate) fn open(&self, binding: &Binding<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, RowFaultKind> {
        let (body, check) = sealed.split_last_chunk::<CHECK_LEN>().ok_or(RowFaultKind::Damaged)?;
        let (format, rest) = body.split_first().ok_or(RowFaultKind::Damaged)?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or(RowFaultKind::Damaged)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(RowFaultKind::Damaged)?;
        if *format != FORMAT {
            return Err(RowFaultKind::Damaged);
        }
        let version = u32::from_be_bytes(*version);
        let key = self.keys.get(&version).ok_or(RowFaultKind::UnknownKey)?;
        if key.checksum(body) != *check {
            return Err(RowFaultKind::Damaged);
        }
        decrypt(&key.cipher, nonce, &binding.associated_data(version), text).ok_or(RowFaultKind::Swapped)
    }
}

/// The version of the data key that sealed a field. `None` for what is no sealed field.
pub(crate) fn sealed_version(sealed: &[u8]) -> Option<u32> {
    let (format, rest) = sealed.split_first()?;
    let (version, _) = rest.split_first_chunk::<4>()?;
    (*format == FORMAT).then(|| u32::from_be_bytes(*version))
}

/// Appends ciphertext and tag to `out`. `out` never grows over its capacity if the caller left room, so that no copy of
/// the text stays behind.
pub(crate) fn encrypt(key: &Key, nonce: &[u8; NONCE_LEN], bound: &[u8], plain: &[u8], out: &mut Vec<u8>) {
    out.reserve_exact(plain.len() + TAG_LEN);
    let start = out.len();
    out.extend_from_slice(plain);
    let (_, text) = out.split_at_mut(start);
    let tag = XChaCha20Poly1305::new((&**key).into())
        .encrypt_inout_detached(&XNonce::from(*nonce), bound, text.into())
        .expect("a field is far shorter than the 256 GiB limit of the cipher");
    out.extend_from_slice(&tag);
}

/// Opens ciphertext and tag. `None` where key, nonce, bound data or text are not those of the sealing.
pub(crate) fn decrypt(key: &Key, nonce: &[u8; NONCE_LEN], bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (text, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut plain = Zeroizing::new(text.to_vec());
    XChaCha20Poly1305::new((&**key).into())
        .decrypt_inout_detached(&XNonce::from(*nonce), bound, plain.as_mut_slice().into(), &Tag::from(*tag))
        .is_ok()
        .then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Binding<'static> =
        Binding { table: "grants", row: "1", column: "access_token", revision: 1, provider: "p", origins: "builtin" };

    fn keyring() -> Keyring {
        Keyring::new([(1, Zeroizing::new([7; 32]))]).with_fingerprint_key(Zeroizing::new([8; 32]))
    }

    #[test]
    fn a_flip_of_any_byte_never_gives_a_plaintext() {
        let keyring = keyring();
        let sealed = keyring.seal(&PLACE, b"canary-at-1");
        assert_eq!(keyring.open(&PLACE, &sealed).unwrap().as_slice(), b"canary-at-1");
        for position in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[position] ^= 1 << bit;
                let kind = keyring.open(&PLACE, &damaged).unwrap_err();
                let version = (1..5).contains(&position);
                assert_eq!(kind, if version { RowFaultKind::UnknownKey } else { RowFaultKind::Damaged }, "byte {position}");
            }
        }
    }

    #[test]
    fn a_text_is_sealed_in_room_that_was_taken_for_it_before() {
        let sealed = keyring().seal(&PLACE, b"canary-at-1");
        assert_eq!(sealed.len(), b"canary-at-1".len() + SEAL_OVERHEAD_BYTES);
        assert_eq!(sealed.capacity(), sealed.len());
        let mut out = Vec::new();
        encrypt(&Zeroizing::new([7; 32]), &[0; NONCE_LEN], b"", b"canary-at-1", &mut out);
        assert_eq!(out.capacity(), out.len());
    }

    #[test]
    fn a_keyring_prints_its_name_and_nothing_of_its_keys() {
        assert_eq!(format!("{:?}", keyring()), "Keyring");
    }

    #[test]
    fn a_cut_or_lengthened_field_is_damaged() {
        let keyring = keyring();
        let sealed = keyring.seal(&PLACE, b"at-1");
        for length in 0..sealed.len() {
            assert_eq!(keyring.open(&PLACE, &sealed[..length]).unwrap_err(), RowFaultKind::Damaged, "length {length}");
        }
        let longer = [sealed.as_slice(), b"x"].concat();
        assert_eq!(keyring.open(&PLACE, &longer).unwrap_err(), RowFaultKind::Damaged);
    }

    #[test]
    fn a_field_opens_at_its_own_place_only() {
        let keyring = keyring();
        let sealed = keyring.seal(&PLACE, b"at-1");
        let elsewhere = [
            Binding { table: "spill", ..PLACE },
            Binding { row: "2", ..PLACE },
            Binding { column: "refresh_token", ..PLACE },
            Binding { revision: 2, ..PLACE },
            Binding { provider: "q", ..PLACE },
            Binding { origins: "explicit inference https://evil.example:443", ..PLACE },
            Binding { table: "grants1", row: "", ..PLACE },
        ];
        for place in elsewhere {
            assert_eq!(keyring.open(&place, &sealed).unwrap_err(), RowFaultKind::Swapped, "{place:?}");
        }
    }

    #[test]
    fn a_new_data_key_seals_and_the_old_one_still_opens() {
        let old = keyring().seal(&PLACE, b"at-1");
        let both = Keyring::new([(1, Zeroizing::new([7; 32])), (2, Zeroizing::new([9; 32]))]);
        assert_eq!(both.open(&PLACE, &old).unwrap().as_slice(), b"at-1");
        assert_eq!(keyring().open(&PLACE, &both.seal(&PLACE, b"at-1")).unwrap_err(), RowFaultKind::UnknownKey);
    }

    #[test]
    fn a_field_names_the_newest_key_that_sealed_it_and_other_bytes_name_none() {
        let both = Keyring::new([(1, Zeroizing::new([7; 32])), (7, Zeroizing::new([9; 32]))]);
        let sealed = both.seal(&PLACE, b"at-1");
        assert_eq!((both.newest(), keyring().newest()), (7, 1));
        assert_eq!((sealed_version(&sealed), sealed_version(&keyring().seal(&PLACE, b"at-1"))), (Some(7), Some(1)));
        assert_eq!((sealed_version(&[]), sealed_version(&sealed[..4])), (None, None));
        assert_eq!(sealed_version(&[&[FORMAT + 1], &sealed[1..]].concat()), None);
    }

    #[test]
    fn a_fingerprint_outlives_the_data_keys() {
        let other_keys = || Keyring::new([(2, Zeroizing::new([9; 32]))]);
        let fingerprint = keyring().fingerprint("rt-1");
        assert_eq!(other_keys().with_fingerprint_key(Zeroizing::new([8; 32])).fingerprint("rt-1"), fingerprint);
        assert_eq!(other_keys().with_fingerprint_key_of(&keyring()).fingerprint("rt-1"), fingerprint);
        assert_ne!(other_keys().fingerprint("rt-1"), fingerprint);
    }

    #[test]
    fn two_seals_of_one_text_differ_and_two_fingerprints_do_not() {
        let keyring = keyring();
        assert_ne!(keyring.seal(&PLACE, b"at-1"), keyring.seal(&PLACE, b"at-1"));
        assert_eq!(keyring.fingerprint("rt-1"), keyring.fingerprint("rt-1"));
        assert_ne!(keyring.fingerprint("rt-1"), keyring.fingerprint("rt-2"));
    }
}
