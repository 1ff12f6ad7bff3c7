//! The same as comma-separated values (RFC 4180), a table at a time: history where it was asked for, else waste, else limits.

use super::Parts;
use claviger_admin::{UsageView, time_text};
use claviger_domain::time::Timestamp;

/// The table that was asked for, with its headings.
pub(super) fn text(view: &UsageView, parts: Parts) -> String {
    let rows = if parts.past.is_some() {
        history_rows(view)
    } else if parts.waste {
        waste_rows(view)
    } else if parts.cost {
        cost_rows(view)
    } else {
        limit_rows(view)
    };
    rows.into_iter().map(|row| row.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\r\n").collect()
}

type Rows = Vec<Vec<String>>;

fn headings(names: &[&str]) -> Rows {
    vec![names.iter().map(|name| (*name).to_owned()).collect()]
}

fn limit_rows(view: &UsageView) -> Rows {
    let mut rows =
        headings(&["provider", "account", "name", "plan", "limit", "label", "scope", "used", "status", "resets_at", "observed_at"]);
    for account in &view.accounts {
        for limit in &account.limits {
            rows.push(vec![
                account.provider.clone(),
                account.account.to_string(),
                account.name.clone().unwrap_or_default(),
                account.plan.clone().unwrap_or_default(),
                limit.id.clone(),
                limit.label.clone(),
                limit.scope.clone(),
                number(limit.used),
                limit.status.clone(),
                time(limit.resets_at),
                time(account.observed_at),
            ]);
        }
    }
    rows
}

fn history_rows(view: &UsageView) -> Rows {
    let mut rows = headings(&["at", "provider", "account", "limit", "label", "used", "status", "resets_at"]);
    for series in &view.history {
        rows.extend(series.points.iter().map(|point| {
            let (at, resets_at) = (time_text::format(point.at), time(point.resets_at));
            let (provider, account) = (series.provider.clone(), series.account.to_string());
            vec![at, provider, account, series.limit.clone(), series.label.clone(), number(point.used), point.status.clone(), resets_at]
        }));
    }
    rows
}

fn waste_rows(view: &UsageView) -> Rows {
    let mut rows = headings(&["ended_at", "provider", "account", "limit", "label", "unused", "observed_at"]);
    rows.extend(view.waste.iter().map(|row| {
        let (ended_at, observed_at) = (time_text::format(row.ended_at), time_text::format(row.observed_at));
        let (provider, account) = (row.provider.clone(), row.account.to_string());
        vec![ended_at, provider, account, row.limit.clone(), row.label.clone(), number(Some(row.unused)), observed_at]
    }));
    rows
}

fn cost_rows(view: &UsageView) -> Rows {
    let mut rows = headings(&["provider", "account", "requests", "cost_usd"]);
    rows.extend(view.costs.iter().map(|row| {
        let account = row.account.map(|account| account.to_string()).unwrap_or_default();
        vec![row.provider.clone(), account, row.requests.to_string(), number(Some(row.cost_usd))]
    }));
    rows
}

fn number(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.4}")).map(|text| text.trim_end_matches('0').trim_end_matches('.').to_owned()).unwrap_or_default()
}

fn time(at: Option<Timestamp>) -> String {
    at.map(time_text::format).unwrap_or_default()
}

/// A cell in quotes where it must be. Text of a provider that a spreadsheet would take for a formula begins with a quote.
fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}
