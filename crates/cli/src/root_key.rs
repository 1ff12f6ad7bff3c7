//! What opens the vault: the key file beside the configuration, or a passphrase from a file, from systemd or from a person.

use crate::context::Context;
use crate::error::CliError;
use claviger_domain::secret::SecretText;
use claviger_store::{RootKey, SealKind, root_key_file_create, seal_kind};
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The name of the credential that systemd hands over (`LoadCredential=claviger-passphrase:…`).
const SYSTEMD_CREDENTIAL: &str = "claviger-passphrase";

/// Most bytes of a passphrase.
const PASSPHRASE_MAX_BYTES: usize = 4096;

/// Fewest letters of a new passphrase: shorter ones are guessed whatever the stretching costs.
const PASSPHRASE_MIN_CHARS: usize = 8;

/// The key for the vault that is there.
pub fn for_opening(context: &Context) -> Result<RootKey, CliError> {
    match seal_kind(&context.paths.home)? {
        SealKind::KeyFile => {
            let path = context.paths.master_key.clone();
            if !path.exists() {
                let message = format!("the vault is locked: its key file {} is not there", path.display());
                return Err(CliError::locked(message)
                    .hint("put the key file back, or name the configuration beside it: export CLAVIGER_CONFIG=FILE"));
            }
            Ok(RootKey::KeyFile { path })
        }
        SealKind::Passphrase => match passphrase_given(context)? {
            Some(passphrase) => Ok(RootKey::Passphrase(passphrase)),
            None if context.is_interactive() => Ok(RootKey::Passphrase(prompt("Passphrase of the vault")?)),
            None => Err(CliError::locked("the vault is sealed with a passphrase, and nobody can be asked for it")
                .hint("export CLAVIGER_PASSPHRASE_FILE=FILE")),
        },
    }
}

/// The key file for a new vault, made where it is missing. Says whether it was made.
pub fn key_file(path: &Path) -> Result<(RootKey, bool), CliError> {
    let is_new = !path.exists();
    if is_new {
        root_key_file_create(path)?;
    }
    Ok((RootKey::KeyFile { path: path.to_path_buf() }, is_new))
}

/// The passphrase for a new vault; typed twice where a person is asked.
pub fn new_passphrase(context: &Context) -> Result<RootKey, CliError> {
    let passphrase = match passphrase_given(context)? {
        Some(passphrase) => passphrase,
        None if context.is_interactive() => {
            let first = prompt("New passphrase for the vault")?;
            let again = prompt("The same again")?;
            if first.expose() != again.expose() {
                return Err(CliError::usage("the two passphrases differ").hint("claviger init --seal passphrase"));
            }
            first
        }
        None => return Err(CliError::usage("nobody can be asked for a passphrase").hint("export CLAVIGER_PASSPHRASE_FILE=FILE")),
    };
    if passphrase.expose().chars().count() < PASSPHRASE_MIN_CHARS {
        return Err(CliError::usage(format!("the passphrase is shorter than {PASSPHRASE_MIN_CHARS} letters"))
            .hint("claviger init --seal passphrase"));
    }
    Ok(RootKey::Passphrase(passphrase))
}

/// The passphrase from `CLAVIGER_PASSPHRASE_FILE`, else from systemd. A file that was named and cannot be read is an error.
fn passphrase_given(context: &Context) -> Result<Option<SecretText>, CliError> {
    let from_systemd = || -> Option<PathBuf> {
        let path = context.env.credentials_directory.as_ref()?.join(SYSTEMD_CREDENTIAL);
        path.exists().then_some(path)
    };
    let Some(path) = context.env.passphrase_file.clone().or_else(from_systemd) else { return Ok(None) };
    let failed = |error: std::io::Error| CliError::io("reading the passphrase", &path, &error);
    let file = std::fs::File::open(&path).map_err(failed)?;
    // The buffer never grows, so that no copy of it is left behind.
    let mut text = Zeroizing::new(String::with_capacity(PASSPHRASE_MAX_BYTES + 1));
    file.take(PASSPHRASE_MAX_BYTES as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    read(&text).map(Some).map_err(|why| CliError::usage(format!("{}: {why}", path.display())))
}

fn prompt(question: &str) -> Result<SecretText, CliError> {
    let typed = rpassword::prompt_password(format!("{question}: ")).map(Zeroizing::new);
    let typed = typed.map_err(|error| CliError::failed(format!("the terminal failed: {error}")))?;
    read(&typed).map_err(|why| CliError::usage(format!("the passphrase {why}")))
}

/// The line ending of a file does not belong to the passphrase; all other white space does.
fn read(text: &str) -> Result<SecretText, String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > PASSPHRASE_MAX_BYTES {
        return Err(format!("is longer than {PASSPHRASE_MAX_BYTES} bytes"));
    }
    Ok(SecretText::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_ending_is_cut_from_a_passphrase() {
        assert_eq!(read(" canary phrase \r\n").unwrap().expose(), " canary phrase ");
        assert!(read("\n").is_err());
        assert!(read(&"x".repeat(PASSPHRASE_MAX_BYTES + 1)).is_err());
    }
}
