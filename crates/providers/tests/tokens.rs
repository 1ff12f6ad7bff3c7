//! Answers of every provider's token endpoint, and what comes out: a file a provider in `fixtures/tokens/`.
//!
//! A case is one answer to a `refresh`, to the `exchange` of a login's code, or to a `poll` of a device login or of a login of the
//! vendor's own. `before` and `after` are the answers around it, as far as more is asked: what a login brought is finished by
//! the provider's hooks, and what they find no answer for is unreachable. `{"$jwt": {..}}` stands for an unsigned token with those
//! claims. All identities and secrets are made up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use claviger_domain::identity::Identity;
use claviger_domain::origin::Origin;
use claviger_domain::profile::{ProviderProfile, RefreshRule, Rotation};
use claviger_domain::secret::AccessToken;
use claviger_domain::time::Timestamp;
use claviger_oauth::{
    AnswerPaths, Doubt, LoginAnswer, LoginRefusal, Outcome, PollAnswer, RawParts, RefreshToken, Refusal, read_answer, read_login, read_poll,
};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::hooks::{
    ControlAnswer, ControlError, ControlHttp, FreshLogin, HookError, LoginParams, VendorStep, after_login, vendor_login,
};
use claviger_providers::login::{LoginWay, TokenFields};
use claviger_runtime::{BoxFuture, Clock};
use http::{HeaderMap, Request, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use zeroize::Zeroizing;

/// When every request was sent.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// How refresh tokens change, where there are any.
    rotation: Option<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(rename = "for")]
    purpose: Purpose,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Value,
    #[serde(default)]
    before: Vec<Side>,
    #[serde(default)]
    after: Vec<Side>,
    expect: Told,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    Refresh,
    Exchange,
    Poll,
}

/// An answer around the one that a case is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    status: u16,
    body: Value,
}

/// What comes out. A token that claims something is called `jwt`.
#[derive(Deserialize, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Told {
    class: String,
    retry_after_s: Option<u64>,
    access: Option<String>,
    refresh: Option<String>,
    /// The life that the answer names.
    expires_in_s: Option<u64>,
    /// The life of the access token, whoever says it.
    life_s: Option<u64>,
    account_id: Option<String>,
    email: Option<String>,
    org_id: Option<String>,
    org_name: Option<String>,
    project_id: Option<String>,
    api_endpoint: Option<String>,
    plan: Option<String>,
}

impl Told {
    fn class(word: impl Into<String>) -> Self {
        Self { class: word.into(), ..Self::default() }
    }

    /// What a login brought, when its hooks are through.
    fn login(fresh: FreshLogin) -> Self {
        let FreshLogin { access, refresh, id_token: _, is_key, expires_at, identity, plan } = fresh;
        let Identity { account_id, email, org_id, org_name, project_id, enterprise_url, api_endpoint } = identity;
        assert_eq!(enterprise_url, None);
        Self {
            class: if is_key { "key" } else { "login" }.to_owned(),
            access: Some(shown(access.expose())),
            refresh: refresh.map(|token| shown(token.expose())),
            life_s: expires_at.map(wait),
            account_id,
            email,
            org_id,
            org_name,
            project_id,
            api_endpoint,
            plan,
            ..Self::default()
        }
    }
}

/// The seconds from [`NOW`] on.
fn wait(until: Timestamp) -> u64 {
    until.until(NOW).as_secs()
}

fn shown(token: &str) -> String {
    if token.starts_with("eyJ") { "jwt".to_owned() } else { token.to_owned() }
}

/// A body as it is sent: text as it stands, JSON with its tokens made.
fn written(body: &Value) -> Vec<u8> {
    fn made(value: &Value) -> Value {
        match value {
            Value::Object(members) => match members.get("$jwt") {
                Some(claims) => {
                    let [header, claims] = [r#"{"alg":"none"}"#.to_owned(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
                    format!("{header}.{claims}.canary-sig").into()
                }
                None => members.iter().map(|(name, value)| (name.clone(), made(value))).collect(),
            },
            Value::Array(values) => values.iter().map(made).collect(),
            plain => plain.clone(),
        }
    }
    match body {
        Value::String(text) => text.clone().into_bytes(),
        json => made(json).to_string().into_bytes(),
    }
}

/// A provider that answers in order, and then not at all.
struct Scripted<'a> {
    profile: &'a ProviderProfile,
    answers: Mutex<VecDeque<&'a Side>>,
}

impl ControlHttp for Scripted<'_> {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>> {
        let origin = Origin::of(request.uri()).unwrap();
        assert!(self.profile.control_origins().contains(&origin), "{origin} is no address of {}", self.profile.id);
        let next = self.answers.lock().unwrap().pop_front();
        let answer = next.map(|side| ControlAnswer {
            status: StatusCode::from_u16(side.status).unwrap(),
            headers: HeaderMap::new(),
            body: Zeroizing::new(written(&side.body)),
        });
        let silence = || ControlError::Unreachable { host: origin.host().to_owned(), why: "nothing was scripted".to_owned() };
        let answer = answer.ok_or_else(silence);
        Box::pin(std::future::ready(answer))
    }

    fn clock(&self) -> &dyn Clock {
        &Still
    }
}

/// A clock that stands still and makes nobody wait.
#[derive(Debug)]
struct Still;

impl Clock for Still {
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

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits for something that never comes"),
    }
}

impl Case {
    /// What the answer is to every way of the provider that such a request belongs to.
    fn told(&self, profile: &ProviderProfile) -> Vec<Told> {
        let ways = &Catalogue::builtin().login(profile.id.as_str()).unwrap().ways;
        match self.purpose {
            Purpose::Refresh => profile.refresh.iter().map(|rule| self.refreshed(rule)).collect(),
            Purpose::Exchange => code_answers(ways).map(|fields| self.exchanged(profile, fields)).collect(),
            Purpose::Poll => ways
                .iter()
                .filter_map(|way| match way {
                    LoginWay::Device(flow) => Some(self.polled(profile, &flow.answer)),
                    LoginWay::Vendor(flow) => Some(self.stepped(profile, &flow.hook)),
                    LoginWay::Loopback(_) | LoginWay::Paste(_) | LoginWay::Key(_) => None,
                })
                .collect(),
        }
    }

    fn refreshed(&self, rule: &RefreshRule) -> Told {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        let body = written(&self.body);
        let raw = RawParts {
            status: self.status,
            date: header("date"),
            retry_after: header("retry-after"),
            content_type: header("content-type"),
            body: &body,
        };
        let outcome = read_answer(rule, &raw, NOW);
        self.keeps_quiet(&outcome);
        match outcome {
            Outcome::Token(token) => Told {
                class: if token.refresh.is_some() { "token rotated" } else { "token kept" }.to_owned(),
                access: Some(shown(token.access.expose())),
                refresh: token.refresh.as_ref().map(|refresh| shown(refresh.expose())),
                expires_in_s: token.expires_in.map(|life| life.as_secs()),
                life_s: token.expires_at(NOW).map(wait),
                ..Told::default()
            },
            Outcome::Dead { code } => Told::class(format!("dead {code}")),
            Outcome::Transient { retry_at, why } => {
                let why = match why {
                    Refusal::NotConsumed { code } => code,
                    Refusal::TooManyRequests => "too_many_requests".to_owned(),
                    Refusal::Unavailable => "unavailable".to_owned(),
                };
                Told { retry_after_s: retry_at.map(wait), ..Told::class(format!("transient {why}")) }
            }
            Outcome::Ambiguous { why } => Told::class(match why {
                Doubt::Incomplete => "ambiguous incomplete",
                Doubt::ErrorInSuccess => "ambiguous error_in_success",
                Doubt::Html { .. } => "ambiguous html",
                Doubt::UnknownError { .. } => "ambiguous unknown_error",
                Doubt::UnexpectedStatus { .. } => "ambiguous unexpected_status",
            }),
        }
    }

    fn exchanged(&self, profile: &ProviderProfile, fields: &TokenFields) -> Told {
        let read = read_login(&paths(fields), self.status, &written(&self.body));
        self.keeps_quiet(&read);
        match read {
            Ok(answer) => self.finished(profile, fields, answer),
            Err(LoginRefusal::Refused(code)) => Told::class(format!("refused {code}")),
            Err(LoginRefusal::TooManyRequests) => Told::class("too_many_requests"),
            Err(LoginRefusal::Status(status)) => Told::class(format!("status {status}")),
            Err(LoginRefusal::NoToken) => Told::class("no_token"),
            Err(LoginRefusal::Unreadable) => Told::class("unreadable"),
        }
    }

    fn polled(&self, profile: &ProviderProfile, fields: &TokenFields) -> Told {
        let read = read_poll(&paths(fields), self.status, &written(&self.body));
        self.keeps_quiet(&read);
        match read {
            PollAnswer::Done(answer) => self.finished(profile, fields, *answer),
            PollAnswer::Pending => Told::class("pending"),
            PollAnswer::SlowDown(told) => Told { retry_after_s: told.map(|told| told.as_secs()), ..Told::class("slow_down") },
            PollAnswer::Expired => Told::class("expired"),
            PollAnswer::Refused(code) => Told::class(format!("refused {code}")),
            PollAnswer::Unclear => Told::class("unclear"),
        }
    }

    /// A flow of the vendor's own, up to the answer that the case is about.
    fn stepped(&self, profile: &ProviderProfile, hook: &str) -> Told {
        let asked = Side { status: self.status, body: self.body.clone() };
        let answers = self.before.iter().chain([&asked]).chain(&self.after).collect();
        let http = Scripted { profile, answers: Mutex::new(answers) };
        let mut login = vendor_login(hook, profile, [7; 64]).unwrap();
        loop {
            let step = at_once(login.step(&http));
            if http.answers.lock().unwrap().len() > self.after.len() {
                assert!(matches!(step, Ok(VendorStep::Show { .. } | VendorStep::Pending(_))), "{} ends too early: {step:?}", self.name);
                continue;
            }
            self.keeps_quiet(&step);
            return match step {
                Ok(VendorStep::Done(fresh)) => self.hooked(profile, *fresh, &http),
                Ok(VendorStep::Pending(_)) => Told::class("pending"),
                Ok(VendorStep::Show { .. }) => Told::class("shown"),
                Err(error) => failed(&error),
            };
        }
    }

    /// What a rule demands of a login, and what the hooks add to it.
    fn finished(&self, profile: &ProviderProfile, fields: &TokenFields, answer: LoginAnswer) -> Told {
        let LoginAnswer { token, id_token, identity } = answer;
        if fields.refresh_required && token.refresh.is_none() {
            return Told::class("no_refresh_token");
        }
        let expires_in_s = token.expires_in.map(|life| life.as_secs());
        let fresh = FreshLogin {
            expires_at: if fields.is_key { None } else { token.expires_at(NOW) },
            access: token.access.into_text(),
            refresh: token.refresh.map(RefreshToken::into_text),
            id_token: id_token.map(AccessToken::into_text),
            is_key: fields.is_key,
            identity,
            plan: None,
        };
        let http = Scripted { profile, answers: Mutex::new(self.after.iter().collect()) };
        let told = self.hooked(profile, fresh, &http);
        Told { expires_in_s: expires_in_s.filter(|_life| told.access.is_some()), ..told }
    }

    fn hooked(&self, profile: &ProviderProfile, fresh: FreshLogin, http: &Scripted<'_>) -> Told {
        let done = at_once(after_login(profile, fresh, &LoginParams::new(), http));
        self.keeps_quiet(&done);
        assert!(http.answers.lock().unwrap().is_empty(), "{}: an answer was not asked for", self.name);
        done.map_or_else(|error| failed(&error), Told::login)
    }

    fn keeps_quiet(&self, what: &impl std::fmt::Debug) {
        let text = format!("{what:?}");
        assert!(!text.contains("canary"), "{}: {text}", self.name);
    }

    /// Whether the body is nothing that a token endpoint sends.
    fn is_garbage(&self) -> bool {
        serde_json::from_slice::<Value>(&written(&self.body)).is_err()
    }
}

fn failed(error: &HookError) -> Told {
    Told::class(match error {
        HookError::Control(_) => "unreachable",
        HookError::Refused(_) => "refused",
        HookError::Unreadable { .. } => "unreadable",
        HookError::TimedOut => "timed_out",
    })
}

fn paths(fields: &TokenFields) -> AnswerPaths<'_> {
    AnswerPaths {
        access: &fields.access,
        refresh: &fields.refresh,
        account_id: &fields.account_id,
        email: &fields.email,
        org_id: &fields.org_id,
        org_name: &fields.org_name,
    }
}

fn code_answers(ways: &[LoginWay]) -> impl Iterator<Item = &TokenFields> {
    ways.iter().filter_map(|way| match way {
        LoginWay::Loopback(flow) | LoginWay::Paste(flow) => Some(&flow.answer),
        LoginWay::Device(_) | LoginWay::Vendor(_) | LoginWay::Key(_) => None,
    })
}

fn rotation(rule: &RefreshRule) -> &'static str {
    match rule.rotation {
        Rotation::NonRotating => "non_rotating",
        Rotation::Grace { .. } => "grace",
        Rotation::Strict => "strict",
    }
}

/// For what a provider is asked that answers with tokens.
fn purposes(profile: &ProviderProfile) -> BTreeSet<Purpose> {
    let ways = Catalogue::builtin().login(profile.id.as_str()).unwrap().ways.iter();
    let of_ways = ways.filter_map(|way| match way {
        LoginWay::Loopback(_) | LoginWay::Paste(_) => Some(Purpose::Exchange),
        LoginWay::Device(_) | LoginWay::Vendor(_) => Some(Purpose::Poll),
        LoginWay::Key(_) => None,
    });
    of_ways.chain(profile.refresh.iter().map(|_rule| Purpose::Refresh)).collect()
}

fn files() -> BTreeMap<String, Cases> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokens");
    let paths = std::fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let cases = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), cases)
    };
    paths.map(read).collect()
}

fn profile(name: &str) -> &'static Arc<ProviderProfile> {
    Catalogue::builtin().get(name).unwrap_or_else(|| panic!("there is no provider {name}"))
}

#[test]
fn every_token_answer_is_what_its_case_says() {
    let mut wrong = Vec::new();
    for (provider, Cases { cases, .. }) in files() {
        let mut names = BTreeSet::new();
        for case in &cases {
            assert!(names.insert((case.purpose, &case.name)), "{provider}: two cases are called {}", case.name);
            let told = case.told(profile(&provider));
            assert!(!told.is_empty(), "{provider} is never asked for what {} answers", case.name);
            let others = told.iter().filter(|told| **told != case.expect);
            wrong.extend(others.map(|told| format!("{provider}: {:?}: {}: {told:?}\n  not {:?}", case.purpose, case.name, case.expect)));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_provider_with_a_token_endpoint_is_without_its_usual_dead_and_garbage_answers() {
    let files = files();
    let mut missing = Vec::new();
    for profile in Catalogue::builtin().iter() {
        let provider = profile.id.as_str();
        for purpose in purposes(profile) {
            let cases: Vec<&Case> =
                files.get(provider).iter().flat_map(|file| &file.cases).filter(|case| case.purpose == purpose).collect();
            let has = |words: &[&str]| cases.iter().any(|case| words.contains(&case.expect.class.split(' ').next().unwrap_or_default()));
            let mut need = |what: &str, there: bool| {
                if !there {
                    missing.push(format!("{provider}: {purpose:?} has no {what} answer"));
                }
            };
            need("garbage", cases.iter().any(|case| case.is_garbage()));
            match purpose {
                Purpose::Refresh => {
                    need("usual", has(&["token"]));
                    need("dead", has(&["dead"]));
                    need("transient", has(&["transient"]));
                    need("ambiguous", has(&["ambiguous"]));
                    need("token_without_refresh", cases.iter().any(|case| case.expect.class == "token kept"));
                }
                Purpose::Exchange => {
                    need("usual", has(&["login", "key"]));
                    need("dead", has(&["refused", "no_token", "status"]));
                }
                Purpose::Poll => {
                    need("usual", has(&["login", "key"]));
                    need("pending", has(&["pending"]));
                    need("dead", has(&["refused"]));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_rule_rotates_as_its_fixture_says() {
    for (provider, file) in files() {
        let rule = profile(&provider).refresh.as_ref();
        assert_eq!(rule.map(rotation), file.rotation.as_deref(), "{provider}");
    }
}

#[test]
fn no_page_and_no_failing_server_ends_a_grant_whatever_it_says() {
    for profile in Catalogue::builtin().iter() {
        let Some(rule) = &profile.refresh else { continue };
        let codes = rule.dead_codes.iter().map(String::as_str).chain(["revoked"]);
        for code in codes {
            let page = format!("<html><body>{code}: refresh token expired, revoked</body></html>");
            let json = format!(r#"{{"error":"{code}"}}"#);
            let pages = [400, 401, 403].map(|status| (status, &page));
            let failures = [408, 425, 429, 500, 502, 503, 504, 529].map(|status| (status, &json));
            for (status, body) in pages.into_iter().chain(failures) {
                let raw = RawParts { status, date: None, retry_after: None, content_type: None, body: body.as_bytes() };
                let outcome = read_answer(rule, &raw, NOW);
                assert!(!matches!(outcome, Outcome::Dead { .. }), "{}: {status} {body}: {outcome:?}", profile.id);
            }
        }
    }
}
