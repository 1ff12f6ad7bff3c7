//! What is written before a refresh is sent, and what the next flight, or another process, makes of it.

use crate::stage::{Question, Stage};
use claviger_admin::Admin;
use claviger_contract::Refusal;
use claviger_domain::id::GrantId;
use claviger_domain::secret::SecretText;
use claviger_simulator::{Rotation, TokenFault, TokenPolicy};
use claviger_store::{GrantCommit, GrantSecret, SqliteStore, Store, Write};
use claviger_testkit::Failpoints;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_strict_token_whose_replay_was_lost_too_is_not_sent_a_third_time() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    let admission = stage.admitted(&pool).await;
    stage.advance(3560);
    for (seconds, sends) in [(15, 1), (40, 2)] {
        stage.simulator.control().token_fault_next(TokenFault::ServerError(500));
        pool.sweep().await;
        assert_eq!(stage.simulator.ledger().refreshes(), sends);
        stage.advance(seconds);
    }
    let refused = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refused, Err(Refusal::NeedsLogin { .. })), "{refused:?}");
    assert_eq!(stage.simulator.ledger().refreshes(), 2);
}

#[tokio::test]
async fn a_window_of_grace_is_counted_from_the_flight_that_lost_the_answer() {
    for (seconds, sends) in [(59, 2), (61, 1)] {
        let stage = Stage::new(Rotation::Grace { grace_s: 60 }).await;
        let failpoints = Failpoints::new();
        let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
        stage.login(&pool, "ada", 3600).await;
        stage.advance(3100);
        // The answer is lost, and so is the way to the replay.
        stage.simulator.control().token_fault_next(TokenFault::CloseAfterCommit);
        failpoints.skip("refresh.connected", 1);
        failpoints.fail("refresh.connected", "no way");
        pool.sweep().await;
        assert_eq!(stage.simulator.ledger().refreshes(), 1);
        stage.advance(seconds);
        pool.sweep().await;
        assert_eq!((stage.simulator.ledger().refreshes(), stage.simulator.ledger().reuses()), (sends, 0), "after {seconds} s");
    }
}

#[tokio::test]
async fn without_a_slot_for_its_answer_nothing_is_sent() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let (slots, away) = (stage.home().join("spill"), stage.home().join("away"));
    std::fs::rename(&slots, &away).unwrap();
    let refused = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "{refused:?}");
    assert_eq!(stage.simulator.ledger().refreshes(), 0);
    std::fs::rename(&away, &slots).unwrap();
    stage.advance(60);
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_grant_that_moved_on_before_the_journal_is_adopted_and_its_slot_goes() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let store = SqliteStore::open(&stage.home(), &stage.root_key(), &*stage.clock).unwrap();
    let grant = GrantId(pool.account_list().await.unwrap().accounts[0].grant);
    let pause = failpoints.pause("spill.created");
    let question = Question::new(&admission);
    let (served, ()) = tokio::join!(question.attempt(&pool), async {
        pause.reached().await;
        let from = store.grant_load(grant).await.unwrap().unwrap().revision;
        let text = |text: &str| SecretText::new(text.to_owned());
        let secret = GrantSecret::OAuth { access: text("at-peer"), refresh: Some(text("rt-peer")) };
        let now = stage.clock.now();
        let commit =
            GrantCommit { grant, from, secret, expires_at: Some(now.plus(Duration::from_hours(1))), issued_at: now, attempt: None };
        assert_eq!(store.grant_commit(commit).await.unwrap(), Write::Done(from.next()));
        pause.release();
    });
    assert_eq!(served.unwrap().1, "Bearer at-peer");
    assert_eq!(stage.simulator.ledger().refreshes(), 0);
    assert_eq!(stage.slots(), [] as [std::path::PathBuf; 0]);
}

#[tokio::test]
async fn a_grant_that_another_process_found_dead_is_not_sent_again() {
    let stage = Stage::new(Rotation::Strict).await;
    let first = stage.pool().await;
    stage.login(&first, "ada", -10).await;
    let second = stage.pool().await;
    let admissions = [stage.admitted(&first).await, stage.admitted(&second).await];
    stage.simulator.control().grant_revoke("ada");
    // The second still takes it for alive when it asks.
    for (pool, admission) in [&first, &second].into_iter().zip(&admissions) {
        let refused = Question::new(admission).attempt(pool).await.map(|(_, header)| header);
        assert!(matches!(refused, Err(Refusal::NeedsLogin { .. })), "{refused:?}");
        assert_eq!(stage.simulator.ledger().refreshes(), 1);
    }
}

#[tokio::test]
async fn the_life_of_a_token_is_counted_from_the_instant_of_its_request() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let asked_at = stage.clock.now();
    let question = Question::new(&admission);
    let (served, ()) = tokio::join!(question.attempt(&pool), async {
        stage.simulator.ledger().wait_for(|ledger| ledger.refreshes() == 1).await;
        stage.advance(20);
        stage.simulator.control().release();
    });
    served.unwrap();
    let life = Duration::from_secs(TokenPolicy::default().lifetime_s);
    assert_eq!(pool.account_list().await.unwrap().accounts[0].expires_at, Some(asked_at.plus(life)));
}
