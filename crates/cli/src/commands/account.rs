//! `claviger account`: what providers gave, listed, shown, changed and removed.

mod add;
mod change;
mod check;
mod credits;
mod rebind;
mod remove;
mod take;
pub mod words;

pub use change::one_line;

use super::provider;
use crate::args::{AccountArgs, AccountCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Table;
use claviger_admin::{AccountList, AccountView, Admin};
use claviger_domain::id::AccountId;
use claviger_domain::time::Timestamp;
use claviger_runtime::{Clock, SystemClock};

/// Runs the command.
pub async fn run(context: &Context, args: AccountArgs) -> Result<(), CliError> {
    match args.command {
        AccountCommand::Add { provider, from_json, label } => add::run(context, provider, &from_json, label).await,
        AccountCommand::List { provider } => list(context, provider).await,
        AccountCommand::Show { id } => show(context, id).await,
        AccountCommand::Set(args) => change::set(context, args).await,
        AccountCommand::Disable { id, cause } => change::disable(context, id, cause).await,
        AccountCommand::Enable { id } => change::enable(context, id).await,
        AccountCommand::Remove { id, yes } => remove::run(context, id, yes).await,
        AccountCommand::Take { id, yes } => take::run(context, id, yes).await,
        AccountCommand::Rebind { id, yes } => rebind::run(context, id, yes).await,
        AccountCommand::Check(args) => check::run(context, args).await,
        AccountCommand::Credits(command) => credits::run(context, command).await,
        AccountCommand::Unblock { id, all: _ } => change::unblock(context, id).await,
    }
}

async fn list(context: &Context, of: Option<String>) -> Result<(), CliError> {
    let mut list = context.admin().await?.account_list().await?;
    if let Some(name) = of {
        let profile = provider::find(&provider::catalogue(context)?, &name)?;
        list.accounts.retain(|account| account.provider == profile.id.as_str());
    }
    if list.accounts.is_empty() && !context.output.is_json() {
        context.output.note("no account is here yet\nhint: claviger login PROVIDER");
    }
    context.output.data(&list, || table(&list, SystemClock.now()))
}

async fn show(context: &Context, id: AccountId) -> Result<(), CliError> {
    let list = context.admin().await?.account_list().await?;
    let account = pick(&list, id)?;
    context.output.data(account, || details(account, &list, SystemClock.now()))
}

/// One account by its id.
async fn find(admin: &dyn Admin, id: AccountId) -> Result<AccountView, CliError> {
    let list = admin.account_list().await?;
    pick(&list, id).cloned()
}

fn pick(list: &AccountList, id: AccountId) -> Result<&AccountView, CliError> {
    let found = list.accounts.iter().find(|account| account.id == id.0);
    found.ok_or_else(|| CliError::not_found(format!("there is no account {id}")).hint("claviger account list"))
}

fn table(list: &AccountList, now: Timestamp) -> String {
    if list.accounts.is_empty() {
        return String::new();
    }
    let with_options = list.accounts.iter().any(|account| !words::options(account).is_empty());
    let headings = ["ID", "PROVIDER", "KIND", "IDENTITY", "LABEL", "PRIORITY", "EXPIRES", "STANDING", "OPTIONS"];
    let mut table = Table::new(headings.split_last().map(|(_, without)| without).filter(|_| !with_options).unwrap_or(&headings));
    for account in &list.accounts {
        let options = with_options.then(|| words::options(account).join(", "));
        let cells = [
            account.id.to_string(),
            account.provider.clone(),
            account.kind.clone(),
            words::identity(&account.identity).or_else(|| account.masked_key.clone()).unwrap_or_default(),
            account.label.clone().unwrap_or_default(),
            account.priority.to_string(),
            account.expires_at.map(|at| super::when::relative(at, now)).unwrap_or_default(),
            words::standing(account, now),
        ];
        table.row(cells.into_iter().chain(options));
    }
    table.render()
}

fn details(account: &AccountView, list: &AccountList, now: Timestamp) -> String {
    let mut lines = words::Lines::titled(&format!("account {}", account.id));
    lines.line("provider", &account.provider);
    lines.line("kind", &account.kind);
    lines.maybe("label", account.label.as_deref());
    let identity = &account.identity;
    lines.maybe("email", identity.email.as_deref());
    lines.maybe("account id", identity.account_id.as_deref());
    lines.maybe("organisation", words::organisation(identity).as_deref());
    lines.maybe("project", identity.project_id.as_deref());
    lines.maybe("key", account.masked_key.as_deref());
    lines.maybe("plan", account.plan.as_deref());
    lines.line("standing", &words::standing_in_full(account));
    for block in account.blocks.iter().filter(|block| block.until > now) {
        lines.line("blocked", &words::block(block, now));
    }
    if let Some(at) = account.expires_at {
        lines.line("expires", &super::when::both(at, now));
    }
    lines.line("priority", &account.priority.to_string());
    for option in words::options(account) {
        lines.line("option", &option);
    }
    lines.line("source", words::source(account.source));
    lines.line("grant", &words::grant(account, list));
    if let Some(path) = &account.follows {
        lines.line("follows", &format!("{path} (read on change, never written, never refreshed here)"));
    }
    lines.maybe("notice", account.notice.as_deref());
    if let Some(at) = account.logged_in_at {
        lines.line("logged in", &super::when::both(at, now));
    }
    if let Some(at) = account.login_ends_at {
        lines.line("login ends", &super::when::both(at, now));
    }
    lines.line("since", &super::when::both(account.created_at, now));
    for hint in words::remedies(account, now) {
        lines.line("to type", &hint);
    }
    lines.into_text()
}

#[cfg(test)]
#[path = "account/tests.rs"]
mod tests;
