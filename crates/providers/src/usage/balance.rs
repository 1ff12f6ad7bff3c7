//! Money: balances and budgets of keys that are paid by use.

use super::node::{Node, ParseFault, slug};
use super::shape::{DAY, Found, MONTH, WEEK, amount, limit};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole, LimitStatus};
use std::time::Duration;

/// Moonshot bills in dollars here.
pub(super) fn parse_moonshot(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    moonshot(root, "usd")
}

/// Moonshot's installation in China bills in yuan.
pub(super) fn parse_moonshot_cn(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    moonshot(root, "cny")
}

/// Requests are refused once nothing is available. The voucher's and the cash part of it are shown.
fn moonshot(root: &Node<'_>, unit: &str) -> Result<Found, ParseFault> {
    let data = root.at("data").required()?;
    let mut limits = Vec::new();
    for (member, id, label, role) in [
        ("available_balance", "balance", "Moonshot balance", LimitRole::Gate),
        ("voucher_balance", "voucher", "Moonshot voucher", LimitRole::Shown),
        ("cash_balance", "cash", "Moonshot cash", LimitRole::Shown),
    ] {
        let left = data.at(member).number()?;
        // A part that is empty is no limit that was hit.
        let status = if role.gates() { LimitStatus::Unknown } else { LimitStatus::Ok };
        limits.extend(left.map(|left| Limit { amount: amount(None, None, Some(left), unit), status, ..limit(id, label, role) }));
    }
    Ok(Found::of(limits))
}

/// DeepSeek says itself whether requests are served; of several currencies one may be empty.
pub(super) fn parse_deepseek(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let status = match root.at("is_available").flag()? {
        Some(true) => LimitStatus::Ok,
        Some(false) => LimitStatus::Exhausted,
        None => return Err(ParseFault::Missing("is_available".to_owned())),
    };
    let mut limits = Vec::new();
    for row in root.at("balance_infos").items()? {
        let (Some(currency), Some(left)) = (row.at("currency").text()?.map(slug), row.at("total_balance").number()?) else { continue };
        limits.push(Limit {
            amount: amount(None, None, Some(left), &currency),
            status,
            ..limit(format!("balance:{currency}"), "DeepSeek balance", LimitRole::Gate)
        });
    }
    if limits.is_empty() {
        limits.push(Limit { status, ..limit("balance", "DeepSeek balance", LimitRole::Gate) });
    }
    Ok(Found::of(limits))
}

/// An OpenRouter key: its own limit, where it has one, and what it has spent.
pub(super) fn parse_openrouter(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let data = root.at("data").required()?;
    let (size, left) = (data.at("limit").number()?, data.at("limit_remaining").number()?);
    let used = size.zip(left).map(|(size, left)| size - left);
    let key = Limit {
        window: data.at("limit_reset").text()?.and_then(period),
        amount: amount(used, size, left, "usd"),
        status: if size.is_none() { LimitStatus::Ok } else { LimitStatus::Unknown },
        ..limit("key", "OpenRouter key limit", LimitRole::Gate)
    };
    let mut limits = vec![key];
    for (member, window) in [("usage", None), ("usage_daily", Some(DAY)), ("usage_weekly", Some(WEEK)), ("usage_monthly", Some(MONTH))] {
        if let Some(used) = data.at(member).number()? {
            let id = member.replace('_', ":");
            limits.push(Limit { window, amount: amount(Some(used), None, None, "usd"), ..limit(id, "OpenRouter spent", LimitRole::Shown) });
        }
    }
    let plan = data.at("is_free_tier").flag()?.map(|free| if free { "free" } else { "paid" }.to_owned());
    Ok(Found { limits, plan })
}

fn period(text: &str) -> Option<Duration> {
    match text {
        "daily" => Some(DAY),
        "weekly" => Some(WEEK),
        "monthly" => Some(MONTH),
        _ => None,
    }
}

/// A key of a LiteLLM proxy: what it has spent of its budget.
pub(super) fn parse_litellm(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let inner = root.at("info");
    let info = if inner.is_there() { inner.required()? } else { root.clone().required()? };
    let (spent, budget) = (info.at("spend").number()?, info.at("max_budget").number()?);
    let Some(spent) = spent else { return Err(ParseFault::Missing("spend".to_owned())) };
    Ok(Found::of(vec![Limit {
        window: info.at("budget_duration").text()?.and_then(budget_window),
        amount: amount(Some(spent), budget, None, "usd"),
        resets_at: info.at("budget_reset_at").time()?,
        status: if budget.is_none() { LimitStatus::Ok } else { LimitStatus::Unknown },
        ..limit("key", "LiteLLM key budget", LimitRole::Gate)
    }]))
}

/// `30s`, `30m`, `30h`, `30d`, `1mo`.
fn budget_window(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at_checked(digits)?;
    let unit_secs: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        "mo" => 2_592_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(unit_secs).map(Duration::from_secs)
}

/// Credits of a Vercel AI gateway.
pub(super) fn parse_vercel(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let (left, used) = (root.at("balance").number()?, root.at("total_used").number()?);
    let Some(left) = left else { return Err(ParseFault::Missing("balance".to_owned())) };
    Ok(Found::of(vec![Limit {
        amount: amount(used, None, Some(left), "usd"),
        ..limit("credits", "Vercel AI gateway credits", LimitRole::Gate)
    }]))
}
