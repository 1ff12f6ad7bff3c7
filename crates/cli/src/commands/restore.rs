//! `claviger restore`: puts a backup into the vault's place, and says which accounts must be taken.

use super::account::words::Lines;
use crate::admin_socket::SocketLock;
use crate::args::RestoreArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::kit;
use crate::output::printable;
use crate::root_key::{Asking, KeySources};
use crate::wire_up::blocking;
use claviger_store::{Restored, SealInfo, StoreError, backup_seal_info, vault_exists, vault_restore};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What was restored.
#[derive(Debug, Serialize)]
struct RestoredView {
    /// The backup.
    file: PathBuf,
    /// The folder that it was restored into.
    home: PathBuf,
    /// How many accounts it has.
    accounts: u64,
    /// Ids of those that are not refreshed until they are taken.
    quarantined: Vec<i64>,
    /// Where the vault that was there is kept.
    kept: Option<PathBuf>,
    /// Rows that cannot be read, and why.
    faults: Vec<String>,
}

/// Runs the command.
pub async fn run(context: &Context, args: RestoreArgs) -> Result<(), CliError> {
    let file = std::path::absolute(&args.file).map_err(|error| CliError::io("making the path absolute", &args.file, &error))?;
    let info = sealed_with(&file).await?;
    let Some(_nobody_serves) = SocketLock::take(&context.paths.socket)? else {
        return Err(CliError::refused("a server runs, and would go on with the vault that is there").hint("claviger down"));
    };
    agreed(context, &args)?;
    let root = if let Some(root) = kit::source(context, info.vault_id, &args.from).await? {
        root
    } else {
        let asking = if context.is_interactive() { Asking::Person } else { Asking::Nobody };
        KeySources::of(context, asking).key_for(info).await.map_err(CliError::from)?
    };
    let (home, mirrors, now) = (context.paths.home.clone(), context.paths.mirrors.clone(), context.clock.now());
    let backup = file.clone();
    let restored = blocking(move || vault_restore(&home, &backup, &root, mirrors.as_deref(), now)).await?;
    let restored = restored.map_err(|error| wrong_key(context, error))?;
    let view = RestoredView::new(restored, file, context.paths.home.clone());
    context.output.data(&view, || view.text())?;
    context.output.note("virtual keys that were revoked after the backup was made are valid again: claviger key list");
    for id in &view.quarantined {
        context.output.note(format!("hint: claviger account take {id}"));
    }
    Ok(())
}

async fn sealed_with(file: &Path) -> Result<SealInfo, CliError> {
    let file = file.to_owned();
    let info = blocking(move || backup_seal_info(&file)).await?;
    info.map_err(|error| match error {
        StoreError::Absent { path } => CliError::not_found(format!("there is no file {}", path.display())).hint("claviger restore FILE"),
        other => other.into(),
    })
}

/// A backup of before the last `claviger seal rewrap` needs the key of then.
fn wrong_key(context: &Context, error: StoreError) -> CliError {
    let is_wrong = matches!(error, StoreError::WrongKey { .. });
    let error = CliError::from(error);
    if !is_wrong {
        return error;
    }
    let key = context.paths.master_key.display();
    error.hint(format!(
        "give the passphrase, or put the key file into place, of the day of the backup: those that rewraps replaced are beside {key}, as {key}.old"
    ))
}

/// A vault that is there is replaced once a person, or `--yes`, agreed.
fn agreed(context: &Context, args: &RestoreArgs) -> Result<(), CliError> {
    let home = &context.paths.home;
    if args.yes || !vault_exists(home) {
        return Ok(());
    }
    let question = format!("replace the vault at {} by this backup? It is kept in its backups folder.", home.display());
    if context.confirm(&question)? {
        return Ok(());
    }
    let hint = format!("claviger restore {} --yes", args.file.display());
    Err(CliError::refused("nothing was restored: there is a vault, and nobody agreed to replace it").hint(hint))
}

impl RestoredView {
    fn new(restored: Restored, file: PathBuf, home: PathBuf) -> Self {
        let Restored { accounts, quarantined, kept, faults } = restored;
        let quarantined = quarantined.into_iter().map(|id| id.0).collect();
        Self { file, home, accounts, quarantined, kept, faults: faults.iter().map(ToString::to_string).collect() }
    }

    fn text(&self) -> String {
        let path = |path: &Path| printable(&path.display().to_string());
        let mut lines = Lines::titled(&format!("restored {}", path(&self.home)));
        lines.line("from", &path(&self.file));
        lines.line("accounts", &self.accounts.to_string());
        let held = match self.quarantined.len() {
            0 => "none".to_owned(),
            count => {
                format!("{count}; their live tokens are served, but refresh tokens may have been used up since: take those that are yours")
            }
        };
        lines.line("quarantined", &held);
        lines.maybe("kept", self.kept.as_deref().map(path).as_deref());
        lines.maybe("unreadable", Some(self.faults.join("; ")).filter(|faults| !faults.is_empty()).as_deref());
        lines.into_text().trim_end().to_owned()
    }
}
