//! Opening and creating the file: pragmas, header, schema; all before the first job.

use super::adopt::OpenKeys;
use super::fault::database;
use super::writer::Vault;
use super::{header, read_only, schema};
use crate::StoreError;
use crate::home::{VaultHome, file_create, folder_sync};
use crate::locks;
use crate::root_key::{KdfCost, RootKey, SealKind};
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// How long a transaction waits for another process. A commit takes milliseconds; this is for a machine in trouble.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// More than there are statements, so that each is compiled once.
const STATEMENTS_KEPT: usize = 64;
/// What is left of the WAL after a checkpoint, at most.
const JOURNAL_SIZE_LIMIT_BYTES: i64 = 4 * 1024 * 1024;

/// What a vault is sealed with, as its header says without any key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealInfo {
    /// What opens it.
    pub kind: SealKind,
    /// The entry of the keyring that holds its key; `None` for the other kinds.
    pub keyring_entry: Option<String>,
    /// Which vault it is; constant for its life, and the same in its copies.
    pub vault_id: [u8; 16],
}

/// What a vault is sealed with, so that whoever opens it knows what to ask for. Needs no key, changes nothing. Blocks.
pub fn seal_info(home: &Path) -> Result<SealInfo, StoreError> {
    let home = VaultHome::find(home)?;
    let Reached { connection, presence: _presence, .. } = reach(&home)?;
    schema::check(&connection, &home)?;
    let header = header::Header::read(&connection).map_err(|fault| fault.while_doing("reading the header"))?;
    Ok(header.info())
}

/// Whether a root key opens a vault. Changes nothing. Blocks as [`crate::SqliteStore::open`] does.
///
/// Errors: those of reading the header or the key file; a key of another kind opens nothing and is no error.
pub fn root_key_opens(home: &Path, root: &RootKey) -> Result<bool, StoreError> {
    let home = VaultHome::find(home)?;
    let Reached { connection, presence: _presence, .. } = reach(&home)?;
    schema::check(&connection, &home)?;
    header::opens(&connection, &home, root).map_err(|fault| fault.while_doing("reading the header"))
}

/// Opens a vault with its key.
pub(super) fn open(home: &VaultHome, root: &RootKey, now: Timestamp) -> Result<Vault, StoreError> {
    let Reached { mut connection, presence, is_read_only } = reach(home)?;
    let found = schema::check(&connection, home)?;
    let mut keys = OpenKeys::open(&connection, home, root).map_err(|fault| fault.while_doing("reading the header"))?;
    if is_read_only {
        read_only::check_newest(found)?;
        tracing::warn!(path = %home.folder().display(), "the vault's file system is read-only: live tokens serve, nothing is refreshed or changed");
    } else {
        keys.announce(&connection).map_err(|fault| fault.while_doing("reading the header"))?;
        schema::migrate(&mut connection, home, now)?;
    }
    Ok(Vault { connection, keys, presence })
}

/// A connection to a vault that is there, and the lock that keeps it there.
pub(super) struct Reached {
    pub(super) connection: Connection,
    pub(super) presence: std::fs::File,
    is_read_only: bool,
}

/// Connects to a vault, for reading alone where its file system allows no more.
pub(super) fn reach(home: &VaultHome) -> Result<Reached, StoreError> {
    if read_only::is_read_only(home) {
        let (presence, connection) = (read_only::presence(home)?, read_only::connect(&home.database())?);
        return Ok(Reached { connection, presence, is_read_only: true });
    }
    let presence = presence(home)?;
    Ok(Reached { connection: connect(&home.database())?, presence, is_read_only: false })
}

/// Keeps another vault from being put into this one's place.
fn presence(home: &VaultHome) -> Result<std::fs::File, StoreError> {
    locks::vault_shared(&home.locks())?.ok_or_else(|| StoreError::InUse { path: home.database() })
}

/// Creates the file of a new vault.
///
/// It is made under another name and linked into place when it is whole: a vault is there or it is not, whatever
/// happens in between, and of two processes that create one, one wins.
pub(super) fn create(home: &VaultHome, root: &RootKey, birth: (KdfCost, Timestamp)) -> Result<(), StoreError> {
    let path = home.folder().join(format!("vault.db.new-{:016x}", claviger_runtime::random_u64()));
    let made = write_new(home, &path, root, birth).and_then(|()| {
        std::fs::hard_link(&path, home.database()).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => StoreError::Exists { path: home.database() },
            _ => StoreError::io("putting the vault into place", &home.database())(source),
        })
    });
    claviger_runtime::best_effort("remove the vault's first name", std::fs::remove_file(&path));
    made?;
    folder_sync(home.folder())
}

fn write_new(home: &VaultHome, path: &Path, root: &RootKey, birth: (KdfCost, Timestamp)) -> Result<(), StoreError> {
    write_new_at(home, path, root, birth, schema::SCHEMA_VERSION)
}

fn write_new_at(home: &VaultHome, path: &Path, root: &RootKey, birth: (KdfCost, Timestamp), version: u32) -> Result<(), StoreError> {
    let doing = "creating the vault";
    drop(file_create(path)?);
    let mut connection = connect(path)?;
    schema::lay(&mut connection, version).map_err(|fault| fault.while_doing(doing))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(database(doing))?;
    header::create(&transaction, home, root, birth).map_err(|fault| fault.while_doing(doing))?;
    transaction.commit().map_err(database(doing))?;
    // Closing the only connection writes everything into the file itself and removes the WAL.
    connection.close().map_err(|(_, error)| database(doing)(error))
}

/// A connection with every pragma set. The wait for other processes comes first, since the others may need it.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Where a plain sync leaves the bytes in the drive's cache, as macOS does; elsewhere without effect.
        connection.pragma_update(None, "fullfsync", "ON")?;
        connection.pragma_update(None, "checkpoint_fullfsync", "ON")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        connection.pragma_update(None, "cell_size_check", "ON")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT_BYTES)?;
        Ok(connection)
    };
    open().map_err(database("opening the vault"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root_key::root_key_file_create;
    use claviger_domain::credential::Standing;
    use claviger_domain::options::AccountOptions;
    use std::os::unix::fs::PermissionsExt;

    const BIRTH: (KdfCost, Timestamp) = (KdfCost { memory_kib: 64, passes: 1, lanes: 1 }, Timestamp(1_000));

    /// A vault as the first version of the schema left it, with one account.
    fn vault_of_schema_1(folder: &Path) -> (VaultHome, RootKey) {
        let root = RootKey::KeyFile { path: folder.join("keys/root.key") };
        root_key_file_create(&folder.join("keys/root.key")).unwrap();
        let home = VaultHome::prepare(&folder.join("home")).unwrap();
        write_new_at(&home, &home.database(), &root, BIRTH, 1).unwrap();
        let connection = connect(&home.database()).unwrap();
        let insert = "INSERT INTO keys (accessor, kind, digest, providers, accounts, created_at) \
                      VALUES ('abcdefghij', 'standing', zeroblob(32), '', '', 1)";
        connection.execute(insert, []).unwrap();
        (home, root)
    }

    /// A vault of a schema before the newest, with an account as that schema wrote it.
    fn vault_with_account(folder: &Path, schema: u32) -> (VaultHome, RootKey) {
        let (home, root) = vault_of_schema_1(folder);
        std::fs::remove_file(home.database()).unwrap();
        write_new_at(&home, &home.database(), &root, BIRTH, schema).unwrap();
        let rows = "INSERT INTO grants (id, provider, revision, kind, fingerprint, issued_at, origins) \
                    VALUES (1, 'acme', 1, 'api_key', zeroblob(32), 5, 'builtin'); \
                    INSERT INTO accounts (id, provider, grant_id, revision, identity_key, email, source, label, priority, disabled_cause, \
                    disabled_since, created_at, updated_at) \
                    VALUES (3, 'acme', 1, 9, 'email:a@x.example', 'a@x.example', 'imported', 'mine', -2, 'by hand', 7, 5, 8)";
        connect(&home.database()).unwrap().execute_batch(rows).unwrap();
        (home, root)
    }

    #[test]
    fn an_account_of_every_older_schema_has_the_options_of_a_new_one() {
        for schema in 1..schema::SCHEMA_VERSION {
            let folder = tempfile::tempdir().unwrap();
            let (home, root) = vault_with_account(folder.path(), schema);
            let vault = open(&home, &root, Timestamp(5_000)).unwrap();
            let loaded = super::super::load(&vault.connection, &vault.keys.shared().load()).unwrap();
            let [row] = loaded.accounts.as_slice() else { panic!("{:?}", loaded.faults) };
            assert_eq!((row.id.0, row.revision.0, row.priority, row.label.as_deref()), (3, 9, -2, Some("mine")));
            assert_eq!(row.standing, Standing::Disabled { cause: "by hand".to_owned(), since: Timestamp(7) });
            assert_eq!((&row.options, &row.plan, row.logged_in_at), (&AccountOptions::default(), &None, None), "schema {schema}");
            assert_eq!((&row.identity.enterprise_url, &row.identity.api_endpoint), (&None, &None));
        }
    }

    fn schema_of(path: &Path) -> u32 {
        connect(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_vault_is_migrated_after_a_backup_that_opens_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (home, root) = vault_of_schema_1(folder.path());
        let vault = open(&home, &root, Timestamp(5_000)).unwrap();
        assert_eq!(schema_of(&home.database()), schema::SCHEMA_VERSION);
        assert_eq!(super::super::load(&vault.connection, &vault.keys.shared().load()).unwrap().keys.len(), 1);

        let backup = home.backups().join("vault-v1-5000.db");
        assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(schema_of(&backup), 1);
        let keys: u32 = connect(&backup).unwrap().query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).unwrap();
        assert_eq!(keys, 1);

        drop(vault);
        drop(open(&home, &root, Timestamp(6_000)).unwrap());
        let backups =
            std::fs::read_dir(home.backups()).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "db");
        assert_eq!(backups.count(), 1, "a vault of the newest schema is not backed up");
    }

    #[test]
    fn the_seal_of_an_older_vault_is_read_without_migrating_it() {
        let folder = tempfile::tempdir().unwrap();
        let (home, root) = vault_of_schema_1(folder.path());
        let info = seal_info(home.folder()).unwrap();
        assert_eq!((info.kind, info.keyring_entry.as_deref()), (SealKind::KeyFile, None));
        assert!(root_key_opens(home.folder(), &root).unwrap());
        root_key_file_create(&folder.path().join("keys/other.key")).unwrap();
        for other in [
            RootKey::KeyFile { path: folder.path().join("keys/other.key") },
            RootKey::KeyFile { path: folder.path().join("keys/nowhere.key") },
            RootKey::Passphrase(claviger_domain::secret::SecretText::new("canary-passphrase".to_owned())),
        ] {
            assert!(!root_key_opens(home.folder(), &other).unwrap(), "{other:?}");
        }
        assert_eq!(schema_of(&home.database()), 1);
        drop(open(&home, &root, Timestamp(5_000)).unwrap());
        assert_eq!(seal_info(home.folder()).unwrap(), info, "the checksum of a vault without an entry is what it was");
    }

    #[test]
    fn a_migration_that_fails_midway_leaves_the_old_schema_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (home, root) = vault_of_schema_1(folder.path());
        // The second statement of the step will find its name taken.
        connect(&home.database()).unwrap().execute_batch("CREATE TABLE attempts_applied_by_age (x INTEGER) STRICT").unwrap();
        assert!(matches!(open(&home, &root, Timestamp(5_000)), Err(StoreError::Database { .. })));
        assert_eq!(schema_of(&home.database()), 1);
        let connection = connect(&home.database()).unwrap();
        let sticky: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'sticky'", [], |row| row.get(0)).unwrap();
        assert_eq!(sticky, 0);
        connection.execute_batch("DROP TABLE attempts_applied_by_age").unwrap();
        drop(connection);
        assert!(open(&home, &root, Timestamp(6_000)).is_ok());
    }

    #[test]
    fn backups_of_failing_migrations_do_not_pile_up() {
        let folder = tempfile::tempdir().unwrap();
        let (home, root) = vault_of_schema_1(folder.path());
        connect(&home.database()).unwrap().execute_batch("CREATE TABLE sticky (x INTEGER) STRICT").unwrap();
        for start in 0..12 {
            assert!(open(&home, &root, Timestamp(start)).is_err());
        }
        let mut left: Vec<_> =
            std::fs::read_dir(home.backups()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort_unstable();
        assert_eq!(left.len(), schema::BACKUPS_MAX);
        assert!(left.contains(&"vault-v1-11.db".to_owned()) && !left.contains(&"vault-v1-3.db".to_owned()), "{left:?}");
    }

    #[test]
    fn a_connection_has_every_pragma_that_the_promises_stand_on() {
        let folder = tempfile::tempdir().unwrap();
        let (home, root) = vault_of_schema_1(folder.path());
        let vault = open(&home, &root, Timestamp(5_000)).unwrap();
        let table = [
            ("synchronous", "2"),
            ("fullfsync", "1"),
            ("checkpoint_fullfsync", "1"),
            ("secure_delete", "1"),
            ("foreign_keys", "1"),
            ("trusted_schema", "0"),
            ("busy_timeout", "5000"),
            ("journal_mode", "wal"),
            ("journal_size_limit", "4194304"),
            ("application_id", "1129076295"),
        ];
        for (pragma, expected) in table {
            let value: rusqlite::types::Value = vault.connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
            let text = match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => panic!("{pragma}: {other:?}"),
            };
            assert_eq!(text, expected, "{pragma}");
        }
    }

    #[test]
    fn a_newer_schema_and_a_foreign_database_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (home, root) = vault_of_schema_1(folder.path());
        connect(&home.database()).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(open(&home, &root, Timestamp(0)), Err(StoreError::NewerSchema { found: 99, known: schema::SCHEMA_VERSION, .. })));
        assert_eq!(schema_of(&home.database()), 99);
        connect(&home.database()).unwrap().pragma_update(None, "application_id", 7).unwrap();
        assert!(matches!(open(&home, &root, Timestamp(0)), Err(StoreError::Unsafe { .. })));
    }
}
