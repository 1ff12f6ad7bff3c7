//! Copies of a vault: made while it is in use, and put back into its place.

use super::fault::{Fault, database};
use super::guard::{self, Mark, Mirror, Seen};
use super::{SqliteStore, header, journal, open, read_only, schema};
use crate::home::{VaultHome, file_create, file_open, folder_ensure, folder_sync, is_writable_for_others, vault_exists};
use crate::root_key::RootKey;
use crate::seal::Keyring;
use crate::{Answer, RowFault, SealInfo, StoreError, locks};
use claviger_domain::id::{AccountId, AttemptId};
use claviger_domain::time::Timestamp;
use claviger_runtime::best_effort;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A copy of a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its size.
    pub size_bytes: u64,
    /// Whether others can write to the folder that it stands in, and so put another file into its place. The copy itself is
    /// closed to them, and sealed.
    pub folder_is_writable: bool,
}

/// A vault that was put into the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many accounts it has.
    pub accounts: u64,
    /// Those that are not refreshed until they are taken, since their refresh tokens may have been used up after the copy
    /// was made.
    pub quarantined: Vec<AccountId>,
    /// Where the vault that was there is kept, with the answers of token endpoints that nobody had taken up.
    pub kept: Option<PathBuf>,
    /// Rows of the copy that cannot be read.
    pub faults: Vec<RowFault>,
}

impl SqliteStore {
    /// Copies the vault into a new file, as [`vault_backup`] does.
    pub fn backup(&self, to: &Path) -> Answer<'_, Backup> {
        let (home, to) = (self.home.folder().to_owned(), to.to_owned());
        Box::pin(async move {
            // A connection of its own, so that no refresh waits for it.
            let copied = tokio::task::spawn_blocking(move || vault_backup(&home, &to)).await;
            copied.unwrap_or_else(|lost| Err(StoreError::Database { doing: COPYING, source: Box::new(lost) }))
        })
    }
}

/// Copies a vault into a new file of mode 0600, also while it is in use: of one moment, whole, synced with its folder. It stays
/// sealed by the same root key, which is not needed for it. Blocks. A failure leaves no file behind; a kill may leave one that
/// is not whole, which [`vault_restore`] refuses.
///
/// Errors: [`StoreError::Exists`] where anything is, which is never overwritten.
pub fn vault_backup(home: &Path, to: &Path) -> Result<Backup, StoreError> {
    let home = VaultHome::find(home)?;
    let open::Reached { connection, presence: _presence, .. } = open::reach(&home)?;
    schema::check(&connection, &home)?;
    copy(&connection, to)
}

const COPYING: &str = "copying the vault";

/// Copies what a connection shows into a new file, and syncs it.
pub(super) fn copy(connection: &Connection, to: &Path) -> Result<Backup, StoreError> {
    let target = to
        .to_str()
        .ok_or_else(|| StoreError::Unsafe { path: to.to_owned(), why: "is not named in UTF-8: name another file".to_owned() })?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // SQLite copies into an empty file that is there, and so keeps the mode that we give it.
    let file = file_create(to)?;
    let copied = connection.execute("VACUUM INTO ?1", [target]).map_err(database(COPYING)).and_then(|_| {
        file.sync_all().map_err(StoreError::io("syncing the copy", to))?;
        folder_sync(folder)?;
        file.metadata().map_err(StoreError::io("looking at the copy", to))
    });
    match copied {
        Ok(metadata) => Ok(Backup { size_bytes: metadata.len(), folder_is_writable: is_writable_for_others(folder)? }),
        Err(error) => {
            best_effort("remove a copy that is not whole", std::fs::remove_file(to));
            Err(error)
        }
    }
}

/// What a copy of a vault is sealed with. Needs no key and changes nothing. Blocks.
///
/// Errors: [`StoreError::Absent`]; [`StoreError::NotABackup`] for a file that is no vault.
pub fn backup_seal_info(backup: &Path) -> Result<SealInfo, StoreError> {
    let path = backup.canonicalize().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => StoreError::Absent { path: backup.to_owned() },
        _ => StoreError::io("looking for the copy", backup)(source),
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let read = || -> Result<_, Fault> {
        // A file that was copied by hand says that it has a WAL: opened otherwise, it would get one beside it.
        let connection = Connection::open_with_flags(read_only::immutable(&path), flags)?;
        schema::is_vault(&connection)?.then(|| header::Header::read(&connection)).transpose()
    };
    let header = read().map_err(|fault| named(fault.while_doing("reading the copy"), backup))?;
    let header = header.ok_or_else(|| foreign(backup))?;
    Ok(header.info())
}

/// Puts a copy of a vault into its place, or into an empty one. Blocks.
///
/// The copy is looked at first: it must be a whole vault that the root key opens. The vault that was there, and its slots, are
/// moved to `backups/`; nothing is deleted. A kill at any step leaves the old vault in place, or the restored one. Answers that
/// wait for a refresh that is open in the copy stay where they are, and come along from a folder in `backups/` that is restored.
///
/// The restored vault is another instance, so that nobody takes it for the old one. Its logins are quarantined, unless it
/// replaces the vault that it was copied from, and nothing has happened since, as the mirror in the folder `mirrors` says.
///
/// Errors: [`StoreError::InUse`] while another process has the vault open; [`StoreError::NotABackup`],
/// [`StoreError::WrongKey`], [`StoreError::Sealed`] or [`StoreError::NewerSchema`] for a copy that cannot be restored, after
/// which everything is as it was.
pub fn vault_restore(home: &Path, backup: &Path, root: &RootKey, mirrors: Option<&Path>, now: Timestamp) -> Result<Restored, StoreError> {
    restore(&Restore { home, backup, root, mirrors, now }, &|_| Ok(()))
}

/// What a restore is about.
struct Restore<'a> {
    home: &'a Path,
    backup: &'a Path,
    root: &'a RootKey,
    mirrors: Option<&'a Path>,
    now: Timestamp,
}

/// A place where a test may stop a restore.
type Pass<'a> = &'a dyn Fn(&'static str) -> Result<(), StoreError>;

fn restore(what: &Restore<'_>, pass: Pass<'_>) -> Result<Restored, StoreError> {
    // What is not there cannot be restored, and must not cost anybody a folder.
    let source = File::open(what.backup).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => StoreError::Absent { path: what.backup.to_owned() },
        _ => StoreError::io("opening the copy", what.backup)(source),
    })?;
    let home = if vault_exists(what.home) { VaultHome::find(what.home)? } else { VaultHome::prepare(what.home)? };
    let _alone = locks::vault_exclusive(&home.locks())?.ok_or_else(|| StoreError::InUse { path: home.database() })?;
    best_effort("remove what an earlier restore left", sweep(&home));
    pass("locked")?;
    let incoming = home.folder().join(format!("{INCOMING}{:016x}", claviger_runtime::random_u64()));
    let prepared = take_in(source, &incoming, what.backup).and_then(|()| {
        pass("copied")?;
        prepare(&incoming, &home, what)
    });
    let done = prepared.and_then(|prepared| {
        pass("prepared")?;
        let kept = keep_old(&home, what.now, pass)?;
        bring_answers(what.backup, &home, &prepared.waiting)?;
        put_in_place(&incoming, &home)?;
        pass("in place")?;
        best_effort("take the old slots out of the way", kept.as_ref().map_or(Ok(()), |_| slots_remove(&home, &prepared.waiting)));
        pass("slots gone")?;
        if let Some((mirror, mark)) = &prepared.mirror {
            best_effort("write the mirror of the vault", mirror.write(*mark));
        }
        Ok(Restored { kept, ..prepared.restored })
    });
    best_effort("remove a copy that is not needed", sweep(&home));
    done
}

/// How the names of copies begin that are not in place yet.
const INCOMING: &str = "vault.db.restore-";

/// Removes copies that were never put into place.
fn sweep(home: &VaultHome) -> std::io::Result<()> {
    for entry in std::fs::read_dir(home.folder())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies the bytes into the vault's folder, so that all that follows is done to a file of ours.
fn take_in(mut source: File, incoming: &Path, backup: &Path) -> Result<(), StoreError> {
    let mut log = backup.as_os_str().to_owned();
    log.push("-wal");
    if std::fs::metadata(Path::new(&log)).is_ok_and(|log| log.len() > 0) {
        let why = "it is a vault in use, and part of it stands in another file".to_owned();
        return Err(StoreError::NotABackup { path: backup.to_owned(), why });
    }
    let is_file = source.metadata().map_err(StoreError::io("looking at the copy", backup))?.is_file();
    if !is_file {
        return Err(StoreError::NotABackup { path: backup.to_owned(), why: "it is no regular file".to_owned() });
    }
    let mut file = file_create(incoming)?;
    std::io::copy(&mut source, &mut file).map(drop).map_err(StoreError::io("copying the backup", incoming))
}

/// A copy that is ready to be put into place.
struct Prepared {
    restored: Restored,
    /// Attempts whose answers it may still take up.
    waiting: BTreeSet<AttemptId>,
    mirror: Option<(Mirror, Mark)>,
}

/// Looks whether a copy is whole and ours, brings it up to date, and makes another instance of it.
fn prepare(incoming: &Path, home: &VaultHome, what: &Restore<'_>) -> Result<Prepared, StoreError> {
    let not_ours = |error| named(error, what.backup);
    let mut connection = open::connect(incoming).map_err(not_ours)?;
    if !schema::is_vault(&connection).map_err(|fault| not_ours(fault.while_doing("reading the copy")))? {
        return Err(foreign(what.backup));
    }
    schema::check(&connection, home).map_err(not_ours)?;
    let (_, keyring) = header::open(&connection, home, what.root).map_err(|fault| not_ours(fault.while_doing("reading the copy")))?;
    whole(&connection, what.backup)?;
    schema::bring_up(&mut connection).map_err(|fault| not_ours(fault.while_doing("bringing the copy up to date")))?;

    let vault_id = guard::vault_id(&connection).map_err(|fault| not_ours(fault.while_doing("reading the copy")))?;
    let mirror = what.mirrors.map(|mirrors| Mirror::at(mirrors, home, vault_id)).transpose()?;
    let seen = mirror.as_ref().map_or(Seen::Absent, Mirror::read);
    // Where it does not take the place of its original, that may be in use elsewhere, with the same refresh tokens.
    let unchanged = if replaces_original(home, vault_id) { seen } else { Seen::Absent };
    // One that cannot be read is among the faults.
    let waiting = journal::open_attempts(&connection).unwrap_or_default();
    let renew = renew(&mut connection, &keyring, (seen, unchanged), what.now);
    let (restored, mark) = renew.map_err(|fault| not_ours(fault.while_doing("marking the copy")))?;
    // Closing the only connection writes everything into the file itself and removes the WAL.
    connection.close().map_err(|(_, error)| database("closing the copy")(error))?;
    file_open(incoming)?.sync_all().map_err(StoreError::io("syncing the copy", incoming))?;
    Ok(Prepared { restored, waiting, mirror: mirror.map(|mirror| (mirror, mark)) })
}

fn whole(connection: &Connection, backup: &Path) -> Result<(), StoreError> {
    let check = || connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match check().map_err(|error| named(database("checking the copy")(error), backup))?.as_str() {
        "ok" => Ok(()),
        wrong => Err(StoreError::NotABackup { path: backup.to_owned(), why: format!("it is damaged: {wrong}") }),
    }
}

/// Whether the vault that is there is the one that a copy was made of. One that is too damaged to say goes on nowhere, and counts.
fn replaces_original(home: &VaultHome, vault_id: [u8; 16]) -> bool {
    let found = || open::connect(&home.database()).ok().and_then(|connection| guard::vault_id(&connection).ok());
    vault_exists(home.folder()) && found().is_none_or(|found| found == vault_id)
}

/// Makes another instance of a copy, past all that the mirror has seen. Quarantines its logins unless its mark is still the one
/// that it had when nothing had happened since.
fn renew(
    connection: &mut Connection,
    keyring: &Keyring,
    (seen, unchanged): (Seen, Seen),
    now: Timestamp,
) -> Result<(Restored, Mark), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let own = Mark::read(&transaction)?;
    if own.map(Seen::Mark) != Some(unchanged) {
        guard::quarantine(&transaction, now)?;
    }
    let mark = Mark::after(own, seen);
    mark.write(&transaction)?;
    let faults = super::load(&transaction, keyring)?.faults;
    let accounts: i64 = transaction.query_row("SELECT count(*) FROM accounts", [], |row| row.get(0))?;
    let select = "SELECT accounts.id FROM accounts JOIN grants ON grants.id = grant_id WHERE quarantined_at IS NOT NULL ORDER BY 1";
    let quarantined = transaction.prepare(select)?.query_map([], |row| row.get(0).map(AccountId))?.collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok((Restored { accounts: accounts.cast_unsigned(), quarantined, kept: None, faults }, mark))
}

/// Links the vault that is there, and its slots, into a folder of their own. It is still in place then.
fn keep_old(home: &VaultHome, now: Timestamp, pass: Pass<'_>) -> Result<Option<PathBuf>, StoreError> {
    if !vault_exists(home.folder()) {
        return Ok(None);
    }
    let folder = home.backups().join(format!("replaced-{}-{:08x}", now.0, claviger_runtime::random_u64() >> 32));
    let slots = folder.join("spill");
    folder_ensure(&folder)?;
    folder_ensure(&slots)?;
    let doing = "keeping the vault that was there";
    let logs = settle(home)?;
    pass("settled")?;
    for slot in std::fs::read_dir(home.spill()).map_err(StoreError::io(doing, &home.spill()))? {
        let slot = slot.map_err(StoreError::io(doing, &home.spill()))?;
        std::fs::hard_link(slot.path(), slots.join(slot.file_name())).map_err(StoreError::io(doing, &slot.path()))?;
    }
    let database = home.database();
    std::fs::hard_link(&database, folder.join("vault.db")).map_err(StoreError::io(doing, &database))?;
    for path in [&slots, &folder, &home.backups()] {
        folder_sync(path)?;
    }
    pass("kept")?;
    // What a damaged vault left beside itself must not be taken for the restored one's.
    for log in logs {
        let to = log.file_name().map(|name| folder.join(name)).unwrap_or_default();
        std::fs::rename(&log, to).map_err(StoreError::io(doing, &log))?;
    }
    folder_sync(home.folder())?;
    pass("logs gone")?;
    Ok(Some(folder))
}

/// Writes everything of the old vault into its one file, while nobody else has it open. A vault that is too damaged for that is
/// left as it is, and the files beside it are answered.
fn settle(home: &VaultHome) -> Result<Vec<PathBuf>, StoreError> {
    let settled = open::connect(&home.database()).and_then(|connection| {
        let doing = "closing the vault that was there";
        connection.busy_timeout(Duration::ZERO).map_err(database(doing))?;
        connection.pragma_update(None, "journal_mode", "DELETE").map_err(database(doing))?;
        connection.close().map_err(|(_, error)| database(doing)(error))
    });
    match settled {
        Ok(()) => {}
        Err(StoreError::Database { source, doing }) => match sqlite_code(&*source) {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => return Err(StoreError::InUse { path: home.database() }),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                tracing::warn!("the vault that was there is damaged; it is kept as it is");
            }
            _ => return Err(StoreError::Database { source, doing }),
        },
        Err(other) => return Err(other),
    }
    let logs = ["vault.db-wal", "vault.db-shm", "vault.db-journal"].map(|name| home.folder().join(name));
    Ok(logs.into_iter().filter(|log| log.exists()).collect())
}

fn sqlite_code(source: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<ErrorCode> {
    source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code)
}

fn put_in_place(incoming: &Path, home: &VaultHome) -> Result<(), StoreError> {
    std::fs::rename(incoming, home.database()).map_err(StoreError::io("putting the copy into place", &home.database()))?;
    folder_sync(home.folder())
}

/// Brings the answers along that were kept with a vault that was replaced, when that one is restored.
fn bring_answers(backup: &Path, home: &VaultHome, waiting: &BTreeSet<AttemptId>) -> Result<(), StoreError> {
    let kept = backup.canonicalize().ok().and_then(|backup| Some(backup.parent()?.to_owned()));
    let Some(kept) = kept.filter(|folder| folder.parent() == Some(&*home.backups())) else { return Ok(()) };
    for attempt in waiting {
        let slot = kept.join("spill").join(attempt.to_string());
        match std::fs::hard_link(&slot, home.spill().join(attempt.to_string())) {
            Err(error) if !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::AlreadyExists) => {
                return Err(StoreError::io("bringing an answer along", &slot)(error));
            }
            _ => {}
        }
    }
    folder_sync(&home.spill())
}

/// Removes the slots that were linked away, but for those that the restored vault waits for.
fn slots_remove(home: &VaultHome, waiting: &BTreeSet<AttemptId>) -> std::io::Result<()> {
    for slot in std::fs::read_dir(home.spill())? {
        let slot = slot?;
        let attempt = slot.file_name().to_str().and_then(|name| name.parse::<AttemptId>().ok());
        if attempt.is_none_or(|attempt| !waiting.contains(&attempt)) {
            std::fs::remove_file(slot.path())?;
        }
    }
    Ok(())
}

fn foreign(backup: &Path) -> StoreError {
    StoreError::NotABackup { path: backup.to_owned(), why: "it is a database of something else".to_owned() }
}

/// An error about a copy, under the copy's own name.
fn named(error: StoreError, backup: &Path) -> StoreError {
    let path = backup.to_owned();
    match error {
        StoreError::WrongKey { .. } => StoreError::WrongKey { path },
        StoreError::Sealed { needs, .. } => StoreError::Sealed { path, needs },
        StoreError::NewerSchema { found, known, .. } => StoreError::NewerSchema { path, found, known },
        StoreError::Row(fault) => StoreError::NotABackup { path, why: fault.to_string() },
        StoreError::Database { source, doing } => match sqlite_code(&*source) {
            Some(ErrorCode::NotADatabase) => StoreError::NotABackup { path, why: "it is no database".to_owned() },
            Some(ErrorCode::DatabaseCorrupt) => StoreError::NotABackup { path, why: "it is damaged".to_owned() },
            _ => StoreError::Database { source, doing },
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root_key::root_key_file_create;
    use crate::{AccountDraft, GrantDraft, GrantSecret, GuardState, Store};
    use claviger_domain::credential::{Custody, Source, Standing};
    use claviger_domain::id::{AttemptId, GrantId, GrantRevision, ProviderId};
    use claviger_domain::identity::Identity;
    use claviger_domain::options::AccountOptions;
    use claviger_domain::origin::StoredOrigins;
    use claviger_domain::secret::SecretText;
    use claviger_runtime::SystemClock;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Every place at which a restore can be stopped, in their order.
    const SITES: [&str; 8] = ["locked", "copied", "prepared", "settled", "kept", "logs gone", "in place", "slots gone"];
    const NOW: Timestamp = Timestamp(9_000);

    struct Site {
        folder: tempfile::TempDir,
        root: RootKey,
    }

    impl Site {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("keys/root.key");
            root_key_file_create(&path).unwrap();
            drop(SqliteStore::create(&folder.path().join("home"), &RootKey::KeyFile { path: path.clone() }, &SystemClock).unwrap());
            Self { folder, root: RootKey::KeyFile { path } }
        }

        fn path(&self, below: &str) -> PathBuf {
            self.folder.path().join(below)
        }

        fn open(&self) -> SqliteStore {
            SqliteStore::open_guarded(&self.path("home"), &self.root, &SystemClock, &self.path("state")).unwrap()
        }

        fn restore(&self, pass: Pass<'_>) -> Result<Restored, StoreError> {
            let (home, backup, mirrors) = (self.path("home"), self.path("copy.db"), self.path("state"));
            restore(&Restore { home: &home, backup: &backup, root: &self.root, mirrors: Some(&mirrors), now: NOW }, pass)
        }
    }

    async fn place(store: &SqliteStore, name: &str) -> GrantId {
        let secret =
            GrantSecret::OAuth { access: SecretText::new(format!("at-{name}")), refresh: Some(SecretText::new(format!("rt-{name}"))) };
        let draft = AccountDraft {
            provider: ProviderId::new("acme").unwrap(),
            grant: GrantDraft { secret, expires_at: None, issued_at: NOW, origins: StoredOrigins::Builtin, custody: Custody::Owned },
            identity: Identity { email: Some(format!("{name}@x.example")), ..Identity::default() },
            source: Source::Login,
            label: None,
            priority: 0,
            options: AccountOptions::default(),
            standing: Standing::Active,
            plan: None,
            logged_in_at: None,
            onto: None,
        };
        store.account_place(draft, NOW).await.unwrap().grant
    }

    #[tokio::test]
    async fn a_restore_that_is_killed_at_any_step_leaves_the_old_vault_or_the_restored_one() {
        for site in SITES {
            let folder = Site::new();
            let store = folder.open();
            place(&store, "one").await;
            store.backup(&folder.path("copy.db")).await.unwrap();
            let grant = place(&store, "two").await;
            let attempt = AttemptId(7);
            store.spill_create(grant, GrantRevision::FIRST, attempt).await.unwrap();
            store.close().await.unwrap();

            // What unwinds runs nothing after the site, as after a kill; the lock goes with the process.
            let killed =
                catch_unwind(AssertUnwindSafe(|| folder.restore(&|passed| if passed == site { panic!("killed") } else { Ok(()) })));
            assert!(killed.is_err(), "{site} is passed");
            let store = folder.open();
            let vault = store.load().await.unwrap();
            let is_restored = SITES.iter().position(|at| *at == site) >= SITES.iter().position(|at| *at == "in place");
            assert_eq!(vault.accounts.len(), if is_restored { 1 } else { 2 }, "{site}");
            assert_eq!(vault.faults, [], "{site}");
            let quarantined = vault.grants.iter().filter(|row| row.quarantined.is_some()).count();
            if is_restored {
                assert_eq!(quarantined, 1, "{site}: the restored login may have been used up");
            } else {
                assert_eq!((vault.guard, quarantined), (GuardState::Current, 0), "{site}");
                assert_eq!(store.spill_list().await.unwrap(), [attempt], "{site}: the answer that waits is the old vault's");
            }
            assert_eq!(store.integrity_check().await.unwrap(), Vec::<String>::new());
            store.close().await.unwrap();

            folder.restore(&|_| Ok(())).unwrap();
            assert_eq!(folder.open().load().await.unwrap().accounts.len(), 1, "{site}: it can be done again");
            let names = std::fs::read_dir(folder.path("home")).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(INCOMING)), "{site}: nothing is left over");
        }
    }
}
