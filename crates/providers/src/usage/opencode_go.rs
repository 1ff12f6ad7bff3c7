//! OpenCode Go: a rolling window of five hours, a weekly and a monthly one.

use super::node::{Node, ParseFault};
use super::shape::{FIVE_HOURS, Found, MONTH, WEEK, limit};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole, LimitStatus};
use std::time::Duration;

/// This provider's own client warns from here on.
const WARNING_FROM: f64 = 0.8;

/// Member, id, label, length, role. An exhausted month may still be served from the balance, so that it decides nothing.
const WINDOWS: [(&str, &str, &str, Duration, LimitRole); 3] = [
    ("rolling", "rolling-5h", "OpenCode Go 5 hours", FIVE_HOURS, LimitRole::Primary),
    ("weekly", "weekly", "OpenCode Go week", WEEK, LimitRole::Secondary),
    ("monthly", "monthly", "OpenCode Go month", MONTH, LimitRole::Shown),
];

/// All three windows, or nothing.
pub(super) fn parse(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let usage = root.at("usage").required()?;
    let mut limits = Vec::new();
    for (member, id, label, window, role) in WINDOWS {
        let told = usage.at(member).required()?;
        let used = told.at("percent").percent()?;
        let status = match (told.at("status").text()?, used) {
            (Some("rate-limited"), _) => LimitStatus::Exhausted,
            (Some("ok"), Some(used)) if used < WARNING_FROM => LimitStatus::Ok,
            (Some("ok"), _) => LimitStatus::Warning,
            _ => LimitStatus::Unknown,
        };
        limits.push(Limit { window: Some(window), used, resets_at: told.at("resetsAt").time()?, status, ..limit(id, label, role) });
    }
    Ok(Found::of(limits))
}
