//! What happened: sessions' accounts and the audit trail.

use super::fault::Fault;
use crate::{AuditEntry, StickyRow};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, Transaction};

/// Most sessions whose account is remembered; about 10 MB. Older ones are picked anew.
pub const STICKY_ROWS_MAX: u32 = 100_000;
/// Most lines of the audit trail; about 100 MB. The oldest are dropped.
pub const AUDIT_ROWS_MAX: u32 = 1_000_000;

/// Writes sessions' accounts; of two rows for one session the last one holds.
pub(super) fn sticky_put(transaction: &Transaction<'_>, rows: &[StickyRow]) -> Result<(), Fault> {
    let upsert = "INSERT INTO sticky (provider, session, account_id, used_at) SELECT ?1, ?2, id, ?4 FROM accounts WHERE id = ?3 \
                  ON CONFLICT (provider, session) DO UPDATE SET account_id = excluded.account_id, used_at = excluded.used_at";
    let mut upsert = transaction.prepare_cached(upsert)?;
    for StickyRow { provider, session, account, used_at } in rows {
        upsert.execute((provider.as_str(), session.cast_signed(), account.0, used_at.0))?;
    }
    let prune = "DELETE FROM sticky WHERE (provider, session) IN \
                 (SELECT provider, session FROM sticky ORDER BY used_at DESC LIMIT -1 OFFSET ?1)";
    transaction.prepare_cached(prune)?.execute([STICKY_ROWS_MAX])?;
    Ok(())
}

/// Sessions' accounts that were used since, oldest use first. A row that cannot be read is worth no error: it is picked anew.
pub(super) fn sticky_load(connection: &Connection, since: Timestamp) -> Result<Vec<StickyRow>, Fault> {
    let select = "SELECT provider, session, account_id, used_at FROM sticky WHERE used_at >= ?1 ORDER BY used_at, provider, session";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([since.0])?;
    let mut sticky = Vec::new();
    while let Some(row) = rows.next()? {
        if let Ok(provider) = ProviderId::new(&row.get::<_, String>(0)?) {
            let session = row.get::<_, i64>(1)?.cast_unsigned();
            sticky.push(StickyRow { provider, session, account: AccountId(row.get(2)?), used_at: Timestamp(row.get(3)?) });
        }
    }
    Ok(sticky)
}

/// Appends to the audit trail.
pub(super) fn audit_append(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<(), Fault> {
    let AuditEntry { at, action, subject, actor } = entry;
    let insert = "INSERT INTO audit (at, action, subject, actor) VALUES (?1, ?2, ?3, ?4)";
    transaction.prepare_cached(insert)?.execute((at.0, action, subject, actor))?;
    let oldest = transaction.last_insert_rowid() - i64::from(AUDIT_ROWS_MAX);
    transaction.prepare_cached("DELETE FROM audit WHERE id <= ?1")?.execute([oldest])?;
    Ok(())
}

/// The latest entries, latest first.
pub(super) fn audit_list(connection: &Connection, limit: u32) -> Result<Vec<AuditEntry>, Fault> {
    let mut statement = connection.prepare_cached("SELECT at, action, subject, actor FROM audit ORDER BY id DESC LIMIT ?1")?;
    let rows = statement.query_map([limit], |row| {
        Ok(AuditEntry { at: Timestamp(row.get(0)?), action: row.get(1)?, subject: row.get(2)?, actor: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
