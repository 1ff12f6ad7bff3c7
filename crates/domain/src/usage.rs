//! What an account has left: limits, their windows, and reports of them, whoever told.

mod unite;
mod window;

pub use unite::unite;
pub use window::{DEFAULT_PRIMARY_WINDOW, DEFAULT_SECONDARY_WINDOW, DRAIN_FLOOR};

use crate::block::BlockScope;
use crate::time::Timestamp;
use std::time::Duration;

/// Used up to here a limit is [`LimitStatus::Ok`]; from here on it is a warning.
pub const WARNING_FROM: f64 = 0.9;
/// From here on nothing is left.
pub const EXHAUSTED_FROM: f64 = 1.0;
/// What selection takes a limit to be used whose fraction nobody told: neither better nor worse than others.
pub const NEUTRAL_USED: f64 = 0.5;
/// Most limits of one report. The largest answer seen has a few dozen (one a model); a hostile one must not fill memory.
pub const LIMITS_MAX: usize = 128;

/// One limit of an account, as it was told last.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Its id, stable within the provider, for instance `5h`, `7d` or `7d:fable`; the same whether headers or the endpoint told it.
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

/// How a limit stands: what the provider says of it, else what its numbers say.
///
/// The provider's word goes first, since it knows what its numbers do not show: that an overdraft still pays, or that
/// a window at 100 % has just served a request.
pub fn status_of(told: LimitStatus, used: Option<f64>, amount: Option<&Amount>) -> LimitStatus {
    if told != LimitStatus::Unknown {
        return told;
    }
    let by_fraction = LimitStatus::of_used(used.filter(|used| used.is_finite()));
    let by_amount = amount.map_or(LimitStatus::Unknown, Amount::status);
    by_fraction.max(by_amount)
}

impl Amount {
    /// The used fraction, at least 0; `None` where there is no end, or too little was told.
    pub fn fraction(&self) -> Option<f64> {
        let limit = self.limit.filter(|limit| *limit > 0.0)?;
        let used = self.used.or_else(|| self.remaining.map(|remaining| limit - remaining))?;
        Some((used / limit).max(0.0)).filter(|fraction| fraction.is_finite())
    }

    /// What the amounts alone say: nothing remaining, or as much used as there is, is exhausted.
    fn status(&self) -> LimitStatus {
        let nothing_remains = self.remaining.is_some_and(|remaining| remaining <= 0.0);
        let all_used = self.used.zip(self.limit).is_some_and(|(used, limit)| used >= limit);
        match (nothing_remains || all_used, self.remaining) {
            (true, _) => LimitStatus::Exhausted,
            (false, Some(_)) => LimitStatus::of_used(self.fraction()).max(LimitStatus::Ok),
            (false, None) => LimitStatus::of_used(self.fraction()),
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

impl LimitRole {
    /// Whether a request is pointless while the limit is exhausted.
    pub const fn gates(self) -> bool {
        !matches!(self, Self::Shown)
    }
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
