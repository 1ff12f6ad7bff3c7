//! Logins that are polled for: by a code that is typed elsewhere (RFC 8628), and by a vendor's own flow.

use super::finish::{fresh, paths};
use super::{LoginFacts, Next, Stage};
use crate::Inner;
use crate::limits::{DEVICE_CODES_MAX, LOGIN_LIFE_MAX};
use claviger_admin::{AdminError, LoginInput, LoginStep};
use claviger_domain::time::Timestamp;
use claviger_oauth::{
    DeviceClient, DeviceCode, INTERVAL_MAX, Pkce, PollAnswer, SLOW_DOWN, device_request, is_page, is_user_code, poll_request,
    read_device_code, read_poll,
};
use claviger_providers::hooks::{ControlError, ControlHttp, VendorLogin, VendorStep};
use claviger_providers::login::DeviceFlow;
use claviger_runtime::random_bytes;
use std::time::Duration;

/// Somebody types a code elsewhere.
pub(crate) struct DeviceStage {
    flow: DeviceFlow,
    pkce: Option<Pkce>,
    code: DeviceCode,
    /// Codes that were asked for.
    codes: u32,
    /// On the boot clock: when the code ends, and from when the provider may be asked again.
    ends: Duration,
    poll_from: Duration,
}

fn client(flow: &DeviceFlow) -> DeviceClient<'_> {
    DeviceClient {
        device_url: &flow.device_url,
        token_url: &flow.token_url,
        client_id: &flow.client_id,
        scopes: &flow.scopes,
        encoding: flow.encoding,
        headers: &flow.headers,
    }
}

fn in_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Asks for the first code.
pub(super) async fn begin(facts: &LoginFacts, flow: DeviceFlow, inner: &Inner) -> Result<Next, AdminError> {
    new_code(facts, flow, inner, 1).await
}

async fn new_code(facts: &LoginFacts, flow: DeviceFlow, inner: &Inner, codes: u32) -> Result<Next, AdminError> {
    let pkce = flow.pkce.then(|| Pkce::new(random_bytes()));
    let request = device_request(&client(&flow), pkce.as_ref());
    let answer = facts.http.send(request).await.map_err(|error| facts.failed(error.to_string()))?;
    let code = read_device_code(answer.status.as_u16(), &answer.body)
        .map_err(|refusal| facts.failed(format!("{} gave no code: {refusal}", facts.profile.id)))?;
    let (now, boot) = (inner.clock.now(), inner.clock.boot());
    let step = LoginStep::ShowCode {
        login: facts.id.clone(),
        url: code.url.clone(),
        url_complete: code.url_complete.clone(),
        user_code: Some(code.user_code.clone()),
        poll_after_ms: in_ms(code.interval),
        ends_at: now.plus(code.life),
    };
    let (ends, poll_from) = (boot + code.life, boot + code.interval);
    Ok(Next::Goes(Stage::Device(Box::new(DeviceStage { flow, pkce, code, codes, ends, poll_from })), step))
}

/// Asks whether somebody has typed the code; never sooner than the provider wants.
pub(super) async fn go_on(inner: &Inner, facts: &LoginFacts, mut stage: Box<DeviceStage>, input: LoginInput) -> Result<Next, AdminError> {
    if !matches!(input, LoginInput::Poll) {
        return Ok(Next::Goes(Stage::Device(stage), not_taken(facts)));
    }
    let boot = inner.clock.boot();
    let early = stage.poll_from.saturating_sub(boot);
    if early > Duration::ZERO {
        return Ok(waiting(facts, stage, early));
    }
    if boot >= stage.ends {
        return expired(facts, *stage, inner).await;
    }
    let sent_at = inner.clock.now();
    let request = poll_request(&client(&stage.flow), &stage.code, stage.pkce.as_ref());
    let answer = match facts.http.send(request).await {
        Ok(answer) => read_poll(&paths(&stage.flow.answer), answer.status.as_u16(), &answer.body),
        // RFC 8628 §3.5: a connection that fails is no end, only a reason to ask less often.
        Err(ControlError::Unreachable { host, why }) => {
            tracing::debug!(host, why, "a poll for a login had no answer");
            PollAnswer::Unclear
        }
        Err(error @ ControlError::Foreign(_)) => return Err(facts.failed(error.to_string())),
    };
    let slower = |interval: Duration| (interval + SLOW_DOWN).min(INTERVAL_MAX);
    match answer {
        PollAnswer::Done(brought) => {
            let fresh = fresh(facts, &stage.flow.answer, *brought, sent_at)?;
            return Ok(Next::Done(Box::new(fresh), Vec::new()));
        }
        PollAnswer::Refused(code) => return Err(facts.failed(format!("{} refused the login: {code}", facts.profile.id))),
        PollAnswer::Expired => return expired(facts, *stage, inner).await,
        PollAnswer::Pending => {}
        PollAnswer::SlowDown(told) => {
            stage.code.interval = told.map_or(slower(stage.code.interval), |told| told.max(stage.code.interval));
        }
        PollAnswer::Unclear => stage.code.interval = slower(stage.code.interval),
    }
    let interval = stage.code.interval;
    stage.poll_from = inner.clock.boot() + interval;
    Ok(waiting(facts, stage, interval))
}

fn waiting(facts: &LoginFacts, stage: Box<DeviceStage>, poll_after: Duration) -> Next {
    let step = LoginStep::Waiting { login: facts.id.clone(), poll_after_ms: in_ms(poll_after) };
    Next::Goes(Stage::Device(stage), step)
}

/// A code has ended: another one, where the provider's own client asks for one too and somebody may still be there.
async fn expired(facts: &LoginFacts, stage: DeviceStage, inner: &Inner) -> Result<Next, AdminError> {
    let DeviceStage { flow, codes, .. } = stage;
    if flow.restarts && codes < DEVICE_CODES_MAX {
        return new_code(facts, flow, inner, codes + 1).await;
    }
    Err(facts.failed("the code has ended, and nobody had typed it in"))
}

fn not_taken(facts: &LoginFacts) -> LoginStep {
    LoginStep::NotTaken { login: facts.id.clone(), why: "this login takes nothing from here: the code is typed on the page".to_owned() }
}

/// A vendor's own flow.
pub(crate) struct VendorStage {
    login: Box<dyn VendorLogin>,
    /// On the boot clock: from when the provider may be asked again.
    poll_from: Duration,
}

/// The first step of a vendor's own flow.
pub(super) async fn vendor_begin(inner: &Inner, facts: &LoginFacts, login: Box<dyn VendorLogin>) -> Result<Next, AdminError> {
    vendor_step(inner, facts, Box::new(VendorStage { login, poll_from: Duration::ZERO })).await
}

async fn vendor_step(inner: &Inner, facts: &LoginFacts, mut stage: Box<VendorStage>) -> Result<Next, AdminError> {
    let step = stage.login.step(&facts.http).await.map_err(|error| facts.failed(error.to_string()))?;
    let (step, poll_after) = match step {
        VendorStep::Done(fresh) => return Ok(Next::Done(fresh, Vec::new())),
        VendorStep::Pending(after) => (LoginStep::Waiting { login: facts.id.clone(), poll_after_ms: in_ms(after) }, after),
        VendorStep::Show { url, user_code, poll_after, ends_at } => {
            let ends_at = ends_at.min(inner.clock.now().plus(LOGIN_LIFE_MAX));
            (shown(facts, url, user_code, (poll_after, ends_at))?, poll_after)
        }
    };
    stage.poll_from = inner.clock.boot() + poll_after;
    Ok(Next::Goes(Stage::Vendor(stage), step))
}

fn shown(
    facts: &LoginFacts,
    url: String,
    user_code: Option<String>,
    (poll_after, ends_at): (Duration, Timestamp),
) -> Result<LoginStep, AdminError> {
    if !is_page(&url) {
        return Err(facts.failed(format!("{} names a page that no browser should be sent to", facts.profile.id)));
    }
    if user_code.as_deref().is_some_and(|code| !is_user_code(code)) {
        return Err(facts.failed(format!("{} gave a code that nobody can type", facts.profile.id)));
    }
    Ok(LoginStep::ShowCode { login: facts.id.clone(), url, url_complete: None, user_code, poll_after_ms: in_ms(poll_after), ends_at })
}

/// A poll of a vendor's own flow; never sooner than it wants.
pub(super) async fn vendor_go_on(
    inner: &Inner,
    facts: &LoginFacts,
    stage: Box<VendorStage>,
    input: LoginInput,
) -> Result<Next, AdminError> {
    if !matches!(input, LoginInput::Poll) {
        return Ok(Next::Goes(Stage::Vendor(stage), not_taken(facts)));
    }
    let early = stage.poll_from.saturating_sub(inner.clock.boot());
    if early > Duration::ZERO {
        let step = LoginStep::Waiting { login: facts.id.clone(), poll_after_ms: in_ms(early) };
        return Ok(Next::Goes(Stage::Vendor(stage), step));
    }
    vendor_step(inner, facts, stage).await
}
