//! `claviger import`: takes accounts over from other tools, or follows their logins where people agree.

mod draft;
mod plan;

pub use draft::account_add;

use super::account::words::tidy;
use super::{login, provider};
use crate::args::ImportArgs;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{ImportReport, SkippedRow};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::import::{
    Import, ImportContext, ImportError, ImportSource, ImportedAccount, ImportedCredential, SourceKind, keychain_item, source, sources,
};
use claviger_runtime::{Clock, SystemClock};
use std::path::PathBuf;

/// What following means, in one line.
const FOLLOWING: &str = "following: its file is read, again on every change, and never written; its login is never refreshed here";
/// How the other is had, in one line.
const OWNING: &str = "a login that is followed is refreshed by its tool alone; claviger account take ID makes it Claviger's";

/// Runs the command.
pub async fn run(context: &Context, args: ImportArgs) -> Result<(), CliError> {
    let ImportArgs { source: name, path, dry_run, yes } = args;
    let source = source(&name).ok_or_else(|| unknown(&name))?;
    let import = read(context, source, path)?;
    for note in &import.notes {
        context.output.note(tidy(note));
    }
    for account in &import.accounts {
        for note in &account.notes {
            context.output.note(tidy(&format!("{}: {note}", account.row)));
        }
    }
    if dry_run {
        return plan::print(context, &import);
    }
    if import.accounts.iter().any(|account| account.follow.is_some()) {
        agree(context, source, yes)?;
    }
    let report = store(context, source, import).await?;
    if report.imported.iter().any(|added| added.account.follows.is_some()) {
        context.output.note(OWNING);
    }
    context.output.data(&report, || told(&report))
}

/// Reads the source; its file is named by an absolute path, since a followed one is looked up from elsewhere.
fn read(context: &Context, source: &ImportSource, path: Option<PathBuf>) -> Result<Import, CliError> {
    let catalogue: Catalogue = provider::catalogue(context)?;
    let environment = |name: &str| context.env.lookup(name);
    let from =
        ImportContext { catalogue: &catalogue, now: SystemClock.now(), home: context.env.user_home.as_deref(), environment: &environment };
    if path.is_some() && source.kind == SourceKind::Environment {
        return Err(CliError::usage("the environment has no path").hint(format!("claviger import {}", source.name)));
    }
    let path = path.or_else(|| source.default_path(&from));
    let path = path.map(absolute).transpose()?;
    source.read(&from, path.as_deref()).map_err(|error| unreadable(source, &error))
}

/// The item of a keychain is named like a file, and is where it is.
fn absolute(path: PathBuf) -> Result<PathBuf, CliError> {
    if keychain_item(&path).is_some() {
        return Ok(path);
    }
    std::path::absolute(&path).map_err(|error| CliError::io("making the path absolute", &path, &error))
}

fn unreadable(source: &ImportSource, error: &ImportError) -> CliError {
    let hint = format!("claviger import {} PATH", source.name);
    match error {
        ImportError::NotFound { .. } => CliError::not_found(error.to_string()).hint(hint),
        ImportError::NoHome | ImportError::NoPlace { .. } => CliError::usage(error.to_string()).hint(hint),
        ImportError::NotItsFile { .. } => CliError::caused(error)
            .hint(format!("log in with {} again so that it writes the file anew, or name another: {hint}", source.title)),
        _ => CliError::caused(error).hint(hint),
    }
}

/// A login is followed only where a person, or `--yes`, agreed.
fn agree(context: &Context, source: &ImportSource, yes: bool) -> Result<(), CliError> {
    context.output.note(FOLLOWING);
    if yes || context.confirm(&format!("follow the login of {}?", source.title))? {
        return Ok(());
    }
    let refused = CliError::refused(format!("the login of {} is not followed, and nothing was imported: nobody agreed", source.title));
    Err(refused.hint(format!("claviger import {} --yes", source.name)))
}

async fn store(context: &Context, source: &ImportSource, import: Import) -> Result<ImportReport, CliError> {
    let Import { accounts, skipped, notes: _ } = import;
    let skipped: Vec<SkippedRow> = skipped.into_iter().map(|skipped| SkippedRow { row: skipped.row, why: skipped.why }).collect();
    if accounts.is_empty() {
        if skipped.is_empty() {
            context.output.note(format!("nothing was found in {}", source.title));
        }
        return Ok(ImportReport { imported: Vec::new(), skipped });
    }
    let takes_over = accounts.iter().any(is_taken_over);
    let mut report = context.admin().await?.account_import(accounts.into_iter().map(account_add).collect()).await?;
    report.skipped.splice(0..0, skipped);
    if takes_over && report.imported.iter().any(|added| added.account.kind == "oauth") {
        context.output.note(format!(
            "these logins are refreshed here from now on: {} must not refresh them too, or both are logged out",
            source.title
        ));
    }
    Ok(report)
}

/// Whether a login is refreshed here from now on.
fn is_taken_over(account: &ImportedAccount) -> bool {
    account.follow.is_none() && matches!(account.credential, ImportedCredential::OAuth { refresh: Some(_), .. })
}

/// One line per row.
fn told(report: &ImportReport) -> String {
    let mut lines: Vec<String> = Vec::new();
    for added in &report.imported {
        let standing = super::account::words::standing_in_full(&added.account);
        lines.push(format!("{}, {}", login::told(added), tidy(&standing)));
    }
    for skipped in &report.skipped {
        lines.push(tidy(&format!("skipped {}: {}", skipped.row, skipped.why)));
    }
    lines.join("\n")
}

fn unknown(name: &str) -> CliError {
    let names: Vec<&str> = sources().iter().map(|source| source.name).collect();
    CliError::usage(format!("nothing can be imported from {:?}", tidy(name))).hint(format!("claviger import {}", names.join("|")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_source_names_those_that_there_are() {
        let error = unknown("keepass");
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.0.hint.as_deref(),
            Some("claviger import omp|claude-code|codex|gemini-cli|kimi-cli|opencode|copilot|cliproxyapi|litellm|env")
        );
    }
}
