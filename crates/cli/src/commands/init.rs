//! `claviger init`: creates the vault, and its key file, passphrase or entry of the keyring.

use crate::args::{InitArgs, SealKind};
use crate::context::Context;
use crate::error::CliError;
use crate::{root_key, wire_up};
use claviger_runtime::best_effort;
use claviger_store::vault_exists;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// The folder of the vault.
    home: PathBuf,
    /// `keyfile`, `passphrase` or `keyring`.
    seal: &'static str,
    /// The key file that opens it.
    key_file: Option<PathBuf>,
    /// Whether the key file was made now; another vault may use it already.
    key_file_is_new: bool,
    /// The entry of the keyring that opens it.
    keyring_entry: Option<String>,
}

/// Runs the command.
pub async fn run(context: &Context, args: InitArgs) -> Result<(), CliError> {
    let created = create(context, args.seal).await?;
    context.output.data(&created, || created.text())?;
    context.output.note("hint: claviger seal kit FILE makes a recovery kit: without it a lost key is a lost vault");
    context.output.note("hint: claviger up");
    Ok(())
}

/// Creates a vault; one that is there is refused.
pub async fn create(context: &Context, seal: SealKind) -> Result<Created, CliError> {
    let home = context.paths.home.clone();
    if vault_exists(&home) {
        return Err(CliError::refused(format!("there is a vault at {} already", home.display())).hint("claviger status"));
    }
    match seal {
        SealKind::Keyfile => {
            let path = context.paths.master_key.clone();
            let (root, key_file_is_new) = root_key::key_file(&path)?;
            wire_up::create(context, root).await?;
            Ok(Created { home, seal: "keyfile", key_file: Some(path), key_file_is_new, keyring_entry: None })
        }
        SealKind::Keyring => {
            let (root, entry) = root_key::new_keyring_entry(&context.keyring).await?;
            if let Err(error) = wire_up::create(context, root).await {
                best_effort("removing the key of a vault that was not made", context.keyring.remove(&entry).await);
                return Err(error);
            }
            Ok(Created { home, seal: "keyring", key_file: None, key_file_is_new: false, keyring_entry: Some(entry) })
        }
        SealKind::Passphrase => {
            wire_up::create(context, root_key::new_passphrase(context)?).await?;
            Ok(Created { home, seal: "passphrase", key_file: None, key_file_is_new: false, keyring_entry: None })
        }
    }
}

impl Created {
    /// What was created and what to look after, for people.
    pub fn text(&self) -> String {
        let mut text = format!("vault     {}\n", self.home.display());
        match (&self.key_file, &self.keyring_entry) {
            (Some(path), _) if self.key_file_is_new => {
                write!(text, "key file  {} (whoever has both has every credential: back them up apart)", path.display())
            }
            (Some(path), _) => write!(text, "key file  {} (was there already)", path.display()),
            (None, Some(entry)) => write!(text, "sealed    with the entry {entry} of your keyring"),
            (None, None) => write!(text, "sealed    with your passphrase (it cannot be recovered)"),
        }
        .expect("writing to a String never fails");
        text
    }
}
