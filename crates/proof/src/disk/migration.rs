//! A migration that is killed, or loses power, at each of its changes: the vault opens afterwards, and its data are there.

use super::platter::Platter;
use super::power_loss::{Logged, replay_upon};
use super::stage::{Place, Trouble, chains, provider};
use super::worker::{MIRRORS, Worker};
use crate::args::Args;
use crate::table::Row;
use claviger_simulator::Rotation;
use rusqlite::Connection;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

/// The steps of the schema as they were written, each of which was the newest once.
const STEPS: [&str; 6] = [
    include_str!("../../../store/src/sqlite/migrations/0001_vault.sql"),
    include_str!("../../../store/src/sqlite/migrations/0002_sticky.sql"),
    include_str!("../../../store/src/sqlite/migrations/0003_spent.sql"),
    include_str!("../../../store/src/sqlite/migrations/0004_guard.sql"),
    include_str!("../../../store/src/sqlite/migrations/0005_seal.sql"),
    include_str!("../../../store/src/sqlite/migrations/0006_options.sql"),
];
/// The first schema with a guard against copies, and so with a mirror.
const GUARDED_SINCE: usize = 4;
/// Kills at every change in the full form, at every so manieth in the short one.
const STRIDE_SHORT: usize = 20;

/// A row for each older schema.
pub(crate) async fn rows(args: &Arc<Args>) -> Vec<Row> {
    let mut rows = Vec::new();
    for schema in 1..=STEPS.len() {
        let name = format!("disk-migration: from schema {schema}, power lost and killed at each change");
        let mut row = Row::new(&*name);
        match interrupted(schema, args).await {
            Ok((runs, changes, broken)) => {
                (row.runs, row.passed) = (runs, runs - broken.len() as u64);
                row.worst = format!("{} lost, {changes} changes", broken.len());
                row.failures = broken.into_iter().map(|why| format!("{name}: {why}")).collect();
            }
            Err(trouble) => row.count(Err(format!("{name}: {trouble}"))),
        }
        rows.push(row);
    }
    rows
}

async fn interrupted(schema: usize, args: &Args) -> Result<(u64, u64, Vec<String>), Trouble> {
    let simulator = provider(Rotation::Strict).await?;
    let place = Place::new(&simulator.origin(), Rotation::Strict)?;
    let mut worker = Worker::new(place.path());
    for (word, argument) in [("create", ""), ("login", "ada"), ("close", "")] {
        worker.step(word, argument).await?;
    }
    let database = place.home().join("vault.db");
    age(&database, schema)?;
    if schema < GUARDED_SINCE {
        std::fs::remove_dir_all(place.disk().join(MIRRORS))?;
    }
    let old = std::fs::read(&database)?;
    let before = Platter::of(&place.disk())?;
    place.work(&["open".to_owned(), "close".to_owned()]).await?.finished()?;
    let logged = Logged { changes: place.changes()?, place, chains: chains(&simulator) };
    let losses = replay_upon(&logged, before, (if args.full { 8 } else { 1 }, args.seed)).await?;
    if losses.changes < 20 {
        return Err(format!("a migration makes more than {} changes", losses.changes).into());
    }
    let (mut runs, mut broken) = (losses.disks, losses.broken);
    let last = usize::try_from(losses.changes)?;
    for kill in (0..last).step_by(if args.full { 1 } else { STRIDE_SHORT }) {
        runs += 1;
        broken.extend(killed(&logged.place, (&database, &old), kill).await?);
    }
    Ok((runs, losses.changes, broken))
}

/// Kills a process in the middle of its migration, and lets another one go on.
async fn killed(place: &Place, (database, old): (&Path, &[u8]), kill: usize) -> Result<Option<String>, Trouble> {
    for end in ["-wal", "-shm"] {
        let beside = database.with_file_name(format!("vault.db{end}"));
        if beside.exists() {
            std::fs::remove_file(beside)?;
        }
    }
    std::fs::write(database, old)?;
    let mirrors = place.disk().join(MIRRORS);
    if mirrors.exists() {
        std::fs::remove_dir_all(mirrors)?;
    }
    place.fault(&format!("after:{kill} kill"))?;
    let died = place.work(&["open".to_owned(), "close".to_owned()]).await?;
    place.fault("")?;
    if died.status.success() {
        return Ok(Some(format!("nobody was killed at change {kill}")));
    }
    let heir = place.work(&["open", "secrets", "check", "close"].map(str::to_owned)).await?;
    let said = |step: &str| heir.of(step).next().unwrap_or_default().to_owned();
    let held = heir.status.success() && said("secrets") == "ada=rt-ada" && said("check").is_empty();
    Ok((!held).then(|| format!("killed at change {kill}: {:?}", heir.results)))
}

/// Makes a vault of the newest schema one of an older: lays that schema, and copies what it has room for.
fn age(database: &Path, schema: usize) -> Result<(), Trouble> {
    let aged = database.with_file_name("vault.db.aged");
    let connection = Connection::open(&aged)?;
    std::fs::set_permissions(&aged, std::fs::Permissions::from_mode(0o600))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute("ATTACH ?1 AS newest", [database.to_str().ok_or("a path is text")?])?;
    let application: i64 = connection.query_row("PRAGMA newest.application_id", [], |row| row.get(0))?;
    connection.pragma_update(Some("main"), "application_id", application)?;
    let newest: i64 = connection.query_row("PRAGMA newest.user_version", [], |row| row.get(0))?;
    if usize::try_from(newest)? != STEPS.len() + 1 {
        return Err(format!("the newest schema is {newest}: the steps here must be all before it").into());
    }
    for step in STEPS.iter().take(schema) {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(Some("main"), "user_version", i64::try_from(schema)?)?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    for table in names(&connection, "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")? {
        let columns = |schema: &str| names(&connection, &format!("SELECT name FROM pragma_table_info('{table}', '{schema}')"));
        let kept = columns("newest")?;
        let kept: Vec<String> = columns("main")?.into_iter().filter(|column| kept.contains(column)).collect();
        let kept = kept.join(", ");
        connection
            .execute_batch(&format!("DELETE FROM main.{table}; INSERT INTO main.{table} ({kept}) SELECT {kept} FROM newest.{table}"))?;
    }
    connection.execute_batch("DETACH newest")?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(std::fs::rename(aged, database)?)
}

fn names(connection: &Connection, query: &str) -> Result<Vec<String>, rusqlite::Error> {
    connection.prepare(query)?.query_map([], |row| row.get(0))?.collect()
}
