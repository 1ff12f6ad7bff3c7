//! Selection: which account of a provider serves a request.
//!
//! `order` is rebuilt when facts change. `pick` runs per request: it asks about a few accounts, whatever their number, while
//! most of the best tier can serve; only where those few cannot does it ask about all, in order.

use crate::cascade::{Rung, Sourced, resolve};
use crate::id::AccountId;
use crate::session::{SessionHash, mix};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Cells of the rendezvous table. Every cell's winner is found by rendezvous hashing over all accounts of the best
/// tier, so that adding the n-th account moves about one session in n. 4,096 cells keep 1,000 accounts within a few
/// cells of their fair share and cost 8 KiB.
pub const CELLS: usize = 4096;

/// What is known of one account when its provider's order is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The account.
    pub account: AccountId,
    /// Its source in the cascade.
    pub rung: Rung,
    /// Set by a person; higher is drained first. Default 0.
    pub priority: i32,
}

/// Accounts of one provider, best first, with a table for sessions.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The rung that won; `None` while there is no account.
    rung: Option<Rung>,
    /// All candidates of the winning rung, best tier first; within a tier by id.
    accounts: Vec<AccountId>,
    /// How many of them form the best tier.
    best: usize,
    /// Positions in `accounts`, per cell.
    cells: Vec<u16>,
}

/// Most accounts of one provider: positions in the table are 16 bits wide.
pub const ACCOUNTS_PER_PROVIDER_MAX: usize = 65_535;

/// Builds the order. Only the first rung that has any account takes part: a source that exists but cannot serve is
/// broken, and a broken source never silently becomes another.
pub fn order(candidates: &[Candidate]) -> Order {
    let rungs = Rung::ORDER.iter().map(|rung| {
        let on_rung: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.rung == *rung).collect();
        if on_rung.is_empty() { Sourced::<_, Infallible>::Absent } else { Sourced::Found((*rung, on_rung)) }
    });
    let Sourced::Found((rung, mut ranked)) = resolve(rungs) else {
        return Order::default();
    };
    ranked.sort_by_key(|candidate| (std::cmp::Reverse(candidate.priority), candidate.account));
    ranked.truncate(ACCOUNTS_PER_PROVIDER_MAX);
    let best = ranked.iter().take_while(|candidate| Some(candidate.priority) == ranked.first().map(|first| first.priority)).count();
    let accounts: Vec<AccountId> = ranked.iter().map(|candidate| candidate.account).collect();
    let cells = if best < 2 { Vec::new() } else { cells(accounts.get(..best).unwrap_or_default()) };
    Order { rung: Some(rung), accounts, best, cells }
}

fn cells(best: &[AccountId]) -> Vec<u16> {
    (0..CELLS as u64)
        .map(|cell| {
            let winner = best.iter().enumerate().max_by_key(|(_, account)| mix(cell, account.0.cast_unsigned()));
            winner.and_then(|(position, _)| u16::try_from(position).ok()).unwrap_or(0)
        })
        .collect()
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

    /// Picks an account for a session, or by `seed` without one. `usable` is asked with a position in [`Order::accounts`]
    /// and says whether that account may serve now.
    ///
    /// The session's own account by rendezvous; where that one cannot serve, further cells in a sequence of its own
    /// (so that the sessions of a blocked account spread over all others), and at last the first usable account in order.
    pub fn pick(&self, session: Option<SessionHash>, seed: u64, mut usable: impl FnMut(usize) -> bool) -> Option<AccountId> {
        if !self.cells.is_empty() {
            let start = session.map_or(seed, |session| session.0);
            for turn in 0..8 {
                let cell = usize::try_from(mix(start, turn) >> 52).unwrap_or(0);
                let position = usize::from(self.cells.get(cell % CELLS).copied().unwrap_or(0));
                if usable(position) {
                    return self.accounts.get(position).copied();
                }
            }
        }
        (0..self.accounts.len()).find(|position| usable(*position)).and_then(|position| self.accounts.get(position).copied())
    }

    /// How many accounts share the best tier.
    pub fn best_tier_len(&self) -> usize {
        self.best
    }
}

/// How many cells each account of the best tier owns; for `explain` and tests.
pub fn shares(order: &Order) -> BTreeMap<AccountId, usize> {
    let mut shares = BTreeMap::new();
    for position in &order.cells {
        if let Some(account) = order.accounts.get(usize::from(*position)) {
            *shares.entry(*account).or_insert(0) += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(count: i64) -> Vec<Candidate> {
        (1..=count).map(|id| Candidate { account: AccountId(id), rung: Rung::OAuth, priority: 0 }).collect()
    }

    fn picks(order: &Order, sessions: u64) -> Vec<AccountId> {
        (0..sessions).map(|session| order.pick(Some(SessionHash(mix(session, 1))), 0, |_| true).unwrap()).collect()
    }

    #[test]
    fn a_session_stays_with_its_account() {
        let order = order(&many(7));
        assert_eq!(picks(&order, 500), picks(&order, 500));
    }

    #[test]
    fn adding_an_account_moves_few_sessions_and_only_to_it() {
        let (before, after) = (order(&many(10)), order(&many(11)));
        let (old, new) = (picks(&before, 10_000), picks(&after, 10_000));
        let moved: Vec<_> = old.iter().zip(&new).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(_, new)| **new == AccountId(11)), "a session moved between old accounts");
        assert!((600..1300).contains(&moved.len()), "{} of 10,000 moved", moved.len());
    }

    #[test]
    fn cells_are_shared_fairly() {
        let shares = shares(&order(&many(16)));
        assert_eq!(shares.len(), 16);
        assert!(shares.values().all(|cells| (180..340).contains(cells)), "{shares:?}");
    }

    #[test]
    fn the_sessions_of_a_blocked_account_spread_over_all_others() {
        let order = order(&many(5));
        let mut seen = std::collections::BTreeSet::new();
        for session in 0..2000 {
            seen.insert(order.pick(Some(SessionHash(session)), 0, |position| order.accounts()[position] != AccountId(3)).unwrap());
        }
        assert_eq!(seen.len(), 4);
        assert!(!seen.contains(&AccountId(3)));
    }

    #[test]
    fn a_higher_priority_is_drained_first_and_the_rest_takes_over() {
        let mut candidates = many(3);
        candidates[2].priority = 5;
        let order = order(&candidates);
        assert!(picks(&order, 50).iter().all(|account| *account == AccountId(3)));
        assert_eq!(order.pick(None, 1, |position| order.accounts()[position] != AccountId(3)), Some(AccountId(1)));
    }

    #[test]
    fn a_login_that_cannot_serve_does_not_become_a_key() {
        let mut candidates = many(1);
        candidates.push(Candidate { account: AccountId(9), rung: Rung::LoginKey, priority: 9 });
        let order = order(&candidates);
        assert_eq!(order.pick(None, 0, |position| order.accounts()[position] != AccountId(1)), None);
    }

    #[test]
    fn without_a_session_the_seed_spreads_requests() {
        let order = order(&many(4));
        let seen: std::collections::BTreeSet<_> = (0..64).filter_map(|seed| order.pick(None, mix(seed, 0), |_| true)).collect();
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn nothing_usable_is_said_as_nothing() {
        assert_eq!(order(&many(3)).pick(None, 0, |_| false), None);
        assert_eq!(order(&[]).pick(None, 0, |_| true), None);
    }
}
