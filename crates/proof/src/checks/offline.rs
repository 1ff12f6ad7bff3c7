//! Offline for hours, in every way that precedes a request: nothing is spent, nothing is latched, and the first refresh after
//! the return succeeds.

use crate::args::Args;
use crate::checks::fail_with;
use crate::dice::Dice;
use crate::hand::Hand;
use crate::stage::{LIFE, Stage};
use crate::table::Row;
use crate::wire::Weather;
use claviger_simulator::{Rotation, TokenFault};
use std::time::Duration;

/// Workers over one vault.
const WORKERS: usize = 3;
/// Looks of each worker while it is offline.
const LOOKS: u32 = 6;

/// Every kind of bad weather.
const WEATHERS: [Weather; 5] = [Weather::NoName, Weather::Refused, Weather::WrongPeer, Weather::NoTls, Weather::Silent];

/// What was before the weather turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The last refresh was answered.
    Settled,
    /// An answer was lost: the one replay is left, and must be left after hours of trying.
    Lost,
}

/// Hours offline, by each kind of bad weather.
pub(crate) async fn offline(args: &Args) -> Vec<Row> {
    let mut row = Row::new(format!("offline: {WORKERS} processes for hours without resolver, peer or TLS"));
    let turns = args.turns(1, 10);
    let mut dice = Dice::new(args.seed, "offline");
    let mut hours = Duration::ZERO;
    let mut stage = Stage::with_wire(Rotation::Strict).await;
    match gather(&mut stage).await {
        Ok(mut workers) => {
            for turn in 0..turns {
                for (weather, before) in WEATHERS.into_iter().flat_map(|weather| [(weather, Before::Settled), (weather, Before::Lost)]) {
                    let outcome = away(&stage, &mut workers, (weather, before, &mut dice)).await;
                    row.count(match outcome {
                        Ok(took) => {
                            hours = hours.max(took);
                            Ok(())
                        }
                        Err(why) => Err(format!("offline, {weather:?}, {before:?}, turn {turn}: {why} (--seed {})", args.seed)),
                    });
                }
            }
        }
        Err(why) => fail_with(&mut row, Some(why)),
    }
    row.worst = format!("{} reuses, longest {:.1} h", stage.ledger().reuses(), hours.as_secs_f64() / 3600.0);
    vec![row]
}

async fn gather(stage: &mut Stage) -> Result<Vec<Hand>, String> {
    let mut first = stage.worker();
    stage.login(&mut first, "ada").await?;
    let mut workers = vec![first];
    workers.extend((1..WORKERS).map(|_| stage.worker()));
    for worker in &mut workers {
        worker.ask("background").await?;
        worker.served().await?;
    }
    Ok(workers)
}

/// The answer to a refresh is lost while the token lives on.
async fn lose(stage: &Stage, worker: &mut Hand) -> Result<(), String> {
    let token = worker.served().await?;
    let posts = stage.ledger().refreshes();
    stage.simulator.control().token_fault_next(TokenFault::CloseBeforeRead);
    stage.advance(stage.left_of(&token)?.saturating_sub(Duration::from_secs(150)));
    worker.ask("sweep").await?;
    worker.served().await?;
    match stage.ledger().refreshes() - posts {
        1 => Ok(()),
        sent => Err(format!("{sent} requests for an answer that was to be lost")),
    }
}

async fn away(stage: &Stage, workers: &mut [Hand], (weather, before, dice): (Weather, Before, &mut Dice)) -> Result<Duration, String> {
    let wire = stage.wire().ok_or("a stage without a wire")?;
    let ledger = stage.ledger();
    if before == Before::Lost {
        lose(stage, workers.first_mut().ok_or("no worker")?).await?;
    }
    wire.set(weather).await;
    let (posts, begun_at) = (ledger.refreshes(), stage.clock_now());
    stage.advance(LIFE + Duration::from_secs(1));
    for _ in 0..LOOKS {
        let mut asked = Vec::new();
        for worker in &mut *workers {
            asked.push(worker.tell("request").await);
        }
        stage.advance(Duration::from_mins(5 + dice.below(40)));
        for request in asked {
            // A silent peer, and who holds the lock for it, are given up by the clock.
            let answer = stage.passing(request.answer()).await?;
            if !answer.starts_with("refused unavailable") {
                return Err(format!("offline, with a token that has ended: {answer}"));
            }
        }
    }
    if ledger.refreshes() != posts {
        return Err(format!("{} requests arrived", ledger.refreshes() - posts));
    }
    for worker in &mut *workers {
        let standing = worker.ask("standing").await?;
        if standing != "active" {
            return Err(format!("latched: {standing}"));
        }
    }
    let took = stage.clock_now().until(begun_at);
    wire.set(Weather::Fair).await;
    // What rests after a failure rests for a minute.
    stage.pass_at_leisure(Duration::from_mins(2)).await;
    for worker in &mut *workers {
        stage.served_after_rests(worker).await?;
    }
    match (ledger.refreshes() - posts, ledger.reuses(), ledger.stale_credentials()) {
        (1, 0, 0) if stage.most_sends() <= 2 => Ok(took),
        (refreshes, reuses, stale) => Err(format!("after the return: {refreshes} refreshes, {reuses} reuses, {stale} stale credentials")),
    }
}
