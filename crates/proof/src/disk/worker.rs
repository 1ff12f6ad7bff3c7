//! The worker: a process that carries out steps on a vault and says what came of each, while the disk under it fails.

use super::stage::PROVIDER;
use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, IdentityView, KeyCreate};
use claviger_contract::{Answer, Ask, Broker};
use claviger_domain::attempt::Attempts;
use claviger_domain::id::ProviderId;
use claviger_domain::virtual_key::Presented;
use claviger_egress::{Egress, EgressConfig};
use claviger_pool::{FAILPOINTS, Pool, PoolParts, PoolSettings};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{BoxFuture, Clock, Failpoint, NoFailpoints, Supervisor};
use claviger_store::{GrantSecret, LoadedVault, RootKey, SqliteStore, Store};
use claviger_testkit::SimClock;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where on the disk the guard against copies has its mirror.
pub(crate) const MIRRORS: &str = "mirrors";
/// More than the life of every token that the simulator mints.
const LIFE: Duration = Duration::from_hours(2);
/// An age at which the sweep renews a token that still serves.
const AGE: Duration = Duration::from_mins(52);
/// More than a grant rests after a refresh that failed.
const REST: Duration = Duration::from_mins(5);

/// Carries out the steps. Each is a word with an argument, apart by a space:
/// - `create`, `open`, `close`: the vault with its pool.
/// - `login NAME`: an account with the tokens `at-NAME` and `rt-NAME`. `key`: a virtual key, made. `key TEXT`: one from before.
/// - `expire`: the clock goes on until every token has ended. `age`: until the sweep wants to renew them. `rest`: until no grant rests. `sweep`: as the server does.
/// - `serve`: a request, up to its authorization. `secrets`: each account with its refresh token. `check`: the file's integrity.
/// - `fault TEXT`: the disk's fault, from now on. `fault-at SITE TEXT`: from the next pass of a refresh there.
pub(crate) async fn work(folder: &Path, steps: &[String]) {
    let mut worker = Worker::new(folder);
    for step in steps {
        let (word, argument) = step.split_once(' ').unwrap_or((step, ""));
        worker.mark(&format!("begin {step}"));
        let result = worker.step(word, argument).await.unwrap_or_else(|error| format!("error: {}", told(&*error)));
        worker.mark(&format!("end {step}"));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{step} => {}", result.replace('\n', " ")).expect("whoever started a worker reads what it says");
    }
}

/// An error with its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// A pool over a vault, and the vault's own handle.
pub(crate) struct Open {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) pool: Pool,
}

/// What a step gives.
pub(super) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

impl Open {
    /// Opens what is there.
    pub(crate) async fn new(store: SqliteStore, overlay: &Path, clock: SimClock, failpoints: Arc<dyn Failpoint>) -> Fallible<Self> {
        let store = Arc::new(store);
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let parts = PoolParts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            log: Arc::new(claviger_store::MemoryLog::new()),
            egress: Egress::new(EgressConfig::default(), Arc::clone(&clock)),
            clock,
            failpoints,
            supervisor: Arc::new(Supervisor::new()),
            settings: PoolSettings {
                catalogue: Arc::new(Catalogue::load(Some(overlay))?),
                models: Vec::new(),
                values: claviger_pool::Values::default(),
            },
        };
        Ok(Self { store, pool: Pool::open(parts).await? })
    }

    /// Opens a vault with a provider that cannot be reached, and recovers what can be recovered.
    pub(crate) async fn recovered(store: SqliteStore, overlay: &Path) -> Fallible<Self> {
        let open = Self::new(store, overlay, SimClock::new(), Arc::new(NoFailpoints)).await?;
        open.pool.sweep().await;
        Ok(open)
    }
}

/// Accounts by name with their refresh tokens.
pub(crate) fn secrets(vault: &LoadedVault) -> Vec<(String, String)> {
    let token = |account: &claviger_store::AccountRow| {
        let grant = vault.grants.iter().find(|grant| grant.id == account.grant)?;
        let GrantSecret::OAuth { refresh: Some(refresh), .. } = &grant.secret else { return None };
        let name = account.identity.email.as_deref()?.split('@').next()?.to_owned();
        Some((name, refresh.expose().to_owned()))
    };
    let mut secrets: Vec<_> = vault.accounts.iter().filter_map(token).collect();
    secrets.sort_unstable();
    secrets
}

/// A vault with its pool, and what was said about it.
pub(super) struct Worker {
    folder: PathBuf,
    clock: SimClock,
    open: Option<Open>,
    key: Option<String>,
    faults: Arc<FaultAt>,
}

impl Worker {
    pub(super) fn new(folder: &Path) -> Self {
        let faults = Arc::new(FaultAt { control: folder.join("fault"), armed: Mutex::new(None) });
        Self { folder: folder.to_owned(), clock: SimClock::new(), open: None, key: None, faults }
    }

    fn home(&self) -> PathBuf {
        self.folder.join("disk/home")
    }

    /// Leaves a mark in the log: a name that the disk knows not to be one.
    fn mark(&self, text: &str) {
        drop(std::fs::remove_file(self.folder.join("disk").join(format!("faultdisk-mark-{}", text.replace('/', "_")))));
    }

    pub(super) fn opened(&self) -> Fallible<&Open> {
        self.open.as_ref().ok_or_else(|| "no vault is open".into())
    }

    /// Carries out one step.
    pub(super) async fn step(&mut self, word: &str, argument: &str) -> Fallible<String> {
        let done = || "ok".to_owned();
        match word {
            "create" | "open" => self.open(word == "create").await.map(|()| done()),
            "close" => {
                if let Some(Open { store, pool }) = self.open.take() {
                    pool.flush().await;
                    drop(pool);
                    store.close().await?;
                }
                Ok(done())
            }
            "login" => self.login(argument).await,
            "key" if argument.is_empty() => {
                let created = self.opened()?.pool.key_create(KeyCreate::default()).await?;
                self.key = Some(created.key.expose().to_owned());
                Ok(created.key.expose().to_owned())
            }
            "key" => {
                self.key = Some(argument.to_owned());
                Ok(done())
            }
            "expire" => {
                self.clock.advance(LIFE);
                Ok(done())
            }
            "age" => {
                self.clock.advance(AGE);
                Ok(done())
            }
            "rest" => {
                self.clock.advance(REST);
                Ok(done())
            }
            "sweep" => {
                self.opened()?.pool.sweep().await;
                Ok(done())
            }
            "serve" => self.serve().await,
            "secrets" => {
                let vault = self.opened()?.store.load().await?;
                Ok(secrets(&vault).into_iter().map(|(name, token)| format!("{name}={token}")).collect::<Vec<_>>().join(" "))
            }
            "check" => Ok(self.opened()?.store.integrity_check().await?.join("; ")),
            "fault" => Ok(std::fs::write(&self.faults.control, argument).map(|()| done())?),
            "fault-at" => {
                let (site, text) = argument.split_once(' ').ok_or("fault-at SITE TEXT")?;
                if !FAILPOINTS.contains(&site) {
                    return Err(format!("no place of a refresh is called {site}").into());
                }
                self.faults.arm(site, text);
                Ok(done())
            }
            _ => Err(format!("no step is called {word}").into()),
        }
    }

    async fn open(&mut self, is_new: bool) -> Fallible<()> {
        let root = RootKey::KeyFile { path: self.folder.join("keys/root.key") };
        if is_new {
            SqliteStore::create(&self.home(), &root, &self.clock)?.close().await?;
        }
        let store = SqliteStore::open_guarded(&self.home(), &root, &self.clock, &self.folder.join("disk").join(MIRRORS))?;
        let failpoints = Arc::clone(&self.faults) as Arc<dyn Failpoint>;
        self.open = Some(Open::new(store, &self.folder.join("providers.d"), self.clock.clone(), failpoints).await?);
        Ok(())
    }

    async fn login(&self, name: &str) -> Fallible<String> {
        let credential = CredentialAdd::Oauth {
            access: Exposed::new(format!("at-{name}")),
            refresh: Some(Exposed::new(format!("rt-{name}"))),
            expires_at: Some(self.clock.now().plus(LIFE / 2)),
        };
        let add = AccountAdd {
            identity: IdentityView { email: Some(format!("{name}@example.com")), ..IdentityView::default() },
            ..AccountAdd::new(name, PROVIDER, credential)
        };
        Ok(format!("account {}", self.opened()?.pool.account_add(add).await?.account.id))
    }

    /// What a request would be sent with.
    pub(super) async fn serve(&self) -> Fallible<String> {
        let pool = &self.opened()?.pool;
        let key = self.key.as_deref().and_then(Presented::read).ok_or("no key")?;
        let admission = pool.admit(&key, None)?;
        let (provider, attempts) = (ProviderId::new(PROVIDER)?, Attempts::new());
        for _turn in 0..8 {
            let ask = Ask {
                admission: &admission,
                provider: &provider,
                session: None,
                model: None,
                model_prefix: None,
                own_client: true,
                account: None,
                attempts: &attempts,
                seed: 1,
            };
            match pool.lease(&ask) {
                Answer::Ready(lease) => {
                    let mut parts = http::Request::new(()).into_parts().0;
                    if lease.apply(&mut parts).is_ok() {
                        let header = parts.headers.get("authorization").and_then(|header| header.to_str().ok());
                        return Ok(header.unwrap_or("no authorization").to_owned());
                    }
                }
                Answer::Pending(wait) => wait.await?,
                Answer::Refused(refusal) => return Err(refusal.into()),
            }
        }
        Err("no lease after eight turns".into())
    }
}

/// Turns a fault of the disk on when a refresh comes to a place.
#[derive(Debug)]
struct FaultAt {
    control: PathBuf,
    /// Guards the one place that is armed; held for a look.
    armed: Mutex<Option<(String, String)>>,
}

impl FaultAt {
    fn arm(&self, site: &str, text: &str) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((site.to_owned(), text.to_owned()));
    }
}

impl Failpoint for FaultAt {
    fn pass<'a>(&'a self, site: &'static str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, text)) = armed.take_if(|(at, _)| at == site) {
                std::fs::write(&self.control, text).map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }
}
