//! The `LogStore` seam: what may be lost without harm. Usage as it went hour by hour, what was wasted, what was paid.
//!
//! Two implementations: [`SqliteLog`] keeps `log.db` beside the vault; [`MemoryLog`] is for tests and for programs without a
//! folder. Writes are sends that never wait, and that drop and count what does not fit; a log that is broken, missing or
//! read-only costs its own content and nothing else.

mod memory;
mod sqlite;
mod words;

pub use memory::MemoryLog;
pub use sqlite::{LOG_QUEUE_MAX, LOG_REOPEN_AFTER, SqliteLog};

use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, UsageSource};
use claviger_runtime::BoxFuture;
use std::time::Duration;

/// How long rows are kept: a quarter shows a monthly window three times.
pub const LOG_KEPT: Duration = Duration::from_hours(90 * 24);
/// Of one limit at most one row is kept per bucket of this length.
pub const USAGE_BUCKET: Duration = Duration::from_hours(1);
/// Most rows of one answer, the latest of them: 90 days of 40 limits, hour by hour, are fewer.
pub const LOG_ROWS_LISTED_MAX: u32 = 100_000;
/// Ends of one window that are told up to this far apart are the same end: vendors round, and count from now.
pub const SAME_END_WITHIN: Duration = Duration::from_mins(5);

/// A log could not answer.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened, or is written by a newer version.
    #[error("the log cannot be used: {why}")]
    Unusable {
        /// What is wrong with it.
        why: String,
    },
    /// SQLite refused.
    #[error("the log failed while {doing}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// Its cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// The answer of a log, later.
pub type LogAnswer<'a, T> = BoxFuture<'a, Result<T, LogError>>;

/// What may be lost. Every write returns at once, whatever becomes of it; reads see all writes of this process before them.
pub trait LogStore: Send + Sync + std::fmt::Debug + 'static {
    /// Notes limits of accounts as they were told. Per account, limit and [`USAGE_BUCKET`] one row stays: the one told last.
    fn usage_record(&self, rows: Vec<UsageRow>);

    /// What was noted, oldest first.
    fn usage_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<UsageRow>>;

    /// The latest row of every account and limit, of those from `since` to `until`: a wall clock that was ahead has left rows of
    /// the future, which are the latest of nothing.
    fn usage_latest(&self, since: Timestamp, until: Timestamp) -> LogAnswer<'_, Vec<UsageRow>>;

    /// Notes what was unused when a window ended; once per window.
    fn waste_append(&self, row: WasteRow);

    /// What was wasted, oldest first.
    fn waste_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<WasteRow>>;

    /// Notes what a request cost.
    fn cost_append(&self, row: CostRow);

    /// What was paid, oldest first.
    fn cost_list(&self, filter: LogFilter) -> LogAnswer<'_, Vec<CostRow>>;

    /// What was paid in sum, by provider and account.
    fn cost_totals(&self, filter: LogFilter) -> LogAnswer<'_, Vec<CostTotal>>;

    /// Forgets what is older.
    fn prune(&self, before: Timestamp);

    /// How many rows were dropped since the start.
    fn dropped(&self) -> u64;

    /// Resolves when all writes before it are done, or dropped.
    fn flush(&self) -> LogAnswer<'_, ()>;

    /// Ends the log after the writes before it. Later writes are dropped, later reads fail with [`LogError::Closed`].
    fn close(&self) -> LogAnswer<'_, ()>;
}

/// Which rows are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter {
    /// From here on.
    pub since: Timestamp,
    /// One provider; `None` for all.
    pub provider: Option<ProviderId>,
    /// One account; `None` for all.
    pub account: Option<AccountId>,
}

impl LogFilter {
    /// Everything since a point in time.
    pub const fn since(since: Timestamp) -> Self {
        Self { since, provider: None, account: None }
    }

    fn admits(&self, at: Timestamp, provider: &ProviderId, account: Option<AccountId>) -> bool {
        let of_provider = self.provider.as_ref().is_none_or(|wanted| wanted == provider);
        at >= self.since && of_provider && (self.account.is_none() || self.account == account)
    }
}

/// One limit of one account as it was told once.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRow {
    /// The account.
    pub account: AccountId,
    /// Its provider.
    pub provider: ProviderId,
    /// The limit.
    pub limit: Limit,
    /// The plan, where it was told.
    pub plan: Option<String>,
    /// Who told it.
    pub source: UsageSource,
    /// When.
    pub observed_at: Timestamp,
}

impl UsageRow {
    fn bucket(&self) -> i64 {
        self.observed_at.0.div_euclid(claviger_domain::time::millis(USAGE_BUCKET))
    }
}

/// What was left of a limit when its window ended.
#[derive(Debug, Clone, PartialEq)]
pub struct WasteRow {
    /// The account.
    pub account: AccountId,
    /// Its provider.
    pub provider: ProviderId,
    /// The limit's id.
    pub limit: String,
    /// Its name for people.
    pub label: String,
    /// The fraction that nobody used, from 0 to 1.
    pub unused: f64,
    /// When the window ended.
    pub ended_at: Timestamp,
    /// When its use was told last before that.
    pub observed_at: Timestamp,
}

/// A price: positive and finite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Cost(f64);

impl Cost {
    /// In US dollars; `None` for what is no price: nothing, less than nothing, or no number.
    pub fn usd(amount: f64) -> Option<Self> {
        (amount.is_finite() && amount > 0.0).then_some(Self(amount))
    }

    /// In US dollars.
    pub const fn as_usd(self) -> f64 {
        self.0
    }
}

/// What one request cost.
#[derive(Debug, Clone, PartialEq)]
pub struct CostRow {
    /// When it ended.
    pub at: Timestamp,
    /// The provider.
    pub provider: ProviderId,
    /// The account that served it; `None` for a key that is stored nowhere.
    pub account: Option<AccountId>,
    /// The model, where it is known.
    pub model: Option<String>,
    /// The price.
    pub cost: Cost,
}

/// What was paid for an account.
#[derive(Debug, Clone, PartialEq)]
pub struct CostTotal {
    /// The provider.
    pub provider: ProviderId,
    /// The account; `None` for keys that are stored nowhere.
    pub account: Option<AccountId>,
    /// How many requests had a price.
    pub requests: u64,
    /// Their sum in US dollars.
    pub usd: f64,
}
