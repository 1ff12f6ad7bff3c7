//! Kimi Code subscriptions: a window of five hours, a weekly one, and totals of the month.

use super::node::{Node, ParseFault, word};
use super::shape::{DAY, FIVE_HOURS, Found, HOUR, MONTH, WEEK, amount, limit, window_name};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole};
use std::time::Duration;

const RESETS: [&str; 4] = ["reset_at", "resetAt", "reset_time", "resetTime"];
const RESETS_IN: [&str; 4] = ["reset_in", "resetIn", "ttl", "window"];

pub(super) fn parse(root: &Node<'_>, now: Timestamp) -> Result<Found, ParseFault> {
    let mut limits = Vec::new();
    let weekly = root.at("usage").object()?;
    if weekly.is_there() {
        limits.push(Limit { window: Some(WEEK), ..counted(&weekly, limit("7d", "Weekly limit", LimitRole::Secondary), now)? });
    }
    for row in root.at("limits").items()? {
        let window = length(&row.at("window").object()?)?;
        let name = window.and_then(window_name);
        let role = if window == Some(FIVE_HOURS) { LimitRole::Primary } else { LimitRole::Shown };
        let id = name.as_deref().unwrap_or("other").to_owned();
        let label = name.map_or_else(|| "Limit".to_owned(), |name| format!("{name} limit"));
        // The end stands beside the numbers, not beside the length.
        limits.push(Limit { window, ..counted(&row.at("detail").required()?, limit(id, label, role), now)? });
    }
    let total = root.at("totalQuota").object()?;
    if total.is_there() {
        limits.push(counted(&total, limit("total", "Total quota", LimitRole::Shown), now)?);
    }
    for (key, told) in root.at("usages").entries()? {
        limits.extend(ratio(key, &told, now)?);
    }
    Ok(Found::of(limits))
}

fn counted(told: &Node<'_>, empty: Limit, now: Timestamp) -> Result<Limit, ParseFault> {
    let (used, size, left) = (told.at("used").number()?, told.at("limit").number()?, told.at("remaining").number()?);
    Ok(Limit { amount: amount(used, size, left, "requests"), resets_at: reset(told, now)?, ..empty })
}

/// A month's share by key; the five-hour one says the same as the list of limits.
fn ratio(key: &str, told: &Node<'_>, now: Timestamp) -> Result<Option<Limit>, ParseFault> {
    let Some(used) = told.at("used_ratio").number()? else { return Ok(None) };
    if key == "limit_5h" {
        return Ok(None);
    }
    let key = word(key);
    let window = key.contains("month").then_some(MONTH);
    let resets_at = told.at("reset").time()?.or(reset(told, now)?);
    Ok(Some(Limit { window, used: Some(used), resets_at, ..limit(key.clone(), key.replace('_', " "), LimitRole::Shown) }))
}

fn reset(told: &Node<'_>, now: Timestamp) -> Result<Option<Timestamp>, ParseFault> {
    if let Some(at) = told.first(&RESETS).time()? {
        return Ok(Some(at));
    }
    Ok(told.first(&RESETS_IN).seconds()?.map(|after| now.plus(after)))
}

fn length(window: &Node<'_>) -> Result<Option<Duration>, ParseFault> {
    let unit = match window.at("timeUnit").text()? {
        Some("TIME_UNIT_SECOND") => Duration::from_secs(1),
        Some("TIME_UNIT_MINUTE") => Duration::from_mins(1),
        Some("TIME_UNIT_HOUR") => HOUR,
        Some("TIME_UNIT_DAY") => DAY,
        _ => return Ok(None),
    };
    let count = window.at("duration").number()?.filter(|count| *count > 0.0);
    Ok(count.and_then(|count| Duration::try_from_secs_f64(unit.as_secs_f64() * count).ok()))
}
