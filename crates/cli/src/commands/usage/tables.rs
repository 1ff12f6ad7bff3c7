//! Waste and costs as tables.

use super::super::when;
use crate::output::Table;
use claviger_admin::{AccountUsageView, CostView, WasteView};
use claviger_domain::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The latest windows of a table.
const ROWS_MAX: usize = 20;

/// How an account is called: by its name, else by its id.
pub(super) fn who(account: i64, accounts: &[AccountUsageView]) -> String {
    let name = accounts.iter().find(|known| known.account == account).and_then(|known| known.name.clone());
    name.unwrap_or_else(|| format!("account {account}"))
}

/// What was unused when windows ended: the latest of them, and the mean of all by limit.
pub(super) fn waste(waste: &[WasteView], accounts: &[AccountUsageView], now: Timestamp) -> String {
    if waste.is_empty() {
        return "wasted: no window has ended in this time\n".to_owned();
    }
    let mut table = Table::new(&["PROVIDER", "ACCOUNT", "LIMIT", "ENDED", "UNUSED"]);
    for row in waste.iter().rev().take(ROWS_MAX) {
        let unused = format!("{:.0} %", row.unused * 100.0);
        table.row([row.provider.clone(), who(row.account, accounts), row.label.clone(), when::relative(row.ended_at, now), unused]);
    }
    let mut text = table.render();
    if let Some(more) = waste.len().checked_sub(ROWS_MAX).filter(|more| *more > 0) {
        writeln!(text, "and {more} earlier ones (--csv shows all)").expect("writing to a String never fails");
    }
    let mut by_limit: BTreeMap<(&str, &str), (usize, f64)> = BTreeMap::new();
    for row in waste {
        let sum = by_limit.entry((&row.provider, &row.label)).or_default();
        *sum = (sum.0 + 1, sum.1 + row.unused);
    }
    text.push('\n');
    for ((provider, label), (windows, unused)) in by_limit {
        let (mean, ended) = (100.0 * unused / windows as f64, if windows == 1 { "window" } else { "windows" });
        let line = crate::output::printable(&format!("{provider} {label}: {mean:.0} % unused on average of {windows} {ended}"));
        writeln!(text, "{}", line.replace('\n', " ")).expect("writing to a String never fails");
    }
    text
}

/// What was paid.
pub(super) fn costs(costs: &[CostView], accounts: &[AccountUsageView]) -> String {
    if costs.is_empty() {
        return "paid: no price was noted in this time\n".to_owned();
    }
    let mut table = Table::new(&["PROVIDER", "ACCOUNT", "REQUESTS", "PAID"]);
    for row in costs {
        let who = row.account.map_or_else(|| "a key that is not stored".to_owned(), |account| who(account, accounts));
        // A cent is much for one request.
        let paid = if row.cost_usd < 0.1 { format!("{:.4} usd", row.cost_usd) } else { format!("{:.2} usd", row.cost_usd) };
        table.row([row.provider.clone(), who, row.requests.to_string(), paid]);
    }
    table.render()
}
