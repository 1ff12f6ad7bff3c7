//! Selection: which account of a provider serves a request.
//!
//! [`order`] is built when facts change, for each provider and each [`Scope`] of its models. [`choose`] runs per request: it asks
//! about a few accounts, whatever their number, while most of the best tier can serve; only where those few cannot does it ask
//! about all, in order. [`explain`] says afterwards, from the same facts, why it was that account.
//!
//! `docs/selection.md` says why the order is as it is, and what the simulation says of it.

mod explain;
mod merit;
mod rendezvous;
mod stay;

pub use explain::{CacheNote, Considered, Explanation, Price, WhyNot, explain};
pub use merit::{Eligibility, Held, HeldBy, Merit, Reading};
pub use rendezvous::CELLS;
pub use stay::{CACHE_LIFE, Choice, How, Pin, Wanted, choose};

use crate::block::Block;
use crate::cascade::{Rung, Sourced, resolve};
use crate::id::AccountId;
use crate::options::{Reserve, Weight};
use crate::profile::{PlanRow, PlanRules};
use crate::session::{SessionHash, mix};
use crate::time::Timestamp;
use crate::usage::UsageReport;
use rendezvous::{Member, Table};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// What is known of one account when its provider's order is built.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The account.
    pub account: AccountId,
    /// Its source in the cascade.
    pub rung: Rung,
    /// Set by a person; higher is drained first. Default 0.
    pub priority: i32,
    /// The share of each limit that is kept for when nothing else serves.
    pub reserve: Reserve,
    /// How many sessions it takes, compared with its equals.
    pub weight: Weight,
    /// The plan in the provider's word; `None` while nobody has told it.
    pub plan: Option<&'a str>,
    /// What it has left; `None` while nobody has told.
    pub usage: Option<&'a UsageReport>,
    /// Its blocks, also those that have ended or that cover other models.
    pub blocks: &'a [Block],
}

impl Candidate<'_> {
    /// An account of which nothing is known, as a new one.
    pub fn new(account: AccountId, rung: Rung) -> Self {
        let (reserve, weight) = (Reserve::default(), Weight::default());
        Self { account, rung, priority: 0, reserve, weight, plan: None, usage: None, blocks: &[] }
    }
}

/// What an order depends on beside the accounts: models of one scope have the same order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// The family of the model; `None` for a model without one, and for requests that name none.
    pub family: Option<&'a str>,
    /// Which plans may use the model; `None` where all may.
    pub plan: Option<PlanNeed<'a>>,
}

/// Which plans may use a model.
#[derive(Debug, Clone, Copy)]
pub struct PlanNeed<'a> {
    /// All that is known of the provider's plans.
    pub rules: &'a PlanRules,
    /// The row that speaks of the model.
    pub row: &'a PlanRow,
}

/// The numbers of the order. `docs/selection.md` shows what others would do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// From this used fraction on a primary window is hot: new sessions go elsewhere while there is an elsewhere.
    pub hot_from: f64,
    /// Accounts whose required drain is at least this share of the highest one are equals, and share the sessions.
    pub near: f64,
}

impl Rule {
    /// What the simulation chose.
    pub const DEFAULT: Self = Self { hot_from: 0.85, near: 0.4 };
}

/// Most accounts of one provider: positions in the table are 16 bits wide.
pub const ACCOUNTS_PER_PROVIDER_MAX: usize = 65_535;

/// Accounts of one provider in one scope, best first, with a table for sessions.
///
/// A *slot* is a position in the slice of candidates that the order was built from.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The rung that won; `None` while there is no account.
    rung: Option<Rung>,
    /// Slots of the winning rung, best first.
    ranked: Vec<u16>,
    /// The accounts at these slots.
    accounts: Vec<AccountId>,
    /// The best tier, by rendezvous.
    table: Table,
    /// Accounts that a warm session leaves too, by id: those in their reserve while others are not, and those whose plan is not
    /// known to include the model while another's is.
    left: Vec<AccountId>,
}

/// Builds the order. Only the first rung that has any account takes part: a source that exists but cannot serve is
/// broken, and a broken source never silently becomes another. Accounts whose plan is known not to include the model take no part
/// where another's is known to.
///
/// `last` is the order that this one replaces: what of its table still holds is taken over, which changes how long it takes and
/// not what comes out.
pub fn order(candidates: &[Candidate<'_>], scope: Scope<'_>, rule: &Rule, now: Timestamp, last: &Order) -> Order {
    let Some(rung) = winning_rung(candidates) else { return Order::default() };
    let slots = (0..u16::MAX).zip(candidates).filter(|(_, candidate)| candidate.rung == rung);
    let mut merits: Vec<(u16, Merit)> = Vec::with_capacity(candidates.len());
    merits.extend(slots.map(|(slot, candidate)| (slot, Merit::of(candidate, scope, rule, now))));
    let mut ranked = ranked(&merits);
    let has_room = ranked.iter().any(|(_, merit)| merit.held.is_none() && !merit.in_reserve);
    let has_plan = ranked.iter().any(|(_, merit)| merit.plan == Eligibility::Eligible);
    let is_left = |merit: &Merit| has_room && merit.in_reserve || has_plan && merit.plan != Eligibility::Eligible;
    // By slot and not by rank: where candidates come by id, nothing is left to sort.
    let mut left: Vec<AccountId> = merits.iter().filter(|(_, merit)| is_left(merit)).map(|(_, merit)| merit.account).collect();
    left.sort_unstable();
    ranked.retain(|(_, merit)| !has_plan || merit.plan != Eligibility::Ineligible);
    let best = ranked.first().map(|(_, first)| merits.iter().filter(|(_, merit)| merit.is_equal_to(first, rule)));
    let members = best.into_iter().flatten().map(|(slot, merit)| Member { account: merit.account, slot: *slot, weight: merit.weight });
    Order {
        rung: Some(rung),
        table: Table::new(members.collect(), &last.table),
        accounts: ranked.iter().map(|(_, merit)| merit.account).collect(),
        ranked: ranked.iter().map(|(slot, _)| *slot).collect(),
        left,
    }
}

/// The first rung of the cascade that has any account.
fn winning_rung(candidates: &[Candidate<'_>]) -> Option<Rung> {
    let mut present: Vec<Rung> = Vec::new();
    for candidate in candidates {
        if !present.contains(&candidate.rung) {
            present.push(candidate.rung);
        }
    }
    let rungs =
        Rung::ORDER.iter().map(|rung| if present.contains(rung) { Sourced::<_, Infallible>::Found(*rung) } else { Sourced::Absent });
    if let Sourced::Found(rung) = resolve(rungs) { Some(rung) } else { None }
}

/// Merits and their slots, best first. Keys are sorted in place of merits, which are long to move and to compare; what has the same
/// key stays in the order of the slots, which mostly is that of the ids, so that little is left to compare.
fn ranked(merits: &[(u16, Merit)]) -> Vec<&(u16, Merit)> {
    let mut keyed: Vec<(u128, &(u16, Merit))> = merits.iter().map(|ranked| (ranked.1.key(), ranked)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    for same in keyed.chunk_by_mut(|(key, _), (next, _)| key == next) {
        same.sort_unstable_by(|(_, (_, one)), (_, (_, other))| one.compare(other));
    }
    keyed.into_iter().map(|(_, ranked)| ranked).collect()
}

impl Order {
    /// The rung of the cascade that won; accounts of other rungs do not take part.
    pub fn rung(&self) -> Option<Rung> {
        self.rung
    }

    /// All accounts that may serve, best first.
    pub fn accounts(&self) -> &[AccountId] {
        &self.accounts
    }

    /// The slots of [`Order::accounts`], best first.
    pub fn slots(&self) -> impl Iterator<Item = usize> + '_ {
        self.ranked.iter().map(|slot| usize::from(*slot))
    }

    /// Picks a slot for a session, or by `seed` without one. `usable` is asked with a slot and says whether that account may
    /// serve now.
    ///
    /// The session's own account by rendezvous; where that one cannot serve, further cells in a sequence of its own
    /// (so that the sessions of a blocked account spread over all others), and at last the first usable account in order.
    pub fn pick(&self, session: Option<SessionHash>, seed: u64, mut usable: impl FnMut(usize) -> bool) -> Option<usize> {
        let start = session.map_or(seed, |session| session.0);
        let by_rendezvous = (0..PICK_TURNS).filter_map(|turn| self.table.winner(mix(start, turn)));
        by_rendezvous.map(usize::from).find(|slot| usable(*slot)).or_else(|| self.slots().find(|slot| usable(*slot)))
    }

    /// How many accounts share the best tier.
    pub fn best_tier_len(&self) -> usize {
        self.table.members().len()
    }

    /// Whether an account is in the best tier.
    pub fn is_best(&self, account: AccountId) -> bool {
        self.table.has(account)
    }

    /// Whether a session leaves an account although its prompt cache is warm there.
    pub fn is_left(&self, account: AccountId) -> bool {
        !self.left.is_empty() && self.left.binary_search(&account).is_ok()
    }
}

/// Cells that one session tries: with half of the best tier out of service, one session in 256 goes by order.
const PICK_TURNS: u64 = 8;

/// How many cells each account of the best tier owns; for `explain` and tests.
pub fn shares(order: &Order) -> BTreeMap<AccountId, usize> {
    order.table.shares()
}

#[cfg(test)]
mod tests;
