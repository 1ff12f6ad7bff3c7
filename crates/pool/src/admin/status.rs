//! How the whole stands, from the view alone.

use crate::Inner;
use crate::account::{AccountLive, Obstacle, Reach};
use crate::grant::Moment;
use claviger_admin::{FaultView, InUse, LOGIN_ENDS_SOON, ProcessList, ProviderStatus, StatusView, time_text};
use claviger_domain::credential::{GrantState, Standing};
use claviger_domain::time::Timestamp;
use claviger_store::GuardState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Inner {
    pub(super) fn status(&self) -> StatusView {
        let view = self.view.load();
        let moment = Moment::of(&*self.clock);
        let mut providers: BTreeMap<String, ProviderStatus> = BTreeMap::new();
        for account in view.accounts.values() {
            let provider = account.profile.id.to_string();
            let entry = providers.entry(provider.clone()).or_insert_with(|| empty(provider));
            count(entry, account, moment);
        }
        for provider in providers.values_mut().filter(|provider| provider.ready > 0) {
            provider.retry_at = None;
        }
        let quarantined = providers.values().map(|provider| provider.quarantined).sum();
        StatusView {
            degraded: degraded(view.guard, quarantined),
            warnings: unguarded(view.guard).map(str::to_owned).into_iter().chain(self.ending_logins(moment)).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
            providers: providers.into_values().collect(),
            faults: view
                .faults
                .iter()
                .map(|fault| FaultView { row: format!("{} {}", fault.table, fault.row), why: fault.to_string() })
                .collect(),
            keys_active: view.keys.values().filter(|key| key.is_active(&*self.clock)).count() as u64,
            requests_in_flight: self.counters.in_flight.load(Ordering::Relaxed),
            requests_total: self.counters.requests.load(Ordering::Relaxed),
            refreshes_total: self.counters.refreshes.load(Ordering::Relaxed),
            best_effort_failures: claviger_runtime::failures(),
        }
    }

    /// Logins that end soon however often they are refreshed.
    fn ending_logins(&self, moment: Moment) -> Vec<String> {
        let view = self.view.load();
        let ending = |account: &Arc<AccountLive>| {
            let is_soon = |at: &Timestamp| *at <= moment.now.plus(LOGIN_ENDS_SOON);
            let ends_at = self.login_ends_at(account).filter(is_soon).filter(|_| account.row.standing == Standing::Active)?;
            let (id, provider) = (account.row.id, &account.profile.id);
            let verb = if ends_at > moment.now { "ends" } else { "was to end" };
            Some((
                id,
                format!("the login of account {id} {verb} on {}: claviger login {provider} --account {id}", time_text::format(ends_at)),
            ))
        };
        let mut ending: Vec<_> = view.accounts.values().filter_map(ending).collect();
        ending.sort_by_key(|(id, _)| *id);
        ending.into_iter().map(|(_, text)| text).collect()
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

/// Why somebody should look although requests are served. A quarantine that was ended account by account is over.
fn degraded(guard: GuardState, quarantined: u64) -> Vec<String> {
    let why = match guard {
        _ if quarantined == 0 => return Vec::new(),
        GuardState::Behind { epoch, mirror } => {
            format!("this vault was put back from an older copy (it is at {epoch}, and {mirror} was seen before)")
        }
        GuardState::OtherInstance => "another copy of this vault was in use here".to_owned(),
        GuardState::Unguarded | GuardState::Current | GuardState::MirrorAbsent | GuardState::MirrorUnusable => {
            "this vault was put back from an older copy".to_owned()
        }
    };
    let held = match quarantined {
        1 => "1 account is in quarantine: its token serves while it lives, and is not refreshed".to_owned(),
        more => format!("{more} accounts are in quarantine: their tokens serve while they live, and are not refreshed"),
    };
    vec![format!("{why}; {held}")]
}

/// What is not guarded against.
fn unguarded(guard: GuardState) -> Option<&'static str> {
    match guard {
        GuardState::MirrorAbsent => {
            Some("the mirror of the vault's epoch was not there: a copy put back before would not have been noticed")
        }
        GuardState::MirrorUnusable => {
            Some("the mirror of the vault's epoch can be neither read nor written: a copy put back is not noticed")
        }
        GuardState::Unguarded | GuardState::Current | GuardState::Behind { .. } | GuardState::OtherInstance => None,
    }
}

fn empty(provider: String) -> ProviderStatus {
    ProviderStatus { provider, accounts: 0, ready: 0, blocked: 0, needs_login: 0, quarantined: 0, retry_at: None }
}

fn count(entry: &mut ProviderStatus, account: &AccountLive, moment: Moment) {
    entry.accounts += 1;
    let facts = account.grant.facts();
    let value_missing = account.reach == Reach::Unusable && facts.state != GrantState::Live;
    if account.row.standing != Standing::Active || (account.reach != Reach::Admitted && !value_missing) {
        return;
    }
    if facts.state != GrantState::Live {
        entry.needs_login += 1;
        return;
    }
    let held = account.quarantine(&facts).is_some();
    entry.quarantined += u64::from(held);
    match account.obstacle(None, moment) {
        Some(Obstacle::Blocked { until, .. }) => {
            entry.blocked += 1;
            entry.retry_at = Some(entry.retry_at.map_or(until, |at| at.min(until)));
        }
        None if held && !facts.is_sendable(moment) => {}
        None => entry.ready += 1,
    }
}
