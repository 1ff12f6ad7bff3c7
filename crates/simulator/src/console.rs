//! `/__simulator/...`: the ledger and the control over HTTP, for the tour's curl and for tests in several processes.

use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::capture::HeadTap;
use crate::control::Control;
use crate::faults::{LlmFault, TokenFault};
use crate::ledger::{Ledger, LlmRequest, TokenOutcome, TokenPost};
use crate::reply::{Cut, Reply, ScriptedBody, read_body};
use crate::state::{Entry, Shared};
use crate::tokens::IssuedGrant;

/// What every path of the console begins with.
pub(crate) const PREFIX: &str = "/__simulator/";

/// The body of every command. A field that the command does not know is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Command {
    account: Option<String>,
    /// How many requests it applies to; for ever where it is left out.
    times: Option<u32>,
    /// For `quota`: when the usage comes back. Default one hour.
    reset_in_s: Option<u64>,
    /// For `key`: an API key that is accepted from now on as the account's.
    key: Option<String>,
    /// For `fault`.
    token: Option<TokenFault>,
    /// For `fault`.
    llm: Option<LlmFault>,
}

/// Answers a request to the console. It is not entered in the ledger.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    (verb, tap): (&str, &HeadTap),
) -> Result<Response<ScriptedBody>, Cut> {
    let (parts, body) = request.into_parts();
    let body = read_body(body).await.ok_or(Cut)?;
    tap.rearm();
    let reply = match (parts.method, verb) {
        (Method::GET, "ledger") => {
            let ledger = Ledger::new(Arc::clone(shared));
            let is_full = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "full=1"));
            Reply::json(200, &if is_full { full(&ledger) } else { summary(&ledger) })
        }
        (Method::POST, verb) => {
            let command = if body.is_empty() { Ok(Command::default()) } else { serde_json::from_slice(&body) };
            match command {
                Ok(command) => run(&Control::new(Arc::clone(shared)), verb, command),
                Err(error) => failed(400, &error.to_string()),
            }
        }
        _ => failed(404, "no such command"),
    };
    Ok(reply.into_response(shared.now_ms(), Entry::unlisted(shared)))
}

fn run(control: &Control, verb: &str, command: Command) -> Reply {
    let times = command.times.unwrap_or(u32::MAX);
    match (verb, command.account.as_deref()) {
        ("login", Some(account)) => {
            let IssuedGrant { access, refresh, expires_at_ms, account } = control.grant_issue(account);
            return Reply::json(200, &json!({ "account": account, "access": access, "refresh": refresh, "expires_at_ms": expires_at_ms }));
        }
        ("key", Some(account)) => match &command.key {
            Some(key) => {
                control.api_key_add(key, account);
                return Reply::json(200, &json!({ "ok": true }));
            }
            None => return failed(400, "a key is missing"),
        },
        (_, Some(account)) if !control.account_is_known(account) => {
            return failed(404, "no such account");
        }
        ("expire", Some(account)) => control.account_expire(account),
        ("revoke", Some(account)) => control.grant_revoke(account),
        ("unauthorized", Some(account)) => {
            control.llm_fault_for(account, LlmFault::Unauthorized, times);
        }
        ("quota", Some(account)) => {
            let reset_in_s = command.reset_in_s.unwrap_or(3600);
            control.llm_fault_for(account, LlmFault::QuotaExhausted { reset_in_s }, times);
        }
        ("expire" | "revoke" | "unauthorized" | "quota" | "login" | "key", None) => {
            return failed(400, "an account is missing");
        }
        ("fault", account) => match (command.token, command.llm, account) {
            (Some(fault), None, None) => control.token_fault_next(fault),
            (None, Some(fault), Some(account)) => control.llm_fault_for(account, fault, times),
            (None, Some(fault), None) => control.llm_fault_next(fault),
            _ => return failed(400, "give either a token fault or an llm fault"),
        },
        ("clear", _) => control.llm_faults_clear(),
        ("release", _) => control.release(),
        _ => return failed(404, "no such command"),
    }
    Reply::json(200, &json!({ "ok": true }))
}

fn failed(status: u16, error: &str) -> Reply {
    Reply::json(status, &json!({ "error": error }))
}

/// The ledger without a single token text.
fn summary(ledger: &Ledger) -> Value {
    let posts: Vec<_> = ledger.token_posts().iter().map(post_summary).collect();
    let requests: Vec<_> = ledger.requests().iter().map(request_summary).collect();
    counts(ledger, &json!(posts), &json!(requests))
}

/// The ledger with every text and header.
fn full(ledger: &Ledger) -> Value {
    let mut full = counts(ledger, &json!(ledger.token_posts()), &json!(ledger.requests()));
    if let Some(fields) = full.as_object_mut() {
        fields.insert("credentials_seen".to_owned(), json!(ledger.credentials_seen()));
    }
    full
}

fn counts(ledger: &Ledger, token_posts: &Value, requests: &Value) -> Value {
    json!({
        "refreshes": ledger.refreshes(),
        "reuses": ledger.reuses(),
        "stale_credentials": ledger.stale_credentials(),
        "held": ledger.held(),
        "token_posts": token_posts,
        "requests": requests,
    })
}

fn post_summary(post: &TokenPost) -> Value {
    let outcome = match post.outcome {
        TokenOutcome::Pending => "pending",
        TokenOutcome::Rotated { .. } => "rotated",
        TokenOutcome::Replayed { .. } => "replayed",
        TokenOutcome::Reused => "reused",
        TokenOutcome::Dead => "dead",
        TokenOutcome::Unknown => "unknown",
        TokenOutcome::Login => "login",
        TokenOutcome::Malformed => "malformed",
        TokenOutcome::Faulted(_) => "faulted",
    };
    json!({ "at_ms": post.at_ms, "outcome": outcome, "fault": post.fault, "status": post.status, "end": post.end })
}

fn request_summary(request: &LlmRequest) -> Value {
    // A query may hold a key.
    let path = request.path_and_query.split('?').next().unwrap_or_default();
    json!({
        "at_ms": request.at_ms,
        "method": request.method,
        "path": path,
        "account": request.account(),
        "status": request.status,
        "end": request.end,
    })
}
