//! Logins that are two vendors' own: Codex's device codes, and Cursor's page with a poll.

use super::pages::refused;
use super::redeem::{LoginAsk, Paid, challenge_of, granted, hit};
use super::{DevicePoll, IssuedCode, IssuedDevice, LoginHitKind};
use crate::reply::Reply;
use crate::state::State;
use http::Method;
use serde_json::{Value, json};

/// Where Codex's codes are issued to.
const CODEX_REDIRECT: &str = "https://auth.openai.com/deviceauth/callback";

/// The paths of these flows.
pub(super) fn is_path(path: &str) -> bool {
    ["/deviceauth/usercode", "/deviceauth/token", "/loginDeepControl", "/auth/poll"].iter().any(|end| path.ends_with(end))
}

/// Answers a request of one of them.
pub(super) fn answer(state: &mut State, (method, path): (&Method, &str), query: &str, (body, now_ms): (&[u8], i64)) -> Reply {
    let ask = if *method == Method::GET { Some(LoginAsk::of_form(query)) } else { LoginAsk::parse(body) };
    let Some(ask) = ask else { return refused(400, "invalid_request") };
    match path.rsplit('/').next() {
        Some("usercode") if *method == Method::POST => user_code(state, &ask, now_ms),
        Some("token") if *method == Method::POST => typed(state, &ask, now_ms),
        Some("loginDeepControl") if *method == Method::GET => page(state, &ask, now_ms),
        Some("poll") if *method == Method::GET => poll(state, &ask, now_ms),
        _ => refused(405, "method_not_allowed"),
    }
}

fn user_code(state: &mut State, ask: &LoginAsk, now_ms: i64) -> Reply {
    let provider = &mut state.identity_provider;
    let device = provider.mint("device");
    let user_code = format!("CODE-{:04}", provider.minted);
    let client_id = ask.param("client_id").unwrap_or_default().to_owned();
    provider.devices.insert(device.clone(), IssuedDevice { client_id, ended: false });
    let interval = provider.policy.interval_s.to_string();
    hit(state, ask, (LoginHitKind::DeviceCode, now_ms), (200, user_code.clone()));
    Reply::json(200, &json!({ "device_auth_id": device, "user_code": user_code, "interval": interval }))
}

/// 403 until somebody has typed the code; then a code for the exchange, with the verifier that goes with it.
fn typed(state: &mut State, ask: &LoginAsk, now_ms: i64) -> Reply {
    let provider = &mut state.identity_provider;
    let device = provider.devices.get_mut(ask.param("device_auth_id").unwrap_or_default()).filter(|device| !device.ended);
    let next = device.map(|device| (device.client_id.clone(), provider.policy.polls.pop_front()));
    let (status, body, answered) = match next {
        None => (404, json!({ "error": "unknown" }), "unknown".to_owned()),
        Some((_, Some(DevicePoll::BadGateway))) => (502, Value::Null, "bad_gateway".to_owned()),
        Some((_, Some(_))) => (403, json!({ "error": "pending" }), "pending".to_owned()),
        Some((client_id, None)) => {
            let (code, verifier) = (provider.mint("code"), provider.mint("verifier"));
            let account = provider.policy.account.clone();
            let challenge = Some(challenge_of(&verifier));
            let issued = IssuedCode { account, client_id, redirect_uri: CODEX_REDIRECT.to_owned(), challenge, used: false };
            provider.codes.insert(code.clone(), issued);
            (200, json!({ "authorization_code": code, "code_verifier": verifier }), code)
        }
    };
    hit(state, ask, (LoginHitKind::Poll, now_ms), (status, answered));
    Reply::json(status, &body)
}

/// The page: whoever opens it confirms at once.
fn page(state: &mut State, ask: &LoginAsk, now_ms: i64) -> Reply {
    let (id, challenge) = (ask.param("uuid").unwrap_or_default(), ask.param("challenge").unwrap_or_default());
    state.identity_provider.confirmed.insert(id.to_owned(), challenge.to_owned());
    hit(state, ask, (LoginHitKind::Authorize, now_ms), (200, String::new()));
    Reply::whole(200, "text/html", "<html>confirmed</html>")
}

/// 404 until somebody has confirmed; then tokens, for the verifier alone.
fn poll(state: &mut State, ask: &LoginAsk, now_ms: i64) -> Reply {
    let confirmed = state.identity_provider.confirmed.get(ask.param("uuid").unwrap_or_default());
    let proven = confirmed.is_some_and(|challenge| *challenge == challenge_of(ask.param("verifier").unwrap_or_default()));
    let (status, body, answered) = if proven {
        let account = state.identity_provider.policy.account.clone();
        let (status, body, answered) = granted(state, &account, Paid::Tokens, now_ms);
        (status, json!({ "accessToken": body.get("access_token"), "refreshToken": body.get("refresh_token") }), answered)
    } else {
        (404, Value::Null, "pending".to_owned())
    };
    hit(state, ask, (LoginHitKind::Poll, now_ms), (status, answered));
    Reply::json(status, &body)
}
