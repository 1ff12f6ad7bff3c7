//! Accounts as the control plane shows and takes them.

use crate::{AdminError, ErrorCode, Exposed, time_text};
use claviger_domain::identity::Identity;
use claviger_domain::options::{AccountOptions, Change, OptionsChange, Reserve, Weight};
use claviger_domain::origin::{Origin, Origins};
use claviger_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// All accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountList {
    /// By provider, then id.
    pub accounts: Vec<AccountView>,
}

/// An account without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its id.
    pub id: i64,
    /// Its provider.
    pub provider: String,
    /// `oauth` or `api_key`.
    pub kind: String,
    /// A name given by a person.
    pub label: Option<String>,
    /// Who it is at the provider.
    pub identity: IdentityView,
    /// The end of its key, by which its owner knows it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_key: Option<String>,
    /// Whether it can serve.
    pub standing: StandingView,
    /// What is set aside.
    pub blocks: Vec<BlockView>,
    /// Higher is drained first.
    pub priority: i32,
    /// What else a person set for it.
    #[serde(default)]
    pub options: OptionsView,
    /// The plan that its provider told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// How it came here.
    pub source: SourceWord,
    /// The grant that it uses; accounts of one login share it.
    pub grant: i64,
    /// Moves with the secret.
    pub grant_revision: u64,
    /// When the access token ends.
    #[serde(with = "time_text::option")]
    pub expires_at: Option<Timestamp>,
    /// The file of the tool that refreshes it, where that is not Claviger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<String>,
    /// What is to be known of the file of the tool that refreshes it, or did before it was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// When a person last logged in, where that is known.
    #[serde(default, with = "time_text::option", skip_serializing_if = "Option::is_none")]
    pub logged_in_at: Option<Timestamp>,
    /// When its login ends however often it is refreshed, where that is known of its provider.
    #[serde(default, with = "time_text::option", skip_serializing_if = "Option::is_none")]
    pub login_ends_at: Option<Timestamp>,
    /// Since when it is here.
    #[serde(with = "time_text")]
    pub created_at: Timestamp,
}

/// How long before a login ends that is announced: a working week, so that somebody who looks on weekdays sees it.
pub const LOGIN_ENDS_SOON: Duration = Duration::from_hours(5 * 24);

impl AccountView {
    /// When its login ends, where that is soon or over.
    pub fn login_ends_soon(&self, now: Timestamp) -> Option<Timestamp> {
        self.login_ends_at.filter(|at| *at <= now.plus(LOGIN_ENDS_SOON))
    }
}

/// What a person set for an account, beside its label and its priority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsView {
    /// The share of each limit that is kept back while other accounts have room.
    pub reserve_percent: u8,
    /// How many sessions it takes, compared with accounts that are its equals.
    pub weight: u16,
    /// Whether it serves the vendor's own client alone.
    pub own_client_only: bool,
    /// What was set of that: `on`, `off`, or `default` for what the vendor's terms say.
    pub own_client_only_set: String,
    /// What the models of its requests begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_prefix: Option<String>,
    /// Its proxy, without the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

impl OptionsView {
    /// The options in words, with whether they limit the account to the vendor's own client.
    pub fn new(options: &AccountOptions, own_client_only: bool) -> Self {
        let AccountOptions { reserve, weight, own_client, model_prefix, proxy } = options;
        Self {
            reserve_percent: reserve.percent(),
            weight: weight.get(),
            own_client_only,
            own_client_only_set: own_client.as_str().to_owned(),
            model_prefix: model_prefix.as_ref().map(ToString::to_string),
            proxy: proxy.as_ref().map(ToString::to_string),
        }
    }
}

impl Default for OptionsView {
    fn default() -> Self {
        Self::new(&AccountOptions::default(), false)
    }
}

/// Options as a person gives them; absent leaves one alone.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionsSet {
    /// The share of each limit that is kept back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_percent: Option<u8>,
    /// How many sessions it takes, compared with its equals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// `on`, `off` or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_client_only: Option<String>,
    /// What the models of its requests begin with; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_prefix: Option<String>,
    /// The URL of its proxy, which may hold a password; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Exposed>,
}

impl OptionsSet {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        let Self { reserve_percent, weight, own_client_only, model_prefix, proxy } = self;
        reserve_percent.is_none() && weight.is_none() && own_client_only.is_none() && model_prefix.is_none() && proxy.is_none()
    }

    /// The change that is meant.
    ///
    /// Errors: [`ErrorCode::Usage`] for the first value that cannot be an option; it never repeats a proxy's URL.
    pub fn parsed(self) -> Result<OptionsChange, AdminError> {
        let Self { reserve_percent, weight, own_client_only, model_prefix, proxy } = self;
        Ok(OptionsChange {
            reserve: reserve_percent.map(Reserve::from_percent).transpose().map_err(usage)?,
            weight: weight.map(Weight::new).transpose().map_err(usage)?,
            own_client: own_client_only.map(|word| word.parse()).transpose().map_err(usage)?,
            model_prefix: change(model_prefix.as_deref()).map_err(usage)?,
            proxy: change(proxy.as_ref().map(Exposed::expose)).map_err(usage)?,
        })
    }
}

fn usage(why: impl Display) -> AdminError {
    AdminError::new(ErrorCode::Usage, why.to_string())
}

fn change<T: FromStr>(text: Option<&str>) -> Result<Change<T>, T::Err> {
    match text.map(str::trim) {
        None => Ok(Change::Keep),
        Some("") => Ok(Change::Clear),
        Some(text) => text.parse().map(Change::Set),
    }
}

/// Who an account is at its provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdentityView {
    /// The e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The provider's id of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The organisation's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// The organisation's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_name: Option<String>,
    /// The cloud project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// The host of the installation that the account belongs to, where that is not the vendor's public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enterprise_url: Option<String>,
    /// The origin that the provider names for this account's requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_endpoint: Option<String>,
}

impl From<Identity> for IdentityView {
    fn from(identity: Identity) -> Self {
        let Identity { account_id, email, org_id, org_name, project_id, enterprise_url, api_endpoint } = identity;
        Self { email, account_id, org_id, org_name, project_id, enterprise_url, api_endpoint }
    }
}

impl From<IdentityView> for Identity {
    fn from(view: IdentityView) -> Self {
        let IdentityView { email, account_id, org_id, org_name, project_id, enterprise_url, api_endpoint } = view;
        Self { account_id, email, org_id, org_name, project_id, enterprise_url, api_endpoint }.normalized()
    }
}

/// Whether an account can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StandingView {
    /// It can, or a refresh will see to it.
    Active,
    /// Switched off.
    Disabled {
        /// Why.
        cause: String,
    },
    /// Only a new login helps.
    NeedsLogin {
        /// Why.
        cause: String,
    },
    /// The vault was put back from an older copy: its refresh token is not sent until somebody takes the account. Its live
    /// token serves.
    Quarantined {
        /// Since when.
        #[serde(with = "time_text")]
        since: Timestamp,
    },
    /// The provider's address is not the one that it was stored for.
    OriginChanged,
    /// Its row cannot be read.
    Damaged {
        /// What is wrong.
        cause: String,
    },
}

/// What is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// `account`, `tier:NAME` or `model:NAME`.
    pub scope: String,
    /// Until when.
    #[serde(with = "time_text")]
    pub until: Timestamp,
    /// Whether the end is a guess.
    pub guessed: bool,
    /// Why.
    pub reason: String,
}

/// How a credential came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceWord {
    /// By login or by hand.
    Login,
    /// From another tool.
    Imported,
    /// Given to the server when it was started.
    Runtime,
    /// Named by the configuration.
    Config,
    /// Found in the environment of the server.
    Environment,
}

/// An account to be stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountAdd {
    /// How its row is called in reports, for instance `row 3`.
    pub row: String,
    /// The provider's id or alias.
    pub provider: String,
    /// The secret.
    pub credential: CredentialAdd,
    /// Who it is.
    #[serde(default)]
    pub identity: IdentityView,
    /// A name given by a person.
    #[serde(default)]
    pub label: Option<String>,
    /// How it came here.
    pub source: SourceWord,
    /// Why it is switched off, if it is.
    #[serde(default)]
    pub disabled: Option<String>,
    /// What is set aside.
    #[serde(default)]
    pub blocks: Vec<BlockView>,
    /// The file of the tool that refreshes it; absolute.
    #[serde(default)]
    pub follows: Option<String>,
    /// Its priority, if it is new.
    #[serde(default)]
    pub priority: i32,
    /// Its options, if it is new.
    #[serde(default)]
    pub options: OptionsSet,
    /// The plan that its provider told.
    #[serde(default)]
    pub plan: Option<String>,
    /// When a person logged in, where one did.
    #[serde(default, with = "time_text::option")]
    pub logged_in_at: Option<Timestamp>,
    /// The account that it renews, whoever that was; absent finds the account by its identity and its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onto: Option<i64>,
}

impl AccountAdd {
    /// An account that was given by hand, of which nothing more is known.
    pub fn new(row: impl Into<String>, provider: impl Into<String>, credential: CredentialAdd) -> Self {
        Self {
            row: row.into(),
            provider: provider.into(),
            credential,
            identity: IdentityView::default(),
            label: None,
            source: SourceWord::Login,
            disabled: None,
            blocks: Vec::new(),
            follows: None,
            priority: 0,
            options: OptionsSet::default(),
            plan: None,
            logged_in_at: None,
            onto: None,
        }
    }
}

/// The secret of an account to be stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialAdd {
    /// A login.
    Oauth {
        /// The access token.
        access: Exposed,
        /// The refresh token.
        #[serde(default)]
        refresh: Option<Exposed>,
        /// When the access token ends.
        #[serde(default, with = "time_text::option")]
        expires_at: Option<Timestamp>,
    },
    /// A key.
    ApiKey {
        /// The key.
        key: Exposed,
    },
}

/// A stored account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountAdded {
    /// What became of it.
    pub outcome: AddOutcome,
    /// The account.
    pub account: AccountView,
}

/// What became of an account that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddOutcome {
    /// It is new.
    Created,
    /// It was there; its secret was replaced.
    Updated,
    /// It was there with this very secret.
    Unchanged,
}

/// What an import did: `{"imported":[…],"skipped":[{"row","why"}]}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// What was stored.
    pub imported: Vec<AccountAdded>,
    /// What was not.
    pub skipped: Vec<SkippedRow>,
}

/// A row that was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedRow {
    /// The row.
    pub row: String,
    /// Why.
    pub why: String,
}

impl SkippedRow {
    /// A row that failed.
    pub fn new(row: impl Into<String>, error: &AdminError) -> Self {
        Self { row: row.into(), why: error.message.clone() }
    }
}

/// What a person may set on an account; absent leaves it alone.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// A name; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Higher is drained first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// The other options.
    #[serde(default, skip_serializing_if = "OptionsSet::is_empty")]
    pub options: OptionsSet,
    /// `Some(cause)` switches it off; an empty cause stands for "disabled".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<String>,
    /// Switches it on.
    #[serde(default)]
    pub enable: bool,
}

/// What became of an account that somebody takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountTaken {
    /// Whether there was anything to take.
    pub outcome: TakeOutcome,
    /// The account.
    pub account: AccountView,
    /// What a person does so that the tool that had the login no longer refreshes it; nothing where no tool had it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

/// Whether there was anything to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeOutcome {
    /// Its quarantine has ended.
    Taken,
    /// The login of another tool is refreshed here from now on.
    TakenOver,
    /// It was in none: nothing was done.
    NotQuarantined,
}

/// Where an account's secret may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOrigins {
    /// The account.
    pub account: AccountView,
    /// What it was stored for.
    pub stored: OriginsView,
    /// Where its provider is now, by catalogue and overlay.
    pub effective: OriginsView,
}

/// The origins of a provider by purpose, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginsView {
    /// For agents' requests.
    pub inference: Vec<String>,
    /// For usage reports.
    pub usage: Vec<String>,
    /// For the token endpoint.
    pub token: Vec<String>,
}

impl From<&Origins> for OriginsView {
    fn from(origins: &Origins) -> Self {
        let Origins { inference, usage, token } = origins;
        let texts = |set: &BTreeSet<Origin>| set.iter().map(ToString::to_string).collect();
        Self { inference: texts(inference), usage: texts(usage), token: texts(token) }
    }
}

/// A question for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAsk {
    /// The provider's id or alias.
    pub provider: String,
    /// One account; `None` picks as the gateway does.
    #[serde(default)]
    pub account: Option<i64>,
    /// Every account of the provider.
    #[serde(default)]
    pub all: bool,
    /// A name of a conversation, to be picked for as the gateway does.
    #[serde(default)]
    pub session: Option<String>,
    /// Who asks, for the audit trail.
    #[serde(default)]
    pub actor: String,
}

/// Tokens that were asked for.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenList {
    /// One per account.
    pub tokens: Vec<TokenView>,
    /// Accounts that have none.
    pub skipped: Vec<SkippedRow>,
}

/// A current access token or key.
#[derive(Debug, Serialize, Deserialize)]
pub struct TokenView {
    /// The secret that was asked for.
    pub token: Exposed,
    /// When it ends; `null` for a key.
    #[serde(with = "time_text::option")]
    pub expires_at: Option<Timestamp>,
    /// The account.
    pub account: i64,
    /// The provider.
    pub provider: String,
    /// `oauth` or `api_key`.
    pub kind: String,
    /// Who it is.
    #[serde(flatten)]
    pub identity: IdentityView,
}
