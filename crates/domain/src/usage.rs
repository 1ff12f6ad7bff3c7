//! What an account has left: limits, their windows, and reports of them, whoever told.

use crate::block::BlockScope;
use crate::time::Timestamp;
use std::time::Duration;

/// Used up to here a limit is [`LimitStatus::Ok`]; from here on it is a warning.
pub const WARNING_FROM: f64 = 0.9;
/// From here on nothing is left.
pub const EXHAUSTED_FROM: f64 = 1.0;

/// One limit of an account, as it was told last.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Its id, stable within the provider, for instance `5h`, `7d` or `7d:fable`.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// What it covers; a limit of a tier or a model says nothing of other models.
    pub scope: BlockScope,
    /// The length of its window; `None` where it was not told, or where nothing resets.
    pub window: Option<Duration>,
    /// How much is used: 0 is nothing, 1 is all, more than 1 is overdrawn; `None` where only a status was told.
    pub used: Option<f64>,
    /// The same in the provider's own unit, where it was told.
    pub amount: Option<Amount>,
    /// When its window ends and its use is nothing again.
    pub resets_at: Option<Timestamp>,
    /// What the provider says of it.
    pub status: LimitStatus,
    /// What part it plays in selection.
    pub role: LimitRole,
}

/// An amount in a provider's unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Amount {
    /// How much is used.
    pub used: Option<f64>,
    /// How much there is in all; `None` where there is no end.
    pub limit: Option<f64>,
    /// How much is left.
    pub remaining: Option<f64>,
    /// The unit, for instance `requests`, `tokens`, `usd`, `credits`.
    pub unit: String,
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitStatus {
    /// Nothing was told.
    Unknown,
    /// There is something left.
    Ok,
    /// Little is left, or what is left is paid for extra.
    Warning,
    /// Nothing is left.
    Exhausted,
}

impl LimitStatus {
    /// The word in output: `unknown`, `ok`, `warning`, `exhausted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Exhausted => "exhausted",
        }
    }

    /// What a used fraction alone says.
    pub fn of_used(used: Option<f64>) -> Self {
        match used {
            None => Self::Unknown,
            Some(used) if used >= EXHAUSTED_FROM => Self::Exhausted,
            Some(used) if used >= WARNING_FROM => Self::Warning,
            Some(_) => Self::Ok,
        }
    }
}

/// What part a limit plays in selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitRole {
    /// The short window that is hit first within a day.
    Primary,
    /// The long window, which should be spent before it ends.
    Secondary,
    /// It gates requests when it is exhausted, and orders nothing.
    Gate,
    /// It is shown and decides nothing.
    Shown,
}

/// Who told a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageSource {
    /// The headers of ordinary answers.
    Headers,
    /// The provider's usage endpoint.
    Endpoint,
}

/// What an account has left, as far as it was told.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageReport {
    /// The limits, each id once.
    pub limits: Vec<Limit>,
    /// The plan of the account in the provider's word, lower case.
    pub plan: Option<String>,
    /// When it was told.
    pub observed_at: Timestamp,
    /// Who told it.
    pub source: UsageSource,
}
