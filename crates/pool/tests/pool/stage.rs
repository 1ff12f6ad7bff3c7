//! A stage for tests: a simulator, a vault in a folder of its own, and a pool over both.

use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, IdentityView, KeyCreate};
use claviger_contract::{Admission, Answer, Ask, Attempt, Broker, Refusal};
use claviger_domain::attempt::Attempts;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::origin::Origin;
use claviger_domain::session::SessionHash;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Presented;
use claviger_egress::{Egress, EgressConfig};
use claviger_pool::{Pool, PoolParts, PoolSettings};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, Failpoint, NoFailpoints, Supervisor};
use claviger_simulator::{IssuedGrant, Rotation, Simulator, SimulatorConfig, TokenPolicy};
use claviger_store::{RootKey, SqliteLog, SqliteStore, Store, root_key_file_create};
use claviger_testkit::SimClock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The provider whose address the stage points at the simulator.
pub(crate) const PROVIDER: &str = "anthropic";

pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<dyn Clock>,
    /// The same clock, where the stage runs on a settable one.
    pub(crate) sim_clock: Option<SimClock>,
    pub(crate) rotation: Rotation,
}

pub(crate) fn policy(rotation: Rotation) -> TokenPolicy {
    TokenPolicy { rotation, ..TokenPolicy::default() }
}

impl Stage {
    /// A stage on a settable clock.
    pub(crate) async fn new(rotation: Rotation) -> Self {
        let clock = SimClock::new();
        Self::with_clock(rotation, Arc::new(clock.clone()), Some(clock)).await
    }

    /// A stage on a clock of the caller's; for tests over several processes that is the system's.
    pub(crate) async fn with_clock(rotation: Rotation, clock: Arc<dyn Clock>, sim_clock: Option<SimClock>) -> Self {
        let simulated = Arc::clone(&clock);
        Self::between(rotation, (clock, sim_clock), simulated).await
    }

    /// A stage whose provider has a clock of its own.
    pub(crate) async fn between(
        rotation: Rotation,
        (clock, sim_clock): (Arc<dyn Clock>, Option<SimClock>),
        simulated: Arc<dyn Clock>,
    ) -> Self {
        let config = SimulatorConfig { clock: Arc::new(move || simulated.now().0), token: policy(rotation), ..SimulatorConfig::default() };
        let simulator = Simulator::start(config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let stage = Self { simulator, folder, clock, sim_clock, rotation };
        std::fs::create_dir(stage.overlay()).unwrap();
        std::fs::write(stage.overlay().join("stage.toml"), stage.overlay_text()).unwrap();
        root_key_file_create(&stage.key_file()).unwrap();
        let store = SqliteStore::create(&stage.home(), &stage.root_key(), &*stage.clock).unwrap();
        store.close().await.unwrap();
        stage
    }

    fn overlay_text(&self) -> String {
        self.overlay_at(PROVIDER, &self.simulator.origin().parse().unwrap(), "")
    }

    /// An overlay that moves a provider, its token endpoint to this origin; `refresh` goes on with its table of refreshes.
    pub(crate) fn overlay_at(&self, provider: &str, token_origin: &Origin, refresh: &str) -> String {
        let origin = self.simulator.origin();
        let profile = match self.rotation {
            Rotation::Strict => "profile = \"strict\"".to_owned(),
            Rotation::Grace { grace_s } => format!("profile = \"grace\"\ngrace_s = {grace_s}"),
            Rotation::None => "profile = \"non_rotating\"".to_owned(),
        };
        format!(
            "[providers.{provider}]\nbase_url = \"{origin}\"\n[providers.{provider}.oauth]\ntoken_url = \"{token_origin}/v1/oauth/token\"\n\
             [providers.{provider}.refresh]\n{profile}\n{refresh}[providers.{provider}.usage]\nurl = \"{origin}/api/oauth/usage\"\n"
        )
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn overlay(&self) -> PathBuf {
        self.folder.path().join("providers.d")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("keys").join("master.key")
    }

    pub(crate) fn root_key(&self) -> RootKey {
        RootKey::KeyFile { path: self.key_file() }
    }

    /// The settings as the overlay says them now.
    pub(crate) fn settings(&self) -> PoolSettings {
        settings(&self.overlay())
    }

    pub(crate) async fn pool(&self) -> Pool {
        self.pool_with(Arc::new(NoFailpoints)).await
    }

    pub(crate) async fn pool_with(&self, failpoints: Arc<dyn Failpoint>) -> Pool {
        open_pool(&self.home(), &self.key_file(), &self.overlay(), Arc::clone(&self.clock), failpoints).await
    }

    /// A login as if a person had made it, stored through the control plane.
    pub(crate) async fn login(&self, pool: &Pool, name: &str, lifetime_s: i64) -> (AccountId, IssuedGrant) {
        let access = format!("at-{name}");
        let issued = self.simulator.control().grant_issue_with(name, &access, &format!("rt-{name}"), lifetime_s);
        (self.add(pool, &issued, name, None).await, issued)
    }

    /// An account as `account_add` takes it, of `name@example.com`.
    pub(crate) fn draft(name: &str, credential: CredentialAdd) -> AccountAdd {
        AccountAdd {
            identity: IdentityView { email: Some(format!("{name}@example.com")), ..IdentityView::default() },
            ..AccountAdd::new("row 1", PROVIDER, credential)
        }
    }

    /// The names of the slots that are there.
    pub(crate) fn slots(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home().join("spill")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub(crate) async fn add(&self, pool: &Pool, issued: &IssuedGrant, name: &str, org: Option<&str>) -> AccountId {
        let credential = CredentialAdd::Oauth {
            access: Exposed::new(issued.access.clone()),
            refresh: Some(Exposed::new(issued.refresh.clone())),
            expires_at: Some(Timestamp(issued.expires_at_ms)),
        };
        let identity =
            IdentityView { email: Some(format!("{name}@example.com")), org_id: org.map(str::to_owned), ..IdentityView::default() };
        let add = AccountAdd { identity, ..Self::draft(name, credential) };
        AccountId(pool.account_add(add).await.unwrap().account.id)
    }

    /// A virtual key, admitted.
    pub(crate) async fn admitted(&self, pool: &Pool) -> Admission {
        let created = pool.key_create(KeyCreate::default()).await.unwrap();
        pool.admit(&Presented::read(created.key.expose()).unwrap(), None).unwrap()
    }

    /// Sends a request with what an attempt has written, and gives the status of the answer.
    pub(crate) async fn send(&self, attempt: &Attempt, authorization: &str) -> u16 {
        let egress = Egress::new(EgressConfig::default(), Arc::clone(&self.clock));
        let request = http::Request::post("/v1/messages")
            .header("authorization", authorization)
            .body(bytes::Bytes::from_static(br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}"#).into())
            .unwrap();
        let target = &attempt.facts().provider.base.origin;
        egress.send(target, attempt.allowed(), request).await.unwrap().status().as_u16()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.sim_clock.as_ref().unwrap().advance(std::time::Duration::from_secs(seconds));
    }
}

pub(crate) async fn open_pool(home: &Path, key_file: &Path, overlay: &Path, clock: Arc<dyn Clock>, failpoints: Arc<dyn Failpoint>) -> Pool {
    Pool::open(PoolParts { failpoints, ..pool_parts(home, key_file, overlay, clock) }).await.unwrap()
}

pub(crate) fn pool_parts(home: &Path, key_file: &Path, overlay: &Path, clock: Arc<dyn Clock>) -> PoolParts {
    let root = RootKey::KeyFile { path: key_file.to_owned() };
    PoolParts {
        store: Arc::new(SqliteStore::open(home, &root, &*clock).unwrap()),
        log: Arc::new(SqliteLog::start(home, Arc::clone(&clock))),
        egress: Egress::new(EgressConfig::default(), Arc::clone(&clock)),
        clock,
        failpoints: Arc::new(NoFailpoints),
        supervisor: Arc::new(Supervisor::new()),
        settings: settings(overlay),
    }
}

fn settings(overlay: &Path) -> PoolSettings {
    PoolSettings {
        catalogue: Arc::new(Catalogue::load(Some(overlay)).unwrap()),
        models: Vec::new(),
        values: claviger_pool::Values::default(),
    }
}

/// One question.
pub(crate) struct Question<'a> {
    pub(crate) admission: &'a Admission,
    pub(crate) provider: ProviderId,
    pub(crate) session: Option<SessionHash>,
    pub(crate) attempts: Attempts,
    pub(crate) seed: u64,
}

impl<'a> Question<'a> {
    pub(crate) fn new(admission: &'a Admission) -> Self {
        Self { admission, provider: ProviderId::new(PROVIDER).unwrap(), session: None, attempts: Attempts::new(), seed: 1 }
    }

    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            admission: self.admission,
            provider: &self.provider,
            session: self.session,
            model: None,
            model_prefix: None,
            own_client: true,
            account: None,
            attempts: &self.attempts,
            seed: self.seed,
        }
    }

    /// Leases and applies, waiting for refreshes as the gateway does. Gives the attempt and the authorization that was written.
    pub(crate) async fn attempt(&self, pool: &Pool) -> Result<(Attempt, String), Refusal> {
        for _turn in 0..8 {
            let ask = self.ask();
            match pool.lease(&ask) {
                Answer::Ready(lease) => {
                    let mut parts = http::Request::new(()).into_parts().0;
                    let Ok(attempt) = lease.apply(&mut parts) else { continue };
                    let header = parts.headers.get("authorization").or(parts.headers.get("x-api-key")).unwrap();
                    return Ok((attempt, header.to_str().unwrap().to_owned()));
                }
                Answer::Pending(wait) => wait.await?,
                Answer::Refused(refusal) => return Err(refusal),
            }
        }
        panic!("no lease after eight turns");
    }
}
