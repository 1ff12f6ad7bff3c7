//! The token endpoint over HTTP: reads a refresh request, plays the queued fault, writes the answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::capture::HeadTap;
use crate::config::{ReuseError, TokenPolicy};
use crate::faults::TokenFault;
use crate::gzip;
use crate::identity_provider::{LoginAsk, Paid, redeem};
use crate::ledger::{ExchangeEnd, TokenOutcome};
use crate::reply::{Cut, Reply, ScriptedBody, Step, read_body};
use crate::state::{Entry, Line, Shared};

/// The paths that are token endpoints; which vendor uses which is not told apart.
pub(crate) fn is_token_path(path: &str) -> bool {
    matches!(path, "/oauth/token" | "/v1/oauth/token" | "/api/oauth/token" | "/token")
}

/// Answers a request to a token endpoint.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    (headers, tap): (Vec<(String, String)>, HeadTap),
) -> Result<Response<ScriptedBody>, Cut> {
    let (parts, body) = request.into_parts();
    let arrived_at_ms = shared.now_ms();
    let (id, fault) = shared.update(|state| {
        let id = state.book.token_post_begin(arrived_at_ms, parts.uri.path(), headers);
        let fault = state.token_faults.pop_front();
        if let Some(post) = state.book.token_post_mut(id) {
            post.fault.clone_from(&fault);
        }
        (id, fault)
    });
    let mut entry = Entry::new(shared, Line::TokenPost(id));
    if let Some(unread @ (TokenFault::CloseBeforeRead | TokenFault::HoldBeforeRead)) = &fault {
        settle(shared, id, TokenOutcome::Faulted(unread.clone()));
        if *unread == TokenFault::HoldBeforeRead {
            shared.hold().await;
        }
        return Err(cut(&mut entry));
    }
    let Some(body) = read_body(body).await else {
        settle(shared, id, TokenOutcome::Malformed);
        return Err(Cut);
    };
    tap.rearm();
    let login = (parts.method == Method::POST).then(|| LoginAsk::parse(&body)).flatten().filter(LoginAsk::is_login);
    if let (Some(login), None | Some(TokenFault::HoldUntilReleased)) = (login, &fault) {
        if fault.is_some() {
            shared.hold().await;
        }
        let reply = shared.update(|state| {
            state.book.token_post_settle(id, TokenOutcome::Login);
            redeem(state, &login, Paid::Tokens, arrived_at_ms)
        });
        return Ok(reply.into_response(arrived_at_ms, entry));
    }
    let ask = (parts.method == Method::POST).then(|| RefreshAsk::parse(&body)).flatten();
    let (reply, date_ms) = decide(shared, id, ask.as_ref(), fault.as_ref());
    match fault {
        Some(TokenFault::HoldMs(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(TokenFault::HoldUntilReleased) => shared.hold().await,
        Some(TokenFault::HangAfterCommit) => std::future::pending().await,
        Some(TokenFault::CloseAfterCommit) => return Err(cut(&mut entry)),
        _ => {}
    }
    Ok(reply.into_response(date_ms, entry))
}

/// Touches the tokens and writes the ledger in one step, so that no other refresh comes between.
fn decide(shared: &Shared, id: u64, ask: Option<&RefreshAsk>, fault: Option<&TokenFault>) -> (Reply, i64) {
    let now_ms = shared.now_ms();
    shared.update(|state| {
        let date_ms = now_ms.saturating_add(state.policy.date_skew_s.saturating_mul(1000));
        if let (Some(post), Some(ask)) = (state.book.token_post_mut(id), ask) {
            post.refresh_token.clone_from(&ask.refresh_token);
            post.client_id.clone_from(&ask.client_id);
        }
        if let Some(reply) = fault.and_then(uncommitted) {
            let outcome = fault.cloned().map_or(TokenOutcome::Malformed, TokenOutcome::Faulted);
            state.book.token_post_settle(id, outcome);
            return (reply, date_ms);
        }
        let Some(refresh) = ask.and_then(RefreshAsk::token) else {
            state.book.token_post_settle(id, TokenOutcome::Malformed);
            return (refused(400, "invalid_request", "not a refresh request"), date_ms);
        };
        let mut policy = state.policy.clone();
        policy.omit_refresh_token |= fault == Some(&TokenFault::EmptyRefreshToken);
        let outcome = state.tokens.redeem(refresh, &policy, now_ms);
        let reply = match &outcome {
            TokenOutcome::Rotated { access, refresh } | TokenOutcome::Replayed { access, refresh } => {
                let expires_in_s = state.tokens.access_remaining_s(access, now_ms);
                let refresh = match fault {
                    Some(TokenFault::EmptyRefreshToken) => Some(""),
                    _ if policy.omit_refresh_token => None,
                    _ => Some(refresh.as_str()),
                };
                damaged(&granted(access, refresh, expires_in_s), fault)
            }
            refusal => refusal_reply(refusal, &policy),
        };
        state.book.token_post_settle(id, outcome);
        (reply, date_ms)
    })
}

fn settle(shared: &Shared, id: u64, outcome: TokenOutcome) {
    shared.update(|state| state.book.token_post_settle(id, outcome));
}

fn cut(entry: &mut Entry) -> Cut {
    entry.close(ExchangeEnd::Cut);
    Cut
}

/// The good answer (RFC 6749 §5.1).
fn granted(access: &str, refresh: Option<&str>, expires_in_s: i64) -> Value {
    let mut body = json!({
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": expires_in_s,
        "scope": "user:inference user:profile",
    });
    if let (Some(refresh), Some(fields)) = (refresh, body.as_object_mut()) {
        fields.insert("refresh_token".to_owned(), Value::from(refresh));
    }
    body
}

/// An error answer (RFC 6749 §5.2).
fn refused(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({ "error": error, "error_description": description })).header("cache-control", "no-store")
}

fn refusal_reply(outcome: &TokenOutcome, policy: &TokenPolicy) -> Reply {
    let nested = |code: &str, message: &str| {
        let error = json!({ "message": message, "type": "invalid_request_error", "param": null, "code": code });
        Reply::json(401, &json!({ "error": error }))
    };
    match (policy.reuse_error, outcome) {
        (ReuseError::RefreshTokenReused, TokenOutcome::Reused) => {
            nested("refresh_token_reused", "Your refresh token has already been used to generate a new access token.")
        }
        (ReuseError::RefreshTokenReused, TokenOutcome::Dead) => {
            nested("refresh_token_invalidated", "Your refresh token has been invalidated.")
        }
        _ => refused(400, "invalid_grant", "Refresh token not found or invalid"),
    }
}

/// The answer to a fault that touches no token, or `None` where the fault lets the token be redeemed.
fn uncommitted(fault: &TokenFault) -> Option<Reply> {
    let reply = match fault {
        TokenFault::RateLimited { retry_after_s } => refused(429, "rate_limited", "Too many requests").header("retry-after", retry_after_s),
        TokenFault::ServerError(status) => refused(*status, "server_error", "Internal error"),
        TokenFault::Html(status) => {
            let page = "<!doctype html><html><head><title>Error</title></head>\
                        <body><h1>Just a moment...</h1><p>Your session was revoked or timed out.</p></body></html>";
            Reply::whole(*status, "text/html; charset=utf-8", page)
        }
        TokenFault::InvalidGrant => refused(400, "invalid_grant", "Refresh token not found or invalid"),
        TokenFault::OAuthError { status, error } => refused(*status, error, "The request was refused"),
        TokenFault::OkWithError => refused(200, "temporarily_unavailable", "Try again later"),
        TokenFault::Garbage
        | TokenFault::Truncated
        | TokenFault::Huge { .. }
        | TokenFault::Slow { .. }
        | TokenFault::HangAfterCommit
        | TokenFault::CloseAfterCommit
        | TokenFault::CloseBeforeRead
        | TokenFault::HoldBeforeRead
        | TokenFault::StallHalfway
        | TokenFault::HoldMs(_)
        | TokenFault::HoldUntilReleased
        | TokenFault::WrongTypes
        | TokenFault::EmptyRefreshToken
        | TokenFault::Bom
        | TokenFault::GzipBomb { .. } => return None,
    };
    Some(reply)
}

/// A good answer as the fault lets it out.
fn damaged(good: &Value, fault: Option<&TokenFault>) -> Reply {
    let text = good.to_string();
    match fault {
        Some(TokenFault::Garbage) => Reply::whole(200, "application/json", "\u{1}\u{2}{{]not json\u{0}"),
        Some(TokenFault::WrongTypes) => {
            let body = json!({ "access_token": 12345, "refresh_token": ["rt"], "expires_in": "soon", "token_type": null });
            Reply::json(200, &body)
        }
        Some(TokenFault::Bom) => Reply::whole(200, "application/json", format!("\u{feff}{text}")),
        Some(TokenFault::GzipBomb { bytes }) => {
            Reply::whole(200, "application/json", gzip::bomb(*bytes)).header("content-encoding", "gzip")
        }
        Some(TokenFault::Truncated) => {
            let whole = Bytes::from(text);
            let steps = [Step::Data(whole.slice(..whole.len() / 2)), Step::Flush, Step::Cut];
            Reply { steps: VecDeque::from(steps), ..Reply::whole(200, "application/json", whole) }
        }
        Some(TokenFault::StallHalfway) => {
            let whole = Bytes::from(text);
            let steps = [Step::Data(whole.slice(..whole.len() / 2)), Step::Flush, Step::Stall];
            Reply { steps: VecDeque::from(steps), ..Reply::whole(200, "application/json", whole) }
        }
        Some(TokenFault::Huge { bytes }) => {
            let (open, close) = (Bytes::from_static(b"{\"access_token\":\""), Bytes::from_static(b"\"}"));
            let fill = bytes.saturating_sub((open.len() + close.len()) as u64);
            let length = Some(fill + (open.len() + close.len()) as u64);
            let steps = VecDeque::from([Step::Data(open), Step::Fill(fill), Step::Data(close)]);
            Reply { steps, length, ..Reply::whole(200, "application/json", "") }
        }
        Some(TokenFault::Slow { chunk_bytes, chunk_ms }) => {
            let pause = Duration::from_millis(*chunk_ms);
            let drops = text.as_bytes().chunks((*chunk_bytes).max(1)).map(Bytes::copy_from_slice);
            let steps = drops.flat_map(|drop| [Step::Flush, Step::Pause(pause), Step::Data(drop)]).collect();
            Reply { steps, ..Reply::whole(200, "application/json", text.clone()) }
        }
        _ => Reply::whole(200, "application/json", text).header("cache-control", "no-store"),
    }
}

/// What a refresh request says.
struct RefreshAsk {
    grant_type: Option<String>,
    refresh_token: Option<String>,
    client_id: Option<String>,
}

impl RefreshAsk {
    /// Reads JSON or a form; the encodings are told apart by the first byte, as vendors' clients mislabel them.
    fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let is_json = text.trim_start().starts_with('{');
        let json: Option<Value> = if is_json { Some(serde_json::from_str(text).ok()?) } else { None };
        let field = |name: &str| match &json {
            Some(fields) => fields.get(name).and_then(Value::as_str).map(str::to_owned),
            None => form_field(text, name),
        };
        Some(Self { grant_type: field("grant_type"), refresh_token: field("refresh_token"), client_id: field("client_id") })
    }

    /// The refresh token, if this is a request to redeem one.
    fn token(&self) -> Option<&str> {
        self.refresh_token.as_deref().filter(|_| self.grant_type.as_deref() == Some("refresh_token"))
    }
}

/// A field of an `application/x-www-form-urlencoded` text.
pub(crate) fn form_field(form: &str, name: &str) -> Option<String> {
    let (_, value) = form.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name)?;
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}
