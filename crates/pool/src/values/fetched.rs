//! Values as they were fetched last, and the fetches under way: one at a time per value, on tasks of the supervisor, so that
//! nobody who reads the vault waits for a program longer than he wants to.

use super::{ValueError, ValueSource, unstored_id};
use crate::limits::{COMMAND_VALUE_LIFE, COMMAND_VALUES_AT_ONCE_MAX, SUSPECT_VALUE_PAUSE, VALUE_KEPT};
use claviger_domain::id::{GrantId, GrantRevision};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_domain::value_ref::ValueRef;
use claviger_runtime::{Clock, Supervisor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Values and fetches, by the text of their reference.
#[derive(Debug)]
pub(crate) struct FetchedValues {
    /// Guards the table; held for a look and a change, never over an await.
    table: Mutex<Table>,
    /// Counts the fetches that have ended.
    landed: watch::Sender<u64>,
    /// How many programs run at once.
    programs: Semaphore,
}

impl Default for FetchedValues {
    fn default() -> Self {
        Self { table: Mutex::default(), landed: watch::Sender::new(0), programs: Semaphore::new(COMMAND_VALUES_AT_ONCE_MAX) }
    }
}

#[derive(Debug, Default)]
struct Table {
    /// What is wanted by the settings and the vault as they were read last.
    wanted: HashMap<String, ValueRef>,
    slots: HashMap<String, Slot>,
    /// The fetches under way, with their begin on the boot clock.
    flights: HashMap<String, Duration>,
    /// Moves when any value does.
    changes: u64,
    /// The changes that are in the view.
    placed: u64,
}

/// One value.
struct Slot {
    /// Moves when the value does.
    revision: GrantRevision,
    value: Result<SecretText, ValueError>,
    /// When it became what it is, for people.
    since: Timestamp,
    /// When it was fetched last, on the boot clock.
    fetched: Duration,
    /// Since when it cannot be had, on the boot clock, and how often that was tried.
    failing: Option<(Duration, u32)>,
    /// Whether a provider has refused it since it was fetched.
    suspect: bool,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot(revision {})", self.revision)
    }
}

impl Slot {
    fn is_due(&self, value: &ValueRef, boot: Duration) -> bool {
        let age = boot.saturating_sub(self.fetched);
        match value {
            // They cost nothing, and a key in clear may have been replaced by another one.
            ValueRef::Literal(_) | ValueRef::Env(_) | ValueRef::File(_) => true,
            ValueRef::Cmd(_) => {
                // Whoever has locked a password manager is not to be asked for its password all day long.
                let patience = self.failing.map(|(_, tries)| SUSPECT_VALUE_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(8)));
                let pause = patience.or(self.suspect.then_some(SUSPECT_VALUE_PAUSE)).unwrap_or(COMMAND_VALUE_LIFE);
                age >= pause.min(COMMAND_VALUE_LIFE)
            }
        }
    }
}

/// A value as it stands.
pub(super) struct Standing {
    pub(super) revision: GrantRevision,
    pub(super) value: Result<SecretText, ValueError>,
    /// Since when.
    pub(super) since: Timestamp,
}

/// What fetches are begun with.
pub(super) struct Fetching<'a> {
    pub(super) source: Option<&'a Arc<dyn ValueSource>>,
    pub(super) supervisor: &'a Supervisor,
    pub(super) clock: &'a Arc<dyn Clock>,
}

impl FetchedValues {
    /// A provider has refused a value: it may have been replaced where it stands.
    pub(crate) fn note_suspect(&self, grant: GrantId) {
        let mut table = self.table();
        for (_, slot) in table.slots.iter_mut().filter(|(name, _)| unstored_id(name) == grant.0) {
            slot.suspect = true;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value as it stands; `None` while it is fetched for the first time.
    pub(super) fn get(&self, name: &str) -> Option<Standing> {
        let table = self.table();
        let slot = table.slots.get(name)?;
        let value = slot.value.as_ref().map(|text| SecretText::new(text.expose().to_owned())).map_err(Clone::clone);
        Some(Standing { revision: slot.revision, value, since: slot.since })
    }

    /// Moves whenever a value does.
    pub(crate) fn changes(&self) -> u64 {
        self.table().changes
    }

    /// Notes that a view has these changes.
    pub(crate) fn note_placed(&self, changes: u64) {
        let mut table = self.table();
        table.placed = table.placed.max(changes);
    }

    /// Whether a value has changed since a view was built.
    pub(crate) fn has_news(&self) -> bool {
        let table = self.table();
        table.changes != table.placed
    }

    /// Resolves when a fetch ends that was under way or is begun.
    pub(super) fn landing(&self) -> impl Future<Output = ()> + use<> {
        let mut landed = self.landed.subscribe();
        async move {
            // An error means that there is nobody left to fetch for.
            drop(landed.changed().await);
        }
    }

    /// Takes over what is wanted, and forgets the rest.
    pub(super) fn want(&self, wanted: HashMap<String, ValueRef>) {
        let mut table = self.table();
        table.slots.retain(|name, _| wanted.contains_key(name));
        table.wanted = wanted;
    }

    /// Begins to fetch what is due. What is at hand is there when this returns, files and programs later.
    pub(super) async fn fetch_due(self: &Arc<Self>, with: Fetching<'_>) {
        let boot = with.clock.boot();
        let due: Vec<(String, ValueRef)> = {
            let mut table = self.table();
            let Table { wanted, slots, flights, .. } = &mut *table;
            let due = wanted
                .iter()
                .filter(|(name, value)| !flights.contains_key(*name) && slots.get(*name).is_none_or(|slot| slot.is_due(value, boot)));
            let due: Vec<_> = due.map(|(name, value)| (name.clone(), value.clone())).collect();
            flights.extend(due.iter().map(|(name, _)| (name.clone(), boot)));
            due
        };
        for (name, value) in due {
            let flight = Flight { values: Arc::clone(self), name, clock: Arc::clone(with.clock) };
            match with.source {
                None => flight.land(&value, Err(ValueError("this process fetches no values".to_owned()))),
                Some(source) if matches!(value, ValueRef::Literal(_) | ValueRef::Env(_)) => flight.land(&value, source.fetch(&value).await),
                Some(source) => {
                    let (source, stopped) = (Arc::clone(source), with.supervisor.stopped());
                    with.supervisor.spawn("value", async move {
                        tokio::select! {
                            () = stopped => {}
                            () = flight.fly(&value, &*source) => {}
                        }
                    });
                }
            }
        }
    }

    /// Waits for the fetches under way of these names, for each until it is this old.
    pub(crate) async fn settle(&self, patience: Duration, clock: &dyn Clock, is_meant: impl Fn(&str) -> bool) {
        let mut landed = self.landed.subscribe();
        loop {
            let boot = clock.boot();
            let left = {
                let table = self.table();
                let meant = table.flights.iter().filter(|(name, _)| is_meant(name));
                meant.filter_map(|(_, begun)| patience.checked_sub(boot.saturating_sub(*begun))).filter(|left| !left.is_zero()).max()
            };
            let Some(left) = left else { return };
            tokio::select! {
                landed = landed.changed() => if landed.is_err() { return },
                () = clock.sleep(left) => {}
            }
        }
    }

    /// Takes over what a fetch brought. A value that cannot be had for a moment is kept for a while.
    fn put(&self, name: &str, of: &ValueRef, value: Result<SecretText, ValueError>, clock: &dyn Clock) {
        let (boot, since) = (clock.boot(), clock.now());
        let mut table = self.table();
        let Table { wanted, slots, changes, .. } = &mut *table;
        // It may have been taken out of the settings meanwhile, or replaced.
        if wanted.get(name) != Some(of) {
            return;
        }
        if let (Err(error), true) = (&value, slots.get(name).is_none_or(|slot| slot.failing.is_none())) {
            tracing::warn!(value = %of, error = %error, "a value cannot be had");
        }
        let failed = value.is_err();
        let Some(slot) = slots.get_mut(name) else {
            *changes += 1;
            let failing = failed.then_some((boot, 1));
            slots.insert(
                name.to_owned(),
                Slot { revision: GrantRevision::FIRST.next(), value, since, fetched: boot, failing, suspect: false },
            );
            return;
        };
        slot.fetched = boot;
        slot.suspect = false;
        slot.failing = failed.then(|| slot.failing.map_or((boot, 1), |(since, tries)| (since, tries.saturating_add(1))));
        let serves_on = slot.failing.is_some_and(|(since, _)| boot.saturating_sub(since) < VALUE_KEPT);
        let same = match (&slot.value, &value) {
            (Ok(old), Ok(new)) => old.expose() == new.expose(),
            (Ok(_), Err(_)) => serves_on,
            (Err(old), Err(new)) => old == new,
            (Err(_), Ok(_)) => false,
        };
        if !same {
            (slot.revision, slot.value, slot.since) = (slot.revision.next(), value, since);
            *changes += 1;
        }
    }
}

/// One fetch. Dropped, it is over, whatever came of it.
struct Flight {
    values: Arc<FetchedValues>,
    name: String,
    clock: Arc<dyn Clock>,
}

impl Flight {
    async fn fly(self, value: &ValueRef, source: &dyn ValueSource) {
        let permit = match value {
            ValueRef::Cmd(_) => self.values.programs.acquire().await.ok(),
            ValueRef::Literal(_) | ValueRef::Env(_) | ValueRef::File(_) => None,
        };
        let fetched = source.fetch(value).await;
        drop(permit);
        self.land(value, fetched);
    }

    fn land(self, value: &ValueRef, fetched: Result<SecretText, ValueError>) {
        self.values.put(&self.name, value, fetched, &*self.clock);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.values.table().flights.remove(&self.name);
        self.values.landed.send_modify(|landed| *landed += 1);
    }
}
