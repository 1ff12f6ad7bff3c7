//! The attempts of one request: lease, send, and what the answer asks for next.

use crate::body::Payload;
use crate::error::Fault;
use crate::forward::{self, Answered, Outgoing, Tried};
use crate::gateway::Gateway;
use crate::lease::{Leased, lease};
use crate::limits::{PENDING_TIMEOUT, TURNS_MAX};
use crate::patience::within;
use claviger_contract::{Admission, Ask, Broker, Refusal};
use claviger_domain::attempt::{Attempts, Next};
use claviger_domain::classify::Class;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::session::SessionHash;
use http::Request;
use std::time::Duration;

/// When another try makes sense after the broker came to no end.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(1);

/// A request that is ready to be sent, with what its lease depends on.
pub(crate) struct Call<'a> {
    pub(crate) admission: &'a Admission,
    pub(crate) profile: &'a ProviderProfile,
    pub(crate) session: Option<SessionHash>,
    pub(crate) model: Option<&'a str>,
    /// What stood before the model's name.
    pub(crate) model_prefix: Option<&'a str>,
    /// Whether it comes from the vendor's own client.
    pub(crate) own_client: bool,
    pub(crate) seed: u64,
    pub(crate) outgoing: Outgoing<'a>,
    pub(crate) payload: Payload,
}

/// What a request came to, and what it took.
pub(crate) struct Outcome {
    pub(crate) answer: Result<Answered, Fault>,
    pub(crate) attempts: Attempts,
}

/// Makes attempts until one is for the client. Dropped, it closes the attempt under way; nothing of it lives on.
pub(crate) async fn run<B: Broker>(gateway: &Gateway<B>, mut call: Call<'_>) -> Outcome {
    let mut attempts = Attempts::new();
    let mut last: Option<Answered> = None;
    for _ in 0..TURNS_MAX {
        let leased = {
            let Call { admission, profile, session, model, model_prefix, own_client, seed, ref outgoing, .. } = call;
            let ask = Ask {
                admission,
                provider: &profile.id,
                session,
                model,
                model_prefix,
                own_client,
                account: None,
                attempts: &attempts,
                seed,
            };
            lease(&gateway.broker, &ask, outgoing, call.payload.content(gateway.clock.now()))
        };
        let (attempt, parts) = match leased {
            Leased::Ready(attempt, parts) => (attempt, parts),
            Leased::Superseded => continue,
            Leased::Pending(refresh) => match within(&gateway.clock, PENDING_TIMEOUT, refresh).await {
                Some(Ok(())) => continue,
                Some(Err(refusal)) => return refused(refusal, last, call.profile, attempts),
                None => break,
            },
            Leased::Refused(refusal) => return refused(refusal, last, call.profile, attempts),
            Leased::Unsigned(why) => {
                return Outcome { answer: Err(Fault::unsigned(why, gateway.limits.replay_request_max_bytes)), attempts };
            }
        };
        let request = Request::from_parts(parts, call.payload.next());
        let (made, result) = match forward::send(gateway, call.profile, call.model, attempt, request).await {
            Tried::Seen(made, result) => (made, result),
            Tried::Stopped(fault) => return Outcome { answer: Err(fault), attempts },
        };
        match attempts.after(made) {
            Next::Refresh | Next::Sibling | Next::Again(_) if !call.payload.can_be_sent() => return ended(result, call.profile, attempts),
            Next::Answer => return ended(result, call.profile, attempts),
            Next::Refresh | Next::Sibling => last = result.ok().or(last),
            Next::Again(wait) => {
                last = result.ok().or(last);
                gateway.clock.sleep(wait).await;
            }
        }
    }
    let why = "its refresh came to no end".to_owned();
    let retry_at = gateway.clock.now().plus(UNAVAILABLE_WAIT);
    refused(Refusal::Unavailable { provider: call.profile.id.clone(), why, retry_at }, last, call.profile, attempts)
}

fn ended(result: Result<Answered, Fault>, profile: &ProviderProfile, attempts: Attempts) -> Outcome {
    Outcome { answer: result.and_then(|answered| answered.hand_on(profile)), attempts }
}

/// No further credential: the last answer where it tells the client more than the refusal does, else the refusal.
fn refused(refusal: Refusal, last: Option<Answered>, profile: &ProviderProfile, attempts: Attempts) -> Outcome {
    let tells_more = |answered: &Answered| match answered.class {
        Class::Capacity | Class::Concurrency | Class::Policy { .. } => true,
        Class::RateLimited { .. } => attempts.made().iter().all(|made| made.account == answered.account),
        _ => false,
    };
    match last.filter(|answered| !matches!(refusal, Refusal::Denied(_)) && tells_more(answered)) {
        Some(answered) => ended(Ok(answered), profile, attempts),
        None => Outcome { answer: Err(Fault::Refused(refusal)), attempts },
    }
}
