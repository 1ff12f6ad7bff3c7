//! SIGKILL at every place of a refresh, on our side and while the provider has the request: what the next process finds.

use crate::args::Args;
use crate::checks::{Part, at_sites};
use crate::dice::Dice;
use crate::hand::{Hand, served};
use crate::sites::{Site, Theirs};
use crate::stage::{GRACE, LIFE, Stage};
use crate::table::Row;
use claviger_simulator::{Rotation, TokenFault, TokenOutcome};
use rustix::process::Signal;
use std::sync::Arc;
use std::time::Duration;

/// Kills where the provider answers a consumed token again for a while: no account is lost anywhere.
pub(crate) async fn grace(args: &Arc<Args>) -> Vec<Row> {
    let parts = at_all_sites(args, GRACE, 5, 200).await;
    let mut row = Row::new("kills-grace: kill -9 at each place, grace window");
    let (mut lost, mut reuses, mut replays) = (0, 0, 0);
    for (_, part) in parts {
        (lost, reuses, replays) = (lost + part.lost, reuses + part.reuses, replays + part.replays);
        row.take(part.row);
    }
    row.worst = format!("{lost} lost, {reuses} reuses, {replays} replays in the window");
    vec![row]
}

/// Kills where a token is good once: losses lie between the first byte sent and the spill's sync alone.
pub(crate) async fn strict(args: &Arc<Args>) -> Vec<Row> {
    let parts = at_all_sites(args, Rotation::Strict, 5, 200).await;
    let mut all = Row::new("kills-strict: kill -9 at each place, single use");
    let (mut inside, mut outside) = (0, 0);
    let mut rows = Vec::new();
    for (site, part) in parts {
        let lost = if site.is_in_window() { &mut inside } else { &mut outside };
        *lost += part.lost;
        let mut row = Row::new(format!("kills-strict: at {}", site.name()));
        (row.runs, row.passed, row.worst) = (part.row.runs, part.row.passed, format!("{} lost", part.lost));
        rows.push(row);
        all.take(part.row);
    }
    all.worst = format!("{outside} lost outside of first byte to spill synced, {inside} inside");
    rows.insert(0, all);
    rows
}

async fn at_all_sites(args: &Arc<Args>, rotation: Rotation, short: u32, full: u32) -> Vec<(Site, Part)> {
    let turns = args.turns(short, full);
    at_sites(args, Site::all(), move |args, site| Box::pin(async move { at_site(&args, rotation, (site, turns)).await })).await
}

async fn at_site(args: &Args, rotation: Rotation, (site, turns): (Site, u32)) -> Part {
    let name = format!("kills {rotation:?} {}", site.name());
    let mut part = Part::new(&name);
    let mut scene =
        Scene { stage: Stage::new(rotation).await, site, dice: Dice::new(args.seed, &name), lost: 0, before: None, sabotage: false };
    let mut hand = None;
    for turn in 0..turns {
        let outcome = scene.turn(hand.take()).await;
        part.row.count(match outcome {
            Ok(heir) => {
                hand = Some(heir);
                Ok(())
            }
            Err(why) => Err(format!("{name}, turn {turn}: {why} (--seed {})", args.seed)),
        });
    }
    if let Some(heir) = hand
        && let Err(why) = scene.leftovers(heir).await
    {
        part.row.count(Err(format!("{name}: {why}")));
    }
    let ledger = scene.stage.ledger();
    (part.lost, part.reuses) = (scene.lost, ledger.reuses());
    part.replays = ledger.token_posts().iter().filter(|post| matches!(post.outcome, TokenOutcome::Replayed { .. })).count();
    part
}

/// What makes the victim refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// A request, with an access token that has ended.
    Ended,
    /// A request whose live token is refused.
    Refused,
    /// The sweep, while the token lives on for minutes.
    Sweep,
}

struct Scene {
    stage: Stage,
    site: Site,
    dice: Dice,
    lost: u64,
    /// The token that served before the kill.
    before: Option<String>,
    /// Whether the slots of the dead are taken away, as a control of this check.
    sabotage: bool,
}

/// A vault whose slots are taken away after a kill loses what was synced, and this check sees it.
pub(crate) async fn control(args: &Args) -> Result<(), String> {
    let (stage, dice) = (Stage::new(Rotation::Strict).await, Dice::new(args.seed, "control"));
    let mut scene = Scene { stage, site: Site::Ours("answer.spilled"), dice, lost: 0, before: None, sabotage: true };
    match scene.turn(None).await {
        Err(why) if why.contains("the account is lost") => Ok(()),
        other => Err(format!("slots were taken away, unseen: {:?}", other.map(drop))),
    }
}

impl Scene {
    /// One kill and what comes after it. Gives the worker that serves then.
    async fn turn(&mut self, hand: Option<Hand>) -> Result<Hand, String> {
        let mut victim = match hand {
            Some(hand) => hand,
            None => self.stage.worker(),
        };
        if self.before.is_none() {
            // Nobody is logged in: at first, and after a loss.
            self.before = Some(self.stage.login(&mut victim, "ada").await?.access);
        }
        let old = self.before.take().expect("somebody is logged in");
        let trigger = self.dice.one_of([Trigger::Ended, Trigger::Refused, Trigger::Sweep]);
        let posts = self.stage.ledger().refreshes();
        let (reuses, stale) = (self.stage.ledger().reuses(), self.stage.ledger().stale_credentials());
        self.kill(victim, trigger).await.map_err(|why| format!("{trigger:?}: {why}"))?;

        if self.sabotage {
            self.stage.empty("spill");
        }
        let mut heir = self.stage.worker();
        // A server sweeps when it begins.
        heir.ask("sweep").await?;
        let lost = self.inherit(&mut heir, (trigger, &old)).await.map_err(|why| format!("{trigger:?}: {why}"))?;

        let ledger = self.stage.ledger();
        let sent = ledger.refreshes() - posts;
        if sent > 2 {
            return Err(format!("{trigger:?}: {sent} requests for one refresh"));
        }
        if ledger.reuses() - reuses != usize::from(lost) {
            return Err(format!("{trigger:?}: {} reuses, lost: {lost}", ledger.reuses() - reuses));
        }
        if ledger.stale_credentials() != stale {
            return Err(format!("{trigger:?}: a credential was sent that the provider no longer takes"));
        }
        if lost {
            self.lost += 1;
            let may = self.stage.is_strict() && self.site.is_in_window();
            return if may { Ok(heir) } else { Err(format!("{trigger:?}: the account is lost")) };
        }
        let now = heir.served().await?;
        if self.stage.newest().as_ref() != Some(&now) {
            return Err(format!("{trigger:?}: what is served is not the newest token"));
        }
        self.before = Some(now);
        Ok(heir)
    }

    /// Makes the victim refresh and die at the place.
    async fn kill(&mut self, mut victim: Hand, trigger: Trigger) -> Result<(), String> {
        match trigger {
            Trigger::Ended => self.stage.advance(LIFE + Duration::from_secs(1 + self.dice.below(600))),
            Trigger::Refused => {}
            Trigger::Sweep => self.stage.advance(LIFE.saturating_sub(Duration::from_secs(90 + self.dice.below(150)))),
        }
        let verb = match trigger {
            Trigger::Ended => "request",
            Trigger::Refused => "refuse",
            Trigger::Sweep => "sweep",
        };
        let control = self.stage.simulator.control();
        match self.site {
            Site::Ours(site) => {
                victim.ask(&format!("arm kill {site}")).await?;
                let answer = victim.tell(verb).await.end().await?;
                if let Some(answer) = answer.filter(|_| !self.site.is_behind_the_answer()) {
                    return Err(format!("the victim came through: {answer}"));
                }
                victim.killed().await
            }
            Site::Theirs(theirs) => {
                control.token_fault_next(match theirs {
                    Theirs::Unread => TokenFault::HoldBeforeRead,
                    Theirs::Consumed => TokenFault::HoldUntilReleased,
                    Theirs::HalfAnswered => TokenFault::StallHalfway,
                });
                let posts = self.stage.ledger().refreshes();
                let asked = victim.tell(verb).await;
                let has_it = self.stage.ledger();
                has_it
                    .wait_for(|ledger| match theirs {
                        Theirs::Unread | Theirs::Consumed => ledger.held() == 1,
                        Theirs::HalfAnswered => {
                            ledger.refreshes() > posts && ledger.token_posts().last().is_some_and(|post| post.status.is_some())
                        }
                    })
                    .await;
                victim.signal(Signal::KILL);
                victim.killed().await?;
                drop(asked);
                control.release();
                Ok(())
            }
        }
    }

    /// The account under the heir: whether it is lost. A live token is used up before the one replay, and a loss is latched.
    async fn inherit(&mut self, heir: &mut Hand, (trigger, old): (Trigger, &str)) -> Result<bool, String> {
        let answer = heir.ask("request").await?;
        if answer.starts_with("refused needs_login") {
            // A refused token serves no longer, and neither does one that has ended: nothing was left to use up.
            return if trigger == Trigger::Ended {
                self.latched(heir).await.map(|()| true)
            } else {
                Err(format!("a live token was not used up: {answer}"))
            };
        }
        if served(&answer)? != old {
            return Ok(false);
        }
        if trigger == Trigger::Ended {
            return Err("a token that has ended was sent".to_owned());
        }
        // The answer was lost, or nothing was sent: which, nobody can know. Near the token's end the one replay tells.
        let left = self.stage.left_of(old)?;
        self.stage.advance(left.saturating_sub(Duration::from_secs(20)));
        let reuses = self.stage.ledger().reuses();
        heir.ask("sweep").await?;
        if self.stage.ledger().reuses() == reuses {
            return Ok(false);
        }
        self.stage.advance(Duration::from_secs(20));
        let answer = heir.ask("request").await?;
        if !answer.starts_with("refused needs_login") {
            return Err(format!("after a loss: {answer}"));
        }
        self.latched(heir).await.map(|()| true)
    }

    /// Whether a lost account says so, to this process and to the next, without another request to the provider.
    async fn latched(&self, heir: &mut Hand) -> Result<(), String> {
        let posts = self.stage.ledger().refreshes();
        let mut next = self.stage.worker();
        next.ask("sweep").await?;
        for hand in [&mut *heir, &mut next] {
            let (answer, standing) = (hand.ask("request").await?, hand.ask("standing").await?);
            let cause = standing.strip_prefix("needs_login ").unwrap_or_default();
            if !answer.starts_with("refused needs_login") || !cause.contains("lost") {
                return Err(format!("a loss is not latched with its cause: {answer}, {standing}"));
            }
        }
        next.exit().await?;
        if self.stage.ledger().refreshes() == posts { Ok(()) } else { Err("a dead grant was asked for again".to_owned()) }
    }

    /// What the dead left behind goes, once it is old enough.
    async fn leftovers(&self, mut heir: Hand) -> Result<(), String> {
        heir.ask("background").await?;
        for _ in 0..200 {
            if self.stage.slots() == 0 {
                return heir.exit().await;
            }
            self.stage.advance(Duration::from_mins(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("{} slots are left", self.stage.slots()))
    }
}
