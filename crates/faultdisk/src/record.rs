//! The log: one record per change that was made, in their order, with its bytes.
//!
//! A record is `kind (1) | inode (8) | offset (8) | length of path (4) | length of data (4) | path | data`, numbers
//! little-endian. Paths are below the watched folder.

use crate::kernel;

/// A file appeared.
pub(crate) const CREATE: u8 = 1;
/// Bytes were written.
pub(crate) const WRITE: u8 = 2;
/// A file's length was set to the offset.
pub(crate) const TRUNCATE: u8 = 3;
/// A file was synced.
pub(crate) const SYNC: u8 = 4;
/// A folder was synced.
pub(crate) const SYNC_FOLDER: u8 = 5;
/// A name moved to the one that is the data.
pub(crate) const RENAME: u8 = 6;
/// A name went.
pub(crate) const UNLINK: u8 = 7;
/// A file got a second name, which is the data.
pub(crate) const LINK: u8 = 8;
/// A folder appeared.
pub(crate) const MAKE_FOLDER: u8 = 9;
/// The program said where it is.
pub(crate) const MARK: u8 = 10;

/// A change was refused, with the number of the error as the offset.
pub(crate) const FAULT: u8 = 11;

/// A change that is about to be made.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// A file is opened for writing; one that is there already is not changed by it.
    Open { path: &'a str, creates: bool },
    /// Bytes are written or a length is set.
    Write { path: &'a str, grows: bool },
    /// A file or folder is synced.
    Sync { path: &'a str },
    /// A name comes, goes or changes.
    Entry { path: &'a str, creates: bool },
}

impl<'a> Change<'a> {
    /// What it is about.
    pub(crate) fn path(self) -> &'a str {
        match self {
            Self::Open { path, .. } | Self::Write { path, .. } | Self::Sync { path } | Self::Entry { path, .. } => path,
        }
    }
}

/// The log's file. It lies outside the watched folder.
pub(crate) struct Log {
    fd: Option<libc::c_int>,
}

impl Log {
    pub(crate) fn open(path: &str) -> Self {
        Self { fd: kernel::open_own(path, libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND) }
    }

    pub(crate) fn push(&mut self, kind: u8, (inode, offset): (u64, u64), path: &str, data: &[u8]) {
        let Some(fd) = self.fd else { return };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes();
        let mut record = vec![kind];
        record.extend_from_slice(&inode.to_le_bytes());
        record.extend_from_slice(&offset.to_le_bytes());
        record.extend_from_slice(&length(path.as_bytes()));
        record.extend_from_slice(&length(data));
        record.extend_from_slice(path.as_bytes());
        record.extend_from_slice(data);
        let written = kernel::write(fd, record.as_ptr().cast(), record.len(), None);
        // A log with a hole would make the replay lie.
        if usize::try_from(written) != Ok(record.len()) {
            kernel::die();
        }
    }
}
