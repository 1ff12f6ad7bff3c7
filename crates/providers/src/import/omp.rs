//! The database of oh-my-pi, `agent.db`, schema versions 0 to 8.
//!
//! It is never written, nor is anything put beside it. Where no write-ahead log or journal lies next to it, it is opened as
//! immutable, which takes no lock and creates no file; should it change meanwhile, or where such a file is there, it is
//! opened read-only in SQLite's own locking, which sees what the log holds. A copy is not made: it would put live secrets
//! into another folder.

use super::credential::{self, CredentialFault};
use super::file::regular;
use super::json::JsonObject;
use super::{Import, ImportError, ImportedAccount, ImportedCredential, Skipped, draft};
use crate::catalogue::Catalogue;
use crate::import::claims::complete;
use claviger_domain::block::{Block, BlockEnd, BlockScope};
use claviger_domain::credential::{CredentialKind, Standing};
use claviger_domain::identity::Identity;
use claviger_domain::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a writer of oh-my-pi is waited for; its own transactions take milliseconds.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// Most rows that are read; people have tens.
const ROWS_MAX: usize = 10_000;
/// Longest text that is kept of a cause.
const CAUSE_MAX_CHARS: usize = 200;
/// Longest block that is taken over: no quota is longer than a year, and an absurd stamp sets no account aside for ever.
const BLOCK_MAX: Duration = Duration::from_hours(366 * 24);
/// From this version on the scope `shared` only mirrors the scopes of single meters.
const SHARED_IS_A_MIRROR_SINCE: i64 = 7;

/// Reads all credentials with their blocks that have not ended. Blocks on the file system.
pub fn read_omp(catalogue: &Catalogue, path: &Path, now: Timestamp) -> Result<Import, ImportError> {
    // To open a pipe would wait for its writer.
    regular(path)?;
    let failed = |source| ImportError::Database { path: path.to_owned(), source };
    let before = quiet_state(path);
    if before.is_some() {
        let import = open_immutable(path).and_then(|connection| Reader::of(&connection)?.import(catalogue, now));
        if quiet_state(path) == before {
            return import.map_err(failed)?.ok_or_else(|| ImportError::NotItsDatabase { path: path.to_owned() });
        }
    }
    let import = open_shared(path).and_then(|connection| Reader::of(&connection)?.import(catalogue, now));
    import.map_err(failed)?.ok_or_else(|| ImportError::NotItsDatabase { path: path.to_owned() })
}

/// What changes when somebody writes; `None` while a write may be under way.
fn quiet_state(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(PathBuf::from(name)).is_ok_and(|file| file.len() > 0)
    };
    let file = std::fs::metadata(path).ok()?;
    (!beside("-wal") && !beside("-journal")).then(|| (file.len(), file.modified().ok()))
}

fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let Some(text) = path.to_str() else { return open_shared(path) };
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("file:{escaped}?mode=ro&immutable=1"), flags)
}

fn open_shared(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_WAIT)?;
    Ok(connection)
}

/// One consistent look at the database.
struct Reader<'a> {
    connection: &'a Connection,
    columns: BTreeSet<String>,
    version: i64,
}

impl<'a> Reader<'a> {
    fn of(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; BEGIN")?;
        let mut statement = connection.prepare("SELECT name FROM pragma_table_info('auth_credentials')")?;
        let columns: BTreeSet<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let version = if has_table(connection, "auth_schema_version")? {
            connection.query_row("SELECT max(version) FROM auth_schema_version", [], |row| whole_number(row, 0))?.unwrap_or(0)
        } else {
            0
        };
        Ok(Self { connection, columns, version })
    }

    /// `None` where the table of credentials is missing.
    fn import(&self, catalogue: &Catalogue, now: Timestamp) -> rusqlite::Result<Option<Import>> {
        // A view could be a query without an end.
        let is_table = has_table(self.connection, "auth_credentials")?;
        if !is_table || !["id", "provider", "credential_type", "data"].iter().all(|column| self.columns.contains(*column)) {
            return Ok(None);
        }
        let columns = ["disabled_cause", "disabled", "updated_at", "email", "account_id"];
        let columns = columns.map(|column| if self.columns.contains(column) { column } else { "NULL" }).join(", ");
        let query = format!("SELECT id, provider, credential_type, data, {columns} FROM auth_credentials ORDER BY id LIMIT {ROWS_MAX}");
        let mut import = Import::default();
        let mut statement = self.connection.prepare(&query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let provider = text(row, 1)?.unwrap_or_default();
            let Some(id) = whole_number(row, 0)? else {
                import.skipped.push(Skipped::new(&format!("a row without a number ({})", provider.escape_debug()), &RowFault::NoId));
                continue;
            };
            let name = format!("row {id} ({})", provider.escape_debug());
            match account(catalogue, row, &name, provider, now)? {
                Ok(mut account) => {
                    self.add_blocks(id, &mut account, now)?;
                    import.accounts.push(account);
                }
                Err(why) => import.skipped.push(Skipped::new(&name, &why)),
            }
        }
        Ok(Some(import))
    }

    fn add_blocks(&self, id: i64, account: &mut ImportedAccount, now: Timestamp) -> rusqlite::Result<()> {
        if !has_table(self.connection, "auth_credential_blocks")? {
            return Ok(());
        }
        let query = "SELECT block_scope, max(blocked_until_ms) FROM auth_credential_blocks WHERE credential_id = ?1 GROUP BY block_scope ORDER BY block_scope";
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query([id])?;
        while let Some(row) = rows.next()? {
            let (scope, until) = (text(row, 0)?.unwrap_or_default(), Timestamp(whole_number(row, 1)?.unwrap_or_default()));
            let until = until.min(now.plus(BLOCK_MAX));
            if until <= now || (scope == "shared" && self.version >= SHARED_IS_A_MIRROR_SINCE) {
                continue;
            }
            match block_scope(scope) {
                Some(scope) => {
                    let reason = "blocked in oh-my-pi when it was imported".to_owned();
                    account.blocks.push(Block { scope, until, end: BlockEnd::Guessed, reason });
                }
                None => account.notes.push(format!("a block of the unknown scope {scope:?} left out")),
            }
        }
        Ok(())
    }
}

/// The scope `chat` is all models of a provider but one family, which has a meter of its own.
fn block_scope(scope: &str) -> Option<BlockScope> {
    match scope.split_once(':') {
        None if ["", "chat", "shared"].contains(&scope) => Some(BlockScope::Account),
        None if scope == "spark" => Some(BlockScope::Tier(scope.to_owned())),
        Some(("tier", tier)) if !tier.is_empty() => Some(BlockScope::Tier(tier.to_owned())),
        Some(("model-policy", model)) if !model.is_empty() => Some(BlockScope::Model(model.to_owned())),
        _ => None,
    }
}

/// Why a row is skipped.
#[derive(Debug, thiserror::Error)]
enum RowFault {
    #[error("its id is no whole number")]
    NoId,
    #[error("unknown type {0:?}")]
    UnknownType(String),
    #[error("no data")]
    NoData,
    #[error("unknown provider {0:?}")]
    UnknownProvider(String),
    #[error("its data cannot be used: {0}")]
    Credential(#[from] CredentialFault),
}

/// The account of a row. The outer error is the database's, the inner one the row's.
fn account(
    catalogue: &Catalogue,
    row: &Row<'_>,
    name: &str,
    provider: &str,
    now: Timestamp,
) -> rusqlite::Result<Result<ImportedAccount, RowFault>> {
    let kind = match text(row, 2)?.unwrap_or_default() {
        "oauth" => CredentialKind::OAuth,
        "api_key" => CredentialKind::ApiKey,
        other => return Ok(Err(RowFault::UnknownType(other.to_owned()))),
    };
    let Some(data) = text(row, 3)? else { return Ok(Err(RowFault::NoData)) };
    let columns = Identity { email: text(row, 7)?.map(str::to_owned), account_id: text(row, 8)?.map(str::to_owned), ..Identity::default() };
    let account = draft_of(catalogue, name, provider, kind, data)
        .map(|account| ImportedAccount { identity: complete(account.identity.clone(), columns.normalized()), ..account });
    let Ok(account) = account else { return Ok(account) };
    let standing = match disabled_cause(row)? {
        Some(cause) => Standing::Disabled { cause: without_secrets(&cause, &account.credential), since: since(row, now)? },
        None => Standing::Active,
    };
    Ok(Ok(ImportedAccount { standing, ..account }))
}

fn draft_of(catalogue: &Catalogue, name: &str, provider: &str, kind: CredentialKind, data: &str) -> Result<ImportedAccount, RowFault> {
    let mut object = JsonObject::parse(data.as_bytes()).map_err(CredentialFault::from)?;
    let profile = catalogue.get(provider).ok_or_else(|| RowFault::UnknownProvider(provider.to_owned()))?;
    let read = credential::read(&mut object, kind, profile)?;
    Ok(draft(name.to_owned(), profile.id.clone(), read.credential, read.identity))
}

/// The column `disabled_cause`, before version 1 the flag `disabled`.
fn disabled_cause(row: &Row<'_>) -> rusqlite::Result<Option<String>> {
    let cause = text(row, 4)?.map(str::to_owned);
    let flag = matches!(row.get_ref(5)?, ValueRef::Integer(flag) if flag != 0);
    Ok(cause.or_else(|| flag.then(|| "disabled in oh-my-pi".to_owned())))
}

fn since(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Timestamp> {
    Ok(match row.get_ref(6)? {
        ValueRef::Integer(seconds) => Timestamp::from_secs(seconds),
        _ => now,
    })
}

/// A cause may quote what a provider answered, and that may quote a secret.
fn without_secrets(cause: &str, credential: &ImportedCredential) -> String {
    let secrets = match credential {
        ImportedCredential::OAuth { access, refresh, .. } => vec![access.expose(), refresh.as_ref().map_or("", |refresh| refresh.expose())],
        ImportedCredential::ApiKey { key } => vec![key.expose()],
    };
    if secrets.iter().any(|secret| !secret.is_empty() && cause.contains(secret)) {
        return "disabled in oh-my-pi".to_owned();
    }
    cause.chars().filter(|c| !c.is_control()).take(CAUSE_MAX_CHARS).collect()
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Option<&'a str>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    })
}

/// SQLite keeps what was written, whatever the column says, and JavaScript writes fractions.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and a fraction is dropped")]
fn whole_number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => Some(number),
        ValueRef::Real(number) => Some(number as i64),
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => None,
    })
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1", [name], |row| row.get::<_, i64>(0))
        .map(|count| count > 0)
}
