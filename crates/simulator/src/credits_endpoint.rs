//! Saved resets of a subscription, and its usage, as the ChatGPT backend answers them (observed 2026-11).
//!
//! A reset is spent once for an id of an attempt: whoever repeats the attempt with the same id hears that it was redeemed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::capture::HeadTap;
use crate::reply::{Cut, Reply, ScriptedBody, read_body, rfc3339};
use crate::state::{Entry, Shared};

/// What the paths have in common, wherever an overlay puts them.
const FOLDER: &str = "/wham/";
const USAGE: &str = "usage";
const LIST: &str = "rate-limit-reset-credits";
const CONSUME: &str = "rate-limit-reset-credits/consume";

/// A question that reached the endpoint of saved resets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditHit {
    /// What followed `/wham/` in its path.
    pub what: String,
    /// Whose credential came with it, good or not.
    pub account: Option<String>,
    /// `chatgpt-account-id` as sent.
    pub account_header: Option<String>,
    /// The id of the attempt in its body.
    pub request_id: Option<String>,
    /// The status answered; absent where the connection was cut.
    pub status: Option<u16>,
}

/// What is left to whom, and what was spent.
#[derive(Debug, Default)]
pub(crate) struct CreditDesk {
    /// By account: the ids that can be redeemed.
    pub(crate) saved: BTreeMap<String, BTreeSet<String>>,
    /// By account: how much of the short window is used, in per cent. Default 12.
    pub(crate) used: BTreeMap<String, u8>,
    /// Attempts that have redeemed something.
    pub(crate) attempts: BTreeSet<String>,
    /// What consuming is answered with in place of the truth: status and code; `None` cuts the connection after it was done.
    pub(crate) answers: VecDeque<Option<(u16, String)>>,
    pub(crate) hits: Vec<CreditHit>,
}

pub(crate) fn is_credits_path(path: &str) -> bool {
    path.split_once(FOLDER).is_some_and(|(_, what)| [USAGE, LIST, CONSUME].contains(&what))
}

/// Answers one question.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>, tap: HeadTap) -> Result<Response<ScriptedBody>, Cut> {
    let (parts, body) = request.into_parts();
    let now_ms = shared.now_ms();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bearer = header("authorization").unwrap_or_default();
    let bearer = bearer.strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let what = parts.uri.path().split_once(FOLDER).map(|(_, what)| what.to_owned()).unwrap_or_default();
    let Some(body) = read_body(body).await else { return Err(Cut) };
    tap.rearm();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let reply = shared.update(|state| {
        let verdict = state.tokens.access_verdict(&bearer, now_ms);
        let account = verdict.account().map(str::to_owned);
        let desk = &mut state.credits;
        let reply = match (account.as_deref().filter(|_| verdict.is_good()), &parts.method, what.as_str()) {
            (None, ..) => Some((401, json!({ "detail": "canary-credits-error" }))),
            (Some(account), &Method::GET, USAGE) => Some((200, desk.usage(account, now_ms))),
            (Some(account), &Method::GET, LIST) => Some((200, desk.list(account, now_ms))),
            (Some(account), &Method::POST, CONSUME) => desk.consume(account, text("credit_id"), text("redeem_request_id")),
            _ => Some((405, json!({}))),
        };
        let (account_header, request_id) = (header("chatgpt-account-id"), text("redeem_request_id"));
        desk.hits.push(CreditHit {
            what: what.clone(),
            account,
            account_header,
            request_id,
            status: reply.as_ref().map(|(status, _)| *status),
        });
        reply
    });
    let (status, body) = reply.ok_or(Cut)?;
    let entry = Entry::unlisted(shared);
    Ok(Reply::json(status, &body).into_response(now_ms, entry))
}

impl CreditDesk {
    fn usage(&self, account: &str, now_ms: i64) -> Value {
        let used = self.used.get(account).copied().unwrap_or(12);
        let window = |percent: u8, seconds: i64| json!({ "used_percent": percent, "limit_window_seconds": seconds, "reset_at": now_ms / 1000 + seconds / 2 });
        json!({
            "plan_type": "plus",
            "rate_limit": { "allowed": used < 100, "limit_reached": used >= 100, "primary_window": window(used, 18_000), "secondary_window": window(3, 604_800) },
        })
    }

    fn list(&self, account: &str, now_ms: i64) -> Value {
        let saved = self.saved.get(account).cloned().unwrap_or_default();
        let row = |(place, id): (usize, &String)| {
            let ends_ms = now_ms + (i64::try_from(place).unwrap_or(0) + 1) * 86_400_000;
            json!({ "id": id, "status": "available", "title": "One reset", "granted_at": rfc3339(now_ms), "expires_at": rfc3339(ends_ms) })
        };
        let rows: Vec<Value> = saved.iter().enumerate().map(row).collect();
        json!({ "available_count": rows.len(), "credits": rows, "internal_note": "canary-credits-body" })
    }

    /// `None` where the connection is to be cut.
    fn consume(&mut self, account: &str, credit: Option<String>, attempt: Option<String>) -> Option<(u16, Value)> {
        let (Some(credit), Some(attempt)) = (credit, attempt) else { return Some((400, json!({ "code": "bad_request" }))) };
        let forced = self.answers.pop_front();
        if let Some(Some((status, code))) = forced {
            return Some((status, if code.is_empty() { json!({}) } else { json!({ "code": code }) }));
        }
        let had = self.saved.entry(account.to_owned()).or_default();
        let code = if !self.attempts.insert(attempt) {
            "already_redeemed"
        } else if had.remove(&credit) {
            self.used.insert(account.to_owned(), 0);
            "reset"
        } else {
            "no_credit"
        };
        (forced != Some(None)).then(|| (200, json!({ "code": code })))
    }
}
