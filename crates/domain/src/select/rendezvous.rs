//! Rendezvous over a table of cells: which account of a tier a session goes to, so that a change of the tier moves few sessions.

use crate::id::AccountId;
use crate::session::mix;
use std::collections::BTreeMap;

/// Cells of the rendezvous table. Every cell's winner is found by rendezvous hashing over all accounts of the best
/// tier, so that adding the n-th account moves about one session in n. 4,096 cells keep 1,000 accounts within a few
/// cells of their fair share and cost 8 KiB.
pub const CELLS: usize = 4096;

/// Up to so many members a contest is held when it is asked for: that takes as long as to look one up, and a tier of this size
/// is what most providers have.
const CONTEST_MAX: usize = 16;

/// One account of the best tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) account: AccountId,
    pub(super) slot: u16,
    pub(super) weight: u16,
}

/// The members of a tier and the winner of each cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// By id.
    members: Vec<Member>,
    /// Positions in `members`, per cell; empty for a small tier.
    winners: Vec<u16>,
}

impl Table {
    /// Holds the contest of each cell. Where the winner in `last` is still a member with the same weight, it meets only those
    /// that `last` did not know; the outcome is the same.
    pub(super) fn new(mut members: Vec<Member>, last: &Self) -> Self {
        members.sort_unstable_by_key(|member| member.account);
        if members.len() <= CONTEST_MAX {
            return Self { members, winners: Vec::new() };
        }
        let (kept, new) = matched(&members, &last.members);
        if new.is_empty() && kept.len() == members.len() {
            return Self { members, winners: last.winners.clone() };
        }
        let winner = |cell: usize| {
            let champion = last.winners.get(cell).and_then(|old| kept.get(usize::from(*old)).copied().flatten());
            match champion {
                Some(champion) if new.is_empty() => Some(champion),
                Some(champion) => contest(cell as u64, &members, new.iter().copied().chain([champion])),
                None => contest(cell as u64, &members, 0..u16::try_from(members.len()).unwrap_or(u16::MAX)),
            }
        };
        let winners = (0..CELLS).filter_map(winner).collect();
        Self { members, winners }
    }

    /// The slot that a session's hash falls to; `None` where there is nobody.
    pub(super) fn winner(&self, hash: u64) -> Option<u16> {
        let cell = cell_of(hash);
        let at = match self.members.len() {
            0 => return None,
            1 => 0,
            few @ ..=CONTEST_MAX => contest(cell as u64, &self.members, 0..u16::try_from(few).unwrap_or(0))?,
            _ => *self.winners.get(cell)?,
        };
        self.members.get(usize::from(at)).map(|member| member.slot)
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn has(&self, account: AccountId) -> bool {
        self.members.binary_search_by_key(&account, |member| member.account).is_ok()
    }

    pub(super) fn shares(&self) -> BTreeMap<AccountId, usize> {
        let mut shares = BTreeMap::new();
        for cell in 0..CELLS {
            let winner = self.winner((cell as u64) << CELL_SHIFT);
            for member in self.members.iter().filter(|member| Some(member.slot) == winner) {
                *shares.entry(member.account).or_insert(0) += 1;
            }
        }
        shares
    }
}

/// The upper bits of a hash name its cell.
const CELL_SHIFT: u32 = 64 - CELLS.trailing_zeros();

fn cell_of(hash: u64) -> usize {
    usize::try_from(hash >> CELL_SHIFT).unwrap_or(0)
}

/// Where each of the last members stands now, if it is there with the same weight; and who was not there so. Both lists are by id,
/// so that one walk along them tells.
fn matched(members: &[Member], last: &[Member]) -> (Vec<Option<u16>>, Vec<u16>) {
    let (mut kept, mut new) = (Vec::with_capacity(last.len()), Vec::new());
    let mut last = last.iter().peekable();
    for (at, member) in (0..u16::MAX).zip(members) {
        while last.next_if(|old| old.account < member.account).is_some() {
            kept.push(None);
        }
        let same = last.next_if(|old| old.account == member.account).map(|old| old.weight == member.weight);
        kept.extend(same.map(|same| same.then_some(at)));
        if same != Some(true) {
            new.push(at);
        }
    }
    kept.extend(last.map(|_gone| None));
    (kept, new)
}

/// Weighted rendezvous: each contestant's share of the cells is its weight's share of the weights (Schindelhauer and
/// Schomaker, 2005). Of equal scores, which 53 bits hardly ever give, the lower position wins.
fn contest(cell: u64, members: &[Member], contestants: impl Iterator<Item = u16>) -> Option<u16> {
    let mut best: Option<(f64, u16)> = None;
    for at in contestants {
        let Some(member) = members.get(usize::from(at)) else { continue };
        let score = log2(mix(cell, member.account.0.cast_unsigned())) / f64::from(member.weight);
        if best.is_none_or(|(highest, lowest)| score > highest || (score >= highest && at < lowest)) {
            best = Some((score, at));
        }
    }
    best.map(|(_, at)| at)
}

/// The logarithm of a hash as a fraction from 0 to 1, to about a hundredth: a whole table takes millions of them, and shares need
/// no more. It grows with the hash, so that equal weights compare as the hashes do.
fn log2(hash: u64) -> f64 {
    const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = (((hash >> 11) + 1) as f64).to_bits();
    let exponent = (bits >> MANTISSA) as f64 - 1023.0 - 53.0;
    let rest = f64::from_bits(bits & ((1 << MANTISSA) - 1) | 1.0_f64.to_bits()) - 1.0;
    // log2(1 + x) on 0..1, right at both ends.
    exponent + rest + 0.34 * rest * (1.0 - rest)
}
