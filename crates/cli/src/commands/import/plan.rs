//! What an import would do, with the vault left closed.

use super::draft::block_view;
use crate::commands::account::words::{self, tidy};
use crate::context::Context;
use crate::error::CliError;
use claviger_admin::{BlockView, IdentityView, SkippedRow, time_text};
use claviger_domain::credential::{CredentialKind, Standing};
use claviger_domain::options::{AccountOptions, OwnClient, Reserve, Weight};
use claviger_domain::time::Timestamp;
use claviger_providers::import::{Import, ImportedAccount, ImportedCredential};
use serde::Serialize;

/// What an import would do.
#[derive(Debug, Serialize)]
struct Plan {
    /// Always true; an import that was done has no such field.
    dry_run: bool,
    /// What would be stored.
    imported: Vec<Planned>,
    /// What would not.
    skipped: Vec<SkippedRow>,
}

/// An account that would be stored.
#[derive(Debug, Serialize)]
struct Planned {
    row: String,
    provider: String,
    kind: &'static str,
    label: Option<String>,
    identity: IdentityView,
    disabled: Option<String>,
    blocks: Vec<BlockView>,
    #[serde(with = "time_text::option")]
    expires_at: Option<Timestamp>,
    follows: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// Prints what would be done.
pub fn print(context: &Context, import: &Import) -> Result<(), CliError> {
    let plan = Plan::of(import);
    context.output.data(&plan, || plan.text())
}

impl Plan {
    fn of(import: &Import) -> Self {
        let skipped = import.skipped.iter().map(|skipped| SkippedRow { row: skipped.row.clone(), why: skipped.why.clone() });
        Self { dry_run: true, imported: import.accounts.iter().map(Planned::of).collect(), skipped: skipped.collect() }
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self.imported.iter().map(Planned::line).collect();
        lines.extend(self.skipped.iter().map(|skipped| tidy(&format!("would skip {}: {}", skipped.row, skipped.why))));
        if lines.is_empty() { "nothing was found".to_owned() } else { lines.join("\n") }
    }
}

impl Planned {
    fn of(account: &ImportedAccount) -> Self {
        let (kind, expires_at) = match &account.credential {
            ImportedCredential::OAuth { expires_at, .. } => (CredentialKind::OAuth, *expires_at),
            ImportedCredential::ApiKey { .. } => (CredentialKind::ApiKey, None),
        };
        Self {
            row: account.row.clone(),
            provider: account.provider.as_str().to_owned(),
            kind: kind.as_str(),
            label: account.label.clone(),
            identity: account.identity.clone().into(),
            disabled: match &account.standing {
                Standing::Active => None,
                Standing::Disabled { cause, since: _ } => Some(cause.clone()),
            },
            blocks: account.blocks.iter().cloned().map(block_view).collect(),
            expires_at,
            follows: account.follow.as_ref().map(|path| path.display().to_string()),
            options: options_of(account),
            notes: account.notes.clone(),
        }
    }

    fn line(&self) -> String {
        let verb = if self.follows.is_some() { "would follow" } else { "would import" };
        let name = words::identity(&self.identity).or_else(|| self.label.clone()).map(|name| format!(", {name}")).unwrap_or_default();
        let disabled = self.disabled.as_ref().map(|cause| format!(", disabled: {cause}")).unwrap_or_default();
        let from = self.follows.as_ref().map(|path| format!(", from {path}")).unwrap_or_default();
        let options = if self.options.is_empty() { String::new() } else { format!(", {}", self.options.join(", ")) };
        tidy(&format!("{verb} {}: {} {}{name}{disabled}{options}{from}", self.row, self.provider, self.kind))
    }
}

/// What the source sets for an account, a word or two each; a proxy without its password.
fn options_of(account: &ImportedAccount) -> Vec<String> {
    let AccountOptions { reserve, weight, own_client, model_prefix, proxy } = &account.options;
    let said = [
        (account.priority != 0).then(|| format!("priority {}", account.priority)),
        (*reserve != Reserve::default()).then(|| format!("reserve {reserve}")),
        (*weight != Weight::default()).then(|| format!("weight {weight}")),
        (*own_client != OwnClient::default()).then(|| format!("own client only {}", own_client.as_str())),
        model_prefix.as_ref().map(|prefix| format!("model prefix {prefix}")),
        proxy.as_ref().map(|proxy| format!("proxy {proxy}")),
    ];
    said.into_iter().flatten().collect()
}
