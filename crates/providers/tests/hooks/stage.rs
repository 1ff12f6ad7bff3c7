//! A scripted provider with a ledger, and a clock that never makes anybody wait.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::SecretText;
use claviger_domain::time::{Timestamp, millis};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::hooks::{ControlAnswer, ControlError, ControlHttp, FreshLogin, HookError, LoginParams, after_login};
use claviger_runtime::{BoxFuture, Clock};
use http::{HeaderMap, Request, StatusCode};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use zeroize::Zeroizing;

/// When every test begins.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

/// What the provider does next.
pub(crate) enum Scripted {
    Answer(u16, String),
    Unreachable,
}

/// An answer from a fixture, or from text.
pub(crate) fn answer(status: u16, body: &str) -> Scripted {
    Scripted::Answer(status, body.to_owned())
}

/// One request as it was sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Method and address, without `:443`.
    pub(crate) line: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

/// A provider that answers as it was told, in order, and that goes only where its profile says.
pub(crate) struct Fake {
    profile: Arc<ProviderProfile>,
    script: Mutex<VecDeque<Scripted>>,
    ledger: Mutex<Vec<Sent>>,
    clock: Hurried,
}

impl Fake {
    pub(crate) fn of(provider: &str, script: impl IntoIterator<Item = Scripted>) -> Self {
        Self::with(Arc::clone(Catalogue::builtin().get(provider).expect("a provider of the catalogue")), script)
    }

    pub(crate) fn with(profile: Arc<ProviderProfile>, script: impl IntoIterator<Item = Scripted>) -> Self {
        Self { profile, script: Mutex::new(script.into_iter().collect()), ledger: Mutex::default(), clock: Hurried::default() }
    }

    pub(crate) fn profile(&self) -> &ProviderProfile {
        &self.profile
    }

    /// What was sent, oldest first, and nothing may be left to answer.
    pub(crate) fn ledger(&self) -> Vec<Sent> {
        assert!(self.script.lock().unwrap().is_empty(), "an answer was not asked for");
        std::mem::take(&mut self.ledger.lock().unwrap())
    }

    /// The lines of the ledger.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.ledger().into_iter().map(|sent| sent.line).collect()
    }

    /// How long everybody has waited.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.0.load(Ordering::SeqCst)).unwrap())
    }

    pub(crate) fn finish(&self, fresh: FreshLogin) -> Result<FreshLogin, HookError> {
        self.finish_with(fresh, &[])
    }

    pub(crate) fn finish_with(&self, fresh: FreshLogin, params: &[(&str, &str)]) -> Result<FreshLogin, HookError> {
        let params: LoginParams = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        at_once(after_login(&self.profile, fresh, &params, self))
    }
}

impl ControlHttp for Fake {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>> {
        let origin = claviger_domain::origin::Origin::of(request.uri()).expect("an absolute address");
        assert!(self.profile.control_origins().contains(&origin), "{origin} is no address of {}", self.profile.id);
        let authorization = request.headers().get("authorization").map(|value| {
            assert!(value.is_sensitive(), "a token in a header that is logged");
            value.to_str().unwrap().to_owned()
        });
        self.ledger.lock().unwrap().push(Sent {
            line: format!("{} {}", request.method(), request.uri()).replace(":443/", "/"),
            authorization: authorization.unwrap_or_default(),
            body: String::from_utf8(request.body().to_vec()).unwrap(),
        });
        let next = self.script.lock().unwrap().pop_front().expect("more is asked than was scripted");
        Box::pin(async move {
            match next {
                Scripted::Answer(status, body) => Ok(ControlAnswer {
                    status: StatusCode::from_u16(status).unwrap(),
                    headers: HeaderMap::new(),
                    body: Zeroizing::new(body.into_bytes()),
                }),
                Scripted::Unreachable => {
                    Err(ControlError::Unreachable { host: "provider.example".to_owned(), why: "no whole answer within 30 s".to_owned() })
                }
            }
        })
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }
}

/// A clock on which every wait is over at once.
#[derive(Debug, Default)]
struct Hurried(AtomicI64);

impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        Timestamp(START.0 + self.0.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.load(Ordering::SeqCst)).unwrap())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.fetch_add(millis(duration), Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

/// Runs what never waits for anything real.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for something that never comes"),
    }
}

/// A login of which nothing is known but its tokens.
pub(crate) fn fresh() -> FreshLogin {
    FreshLogin {
        access: SecretText::new("canary-at-1".to_owned()),
        refresh: Some(SecretText::new("canary-rt-1".to_owned())),
        id_token: None,
        is_key: false,
        expires_at: Some(START),
        identity: Identity::default(),
        plan: None,
    }
}

/// A token that claims something.
pub(crate) fn jwt(claims: &str) -> String {
    format!("{}.{}.canary-sig", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
}

/// The text of an error, in which there is never a secret nor a word of the provider's body.
pub(crate) fn told(error: &HookError) -> String {
    let text = format!("{error} {error:?}");
    assert!(!text.contains("canary"), "{text}");
    error.to_string()
}
