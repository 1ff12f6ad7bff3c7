//! The page that a browser is sent to, device codes, and keys for codes, over HTTP.

use super::redeem::{LoginAsk, Paid, redeem};
use super::vendors;
use super::{Consent, IssuedCode, IssuedDevice, Issuer, LoginHit, LoginHitKind};
use crate::capture::HeadTap;
use crate::reply::{Cut, Reply, ScriptedBody, read_body};
use crate::state::{Entry, Shared, State};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use std::sync::Arc;

/// How long a device code is good, in seconds.
const DEVICE_CODE_LIFE_S: u64 = 900;

/// The paths of a login beside the token endpoint's.
pub(crate) fn is_login_path(path: &str) -> bool {
    path.ends_with("/authorize") || path.ends_with("/device/code") || path.ends_with("/auth/keys") || vendors::is_path(path)
}

/// Answers a request of a login.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    (origin, tap): (String, HeadTap),
) -> Result<Response<ScriptedBody>, Cut> {
    let (parts, body) = request.into_parts();
    let body = read_body(body).await.ok_or(Cut)?;
    tap.rearm();
    let (now_ms, path) = (shared.now_ms(), parts.uri.path());
    let reply = shared.update(|state| match &parts.method {
        method if vendors::is_path(path) => vendors::answer(state, (method, path), parts.uri.query().unwrap_or_default(), (&body, now_ms)),
        method if *method == Method::GET && path.ends_with("/authorize") => {
            authorize(state, &LoginAsk::of_form(parts.uri.query().unwrap_or_default()), &origin, now_ms)
        }
        method if *method == Method::POST && path.ends_with("/device/code") => match LoginAsk::parse(&body) {
            Some(ask) => device(state, ask, &origin, now_ms),
            None => refused(400, "invalid_request"),
        },
        method if *method == Method::POST && path.ends_with("/auth/keys") => match LoginAsk::parse(&body) {
            Some(ask) => redeem(state, &ask, Paid::Key, now_ms),
            None => refused(400, "invalid_request"),
        },
        _ => refused(405, "method_not_allowed"),
    });
    Ok(reply.into_response(now_ms, Entry::unlisted(shared)))
}

pub(super) fn refused(status: u16, error: &str) -> Reply {
    Reply::json(status, &json!({ "error": error }))
}

/// The page: whoever comes is the policy's account, and agrees or refuses at once.
fn authorize(state: &mut State, ask: &LoginAsk, origin: &str, now_ms: i64) -> Reply {
    let provider = &mut state.identity_provider;
    let redirect = ask.param("redirect_uri").or_else(|| ask.param("callback_url")).unwrap_or_default().to_owned();
    let mut hit =
        LoginHit { at_ms: now_ms, kind: LoginHitKind::Authorize, params: ask.params.clone(), status: 302, answered: String::new() };
    if !redirect.contains("://") {
        (hit.status, hit.answered) = (400, "invalid_request".to_owned());
        provider.enter(hit);
        return refused(400, "invalid_request");
    }
    let mut query = match provider.policy.consent.clone() {
        Consent::Refused(error) => {
            hit.answered.clone_from(&error);
            format!("error={error}&error_description=canary-description")
        }
        Consent::Granted => {
            let code = provider.mint("code");
            let issued = IssuedCode {
                account: provider.policy.account.clone(),
                client_id: ask.param("client_id").unwrap_or_default().to_owned(),
                redirect_uri: redirect.clone(),
                challenge: ask.param("code_challenge").map(str::to_owned),
                used: false,
            };
            provider.codes.insert(code.clone(), issued);
            hit.answered.clone_from(&code);
            format!("code={code}")
        }
    };
    let issuer = match &provider.policy.issuer {
        Issuer::Absent => None,
        Issuer::Own => Some(origin.to_owned()),
        Issuer::Other(other) => Some(other.clone()),
    };
    let state_back = ask.param("state").filter(|_| provider.policy.echo_state).map(str::to_owned);
    for (name, value) in [("state", state_back), ("iss", issuer)] {
        if let Some(value) = value {
            query.extend(["&", name, "="].into_iter().chain(utf8_percent_encode(&value, NON_ALPHANUMERIC)));
        }
    }
    provider.enter(hit);
    let joint = if redirect.contains('?') { '&' } else { '?' };
    Reply::whole(302, "text/plain", "").header("location", format!("{redirect}{joint}{query}"))
}

fn device(state: &mut State, ask: LoginAsk, origin: &str, now_ms: i64) -> Reply {
    let provider = &mut state.identity_provider;
    let (device_code, number) = (provider.mint("device"), provider.minted);
    let user_code = format!("CODE-{number:04}");
    let client_id = ask.param("client_id").unwrap_or_default().to_owned();
    provider.devices.insert(device_code.clone(), IssuedDevice { client_id, ended: false });
    let interval_s = provider.policy.interval_s;
    provider.enter(LoginHit {
        at_ms: now_ms,
        kind: LoginHitKind::DeviceCode,
        params: ask.params,
        status: 200,
        answered: user_code.clone(),
    });
    let body = json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": format!("{origin}/device"),
        "verification_uri_complete": format!("{origin}/device?user_code={user_code}"),
        "expires_in": DEVICE_CODE_LIFE_S,
        "interval": interval_s,
    });
    Reply::json(200, &body)
}
