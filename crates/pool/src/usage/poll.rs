//! The poller: asks usage endpoints rarely, spread over time, and never because a request waits.

use super::effects::Effect;
use super::{flight, schedule};
use crate::account::AccountLive;
use crate::grant::Moment;
use crate::limits::{CLOCK_STEP_MIN, LOG_PRUNE_INTERVAL, USAGE_FLIGHTS_MAX, USAGE_KEPT, USAGE_TICK};
use crate::{Inner, Pool};
use claviger_domain::usage::UsageReport;
use claviger_runtime::{Clock, best_effort};
use claviger_store::{LOG_KEPT, UsageRow};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Looks every [`USAGE_TICK`] what is due. Ends with the pool.
pub(crate) async fn run(inner: Weak<Inner>, clock: Arc<dyn Clock>) {
    let mut pruned: Option<Duration> = None;
    loop {
        clock.sleep(USAGE_TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.usage_tick().await;
        let boot = clock.boot();
        if pruned.is_none_or(|at| boot.saturating_sub(at) >= LOG_PRUNE_INTERVAL) {
            inner.log.prune(clock.now().minus(LOG_KEPT));
            pruned = Some(boot);
        }
    }
}

impl Pool {
    /// One look of the poller: asks the usage endpoints that are due. For tests, and for programs that run no server.
    pub async fn usage_poll(&self) {
        self.inner.usage_tick().await;
    }
}

impl Inner {
    /// One look of the poller: windows that have ended, then endpoints that are due, some at once.
    pub(crate) async fn usage_tick(self: &Arc<Self>) {
        let moment = Moment::of(&*self.clock);
        let view = self.view.load_full();
        self.usage_effects.push(Effect::Left(view.accounts.keys().copied().collect()));
        let mut due = Vec::new();
        for account in view.accounts.values() {
            self.usage_rollover(account, moment.now);
            if flight::obstacle(account).is_none() && is_due(account, self.started_on_boot_clock, moment) {
                due.push(Arc::clone(account));
            }
        }
        self.usage_ask(&due).await;
    }

    /// Whether an account of which nothing is known may be asked for because somebody wants to see it: it never was, or is due.
    pub(super) fn usage_may_be_asked(&self, account: &AccountLive, moment: Moment) -> bool {
        let (pace, ..) = flight::pace(account, moment);
        pace.asked == schedule::Asked::Never || is_due(account, self.started_on_boot_clock, moment)
    }

    /// Asks the endpoints of these accounts, some at once; each at most once at a time.
    pub(super) async fn usage_ask(self: &Arc<Self>, accounts: &[Arc<AccountLive>]) -> Vec<Option<flight::Polled>> {
        let mut polled = Vec::with_capacity(accounts.len());
        for some in accounts.chunks(USAGE_FLIGHTS_MAX) {
            let flights: Vec<_> = some.iter().map(|account| flight::join(self, account)).collect();
            for flight in flights {
                polled.push(flight.await);
            }
        }
        polled
    }

    /// Takes over what an earlier process was told last, as far as it is not too old, nor from the future: the wall clock was set
    /// back since, and such a report would never grow old. What cannot be read is not known.
    pub(crate) async fn load_usage(&self) {
        let now = self.clock.now();
        let Some(rows) = best_effort("read the latest usage", self.log.usage_latest(now.minus(USAGE_KEPT), now.plus(CLOCK_STEP_MIN)).await)
        else {
            return;
        };
        let mut by_account: HashMap<_, Vec<UsageRow>> = HashMap::new();
        for row in rows {
            by_account.entry(row.account).or_default().push(row);
        }
        let view = self.view.load();
        for (id, rows) in by_account {
            let (Some(account), Some(latest)) = (view.accounts.get(&id), rows.iter().max_by_key(|row| row.observed_at)) else { continue };
            let (plan, observed_at, source) = (latest.plan.clone(), latest.observed_at, latest.source);
            let limits: Vec<_> = rows.into_iter().filter(|row| row.provider == account.profile.id).map(|row| row.limit).collect();
            account.usage.replace(|known| match known {
                Some(known) => known.clone(),
                None => UsageReport { limits: limits.clone(), plan: plan.clone(), observed_at, source },
            });
            self.usage_changes.mark(&account.profile.id);
        }
    }
}

fn is_due(account: &AccountLive, started: Duration, moment: Moment) -> bool {
    let (pace, asked_at, seed) = flight::pace(account, moment);
    // What an earlier process was told counts as asked then.
    let told_before = || {
        let age = moment.now.0.saturating_sub(account.usage.report()?.observed_at.0);
        Some(moment.boot.saturating_sub(Duration::from_millis(u64::try_from(age).unwrap_or(0))))
    };
    let has_waited = |since: Duration, pace| moment.boot.saturating_sub(since) >= schedule::wait(pace, seed);
    let Some(asked_at) = asked_at else {
        let is_old = |told_at| has_waited(told_at, schedule::Pace { asked: schedule::Asked::Told, ..pace });
        // However old what was told before is: after a night all of it is, and all would be asked for at the start.
        return has_waited(started, pace) && told_before().is_none_or(is_old);
    };
    has_waited(asked_at, pace)
}
