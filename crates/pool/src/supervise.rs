//! Background work: writes behind, the sweep, changes by other processes, slots that nobody needs.

use crate::account::Blocks;
use crate::flight;
use crate::grant::Moment;
use crate::limits::{
    CHANGE_POLL, ORPHAN_SPILL_AGE, RANK_INTERVAL, RANK_PAUSE, SWEEP_FLIGHTS_MAX, SWEEP_INTERVAL, WRITE_BEHIND_BATCH_MAX,
    WRITE_BEHIND_QUEUE_MAX,
};
use crate::usage::live::UsageChanges;
use crate::usage::poll;
use crate::values::values_loop;
use crate::{Inner, Pool};
use claviger_domain::block::{Block, BlockScope};
use claviger_domain::credential::{Custody, Standing};
use claviger_domain::id::{AccountId, AttemptId};
use claviger_domain::refresh::{Due, Want};
use claviger_runtime::{Clock, Supervisor, best_effort};
use claviger_store::{StickyRow, Store};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A write that a request does not wait for.
#[derive(Debug)]
pub(crate) enum Behind {
    /// A session's account.
    Sticky(StickyRow),
    /// A block; noted as persisted in `blocks` once it is.
    Block { account: AccountId, block: Block, blocks: Arc<Blocks> },
    /// The end of blocks of one scope.
    Lift { account: AccountId, scope: BlockScope, blocks: Arc<Blocks> },
    /// Tells when all before it is done.
    Flush(oneshot::Sender<()>),
}

/// A bounded queue to the vault. What does not fit is dropped and counted: none of it is a secret.
#[derive(Debug)]
pub(crate) struct WriteBehind(mpsc::Sender<Behind>);

impl WriteBehind {
    /// Starts the writer; it ends when the last sender is gone, or when the supervisor stops, before which
    /// [`WriteBehind::flush`] sees to what is queued.
    pub(crate) fn start(supervisor: &Supervisor, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let (sender, receiver) = mpsc::channel(WRITE_BEHIND_QUEUE_MAX);
        let stopped = supervisor.stopped();
        supervisor.spawn("write behind", async move {
            tokio::select! {
                () = write_behind(receiver, store, clock) => {}
                () = stopped => {}
            }
        });
        Self(sender)
    }

    pub(crate) fn push(&self, write: Behind) {
        // What is in no vault has no row there to hang anything on.
        let unstored = match &write {
            Behind::Sticky(row) => row.account.is_unstored(),
            Behind::Block { account, .. } | Behind::Lift { account, .. } => account.is_unstored(),
            Behind::Flush(_) => false,
        };
        if unstored {
            return;
        }
        best_effort("queue a write", self.0.try_send(write).map_err(|_full| "the queue is full"));
    }

    pub(crate) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.send(Behind::Flush(done)).await.is_ok() {
            best_effort("wait for the last writes", wait.await);
        }
    }
}

async fn write_behind(mut receiver: mpsc::Receiver<Behind>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, WRITE_BEHIND_BATCH_MAX).await > 0 {
        tracing::trace!(writes = batch.len(), at = clock.now().0, "writing behind");
        let mut sticky = Vec::new();
        let mut flushed = Vec::new();
        for write in batch.drain(..) {
            match write {
                Behind::Sticky(row) => sticky.push(row),
                Behind::Block { account, block, blocks } => {
                    if best_effort("store a block", store.block_put(account, block.clone()).await).is_some() {
                        blocks.persisted(&block);
                    }
                }
                Behind::Lift { account, scope, blocks } => {
                    best_effort("lift a block", store.block_lift(account, Some(scope.clone())).await);
                    blocks.lift_persisted(&scope);
                }
                Behind::Flush(done) => flushed.push(done),
            }
        }
        if !sticky.is_empty() {
            best_effort("store sessions", store.sticky_put(sticky).await);
        }
        for done in flushed {
            best_effort("tell that writes are done", done.send(()).map_err(|()| "nobody waits any more"));
        }
    }
}

/// Starts the loops of a server.
pub(crate) fn start(inner: &Arc<Inner>) {
    let supervisor = &inner.supervisor;
    supervisor.spawn("sweep", until_stopped(inner, sweep_loop(Arc::downgrade(inner), Arc::clone(&inner.clock))));
    let changes = Arc::clone(&inner.usage_changes);
    supervisor.spawn("ranking", until_stopped(inner, ranking_loop(Arc::downgrade(inner), changes, Arc::clone(&inner.clock))));
    supervisor.spawn("usage poll", until_stopped(inner, poll::run(Arc::downgrade(inner), Arc::clone(&inner.clock))));
    supervisor.spawn("care", until_stopped(inner, crate::care::run(Arc::downgrade(inner), Arc::clone(&inner.clock))));
    supervisor.spawn("values", until_stopped(inner, values_loop(Arc::downgrade(inner), Arc::clone(&inner.clock))));
    supervisor.spawn("change poll", until_stopped(inner, change_loop(Arc::downgrade(inner), Arc::clone(&inner.clock))));
}

fn until_stopped(inner: &Inner, work: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
    let stopped = inner.supervisor.stopped();
    async move {
        tokio::select! {
            () = stopped => {}
            () = work => {}
        }
    }
}

/// Ranks the accounts of providers that something was told of, and now and then those of all.
async fn ranking_loop(inner: Weak<Inner>, changes: Arc<UsageChanges>, clock: Arc<dyn Clock>) {
    let mut all_at = clock.boot().saturating_add(RANK_INTERVAL);
    loop {
        tokio::select! {
            () = changes.changed() => {}
            () = clock.sleep(all_at.saturating_sub(clock.boot())) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let moment = Moment::of(&*clock);
        let all = moment.boot >= all_at;
        if all {
            all_at = moment.boot.saturating_add(RANK_INTERVAL);
        }
        inner.rank(all, moment);
        drop(inner);
        clock.sleep(RANK_PAUSE).await;
    }
}

async fn change_loop(inner: Weak<Inner>, clock: Arc<dyn Clock>) {
    loop {
        clock.sleep(CHANGE_POLL).await;
        let Some(inner) = inner.upgrade() else { return };
        let Some(version) = best_effort("ask for changes", inner.store.version().await) else { continue };
        if version != inner.view.load().version {
            best_effort("read the vault again", inner.rebuild().await);
        }
    }
}

async fn sweep_loop(inner: Weak<Inner>, clock: Arc<dyn Clock>) {
    let mut orphans = HashMap::new();
    loop {
        let Some(strong) = inner.upgrade() else { return };
        strong.sweep().await;
        strong.remove_orphans(&mut orphans).await;
        drop(strong);
        clock.sleep(SWEEP_INTERVAL).await;
    }
}

impl Pool {
    /// One sweep: refreshes what is due and recovers what was left open. For tests, and for programs that run no server.
    pub async fn sweep(&self) {
        self.inner.sweep().await;
    }

    /// Ranks the accounts of every provider by what is known now. For tests, benches, and programs that run no server.
    pub fn rank(&self) {
        self.inner.rank(true, Moment::of(&*self.inner.clock));
    }
}

impl Inner {
    /// Ranks the accounts of the providers that something was told of, or of all.
    pub(crate) fn rank(&self, all: bool, moment: Moment) {
        let marked = self.usage_changes.take();
        let view = self.view.load_full();
        for (_, provider) in view.providers.iter().filter(|(id, _)| all || marked.contains(*id)) {
            provider.rank(moment);
        }
    }

    /// Refreshes every grant that is due, at most a few at once, and resolves every open intent of a grant that serves.
    pub(crate) async fn sweep(self: &Arc<Self>) {
        let moment = Moment::of(&*self.clock);
        let view = self.view.load_full();
        let mut due = Vec::new();
        for grant in view.grants.values() {
            let facts = grant.facts();
            let jitter = u8::try_from(grant.id.0.rem_euclid(256)).unwrap_or(0);
            let followed = matches!(facts.custody, Custody::Followed { .. });
            let wanted = facts.is_due_for_sweep(jitter, moment) || facts.intent_open || followed;
            let account = view.accounts_of(grant.id).find(|account| account.row.standing == Standing::Active);
            let resting = grant.resting(moment);
            let account = account.filter(|account| wanted && account.is_renewable(&facts, resting));
            if let (None, Some(account)) = (resting, account) {
                due.push(flight::join(self, grant, &account.profile, Want::IfDue { due: Due::Sweep { jitter } }));
            }
            if due.len() >= SWEEP_FLIGHTS_MAX {
                for flight in due.drain(..) {
                    flight.await;
                }
            }
        }
        for flight in due {
            flight.await;
        }
        crate::follow::watch(self).await;
    }

    /// Removes spill slots that no intent refers to, once they have been so for a while. One that holds an answer that
    /// was never applied stays, for `doctor`.
    pub(crate) async fn remove_orphans(&self, seen: &mut HashMap<AttemptId, Duration>) {
        // On the boot clock: a step of the wall clock must not take a slot away from a flight that is about to journal.
        let now = self.clock.boot();
        let Some(slots) = best_effort("list spill slots", self.store.spill_list().await) else { return };
        let open = if slots.is_empty() { Ok(BTreeSet::new()) } else { self.store.attempts_open().await };
        let Some(open) = best_effort("look for open attempts", open) else { return };
        let orphans: BTreeSet<AttemptId> = slots.into_iter().filter(|slot| !open.contains(slot)).collect();
        seen.retain(|slot, _| orphans.contains(slot));
        for slot in orphans {
            let since = *seen.entry(slot).or_insert(now);
            if now.saturating_sub(since) >= ORPHAN_SPILL_AGE && self.is_done_with(slot).await {
                best_effort("remove a spill slot", self.store.spill_remove(slot).await);
            }
        }
    }

    /// Whether nobody needs what a slot holds. What cannot be looked at is kept.
    async fn is_done_with(&self, slot: AttemptId) -> bool {
        let applied = best_effort("look for an applied attempt", self.store.attempt_applied(slot).await);
        applied == Some(true) || best_effort("look into a spill slot", self.store.spill_is_empty(slot).await) == Some(true)
    }
}
