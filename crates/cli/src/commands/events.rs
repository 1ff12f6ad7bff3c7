//! `claviger events`: what happens to accounts without anybody asking.

use super::account::words;
use super::when;
use crate::admin_socket;
use crate::args::EventsArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{Admin, EVENTS_WAIT_MAX, EventKind, EventPage, EventView, EventsAsk, Renewal, Unblocking, time_text};
use claviger_domain::time::Timestamp;
use serde::Serialize;

/// Events that are gone before they were read.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "missed")]
struct Missed {
    /// How many.
    count: u64,
}

/// Runs the command: the events that the server keeps, then with `--follow` those that come, one per line.
pub async fn run(context: &Context, args: EventsArgs) -> Result<(), CliError> {
    let EventsArgs { follow, kinds } = args;
    if let Some(unknown) = kinds.iter().find(|kind| !EventKind::WORDS.contains(&kind.as_str())) {
        return Err(CliError::usage(format!("{unknown:?} is no kind of event")).hint(format!("one of {}", EventKind::WORDS.join(", "))));
    }
    let Some(client) = admin_socket::connect(&context.paths.socket).await? else {
        return Err(CliError::failed("no server runs, and events are told by a server").hint("claviger up -d"));
    };
    let mut ask = EventsAsk::default();
    loop {
        let EventPage { stream, events, missed, last } = client.events(ask).await?;
        if missed > 0 && print(context, &Missed { count: missed }, || format!("({missed} events are gone)"))?.is_break() {
            return Ok(());
        }
        for event in events.iter().filter(|event| kinds.is_empty() || kinds.iter().any(|kind| kind == event.kind.word())) {
            if print(context, event, || line(event, context.clock.now()))?.is_break() {
                return Ok(());
            }
        }
        if !follow {
            return Ok(());
        }
        ask = EventsAsk { stream: Some(stream), since: Some(last), wait_s: EVENTS_WAIT_MAX.as_secs() };
    }
}

/// One line; breaks where the reader went away, since this has no end of its own.
fn print(context: &Context, value: &impl Serialize, human: impl FnOnce() -> String) -> Result<std::ops::ControlFlow<()>, CliError> {
    let json = context.output.is_json();
    let mut text = if json { serde_json::to_string(value).map_err(|error| CliError::caused(&error))? } else { human() };
    text.push('\n');
    context.output.raw(text.as_bytes())
}

fn line(event: &EventView, now: Timestamp) -> String {
    let EventView { id: _, at, provider, account, name, kind } = event;
    let name = name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    words::tidy(&format!("{}  account {account} ({provider}{name}): {}", time_text::format(*at), saying(kind, *account, now)))
}

/// What happened, and what to type where a person can do something.
fn saying(kind: &EventKind, account: i64, now: Timestamp) -> String {
    let resets = |at: &Option<Timestamp>| at.map(|at| format!(", resets {}", when::relative(at, now))).unwrap_or_default();
    match kind {
        EventKind::AccountDisabled { cause } => format!("needs a new login: {cause} (claviger account show {account})"),
        EventKind::AccountRenewed { how: Renewal::Login } => "has a new login".to_owned(),
        EventKind::AccountRenewed { how: Renewal::Take } => "was taken over".to_owned(),
        EventKind::AccountRenewed { how: Renewal::Elsewhere } => "has a new secret where that stands".to_owned(),
        EventKind::AccountBlocked { scope, until, guessed, reason } => {
            let guess = if *guessed { ", a guess" } else { "" };
            format!("{scope} blocked until {}{guess}: {reason}", when::both(*until, now))
        }
        EventKind::AccountUnblocked { scope, why: Unblocking::Ended } => format!("{scope} is free again"),
        EventKind::AccountUnblocked { scope, why: Unblocking::Lifted } => format!("{scope} is free again before its time"),
        EventKind::UsageThreshold { label, percent, resets_at, .. } => format!("{label} is used to {percent}%{}", resets(resets_at)),
        EventKind::ResetWasted { label, unused, .. } => format!("{label} was reset with {:.0}% unused", unused * 100.0),
        EventKind::LoginEnds { ends_at } => {
            format!("its login ends {}: claviger login PROVIDER --account {account}", when::both(*ends_at, now))
        }
        EventKind::AccountQuarantined { .. } => format!("is in quarantine (claviger account take {account})"),
        EventKind::ValueBroken { cause } => format!("its key cannot be had: {cause}"),
    }
}
