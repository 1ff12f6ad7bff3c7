//! What accounts have left, as the control plane shows it: limits, their history, what was wasted, what was paid.
//!
//! Only what was understood of a provider's answer crosses; its own words and fields never do.

use crate::time_text;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Amount, Limit, LimitRole, LimitStatus, UsageSource};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A question for what is left.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageAsk {
    /// The provider's id or alias; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// One account; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<i64>,
    /// How far back history, waste and costs go, in seconds; absent for no history, and [`UsageAsk::PAST_DEFAULT`] of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_s: Option<u64>,
    /// Whether to add what was paid.
    #[serde(default)]
    pub costs: bool,
    /// Whether to ask the providers first, whatever the age of what is known.
    #[serde(default)]
    pub fresh: bool,
}

impl UsageAsk {
    /// How far back waste and costs go where nobody says: a month of weekly windows.
    pub const PAST_DEFAULT: Duration = Duration::from_hours(30 * 24);
}

/// What accounts have left.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UsageView {
    /// By provider, then id.
    pub accounts: Vec<AccountUsageView>,
    /// One series per account and limit, where history was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<UsageSeries>,
    /// Windows that ended with something unused, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waste: Vec<WasteView>,
    /// What was paid, by provider and account, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<CostView>,
}

/// What one account has left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountUsageView {
    /// Its id.
    pub account: i64,
    /// Its provider.
    pub provider: String,
    /// The name for people: its label, else its identity.
    pub name: Option<String>,
    /// `oauth` or `api_key`.
    pub kind: String,
    /// The plan, in the provider's word.
    pub plan: Option<String>,
    /// When this was told; absent where nobody has told anything.
    #[serde(with = "time_text::option")]
    pub observed_at: Option<Timestamp>,
    /// How old that is, in seconds.
    pub age_s: Option<u64>,
    /// Who told: `headers` of ordinary answers, or the `endpoint` for usage.
    pub source: Option<String>,
    /// The limits, as they stand now: a window that has ended since counts as unused.
    pub limits: Vec<LimitView>,
    /// Until when it is set aside as a whole.
    #[serde(default, with = "time_text::option", skip_serializing_if = "Option::is_none")]
    pub blocked_until: Option<Timestamp>,
    /// Why there is nothing to show, or why it is not newer, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitView {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// What it covers: `account`, `tier:NAME` or `model:NAME`.
    pub scope: String,
    /// The length of its window in seconds.
    pub window_s: Option<u64>,
    /// The used fraction: 0 is nothing, 1 is all, more is overdrawn.
    pub used: Option<f64>,
    /// The same in the provider's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<AmountView>,
    /// When its window ends.
    #[serde(with = "time_text::option")]
    pub resets_at: Option<Timestamp>,
    /// `unknown`, `ok`, `warning` or `exhausted`.
    pub status: String,
    /// `primary`, `secondary`, `gate` or `shown`: the part that it plays in selection.
    pub role: String,
}

/// An amount in a provider's unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmountView {
    /// How much is used.
    pub used: Option<f64>,
    /// How much there is.
    pub limit: Option<f64>,
    /// How much is left.
    pub remaining: Option<f64>,
    /// The unit.
    pub unit: String,
}

impl LimitView {
    /// A limit as it stands at `now`.
    pub fn at(limit: &Limit, now: Timestamp) -> Self {
        let limit = limit.as_of(now);
        let (used, status) = (limit.fraction(now), limit.status_at(now));
        let Limit { id, label, scope, window, used: _, amount, resets_at, status: _, role } = limit;
        let amount = amount.map(|Amount { used, limit, remaining, unit }| AmountView { used, limit, remaining, unit });
        Self {
            id,
            label,
            scope: scope.to_string(),
            window_s: window.map(|window| window.as_secs()),
            used,
            amount,
            resets_at,
            status: status.as_str().to_owned(),
            role: role_word(role).to_owned(),
        }
    }

    /// Whether nothing is left of it.
    pub fn is_exhausted(&self) -> bool {
        self.status == LimitStatus::Exhausted.as_str()
    }
}

/// The word of a role in output.
pub const fn role_word(role: LimitRole) -> &'static str {
    match role {
        LimitRole::Primary => "primary",
        LimitRole::Secondary => "secondary",
        LimitRole::Gate => "gate",
        LimitRole::Shown => "shown",
    }
}

/// The word of a source in output.
pub const fn source_word(source: UsageSource) -> &'static str {
    match source {
        UsageSource::Headers => "headers",
        UsageSource::Endpoint => "endpoint",
    }
}

/// How one limit of one account went, an hour a point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageSeries {
    /// The account.
    pub account: i64,
    /// Its provider.
    pub provider: String,
    /// The limit's id.
    pub limit: String,
    /// Its name for people.
    pub label: String,
    /// Oldest first, at most one an hour.
    pub points: Vec<UsagePoint>,
}

/// What was told last within one hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsagePoint {
    /// When.
    #[serde(with = "time_text")]
    pub at: Timestamp,
    /// The used fraction.
    pub used: Option<f64>,
    /// `unknown`, `ok`, `warning` or `exhausted`.
    pub status: String,
    /// When the window was to end.
    #[serde(with = "time_text::option")]
    pub resets_at: Option<Timestamp>,
}

/// What was left of a limit when its window ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WasteView {
    /// The account.
    pub account: i64,
    /// Its provider.
    pub provider: String,
    /// The limit's id.
    pub limit: String,
    /// Its name for people.
    pub label: String,
    /// The fraction that nobody used, from 0 to 1.
    pub unused: f64,
    /// When the window ended.
    #[serde(with = "time_text")]
    pub ended_at: Timestamp,
    /// When its use was told last before that: what was used between the two is not in it.
    #[serde(with = "time_text")]
    pub observed_at: Timestamp,
}

/// What was paid for requests of one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostView {
    /// Its provider.
    pub provider: String,
    /// The account; absent for requests with a key that is stored nowhere.
    pub account: Option<i64>,
    /// How many requests had a price.
    pub requests: u64,
    /// Their sum in US dollars.
    pub cost_usd: f64,
}
