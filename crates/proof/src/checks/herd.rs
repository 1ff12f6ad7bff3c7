//! The herd at expiry: many clients, some accounts, one process. How often is refreshed, and what callers wait for it.

use crate::args::Args;
use crate::checks::fail_with;
use crate::stage::{LIFE, PROVIDER, Stage, lease};
use crate::table::Row;
use claviger_contract::{Admission, Broker};
use claviger_domain::attempt::Attempts;
use claviger_domain::id::ProviderId;
use claviger_domain::session::SessionHash;
use claviger_domain::virtual_key::Presented;
use claviger_pool::Pool;
use claviger_runtime::{Clock, NoFailpoints, Supervisor, SystemClock};
use claviger_simulator::{Rotation, TokenFault};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Clients that ask at once.
const CLIENTS: u64 = 1000;
/// Accounts that they share.
const ACCOUNTS: usize = 20;
/// Leases of each client in one turn.
const LEASES: usize = 20;

/// Times of leases, sorted.
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, permille: usize) -> Duration {
        let at = (self.0.len() * permille / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }

    fn words(&self) -> String {
        let micros = |at| format!("{:.1}", self.at(at).as_nanos() as f64 / 1000.0);
        format!("p50 {} p99 {} µs", micros(500), micros(990))
    }
}

/// The clients' part of the stage.
struct Herd {
    stage: Stage,
    pool: Pool,
    admission: Arc<Admission>,
    tasks: Supervisor,
}

/// All tokens end at once, again and again.
pub(crate) async fn herd(args: &Args) -> Vec<Row> {
    let mut row = Row::new(format!("herd: {CLIENTS} clients, {ACCOUNTS} accounts, all tokens end at once"));
    let mut beside = Row::new("herd: leases beside a refresh that is under way");
    let turns = args.turns(5, 50);
    match Herd::gather().await {
        Ok(herd) => {
            let (mut waited, mut quiet, mut busy) = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..turns {
                row.count(herd.expire(&mut waited).await.map_err(|why| format!("herd, turn {turn}: {why}")));
                beside.count(herd.renew(&mut quiet, &mut busy).await.map_err(|why| format!("herd, beside, turn {turn}: {why}")));
            }
            let sorted = |mut times: Vec<Duration>| {
                times.sort_unstable();
                Times(times)
            };
            row.worst = format!("{ACCOUNTS} refreshes each; wait p99 {} ms", sorted(waited).at(990).as_millis());
            beside.worst = format!("with {}; without {}", sorted(busy).words(), sorted(quiet).words());
        }
        Err(why) => fail_with(&mut row, Some(why)),
    }
    vec![row, beside]
}

impl Herd {
    async fn gather() -> Result<Self, String> {
        let mut stage = Stage::new(Rotation::Strict).await;
        let mut worker = stage.worker();
        for account in 0..ACCOUNTS {
            stage.login(&mut worker, &format!("herd{account}")).await?;
        }
        worker.exit().await?;
        let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
        let pool = Pool::open(stage.place.parts(&clock, Arc::new(NoFailpoints))).await.map_err(|error| error.to_string())?;
        let admission = pool.admit(&Presented::read(stage.key()).unwrap(), None).map_err(|refusal| refusal.to_string())?;
        Ok(Self { stage, pool, admission: Arc::new(admission), tasks: Supervisor::new() })
    }

    /// Every client takes leases; the times, or the first refusal.
    async fn lease_all(&self, leases: usize) -> Result<Vec<Duration>, String> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for client in 0..CLIENTS {
            let (pool, admission, sender) = (self.pool.clone(), Arc::clone(&self.admission), sender.clone());
            self.tasks.spawn("client", async move {
                let mut times = Vec::with_capacity(leases);
                let mut outcome = Ok(());
                for _ in 0..leases {
                    let (provider, attempts) = (ProviderId::new(PROVIDER).unwrap(), Attempts::new());
                    let begun = SystemClock.boot();
                    let leased = lease(&pool, (&admission, &provider), &attempts, Some(SessionHash(client))).await;
                    times.push(SystemClock.boot().saturating_sub(begun));
                    outcome = outcome.and(leased.map(drop).map_err(|refusal| refusal.to_string()));
                    tokio::task::yield_now().await;
                }
                drop(sender.send(outcome.map(|()| times)));
            });
        }
        drop(sender);
        let mut all = Vec::new();
        while let Some(times) = receiver.recv().await {
            all.extend(times?);
        }
        Ok(all)
    }

    /// All tokens have ended when the clients come.
    async fn expire(&self, waited: &mut Vec<Duration>) -> Result<(), String> {
        let ledger = self.stage.ledger();
        let posts = ledger.refreshes();
        self.stage.advance(LIFE + Duration::from_secs(1));
        waited.extend(self.lease_all(1).await?);
        let (refreshes, reuses) = (ledger.refreshes() - posts, ledger.reuses());
        if (refreshes, reuses) == (ACCOUNTS, 0) { Ok(()) } else { Err(format!("{refreshes} refreshes, {reuses} reuses")) }
    }

    /// The clients come while the tokens are fresh, and again while all are refreshed before their end.
    async fn renew(&self, quiet: &mut Vec<Duration>, busy: &mut Vec<Duration>) -> Result<(), String> {
        quiet.extend(self.lease_all(LEASES).await?);
        let (ledger, control) = (self.stage.ledger(), self.stage.simulator.control());
        let posts = ledger.refreshes();
        for _ in 0..ACCOUNTS {
            control.token_fault_next(TokenFault::HoldUntilReleased);
        }
        self.stage.advance(LIFE.saturating_sub(Duration::from_secs(40)));
        // The first leases begin the refreshes, and are served with the live tokens.
        self.lease_all(1).await?;
        ledger.wait_for(|ledger| ledger.held() == ACCOUNTS).await;
        busy.extend(self.lease_all(LEASES).await?);
        control.release();
        // The flights end before the next turn moves the clock.
        self.pool.sweep().await;
        match (ledger.refreshes() - posts, ledger.reuses()) {
            (ACCOUNTS, 0) => Ok(()),
            (refreshes, reuses) => Err(format!("{refreshes} refreshes, {reuses} reuses")),
        }
    }
}
