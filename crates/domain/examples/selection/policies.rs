//! The policies that are compared. All are told the same, and all keep a session where it was while that account serves.

use crate::demand::HOUR;
use crate::world::{Asked, Known, Policy, stamp};
use claviger_domain::block::{Block, BlockEnd, BlockScope};
use claviger_domain::cascade::Rung;
use claviger_domain::id::AccountId;
use claviger_domain::select::{Candidate, Order, Pin, Rule, Scope, Wanted, choose, order};
use claviger_domain::session::SessionHash;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole};
use std::time::Duration;

/// The product's own order and choice, built again every half minute as the product does.
pub(crate) struct Ours {
    rule: Rule,
    order: Order,
    built_at: f64,
    /// How long it takes a prompt cache to live, where that is not how long it does.
    pub(crate) believed_life: Option<f64>,
}

/// How often the product ranks at the least; here also at the most, since half a minute is short beside a window.
const RANK: f64 = 30.0;

impl Ours {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, order: Order::default(), built_at: f64::NEG_INFINITY, believed_life: None }
    }

    fn build(&mut self, known: &[Known], now: f64) {
        let block = |known: &Known| Block {
            scope: BlockScope::Account,
            until: stamp(known.blocked_until),
            end: BlockEnd::Told,
            reason: String::new(),
        };
        let blocks: Vec<Block> = known.iter().map(block).collect();
        let facts = (0..).zip(known.iter().zip(&blocks));
        let candidates: Vec<Candidate<'_>> = facts
            .map(|(id, (known, block))| Candidate {
                usage: known.report.as_ref(),
                blocks: std::slice::from_ref(block),
                ..Candidate::new(AccountId(id), Rung::OAuth)
            })
            .collect();
        self.order = order(&candidates, Scope::default(), &self.rule, stamp(now), &self.order);
        self.built_at = now;
    }
}

impl Policy for Ours {
    fn choose(&mut self, known: &[Known], asked: &Asked) -> Option<usize> {
        if asked.now - self.built_at >= RANK {
            self.build(known, asked.now);
        }
        let pin = asked.pin.map(|(account, at)| Pin { account: AccountId(account as i64), used_at: stamp(at), cached_tokens: None });
        let wanted = Wanted {
            session: Some(hash(asked.session)),
            pin,
            cache_life: Duration::from_secs_f64(self.believed_life.unwrap_or(asked.cache_life)),
            seed: 0,
            now: stamp(asked.now),
        };
        let slot_of = |account: AccountId| usize::try_from(account.0).ok();
        choose(&self.order, &wanted, slot_of, |slot| is_free(known, slot, asked.now)).map(|choice| choice.slot)
    }
}

fn hash(session: u32) -> SessionHash {
    SessionHash::of(&[&session.to_le_bytes()])
}

fn is_free(known: &[Known], account: usize, now: f64) -> bool {
    known[account].blocked_until <= now
}

/// The account where a session was, if that still serves; a limit of idleness makes a session new again.
fn kept(known: &[Known], asked: &Asked, idle_max: f64) -> Option<usize> {
    let (account, at) = asked.pin?;
    (asked.now - at < idle_max && is_free(known, account, asked.now)).then_some(account)
}

/// New sessions in turn.
#[derive(Default)]
pub(crate) struct RoundRobin(usize);

impl Policy for RoundRobin {
    fn choose(&mut self, known: &[Known], asked: &Asked) -> Option<usize> {
        kept(known, asked, f64::INFINITY).or_else(|| {
            let turn = (0..known.len()).map(|step| (self.0 + step) % known.len()).find(|account| is_free(known, *account, asked.now))?;
            self.0 = turn + 1;
            Some(turn)
        })
    }
}

/// New sessions to the first account that serves.
pub(crate) struct FillFirst;

impl Policy for FillFirst {
    fn choose(&mut self, known: &[Known], asked: &Asked) -> Option<usize> {
        kept(known, asked, f64::INFINITY).or_else(|| (0..known.len()).find(|account| is_free(known, *account, asked.now)))
    }
}

/// The older order of omp: what was spent slowest goes first; of the ranks a session takes one by its hash, the best twice as
/// often as the last.
pub(crate) struct OlderOmp;

impl Policy for OlderOmp {
    fn choose(&mut self, known: &[Known], asked: &Asked) -> Option<usize> {
        kept(known, asked, f64::INFINITY).or_else(|| {
            let ranked = ranked(known, asked, |limits| {
                let rate = |limit: Option<&Limit>| limit.map_or(0.5, |limit| limit.drain_rate(stamp(asked.now)));
                [rate(limits.secondary), limits.used_secondary(), rate(limits.primary), limits.used_primary()]
            });
            // Weights fall from 2 to 1 in even steps.
            let last = (ranked.len().max(2) - 1) as f64;
            let weights: Vec<f64> = (0..ranked.len()).map(|rank| 2.0 - rank as f64 / last).collect();
            let mut left = (hash(asked.session).0 >> 11) as f64 * 2_f64.powi(-53) * weights.iter().sum::<f64>();
            let by_hash = ranked.iter().zip(&weights).find(|(_, weight)| {
                left -= **weight;
                left < 0.0
            });
            by_hash.map(|(account, _)| *account).or(ranked.first().copied())
        })
    }
}

/// The newest order of omp: hot primary windows last, measured before unmeasured, then the highest required drain of the weekly
/// window, least used, then the same of the 5-hour window.
pub(crate) struct NewestOmp;

impl Policy for NewestOmp {
    fn choose(&mut self, known: &[Known], asked: &Asked) -> Option<usize> {
        let idle_max = if asked.cache_life >= HOUR { HOUR } else { f64::INFINITY };
        kept(known, asked, idle_max).or_else(|| {
            let ranked = ranked(known, asked, |limits| {
                let drain = |limit: Option<&Limit>, window: f64| limit.map_or(0.5 / window, |limit| limit.required_drain(stamp(asked.now)));
                let hot = f64::from(u8::from(limits.used_primary() >= 0.85));
                let unmeasured = f64::from(u8::from(limits.secondary.is_none()));
                let weekly = [-drain(limits.secondary, 168.0), limits.used_secondary()];
                [hot, unmeasured, weekly[0], weekly[1], -drain(limits.primary, 5.0), limits.used_primary()]
            });
            ranked.first().copied()
        })
    }
}

struct Limits<'a> {
    primary: Option<&'a Limit>,
    secondary: Option<&'a Limit>,
    now: Timestamp,
}

impl Limits<'_> {
    fn used_primary(&self) -> f64 {
        self.primary.map_or(0.5, |limit| limit.used_or_neutral(self.now))
    }

    fn used_secondary(&self) -> f64 {
        self.secondary.map_or(0.5, |limit| limit.used_or_neutral(self.now))
    }
}

/// The accounts that serve, by the first number that differs by more than a millionth, the lowest first.
fn ranked<const N: usize>(known: &[Known], asked: &Asked, key: impl Fn(&Limits<'_>) -> [f64; N]) -> Vec<usize> {
    let mut keyed: Vec<(usize, [f64; N])> = (0..known.len())
        .filter(|account| is_free(known, *account, asked.now))
        .map(|account| {
            let of = |role| known[account].report.as_ref().and_then(|report| report.limits.iter().find(|limit| limit.role == role));
            (account, key(&Limits { primary: of(LimitRole::Primary), secondary: of(LimitRole::Secondary), now: stamp(asked.now) }))
        })
        .collect();
    let round = |number: f64| (number * 1e6).round() as i64;
    keyed.sort_by_key(|(_, key)| key.map(round));
    keyed.into_iter().map(|(account, _)| account).collect()
}
