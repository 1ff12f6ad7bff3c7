//! GitHub Copilot: monthly quotas, and the windows of five hours and seven days that only headers tell.
//!
//! The headers are read here, since each holds several values in the form of a query string.

use super::node::{Node, ParseFault, written_time};
use super::shape::{FIVE_HOURS, Found, MONTH, WEEK, amount, limit, plan};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{EXHAUSTED_FROM, Limit, LimitRole, LimitStatus};
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use std::time::Duration;

/// Quotas of the month, by their member in the answer.
const QUOTAS: [(&str, &str, &str); 3] = [
    ("premium_interactions", "premium", "Copilot premium requests"),
    ("chat", "chat", "Copilot chat"),
    ("completions", "completions", "Copilot completions"),
];

pub(super) fn parse(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let resets_at = root.at("quota_reset_date").time()?;
    let snapshots = root.at("quota_snapshots").object()?;
    let mut limits = Vec::new();
    for (member, id, label) in QUOTAS {
        let told = snapshots.at(member).object()?;
        if told.is_there() {
            limits.push(Limit { window: Some(MONTH), resets_at, ..quota(&told, id, label)? });
        }
    }
    Ok(Found { limits, plan: plan(&root.at("copilot_plan"))? })
}

fn quota(told: &Node<'_>, id: &str, label: &str) -> Result<Limit, ParseFault> {
    let empty = limit(id, label, LimitRole::Shown);
    if told.at("unlimited").flag()? == Some(true) {
        return Ok(Limit { used: Some(0.0), status: LimitStatus::Ok, ..empty });
    }
    let (entitlement, remaining) = (told.at("entitlement").number()?, told.at("remaining").number()?);
    let used = told.at("percent_remaining").percent()?.map(|left| 1.0 - left);
    let overage = told.at("overage_permitted").flag()? == Some(true);
    Ok(Limit { used, amount: amount(None, entitlement, remaining, "requests"), status: paid_beyond(used, overage), ..empty })
}

/// Beyond the quota requests are served where the account pays for them.
fn paid_beyond(used: Option<f64>, overage: bool) -> LimitStatus {
    if overage && used >= Some(EXHAUSTED_FROM) { LimitStatus::Warning } else { LimitStatus::Unknown }
}

/// A header: its name, the limit's id and label, the window's length and the role.
struct Snapshot {
    header: &'static str,
    id: &'static str,
    label: &'static str,
    window: Duration,
    role: LimitRole,
}

const SNAPSHOTS: [Snapshot; 5] = [
    Snapshot { header: "x-usage-ratelimit-session", id: "session", label: "Copilot 5 hours", window: FIVE_HOURS, role: LimitRole::Gate },
    Snapshot { header: "x-usage-ratelimit-weekly", id: "weekly", label: "Copilot 7 days", window: WEEK, role: LimitRole::Gate },
    Snapshot {
        header: "x-quota-snapshot-premium_interactions",
        id: "premium",
        label: "Copilot premium requests",
        window: MONTH,
        role: LimitRole::Shown,
    },
    Snapshot {
        header: "x-quota-snapshot-premium_models",
        id: "premium",
        label: "Copilot premium requests",
        window: MONTH,
        role: LimitRole::Shown,
    },
    Snapshot { header: "x-quota-snapshot-chat", id: "chat", label: "Copilot chat", window: MONTH, role: LimitRole::Shown },
];

/// What the snapshots in the headers tell.
pub(super) fn headers(headers: &HeaderMap, limits: &mut Vec<Limit>) {
    for snapshot in &SNAPSHOTS {
        let found = headers.get(snapshot.header).and_then(|value| value.to_str().ok()).and_then(|text| read(snapshot, text));
        limits.extend(found);
    }
}

/// `ent=300&rem=29.7&rst=2026-05-01T00%3A00%3A00Z&ov=0.0&ovPerm=false`: entitlement, percent remaining, reset, overage.
fn read(snapshot: &Snapshot, text: &str) -> Option<Limit> {
    let value = |key: &str| {
        let pair = text.split('&').find_map(|pair| pair.trim().strip_prefix(key)?.strip_prefix('='));
        pair.and_then(|raw| percent_decode_str(raw).decode_utf8().ok())
    };
    let number = |key: &str| value(key)?.parse::<f64>().ok().filter(|number| number.is_finite());
    let entitlement = number("ent");
    let unlimited = entitlement == Some(-1.0);
    let used = if unlimited { 0.0 } else { 1.0 - number("rem")? / 100.0 };
    let overage = value("ovPerm").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let entitlement = entitlement.filter(|entitlement| *entitlement > 0.0);
    Some(Limit {
        window: Some(snapshot.window),
        used: Some(used),
        amount: amount(None, entitlement, entitlement.map(|entitlement| entitlement * (1.0 - used)), "requests"),
        resets_at: value("rst").and_then(|text| written_time(&text)),
        status: if unlimited { LimitStatus::Ok } else { paid_beyond(Some(used), overage) },
        ..limit(snapshot.id, snapshot.label, snapshot.role)
    })
}
