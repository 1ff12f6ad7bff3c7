//! Two kills in a row: the process that takes over dies as well, and the third one serves.

use crate::args::Args;
use crate::checks::{Part, at_sites};
use crate::dice::Dice;
use crate::hand::Hand;
use crate::sites::Site;
use crate::stage::{GRACE, LIFE, Stage};
use crate::table::Row;
use claviger_pool::FAILPOINTS;
use claviger_simulator::Rotation;
use std::sync::Arc;
use std::time::Duration;

/// Kills of a process and of its heir. An account may need a login only where both attempts were journalled and neither
/// answer was synced: nobody can know then whether the token was consumed.
pub(crate) async fn twice(args: &Arc<Args>) -> Vec<Row> {
    let turns = args.turns(6, 200);
    let ours = Site::all().filter(|site| matches!(site, Site::Ours(_)));
    let parts = at_sites(args, ours, move |args, site| Box::pin(async move { at_site(&args, (site, turns)).await })).await;
    let mut row = Row::new("kills-twice: kill -9, and again while the next one takes over");
    let mut lost = 0;
    for (_, part) in parts {
        lost += part.lost;
        row.take(part.row);
    }
    row.worst = format!("{lost} lost, each with journalled attempts and no synced answer");
    vec![row]
}

/// Whether a death here leaves a journalled attempt without a synced answer.
fn is_open(site: &str) -> bool {
    matches!(site, "intent.journalled" | "answer.received")
}

async fn at_site(args: &Args, (site, turns): (Site, u32)) -> Part {
    let name = format!("kills-twice {}", site.name());
    let mut part = Part::new(&name);
    let mut dice = Dice::new(args.seed, &name);
    for rotation in [GRACE, Rotation::Strict] {
        let mut stage = Stage::new(rotation).await;
        let mut login = true;
        for turn in 0..turns.div_ceil(2) {
            let second = dice.one_of(FAILPOINTS);
            let outcome = turn_over(&mut stage, (site.name(), second), login).await;
            login = outcome != Ok(false);
            part.lost += u64::from(outcome == Ok(true));
            let told = outcome.map(drop);
            part.row.count(told.map_err(|why| format!("{name} and {second}, {rotation:?}, turn {turn}: {why} (--seed {})", args.seed)));
        }
    }
    part
}

/// One turn: whether the account needs a login after it.
async fn turn_over(stage: &mut Stage, (first, second): (&str, &str), login: bool) -> Result<bool, String> {
    let mut victim = stage.worker();
    if login {
        stage.login(&mut victim, "ada").await?;
    }
    stage.advance(LIFE + Duration::from_secs(1));
    let stale = stage.ledger().stale_credentials();
    die(victim, first).await?;
    die(stage.worker(), second).await?;
    let mut heir = stage.worker();
    heir.ask("sweep").await?;
    let answer = heir.ask("request").await?;
    let lost = answer.starts_with("refused needs_login");
    if lost && !(is_open(first) && is_open(second) || stage.is_strict() && (first == "answer.received" || second == "answer.received")) {
        return Err(format!("the account is lost: {answer}"));
    }
    if !lost && (!answer.starts_with("served 200 ") || !stage.newest().is_some_and(|newest| answer.ends_with(&newest))) {
        return Err(format!("after two kills: {answer}"));
    }
    if stage.ledger().stale_credentials() != stale {
        return Err("a credential was sent that the provider no longer takes".to_owned());
    }
    let most = stage.most_sends();
    if most > 2 {
        return Err(format!("a refresh token was sent {most} times"));
    }
    Ok(lost)
}

/// Makes a worker sweep with a kill armed. One that has nothing left to do there lives, and is killed all the same.
async fn die(mut victim: Hand, site: &str) -> Result<(), String> {
    victim.ask(&format!("arm kill {site}")).await?;
    if victim.tell("sweep").await.end().await?.is_some() {
        victim.signal(rustix::process::Signal::KILL);
    }
    victim.killed().await
}
