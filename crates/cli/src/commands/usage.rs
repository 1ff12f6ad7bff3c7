//! `claviger usage`: what every account has left, how that went, what was wasted, what was paid.

mod bars;
mod csv;
mod spark;
mod tables;
mod terminal;

use super::when;
use crate::args::UsageArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{UsageAsk, UsageView};
use claviger_domain::time::Timestamp;
use std::time::Duration;
use terminal::Terminal;

/// The furthest that history goes back: what the log keeps.
const HISTORY_MAX: Duration = claviger_store::LOG_KEPT;

/// Runs the command.
pub async fn run(context: &Context, args: UsageArgs) -> Result<(), CliError> {
    let UsageArgs { provider, account, fresh, history, cost, waste, csv } = args;
    if csv && context.output.is_json() {
        return Err(CliError::usage("either CSV or JSON").hint("claviger usage --csv"));
    }
    let past = history.as_deref().map(when::parse_duration).transpose()?;
    if past.is_some_and(|past| past > HISTORY_MAX) {
        let days = HISTORY_MAX.as_secs() / 86_400;
        return Err(CliError::usage(format!("history is kept for {days} days")).hint(format!("claviger usage --history {days}d")));
    }
    let ask = UsageAsk { provider, account: account.map(|id| id.0), history_s: past.map(|past| past.as_secs()), costs: cost, fresh };
    let view = context.admin().await?.usage(ask).await?;
    let (parts, now) = (Parts { past, waste, cost }, context.clock.now());
    if csv {
        return context.output.data(&view, || csv::text(&view, parts));
    }
    if view.accounts.is_empty() && !context.output.is_json() {
        context.output.note("no account is here yet\nhint: claviger login PROVIDER");
    }
    let terminal = Terminal::of(&context.env);
    context.output.data(&view, || text(&view, parts, terminal, now))
}

/// What is shown beside what is left.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    past: Option<Duration>,
    waste: bool,
    cost: bool,
}

/// Everything that was asked for, with a blank line between the parts.
fn text(view: &UsageView, Parts { past, waste, cost }: Parts, terminal: Terminal, now: Timestamp) -> String {
    let mut parts: Vec<String> = view.accounts.iter().map(|account| bars::account(account, terminal, now)).collect();
    if let Some(past) = past {
        parts.push(spark::history(&view.history, &view.accounts, (now.minus(past), now), terminal));
    }
    if waste {
        parts.push(tables::waste(&view.waste, &view.accounts, now));
    }
    if cost {
        parts.push(tables::costs(&view.costs, &view.accounts));
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests;
