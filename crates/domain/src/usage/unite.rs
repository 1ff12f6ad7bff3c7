//! Several reports made one: a newer one over an older one, and those of one account that came in twice.

use super::{LIMITS_MAX, Limit, UsageReport, UsageSource};
use crate::identity::Identity;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

impl UsageReport {
    /// The limit with this id.
    pub fn limit(&self, id: &str) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.id == id)
    }

    /// The limits because of which a request is pointless now, whatever their scope.
    pub fn exhausted(&self, now: Timestamp) -> impl Iterator<Item = &Limit> {
        self.limits.iter().filter(move |limit| limit.role.gates() && limit.is_exhausted(now))
    }

    /// What is known after `newer`, told later than `self`: its limits replace those with the same id.
    ///
    /// Headers tell a part, so other limits are kept. The endpoint tells all, so other limits are kept only while their
    /// window is known to run: that may be one that only headers tell. A length or an end that the newer one leaves out
    /// is kept while it can still hold. A `newer` that is in truth the older one fills in what is missing.
    #[must_use]
    pub fn merged(self, newer: Self, now: Timestamp) -> Self {
        if newer.observed_at < self.observed_at {
            return newer.merged(self, now);
        }
        let Self { limits: old, plan, observed_at: _, source: _ } = self;
        let mut limits = newer.limits;
        for old in old {
            match limits.iter_mut().find(|limit| limit.id == old.id) {
                Some(limit) => {
                    limit.window = limit.window.or(old.window);
                    limit.resets_at = limit.resets_at.or(old.resets_at.filter(|resets_at| *resets_at > now));
                }
                None if newer.source == UsageSource::Headers || old.resets_at.is_some_and(|at| at > now) => limits.push(old),
                None => {}
            }
        }
        limits.truncate(LIMITS_MAX);
        Self { limits, plan: newer.plan.or(plan), observed_at: newer.observed_at, source: newer.source }
    }
}

/// One report an account: those of one identity are merged, the newest over the older ones and the richer one on a tie.
///
/// What tells accounts apart is [`Identity::key`]; reports without identity stay alone. The order is that of first sight,
/// and the identity that of the newest report, filled in from the others.
pub fn unite(reports: Vec<(Identity, UsageReport)>, now: Timestamp) -> Vec<(Identity, UsageReport)> {
    let mut united: Vec<(Identity, UsageReport)> = Vec::with_capacity(reports.len());
    let mut places = BTreeMap::new();
    for (identity, report) in reports {
        let identity = identity.normalized();
        let known = identity.key().and_then(|key| match places.entry(key) {
            Entry::Occupied(place) => united.get_mut(*place.get()),
            Entry::Vacant(place) => {
                place.insert(united.len());
                None
            }
        });
        match known {
            None => united.push((identity, report)),
            Some((known, merged)) => {
                let is_newer = rank(&report) > rank(merged);
                let known_before = std::mem::take(known);
                *known = if is_newer { filled(identity, known_before) } else { filled(known_before, identity) };
                let before = std::mem::replace(merged, UsageReport { limits: Vec::new(), plan: None, ..*merged });
                *merged = if is_newer { all_of(before, report, now) } else { all_of(report, before, now) };
            }
        }
    }
    united
}

/// Newest first, then richest.
fn rank(report: &UsageReport) -> (Timestamp, usize) {
    (report.observed_at, report.limits.len())
}

/// The union: unlike [`UsageReport::merged`] no limit of the older report is dropped, since both are answers of one kind.
fn all_of(older: UsageReport, newer: UsageReport, now: Timestamp) -> UsageReport {
    let source = newer.source;
    UsageReport { source, ..older.merged(UsageReport { source: UsageSource::Headers, ..newer }, now) }
}

fn filled(first: Identity, other: Identity) -> Identity {
    Identity {
        account_id: first.account_id.or(other.account_id),
        email: first.email.or(other.email),
        org_id: first.org_id.or(other.org_id),
        org_name: first.org_name.or(other.org_name),
        project_id: first.project_id.or(other.project_id),
        enterprise_url: first.enterprise_url.or(other.enterprise_url),
        api_endpoint: first.api_endpoint.or(other.api_endpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockScope;
    use crate::usage::{LimitRole, LimitStatus};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn limit(id: &str, used: f64, resets_at: Option<i64>) -> Limit {
        Limit {
            id: id.into(),
            label: id.to_uppercase(),
            scope: BlockScope::Account,
            window: None,
            used: Some(used),
            amount: None,
            resets_at: resets_at.map(Timestamp),
            status: LimitStatus::Unknown,
            role: LimitRole::Primary,
        }
    }

    fn report(source: UsageSource, observed_at: i64, limits: Vec<Limit>) -> UsageReport {
        UsageReport { limits, plan: None, observed_at: Timestamp(observed_at), source }
    }

    fn ids(report: &UsageReport) -> Vec<(&str, Option<f64>)> {
        report.limits.iter().map(|limit| (limit.id.as_str(), limit.used)).collect()
    }

    #[test]
    fn headers_replace_limits_by_id_and_keep_the_others() {
        let mut endpoint = report(UsageSource::Endpoint, 1, vec![limit("5h", 0.1, None), limit("7d", 0.2, None)]);
        endpoint.plan = Some("pro".into());
        let merged = endpoint.merged(report(UsageSource::Headers, 2, vec![limit("5h", 0.3, None)]), NOW);
        assert_eq!(ids(&merged), [("5h", Some(0.3)), ("7d", Some(0.2))]);
        assert_eq!((merged.plan.as_deref(), merged.observed_at), (Some("pro"), Timestamp(2)));
    }

    #[test]
    fn the_endpoint_drops_what_it_no_longer_tells_unless_that_still_runs() {
        let old = report(
            UsageSource::Headers,
            1,
            vec![limit("gone", 0.1, None), limit("runs", 0.2, Some(NOW.0 + 1)), limit("ended", 1.0, Some(1))],
        );
        let merged = old.merged(report(UsageSource::Endpoint, 2, vec![limit("5h", 0.3, None)]), NOW);
        assert_eq!(ids(&merged), [("5h", Some(0.3)), ("runs", Some(0.2))]);
    }

    #[test]
    fn an_answer_that_comes_late_does_not_undo_a_newer_one() {
        let newer = report(UsageSource::Headers, 5, vec![limit("5h", 0.9, None)]);
        let late = report(UsageSource::Headers, 3, vec![limit("5h", 0.1, None), limit("7d", 0.2, None)]);
        let merged = newer.merged(late, NOW);
        assert_eq!(ids(&merged), [("5h", Some(0.9)), ("7d", Some(0.2))]);
        assert_eq!(merged.observed_at, Timestamp(5));
    }

    #[test]
    fn a_length_and_an_end_that_still_holds_are_kept() {
        let mut known = limit("5h", 0.1, Some(NOW.0 + 9));
        known.window = Some(Duration::from_hours(5));
        let ended = limit("7d", 0.1, Some(NOW.0 - 9));
        let old = report(UsageSource::Endpoint, 1, vec![known, ended]);
        let merged = old.merged(report(UsageSource::Headers, 2, vec![limit("5h", 0.2, None), limit("7d", 0.2, None)]), NOW);
        let found = merged.limit("5h").unwrap();
        assert_eq!((found.window, found.resets_at), (Some(Duration::from_hours(5)), Some(Timestamp(NOW.0 + 9))));
        assert_eq!(merged.limit("7d").unwrap().resets_at, None);
    }

    fn identity(email: &str, project: &str) -> Identity {
        Identity { email: Some(email.into()), project_id: Some(project.into()), ..Identity::default() }
    }

    #[test]
    fn two_reports_of_one_mail_are_one_with_all_limits_the_newest_first() {
        let old = report(UsageSource::Endpoint, 1, vec![limit("5h", 0.1, None), limit("7d", 0.2, None)]);
        let new = report(UsageSource::Endpoint, 2, vec![limit("5h", 0.3, None)]);
        for reports in [[old.clone(), new.clone()], [new, old]] {
            let [first, second] = reports;
            let mut named = identity(" A@x.example", "p");
            named.org_name = Some("Acme".into());
            let united = unite(vec![(named, first), (identity("a@x.example", "p"), second)], NOW);
            let [(identity, merged)] = united.as_slice() else { panic!("{united:?}") };
            assert_eq!(ids(merged), [("5h", Some(0.3)), ("7d", Some(0.2))]);
            assert_eq!((merged.observed_at, merged.source), (Timestamp(2), UsageSource::Endpoint));
            assert_eq!(identity.org_name.as_deref(), Some("Acme"));
        }
    }

    #[test]
    fn two_mails_in_one_project_stay_two_and_the_nameless_stay_alone() {
        let told = || report(UsageSource::Endpoint, 1, vec![limit("5h", 0.1, None)]);
        assert_eq!(unite(vec![(identity("a@x.example", "p"), told()), (identity("b@x.example", "p"), told())], NOW).len(), 2);
        assert_eq!(unite(vec![(Identity::default(), told()), (Identity::default(), told())], NOW).len(), 2);
        let by_project = || Identity { project_id: Some("p".into()), ..Identity::default() };
        assert_eq!(unite(vec![(by_project(), told()), (by_project(), told())], NOW).len(), 1);
    }
}
