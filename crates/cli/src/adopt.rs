//! Following the logins of other tools that are on this machine: found, asked for, and said. Nothing is followed unasked, and
//! what would have to be taken over is only named.

use crate::commands::import::account_add;
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{AccountAdd, AccountList, Admin, CredentialAdd};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::import::{ImportContext, ImportError, SourceKind, keychain_item, sources};
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

/// What a tool has that is not here yet.
struct Found {
    tool: &'static str,
    title: &'static str,
    file: String,
    accounts: Vec<AccountAdd>,
}

/// Looks for logins that are not followed yet, follows those that somebody agreed to, and says what it did.
pub async fn adopt(context: &Context, admin: &dyn Admin, catalogue: &Catalogue, consent: Consent) -> Result<Vec<Adopted>, CliError> {
    let here = admin.account_list().await?;
    let (logins, others): (Vec<Found>, Vec<Found>) =
        look(context, catalogue, &here).into_iter().partition(|found| found.accounts.iter().any(|account| account.follows.is_some()));
    let mut done = Vec::new();
    for found in logins {
        done.push(follow(context, admin, found, consent).await?);
    }
    for Found { tool, title, file, .. } in others.into_iter().filter(|_| consent != Consent::Refused) {
        context
            .output
            .note(crate::output::printable(&format!("{title} has accounts of its own ({file}): claviger import {tool} takes them over")));
        done.push(Adopted { tool, file, followed: false, why: Some(format!("to be taken over by name: claviger import {tool}")) });
    }
    Ok(done)
}

async fn follow(context: &Context, admin: &dyn Admin, found: Found, consent: Consent) -> Result<Adopted, CliError> {
    let Found { tool, title, file, accounts } = found;
    let refusal = match consent {
        Consent::Given => None,
        Consent::Refused => Some("--no-adopt".to_owned()),
        Consent::Ask if !context.is_interactive() => Some("there is no terminal to ask on".to_owned()),
        Consent::Ask => {
            let question =
                format!("{title} is logged in ({file}). Follow it? Its file is read and never written, its login never refreshed here.");
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
    Ok(Adopted { tool, file, followed: why.is_none(), why })
}

fn look(context: &Context, catalogue: &Catalogue, here: &AccountList) -> Vec<Found> {
    let environment = |name: &str| context.env.lookup(name);
    let from = ImportContext { catalogue, now: SystemClock.now(), home: context.env.user_home.as_deref(), environment: &environment };
    let mut all = Vec::new();
    for source in sources().iter().filter(|source| source.kind != SourceKind::Environment) {
        let Some(path) = source.default_path(&from).filter(|path| path.is_absolute() || keychain_item(path).is_some()) else { continue };
        match source.read(&from, Some(&path)) {
            Ok(import) => {
                let accounts = new_ones(import.accounts.into_iter().map(account_add).collect(), here);
                if let Some(first) = accounts.first() {
                    let file = first.follows.clone().unwrap_or_else(|| path.display().to_string());
                    all.push(Found { tool: source.name, title: source.title, file, accounts });
                }
            }
            Err(ImportError::NotFound { .. } | ImportError::NoHome | ImportError::NoPlace { .. }) => {}
            Err(error) => context.output.note(format!("the login of {} cannot be read: {error}", source.title)),
        }
    }
    all
}

/// What is not here yet: a login by its file or by its owner, a key by its provider, since nobody can tell two keys apart from
/// here. Where a login is new, the keys beside it come with it.
fn new_ones(accounts: Vec<AccountAdd>, here: &AccountList) -> Vec<AccountAdd> {
    let followed: HashSet<&str> = here.accounts.iter().filter_map(|account| account.follows.as_deref()).collect();
    let is_here = |account: &AccountAdd| {
        let kind = match account.credential {
            CredentialAdd::Oauth { .. } => "oauth",
            CredentialAdd::ApiKey { .. } => "api_key",
        };
        let known = here.accounts.iter().filter(|known| known.provider == account.provider && known.kind == kind);
        let is_same = |known: &claviger_admin::AccountView| kind == "api_key" || known.identity == account.identity;
        match &account.follows {
            Some(file) => followed.contains(file.as_str()),
            None => known.into_iter().any(is_same),
        }
    };
    accounts.into_iter().filter(|account| !is_here(account)).collect()
}
