//! `claviger backup`: copies the vault into a file, whether or not a server runs.

use crate::args::BackupArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::printable;
use crate::wire_up::blocking;
use claviger_store::{SealKind, StoreError, seal_info, vault_backup};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::PathBuf;

/// What was copied.
#[derive(Debug, Serialize)]
struct BackedUp {
    /// The file.
    file: PathBuf,
    /// Its size.
    size_bytes: u64,
    /// What opens it: `keyfile`, `passphrase` or `keyring`.
    seal: &'static str,
}

/// Runs the command. No key is needed: the copy is sealed as the vault is.
pub async fn run(context: &Context, args: BackupArgs) -> Result<(), CliError> {
    let home = context.paths.home.clone();
    let file = std::path::absolute(&args.file).map_err(|error| CliError::io("making the path absolute", &args.file, &error))?;
    let to = file.clone();
    let (made, info) = blocking(move || Ok::<_, StoreError>((vault_backup(&home, &to)?, seal_info(&home)?))).await?.map_err(|error| {
        let hint = match &error {
            StoreError::Exists { .. } => Some("claviger backup ANOTHER-FILE"),
            StoreError::Io { source, .. } if source.kind() == ErrorKind::NotFound => Some("make its folder first, or name another one"),
            _ => None,
        };
        let error = CliError::from(error);
        if let Some(hint) = hint { error.hint(hint) } else { error }
    })?;
    let (seal, key) = match info.kind {
        SealKind::KeyFile => ("keyfile", format!("the key file {}", context.paths.master_key.display())),
        SealKind::Passphrase => ("passphrase", "the passphrase of the vault".to_owned()),
        SealKind::Keyring => ("keyring", "the key in the keyring".to_owned()),
    };
    if made.folder_is_writable {
        context.output.note("warning: others can write to the folder of this file, and so take it away or put another one into its place");
    }
    context.output.note(format!("it opens with {key}, which is not in it: keep that apart"));
    let backed_up = BackedUp { file, size_bytes: made.size_bytes, seal };
    context
        .output
        .data(&backed_up, || format!("backed up to {} ({} bytes)", printable(&backed_up.file.display().to_string()), made.size_bytes))
}
