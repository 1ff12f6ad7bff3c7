//! How long the sync of a slot takes: the part of the window after an answer's last byte that is ours. A figure, no promise.

use super::stage::Trouble;
use crate::args::Args;
use crate::table::Row;
use claviger_domain::id::{AttemptId, GrantId, GrantRevision};
use claviger_runtime::{Clock, SystemClock};
use claviger_store::{RootKey, SpillRecord, SqliteStore, Store, root_key_file_create};
use std::sync::Arc;
use std::time::Duration;

/// The row of the figure.
pub(crate) async fn rows(args: &Arc<Args>) -> Vec<Row> {
    let mut row = Row::new("disk-sync: sealing an answer into its slot, write and fdatasync");
    match measured(args.turns(100, 1000)).await {
        Ok(mut times) => {
            times.sort_unstable();
            let at = |percent: usize| times.get((times.len() - 1) * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6);
            (row.runs, row.passed) = (times.len() as u64, times.len() as u64);
            row.worst = format!("p50 {:.0} us, p99 {:.0} us, max {:.0} us", at(50), at(99), at(100));
        }
        Err(trouble) => row.count(Err(trouble.to_string())),
    }
    vec![row]
}

async fn measured(turns: u32) -> Result<Vec<Duration>, Trouble> {
    // On a disk, where the other checks are in memory.
    let folder = tempfile::tempdir()?;
    let root = RootKey::KeyFile { path: folder.path().join("keys/root.key") };
    root_key_file_create(&folder.path().join("keys/root.key"))?;
    let store = SqliteStore::create(&folder.path().join("home"), &root, &SystemClock)?;
    let (grant, from) = (GrantId(1), GrantRevision::FIRST);
    let mut times = Vec::new();
    for turn in 0..turns {
        let attempt = AttemptId(u128::from(turn) + 1);
        store.spill_create(grant, from, attempt).await?;
        let body = vec![b'x'; 2048].into();
        let record = SpillRecord { status: 200, date: None, retry_after: None, content_type: None, sent_at: SystemClock.now(), body };
        let begun = SystemClock.boot();
        store.spill_write(grant, from, attempt, record).await?;
        times.push(SystemClock.boot().saturating_sub(begun));
        store.spill_remove(attempt).await?;
    }
    store.close().await?;
    Ok(times)
}
