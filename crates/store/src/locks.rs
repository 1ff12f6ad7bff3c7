//! Locks of grants, of the vault and of its seals among processes: `flock` on a fresh descriptor per try, freed by the kernel with its holder.

use crate::seal::CHECK_LEN;
use crate::{GrantLock, StoreError, home};
use claviger_domain::id::GrantId;
use std::fs::{File, TryLockError};
use std::path::Path;

/// The file that says that a vault is open; its name is no grant's.
const VAULT: &str = "vault";

/// How the names of files begin that say under which seal a vault is open; no grant's begins like this.
const SEAL: &str = "seal-";

/// Names one seal of a vault: new with every change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealMark(pub(crate) [u8; CHECK_LEN]);

impl SealMark {
    fn file_name(self) -> String {
        format!("{SEAL}{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Says that this process has the vault open under a seal, for as long as the file lives. Waits only while another process
/// looks, which takes no time.
pub(crate) fn seal_shared(folder: &Path, seal: SealMark) -> Result<File, StoreError> {
    let path = folder.join(seal.file_name());
    let file = home::file_open_or_create(&path)?;
    file.lock_shared().map_err(StoreError::io("locking the seal", &path))?;
    Ok(file)
}

/// Whether a process has the vault open under another seal than this one, by which it could not open a new data key.
///
/// The files stay, one for each change of the seal: a removed one would be looked at by nobody.
pub(crate) fn other_seal_held(folder: &Path, seal: SealMark) -> Result<bool, StoreError> {
    let doing = "looking for older seals";
    let own = seal.file_name();
    for entry in std::fs::read_dir(folder).map_err(StoreError::io(doing, folder))? {
        let entry = entry.map_err(StoreError::io(doing, folder))?;
        if entry.file_name() == *own || !entry.file_name().to_string_lossy().starts_with(SEAL) {
            continue;
        }
        match home::file_open_writable(&entry.path())?.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(true),
            Err(TryLockError::Error(source)) => return Err(StoreError::Io { doing, path: entry.path(), source }),
        }
    }
    Ok(false)
}

/// Says that this process has the vault open, for as long as the file lives. `None` while another vault is being put into
/// its place.
pub(crate) fn vault_shared(folder: &Path) -> Result<Option<File>, StoreError> {
    let path = folder.join(VAULT);
    locked(home::file_open_or_create(&path)?, &path, File::try_lock_shared)
}

/// Says the same where no file can be made or written, by the folder itself.
pub(crate) fn vault_shared_read_only(folder: &Path) -> Result<Option<File>, StoreError> {
    let opened = File::open(folder).map_err(StoreError::io("opening the folder of locks", folder))?;
    locked(opened, folder, File::try_lock_shared)
}

/// Says that a vault is being put into this place, for as long as both files live. `None` while anybody has the vault open.
pub(crate) fn vault_exclusive(folder: &Path) -> Result<Option<[File; 2]>, StoreError> {
    let path = folder.join(VAULT);
    let Some(writers) = locked(home::file_open_or_create(&path)?, &path, File::try_lock)? else { return Ok(None) };
    let opened = File::open(folder).map_err(StoreError::io("opening the folder of locks", folder))?;
    let readers = locked(opened, folder, File::try_lock)?;
    Ok(readers.map(|readers| [writers, readers]))
}

fn locked(file: File, path: &Path, lock: impl FnOnce(&File) -> Result<(), TryLockError>) -> Result<Option<File>, StoreError> {
    match lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { doing: "locking the vault", path: path.to_owned(), source }),
    }
}

/// Tries to take the lock of a grant. `None` while anybody holds it, in this process or another. Never waits.
///
/// The file is never unlinked: whoever locked a removed file would exclude nobody.
pub(crate) fn grant_lock(folder: &Path, grant: GrantId) -> Result<Option<GrantLock>, StoreError> {
    let path = folder.join(grant.to_string());
    let file = home::file_open_or_create(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(GrantLock::new(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { doing: "locking", path, source }),
    }
}
