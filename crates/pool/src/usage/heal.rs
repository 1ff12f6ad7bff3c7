//! Which blocks a report sets, and which it proves to be over. Pure: facts in, verdict out.

use claviger_domain::block::{Block, BlockCause, BlockEnd, BlockScope, EXHAUSTED_GUESS};
use claviger_domain::family::Families;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitStatus, UsageReport};
use std::time::Duration;

/// Headers of an answer that was under way when an account was set aside are told after that and know nothing of it.
pub(crate) const UNDER_WAY: Duration = Duration::from_secs(30);

/// A report and what it is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof<'a> {
    /// What was told just now.
    pub(super) told: &'a UsageReport,
    /// Everything that is known, with what was told.
    pub(super) known: &'a UsageReport,
    /// The families of the provider's models.
    pub(super) families: &'a Families,
    /// When the provider knew what it told, on the boot clock: when it was asked, since its answer takes a while.
    pub(super) known_at: Duration,
}

/// The blocks that exhausted limits ask for: each until its reset, else for a while.
pub(super) fn asked_for(told: &UsageReport, now: Timestamp) -> impl Iterator<Item = Block> {
    told.exhausted(now).map(move |limit| {
        let told = limit.resets_at.filter(|resets_at| *resets_at > now);
        let (until, end) = told.map_or((now.plus(EXHAUSTED_GUESS), BlockEnd::Guessed), |until| (until, BlockEnd::Told));
        Block { scope: limit.scope.clone(), until, end, reason: BlockCause::Quota.reason().to_owned() }
    })
}

/// Whether what was told just now proves that a block is over, of which this process last heard at `met`, on the boot clock: the
/// wall clock may have been set since.
///
/// Only a block of a quota can be: no report says anything of policies or credentials. Every limit that gates the scope of the
/// block, as far as any is known, must have been told now and have something left: the one that is silent may be the one
/// that is used up.
pub(super) fn disproves(proof: Proof<'_>, block: &Block, met: Duration) -> bool {
    let Proof { told, known, families, known_at } = proof;
    let of_a_quota = matches!(block.cause(), None | Some(BlockCause::Quota));
    if !of_a_quota || met >= known_at {
        return false;
    }
    let now = told.observed_at;
    let gates = |limit: &&Limit| limit.role.gates() && !limit.is_over(now) && concerns(&limit.scope, &block.scope, families);
    let has_headroom = |limit: &Limit| matches!(limit.status_at(now), LimitStatus::Ok | LimitStatus::Warning);
    let is_told = |limit: &Limit| told.limits.iter().any(|told| told.id == limit.id && has_headroom(told));
    let mut gating = known.limits.iter().filter(gates).peekable();
    gating.peek().is_some() && gating.all(is_told)
}

/// Whether a limit of one scope says something of a block of another: the same scope, or the meter that the model runs on.
fn concerns(limit: &BlockScope, block: &BlockScope, families: &Families) -> bool {
    match (limit, block) {
        (BlockScope::Tier(_), BlockScope::Model(model)) => limit.covers_in(Some(model), families),
        _ => limit == block,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::family::Family;
    use claviger_domain::usage::{LimitRole, UsageSource};

    const NOW: Timestamp = Timestamp(1_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);

    fn limit(id: &str, scope: BlockScope, used: f64, resets_at: Option<Timestamp>) -> Limit {
        Limit {
            id: id.into(),
            label: id.into(),
            scope,
            window: None,
            used: Some(used),
            amount: None,
            resets_at,
            status: LimitStatus::Unknown,
            role: LimitRole::Primary,
        }
    }

    fn report(source: UsageSource, limits: Vec<Limit>) -> UsageReport {
        UsageReport { limits, plan: None, observed_at: NOW, source }
    }

    fn quota(scope: BlockScope) -> Block {
        Block { scope, until: NOW.plus(HOUR), end: BlockEnd::Told, reason: BlockCause::Quota.reason().into() }
    }

    /// When the reports were asked for, on the boot clock.
    const ASKED: Duration = Duration::from_hours(9);

    fn before(by: Duration) -> Duration {
        ASKED.saturating_sub(by)
    }

    fn disproves(told: &UsageReport, known: &UsageReport, block: &Block, met: Duration) -> bool {
        super::disproves(Proof { told, known, families: &Families::default(), known_at: ASKED }, block, met)
    }

    #[test]
    fn an_exhausted_limit_blocks_until_its_reset_else_a_minute() {
        let resets_at = NOW.plus(2 * HOUR);
        let told = report(
            UsageSource::Endpoint,
            vec![
                limit("5h", BlockScope::Account, 1.0, Some(resets_at)),
                limit("credits", BlockScope::Tier("opus".into()), 1.2, None),
                limit("7d", BlockScope::Account, 0.99, Some(resets_at)),
                limit("old", BlockScope::Account, 1.0, Some(NOW)),
                Limit { role: LimitRole::Shown, ..limit("extra", BlockScope::Account, 1.0, Some(resets_at)) },
            ],
        );
        let blocks: Vec<_> = asked_for(&told, NOW).map(|block| (block.scope, block.until, block.end)).collect();
        let minute = NOW.plus(Duration::from_mins(1));
        assert_eq!(
            blocks,
            [(BlockScope::Account, resets_at, BlockEnd::Told), (BlockScope::Tier("opus".into()), minute, BlockEnd::Guessed)]
        );
    }

    #[test]
    fn a_report_with_headroom_lifts_the_quota_that_it_shows_and_nothing_else() {
        let told = report(UsageSource::Endpoint, vec![limit("5h", BlockScope::Account, 0.2, None)]);
        let earlier = before(Duration::from_secs(1));
        let lifts = |block: &Block| disproves(&told, &told, block, earlier);
        assert!(lifts(&quota(BlockScope::Account)));
        assert!(lifts(&Block { reason: "blocked elsewhere when it was imported".into(), ..quota(BlockScope::Account) }));
        for cause in [BlockCause::Policy, BlockCause::Credential, BlockCause::RateLimit] {
            assert!(!lifts(&Block { reason: cause.reason().into(), ..quota(BlockScope::Account) }), "{cause:?}");
        }
        assert!(!lifts(&quota(BlockScope::Tier("opus".into()))), "the account's limit says nothing of a tier");
        assert!(!lifts(&quota(BlockScope::Model("m".into()))));
    }

    #[test]
    fn a_report_lifts_nothing_that_came_after_it_was_asked_for() {
        let blocked = quota(BlockScope::Account);
        let told = report(UsageSource::Endpoint, vec![limit("5h", BlockScope::Account, 0.2, None)]);
        assert!(!disproves(&told, &told, &blocked, ASKED + Duration::from_secs(1)), "the answer was under way");
        assert!(!disproves(&told, &told, &blocked, ASKED));
        assert!(disproves(&told, &told, &blocked, before(Duration::from_millis(1))));
    }

    #[test]
    fn a_tier_is_the_family_of_its_name_and_not_what_is_called_like_it() {
        let families = Families(vec![Family { name: "chat".into(), patterns: vec!["gpt-*".into()] }]);
        let told = report(UsageSource::Endpoint, vec![limit("chat:5h", BlockScope::Tier("chat".into()), 0.2, None)]);
        let proof = Proof { told: &told, known: &told, families: &families, known_at: ASKED };
        let lifts = |model: &str| super::disproves(proof, &quota(BlockScope::Model(model.into())), before(HOUR));
        assert!(lifts("gpt-5"), "by family, although the name does not say so");
        assert!(!lifts("other-chat"), "by family, although the name says so");
    }

    #[test]
    fn a_limit_that_was_not_told_now_may_be_the_one_that_is_used_up() {
        let told = report(UsageSource::Headers, vec![limit("5h", BlockScope::Account, 0.2, None)]);
        let week = |used| limit("7d", BlockScope::Account, used, Some(NOW.plus(HOUR)));
        let known = |used| report(UsageSource::Headers, vec![told.limits[0].clone(), week(used)]);
        let earlier = before(HOUR);
        assert!(!disproves(&told, &known(1.0), &quota(BlockScope::Account), earlier));
        assert!(!disproves(&told, &known(0.5), &quota(BlockScope::Account), earlier));
        let both = known(0.5);
        assert!(disproves(&both, &both, &quota(BlockScope::Account), earlier));
        let nothing = report(UsageSource::Endpoint, Vec::new());
        assert!(!disproves(&nothing, &nothing, &quota(BlockScope::Account), earlier));
    }

    #[test]
    fn a_tier_with_headroom_lifts_the_block_of_its_models() {
        let told = report(UsageSource::Endpoint, vec![limit("7d:opus", BlockScope::Tier("opus".into()), 0.4, None)]);
        let earlier = before(Duration::from_secs(1));
        assert!(disproves(&told, &told, &quota(BlockScope::Tier("opus".into())), earlier));
        assert!(disproves(&told, &told, &quota(BlockScope::Model("x-opus-4".into())), earlier));
        assert!(!disproves(&told, &told, &quota(BlockScope::Model("x-haiku".into())), earlier));
        assert!(!disproves(&told, &told, &quota(BlockScope::Account), earlier));
    }
}
