//! The vault in a SQLite file: one connection, on one thread, for all reads and writes of a process.

mod account;
mod adopt;
mod backup;
mod block;
mod cells;
mod fault;
mod grant;
mod guard;
mod header;
mod journal;
mod key;
mod open;
mod read_only;
mod rotate;
mod schema;
mod seal;
mod taken;
mod trail;
mod writer;

pub use backup::{Backup, Restored, backup_seal_info, vault_backup, vault_restore};
pub use block::BLOCKS_PER_ACCOUNT_MAX;
pub use journal::APPLIED_REMEMBERED;
pub use key::RUN_KEY_REMEMBERED;
pub use open::{SealInfo, root_key_opens, seal_info};
pub use schema::BACKUPS_MAX;
pub use seal::{DataKeyUse, KitState, Rotated, SealStatus};
pub use trail::{AUDIT_ROWS_MAX, STICKY_ROWS_MAX};
pub use writer::STORE_JOBS_MAX;

use crate::home::VaultHome;
use crate::locks;
use crate::root_key::{KdfCost, RootKey};
use crate::seal::Keyring;
use crate::spill::{Spill, SpillPlace};
use crate::{
    AccountDraft, AccountPatch, Answer, AuditEntry, Fingerprint, GrantCommit, GrantLock, GrantRow, GrantTake, GuardState, IntentRow,
    KeyDraft, KeyHashKey, LoadedVault, Placed, Rebind, RowFault, RowFaultKind, SpillRecord, StickyRow, Store, StoreError, Take, TakenRow,
    Write,
};
use arc_swap::ArcSwap;
use claviger_domain::block::{Block, BlockScope};
use claviger_domain::id::{AccountId, AttemptId, GrantId, GrantRevision, RowRevision};
use claviger_domain::origin::StoredOrigins;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Accessor;
use claviger_runtime::Clock;
use fault::Fault;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use writer::Writer;

/// A vault in a folder of this machine.
///
/// Layout: `vault.db` (with `-wal` and `-shm`), `spill/`, `locks/`, `backups/`; folders 0700, files 0600. Several processes
/// may open one vault. Dropping the store ends it as [`Store::close`] does, without waiting.
pub struct SqliteStore {
    home: VaultHome,
    keyring: Arc<ArcSwap<Keyring>>,
    spill: Spill,
    writer: Writer,
    /// Where the epoch is mirrored.
    mirror: Option<guard::Mirror>,
    found: GuardState,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("home", &self.home.folder()).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Creates a vault and opens it. The folder is made where it is missing.
    ///
    /// Blocks: files are synced, and a passphrase is stretched, which takes a good part of a second. Call it before the
    /// runtime serves, or from a blocking thread.
    ///
    /// Errors: [`StoreError::Exists`] where a vault is, [`StoreError::Unsafe`] for a folder or key file that others can reach.
    pub fn create(home: &Path, root: &RootKey, clock: &dyn Clock) -> Result<Self, StoreError> {
        Self::create_with(home, root, clock, KdfCost::default())
    }

    /// Creates a vault whose passphrase is stretched at another cost than the default.
    pub fn create_with(home: &Path, root: &RootKey, clock: &dyn Clock, cost: KdfCost) -> Result<Self, StoreError> {
        let checked = VaultHome::prepare(home)?;
        open::create(&checked, root, (cost, clock.now()))?;
        Self::open(home, root, clock)
    }

    /// Opens a vault, and brings an older one to the newest schema after a backup. Blocks as [`SqliteStore::create`] does.
    ///
    /// On a file system that is read-only a vault of the newest schema opens too: it is read as it is on disk, and every
    /// write is [`StoreError::Unwritable`].
    ///
    /// Errors: [`StoreError::Absent`], [`StoreError::Sealed`] for the other kind of key, [`StoreError::WrongKey`],
    /// [`StoreError::NewerSchema`], [`StoreError::Unsafe`], [`StoreError::Row`] for a damaged header.
    pub fn open(home: &Path, root: &RootKey, clock: &dyn Clock) -> Result<Self, StoreError> {
        Self::open_from(&VaultHome::find(home)?, root, clock.now(), None)
    }

    /// Opens a vault as [`SqliteStore::open`] does, under the guard against copies: the vault's epoch is compared with its
    /// mirror in the folder `mirrors`, which is made where it is missing, and mirrored there from now on. A vault that was put
    /// back or copied has its logins quarantined when this returns; [`LoadedVault::guard`] says what was found.
    ///
    /// Errors: also [`StoreError::Unsafe`] for a folder inside the vault's own.
    pub fn open_guarded(home: &Path, root: &RootKey, clock: &dyn Clock, mirrors: &Path) -> Result<Self, StoreError> {
        Self::open_from(&VaultHome::find(home)?, root, clock.now(), Some(mirrors))
    }

    fn open_from(home: &VaultHome, root: &RootKey, now: Timestamp, mirrors: Option<&Path>) -> Result<Self, StoreError> {
        let mut vault = open::open(home, root, now)?;
        let mirror = mirrors.map(|mirrors| {
            let vault_id = guard::vault_id(&vault.connection).map_err(|fault| fault.while_doing("reading the header"))?;
            guard::Mirror::at(mirrors, home, vault_id)
        });
        let mirror = mirror.transpose()?;
        let watched = mirror.as_ref().map(|mirror| guard::watch(&mut vault.connection, mirror, now));
        let found = watched.transpose()?.unwrap_or(GuardState::Unguarded);
        let keyring = Arc::clone(vault.keys.shared());
        let spill = Spill::new(home.spill(), Arc::clone(&keyring));
        let writer = Writer::start(vault, home)?;
        Ok(Self { home: home.clone(), keyring, spill, writer, mirror, found })
    }

    /// Mirrors the epoch once a write is on disk. What was written counts, whether or not the mirror could be.
    fn mirrored<'a, T: Send + 'a>(&'a self, written: Answer<'a, T>) -> Answer<'a, T> {
        let Some(mirror) = self.mirror.clone() else { return written };
        Box::pin(async move {
            let answer = written.await?;
            let mirrored = self.writer.read("mirroring the epoch", move |connection, _| guard::mirror(connection, &mirror)).await;
            claviger_runtime::best_effort("mirror the epoch of the vault", mirrored);
            Ok(answer)
        })
    }

    /// What SQLite finds wrong with the file, one line each; empty for a sound one. Reads the whole file.
    pub fn integrity_check(&self) -> Answer<'_, Vec<String>> {
        self.writer.read("checking the file", |connection, _| {
            let mut statement = connection.prepare("PRAGMA integrity_check")?;
            let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Runs file work beside the async threads, and beside the writer, so that an answer is never kept waiting by it.
    fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Spill) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let spill = self.spill.clone();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&spill)).await;
            done.unwrap_or_else(|lost| Err(StoreError::Io { doing, path: self.home.spill(), source: std::io::Error::other(lost) }))
        })
    }
}

fn version(connection: &Connection) -> Result<u64, Fault> {
    let count: i64 = connection.prepare_cached("SELECT count FROM changes WHERE id = 1")?.query_row([], |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

fn load(connection: &Connection, keyring: &Keyring) -> Result<LoadedVault, Fault> {
    let mut vault = LoadedVault { version: version(connection)?, ..LoadedVault::default() };
    let LoadedVault { version: _, accounts, grants, blocks, keys, faults, guard: _ } = &mut vault;
    grant::load_all(connection, keyring, (grants, faults))?;
    account::load_all(connection, keyring, (accounts, faults))?;
    block::load_all(connection, (blocks, faults))?;
    key::load_all(connection, (keys, faults))?;
    Ok(vault)
}

impl Store for SqliteStore {
    fn load(&self) -> Answer<'_, LoadedVault> {
        let loaded = self.writer.read("loading the vault", load);
        Box::pin(async move { Ok(LoadedVault { guard: self.found, ..loaded.await? }) })
    }

    fn version(&self) -> Answer<'_, u64> {
        self.writer.read("asking for changes", |connection, _| version(connection))
    }

    fn account_place(&self, draft: AccountDraft, now: Timestamp) -> Answer<'_, Placed> {
        self.mirrored(self.writer.write("storing an account", move |transaction, keyring| account::place(transaction, keyring, draft, now)))
    }

    fn account_patch(
        &self,
        account: AccountId,
        replaces: RowRevision,
        patch: AccountPatch,
        now: Timestamp,
    ) -> Answer<'_, Write<RowRevision>> {
        self.writer
            .write("changing an account", move |transaction, keyring| account::patch(transaction, keyring, (account, replaces), patch, now))
    }

    fn account_remove(&self, account: AccountId, replaces: RowRevision) -> Answer<'_, Write<()>> {
        self.writer.write("removing an account", move |transaction, _| account::remove(transaction, account, replaces))
    }

    fn grant_load(&self, grant: GrantId) -> Answer<'_, Option<GrantRow>> {
        self.writer.read("loading a grant", move |connection, keyring| grant::load(connection, keyring, grant))
    }

    fn intent_open(&self, grant: GrantId, from: GrantRevision, intent: IntentRow) -> Answer<'_, Write<()>> {
        self.mirrored(self.writer.write("journalling a refresh", move |transaction, _| journal::open(transaction, grant, from, &intent)))
    }

    fn intent_withdraw(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Answer<'_, Write<()>> {
        self.writer.write("taking a refresh back", move |transaction, _| journal::withdraw(transaction, grant, from, attempt))
    }

    fn grant_commit(&self, commit: GrantCommit) -> Answer<'_, Write<GrantRevision>> {
        self.mirrored(
            self.writer.write("storing a refreshed secret", move |transaction, keyring| grant::commit(transaction, keyring, commit)),
        )
    }

    fn grant_bury(&self, grant: GrantId, from: GrantRevision, cause: String, now: Timestamp) -> Answer<'_, Write<()>> {
        self.writer.write("marking a grant as dead", move |transaction, _| grant::bury(transaction, grant, from, &cause, now))
    }

    fn grant_release(&self, grant: GrantId) -> Answer<'_, Write<()>> {
        self.writer.write("ending a quarantine", move |transaction, _| grant::release(transaction, grant))
    }

    fn grant_rebind(&self, grant: GrantId, replaces: GrantRevision, origins: StoredOrigins) -> Answer<'_, Rebind> {
        self.writer.write("rebinding a grant", move |transaction, keyring| grant::rebind(transaction, keyring, (grant, replaces), &origins))
    }

    fn grant_take(&self, take: GrantTake) -> Answer<'_, Take> {
        self.mirrored(self.writer.write("taking a login over", move |transaction, keyring| taken::take(transaction, keyring, take)))
    }

    fn taken_list(&self) -> Answer<'_, Vec<TakenRow>> {
        self.writer.read("looking for logins that were taken over", |connection, _| taken::list(connection))
    }

    fn attempt_applied(&self, attempt: AttemptId) -> Answer<'_, bool> {
        self.writer.read("looking for an attempt", move |connection, _| journal::is_applied(connection, attempt))
    }

    fn attempts_open(&self) -> Answer<'_, BTreeSet<AttemptId>> {
        self.writer.read("looking for open attempts", |connection, _| journal::open_attempts(connection))
    }

    fn block_put(&self, account: AccountId, block: Block) -> Answer<'_, ()> {
        self.writer.write("blocking an account", move |transaction, _| block::put(transaction, account, &block))
    }

    fn block_lift(&self, account: AccountId, scope: Option<BlockScope>) -> Answer<'_, ()> {
        self.writer.write("lifting a block", move |transaction, _| block::lift(transaction, account, scope.as_ref()))
    }

    fn key_insert(&self, draft: KeyDraft) -> Answer<'_, ()> {
        self.writer.write("storing a virtual key", move |transaction, _| key::insert(transaction, &draft))
    }

    fn key_revoke(&self, accessor: Accessor, now: Timestamp) -> Answer<'_, bool> {
        self.writer.write("revoking a virtual key", move |transaction, _| key::revoke(transaction, accessor, now))
    }

    fn sticky_put(&self, rows: Vec<StickyRow>) -> Answer<'_, ()> {
        self.writer.write("writing sessions", move |transaction, _| trail::sticky_put(transaction, &rows))
    }

    fn sticky_load(&self, since: Timestamp) -> Answer<'_, Vec<StickyRow>> {
        self.writer.read("loading sessions", move |connection, _| trail::sticky_load(connection, since))
    }

    fn audit_append(&self, entry: AuditEntry) -> Answer<'_, ()> {
        self.writer.write("writing the audit trail", move |transaction, _| trail::audit_append(transaction, &entry))
    }

    fn audit_list(&self, limit: u32) -> Answer<'_, Vec<AuditEntry>> {
        self.writer.read("loading the audit trail", move |connection, _| trail::audit_list(connection, limit))
    }

    fn key_hash_key(&self) -> Answer<'_, KeyHashKey> {
        self.writer.read("opening the key of virtual keys", |connection, keyring| {
            header::hash_key(connection, keyring, header::VIRTUAL_KEY).map(KeyHashKey)
        })
    }

    fn fingerprint(&self, secret: &str) -> Fingerprint {
        self.keyring.load().fingerprint(secret)
    }

    fn grant_lock(&self, grant: GrantId) -> Result<Option<GrantLock>, StoreError> {
        locks::grant_lock(&self.home.locks(), grant)
    }

    fn spill_create(&self, _grant: GrantId, _from: GrantRevision, attempt: AttemptId) -> Answer<'_, ()> {
        self.blocking("creating a slot", move |spill| spill.create(attempt))
    }

    fn spill_write(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId, record: SpillRecord) -> Answer<'_, ()> {
        self.blocking("spilling an answer", move |spill| spill.write(&SpillPlace { grant, from, attempt }, &record))
    }

    fn spill_read(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Answer<'_, Option<SpillRecord>> {
        Box::pin(async move {
            let read = || self.blocking("reading a slot", move |spill| spill.read(&SpillPlace { grant, from, attempt }));
            match read().await {
                // Another process may have sealed it under a data key that this one has not met yet.
                Err(StoreError::Row(RowFault { kind: RowFaultKind::UnknownKey, .. })) => {
                    match self.writer.read("looking for a newer data key", |_, _| Ok(())).await {
                        Ok(()) | Err(StoreError::Closed) => read().await,
                        Err(error) => Err(error),
                    }
                }
                done => done,
            }
        })
    }

    fn spill_is_empty(&self, attempt: AttemptId) -> Answer<'_, bool> {
        self.blocking("looking into a slot", move |spill| spill.is_empty(attempt))
    }

    fn spill_remove(&self, attempt: AttemptId) -> Answer<'_, ()> {
        self.blocking("removing a slot", move |spill| spill.remove(attempt))
    }

    fn spill_list(&self) -> Answer<'_, Vec<AttemptId>> {
        self.blocking("listing slots", Spill::list)
    }

    fn close(&self) -> Answer<'_, ()> {
        self.writer.close()
    }
}
