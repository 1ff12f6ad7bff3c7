//! The `Store` seam: rows with revisions, the journal of refreshes, spill slots and locks.
//!
//! Two implementations: [`SqliteStore`] keeps the vault on disk; [`MemoryStore`] keeps it in memory and injects failures
//! for tests. One suite in `claviger-testkit` holds both to the same promises.

mod error;
mod home;
mod locks;
mod log;
mod memory;
mod place;
mod root_key;
mod rows;
mod seal;
mod spill;
mod sqlite;

pub use error::{RowFault, RowFaultKind, StoreError};
pub use home::vault_exists;
pub use log::{
    Cost, CostRow, CostTotal, LOG_KEPT, LOG_QUEUE_MAX, LOG_REOPEN_AFTER, LOG_ROWS_LISTED_MAX, LogAnswer, LogError, LogFilter, LogStore,
    MemoryLog, SAME_END_WITHIN, SqliteLog, USAGE_BUCKET, UsageRow, WasteRow,
};
pub use memory::{Failure, Hold, MemoryStore};
pub use root_key::{
    KDF_LANES_MAX, KDF_MEMORY_MAX_KIB, KDF_PASSES_MAX, KEY_FILE_MAX_BYTES, KdfCost, RootKey, RootSecret, SealKind, root_key_file_create,
};
pub use rows::{
    AccountDraft, AccountPatch, AccountRow, AuditEntry, GrantCommit, GrantDraft, GrantRow, GrantSecret, GrantTake, GuardState, IntentRow,
    KeyDraft, KeyRow, LoadedVault, Placed, PlacedOutcome, Rebind, SpillRecord, StickyRow, Take, TakenRow, Write,
};
pub use spill::{SPILL_BODY_MAX_BYTES, SPILL_HEADER_MAX_BYTES, SPILL_SLOT_BYTES};
pub use sqlite::{
    APPLIED_REMEMBERED, AUDIT_ROWS_MAX, BACKUPS_MAX, BLOCKS_PER_ACCOUNT_MAX, Backup, DataKeyUse, KitState, RUN_KEY_REMEMBERED, Restored,
    Rotated, STICKY_ROWS_MAX, STORE_JOBS_MAX, SealInfo, SealStatus, SqliteStore, backup_seal_info, root_key_opens, seal_info, vault_backup,
    vault_restore,
};

use claviger_domain::block::{Block, BlockScope};
use claviger_domain::id::{AccountId, AttemptId, GrantId, GrantRevision, RowRevision};
use claviger_domain::origin::StoredOrigins;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Accessor;
use claviger_runtime::BoxFuture;
use std::collections::BTreeSet;

/// The answer of a store, later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Rows with revisions.
///
/// Every write to a row with a revision names the one that it replaces, save [`Store::account_place`], which decides by what is
/// there; losing the race is a normal answer ([`Write::Stale`]). Every method is one transaction. Cancel safety: dropping the future never undoes a write; it may or may not have happened.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Everything, for building a view. A row that cannot be read is reported and harms no other.
    fn load(&self) -> Answer<'_, LoadedVault>;

    /// A number that moves whenever any process commits a change to accounts, grants, blocks or keys. For polling.
    fn version(&self) -> Answer<'_, u64>;

    /// Stores an account: one of the same provider with the same identity key is updated in place, its blocks kept; without
    /// such, one on the grant with the same fingerprint that has no identity yet (or any, if the draft names none); else it
    /// is new.
    ///
    /// What becomes of the grant, whose fingerprint is that of the refresh token, else the access token, or the key:
    /// - The provider has a grant with this fingerprint: it is shared. The same secret stays under its revision and takes
    ///   the draft's origins and custody; another access token replaces the secret. While an intent is open the secret
    ///   stays in any case, since the same refresh token may have been sent. A dead key given again serves again.
    /// - Else, if the draft's refresh token was given before and redeemed here since: what the account has came after it and
    ///   stays; a new account gets a grant that needs a login. Another tool's file has such a token long after its rotation here.
    /// - Else, if the account's grant is its alone: the secret is replaced in place under the next revision, the grant
    ///   serves again, an open intent is closed (the new login wins).
    /// - Else it gets a grant of its own; what others share stays theirs.
    ///
    /// A new secret takes the draft's standing; the same secret leaves a person's standing alone. Facts of the identity
    /// that the draft does not name are kept. The caller holds the locks of the grants that the write may replace.
    fn account_place(&self, draft: AccountDraft, now: Timestamp) -> Answer<'_, Placed>;

    /// Changes what a person may set.
    fn account_patch(
        &self,
        account: AccountId,
        replaces: RowRevision,
        patch: AccountPatch,
        now: Timestamp,
    ) -> Answer<'_, Write<RowRevision>>;

    /// Removes an account; its grant goes with it when no other account refers to it and no intent is open. With an open
    /// intent it goes when that closes; given again until then, its refresh token is known as one that may have been sent.
    fn account_remove(&self, account: AccountId, replaces: RowRevision) -> Answer<'_, Write<()>>;

    /// One grant with its secret and its open intent, in one transaction.
    fn grant_load(&self, grant: GrantId) -> Answer<'_, Option<GrantRow>>;

    /// Journals the intent to send the refresh token of `from`; synced when it returns. A second
    /// attempt for a lost answer joins the open intent; where that is of another revision, nothing is written.
    fn intent_open(&self, grant: GrantId, from: GrantRevision, intent: IntentRow) -> Answer<'_, Write<()>>;

    /// Takes one attempt back that was proven not to have been sent, or to have been refused unread. The intent closes with its
    /// last attempt.
    fn intent_withdraw(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Answer<'_, Write<()>>;

    /// Stores a refreshed secret: compare-and-swap on the revision, seal under the next one, close the intent, record the
    /// attempt; the grant is live then. An answer to an attempt that names no refresh token keeps the old one.
    ///
    /// Where another grant of the provider has the new fingerprint already (the same login came in by another way), its
    /// accounts move here and it goes; if its own refresh is open, nothing is written and the answer is [`Write::Stale`].
    fn grant_commit(&self, commit: GrantCommit) -> Answer<'_, Write<GrantRevision>>;

    /// Marks a grant as dead and closes its intent.
    fn grant_bury(&self, grant: GrantId, from: GrantRevision, cause: String, now: Timestamp) -> Answer<'_, Write<()>>;

    /// Ends the quarantine of a grant; [`Write::Stale`] where it is in none, or is gone.
    fn grant_release(&self, grant: GrantId) -> Answer<'_, Write<()>>;

    /// Binds the secret of a grant to other origins: opens it under those that it has, and seals it under the new ones and the
    /// next revision, so that leases of the old one are superseded. What it is otherwise stays: expiry, state, custody,
    /// quarantine. The caller holds the grant's lock.
    ///
    /// With an open intent nothing is written ([`Rebind::Busy`]). A secret that does not open under its stored origins is
    /// [`StoreError::Row`]: rebinding never makes a tampered row readable.
    fn grant_rebind(&self, grant: GrantId, replaces: GrantRevision, origins: StoredOrigins) -> Answer<'_, Rebind>;

    /// Takes over a login that was followed: stores its secret under the next revision, the refresh token with it, makes it ours
    /// to refresh, and remembers from which file it came. It is live then, and in no quarantine. A grant that was taken before
    /// may be taken again, when its tool has renewed the login meanwhile; an open intent is closed, as with a new login.
    ///
    /// Where another grant of the provider has the refresh token already, its accounts move here and it goes. The caller holds
    /// the grant's lock.
    fn grant_take(&self, take: GrantTake) -> Answer<'_, Take>;

    /// From where logins were taken over, as far as they are neither followed nor replaced by a new login since.
    fn taken_list(&self) -> Answer<'_, Vec<TakenRow>>;

    /// Whether an attempt is done with: its answer is in the vault, or that of a later attempt of its intent is, or it was
    /// withdrawn. Remembered for 30 days. A slot of such an attempt is needed no more.
    fn attempt_applied(&self, attempt: AttemptId) -> Answer<'_, bool>;

    /// Every attempt of an open intent, also of a grant that no account needs or whose secret cannot be opened.
    fn attempts_open(&self) -> Answer<'_, BTreeSet<AttemptId>>;

    /// Sets an account aside; of two ends for one scope the later one holds. An account that is gone needs no block.
    /// At most [`BLOCKS_PER_ACCOUNT_MAX`] are kept, those that end last.
    fn block_put(&self, account: AccountId, block: Block) -> Answer<'_, ()>;

    /// Lifts blocks of an account: one scope, or all.
    fn block_lift(&self, account: AccountId, scope: Option<BlockScope>) -> Answer<'_, ()>;

    /// Stores a new virtual key; a second one with its accessor is refused. Forgets keys of runs that ended 30 days ago.
    fn key_insert(&self, draft: KeyDraft) -> Answer<'_, ()>;

    /// Revokes a virtual key; `false` where there is none.
    fn key_revoke(&self, accessor: Accessor, now: Timestamp) -> Answer<'_, bool>;

    /// Writes sessions' accounts, latest last. Rows over the limit are dropped, oldest use first.
    fn sticky_put(&self, rows: Vec<StickyRow>) -> Answer<'_, ()>;

    /// Sessions' accounts that were used since.
    fn sticky_load(&self, since: Timestamp) -> Answer<'_, Vec<StickyRow>>;

    /// Appends to the audit trail; synced when it returns.
    fn audit_append(&self, entry: AuditEntry) -> Answer<'_, ()>;

    /// The latest entries of the audit trail, latest first.
    fn audit_list(&self, limit: u32) -> Answer<'_, Vec<AuditEntry>>;

    /// The key under which virtual keys are hashed; constant for a vault.
    fn key_hash_key(&self) -> Answer<'_, KeyHashKey>;

    /// The keyed fingerprint of a refresh token or API key; equal secrets have equal fingerprints in one vault.
    fn fingerprint(&self, secret: &str) -> Fingerprint;

    /// Tries to take the lock of a grant, among all processes on this vault. `None` while another holds it. Never blocks.
    fn grant_lock(&self, grant: GrantId) -> Result<Option<GrantLock>, StoreError>;

    /// Creates an empty slot for an answer, allocated and synced.
    fn spill_create(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Answer<'_, ()>;

    /// Seals an answer into its slot; synced when it returns. Headers are cut to 256 bytes, a body over 64 KiB is refused.
    /// This is the moment from which an answer cannot be lost.
    fn spill_write(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId, record: SpillRecord) -> Answer<'_, ()>;

    /// Reads a slot: `None` where there is no answer in it (no slot, or an empty one). A torn, damaged or moved answer is
    /// [`StoreError::Row`] of the table `spill`, row `grant/attempt`.
    fn spill_read(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Answer<'_, Option<SpillRecord>>;

    /// Whether a slot holds no answer at all, whatever it belongs to; `true` where there is none. Needs no key.
    fn spill_is_empty(&self, attempt: AttemptId) -> Answer<'_, bool>;

    /// Removes a slot.
    fn spill_remove(&self, attempt: AttemptId) -> Answer<'_, ()>;

    /// All slots that exist, for recovery at start and for `doctor`.
    fn spill_list(&self) -> Answer<'_, Vec<AttemptId>>;

    /// Ends the store: pending writes are done, the WAL is truncated unless another process reads it. Further calls fail with [`StoreError::Closed`], save
    /// those on locks and spill slots: an answer that is still on its way is kept.
    fn close(&self) -> Answer<'_, ()>;
}

/// 32 bytes under which virtual keys are hashed. Printed as its name only.
pub struct KeyHashKey(pub zeroize::Zeroizing<[u8; 32]>);

impl std::fmt::Debug for KeyHashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHashKey")
    }
}

/// A keyed hash of a secret: tells whether two secrets are the same without telling either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The lock of one grant among all processes. Dropping it frees it; so does the end of the process.
pub struct GrantLock {
    #[expect(dead_code, reason = "held for its Drop")]
    held: Box<dyn Send + Sync>,
}

impl GrantLock {
    /// Wraps whatever holds the lock.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self { held: Box::new(held) }
    }
}

impl std::fmt::Debug for GrantLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrantLock")
    }
}
