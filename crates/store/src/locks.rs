//! Locks of grants among processes: `flock` on a fresh descriptor per try, freed by the kernel with its holder.

use crate::{GrantLock, StoreError, home};
use claviger_domain::id::GrantId;
use std::fs::TryLockError;
use std::path::Path;

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
