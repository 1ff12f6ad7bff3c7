//! How the whole stands.

use crate::time_text;
use claviger_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How the whole stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The version of the program that answers.
    pub version: String,
    /// Since when it runs.
    #[serde(with = "time_text")]
    pub started_at: Timestamp,
    /// By provider.
    pub providers: Vec<ProviderStatus>,
    /// Why requests are served and somebody should look all the same; empty where all is well.
    #[serde(default)]
    pub degraded: Vec<String>,
    /// What is not guarded against, in sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Rows that cannot be read.
    pub faults: Vec<FaultView>,
    /// Virtual keys that work.
    pub keys_active: u64,
    /// Requests in flight.
    pub requests_in_flight: u64,
    /// Requests since the start.
    pub requests_total: u64,
    /// Refreshes of tokens since the start that brought a new one.
    pub refreshes_total: u64,
    /// Best-effort works that failed since the start.
    pub best_effort_failures: u64,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// Its id.
    pub provider: String,
    /// All accounts.
    pub accounts: u64,
    /// Accounts that can serve now.
    pub ready: u64,
    /// Accounts that are set aside.
    pub blocked: u64,
    /// Accounts that only a new login helps.
    pub needs_login: u64,
    /// Accounts in quarantine, those with a live token among the ready ones as well.
    #[serde(default)]
    pub quarantined: u64,
    /// When the first blocked account is free again, where none is ready.
    #[serde(with = "time_text::option")]
    pub retry_at: Option<Timestamp>,
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// The row, for instance `grants 3`.
    pub row: String,
    /// What is wrong.
    pub why: String,
}

/// What is in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessList {
    /// Keys that have been used since the start, latest first.
    pub keys: Vec<InUse>,
}

/// A key in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// The key.
    pub key: String,
    /// Its name.
    pub label: Option<String>,
    /// Its requests in flight.
    pub in_flight: u64,
    /// Its requests since the start.
    pub requests: u64,
    /// When it was last used.
    #[serde(with = "time_text::option")]
    pub used_at: Option<Timestamp>,
    /// The provider of its last request.
    pub provider: Option<String>,
    /// The account that served its last request.
    pub account: Option<i64>,
}

/// What a reload of the configuration did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Files that were read.
    pub files: Vec<String>,
    /// Providers that exist now.
    pub providers: u64,
}
