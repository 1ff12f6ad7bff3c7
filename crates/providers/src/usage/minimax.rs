//! Token plans of MiniMax: an interval and a week for the plan as a whole and for single models.

use super::node::{Node, ParseFault};
use super::shape::{Found, WEEK, limit, window_name};
use claviger_domain::block::BlockScope;
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitRole, LimitStatus};
use std::time::Duration;

/// What the plan as a whole is called among the models.
const SHARED: &str = "general";

/// The provider's numbers for how a limit stands.
#[derive(Clone, Copy, PartialEq)]
enum Stand {
    Ok,
    Exhausted,
    Unlimited,
    Unknown,
}

pub(super) fn parse(root: &Node<'_>, _now: Timestamp) -> Result<Found, ParseFault> {
    // A bad key also answers with status 200.
    let code = root.at("base_resp").required()?.at("status_code");
    match code.number()? {
        Some(zero) if zero.abs() < 0.5 => {}
        Some(_) => return Err(code.refused()),
        None => return Err(ParseFault::Missing("base_resp.status_code".to_owned())),
    }
    let mut limits = Vec::new();
    for row in root.at("model_remains").items()? {
        limits.extend(model(&row)?);
    }
    Ok(Found::of(limits))
}

/// The limits of one model; a model whose windows both know no end is not part of the plan.
fn model(row: &Node<'_>) -> Result<Vec<Limit>, ParseFault> {
    let Some(name) = row.at("model_name").word()? else { return Ok(Vec::new()) };
    let interval = stand(&row.at("current_interval_status"))?;
    let weekly = stand(&row.at("current_weekly_status"))?;
    if interval == Stand::Unlimited && weekly == Stand::Unlimited {
        return Ok(Vec::new());
    }
    let (start, end) = (row.at("start_time").time()?, row.at("end_time").time()?);
    let length = start.zip(end).map(|(start, end)| end.until(start)).filter(|length| *length > Duration::ZERO);
    let interval_name = length.and_then(window_name).unwrap_or_else(|| "interval".to_owned());
    let told = |stand, left: Node<'_>, (window, resets_at), suffix: &str, role| {
        let status = match stand {
            Stand::Ok => LimitStatus::Ok,
            Stand::Exhausted => LimitStatus::Exhausted,
            Stand::Unlimited | Stand::Unknown => LimitStatus::Unknown,
        };
        let scope = if name == SHARED { BlockScope::Account } else { BlockScope::Model(name.clone()) };
        let used = if stand == Stand::Unlimited { Some(0.0) } else { left.percent()?.map(|left| 1.0 - left) };
        let empty = limit(format!("{name}:{suffix}"), format!("MiniMax {name} {suffix}"), role);
        Ok::<_, ParseFault>(Limit { scope, window, used, resets_at, status, ..empty })
    };
    Ok(vec![
        told(interval, row.at("current_interval_remaining_percent"), (length, end), &interval_name, LimitRole::Primary)?,
        told(
            weekly,
            row.at("current_weekly_remaining_percent"),
            (Some(WEEK), row.at("weekly_end_time").time()?),
            "7d",
            LimitRole::Secondary,
        )?,
    ])
}

fn stand(node: &Node<'_>) -> Result<Stand, ParseFault> {
    Ok(match node.number()?.map(f64::round) {
        Some(1.0) => Stand::Ok,
        Some(2.0) => Stand::Exhausted,
        Some(3.0) => Stand::Unlimited,
        _ => Stand::Unknown,
    })
}
