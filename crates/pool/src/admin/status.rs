//! How the whole stands, from the view alone.

use crate::Inner;
use crate::account::{AccountLive, Obstacle, Reach};
use claviger_admin::{FaultView, InUse, ProcessList, ProviderStatus, StatusView};
use claviger_domain::credential::{GrantState, Standing};
use claviger_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

impl Inner {
    pub(super) fn status(&self) -> StatusView {
        let view = self.view.load();
        let now = self.clock.now();
        let mut providers: BTreeMap<String, ProviderStatus> = BTreeMap::new();
        for account in view.accounts.values() {
            let provider = account.profile.id.to_string();
            let entry = providers.entry(provider.clone()).or_insert_with(|| empty(provider));
            count(entry, account, now);
        }
        for provider in providers.values_mut().filter(|provider| provider.ready > 0) {
            provider.retry_at = None;
        }
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            providers: providers.into_values().collect(),
            faults: view
                .faults
                .iter()
                .map(|fault| FaultView { row: format!("{} {}", fault.table, fault.row), why: fault.to_string() })
                .collect(),
            keys_active: view.keys.values().filter(|key| key.is_active(now)).count() as u64,
            requests_in_flight: self.counters.in_flight.load(Ordering::Relaxed),
            requests_total: self.counters.requests.load(Ordering::Relaxed),
            refreshes_total: self.counters.refreshes.load(Ordering::Relaxed),
            best_effort_failures: claviger_runtime::failures(),
        }
    }

    pub(super) fn processes(&self) -> ProcessList {
        let view = self.view.load();
        let used = view.keys.values().filter(|key| key.usage.requests.load(Ordering::Relaxed) > 0);
        let mut keys: Vec<InUse> = used
            .map(|key| {
                let last = key.usage.last();
                InUse {
                    key: key.grant.accessor.to_string(),
                    label: key.grant.label.clone(),
                    in_flight: key.usage.in_flight.load(Ordering::Relaxed),
                    requests: key.usage.requests.load(Ordering::Relaxed),
                    used_at: key.usage.used_at(),
                    provider: last.as_ref().map(|last| last.0.to_string()),
                    account: last.as_ref().and_then(|last| last.1).map(|account| account.0),
                }
            })
            .collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.used_at));
        ProcessList { keys }
    }
}

fn empty(provider: String) -> ProviderStatus {
    ProviderStatus { provider, accounts: 0, ready: 0, blocked: 0, needs_login: 0, retry_at: None }
}

fn count(entry: &mut ProviderStatus, account: &AccountLive, now: Timestamp) {
    entry.accounts += 1;
    let facts = account.grant.facts();
    if account.row.standing != Standing::Active || account.reach != Reach::Admitted {
        return;
    }
    if facts.state != GrantState::Live {
        entry.needs_login += 1;
        return;
    }
    match account.obstacle(None, now) {
        Some(Obstacle::Blocked { until, .. }) => {
            entry.blocked += 1;
            entry.retry_at = Some(entry.retry_at.map_or(until, |at| at.min(until)));
        }
        None => entry.ready += 1,
    }
}
