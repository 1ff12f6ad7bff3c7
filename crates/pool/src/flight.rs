//! One refresh at a time per grant in this process: all of the single-flight concurrency.
//!
//! A flight is a task of the supervisor, not of the caller that asked first: callers only wait, and their end never
//! ends the exchange.

use crate::Inner;
use crate::grant::{GrantLive, Moment};
use claviger_contract::Refusal;
use claviger_domain::block::REFRESH_FAILURE_REST;
use claviger_domain::id::ProviderId;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::refresh::{Outcome, Want};
use claviger_domain::time::Timestamp;
use claviger_runtime::best_effort;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::watch;

/// The flight of a grant, while there is one.
#[derive(Debug, Default)]
pub(crate) struct FlightSlot {
    /// Guards which flight is under way; held for a look and an insertion, never over an await.
    running: Mutex<Option<watch::Receiver<Option<Outcome>>>>,
}

/// A wait for a flight. Dropping it abandons the wait, never the flight.
pub struct FlightWait {
    inner: Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>,
}

impl std::fmt::Debug for FlightWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlightWait")
    }
}

impl Future for FlightWait {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(context)
    }
}

/// Joins the flight of a grant, or begins one. Returns its outcome, later.
///
/// A panicking flight frees the grant: its end is seen as [`None`] by those who wait, and the next caller begins anew.
pub(crate) fn join(
    inner: &Arc<Inner>,
    grant: &Arc<GrantLive>,
    profile: &Arc<ProviderProfile>,
    want: Want,
) -> impl Future<Output = Option<Outcome>> + Send + 'static {
    let mut flight = {
        let mut running = grant.flight.running.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = running.as_ref().filter(|flight| flight.has_changed().is_ok() && flight.borrow().is_none());
        if let Some(flight) = under_way {
            flight.clone()
        } else {
            let (done, flight) = watch::channel(None);
            *running = Some(flight.clone());
            begin(inner, grant, profile, want, done);
            flight
        }
    };
    async move { flight.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone()) }
}

fn begin(inner: &Arc<Inner>, grant: &Arc<GrantLive>, profile: &Arc<ProviderProfile>, want: Want, done: watch::Sender<Option<Outcome>>) {
    let (inner, grant, profile) = (Arc::clone(inner), Arc::clone(grant), Arc::clone(profile));
    let supervisor = Arc::clone(&inner.supervisor);
    if let Want::NewerThan(refused) = want {
        grant.note_refused(refused);
    }
    let begun = Moment::of(&*inner.clock);
    supervisor.spawn("refresh flight", async move {
        let (outcome, lock) = crate::refresh::run(&inner, &grant, &profile, want).await;
        // Under the lock: a rest that is begun after somebody has ended it would stay.
        note(&inner, &grant, &profile, (want, begun), &outcome);
        drop(lock);
        best_effort("pass a failpoint", inner.failpoints.pass("lock.freed").await);
        done.send_replace(Some(outcome));
    });
}

/// What an outcome means for the next flights of this grant.
fn note(inner: &Inner, grant: &GrantLive, profile: &ProviderProfile, (want, begun): (Want, Moment), outcome: &Outcome) {
    let moment = Moment::of(&*inner.clock);
    let later = moment.now.plus(REFRESH_FAILURE_REST);
    let (grant_id, provider) = (grant.id, &profile.id);
    match outcome {
        Outcome::Refreshed => {
            inner.counters.refreshes.fetch_add(1, Ordering::Relaxed);
            tracing::info!(grant.id = %grant_id, provider.id = %provider, "token refreshed");
        }
        Outcome::Adopted => {}
        Outcome::UsingUp { look_again_at } => {
            grant.rest(*look_again_at, moment);
            tracing::warn!(grant.id = %grant_id, provider.id = %provider, "the answer to a refresh was lost: its live token is used up first");
        }
        Outcome::Failed { why, retry_at } => {
            grant.rest(retry_at.unwrap_or(later), moment);
            tracing::warn!(grant.id = %grant_id, provider.id = %provider, why = ?why, "token not refreshed");
        }
        Outcome::Quarantined { since } => {
            // Nothing is left to look for until somebody ends it, which ends the rest as well.
            grant.rest(Timestamp::FAR_FUTURE, moment);
            tracing::warn!(grant.id = %grant_id, provider.id = %provider, since = since.0, "in quarantine: its refresh token is not sent before an account of it is taken");
        }
        Outcome::Dead { cause } => {
            tracing::error!(grant.id = %grant_id, provider.id = %provider, cause, "the grant is dead: a new login is needed");
        }
    }
    // A flight that changed nothing for those who wait, or brought a token that had ended by its arrival: they would ask for
    // the next one at once, and so on. After a sleep, or a step of the clock, one more is worth it.
    let in_vain = matches!(outcome, Outcome::Refreshed | Outcome::Adopted) && !grant.facts().satisfies(want, moment);
    if in_vain && !moment.is_far_from(begun) {
        grant.rest(later, moment);
    }
}

/// A wait for a request: resolves when the broker should be asked again, since the view says what came of the flight.
pub(crate) fn wait(flight: impl Future<Output = Option<Outcome>> + Send + 'static) -> FlightWait {
    FlightWait {
        inner: Box::pin(async move {
            flight.await;
            Ok(())
        }),
    }
}

/// Why nothing can be given while a grant rests after a failed refresh.
pub(crate) fn resting_refusal(provider: &ProviderId, retry_at: Timestamp) -> Refusal {
    Refusal::Unavailable { provider: provider.clone(), why: "its token could not be refreshed".to_owned(), retry_at }
}
