//! A grant as requests meet it; lives across views.

use arc_swap::ArcSwap;
use claviger_domain::credential::{CredentialKind, Custody, GrantState};
use claviger_domain::id::{GrantId, GrantRevision};
use claviger_domain::refresh::{due_for_request, request_lead};
use claviger_domain::time::{Timestamp, millis};
use claviger_runtime::Clock;
use claviger_store::{GrantRow, GrantSecret};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::flight::FlightSlot;
use crate::limits::SEND_MARGIN;

/// What is known of a grant without its secret; replaced as a whole when it changes.
#[derive(Debug, Clone)]
pub(crate) struct GrantFacts {
    pub(crate) revision: GrantRevision,
    pub(crate) kind: CredentialKind,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    /// The same end on the boot clock, which never steps: of the two the pessimistic one wins.
    expires_on_boot_clock: Option<Duration>,
    pub(crate) custody: Custody,
    pub(crate) state: GrantState,
    /// Whether there is a refresh token.
    pub(crate) renewable: bool,
    /// Whether a refresh was begun and not ended.
    pub(crate) intent_open: bool,
}

impl GrantFacts {
    pub(crate) fn of(row: &GrantRow, clock: &dyn Clock) -> Self {
        let now = clock.now();
        let renewable =
            matches!(&row.secret, GrantSecret::OAuth { refresh: Some(_), .. }) || matches!(row.custody, Custody::Followed { .. });
        Self {
            revision: row.revision,
            kind: row.secret.kind(),
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            expires_on_boot_clock: row.expires_at.map(|at| clock.boot().saturating_add(at.until(now))),
            custody: row.custody.clone(),
            state: row.state.clone(),
            renewable,
            intent_open: row.intent.is_some(),
        }
    }

    /// Until when the token serves and is not due, in milliseconds on the wall clock and on the boot clock.
    fn fresh_until(&self) -> (i64, i64) {
        if self.state != GrantState::Live {
            return (0, 0);
        }
        let Some(expires_at) = self.expires_at else { return (i64::MAX, i64::MAX) };
        // A request's lead, and never less than the margin within which a token is not sent at all.
        let lead = request_lead(self.issued_at, expires_at).max(SEND_MARGIN);
        let boot = self.expires_on_boot_clock.map_or(i64::MAX, |at| millis(at).saturating_sub(millis(lead)));
        (expires_at.minus(lead).0, boot)
    }

    /// How long the token still serves; `None` where it does not end.
    pub(crate) fn left(&self, now: Timestamp, boot: Duration) -> Option<Duration> {
        let wall = self.expires_at?.until(now);
        Some(self.expires_on_boot_clock.map_or(wall, |at| wall.min(at.saturating_sub(boot))))
    }

    /// Whether a request has the token refreshed first.
    pub(crate) fn is_due(&self, now: Timestamp, boot: Duration) -> bool {
        let Some(left) = self.left(now, boot) else { return false };
        due_for_request(self.issued_at, now.plus(left), now) || self.expires_at.is_some_and(|at| due_for_request(self.issued_at, at, now))
    }
}

/// A grant as requests meet it.
#[derive(Debug)]
pub(crate) struct GrantLive {
    pub(crate) id: GrantId,
    facts: ArcSwap<GrantFacts>,
    /// Until when a request needs no fact but this, on the wall clock and on the boot clock. See [`GrantLive::is_fresh`].
    fresh_until: AtomicI64,
    fresh_until_on_boot_clock: AtomicI64,
    /// The refresh under way in this process.
    pub(crate) flight: FlightSlot,
    /// Milliseconds since the epoch until which no refresh is begun, after one that failed. 0 for none.
    rest_until: AtomicI64,
    /// The last revision that was refreshed because a provider refused it.
    refused_revision: AtomicU64,
}

impl GrantLive {
    pub(crate) fn new(row: &GrantRow, clock: &dyn Clock) -> Self {
        let facts = GrantFacts::of(row, clock);
        let (wall, boot) = facts.fresh_until();
        Self {
            id: row.id,
            facts: ArcSwap::from_pointee(facts),
            fresh_until: AtomicI64::new(wall),
            fresh_until_on_boot_clock: AtomicI64::new(boot),
            flight: FlightSlot::default(),
            rest_until: AtomicI64::new(0),
            refused_revision: AtomicU64::new(0),
        }
    }

    pub(crate) fn facts(&self) -> arc_swap::Guard<Arc<GrantFacts>> {
        self.facts.load()
    }

    /// Takes over what was read from the vault, unless something newer is here already.
    pub(crate) fn publish(&self, facts: GrantFacts) {
        let facts = Arc::new(facts);
        // Nobody takes the short way while the facts and its marks disagree.
        self.fresh_until.store(0, Ordering::Release);
        self.facts.rcu(|current| if current.revision > facts.revision { Arc::clone(current) } else { Arc::clone(&facts) });
        let (wall, boot) = self.facts.load().fresh_until();
        self.fresh_until_on_boot_clock.store(boot, Ordering::Release);
        self.fresh_until.store(wall, Ordering::Release);
    }

    /// Whether the token serves and is not due, told by two numbers: what nearly every request finds.
    pub(crate) fn is_fresh(&self, now: Timestamp, boot: Duration) -> bool {
        now.0 < self.fresh_until.load(Ordering::Acquire) && millis(boot) < self.fresh_until_on_boot_clock.load(Ordering::Acquire)
    }

    /// Begins no refresh before this point.
    pub(crate) fn rest(&self, until: Timestamp) {
        self.rest_until.store(until.0, Ordering::Relaxed);
    }

    /// Until when no refresh is begun, while that lies ahead.
    pub(crate) fn resting(&self, now: Timestamp) -> Option<Timestamp> {
        Some(Timestamp(self.rest_until.load(Ordering::Relaxed))).filter(|until| *until > now)
    }

    /// Notes that a revision is refreshed because it was refused.
    pub(crate) fn note_refused(&self, revision: GrantRevision) {
        self.refused_revision.fetch_max(revision.0, Ordering::Relaxed);
    }

    /// Notes that a credential of this grant was accepted: earlier refusals say nothing any more.
    pub(crate) fn note_accepted(&self) {
        if self.refused_revision.load(Ordering::Relaxed) != 0 {
            self.refused_revision.store(0, Ordering::Relaxed);
        }
    }

    /// Whether `revision` is the successor of one that was refused: a second refusal in a row.
    pub(crate) fn follows_refusal(&self, revision: GrantRevision) -> bool {
        let refused = self.refused_revision.load(Ordering::Relaxed);
        refused != 0 && revision == GrantRevision(refused).next()
    }
}
