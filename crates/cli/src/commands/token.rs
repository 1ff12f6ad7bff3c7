//! `claviger token`: a current access token, where a person or the configuration allows it to leave.

use super::account::words;
use crate::args::TokenArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{Admin, SkippedRow, TokenAsk, TokenList};
use std::fmt::Write as _;

/// Runs the command.
pub async fn run(context: &Context, args: TokenArgs) -> Result<(), CliError> {
    allowed(context, &args)?;
    let admin = context.admin().await?;
    answer(context, &*admin, args).await
}

/// A token leaves only where the configuration says so or a person agrees on the terminal.
fn allowed(context: &Context, args: &TokenArgs) -> Result<(), CliError> {
    if context.config()?.export_allow.value {
        return Ok(());
    }
    let file = context.paths.config_file.display();
    let what = if args.all { "every current token" } else { "a current token" };
    if context.confirm(&format!("print {what} of {} on this terminal?", words::tidy(&args.provider)))? {
        return Ok(());
    }
    Err(CliError::refused("no token was printed: neither the configuration nor a person on a terminal allowed it")
        .hint(format!("write `[export]` and `allow = true` into {file}, or run this on a terminal without --json")))
}

async fn answer(context: &Context, admin: &dyn Admin, args: TokenArgs) -> Result<(), CliError> {
    let TokenArgs { provider, account, all, session } = args;
    let actor = format!("uid {}", rustix::process::getuid().as_raw());
    let ask = TokenAsk { provider: provider.clone(), account: account.map(|id| id.0), all, session, actor };
    let list = admin.token(ask).await?;
    let Some(first) = list.tokens.first() else {
        return Err(none(&provider, &list.skipped));
    };
    if !context.output.is_json() {
        for skipped in &list.skipped {
            context.output.note(words::tidy(&format!("{}: {}", skipped.row, skipped.why)));
        }
    }
    if all { context.output.data(&list, || bare(&list)) } else { context.output.data(first, || first.token.expose().to_owned()) }
}

/// The tokens alone, one per line.
fn bare(list: &TokenList) -> String {
    let mut text = String::new();
    for token in &list.tokens {
        writeln!(text, "{}", token.token.expose()).expect("writing to a String never fails");
    }
    text
}

fn none(provider: &str, skipped: &[SkippedRow]) -> CliError {
    let why: Vec<String> = skipped.iter().map(|skipped| format!("{}: {}", skipped.row, skipped.why)).collect();
    if why.is_empty() {
        CliError::not_found(format!("{provider} has no account")).hint(format!("claviger login {provider} --with-key"))
    } else {
        CliError::failed(format!("no account of {provider} has a token: {}", why.join("; "))).hint("claviger account list")
    }
}
