//! Crowds: a dozen processes at one expiry, callers that leave, and an orderly end in the middle of a refresh.

use crate::args::Args;
use crate::checks::fail_with;
use crate::dice::Dice;
use crate::hand::{Hand, served};
use crate::stage::{LIFE, Stage};
use crate::table::Row;
use claviger_runtime::{Clock, SystemClock};
use claviger_simulator::{Rotation, TokenFault};
use rustix::process::Signal;
use std::time::Duration;

/// Processes that share a vault.
const PROCESSES: usize = 12;

/// A dozen processes that find the same token ended: one refresh each time, and everybody is served with the newest.
pub(crate) async fn processes(args: &Args) -> Vec<Row> {
    let expiries = args.turns(8, 50);
    let mut row = Row::new(format!("processes: {PROCESSES} of them at {expiries} expiries"));
    let mut stage = Stage::new(Rotation::Strict).await;
    let crowd = gather(&mut stage).await;
    let mut dice = Dice::new(args.seed, "processes");
    match crowd {
        Ok(mut crowd) => {
            for expiry in 0..expiries {
                let outcome = expire(&stage, &mut crowd, &mut dice).await;
                row.count(outcome.map_err(|why| format!("processes, expiry {expiry}: {why} (--seed {})", args.seed)));
            }
        }
        Err(why) => fail_with(&mut row, Some(why)),
    }
    row.worst = format!("{} refreshes, {} reuses", stage.ledger().refreshes(), stage.ledger().reuses());
    vec![row]
}

async fn gather(stage: &mut Stage) -> Result<Vec<Hand>, String> {
    let mut first = stage.worker();
    stage.login(&mut first, "ada").await?;
    let mut crowd = vec![first];
    crowd.extend((1..PROCESSES).map(|_| stage.worker()));
    // Half of them serve as servers do, half as programs that run none.
    for hand in crowd.iter_mut().step_by(2) {
        hand.ask("background").await?;
    }
    for hand in &mut crowd {
        hand.served().await?;
    }
    Ok(crowd)
}

async fn expire(stage: &Stage, crowd: &mut [Hand], dice: &mut Dice) -> Result<(), String> {
    let ledger = stage.ledger();
    let (posts, stale) = (ledger.refreshes(), ledger.stale_credentials());
    stage.advance(LIFE + Duration::from_secs(1 + dice.below(600)));
    let mut asked = Vec::new();
    for hand in crowd {
        asked.push(hand.tell("request").await);
    }
    let mut tokens = Vec::new();
    for request in asked {
        tokens.push(served(&request.answer().await?)?);
    }
    let newest = stage.newest();
    if !tokens.iter().all(|token| Some(token) == newest.as_ref()) {
        return Err("somebody was served with a token that is not the newest".to_owned());
    }
    match (ledger.refreshes() - posts, ledger.reuses(), ledger.stale_credentials() - stale) {
        (1, 0, 0) => Ok(()),
        (refreshes, reuses, stale) => Err(format!("{refreshes} refreshes, {reuses} reuses, {stale} stale credentials")),
    }
}

/// Every caller leaves in the middle of a refresh: what came is on disk all the same.
pub(crate) async fn gone(args: &Args) -> Vec<Row> {
    let mut row = Row::new("gone: every caller leaves in the middle of a refresh");
    let mut stage = Stage::new(Rotation::Strict).await;
    for turn in 0..args.turns(20, 100) {
        row.count(leave(&mut stage).await.map_err(|why| format!("gone, turn {turn}: {why}")));
    }
    row.worst = format!("{} of {} tokens on disk, {} reuses", row.passed, row.runs, stage.ledger().reuses());
    vec![row]
}

async fn leave(stage: &mut Stage) -> Result<(), String> {
    let mut worker = stage.worker();
    if stage.newest().is_none() {
        stage.login(&mut worker, "ada").await?;
    }
    let ledger = stage.ledger();
    let posts = ledger.refreshes();
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    stage.advance(LIFE + Duration::from_secs(1));
    worker.ask("knock").await?;
    ledger.wait_for(|ledger| ledger.held() == 1).await;
    stage.simulator.control().release();
    // An orderly end waits for what was sent.
    worker.exit().await?;
    let token = stage.worker().served().await?;
    if Some(&token) == stage.newest().as_ref() && ledger.refreshes() == posts + 1 {
        Ok(())
    } else {
        Err(format!("{} refreshes: the token was not on disk", ledger.refreshes() - posts))
    }
}

/// SIGTERM in the middle of a refresh: the process waits for the answer, and what came is on disk.
pub(crate) async fn terms(args: &Args) -> Vec<Row> {
    let mut row = Row::new("terms: SIGTERM of a server in the middle of a refresh");
    let mut stage = Stage::new(Rotation::Strict).await;
    let mut hand = None;
    let mut slowest = Duration::ZERO;
    for turn in 0..args.turns(5, 200) {
        match term(&mut stage, hand.take()).await {
            Ok((heir, took)) => {
                hand = Some(heir);
                slowest = slowest.max(took);
                row.count(Ok(()));
            }
            Err(why) => row.count(Err(format!("terms, turn {turn}: {why}"))),
        }
    }
    row.worst = format!("{} reuses, slowest end {} ms after the answer", stage.ledger().reuses(), slowest.as_millis());
    vec![row]
}

async fn term(stage: &mut Stage, hand: Option<Hand>) -> Result<(Hand, Duration), String> {
    let mut victim = match hand {
        Some(hand) => hand,
        None => stage.worker(),
    };
    if stage.newest().is_none() {
        stage.login(&mut victim, "ada").await?;
    }
    victim.ask("background").await?;
    let ledger = stage.ledger();
    let posts = ledger.refreshes();
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    stage.advance(LIFE + Duration::from_secs(1));
    let asked = victim.tell("request").await;
    ledger.wait_for(|ledger| ledger.held() == 1).await;
    victim.signal(Signal::TERM);
    // The caller goes with its process or before; either way the exchange goes on.
    drop(asked);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let begun = SystemClock.boot();
    stage.simulator.control().release();
    let end = victim.ended().await?;
    let took = SystemClock.boot().saturating_sub(begun);
    if !end.success() {
        return Err(format!("the server ended with {end}"));
    }
    let mut heir = stage.worker();
    let token = heir.served().await?;
    if Some(&token) != stage.newest().as_ref() || ledger.refreshes() != posts + 1 || ledger.reuses() != 0 {
        return Err(format!("{} refreshes, {} reuses: the token was not on disk", ledger.refreshes() - posts, ledger.reuses()));
    }
    Ok((heir, took))
}
