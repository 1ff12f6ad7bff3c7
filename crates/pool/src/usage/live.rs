//! The report of one account as it stands now, and the signal that one has changed. No lock anywhere.

use super::flight::UsageSlot;
use super::schedule::{Asked, IN_USE, IN_USE_WITHIN, Pace};
use crate::grant::Moment;
use arc_swap::{ArcSwap, ArcSwapOption};
use claviger_domain::id::ProviderId;
use claviger_domain::time::millis;
use claviger_domain::usage::{UsageReport, UsageSource};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// What an account has left, as it was told last. Lives across views, like its blocks.
#[derive(Debug, Default)]
pub(crate) struct AccountUsage {
    report: ArcSwapOption<UsageReport>,
    /// Milliseconds on the boot clock from which headers that change no status are taken over again.
    quiet_until: AtomicI64,
    /// The same of rows of the history.
    unrecorded_until: AtomicI64,
    /// The question to its endpoint that is under way, and when the next one is due.
    pub(crate) flight: UsageSlot,
    /// Milliseconds on the boot clock, plus one, at which it last served; 0 for never.
    served_at: AtomicI64,
}

impl AccountUsage {
    /// The latest report; `None` until somebody has told one. It may be old, and a window of it may have ended: whoever reads
    /// it compares `observed_at` and `resets_at` with the clock.
    pub(crate) fn report(&self) -> Option<Arc<UsageReport>> {
        self.report.load_full()
    }

    /// Replaces the report by what `next` makes of the current one; says what stood, and what stands now. `next` may be asked
    /// again when another one came first.
    pub(crate) fn replace(
        &self,
        mut next: impl FnMut(Option<&UsageReport>) -> UsageReport,
    ) -> (Option<Arc<UsageReport>>, Arc<UsageReport>) {
        loop {
            let current = self.report.load();
            let put = Arc::new(next(current.as_deref()));
            let before = self.report.compare_and_swap(&*current, Some(Arc::clone(&put)));
            let is_ours = match (&*before, &*current) {
                (Some(before), Some(current)) => Arc::ptr_eq(before, current),
                (None, None) => true,
                _ => false,
            };
            if is_ours {
                return (current.clone(), put);
            }
        }
    }

    /// Forgets what was told: a saved reset has made it untrue.
    pub(crate) fn forget(&self) {
        self.report.store(None);
    }

    /// Whether headers that change no status may be taken over now. Of many answers at once one gets it.
    pub(crate) fn take_turn(&self, boot: Duration, interval: Duration) -> bool {
        take(&self.quiet_until, boot, interval)
    }

    /// Whether what was told may go into the history now, although it changes no status.
    pub(crate) fn take_history_turn(&self, boot: Duration, interval: Duration) -> bool {
        take(&self.unrecorded_until, boot, interval)
    }

    /// Notes that it served a request.
    pub(crate) fn note_served(&self, boot: Duration) {
        self.served_at.store(millis(boot).saturating_add(1), Ordering::Relaxed);
    }

    /// What the time of the next question to its endpoint depends on.
    pub(super) fn pace(&self, asked: Asked, moment: Moment) -> Pace {
        let in_use = self.idle(moment.boot).is_some_and(|idle| idle < IN_USE_WITHIN);
        let by_headers = |report: Arc<UsageReport>| report.source == UsageSource::Headers && moment.now.until(report.observed_at) < IN_USE;
        Pace { asked, in_use, fed_by_headers: self.report().is_some_and(by_headers) }
    }

    /// How long ago it last served in this process.
    pub(crate) fn idle(&self, boot: Duration) -> Option<Duration> {
        let served = self.served_at.load(Ordering::Relaxed);
        let idle = millis(boot).saturating_add(1).saturating_sub(served);
        (served != 0).then(|| Duration::from_millis(u64::try_from(idle).unwrap_or(0)))
    }
}

fn take(from: &AtomicI64, boot: Duration, interval: Duration) -> bool {
    let until = from.load(Ordering::Relaxed);
    let next = millis(boot.saturating_add(interval));
    millis(boot) >= until && from.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Providers whose accounts have another report or other blocks than when their order was last built. Marks coalesce: a thousand changes
/// between two looks are one.
#[derive(Debug, Default)]
pub(crate) struct UsageChanges {
    dirty: ArcSwap<BTreeSet<ProviderId>>,
    wake: Notify,
}

impl UsageChanges {
    /// A report of this provider has changed. Cheap where that was marked already.
    pub(crate) fn mark(&self, provider: &ProviderId) {
        if self.dirty.load().contains(provider) {
            return;
        }
        self.dirty.rcu(|dirty| {
            let mut dirty = BTreeSet::clone(dirty);
            dirty.insert(provider.clone());
            dirty
        });
        self.wake.notify_one();
    }

    /// Takes what was marked, without waiting. Whoever takes it reads the reports after.
    pub(crate) fn take(&self) -> Arc<BTreeSet<ProviderId>> {
        self.dirty.swap(Arc::default())
    }

    /// Waits until something is marked; one waiter only. Cancel safe: a mark that nobody took is there at the next call.
    pub(crate) async fn changed(&self) {
        while self.dirty.load().is_empty() {
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::time::Timestamp;

    fn report(at: i64) -> UsageReport {
        UsageReport { limits: Vec::new(), plan: None, observed_at: Timestamp(at), source: UsageSource::Headers }
    }

    #[test]
    fn a_replacement_sees_what_it_replaces() {
        let usage = AccountUsage::default();
        assert!(usage.report().is_none());
        assert!(usage.replace(|_| report(5)).0.is_none());
        let (before, after) = usage.replace(|known| report(known.unwrap().observed_at.0 + 1));
        assert_eq!((before.unwrap().observed_at, after.observed_at), (Timestamp(5), Timestamp(6)));
        assert_eq!(usage.report().unwrap().observed_at, Timestamp(6));
    }

    #[test]
    fn of_many_answers_in_a_second_one_gets_its_turn() {
        let (usage, second) = (AccountUsage::default(), Duration::from_secs(1));
        let taken = (0..10).filter(|tenth| usage.take_turn(Duration::from_millis(5000 + tenth * 90), second)).count();
        assert_eq!(taken, 1);
        assert!(usage.take_turn(Duration::from_secs(6), second));
    }

    #[test]
    fn an_account_that_never_served_is_not_idle_but_unknown() {
        let usage = AccountUsage::default();
        assert_eq!(usage.idle(Duration::from_secs(9)), None);
        usage.note_served(Duration::ZERO);
        assert_eq!(usage.idle(Duration::from_secs(9)), Some(Duration::from_secs(9)));
    }

    #[tokio::test]
    async fn marks_coalesce_and_none_is_lost() {
        let (changes, provider) = (UsageChanges::default(), ProviderId::new("anthropic").unwrap());
        for _ in 0..1000 {
            changes.mark(&provider);
        }
        changes.changed().await;
        assert_eq!(changes.take().iter().collect::<Vec<_>>(), [&provider]);
        assert!(changes.take().is_empty());
        changes.mark(&provider);
        changes.changed().await;
        assert_eq!(changes.take().len(), 1);
    }
}
