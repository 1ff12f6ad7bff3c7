//! Merit: what the order compares two accounts by.

use super::{Candidate, Rule, Scope};
use crate::id::AccountId;
use crate::time::Timestamp;
use crate::usage::{DEFAULT_PRIMARY_WINDOW, DEFAULT_SECONDARY_WINDOW, Limit, LimitRole, NEUTRAL_USED};
use std::cmp::{Ordering, Reverse};
use std::time::Duration;

/// Relative difference below which two measurements are the same: reports round, and noise must not decide.
const TOLERANCE: f64 = 1e-6;
const HOUR_SECS: f64 = 3600.0;

/// What the order compares an account by, in one scope and at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merit {
    /// The account.
    pub account: AccountId,
    /// What holds it back; `None` while it may serve.
    pub held: Option<Held>,
    /// Whether its plan includes the model.
    pub plan: Eligibility,
    /// Whether less is left of a limit than its reserve.
    pub in_reserve: bool,
    /// Set by a person.
    pub priority: i32,
    /// Whether its primary window is hot.
    pub is_hot: bool,
    /// The long window that leaves least per hour.
    pub secondary: Reading,
    /// The short window that leaves least per hour.
    pub primary: Reading,
    /// How many sessions it takes, compared with its equals: what a person set, times the pace of its primary window.
    pub weight: u16,
}

/// What holds an account back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Until when; [`Timestamp::FAR_FUTURE`] where nobody told.
    pub until: Timestamp,
    /// By what.
    pub by: HeldBy,
}

/// By what an account is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeldBy {
    /// Its report says that nothing is left of a limit.
    Exhausted,
    /// A block.
    Block,
}

/// Whether the plan of an account includes a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Eligibility {
    /// It does, or every plan does.
    Eligible,
    /// The plan is not known, or nothing is known of it.
    Unknown,
    /// It does not.
    Ineligible,
}

/// One window as the order sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The used fraction, from 0 to 1; half where nobody told.
    pub used: f64,
    /// The fraction that must be spent per hour so that none of it expires.
    pub drain: f64,
    /// Whether somebody told, or both numbers are neutral.
    pub is_measured: bool,
}

impl Merit {
    /// Weighs an account.
    pub fn of(candidate: &Candidate<'_>, scope: Scope<'_>, rule: &Rule, now: Timestamp) -> Self {
        let limits = candidate.usage.map(|report| report.limits.as_slice()).unwrap_or_default();
        let mut secondary = Reading::neutral(DEFAULT_SECONDARY_WINDOW);
        let mut primary = Reading::neutral(DEFAULT_PRIMARY_WINDOW);
        let (mut held, mut in_reserve) = (None, false);
        for limit in limits.iter().filter(|limit| limit.role.gates() && limit.scope.covers_family(scope.family)) {
            match limit.role {
                LimitRole::Primary => primary.meet(limit, now),
                LimitRole::Secondary => secondary.meet(limit, now),
                LimitRole::Gate | LimitRole::Shown => {}
            }
            in_reserve |= limit.fraction(now).is_some_and(|used| 1.0 - used < candidate.reserve.fraction());
            if limit.is_exhausted(now) {
                held = held.max(Some(Held { until: limit.resets_at.unwrap_or(Timestamp::FAR_FUTURE), by: HeldBy::Exhausted }));
            }
        }
        let blocks = candidate.blocks.iter().filter(|block| block.until > now && block.scope.covers_family(scope.family));
        let blocked = blocks.map(|block| Held { until: block.until, by: HeldBy::Block }).max();
        Self {
            account: candidate.account,
            held: held.max(blocked),
            plan: eligibility(candidate, scope),
            in_reserve,
            priority: candidate.priority,
            is_hot: primary.used >= rule.hot_from,
            secondary,
            primary,
            weight: candidate.weight.get().saturating_mul(pace(&primary)),
        }
    }

    /// Which of two accounts comes first: the first difference decides, and at last the id, so that the order is total.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.class()
            .cmp(&other.class())
            .then_with(|| other.secondary.drain.total_cmp(&self.secondary.drain))
            .then_with(|| self.secondary.used.total_cmp(&other.secondary.used))
            .then_with(|| other.primary.drain.total_cmp(&self.primary.drain))
            .then_with(|| self.primary.used.total_cmp(&other.primary.used))
            .then_with(|| self.account.cmp(&other.account))
    }

    /// The beginning of [`Merit::compare`] as one number: of two accounts the one with the lower key comes first, and the rest
    /// decides only where their keys are the same. Of a thousand accounts ten thousand pairs are compared.
    pub(super) fn key(&self) -> u128 {
        let plan = match self.plan {
            Eligibility::Eligible => 0,
            Eligibility::Unknown => 1,
            Eligibility::Ineligible => 2,
        };
        let priority = !(self.priority.cast_unsigned() ^ 1 << 31);
        let class = [(1, u32::from(self.in_reserve)), (32, priority), (1, u32::from(self.is_hot))];
        let class = class.into_iter().fold(plan, |class: u128, (bits, field)| class << bits | u128::from(field));
        let haste = u128::from(!ascending(self.secondary.drain));
        let Some(held) = self.held else { return class << 64 | haste };
        let until = u128::from(held.until.0.cast_unsigned() ^ 1 << 63);
        let by = u128::from(held.by == HeldBy::Block);
        // One bit, 64, one, the 36 of the class, and what remains for the first 26 of the haste.
        1 << 127 | until << 63 | by << 62 | class << 26 | haste >> 38
    }

    /// What no number outweighs, in this order: held back, the plan, its reserve, what a person set, a hot primary window.
    fn class(&self) -> (Option<Held>, Eligibility, bool, Reverse<i32>, bool) {
        (self.held, self.plan, self.in_reserve, Reverse(self.priority), self.is_hot)
    }

    /// Whether it is as good as the first of an order.
    pub(super) fn is_equal_to(&self, first: &Self, rule: &Rule) -> bool {
        let near = rule.near.min(1.0 - TOLERANCE);
        self.secondary.drain >= first.secondary.drain * near && self.class() == first.class()
    }
}

/// The bits of a number as one that grows with it, in the order of [`f64::total_cmp`].
fn ascending(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

impl Reading {
    fn neutral(window: Duration) -> Self {
        Self { used: NEUTRAL_USED, drain: (1.0 - NEUTRAL_USED) / (window.as_secs_f64() / HOUR_SECS), is_measured: false }
    }

    /// Takes a limit into account: of several the one that leaves least per hour speaks, since it ends the account's use first.
    fn meet(&mut self, limit: &Limit, now: Timestamp) {
        let met = Self { used: limit.used_or_neutral(now), drain: limit.required_drain(now), is_measured: limit.fraction(now).is_some() };
        if !self.is_measured || (met.is_measured && met.drain < self.drain) {
            *self = met;
        }
    }
}

/// How a short window must be spent, in powers of two from 1 to 16: 2 is a whole one with its whole time left, twice that where the
/// same must be spent in half the time. In steps, since every step moves sessions, and small ones are not worth it.
fn pace(primary: &Reading) -> u16 {
    let windows = primary.drain * (DEFAULT_PRIMARY_WINDOW.as_secs_f64() / HOUR_SECS);
    [1, 2, 4, 8].into_iter().find(|pace| windows < f64::from(*pace)).unwrap_or(16)
}

fn eligibility(candidate: &Candidate<'_>, scope: Scope<'_>) -> Eligibility {
    match (scope.plan, candidate.plan) {
        (None, _) => Eligibility::Eligible,
        (Some(need), Some(plan)) if need.row.admits(plan) => Eligibility::Eligible,
        (Some(need), Some(plan)) if need.rules.knows(plan) => Eligibility::Ineligible,
        (Some(_), _) => Eligibility::Unknown,
    }
}
