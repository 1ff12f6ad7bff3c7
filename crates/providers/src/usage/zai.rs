//! GLM coding plans of Z.AI: tokens, requests and credits, each in one or more windows.

use super::node::{Node, ParseFault};
use super::shape::{DAY, Found, HOUR, MONTH, WEEK, amount, limit, plan, window_name};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole};
use std::time::Duration;

/// The tools whose common allowance is no gate for models.
const TOOLS: [&str; 3] = ["search-prime", "web-reader", "zread"];
const REQUESTS: &str = "requests:";

pub(super) fn parse(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    // Failures come with status 200 and say so inside.
    if root.at("success").flag()? == Some(false) {
        return Err(root.at("success").refused());
    }
    if root.at("code").number()?.is_some_and(|code| code.abs() > 0.5 && (code - 200.0).abs() > 0.5) {
        return Err(root.at("code").refused());
    }
    let data = root.at("data").required()?;
    let mut limits = Vec::new();
    for row in data.at("limits").items()? {
        limits.extend(one(&row)?);
    }
    rank(&mut limits);
    Ok(Found { limits, plan: plan(&data.at("level"))? })
}

fn one(row: &Node<'_>) -> Result<Option<Limit>, ParseFault> {
    let (kind, unit) = match row.at("type").text()? {
        Some("TOKENS_LIMIT") => ("tokens", "tokens"),
        Some("TIME_LIMIT") if is_tools(row)? => ("features:zread", "requests"),
        Some("TIME_LIMIT") => ("requests", "requests"),
        Some("CREDIT_LIMIT") => ("credits", "credits"),
        _ => return Ok(None),
    };
    let (window, name) = window(row)?;
    let role = if kind == "features:zread" { LimitRole::Shown } else { LimitRole::Gate };
    let (used, size, left) = (row.at("currentValue").number()?, row.at("usage").number()?, row.at("remaining").number()?);
    Ok(Some(Limit {
        window,
        used: row.at("percentage").percent()?,
        amount: amount(used, size, left, unit),
        resets_at: row.at("nextResetTime").time()?,
        ..limit(format!("{kind}:{name}"), format!("Z.AI {} {name}", kind.trim_start_matches("features:")), role)
    }))
}

fn is_tools(row: &Node<'_>) -> Result<bool, ParseFault> {
    let mut found = Vec::new();
    for detail in row.at("usageDetails").items()?.iter().chain(&row.at("details").items()?) {
        found.extend(detail.first(&["modelCode", "code", "name"]).text()?);
    }
    Ok(TOOLS.iter().all(|tool| found.contains(tool)))
}

fn window(row: &Node<'_>) -> Result<(Option<Duration>, String), ParseFault> {
    let count = row.at("number").number()?.filter(|count| (1.0..=1000.0).contains(count)).unwrap_or(1.0);
    let unit = match row.at("unit").number()?.map(f64::round) {
        Some(3.0) => HOUR,
        Some(4.0) => DAY,
        Some(5.0) => MONTH,
        Some(6.0) => WEEK,
        _ => return Ok((None, "other".to_owned())),
    };
    let window = unit.mul_f64(count);
    Ok((Some(window), window_name(window).unwrap_or_else(|| "other".to_owned())))
}

/// The shortest window orders first and the next one second: of requests where there are any, else of everything that
/// gates; of several in one window the fullest.
fn rank(limits: &mut [Limit]) {
    let any_requests = limits.iter().any(|limit| limit.id.starts_with(REQUESTS));
    let mut candidates: Vec<&mut Limit> = limits
        .iter_mut()
        .filter(|limit| limit.role == LimitRole::Gate && limit.window.is_some() && (!any_requests || limit.id.starts_with(REQUESTS)))
        .collect();
    candidates.sort_by(|a, b| a.window.cmp(&b.window).then(b.used.unwrap_or(0.0).total_cmp(&a.used.unwrap_or(0.0))));
    candidates.dedup_by(|b, a| a.window == b.window);
    for (limit, role) in candidates.into_iter().zip([LimitRole::Primary, LimitRole::Secondary]) {
        limit.role = role;
    }
}
