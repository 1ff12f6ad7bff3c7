//! Broker and Admin on this machine: the immutable view, leases, refresh flights and their supervision.
//!
//! - `view`: what requests read, built from the vault; `account` and `grant`: its parts that live across views.
//! - `ranking`: a provider's accounts in order, replaced apart from the view.
//! - `lease`: admit and lease, without I/O, and without a lock while no token is due. `report`: what came of attempts.
//! - `ambient`: logins of this machine that are in no vault.
//! - `flight`: one refresh at a time per grant in this process; `refresh`: one refresh, effect by effect.
//! - `care`: checks, what is news of accounts, saved resets. `event`: what has happened, for those who ask.
//! - `login`: logins under way. `control_http`: how everything but requests and refreshes reaches a provider.
//! - `usage`: what accounts have left, learned from answers and endpoints, and what follows from it.
//! - `supervise`: the sweep, changes by other processes, writes behind. `admin`: the control plane.

mod account;
mod admin;
mod ambient;
mod care;
mod control_http;
mod event;
mod flight;
mod follow;
mod grant;
mod keys;
mod lease;
pub mod limits;
mod login;
mod ranking;
mod refresh;
mod report;
mod sticky;
mod supervise;
mod usage;
mod values;
mod view;

use arc_swap::ArcSwap;
use claviger_contract::{Pattern, Routes};
use claviger_domain::id::{InstanceId, ProviderId};
use claviger_domain::time::Timestamp;
use claviger_egress::Egress;
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, Failpoint, Supervisor, random_u128};
use claviger_store::{LogStore, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use ambient::AmbientKey;
pub use event::EVENTS_KEPT;
pub use refresh::FAILPOINTS;
pub use usage::RequestCost;
pub use values::{ValueError, ValueKey, ValueSource, Values};

/// Why a pool cannot open.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The vault failed.
    #[error("the vault cannot be read")]
    Store(#[from] StoreError),
}

/// What a pool is made of.
#[derive(Debug)]
pub struct PoolParts {
    /// Where rows are kept.
    pub store: Arc<dyn Store>,
    /// Where usage is noted as it went; nothing depends on it.
    pub log: Arc<dyn LogStore>,
    /// How providers are reached.
    pub egress: Egress,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where a test may interfere.
    pub failpoints: Arc<dyn Failpoint>,
    /// Who owns its tasks.
    pub supervisor: Arc<Supervisor>,
    /// What a reload may change.
    pub settings: PoolSettings,
}

/// What a reload of the configuration may change.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// The providers.
    pub catalogue: Arc<Catalogue>,
    /// Model patterns and their provider, first match wins.
    pub models: Vec<(Pattern, ProviderId)>,
    /// Credentials that are in no vault, and how values by reference are fetched.
    pub values: Values,
}

impl PoolSettings {
    /// Where requests go under these settings, for whoever answers before a vault is open.
    pub fn routes(&self) -> Routes {
        view::routes(self)
    }
}

/// Implements [`claviger_contract::Broker`] and [`claviger_admin::Admin`] over a vault on this machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    store: Arc<dyn Store>,
    log: Arc<dyn LogStore>,
    egress: Egress,
    clock: Arc<dyn Clock>,
    failpoints: Arc<dyn Failpoint>,
    supervisor: Arc<Supervisor>,
    settings: ArcSwap<PoolSettings>,
    instance: InstanceId,
    started_at: Timestamp,
    started_on_boot_clock: std::time::Duration,
    /// What requests read; replaced as a whole.
    view: ArcSwap<view::View>,
    sticky: sticky::StickyTable,
    keys: keys::KeyHasher,
    writes: supervise::WriteBehind,
    counters: Arc<Counters>,
    /// Which providers' reports of usage have changed: their orders are built again.
    usage_changes: Arc<usage::live::UsageChanges>,
    /// What follows from reports of usage.
    usage_effects: usage::effects::Effects,
    events: Arc<event::Events>,
    /// What was seen of accounts last.
    care: care::Care,
    /// Keys that stand elsewhere.
    values: Arc<values::FetchedValues>,
    /// Credentials of this machine's own logins.
    ambient: ambient::AmbientTable,
    /// Logins that were begun.
    logins: login::Logins,
    /// Guards the building of views, so that an older reading of the vault never replaces a newer one. Held over the reading.
    rebuild: tokio::sync::Mutex<()>,
    attempt_sink: std::sync::OnceLock<Arc<dyn claviger_contract::AttemptSink>>,
}

/// What is counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    in_flight: AtomicU64,
    refreshes: AtomicU64,
}

impl Pool {
    /// Reads the vault and builds the first view. Nothing is refreshed and no background work is begun.
    pub async fn open(parts: PoolParts) -> Result<Self, PoolError> {
        let PoolParts { store, log, egress, clock, failpoints, supervisor, settings } = parts;
        let keys = keys::KeyHasher::new(store.key_hash_key().await?);
        let writes = supervise::WriteBehind::start(&supervisor, Arc::clone(&store), Arc::clone(&clock));
        let events = Arc::new(event::Events::default());
        let usage_effects = usage::effects::Effects::start(&supervisor, Arc::clone(&log), Arc::clone(&events));
        let (started_at, started_on_boot_clock) = (clock.now(), clock.boot());
        let inner = Arc::new(Inner {
            store,
            log,
            egress,
            clock,
            failpoints,
            supervisor,
            settings: ArcSwap::from_pointee(settings),
            instance: InstanceId(random_u128()),
            started_at,
            started_on_boot_clock,
            view: ArcSwap::from_pointee(view::View::default()),
            sticky: sticky::StickyTable::new(),
            keys,
            writes,
            counters: Arc::default(),
            usage_changes: Arc::default(),
            usage_effects,
            events,
            care: care::Care::default(),
            values: Arc::default(),
            ambient: ambient::AmbientTable::default(),
            logins: login::Logins::default(),
            rebuild: tokio::sync::Mutex::new(()),
            attempt_sink: std::sync::OnceLock::new(),
        });
        inner.attempt_sink.get_or_init(|| Arc::new(report::PoolSink::new(Arc::downgrade(&inner))));
        inner.rebuild().await?;
        inner.load_sticky().await?;
        inner.load_usage().await;
        Ok(Self { inner })
    }

    /// Begins the background work of a server: the sweep, changes by other processes, recovery of spilled answers.
    /// It ends when the supervisor stops.
    pub fn serve_background(&self) {
        supervise::start(&self.inner);
    }

    /// Takes over new settings. The view is rebuilt before this returns; requests see the old or the new one, never a mixture.
    pub async fn reconfigure(&self, settings: PoolSettings) -> Result<(), PoolError> {
        self.inner.settings.store(Arc::new(settings));
        Ok(self.inner.rebuild().await?)
    }

    /// Waits until everything that is written behind is on disk. For the end of a process.
    pub async fn flush(&self) {
        self.inner.writes.flush().await;
        self.inner.usage_effects.flush().await;
    }
}

#[cfg(test)]
mod tests;
