//! `claviger seal kit` and `claviger seal check-kit`: makes a recovery kit, and proves that one opens this vault.

use super::kind_word;
use crate::args::{CheckKitArgs, KitArgs};
use crate::context::Context;
use crate::error::CliError;
use crate::kit::{self, KitText};
use crate::output::printable;
use crate::wire_up;
use claviger_admin::time_text;
use claviger_domain::time::Timestamp;
use claviger_store::{LoadedVault, SqliteStore, Store, seal_info};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    file: PathBuf,
    /// `passphrase` or `recipient`.
    encrypted_to: &'static str,
    #[serde(with = "time_text")]
    made_at: Timestamp,
}

/// Makes a kit. It is whole and on disk before the vault remembers it.
pub async fn make(context: &Context, args: KitArgs) -> Result<(), CliError> {
    let file = std::path::absolute(&args.file).map_err(|error| CliError::io("making the path absolute", &args.file, &error))?;
    // Nobody types a passphrase twice for a file that cannot be written.
    if file.symlink_metadata().is_ok() {
        return Err(kit::exists(&file));
    }
    let lock = kit::lock(context, args.recipient.as_deref(), args.passphrase_file.as_deref())?;
    let encrypted_to = if args.recipient.is_some() { "recipient" } else { "passphrase" };
    let kind = seal_info(&context.paths.home)?.kind;
    let store = super::open(context).await?;
    let made_at = context.clock.now();
    let making = async {
        let (vault_id, secret) = store.recovery_secret().await?;
        super::audit(context, &store, "seal.kit", encrypted_to.to_owned()).await?;
        kit::write(&file, KitText { vault_id, sealed_with: kind, made_at, secret }, lock).await?;
        Ok::<_, CliError>(store.kit_made(made_at).await?)
    };
    let made = making.await;
    store.close().await?;
    made?;
    let made = Made { file, encrypted_to, made_at };
    let shown = printable(&made.file.display().to_string());
    context.output.data(&made, || format!("recovery kit  {shown} (keep it apart from the vault and from its key)"))?;
    context.output.note(format!("hint: claviger seal check-kit {shown}"));
    Ok(())
}

/// What a drill showed.
#[derive(Debug, Serialize)]
struct Checked {
    file: PathBuf,
    #[serde(with = "time_text")]
    made_at: Timestamp,
    /// What the vault was sealed with then.
    sealed_with: &'static str,
    accounts: usize,
    keys: usize,
    /// Rows that do not open, whatever the key.
    faults: usize,
}

/// Opens the vault with a kit and reads every row of it; changes nothing.
pub async fn check(context: &Context, args: CheckKitArgs) -> Result<(), CliError> {
    let vault_id = seal_info(&context.paths.home)?.vault_id;
    let kit = kit::open(context, &args.file, &args.opening).await?;
    let (made_at, sealed_with) = (kit.made_at, kind_word(kit.sealed_with));
    let root = kit::key_for(vault_id, kit, &args.file)?;
    let (home, clock) = (context.paths.home.clone(), Arc::clone(&context.clock));
    let opened = wire_up::blocking(move || SqliteStore::open(&home, &root, &*clock)).await?;
    let store = opened.map_err(|error| kit::outdated(error, &args.file))?;
    let loaded = store.load().await;
    store.close().await?;
    let LoadedVault { accounts, keys, faults, .. } = loaded?;
    let checked = Checked { file: args.file, made_at, sealed_with, accounts: accounts.len(), keys: keys.len(), faults: faults.len() };
    context.output.data(&checked, || text(&checked))
}

fn text(checked: &Checked) -> String {
    let Checked { file, made_at, accounts, keys, faults, .. } = checked;
    let unread = if *faults == 0 { String::new() } else { format!("; {faults} rows cannot be read by any key: claviger doctor") };
    format!(
        "{} opens this vault: {accounts} accounts, {keys} keys (made at {}){unread}",
        printable(&file.display().to_string()),
        time_text::format(*made_at)
    )
}
