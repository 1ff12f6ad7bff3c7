//! `claviger account credits`: saved resets of rate limits, listed live and redeemed.

use super::words;
use crate::args::{CreditsCommand, CreditsListArgs, CreditsRedeemArgs};
use crate::commands::when;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountCreditsView, Admin, CreditsAsk, CreditsView, RedeemAsk, RedeemView, SavedResetView};
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;

/// Runs the command.
pub async fn run(context: &Context, command: CreditsCommand) -> Result<(), CliError> {
    match command {
        CreditsCommand::List(args) => list(context, args).await,
        CreditsCommand::Redeem(args) => redeem(context, args).await,
    }
}

async fn list(context: &Context, args: CreditsListArgs) -> Result<(), CliError> {
    let CreditsListArgs { account, provider } = args;
    let view = context.admin().await?.credits_list(CreditsAsk { provider, account: account.map(|id| id.0) }).await?;
    if view.accounts.is_empty() && !context.output.is_json() {
        context.output.note("no account is here whose provider gives resets to save");
    }
    context.output.data(&view, || text(&view, context.clock.now()))
}

fn text(view: &CreditsView, now: Timestamp) -> String {
    let blocks: Vec<String> = view.accounts.iter().map(|account| account_text(account, now)).collect();
    blocks.join("\n")
}

fn account_text(account: &AccountCreditsView, now: Timestamp) -> String {
    let AccountCreditsView { account: id, provider, name, active, available, cooldown_until, resets, error } = account;
    let name = name.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let mut lines = words::Lines::titled(&format!("account {id}: {provider}{name}{}", if *active { " (in use first)" } else { "" }));
    if let Some(error) = error {
        lines.line("failed", error);
        return lines.into_text();
    }
    let available = available.map_or_else(|| "the provider did not say".to_owned(), |count| count.to_string());
    lines.line("available", &available);
    if let Some(at) = cooldown_until.filter(|at| *at > now) {
        lines.line("not before", &when::both(at, now));
    }
    for reset in resets {
        lines.line(&reset.state, &reset_text(reset, now));
    }
    lines.into_text()
}

fn reset_text(reset: &SavedResetView, now: Timestamp) -> String {
    let SavedResetView { id, title, state: _, left, granted_at: _, expires_at } = reset;
    let title = title.as_ref().map(|title| format!(" {title}")).unwrap_or_default();
    let left = if *left > 1 { format!(", {left} times") } else { String::new() };
    let until = expires_at.map(|at| format!(", lost {}", when::both(at, now))).unwrap_or_default();
    format!("{id}{title}{left}{until}")
}

/// Redeems one: it spends something, so a person, or `--yes`, has to agree.
async fn redeem(context: &Context, args: CreditsRedeemArgs) -> Result<(), CliError> {
    let CreditsRedeemArgs { account, credit, request_id, yes } = args;
    let admin = context.admin().await?;
    let what = credit.as_deref().unwrap_or("the saved reset that is lost soonest");
    if !yes && !context.confirm(&format!("redeem {} of {}?", words::tidy(what), target(&*admin, &account).await?))? {
        let account = words::tidy(&account);
        let again = format!("claviger account credits redeem {account} --yes");
        return Err(CliError::refused("nothing was redeemed: nobody agreed").hint(again));
    }
    let actor = format!("uid {}", rustix::process::getuid().as_raw());
    let view = admin.credits_redeem(RedeemAsk { target: account, credit, request_id, actor }).await?;
    context.output.data(&view, || outcome(&view))?;
    if matches!(view.code.as_str(), "reset" | "already_redeemed") {
        return Ok(());
    }
    Err(CliError::failed("nothing was redeemed").said())
}

async fn target(admin: &dyn Admin, text: &str) -> Result<String, CliError> {
    match text.parse::<AccountId>() {
        Ok(id) => Ok(words::short(&super::find(admin, id).await?)),
        Err(_) => Ok(words::tidy(text)),
    }
}

fn outcome(view: &RedeemView) -> String {
    let RedeemView { code, account, credit, request_id: _, lifted, reason } = view;
    let account = account.map(|id| format!(" of account {id}")).unwrap_or_default();
    let credit = credit.as_deref().unwrap_or("a saved reset");
    match code.as_str() {
        "reset" => words::tidy(&format!("redeemed {credit}{account}: its windows are reset, {lifted} blocks were lifted")),
        "already_redeemed" => words::tidy(&format!("{credit}{account} was redeemed before: nothing was spent")),
        code => {
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            words::tidy(&format!("nothing was redeemed{account}: {code}{reason}"))
        }
    }
}
