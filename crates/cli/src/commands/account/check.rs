//! `claviger account check`: asks providers about stored accounts, one after another.

use super::words;
use crate::args::AccountCheckArgs;
use crate::commands::when;
use crate::context::Context;
use crate::error::CliError;
use crate::wire_up::{self, Overrides};
use claviger_admin::{AccountView, Admin, CHECK_TIMEOUT, CHECK_TIMEOUT_MAX, CheckAsk, CheckView, SourceWord, StandingView};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What the checks found.
#[derive(Debug, Serialize)]
struct Checked {
    /// One row for each account that was checked, in the order in which they were.
    accounts: Vec<CheckView>,
}

/// Runs the command. Ctrl-C ends it between two accounts, or in the middle of one.
pub async fn run(context: &Context, args: AccountCheckArgs) -> Result<(), CliError> {
    let timeout = timeout(args.timeout.as_deref())?;
    // Listened to from here on: before the first question goes out, so that there is no moment in which it is not heard.
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|error| CliError::caused(&error))?;
    let admin = context.admin().await?;
    let accounts = meant(context, &*admin, &args).await?;
    let mut checked = Checked { accounts: Vec::with_capacity(accounts.len()) };
    for account in &accounts {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let ask = CheckAsk { account: account.id, timeout_ms, completion: args.model.clone().filter(|_| args.completion) };
        let view = tokio::select! {
            view = admin.account_check(ask) => view?,
            _ = interrupts.recv() => {
                return Err(CliError::failed(format!("stopped: {} of {} accounts were checked", checked.accounts.len(), accounts.len())));
            }
        };
        if !context.output.is_json() && context.output.raw(line(account, &view).as_bytes())?.is_break() {
            return Ok(());
        }
        checked.accounts.push(view);
    }
    if accounts.is_empty() && !context.output.is_json() {
        context.output.note("no account is here that could be checked");
    }
    if context.output.is_json() {
        context.output.data(&checked, String::new)?;
    }
    verdict(context, &checked, args.strict)
}

fn timeout(text: Option<&str>) -> Result<Duration, CliError> {
    let timeout = text.map(when::parse_duration).transpose()?.unwrap_or(CHECK_TIMEOUT);
    if timeout > CHECK_TIMEOUT_MAX {
        let longest = when::words(CHECK_TIMEOUT_MAX);
        return Err(CliError::usage(format!("a check waits for at most {longest}")).hint("claviger account check --timeout 30s"));
    }
    Ok(timeout)
}

/// The accounts that are meant: those of the vault that no person has switched off. One that is named is asked for whatever it is.
async fn meant(context: &Context, admin: &dyn Admin, args: &AccountCheckArgs) -> Result<Vec<AccountView>, CliError> {
    if let Some(id) = args.id {
        return Ok(vec![super::find(admin, id).await?]);
    }
    let provider = args.provider.as_deref().map(|name| provider_id(context, name)).transpose()?;
    let list = admin.account_list().await?;
    let is_stored = |account: &AccountView| matches!(account.source, SourceWord::Login | SourceWord::Imported);
    let is_on = |account: &AccountView| !matches!(account.standing, StandingView::Disabled { .. });
    let of_provider = |account: &AccountView| provider.as_ref().is_none_or(|provider| *provider == account.provider);
    Ok(list.accounts.into_iter().filter(|account| is_stored(account) && is_on(account) && of_provider(account)).collect())
}

/// The id of a provider by that or an alias.
fn provider_id(context: &Context, name: &str) -> Result<String, CliError> {
    let loaded = wire_up::load_settings(&context.paths, &context.env, &Overrides::default())?;
    let profile = loaded.pool.catalogue.get(name).map(|profile| profile.id.to_string());
    profile.ok_or_else(|| CliError::not_found(format!("there is no provider {name:?}")).hint("claviger account list"))
}

fn line(account: &AccountView, view: &CheckView) -> String {
    let word = match view.ok {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "unknown",
    };
    let reason = view.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut line = format!("{word:8}{}{}\n", words::short(account), words::tidy(&reason));
    if let Some(completion) = &view.completion {
        let latency = completion.latency_ms.map(|ms| format!(" in {ms} ms")).unwrap_or_default();
        let said = match (completion.ok, &completion.reason) {
            (Some(true), _) => format!("answered{latency}"),
            (Some(false), Some(reason)) => format!("FAILED{latency}: {reason}"),
            (_, reason) => format!("not known: {}", reason.as_deref().unwrap_or("it was not sent")),
        };
        writeln!(line, "        completion by {}: {}", words::tidy(&completion.model), words::tidy(&said))
            .expect("writing to a String never fails");
    }
    line
}

/// A failed check is a failed command; with `--strict` so is one that says nothing.
fn verdict(context: &Context, checked: &Checked, strict: bool) -> Result<(), CliError> {
    let is_bad = |view: &&CheckView| {
        let completion = view.completion.as_ref().map_or(Some(true), |completion| completion.ok);
        view.ok != Some(true) || completion != Some(true)
    };
    let bad = checked.accounts.iter().filter(is_bad).count();
    if !strict || bad == 0 {
        return Ok(());
    }
    let error = CliError::failed(format!("{bad} of {} accounts could not be shown to work", checked.accounts.len()));
    let error = error.hint("claviger account list");
    Err(if context.output.is_json() { error.said() } else { error })
}
