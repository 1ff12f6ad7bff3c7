//! Which limit has passed a threshold, told once per window.

use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitStatus};
use std::collections::HashMap;

/// Used fractions that are worth telling a person, in per cent; the last one means that nothing is left.
const THRESHOLDS: [u8; 3] = [100, 90, 75];
/// Use that falls this far below a threshold has been given back: the next crossing is news again.
const FALL: f64 = 0.1;
/// Ends of a window that are told further apart than this are ends of two windows.
const SAME_WINDOW: std::time::Duration = claviger_store::SAME_END_WITHIN;

/// What was told of limits already. Bounded by the limits of the accounts that are there.
#[derive(Debug, Default)]
pub(super) struct Passed(HashMap<(AccountId, String), Mark>);

#[derive(Debug)]
struct Mark {
    percent: u8,
    resets_at: Option<Timestamp>,
}

impl Passed {
    /// The highest threshold that a limit has passed since it was looked at last, if that is news in its window.
    ///
    /// `before` is how it was known before, also by another process: what had been passed then is no news.
    pub(super) fn news(&mut self, account: AccountId, before: Option<&Limit>, limit: &Limit, now: Timestamp) -> Option<u8> {
        let key = (account, limit.id.clone());
        let percent = highest(limit, now);
        let known = self.0.get(&key).filter(|mark| is_same_window(mark.resets_at, limit.resets_at));
        let told_before = || {
            let before = before.filter(|before| !before.is_over(now) && is_same_window(before.resets_at, limit.resets_at))?;
            highest(before, now)
        };
        let told = known.map(|mark| mark.percent).or_else(told_before);
        let fallen = |told: u8| limit.fraction(now).is_some_and(|used| used < f64::from(told) / 100.0 - FALL);
        let told = told.filter(|told| !fallen(*told));
        match percent.max(told) {
            Some(percent) => self.0.insert(key, Mark { percent, resets_at: limit.resets_at }),
            None => self.0.remove(&key),
        };
        percent.filter(|percent| told.is_none_or(|told| *percent > told))
    }

    /// Forgets accounts that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(AccountId) -> bool) {
        self.0.retain(|(account, _), _| is_there(*account));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Windows whose end nobody tells are one.
fn is_same_window(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.until(other).max(other.until(one)) <= SAME_WINDOW,
        (None, None) => true,
        _ => false,
    }
}

fn highest(limit: &Limit, now: Timestamp) -> Option<u8> {
    if limit.status_at(now) == LimitStatus::Exhausted {
        return Some(100);
    }
    let used = limit.fraction(now)?;
    THRESHOLDS.into_iter().find(|percent| used >= f64::from(*percent) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::block::BlockScope;
    use claviger_domain::usage::LimitRole;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp(1_000_000_000);
    const ONE: AccountId = AccountId(1);

    fn limit(used: f64, resets_in: Duration) -> Limit {
        Limit {
            id: "5h".into(),
            label: "5h".into(),
            scope: BlockScope::Account,
            window: None,
            used: Some(used),
            amount: None,
            resets_at: Some(NOW.plus(resets_in)),
            status: LimitStatus::Unknown,
            role: LimitRole::Primary,
        }
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn each_threshold_is_news_once_per_window() {
        let mut passed = Passed::default();
        let mut news = |used, resets_in| passed.news(ONE, None, &limit(used, resets_in), NOW);
        let seen: Vec<_> = [0.1, 0.74, 0.75, 0.8, 0.91, 0.89, 0.92, 1.0, 1.3].into_iter().map(|used| news(used, HOUR)).collect();
        assert_eq!(seen, [None, None, Some(75), None, Some(90), None, None, Some(100), None]);
        assert_eq!(news(0.95, 6 * HOUR), Some(90), "the next window");
        assert_eq!(news(0.96, 6 * HOUR + Duration::from_secs(30)), None, "its end is told a little later");
    }

    #[test]
    fn a_jump_over_all_thresholds_is_one_piece_of_news() {
        assert_eq!(Passed::default().news(ONE, None, &limit(1.0, HOUR), NOW), Some(100));
    }

    #[test]
    fn what_was_passed_before_this_process_began_is_no_news() {
        let before = limit(0.92, HOUR);
        assert_eq!(Passed::default().news(ONE, Some(&before), &limit(0.95, HOUR), NOW), None);
        assert_eq!(Passed::default().news(ONE, Some(&before), &limit(1.0, HOUR), NOW), Some(100));
        assert_eq!(Passed::default().news(ONE, Some(&before), &limit(0.95, 6 * HOUR), NOW), Some(90));
    }

    #[test]
    fn use_that_was_given_back_is_news_when_it_is_gone_again() {
        let mut passed = Passed::default();
        let mut news = |used| passed.news(ONE, None, &limit(used, HOUR), NOW);
        assert_eq!([news(0.95), news(0.2), news(0.95)], [Some(90), None, Some(90)]);
    }
}
