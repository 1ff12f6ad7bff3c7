//! Accounts as the control plane shows and takes them.

use crate::{AdminError, Exposed, time_text};
use claviger_domain::identity::Identity;
use claviger_domain::origin::{Origin, Origins};
use claviger_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// Whether it can serve.
    pub standing: StandingView,
    /// What is set aside.
    pub blocks: Vec<BlockView>,
    /// Higher is drained first.
    pub priority: i32,
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
    /// Since when it is here.
    #[serde(with = "time_text")]
    pub created_at: Timestamp,
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
}

impl From<Identity> for IdentityView {
    fn from(identity: Identity) -> Self {
        let Identity { account_id, email, org_id, org_name, project_id } = identity;
        Self { email, account_id, org_id, org_name, project_id }
    }
}

impl From<IdentityView> for Identity {
    fn from(view: IdentityView) -> Self {
        let IdentityView { email, account_id, org_id, org_name, project_id } = view;
        Self { account_id, email, org_id, org_name, project_id }.normalized()
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountChange {
    /// A name; empty takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Higher is drained first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// `Some(cause)` switches it off.
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
}

/// Whether there was anything to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeOutcome {
    /// Its quarantine has ended.
    Taken,
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
