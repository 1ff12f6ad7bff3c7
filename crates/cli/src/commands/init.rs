//! `claviger init`: creates the vault, and its key file or passphrase.

use crate::args::{InitArgs, SealKind};
use crate::context::Context;
use crate::error::CliError;
use crate::{root_key, wire_up};
use claviger_store::vault_exists;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// The folder of the vault.
    home: PathBuf,
    /// `keyfile` or `passphrase`.
    seal: &'static str,
    /// The key file that opens it.
    key_file: Option<PathBuf>,
    /// Whether the key file was made now; another vault may use it already.
    key_file_is_new: bool,
}

/// Runs the command.
pub async fn run(context: &Context, args: InitArgs) -> Result<(), CliError> {
    let created = create(context, args.seal).await?;
    context.output.data(&created, || created.text())?;
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
            Ok(Created { home, seal: "keyfile", key_file: Some(path), key_file_is_new })
        }
        SealKind::Passphrase => {
            wire_up::create(context, root_key::new_passphrase(context)?).await?;
            Ok(Created { home, seal: "passphrase", key_file: None, key_file_is_new: false })
        }
    }
}

impl Created {
    /// What was created and what to look after, for people.
    pub fn text(&self) -> String {
        let mut text = format!("vault     {}\n", self.home.display());
        match (&self.key_file, self.key_file_is_new) {
            (Some(path), true) => write!(text, "key file  {} (whoever has both has every credential: back them up apart)", path.display()),
            (Some(path), false) => write!(text, "key file  {} (was there already)", path.display()),
            (None, _) => write!(text, "sealed    with your passphrase (it cannot be recovered)"),
        }
        .expect("writing to a String never fails");
        text
    }
}
