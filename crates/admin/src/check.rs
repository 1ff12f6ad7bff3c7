//! Checks of stored accounts: whether the provider still takes what is stored.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the check of one account may take where nobody says.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that anybody may say: a call over the socket takes no longer than two minutes.
pub const CHECK_TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// A question about one account. Many are asked one after another, by whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckAsk {
    /// The account.
    pub account: i64,
    /// How long it may take in milliseconds, a refresh that is due included; at most [`CHECK_TIMEOUT_MAX`].
    pub timeout_ms: u64,
    /// The model of a minimal completion that is to be tried as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
}

/// What a check of one account found. No secret in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// The account.
    pub account: i64,
    /// Its provider.
    pub provider: String,
    /// `oauth` or `api_key`.
    pub kind: String,
    /// The name for people: its label, else its identity.
    pub name: Option<String>,
    /// Its e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Its id at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// `true`: the provider takes it. `false`: it does not, or the check failed. `null`: nobody can say.
    pub ok: Option<bool>,
    /// Why not, or why nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which of the reasons it is, where nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverifiable: Option<Unverifiable>,
    /// What came of the completion, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<CompletionView>,
}

/// Why nobody can say whether a provider takes an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unverifiable {
    /// Nothing is known that the provider could be asked.
    NoProbe,
    /// What it can be asked is not for this kind of credential.
    KindUnsupported,
    /// It was asked, or can be, and its answer proves nothing.
    NotValidating,
    /// It was asked, and had nothing to say of this account.
    NoData,
}

/// What came of a minimal completion. It is independent of what else was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionView {
    /// Whether the provider has answered it; `null` where it was not sent.
    pub ok: Option<bool>,
    /// The model.
    pub model: String,
    /// How long the answer took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
