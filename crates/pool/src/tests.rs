//! What no request can bring about at will: readings that are overtaken, cells that end in between, slots that nobody needs.

use crate::account::Blocks;
use crate::grant::Moment;
use crate::view::Reading;
use crate::{Inner, Pool, PoolParts, PoolSettings};
use claviger_domain::block::{Block, BlockEnd, BlockScope};
use claviger_domain::credential::{Custody, Source, Standing};
use claviger_domain::id::{AttemptId, GrantRevision, InstanceId, ProviderId, RowRevision};
use claviger_domain::identity::Identity;
use claviger_domain::options::AccountOptions;
use claviger_domain::origin::StoredOrigins;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_egress::{Egress, EgressConfig};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{Clock, NoFailpoints, Supervisor};
use claviger_store::{
    AccountDraft, AccountPatch, BLOCKS_PER_ACCOUNT_MAX, GrantCommit, GrantDraft, GrantSecret, IntentRow, MemoryLog, MemoryStore, Placed,
    SpillRecord, Store, Write,
};
use claviger_testkit::SimClock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const FIRST: GrantRevision = GrantRevision::FIRST;

struct Stage {
    store: Arc<MemoryStore>,
    clock: SimClock,
    pool: Pool,
    placed: Placed,
}

fn oauth(number: u64) -> GrantSecret {
    let text = |prefix: &str| SecretText::new(format!("{prefix}-{number}"));
    GrantSecret::OAuth { access: text("at"), refresh: Some(text("rt")) }
}

impl Stage {
    /// A pool with one account that has a fresh login.
    async fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), SimClock::new());
        let now = clock.now();
        let grant = GrantDraft {
            secret: oauth(1),
            expires_at: Some(now.plus(Duration::from_hours(1))),
            issued_at: now,
            origins: StoredOrigins::Builtin,
            custody: Custody::Owned,
        };
        let draft = AccountDraft {
            provider: ProviderId::new("anthropic").unwrap(),
            grant,
            identity: Identity { email: Some("a@x.example".to_owned()), ..Identity::default() },
            source: Source::Login,
            label: None,
            priority: 0,
            options: AccountOptions::default(),
            standing: Standing::Active,
            plan: None,
            logged_in_at: None,
            onto: None,
        };
        let placed = store.account_place(draft, now).await.unwrap();
        let parts = PoolParts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            log: Arc::new(MemoryLog::new()),
            egress: Egress::new(EgressConfig::default(), Arc::new(clock.clone())),
            clock: Arc::new(clock.clone()),
            failpoints: Arc::new(NoFailpoints),
            supervisor: Arc::new(Supervisor::new()),
            settings: PoolSettings {
                catalogue: Arc::new(Catalogue::load(None).unwrap()),
                models: Vec::new(),
                values: crate::Values::default(),
            },
        };
        let pool = Pool::open(parts).await.unwrap();
        Self { store, clock, pool, placed }
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.pool.inner
    }

    fn cell_revision(&self) -> GrantRevision {
        self.inner().view.load().accounts[&self.placed.account].cell.revision()
    }

    async fn standing(&self, replaces: u64, standing: Standing) {
        let patch = AccountPatch { standing: Some(standing), ..AccountPatch::default() };
        let written = self.store.account_patch(self.placed.account, RowRevision(replaces), patch, self.clock.now()).await.unwrap();
        assert_ne!(written, Write::Stale);
    }

    /// What a flight does at its end: the new secret is stored, then published.
    async fn rotate(&self, from: u64) {
        let now = self.clock.now();
        let expires_at = Some(now.plus(Duration::from_hours(1)));
        let from_revision = GrantRevision(from);
        let commit = GrantCommit {
            grant: self.placed.grant,
            from: from_revision,
            secret: oauth(from + 1),
            expires_at,
            issued_at: now,
            attempt: None,
        };
        assert_eq!(self.store.grant_commit(commit).await.unwrap(), Write::Done(from_revision.next()));
        let row = self.store.grant_load(self.placed.grant).await.unwrap().unwrap();
        let grant = Arc::clone(&self.inner().view.load().grants[&self.placed.grant]);
        self.inner().publish(&grant, &row);
    }

    async fn intent(&self, attempt: AttemptId) {
        let row = self.store.grant_load(self.placed.grant).await.unwrap().unwrap();
        let opened_at = self.clock.now();
        let intent =
            IntentRow { from: row.revision, fingerprint: row.fingerprint, attempts: vec![attempt], instance: InstanceId(1), opened_at };
        self.store.intent_open(row.id, row.revision, intent).await.unwrap();
    }

    async fn slot(&self, attempt: AttemptId, body: Option<&[u8]>) {
        self.store.spill_create(self.placed.grant, FIRST, attempt).await.unwrap();
        let Some(body) = body else { return };
        let record = SpillRecord {
            status: 200,
            date: None,
            retry_after: None,
            content_type: None,
            sent_at: self.clock.now(),
            body: zeroize::Zeroizing::new(body.to_vec()),
        };
        self.store.spill_write(self.placed.grant, FIRST, attempt, record).await.unwrap();
    }
}

fn off() -> Standing {
    Standing::Disabled { cause: "test".to_owned(), since: Timestamp(0) }
}

#[tokio::test]
async fn a_reading_that_a_flight_has_overtaken_is_read_again() {
    let stage = Stage::new().await;
    stage.standing(1, off()).await;
    stage.inner().rebuild().await.unwrap();
    stage.standing(2, Standing::Active).await;
    // The reading is from before the rotation, and its view has a cell that the flight did not know.
    let old = stage.store.load().await.unwrap();
    stage.rotate(1).await;
    assert_eq!(stage.inner().install(old), Reading::Overtaken);
    stage.inner().rebuild().await.unwrap();
    assert_eq!(stage.cell_revision(), GrantRevision(2));
    let again = stage.store.load().await.unwrap();
    assert_eq!(stage.inner().install(again), Reading::Current);
}

#[tokio::test]
async fn an_older_reading_takes_nothing_back_that_was_published() {
    let stage = Stage::new().await;
    let old = stage.store.load().await.unwrap();
    stage.rotate(1).await;
    stage.inner().install(old);
    assert_eq!(stage.cell_revision(), GrantRevision(2));
}

#[tokio::test]
async fn a_lease_that_is_taken_from_an_ended_cell_sends_nothing_bare() {
    let stage = Stage::new().await;
    // A request that has read the view before the account was switched off, and leases after it.
    let before = stage.inner().view.load_full();
    stage.standing(1, off()).await;
    stage.inner().rebuild().await.unwrap();
    for account in [&before.accounts[&stage.placed.account], &stage.inner().view.load().accounts[&stage.placed.account]] {
        let lease = stage.inner().hand_out(account, None);
        let mut parts = http::Request::new(()).into_parts().0;
        assert!(lease.apply(&mut parts).is_err(), "a request without a credential would have been sent");
    }
    stage.rotate(1).await;
    assert_eq!(stage.cell_revision(), GrantRevision(u64::MAX), "nothing is published into the cell of an account that is off");
}

#[tokio::test]
async fn a_new_secret_ends_the_rest_after_a_refresh_of_the_old_one() {
    let stage = Stage::new().await;
    let grant = Arc::clone(&stage.inner().view.load().grants[&stage.placed.grant]);
    let moment = Moment::of(&stage.clock);
    grant.rest(Timestamp::FAR_FUTURE, moment);
    assert!(grant.resting(moment).is_some());
    stage.rotate(1).await;
    assert_eq!(grant.resting(Moment::of(&stage.clock)), None);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_lengthens_neither_a_rest_nor_a_life() {
    let stage = Stage::new().await;
    let grant = Arc::clone(&stage.inner().view.load().grants[&stage.placed.grant]);
    let moment = Moment::of(&stage.clock);
    grant.rest(moment.now.plus(Duration::from_secs(30)), moment);
    stage.clock.set(moment.now.minus(Duration::from_hours(24 * 365)));
    // Whoever reads the vault now sees a token with a year to go.
    stage.inner().rebuild().await.unwrap();
    stage.clock.advance(Duration::from_secs(31));
    assert_eq!(grant.resting(Moment::of(&stage.clock)), None);
    assert!(grant.is_fresh(Moment::of(&stage.clock)));
    stage.clock.advance(Duration::from_hours(1));
    stage.inner().rebuild().await.unwrap();
    let (facts, now) = (grant.facts(), Moment::of(&stage.clock));
    assert!(!facts.is_sendable(now) && facts.is_due(now) && facts.is_due_for_sweep(0, now) && !grant.is_fresh(now));
}

#[tokio::test]
async fn a_slot_without_an_intent_goes_unless_it_holds_an_answer_that_was_never_applied() {
    let stage = Stage::new().await;
    let [journalled, empty, applied, unapplied] = [1, 2, 3, 4].map(AttemptId);
    stage.intent(applied).await;
    stage.slot(applied, Some(b"{}")).await;
    stage.store.intent_withdraw(stage.placed.grant, FIRST, applied).await.unwrap();
    stage.intent(journalled).await;
    stage.slot(journalled, None).await;
    stage.slot(empty, None).await;
    stage.slot(unapplied, Some(b"{}")).await;
    // An intent counts even where no account needs its grant any more.
    stage.store.account_remove(stage.placed.account, RowRevision(1)).await.unwrap();
    stage.inner().rebuild().await.unwrap();

    let mut seen = HashMap::new();
    stage.inner().remove_orphans(&mut seen).await;
    stage.clock.set(Timestamp::FAR_FUTURE);
    stage.inner().remove_orphans(&mut seen).await;
    assert_eq!(stage.store.spill_list().await.unwrap().len(), 4, "a step of the wall clock makes no slot old");
    stage.clock.advance(crate::limits::ORPHAN_SPILL_AGE);
    stage.inner().remove_orphans(&mut seen).await;
    assert_eq!(stage.store.spill_list().await.unwrap(), [journalled, unapplied]);
}

#[test]
fn a_reading_that_began_before_a_block_came_to_the_vault_does_not_drop_it() {
    let (blocks, moment) = (Blocks::default(), Moment { now: Timestamp(1_000), boot: Duration::from_hours(1) });
    let block = Block { scope: BlockScope::Account, until: Timestamp(9_000), end: BlockEnd::Told, reason: String::new() };
    blocks.note_reading();
    blocks.put(&block, moment);
    blocks.persisted(&block);
    blocks.adopt(&[], moment);
    assert_eq!(blocks.current(moment), std::slice::from_ref(&block));
    blocks.note_reading();
    blocks.adopt(std::slice::from_ref(&block), moment);
    assert_eq!(blocks.current(moment), std::slice::from_ref(&block));
    blocks.note_reading();
    blocks.adopt(&[], moment);
    assert_eq!(blocks.current(moment), [], "another process has lifted it");
}

#[test]
fn a_reading_that_began_before_a_lift_came_to_the_vault_brings_no_block_back() {
    let (blocks, moment) = (Blocks::default(), Moment { now: Timestamp(1_000), boot: Duration::from_hours(1) });
    let block = Block { scope: BlockScope::Account, until: Timestamp(9_000), end: BlockEnd::Told, reason: String::new() };
    let stored = std::slice::from_ref(&block);
    blocks.note_reading();
    blocks.adopt(stored, moment);
    assert_eq!(blocks.lift(moment, |_, _| true), stored);
    blocks.adopt(stored, moment);
    assert_eq!(blocks.current(moment), [], "it is on its way");
    blocks.note_reading();
    blocks.lift_persisted(&block.scope);
    blocks.adopt(stored, moment);
    assert_eq!(blocks.current(moment), [], "the reading began before");
    blocks.note_reading();
    blocks.adopt(stored, moment);
    assert_eq!(blocks.current(moment), stored, "another process has set it again");
}

#[tokio::test]
async fn a_reading_that_races_with_an_unblock_brings_no_block_back() {
    let stage = Stage::new().await;
    let until = stage.clock.now().plus(Duration::from_mins(30));
    let block = Block { scope: BlockScope::Account, until, end: BlockEnd::Told, reason: "test".to_owned() };
    stage.store.block_put(stage.placed.account, block).await.unwrap();
    stage.inner().rebuild().await.unwrap();
    let old = stage.store.load().await.unwrap();
    let hold = stage.store.hold("block_lift");
    let lifting = claviger_admin::Admin::account_unblock(&stage.pool, None);
    let (lifted, ()) = tokio::join!(lifting, async {
        hold.waiting(1).await;
        stage.inner().install(old);
        drop(hold);
    });
    assert_eq!(lifted.unwrap(), 1);
    let view = stage.inner().view.load();
    assert_eq!(view.accounts[&stage.placed.account].blocks.current(Moment::of(&stage.clock)), []);
}

#[test]
fn blocks_in_memory_are_bounded_while_the_vault_takes_none() {
    let blocks = Blocks::default();
    let moment = Moment { now: Timestamp(1_000), boot: Duration::from_hours(1) };
    let put = |model: u32, until: i64| {
        let scope = BlockScope::Model(format!("m{model}"));
        blocks.put(&Block { scope, until: Timestamp(until), end: BlockEnd::Guessed, reason: String::new() }, moment);
    };
    (0..100).for_each(|model| put(model, 900));
    assert_eq!(blocks.current(Moment { now: Timestamp(0), boot: Duration::ZERO }).len(), 1, "what has ended is forgotten");
    (0..2 * BLOCKS_PER_ACCOUNT_MAX).for_each(|model| put(model, 10_000 + i64::from(model)));
    assert_eq!(blocks.current(moment).len(), BLOCKS_PER_ACCOUNT_MAX as usize);
    assert!(blocks.current(moment).iter().any(|block| block.until == Timestamp(10_000 + i64::from(2 * BLOCKS_PER_ACCOUNT_MAX) - 1)));
}
