//! Disks that are full, read-only or broken at the wrong moment: what is sent, what is served, and what is there afterwards.

use super::journal::Change;
use super::stage::{Chain, Place, Trouble, chains, provider};
use crate::args::Args;
use crate::stage::GRACE;
use crate::table::Row;
use claviger_simulator::Rotation;
use std::sync::Arc;

/// More changes than a refresh makes.
const CHANGES_MAX: usize = 90;

/// What a step must say.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// Anything.
    Any,
    /// What it says when all is well.
    Ok,
    /// That it failed, with these words among its own.
    Failed(&'static str),
    /// The access token that the provider gave as the so manieth.
    Serves(usize),
    /// That refresh token in the vault.
    Holds(usize),
}

/// The steps of a worker, in cycles that are judged one by one.
#[derive(Debug, Default)]
struct Script {
    steps: Vec<(usize, String, Said)>,
    cycle: usize,
}

impl Script {
    fn step(&mut self, step: impl Into<String>, said: Said) -> &mut Self {
        self.steps.push((self.cycle, step.into(), said));
        self
    }

    fn next(&mut self) {
        self.cycle += 1;
    }

    /// A vault with one login and a virtual key.
    fn begin() -> Self {
        let mut script = Self::default();
        script.step("create", Said::Ok).step("login ada", Said::Any).step("key", Said::Any);
        script.next();
        script
    }
}

/// How often the provider was asked, and what came of each cycle.
struct Judged {
    row: Row,
    refreshes: usize,
    reuses: usize,
    /// Changes that the disk refused.
    faults: usize,
}

/// Runs a script on a new disk and judges its cycles; the first one, which sets up, is judged too.
async fn run(name: &str, rotation: Rotation, script: &Script) -> Result<Judged, Trouble> {
    let simulator = provider(rotation).await?;
    let place = Place::new(&simulator.origin(), rotation)?;
    let steps: Vec<String> = script.steps.iter().map(|(_, step, _)| step.clone()).collect();
    let work = place.work(&steps).await?.finished()?;
    let chain = chains(&simulator).remove("ada").unwrap_or_default();
    let row = judge(name, script, (&work.results, &chain));
    let ledger = simulator.ledger();
    let faults = place.changes()?.iter().filter(|change| matches!(change, Change::Fault { .. })).count();
    Ok(Judged { row, refreshes: ledger.refreshes(), reuses: ledger.reuses(), faults })
}

fn judge(name: &str, script: &Script, (results, chain): (&[(String, String)], &Chain)) -> Row {
    let mut row = Row::new(name);
    for cycle in 0..=script.cycle {
        let mut faults = Vec::new();
        let steps = script.steps.iter().zip(results.iter().map(Some).chain(std::iter::repeat(None)));
        for ((_, step, said), result) in steps.filter(|((of, _, _), _)| *of == cycle) {
            let Some((_, result)) = result else {
                faults.push(format!("{step}: the worker did not come here"));
                continue;
            };
            if !said.is(result, chain) {
                faults.push(format!("{step}: {result} instead of {said:?}"));
            }
        }
        let what = format!("{name}, cycle {cycle}: {}", faults.join("; "));
        row.count(if faults.is_empty() { Ok(()) } else { Err(what) });
    }
    row
}

impl Said {
    fn is(self, result: &str, chain: &Chain) -> bool {
        match self {
            Self::Any => !result.starts_with("error"),
            Self::Ok => result == "ok",
            Self::Failed(words) => result.starts_with("error") && result.contains(words),
            Self::Serves(number) => chain.get(number).is_some_and(|(access, _)| result == format!("Bearer {access}")),
            Self::Holds(number) => chain.get(number).is_some_and(|(_, refresh)| result == format!("ada={refresh}")),
        }
    }
}

/// Turns what a check came to into its row; `refreshes` is what the provider must have been asked.
fn rowed(name: &str, judged: Result<Judged, Trouble>, refreshes: usize) -> Row {
    match judged {
        Ok(Judged { mut row, refreshes: asked, reuses, faults }) => {
            if faults == 0 {
                row.count(Err(format!("{name}: the disk refused nothing")));
            }
            if asked != refreshes || reuses != 0 {
                row.count(Err(format!("{name}: {asked} refreshes instead of {refreshes}, {reuses} reuses")));
            }
            row.worst =
                format!("{} lost, {asked} refreshes of {refreshes}, {reuses} reuses, {faults} refusals by the disk", row.runs - row.passed);
            row
        }
        Err(trouble) => {
            let mut row = Row::new(name);
            row.count(Err(format!("{name}: {trouble}")));
            row
        }
    }
}

/// A disk that is full before and in the middle of refreshes.
pub(crate) async fn full(args: &Arc<Args>) -> Vec<Row> {
    let cycles = usize::try_from(args.turns(10, 100)).unwrap_or(10);
    let mut rows = Vec::new();
    for (fault, name) in [
        ("full", "disk-full: before the slot; nothing sent, the token serves"),
        ("full:vault.db-wal", "disk-full: before the journal; nothing sent, the token serves"),
        ("readonly", "disk-full: read-only under a running process; nothing sent, the token serves"),
    ] {
        let mut script = Script::begin();
        for cycle in 0..cycles {
            // Twice, so that a second try on the same disk sends nothing either.
            script.step("age", Said::Ok).step(format!("fault {fault}"), Said::Ok).step("sweep", Said::Ok);
            script.step("serve", Said::Serves(cycle)).step("secrets", Said::Holds(cycle)).step("rest", Said::Ok);
            script.step("sweep", Said::Ok).step("serve", Said::Serves(cycle)).step("secrets", Said::Holds(cycle));
            script.step("fault", Said::Ok).step("rest", Said::Ok).step("sweep", Said::Ok);
            script.step("secrets", Said::Holds(cycle + 1)).step("serve", Said::Serves(cycle + 1));
            script.next();
        }
        script.step("check", Said::Any);
        rows.push(rowed(name, run(name, Rotation::Strict, &script).await, cycles));
    }
    let name = "disk-full: between intent and commit; recovered from the slot";
    let mut script = Script::begin();
    for cycle in 0..cycles {
        let site = if cycle % 3 == 0 { "answer.spilled" } else { "answer.received" };
        script.step("age", Said::Ok).step(format!("fault-at {site} full:vault.db-wal"), Said::Ok).step("sweep", Said::Ok);
        script.step("secrets", Said::Holds(cycle)).step("serve", Said::Serves(cycle)).step("fault", Said::Ok);
        if cycle % 2 == 1 {
            script.step("close", Said::Ok).step("open", Said::Ok);
        }
        script.step("rest", Said::Ok).step("sweep", Said::Ok).step("secrets", Said::Holds(cycle + 1));
        script.step("serve", Said::Serves(cycle + 1));
        script.next();
    }
    script.step("check", Said::Any);
    rows.push(rowed(name, run(name, Rotation::Strict, &script).await, cycles));
    rows
}

/// One write or sync that fails, at every change of a refresh.
pub(crate) async fn single_faults(_args: &Arc<Args>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (fault, rotation, name) in [
        ("once eio", Rotation::Strict, "disk-errors: one EIO at every change of a refresh, single use"),
        ("once full", Rotation::Strict, "disk-errors: one ENOSPC at every change of a refresh, single use"),
        ("eio", GRACE, "disk-errors: EIO from every change of a refresh on, grace window"),
    ] {
        let mut script = Script::begin();
        for cycle in 0..CHANGES_MAX {
            script.step("age", Said::Ok).step(format!("fault after:{cycle} {fault}"), Said::Ok).step("sweep", Said::Ok);
            script.step("serve", Said::Any).step("fault", Said::Ok).step("rest", Said::Ok).step("sweep", Said::Ok);
            script.step("serve", Said::Any).step("expire", Said::Ok).step("sweep", Said::Ok).step("serve", Said::Any);
            script.next();
        }
        script.step("check", Said::Any);
        rows.push(rowed(name, run(name, rotation, &script).await, 2 * CHANGES_MAX));
    }
    rows
}

/// A file system that is read-only when a process starts, after a clean end and after a kill.
pub(crate) async fn read_only_start(_args: &Arc<Args>) -> Vec<Row> {
    let name = "disk-read-only: at the start; serves, sends and writes nothing, says so";
    let mut row = Row::new(name);
    for ended in [vec!["close".to_owned()], Vec::new(), vec!["fault kill".to_owned(), "login bob".to_owned()]] {
        let what = ended.join(", ");
        row.count(started_read_only(ended).await.map_err(|trouble| format!("{name}, after \"{what}\": {trouble}")));
    }
    row.worst = format!("{} of {} starts wrong", row.runs - row.passed, row.runs);
    vec![row]
}

async fn started_read_only(ended: Vec<String>) -> Result<(), Trouble> {
    let simulator = provider(Rotation::Strict).await?;
    let place = Place::new(&simulator.origin(), Rotation::Strict)?;
    let mut steps = ["create", "login ada", "key"].map(str::to_owned).to_vec();
    steps.extend(ended);
    let work = place.work(&steps).await?;
    let key = work.of("key").next().ok_or("no key was made")?.to_owned();
    let before = place.changes()?.len();
    place.fault("readonly")?;
    let mut script = Script::default();
    script.step("open", Said::Ok).step(format!("key {key}"), Said::Ok).step("serve", Said::Serves(0)).step("age", Said::Ok);
    script.step("sweep", Said::Ok).step("serve", Said::Serves(0)).step("secrets", Said::Holds(0));
    script.step("login bob", Said::Failed("the vault cannot be written")).step("check", Said::Any).step("close", Said::Ok);
    let steps: Vec<String> = script.steps.iter().map(|(_, step, _)| step.clone()).collect();
    let work = place.work(&steps).await?.finished()?;
    let chain = chains(&simulator).remove("ada").unwrap_or_default();
    let judged = judge("read-only start", &script, (&work.results, &chain));
    if let Some(why) = judged.failures.first() {
        return Err(why.clone().into());
    }
    let changed = place.changes()?.into_iter().skip(before).filter(Change::is_made).count();
    let refreshes = simulator.ledger().refreshes();
    if refreshes + changed != 0 {
        return Err(format!("{refreshes} refreshes and {changed} changes on a disk that is read-only").into());
    }
    place.fault("")?;
    let mut script = Script::default();
    script.step("open", Said::Ok).step("age", Said::Ok).step("sweep", Said::Ok).step("secrets", Said::Holds(1)).step("close", Said::Ok);
    let steps: Vec<String> = script.steps.iter().map(|(_, step, _)| step.clone()).collect();
    let work = place.work(&steps).await?.finished()?;
    let chain = chains(&simulator).remove("ada").unwrap_or_default();
    let judged = judge("writable again", &script, (&work.results, &chain));
    judged.failures.first().map_or(Ok(()), |why| Err(why.clone().into()))
}
