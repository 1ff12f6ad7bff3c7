//! How a person logs in to a provider, as data: what a catalogue entry's `login` tables compile to.

use claviger_domain::id::ProviderId;
use claviger_domain::origin::Endpoint;
use claviger_domain::profile::TokenEncoding;
use http::{HeaderName, HeaderValue, Method};
use std::time::Duration;

/// All ways to log in to a provider.
#[derive(Debug, Clone, Default)]
pub struct LoginRule {
    /// The ways, the preferred one first: loopback, device, vendor, paste, key, as far as there are. Empty where none is known.
    pub ways: Vec<LoginWay>,
    /// The provider under whose id the account is stored, where that is another one.
    pub stores_as: Option<ProviderId>,
    /// What to do instead, where there is no way or where it needs something first; for people.
    pub advice: Option<String>,
    /// How long a grant of this provider lives from its login however often it is refreshed, where that was observed.
    pub grant_life: Option<Duration>,
}

/// One way to log in.
#[derive(Debug, Clone)]
pub enum LoginWay {
    /// The browser comes back to a port of this machine (RFC 8252 §7.3). Where it runs on another machine, the URL that it
    /// could not open can be pasted: it has the code and `state`.
    Loopback(CodeFlow),
    /// The provider shows a code, or a URL that a browser cannot open, which a person pastes.
    Paste(CodeFlow),
    /// A code is typed in on another device (RFC 8628).
    Device(DeviceFlow),
    /// Code of the vendor's own, by the name of its hook, for instance `codex-device` or `cursor-poll`.
    Vendor(VendorFlow),
    /// A key that a person got from a page.
    Key(KeyEntry),
}

/// An authorization code flow (RFC 6749 §4.1).
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "three facts of an endpoint that hold or not, each on its own")]
pub struct CodeFlow {
    /// Where the browser is sent.
    pub authorize_url: Endpoint,
    /// Where the code is exchanged.
    pub token_url: Endpoint,
    /// The client id; empty for a provider that knows no clients.
    pub client_id: String,
    /// The secret of an installed application, published by its vendor as not secret.
    pub client_secret: Option<String>,
    /// Scopes, joined by blanks.
    pub scopes: Vec<String>,
    /// Where the browser comes back to.
    pub redirect: Redirect,
    /// Whether PKCE with S256 is used (RFC 7636).
    pub pkce: bool,
    /// Whether the provider gives `state` back; where it does not, it cannot be checked, and PKCE must be used.
    pub state_returned: bool,
    /// Parameters of the authorization URL: beside the standard ones, or, with [`CodeFlow::params_replace`], instead of them.
    /// Values may hold `{redirect_uri}`, `{state}`, `{code_challenge}`.
    pub authorize_params: Vec<(String, String)>,
    /// Parameters of the exchange, in the same way; values may hold `{code}`, `{state}`, `{code_verifier}`, `{redirect_uri}`.
    pub token_params: Vec<(String, String)>,
    /// Whether `authorize_params` and `token_params`, where not empty, replace the standard parameters.
    pub params_replace: bool,
    /// How the body of the exchange is written.
    pub encoding: TokenEncoding,
    /// Headers of the exchange.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the answer says what.
    pub answer: TokenFields,
}

/// Where the browser comes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// A port of this machine.
    Loopback {
        /// The host in the redirect URI as the provider registered it: an IP literal, or `localhost` where it demands that.
        host: String,
        /// Which port.
        port: RedirectPort,
        /// The path, with its slash.
        path: String,
    },
    /// A page of the provider, or a scheme of another application, that shows what is to be pasted.
    Fixed(String),
}

/// Which port the browser may come back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectPort {
    /// Any that is free.
    Any,
    /// This one, else any that is free.
    Preferred(u16),
    /// This one only: the provider admits no other.
    Fixed(u16),
}

/// A device authorization flow (RFC 8628).
#[derive(Debug, Clone)]
pub struct DeviceFlow {
    /// Where a code is asked for.
    pub device_url: Endpoint,
    /// Where the token is polled for.
    pub token_url: Endpoint,
    /// The client id.
    pub client_id: String,
    /// Scopes, joined by blanks.
    pub scopes: Vec<String>,
    /// Whether PKCE with S256 is used beside the device code.
    pub pkce: bool,
    /// How bodies are written.
    pub encoding: TokenEncoding,
    /// Headers of all requests.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether an expired code begins a new one instead of ending the login.
    pub restarts: bool,
    /// Where the answer says what.
    pub answer: TokenFields,
}

/// Where an answer of a token endpoint says what: paths of names, outermost first. Empty paths are the standard fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenFields {
    /// The access token, or the key. Default `access_token`.
    pub access: Vec<String>,
    /// The refresh token. Default `refresh_token`.
    pub refresh: Vec<String>,
    /// Whether what comes is a durable key, and is stored as one.
    pub is_key: bool,
    /// Whether a login without a refresh token is refused.
    pub refresh_required: bool,
    /// The account id.
    pub account_id: Vec<String>,
    /// The e-mail.
    pub email: Vec<String>,
    /// The organisation's id.
    pub org_id: Vec<String>,
    /// The organisation's name.
    pub org_name: Vec<String>,
}

/// A flow that only code can speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorFlow {
    /// The name under which [`crate::hooks`] knows it.
    pub hook: String,
    /// What a person does, in one line.
    pub summary: String,
}

/// A key that a person brings.
#[derive(Debug, Clone, Default)]
pub struct KeyEntry {
    /// The page that gives it.
    pub page: Option<String>,
    /// The request that tells a good key from a bad one; `None` where none is known.
    pub probe: Option<KeyProbe>,
}

/// A request that tells a good key from a bad one. The key is written into it as into any other.
#[derive(Debug, Clone)]
pub struct KeyProbe {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub url: Endpoint,
    /// A JSON body.
    pub body: Option<String>,
}
