//! The checks, by name, in the order of the table.

mod crowds;
mod herd;
mod kills;
mod offline;
mod stops;
mod twice;
mod window;

use crate::args::Args;
use crate::sites::Site;
use crate::table::{Row, Table};
use claviger_runtime::{BoxFuture, Clock, Supervisor, SystemClock};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Stages that run at once: more than cores, since much of the time is spent in syncs.
const STAGES_AT_ONCE: usize = 3;

/// A check: gives the rows that it is worth.
pub(crate) type Check = for<'a> fn(&'a Arc<Args>) -> BoxFuture<'a, Vec<Row>>;

/// All checks. A row's check begins with the name, so that a failure says what to repeat.
const CHECKS: [(&str, Check); 11] = [
    ("kills-grace", |args| Box::pin(kills::grace(args))),
    ("kills-strict", |args| Box::pin(kills::strict(args))),
    ("kills-twice", |args| Box::pin(twice::twice(args))),
    ("window", |args| Box::pin(window::window(args))),
    ("stops", |args| Box::pin(stops::stops(args))),
    ("offline", |args| Box::pin(offline::offline(args))),
    ("processes", |args| Box::pin(crowds::processes(args))),
    ("herd", |args| Box::pin(herd::herd(args))),
    ("gone", |args| Box::pin(crowds::gone(args))),
    ("terms", |args| Box::pin(crowds::terms(args))),
    ("controls", |args| Box::pin(controls(args))),
];

/// Runs what is wanted, one check after the other.
pub(crate) async fn run(args: &Args) -> Table {
    let args = Arc::new(args.clone());
    let mut table = Table::default();
    for (name, check) in CHECKS.into_iter().chain(crate::disk::CHECKS) {
        if args.only.is_empty() || args.only.iter().any(|wanted| wanted == name) {
            let begun = SystemClock.boot();
            eprintln!("{name} ...");
            table.rows.extend(check(&args).await);
            eprintln!("{name}: {:.1} s", SystemClock.boot().saturating_sub(begun).as_secs_f64());
        }
    }
    table
}

/// A check that cannot fail shows nothing: what is broken on purpose is seen.
async fn controls(args: &Args) -> Vec<Row> {
    let mut row = Row::new("controls: a slot, a lock taken away on purpose");
    row.count(kills::control(args).await);
    row.count(stops::control(args).await);
    row.worst = format!("{} of {} seen", row.passed, row.runs);
    vec![row]
}

/// Counts a run that failed before it could be told apart from others.
pub(crate) fn fail_with(row: &mut Row, why: Option<String>) {
    if let Some(why) = why {
        let check = row.check.clone();
        row.count(Err(format!("{check}: {why}")));
    }
}

/// What came of one place.
pub(crate) struct Part {
    pub(crate) row: Row,
    /// Accounts that needed a new login.
    pub(crate) lost: u64,
    /// Consumed tokens that came again outside any window.
    pub(crate) reuses: usize,
    /// Consumed tokens that came again inside their window.
    pub(crate) replays: usize,
}

impl Part {
    pub(crate) fn new(name: &str) -> Self {
        Self { row: Row::new(name), lost: 0, reuses: 0, replays: 0 }
    }
}

/// Looks at places beside each other, each on a stage of its own, and gives what came of them in order.
pub(crate) async fn at_sites(
    args: &Arc<Args>,
    sites: impl Iterator<Item = Site>,
    look: impl Fn(Arc<Args>, Site) -> BoxFuture<'static, Part>,
) -> Vec<(Site, Part)> {
    let permits = Arc::new(Semaphore::new(STAGES_AT_ONCE));
    let tasks = Supervisor::new();
    let mut waits = Vec::new();
    for site in sites.filter(|site| args.wants_site(site.name())) {
        let (permits, work) = (Arc::clone(&permits), look(Arc::clone(args), site));
        let (done, wait) = oneshot::channel();
        tasks.spawn("one place", async move {
            let permit = permits.acquire().await;
            // Who waits is this function.
            drop(done.send(work.await));
            drop(permit);
        });
        waits.push((site, wait));
    }
    let mut parts = Vec::new();
    for (site, wait) in waits {
        let part = wait.await.unwrap_or_else(|_lost| {
            let mut part = Part::new(site.name());
            part.row.count(Err(format!("{}: the check itself panicked", site.name())));
            part
        });
        parts.push((site, part));
    }
    parts
}
