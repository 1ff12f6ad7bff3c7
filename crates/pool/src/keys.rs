//! Virtual keys in memory: their keyed digests, and who uses them.

use claviger_contract::{AdmissionSink, KeyGrant, Record};
use claviger_domain::id::AccountId;
use claviger_domain::id::ProviderId;
use claviger_domain::time::{Timestamp, millis};
use claviger_domain::virtual_key::Presented;
use claviger_runtime::Clock;
use claviger_store::{KeyHashKey, KeyRow};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use subtle::ConstantTimeEq;

use crate::Counters;

/// Hashes virtual keys under the vault's own key, so that whoever can only write the database cannot plant one.
pub(crate) struct KeyHasher(KeyHashKey);

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher")
    }
}

impl KeyHasher {
    pub(crate) fn new(key: KeyHashKey) -> Self {
        Self(key)
    }

    /// The digest of a key's whole text.
    pub(crate) fn digest(&self, text: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.0.0, text.as_bytes()).as_bytes()
    }
}

/// A virtual key as requests meet it.
#[derive(Debug)]
pub(crate) struct KeyEntry {
    pub(crate) grant: Arc<KeyGrant>,
    digest: [u8; 32],
    pub(crate) created_at: Timestamp,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) usage: Arc<KeyUse>,
}

impl KeyEntry {
    pub(crate) fn new(row: KeyRow, usage: Arc<KeyUse>) -> Self {
        let KeyRow { key, revoked_at } = row;
        let claviger_store::KeyDraft { accessor, kind, digest, label, providers, accounts, created_at, expires_at } = key;
        usage.ends(expires_at, created_at);
        let grant = Arc::new(KeyGrant { accessor, kind, label, providers, accounts, expires_at });
        Self { grant, digest, created_at, revoked_at, usage }
    }

    /// Whether the presented text is this key's, in constant time.
    pub(crate) fn is(&self, presented: &Presented<'_>, hasher: &KeyHasher) -> bool {
        hasher.digest(presented.expose()).ct_eq(&self.digest).into()
    }

    /// Whether it works at all. Of its ends on the wall clock and on the boot clock the earlier one counts; for a key that does
    /// not end, no clock is asked.
    pub(crate) fn is_active(&self, clock: &dyn Clock) -> bool {
        let ended = |at| clock.now() >= at || millis(clock.boot()) >= self.usage.ends_on_boot_clock.load(Ordering::Relaxed);
        self.revoked_at.is_none() && !self.grant.expires_at.is_some_and(ended)
    }
}

/// How a key is used, since this process started.
#[derive(Debug)]
pub(crate) struct KeyUse {
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    pub(crate) in_flight: AtomicU64,
    pub(crate) requests: AtomicU64,
    /// Milliseconds since the epoch; 0 before the first use.
    used_at: AtomicI64,
    last: arc_swap::ArcSwapOption<(ProviderId, Option<AccountId>)>,
    /// Milliseconds on the boot clock from which the key has ended, whatever the wall clock says. It only shrinks.
    ends_on_boot_clock: AtomicI64,
}

impl KeyUse {
    pub(crate) fn new(clock: Arc<dyn Clock>, counters: Arc<Counters>) -> Self {
        Self {
            clock,
            counters,
            in_flight: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            used_at: AtomicI64::new(0),
            last: arc_swap::ArcSwapOption::empty(),
            ends_on_boot_clock: AtomicI64::new(i64::MAX),
        }
    }

    /// Notes when the key ends. None has more left than its whole life, wherever the wall clock stands by now.
    fn ends(&self, expires_at: Option<Timestamp>, created_at: Timestamp) {
        let Some(at) = expires_at else { return };
        let left = at.until(self.clock.now()).min(at.until(created_at));
        self.ends_on_boot_clock.fetch_min(millis(self.clock.boot().saturating_add(left)), Ordering::Relaxed);
    }

    /// A request of this key begins.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.used_at.store(self.clock.now().0, Ordering::Relaxed);
    }

    pub(crate) fn used_at(&self) -> Option<Timestamp> {
        Some(self.used_at.load(Ordering::Relaxed)).filter(|at| *at != 0).map(Timestamp)
    }

    pub(crate) fn last(&self) -> Option<Arc<(ProviderId, Option<AccountId>)>> {
        self.last.load_full()
    }
}

impl AdmissionSink for KeyUse {
    fn ended(&self, _key: &KeyGrant, record: Option<&Record>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        let Some(record) = record else { return };
        let same = self.last.load().as_ref().is_some_and(|last| last.0 == record.provider && last.1 == record.account);
        if !same {
            self.last.store(Some(Arc::new((record.provider.clone(), record.account))));
        }
    }
}
