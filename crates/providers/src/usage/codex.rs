//! ChatGPT subscriptions: a short and a long window, more of them for some models, and credits that pay beyond.
//!
//! The headers are read here and not by the catalogue's taps alone, since their names are built from ids of limits.

use super::node::{Node, ParseFault, slug, word};
use super::shape::{Found, amount, limit, plan};
use claviger_domain::block::BlockScope;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{EXHAUSTED_FROM, Limit, LimitRole, LimitStatus};
use http::{HeaderMap, StatusCode};
use std::time::Duration;

const WINDOWS: [(&str, LimitRole); 2] = [("primary", LimitRole::Primary), ("secondary", LimitRole::Secondary)];

pub(super) fn parse(root: &Node<'_>, now: Timestamp) -> Result<Found, ParseFault> {
    let funded = funded(root)?;
    let mut limits = meter(&root.at("rate_limit").object()?, None, funded, now)?;
    for row in root.at("additional_rate_limits").items()? {
        let names = [row.at("metered_feature").word()?, row.at("limit_name").word()?];
        if let Some(tier) = tier_of(names.iter().flatten().map(String::as_str)) {
            let [feature, name] = names;
            let named = Named { label: name.or(feature).unwrap_or_default(), tier };
            limits.extend(meter(&row.at("rate_limit").object()?, Some(&named), funded, now)?);
        }
    }
    let balance = root.at("credits").object()?.at("balance").number()?;
    limits.extend(balance.map(credits));
    Ok(Found { limits, plan: plan(&root.at("plan_type"))? })
}

/// A meter beside the common one.
struct Named {
    label: String,
    tier: String,
}

fn window_limit(window: &str, role: LimitRole, named: Option<&Named>) -> Limit {
    match named {
        None => limit(window, format!("Codex {window}"), role),
        Some(Named { label, tier }) => {
            Limit { scope: BlockScope::Tier(tier.clone()), ..limit(format!("{tier}:{window}"), format!("{label} {window}"), role) }
        }
    }
}

/// The windows of one meter. What the provider says of the meter as a whole goes over 100 %, in both directions.
fn meter(node: &Node<'_>, named: Option<&Named>, funded: bool, now: Timestamp) -> Result<Vec<Limit>, ParseFault> {
    let allowed = node.at("allowed").flag()?;
    let reached = node.at("limit_reached").flag()?.or(allowed.map(|allowed| !allowed));
    let serves = (allowed == Some(true) && reached != Some(true)) || (reached == Some(true) && funded);
    let mut limits = Vec::new();
    for (window, role) in WINDOWS {
        let told = node.at(&format!("{window}_window")).object()?;
        let Some(used) = told.at("used_percent").percent()? else { continue };
        let after = told.at("reset_after_seconds").seconds()?.map(|after| now.plus(after));
        limits.push(Limit {
            used: Some(used),
            window: told.at("limit_window_seconds").seconds()?,
            resets_at: told.at("reset_at").time()?.or(after),
            status: if used >= EXHAUSTED_FROM && serves { LimitStatus::Warning } else { LimitStatus::Unknown },
            ..window_limit(window, role, named)
        });
    }
    let none_full = !limits.iter().any(|limit| limit.used >= Some(EXHAUSTED_FROM));
    if reached == Some(true) && !funded && none_full {
        let fullest = limits.iter_mut().max_by(|a, b| a.used.unwrap_or(0.0).total_cmp(&b.used.unwrap_or(0.0)));
        if let Some(fullest) = fullest {
            fullest.status = LimitStatus::Exhausted;
        }
    }
    Ok(limits)
}

/// Whether credits still pay for what goes beyond the windows.
fn funded(root: &Node<'_>) -> Result<bool, ParseFault> {
    let credits = root.at("credits").object()?;
    let has = credits.at("unlimited").flag()? == Some(true)
        || (credits.at("has_credits").flag()? == Some(true) && credits.at("balance").number()?.is_none_or(|balance| balance > 0.0));
    let stopped =
        credits.at("overage_limit_reached").flag()? == Some(true) || root.at("spend_control").object()?.at("reached").flag()? == Some(true);
    Ok(has && !stopped)
}

fn credits(balance: f64) -> Limit {
    Limit {
        amount: amount(None, None, Some(balance), "credits"),
        // An empty balance is no limit that was hit: most plans have none.
        status: LimitStatus::Ok,
        ..limit("credits", "Codex credits", LimitRole::Shown)
    }
}

/// The tier that a meter covers, by its names; the one model family with several names has one tier.
fn tier_of<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let slugs: Vec<String> = names.map(slug).filter(|slug| !slug.is_empty()).collect();
    let is_spark = slugs.iter().any(|slug| slug.contains("spark") || slug.contains("bengalfox"));
    if is_spark { Some("spark".to_owned()) } else { slugs.into_iter().next() }
}

/// The windows that the headers tell, of the common meter and of all others.
///
/// On success nothing is exhausted: at 100 % the provider has just served.
pub(super) fn headers(status: StatusCode, headers: &HeaderMap, limits: &mut Vec<Limit>) {
    for name in headers.keys() {
        let Some(rest) = name.as_str().strip_prefix("x-") else { continue };
        for (window, role) in WINDOWS {
            let meter =
                rest.strip_suffix("-used-percent").and_then(|rest| rest.strip_suffix(window)).and_then(|rest| rest.strip_suffix('-'));
            let found = meter.and_then(|meter| header_window(headers, meter, window, role));
            limits.extend(found.filter(|found| !limits.iter().any(|limit| limit.id == found.id)));
        }
    }
    let balance = text(headers, "x-codex-credits-balance").and_then(|text| text.parse::<f64>().ok());
    limits.extend(balance.filter(|balance| balance.is_finite()).map(credits));
    for limit in limits.iter_mut().filter(|limit| status.is_success() && limit.used >= Some(EXHAUSTED_FROM)) {
        limit.status = LimitStatus::Warning;
    }
}

fn header_window(headers: &HeaderMap, meter: &str, window: &str, role: LimitRole) -> Option<Limit> {
    let number = |what: &str| text(headers, &format!("x-{meter}-{window}-{what}")).and_then(|text| text.parse::<f64>().ok());
    let used = number("used-percent").filter(|used| used.is_finite())?;
    let named = if meter == "codex" {
        None
    } else {
        let name = text(headers, &format!("x-{meter}-limit-name"));
        let tier = tier_of([Some(meter), name].into_iter().flatten())?;
        Some(Named { label: word(name.unwrap_or(meter)), tier })
    };
    let length = number("window-minutes").and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
    let resets_at = number("reset-at").and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(|since| Timestamp(0).plus(since));
    Some(Limit {
        used: Some(used / 100.0),
        window: length,
        resets_at: resets_at.filter(|at| *at > Timestamp(0)),
        ..window_limit(window, role, named.as_ref())
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}
