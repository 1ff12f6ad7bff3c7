//! A login by a code that a browser brings back (RFC 6749 §4.1): the page, the checks of what comes, and the exchange.

use super::finish::fresh;
use super::{LoginFacts, Next, Stage};
use crate::Inner;
use crate::limits::LOGIN_IDLE_MAX;
use claviger_admin::{AdminError, ErrorCode, LoginExpects, LoginInput, LoginStep};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_oauth::{
    CodeAttempt, CodeClient, LoginState, Pkce, Returned, authorize_url, exchange_request, is_issuer, read_callback, read_login, read_pasted,
};
use claviger_providers::hooks::ControlHttp;
use claviger_providers::login::{CodeFlow, Redirect, RedirectPort};
use claviger_runtime::random_bytes;
use std::time::Duration;

/// How long the person's side waits before it asks again whether a code has come from elsewhere.
const POLL_AFTER: Duration = Duration::from_secs(5);

/// Codes without `state` that the provider may refuse before the login ends: a person may mistype, and nobody may use us to try
/// codes out.
const UNKNOWN_CODES_MAX: u32 = 4;

/// A browser is out for a code.
pub(crate) struct CodeStage {
    flow: CodeFlow,
    redirect_uri: String,
    state: LoginState,
    pkce: Option<Pkce>,
    /// Codes that came without `state` and that the provider did not know.
    unknown_codes: u32,
}

impl CodeStage {
    fn attempt(&self) -> CodeAttempt<'_> {
        CodeAttempt { redirect_uri: &self.redirect_uri, state: &self.state, pkce: self.pkce.as_ref() }
    }
}

fn client(flow: &CodeFlow) -> CodeClient<'_> {
    CodeClient {
        authorize_url: &flow.authorize_url,
        token_url: &flow.token_url,
        client_id: &flow.client_id,
        client_secret: flow.client_secret.as_deref(),
        scopes: &flow.scopes,
        authorize_params: &flow.authorize_params,
        token_params: &flow.token_params,
        params_replace: flow.params_replace,
        encoding: flow.encoding,
        headers: &flow.headers,
    }
}

/// The page to open. `port` is where the person's side listens.
pub(super) fn begin(facts: &LoginFacts, flow: CodeFlow, port: Option<u16>, now: Timestamp) -> Result<Next, AdminError> {
    if !flow.pkce && !flow.state_returned {
        let message = format!("a login to {} could be forged: it knows neither PKCE nor state", facts.profile.id);
        return Err(AdminError::new(ErrorCode::Refused, message).hint("claviger config check"));
    }
    let redirect_uri = redirect_uri(facts, &flow, port)?;
    let expects = match flow.redirect {
        Redirect::Loopback { .. } => LoginExpects::Callback { redirect: redirect_uri.clone() },
        Redirect::Fixed(_) => LoginExpects::Paste,
    };
    let pkce = flow.pkce.then(|| Pkce::new(random_bytes()));
    let stage = CodeStage { flow, redirect_uri, state: LoginState::new(random_bytes()), pkce, unknown_codes: 0 };
    let url = authorize_url(&client(&stage.flow), &stage.attempt());
    let step = LoginStep::OpenUrl { login: facts.id.clone(), url, expects, ends_at: now.plus(LOGIN_IDLE_MAX) };
    Ok(Next::Goes(Stage::Code(Box::new(stage)), step))
}

/// Where the browser comes back to: where somebody listens, or, where nobody can, to the address that the provider has
/// registered. Whoever has that port gets the code, so it must be of no use without the verifier.
fn redirect_uri(facts: &LoginFacts, flow: &CodeFlow, listening: Option<u16>) -> Result<String, AdminError> {
    let Redirect::Loopback { host, port, path } = &flow.redirect else {
        let Redirect::Fixed(uri) = &flow.redirect else { return Err(facts.failed("the provider has no address to come back to")) };
        return Ok(uri.clone());
    };
    let refused = |message: String| Err(AdminError::new(ErrorCode::Refused, message).hint(facts.again()));
    let port = match (*port, listening) {
        (RedirectPort::Fixed(fixed), Some(port)) if port != fixed => {
            return refused(format!("{} comes back to port {fixed} alone, not to {port}", facts.profile.id));
        }
        (_, Some(port)) => port,
        (RedirectPort::Fixed(port) | RedirectPort::Preferred(port), None) if flow.pkce => port,
        (_, None) => return refused(format!("nobody listens for the browser, and a login to {} needs that", facts.profile.id)),
    };
    Ok(format!("http://{host}:{port}{path}"))
}

/// What has come back.
pub(super) async fn go_on(inner: &Inner, facts: &LoginFacts, stage: Box<CodeStage>, input: LoginInput) -> Result<Next, AdminError> {
    let login = facts.id.clone();
    let read = match &input {
        LoginInput::Callback { query } => read_callback(query.expose()),
        LoginInput::Pasted { text } => read_pasted(text.expose()),
        LoginInput::Poll | LoginInput::ConfirmIdentity => {
            let poll_after_ms = u64::try_from(POLL_AFTER.as_millis()).unwrap_or(u64::MAX);
            return Ok(Next::Goes(Stage::Code(stage), LoginStep::Waiting { login, poll_after_ms }));
        }
    };
    let pasted = matches!(input, LoginInput::Pasted { .. });
    let checked = read.map_err(|error| error.to_string()).and_then(|returned| match foreign(&stage, &returned, pasted) {
        None => Ok(returned),
        Some(why) => Err(why.to_owned()),
    });
    let returned = match checked {
        Ok(returned) => returned,
        Err(why) => return Ok(Next::Goes(Stage::Code(stage), LoginStep::NotTaken { login, why })),
    };
    let asked = [&stage.flow.authorize_url.origin, &stage.flow.token_url.origin];
    if returned.issuer.is_some_and(|issuer| !is_issuer(&issuer, &asked)) {
        let message = format!("the answer is another provider's, not that of {}: nothing was sent to anybody", facts.profile.id);
        return Err(AdminError::new(ErrorCode::Refused, message).hint(facts.again()));
    }
    match returned.outcome {
        Ok(code) => exchange(inner, facts, stage, (&code, returned.state.is_some())).await,
        Err(error) => Err(facts.failed(format!("{} refused the login: {error}", facts.profile.id))),
    }
}

/// Why what has come back is not the answer to this login; `None` where it is.
///
/// A code alone, which a person pasted, is proven by PKCE: of another login it would be worth nothing.
fn foreign(stage: &CodeStage, returned: &Returned, pasted: bool) -> Option<&'static str> {
    match &returned.state {
        Some(state) if stage.state.is(state.expose()) => None,
        Some(_) => Some("that is the answer to another login"),
        None if stage.pkce.is_some() && (pasted || !stage.flow.state_returned) => None,
        None if pasted => Some("that is the code alone: paste the whole address"),
        None => Some("that does not say which login it answers"),
    }
}

/// Trades a code for tokens. Only a code that came with this login's `state` is known to be meant for it: where another one is
/// refused, the login goes on waiting, since anybody could have brought it.
async fn exchange(
    inner: &Inner,
    facts: &LoginFacts,
    mut stage: Box<CodeStage>,
    (code, is_ours): (&SecretText, bool),
) -> Result<Next, AdminError> {
    let sent_at = inner.clock.now();
    let request = exchange_request(&client(&stage.flow), &stage.attempt(), code.expose());
    let answer = facts.http.send(request).await.map_err(|error| facts.failed(error.to_string()))?;
    let fields = &stage.flow.answer;
    match read_login(&super::finish::paths(fields), answer.status.as_u16(), &answer.body) {
        Ok(brought) => Ok(Next::Done(Box::new(fresh(facts, fields, brought, sent_at)?), Vec::new())),
        Err(refusal) if is_ours || stage.unknown_codes >= UNKNOWN_CODES_MAX => {
            Err(facts.failed(format!("{} gave no token: {refusal}", facts.profile.id)))
        }
        Err(refusal) => {
            stage.unknown_codes += 1;
            let why = format!("{} does not take that code for this login ({refusal})", facts.profile.id);
            Ok(Next::Goes(Stage::Code(stage), LoginStep::NotTaken { login: facts.id.clone(), why }))
        }
    }
}
