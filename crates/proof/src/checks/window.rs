//! The window that is ours: from the last byte of an answer to the sync of its spill. Measured and published, never asserted.

use crate::args::Args;
use crate::checks::fail_with;
use crate::stage::{GRACE, LIFE, Stage};
use crate::table::Row;
use std::time::Duration;

/// Real refreshes, each with the time that its answer was in memory only.
pub(crate) async fn window(args: &Args) -> Vec<Row> {
    let mut row = Row::new("window: from the last byte of an answer to the sync of its spill");
    let measured = measure(args.turns(40, 1000)).await;
    let windows = measured.as_deref().unwrap_or_default();
    let at = |percent: usize| windows.get((windows.len() * percent / 100).min(windows.len().saturating_sub(1))).copied().unwrap_or(0);
    row.worst = format!("p50 {} µs, p99 {} µs, max {} µs", at(50), at(99), at(100));
    (row.runs, row.passed) = (windows.len() as u64, windows.len() as u64);
    fail_with(&mut row, measured.err());
    vec![row]
}

async fn measure(turns: u32) -> Result<Vec<u64>, String> {
    let mut stage = Stage::new(GRACE).await;
    let mut worker = stage.worker();
    stage.login(&mut worker, "ada").await?;
    for _ in 0..turns {
        stage.advance(LIFE + Duration::from_secs(1));
        worker.served().await?;
    }
    let answer = worker.ask("windows").await?;
    let mut windows: Vec<u64> = answer.split(' ').filter_map(|word| word.parse().ok()).collect();
    worker.exit().await?;
    windows.sort_unstable();
    if windows.len() == turns as usize { Ok(windows) } else { Err(format!("{} windows of {turns} refreshes", windows.len())) }
}
