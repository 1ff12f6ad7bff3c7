//! `claviger account set|disable|enable|unblock`: what is a person's to set.

use super::words;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::AccountChange;
use claviger_domain::id::AccountId;
use serde::Serialize;

/// Most bytes of a label or a cause: they stand in one line of a table.
const TEXT_MAX_BYTES: usize = 200;

/// `claviger account set`
pub async fn set(context: &Context, id: AccountId, priority: Option<i32>, label: Option<String>) -> Result<(), CliError> {
    let label = label.map(|label| one_line("label", &label)).transpose()?;
    apply(context, id, AccountChange { label, priority, ..AccountChange::default() }, "changed").await
}

/// `claviger account disable`
pub async fn disable(context: &Context, id: AccountId, cause: String) -> Result<(), CliError> {
    let cause = one_line("cause", &cause)?;
    if cause.is_empty() {
        return Err(CliError::usage("the cause is empty").hint(format!("claviger account disable {id} --cause TEXT")));
    }
    apply(context, id, AccountChange { disable: Some(cause), ..AccountChange::default() }, "disabled").await
}

/// `claviger account enable`
pub async fn enable(context: &Context, id: AccountId) -> Result<(), CliError> {
    apply(context, id, AccountChange { enable: true, ..AccountChange::default() }, "enabled").await
}

async fn apply(context: &Context, id: AccountId, change: AccountChange, done: &str) -> Result<(), CliError> {
    let account = context.admin().await?.account_change(id, change).await?;
    context.output.data(&account, || format!("{done} {}", words::short(&account)))
}

/// What an unblock did.
#[derive(Debug, Serialize)]
struct Unblocked {
    /// Blocks that were lifted.
    lifted: u64,
}

/// `claviger account unblock`; `None` is every account.
pub async fn unblock(context: &Context, id: Option<AccountId>) -> Result<(), CliError> {
    let lifted = context.admin().await?.account_unblock(id).await?;
    context.output.data(&Unblocked { lifted }, || match lifted {
        0 => "nothing was blocked".to_owned(),
        1 => "lifted 1 block".to_owned(),
        more => format!("lifted {more} blocks"),
    })
}

/// Trimmed text that fits into one line of a table.
pub fn one_line(what: &str, text: &str) -> Result<String, CliError> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(CliError::usage(format!("the {what} holds a control character")));
    }
    if text.len() > TEXT_MAX_BYTES {
        return Err(CliError::usage(format!("the {what} is longer than {TEXT_MAX_BYTES} bytes")));
    }
    Ok(text.to_owned())
}
