//! The key file and its successor: a new one is put into its place only once the vault is sealed with it.
//!
//! `master.key.new` is written whole before the vault is sealed with it, and moved over `master.key` after. Stopped in between,
//! the next command that opens the vault finds the successor and finishes the move. No key file is ever deleted: the old one
//! opens backups that were made before.

use crate::error::CliError;
use claviger_runtime::best_effort;
use claviger_store::{RootKey, root_key_file_create, root_key_opens};
use std::ffi::OsString;
use std::fs::{File, hard_link, remove_file, rename};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most old key files that are kept; a person who comes so far should look at them.
const OLD_KEY_FILES_MAX: u32 = 100;

/// A key file that is not in its place yet: the one that a run before left, or a new one, whole on disk.
///
/// One that is there is taken rather than replaced, since another process may be sealing the vault with it right now.
pub fn successor(path: &Path) -> Result<PathBuf, CliError> {
    let next = beside(path, "new");
    if next.exists() {
        return Ok(next);
    }
    let draft = beside(path, &format!("draft-{:016x}", claviger_runtime::random_u64()));
    root_key_file_create(&draft)?;
    let linked = hard_link(&draft, &next);
    remove_file(&draft).map_err(|error| CliError::io("removing a draft", &draft, &error))?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(CliError::io("writing the new key file", &next, &error)),
        _ => folder_sync(path).map(|()| next),
    }
}

/// Moves the successor into the place of the key file. Answers where the old one is kept, if there was one.
fn succeed(path: &Path) -> Result<Option<PathBuf>, CliError> {
    let old = if beside(path, "new").exists() { keep_old(path)? } else { None };
    match rename(beside(path, "new"), path) {
        // Another process has finished the move.
        Err(error) if error.kind() == ErrorKind::NotFound && path.exists() => {}
        done => done.map_err(|error| CliError::io("putting the new key file into place", path, &error))?,
    }
    folder_sync(path)?;
    Ok(old)
}

/// Moves the successor into the place of the key file once the vault is sealed with it, and not before: it may be that of another
/// process, which is not so far. Answers where the old one is kept, if it was moved and there was one.
pub fn settle(home: &Path, path: &Path) -> Result<Option<PathBuf>, CliError> {
    let next = beside(path, "new");
    if !next.exists() {
        return Ok(None);
    }
    // One that cannot be read opens nothing, and must not keep the key that is in its place from opening the vault.
    let opens = best_effort("looking at a new key file", root_key_opens(home, &RootKey::KeyFile { path: next }));
    if opens == Some(true) { succeed(path) } else { Ok(None) }
}

/// Gives the key file a second name under which it stays. A name that it has already is not made again.
fn keep_old(path: &Path) -> Result<Option<PathBuf>, CliError> {
    for n in 1..=OLD_KEY_FILES_MAX {
        let old = beside(path, &if n == 1 { "old".to_owned() } else { format!("old-{n}") });
        match hard_link(path, &old) {
            Ok(()) => return Ok(Some(old)),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is_same_file(path, &old) => return Ok(Some(old)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(CliError::io("keeping the old key file", &old, &error)),
        }
    }
    Err(CliError::refused(format!(
        "there are {OLD_KEY_FILES_MAX} old key files beside {}: move those away that no backup needs",
        path.display()
    )))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    id(one).is_some_and(|one| Some(one) == id(other))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn folder_sync(path: &Path) -> Result<(), CliError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| CliError::io("syncing the folder", folder, &error))
}
