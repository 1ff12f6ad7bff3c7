//! What codes and device codes are traded for: checked as RFC 6749 §4.1.3, RFC 7636 §4.6 and RFC 8628 §3.5 say.

use super::{DevicePoll, LoginHit, LoginHitKind};
use crate::reply::Reply;
use crate::state::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a request of a login says.
#[derive(Debug, Clone)]
pub(crate) struct LoginAsk {
    pub(super) params: Vec<(String, String)>,
}

/// What is given for a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paid {
    /// An access token, and a refresh token.
    Tokens,
    /// A durable key.
    Key,
}

impl LoginAsk {
    /// Reads JSON or a form, told apart by the first byte.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        if !text.trim_start().starts_with('{') {
            return Some(Self::of_form(text));
        }
        let Value::Object(members) = serde_json::from_str(text).ok()? else { return None };
        let params = members.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
        Some(Self { params: params.collect() })
    }

    pub(super) fn of_form(form: &str) -> Self {
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        Self { params: pairs.map(|(name, value)| (decode(name), decode(value))).collect() }
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it redeems a code or a device code.
    pub(crate) fn is_login(&self) -> bool {
        matches!(self.param("grant_type"), Some("authorization_code" | "urn:ietf:params:oauth:grant-type:device_code"))
    }
}

/// Redeems a code or a device code.
pub(crate) fn redeem(state: &mut State, ask: &LoginAsk, paid: Paid, now_ms: i64) -> Reply {
    let is_poll = ask.param("device_code").is_some();
    let (kind, outcome) = if is_poll { (LoginHitKind::Poll, poll(state, ask)) } else { (LoginHitKind::Exchange, exchange(state, ask)) };
    let (status, body, answered) = match outcome {
        Ok(account) => granted(state, &account, paid, now_ms),
        Err(Refused { status: 502, .. }) => {
            hit(state, ask, (kind, now_ms), (502, "bad_gateway".to_owned()));
            return Reply::whole(502, "text/html", "<html>bad gateway</html>");
        }
        Err(Refused { status, error }) => (status, json!({ "error": error, "error_description": "canary-description" }), error.to_owned()),
    };
    hit(state, ask, (kind, now_ms), (status, answered));
    Reply::json(status, &body).header("cache-control", "no-store")
}

pub(super) fn hit(state: &mut State, ask: &LoginAsk, (kind, at_ms): (LoginHitKind, i64), (status, answered): (u16, String)) {
    state.identity_provider.enter(LoginHit { at_ms, kind, params: ask.params.clone(), status, answered });
}

struct Refused {
    status: u16,
    error: &'static str,
}

fn refused(status: u16, error: &'static str) -> Refused {
    Refused { status, error }
}

/// The account that a code stands for.
fn exchange(state: &mut State, ask: &LoginAsk) -> Result<String, Refused> {
    let code = ask.param("code").ok_or_else(|| refused(400, "invalid_request"))?;
    let issued = state.identity_provider.codes.get_mut(code).filter(|issued| !issued.used);
    let issued = issued.ok_or_else(|| refused(400, "invalid_grant"))?;
    // A verifier for a code that was asked for without a challenge is refused: it is somebody else's code (RFC 9700 §4.8.2).
    let proven = match (&issued.challenge, ask.param("code_verifier")) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => challenge_of(verifier) == *challenge,
        (None, Some(_)) | (Some(_), None) => false,
    };
    // Providers that know no clients are told neither client nor redirect.
    let same_client = ask.param("client_id").is_none_or(|client| client == issued.client_id);
    let same_redirect = ask.param("redirect_uri").is_none_or(|redirect| redirect == issued.redirect_uri);
    if !(proven && same_client && same_redirect) {
        return Err(refused(400, "invalid_grant"));
    }
    issued.used = true;
    Ok(issued.account.clone())
}

/// The challenge of a verifier (RFC 7636 §4.2).
pub(super) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

fn poll(state: &mut State, ask: &LoginAsk) -> Result<String, Refused> {
    let provider = &mut state.identity_provider;
    let code = ask.param("device_code").unwrap_or_default();
    let device = provider.devices.get_mut(code).filter(|device| !device.ended);
    let device = device.filter(|device| ask.param("client_id") == Some(device.client_id.as_str()));
    let device = device.ok_or_else(|| refused(400, "expired_token"))?;
    match provider.policy.polls.pop_front() {
        None => {
            device.ended = true;
            Ok(provider.policy.account.clone())
        }
        Some(DevicePoll::Pending) => Err(refused(400, "authorization_pending")),
        Some(DevicePoll::PendingInSuccess) => Err(refused(200, "authorization_pending")),
        Some(DevicePoll::SlowDown) => Err(refused(400, "slow_down")),
        Some(DevicePoll::BadGateway) => Err(refused(502, "bad_gateway")),
        Some(DevicePoll::Expired) => {
            device.ended = true;
            Err(refused(400, "expired_token"))
        }
        Some(DevicePoll::Denied) => {
            device.ended = true;
            Err(refused(403, "access_denied"))
        }
    }
}

pub(super) fn granted(state: &mut State, account: &str, paid: Paid, now_ms: i64) -> (u16, Value, String) {
    let members = state.identity_provider.policy.members.clone();
    let (mut body, answered) = match paid {
        Paid::Key => {
            let key = state.identity_provider.mint("key");
            state.tokens.api_key_add(&key, account);
            (json!({ "key": key }), key)
        }
        Paid::Tokens => {
            let lifetime_s = i64::try_from(state.policy.lifetime_s).unwrap_or(i64::MAX);
            let grant = state.tokens.issue(account, lifetime_s, now_ms);
            let mut body = json!({ "access_token": grant.access, "token_type": "Bearer", "expires_in": lifetime_s });
            if state.identity_provider.policy.refresh
                && let Some(fields) = body.as_object_mut()
            {
                fields.insert("refresh_token".to_owned(), Value::from(grant.refresh));
            }
            (body, grant.access)
        }
    };
    if let (Some(fields), Value::Object(members)) = (body.as_object_mut(), members) {
        fields.extend(members);
    }
    (200, body, answered)
}
