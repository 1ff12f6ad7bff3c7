//! Virtual keys at rest: accessor, keyed digest and what they may be used for.

use super::cells::Cells;
use super::fault::Fault;
use crate::{KeyDraft, KeyRow, RowFault};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::{Accessor, KeyKind};
use rusqlite::{Connection, Row, Transaction};
use std::time::Duration;

/// How long a run's key is listed after its end; every run makes one, so they must not stay for ever.
pub const RUN_KEY_REMEMBERED: Duration = Duration::from_hours(30 * 24);

fn kind_text(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Standing => "standing",
        KeyKind::Run => "run",
    }
}

fn kind_from_text(text: &str) -> Option<KeyKind> {
    [KeyKind::Standing, KeyKind::Run].into_iter().find(|kind| kind_text(*kind) == text)
}

/// A list as words; ids have no blanks.
fn words<T: ToString>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

fn list<T: std::str::FromStr>(words: &str) -> Option<Vec<T>> {
    words.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

/// Stores a new key.
pub(super) fn insert(transaction: &Transaction<'_>, draft: &KeyDraft) -> Result<(), Fault> {
    let KeyDraft { accessor, kind, digest, label, providers, accounts, created_at, expires_at } = draft;
    let forget = "DELETE FROM keys WHERE kind = 'run' AND min(coalesce(expires_at, revoked_at), coalesce(revoked_at, expires_at)) < ?1";
    transaction.prepare_cached(forget)?.execute([created_at.minus(RUN_KEY_REMEMBERED).0])?;
    let insert = "INSERT INTO keys (accessor, kind, digest, label, providers, accounts, created_at, expires_at) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    transaction.prepare_cached(insert)?.execute((
        accessor.as_str(),
        kind_text(*kind),
        digest,
        label,
        words(providers),
        words(accounts),
        created_at.0,
        expires_at.map(|at| at.0),
    ))?;
    Ok(())
}

/// Revokes a key; the first time holds. `false` where there is none.
pub(super) fn revoke(transaction: &Transaction<'_>, accessor: Accessor, now: Timestamp) -> Result<bool, Fault> {
    let update = "UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE accessor = ?1";
    Ok(transaction.prepare_cached(update)?.execute((accessor.as_str(), now.0))? > 0)
}

fn read(row: &Row<'_>) -> Result<KeyRow, RowFault> {
    let id: String = row.get("accessor").unwrap_or_default();
    let cells = Cells::new(row, "keys", &id);
    Ok(KeyRow {
        key: KeyDraft {
            accessor: cells.parse("accessor")?,
            kind: cells.read("kind", |text: String| kind_from_text(&text))?,
            digest: cells.get("digest")?,
            label: cells.get("label")?,
            providers: cells.read("providers", |text: String| list::<ProviderId>(&text))?,
            accounts: cells.read("accounts", |text: String| list::<AccountId>(&text))?,
            created_at: cells.time("created_at")?,
            expires_at: cells.time_if_any("expires_at")?,
        },
        revoked_at: cells.time_if_any("revoked_at")?,
    })
}

/// Reads all keys into `good` and `faults`.
pub(super) fn load_all(connection: &Connection, (good, faults): (&mut Vec<KeyRow>, &mut Vec<RowFault>)) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM keys ORDER BY created_at, accessor")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(key) => good.push(key),
            Err(fault) => faults.push(fault),
        }
    }
    Ok(())
}
