//! A provider that answers what a test says, and reports as text.

use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole, UsageReport};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::hooks::{ControlAnswer, ControlError, ControlHttp, HookError, LiveCredential, usage_report};
use claviger_runtime::{BoxFuture, Clock};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use zeroize::Zeroizing;

/// 2026-11-22T10:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_341_600_000);

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn boot(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Gives the answers in order and keeps what it was asked.
pub(crate) struct FakeProvider {
    answers: Mutex<VecDeque<(u16, Vec<u8>)>>,
    asked: Mutex<String>,
}

impl FakeProvider {
    pub(crate) fn new(answers: impl IntoIterator<Item = (u16, Vec<u8>)>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() }
    }

    /// Each request: method and address, its headers and its body.
    pub(crate) fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }
}

impl ControlHttp for FakeProvider {
    fn send(&self, request: Request<bytes::Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>> {
        let mut asked = self.asked.lock().unwrap();
        writeln!(asked, "{} {}", request.method(), request.uri()).unwrap();
        let mut headers: Vec<_> = request.headers().iter().filter(|(name, _)| !matches!(name.as_str(), "accept" | "user-agent")).collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            let carries_secret = ["at-1", "at%2D1"].iter().any(|secret| value.to_str().unwrap().contains(secret));
            assert_eq!(value.is_sensitive(), carries_secret, "{name}");
            writeln!(asked, "  {name}: {}", value.to_str().unwrap()).unwrap();
        }
        assert!(request.headers()["user-agent"].to_str().unwrap().starts_with("claviger/"));
        if !request.body().is_empty() {
            writeln!(asked, "  {}", std::str::from_utf8(request.body()).unwrap()).unwrap();
        }
        let answer = self.answers.lock().unwrap().pop_front();
        let (status, body) = answer.expect("one answer for each request");
        let status = StatusCode::from_u16(status).unwrap();
        Box::pin(std::future::ready(Ok(ControlAnswer { status, headers: HeaderMap::new(), body: Zeroizing::new(body) })))
    }

    fn clock(&self) -> &dyn Clock {
        &StoppedClock
    }
}

pub(crate) fn profile(id: &str) -> &'static Arc<ProviderProfile> {
    Catalogue::builtin().get(id).unwrap_or_else(|| panic!("{id} is not built in"))
}

/// The result of a future that never waits.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// The answers of a case, and who asks.
pub(crate) fn stage(case: &Value) -> (FakeProvider, Identity, bool) {
    let answers = case["answers"].as_array().unwrap().iter().map(|answer| {
        let body = match &answer["body"] {
            Value::String(text) => text.clone().into_bytes(),
            body => body.to_string().into_bytes(),
        };
        (u16::try_from(answer["status"].as_u64().unwrap()).unwrap(), body)
    });
    let field = |name: &str| case["identity"][name].as_str().map(str::to_owned);
    let identity = Identity {
        account_id: field("account_id"),
        email: field("email"),
        org_id: field("org_id"),
        project_id: field("project_id"),
        enterprise_url: field("enterprise_url"),
        ..Identity::default()
    };
    (FakeProvider::new(answers), identity, case["kind"] == "api_key")
}

/// Asks for a report: what was asked, and what came of it.
pub(crate) fn ask(profile: &ProviderProfile, case: &Value) -> (String, Result<Option<UsageReport>, HookError>) {
    let (http, identity, is_key) = stage(case);
    let secret = SecretText::new("at-1".to_owned());
    let credential = LiveCredential { profile, secret: &secret, is_key, identity: &identity };
    let outcome = now_or_never(usage_report(&credential, &http));
    (http.asked(), outcome)
}

/// A status, and headers a line each.
pub(crate) fn read_headers(text: &str) -> (StatusCode, HeaderMap) {
    let (status, rest) = text.split_once('\n').unwrap();
    let headers = rest.lines().map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    });
    (status.parse().unwrap(), headers.collect())
}

/// A report as lines: the plan, then id, role, scope, label, window, use, amount, reset and status of each limit.
pub(crate) fn print(report: &UsageReport) -> String {
    assert_eq!(report.observed_at, NOW);
    let mut text = format!("{:?}, plan {}\n", report.source, report.plan.as_deref().unwrap_or("-"));
    for limit in &report.limits {
        writeln!(text, "{}", line(limit)).unwrap();
    }
    text
}

fn line(limit: &Limit) -> String {
    let role = match limit.role {
        LimitRole::Primary => "primary",
        LimitRole::Secondary => "secondary",
        LimitRole::Gate => "gate",
        LimitRole::Shown => "shown",
    };
    let window = limit.window.map_or("-".to_owned(), |window| format!("{}m", window.as_secs() / 60));
    let used = limit.used.map_or("-".to_owned(), |used| format!("{used:.4}"));
    let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
    let amount = limit.amount.as_ref().map_or("-".to_owned(), |amount| {
        format!("{} of {}, {} left, {}", number(amount.used), number(amount.limit), number(amount.remaining), amount.unit)
    });
    let resets_at = limit.resets_at.map_or("-".to_owned(), |at| jiff::Timestamp::from_millisecond(at.0).unwrap().to_string());
    let Limit { id, scope, label, status, .. } = limit;
    format!("{id} | {role} | {scope} | {label} | window {window} | used {used} | {amount} | resets {resets_at} | {}", status.as_str())
}
