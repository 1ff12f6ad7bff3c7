//! A vault on a file system that cannot be written: what is in it serves, and nothing is changed.
//!
//! SQLite reads a database with a WAL only where it may write the shared memory beside it, or where that is there already. So
//! a vault that was closed, whose file is whole by itself, is opened as one that nobody changes; one that was not is read
//! through its WAL and the shared memory that its last process has left.

use super::fault::database;
use super::schema;
use crate::StoreError;
use crate::home::{VaultHome, file_open_writable};
use crate::locks;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether the file system refuses writes to the vault. Other refusals are told by whoever opens it next.
pub(super) fn is_read_only(home: &VaultHome) -> bool {
    matches!(file_open_writable(&home.database()), Err(StoreError::Unwritable { .. }))
}

/// Keeps another vault from being put into this one's place, should the file system become writable: by its folder of locks,
/// since there may be no file to lock and none can be made.
pub(super) fn presence(home: &VaultHome) -> Result<File, StoreError> {
    locks::vault_shared_read_only(&home.locks())?.ok_or_else(|| StoreError::InUse { path: home.database() })
}

/// A connection that reads. Every write through it is [`StoreError::Unwritable`].
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = || {
        let connection = if is_settled(path) {
            Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(path, flags)?
        };
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        connection.pragma_update(None, "cell_size_check", "ON")?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(connection)
    };
    open().map_err(database("opening the vault on a file system that is read-only"))
}

/// Refuses an older vault: it would have to be changed first.
pub(super) fn check_newest(found: u32) -> Result<(), StoreError> {
    if found == schema::SCHEMA_VERSION {
        return Ok(());
    }
    let why =
        format!("its file system is read-only, and its schema {found} must be brought up to {} before it serves", schema::SCHEMA_VERSION);
    Err(StoreError::Unwritable { source: why.clone().into(), why })
}

/// Whether the last process has closed the vault: then its WAL is empty or gone, and so is the memory that processes share.
fn is_settled(path: &Path) -> bool {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        std::fs::symlink_metadata(name).map_or(0, |metadata| metadata.len())
    };
    beside("-wal") == 0 && beside("-shm") == 0
}

/// The path as SQLite's address of a file that nobody changes.
pub(super) fn immutable(path: &Path) -> String {
    let mut address = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            address.push(char::from(*byte));
        } else {
            write!(address, "%{byte:02X}").expect("a string takes all that is written to it");
        }
    }
    address + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_letters_that_mean_something_in_an_address_is_quoted() {
        assert_eq!(immutable(Path::new("/a b/c?d#e%f/vault.db")), "file:/a%20b/c%3Fd%23e%25f/vault.db?immutable=1");
    }
}
