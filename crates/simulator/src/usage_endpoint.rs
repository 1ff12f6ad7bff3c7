//! The usage endpoint of a subscription: what an account has left of its two windows, as Anthropic answers it (observed 2026-11).
//!
//! The same figures stand in the headers of answers to Messages requests, so that both ways tell one truth.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::json;

use crate::capture::HeadTap;
use crate::ledger::CredentialVerdict;
use crate::reply::{Cut, Reply, ScriptedBody, read_body, rfc3339};
use crate::state::{Entry, Shared};

/// Where it answers.
const PATH: &str = "/api/oauth/usage";

/// What an account has used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsageTold {
    /// Of the window of five hours, in per cent.
    pub five_hour_percent: f64,
    /// When that ends, in seconds from the moment it is asked.
    pub five_hour_resets_in_s: i64,
    /// Of the window of seven days, in per cent.
    pub seven_day_percent: f64,
    /// When that ends, in seconds from the moment it is asked.
    pub seven_day_resets_in_s: i64,
}

impl UsageTold {
    /// Both windows in per cent; the short one ends in an hour, the long one in three days.
    pub const fn percent(five_hour_percent: f64, seven_day_percent: f64) -> Self {
        Self { five_hour_percent, five_hour_resets_in_s: 3600, seven_day_percent, seven_day_resets_in_s: 3 * 86_400 }
    }

    /// What is told of an account of which nobody has said anything: little is used of windows that end for all at once.
    pub(crate) fn by_default(now_s: i64) -> Self {
        let left = |length_s: i64| length_s - now_s.rem_euclid(length_s);
        Self {
            five_hour_percent: 12.0,
            five_hour_resets_in_s: left(5 * 3600),
            seven_day_percent: 3.0,
            seven_day_resets_in_s: left(7 * 86_400),
        }
    }
}

/// A failure of the usage endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageFault {
    /// An error with this status.
    Status(u16),
    /// No answer before [`crate::Control::release`].
    Hang,
    /// This body, with status 200.
    Body(String),
}

/// A question that reached the usage endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageHit {
    /// When, in epoch milliseconds.
    pub at_ms: i64,
    /// Whose credential came with it, good or not.
    pub account: Option<String>,
    /// Whether that was good.
    pub is_good: bool,
}

/// What the endpoint knows and has seen.
#[derive(Debug, Default)]
pub(crate) struct UsageDesk {
    pub(crate) told: BTreeMap<String, UsageTold>,
    pub(crate) faults: VecDeque<UsageFault>,
    pub(crate) hits: Vec<UsageHit>,
}

pub(crate) fn is_usage_path(path: &str) -> bool {
    path == PATH
}

/// Answers one question.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>, tap: HeadTap) -> Result<Response<ScriptedBody>, Cut> {
    let (parts, body) = request.into_parts();
    let now_ms = shared.now_ms();
    let bearer = parts.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let (verdict, fault, told) = shared.update(|state| {
        let verdict = state.tokens.access_verdict(&bearer, now_ms);
        let account = verdict.account().map(str::to_owned);
        let told = account.as_ref().and_then(|account| state.usage.told.get(account).copied());
        state.usage.hits.push(UsageHit { at_ms: now_ms, account, is_good: verdict.is_good() });
        (verdict, state.usage.faults.pop_front(), told)
    });
    let entry = Entry::unlisted(shared);
    if read_body(body).await.is_none() {
        return Err(Cut);
    }
    tap.rearm();
    if fault == Some(UsageFault::Hang) {
        shared.hold().await;
    }
    Ok(reply(&verdict, fault, told, now_ms).into_response(now_ms, entry))
}

fn reply(verdict: &CredentialVerdict, fault: Option<UsageFault>, told: Option<UsageTold>, now_ms: i64) -> Reply {
    let error =
        |status| Reply::json(status, &json!({ "type": "error", "error": { "type": "api_error", "message": "canary-usage-error" } }));
    match fault {
        Some(UsageFault::Status(status)) => return error(status),
        Some(UsageFault::Body(body)) => return Reply::whole(200, "application/json", body),
        Some(UsageFault::Hang) | None => {}
    }
    if !verdict.is_good() {
        return error(401);
    }
    let window = |percent: f64, resets_in_s: i64| {
        let resets_at = rfc3339(now_ms.saturating_add(resets_in_s.saturating_mul(1000)));
        json!({ "utilization": percent, "resets_at": resets_at })
    };
    let told = told.unwrap_or_else(|| UsageTold::by_default(now_ms.div_euclid(1000)));
    Reply::json(
        200,
        &json!({
            "five_hour": window(told.five_hour_percent, told.five_hour_resets_in_s),
            "seven_day": window(told.seven_day_percent, told.seven_day_resets_in_s),
            "seven_day_opus": null,
            "internal_note": "canary-usage-body",
        }),
    )
}
