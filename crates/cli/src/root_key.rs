//! What opens the vault: the key file beside the configuration, the keyring of the operating system, or a passphrase from a
//! file, from systemd or from a person.

use crate::context::Context;
use crate::env::{Env, Paths};
use crate::error::CliError;
use crate::key_file;
use crate::os_keyring::{Keyring, KeyringError, entry_name};
use claviger_domain::secret::SecretText;
use claviger_store::{RootKey, RootSecret, SealInfo, SealKind, StoreError, root_key_file_create, seal_info};
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
pub async fn for_opening(context: &Context) -> Result<RootKey, CliError> {
    let asking = if context.is_interactive() { Asking::Person } else { Asking::Nobody };
    Ok(KeySources::of(context, asking).key().await?)
}

/// Whether a person can be asked for a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// On the terminal.
    Person,
    /// Nobody.
    Nobody,
}

/// Why there is no key.
#[derive(Debug)]
pub enum NoKey {
    /// The keyring does not give it.
    Keyring(KeyringError),
    /// Anything else.
    Failed(CliError),
}

impl From<CliError> for NoKey {
    fn from(error: CliError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for NoKey {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<NoKey> for CliError {
    fn from(error: NoKey) -> Self {
        match error {
            NoKey::Keyring(error) => error.into(),
            NoKey::Failed(error) => error,
        }
    }
}

/// Where keys come from. It outlives the command that made it: a server asks again and again.
#[derive(Debug, Clone)]
pub struct KeySources {
    env: Env,
    paths: Paths,
    keyring: Keyring,
    asking: Asking,
}

impl KeySources {
    /// Those of this command.
    pub fn of(context: &Context, asking: Asking) -> Self {
        Self { env: context.env.clone(), paths: context.paths.clone(), keyring: context.keyring.clone(), asking }
    }

    /// The same, but nobody is asked.
    #[must_use]
    pub fn asking_nobody(self) -> Self {
        Self { asking: Asking::Nobody, ..self }
    }

    /// Where the vault and what belongs to it are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The key for the vault as it is sealed now. Waits for the keyring within its time limit.
    pub async fn key(&self) -> Result<RootKey, NoKey> {
        let info = seal_info(&self.paths.home)?;
        if info.kind == SealKind::KeyFile {
            key_file::settle(&self.paths.home, &self.paths.master_key)?;
        }
        self.key_for(info).await
    }

    /// The key for a vault, or for a copy of one, that is sealed in this way.
    pub async fn key_for(&self, info: SealInfo) -> Result<RootKey, NoKey> {
        match (info.kind, info.keyring_entry) {
            (SealKind::Keyring, Some(entry)) => {
                let key = self.keyring.read(&entry).await.map_err(NoKey::Keyring)?;
                Ok(RootKey::Keyring { entry, key })
            }
            (kind, _) => Ok(key_at_hand(self, kind)?),
        }
    }
}

/// A key that needs no keyring.
fn key_at_hand(sources: &KeySources, kind: SealKind) -> Result<RootKey, CliError> {
    match kind {
        SealKind::KeyFile => {
            let path = sources.paths.master_key.clone();
            if !path.exists() {
                let message = format!("the vault is locked: its key file {} is not there", path.display());
                return Err(CliError::locked(message)
                    .hint("put the key file back, or name the configuration beside it: export CLAVIGER_CONFIG=FILE"));
            }
            Ok(RootKey::KeyFile { path })
        }
        SealKind::Passphrase => match passphrase_given(&sources.env)? {
            Some(passphrase) => Ok(RootKey::Passphrase(passphrase)),
            None if sources.asking == Asking::Person => Ok(RootKey::Passphrase(prompt("Passphrase of the vault")?)),
            None => Err(CliError::locked("the vault is sealed with a passphrase, and nobody can be asked for it")
                .hint("export CLAVIGER_PASSPHRASE_FILE=FILE")),
        },
        SealKind::Keyring => Err(CliError::failed("the vault does not say which entry of the keyring opens it").hint("claviger doctor")),
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

/// A new key in the keyring under a new name, which comes with it; read back before anything relies on it.
pub async fn new_keyring_entry(keyring: &Keyring) -> Result<(RootKey, String), CliError> {
    let (entry, key) = (entry_name(), RootSecret::generate());
    let kept = keyring.keep(&entry, &key).await;
    kept.map_err(|error| CliError::from(error).hint("start the keyring and unlock it, or choose the key file instead"))?;
    Ok((RootKey::Keyring { entry: entry.clone(), key }, entry))
}

/// The passphrase for a new vault; typed twice where a person is asked.
pub fn new_passphrase(context: &Context) -> Result<RootKey, CliError> {
    let passphrase = match passphrase_given(&context.env)? {
        Some(passphrase) => strong_enough(passphrase)?,
        None if context.is_interactive() => typed_twice("New passphrase for the vault")?,
        None => return Err(CliError::usage("nobody can be asked for a passphrase").hint("export CLAVIGER_PASSPHRASE_FILE=FILE")),
    };
    Ok(RootKey::Passphrase(passphrase))
}

/// The passphrase of the next seal: from the file that was named, else typed twice. The files that give the passphrase of now
/// are not asked: they open the vault as it is.
pub fn next_passphrase(context: &Context, file: Option<&Path>) -> Result<RootKey, CliError> {
    let passphrase = match file {
        Some(path) => strong_enough(passphrase_in(path)?)?,
        None if context.is_interactive() => typed_twice("New passphrase for the vault")?,
        None => {
            let hint = "claviger seal rewrap --to passphrase --new-passphrase-file FILE";
            return Err(CliError::usage("nobody can be asked for a new passphrase").hint(hint));
        }
    };
    Ok(RootKey::Passphrase(passphrase))
}

/// A new passphrase from a person, typed twice.
pub fn typed_twice(question: &str) -> Result<SecretText, CliError> {
    let first = prompt(question)?;
    let again = prompt("The same again")?;
    if first.expose() != again.expose() {
        return Err(CliError::usage("the two passphrases differ").hint("the same command again"));
    }
    strong_enough(first)
}

/// A new passphrase, unless it is too short.
pub fn strong_enough(passphrase: SecretText) -> Result<SecretText, CliError> {
    if passphrase.expose().chars().count() < PASSPHRASE_MIN_CHARS {
        let message = format!("the passphrase is shorter than {PASSPHRASE_MIN_CHARS} letters");
        return Err(CliError::usage(message).hint("the same command again, with a longer one"));
    }
    Ok(passphrase)
}

/// The passphrase from `CLAVIGER_PASSPHRASE_FILE`, else from systemd. A file that was named and cannot be read is an error.
fn passphrase_given(env: &Env) -> Result<Option<SecretText>, CliError> {
    let from_systemd = || -> Option<PathBuf> {
        let path = env.credentials_directory.as_ref()?.join(SYSTEMD_CREDENTIAL);
        path.exists().then_some(path)
    };
    let Some(path) = env.passphrase_file.clone().or_else(from_systemd) else { return Ok(None) };
    passphrase_in(&path).map(Some)
}

/// The passphrase in a file.
pub fn passphrase_in(path: &Path) -> Result<SecretText, CliError> {
    let failed = |error: std::io::Error| CliError::io("reading the passphrase", path, &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    // The buffer never grows, so that no copy of it is left behind.
    let mut text = Zeroizing::new(String::with_capacity(PASSPHRASE_MAX_BYTES + 1));
    file.take(PASSPHRASE_MAX_BYTES as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    read(&text).map_err(|why| CliError::usage(format!("{}: {why}", path.display())))
}

/// A passphrase from a person.
pub fn prompt(question: &str) -> Result<SecretText, CliError> {
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
