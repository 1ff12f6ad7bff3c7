//! A pool with many accounts and keys, in memory.

use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, IdentityView, KeyCreate};
use claviger_domain::virtual_key::{KeyKind, compose};
use claviger_egress::{Egress, EgressConfig};
use claviger_pool::{Pool, PoolParts, PoolSettings, Values};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, NoFailpoints, Supervisor, SystemClock, random_bytes};
use claviger_store::{KeyDraft, MemoryLog, MemoryStore, Store};
use std::sync::Arc;
use std::time::Duration;

/// Opens a pool with so many accounts of one provider, and so many keys beside the one that is given back.
pub(crate) async fn pool_with(accounts: usize, keys: usize) -> (Pool, String) {
    pool_on(Arc::new(SystemClock), accounts, keys).await
}

/// The same on another clock.
pub(crate) async fn pool_on(clock: Arc<dyn Clock>, accounts: usize, keys: usize) -> (Pool, String) {
    let store = Arc::new(MemoryStore::new());
    for _key in 0..keys {
        let (accessor, _text) = compose(KeyKind::Standing, &random_bytes());
        let (label, created_at) = (None, clock.now());
        let (providers, accounts) = (Vec::new(), Vec::new());
        let draft =
            KeyDraft { accessor, kind: KeyKind::Standing, digest: [0; 32], label, providers, accounts, created_at, expires_at: None };
        store.key_insert(draft).await.expect("the vault takes keys");
    }
    let parts = PoolParts {
        store,
        log: Arc::new(MemoryLog::new()),
        egress: Egress::new(EgressConfig::default(), Arc::clone(&clock)),
        clock: Arc::clone(&clock),
        failpoints: Arc::new(NoFailpoints),
        supervisor: Arc::new(Supervisor::new()),
        settings: PoolSettings {
            catalogue: Arc::new(Catalogue::load(None).expect("the built-in catalogue compiles")),
            models: Vec::new(),
            values: Values::default(),
        },
    };
    let pool = Pool::open(parts).await.expect("an empty vault opens");
    let adds = (0..accounts).map(|number| {
        let credential = CredentialAdd::Oauth {
            access: Exposed::new(format!("at-{number}-{}", "x".repeat(100))),
            refresh: Some(Exposed::new(format!("rt-{number}"))),
            expires_at: Some(clock.now().plus(Duration::from_hours(8))),
        };
        let identity = IdentityView { email: Some(format!("user{number}@example.com")), ..IdentityView::default() };
        AccountAdd { identity, ..AccountAdd::new(format!("row {number}"), "anthropic", credential) }
    });
    let report = pool.account_import(adds.collect()).await.expect("the vault takes accounts");
    assert_eq!(report.imported.len(), accounts);
    let created = pool.key_create(KeyCreate::default()).await.expect("the vault takes a key");
    (pool, created.key.expose().to_owned())
}
