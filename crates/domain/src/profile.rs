//! What a catalogue entry compiles to: everything that differs between providers, as checked data.

use crate::classify::ClassTable;
use crate::credential::CredentialKind;
use crate::family::Families;
use crate::id::ProviderId;
use crate::origin::{Endpoint, Origin, Origins, Purpose, StoredOrigins};
use http::{HeaderName, HeaderValue};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod plan;
mod terms;
mod usage;

pub use plan::{PlanClass, PlanRow, PlanRules};
pub use terms::{ClientMark, MarkTest, TermsRule};
pub use usage::{HeaderTap, LimitRule, StatusHeader, UsageEndpoint, UsageRule, UsageScheme, UsedHeader};

/// A wire dialect that a provider speaks and in which our own errors are phrased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// `/v1/messages`.
    Messages,
    /// `/v1/chat/completions`, `/v1/embeddings`.
    Chat,
    /// `/v1/responses`.
    Responses,
    /// `/v1beta/models/M:generateContent`.
    Generate,
}

impl Dialect {
    /// The word in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Generate => "generate",
        }
    }

    /// Reads the catalogue's word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Messages, Self::Chat, Self::Responses, Self::Generate].into_iter().find(|dialect| dialect.as_str() == word)
    }
}

/// A provider, compiled. Immutable; shared behind an `Arc`.
#[derive(Debug, Clone)]
pub struct ProviderProfile {
    /// The catalogue id.
    pub id: ProviderId,
    /// The name for people.
    pub name: String,
    /// Other ids under which it is found.
    pub aliases: Vec<String>,
    /// Dialects that it speaks; the first is the one of errors on its own route.
    pub dialects: Vec<Dialect>,
    /// Where requests go; a request's path is appended to its path.
    pub base: Endpoint,
    /// The effective origins by purpose, overlay included.
    pub origins: Origins,
    /// Where requests of a login go, beside the token endpoint. They carry what a login has just brought, before it is
    /// stored, and never a stored credential.
    pub login_origins: BTreeSet<Origin>,
    /// The binary's own origins; `None` for a provider that only a file defines.
    pub builtin_origins: Option<Origins>,
    /// How a key is written into a request; `None` when keys are not supported.
    pub api_key: Option<WireRule>,
    /// How an access token is written into a request; `None` when logins are not supported.
    pub oauth: Option<WireRule>,
    /// How grants are refreshed; `None` when the provider has no token endpoint.
    pub refresh: Option<RefreshRule>,
    /// What failures mean.
    pub classes: ClassTable,
    /// Where a request names its conversation.
    pub session: SessionRule,
    /// How long it keeps a prompt cache that nobody reads. Default [`CACHE_LIFE`](crate::select::CACHE_LIFE).
    pub prompt_cache_life: Duration,
    /// Environment variables that hold a key, first found first.
    pub env: Vec<String>,
    /// Claims of the access token that name the identity.
    pub identity: IdentityRule,
    /// Addresses that the provider's hooks ask while somebody logs in, by the name under which the hook knows them.
    pub hook_urls: BTreeMap<String, Endpoint>,
    /// Which models share a meter.
    pub families: Families,
    /// Which plans may use which models.
    pub plans: PlanRules,
    /// Whom the vendor lets use a login.
    pub terms: TermsRule,
    /// Where the provider tells what an account has left.
    pub usage: UsageRule,
}

impl ProviderProfile {
    /// The wire rule for a kind of credential.
    pub fn wire(&self, kind: CredentialKind) -> Option<&WireRule> {
        match kind {
            CredentialKind::OAuth => self.oauth.as_ref(),
            CredentialKind::ApiKey => self.api_key.as_ref(),
        }
    }

    /// All origins to which control requests of this provider may go: token, usage and login.
    pub fn control_origins(&self) -> BTreeSet<Origin> {
        [&self.origins.token, &self.origins.usage, &self.login_origins].into_iter().flatten().cloned().collect()
    }

    /// The origins with which a new account is stored: `Builtin` while the overlay changes none of them, else the effective set.
    pub fn origins_to_store(&self) -> StoredOrigins {
        match &self.builtin_origins {
            Some(builtin) if *builtin == self.origins => StoredOrigins::Builtin,
            _ => StoredOrigins::Explicit(self.origins.clone()),
        }
    }

    /// Whether a credential stored with these origins may be sent to where this profile now points, for one purpose.
    ///
    /// All effective origins of the purpose must be admitted, so that an overlay cannot redirect a part of the traffic.
    pub fn origins_admitted(&self, stored: &StoredOrigins, purpose: Purpose) -> bool {
        self.origins.of(purpose).iter().all(|wanted| stored.admits(purpose, wanted, self.builtin_origins.as_ref()))
    }
}

/// How a credential is written into a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRule {
    /// The header that carries the credential.
    pub header: HeaderName,
    /// The scheme before it, for instance `Bearer`; `None` for the raw value.
    pub scheme: Option<String>,
    /// Headers beside it.
    pub extra: Vec<HeaderRule>,
    /// Query parameters that must be present; one that the client sent is left alone.
    pub query: Vec<(String, String)>,
    /// How requests are signed with the credential, which is not sent then; `None` where it is sent.
    pub signing: Option<SigningRule>,
}

/// How requests are signed, by the scheme `AWS4-HMAC-SHA256`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRule {
    /// The region of the service, for instance `eu-central-1`.
    pub region: String,
    /// The service by its name in signatures.
    pub service: String,
}

/// A header that goes with a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// The header.
    pub name: HeaderName,
    /// What it holds.
    pub value: HeaderText,
    /// How it meets what the client sent.
    pub mode: HeaderMode,
}

/// The value of a header that goes with a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderText {
    /// Fixed text.
    Fixed(HeaderValue),
    /// The account's id at the provider; the header is left out for an account without one.
    AccountId,
    /// The account's project; the header is left out for an account without one.
    ProjectId,
    /// The account's organisation id; the header is left out for an account without one.
    OrgId,
}

/// How a header that goes with a credential meets what the client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMode {
    /// Replaces it.
    Set,
    /// Joins a comma-separated list, unless the list has it.
    AddToList,
    /// Stands only where the client sent none.
    IfAbsent,
}

/// Whether a provider's refresh tokens are single use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The refresh token stays; sending it again harms nothing.
    NonRotating,
    /// A consumed refresh token may be replayed for this long. Only where that was observed.
    Grace {
        /// The window, from the first send.
        window: Duration,
    },
    /// Single use. Also what is assumed where nothing is known.
    Strict,
}

/// How the body of a token request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenEncoding {
    /// `application/x-www-form-urlencoded` (RFC 6749 §4.1.3).
    Form,
    /// JSON, which several vendors ask for.
    Json,
}

/// Where a refresh request carries the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenCarry {
    /// Among the parameters of the body, beside the standard ones (RFC 6749 §6).
    #[default]
    Parameter,
    /// In `Authorization: Bearer`; the body has the rule's own parameters and none of the standard ones.
    Bearer,
}

/// The top-level members of a token endpoint's answer that hold the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenNames {
    /// The access token. Default `access_token` (RFC 6749 §5.1).
    pub access: String,
    /// The refresh token. Default `refresh_token`.
    pub refresh: String,
}

impl Default for TokenNames {
    fn default() -> Self {
        Self { access: "access_token".to_owned(), refresh: "refresh_token".to_owned() }
    }
}

/// How grants of a provider are refreshed.
#[derive(Debug, Clone)]
pub struct RefreshRule {
    /// The token endpoint.
    pub url: Endpoint,
    /// The public client id; empty for a provider that knows no clients.
    pub client_id: String,
    /// The secret of an installed application, published by its vendor as not secret.
    pub client_secret: Option<String>,
    /// How the request is written.
    pub encoding: TokenEncoding,
    /// Where the request carries the refresh token.
    pub carry: TokenCarry,
    /// What the answer calls the tokens.
    pub names: TokenNames,
    /// Headers that the endpoint needs.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Parameters beside the standard ones.
    pub params: Vec<(String, String)>,
    /// Whether refresh tokens are single use.
    pub rotation: Rotation,
    /// The longest that one exchange may take, from the first byte sent.
    pub timeout: Duration,
    /// OAuth error codes that end a grant, with status 400, 401 or 403.
    pub dead_codes: Vec<String>,
    /// OAuth error codes that prove the refresh token was not consumed.
    pub not_consumed_codes: Vec<String>,
    /// Statuses that end a grant even without a parsed error code.
    pub dead_statuses: Vec<u16>,
}

/// Where a request names its conversation, so that it stays with one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionRule {
    /// Headers, first found first.
    pub headers: Vec<HeaderName>,
    /// Top-level string fields of the JSON body, first found first.
    pub fields: Vec<String>,
}

/// Where the access token, a JWT, names its owner. Each path is a list of claim names, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityRule {
    /// Paths to the account id, first found first.
    pub account_id: Vec<Vec<String>>,
    /// Paths to the e-mail, first found first.
    pub email: Vec<Vec<String>>,
    /// Paths to the organisation's id, first found first.
    pub org_id: Vec<Vec<String>>,
    /// Paths to the plan, first found first.
    pub plan: Vec<Vec<String>>,
}
