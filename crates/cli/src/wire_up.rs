//! Builds store, egress and pool from paths, environment and configuration: the one place that knows how they fit.

use crate::config::{Config, Origin, Problem, problems_as_error};
use crate::context::Context;
use crate::env::{Env, Paths};
use crate::error::CliError;
use crate::root_key;
use claviger_admin::Reloaded;
use claviger_egress::{Egress, EgressConfig};
use claviger_pool::limits::FLIGHT_END_WITHIN;
use claviger_pool::{Pool, PoolParts, PoolSettings};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, NoFailpoints, Supervisor, best_effort};
use claviger_store::{RootKey, SqliteStore, Store};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A vault opened in this process, with all that works on it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Both planes.
    pub pool: Pool,
    /// Where rows are kept.
    pub store: Arc<SqliteStore>,
    /// Who owns the tasks.
    pub supervisor: Arc<Supervisor>,
}

impl Opened {
    /// Ends the tasks and closes the vault; what is written behind is on disk then, and so is the answer to every refresh that
    /// was sent.
    pub async fn close(&self) {
        self.pool.flush().await;
        self.supervisor.stop(FLIGHT_END_WITHIN).await;
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
    let loaded = load_settings(&context.paths, &context.env, None)?;
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
    let parts = PoolParts {
        store: Arc::clone(&store) as Arc<dyn Store>,
        egress,
        clock,
        failpoints: Arc::new(NoFailpoints),
        supervisor: Arc::clone(&supervisor),
        settings: loaded.pool.clone(),
    };
    let pool = Pool::open(parts).await?;
    Ok(Opened { pool, store, supervisor })
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

/// Reads the configuration file and the catalogue's overlay: all of it or nothing; the error names every problem.
pub fn load_settings(paths: &Paths, env: &Env, listen: Option<SocketAddr>) -> Result<LoadedSettings, CliError> {
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
    let config = config.overlaid(env.listen_address()?, listen);
    let problems = unknown_providers(&config, &catalogue);
    if !problems.is_empty() {
        return Err(problems_as_error(&problems));
    }
    let pool = PoolSettings { catalogue: Arc::new(catalogue), models: config.models() };
    Ok(LoadedSettings { config, pool, files: files(paths) })
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
