//! Staying: a session stays where its prompt cache is warm, and goes by the order when it is cold.

use super::Order;
use crate::id::AccountId;
use crate::session::SessionHash;
use crate::time::Timestamp;
use std::time::Duration;

/// How long a provider keeps a prompt cache that nobody reads, where the catalogue does not say: what providers that document
/// it promise by default. A session that is silent for longer stays only with one of the best.
pub const CACHE_LIFE: Duration = Duration::from_mins(5);

/// Where a session was served last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// By which account.
    pub account: AccountId,
    /// When.
    pub used_at: Timestamp,
    /// How many tokens of its prompt the provider said it had cached. Decides nothing: it is the price of moving, for reasons.
    pub cached_tokens: Option<u64>,
}

/// What a request brings to the choice.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The conversation, where the request names one.
    pub session: Option<SessionHash>,
    /// Where that conversation was served last.
    pub pin: Option<Pin>,
    /// How long the provider keeps a prompt cache.
    pub cache_life: Duration,
    /// Chooses among equals where there is no session.
    pub seed: u64,
    /// The time of the request.
    pub now: Timestamp,
}

/// The account that serves, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its slot.
    pub slot: usize,
    /// By which rule.
    pub how: How,
}

/// By which rule an account was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The session's prompt cache is warm there.
    Warm,
    /// The session was there last, and it is still among the best.
    StillBest,
    /// It is the session's among the best, or the first in order that can serve.
    Ranked,
}

impl Wanted {
    /// The account on which the session's prompt cache is warm.
    pub fn warm(&self) -> Option<AccountId> {
        self.pin.filter(|pin| self.now < pin.used_at.plus(self.cache_life)).map(|pin| pin.account)
    }
}

/// Chooses an account. `slot_of` finds the slot of an account among those that the order was built from; `usable` says whether
/// the account in a slot may serve this request now.
///
/// A warm session stays, also where the order has changed or the account is hot, since moving costs its cache: until the account
/// cannot serve, or comes into its reserve while others have room, or has not the plan for this model while another has. A cold one
/// stays only with one of the best.
pub fn choose(
    order: &Order,
    wanted: &Wanted,
    slot_of: impl Fn(AccountId) -> Option<usize>,
    mut usable: impl FnMut(usize) -> bool,
) -> Option<Choice> {
    if let Some(pin) = wanted.pin {
        let how = if wanted.warm().is_some() { How::Warm } else { How::StillBest };
        let stays = match how {
            How::Warm => !order.is_left(pin.account),
            How::StillBest | How::Ranked => order.is_best(pin.account),
        };
        if let Some(slot) = slot_of(pin.account).filter(|slot| stays && usable(*slot)) {
            return Some(Choice { slot, how });
        }
    }
    order.pick(wanted.session, wanted.seed, usable).map(|slot| Choice { slot, how: How::Ranked })
}
