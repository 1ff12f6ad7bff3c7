//! One limit as of now: a window that has ended counts as unused, and what must be spent by when.

use super::{Amount, Limit, LimitRole, LimitStatus, NEUTRAL_USED, status_of};
use crate::time::Timestamp;
use std::time::Duration;

/// The length of a primary window that nobody told: what most subscriptions have.
pub const DEFAULT_PRIMARY_WINDOW: Duration = Duration::from_hours(5);
/// The length of any other window that nobody told.
pub const DEFAULT_SECONDARY_WINDOW: Duration = Duration::from_hours(7 * 24);
/// A window that ends sooner than this is taken to end after it: else the last seconds would outweigh everything.
pub const DRAIN_FLOOR: Duration = Duration::from_mins(1);

const HOUR_SECS: f64 = 3600.0;

impl Limit {
    /// Whether its window has ended, so that nothing of what was told still holds.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.resets_at.is_some_and(|resets_at| resets_at <= now)
    }

    /// The used fraction: 0 is nothing, 1 is all, more is overdrawn; never negative. `None` where nobody told.
    pub fn fraction(&self, now: Timestamp) -> Option<f64> {
        if self.is_over(now) {
            return Some(0.0);
        }
        let told = self.used.filter(|used| used.is_finite()).map(|used| used.max(0.0));
        told.or_else(|| self.amount.as_ref().and_then(Amount::fraction))
    }

    /// The used fraction for ranking, from 0 to 1; [`NEUTRAL_USED`] where nobody told.
    pub fn used_or_neutral(&self, now: Timestamp) -> f64 {
        self.fraction(now).map_or(NEUTRAL_USED, |used| used.clamp(0.0, 1.0))
    }

    /// The fraction that is left for ranking, from 0 to 1.
    pub fn headroom(&self, now: Timestamp) -> f64 {
        1.0 - self.used_or_neutral(now)
    }

    /// How it stands.
    pub fn status_at(&self, now: Timestamp) -> LimitStatus {
        if self.is_over(now) { LimitStatus::Ok } else { status_of(self.status, self.used, self.amount.as_ref()) }
    }

    /// Whether nothing is left: the provider says so, or, where it says nothing, a number does.
    pub fn is_exhausted(&self, now: Timestamp) -> bool {
        self.status_at(now) == LimitStatus::Exhausted
    }

    /// The time until its window ends; the whole window where nobody told when, and at most that.
    pub fn time_left(&self, now: Timestamp) -> Duration {
        let window = self.window_or_default();
        self.resets_at.filter(|resets_at| *resets_at > now).map_or(window, |resets_at| resets_at.until(now).min(window))
    }

    /// How fast the rest must be spent so that none of it expires: headroom per hour until the reset.
    ///
    /// The time left is at least [`DRAIN_FLOOR`] and at most the window; where nobody told a reset, the whole window is left.
    pub fn required_drain(&self, now: Timestamp) -> f64 {
        self.headroom(now) / (self.time_left(now).max(DRAIN_FLOOR).as_secs_f64() / HOUR_SECS)
    }

    /// How fast it has been spent: the used fraction per hour since the window began.
    ///
    /// The used fraction itself where the window or its end is unknown, or where it has only just begun.
    pub fn drain_rate(&self, now: Timestamp) -> f64 {
        let used = self.used_or_neutral(now);
        let Some((window, resets_at)) = self.window.zip(self.resets_at) else { return used };
        let elapsed = window.saturating_sub(resets_at.until(now)).as_secs_f64() / HOUR_SECS;
        if self.is_over(now) || elapsed <= 0.0 { used } else { used / elapsed }
    }

    /// The limit as it stands now: unchanged while its window runs, unused and without a reset once that has ended.
    #[must_use]
    pub fn as_of(&self, now: Timestamp) -> Self {
        if !self.is_over(now) {
            return self.clone();
        }
        let amount = self.amount.as_ref().map(|amount| Amount {
            used: amount.used.map(|_| 0.0),
            limit: amount.limit,
            remaining: amount.limit.or(amount.remaining),
            unit: amount.unit.clone(),
        });
        Self { used: Some(0.0), amount, resets_at: None, status: LimitStatus::Ok, ..self.clone() }
    }

    fn window_or_default(&self) -> Duration {
        self.window.unwrap_or(match self.role {
            LimitRole::Primary => DEFAULT_PRIMARY_WINDOW,
            LimitRole::Secondary | LimitRole::Gate | LimitRole::Shown => DEFAULT_SECONDARY_WINDOW,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockScope;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn limit(used: Option<f64>) -> Limit {
        Limit {
            id: "w".into(),
            label: "W".into(),
            scope: BlockScope::Account,
            window: Some(Duration::from_hours(5)),
            used,
            amount: None,
            resets_at: Some(NOW.plus(Duration::from_hours(3))),
            status: LimitStatus::Unknown,
            role: LimitRole::Primary,
        }
    }

    fn with_amount(used: Option<f64>, all: Option<f64>, remaining: Option<f64>) -> Limit {
        Limit { amount: Some(Amount { used, limit: all, remaining, unit: "requests".into() }), ..limit(None) }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn unknown_usage_is_neutral_and_known_usage_is_clamped() {
        assert!(near(limit(None).used_or_neutral(NOW), 0.5));
        assert!(near(limit(Some(f64::NAN)).used_or_neutral(NOW), 0.5));
        assert!(near(limit(Some(1.7)).used_or_neutral(NOW), 1.0));
        assert!(near(limit(Some(-1.0)).used_or_neutral(NOW), 0.0));
        assert!(near(limit(Some(1.7)).fraction(NOW).unwrap(), 1.7), "an overdraft is shown as one");
        assert!(near(with_amount(None, Some(10.0), Some(4.0)).used_or_neutral(NOW), 0.6));
    }

    #[test]
    fn six_ways_to_be_exhausted_are_seen_and_near_misses_are_not() {
        let told = Limit { status: LimitStatus::Exhausted, ..limit(Some(0.1)) };
        let exhausted = [
            told,
            limit(Some(1.0)),
            with_amount(None, Some(100.0), Some(0.0)),
            with_amount(Some(50.0), Some(50.0), None),
            with_amount(None, None, Some(-0.5)),
            limit(Some(100.0 / 100.0)),
        ];
        for limit in &exhausted {
            assert!(limit.is_exhausted(NOW), "{limit:?}");
        }
        let near_misses = [
            Limit { status: LimitStatus::Warning, ..limit(Some(0.99)) },
            limit(Some(0.999)),
            with_amount(None, Some(100.0), Some(0.5)),
            with_amount(Some(49.9), Some(50.0), None),
            with_amount(None, None, Some(0.01)),
            limit(None),
        ];
        for limit in &near_misses {
            assert!(!limit.is_exhausted(NOW), "{limit:?}");
        }
    }

    #[test]
    fn the_providers_word_goes_over_its_numbers() {
        let overdraft = Limit { status: LimitStatus::Warning, ..limit(Some(1.0)) };
        assert!(!overdraft.is_exhausted(NOW));
    }

    #[test]
    fn a_window_that_has_ended_is_unused() {
        let later = NOW.plus(Duration::from_hours(3));
        let told = Limit { status: LimitStatus::Exhausted, ..with_amount(Some(9.0), Some(9.0), Some(0.0)) };
        assert!(told.is_exhausted(NOW) && !told.is_exhausted(later));
        assert!(near(told.fraction(later).unwrap(), 0.0));
        assert_eq!(told.as_of(NOW), told);
        let rolled = told.as_of(later);
        assert_eq!((rolled.used, rolled.resets_at, rolled.status), (Some(0.0), None, LimitStatus::Ok));
        assert_eq!(rolled.amount.unwrap().remaining, Some(9.0));
        assert!(near(told.required_drain(later), 1.0 / 5.0), "a whole window is left");
    }

    #[test]
    fn the_required_drain_is_headroom_over_the_hours_left() {
        assert!(near(limit(Some(0.4)).required_drain(NOW), 0.6 / 3.0));
        let ends_now = Limit { resets_at: Some(NOW.plus(Duration::from_secs(2))), ..limit(Some(0.4)) };
        assert!(near(ends_now.required_drain(NOW), 0.6 * 60.0), "the floor is a minute");
        let beyond = Limit { resets_at: Some(NOW.plus(Duration::from_hours(90))), ..limit(Some(0.4)) };
        assert!(near(beyond.required_drain(NOW), 0.6 / 5.0), "the cap is the window");
        let no_reset = Limit { resets_at: None, ..limit(Some(0.4)) };
        assert!(near(no_reset.required_drain(NOW), 0.6 / 5.0));
        let weekly = Limit { resets_at: None, window: None, role: LimitRole::Secondary, ..limit(Some(0.0)) };
        assert!(near(weekly.required_drain(NOW), 1.0 / 168.0));
    }

    #[test]
    fn the_drain_rate_is_use_per_hour_of_the_window() {
        assert!(near(limit(Some(0.5)).drain_rate(NOW), 0.25));
        assert!(near(Limit { resets_at: None, ..limit(Some(0.5)) }.drain_rate(NOW), 0.5));
        assert!(near(Limit { window: None, ..limit(Some(0.5)) }.drain_rate(NOW), 0.5));
        let just_begun = Limit { resets_at: Some(NOW.plus(Duration::from_hours(5))), ..limit(Some(0.5)) };
        assert!(near(just_begun.drain_rate(NOW), 0.5));
    }
}
