//! The model side: finds the dialect of a request, checks its credential, plays a fault or answers in the dialect.

mod chat;
mod credentials;
mod fault;
mod generate;
mod messages;
mod responses;
mod route;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::Value;

use crate::capture::HeadTap;
use crate::faults::LlmFault;
use crate::ledger::{CredentialVerdict, ExchangeEnd, LlmRequest};
use crate::reply::{Cut, Reply, ScriptedBody, read_body};
use crate::state::{Entry, Line, Pace, Shared, State};
use crate::usage_endpoint::UsageTold;

use credentials::{credentials, verdict};
use fault::{Before, paced, play};
use route::{Dialect, Route};

/// What a good answer is made from.
struct Call<'a> {
    account: &'a str,
    /// Whether the credential was an API key; rate-limit headers differ.
    by_api_key: bool,
    model: String,
    body: Value,
    body_bytes: usize,
    now_ms: i64,
    serial: u64,
    pace: Pace,
    /// What the account has used, where a test said so.
    usage: Option<UsageTold>,
}

impl Call<'_> {
    fn text(&self) -> String {
        format!("Hello from {}.", self.account)
    }

    /// The answer's text in as many pieces as the stream shall have deltas.
    fn pieces(&self) -> Vec<String> {
        pieces(&self.text(), self.pace.events)
    }

    /// Whether the body asks for a stream.
    fn streams(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool).unwrap_or(false)
    }

    /// About four bytes a token, as all rules of thumb have it.
    fn input_tokens(&self) -> usize {
        self.body_bytes / 4 + 1
    }

    fn output_tokens(&self) -> usize {
        self.text().len() / 4 + 1
    }

    fn now_s(&self) -> i64 {
        self.now_ms.div_euclid(1000)
    }
}

/// Why a request is refused, before a dialect words it.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    BadRequest,
    Unauthorized,
    Policy,
    NotFound,
    RateLimited { retry_after_s: u64 },
    Quota { reset_in_s: u64 },
    Overloaded,
    Internal,
}

/// Answers a request to anything but the token endpoint and the console.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    (headers, tap): (Vec<(String, String)>, HeadTap),
) -> Result<Response<ScriptedBody>, Cut> {
    let (parts, body) = request.into_parts();
    let now_ms = shared.now_ms();
    let credentials = credentials(&headers, &parts.uri);
    let route = Route::find(&parts.method, &parts.uri, |name| parts.headers.contains_key(name));
    let path_and_query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let (plan, date_ms) = shared.update(|state| {
        let verdict = verdict(state, credentials.first(), now_ms);
        let fault = fault_due(state, route.as_ref(), &verdict);
        let serial = state.book.request_begin(LlmRequest {
            id: 0,
            at_ms: now_ms,
            method: parts.method.to_string(),
            path_and_query: path_and_query.to_owned(),
            headers,
            credentials,
            verdict: verdict.clone(),
            body: Bytes::new(),
            fault: fault.clone(),
            status: None,
            end: ExchangeEnd::Open,
        });
        let date_ms = now_ms.saturating_add(state.policy.date_skew_s.saturating_mul(1000));
        let usage = verdict.account().and_then(|account| state.usage.told.get(account).copied());
        (Plan { route, verdict, fault, pace: state.pace, serial, usage }, date_ms)
    });
    let mut entry = Entry::new(shared, Line::Request(plan.serial));
    let Some(body) = read_body(body).await else {
        return Err(Cut);
    };
    tap.rearm();
    shared.update(|state| state.book.request_body(plan.serial, body.clone()));
    let (reply, before) = plan.reply(&body, now_ms);
    match before {
        Before::Nothing => {}
        Before::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Before::Hold => shared.hold().await,
        Before::Cut => {
            entry.close(ExchangeEnd::Cut);
            return Err(Cut);
        }
    }
    Ok(reply.into_response(date_ms, entry))
}

/// What was decided about a request when its headers were read, in one step with its line in the ledger.
struct Plan {
    route: Option<Route>,
    verdict: CredentialVerdict,
    fault: Option<LlmFault>,
    pace: Pace,
    serial: u64,
    usage: Option<UsageTold>,
}

/// Takes the fault that a request is due. A bad credential is refused first and leaves the faults alone.
fn fault_due(state: &mut State, route: Option<&Route>, verdict: &CredentialVerdict) -> Option<LlmFault> {
    let account = verdict.account().filter(|_| verdict.is_good())?;
    route?.operation.takes_faults().then(|| state.llm_fault_take(account)).flatten()
}

impl Plan {
    fn reply(self, body: &Bytes, now_ms: i64) -> (Reply, Before) {
        let Some(route) = &self.route else {
            return (Dialect::Chat.refuse(Refusal::NotFound, now_ms), Before::Nothing);
        };
        let dialect = route.dialect;
        let (true, Some(account)) = (self.verdict.is_good(), self.verdict.account()) else {
            return (dialect.refuse(Refusal::Unauthorized, now_ms), Before::Nothing);
        };
        let parsed = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
        let Ok(parsed) = parsed else {
            return (dialect.refuse(Refusal::BadRequest, now_ms), Before::Nothing);
        };
        let asked = parsed.get("model").and_then(Value::as_str).unwrap_or("sim-1").to_owned();
        let call = Call {
            account,
            by_api_key: matches!(self.verdict, CredentialVerdict::ApiKey { .. }),
            model: route.model.clone().unwrap_or(asked),
            body: parsed,
            body_bytes: body.len(),
            now_ms,
            serial: self.serial,
            pace: self.pace,
            usage: self.usage,
        };
        let good = paced(route.good(&call), self.pace);
        match self.fault {
            None => (good, Before::Nothing),
            Some(fault) => play(fault, good, dialect, now_ms),
        }
    }
}

/// A server-sent event with a name.
fn named_event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// A server-sent event without a name.
fn plain_event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// Splits a text into `count` pieces that are as even as possible; where it has fewer letters, the rest are dots.
fn pieces(text: &str, count: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let count = count.max(1);
    let (size, larger) = (letters.len() / count, letters.len() % count);
    let mut rest = letters.as_slice();
    let mut pieces = Vec::with_capacity(count);
    for index in 0..count {
        let (piece, after) = rest.split_at_checked(size + usize::from(index < larger)).unwrap_or((rest, &[]));
        rest = after;
        pieces.push(if piece.is_empty() { ".".to_owned() } else { piece.iter().collect() });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_sum_of_its_pieces_however_many_there_are() {
        for count in 1..=6 {
            let cut = pieces("Hello!", count);
            assert_eq!((cut.len(), cut.concat().as_str()), (count, "Hello!"));
        }
        assert_eq!(pieces("ab", 4).concat(), "ab..");
    }
}
