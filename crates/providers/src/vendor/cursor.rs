//! Cursor's login: a page opened with a challenge, and a poll that answers once somebody has confirmed there.

use super::ask::{Answer, Ask, below, public, query};
use crate::hooks::{ControlError, ControlHttp, FreshLogin, HookError, VendorLogin, VendorStep};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_domain::origin::Endpoint;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::time::Timestamp;
use claviger_oauth::{AnswerPaths, Pkce};
use claviger_runtime::BoxFuture;
use std::time::Duration;
use zeroize::Zeroizing;

/// The page.
pub(super) const PAGE: &str = "cursor-page";
/// The poll.
pub(super) const POLL: &str = "cursor-poll";

/// How long to wait after the first poll; each wait is [`DELAY_GROWTH`] times the one before, up to [`DELAY_MAX`].
const DELAY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const DELAY_MAX: Duration = Duration::from_secs(10);
/// By how much a wait grows, as the vendor's clients do it.
const DELAY_GROWTH: f64 = 1.2;
/// How often is polled at most.
const POLLS_MAX: u32 = 150;
/// How many polls in a row may fail.
const FAILURES_MAX: u32 = 3;
/// The life of a token that does not say it, as the vendor's clients assume it.
const LIFE_DEFAULT: Duration = Duration::from_hours(1);

const WHAT: &str = "the question whether the login was confirmed";

/// A login by challenge and poll.
pub(super) struct PollLogin {
    page: Endpoint,
    poll: Endpoint,
    id: String,
    pkce: Pkce,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    New,
    Shown { delay: Duration, polls: u32, failures: u32 },
}

impl PollLogin {
    /// `None` where the entry lacks an address.
    pub(super) fn of(profile: &ProviderProfile, seed: [u8; 64]) -> Option<Self> {
        let at = |name| profile.hook_urls.get(name).cloned();
        let pkce = Pkce::new(seed);
        let id = id(pkce.challenge())?;
        Some(Self { page: at(PAGE)?, poll: at(POLL)?, id, pkce, state: State::New })
    }

    fn show(&mut self, http: &dyn ControlHttp) -> VendorStep {
        let fields = [("challenge", self.pkce.challenge()), ("uuid", &self.id), ("mode", "login"), ("redirectTarget", "cli")];
        let url = format!("{}?{}", public(&self.page), query(&fields).as_str());
        self.state = State::Shown { delay: DELAY_FIRST, polls: 0, failures: 0 };
        let ends_at = http.clock().now().plus(DELAY_MAX * POLLS_MAX);
        VendorStep::Show { url, user_code: None, poll_after: DELAY_FIRST, ends_at }
    }

    async fn poll(&mut self, http: &dyn ControlHttp) -> Result<VendorStep, HookError> {
        let State::Shown { delay, polls, failures } = self.state else { return Ok(self.show(http)) };
        if polls >= POLLS_MAX {
            return Err(HookError::TimedOut);
        }
        let fields = query(&[("uuid", &self.id), ("verifier", self.pkce.verifier())]);
        let url = Zeroizing::new(format!("{}?{}", below(&self.poll, ""), fields.as_str()));
        let sent_at = http.clock().now();
        let delay_next = delay.mul_f64(DELAY_GROWTH).min(DELAY_MAX);
        let answer = match Ask::get(WHAT, &url)?.answer(http).await {
            Ok(answer) if answer.status == 404 => Ok(None),
            Ok(answer) if answer.status == 200 => Ok(Some(answer)),
            Ok(answer) => Err(answer.refused()),
            Err(foreign @ HookError::Control(ControlError::Foreign(_))) => return Err(foreign),
            Err(error) => Err(error),
        };
        let failures = match answer {
            Ok(Some(answer)) => return done(&answer, sent_at),
            Ok(None) => 0,
            Err(error) if failures + 1 >= FAILURES_MAX => return Err(error),
            Err(_not_the_last) => failures + 1,
        };
        self.state = State::Shown { delay: delay_next, polls: polls + 1, failures };
        Ok(VendorStep::Pending(delay_next))
    }
}

fn done(answer: &Answer, sent_at: Timestamp) -> Result<VendorStep, HookError> {
    let (access, refresh) = (["accessToken".to_owned()], ["refreshToken".to_owned()]);
    let paths = AnswerPaths { access: &access, refresh: &refresh, ..AnswerPaths::default() };
    let fresh = answer.login(&paths, sent_at)?;
    let expires_at = fresh.expires_at.or_else(|| Some(sent_at.plus(LIFE_DEFAULT)));
    Ok(VendorStep::Done(Box::new(FreshLogin { expires_at, ..fresh })))
}

/// An id of the form of a random UUID (RFC 9562 §5.4). The page and the challenge are no secrets, and so it may come from there.
fn id(challenge: &str) -> Option<String> {
    let digest = URL_SAFE_NO_PAD.decode(challenge).ok()?;
    let bytes = u128::from_be_bytes(*digest.first_chunk()?);
    let marked = bytes & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{marked:032x}");
    let (first, rest) = hex.split_at_checked(8)?;
    let (second, rest) = rest.split_at_checked(4)?;
    let (third, rest) = rest.split_at_checked(4)?;
    let (fourth, fifth) = rest.split_at_checked(4)?;
    Some(format!("{first}-{second}-{third}-{fourth}-{fifth}"))
}

impl VendorLogin for PollLogin {
    fn step<'a>(&'a mut self, http: &'a dyn ControlHttp) -> BoxFuture<'a, Result<VendorStep, HookError>> {
        Box::pin(self.poll(http))
    }
}
