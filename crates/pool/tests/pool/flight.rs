//! One flight at a time: what it waits for, what ends it, and what it leaves to those who come after it.

use crate::stage::{Question, Stage, pool_parts};
use claviger_admin::Admin;
use claviger_contract::{Answer, Broker, Refusal};
use claviger_domain::id::GrantId;
use claviger_pool::Pool;
use claviger_pool::limits::{FLIGHT_END_WITHIN, LOCK_WAIT_MAX};
use claviger_runtime::{BoxFuture, Failpoint, TaskEnd};
use claviger_simulator::{Rotation, TokenFault};
use claviger_store::{GrantLock, SqliteStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Panics at the first pass of a site.
#[derive(Debug)]
struct PanicsOnceAt(&'static str, AtomicBool);

impl Failpoint for PanicsOnceAt {
    fn pass<'a>(&'a self, site: &'static str) -> BoxFuture<'a, Result<(), String>> {
        let panics = site == self.0 && !self.1.swap(true, Ordering::Relaxed);
        Box::pin(async move { if panics { panic!("on purpose") } else { Ok(()) } })
    }
}

/// The lock of the only account's grant, held as another process would.
pub(crate) async fn held_elsewhere(stage: &Stage, pool: &Pool) -> GrantLock {
    let store = SqliteStore::open(&stage.home(), &stage.root_key(), &*stage.clock).unwrap();
    let grant = GrantId(pool.account_list().await.unwrap().accounts.first().unwrap().grant);
    store.grant_lock(grant).unwrap().unwrap()
}

/// Drives what was asked until it waits by the clock.
async fn until_it_waits(stage: &Stage, asked: &mut (impl Future + Unpin)) {
    tokio::select! {
        _ = asked => panic!("another process holds the lock"),
        () = stage.sim_clock.as_ref().unwrap().sleeping(1) => {}
    }
}

#[tokio::test]
async fn a_refresh_that_panics_frees_its_grant_for_the_next_one() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool_with(Arc::new(PanicsOnceAt("refresh.connected", AtomicBool::new(false)))).await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let (_, header) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert_ne!(header, "Bearer at-ada");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_refresh_waits_for_a_lock_that_another_process_frees_in_time() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let lock = held_elsewhere(&stage, &pool).await;
    let question = Question::new(&admission);
    let mut asked = Box::pin(question.attempt(&pool));
    until_it_waits(&stage, &mut asked).await;
    assert_eq!(stage.simulator.ledger().refreshes(), 0);
    drop(lock);
    stage.advance(1);
    asked.await.unwrap();
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_lock_that_is_never_freed_is_given_up_and_nothing_is_sent() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let _lock = held_elsewhere(&stage, &pool).await;
    let question = Question::new(&admission);
    let mut asked = Box::pin(question.attempt(&pool));
    until_it_waits(&stage, &mut asked).await;
    stage.advance(LOCK_WAIT_MAX.as_secs());
    let refused = asked.await.map(|(_, header)| header);
    assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "{refused:?}");
    assert_eq!(stage.simulator.ledger().refreshes(), 0);
}

#[tokio::test]
async fn the_end_of_a_process_does_not_wait_for_a_lock() {
    let stage = Stage::new(Rotation::Strict).await;
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    let supervisor = Arc::clone(&parts.supervisor);
    let pool = Pool::open(parts).await.unwrap();
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let _lock = held_elsewhere(&stage, &pool).await;
    let question = Question::new(&admission);
    let mut asked = Box::pin(question.attempt(&pool));
    until_it_waits(&stage, &mut asked).await;
    let (refused, end, ()) = tokio::join!(asked, supervisor.stop(FLIGHT_END_WITHIN), async { stage.advance(1) });
    assert_eq!(end, TaskEnd::Drained);
    let refused = refused.map(|(_, header)| header);
    assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_endpoint_that_puts_a_refresh_off_is_asked_again_when_it_said() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    stage.simulator.control().token_fault_next(TokenFault::RateLimited { retry_after_s: 20 });
    let admission = stage.admitted(&pool).await;
    let refused = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    let said = stage.clock.now().plus(Duration::from_secs(20));
    assert!(matches!(refused, Err(Refusal::Unavailable { retry_at, .. }) if retry_at == said), "{refused:?}");
    stage.advance(20);
    Question::new(&admission).attempt(&pool).await.unwrap();
}

#[tokio::test]
async fn a_wait_for_a_refresh_prints_its_name_and_nothing_of_the_grant() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let question = Question::new(&admission);
    let ask = question.ask();
    let Answer::Pending(wait) = pool.lease(&ask) else { panic!("a refresh is needed") };
    assert_eq!(format!("{wait:?}"), "FlightWait");
    wait.await.unwrap();
}
