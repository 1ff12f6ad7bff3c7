//! `claviger account set|disable|enable|unblock`: what is a person's to set.

use super::words;
use crate::args::AccountSetArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountChange, Exposed, OptionsSet};
use claviger_domain::id::AccountId;
use claviger_domain::options::{OptionError, ProxyUrl, Reserve, Weight};
use serde::Serialize;

/// Most bytes of a label or a cause: they stand in one line of a table.
const TEXT_MAX_BYTES: usize = 200;

/// `claviger account set`
pub async fn set(context: &Context, args: AccountSetArgs) -> Result<(), CliError> {
    let AccountSetArgs { id, priority, reserve, weight, label, own_client_only, model_prefix, proxy } = args;
    let label = label.map(|label| one_line("label", &label)).transpose()?;
    let options = OptionsSet {
        reserve_percent: reserve.map(Reserve::percent),
        weight: weight.map(Weight::get),
        own_client_only: own_client_only.map(|rule| rule.as_str().to_owned()),
        model_prefix,
        proxy: proxy.map(|proxy| proxy_of(context, id, proxy)).transpose()?,
    };
    apply(context, id, AccountChange { label, priority, options, ..AccountChange::default() }, "changed").await
}

/// The proxy that is meant. What stands on a command line is read by every process of the machine, so that a password comes from
/// stdin or a hidden prompt.
fn proxy_of(context: &Context, id: AccountId, given: String) -> Result<Exposed, CliError> {
    let invalid = |error: OptionError| CliError::usage(error.to_string());
    match given.as_str() {
        "-" => {
            let url = context.secret_from_stdin_or_prompt("URL of the proxy")?;
            url.expose().parse::<ProxyUrl>().map(|_read| ()).map_err(invalid)?;
            Ok(url)
        }
        "none" => Ok(Exposed::new(String::new())),
        url if url.parse::<ProxyUrl>().map_err(invalid)?.login().is_some_and(|login| !login.password.expose().is_empty()) => {
            let error = CliError::usage("a password on a command line can be read by others");
            Err(error.hint(format!("claviger account set {id} --proxy -   reads the URL from stdin or a hidden prompt")))
        }
        _ => Ok(Exposed::new(given)),
    }
}

/// `claviger account disable`
pub async fn disable(context: &Context, id: AccountId, cause: String) -> Result<(), CliError> {
    let cause = one_line("cause", &cause)?;
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
