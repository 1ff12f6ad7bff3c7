//! SIGSTOP at every place of a refresh, past every deadline: nobody overtakes the one that stands still, and it does no
//! harm when it goes on.

use crate::args::Args;
use crate::checks::{Part, at_sites};
use crate::dice::Dice;
use crate::hand::Hand;
use crate::sites::{Site, Theirs};
use crate::stage::{GRACE, LIFE, Stage};
use crate::table::Row;
use claviger_pool::limits::LOCK_WAIT_MAX;
use claviger_simulator::{Rotation, TokenFault};
use rustix::process::Signal;
use std::sync::Arc;
use std::time::Duration;

/// Stops of a process at each place, over strict and grace providers in turn.
pub(crate) async fn stops(args: &Arc<Args>) -> Vec<Row> {
    let turns = args.turns(5, 200);
    let sites = Site::all().filter(|site| *site != Site::Theirs(Theirs::HalfAnswered) && *site != Site::Theirs(Theirs::Unread));
    let parts = at_sites(args, sites, move |args, site| Box::pin(async move { at_site(&args, (site, turns)).await })).await;
    let mut row = Row::new("stops: SIGSTOP for hours at each place, SIGCONT");
    let mut reuses = 0;
    for (_, part) in parts {
        reuses += part.reuses;
        row.take(part.row);
    }
    row.worst = format!("{} overtaken or lost, {reuses} reuses", row.runs - row.passed);
    vec![row]
}

async fn at_site(args: &Args, (site, turns): (Site, u32)) -> Part {
    let name = format!("stops {}", site.name());
    let mut part = Part::new(&name);
    let mut dice = Dice::new(args.seed, &name);
    for rotation in [Rotation::Strict, GRACE] {
        let mut scene = match Scene::new(rotation, site).await {
            Ok(scene) => scene,
            Err(why) => {
                part.row.count(Err(format!("{name}: {why}")));
                continue;
            }
        };
        for turn in 0..turns.div_ceil(2) {
            let outcome = scene.turn(&mut dice).await;
            let failed = outcome.is_err();
            part.row.count(outcome.map_err(|why| format!("{name}, {rotation:?}, turn {turn}: {why} (--seed {})", args.seed)));
            if failed {
                break;
            }
        }
        part.reuses += scene.stage.ledger().reuses();
    }
    part
}

/// Two workers over one vault.
struct Scene {
    stage: Stage,
    site: Site,
    holder: Hand,
    other: Hand,
    /// Whether the lock of the one that stands still is taken away, as a control of this check.
    sabotage: bool,
}

/// A lock whose file is taken away no longer excludes, and this check sees it.
pub(crate) async fn control(args: &Args) -> Result<(), String> {
    let mut scene = Scene::new(Rotation::Strict, Site::Ours("refresh.connected")).await?;
    scene.sabotage = true;
    match scene.turn(&mut Dice::new(args.seed, "control")).await {
        Err(why) if why.contains("stood still") || why.contains("overtaken") => Ok(()),
        other => Err(format!("a lock was taken away, unseen: {other:?}")),
    }
}

impl Scene {
    async fn new(rotation: Rotation, site: Site) -> Result<Self, String> {
        let mut stage = Stage::new(rotation).await;
        let mut holder = stage.worker();
        stage.login(&mut holder, "ada").await?;
        let mut other = stage.worker();
        other.served().await?;
        Ok(Self { stage, site, holder, other, sabotage: false })
    }

    /// One stop. The other worker asks meanwhile, and afterwards both serve the newest token.
    async fn turn(&mut self, dice: &mut Dice) -> Result<(), String> {
        let ledger = self.stage.ledger();
        let posts = ledger.refreshes();
        self.stage.advance(LIFE + Duration::from_secs(1 + dice.below(600)));
        let request = self.stop().await?;
        if self.sabotage {
            self.stage.empty("locks");
        }
        let sent = ledger.refreshes() - posts;
        let asked = self.other.tell("request").await;
        self.stage.pass(LOCK_WAIT_MAX + Duration::from_secs(5)).await;
        let meanwhile = asked.answer().await?;
        let expected = if self.site.is_stored() { "served 200" } else { "refused unavailable" };
        if !meanwhile.starts_with(expected) {
            return Err(format!("while a refresh stood still: {meanwhile}"));
        }
        // Past the deadline of the exchange, and of everybody who waits.
        let again = self.other.tell("request").await;
        // Who has a token is served first: it must not end on its way.
        let waits = if self.site.is_stored() { again.answer().await.map(|_served| None)? } else { Some(again) };
        for _ in 0..6 {
            self.stage.advance(Duration::from_mins(20 + dice.below(30)));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(again) = waits {
            again.answer().await?;
        }
        // Who has given the lock back holds nobody up.
        let held = self.site != Site::Ours("lock.freed");
        if held && ledger.refreshes() - posts != sent {
            return Err("the one that stands still was overtaken".to_owned());
        }
        self.holder.signal(Signal::CONT);
        let answer = request.answer().await?;
        if answer.starts_with("refused needs_login") {
            return Err(format!("the account was lost: {answer}"));
        }
        // What rests after a failure rests for a minute.
        self.stage.pass(Duration::from_mins(2)).await;
        let (first, second) = (self.settled(true).await?, self.settled(false).await?);
        let newest = self.stage.newest();
        if Some(&first) != newest.as_ref() || Some(&second) != newest.as_ref() {
            return Err("both go on, and not with the newest token".to_owned());
        }
        if ledger.reuses() != 0 || ledger.stale_credentials() != 0 {
            return Err(format!("{} reuses, {} stale credentials", ledger.reuses(), ledger.stale_credentials()));
        }
        let most = self.stage.most_sends();
        if most > 1 { Err(format!("a refresh token was sent {most} times")) } else { Ok(()) }
    }

    /// Brings the holder to its place and stops it there.
    async fn stop(&mut self) -> Result<crate::hand::Asked, String> {
        match self.site {
            Site::Ours(site) => {
                self.holder.ask(&format!("arm stop {site}")).await?;
                let request = self.holder.tell("request").await;
                self.holder.stopped().await?;
                Ok(request)
            }
            Site::Theirs(_) => {
                self.stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
                let request = self.holder.tell("request").await;
                self.stage.ledger().wait_for(|ledger| ledger.held() == 1).await;
                self.holder.signal(Signal::STOP);
                self.holder.stopped().await?;
                // The provider answers at once; the answer lies in the socket for hours.
                self.stage.simulator.control().release();
                Ok(request)
            }
        }
    }

    async fn settled(&mut self, holder: bool) -> Result<String, String> {
        let hand = if holder { &mut self.holder } else { &mut self.other };
        self.stage.served_after_rests(hand).await
    }
}
