//! The refresh of one grant as a machine: an event in, one effect out.
//!
//! The promise that it keeps: a refresh token that may be single use is never sent twice, except for one journalled replay of a
//! lost answer. Whoever runs it holds the grant's lock among all processes, carries out each effect, and feeds the result back
//! as the next event.

use crate::id::{AttemptId, GrantRevision};
use crate::profile::Rotation;
use crate::time::Timestamp;
use std::time::Duration;

mod due;
pub use due::{LEAD_MIN, REQUEST_LEAD_MAX, SEND_MARGIN_MAX, due_for_request, due_for_sweep, request_lead, sendable};

/// Most POSTs of one flight: the first one and one replay of a lost answer.
pub const SENDS_PER_FLIGHT_MAX: u32 = 2;
/// A strict grant whose answer was lost uses its live token up; this long before its end the one replay is spent.
pub const STRICT_REPLAY_LEAD: Duration = Duration::from_secs(30);

/// What the caller wants of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A token that is not due.
    IfDue {
        /// Whether a token that ends at this point is due.
        due: Due,
    },
    /// A token newer than this one, which was refused.
    NewerThan(GrantRevision),
}

/// By which lead a token counts as due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The background sweep's, with jitter in it.
    Sweep {
        /// Chooses a lead between 15 and 30 % of the token's life.
        jitter: u8,
    },
    /// A request's.
    Request,
}

/// Whose the refresh token of a grant is to redeem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This vault's.
    Ours,
    /// Nobody knows: the vault was put back from an older copy, and another copy may have redeemed it since.
    Quarantined {
        /// Since when.
        since: Timestamp,
    },
}

/// The grant as it was read under the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantFacts {
    /// Its revision.
    pub revision: GrantRevision,
    /// When its access token was asked for.
    pub issued_at: Timestamp,
    /// When its access token ends; `None` where it does not say.
    pub expires_at: Option<Timestamp>,
    /// Whether it is known to be dead.
    pub dead: bool,
    /// Whether its refresh tokens are single use.
    pub rotation: Rotation,
    /// Whose its refresh token is to redeem.
    pub claim: Claim,
}

impl GrantFacts {
    /// Since when its refresh token must not be sent. One that is not consumed by being sent harms no other copy.
    fn withheld(&self) -> Option<Timestamp> {
        match (self.claim, self.rotation) {
            (Claim::Ours, _) | (_, Rotation::NonRotating) => None,
            (Claim::Quarantined { since }, Rotation::Grace { .. } | Rotation::Strict) => Some(since),
        }
    }

    fn is_due(&self, due: Due, now: Timestamp) -> bool {
        let Some(expires_at) = self.expires_at else { return false };
        match due {
            Due::Sweep { jitter } => due_for_sweep(self.issued_at, expires_at, jitter, now),
            Due::Request => due_for_request(self.issued_at, expires_at, now),
        }
    }

    /// How long the access token still serves. One that names no end and was refused serves no longer: nothing else would
    /// ever end it.
    fn live_for(&self, want: Want, now: Timestamp) -> Option<Duration> {
        let refused = matches!(want, Want::NewerThan(refused) if refused >= self.revision);
        let left = match self.expires_at {
            None if refused => Duration::ZERO,
            None => Duration::MAX,
            Some(at) => at.until(now),
        };
        (left > Duration::ZERO).then_some(left)
    }
}

/// The open intent of a grant, with what its spill slots hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentFacts {
    /// The revision whose refresh token was to be sent.
    pub from: GrantRevision,
    /// When the first attempt was journalled.
    pub opened_at: Timestamp,
    /// How many POSTs may have been sent, the first one included.
    pub attempts: u32,
    /// An attempt whose answer is in its slot.
    pub answered: Option<AttemptId>,
}

/// What the machine hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The lock is held and the grant was read, in one transaction.
    Loaded {
        /// The grant.
        grant: GrantFacts,
        /// Its open intent.
        intent: Option<IntentFacts>,
    },
    /// The connection stands, TLS included.
    Connected,
    /// No connection came about: nothing was sent.
    Unreachable,
    /// The slot is there and the intent is journalled, both synced.
    Journalled,
    /// Slot or journal could not be written: nothing was sent.
    NotJournalled,
    /// The grant had moved on when the journal was to be written: nothing was sent.
    Moved,
    /// The request failed provably before its first byte.
    NotSent,
    /// An answer was read and spilled, or read from its spill.
    Answered(AnswerKind),
    /// The slot holds an answer that cannot be read now: it is neither lost nor applied.
    Unreadable,
    /// The new secret is on disk.
    Stored,
    /// The grant had moved on when the new secret was to be stored.
    Overtaken,
    /// The new secret, or the mark of a dead grant, could not be stored; the answer is in the spill.
    NotStored,
    /// A journal entry was withdrawn, or could not be: both leave a safe state.
    Withdrawn,
    /// The grant was marked dead, or had moved on before. Where the mark could not be written, that is [`Event::NotStored`].
    Buried {
        /// Whether a peer had stored a newer secret.
        moved: bool,
    },
}

/// What an answer of the token endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerKind {
    /// A complete token.
    Token,
    /// The grant is dead.
    Dead {
        /// The OAuth error code.
        code: String,
    },
    /// The refresh token was provably not consumed.
    Transient {
        /// When the endpoint may be asked again, where it says so.
        retry_at: Option<Timestamp>,
    },
    /// Everything else: the refresh token may have been consumed.
    Ambiguous,
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Resolve, connect and shake hands, on a fresh connection.
    Connect,
    /// Create the slot, then journal the intent (or join the open one), both synced.
    Journal,
    /// Send the one POST; spill the answer before reading it.
    Send,
    /// Read the answer of this attempt from its slot, as if it had just arrived.
    ReadSpill(AttemptId),
    /// Take the last attempt out of the journal: it was not sent, or refused unread.
    Withdraw,
    /// Store the new secret: compare-and-swap, seal, close the intent.
    Store,
    /// Close the intent and mark the grant as dead, unless a peer has moved it on.
    Bury {
        /// Why, in words without a secret.
        cause: String,
    },
    /// Nothing more.
    Finish(Outcome),
}

/// How a flight ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A new secret is on disk.
    Refreshed,
    /// What is on disk is what was wanted.
    Adopted,
    /// The answer is lost; the live token is used up before the one replay.
    UsingUp {
        /// When to look again.
        look_again_at: Timestamp,
    },
    /// Nothing changed, and another try later makes sense.
    Failed {
        /// Why.
        why: Failure,
        /// When, where somebody said so.
        retry_at: Option<Timestamp>,
    },
    /// Its refresh token is not sent until a person says that it is ours to redeem. The live token serves meanwhile.
    Quarantined {
        /// Since when.
        since: Timestamp,
    },
    /// Only a new login helps.
    Dead {
        /// Why.
        cause: String,
    },
}

/// Why a flight changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection to the token endpoint.
    Unreachable,
    /// The token endpoint put us off.
    PutOff,
    /// The answer was lost or unreadable; it is replayed later.
    AnswerLost,
    /// The vault could not be written: nothing was sent, or the answer waits in its slot.
    Storage,
}

/// Where the machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    want: Want,
    at: At,
    grant: Option<GrantFacts>,
    intent: Option<IntentFacts>,
    sends: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Loading,
    Connecting,
    Journalling,
    Sending,
    ReadingSpill,
    Storing,
    Withdrawing(Failure, Option<Timestamp>),
    /// As [`At::Withdrawing`], and then once more: the refresh token is not consumed by being sent.
    Repeating,
    Burying,
    Finished,
}

impl State {
    /// Before the grant was read.
    pub const fn new(want: Want) -> Self {
        Self { want, at: At::Loading, grant: None, intent: None, sends: 0 }
    }

    fn go(mut self, at: At, effect: Effect) -> (Self, Effect) {
        self.at = at;
        (self, effect)
    }

    fn finish(self, outcome: Outcome) -> (Self, Effect) {
        self.go(At::Finished, Effect::Finish(outcome))
    }

    fn fail(self, why: Failure, retry_at: Option<Timestamp>) -> (Self, Effect) {
        self.finish(Outcome::Failed { why, retry_at })
    }
}

/// One step. An event that the state does not expect is a bug of the caller and ends the flight as a storage failure: nothing is sent.
pub fn step(mut state: State, event: Event, now: Timestamp) -> (State, Effect) {
    match (state.at, event) {
        (At::Loading, Event::Loaded { grant, intent }) => {
            state.grant = Some(grant.clone());
            state.intent = intent.filter(|intent| intent.from == grant.revision);
            loaded(state, &grant, now)
        }
        (At::Connecting, Event::Connected) => connected(state, now),
        (At::Connecting, Event::Unreachable) => state.fail(Failure::Unreachable, None),
        (At::Journalling, Event::Journalled) => {
            state.sends += 1;
            let open = state.intent.get_or_insert_with(|| IntentFacts {
                from: state.grant.as_ref().map_or(GrantRevision::FIRST, |grant| grant.revision),
                opened_at: now,
                attempts: 0,
                answered: None,
            });
            open.attempts += 1;
            state.go(At::Sending, Effect::Send)
        }
        (At::Journalling, Event::Moved) | (At::Storing, Event::Overtaken) | (At::Burying, Event::Buried { moved: true }) => {
            state.finish(Outcome::Adopted)
        }
        (At::Sending, Event::NotSent) => state.go(At::Withdrawing(Failure::Unreachable, None), Effect::Withdraw),
        (At::Sending | At::ReadingSpill, Event::Answered(kind)) => answered(state, kind, now),
        (At::Storing, Event::Stored) => state.finish(Outcome::Refreshed),
        (At::Withdrawing(why, retry_at), Event::Withdrawn) => state.fail(why, retry_at),
        (At::Repeating, Event::Withdrawn) if state.sends < SENDS_PER_FLIGHT_MAX => state.go(At::Connecting, Effect::Connect),
        (At::Repeating, Event::Withdrawn) => state.fail(Failure::AnswerLost, None),
        (At::Burying, Event::Buried { moved: false }) => state.finish(Outcome::Dead { cause: String::new() }),
        // `NotJournalled`, `NotStored` and `Unreadable`, and whatever the state does not expect.
        _ => state.fail(Failure::Storage, None),
    }
}

fn loaded(state: State, grant: &GrantFacts, now: Timestamp) -> (State, Effect) {
    if grant.dead {
        return state.finish(Outcome::Dead { cause: String::new() });
    }
    // An open intent is resolved before anything else, and never forgotten.
    if let Some(intent) = state.intent.clone() {
        return match intent.answered {
            Some(attempt) => state.go(At::ReadingSpill, Effect::ReadSpill(attempt)),
            None => lost(state, grant, &intent, now),
        };
    }
    let satisfied = match state.want {
        Want::IfDue { due } => !grant.is_due(due, now),
        Want::NewerThan(refused) => grant.revision > refused,
    };
    match grant.withheld() {
        _ if satisfied => state.finish(Outcome::Adopted),
        Some(since) => state.finish(Outcome::Quarantined { since }),
        None => state.go(At::Connecting, Effect::Connect),
    }
}

/// Connecting takes time: whether a replay is still right is decided again, since a grace window may have closed meanwhile.
fn connected(state: State, now: Timestamp) -> (State, Effect) {
    let (state, effect) = match (state.grant.clone(), state.intent.clone()) {
        (Some(grant), Some(intent)) => lost(state, &grant, &intent, now),
        _ => (state, Effect::Connect),
    };
    if effect == Effect::Connect { state.go(At::Journalling, Effect::Journal) } else { (state, effect) }
}

fn answered(mut state: State, kind: AnswerKind, now: Timestamp) -> (State, Effect) {
    match kind {
        AnswerKind::Token => state.go(At::Storing, Effect::Store),
        AnswerKind::Dead { code } => {
            let replayed = state.intent.as_ref().is_some_and(|intent| intent.attempts > 1);
            let cause = if replayed {
                format!("the answer to a refresh was lost, and its replay was refused ({code})")
            } else {
                format!("the provider refused the refresh token ({code})")
            };
            state.go(At::Burying, Effect::Bury { cause })
        }
        // Not consumed by this attempt. For a replay the first attempt stays in the journal: its fate is as open as before.
        AnswerKind::Transient { retry_at } => state.go(At::Withdrawing(Failure::PutOff, retry_at), Effect::Withdraw),
        AnswerKind::Ambiguous => {
            let (Some(grant), Some(mut intent)) = (state.grant.clone(), state.intent.clone()) else {
                return state.fail(Failure::AnswerLost, None);
            };
            // The journal of a token that stays valid need not grow by every answer that was no token.
            if grant.rotation == Rotation::NonRotating {
                return state.go(At::Repeating, Effect::Withdraw);
            }
            intent.answered = None;
            state.intent = Some(intent.clone());
            lost(state, &grant, &intent, now)
        }
    }
}

/// An answer that may have consumed the refresh token is not to be had. Under quarantine neither is a replay, nor a verdict:
/// what this vault knows of its attempts may be older than what became of them.
fn lost(state: State, grant: &GrantFacts, intent: &IntentFacts, now: Timestamp) -> (State, Effect) {
    if let Some(since) = grant.withheld() {
        return state.finish(Outcome::Quarantined { since });
    }
    let may_send = state.sends < SENDS_PER_FLIGHT_MAX;
    let replay_left = intent.attempts <= 1;
    match grant.rotation {
        Rotation::NonRotating => state.go(At::Connecting, Effect::Connect),
        Rotation::Grace { window } if replay_left && may_send && within(intent.opened_at, window, now) => {
            state.go(At::Connecting, Effect::Connect)
        }
        Rotation::Grace { .. } | Rotation::Strict => match grant.live_for(state.want, now) {
            Some(left) if left > STRICT_REPLAY_LEAD => {
                let look_again_at = now.plus(left.saturating_sub(STRICT_REPLAY_LEAD));
                state.finish(Outcome::UsingUp { look_again_at })
            }
            _ if replay_left && may_send => state.go(At::Connecting, Effect::Connect),
            Some(_) if !replay_left => state.finish(Outcome::UsingUp { look_again_at: grant.expires_at.unwrap_or(now) }),
            _ if !replay_left => {
                let cause = "the answer to a refresh was lost, and so was the answer to its one replay".to_owned();
                state.go(At::Burying, Effect::Bury { cause })
            }
            _ => state.fail(Failure::AnswerLost, None),
        },
    }
}

/// Whether a window is open. A point in the future says that the clock was set back: how much of the window is left is not known.
fn within(opened_at: Timestamp, window: Duration, now: Timestamp) -> bool {
    opened_at <= now && now < opened_at.plus(window)
}

#[cfg(test)]
mod tests;
