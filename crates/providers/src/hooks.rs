//! Hooks: what data cannot say of a provider, in code, one vendor a file.
//!
//! A hook never opens a connection itself: it is given [`ControlHttp`], which goes only where the catalogue says that this
//! provider's control requests go. It never stores anything either: what it finds out, it returns.
//!
//! Which hooks a provider has, and where they ask, is data: the names in its entry's `hook_urls`. So an entry of the user's own
//! has the hooks whose addresses it names, and an overlay moves them.

pub use crate::vendor::{HOOK_URLS, LoginParam, after_login, login_params, vendor_login};

use bytes::Bytes;
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::UsageReport;
use claviger_runtime::{BoxFuture, Clock};
use http::{HeaderMap, Request, StatusCode};
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// Sends control requests of one provider: to its token, usage and login addresses and nowhere else.
///
/// Cancel safety: a dropped future may have sent its request.
pub trait ControlHttp: Send + Sync {
    /// Sends one request with an absolute URI and reads the answer, up to 1 MiB and within 30 s.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<ControlAnswer, ControlError>>;

    /// The clock, for those that poll.
    fn clock(&self) -> &dyn Clock;
}

/// The answer to a control request.
#[derive(Debug)]
pub struct ControlAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why a control request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address is none of this provider's.
    #[error("{0} is not an address of this provider: see `claviger config show --origin`")]
    Foreign(String),
    /// The provider could not be reached, or broke off.
    #[error("{host} did not answer: {why}")]
    Unreachable {
        /// Where the request went.
        host: String,
        /// What went wrong, without a secret.
        why: String,
    },
}

/// What a person gives to a login beside the provider's own pages, by name: see [`login_params`].
pub type LoginParams = BTreeMap<String, String>;

/// A credential that a login has brought, before it is stored.
#[derive(Debug)]
pub struct FreshLogin {
    /// The access token, or the key.
    pub access: SecretText,
    /// The refresh token.
    pub refresh: Option<SecretText>,
    /// The ID token (OpenID Connect Core §2). Read for claims, and never stored.
    pub id_token: Option<SecretText>,
    /// Whether `access` is a durable key.
    pub is_key: bool,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// Who it is, as far as known.
    pub identity: Identity,
    /// The plan, as the provider calls it; for people, until a usage report says it.
    pub plan: Option<String>,
}

/// What a step of a vendor's own login flow asks for.
#[derive(Debug)]
pub enum VendorStep {
    /// Show this URL, and the code if there is one; then poll again after a while.
    Show {
        /// The page.
        url: String,
        /// The code to type there.
        user_code: Option<String>,
        /// How long to wait before the next poll.
        poll_after: Duration,
        /// When the flow ends unsuccessfully.
        ends_at: Timestamp,
    },
    /// Nothing yet: poll again after this long.
    Pending(Duration),
    /// It is done, but for what [`after_login`] adds.
    Done(Box<FreshLogin>),
}

/// Why a hook could not do its part. Messages hold no secret and say what to do next.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The request failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The provider refused, or something is missing that a person can give. The text is ours, never the provider's.
    #[error("{0}")]
    Refused(String),
    /// The provider answered something that cannot be read.
    #[error("{what} answered with something that cannot be read: {why}")]
    Unreadable {
        /// Which request.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing happened in time.
    #[error("nobody finished the login in time: begin again")]
    TimedOut,
}

/// A login flow of a vendor's own, begun.
pub trait VendorLogin: Send {
    /// The next step; the first call begins. Cancel safety: a dropped step may be asked for again.
    fn step<'a>(&'a mut self, http: &'a dyn ControlHttp) -> BoxFuture<'a, Result<VendorStep, HookError>>;
}

/// What is known of a live credential when a control request is made with it.
#[derive(Debug)]
pub struct LiveCredential<'a> {
    /// Its provider.
    pub profile: &'a ProviderProfile,
    /// The access token, or the key.
    pub secret: &'a SecretText,
    /// Whether it is a key.
    pub is_key: bool,
    /// Who it is.
    pub identity: &'a Identity,
}

/// Asks the provider's usage endpoint; `Ok(None)` where it has none, or none for this kind of credential.
pub fn usage_report<'a>(
    credential: &'a LiveCredential<'a>,
    http: &'a dyn ControlHttp,
) -> BoxFuture<'a, Result<Option<UsageReport>, HookError>> {
    Box::pin(crate::usage::ask(credential, http))
}
