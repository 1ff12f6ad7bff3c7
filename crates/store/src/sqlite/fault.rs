//! Failures inside a job: kept as they are until it is known what was being done.

use crate::{RowFault, StoreError};
use rusqlite::ErrorCode;

/// A failure of a job.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite refused.
    Sql(rusqlite::Error),
    /// Anything that already says what it is.
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RowFault> for Fault {
    fn from(fault: RowFault) -> Self {
        Self::Store(fault.into())
    }
}

impl Fault {
    /// Says what was being done.
    pub(super) fn while_doing(self, doing: &'static str) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Sql(error) => database(doing)(error),
        }
    }
}

/// Turns SQLite's error into a store's: a full or read-only disk apart from all others.
pub(super) fn database(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + Copy {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => {
            StoreError::Unwritable { why: format!("{doing} failed: {error}"), source: Box::new(error) }
        }
        _ => StoreError::Database { doing, source: Box::new(error) },
    }
}
