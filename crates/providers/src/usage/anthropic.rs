//! Claude subscriptions: the shared windows of five hours and seven days, the weekly ones of single models, and what is paid extra.

use super::node::{Node, ParseFault, slug};
use super::shape::{FIVE_HOURS, Found, WEEK, amount, limit};
use claviger_domain::block::BlockScope;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{EXHAUSTED_FROM, Limit, LimitRole, LimitStatus};
use std::time::Duration;

/// A fixed window: its member, the kind in the list beside it, id, label, length, tier and role.
struct Window {
    member: &'static str,
    kind: Option<&'static str>,
    id: &'static str,
    label: &'static str,
    length: Duration,
    tier: Option<&'static str>,
    role: LimitRole,
}

const WINDOWS: [Window; 4] = [
    Window {
        member: "five_hour",
        kind: Some("session"),
        id: "5h",
        label: "Claude 5 Hour",
        length: FIVE_HOURS,
        tier: None,
        role: LimitRole::Primary,
    },
    Window {
        member: "seven_day",
        kind: Some("weekly_all"),
        id: "7d",
        label: "Claude 7 Day",
        length: WEEK,
        tier: None,
        role: LimitRole::Secondary,
    },
    Window {
        member: "seven_day_opus",
        kind: None,
        id: "7d:opus",
        label: "Claude 7 Day (Opus)",
        length: WEEK,
        tier: Some("opus"),
        role: LimitRole::Secondary,
    },
    Window {
        member: "seven_day_sonnet",
        kind: None,
        id: "7d:sonnet",
        label: "Claude 7 Day (Sonnet)",
        length: WEEK,
        tier: Some("sonnet"),
        role: LimitRole::Secondary,
    },
];

pub(super) fn parse(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let rows = root.at("limits").items()?;
    let mut limits = Vec::new();
    for window in &WINDOWS {
        limits.extend(fixed(root, &rows, window)?);
    }
    for row in &rows {
        limits.extend(scoped(row)?);
    }
    limits.extend(extra(root)?);
    Ok(Found::of(limits))
}

fn fixed(root: &Node<'_>, rows: &[Node<'_>], window: &Window) -> Result<Option<Limit>, ParseFault> {
    let member = root.at(window.member).object()?;
    let mut used = member.at("utilization").percent()?;
    let mut resets_at = member.at("resets_at").time()?;
    if let (None, Some(kind)) = (used, window.kind) {
        for row in rows {
            if row.at("kind").text()? == Some(kind) {
                used = row.at("percent").percent()?;
                resets_at = row.at("resets_at").time()?;
            }
        }
    }
    Ok(used.map(|used| Limit {
        window: Some(window.length),
        scope: window.tier.map_or(BlockScope::Account, |tier| BlockScope::Tier(tier.to_owned())),
        used: Some(used),
        resets_at,
        ..limit(window.id, window.label, window.role)
    }))
}

/// A weekly window of one model. `is_active` marks only the window that binds now and is not asked.
///
/// Such a window at 100 % without an end has been seen to serve on, so that it warns and does not gate.
fn scoped(row: &Node<'_>) -> Result<Option<Limit>, ParseFault> {
    if row.at("kind").text()? != Some("weekly_scoped") {
        return Ok(None);
    }
    let model = row.at("scope").object()?.at("model").object()?;
    let (Some(name), Some(used)) = (model.at("display_name").word()?, row.at("percent").percent()?) else { return Ok(None) };
    let tier = slug(&name);
    let resets_at = row.at("resets_at").time()?;
    let status = if used >= EXHAUSTED_FROM && resets_at.is_none() { LimitStatus::Warning } else { LimitStatus::Unknown };
    Ok((!tier.is_empty()).then(|| Limit {
        window: Some(WEEK),
        used: Some(used),
        resets_at,
        status,
        scope: BlockScope::Tier(tier.clone()),
        ..limit(format!("7d:{tier}"), format!("Claude 7 Day ({name})"), LimitRole::Secondary)
    }))
}

/// What is paid beyond the plan, in the older and the newer form. It is shown and gates nothing.
fn extra(root: &Node<'_>) -> Result<Option<Limit>, ParseFault> {
    let spend = root.at("spend").object()?;
    let older = root.at("extra_usage").object()?;
    let (used, cap) = if spend.at("enabled").flag()? == Some(true) {
        (minor(&spend.at("used").object()?)?, minor(&spend.at("limit").object()?)?)
    } else if older.at("is_enabled").flag()? == Some(true) {
        let whole = power_of_ten(older.at("decimal_places").number()?);
        let in_whole = |node: Node<'_>| Ok::<_, ParseFault>(node.number()?.map(|minor| minor / whole));
        (in_whole(older.at("used_credits"))?, in_whole(older.at("monthly_limit"))?)
    } else {
        return Ok(None);
    };
    Ok(Some(Limit { amount: amount(used, cap, None, "usd"), ..limit("extra", "Claude Extra Usage", LimitRole::Shown) }))
}

fn minor(node: &Node<'_>) -> Result<Option<f64>, ParseFault> {
    let whole = power_of_ten(node.at("exponent").number()?);
    Ok(node.at("amount_minor").number()?.map(|minor| minor / whole))
}

/// Money comes in hundredths where nothing else is said.
fn power_of_ten(exponent: Option<f64>) -> f64 {
    10_f64.powf(exponent.unwrap_or(2.0).clamp(0.0, 9.0))
}
