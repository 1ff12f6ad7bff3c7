//! The schema as numbered steps, each in a transaction, with a backup before an older vault is changed.

use super::fault::{Fault, database};
use crate::StoreError;
use crate::home::{VaultHome, file_create, folder_sync};
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What SQLite's header names the file as: `CLVG`.
const APPLICATION_ID: i32 = 0x434c_5647;
/// Most backups that are kept; a migration that fails at every start must not fill the disk.
pub const BACKUPS_MAX: usize = 8;

/// How the name of a backup ends that is not whole yet.
const UNFINISHED: &str = "new";
/// How long one is left alone: another process may be at it, which takes seconds.
const UNFINISHED_KEPT: Duration = Duration::from_hours(1);

/// The newest schema that this program knows.
pub(super) const SCHEMA_VERSION: u32 = 7;

/// All steps; the schema version is how many were made.
const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("migrations/0001_vault.sql"),
    include_str!("migrations/0002_sticky.sql"),
    include_str!("migrations/0003_spent.sql"),
    include_str!("migrations/0004_guard.sql"),
    include_str!("migrations/0005_seal.sql"),
    include_str!("migrations/0006_options.sql"),
    include_str!("migrations/0007_taken.sql"),
];

/// Lays the schema into an empty database, up to a version.
pub(super) fn lay(connection: &mut Connection, version: u32) -> Result<(), Fault> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    while step(connection, version)? {}
    Ok(())
}

/// Brings an older vault to the newest schema; refuses a newer one, and what is no vault.
pub(super) fn migrate(connection: &mut Connection, home: &VaultHome, now: Timestamp) -> Result<(), StoreError> {
    let found = check(connection, home)?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    backup(connection, home, found, now)?;
    let doing = "bringing the schema up to date";
    while step(connection, SCHEMA_VERSION).map_err(|fault| fault.while_doing(doing))? {}
    check(connection, home).map(drop)
}

/// Brings a copy that nobody has open to the newest schema.
pub(super) fn bring_up(connection: &mut Connection) -> Result<(), Fault> {
    while step(connection, SCHEMA_VERSION)? {}
    Ok(())
}

/// Whether a database is a vault, of whatever schema.
pub(super) fn is_vault(connection: &Connection) -> Result<bool, Fault> {
    Ok(connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))? == i64::from(APPLICATION_ID))
}

/// The schema version of a vault that this program can read.
pub(super) fn check(connection: &Connection, home: &VaultHome) -> Result<u32, StoreError> {
    let pragma =
        |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(database("reading the schema version"));
    if pragma("application_id")? != i64::from(APPLICATION_ID) {
        return Err(StoreError::Unsafe { path: home.database(), why: "is a database of something else: move it away".to_owned() });
    }
    let found = u32::try_from(pragma("user_version")?).unwrap_or(u32::MAX);
    if found > SCHEMA_VERSION {
        return Err(StoreError::NewerSchema { path: home.database(), found, known: SCHEMA_VERSION });
    }
    Ok(found)
}

/// Makes the next step, if there is one up to `version`. Another process may have made it in the meantime.
fn step(connection: &mut Connection, version: u32) -> Result<bool, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))?;
    let next = usize::try_from(found).ok().and_then(|made| MIGRATIONS.get(made));
    let Some(next) = next.filter(|_| found < version) else { return Ok(false) };
    transaction.execute_batch(next)?;
    transaction.pragma_update(None, "user_version", found + 1)?;
    transaction.commit()?;
    Ok(true)
}

/// Copies the vault to `backups/vault-v<schema>-<now>.db`, synced, mode 0600.
fn backup(connection: &Connection, home: &VaultHome, version: u32, now: Timestamp) -> Result<PathBuf, StoreError> {
    let folder = home.backups();
    let path = folder.join(format!("vault-v{version}-{}.db", now.0));
    // Under another name until it is whole: what has a backup's name is one, whenever this process ends.
    let unfinished = folder.join(format!("vault-v{version}-{}.{UNFINISHED}-{:016x}", now.0, claviger_runtime::random_u64()));
    let whole = copy_whole(connection, &unfinished).and_then(|()| {
        std::fs::rename(&unfinished, &path).map_err(StoreError::io("naming the backup", &path))?;
        folder_sync(&folder)
    });
    if whole.is_err() {
        claviger_runtime::best_effort("remove a backup that is not whole", std::fs::remove_file(&unfinished));
    }
    whole?;
    claviger_runtime::best_effort("drop old backups", prune(&folder, now));
    Ok(path)
}

fn copy_whole(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    // SQLite copies into an empty file that is there, and so keeps the mode that we give it.
    let file = file_create(path)?;
    let target = path
        .to_str()
        .ok_or_else(|| StoreError::Unsafe { path: path.to_owned(), why: "is not named in UTF-8: name another folder".to_owned() })?;
    connection.execute("VACUUM INTO ?1", [target]).map_err(database("backing the vault up"))?;
    file.sync_all().map_err(StoreError::io("syncing the backup", path))
}

/// Drops the oldest backups, and what processes that were killed have left of theirs.
fn prune(folder: &Path, now: Timestamp) -> std::io::Result<()> {
    let mut backups = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let made_at = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("vault-v")?.split_once('-')?.1.parse::<i64>().ok());
        let Some(made_at) = made_at else { continue };
        let is_unfinished = path.extension().and_then(|end| end.to_str()).is_some_and(|end| end.starts_with(UNFINISHED));
        if !is_unfinished {
            backups.push((made_at, path));
        } else if now.minus(UNFINISHED_KEPT) > Timestamp(made_at) {
            std::fs::remove_file(path)?;
        }
    }
    backups.sort_unstable();
    let surplus = backups.len().saturating_sub(BACKUPS_MAX);
    backups.into_iter().take(surplus).try_for_each(|(_, path)| std::fs::remove_file(path))
}
