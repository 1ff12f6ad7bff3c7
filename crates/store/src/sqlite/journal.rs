//! The journal of refreshes: intents, their attempts, and the attempts whose answers were stored.

use super::cells::Cells;
use super::fault::Fault;
use super::grant;
use super::guard;
use crate::{IntentRow, RowFault, Write};
use claviger_domain::id::{AttemptId, GrantId, GrantRevision};
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, Row, Transaction};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// How long an applied attempt is remembered: far longer than any slot of it can wait for recovery.
pub const APPLIED_REMEMBERED: Duration = Duration::from_hours(30 * 24);

fn blob(attempt: AttemptId) -> [u8; 16] {
    attempt.0.to_be_bytes()
}

/// The open intent of a grant.
pub(super) fn intent(connection: &Connection, grant: GrantId) -> Result<Option<IntentRow>, Fault> {
    let mut statement = connection.prepare_cached("SELECT * FROM intents WHERE grant_id = ?1")?;
    let mut rows = statement.query([grant.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut attempts = connection.prepare_cached("SELECT grant_id, attempt FROM intent_attempts WHERE grant_id = ?1 ORDER BY id")?;
    let attempts = attempts.query_and_then([grant.0], |row| read_attempt(row).map_err(Fault::from))?.collect::<Result<_, _>>()?;
    Ok(Some(read(row, grant, attempts)?))
}

/// All open intents; one that cannot be read is a fault of its grant.
pub(super) fn intents(connection: &Connection) -> Result<HashMap<GrantId, Result<IntentRow, RowFault>>, Fault> {
    let mut attempts: HashMap<GrantId, Result<Vec<AttemptId>, RowFault>> = HashMap::new();
    let mut statement = connection.prepare_cached("SELECT grant_id, attempt FROM intent_attempts ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let of_grant = attempts.entry(GrantId(row.get("grant_id")?)).or_insert(Ok(Vec::new()));
        match (of_grant.as_mut(), read_attempt(row)) {
            (Ok(list), Ok(attempt)) => list.push(attempt),
            (Ok(_), Err(fault)) => *of_grant = Err(fault),
            (Err(_), _) => {}
        }
    }
    let mut statement = connection.prepare_cached("SELECT * FROM intents")?;
    let mut rows = statement.query([])?;
    let mut intents = HashMap::new();
    while let Some(row) = rows.next()? {
        let grant = GrantId(row.get("grant_id")?);
        let of_grant = attempts.remove(&grant).unwrap_or(Ok(Vec::new()));
        intents.insert(grant, of_grant.and_then(|attempts| read(row, grant, attempts)));
    }
    Ok(intents)
}

fn read_attempt(row: &Row<'_>) -> Result<AttemptId, RowFault> {
    let grant: i64 = row.get("grant_id").unwrap_or_default();
    Cells::new(row, "intent_attempts", &grant).attempt("attempt")
}

fn read(row: &Row<'_>, grant: GrantId, attempts: Vec<AttemptId>) -> Result<IntentRow, RowFault> {
    let cells = Cells::new(row, "intents", &grant);
    Ok(IntentRow {
        from: GrantRevision(cells.revision("from_revision")?),
        fingerprint: cells.fingerprint("fingerprint")?,
        attempts,
        instance: cells.instance("instance")?,
        opened_at: cells.time("opened_at")?,
    })
}

/// Opens an intent, or adds its attempt to the one that is open for the same revision.
pub(super) fn open(transaction: &Transaction<'_>, grant: GrantId, from: GrantRevision, intent: &IntentRow) -> Result<Write<()>, Fault> {
    if grant::revision(transaction, grant)? != Some(from) {
        return Ok(Write::Stale);
    }
    // An attempt joins the intent of its own refresh token or none: what it proves would be said of another one.
    let mut open = transaction.prepare_cached("SELECT 1 FROM intents WHERE grant_id = ?1 AND from_revision <> ?2")?;
    if open.exists((grant.0, from.0.cast_signed()))? {
        return Ok(Write::Stale);
    }
    let IntentRow { from: _, fingerprint, attempts, instance, opened_at } = intent;
    let upsert = "INSERT INTO intents (grant_id, from_revision, fingerprint, instance, opened_at, key_version) \
                  VALUES (?1, ?2, ?3, ?4, ?5, (SELECT max(version) FROM data_keys)) \
                  ON CONFLICT (grant_id) DO UPDATE SET instance = excluded.instance";
    let instance = instance.0.to_be_bytes();
    transaction.prepare_cached(upsert)?.execute((grant.0, from.0.cast_signed(), fingerprint.0, instance, opened_at.0))?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO intent_attempts (grant_id, attempt) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for attempt in attempts {
        insert.execute((grant.0, blob(*attempt)))?;
    }
    guard::advance(transaction)?;
    Ok(Write::Done(()))
}

/// Takes one attempt back; the intent closes with its last one.
pub(super) fn withdraw(transaction: &Transaction<'_>, grant: GrantId, from: GrantRevision, attempt: AttemptId) -> Result<Write<()>, Fault> {
    if grant::revision(transaction, grant)? != Some(from) {
        return Ok(Write::Stale);
    }
    // Its slot holds nothing that anybody needs: what it says was acted upon, or nothing was sent.
    let applied = "INSERT INTO attempts_applied (attempt, applied_at) SELECT attempt, opened_at FROM intent_attempts \
                   JOIN intents USING (grant_id) WHERE grant_id = ?1 AND attempt = ?2 ON CONFLICT DO NOTHING";
    transaction.prepare_cached(applied)?.execute((grant.0, blob(attempt)))?;
    let delete = "DELETE FROM intent_attempts WHERE grant_id = ?1 AND attempt = ?2";
    if transaction.prepare_cached(delete)?.execute((grant.0, blob(attempt)))? == 0 {
        return Ok(Write::Stale);
    }
    let close = "DELETE FROM intents WHERE grant_id = ?1 AND NOT EXISTS (SELECT 1 FROM intent_attempts WHERE grant_id = ?1)";
    transaction.prepare_cached(close)?.execute([grant.0])?;
    grant::drop_unreferenced(transaction, grant)?;
    Ok(Write::Done(()))
}

/// Whether a refresh was begun and not ended.
pub(super) fn is_open(connection: &Connection, grant: GrantId) -> Result<bool, Fault> {
    Ok(connection.prepare_cached("SELECT 1 FROM intents WHERE grant_id = ?1")?.exists([grant.0])?)
}

/// Every attempt of an open intent, whoever still needs its grant.
pub(super) fn open_attempts(connection: &Connection) -> Result<BTreeSet<AttemptId>, Fault> {
    let mut statement = connection.prepare_cached("SELECT grant_id, attempt FROM intent_attempts")?;
    statement.query_and_then([], |row| read_attempt(row).map_err(Fault::from))?.collect()
}

/// Closes the intent of a grant, if one is open.
pub(super) fn close(transaction: &Transaction<'_>, grant: GrantId) -> Result<(), Fault> {
    transaction.prepare_cached("DELETE FROM intents WHERE grant_id = ?1")?.execute([grant.0])?;
    Ok(())
}

/// Remembers that the answer to an attempt is in the vault, with all other attempts of the intent, whose answers matter no
/// more; forgets what is too old to matter.
pub(super) fn settled(transaction: &Transaction<'_>, grant: GrantId, attempt: AttemptId, at: Timestamp) -> Result<(), Fault> {
    let insert = "INSERT INTO attempts_applied (attempt, applied_at) \
                  SELECT attempt, ?3 FROM intent_attempts WHERE grant_id = ?1 UNION SELECT ?2, ?3 WHERE TRUE ON CONFLICT DO NOTHING";
    transaction.prepare_cached(insert)?.execute((grant.0, blob(attempt), at.0))?;
    transaction.prepare_cached("DELETE FROM attempts_applied WHERE applied_at < ?1")?.execute([at.minus(APPLIED_REMEMBERED).0])?;
    Ok(())
}

/// Whether the answer to an attempt is in the vault.
pub(super) fn is_applied(connection: &Connection, attempt: AttemptId) -> Result<bool, Fault> {
    Ok(connection.prepare_cached("SELECT 1 FROM attempts_applied WHERE attempt = ?1")?.exists([blob(attempt)])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fingerprint;
    use crate::sqlite::schema;
    use claviger_domain::id::InstanceId;

    #[test]
    fn an_attempt_joins_no_intent_of_another_revision() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::bring_up(&mut connection).unwrap();
        let grant = "INSERT INTO grants (id, provider, revision, kind, access_token, fingerprint, issued_at, origins) \
                     VALUES (1, 'p', 5, 'oauth', x'00', zeroblob(32), 0, 'builtin')";
        connection.execute(grant, []).unwrap();
        // No way of the store leads here: this is what a damaged or edited database may hold.
        let stray =
            "INSERT INTO intents (grant_id, from_revision, fingerprint, instance, opened_at) VALUES (1, 4, zeroblob(32), zeroblob(16), 0)";
        connection.execute(stray, []).unwrap();
        let attempts = vec![AttemptId(7)];
        let intent = IntentRow {
            from: GrantRevision(5),
            fingerprint: Fingerprint([0; 32]),
            attempts,
            instance: InstanceId(1),
            opened_at: Timestamp(0),
        };
        let transaction = connection.transaction().unwrap();
        assert_eq!(open(&transaction, GrantId(1), GrantRevision(5), &intent).unwrap(), Write::Stale);
        assert!(open_attempts(&transaction).unwrap().is_empty());
        transaction.execute("UPDATE intents SET from_revision = 5", []).unwrap();
        assert_eq!(open(&transaction, GrantId(1), GrantRevision(5), &intent).unwrap(), Write::Done(()));
        assert_eq!(open_attempts(&transaction).unwrap(), BTreeSet::from([AttemptId(7)]));
    }
}
