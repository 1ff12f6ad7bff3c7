//! Another program that holds the write lock of the database: live tokens serve, nothing is sent without its journal.

use super::stage::{Place, Trouble, chains, provider};
use super::worker::Worker;
use crate::args::Args;
use crate::table::Row;
use claviger_runtime::{Clock, SystemClock};
use claviger_simulator::Rotation;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

/// A request that meets a locked database must not notice.
const SERVED_WITHIN: Duration = Duration::from_millis(250);
/// The pause between two requests meanwhile.
const REQUEST_EVERY: Duration = Duration::from_millis(50);

/// Locks that end before the store's wait of 5 s does, and after it.
pub(crate) async fn rows(_args: &Arc<Args>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (seconds, meanwhile, name) in [
        (3, 1, "disk-locked: for 3 s by another program; served, refreshed once it ends"),
        (7, 0, "disk-locked: for 7 s, past the wait of 5 s; served, nothing sent, refreshed afterwards"),
    ] {
        let mut row = Row::new(name);
        match locked(Duration::from_secs(seconds), meanwhile).await {
            Ok(slowest) => {
                row.count(if slowest <= SERVED_WITHIN { Ok(()) } else { Err(format!("{name}: a request took {slowest:?}")) });
                row.worst = format!("slowest request {:.1} ms", slowest.as_secs_f64() * 1000.0);
            }
            Err(trouble) => row.count(Err(format!("{name}: {trouble}"))),
        }
        rows.push(row);
    }
    rows
}

/// Gives the slowest request while the lock was held; `refreshes` is how many are done by the end of the sweep that met it.
async fn locked(held: Duration, refreshes: usize) -> Result<Duration, Trouble> {
    let simulator = provider(Rotation::Strict).await?;
    let place = Place::new(&simulator.origin(), Rotation::Strict)?;
    let mut worker = Worker::new(place.path());
    for (word, argument) in [("create", ""), ("login", "ada"), ("key", ""), ("age", "")] {
        worker.step(word, argument).await?;
    }
    let other = Connection::open(place.home().join("vault.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let begun = SystemClock.boot();
    let (pool, requested, ledger) = (worker.opened()?.pool.clone(), &worker, simulator.ledger());
    let requests = async move {
        let mut slowest = Duration::ZERO;
        while SystemClock.boot().saturating_sub(begun) < held {
            let asked = SystemClock.boot();
            let served = requested.serve().await?;
            slowest = slowest.max(SystemClock.boot().saturating_sub(asked));
            if served != "Bearer at-ada" || ledger.refreshes() != 0 {
                return Err::<_, Trouble>(format!("{served}, {} refreshes while the database is locked", ledger.refreshes()).into());
            }
            SystemClock.sleep(REQUEST_EVERY).await;
        }
        // Closing it rolls its transaction back.
        drop(other);
        Ok(slowest)
    };
    let (slowest, ()) = tokio::join!(requests, pool.sweep());
    let slowest = slowest?;
    if simulator.ledger().refreshes() != refreshes {
        return Err(format!("{} refreshes instead of {refreshes}", simulator.ledger().refreshes()).into());
    }
    worker.step("rest", "").await?;
    worker.step("sweep", "").await?;
    let chain = chains(&simulator).remove("ada").unwrap_or_default();
    let newest = chain.last().map(|(access, _)| format!("Bearer {access}")).unwrap_or_default();
    let served = worker.serve().await?;
    if chain.len() != 2 || served != newest || simulator.ledger().reuses() != 0 {
        return Err(format!("{served} is served after {} refreshes", chain.len() - 1).into());
    }
    worker.step("close", "").await?;
    Ok(slowest)
}
