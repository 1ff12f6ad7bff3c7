//! Limits and reports as parsers build them, and what every report holds whatever a vendor answered.

use super::node::{Node, ParseFault};
use claviger_domain::block::BlockScope;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Amount, LIMITS_MAX, Limit, LimitRole, LimitStatus, UsageReport, UsageSource, status_of};
use std::collections::BTreeSet;
use std::time::Duration;

/// The unit of windows that are told in hours.
pub(super) const HOUR: Duration = Duration::from_hours(1);
/// The short window of most subscriptions.
pub(super) const FIVE_HOURS: Duration = Duration::from_hours(5);
/// A day where a vendor says no more than that.
pub(super) const DAY: Duration = Duration::from_hours(24);
/// The long window of most subscriptions.
pub(super) const WEEK: Duration = Duration::from_hours(7 * 24);
/// A month where a vendor says no more than that.
pub(super) const MONTH: Duration = Duration::from_hours(30 * 24);

/// The farthest reset that is believed: a year and a bit, for budgets by the year. One beyond it counts as not told.
const RESET_MAX: Duration = Duration::from_hours(400 * 24);

/// What a parser found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) limits: Vec<Limit>,
    pub(super) plan: Option<String>,
}

/// A limit of the whole account of which nothing is known yet.
pub(super) fn limit(id: impl Into<String>, label: impl Into<String>, role: LimitRole) -> Limit {
    Limit {
        id: id.into(),
        label: label.into(),
        scope: BlockScope::Account,
        window: None,
        used: None,
        amount: None,
        resets_at: None,
        status: LimitStatus::Unknown,
        role,
    }
}

/// Amounts in a unit; `None` where none was told.
pub(super) fn amount(used: Option<f64>, limit: Option<f64>, remaining: Option<f64>, unit: &str) -> Option<Amount> {
    (used.is_some() || limit.is_some() || remaining.is_some()).then(|| Amount { used, limit, remaining, unit: unit.to_owned() })
}

/// The plan in the vendor's word.
pub(super) fn plan(node: &Node<'_>) -> Result<Option<String>, ParseFault> {
    Ok(node.word()?.map(|word| word.to_lowercase()))
}

/// A short name for the length of a window: `5h`, `7d`, `1mo`; `None` for a length that is no whole number of minutes.
pub(super) fn window_name(window: Duration) -> Option<String> {
    let minutes = window.as_secs() / 60;
    match minutes {
        0 => None,
        43_200 | 44_640 => Some("1mo".to_owned()),
        _ if minutes.is_multiple_of(1440) => Some(format!("{}d", minutes / 1440)),
        _ if minutes.is_multiple_of(60) => Some(format!("{}h", minutes / 60)),
        _ => Some(format!("{minutes}m")),
    }
}

impl Found {
    pub(super) fn of(limits: Vec<Limit>) -> Self {
        Self { limits, plan: None }
    }

    /// The report: each id once, every number finite, nothing negative that cannot be, a status for each limit, and no limit
    /// of which nothing was told, or whose scope has no name: a block of it could not be kept.
    pub(super) fn report(self, source: UsageSource, now: Timestamp) -> UsageReport {
        let mut seen = BTreeSet::new();
        let mut limits: Vec<Limit> = self.limits.into_iter().filter(|limit| seen.insert(limit.id.clone())).take(LIMITS_MAX).collect();
        for limit in &mut limits {
            tidy(limit, now);
        }
        let is_named = |limit: &Limit| !limit.id.is_empty() && BlockScope::from_text(&limit.scope.to_string()).is_some();
        let says = |limit: &Limit| limit.used.is_some() || limit.amount.is_some() || limit.status != LimitStatus::Unknown;
        limits.retain(|limit| is_named(limit) && says(limit));
        UsageReport { limits, plan: self.plan, observed_at: now, source }
    }
}

fn tidy(limit: &mut Limit, now: Timestamp) {
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    if let Some(amount) = &mut limit.amount {
        amount.used = finite(amount.used).map(|used| used.max(0.0));
        amount.limit = finite(amount.limit);
        amount.remaining = finite(amount.remaining);
    }
    limit.amount = limit.amount.take().filter(|amount| amount.used.is_some() || amount.limit.is_some() || amount.remaining.is_some());
    limit.used = finite(limit.used).map(|used| used.max(0.0)).or_else(|| limit.amount.as_ref().and_then(Amount::fraction));
    limit.resets_at = limit.resets_at.filter(|at| *at <= now.plus(RESET_MAX));
    limit.window = limit.window.filter(|window| *window > Duration::ZERO && *window <= RESET_MAX);
    limit.status = status_of(limit.status, limit.used, limit.amount.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_each_id_once_and_only_numbers_that_can_be() {
        let mut odd = limit("a", "A", LimitRole::Gate);
        odd.used = Some(f64::NAN);
        odd.amount = amount(Some(-3.0), Some(f64::INFINITY), Some(-1.0), "usd");
        odd.resets_at = Some(Timestamp::FAR_FUTURE);
        odd.window = Some(Duration::MAX);
        let again = limit("a", "again", LimitRole::Gate);
        let report = Found::of(vec![odd, again]).report(UsageSource::Endpoint, Timestamp(5));
        let [limit] = report.limits.as_slice() else { panic!("{report:?}") };
        assert_eq!((limit.used, limit.resets_at, limit.window, limit.status), (None, None, None, LimitStatus::Exhausted));
        assert_eq!(limit.amount, amount(Some(0.0), None, Some(-1.0), "usd"));
    }

    #[test]
    fn a_limit_of_a_model_without_a_name_is_none() {
        let full = |scope| Limit { scope, used: Some(1.0), ..limit("m", "M", LimitRole::Gate) };
        for scope in [BlockScope::Model(String::new()), BlockScope::Tier(String::new())] {
            assert_eq!(Found::of(vec![full(scope)]).report(UsageSource::Endpoint, Timestamp(5)).limits, []);
        }
        assert_eq!(Found::of(vec![full(BlockScope::Account)]).report(UsageSource::Endpoint, Timestamp(5)).limits.len(), 1);
    }

    #[test]
    fn a_window_is_named_by_its_length() {
        let names: Vec<_> =
            [FIVE_HOURS, DAY, WEEK, MONTH, Duration::from_mins(90), Duration::from_secs(5)].into_iter().map(window_name).collect();
        assert_eq!(names, [Some("5h"), Some("1d"), Some("7d"), Some("1mo"), Some("90m"), None].map(|name| name.map(str::to_owned)));
    }
}
