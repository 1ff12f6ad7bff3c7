//! Accounts beside each other: what happens to one leaves the others alone, in this process and in others.

use crate::stage::{PROVIDER, Question, Stage, pool_parts};
use claviger_admin::{AccountUsageView, Admin, CredentialAdd, Exposed, StandingView, UsageAsk};
use claviger_contract::{Broker, Refusal, Report};
use claviger_domain::attempt::{Made, Next};
use claviger_domain::block::BlockScope;
use claviger_domain::classify::Class;
use claviger_domain::credential::{CredentialKind, Source};
use claviger_domain::id::{AccountId, GrantId, ProviderId, RowRevision};
use claviger_domain::secret::SecretText;
use claviger_domain::session::SessionHash;
use claviger_domain::usage::UsageSource;
use claviger_domain::value_ref::ValueRef;
use claviger_pool::{Pool, PoolParts, PoolSettings, ValueError, ValueKey, ValueSource, Values};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::{BoxFuture, Supervisor};
use claviger_simulator::{Rotation, TokenFault, UsageFault};
use claviger_store::{Failure, LOG_KEPT, LogFilter, LogStore, MemoryLog, MemoryStore, SqliteStore, Store, UsageRow, Write as Written};
use claviger_testkit::Failpoints;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

fn made(attempt: &claviger_contract::Attempt, class: Class) -> Made {
    let facts = attempt.facts();
    Made { account: facts.account, grant: facts.grant, revision: facts.revision, class }
}

fn quota(until: Option<claviger_domain::time::Timestamp>) -> Report {
    Report::Seen(Class::UsageLimit { scope: BlockScope::Account, until })
}

#[tokio::test]
async fn a_refusal_of_a_token_that_a_peer_has_rotated_is_answered_without_network() {
    let stage = Stage::new(Rotation::Strict).await;
    let first = stage.pool().await;
    stage.login(&first, "ada", 3600).await;
    let second = stage.pool().await;
    let mut headers = Vec::new();
    for pool in [&first, &second] {
        let admission = stage.admitted(&first).await;
        let mut question = Question::new(&admission);
        let (attempt, header) = question.attempt(pool).await.unwrap();
        assert_eq!(header, "Bearer at-ada", "the second one has not heard of the first one's refresh");
        assert_eq!(question.attempts.after(made(&attempt, Class::Unauthorized)), Next::Refresh);
        pool.report(attempt, Class::Unauthorized);
        headers.push(question.attempt(pool).await.unwrap().1);
    }
    assert_eq!(headers[0], headers[1]);
    assert_ne!(headers[0], "Bearer at-ada");
    assert_eq!((stage.simulator.ledger().refreshes(), stage.simulator.ledger().reuses()), (1, 0));
}

#[tokio::test]
async fn what_another_process_has_removed_serves_no_more() {
    let stage = Stage::new(Rotation::Strict).await;
    let first = stage.pool().await;
    let (ada, _) = stage.login(&first, "ada", 3600).await;
    let second = stage.pool().await;
    let admission = stage.admitted(&second).await;
    Question::new(&admission).attempt(&second).await.unwrap();
    first.account_remove(ada).await.unwrap();
    assert_eq!(second.account_list().await.unwrap().accounts, []);
    let refused = Question::new(&admission).attempt(&second).await.map(|(_, header)| header);
    assert!(matches!(refused, Err(Refusal::NoCredential { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_block_that_one_process_learns_is_kept_by_the_others() {
    let stage = Stage::new(Rotation::Strict).await;
    let (first, second) = (stage.pool().await, stage.pool().await);
    stage.login(&first, "ada", 36_000).await;
    stage.login(&first, "bob", 36_000).await;
    let admission = stage.admitted(&first).await;
    let (attempt, _) = Question::new(&admission).attempt(&first).await.unwrap();
    let blocked = attempt.facts().account;
    attempt.finish(quota(Some(stage.clock.now().plus(Duration::from_hours(2)))));
    first.flush().await;
    let listed = second.account_list().await.unwrap().accounts;
    let scopes = |id: AccountId| listed.iter().find(|account| account.id == id.0).unwrap().blocks.len();
    assert_eq!(scopes(blocked), 1);
    let elsewhere = stage.admitted(&second).await;
    for seed in 0..16 {
        let (attempt, _) = Question { seed, ..Question::new(&elsewhere) }.attempt(&second).await.unwrap();
        assert_ne!(attempt.facts().account, blocked);
    }
}

#[tokio::test]
async fn a_block_stays_when_an_account_is_added() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 36_000).await;
    let admission = stage.admitted(&pool).await;
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    let blocked = attempt.facts().account;
    attempt.finish(quota(Some(stage.clock.now().plus(Duration::from_hours(2)))));
    let (added, _) = stage.login(&pool, "bob", 36_000).await;
    for seed in 0..16 {
        assert_eq!(Question { seed, ..Question::new(&admission) }.attempt(&pool).await.unwrap().0.facts().account, added);
    }
    assert_eq!(pool.account_list().await.unwrap().accounts.iter().find(|view| view.id == blocked.0).unwrap().blocks.len(), 1);
}

#[tokio::test]
async fn a_refresh_lands_on_its_own_account_whatever_becomes_of_others_meanwhile() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
    let (ada, _) = stage.login(&pool, "ada", 3600).await;
    let (bob, _) = stage.login(&pool, "bob", -10).await;
    let (cyd, _) = stage.login(&pool, "cyd", 3600).await;
    let admission = stage.admitted(&pool).await;
    let pause = failpoints.pause("answer.received");
    let question = Question::new(&admission);
    let ask = claviger_contract::Ask { account: Some(bob), ..question.ask() };
    let claviger_contract::Answer::Pending(wait) = pool.lease(&ask) else { panic!("a refresh is needed") };
    let (refreshed, ()) = tokio::join!(wait, async {
        pause.reached().await;
        pool.account_remove(ada).await.unwrap();
        pause.release();
    });
    refreshed.unwrap();
    let listed = pool.account_list().await.unwrap().accounts;
    let rows: Vec<_> = listed.iter().map(|view| (view.id, view.grant_revision, view.identity.email.as_deref())).collect();
    assert_eq!(rows, [(bob.0, 2, Some("bob@example.com")), (cyd.0, 1, Some("cyd@example.com"))], "and who it is has not changed");
}

#[tokio::test]
async fn an_account_that_is_removed_during_its_refresh_does_not_come_back() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
    let (ada, _) = stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let store = SqliteStore::open(&stage.home(), &stage.root_key(), &*stage.clock).unwrap();
    let grant = GrantId(pool.account_list().await.unwrap().accounts[0].grant);
    let pause = failpoints.pause("answer.received");
    let question = Question::new(&admission);
    let (served, ()) = tokio::join!(question.attempt(&pool), async {
        pause.reached().await;
        assert_eq!(store.account_remove(ada, RowRevision::FIRST).await.unwrap(), Written::Done(()));
        pause.release();
    });
    drop(served);
    assert_eq!(pool.account_list().await.unwrap().accounts, []);
    assert!(store.grant_load(grant).await.unwrap().is_none(), "its secret is gone with it");
    pool.sweep().await;
    let refused = question.attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refused, Err(Refusal::NoCredential { .. })), "{refused:?}");
    assert_eq!((stage.simulator.ledger().refreshes(), stage.slots().len()), (1, 0));
}

#[tokio::test]
async fn a_failed_refresh_is_told_to_all_who_waited_and_can_be_tried_again_later() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = Arc::new(stage.admitted(&pool).await);
    stage.simulator.control().token_fault_next(TokenFault::RateLimited { retry_after_s: 20 });
    let mut asking = JoinSet::new();
    for _ in 0..5 {
        let (pool, admission) = (pool.clone(), Arc::clone(&admission));
        asking.spawn(async move { Question::new(&admission).attempt(&pool).await.map(|(_, header)| header) });
    }
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Refusal::Unavailable { .. }))), "{answers:?}");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    stage.advance(20);
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!(stage.simulator.ledger().refreshes(), 2);
}

/// What is logged, as text.
#[derive(Debug, Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn while_one_login_cannot_be_refreshed_a_sibling_serves_and_the_log_says_why() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    stage.login(&pool, "bob", 36_000).await;
    let admission = stage.admitted(&pool).await;
    stage.simulator.control().token_fault_next(TokenFault::ServerError(503));
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    for seed in 0..32 {
        assert_eq!(Question { seed, ..Question::new(&admission) }.attempt(&pool).await.unwrap().1, "Bearer at-bob", "seed {seed}");
    }
    drop(guard);
    assert_eq!(stage.simulator.ledger().refreshes(), 1, "it rests, and its siblings do not wait for it");
    let accounts = pool.account_list().await.unwrap().accounts;
    assert!(accounts.iter().all(|view| view.standing == StandingView::Active), "{accounts:?}");
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("token not refreshed")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(PROVIDER) && line.contains("grant.id="), "{line}");
}

#[tokio::test]
async fn a_refused_key_is_not_refreshed() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let key = CredentialAdd::ApiKey { key: Exposed::new("sk-test-1".to_owned()) };
    pool.account_add(Stage::draft("key", key)).await.unwrap();
    let admission = stage.admitted(&pool).await;
    let mut question = Question::new(&admission);
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    question.attempts.after(made(&attempt, Class::Unauthorized));
    pool.report(attempt, Class::Unauthorized);
    assert!(question.attempt(&pool).await.is_err(), "the same key is not sent twice");
    assert_eq!(stage.simulator.ledger().token_posts().len(), 0);
}

#[tokio::test]
async fn a_start_refreshes_what_is_due_and_nobody_else_waits_for_it() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (ada, _) = stage.login(&pool, "ada", 240).await;
    let (bob, _) = stage.login(&pool, "bob", 36_000).await;
    // Ada's token has lived for most of its life.
    stage.advance(200);
    drop(pool);
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let started = stage.pool().await;
    started.serve_background();
    stage.simulator.ledger().wait_for(|ledger| ledger.held() == 1).await;
    assert_eq!(started.account_list().await.unwrap().accounts.len(), 2, "the provider is away, and the start is over");
    let admission = stage.admitted(&started).await;
    let question = Question::new(&admission);
    let ask = claviger_contract::Ask { account: Some(bob), ..question.ask() };
    assert!(matches!(started.lease(&ask), claviger_contract::Answer::Ready(_)));
    stage.simulator.control().release();
    while started.account_list().await.unwrap().accounts.iter().any(|view| view.id == ada.0 && view.grant_revision == 1) {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_vault_that_takes_no_writes_behind_serves_on() {
    let stage = Stage::new(Rotation::Strict).await;
    let store = Arc::new(MemoryStore::new());
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    let pool = Pool::open(PoolParts { store: Arc::clone(&store) as _, supervisor: Arc::new(Supervisor::new()), ..parts }).await.unwrap();
    stage.login(&pool, "ada", 36_000).await;
    stage.login(&pool, "bob", 36_000).await;
    let admission = stage.admitted(&pool).await;
    for operation in ["sticky_put", "block_put"] {
        (0..8).for_each(|_| store.fail_next(operation, Failure::Unwritable));
    }
    let question = Question { session: Some(SessionHash(7)), ..Question::new(&admission) };
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    let blocked = attempt.facts().account;
    attempt.finish(quota(Some(stage.clock.now().plus(Duration::from_hours(1)))));
    for _turn in 0..4 {
        let (attempt, _) = question.attempt(&pool).await.unwrap();
        assert_ne!(attempt.facts().account, blocked, "what could not be written holds in this process");
        attempt.finish(Report::Seen(Class::Accepted));
        pool.flush().await;
    }
}

async fn first_usage(pool: Pool) -> AccountUsageView {
    pool.usage(UsageAsk { fresh: true, ..UsageAsk::default() }).await.unwrap().accounts.remove(0)
}

#[tokio::test]
async fn a_usage_endpoint_that_hangs_holds_no_request_up_and_who_leaves_takes_nothing_from_who_waits() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 36_000).await;
    stage.simulator.control().usage_fault_next(UsageFault::Hang);
    let mut leaving = JoinSet::new();
    leaving.spawn(first_usage(pool.clone()));
    stage.simulator.ledger().wait_for(|ledger| ledger.held() == 1).await;
    let admission = stage.admitted(&pool).await;
    let question = Question::new(&admission);
    assert!(matches!(pool.lease(&question.ask()), claviger_contract::Answer::Ready(_)));
    let mut waiting = JoinSet::new();
    waiting.spawn(first_usage(pool.clone()));
    tokio::task::yield_now().await;
    leaving.shutdown().await;
    stage.simulator.control().release();
    let told = waiting.join_next().await.unwrap().unwrap();
    assert_eq!(told.limits.len(), 2, "{told:?}");
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 1);
}

#[tokio::test]
async fn usage_is_the_accounts_and_outlives_its_token() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    let before = first_usage(pool.clone()).await;
    stage.advance(3100);
    pool.sweep().await;
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    let after = pool.usage(UsageAsk::default()).await.unwrap().accounts.remove(0);
    assert_eq!((after.observed_at, after.limits.len()), (before.observed_at, before.limits.len()));
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 1, "a new token is no reason to ask again");
}

/// A token that stands outside the vault.
#[derive(Debug)]
struct Found(String);

impl ValueSource for Found {
    fn fetch<'a>(&'a self, _value: &'a ValueRef) -> BoxFuture<'a, Result<SecretText, ValueError>> {
        Box::pin(async move { Ok(SecretText::new(self.0.clone())) })
    }
}

#[tokio::test]
async fn a_credential_that_is_in_no_vault_is_asked_for_its_usage_and_without_one_nobody_is() {
    let stage = Stage::new(Rotation::Strict).await;
    let issued = stage.simulator.control().grant_issue_with("ada", "at-found", "rt-found", 36_000);
    let value = ValueKey {
        provider: ProviderId::new(PROVIDER).unwrap(),
        source: Source::Environment,
        kind: CredentialKind::OAuth,
        value: ValueRef::read("env:FOUND").unwrap(),
    };
    for (keys, asked) in [(Vec::new(), 0), (vec![value], 1)] {
        let values = Values { keys, source: Some(Arc::new(Found(issued.access.clone()))), ..Values::default() };
        let catalogue = Arc::new(Catalogue::load(Some(&stage.overlay())).unwrap());
        let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
        let pool = Pool::open(PoolParts { settings: PoolSettings { catalogue, models: Vec::new(), values }, ..parts }).await.unwrap();
        let view = pool.usage(UsageAsk { fresh: true, ..UsageAsk::default() }).await.unwrap();
        assert_eq!(view.accounts.iter().filter(|account| account.limits.len() == 2).count(), asked, "{view:?}");
        let hits = stage.simulator.ledger().usage_hits();
        assert_eq!(hits.iter().filter(|hit| hit.is_good).count(), asked);
    }
}

#[tokio::test]
async fn what_is_too_old_is_forgotten_soon_after_a_start() {
    let stage = Stage::new(Rotation::Strict).await;
    let log = Arc::new(MemoryLog::new());
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    let pool = Pool::open(PoolParts { log: Arc::clone(&log) as Arc<dyn LogStore>, ..parts }).await.unwrap();
    let (account, _) = stage.login(&pool, "ada", 36_000).await;
    first_usage(pool.clone()).await;
    pool.flush().await;
    let all = || LogFilter::since(claviger_domain::time::Timestamp(0));
    let recent = log.usage_list(all()).await.unwrap();
    assert_eq!((recent.len(), recent[0].account, recent[0].source), (2, account, UsageSource::Endpoint));
    let old = recent[0].observed_at.minus(LOG_KEPT).minus(Duration::from_hours(1));
    log.usage_record(vec![UsageRow { observed_at: old, ..recent[0].clone() }]);
    assert_eq!(log.usage_list(all()).await.unwrap().len(), 3);
    pool.serve_background();
    let clock = stage.sim_clock.clone().unwrap();
    clock.sleeping(4).await;
    stage.advance(15);
    while log.usage_list(all()).await.unwrap().len() > 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.usage_list(all()).await.unwrap(), recent);
}
