//! Recovery kits: a file that opens a vault whose own key is lost, encrypted as an age file.

mod age;
mod text;

pub use text::KitText;

use crate::args::{KitOpening, KitSource};
use crate::context::Context;
use crate::error::CliError;
use crate::{root_key, wire_up};
use age::{AgeError, Identity, Lock, Recipient, Unlock};
use claviger_runtime::best_effort;
use claviger_store::{RootKey, StoreError};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use text::KitTextError;
use zeroize::Zeroizing;

/// Why a file is no kit.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// The encryption.
    #[error(transparent)]
    Age(#[from] AgeError),
    /// What is inside.
    #[error(transparent)]
    Text(#[from] KitTextError),
}

impl KitError {
    fn at(&self, path: &Path) -> CliError {
        let message = format!("{}: {self}", path.display());
        match self {
            Self::Age(AgeError::WrongKey { .. }) => {
                CliError::locked(message).hint("the same command again, with the passphrase or the identity of this kit")
            }
            Self::Age(AgeError::OtherKind { needs: "a passphrase" }) => CliError::usage(message).hint("--kit-passphrase-file FILE"),
            Self::Age(AgeError::OtherKind { .. }) => CliError::usage(message).hint("--identity FILE"),
            Self::Age(AgeError::NotAge | AgeError::TooCostly | AgeError::Damaged) | Self::Text(_) => {
                CliError::failed(message).hint("use another copy of the kit")
            }
        }
    }
}

/// How a new kit is locked, as its command says it. A person is asked twice where nothing is said.
pub fn lock(context: &Context, recipient: Option<&str>, passphrase_file: Option<&Path>) -> Result<Lock, CliError> {
    if let Some(text) = recipient {
        let recipient = Recipient::parse(text)
            .ok_or_else(|| CliError::usage(format!("{text:?} is no age recipient")).hint("age-keygen makes one: age1 and 58 letters"))?;
        return Ok(Lock::Recipient(recipient));
    }
    let passphrase = match passphrase_file {
        Some(path) => root_key::strong_enough(root_key::passphrase_in(path)?)?,
        None if context.is_interactive() => root_key::typed_twice("New passphrase for the kit")?,
        None => return Err(CliError::usage("nobody can be asked for a passphrase").hint("--passphrase-file FILE, or --recipient age1…")),
    };
    Ok(Lock::Passphrase { passphrase, work_factor: age::WORK_FACTOR })
}

/// Writes a kit into a new file, 0600 and synced. A file that is there is never written over.
pub async fn write(path: &Path, kit: KitText, lock: Lock) -> Result<(), CliError> {
    let sealed = wire_up::blocking(move || age::encrypt(kit.write().as_bytes(), &lock)).await?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => CliError::io("writing the kit", path, &error),
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = file.write_all(&sealed).and_then(|()| file.sync_all()).and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|error| {
        best_effort("removing a kit that is not whole", std::fs::remove_file(path));
        failed(error)
    })
}

/// The error for a file that is there.
pub fn exists(path: &Path) -> CliError {
    CliError::refused(format!("{} is there already, and a kit is never written over", path.display())).hint("name another file")
}

/// Opens a kit by what its command names: a passphrase in a file, an identity in a file, or else a person who is asked.
pub async fn open(context: &Context, path: &Path, by: &KitOpening) -> Result<KitText, CliError> {
    let mut bytes = Vec::new();
    let limit = age::FILE_MAX_BYTES as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::not_found(format!("there is no file {}", path.display())),
        _ => CliError::io("reading the kit", path, &error),
    })?;
    if bytes.len() > age::FILE_MAX_BYTES {
        return Err(KitError::Age(AgeError::NotAge).at(path));
    }
    let key = match (&by.identity, &by.kit_passphrase_file) {
        (Some(identity), _) => Unlock::Identities(identities(identity)?),
        (None, Some(file)) => Unlock::Passphrase(root_key::passphrase_in(file)?),
        (None, None) if context.is_interactive() => Unlock::Passphrase(root_key::prompt("Passphrase of the kit")?),
        (None, None) => {
            return Err(
                CliError::usage("nobody can be asked for the kit's passphrase").hint("--kit-passphrase-file FILE, or --identity FILE")
            );
        }
    };
    let opened = wire_up::blocking(move || age::decrypt(&bytes, &key)).await?;
    let read = opened.map_err(KitError::from).and_then(|plain| {
        let text = std::str::from_utf8(&plain).map_err(|_not_text| KitTextError::Unknown)?;
        Ok(KitText::read(text)?)
    });
    read.map_err(|error| error.at(path))
}

/// The key in a kit for the vault of this id, which another vault's kit is not.
pub fn key_for(vault_id: [u8; 16], kit: KitText, path: &Path) -> Result<RootKey, CliError> {
    if kit.vault_id != vault_id {
        return Err(CliError::refused(format!("{} is the kit of another vault", path.display()))
            .hint("the kit of this vault, or the vault of this kit: export CLAVIGER_HOME=DIR"));
    }
    Ok(RootKey::Kit(kit.secret))
}

/// The key of the kit that a command names for the vault of this id; `None` where it names none.
pub async fn source(context: &Context, vault_id: [u8; 16], from: &KitSource) -> Result<Option<RootKey>, CliError> {
    let KitSource { kit, opening } = from;
    match kit {
        Some(path) => Ok(Some(key_for(vault_id, open(context, path, opening).await?, path)?)),
        None if opening.kit_passphrase_file.is_some() || opening.identity.is_some() => {
            Err(CliError::usage("what opens a kit is named, and no kit").hint("--kit FILE"))
        }
        None => Ok(None),
    }
}

/// What it means that a vault does not open with its own kit.
pub fn outdated(error: StoreError, path: &Path) -> CliError {
    match error {
        StoreError::WrongKey { .. } => {
            let message = format!("{} is outdated: the vault was sealed anew after it was made", path.display());
            CliError::locked(message).hint("a newer kit, or with the vault's own key: claviger seal kit FILE")
        }
        other => other.into(),
    }
}

/// The identities in a file, one a line, as `age-keygen` writes them.
fn identities(path: &Path) -> Result<Vec<Identity>, CliError> {
    let mut text = Zeroizing::new(String::with_capacity(age::FILE_MAX_BYTES));
    File::open(path)
        .and_then(|file| file.take(age::FILE_MAX_BYTES as u64).read_to_string(&mut text))
        .map_err(|error| CliError::io("reading the identity", path, &error))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities: Vec<Identity> = lines.filter_map(Identity::parse).collect();
    if identities.is_empty() {
        return Err(CliError::usage(format!("{}: it holds no X25519 identity of age", path.display())).hint("age-keygen makes one"));
    }
    Ok(identities)
}
