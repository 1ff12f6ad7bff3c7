//! SuperGrok and X Premium+: weekly credits, shares of single products, what a month includes, and what is paid on demand.

use super::node::{Node, ParseFault, slug};
use super::shape::{Found, MONTH, WEEK, amount, limit};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{EXHAUSTED_FROM, Limit, LimitRole, LimitStatus};

pub(super) fn parse(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let config = root.at("config").required()?;
    let on_demand = [value(&config, "onDemandUsed")?, value(&config, "onDemandCap")?];
    let pays = matches!(on_demand, [used, Some(cap)] if used.unwrap_or(0.0) < cap);
    let mut limits = Vec::new();
    limits.extend(credits(&config, pays)?);
    for row in config.at("productUsage").items()? {
        let name = row.first(&["product", "productName", "name"]).word()?;
        let (Some(name), Some(used)) = (name, row.at("usagePercent").percent()?) else { continue };
        let id = format!("product:{}:1w", slug(&name));
        limits.push(Limit { window: Some(WEEK), used: Some(used), ..limit(id, name, LimitRole::Shown) });
    }
    let size = value(&config, "monthlyLimit")?;
    if size.is_some() {
        limits.push(Limit {
            window: Some(MONTH),
            amount: amount(value(&config, "used")?, size, None, "credits"),
            resets_at: config.at("billingPeriodEnd").time()?,
            ..limit("included:1mo", "Grok included", LimitRole::Shown)
        });
    }
    let [used, cap] = on_demand;
    limits.extend(amount(used, cap, None, "credits").map(|amount| Limit {
        amount: Some(amount),
        // Without a cap above zero nothing is paid on demand, which is no limit that was hit.
        status: LimitStatus::Ok,
        ..limit("on-demand", "Grok on demand", LimitRole::Shown)
    }));
    Ok(Found::of(limits))
}

/// The week's credits. A fresh week tells its period and no use.
fn credits(config: &Node<'_>, pays: bool) -> Result<Option<Limit>, ParseFault> {
    let period = config.at("currentPeriod").object()?;
    let told = config.at("creditUsagePercent").percent()?;
    let Some(used) = told.or(period.is_there().then_some(0.0)) else { return Ok(None) };
    let status = if used >= EXHAUSTED_FROM && pays { LimitStatus::Warning } else { LimitStatus::Unknown };
    Ok(Some(Limit {
        window: Some(WEEK),
        used: Some(used),
        resets_at: period.at("end").time()?,
        status,
        ..limit("credits:1w", "Grok credits", LimitRole::Gate)
    }))
}

/// Whether the month's part must be asked for besides: only for accounts whose billing is one for all products.
pub(super) fn wants_month(root: &Node<'_>) -> bool {
    matches!(root.at("config").at("isUnifiedBillingUser").flag(), Ok(Some(true)))
}

/// Amounts stand in an object of their own.
fn value(config: &Node<'_>, key: &str) -> Result<Option<f64>, ParseFault> {
    config.at(key).object()?.at("val").number()
}
