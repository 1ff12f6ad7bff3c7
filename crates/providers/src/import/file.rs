//! Reading the files of other tools: bounded, never a pipe, never written.

use super::keychain::{self, keychain_item};
use super::{FILE_MAX_BYTES, FollowFormat, Import, ImportError, claude_code, gemini_cli};
use claviger_domain::identity::Identity;
use std::io::{ErrorKind, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// Most bytes of a file that says whose a login is and much else, such as the history of projects.
const OWNER_FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Reads a file of logins or keys, or the item of a keychain that stands in its place. Symbolic links are followed, as the
/// tools themselves do. Blocks on the file system; for a keychain perhaps on a person.
pub fn read_login_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    match keychain_item(path) {
        Some(service) => keychain::read(service).map_err(|source| failed(path, source)),
        None => read_bounded(path, FILE_MAX_BYTES),
    }
}

/// Whose login a followed file holds, as far as the tool says so in another file. Blocks on the file system.
pub fn followed_owner(format: FollowFormat, path: &Path) -> Option<Identity> {
    match format {
        FollowFormat::ClaudeCode => claude_code::owner_files(path).into_iter().find_map(|file| {
            let text = read_bounded(&file, OWNER_FILE_MAX_BYTES).ok()?;
            claude_code::owner(&text).ok().filter(|owner| owner.key().is_some())
        }),
        FollowFormat::GeminiCli => {
            let text = read_bounded(&path.with_file_name(gemini_cli::OWNER_FILE), FILE_MAX_BYTES).ok()?;
            let email = gemini_cli::active_account(&text).ok().flatten();
            Some(Identity { email, ..Identity::default() }.normalized())
        }
        FollowFormat::Codex | FollowFormat::KimiCli | FollowFormat::OpenCode => None,
    }
}

/// Reads a file that may be missing.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, ImportError> {
    match read_login_file(path) {
        Ok(text) => Ok(Some(text)),
        Err(ImportError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says so where others of this machine can read a file of secrets.
pub(super) fn warn_if_open(import: &mut Import, path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        const OTHERS: u32 = 0o077;
        let mode = std::fs::metadata(path).map(|file| file.permissions().mode() & 0o777).unwrap_or_default();
        if mode & OTHERS != 0 {
            let path = path.display();
            import.notes.push(format!("others of this machine can read {path} (mode {mode:03o}): chmod 600 {path}"));
        }
    }
}

/// What is known of a file, which is neither a pipe nor a device.
pub(super) fn regular(path: &Path) -> Result<std::fs::Metadata, ImportError> {
    let there = std::fs::metadata(path).map_err(|source| failed(path, source))?;
    if there.is_file() { Ok(there) } else { Err(failed(path, std::io::Error::new(ErrorKind::InvalidInput, "it is no regular file"))) }
}

fn read_bounded(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let failed = |source| failed(path, source);
    // To open a pipe would wait for its writer, and it is gone after one reading.
    let there = regular(path)?;
    if there.len() > limit {
        return Err(ImportError::TooLong { path: path.to_owned(), limit });
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    // The buffer never grows, so that no copy of it is left behind.
    let room = there.len().saturating_add(GROWTH_MAX_BYTES).min(limit + 1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    file.take(room).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(ImportError::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// How much a file may grow between a look at its length and its end: a tool writes one login more.
const GROWTH_MAX_BYTES: u64 = 64 * 1024;

fn failed(path: &Path, source: std::io::Error) -> ImportError {
    match source.kind() {
        ErrorKind::NotFound => ImportError::NotFound { path: path.to_owned() },
        _ => ImportError::Unreadable { path: path.to_owned(), source },
    }
}
