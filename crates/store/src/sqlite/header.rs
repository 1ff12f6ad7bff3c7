//! The vault's header: what it is sealed with, and the keys that the root key wraps.

use super::adopt::OpenKeys;
use super::cells::Cells;
use super::fault::Fault;
use crate::home::VaultHome;
use crate::locks::SealMark;
use crate::root_key::{KdfCost, RootKey, RootSeal, SealKind, UnwrapError, root_key_file_read, stretch};
use crate::seal::{Binding, CHECK_LEN, Key, Keyring, first_bytes, length_prefixed};
use crate::{RowFault, RowFaultKind, SealInfo, StoreError, locks};
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, Transaction};
use zeroize::Zeroizing;

/// What the sentinel says when it is opened with the right root key.
const SENTINEL: &[u8] = b"claviger vault";
/// The first version of the data key.
const FIRST_KEY: u32 = 1;
/// 128 bits: enough that no two vaults share a salt.
const SALT_LEN: usize = 16;

/// The purpose of the key under which virtual keys are hashed.
pub(super) const VIRTUAL_KEY: &str = "virtual_key";
/// The purpose of the key under which secrets are fingerprinted.
const FINGERPRINT: &str = "fingerprint";

/// The one row of `meta`.
pub(super) struct Header {
    pub(super) vault_id: [u8; 16],
    pub(super) kind: SealKind,
    pub(super) keyring_entry: Option<String>,
    cost: KdfCost,
    salt: Vec<u8>,
    sentinel: Vec<u8>,
}

impl Header {
    /// The header of a vault that is to be sealed with a key; its sentinel is still missing.
    fn new(vault_id: [u8; 16], root: &RootKey, cost: KdfCost) -> Result<Self, StoreError> {
        let kind = root.kind().ok_or(StoreError::KitSealsNothing)?;
        if kind == SealKind::Passphrase && !cost.is_bearable() {
            return Err(fault("kdf_memory_kib").into());
        }
        let (cost, salt) = match kind {
            SealKind::KeyFile | SealKind::Keyring => (KdfCost { memory_kib: 0, passes: 0, lanes: 0 }, Vec::new()),
            SealKind::Passphrase => (cost, claviger_runtime::random_bytes::<SALT_LEN>().to_vec()),
        };
        let keyring_entry = match root {
            RootKey::Keyring { entry, .. } => Some(entry.clone()),
            RootKey::KeyFile { .. } | RootKey::Passphrase(_) | RootKey::Kit(_) => None,
        };
        Ok(Self { vault_id, kind, keyring_entry, cost, salt, sentinel: Vec::new() })
    }

    /// Reads the header; a damaged one is told apart from a wrong key by its checksum, which has no key.
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        connection.query_row_and_then("SELECT * FROM meta WHERE id = 1", [], |row| {
            let cells = Cells::new(row, "meta", &1);
            let header = Self {
                vault_id: cells.get("vault_id")?,
                kind: cells.read("seal_kind", |text: String| SealKind::from_text(&text))?,
                // The header is read before an older vault is migrated.
                keyring_entry: if cells.has("keyring_entry") { cells.get("keyring_entry")? } else { None },
                cost: KdfCost {
                    memory_kib: cells.get("kdf_memory_kib")?,
                    passes: cells.get("kdf_passes")?,
                    lanes: cells.get("kdf_lanes")?,
                },
                salt: cells.get("kdf_salt")?,
                sentinel: cells.get("sentinel")?,
            };
            if cells.get::<[u8; CHECK_LEN]>("checksum")? != header.checksum() {
                return Err(cells.fault("checksum", RowFaultKind::Damaged).into());
            }
            if header.kind == SealKind::Passphrase && !header.cost.is_bearable() {
                return Err(cells.fault("kdf_memory_kib", RowFaultKind::Malformed).into());
            }
            Ok(header)
        })
    }

    /// What may be known without any key.
    pub(super) fn info(self) -> SealInfo {
        SealInfo { kind: self.kind, keyring_entry: self.keyring_entry, vault_id: self.vault_id }
    }

    /// What a guess costs; `None` where there is nothing to guess.
    pub(super) fn guess_cost(&self) -> Option<KdfCost> {
        (self.kind == SealKind::Passphrase).then_some(self.cost)
    }

    fn insert(&self, transaction: &Transaction<'_>, now: Timestamp) -> Result<(), Fault> {
        let Self { vault_id, kind, keyring_entry, cost, salt, sentinel } = self;
        transaction.execute(
            "INSERT INTO meta (id, vault_id, created_at, seal_kind, kdf_memory_kib, kdf_passes, kdf_lanes, kdf_salt, sentinel, checksum) \
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            (vault_id, now.0, kind.as_str(), cost.memory_kib, cost.passes, cost.lanes, salt, sentinel, self.checksum()),
        )?;
        if let Some(entry) = keyring_entry {
            transaction.execute("UPDATE meta SET keyring_entry = ?1 WHERE id = 1", [entry])?;
        }
        Ok(())
    }

    /// Puts the seal of this header into the place of the one that is there.
    fn replace(&self, transaction: &Transaction<'_>, now: Timestamp) -> Result<(), Fault> {
        let Self { vault_id: _, kind, keyring_entry, cost, salt, sentinel } = self;
        transaction.execute(
            "UPDATE meta SET seal_kind = ?1, kdf_memory_kib = ?2, kdf_passes = ?3, kdf_lanes = ?4, kdf_salt = ?5, sentinel = ?6, checksum = ?7, \
             keyring_entry = ?8, seal_changed_at = ?9, kit_outdated = kit_made_at IS NOT NULL WHERE id = 1",
            (kind.as_str(), cost.memory_kib, cost.passes, cost.lanes, salt, sentinel, self.checksum(), keyring_entry, now.0),
        )?;
        Ok(())
    }

    fn checksum(&self) -> [u8; CHECK_LEN] {
        let Self { vault_id, kind, keyring_entry, cost, salt, sentinel } = self;
        let KdfCost { memory_kib, passes, lanes } = cost;
        let costs = [memory_kib.to_be_bytes(), passes.to_be_bytes(), lanes.to_be_bytes()].concat();
        let mut parts: Vec<&[u8]> = vec![vault_id, kind.as_str().as_bytes(), &costs, salt, sentinel];
        parts.extend(keyring_entry.as_deref().map(str::as_bytes));
        first_bytes(blake3::hash(&length_prefixed(&parts)))
    }

    /// The root key, ready to open this vault.
    fn root(&self, root: &RootKey, home: &VaultHome) -> Result<RootSeal, StoreError> {
        let sealed = |needs: String| StoreError::Sealed { path: home.database(), needs };
        match (self.kind, root) {
            (SealKind::KeyFile, RootKey::KeyFile { path }) => root_key_file_read(path).map_err(|error| match error {
                StoreError::Absent { path } => sealed(format!("its key file is not at {}", path.display())),
                other => other,
            }),
            (SealKind::Passphrase, RootKey::Passphrase(passphrase)) if passphrase.expose().is_empty() => {
                Err(sealed("the passphrase is empty".to_owned()))
            }
            (SealKind::Passphrase, RootKey::Passphrase(passphrase)) => {
                stretch(passphrase, &self.salt, self.cost).ok_or_else(|| fault("kdf_memory_kib").into())
            }
            (SealKind::Keyring, RootKey::Keyring { key, .. }) => Ok(RootSeal::new(key.expose())),
            (_, RootKey::Kit(secret)) => Ok(RootSeal::from_kit(secret)),
            (SealKind::KeyFile, RootKey::Passphrase(_)) => Err(sealed("it needs its key file, not a passphrase".to_owned())),
            (SealKind::Passphrase, RootKey::KeyFile { .. }) => Err(sealed("it needs its passphrase, not a key file".to_owned())),
            (SealKind::Keyring, _) => Err(sealed("it needs the key in the keyring".to_owned())),
            (_, RootKey::Keyring { .. }) => Err(sealed(format!("it needs its {}, not a key in the keyring", self.kind.words()))),
        }
    }

    /// Reads the header, which must still be the one that a seal opens.
    pub(super) fn read_sealed_with(connection: &Connection, home: &VaultHome, seal: &RootSeal) -> Result<Self, Fault> {
        let header = Self::read(connection)?;
        if header.is_sealed_with(seal)? { Ok(header) } else { Err(StoreError::SealChanged { path: home.database() }.into()) }
    }

    /// Names the seal among all that the vault ever had.
    pub(super) fn mark(&self) -> SealMark {
        SealMark(first_bytes(blake3::hash(&self.sentinel)))
    }

    /// Whether this seal opens the vault; a damaged sentinel is a fault.
    fn is_sealed_with(&self, seal: &RootSeal) -> Result<bool, RowFault> {
        match seal.unwrap(&self.sentinel_place(), &self.sentinel) {
            Ok(text) if text.as_slice() == SENTINEL => Ok(true),
            Err(UnwrapError::WrongKey) => Ok(false),
            Ok(_) | Err(UnwrapError::Damaged) => Err(RowFault { kind: RowFaultKind::Damaged, ..fault("sentinel") }),
        }
    }

    fn sentinel_place(&self) -> [&[u8]; 2] {
        [b"meta sentinel", &self.vault_id]
    }
}

fn fault(column: &'static str) -> RowFault {
    RowFault { table: "meta", row: "1".to_owned(), column, kind: RowFaultKind::Malformed }
}

fn data_key_place<'a>(vault_id: &'a [u8; 16], version: &'a [u8; 4]) -> [&'a [u8]; 3] {
    [b"data_keys wrapped", vault_id, version]
}

/// Where a key of keyed hashes is sealed.
pub(super) fn hash_key_binding(purpose: &str) -> Binding<'_> {
    Binding { table: "hash_keys", row: purpose, column: "sealed", revision: 0, provider: "", origins: "" }
}

/// Writes the header and the first keys of a new vault.
pub(super) fn create(
    transaction: &Transaction<'_>,
    home: &VaultHome,
    root: &RootKey,
    (cost, now): (KdfCost, Timestamp),
) -> Result<(), Fault> {
    let mut header = Header::new(claviger_runtime::random_bytes(), root, cost)?;
    let seal = header.root(root, home)?;
    header.sentinel = seal.wrap(&header.sentinel_place(), SENTINEL);
    header.insert(transaction, now)?;

    let key: Key = Zeroizing::new(claviger_runtime::random_bytes());
    let wrapped = seal.wrap(&data_key_place(&header.vault_id, &FIRST_KEY.to_be_bytes()), &*key);
    transaction.execute("INSERT INTO data_keys (version, wrapped, created_at) VALUES (?1, ?2, ?3)", (FIRST_KEY, wrapped, now.0))?;
    let keyring = Keyring::new([(FIRST_KEY, key)]);
    for purpose in [VIRTUAL_KEY, FINGERPRINT] {
        let sealed = keyring.seal(&hash_key_binding(purpose), &*Zeroizing::new(claviger_runtime::random_bytes::<32>()));
        transaction.execute("INSERT INTO hash_keys (purpose, sealed) VALUES (?1, ?2)", (purpose, sealed))?;
    }
    Ok(())
}

/// Opens the keys of a vault with its root key.
pub(super) fn open(connection: &Connection, home: &VaultHome, root: &RootKey) -> Result<(RootSeal, Keyring), Fault> {
    let header = Header::read(connection)?;
    let seal = header.root(root, home)?;
    if !header.is_sealed_with(&seal)? {
        return Err(StoreError::WrongKey { path: home.database() }.into());
    }
    let keyring = Keyring::new(data_keys(connection, &header, &seal)?);
    let fingerprint = hash_key(connection, &keyring, FINGERPRINT)?;
    Ok((seal, keyring.with_fingerprint_key(fingerprint)))
}

/// Whether a root key opens the vault.
pub(super) fn opens(connection: &Connection, home: &VaultHome, root: &RootKey) -> Result<bool, Fault> {
    let header = Header::read(connection)?;
    match header.root(root, home) {
        Ok(seal) => Ok(header.is_sealed_with(&seal)?),
        Err(StoreError::Sealed { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens the keys again, with the seal that opened them before.
pub(super) fn reopen(connection: &Connection, home: &VaultHome, seal: &RootSeal, older: &Keyring) -> Result<Keyring, Fault> {
    let header = Header::read_sealed_with(connection, home, seal)?;
    Ok(Keyring::new(data_keys(connection, &header, seal)?).with_fingerprint_key_of(older))
}

/// A seal that is to be put on a vault: made before the transaction, since a passphrase takes its time.
pub(super) struct NewSeal {
    header: Header,
    seal: RootSeal,
}

impl NewSeal {
    /// Reads the key file, or stretches the passphrase.
    pub(super) fn make(root: &RootKey, cost: KdfCost, home: &VaultHome) -> Result<Self, StoreError> {
        let header = Header::new([0; 16], root, cost)?;
        let seal = header.root(root, home)?;
        Ok(Self { header, seal })
    }
}

/// Wraps the sentinel and all data keys with another root key. Answers the seal that holds once this is committed, and its name.
///
/// A data key that is damaged stays as it is, since nothing opens it; the newest one must open.
pub(super) fn rewrap(transaction: &Transaction<'_>, keys: &OpenKeys, made: NewSeal, now: Timestamp) -> Result<(RootSeal, SealMark), Fault> {
    let NewSeal { mut header, seal } = made;
    let old = Header::read_sealed_with(transaction, keys.home(), keys.seal())?;
    header.vault_id = old.vault_id;
    header.sentinel = seal.wrap(&header.sentinel_place(), SENTINEL);
    for (version, key) in data_keys(transaction, &old, keys.seal())? {
        let wrapped = seal.wrap(&data_key_place(&header.vault_id, &version.to_be_bytes()), &*key);
        transaction.execute("UPDATE data_keys SET wrapped = ?2 WHERE version = ?1", (version, wrapped))?;
    }
    header.replace(transaction, now)?;
    Ok((seal, header.mark()))
}

/// Adds a data key above all others.
///
/// Errors: [`StoreError::OlderSealInUse`] where a process could not open it, and so would do nothing more.
pub(super) fn data_key_add(transaction: &Transaction<'_>, keys: &OpenKeys, version: u32, now: Timestamp) -> Result<(), Fault> {
    let header = Header::read_sealed_with(transaction, keys.home(), keys.seal())?;
    if locks::other_seal_held(&keys.home().locks(), header.mark())? {
        return Err(StoreError::OlderSealInUse { path: keys.home().database() }.into());
    }
    let key: Key = Zeroizing::new(claviger_runtime::random_bytes());
    let wrapped = keys.seal().wrap(&data_key_place(&header.vault_id, &version.to_be_bytes()), &*key);
    transaction.execute("INSERT INTO data_keys (version, wrapped, created_at) VALUES (?1, ?2, ?3)", (version, wrapped, now.0))?;
    Ok(())
}

/// All data keys that open. A damaged one costs the fields that it sealed; the newest must open, since it seals whatever
/// is written next, and to go on under an older one would hide the loss.
fn data_keys(connection: &Connection, header: &Header, seal: &RootSeal) -> Result<Vec<(u32, Key)>, Fault> {
    let mut keys = Vec::new();
    let mut newest = Err(RowFault { table: "data_keys", row: FIRST_KEY.to_string(), column: "wrapped", kind: RowFaultKind::Malformed });
    let mut statement = connection.prepare("SELECT version, wrapped FROM data_keys ORDER BY version")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let version: u32 = row.get("version")?;
        let cells = Cells::new(row, "data_keys", &version);
        let opened = seal.unwrap_key(&data_key_place(&header.vault_id, &version.to_be_bytes()), &cells.get::<Vec<u8>>("wrapped")?);
        newest = match opened {
            Ok(key) => {
                keys.push((version, key));
                Ok(())
            }
            Err(UnwrapError::Damaged) => Err(cells.fault("wrapped", RowFaultKind::Damaged)),
            Err(UnwrapError::WrongKey) => Err(cells.fault("wrapped", RowFaultKind::Swapped)),
        };
        if let Err(fault) = &newest {
            tracing::error!(key.version = version, kind = %fault.kind, "a data key cannot be opened");
        }
    }
    newest?;
    Ok(keys)
}

/// A key of keyed hashes.
pub(super) fn hash_key(connection: &Connection, keyring: &Keyring, purpose: &str) -> Result<Key, Fault> {
    connection.query_row_and_then("SELECT sealed FROM hash_keys WHERE purpose = ?1", [purpose], |row| {
        let cells = Cells::new(row, "hash_keys", &purpose);
        let plain =
            keyring.open(&hash_key_binding(purpose), &cells.get::<Vec<u8>>("sealed")?).map_err(|kind| cells.fault("sealed", kind))?;
        let key = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_length| cells.fault("sealed", RowFaultKind::Malformed))?;
        Ok(Zeroizing::new(key))
    })
}
