//! Google's code assistants: quotas by model for Gemini CLI, and by counter for Antigravity.

use super::node::{Node, ParseFault, slug};
use super::shape::{DAY, FIVE_HOURS, Found, WEEK, amount, limit};
use claviger_domain::block::BlockScope;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole};
use std::time::Duration;

/// Gemini CLI: `buckets[]`, each of one model. Where a model has several, the fullest counts.
pub(super) fn parse_gemini_cli(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let mut limits: Vec<Limit> = Vec::new();
    for bucket in root.at("buckets").items()? {
        let Some(model) = bucket.at("modelId").word()? else { continue };
        let Some(left) = bucket.at("remainingFraction").number()? else { continue };
        let found = Limit {
            scope: BlockScope::Model(model.clone()),
            used: Some(1.0 - left),
            resets_at: bucket.at("resetTime").time()?,
            ..limit(model.clone(), model, LimitRole::Primary)
        };
        match limits.iter_mut().find(|known| known.id == found.id) {
            Some(known) if known.used < found.used => *known = found,
            Some(_) => {}
            None => limits.push(found),
        }
    }
    Ok(Found::of(limits))
}

/// Antigravity: `groups[].buckets[]` or `buckets[]`; the older answer lists `models` instead.
pub(super) fn parse_antigravity(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    let mut limits = Vec::new();
    for group in root.at("groups").items()? {
        let name = group.first(&["displayName", "name"]).word()?;
        for bucket in group.at("buckets").items()? {
            limits.extend(bucket_limits(&bucket, name.as_deref())?);
        }
    }
    for bucket in root.at("buckets").items()? {
        limits.extend(bucket_limits(&bucket, None)?);
    }
    for (model, told) in root.at("models").entries()? {
        limits.extend(model_limit(model, &told)?);
    }
    Ok(Found::of(limits))
}

/// One limit for each counter that the bucket feeds: models of other vendors share one bucket.
fn bucket_limits(bucket: &Node<'_>, group: Option<&str>) -> Result<Vec<Limit>, ParseFault> {
    let Some(id) = bucket.at("bucketId").word()? else { return Ok(Vec::new()) };
    if bucket.at("disabled").flag()? == Some(true) {
        return Ok(Vec::new());
    }
    let label = bucket.at("displayName").word()?.unwrap_or_else(|| id.clone());
    let window = bucket.at("window").text()?.and_then(window_of);
    let used = bucket.at("remainingFraction").number()?.map(|left| 1.0 - left);
    let left = bucket.at("remainingAmount").number()?;
    let resets_at = bucket.at("resetTime").time()?;
    let one = |counter: &str, id: String| Limit {
        scope: BlockScope::Tier(counter.to_owned()),
        window: Some(window.unwrap_or(DAY)),
        used,
        amount: amount(None, None, left, "requests"),
        resets_at,
        ..limit(id, label.clone(), LimitRole::Primary)
    };
    let counters = counters_of(&id, group.unwrap_or_default());
    Ok(counters.iter().map(|counter| one(counter, format!("{id}:{counter}"))).collect())
}

/// The counters that a bucket feeds, by its id or the name of its group.
fn counters_of(id: &str, group: &str) -> &'static [&'static str] {
    let (id, group) = (slug(id), slug(group));
    let foreign = |text: &str| text.contains("claude") || text.contains("gpt");
    if id.starts_with("gemini") {
        &["google"]
    } else if id.starts_with("3p") || foreign(&id) || foreign(&group) {
        &["anthropic", "openai"]
    } else if group.contains("gemini") {
        &["google"]
    } else {
        &["unknown"]
    }
}

fn window_of(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    let says = |words: [&str; 2]| words.iter().any(|word| text.contains(word));
    if says(["week", "7d"]) {
        Some(WEEK)
    } else if text.contains("5h") {
        Some(FIVE_HOURS)
    } else if says(["day", "24h"]) || text.contains("daily") {
        Some(DAY)
    } else {
        None
    }
}

/// The older answer leaves out a fraction of zero: a reset without a fraction is an exhausted model.
fn model_limit(model: &str, told: &Node<'_>) -> Result<Option<Limit>, ParseFault> {
    let quota = told.at("quotaInfo").object()?;
    let resets_at = quota.at("resetTime").time()?;
    let left = quota.at("remainingFraction").number()?.or(resets_at.map(|_| 0.0));
    let model = super::node::word(model);
    Ok(left.map(|left| Limit {
        scope: BlockScope::Model(model.clone()),
        window: Some(DAY),
        used: Some(1.0 - left),
        resets_at,
        ..limit(model.clone(), model.clone(), LimitRole::Primary)
    }))
}
