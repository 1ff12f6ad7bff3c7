//! Logins taken over from other tools, and from which file each came.

use super::cells::Cells;
use super::fault::Fault;
use super::{grant, journal};
use crate::seal::Keyring;
use crate::{GrantCommit, GrantTake, Take, TakenRow, Write};
use claviger_domain::id::GrantId;
use rusqlite::{Connection, Transaction};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Takes a login over.
pub(super) fn take(transaction: &Transaction<'_>, keyring: &Keyring, take: GrantTake) -> Result<Take, Fault> {
    let GrantTake { grant: id, from, secret, expires_at, taken_at, path } = take;
    if grant::revision(transaction, id)? != Some(from) {
        return Ok(Take::Stale);
    }
    let Some(row) = grant::load(transaction, keyring, id)? else { return Ok(Take::Stale) };
    if grant::is_spent(transaction, keyring, &row.provider, &secret)? {
        return Ok(Take::Spent);
    }
    let fingerprint = keyring.fingerprint(secret.identifying());
    if journal::is_open(transaction, id)? {
        grant::spend(transaction, id, fingerprint, taken_at)?;
    }
    let commit = GrantCommit { grant: id, from, secret, expires_at, issued_at: taken_at, attempt: None };
    let Write::Done(revision) = grant::commit(transaction, keyring, commit)? else { return Ok(Take::Stale) };
    let ours = "UPDATE grants SET followed_path = NULL, given = TRUE, quarantined_at = NULL WHERE id = ?1";
    transaction.prepare_cached(ours)?.execute([id.0])?;
    let insert = "INSERT INTO taken (grant_id, path, fingerprint, taken_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (grant_id) DO UPDATE \
                  SET path = excluded.path, fingerprint = excluded.fingerprint, taken_at = excluded.taken_at";
    transaction.prepare_cached(insert)?.execute((id.0, path.as_os_str().as_bytes(), fingerprint.0, taken_at.0))?;
    Ok(Take::Done(revision))
}

/// All of them whose grant is ours.
pub(super) fn list(connection: &Connection) -> Result<Vec<TakenRow>, Fault> {
    let select = "SELECT taken.* FROM taken JOIN grants ON grants.id = grant_id WHERE followed_path IS NULL ORDER BY grant_id";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get("grant_id")?;
        let cells = Cells::new(row, "taken", &id);
        all.push(TakenRow {
            grant: GrantId(id),
            path: std::ffi::OsString::from_vec(row.get("path")?).into(),
            fingerprint: cells.fingerprint("fingerprint")?,
            taken_at: cells.time("taken_at")?,
        });
    }
    Ok(all)
}
