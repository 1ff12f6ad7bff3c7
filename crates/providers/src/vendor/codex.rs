//! OpenAI's device login: like RFC 8628, but with endpoints, fields and an exchange of its own.

use super::ask::{Ask, Secret, below, label, public, unreadable};
use crate::hooks::{ControlError, ControlHttp, HookError, VendorLogin, VendorStep};
use claviger_domain::origin::Endpoint;
use claviger_domain::profile::ProviderProfile;
use claviger_oauth::AnswerPaths;
use claviger_runtime::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The device endpoints, without `/usercode` and `/token`.
pub(super) const DEVICE: &str = "codex-device";
/// The page where the code is typed in.
pub(super) const DEVICE_PAGE: &str = "codex-device-page";

/// Where the provider says that its code was issued to; no browser goes there.
const REDIRECT: &str = "https://auth.openai.com/deviceauth/callback";

/// How long between two polls, where the provider does not say.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
/// The longest that the provider may make us wait between two polls.
const INTERVAL_MAX: Duration = Duration::from_mins(1);
/// What the vendor's own client adds, so that clocks and networks do not make a poll come too early.
const INTERVAL_MARGIN: Duration = Duration::from_secs(3);
/// How often the vendor's own client polls before it gives up.
const POLLS_MAX: u32 = 120;
/// How many polls in a row may fail; a network comes back, a wrong address does not.
const FAILURES_MAX: u32 = 3;

const START: &str = "the question for a device code";
const POLL: &str = "the question whether the code was typed in";
const EXCHANGE: &str = "the exchange of the code";

/// A login by device code.
pub(super) struct DeviceLogin {
    device: Endpoint,
    page: Endpoint,
    token_url: Endpoint,
    client_id: String,
    state: State,
}

enum State {
    New,
    Shown(Shown),
    /// The code was typed in; what remains is the exchange.
    Typed {
        code: Secret,
        verifier: Secret,
    },
}

struct Shown {
    device_auth_id: Secret,
    user_code: String,
    interval: Duration,
    polls: u32,
    failures: u32,
}

#[derive(Deserialize)]
struct Started {
    device_auth_id: Secret,
    #[serde(alias = "usercode")]
    user_code: String,
    /// A number, or a number as text.
    interval: Option<Value>,
}

#[derive(Deserialize)]
struct Typed {
    authorization_code: Secret,
    code_verifier: Secret,
}

impl DeviceLogin {
    /// `None` where the entry lacks an address.
    pub(super) fn of(profile: &ProviderProfile) -> Option<Self> {
        let refresh = profile.refresh.as_ref()?;
        let at = |name| profile.hook_urls.get(name).cloned();
        Some(Self {
            device: at(DEVICE)?,
            page: at(DEVICE_PAGE)?,
            token_url: refresh.url.clone(),
            client_id: refresh.client_id.clone(),
            state: State::New,
        })
    }

    async fn start(&mut self, http: &dyn ControlHttp) -> Result<VendorStep, HookError> {
        let ask = Ask::post(START, &below(&self.device, "/usercode"), &json!({"client_id": self.client_id}))?;
        let answer = ask.answer(http).await?;
        if answer.status == 404 {
            let how = "device codes are not enabled for this account: enable them in the security settings of ChatGPT, or log in without --device";
            return Err(HookError::Refused(how.to_owned()));
        }
        let Started { device_auth_id, user_code, interval } = answer.success()?;
        let user_code = label(user_code).ok_or_else(|| unreadable(START, "the code cannot be shown"))?;
        let interval = interval.as_ref().and_then(seconds).unwrap_or(INTERVAL_DEFAULT).min(INTERVAL_MAX) + INTERVAL_MARGIN;
        let ends_at = http.clock().now().plus(interval * POLLS_MAX);
        let step = VendorStep::Show { url: public(&self.page), user_code: Some(user_code.clone()), poll_after: interval, ends_at };
        self.state = State::Shown(Shown { device_auth_id, user_code, interval, polls: 0, failures: 0 });
        Ok(step)
    }

    async fn exchange(&self, (code, verifier): (&Secret, &Secret), http: &dyn ControlHttp) -> Result<VendorStep, HookError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id),
            ("code", code.0.expose()),
            ("code_verifier", verifier.0.expose()),
            ("redirect_uri", REDIRECT),
        ];
        let sent_at = http.clock().now();
        let answer = Ask::form(EXCHANGE, &self.token_url.to_string(), &fields)?.answer(http).await?;
        let fresh = answer.login(&AnswerPaths::default(), sent_at)?;
        Ok(VendorStep::Done(Box::new(fresh)))
    }
}

impl Shown {
    /// `None` while nobody has typed the code in.
    async fn poll(&mut self, device: &Endpoint, http: &dyn ControlHttp) -> Result<Option<Typed>, HookError> {
        if self.polls >= POLLS_MAX {
            return Err(HookError::TimedOut);
        }
        self.polls += 1;
        let body = Question { device_auth_id: self.device_auth_id.0.expose(), user_code: &self.user_code };
        let answer = match Ask::post(POLL, &below(device, "/token"), &body)?.answer(http).await {
            Ok(answer) if answer.status >= 500 || answer.status == 429 => Err(answer.refused()),
            Err(HookError::Control(foreign @ ControlError::Foreign(_))) => return Err(foreign.into()),
            other => other,
        };
        match answer {
            Ok(answer) if matches!(answer.status, 403 | 404) => {
                self.failures = 0;
                Ok(None)
            }
            Ok(answer) => answer.success().map(Some),
            Err(error) => {
                self.failures += 1;
                if self.failures >= FAILURES_MAX { Err(error) } else { Ok(None) }
            }
        }
    }
}

#[derive(serde::Serialize)]
struct Question<'a> {
    device_auth_id: &'a str,
    user_code: &'a str,
}

impl VendorLogin for DeviceLogin {
    fn step<'a>(&'a mut self, http: &'a dyn ControlHttp) -> BoxFuture<'a, Result<VendorStep, HookError>> {
        Box::pin(async move {
            if let State::Shown(shown) = &mut self.state {
                match shown.poll(&self.device, http).await? {
                    None => return Ok(VendorStep::Pending(shown.interval)),
                    Some(Typed { authorization_code: code, code_verifier: verifier }) => self.state = State::Typed { code, verifier },
                }
            }
            match &self.state {
                State::New | State::Shown(_) => self.start(http).await,
                State::Typed { code, verifier } => self.exchange((code, verifier), http).await,
            }
        })
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    Duration::try_from_secs_f64(seconds).ok()
}
