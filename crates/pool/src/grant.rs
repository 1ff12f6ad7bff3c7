//! A grant as requests meet it; lives across views.

use arc_swap::{ArcSwap, ArcSwapOption};
use claviger_domain::credential::{CredentialKind, Custody, GrantState};
use claviger_domain::id::{GrantId, GrantRevision};
use claviger_domain::refresh::{Want, due_for_request, due_for_sweep, request_lead, sendable};
use claviger_domain::time::{Timestamp, millis};
use claviger_runtime::Clock;
use claviger_store::{Fingerprint, GrantRow, GrantSecret};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::flight::FlightSlot;
use crate::limits::CLOCK_STEP_MIN;

/// One moment on both clocks: the wall clock may step in both directions, the boot clock never does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) boot: Duration,
}

impl Moment {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { now: clock.now(), boot: clock.boot() }
    }

    /// Whether so much time has passed since, or a clock was set so far, that nothing of then can be taken for granted.
    pub(crate) fn is_far_from(self, before: Self) -> bool {
        let on_wall = self.now.until(before.now).max(before.now.until(self.now));
        on_wall.max(self.boot.saturating_sub(before.boot)) > CLOCK_STEP_MIN
    }
}

/// What is known of a grant without its secret; replaced as a whole when it changes.
#[derive(Debug, Clone)]
pub(crate) struct GrantFacts {
    pub(crate) revision: GrantRevision,
    pub(crate) kind: CredentialKind,
    pub(crate) fingerprint: Fingerprint,
    issued_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    /// The same end on the boot clock: of the two the earlier one counts.
    expires_on_boot_clock: Option<Duration>,
    pub(crate) custody: Custody,
    pub(crate) state: GrantState,
    /// Whether there is a refresh token, or a file that is followed.
    pub(crate) renewable: bool,
    /// Whether a refresh was begun and not ended.
    pub(crate) intent_open: bool,
    /// Since when the vault does not know whose its refresh token is to redeem.
    pub(crate) quarantined: Option<Timestamp>,
}

impl GrantFacts {
    pub(crate) fn of(row: &GrantRow, clock: &dyn Clock) -> Self {
        let Moment { now, boot } = Moment::of(clock);
        let renewable =
            matches!(&row.secret, GrantSecret::OAuth { refresh: Some(_), .. }) || matches!(row.custody, Custody::Followed { .. });
        // No token has more left than its whole life, wherever the wall clock stands by now.
        let left = |at: Timestamp| at.until(now).min(at.until(row.issued_at));
        Self {
            revision: row.revision,
            kind: row.secret.kind(),
            fingerprint: row.fingerprint,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            expires_on_boot_clock: row.expires_at.map(|at| boot.saturating_add(left(at))),
            custody: row.custody.clone(),
            state: row.state.clone(),
            renewable,
            intent_open: row.intent.is_some(),
            quarantined: row.quarantined,
        }
    }

    /// The same facts, of a grant that this process meets for the first time. A token that was issued in the future was so by
    /// another clock, or before this one was set back: when it ends is not known, and it is refreshed before it is sent.
    fn met(self, row: &GrantRow, clock: &dyn Clock) -> Self {
        let Moment { now, boot } = Moment::of(clock);
        let ours = self.custody == Custody::Owned && self.renewable && self.quarantined.is_none();
        let from_the_future = row.issued_at > now.plus(CLOCK_STEP_MIN) && ours;
        let end = self.expires_on_boot_clock.map(|end| if from_the_future { boot } else { end });
        Self { expires_on_boot_clock: end, ..self }
    }

    /// The same facts read again: a wall clock that was set back meanwhile does not lengthen the life of the same token.
    fn after(self, before: &Self) -> Self {
        let same = (self.revision, self.issued_at, self.expires_at) == (before.revision, before.issued_at, before.expires_at);
        let sooner = self.expires_on_boot_clock.min(before.expires_on_boot_clock);
        Self { expires_on_boot_clock: if same { sooner } else { self.expires_on_boot_clock }, ..self }
    }

    /// Until when the token serves and is not due, in milliseconds on the wall clock and on the boot clock.
    fn fresh_until(&self) -> (i64, i64) {
        if self.state != GrantState::Live {
            return (0, 0);
        }
        let Some(expires_at) = self.expires_at else { return (i64::MAX, i64::MAX) };
        let lead = request_lead(self.issued_at, expires_at);
        let boot = self.expires_on_boot_clock.map_or(i64::MAX, |at| millis(at).saturating_sub(millis(lead)));
        (expires_at.minus(lead).0, boot)
    }

    /// When the token was issued and when it ends, as the wall clock shows it now; `None` where it does not end. Of the ends
    /// on the two clocks the earlier one counts, and its life is what it was.
    pub(crate) fn span(&self, moment: Moment) -> Option<(Timestamp, Timestamp)> {
        let expires_at = self.expires_at?;
        let wall = expires_at.until(moment.now);
        let left = self.expires_on_boot_clock.map_or(wall, |at| wall.min(at.saturating_sub(moment.boot)));
        let end = moment.now.plus(left);
        Some((end.minus(expires_at.until(self.issued_at)), end))
    }

    /// Whether the token can be sent.
    pub(crate) fn is_sendable(&self, moment: Moment) -> bool {
        self.span(moment).is_none_or(|(issued_at, end)| sendable(issued_at, end, moment.now))
    }

    /// Whether a request has the token refreshed first.
    pub(crate) fn is_due(&self, moment: Moment) -> bool {
        self.span(moment).is_some_and(|(issued_at, end)| due_for_request(issued_at, end, moment.now))
    }

    /// Whether the sweep refreshes the token.
    pub(crate) fn is_due_for_sweep(&self, jitter: u8, moment: Moment) -> bool {
        self.span(moment).is_some_and(|(issued_at, end)| due_for_sweep(issued_at, end, jitter, moment.now))
    }

    /// Whether there is what a flight was begun for.
    pub(crate) fn satisfies(&self, want: Want, moment: Moment) -> bool {
        match want {
            Want::IfDue { .. } => self.is_sendable(moment),
            Want::NewerThan(refused) => self.revision > refused,
        }
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
    /// Milliseconds on the boot clock until which no refresh is begun, after one that failed. 0 for none.
    rest_until: AtomicI64,
    /// The last revision that was refreshed because a provider refused it.
    refused_revision: AtomicU64,
    /// What is to be known of the file of a login that is followed, or was.
    notice: ArcSwapOption<String>,
}

impl GrantLive {
    pub(crate) fn new(row: &GrantRow, clock: &dyn Clock) -> Self {
        let facts = GrantFacts::of(row, clock).met(row, clock);
        let (wall, boot) = facts.fresh_until();
        Self {
            id: row.id,
            facts: ArcSwap::from_pointee(facts),
            fresh_until: AtomicI64::new(wall),
            fresh_until_on_boot_clock: AtomicI64::new(boot),
            flight: FlightSlot::default(),
            rest_until: AtomicI64::new(0),
            refused_revision: AtomicU64::new(0),
            notice: ArcSwapOption::empty(),
        }
    }

    pub(crate) fn facts(&self) -> arc_swap::Guard<Arc<GrantFacts>> {
        self.facts.load()
    }

    /// Takes over what was read from the vault, unless something newer is here already. A new secret ends the rest after a
    /// refresh of the old one, and so does the end of a quarantine.
    pub(crate) fn publish(&self, facts: &GrantFacts) {
        // Nobody takes the short way while the facts and its marks disagree.
        self.fresh_until.store(0, Ordering::Release);
        let before = self
            .facts
            .rcu(|current| if current.revision > facts.revision { Arc::clone(current) } else { Arc::new(facts.clone().after(current)) });
        if before.revision < facts.revision || (before.quarantined.is_some() && facts.quarantined.is_none()) {
            self.rest_until.store(0, Ordering::Relaxed);
        }
        loop {
            let marked = self.facts.load_full();
            let (wall, boot) = marked.fresh_until();
            self.fresh_until_on_boot_clock.store(boot, Ordering::Release);
            self.fresh_until.store(wall, Ordering::Release);
            // Of two that publish at once, the marks of the later facts stay.
            if Arc::ptr_eq(&marked, &self.facts.load()) {
                return;
            }
        }
    }

    /// Whether the token serves and is not due, told by two numbers: what nearly every request finds.
    pub(crate) fn is_fresh(&self, moment: Moment) -> bool {
        moment.now.0 < self.fresh_until.load(Ordering::Acquire)
            && millis(moment.boot) < self.fresh_until_on_boot_clock.load(Ordering::Acquire)
    }

    /// Begins no refresh before this point, wherever the wall clock goes until then.
    pub(crate) fn rest(&self, until: Timestamp, moment: Moment) {
        self.rest_until.store(millis(moment.boot.saturating_add(until.until(moment.now))), Ordering::Relaxed);
    }

    /// Until when no refresh is begun, while that lies ahead.
    pub(crate) fn resting(&self, moment: Moment) -> Option<Timestamp> {
        let left = self.rest_until.load(Ordering::Relaxed).saturating_sub(millis(moment.boot));
        let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
        Some(moment.now.plus(Duration::from_millis(left)))
    }

    /// Says what is to be known of the file of a login that is followed, or was; logged when it changes. `None`: nothing.
    pub(crate) fn notice(&self, notice: Option<String>) {
        if self.notice.load().as_deref() == notice.as_ref() {
            return;
        }
        if let Some(text) = &notice {
            tracing::warn!(grant.id = %self.id, "{text}");
        }
        self.notice.store(notice.map(Arc::new));
    }

    /// What was said last.
    pub(crate) fn noticed(&self) -> Option<String> {
        self.notice.load().as_deref().cloned()
    }

    /// Notes that a revision was refused.
    pub(crate) fn note_refused(&self, revision: GrantRevision) {
        self.refused_revision.fetch_max(revision.0, Ordering::Relaxed);
    }

    /// Notes that a credential of this grant was accepted: earlier refusals say nothing any more.
    pub(crate) fn note_accepted(&self) {
        if self.refused_revision.load(Ordering::Relaxed) != 0 {
            self.refused_revision.store(0, Ordering::Relaxed);
        }
    }

    /// Whether this very revision was refused, and nothing was accepted since.
    pub(crate) fn was_refused(&self, revision: GrantRevision) -> bool {
        self.refused_revision.load(Ordering::Relaxed) == revision.0
    }

    /// Whether `revision` is the successor of one that was refused: a second refusal in a row.
    pub(crate) fn follows_refusal(&self, revision: GrantRevision) -> bool {
        let refused = self.refused_revision.load(Ordering::Relaxed);
        refused != 0 && revision == GrantRevision(refused).next()
    }
}
