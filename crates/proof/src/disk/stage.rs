//! A folder with a watched disk, a provider beside it, and workers on it.

use super::journal::{self, Change};

use claviger_simulator::{Rotation, Simulator, SimulatorConfig, TokenOutcome, TokenPolicy};
use claviger_store::{RootKey, root_key_file_create};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// The provider whose token endpoint is the simulator.
pub(crate) const PROVIDER: &str = "anthropic";
/// A folder in memory, where there is one: the replay syncs thousands of times.
const MEMORY: &str = "/dev/shm";

/// Why a check could not be made at all; a broken promise is no such error.
pub(crate) type Trouble = Box<dyn Error + Send + Sync>;

/// What stands on disk beside the watched folder, and where.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(origin: &str, rotation: Rotation) -> Result<Self, Trouble> {
        let folder = if Path::new(MEMORY).is_dir() { tempfile::tempdir_in(MEMORY)? } else { tempfile::tempdir()? };
        let place = Self { folder };
        for folder in [place.disk(), place.overlay()] {
            std::fs::create_dir(folder)?;
        }
        std::fs::write(place.overlay().join("disk.toml"), overlay_text(origin, rotation))?;
        root_key_file_create(&place.key_file())?;
        Ok(place)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The watched folder.
    pub(crate) fn disk(&self) -> PathBuf {
        self.path().join("disk")
    }

    /// The vault's folder on it.
    pub(crate) fn home(&self) -> PathBuf {
        self.disk().join("home")
    }

    pub(crate) fn overlay(&self) -> PathBuf {
        self.path().join("providers.d")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.path().join("keys/root.key")
    }

    pub(crate) fn root(&self) -> RootKey {
        RootKey::KeyFile { path: self.key_file() }
    }

    fn log(&self) -> PathBuf {
        self.path().join("disk.log")
    }

    /// What the disk's fault is read from.
    pub(crate) fn control(&self) -> PathBuf {
        self.path().join("fault")
    }

    pub(crate) fn fault(&self, text: &str) -> Result<(), Trouble> {
        Ok(std::fs::write(self.control(), text)?)
    }

    /// What workers changed, in their order.
    pub(crate) fn changes(&self) -> Result<Vec<Change>, Trouble> {
        Ok(journal::read(&self.log())?)
    }

    /// Runs a worker to its end. Its steps and their results are its output.
    pub(crate) async fn work(&self, steps: &[String]) -> Result<Work, Trouble> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command
            .arg("disk-worker")
            .arg(self.path())
            .args(steps)
            .env("LD_PRELOAD", shim()?)
            .env("CLAVIGER_FAULTDISK_FOLDER", self.disk().canonicalize()?)
            .env("CLAVIGER_FAULTDISK_LOG", self.log())
            .env("CLAVIGER_FAULTDISK_CONTROL", self.control())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = String::from_utf8_lossy(&output.stdout);
        let results = text.lines().filter_map(|line| line.split_once(" => ")).map(|(step, result)| (step.to_owned(), result.to_owned()));
        Ok(Work { status: output.status, results: results.collect(), stderr: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}

/// What a worker did.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) status: ExitStatus,
    /// Each step with its result.
    pub(crate) results: Vec<(String, String)>,
    pub(crate) stderr: String,
}

impl Work {
    /// The results of a step, in their order.
    pub(crate) fn of<'a>(&'a self, step: &'a str) -> impl Iterator<Item = &'a str> {
        self.results.iter().filter(move |(done, _)| done == step).map(|(_, result)| result.as_str())
    }

    /// The results, if the worker came to its end and did not panic.
    pub(crate) fn finished(self) -> Result<Self, Trouble> {
        if self.status.success() && !self.stderr.contains("panicked") { Ok(self) } else { Err(format!("a worker failed: {self:?}").into()) }
    }
}

/// The library that stands before libc: built beside this program.
fn shim() -> Result<PathBuf, Trouble> {
    let path = std::env::current_exe()?.with_file_name("libclaviger_faultdisk.so");
    if path.is_file() { Ok(path) } else { Err(format!("{} is missing: cargo build -p claviger-faultdisk", path.display()).into()) }
}

fn overlay_text(origin: &str, rotation: Rotation) -> String {
    let profile = match rotation {
        Rotation::Strict => "profile = \"strict\"".to_owned(),
        Rotation::Grace { grace_s } => format!("profile = \"grace\"\ngrace_s = {grace_s}"),
        Rotation::None => "profile = \"non_rotating\"".to_owned(),
    };
    format!(
        "[providers.{PROVIDER}]\nbase_url = \"{origin}\"\n[providers.{PROVIDER}.oauth]\ntoken_url = \"{origin}/v1/oauth/token\"\n\
         [providers.{PROVIDER}.refresh]\n{profile}\n"
    )
}

/// A provider that answers.
pub(crate) async fn provider(rotation: Rotation) -> Result<Simulator, Trouble> {
    // Its clock stands still, so that no grace window closes while a worker's own clock leaps ahead.
    let clock = Arc::new(|| claviger_testkit::SIM_START.0);
    let token = TokenPolicy { rotation, ..TokenPolicy::default() };
    let simulator = Simulator::start(SimulatorConfig { clock, token, ..SimulatorConfig::default() }).await?;
    for name in NAMES {
        simulator.control().grant_issue_with(name, &format!("at-{name}"), &format!("rt-{name}"), 3600);
    }
    Ok(simulator)
}

/// Who logs in.
pub(crate) const NAMES: [&str; 2] = ["ada", "bob"];

/// One login's tokens in the order in which the provider gave them: access and refresh token.
pub(crate) type Chain = Vec<(String, String)>;

/// The tokens of each login, oldest first.
pub(crate) fn chains(simulator: &Simulator) -> BTreeMap<&'static str, Chain> {
    let mut chains: BTreeMap<_, _> = NAMES.into_iter().map(|name| (name, vec![(format!("at-{name}"), format!("rt-{name}"))])).collect();
    for post in simulator.ledger().token_posts() {
        let (Some(sent), TokenOutcome::Rotated { access, refresh }) = (&post.refresh_token, &post.outcome) else { continue };
        if let Some(chain) = chains.values_mut().find(|chain| chain.last().is_some_and(|(_, last)| last == sent)) {
            chain.push((access.clone(), refresh.clone()));
        }
    }
    chains
}
