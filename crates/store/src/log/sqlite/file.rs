//! The file of the log: opened when it is needed, put aside where it is broken, left alone for a while where it fails.

use super::LOG_REOPEN_AFTER;
use crate::StoreError;
use crate::home::{file_create, file_is_ours};
use crate::log::LogError;
use claviger_runtime::{Clock, best_effort};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Another process writes for milliseconds at most; nobody waits for us meanwhile.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// What is left of the WAL after a checkpoint, at most.
const JOURNAL_SIZE_LIMIT_BYTES: i64 = 4 * 1024 * 1024;
/// Says in the file's header what it is: `ClvL`.
const APPLICATION_ID: i32 = 0x436c_764c;
/// The newest schema.
const SCHEMA_VERSION: i64 = 1;

pub(super) struct LogFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    connection: Option<Connection>,
    /// What is read while there is no file.
    nothing: Option<Connection>,
    /// Not tried again before this point on the boot clock.
    rests_until: Option<Duration>,
}

impl LogFile {
    pub(super) fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { path, clock, connection: None, nothing: None, rests_until: None }
    }

    /// The connection, opened where it is not.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, LogError> {
        if self.connection.is_none() {
            if self.rests_until.is_some_and(|until| self.clock.boot() < until) {
                return Err(LogError::Unusable { why: "it failed a moment ago, and is tried again soon".to_owned() });
            }
            let opened = self.open().or_else(|error| if is_broken(&error) { self.begin_anew() } else { Err(error) });
            match opened {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => return Err(self.rest(error)),
            }
        }
        self.connection.as_mut().ok_or(LogError::Closed)
    }

    /// The connection for reading. What has never been written is empty, and reading it makes no file.
    pub(super) fn for_reading(&mut self) -> Result<&Connection, LogError> {
        if self.connection.is_none() && matches!(file_is_ours(&self.path), Ok(false)) {
            let empty = || {
                let mut empty = Connection::open_in_memory()?;
                lay(&mut empty)?;
                Ok(empty)
            };
            if self.nothing.is_none() {
                self.nothing = Some(empty().map_err(|source| LogError::Database { doing: "opening", source })?);
            }
            return self.nothing.as_ref().ok_or(LogError::Closed);
        }
        self.connection().map(|connection| &*connection)
    }

    /// Writes in one transaction. A file that fails rests; one that turns out to be broken is begun anew.
    pub(super) fn write(&mut self, work: impl Fn(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<(), LogError> {
        let doing = "writing";
        let written = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&transaction)?;
            transaction.commit()
        };
        match written(self.connection()?).map_err(|source| LogError::Database { doing, source }) {
            Ok(()) => Ok(()),
            Err(error) if is_broken(&error) => {
                self.connection = None;
                let begun = self.begin_anew().and_then(|mut connection| {
                    written(&mut connection).map_err(|source| LogError::Database { doing, source })?;
                    Ok(connection)
                });
                self.connection = Some(begun.map_err(|error| self.rest(error))?);
                Ok(())
            }
            Err(error) => Err(self.rest(error)),
        }
    }

    /// Ends the connection; the next use opens another one.
    pub(super) fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            best_effort("close the log", connection.close().map_err(|(_, error)| error));
        }
    }

    fn rest(&mut self, error: LogError) -> LogError {
        self.close();
        self.rests_until = Some(self.clock.boot().saturating_add(LOG_REOPEN_AFTER));
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(path = %self.path.display(), %error, cause, "the log of usage is not written for now; nothing else is harmed");
        error
    }

    fn open(&self) -> Result<Connection, LogError> {
        let is_there = file_is_ours(&self.path).and_then(|is_there| if is_there { Ok(()) } else { file_create(&self.path).map(drop) });
        match is_there {
            // Another process was first.
            Ok(()) | Err(StoreError::Exists { .. }) => {}
            Err(error) => return Err(LogError::Unusable { why: error.to_string() }),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let open = || {
            let mut connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "trusted_schema", "OFF")?;
            connection.pragma_update(None, "cell_size_check", "ON")?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            connection.pragma_update(None, "journal_size_limit", JOURNAL_SIZE_LIMIT_BYTES)?;
            let found = lay(&mut connection)?;
            Ok((connection, found))
        };
        let (connection, found) = open().map_err(|source| LogError::Database { doing: "opening", source })?;
        if found > SCHEMA_VERSION {
            return Err(LogError::Unusable { why: format!("it has schema {found}, this program knows {SCHEMA_VERSION}") });
        }
        Ok(connection)
    }

    /// Puts what is no log aside, over what was put aside before, and begins another one.
    fn begin_anew(&self) -> Result<Connection, LogError> {
        let beside = |end: &str| {
            let mut name = self.path.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        tracing::warn!(path = %self.path.display(), "the log of usage is broken: it is put aside as log.db.broken and begun anew");
        std::fs::rename(&self.path, beside(".broken")).map_err(|error| LogError::Unusable { why: error.to_string() })?;
        for journal in ["-wal", "-shm"] {
            match std::fs::remove_file(beside(journal)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(LogError::Unusable { why: error.to_string() });
                }
                _ => {}
            }
        }
        self.open()
    }
}

/// Lays the schema into an empty file; says which one stands there.
fn lay(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > 0 {
        return Ok(found);
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.execute_batch(include_str!("../schema.sql"))?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(SCHEMA_VERSION)
}

/// Whether the file is no database, or not a whole one.
fn is_broken(error: &LogError) -> bool {
    let LogError::Database { source, .. } = error else { return false };
    matches!(source.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}
