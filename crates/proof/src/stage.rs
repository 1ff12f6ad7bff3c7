//! A stage: a provider that keeps a ledger, a vault in a folder of its own, and a clock that all workers read.

use crate::hand::{Hand, served};
use crate::wire::{Known, Wire};
use claviger_admin::{Admin, KeyCreate};
use claviger_contract::{Admission, Answer, Ask, Attempt, Broker, Refusal};
use claviger_domain::attempt::Attempts;
use claviger_domain::id::ProviderId;
use claviger_domain::session::SessionHash;
use claviger_domain::time::Timestamp;
use claviger_egress::{Egress, EgressConfig};
use claviger_pool::{Pool, PoolParts, PoolSettings};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, Failpoint, NoFailpoints, Supervisor, SystemClock};
use claviger_simulator::{IssuedGrant, Ledger, Rotation, Simulator, SimulatorConfig, TokenOutcome, TokenPolicy};
use claviger_store::{RootKey, SqliteStore, Store, root_key_file_create};
use claviger_testkit::FileClock;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The provider whose address a stage points at the simulator.
pub(crate) const PROVIDER: &str = "anthropic";
/// The life of an access token.
pub(crate) const LIFE: Duration = Duration::from_hours(1);
/// How long the provider answers a consumed token with the same pair again, in grace mode.
pub(crate) const GRACE: Rotation = Rotation::Grace { grace_s: 60 };

/// Turns that a request takes until it has a lease: as the gateway, which gives up by its own patience.
const LEASE_TURNS: usize = 8;
/// Time that goes by at once where nobody is to miss a deadline: the shortest one is 10 s.
const STEP: Duration = Duration::from_secs(4);
/// How long such a step lasts on the machine's own clock.
const STEP_LASTS: Duration = Duration::from_millis(4);
/// The same where a request may be on its way: its 30 s are a good part of a second then.
const LEISURELY_STEP_LASTS: Duration = Duration::from_millis(60);
/// Rests of a minute that a worker may need before it is served.
const RESTS_MAX: u32 = 10;
/// The pause between two moves of the clock, which goes as fast as the machine's own between the jumps.
const TICK: Duration = Duration::from_millis(2);

/// Where the files of a stage lie; workers and orchestrator agree on it.
#[derive(Debug, Clone)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(crate) fn folder(&self) -> &PathBuf {
        &self.0
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    pub(crate) fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }

    fn overlay(&self) -> PathBuf {
        self.0.join("providers.d")
    }

    fn root_key(&self) -> RootKey {
        RootKey::KeyFile { path: self.0.join("keys").join("master.key") }
    }

    /// The way to the provider: by the wire of this stage, if it has one.
    pub(crate) fn egress(&self, clock: &Arc<dyn Clock>) -> Egress {
        let Some(Known { ca_file, origin, names }) = Known::of(&self.0) else {
            return Egress::new(EgressConfig::default(), Arc::clone(clock));
        };
        let config = EgressConfig { ca_file: Some(ca_file), allow_private: [origin].into() };
        Egress::with_resolver(config, Arc::new(names), Arc::clone(clock))
    }

    /// The vault of this stage, opened, with all that a pool needs.
    pub(crate) fn parts(&self, clock: &Arc<dyn Clock>, failpoints: Arc<dyn Failpoint>) -> PoolParts {
        PoolParts {
            store: Arc::new(SqliteStore::open(&self.home(), &self.root_key(), &**clock).unwrap()),
            log: Arc::new(claviger_store::MemoryLog::new()),
            egress: self.egress(clock),
            clock: Arc::clone(clock),
            failpoints,
            supervisor: Arc::new(Supervisor::new()),
            settings: PoolSettings {
                catalogue: Arc::new(Catalogue::load(Some(&self.overlay())).unwrap()),
                models: Vec::new(),
                values: claviger_pool::Values::default(),
            },
        }
    }
}

/// One stage. Dropping it stops the provider and removes the files.
pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) clock: FileClock,
    pub(crate) simulator: Simulator,
    pub(crate) tasks: Arc<Supervisor>,
    wire: Option<Wire>,
    rotation: Rotation,
    key: String,
    logins: u32,
    /// When the access token of the last login ends.
    login_ends_at: Option<Timestamp>,
    #[expect(dead_code, reason = "held for its Drop, which removes the files")]
    folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn new(rotation: Rotation) -> Self {
        Self::build(rotation, false).await
    }

    /// A stage whose token endpoint lies behind a [`Wire`].
    pub(crate) async fn with_wire(rotation: Rotation) -> Self {
        Self::build(rotation, true).await
    }

    async fn build(rotation: Rotation, wired: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned());
        let clock = FileClock::create(&place.clock()).unwrap();
        let simulated = clock.clone();
        let token = TokenPolicy { rotation, lifetime_s: LIFE.as_secs(), ..TokenPolicy::default() };
        let config = SimulatorConfig { clock: Arc::new(move || simulated.now().0), token, ..SimulatorConfig::default() };
        let simulator = Simulator::start(config).await.unwrap();
        std::fs::create_dir(place.overlay()).unwrap();
        let tasks = Arc::new(Supervisor::new());
        let wire = if wired { Some(Wire::start(folder.path(), simulator.addr(), &tasks).await) } else { None };
        let origins = (simulator.origin(), wire.as_ref().map_or_else(|| simulator.origin(), Wire::origin));
        std::fs::write(place.overlay().join("stage.toml"), overlay(&origins, rotation)).unwrap();
        let RootKey::KeyFile { path } = place.root_key() else { unreachable!("a stage has a key file") };
        root_key_file_create(&path).unwrap();
        SqliteStore::create(&place.home(), &place.root_key(), &clock).unwrap().close().await.unwrap();
        let key = first_key(&place, &clock).await;
        tasks.spawn("clock", tick(clock.clone()));
        Self { place, clock, simulator, tasks, wire, rotation, key, logins: 0, login_ends_at: None, folder }
    }

    /// A worker over this stage's vault.
    pub(crate) fn worker(&self) -> Hand {
        Hand::start(&self.place, &self.key, &self.tasks)
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.simulator.ledger()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Time goes by in steps that are short beside every deadline, so that nobody who is at work misses one.
    pub(crate) async fn pass(&self, by: Duration) {
        self.pass_in_steps(by, STEP_LASTS).await;
    }

    /// Time goes by, and leaves an exchange with the provider as long as it may need on a busy machine.
    pub(crate) async fn pass_at_leisure(&self, by: Duration) {
        self.pass_in_steps(by, LEISURELY_STEP_LASTS).await;
    }

    async fn pass_in_steps(&self, by: Duration, each_lasts: Duration) {
        let mut left = by;
        while left > Duration::ZERO {
            let step = left.min(STEP);
            self.advance(step);
            left -= step;
            tokio::time::sleep(each_lasts).await;
        }
    }

    /// A person logs in and gives the login to a worker.
    pub(crate) async fn login(&mut self, worker: &mut Hand, name: &str) -> Result<IssuedGrant, String> {
        self.logins += 1;
        let (access, refresh) = (format!("at-{name}-{}", self.logins), format!("rt-{name}-{}", self.logins));
        let life = i64::try_from(LIFE.as_secs()).unwrap_or(i64::MAX);
        let issued = self.simulator.control().grant_issue_with(name, &access, &refresh, life);
        self.login_ends_at = Some(Timestamp(issued.expires_at_ms));
        let answer = worker.ask(&format!("login {name} {access} {refresh} {}", issued.expires_at_ms)).await?;
        if answer.starts_with("account ") { Ok(issued) } else { Err(format!("the login was not stored: {answer}")) }
    }

    /// What comes of some work while time goes by, a thousand times as fast as on the machine's own clock.
    pub(crate) async fn passing<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            () = self.pass(Duration::MAX) => unreachable!("time has no end"),
        }
    }

    /// A worker that is served once its rests have ended. While time passes a thousand times as fast as on the machine, a dial on a busy
    /// one may outlast its deadline although the peer is there, and the grant rests once more.
    pub(crate) async fn served_after_rests(&self, worker: &mut Hand) -> Result<String, String> {
        for _ in 0..RESTS_MAX {
            let answer = worker.ask("request").await?;
            if !answer.starts_with("refused unavailable") {
                return served(&answer);
            }
            self.pass_at_leisure(Duration::from_mins(1)).await;
        }
        worker.served().await
    }

    /// The virtual key of the stage.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The wire to the token endpoint, if there is one.
    pub(crate) fn wire(&self) -> Option<&Wire> {
        self.wire.as_ref()
    }

    /// Wall time of this stage.
    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The access token that the provider issued last.
    pub(crate) fn newest(&self) -> Option<String> {
        self.ledger().token_posts().into_iter().rev().find_map(|post| match post.outcome {
            TokenOutcome::Rotated { access, .. } | TokenOutcome::Replayed { access, .. } => Some(access),
            _ => None,
        })
    }

    /// How much of the life of an access token is left, as its provider counts.
    pub(crate) fn left_of(&self, access: &str) -> Result<Duration, String> {
        let issued_at = self.ledger().token_posts().into_iter().rev().find_map(|post| match post.outcome {
            TokenOutcome::Rotated { access: issued, .. } if issued == access => Some(Timestamp(post.at_ms)),
            _ => None,
        });
        let end = issued_at.map(|at| at.plus(LIFE)).or(self.login_ends_at.filter(|_| access.starts_with("at-")));
        end.map(|end| end.until(self.clock.now())).ok_or_else(|| "nobody issued the token that is served".to_owned())
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.rotation == Rotation::Strict
    }

    /// How often the refresh token was sent that was sent most often.
    pub(crate) fn most_sends(&self) -> usize {
        let mut counts = BTreeMap::new();
        for token in self.ledger().token_posts().into_iter().filter_map(|post| post.refresh_token) {
            *counts.entry(token).or_insert(0) += 1;
        }
        counts.into_values().max().unwrap_or(0)
    }

    /// Takes away what lies in a folder of the vault, for controls.
    pub(crate) fn empty(&self, folder: &str) {
        for entry in std::fs::read_dir(self.place.home().join(folder)).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// The slots that are there.
    pub(crate) fn slots(&self) -> usize {
        std::fs::read_dir(self.place.home().join("spill")).unwrap().count()
    }
}

/// Takes a lease and applies it, waiting for refreshes as the gateway does. Gives the attempt and its authorization.
pub(crate) async fn lease(
    pool: &Pool,
    (admission, provider): (&Admission, &ProviderId),
    attempts: &Attempts,
    session: Option<SessionHash>,
) -> Result<(Attempt, String), Refusal> {
    for _turn in 0..LEASE_TURNS {
        let ask = Ask { admission, provider, session, model: None, model_prefix: None, own_client: true, account: None, attempts, seed: 1 };
        match pool.lease(&ask) {
            Answer::Ready(lease) => {
                let mut parts = http::Request::new(()).into_parts().0;
                let Ok(attempt) = lease.apply(&mut parts) else { continue };
                let header = parts.headers.get("authorization").unwrap();
                return Ok((attempt, header.to_str().unwrap().to_owned()));
            }
            Answer::Pending(wait) => wait.await?,
            Answer::Refused(refusal) => return Err(refusal),
        }
    }
    panic!("no lease after {LEASE_TURNS} turns");
}

/// Asks for a lease and goes away, whatever the answer.
pub(crate) fn knock(pool: &Pool, (admission, provider): (&Admission, &ProviderId), attempts: &Attempts) {
    let ask =
        Ask { admission, provider, session: None, model: None, model_prefix: None, own_client: true, account: None, attempts, seed: 1 };
    drop(pool.lease(&ask));
}

fn overlay((origin, token): &(String, String), rotation: Rotation) -> String {
    let profile = match rotation {
        Rotation::Strict => "profile = \"strict\"".to_owned(),
        Rotation::Grace { grace_s } => format!("profile = \"grace\"\ngrace_s = {grace_s}"),
        Rotation::None => "profile = \"non_rotating\"".to_owned(),
    };
    format!(
        "[providers.{PROVIDER}]\nbase_url = \"{origin}\"\n[providers.{PROVIDER}.oauth]\ntoken_url = \"{token}/v1/oauth/token\"\n\
         [providers.{PROVIDER}.refresh]\n{profile}\n[providers.{PROVIDER}.usage]\nurl = \"{origin}/api/oauth/usage\"\n"
    )
}

async fn first_key(place: &Place, clock: &FileClock) -> String {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let parts = place.parts(&clock, Arc::new(NoFailpoints));
    let (store, supervisor) = (Arc::clone(&parts.store), Arc::clone(&parts.supervisor));
    let pool = Pool::open(parts).await.unwrap();
    let created = pool.key_create(KeyCreate::default()).await.unwrap();
    supervisor.stop(Duration::ZERO).await;
    store.close().await.unwrap();
    created.key.expose().to_owned()
}

/// Lets the clock of a stage go by the machine's own, so that what waits for milliseconds gets them.
async fn tick(clock: FileClock) {
    let mut last = SystemClock.boot();
    loop {
        tokio::time::sleep(TICK).await;
        let now = SystemClock.boot();
        let by = now.saturating_sub(last);
        // Parts of a millisecond are carried over.
        let whole = Duration::from_millis(u64::try_from(by.as_millis()).unwrap_or(0));
        last += whole;
        clock.advance(whole);
    }
}
