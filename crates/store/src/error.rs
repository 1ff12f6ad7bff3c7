//! What can go wrong in a store, and whose fault it is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The root key does not open this vault.
    #[error("the key does not open the vault {path}: it was sealed with another one")]
    WrongKey {
        /// The vault.
        path: PathBuf,
    },
    /// There is no vault here yet.
    #[error("there is no vault at {path}")]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a vault or a key file here already; it is never overwritten.
    #[error("{path} is there already")]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// Another process has the vault open, or is putting another one into its place.
    #[error("the vault {path} is in use by another process")]
    InUse {
        /// The vault.
        path: PathBuf,
    },
    /// A file is no whole backup of a vault.
    #[error("{path} is no backup that can be restored: {why}")]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The vault needs a key that was not given.
    #[error("the vault {path} is sealed: {needs}")]
    Sealed {
        /// The vault.
        path: PathBuf,
        /// What is needed, for instance `a passphrase`.
        needs: String,
    },
    /// The vault was sealed anew while this process had it open, and a data key came since that only the new seal opens.
    #[error("the seal of the vault {path} was changed while it was open: restart this process")]
    SealChanged {
        /// The vault.
        path: PathBuf,
    },
    /// A process has had the vault open since before its seal was changed: a new data key would lock it out.
    #[error("a process has the vault {path} open since before its seal was changed, and could not open a new data key")]
    OlderSealInUse {
        /// The vault.
        path: PathBuf,
    },
    /// A recovery kit was given where a key is needed that a vault can be sealed with.
    #[error("a recovery kit opens a vault but seals none: name a key file, a passphrase or the keyring")]
    KitSealsNothing,
    /// Permissions, ownership or kind of a file or folder are not what they must be.
    #[error("{path}: {why}")]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A row cannot be read; others can.
    #[error(transparent)]
    Row(#[from] RowFault),
    /// The database was written by a newer version.
    #[error("the vault {path} has schema {found}, this program knows {known}: use a newer program")]
    NewerSchema {
        /// The vault.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// The disk is full, or the file system is read-only.
    #[error("the vault cannot be written: {why}")]
    Unwritable {
        /// The system's word.
        why: String,
        /// Its cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// SQLite refused.
    #[error("the database failed while {doing}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// Its cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file or folder failed.
    #[error("{path}: {doing} failed")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Its cause.
        #[source]
        source: io::Error,
    },
    /// A test asked for this failure.
    #[error("injected failure: {0}")]
    Injected(String),
    /// The store was closed.
    #[error("the vault is closed")]
    Closed,
}

impl StoreError {
    /// Turns a file's error into a store's: a full or read-only disk apart from all others.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Unwritable { why: format!("{}: {doing} failed", path.display()), source: Box::new(source) }
            }
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFaultKind {
    /// A sealed field does not open: its bytes were damaged.
    Damaged,
    /// A sealed field opens, but belongs to another row, column, revision, provider or set of origins.
    Swapped,
    /// A sealed field names a data key that the vault does not have.
    UnknownKey,
    /// A plain column holds what cannot be read.
    Malformed,
}

impl fmt::Display for RowFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "is damaged",
            Self::Swapped => "was moved here from another place, or what it is bound to was edited",
            Self::UnknownKey => "was sealed with a data key that this vault does not have",
            Self::Malformed => "cannot be read",
        })
    }
}

/// One row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table} {row}: {column} {kind}")]
pub struct RowFault {
    /// The table.
    pub table: &'static str,
    /// The row's id.
    pub row: String,
    /// The column.
    pub column: &'static str,
    /// What is wrong.
    pub kind: RowFaultKind,
}
