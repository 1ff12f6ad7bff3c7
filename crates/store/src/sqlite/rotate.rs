//! Rotation of the data key: a new version, every field sealed anew in small transactions, and the end of what nothing needs.

use super::account::{PROXY, ProxyPlace};
use super::adopt::OpenKeys;
use super::cells::{Cells, origins_from_text};
use super::fault::Fault;
use super::grant::Place;
use super::header;
use crate::seal::{Binding, Keyring, sealed_version};
use crate::spill::Spill;
use crate::{DataKeyUse, RowFault, RowFaultKind, StoreError};
use claviger_domain::id::{GrantId, GrantRevision, ProviderId};
use claviger_domain::time::Timestamp;
use rusqlite::{Connection, Row, Transaction};
use std::collections::BTreeMap;

/// Most rows that are sealed anew in one transaction; few, so that a refresh never waits long for its own.
const RESEAL_ROWS_MAX: u32 = 16;

/// The sealed columns of a grant, each with what writes it. Nothing else of the row moves, its revision least of all.
const COLUMNS: [(&str, &str); 3] = [
    ("access_token", "UPDATE grants SET access_token = ?2 WHERE id = ?1"),
    ("refresh_token", "UPDATE grants SET refresh_token = ?2 WHERE id = ?1"),
    ("api_key", "UPDATE grants SET api_key = ?2 WHERE id = ?1"),
];

/// The newest data key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    pub(super) version: u32,
    /// Whether fields may still have to be sealed anew under it.
    pub(super) is_unfinished: bool,
}

/// Looks for the newest data key.
pub(super) fn newest(connection: &Connection) -> Result<Newest, Fault> {
    let select =
        "SELECT version, resealed_at IS NULL AND (SELECT count(*) FROM data_keys) > 1 FROM data_keys ORDER BY version DESC LIMIT 1";
    Ok(connection.query_row(select, [], |row| Ok(Newest { version: row.get(0)?, is_unfinished: row.get(1)? }))?)
}

/// Adds a data key, unless a rotation is unfinished: then that one goes on.
pub(super) fn begin(transaction: &Transaction<'_>, keys: &OpenKeys, now: Timestamp) -> Result<Newest, Fault> {
    let found = newest(transaction)?;
    if found.is_unfinished {
        return Ok(found);
    }
    let malformed = RowFault { table: "data_keys", row: found.version.to_string(), column: "version", kind: RowFaultKind::Malformed };
    let version = found.version.checked_add(1).ok_or(malformed)?;
    header::data_key_add(transaction, keys, version, now)?;
    Ok(Newest { version, is_unfinished: false })
}

/// What was sealed anew.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The id of the last row that was looked at; `None` where there was none left.
    pub(super) last: Option<i64>,
    pub(super) resealed: u64,
    pub(super) unopened: Vec<RowFault>,
}

impl Batch {
    /// Adds what another one did.
    pub(super) fn add(&mut self, other: &Self) {
        self.last = other.last;
        self.resealed += other.resealed;
        self.unopened.extend_from_slice(&other.unopened);
    }

    /// The field as the newest data key seals it; `None` for one that it has sealed already, and for one that does not open.
    fn reseal(&mut self, keyring: &Keyring, binding: &Binding<'_>, sealed: &[u8], fault: &RowFault) -> Option<Vec<u8>> {
        if sealed_version(sealed) == Some(keyring.newest()) {
            return None;
        }
        match keyring.open(binding, sealed) {
            Ok(plain) => {
                self.resealed += 1;
                Some(keyring.seal(binding, &plain))
            }
            Err(kind) => {
                self.unopened.push(RowFault { kind, ..fault.clone() });
                None
            }
        }
    }
}

/// Seals the next grants anew, those with ids after `after`.
pub(super) fn grants(transaction: &Transaction<'_>, keyring: &Keyring, after: Option<i64>) -> Result<Batch, Fault> {
    let select = "SELECT * FROM grants WHERE id > ?1 AND (substr(access_token, 2, 4) <> ?2 OR substr(refresh_token, 2, 4) <> ?2 \
                  OR substr(api_key, 2, 4) <> ?2) ORDER BY id LIMIT ?3";
    let mut batch = Batch::default();
    let mut found = Vec::new();
    let mut statement = transaction.prepare_cached(select)?;
    let mut rows = statement.query((after.unwrap_or(i64::MIN), keyring.newest().to_be_bytes(), RESEAL_ROWS_MAX))?;
    while let Some(row) = rows.next()? {
        let id = GrantId(row.get("id")?);
        batch.last = Some(id.0);
        match fields(row, keyring, id, &mut batch) {
            Ok(fields) => found.extend(fields.into_iter().map(|(update, sealed)| (id, update, sealed))),
            Err(fault) => batch.unopened.push(fault),
        }
    }
    for (id, update, sealed) in found {
        transaction.prepare_cached(update)?.execute((id.0, sealed))?;
    }
    Ok(batch)
}

/// The fields of a grant that have to be written, with what writes them.
fn fields(row: &Row<'_>, keyring: &Keyring, id: GrantId, batch: &mut Batch) -> Result<Vec<(&'static str, Vec<u8>)>, RowFault> {
    let cells = Cells::new(row, "grants", &id);
    let provider = cells.read("provider", |text: String| ProviderId::new(&text).ok())?;
    let origins = cells.read("origins", |text: String| origins_from_text(&text))?;
    let place = Place::new(id, GrantRevision(cells.revision("revision")?), &provider, &origins);
    let mut fields = Vec::new();
    for (column, update) in COLUMNS {
        if let Some(sealed) = cells.get::<Option<Vec<u8>>>(column)? {
            let fault = cells.fault(column, RowFaultKind::Damaged);
            fields.extend(batch.reseal(keyring, &place.bind(column), &sealed, &fault).map(|sealed| (update, sealed)));
        }
    }
    Ok(fields)
}

/// Seals the proxies of the next accounts anew, those with ids after `after`. The rows are what they were, their revision too.
pub(super) fn proxies(transaction: &Transaction<'_>, keyring: &Keyring, after: Option<i64>) -> Result<Batch, Fault> {
    let select = "SELECT id, provider, proxy FROM accounts WHERE id > ?1 AND substr(proxy, 2, 4) <> ?2 ORDER BY id LIMIT ?3";
    let mut batch = Batch::default();
    let mut found = Vec::new();
    let mut statement = transaction.prepare_cached(select)?;
    let mut rows = statement.query((after.unwrap_or(i64::MIN), keyring.newest().to_be_bytes(), RESEAL_ROWS_MAX))?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get("id")?;
        batch.last = Some(id);
        match proxy(row, keyring, id, &mut batch) {
            Ok(sealed) => found.extend(sealed.map(|sealed| (id, sealed))),
            Err(fault) => batch.unopened.push(fault),
        }
    }
    for (id, sealed) in found {
        transaction.prepare_cached("UPDATE accounts SET proxy = ?2 WHERE id = ?1")?.execute((id, sealed))?;
    }
    Ok(batch)
}

/// The proxy of an account as it has to be written.
fn proxy(row: &Row<'_>, keyring: &Keyring, id: i64, batch: &mut Batch) -> Result<Option<Vec<u8>>, RowFault> {
    let cells = Cells::new(row, "accounts", &id);
    let provider: ProviderId = cells.parse("provider")?;
    let sealed: Vec<u8> = cells.get(PROXY)?;
    let fault = cells.fault(PROXY, RowFaultKind::Damaged);
    Ok(batch.reseal(keyring, &ProxyPlace::new(cells.id(), &provider).bind(), &sealed, &fault))
}

/// Seals the keys of keyed hashes anew; what they say stays.
pub(super) fn hash_keys(transaction: &Transaction<'_>, keyring: &Keyring) -> Result<Batch, Fault> {
    let mut batch = Batch::default();
    let mut statement = transaction.prepare("SELECT purpose, sealed FROM hash_keys")?;
    let found: Vec<(String, Vec<u8>)> = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (purpose, sealed) in found {
        let fault = RowFault { table: "hash_keys", row: purpose.clone(), column: "sealed", kind: RowFaultKind::Damaged };
        if let Some(sealed) = batch.reseal(keyring, &header::hash_key_binding(&purpose), &sealed, &fault) {
            transaction.execute("UPDATE hash_keys SET sealed = ?2 WHERE purpose = ?1", (&purpose, sealed))?;
        }
    }
    Ok(batch)
}

/// Ends a rotation, and drops the older data keys that nothing needs. Answers those, and those that stay.
///
/// The slots are looked at inside the transaction: an answer is spilled before its intent closes, so that whoever sees no
/// intent sees the answer.
pub(super) fn retire(
    transaction: &Transaction<'_>,
    spill: &Spill,
    (version, now): (u32, Timestamp),
) -> Result<(Vec<u32>, Vec<DataKeyUse>), Fault> {
    transaction.execute("UPDATE data_keys SET resealed_at = ?2 WHERE version = ?1 AND resealed_at IS NULL", (version, now.0))?;
    let newest = newest(transaction)?.version;
    let older = uses(transaction, spill)?.into_iter().filter(|key| key.version != newest);
    let (kept, unneeded): (Vec<DataKeyUse>, Vec<DataKeyUse>) = older.partition(DataKeyUse::is_needed);
    let retired: Vec<u32> = unneeded.into_iter().map(|key| key.version).collect();
    for version in &retired {
        transaction.execute("DELETE FROM data_keys WHERE version = ?1", [version])?;
    }
    Ok((retired, kept))
}

/// All data keys, oldest first, each with what needs it.
pub(super) fn uses(connection: &Connection, spill: &Spill) -> Result<Vec<DataKeyUse>, Fault> {
    let (fields, slots) = (fields_by_version(connection)?, slots_by_version(spill)?);
    // An answer is sealed with the newest key of its journal's time or a newer one, which this connection cannot tell apart.
    let select = "SELECT version, created_at, (SELECT count(*) FROM intents WHERE coalesce(key_version, 0) <= version) \
                  FROM data_keys ORDER BY version";
    let mut statement = connection.prepare_cached(select)?;
    let uses = statement.query_map([], |row| {
        let version = row.get(0)?;
        let count = |counts: &BTreeMap<u32, u32>| counts.get(&version).copied().unwrap_or(0);
        let (fields, slots) = (count(&fields), count(&slots));
        Ok(DataKeyUse { version, created_at: Timestamp(row.get(1)?), fields, slots, refreshes: row.get(2)? })
    })?;
    Ok(uses.collect::<Result<_, _>>()?)
}

fn fields_by_version(connection: &Connection) -> Result<BTreeMap<u32, u32>, Fault> {
    let select = "SELECT substr(field, 1, 5), count(*) FROM (SELECT access_token AS field FROM grants UNION ALL SELECT refresh_token FROM grants \
                  UNION ALL SELECT api_key FROM grants UNION ALL SELECT proxy FROM accounts UNION ALL SELECT sealed FROM hash_keys) WHERE field NOT NULL GROUP BY 1";
    let mut statement = connection.prepare_cached(select)?;
    let counts = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?)))?;
    counts
        .filter_map(|count| count.map(|(prefix, fields)| Some((sealed_version(&prefix)?, fields))).transpose())
        .map(|count| Ok(count?))
        .collect()
}

fn slots_by_version(spill: &Spill) -> Result<BTreeMap<u32, u32>, StoreError> {
    let mut slots = BTreeMap::new();
    for attempt in spill.list()? {
        if let Some(version) = spill.key_version(attempt)? {
            *slots.entry(version).or_insert(0) += 1;
        }
    }
    Ok(slots)
}
