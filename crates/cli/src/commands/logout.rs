//! `claviger logout`: forgets an account of a provider, and its secret with it.

use super::account::words;
use super::provider;
use crate::args::LogoutArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::AccountView;
use claviger_domain::id::AccountId;
use serde::Serialize;

/// What a logout did.
#[derive(Debug, Serialize)]
struct LoggedOut {
    /// The accounts that are gone.
    removed: Vec<i64>,
}

/// Runs the command: the one account of the provider, the one that is named, or all.
pub async fn run(context: &Context, args: LogoutArgs) -> Result<(), CliError> {
    let LogoutArgs { provider: named, account, all } = args;
    let catalogue = provider::catalogue(context)?;
    let id = provider::find(&catalogue, &named)?.id.clone();
    // A login that is stored under another provider's name is logged out by either.
    let id = catalogue.login(id.as_str()).and_then(|rule| rule.stores_as.clone()).unwrap_or(id);
    let admin = context.admin().await?;
    let list = admin.account_list().await?;
    let here: Vec<AccountView> = list.accounts.into_iter().filter(|account| account.provider == id.as_str()).collect();
    let chosen: Vec<AccountView> = match account {
        Some(AccountId(wanted)) => here.into_iter().filter(|account| account.id == wanted).collect(),
        None if all || here.len() < 2 => here,
        None => {
            let names: Vec<String> = here.iter().map(words::short).collect();
            let message = format!("{id} has {} accounts: {}", names.len(), names.join("; "));
            return Err(CliError::refused(message).hint(format!("claviger logout {id} --account ID, or --all")));
        }
    };
    if chosen.is_empty() {
        let which = account.map(|account| format!(" {account}")).unwrap_or_default();
        return Err(CliError::not_found(format!("{id} has no account{which}")).hint("claviger account list"));
    }
    let mut removed = Vec::new();
    for account in &chosen {
        admin.account_remove(AccountId(account.id)).await?;
        removed.push(account.id);
    }
    let lines: Vec<String> = chosen.iter().map(|account| format!("logged out: {}", words::short(account))).collect();
    context.output.data(&LoggedOut { removed }, || lines.join("\n"))
}
