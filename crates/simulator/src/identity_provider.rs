//! The simulator as an identity provider: the page that a browser is sent to, device codes, and the exchange of what comes back.
//!
//! Paths: `GET …/authorize` agrees at once and redirects; `POST …/device/code` hands out a code; `POST …/auth/keys` trades a code
//! for a durable key. Codes and device codes are redeemed at the token endpoint too, by their `grant_type`. Two vendors' own flows:
//! `POST …/deviceauth/usercode` and `…/deviceauth/token` (Codex), `GET …/loginDeepControl` and `…/auth/poll` (Cursor).

mod pages;
mod redeem;
mod vendors;

pub(crate) use pages::{answer, is_login_path};
pub(crate) use redeem::{LoginAsk, Paid, redeem};

use serde_json::Value;
use std::collections::{HashMap, VecDeque};

/// Who logs in at the page, and how the provider behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct LoginPolicy {
    /// The account that agrees.
    pub account: String,
    /// What the page answers.
    pub consent: Consent,
    /// `iss` in the redirect (RFC 9207): absent, its own origin, or somebody else's.
    pub issuer: Issuer,
    /// Whether `state` comes back.
    pub echo_state: bool,
    /// Members that the token answer has beside the standard ones, for instance who the account is.
    pub members: Value,
    /// Whether the token answer has a refresh token.
    pub refresh: bool,
    /// What the next polls for a device code are answered, in order; where nothing is left, somebody has logged in.
    pub polls: VecDeque<DevicePoll>,
    /// The seconds between two polls that a device answer asks for.
    pub interval_s: u64,
}

impl Default for LoginPolicy {
    /// `ada@example.com` agrees; standard answers.
    fn default() -> Self {
        Self {
            account: "ada@example.com".to_owned(),
            consent: Consent::Granted,
            issuer: Issuer::Absent,
            echo_state: true,
            members: Value::Null,
            refresh: true,
            polls: VecDeque::new(),
            interval_s: 1,
        }
    }
}

/// What the page answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// A code.
    Granted,
    /// This error.
    Refused(String),
}

/// The issuer that a redirect names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// None.
    Absent,
    /// The simulator's own origin.
    Own,
    /// This one.
    Other(String),
}

/// What a poll for a device code is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevicePoll {
    /// `authorization_pending`, with status 400.
    Pending,
    /// The same with status 200, as some providers say it.
    PendingInSuccess,
    /// `slow_down`.
    SlowDown,
    /// `expired_token`.
    Expired,
    /// `access_denied`.
    Denied,
    /// A page with status 502.
    BadGateway,
}

/// One request of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginHit {
    /// When it came, in epoch milliseconds of the simulator's clock.
    pub at_ms: i64,
    /// What it was for.
    pub kind: LoginHitKind,
    /// Its parameters, as they were sent.
    pub params: Vec<(String, String)>,
    /// What it was answered.
    pub status: u16,
    /// The code, token or key that the answer handed out; the error code of a refusal.
    pub answered: String,
}

impl LoginHit {
    /// A parameter by its name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a request of a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginHitKind {
    /// The page.
    Authorize,
    /// A device code.
    DeviceCode,
    /// A code was to be exchanged.
    Exchange,
    /// A device code was polled for.
    Poll,
}

/// What the identity provider remembers.
#[derive(Debug, Default)]
pub(crate) struct IdentityProvider {
    pub(crate) policy: LoginPolicy,
    codes: HashMap<String, IssuedCode>,
    devices: HashMap<String, IssuedDevice>,
    /// The challenges of logins that were confirmed on a page, by the id under which they are polled for.
    confirmed: HashMap<String, String>,
    minted: u64,
    pub(crate) hits: Vec<LoginHit>,
}

#[derive(Debug)]
struct IssuedCode {
    account: String,
    client_id: String,
    redirect_uri: String,
    challenge: Option<String>,
    used: bool,
}

#[derive(Debug)]
struct IssuedDevice {
    client_id: String,
    ended: bool,
}

impl IdentityProvider {
    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        format!("sim-{kind}-{:04}", self.minted)
    }

    /// Most hits that are kept: a demo may run for weeks.
    const HITS_MAX: usize = 10_000;

    fn enter(&mut self, hit: LoginHit) {
        if self.hits.len() < Self::HITS_MAX {
            self.hits.push(hit);
        }
    }
}
