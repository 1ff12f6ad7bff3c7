//! The vault in memory, for tests: the same promises as on disk, with failures and delays on demand.

mod state;

use crate::seal::Keyring;
use crate::spill::{SPILL_BODY_MAX_BYTES, SPILL_TABLE, cut_headers};
use crate::{
    AccountDraft, AccountPatch, Answer, AuditEntry, Fingerprint, GrantCommit, GrantLock, GrantRow, GrantTake, GuardState, IntentRow,
    KeyDraft, KeyHashKey, LoadedVault, Placed, Rebind, RowFault, RowFaultKind, SpillRecord, StickyRow, Store, StoreError, Take, TakenRow,
    Write,
};
use claviger_domain::block::{Block, BlockScope};
use claviger_domain::id::{AccountId, AttemptId, GrantId, GrantRevision, RowRevision};
use claviger_domain::origin::StoredOrigins;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Accessor;
use state::{Slot, State};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// A failure that a test asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The disk is full or read-only.
    Unwritable,
    /// The database fails.
    Injected,
    /// The work is done, but the answer to it is lost.
    InjectedAfter,
}

impl Failure {
    fn error(self, operation: &str) -> StoreError {
        match self {
            Self::Unwritable => StoreError::Unwritable { why: operation.to_owned(), source: "no space left".into() },
            Self::Injected | Self::InjectedAfter => StoreError::Injected(operation.to_owned()),
        }
    }
}

/// While it lives, every call of one operation waits before it does anything.
#[derive(Debug)]
pub struct Hold {
    #[expect(dead_code, reason = "held for its Drop, which lets the waiting calls go on")]
    open: watch::Sender<()>,
    waiting: watch::Receiver<usize>,
}

impl Hold {
    /// Waits until this many calls wait.
    pub async fn waiting(&self, calls: usize) {
        drop(self.waiting.clone().wait_for(|waiting| *waiting >= calls).await);
    }
}

/// The store's side of a hold.
#[derive(Debug, Clone)]
struct Gate {
    released: watch::Receiver<()>,
    waiting: Arc<watch::Sender<usize>>,
}

/// What tests have asked for, by operation (the name of a method of [`Store`]).
#[derive(Debug, Default)]
struct Injection {
    failures: HashMap<&'static str, VecDeque<Failure>>,
    holds: HashMap<&'static str, Gate>,
    calls: HashMap<&'static str, u64>,
}

/// A vault in memory.
#[derive(Debug)]
pub struct MemoryStore {
    keyring: Keyring,
    hash_key: Zeroizing<[u8; 32]>,
    /// Guards all rows; held for one operation, never over an await.
    state: Mutex<State>,
    /// Guards what tests asked for; held for a look-up, never over an await.
    injection: Mutex<Injection>,
    /// Guards the set of locked grants; held for a look-up.
    locks: Arc<Mutex<BTreeSet<GrantId>>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// An empty vault.
    pub fn new() -> Self {
        Self {
            keyring: Keyring::new([(1, Zeroizing::new(claviger_runtime::random_bytes()))]),
            hash_key: Zeroizing::new(claviger_runtime::random_bytes()),
            state: Mutex::default(),
            injection: Mutex::default(),
            locks: Arc::default(),
        }
    }

    /// Makes the next call of an operation fail; several failures are taken one by one. `operation` is a method's name.
    pub fn fail_next(&self, operation: &'static str, failure: Failure) {
        lock(&self.injection).failures.entry(operation).or_default().push_back(failure);
    }

    /// Holds every call of an operation until the answer is dropped.
    #[must_use]
    pub fn hold(&self, operation: &'static str) -> Hold {
        let (open, released) = watch::channel(());
        let (sender, waiting) = watch::channel(0);
        lock(&self.injection).holds.insert(operation, Gate { released, waiting: Arc::new(sender) });
        Hold { open, waiting }
    }

    /// How often an operation was called.
    pub fn calls(&self, operation: &'static str) -> u64 {
        lock(&self.injection).calls.get(operation).copied().unwrap_or(0)
    }

    /// Makes the secret of a grant unreadable, as damage on disk does.
    pub fn damage(&self, grant: GrantId) {
        lock(&self.state).damage(grant);
    }

    /// Quarantines every login that is refreshed here, as opening a copy of a vault does.
    pub fn quarantine(&self, now: Timestamp) {
        lock(&self.state).quarantine(now);
    }

    /// What the guard is said to have found from now on.
    pub fn guard_found(&self, found: GuardState) {
        lock(&self.state).guard = found;
    }

    /// Makes an answer in a slot unreadable, as a torn write does.
    pub fn damage_slot(&self, attempt: AttemptId) {
        lock(&self.state).slots.insert(attempt, Slot::Damaged);
    }

    /// Passes the failures and delays of an operation, and then does it.
    fn answer<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl FnOnce(&mut State) -> Result<T, StoreError> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            let failure = self.pass(operation).await;
            if let Some(failure) = failure.filter(|failure| *failure != Failure::InjectedAfter) {
                return Err(failure.error(operation));
            }
            let mut state = lock(&self.state);
            // What is spilled needs no database, here as on disk.
            if state.closed && !operation.starts_with(SPILL_TABLE) {
                return Err(StoreError::Closed);
            }
            let answer = work(&mut state)?;
            failure.map_or(Ok(answer), |failure| Err(failure.error(operation)))
        })
    }

    async fn pass(&self, operation: &'static str) -> Option<Failure> {
        let (failure, gate) = {
            let mut injection = lock(&self.injection);
            *injection.calls.entry(operation).or_default() += 1;
            let failure = injection.failures.get_mut(operation).and_then(VecDeque::pop_front);
            (failure, injection.holds.get(operation).cloned())
        };
        if let Some(mut gate) = gate {
            gate.waiting.send_modify(|waiting| *waiting += 1);
            while gate.released.changed().await.is_ok() {}
        }
        failure
    }
}

/// Frees a grant's lock when it is dropped.
struct Held {
    locks: Arc<Mutex<BTreeSet<GrantId>>>,
    grant: GrantId,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.locks).remove(&self.grant);
    }
}

fn slot_fault(grant: GrantId, attempt: AttemptId, kind: RowFaultKind) -> StoreError {
    RowFault { table: SPILL_TABLE, row: format!("{grant}/{attempt}"), column: "answer", kind }.into()
}

fn slot_io(doing: &'static str, attempt: AttemptId, kind: std::io::ErrorKind) -> StoreError {
    StoreError::Io { doing, path: attempt.to_string().into(), source: kind.into() }
}

impl Store for MemoryStore {
    fn load(&self) -> Answer<'_, LoadedVault> {
        self.answer("load", |state| Ok(state.load()))
    }

    fn version(&self) -> Answer<'_, u64> {
        self.answer("version", |state| Ok(state.version))
    }

    fn account_place(&self, draft: AccountDraft, now: Timestamp) -> Answer<'_, Placed> {
        self.answer("account_place", move |state| Ok(state.account_place(&self.keyring, draft, now)))
    }

    fn account_patch(
        &self,
        account: AccountId,
        replaces: RowRevision,
        patch: AccountPatch,
        now: Timestamp,
    ) -> Answer<'_, Write<RowRevision>> {
        self.answer("account_patch", move |state| Ok(state.account_patch(account, replaces, patch, now)))
    }

    fn account_remove(&self, account: AccountId, replaces: RowRevision) -> Answer<'_, Write<()>> {
        self.answer("account_remove", move |state| Ok(state.account_remove(account, replaces)))
    }

    fn grant_load(&self, grant: GrantId) -> Answer<'_, Option<GrantRow>> {
        self.answer("grant_load", move |state| Ok(state.grant(grant)?.map(state::copy)))
    }

    fn intent_open(&self, grant: GrantId, from: GrantRevision, intent: IntentRow) -> Answer<'_, Write<()>> {
        self.answer("intent_open", move |state| Ok(state.intent_open(grant, from, intent)))
    }

    fn intent_withdraw(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Answer<'_, Write<()>> {
        self.answer("intent_withdraw", move |state| Ok(state.intent_withdraw(grant, from, attempt)))
    }

    fn grant_commit(&self, commit: GrantCommit) -> Answer<'_, Write<GrantRevision>> {
        self.answer("grant_commit", move |state| state.grant_commit(&self.keyring, commit))
    }

    fn grant_bury(&self, grant: GrantId, from: GrantRevision, cause: String, now: Timestamp) -> Answer<'_, Write<()>> {
        self.answer("grant_bury", move |state| Ok(state.grant_bury(grant, from, cause, now)))
    }

    fn grant_release(&self, grant: GrantId) -> Answer<'_, Write<()>> {
        self.answer("grant_release", move |state| Ok(state.grant_release(grant)))
    }

    fn grant_rebind(&self, grant: GrantId, replaces: GrantRevision, origins: StoredOrigins) -> Answer<'_, Rebind> {
        self.answer("grant_rebind", move |state| state.grant_rebind(grant, replaces, origins))
    }

    fn grant_take(&self, take: GrantTake) -> Answer<'_, Take> {
        self.answer("grant_take", move |state| state.grant_take(&self.keyring, take))
    }

    fn taken_list(&self) -> Answer<'_, Vec<TakenRow>> {
        self.answer("taken_list", |state| Ok(state.taken_list()))
    }

    fn attempt_applied(&self, attempt: AttemptId) -> Answer<'_, bool> {
        self.answer("attempt_applied", move |state| Ok(state.applied.contains_key(&attempt)))
    }

    fn attempts_open(&self) -> Answer<'_, BTreeSet<AttemptId>> {
        self.answer("attempts_open", |state| Ok(state.attempts_open()))
    }

    fn block_put(&self, account: AccountId, block: Block) -> Answer<'_, ()> {
        self.answer("block_put", move |state| {
            state.block_put(account, block);
            Ok(())
        })
    }

    fn block_lift(&self, account: AccountId, scope: Option<BlockScope>) -> Answer<'_, ()> {
        self.answer("block_lift", move |state| {
            state.block_lift(account, scope.as_ref());
            Ok(())
        })
    }

    fn key_insert(&self, draft: KeyDraft) -> Answer<'_, ()> {
        self.answer("key_insert", move |state| state.key_insert(draft))
    }

    fn key_revoke(&self, accessor: Accessor, now: Timestamp) -> Answer<'_, bool> {
        self.answer("key_revoke", move |state| Ok(state.key_revoke(accessor, now)))
    }

    fn sticky_put(&self, rows: Vec<StickyRow>) -> Answer<'_, ()> {
        self.answer("sticky_put", move |state| {
            state.sticky_put(rows);
            Ok(())
        })
    }

    fn sticky_load(&self, since: Timestamp) -> Answer<'_, Vec<StickyRow>> {
        self.answer("sticky_load", move |state| Ok(state.sticky_load(since)))
    }

    fn audit_append(&self, entry: AuditEntry) -> Answer<'_, ()> {
        self.answer("audit_append", move |state| {
            state.audit.push(entry);
            Ok(())
        })
    }

    fn audit_list(&self, limit: u32) -> Answer<'_, Vec<AuditEntry>> {
        self.answer("audit_list", move |state| Ok(state.audit.iter().rev().take(limit as usize).cloned().collect()))
    }

    fn key_hash_key(&self) -> Answer<'_, KeyHashKey> {
        self.answer("key_hash_key", |_| Ok(KeyHashKey(self.hash_key.clone())))
    }

    fn fingerprint(&self, secret: &str) -> Fingerprint {
        self.keyring.fingerprint(secret)
    }

    fn grant_lock(&self, grant: GrantId) -> Result<Option<GrantLock>, StoreError> {
        let failure = lock(&self.injection).failures.get_mut("grant_lock").and_then(VecDeque::pop_front);
        if let Some(failure) = failure {
            return Err(failure.error("grant_lock"));
        }
        let taken = lock(&self.locks).insert(grant);
        Ok(taken.then(|| GrantLock::new(Held { locks: Arc::clone(&self.locks), grant })))
    }

    fn spill_create(&self, _grant: GrantId, _from: GrantRevision, attempt: AttemptId) -> Answer<'_, ()> {
        self.answer("spill_create", move |state| {
            if state.slots.contains_key(&attempt) {
                return Err(StoreError::Exists { path: attempt.to_string().into() });
            }
            state.slots.insert(attempt, Slot::Empty);
            Ok(())
        })
    }

    fn spill_write(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId, record: SpillRecord) -> Answer<'_, ()> {
        self.answer("spill_write", move |state| {
            if record.body.len() > SPILL_BODY_MAX_BYTES {
                return Err(slot_io("spilling the answer", attempt, std::io::ErrorKind::FileTooLarge));
            }
            let slot = state.slots.get_mut(&attempt).ok_or_else(|| StoreError::Absent { path: attempt.to_string().into() })?;
            *slot = Slot::Filled { grant, from, record: cut_headers(&record) };
            Ok(())
        })
    }

    fn spill_read(&self, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Answer<'_, Option<SpillRecord>> {
        self.answer("spill_read", move |state| match state.slots.get(&attempt) {
            None | Some(Slot::Empty) => Ok(None),
            Some(Slot::Filled { grant: of, from: since, record }) if (*of, *since) == (grant, from) => Ok(Some(cut_headers(record))),
            Some(Slot::Filled { .. }) => Err(slot_fault(grant, attempt, RowFaultKind::Swapped)),
            Some(Slot::Damaged) => Err(slot_fault(grant, attempt, RowFaultKind::Damaged)),
        })
    }

    fn spill_is_empty(&self, attempt: AttemptId) -> Answer<'_, bool> {
        self.answer("spill_is_empty", move |state| Ok(matches!(state.slots.get(&attempt), None | Some(Slot::Empty))))
    }

    fn spill_remove(&self, attempt: AttemptId) -> Answer<'_, ()> {
        self.answer("spill_remove", move |state| {
            state.slots.remove(&attempt);
            Ok(())
        })
    }

    fn spill_list(&self) -> Answer<'_, Vec<AttemptId>> {
        self.answer("spill_list", |state| Ok(state.slots.keys().copied().collect()))
    }

    fn close(&self) -> Answer<'_, ()> {
        self.answer("close", |state| {
            state.closed = true;
            Ok(())
        })
    }
}
