//! A loss of power at every change: the vault is opened on every disk that may be left, with a provider that is away.

use super::journal::Change;
use super::platter::{Chance, Image, Loss, Platter, lay};
use super::stage::{Chain, Place, Trouble, chains, provider};
use super::worker::{MIRRORS, Open, secrets};
use crate::args::Args;
use crate::stage::GRACE;
use crate::table::Row;
use claviger_domain::credential::GrantState;
use claviger_domain::id::AttemptId;
use claviger_simulator::Rotation;
use claviger_store::{GuardState, SqliteStore, Store, StoreError};
use claviger_testkit::SimClock;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where slots lie on the watched disk.
const SPILL: &str = "home/spill/";

/// How much is replayed.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Expiries, at each of which all logins are refreshed.
    rounds: usize,
    /// After how many of them the vault is closed, which empties the WAL into the file.
    reopen_every: usize,
    /// Random disks after each change.
    seeds: u64,
}

/// What came of a replay.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Changes after which power was lost.
    pub(super) changes: u64,
    /// Disks on which the vault was opened.
    pub(super) disks: u64,
    /// Those that were different from all before them.
    pub(super) distinct: u64,
    /// Disks on which an answer came out of its slot.
    recovered: u64,
    /// Answers whose slot's sync had returned.
    synced: u64,
    /// Disks that broke a promise, and how.
    pub(super) broken: Vec<String>,
}

/// The rows of the check.
pub(crate) async fn rows(args: &Arc<Args>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (rotation, name, rounds) in [(Rotation::Strict, "single use", 3), (GRACE, "grace window", 1)] {
        let short = Extent { rounds, reopen_every: 2, seeds: 1 };
        let extent = if args.full { Extent { rounds: 12, reopen_every: 5, seeds: 4 } } else { short };
        let mut row = Row::new(format!("power-loss: unsynced writes dropped at every change, {name}"));
        let logged = log(rotation, extent).await;
        let replayed = match &logged {
            Ok(logged) => replay(logged, extent, args.seed).await,
            Err(trouble) => Err(trouble.to_string().into()),
        };
        match replayed {
            Ok(Losses { changes, disks, distinct, recovered, synced, broken }) => {
                (row.runs, row.passed) = (disks, disks - broken.len() as u64);
                row.worst = format!(
                    "{} of {synced} synced answers lost; {changes} changes, {distinct} different disks, {recovered} recoveries from a slot",
                    broken.len()
                );
                row.failures = broken;
            }
            Err(trouble) => row.count(Err(trouble.to_string())),
        }
        rows.push(row);
        if let (Ok(logged), Rotation::Strict) = (&logged, rotation) {
            rows.push(controls(logged).await);
        }
    }
    rows
}

/// A sync that a control leaves out, by what it syncs.
type Forgotten = fn(&Change) -> bool;

/// The replay of a disk that forgets some syncs: each must break a promise, or the check shows nothing.
async fn controls(logged: &Logged) -> Row {
    let controls: [(&str, Forgotten); 3] = [
        ("slots", |change| matches!(change, Change::Sync { path, .. } if path.starts_with(SPILL))),
        ("the WAL", |change| matches!(change, Change::Sync { path, .. } if path.ends_with("-wal"))),
        ("folders", |change| matches!(change, Change::SyncFolder { .. })),
    ];
    let mut row = Row::new("power-loss: control, a forgotten sync is caught");
    for (name, forgotten) in controls {
        row.count(match broken_without(logged, forgotten).await {
            Ok(0) => Err(format!("nobody misses the syncs of {name}")),
            Ok(_) => Ok(()),
            Err(trouble) => Err(trouble.to_string()),
        });
    }
    row.worst = format!("{} of {} caught: syncs of slots, of the WAL, of folders", row.passed, row.runs);
    row
}

async fn broken_without(logged: &Logged, forgotten: Forgotten) -> Result<usize, Trouble> {
    let mut replay = Replay::new(logged);
    let (mut platter, mut forgetful) = (Platter::new(), Platter::new());
    for (number, change) in logged.changes.iter().enumerate() {
        platter.apply(change);
        if !forgotten(change) {
            forgetful.apply(change);
        }
        if let Some(slot) = replay.promises.note(change) {
            replay.promise(&platter, &slot).await?;
            replay.open(&forgetful.after(Loss::All), (number, Loss::All)).await?;
        }
        if !replay.losses.broken.is_empty() {
            break;
        }
    }
    Ok(replay.losses.broken.len())
}

/// What a worker changed in a series of logins and refreshes, and what the provider gave it.
pub(super) struct Logged {
    pub(super) place: Place,
    pub(super) changes: Vec<Change>,
    pub(super) chains: BTreeMap<&'static str, Chain>,
}

async fn log(rotation: Rotation, extent: Extent) -> Result<Logged, Trouble> {
    let simulator = provider(rotation).await?;
    let place = Place::new(&simulator.origin(), rotation)?;
    let work = place.work(&steps(extent)).await?.finished()?;
    if let Some((step, result)) = work.results.iter().find(|(_, result)| result.starts_with("error")) {
        return Err(format!("{step}: {result}").into());
    }
    let chains = chains(&simulator);
    if chains.values().any(|chain| chain.len() != extent.rounds + 1) {
        return Err(format!("each of {chains:?} should have {} refreshes", extent.rounds).into());
    }
    // The simulator ends here: whatever is opened from now on finds nobody at the provider's address.
    Ok(Logged { changes: place.changes()?, place, chains })
}

/// Opens the vault on every disk that a loss of power may leave.
async fn replay(logged: &Logged, extent: Extent, seed: u64) -> Result<Losses, Trouble> {
    let mut replay = Replay::new(logged);
    replay.run(logged, Platter::new(), (extent.seeds, seed)).await?;
    let last = replay.promises.logins.values().copied().collect::<Vec<_>>();
    if last != vec![extent.rounds; logged.chains.len()] {
        return Err(format!("the log shows {last:?} synced answers for {} refreshes", extent.rounds).into());
    }
    replay.losses.synced = last.iter().map(|count| *count as u64).sum();
    Ok(replay.losses)
}

/// Opens a vault with one login, that was there before the log begins, on every disk that a loss of power may leave.
pub(super) async fn replay_upon(logged: &Logged, before: Platter, (seeds, seed): (u64, u64)) -> Result<Losses, Trouble> {
    let mut replay = Replay::new(logged);
    replay.promises.created = true;
    replay.promises.logins.insert("ada".to_owned(), 0);
    replay.run(logged, before, (seeds, seed)).await?;
    Ok(replay.losses)
}

fn steps(extent: Extent) -> Vec<String> {
    let mut steps = vec!["create", "login ada", "login bob"];
    for round in 1..=extent.rounds {
        steps.extend(["expire", "sweep"]);
        if round % extent.reopen_every == 0 {
            steps.extend(["close", "open"]);
        }
    }
    steps.push("close");
    steps.into_iter().map(str::to_owned).collect()
}

fn losses(seed: u64, seeds: u64) -> impl Iterator<Item = Loss> {
    [Loss::All, Loss::Nothing].into_iter().chain((0..seeds).map(move |number| Loss::Some(seed.wrapping_add(number))))
}

/// What must be there after a loss of power now, read from the log alone.
#[derive(Debug, Default)]
struct Promises {
    /// Whether the vault's creation was reported.
    created: bool,
    /// Logins that were reported as stored, each with the number of the newest answer whose slot's sync has returned.
    logins: BTreeMap<String, usize>,
    /// Slots by inode, and whether an answer was written into them.
    slots: HashMap<u64, bool>,
}

impl Promises {
    /// Notes a change; gives the path of a slot where its answer is on disk from now on.
    fn note(&mut self, change: &Change) -> Option<String> {
        match change {
            Change::Mark { text } => match text.split_once(' ') {
                Some(("end", "create")) => self.created = true,
                Some(("end", step)) => self.logins.extend(step.strip_prefix("login ").map(|name| (name.to_owned(), 0))),
                _ => {}
            },
            Change::Create { inode, path } if path.starts_with(SPILL) => {
                self.slots.insert(*inode, false);
            }
            Change::Write { inode, data, .. } if data.iter().any(|byte| *byte != 0) => {
                if let Some(filled) = self.slots.get_mut(inode) {
                    *filled = true;
                }
            }
            Change::Sync { inode, path } if self.slots.get(inode) == Some(&true) => return Some(path.clone()),
            _ => {}
        }
        None
    }
}

struct Replay<'a> {
    place: &'a Place,
    chains: &'a BTreeMap<&'static str, Chain>,
    promises: Promises,
    /// What came of a disk that was seen before: a vault reads the same from the same bytes.
    seen: HashMap<u64, Found>,
    losses: Losses,
}

/// What a vault said after recovery.
#[derive(Debug, Clone, Default)]
struct Found {
    /// Why it did not open.
    closed: Option<String>,
    /// How far along its chain the secret of each login stands.
    logins: BTreeMap<String, usize>,
    from_slot: bool,
    /// What must never be, whatever was synced.
    wrong: Vec<String>,
}

impl<'a> Replay<'a> {
    fn new(logged: &'a Logged) -> Self {
        let Logged { place, changes: _, chains } = logged;
        Self { place, chains, promises: Promises::default(), seen: HashMap::new(), losses: Losses::default() }
    }

    async fn run(&mut self, logged: &Logged, mut platter: Platter, (seeds, seed): (u64, u64)) -> Result<(), Trouble> {
        for (number, change) in logged.changes.iter().enumerate() {
            platter.apply(change);
            if let Some(slot) = self.promises.note(change) {
                self.promise(&platter, &slot).await?;
            }
            if !change.is_made() {
                continue;
            }
            self.losses.changes += 1;
            for loss in losses(Chance(seed ^ number as u64).next(), seeds) {
                self.open(&platter.after(loss), (number, loss)).await?;
            }
        }
        Ok(())
    }

    /// Notes which answer is promised from now on: that to the attempt whose slot this is.
    async fn promise(&mut self, platter: &Platter, slot: &str) -> Result<(), Trouble> {
        let attempt: AttemptId = slot.strip_prefix(SPILL).and_then(|name| name.parse().ok()).ok_or("a slot is named by its attempt")?;
        let disk = self.lay(&platter.after(Loss::Nothing))?;
        let store = self.store(&disk)?;
        let vault = store.load().await?;
        store.close().await?;
        std::fs::remove_dir_all(&disk)?;
        let sent = vault.grants.iter().find(|grant| grant.intent.as_ref().is_some_and(|intent| intent.attempts.contains(&attempt)));
        let sent = sent.ok_or("an answer has no intent")?;
        let account = vault.accounts.iter().find(|account| account.grant == sent.id).ok_or("a grant has no account")?;
        let secrets = secrets(&vault);
        let name = account.identity.email.as_deref().and_then(|email| email.split('@').next()).unwrap_or_default();
        let token = secrets.iter().find(|(login, _)| login == name).map(|(_, token)| token);
        let step = token.and_then(|token| self.step(name, token)).ok_or("a secret is no link of its chain")?;
        self.promises.logins.insert(name.to_owned(), step + 1);
        Ok(())
    }

    /// How far along its chain a token stands.
    fn step(&self, name: &str, token: &str) -> Option<usize> {
        self.chains.get(name)?.iter().position(|(_, refresh)| refresh == token)
    }

    fn lay(&self, image: &Image) -> Result<PathBuf, Trouble> {
        let disk = self.place.path().join("replayed");
        lay(image, &disk)?;
        Ok(disk)
    }

    fn store(&self, disk: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_guarded(&disk.join("home"), &self.place.root(), &SimClock::new(), &disk.join(MIRRORS))
    }

    /// Opens the vault on a disk, and compares what it says with what was promised.
    async fn open(&mut self, image: &Image, cut: (usize, Loss)) -> Result<(), Trouble> {
        let mut hasher = DefaultHasher::new();
        image.hash(&mut hasher);
        let digest = hasher.finish();
        self.losses.disks += 1;
        let found = if let Some(found) = self.seen.get(&digest) {
            found.clone()
        } else {
            let disk = self.lay(image)?;
            let found = self.look(&disk).await;
            std::fs::remove_dir_all(&disk)?;
            self.losses.distinct += 1;
            self.losses.recovered += u64::from(found.from_slot);
            self.seen.insert(digest, found.clone());
            found
        };
        let faults = self.promises.broken(&found);
        if !faults.is_empty() {
            self.losses.broken.push(format!("after change {} with {:?}: {}", cut.0, cut.1, faults.join(", ")));
        }
        Ok(())
    }

    async fn look(&self, disk: &Path) -> Found {
        let store = match self.store(disk) {
            Ok(store) => store,
            Err(error) => return Found { closed: Some(error.to_string()), ..Found::default() },
        };
        let mut found = Found::default();
        match store.integrity_check().await {
            Ok(lines) => found.wrong.extend(lines),
            Err(error) => found.wrong.push(error.to_string()),
        }
        let before = store.load().await.map(|vault| secrets(&vault)).unwrap_or_default();
        let open = match Open::recovered(store, &self.place.overlay()).await {
            Ok(open) => open,
            Err(error) => return Found { closed: Some(error.to_string()), ..found },
        };
        match open.store.load().await {
            Ok(vault) => {
                found.wrong.extend(vault.faults.iter().map(ToString::to_string));
                let dead = vault.grants.iter().filter(|grant| grant.state != GrantState::Live);
                // A loss of power is no copy: it must not quarantine anybody.
                let is_copy = matches!(vault.guard, GuardState::Behind { .. } | GuardState::OtherInstance);
                found.wrong.extend(is_copy.then(|| format!("the guard against copies says {:?}", vault.guard)));
                found.wrong.extend(dead.map(|grant| format!("grant {} is dead", grant.id)));
                let secrets = secrets(&vault);
                found.from_slot = secrets != before;
                for (name, token) in secrets {
                    match self.step(&name, &token) {
                        Some(step) => drop(found.logins.insert(name, step)),
                        None => found.wrong.push(format!("{name} has a secret that nobody gave")),
                    }
                }
            }
            Err(error) => found.wrong.push(error.to_string()),
        }
        if let Err(error) = open.store.close().await {
            found.wrong.push(error.to_string());
        }
        found
    }
}

impl Promises {
    fn broken(&self, found: &Found) -> Vec<String> {
        let mut faults = found.wrong.clone();
        if let (true, Some(why)) = (self.created, &found.closed) {
            faults.push(format!("the vault does not open: {why}"));
        }
        for (name, promised) in &self.logins {
            match found.logins.get(name) {
                None => faults.push(format!("{name} is lost")),
                Some(step) if step < promised => faults.push(format!("{name} has answer {step}, {promised} was synced")),
                Some(_) => {}
            }
        }
        faults
    }
}
