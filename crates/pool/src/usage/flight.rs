//! One question to a usage endpoint per account at a time: a task of the supervisor, whoever asked for it.

use super::schedule::{Asked, Pace};
use crate::Inner;
use crate::account::{AccountLive, Reach};
use crate::control_http::ControlClient;
use crate::flight as refresh_flight;
use crate::grant::Moment;
use crate::limits::{USAGE_ASK_TIMEOUT, USAGE_FRESH_FOR};
use bytes::Bytes;
use claviger_domain::credential::{CredentialKind, GrantState, Standing};
use claviger_domain::id::GrantRevision;
use claviger_domain::origin::Purpose;
use claviger_domain::refresh::{Due, Want};
use claviger_domain::usage::UsageReport;
use claviger_providers::hooks::{ControlAnswer, ControlError, ControlHttp, HookError, LiveCredential, usage_report};
use claviger_runtime::{BoxFuture, Clock, random_u64};
use claviger_store::GrantSecret;
use http::{Request, StatusCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Polled {
    /// The report was taken over.
    Told,
    /// The provider tells nothing for this kind of credential.
    TellsNothing,
    /// It was not asked, for this reason; no failure of anybody.
    NotNow(String),
    /// It failed, for this reason. What was told last stays.
    Failed(String),
}

/// The question of one account that is under way, and how the last one went.
#[derive(Debug, Default)]
pub(crate) struct UsageSlot {
    /// Guards both; held for a look and an insertion, never over an await, and never on a request's path.
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    running: Option<watch::Receiver<Option<Polled>>>,
    asked: Asked,
    /// On the boot clock.
    asked_at: Option<Duration>,
    seed: Option<u64>,
    problem: Option<String>,
    /// The revision that was refused although it had been refreshed for that: no further refresh is begun for the endpoint.
    refused_for_good: Option<GrantRevision>,
}

impl UsageSlot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the last question went, when that was on the boot clock, and what spreads the next one.
    pub(super) fn asked(&self) -> (Asked, Option<Duration>, u64) {
        let mut state = self.state();
        let seed = *state.seed.get_or_insert_with(random_u64);
        (state.asked, state.asked_at, seed)
    }

    /// Why the last question brought nothing.
    pub(super) fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// Makes the poller ask soon.
    pub(super) fn make_due(&self) {
        let mut state = self.state();
        if state.asked == Asked::Told {
            state.asked = Asked::Stale;
        }
    }

    fn note(&self, polled: &Polled, boot: Duration) {
        let mut state = self.state();
        state.asked_at = Some(boot);
        state.seed = None;
        (state.asked, state.problem) = match polled {
            Polled::Told => (Asked::Told, None),
            Polled::TellsNothing => (Asked::TellsNothing, None),
            Polled::NotNow(_) => (state.asked, None),
            Polled::Failed(why) => {
                let times = if let Asked::Failed { times } = state.asked { times } else { 0 };
                (Asked::Failed { times: times.saturating_add(1) }, Some(why.clone()))
            }
        };
        if *polled == Polled::Told {
            state.refused_for_good = None;
        }
    }
}

/// What an account's endpoint would come to without being asked; `None` where it can be.
pub(super) fn obstacle(account: &AccountLive) -> Option<Polled> {
    let endpoint = account.profile.usage.endpoint.as_ref();
    if endpoint.is_none_or(|endpoint| endpoint.parser.is_none() || !endpoint.kinds.contains(&account.kind)) {
        return Some(Polled::TellsNothing);
    }
    let why = match (&account.row.standing, account.reach) {
        (Standing::Disabled { .. }, _) => "switched off",
        (Standing::Active, Reach::OriginChanged) => "its provider's address has changed",
        (Standing::Active, Reach::Unusable) => "its provider takes no credential of this kind",
        (Standing::Active, Reach::Admitted) if account.grant.facts().state != GrantState::Live => "needs a new login",
        (Standing::Active, Reach::Admitted) => return None,
    };
    Some(Polled::NotNow(why.to_owned()))
}

/// Joins the question of an account that is under way, or begins one. Dropping the future abandons the wait, never the question.
pub(crate) fn join(inner: &Arc<Inner>, account: &Arc<AccountLive>) -> impl Future<Output = Option<Polled>> + Send + 'static {
    let mut flight = {
        let mut state = account.usage.flight.state();
        let under_way = state.running.as_ref().filter(|flight| flight.has_changed().is_ok() && flight.borrow().is_none());
        if let Some(flight) = under_way {
            flight.clone()
        } else {
            let (done, flight) = watch::channel(None);
            state.running = Some(flight.clone());
            begin(inner, account, done);
            flight
        }
    };
    async move { flight.wait_for(Option::is_some).await.ok().and_then(|polled| polled.clone()) }
}

fn begin(inner: &Arc<Inner>, account: &Arc<AccountLive>, done: watch::Sender<Option<Polled>>) {
    let (inner, account) = (Arc::clone(inner), Arc::clone(account));
    let supervisor = Arc::clone(&inner.supervisor);
    supervisor.spawn("usage flight", async move {
        let polled = poll(&inner, &account).await;
        if let Polled::Failed(why) = &polled {
            tracing::warn!(account.id = %account.row.id, provider.id = %account.profile.id, why, "the usage endpoint told nothing");
        }
        account.usage.flight.note(&polled, inner.clock.boot());
        done.send_replace(Some(polled));
    });
}

/// What one question to the endpoint came to.
enum Asking {
    /// What it told, and when it was asked, on the boot clock.
    Told(Option<UsageReport>, Duration),
    Unauthorized(GrantRevision),
    NotNow(String),
    Failed(String),
}

async fn poll(inner: &Arc<Inner>, account: &Arc<AccountLive>) -> Polled {
    if let Some(without_asking) = obstacle(account) {
        return without_asking;
    }
    renewed(inner, account, Want::IfDue { due: Due::Request }).await;
    let mut asking = ask(inner, account).await;
    if let Asking::Unauthorized(revision) = asking {
        let hopeless = account.usage.flight.state().refused_for_good == Some(revision);
        // Once, by the ordinary way: whether the grant is dead is for that to find out.
        let is_renewed = !hopeless && renewed(inner, account, Want::NewerThan(revision)).await && account.cell.revision() > revision;
        if is_renewed {
            asking = ask(inner, account).await;
            if let Asking::Unauthorized(revision) = asking {
                account.usage.flight.state().refused_for_good = Some(revision);
            }
        } else {
            account.usage.flight.state().refused_for_good = Some(revision);
        }
    }
    match asking {
        Asking::Told(Some(report), asked_at) => {
            inner.usage_told(account, report, Moment::of(&*inner.clock), asked_at);
            Polled::Told
        }
        Asking::Told(None, _) => Polled::TellsNothing,
        Asking::Unauthorized(_) => Polled::Failed("the usage endpoint refuses this credential".to_owned()),
        Asking::NotNow(why) => Polled::NotNow(why),
        Asking::Failed(why) => Polled::Failed(why),
    }
}

/// Has a token refreshed where that is due and possible; says whether it was tried.
async fn renewed(inner: &Arc<Inner>, account: &Arc<AccountLive>, want: Want) -> bool {
    let moment = Moment::of(&*inner.clock);
    let resting = account.grant.resting(moment);
    let is_tried = {
        let facts = account.grant.facts();
        let wanted = matches!(want, Want::NewerThan(_)) || facts.is_due(moment);
        account.kind == CredentialKind::OAuth && wanted && resting.is_none() && account.is_renewable(&facts, resting)
    };
    if is_tried {
        refresh_flight::join(inner, &account.grant, &account.profile, want).await;
    }
    is_tried
}

async fn ask(inner: &Inner, account: &AccountLive) -> Asking {
    let row = match inner.grant_with_value(account.row.grant).await {
        Ok(Some(row)) => row,
        Ok(None) => return Asking::NotNow("it is gone".to_owned()),
        Err(error) => return Asking::Failed(error.to_string()),
    };
    if !account.grant.facts().is_sendable(Moment::of(&*inner.clock)) {
        return Asking::NotNow("its token has ended".to_owned());
    }
    if !account.profile.origins_admitted(&row.origins, Purpose::Usage) {
        return Asking::NotNow("the address of its provider's usage endpoint has changed".to_owned());
    }
    let (secret, is_key) = match &row.secret {
        GrantSecret::OAuth { access, .. } => (access, false),
        GrantSecret::ApiKey { key } => (key, true),
    };
    let credential = LiveCredential { profile: &account.profile, secret, is_key, identity: &account.row.identity };
    let http = ControlClient::new(inner, &account.profile).through(account.row.options.proxy.as_ref()).patient_for(USAGE_ASK_TIMEOUT);
    let http = Watched { http, was_unauthorized: AtomicBool::new(false) };
    let asked_at = inner.clock.boot();
    let answer = tokio::select! {
        answer = usage_report(&credential, &http) => answer,
        () = inner.clock.sleep(USAGE_ASK_TIMEOUT) => Err(HookError::TimedOut),
    };
    match answer {
        Ok(report) => Asking::Told(report, asked_at),
        Err(_) if http.was_unauthorized.load(Ordering::Relaxed) => Asking::Unauthorized(row.revision),
        Err(HookError::TimedOut) => Asking::Failed(format!("no answer within {} s", USAGE_ASK_TIMEOUT.as_secs())),
        Err(error) => Asking::Failed(error.to_string()),
    }
}

/// Notes whether the last answer was a 401: hooks tell people what failed, and not programs.
struct Watched {
    http: ControlClient,
    was_unauthorized: AtomicBool,
}

impl ControlHttp for Watched {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>> {
        Box::pin(async move {
            let answer = self.http.send(request).await?;
            self.was_unauthorized.store(answer.status == StatusCode::UNAUTHORIZED, Ordering::Relaxed);
            Ok(answer)
        })
    }

    fn clock(&self) -> &dyn Clock {
        self.http.clock()
    }
}

/// Whether it was asked for a moment ago.
pub(super) fn is_fresh(account: &AccountLive, moment: Moment) -> bool {
    let (_, asked_at, _) = account.usage.flight.asked();
    asked_at.is_some_and(|asked_at| moment.boot.saturating_sub(asked_at) < USAGE_FRESH_FOR)
}

/// What the time of an account's next question depends on.
pub(super) fn pace(account: &AccountLive, moment: Moment) -> (Pace, Option<Duration>, u64) {
    let (asked, asked_at, seed) = account.usage.flight.asked();
    (account.usage.pace(asked, moment), asked_at, seed)
}
