//! A worker: one process with the vault open, that does what its standard input says and tells what came of it.
//!
//! A line in is `ID VERB WORD…`, a line out `ID WORD…`. Commands run beside each other.

use crate::args::WorkerArgs;
use crate::stage::{PROVIDER, Place, knock, lease};
use bytes::Bytes;
use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, IdentityView, StandingView};
use claviger_contract::{Admission, Attempt, Broker, Refusal};
use claviger_domain::attempt::{Attempts, Made};
use claviger_domain::classify::Class;
use claviger_domain::id::ProviderId;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Presented;
use claviger_egress::Egress;
use claviger_pool::limits::FLIGHT_END_WITHIN;
use claviger_pool::{FAILPOINTS, Pool};
use claviger_runtime::{BoxFuture, Clock, Failpoint, Supervisor, SystemClock, best_effort};
use claviger_store::Store;
use claviger_testkit::{Failpoints, FileClock};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

/// Failpoints that also measure, on the machine's own clock, how long an answer is in memory only.
#[derive(Debug, Default)]
pub(crate) struct ProofPoints {
    armed: Failpoints,
    /// Guards the marks; held for one push.
    windows: Mutex<(Duration, Vec<Duration>)>,
}

impl Failpoint for ProofPoints {
    fn pass<'a>(&'a self, site: &'static str) -> BoxFuture<'a, Result<(), String>> {
        let now = SystemClock.boot();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        match site {
            "answer.received" => windows.0 = now,
            "answer.spilled" => {
                let begun = windows.0;
                windows.1.push(now.saturating_sub(begun));
            }
            _ => {}
        }
        drop(windows);
        self.armed.pass(site)
    }
}

struct Worker {
    pool: Pool,
    store: Arc<dyn Store>,
    points: Arc<ProofPoints>,
    supervisor: Arc<Supervisor>,
    egress: Egress,
    admission: Admission,
}

/// The process of a worker.
pub(crate) fn main(args: WorkerArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let end = runtime.block_on(work(args));
    // The thread that reads the standard input cannot be waited for.
    runtime.shutdown_background();
    end
}

async fn work(args: WorkerArgs) -> ExitCode {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let place = Place::new(args.stage.clone());
    let clock: Arc<dyn Clock> = Arc::new(FileClock::open(&place.clock()).unwrap());
    let points = Arc::new(ProofPoints::default());
    let arm = |how: &str, site: &Option<String>| {
        if let Some(site) = site {
            points.arm(how, site, args.skip);
        }
    };
    arm("kill", &args.kill);
    arm("stop", &args.stop);
    let parts = place.parts(&clock, Arc::clone(&points) as Arc<dyn Failpoint>);
    let (store, supervisor) = (Arc::clone(&parts.store), Arc::clone(&parts.supervisor));
    let pool = Pool::open(parts).await.unwrap();
    let admission = pool.admit(&Presented::read(&args.key).unwrap(), None).unwrap();
    let egress = place.egress(&clock);
    let worker = Arc::new(Worker { pool, store, points, supervisor, egress, admission });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let commands = Supervisor::new();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line.ok().flatten(),
            _ = terminate.recv() => None,
        };
        // The end of the input is the end of the orchestrator; either way the process ends as a server does.
        let Some(line) = line.filter(|line| !line.ends_with(" exit")) else { break };
        let worker = Arc::clone(&worker);
        commands.spawn("command", async move {
            let (id, command) = line.split_once(' ').unwrap();
            let answer = worker.obey(command).await;
            println!("{id} {}", answer.replace('\n', " "));
        });
    }
    worker.supervisor.stop(FLIGHT_END_WITHIN).await;
    worker.pool.flush().await;
    best_effort("close the vault", worker.store.close().await);
    ExitCode::SUCCESS
}

impl ProofPoints {
    fn arm(&self, how: &str, site: &str, skip: u32) {
        let site = FAILPOINTS.into_iter().find(|known| *known == site).unwrap();
        self.armed.skip(site, skip);
        match how {
            "kill" => self.armed.kill(site),
            "stop" => self.armed.stop(site),
            how => panic!("nobody can {how} at a failpoint"),
        }
    }
}

impl Worker {
    async fn obey(&self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        match words.as_slice() {
            ["arm", how, site] => {
                self.points.arm(how, site, 0);
                "armed".to_owned()
            }
            ["request"] => self.request(false).await,
            ["refuse"] => self.request(true).await,
            ["knock"] => {
                let (provider, attempts) = (ProviderId::new(PROVIDER).unwrap(), Attempts::new());
                knock(&self.pool, (&self.admission, &provider), &attempts);
                "left".to_owned()
            }
            ["sweep"] => {
                self.pool.sweep().await;
                "swept".to_owned()
            }
            ["background"] => {
                self.pool.serve_background();
                "begun".to_owned()
            }
            ["login", name, access, refresh, expires_at_ms] => {
                self.login(name, (access, refresh), Timestamp(expires_at_ms.parse().unwrap())).await
            }
            ["standing"] => self.standing().await,
            ["windows"] => {
                let windows = self.points.windows.lock().unwrap_or_else(PoisonError::into_inner);
                windows.1.iter().map(|window| window.as_micros().to_string()).collect::<Vec<_>>().join(" ")
            }
            _ => panic!("no such command: {command}"),
        }
    }

    /// Sends one request with a credential of the pool. With `refused`, the first credential counts as refused, as by a 401.
    async fn request(&self, refused: bool) -> String {
        let mut attempts = Attempts::new();
        let mut leased = self.lease(&attempts).await;
        if refused && let Ok((attempt, _)) = leased {
            let facts = attempt.facts();
            let made = Made { account: facts.account, grant: facts.grant, revision: facts.revision, class: Class::Unauthorized };
            self.pool.report(attempt, Class::Unauthorized);
            attempts.after(made);
            leased = self.lease(&attempts).await;
        }
        match leased {
            Ok((attempt, authorization)) => match self.send(&attempt, &authorization).await {
                Ok(status) => format!("served {status} {}", authorization.trim_start_matches("Bearer ")),
                Err(why) => format!("lost {why}"),
            },
            Err(refusal) => {
                let word = match refusal {
                    Refusal::NeedsLogin { .. } => "needs_login",
                    Refusal::Unavailable { .. } => "unavailable",
                    _ => "other",
                };
                format!("refused {word} {refusal}")
            }
        }
    }

    async fn lease(&self, attempts: &Attempts) -> Result<(Attempt, String), Refusal> {
        let provider = ProviderId::new(PROVIDER).unwrap();
        lease(&self.pool, (&self.admission, &provider), attempts, None).await
    }

    async fn send(&self, attempt: &Attempt, authorization: &str) -> Result<u16, String> {
        let body = Bytes::from_static(br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#);
        let request = http::Request::post("/v1/messages").header("authorization", authorization).body(body.into()).unwrap();
        let target = &attempt.facts().provider.base.origin;
        let answer = self.egress.send(target, attempt.allowed(), request).await;
        answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
    }

    async fn login(&self, name: &str, (access, refresh): (&str, &str), expires_at: Timestamp) -> String {
        let credential = CredentialAdd::Oauth {
            access: Exposed::new(access.to_owned()),
            refresh: Some(Exposed::new(refresh.to_owned())),
            expires_at: Some(expires_at),
        };
        let add = AccountAdd {
            identity: IdentityView { email: Some(format!("{name}@example.com")), ..IdentityView::default() },
            ..AccountAdd::new("row 1", PROVIDER, credential)
        };
        match self.pool.account_add(add).await {
            Ok(added) => format!("account {}", added.account.id),
            Err(error) => format!("error {error}"),
        }
    }

    /// How the accounts stand, in words, the worst one alone.
    async fn standing(&self) -> String {
        let listed = self.pool.account_list().await.unwrap().accounts;
        let word = |standing: &StandingView| match standing {
            StandingView::Active => None,
            StandingView::NeedsLogin { cause } => Some(format!("needs_login {cause}")),
            other => Some(format!("other {other:?}")),
        };
        listed.iter().find_map(|account| word(&account.standing)).unwrap_or_else(|| "active".to_owned())
    }
}
