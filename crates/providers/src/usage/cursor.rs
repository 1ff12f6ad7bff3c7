//! Cursor: requests of the month by bucket, and the shares of the plan that its web page tells.

use super::node::{Node, ParseFault, slug, word};
use super::shape::{Found, MONTH, amount, limit};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole};

const RESETS: [&str; 4] = ["billingCycleEnd", "endOfMonth", "resetsAt", "nextReset"];

/// Both answers, of which either may come alone. Cents are shown as dollars.
pub(super) fn parse(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let resets_at = reset(root)?;
    let mut limits = Vec::new();
    for (name, bucket) in root.clone().required()?.entries()? {
        limits.extend(requests(name, &bucket)?);
    }
    let individual = root.at("individualUsage").object()?;
    let plan = individual.at("plan").object()?;
    for (member, id, label) in [
        ("autoPercentUsed", "usd:individual-auto", "Cursor auto"),
        ("apiPercentUsed", "usd:individual-api", "Cursor API"),
        ("totalPercentUsed", "usd:individual-plan", "Cursor plan"),
    ] {
        let used = plan.at(member).percent()?;
        limits.extend(used.map(|used| Limit { used: Some(used), ..limit(id, label, LimitRole::Shown) }));
    }
    for (member, id, label) in
        [("overall", "usd:individual-overall", "Cursor overall"), ("onDemand", "usd:individual-ondemand", "Cursor on demand")]
    {
        let told = individual.at(member).object()?;
        let dollars = |key: &str| Ok::<_, ParseFault>(told.at(key).number()?.map(|cents| cents / 100.0));
        let amount = amount(dollars("used")?, dollars("limit")?, None, "usd");
        limits.extend(amount.map(|amount| Limit { amount: Some(amount), ..limit(id, label, LimitRole::Shown) }));
    }
    for limit in &mut limits {
        limit.window = Some(MONTH);
        limit.resets_at = resets_at;
    }
    Ok(Found::of(limits))
}

/// A bucket of requests; without an end it is only counted.
fn requests(name: &str, bucket: &Node<'_>) -> Result<Option<Limit>, ParseFault> {
    let Ok(bucket) = bucket.clone().object() else { return Ok(None) };
    let Some(used) = bucket.at("numRequests").number()? else { return Ok(None) };
    let size = bucket.at("maxRequestUsage").number()?;
    Ok(Some(Limit {
        amount: amount(Some(used), size, None, "requests"),
        ..limit(format!("requests:{}", slug(name)), format!("Cursor requests {}", word(name)), LimitRole::Shown)
    }))
}

/// The end of the month of billing; where only its begin is told, a month later.
fn reset(root: &Node<'_>) -> Result<Option<Timestamp>, ParseFault> {
    if let Some(at) = root.first(&RESETS).time()? {
        return Ok(Some(at));
    }
    let start = root.at("startOfMonth").time()?.and_then(|start| jiff::Timestamp::from_millisecond(start.0).ok());
    let end = start.and_then(|start| start.to_zoned(jiff::tz::TimeZone::UTC).checked_add(jiff::Span::new().months(1)).ok());
    Ok(end.map(|end| Timestamp(end.timestamp().as_millisecond())))
}
