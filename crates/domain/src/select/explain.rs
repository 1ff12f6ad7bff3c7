//! Explaining a choice: every account that was considered, how it stood, why it was not chosen, and what moving costs.
//!
//! Nothing is recorded while requests are served: the same facts, question and seed give the same choice again.

use super::merit::HeldBy;
use super::{Candidate, How, Merit, Order, Pin, Rule, Scope, Wanted, choose, order};
use crate::cascade::Rung;
use crate::id::AccountId;
use crate::time::Timestamp;

/// Why a request went to the account that served it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The account and the rule that chose it; `None` where nobody could serve.
    pub chosen: Option<(AccountId, How)>,
    /// All accounts, in the order in which they were considered; those that took no part come last.
    pub considered: Vec<Considered>,
    /// What became of the conversation's prompt cache; `None` where it has not been served before.
    pub cache: Option<CacheNote>,
}

/// One account in an explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Considered {
    /// How it stood.
    pub merit: Merit,
    /// Its tier, the best being 1; `None` for one that took no part.
    pub tier: Option<usize>,
    /// Why it was not chosen; `None` for the one that was.
    pub why_not: Option<WhyNot>,
}

/// Why an account was not chosen. Of several reasons the first one that the order looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum WhyNot {
    /// Its source comes after another that has accounts.
    Rung {
        /// The source that won.
        won: Rung,
    },
    /// Its plan does not include the model, and another's does; or another's is known to.
    Plan,
    /// It could not serve this request, in the words of whoever was asked.
    Unfit(String),
    /// Held back by a block or by an exhausted limit.
    Held {
        /// Until when.
        until: Timestamp,
        /// By what.
        by: HeldBy,
    },
    /// What it has left is its reserve.
    Reserve,
    /// The chosen one has this higher priority.
    Priority {
        /// Of the chosen one.
        chosen: i32,
    },
    /// Its primary window is hot.
    Hot,
    /// The chosen one must be spent faster, so that nothing expires.
    Drain {
        /// Of the chosen one, per hour.
        chosen: f64,
    },
    /// It is the chosen one's equal, and the session falls to the other.
    Rendezvous,
    /// The session stayed where it was.
    SessionStays,
}

/// What became of a conversation's prompt cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheNote {
    /// Where it was served last.
    pub pin: Pin,
    /// What leaving that account costs.
    pub price: Price,
    /// Whether it left.
    pub moved: bool,
}

/// What leaving an account costs a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Price {
    /// Nothing: its prompt cache has gone cold there too.
    Nothing,
    /// A cold prompt cache: this many tokens are read anew, where the provider told how many it had cached.
    ColdPromptCache {
        /// How many; `None` where nobody told.
        tokens: Option<u64>,
    },
}

/// Explains the choice that [`choose`] makes of these accounts. `unfit` says why an account cannot serve this request, for reasons
/// that are not among the facts of the order.
pub fn explain(
    candidates: &[Candidate<'_>],
    (scope, rule): (Scope<'_>, &Rule),
    wanted: &Wanted,
    unfit: impl Fn(AccountId) -> Option<String>,
) -> Explanation {
    let order = order(candidates, scope, rule, wanted.now, &Order::default());
    let account_at = |slot: usize| candidates.get(slot).map(|candidate| candidate.account);
    let slot_of = |account: AccountId| order.slots().find(|slot| account_at(*slot) == Some(account));
    let choice = choose(&order, wanted, slot_of, |slot| account_at(slot).is_some_and(|account| unfit(account).is_none()));
    let chosen = choice.and_then(|choice| Some((account_at(choice.slot)?, choice.how)));
    let merit_at = |slot: usize| candidates.get(slot).map(|candidate| Merit::of(candidate, scope, rule, wanted.now));
    let best = chosen.and_then(|(account, how)| Some((merit_at(slot_of(account)?)?, how)));
    let reason = |merit: &Merit| unfit(merit.account).map(WhyNot::Unfit).or_else(|| why_not(merit, best.as_ref()));
    let mut considered: Vec<Considered> = Vec::new();
    let mut tier: Option<(usize, Merit)> = None;
    for merit in order.slots().filter_map(merit_at) {
        let (number, _) = *match &mut tier {
            Some(tier) if merit.is_equal_to(&tier.1, rule) => tier,
            other => other.insert((other.map_or(1, |(number, _)| number + 1), merit)),
        };
        let why_not = if chosen.is_some_and(|(account, _)| account == merit.account) { None } else { reason(&merit) };
        considered.push(Considered { merit, tier: Some(number), why_not });
    }
    let apart = candidates.iter().filter(|candidate| !order.accounts().contains(&candidate.account));
    considered.extend(apart.map(|candidate| {
        let other_rung = order.rung().filter(|won| *won != candidate.rung);
        let why_not = Some(other_rung.map_or(WhyNot::Plan, |won| WhyNot::Rung { won }));
        Considered { merit: Merit::of(candidate, scope, rule, wanted.now), tier: None, why_not }
    }));
    Explanation { chosen, considered, cache: wanted.pin.map(|pin| cache_note(pin, wanted, chosen)) }
}

fn cache_note(pin: Pin, wanted: &Wanted, chosen: Option<(AccountId, How)>) -> CacheNote {
    let price = if wanted.warm().is_some() { Price::ColdPromptCache { tokens: pin.cached_tokens } } else { Price::Nothing };
    CacheNote { pin, price, moved: chosen.is_some_and(|(account, _)| account != pin.account) }
}

/// The first difference between an account and the chosen one.
fn why_not(merit: &Merit, chosen: Option<&(Merit, How)>) -> Option<WhyNot> {
    let held = merit.held.map(|held| WhyNot::Held { until: held.until, by: held.by });
    let Some((best, how)) = chosen else { return held };
    if held.is_some() {
        return held;
    }
    Some(match how {
        How::Warm | How::StillBest => WhyNot::SessionStays,
        How::Ranked if merit.plan > best.plan => WhyNot::Plan,
        How::Ranked if merit.in_reserve && !best.in_reserve => WhyNot::Reserve,
        How::Ranked if merit.priority < best.priority => WhyNot::Priority { chosen: best.priority },
        How::Ranked if merit.is_hot && !best.is_hot => WhyNot::Hot,
        How::Ranked if merit.secondary.drain < best.secondary.drain => WhyNot::Drain { chosen: best.secondary.drain },
        How::Ranked => WhyNot::Rendezvous,
    })
}
