//! What the answer of a token endpoint means: a pure, strict reading of status, headers and body.

use crate::body::{Content, Members};
use crate::retry_after::retry_at;
use crate::token::{LIFE_MAX, RefreshToken, TokenAnswer};
use claviger_domain::profile::RefreshRule;
use claviger_domain::secret::AccessToken;
use claviger_domain::time::Timestamp;
use serde_json::Value;
use std::time::Duration;
use std::{fmt, mem};

/// The parts of an answer that are read.
#[derive(Clone, Copy)]
pub struct RawParts<'a> {
    /// The status.
    pub status: u16,
    /// `Date`.
    pub date: Option<&'a str>,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

impl fmt::Debug for RawParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawParts").field("status", &self.status).field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// What an answer is.
#[derive(Debug)]
pub enum Outcome {
    /// A complete token.
    Token(TokenAnswer),
    /// The grant is over.
    Dead {
        /// The rule's own spelling of the code, or `status_` and the status.
        code: String,
    },
    /// Refused, and the refresh token is provably not consumed.
    Transient {
        /// When the endpoint may be asked again, where it says so.
        retry_at: Option<Timestamp>,
        /// Why.
        why: Refusal,
    },
    /// The refresh token may have been consumed.
    Ambiguous {
        /// Why.
        why: Doubt,
    },
}

/// Why a refresh token was refused unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The code is on the rule's list.
    NotConsumed {
        /// The rule's own spelling.
        code: String,
    },
    /// Status 429.
    TooManyRequests,
    /// Status 503 with a JSON object, so from the endpoint itself and not from something before it.
    Unavailable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConsumed { code } => write!(f, "the token endpoint refused with {code}"),
            Self::TooManyRequests => f.write_str("the token endpoint asks for fewer requests"),
            Self::Unavailable => f.write_str("the token endpoint is unavailable"),
        }
    }
}

/// Why an answer proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// A status of success without a usable access token.
    Incomplete,
    /// A status of success with an error inside.
    ErrorInSuccess,
    /// The body is a page, probably not the endpoint's own.
    Html {
        /// The status.
        status: u16,
    },
    /// A refusal whose code is missing or on no list.
    UnknownError {
        /// The status.
        status: u16,
    },
    /// A status that token endpoints do not use.
    UnexpectedStatus {
        /// The status.
        status: u16,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("the token endpoint's answer holds no usable token"),
            Self::ErrorInSuccess => f.write_str("the token endpoint answered success and an error"),
            Self::Html { status } => write!(f, "status {status} with a page instead of an answer"),
            Self::UnknownError { status } => write!(f, "status {status} with an unknown error"),
            Self::UnexpectedStatus { status } => write!(f, "unexpected status {status}"),
        }
    }
}

/// Reads an answer by a rule.
///
/// Token: 2xx and a JSON object with an `access_token` that is not blank and no `error`, whatever its media type. Dead:
/// 400, 401 or 403 with a code on the rule's dead list, or with no code at all where the rule says that the status
/// suffices; never a page. Transient: any other 4xx with a code on the rule's list, 429, or 503 with a JSON object.
/// Everything else is ambiguous.
pub fn read_answer(rule: &RefreshRule, raw: &RawParts<'_>, now: Timestamp) -> Outcome {
    // A media type counts for refusals alone: a complete token is one, whatever something on the way calls it.
    let is_success = matches!(raw.status, 200..=299);
    let content = Content::of(raw.content_type.filter(|_| !is_success), raw.body, &rule.names);
    let transient = |why| Outcome::Transient { retry_at: retry_at(raw.retry_after, raw.date, now), why };
    let ambiguous = |why| Outcome::Ambiguous { why };
    let status = raw.status;
    match (status, content) {
        (200..=299, Content::Object(members)) => read_token(*members),
        (200..=299, _) => ambiguous(Doubt::Incomplete),
        (429, _) => transient(Refusal::TooManyRequests),
        (503, Content::Object(_)) => transient(Refusal::Unavailable),
        (_, Content::Html) => ambiguous(Doubt::Html { status }),
        (400..=499, Content::Object(members)) => match verdict(rule, status, &members) {
            Verdict::Dead(code) => Outcome::Dead { code },
            Verdict::NotConsumed(code) => transient(Refusal::NotConsumed { code }),
            Verdict::Unknown => ambiguous(Doubt::UnknownError { status }),
        },
        (400..=499, Content::Empty | Content::OtherJson) if ends_by_status(rule, status) => {
            Outcome::Dead { code: format!("status_{status}") }
        }
        (400..=499, _) => ambiguous(Doubt::UnknownError { status }),
        _ => ambiguous(Doubt::UnexpectedStatus { status }),
    }
}

enum Verdict {
    Dead(String),
    NotConsumed(String),
    Unknown,
}

/// What a parsed refusal says. A code on both lists counts as not consumed: a wrong retry costs less than a lost login.
fn verdict(rule: &RefreshRule, status: u16, members: &Members) -> Verdict {
    let listed = |list: &[String], code: &str| list.iter().find(|entry| entry.eq_ignore_ascii_case(code)).cloned();
    let mut has_code = false;
    for code in members.error_codes() {
        has_code = true;
        if let Some(code) = listed(&rule.not_consumed_codes, code) {
            return Verdict::NotConsumed(code);
        }
        if may_end(status)
            && let Some(code) = listed(&rule.dead_codes, code)
        {
            return Verdict::Dead(code);
        }
    }
    if !has_code && ends_by_status(rule, status) { Verdict::Dead(format!("status_{status}")) } else { Verdict::Unknown }
}

/// The statuses with which RFC 6749 §5.2 and vendors end grants. No rule can widen them.
fn may_end(status: u16) -> bool {
    matches!(status, 400 | 401 | 403)
}

fn ends_by_status(rule: &RefreshRule, status: u16) -> bool {
    may_end(status) && rule.dead_statuses.contains(&status)
}

fn read_token(mut members: Members) -> Outcome {
    if members.has_error() {
        return Outcome::Ambiguous { why: Doubt::ErrorInSuccess };
    }
    let incomplete = Outcome::Ambiguous { why: Doubt::Incomplete };
    let access = match &mut members.access_token {
        Some(Value::String(text)) if is_sendable(text) && !is_blank(text) => AccessToken::new(mem::take(text)),
        _ => return incomplete,
    };
    let refresh = match &mut members.refresh_token {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if is_blank(text) => None,
        Some(Value::String(text)) if is_sendable(text) => Some(RefreshToken::new(mem::take(text))),
        Some(_) => return incomplete,
    };
    let scope = match members.scope.take() {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let expires_in = members.expires_in.take().and_then(|written| life(written.get()));
    Outcome::Token(TokenAnswer { access, refresh, expires_in, scope })
}

/// Whether a token is of visible ASCII and blanks (RFC 6749 §A.12 and §A.17), so that a header can carry it.
fn is_sendable(token: &str) -> bool {
    token.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether a token is empty but for blanks. A refresh token like that would take the place of a good one.
fn is_blank(token: &str) -> bool {
    token.trim().is_empty()
}

/// A life as JSON text: a positive number of seconds, or the same as a string.
pub(crate) fn life(written: &str) -> Option<Duration> {
    let number = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(written).trim();
    // The standard parser reads words as well, such as "inf".
    if !number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let seconds: f64 = number.parse().ok()?;
    let life = Duration::try_from_secs_f64(seconds.min(LIFE_MAX.as_secs_f64())).ok()?;
    (life > Duration::ZERO).then_some(life)
}
