//! What follows from a report and may take a while: history, waste, threshold events. One task behind a bounded queue.

use super::threshold::Passed;
use super::waste;
use crate::event::Events;
use crate::limits::{USAGE_EFFECTS_BATCH_MAX, USAGE_EFFECTS_QUEUE_MAX, USAGE_PASSED_MAX};
use claviger_admin::EventKind;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::UsageReport;
use claviger_runtime::{Supervisor, best_effort};
use claviger_store::{LogStore, UsageRow, WasteRow};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A report that was taken over.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) account: AccountId,
    pub(crate) provider: ProviderId,
    /// What was known before.
    pub(crate) before: Option<Arc<UsageReport>>,
    /// What is known now.
    pub(crate) after: Arc<UsageReport>,
    /// What was told: a part of it.
    pub(crate) told: UsageReport,
    /// Whether the history gets it.
    pub(crate) is_recorded: bool,
    pub(crate) now: Timestamp,
}

#[derive(Debug)]
pub(crate) enum Effect {
    Told(Box<Told>),
    /// Of the accounts that were known only these are left.
    Left(BTreeSet<AccountId>),
    /// Tells when all before it is done.
    Flush(oneshot::Sender<()>),
}

/// The way to the task. What does not fit is dropped and counted: the next report tells nearly the same.
#[derive(Debug)]
pub(crate) struct Effects(mpsc::Sender<Effect>);

impl Effects {
    /// Starts the task; it ends when the last sender is gone, or when the supervisor stops.
    pub(crate) fn start(supervisor: &Supervisor, log: Arc<dyn LogStore>, events: Arc<Events>) -> Self {
        let (sender, receiver) = mpsc::channel(USAGE_EFFECTS_QUEUE_MAX);
        let stopped = supervisor.stopped();
        supervisor.spawn("usage effects", async move {
            tokio::select! {
                () = run(receiver, log, events) => {}
                () = stopped => {}
            }
        });
        Self(sender)
    }

    /// Never waits.
    pub(crate) fn push(&self, effect: Effect) {
        best_effort("queue what follows from usage", self.0.try_send(effect).map_err(|_full| "the queue is full"));
    }

    pub(crate) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.send(Effect::Flush(done)).await.is_ok() {
            best_effort("wait for what follows from usage", wait.await);
        }
    }
}

async fn run(mut receiver: mpsc::Receiver<Effect>, log: Arc<dyn LogStore>, events: Arc<Events>) {
    let mut passed = Passed::default();
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, USAGE_EFFECTS_BATCH_MAX).await > 0 {
        for effect in batch.drain(..) {
            match effect {
                Effect::Told(told) => follow(&told, &*log, &events, &mut passed),
                Effect::Left(accounts) => passed.retain(|account| accounts.contains(&account)),
                Effect::Flush(done) => {
                    best_effort("wait for the log", log.flush().await);
                    best_effort("tell that effects are done", done.send(()).map_err(|()| "nobody waits any more"));
                }
            }
        }
    }
}

fn follow(told: &Told, log: &dyn LogStore, events: &Events, passed: &mut Passed) {
    let Told { account, provider, before, after, told, is_recorded, now } = told;
    for ended in before.iter().flat_map(|before| waste::ended(before, after, *now)) {
        let waste::Ended { limit, label, unused, ended_at, observed_at } = ended;
        let wasted = EventKind::ResetWasted { limit: limit.clone(), label: label.clone(), unused, ended_at };
        events.emit(*now, (provider, *account), wasted);
        log.waste_append(WasteRow { account: *account, provider: provider.clone(), limit, label, unused, ended_at, observed_at });
    }
    if *is_recorded && !told.limits.is_empty() {
        let rows = told.limits.iter().map(|limit| UsageRow {
            account: *account,
            provider: provider.clone(),
            limit: limit.clone(),
            plan: after.plan.clone(),
            source: told.source,
            observed_at: told.observed_at,
        });
        log.usage_record(rows.collect());
    }
    for limit in told.limits.iter().filter_map(|limit| after.limit(&limit.id)) {
        if passed.len() >= USAGE_PASSED_MAX {
            return;
        }
        let known = before.as_ref().and_then(|before| before.limit(&limit.id));
        if let Some(percent) = passed.news(*account, known, limit, *now) {
            let (used, resets_at) = (limit.fraction(*now), limit.resets_at);
            let (limit, label) = (limit.id.clone(), limit.label.clone());
            events.emit(*now, (provider, *account), EventKind::UsageThreshold { limit, label, percent, used, resets_at });
        }
    }
}
