//! Saved resets of rate limits: listed live, and redeemed.

use crate::time_text;
use claviger_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Whose saved resets are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsAsk {
    /// The provider's id or alias; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// One account; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<i64>,
}

/// The saved resets of all accounts whose providers give any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CreditsView {
    /// By provider, then id.
    pub accounts: Vec<AccountCreditsView>,
}

/// The saved resets of one account, as its provider tells them now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountCreditsView {
    /// The account.
    pub account: i64,
    /// Its provider.
    pub provider: String,
    /// The name for people: its label, else its identity.
    pub name: Option<String>,
    /// Whether it is the account of its provider that new conversations get now.
    pub active: bool,
    /// How many can be redeemed; absent where the provider did not say.
    pub available: Option<u32>,
    /// Before this time none can be redeemed.
    #[serde(default, with = "time_text::option", skip_serializing_if = "Option::is_none")]
    pub cooldown_until: Option<Timestamp>,
    /// They themselves, as far as told.
    pub resets: Vec<SavedResetView>,
    /// Why nothing could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A saved reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedResetView {
    /// The provider's id of it.
    pub id: String,
    /// Its name for people.
    pub title: Option<String>,
    /// `available`, `needs_limit` or `gone`.
    pub state: String,
    /// How often it can be redeemed.
    pub left: u32,
    /// When it was given.
    #[serde(default, with = "time_text::option", skip_serializing_if = "Option::is_none")]
    pub granted_at: Option<Timestamp>,
    /// When it is lost.
    #[serde(default, with = "time_text::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A saved reset is to be redeemed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedeemAsk {
    /// Whose: an account's id here, its id at the provider, or its e-mail address.
    pub target: String,
    /// The provider's id of the reset; absent for the one that is lost soonest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<String>,
    /// Names the attempt, so that one which is repeated with it spends nothing twice; absent for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Who asks, for the audit trail; set by the side that answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
}

/// What came of a redemption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemView {
    /// `reset`, `already_redeemed`, `no_credit`, `nothing_to_reset`, `no_account`, `account_unavailable`, `http_429` (any
    /// status), or the provider's own word.
    pub code: String,
    /// The account, where there is one.
    pub account: Option<i64>,
    /// The reset, where one was chosen.
    pub credit: Option<String>,
    /// The name of the attempt, where one was made.
    pub request_id: Option<String>,
    /// How many blocks that has lifted.
    pub lifted: u64,
    /// What there is to say beside the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RedeemView {
    /// Whether windows were reset.
    pub fn is_reset(&self) -> bool {
        self.code == "reset"
    }
}
