//! Builds store, egress and pool from paths, environment and configuration: the one place that knows how they fit.

use crate::config::{Config, Origin, Problem, Setting, problems_as_error};
use crate::context::Context;
use crate::env::{Env, Paths};
use crate::error::CliError;
use crate::root_key;
use crate::values::{self, OutsideValues};
use claviger_admin::Reloaded;
use claviger_domain::credential::{CredentialKind, Source};
use claviger_domain::profile::ProviderProfile;
use claviger_domain::value_ref::ValueRef;
use claviger_egress::{Egress, EgressConfig};
use claviger_pool::limits::FLIGHT_END_WITHIN;
use claviger_pool::{AmbientKey, Pool, PoolParts, PoolSettings, ValueKey, Values};
use claviger_providers::ambient::AmbientLogin;
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, NoFailpoints, Supervisor, best_effort};
use claviger_store::{LogStore, RootKey, SqliteLog, SqliteStore, Store};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A vault opened in this process, with all that works on it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Both planes.
    pub pool: Pool,
    /// Where rows are kept.
    pub store: Arc<SqliteStore>,
    /// Where usage is noted.
    pub log: Arc<dyn LogStore>,
    /// Who owns the tasks.
    pub supervisor: Arc<Supervisor>,
}

impl Opened {
    /// Ends the tasks and closes the vault; what is written behind is on disk then, and so is the answer to every refresh that
    /// was sent.
    pub async fn close(&self) {
        self.pool.flush().await;
        self.supervisor.stop(FLIGHT_END_WITHIN).await;
        best_effort("closing the log", self.log.close().await);
        best_effort("closing the vault", self.store.close().await);
    }
}

/// What is there before a vault is open, and stays. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// How providers are reached.
    pub egress: Egress,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Who owns the tasks.
    pub supervisor: Arc<Supervisor>,
}

impl Surroundings {
    /// For a configuration.
    pub fn new(clock: Arc<dyn Clock>, config: &Config) -> Self {
        let reach = EgressConfig { ca_file: config.ca_file.value.clone(), allow_private: config.private_origins() };
        Self { egress: Egress::new(reach, Arc::clone(&clock)), clock, supervisor: Arc::new(Supervisor::new()) }
    }
}

/// Opens the vault with the effective configuration. The error for a missing vault says `claviger init`.
pub async fn open(context: &Context) -> Result<Opened, CliError> {
    let loaded = load_settings(&context.paths, &context.env, &Overrides::default())?;
    let root = root_key::for_opening(context).await?;
    open_with(&context.paths, root, &loaded, Surroundings::new(Arc::clone(&context.clock), &loaded.config)).await
}

/// Opens the vault with its key and a configuration that was read already.
pub async fn open_with(paths: &Paths, root: RootKey, loaded: &LoadedSettings, surroundings: Surroundings) -> Result<Opened, CliError> {
    let Surroundings { egress, clock, supervisor } = surroundings;
    let (home, mirrors, time) = (paths.home.clone(), paths.mirrors.clone(), Arc::clone(&clock));
    let open = move || match mirrors {
        Some(mirrors) => SqliteStore::open_guarded(&home, &root, &*time, &mirrors),
        None => SqliteStore::open(&home, &root, &*time),
    };
    let store = Arc::new(blocking(open).await??);
    let log: Arc<dyn LogStore> = Arc::new(SqliteLog::start(&paths.home, Arc::clone(&clock)));
    let parts = PoolParts {
        store: Arc::clone(&store) as Arc<dyn Store>,
        log: Arc::clone(&log),
        egress,
        clock,
        failpoints: Arc::new(NoFailpoints),
        supervisor: Arc::clone(&supervisor),
        settings: loaded.pool.clone(),
    };
    let pool = Pool::open(parts).await?;
    Ok(Opened { pool, store, log, supervisor })
}

/// Creates a vault. One that is there is never overwritten.
pub async fn create(context: &Context, root: RootKey) -> Result<(), CliError> {
    let (home, clock) = (context.paths.home.clone(), Arc::clone(&context.clock));
    let store = blocking(move || SqliteStore::create(&home, &root, &*clock)).await??;
    Ok(store.close().await?)
}

/// Key stretching and file syncing would hold up everything else.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| CliError::caused(&error))
}

/// A configuration that is whole and fits together.
#[derive(Debug, Clone)]
pub struct LoadedSettings {
    /// The configuration file with what lies over it.
    pub config: Config,
    /// What the pool takes of it.
    pub pool: PoolSettings,
    /// Files that were read.
    pub files: Vec<PathBuf>,
}

impl LoadedSettings {
    /// What was read, for people.
    pub fn summary(&self) -> Reloaded {
        Reloaded {
            files: self.files.iter().map(|path| path.display().to_string()).collect(),
            providers: self.pool.catalogue.iter().count() as u64,
        }
    }
}

/// What the command line says over the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--api-key`: provider and reference.
    pub api_keys: Vec<(String, ValueRef)>,
}

impl Overrides {
    /// Reads the flags. A key in clear is refused: everybody on the machine can read the arguments of a program.
    pub fn read(listen: Option<SocketAddr>, api_keys: &[String]) -> Result<Self, CliError> {
        let usage = |why: &str| CliError::usage(format!("--api-key: {why}")).hint("claviger serve --api-key PROVIDER=env:MY_KEY");
        let read = |text: &String| {
            let (provider, value) = text.split_once('=').ok_or_else(|| usage("PROVIDER=REF is expected"))?;
            match ValueRef::read(value) {
                Ok(ValueRef::Literal(_)) => {
                    Err(usage("a key in clear can be read by everybody on the machine; env:NAME, file:PATH or cmd:… is expected"))
                }
                Ok(value) => Ok((provider.to_owned(), value)),
                Err(error) => Err(usage(&error.to_string())),
            }
        };
        Ok(Self { listen, api_keys: api_keys.iter().map(read).collect::<Result<_, _>>()? })
    }
}

/// Reads the configuration file and the catalogue's overlay: all of it or nothing; the error names every problem.
pub fn load_settings(paths: &Paths, env: &Env, over: &Overrides) -> Result<LoadedSettings, CliError> {
    let config = Config::read(&paths.config_file);
    let catalogue = Catalogue::load(Some(&paths.providers_dir));
    let (config, catalogue) = match (config, catalogue) {
        (Ok(config), Ok(catalogue)) => (config, catalogue),
        (config, catalogue) => {
            let ours = config.err().unwrap_or_default();
            let theirs = catalogue.err().map(|error| error.faults).unwrap_or_default();
            let lines = ours.iter().map(Problem::to_string).chain(theirs.iter().map(ToString::to_string));
            return Err(CliError::usage(lines.collect::<Vec<_>>().join("\n")).hint("claviger config check"));
        }
    };
    let config = config.overlaid(env.listen_address()?, over.listen);
    let mut problems = unknown_providers(&config, &catalogue);
    problems.extend(config.api_keys.iter().filter_map(|key| unsafe_key(paths, key)));
    problems.extend(unsafe_command(paths, &config));
    if !problems.is_empty() {
        return Err(problems_as_error(&problems));
    }
    let keys = value_keys(env, &config, &catalogue, over)?;
    let ambient = ambient_keys(env, &config, &catalogue)?;
    let values = Values { keys, ambient, source: Some(Arc::new(OutsideValues::new(env.clone()))) };
    let pool = PoolSettings { catalogue: Arc::new(catalogue), models: config.models(), values };
    Ok(LoadedSettings { config, pool, files: files(paths) })
}

/// The credentials that are in no vault.
fn value_keys(env: &Env, config: &Config, catalogue: &Catalogue, over: &Overrides) -> Result<Vec<ValueKey>, CliError> {
    let mut keys = Vec::new();
    let configured = config.api_keys.iter().map(|key| (&key.value, Source::Config));
    for ((name, value), source) in over.api_keys.iter().map(|key| (key, Source::Runtime)).chain(configured) {
        let profile = catalogue.get(name).ok_or_else(|| {
            CliError::usage(format!("a key is named for {name:?}, and there is no such provider")).hint("claviger provider list")
        })?;
        let kind = if profile.api_key.is_some() { CredentialKind::ApiKey } else { CredentialKind::OAuth };
        keys.push(ValueKey { provider: profile.id.clone(), source, kind, value: value.clone() });
    }
    if config.environment_keys.value {
        keys.extend(catalogue.iter().filter_map(|profile| environment_key(env, catalogue, profile)));
    }
    Ok(keys)
}

/// The first variable of a provider that is set, and that the provider takes.
fn environment_key(env: &Env, catalogue: &Catalogue, profile: &ProviderProfile) -> Option<ValueKey> {
    let rule = catalogue.environment(profile.id.as_str())?;
    let set = rule.variables.iter().find(|variable| profile.wire(variable.kind).is_some() && env.lookup(&variable.name).is_some())?;
    Some(ValueKey { provider: profile.id.clone(), source: Source::Environment, kind: set.kind, value: ValueRef::Env(set.name.clone()) })
}

/// Logins of this machine that the configuration names, and those of the environment for providers without a key there: of several
/// in the environment the first one is used, as the vendor's own programs do.
fn ambient_keys(env: &Env, config: &Config, catalogue: &Catalogue) -> Result<Vec<AmbientKey>, CliError> {
    let mut keys = Vec::new();
    for Setting { value: (name, login), .. } in &config.machine_logins {
        let unusable = |why: String| CliError::usage(why).hint("claviger provider list");
        let profile = catalogue.get(name).ok_or_else(|| match catalogue.not_ready(name) {
            Some(provider) => CliError::usage(format!("providers.{name}.machine_login: {}", provider.why)).hint(provider.hint.clone()),
            None => unusable(format!("a login is named for {name:?}, and there is no such provider")),
        })?;
        let login = login.resolve(profile, env).map_err(unusable)?;
        keys.push(AmbientKey { provider: profile.id.clone(), source: Source::Config, login });
    }
    if config.environment_keys.value {
        let lookup = |name: &str| env.lookup(name);
        let without_key = catalogue.iter().filter(|profile| environment_key(env, catalogue, profile).is_none());
        let found =
            without_key.filter_map(|profile| Some((profile, AmbientLogin::of_environment(profile, &lookup, env.user_home.as_deref())?)));
        keys.extend(found.map(|(profile, login)| AmbientKey { provider: profile.id.clone(), source: Source::Environment, login }));
    }
    Ok(keys)
}

/// A key in clear, or a program, in a file that is not ours alone.
fn unsafe_key(paths: &Paths, key: &Setting<(String, ValueRef)>) -> Option<Problem> {
    let (provider, value) = &key.value;
    let Origin::File { path, line, column } = &key.origin else { return None };
    let metadata = std::fs::metadata(&paths.config_file).ok()?;
    let why = match value {
        ValueRef::Cmd(_) => values::check_owner(path, &metadata).err()?.0,
        ValueRef::Literal(_) if metadata.mode() & 0o077 != 0 => {
            format!("a key in clear stands in a file that others can read: chmod 600 {}", path.display())
        }
        ValueRef::Env(_) | ValueRef::File(_) | ValueRef::Literal(_) => return None,
    };
    Some(Problem { path: path.clone(), place: Some((*line, *column)), message: format!("providers.{provider}.api_key: {why}") })
}

/// A program that is named in a file which others can write.
fn unsafe_command(paths: &Paths, config: &Config) -> Option<Problem> {
    let Origin::File { path, line, column } = &config.events.command.origin else { return None };
    let metadata = std::fs::metadata(&paths.config_file).ok()?;
    let why = values::check_owner(path, &metadata).err()?.0;
    Some(Problem { path: path.clone(), place: Some((*line, *column)), message: format!("events.command: {why}") })
}

/// Routes to providers that do not exist.
fn unknown_providers(config: &Config, catalogue: &Catalogue) -> Vec<Problem> {
    let unknown = config.routes.iter().filter(|route| catalogue.get(route.value.1.as_str()).is_none());
    let problems = unknown.filter_map(|route| match &route.origin {
        Origin::File { path, line, column } => {
            let (pattern, provider) = &route.value;
            let message = format!("routes.{pattern:?}: there is no provider {:?}", provider.as_str());
            Some(Problem { path: path.clone(), place: Some((*line, *column)), message })
        }
        Origin::Default | Origin::Environment(_) | Origin::Flag(_) => None,
    });
    problems.collect()
}

/// The files of the configuration that are there.
pub fn files(paths: &Paths) -> Vec<PathBuf> {
    let overlay = std::fs::read_dir(&paths.providers_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut overlay: Vec<PathBuf> = overlay.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    overlay.sort();
    let config = paths.config_file.is_file().then(|| paths.config_file.clone());
    config.into_iter().chain(overlay).collect()
}
