//! Following the logins of other tools that are on this machine: found, asked for, and said. Nothing is followed unasked.

use crate::commands::import::account_add;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountAdd, Admin};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::import::{ImportContext, ImportError, SourceKind, sources};
use claviger_runtime::{Clock, SystemClock};
use serde::Serialize;
use std::collections::HashSet;

/// Who decides whether a login is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// The person at the terminal, one question a tool; without a terminal nobody, and nothing is followed.
    Ask,
    /// Given for all (`--yes`).
    Given,
    /// Refused for all (`--no-adopt`).
    Refused,
}

/// What became of a login that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adopted {
    /// The tool.
    pub tool: &'static str,
    /// Its file.
    pub file: String,
    /// Whether it is followed now.
    pub followed: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A login that could be followed.
struct Found {
    tool: &'static str,
    title: &'static str,
    file: String,
    accounts: Vec<AccountAdd>,
}

/// Looks for logins that are not followed yet, follows those that somebody agreed to, and says what it did.
pub async fn adopt(context: &Context, admin: &dyn Admin, catalogue: &Catalogue, consent: Consent) -> Result<Vec<Adopted>, CliError> {
    let here = admin.account_list().await?;
    let followed: HashSet<String> = here.accounts.into_iter().filter_map(|account| account.follows).collect();
    let mut done = Vec::new();
    for found in look(context, catalogue).into_iter().filter(|found| !followed.contains(&found.file)) {
        let Found { tool, title, file, accounts } = found;
        let refusal = match consent {
            Consent::Given => None,
            Consent::Refused => Some("--no-adopt".to_owned()),
            Consent::Ask if !context.is_interactive() => Some("there is no terminal to ask on".to_owned()),
            Consent::Ask => {
                let question = format!(
                    "{title} is logged in ({file}). Follow it? Its file is read and never written, its login never refreshed here."
                );
                (!context.confirm(&question)?).then(|| "you said no".to_owned())
            }
        };
        let why = match refusal {
            Some(why) => Some(why),
            None => admin.account_import(accounts).await?.skipped.into_iter().next().map(|skipped| skipped.why),
        };
        let text = match &why {
            None => format!("following {title} ({file})"),
            Some(why) => format!("not following {title} ({file}): {why}\nhint: claviger import {tool}"),
        };
        context.output.note(crate::output::printable(&text));
        done.push(Adopted { tool, file, followed: why.is_none(), why });
    }
    Ok(done)
}

fn look(context: &Context, catalogue: &Catalogue) -> Vec<Found> {
    let environment = |name: &str| context.env.lookup(name);
    let from = ImportContext { catalogue, now: SystemClock.now(), home: context.env.user_home.as_deref(), environment: &environment };
    let mut all = Vec::new();
    for source in sources().iter().filter(|source| source.kind == SourceKind::FollowedFile) {
        let Some(path) = source.default_path(&from).filter(|path| path.is_absolute()) else { continue };
        match source.read(&from, Some(&path)) {
            Ok(import) if !import.accounts.is_empty() => {
                let accounts = import.accounts.into_iter().map(account_add).collect();
                all.push(Found { tool: source.name, title: source.title, file: path.display().to_string(), accounts });
            }
            Ok(_) | Err(ImportError::NotFound { .. } | ImportError::NoHome) => {}
            Err(error) => context.output.note(format!("the login of {} cannot be read: {error}", source.title)),
        }
    }
    all
}
