//! What was left of a window when it ended.

use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole, UsageReport};
use std::time::Duration;

/// Shorter windows are throttles: nobody can save what they leave.
const WINDOW_MIN: Duration = Duration::from_hours(1);

/// A window that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) limit: String,
    pub(super) label: String,
    pub(super) unused: f64,
    pub(super) ended_at: Timestamp,
    pub(super) observed_at: Timestamp,
}

/// The windows of `before` that have ended by `now`, or that `after` shows to have been replaced before their time.
pub(super) fn ended(before: &UsageReport, after: &UsageReport, now: Timestamp) -> Vec<Ended> {
    let of = |limit: &Limit| {
        let (used, resets_at) = (limit.fraction(before.observed_at)?, limit.resets_at?);
        let counts = matches!(limit.role, LimitRole::Primary | LimitRole::Secondary);
        if !counts || limit.window.is_none_or(|window| window < WINDOW_MIN) {
            return None;
        }
        let next = after.limit(&limit.id);
        let ended_at = if resets_at <= now { resets_at } else { next.filter(|next| is_replaced(limit, resets_at, next)).map(|_| now)? };
        let unused = (1.0 - used).clamp(0.0, 1.0);
        Some(Ended { limit: limit.id.clone(), label: limit.label.clone(), unused, ended_at, observed_at: before.observed_at })
    };
    before.limits.iter().filter_map(of).collect()
}

/// Whether a window was reset before its end: it is emptier, and ends at least half a window later. One that slides ends a
/// little later with every report.
fn is_replaced(limit: &Limit, resets_at: Timestamp, next: &Limit) -> bool {
    let later = next.resets_at.map(|next| next.until(resets_at)).unwrap_or_default();
    limit.window.is_some_and(|window| later >= window / 2) && next.used < limit.used
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::block::BlockScope;
    use claviger_domain::usage::{LimitStatus, UsageSource};

    const TOLD: Timestamp = Timestamp(1_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn report(at: Timestamp, used: f64, resets_at: Timestamp) -> UsageReport {
        let limit = Limit {
            id: "5h".into(),
            label: "5 h".into(),
            scope: BlockScope::Account,
            window: Some(5 * HOUR),
            used: Some(used),
            amount: None,
            resets_at: Some(resets_at),
            status: LimitStatus::Unknown,
            role: LimitRole::Primary,
        };
        UsageReport { limits: vec![limit], plan: None, observed_at: at, source: UsageSource::Endpoint }
    }

    #[test]
    fn a_window_that_ends_leaves_what_was_unused_when_it_was_told_last() {
        let resets_at = TOLD.plus(HOUR);
        let before = report(TOLD, 0.25, resets_at);
        assert_eq!(ended(&before, &before, resets_at.minus(Duration::from_millis(1))), []);
        let [waste] = ended(&before, &before, resets_at).try_into().unwrap();
        assert_eq!((Some(waste.unused), waste.ended_at, waste.observed_at), (Some(0.75), resets_at, TOLD));
        let overdrawn = report(TOLD, 1.2, resets_at);
        assert_eq!(ended(&overdrawn, &overdrawn, resets_at).first().map(|waste| waste.unused), Some(0.0));
    }

    #[test]
    fn a_window_that_was_reset_early_has_ended_then() {
        let before = report(TOLD, 0.6, TOLD.plus(HOUR));
        let now = TOLD.plus(Duration::from_mins(10));
        let reset = report(now, 0.0, now.plus(5 * HOUR));
        assert_eq!(ended(&before, &reset, now)[0].ended_at, now);
        let slides = report(now, 0.5, TOLD.plus(HOUR + Duration::from_mins(10)));
        assert_eq!(ended(&before, &slides, now), []);
    }

    #[test]
    fn throttles_and_limits_that_order_nothing_leave_no_waste() {
        let resets_at = TOLD.plus(HOUR);
        let mut short = report(TOLD, 0.0, resets_at);
        short.limits[0].window = Some(Duration::from_mins(1));
        let mut shown = report(TOLD, 0.0, resets_at);
        shown.limits[0].role = LimitRole::Shown;
        for report in [short, shown] {
            assert_eq!(ended(&report, &report, resets_at), []);
        }
    }
}
