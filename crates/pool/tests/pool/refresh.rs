//! Refreshes over a real vault and a provider that keeps a ledger.

use crate::stage::{PROVIDER, Question, Stage, pool_parts};
use claviger_admin::{Admin, StandingView, TokenAsk};
use claviger_contract::{Answer, Broker, Refusal};
use claviger_domain::attempt::{Made, Next};
use claviger_domain::classify::Class;
use claviger_pool::Pool;
use claviger_pool::limits::{FLIGHT_END_WITHIN, LOCK_WAIT_MAX};
use claviger_runtime::TaskEnd;
use claviger_simulator::{Rotation, TokenFault};
use claviger_testkit::Failpoints;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

const GRACE: Rotation = Rotation::Grace { grace_s: 60 };

fn made(attempt: &claviger_contract::Attempt, class: Class) -> Made {
    let facts = attempt.facts();
    Made { account: facts.account, grant: facts.grant, revision: facts.revision, class }
}

#[tokio::test]
async fn fifty_requests_on_an_expired_token_share_one_refresh() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = Arc::new(stage.admitted(&pool).await);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (pool, admission) = (pool.clone(), Arc::clone(&admission));
        requests.spawn(async move { Question::new(&admission).attempt(&pool).await.unwrap().1 });
    }
    let headers = requests.join_all().await;
    assert_eq!(headers.len(), 50);
    assert!(headers.iter().all(|header| *header == headers[0] && header != "Bearer at-ada"), "{headers:?}");
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (1, 0));
}

#[tokio::test]
async fn the_refresh_outlives_the_caller_that_asked_first() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let question = Question::new(&admission);
    {
        let ask = question.ask();
        let Answer::Pending(wait) = pool.lease(&ask) else { panic!("a refresh is needed") };
        let ledger = stage.simulator.ledger();
        tokio::select! {
            _ = wait => panic!("the answer is held"),
            () = ledger.wait_for(|ledger| ledger.refreshes() == 1) => {}
        }
    }
    stage.simulator.control().release();
    let (_, header) = question.attempt(&pool).await.unwrap();
    assert_ne!(header, "Bearer at-ada");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    // What came is on disk: a second pool on the same home needs no network.
    let second = stage.pool().await;
    let admission = stage.admitted(&second).await;
    assert_eq!(Question::new(&admission).attempt(&second).await.unwrap().1, header);
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn two_accounts_of_one_login_share_its_refresh() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let issued = stage.simulator.control().grant_issue_with("ada", "at-ada", "rt-ada", -10);
    let first = stage.add(&pool, &issued, "ada", Some("org-1")).await;
    let second = stage.add(&pool, &issued, "ada", Some("org-2")).await;
    assert_ne!(first, second);
    let ask = TokenAsk { provider: PROVIDER.into(), account: None, all: true, session: None, actor: "test".into() };
    let tokens = pool.token(ask).await.unwrap();
    assert_eq!(tokens.tokens.len(), 2);
    assert_eq!(tokens.tokens[0].token.expose(), tokens.tokens[1].token.expose());
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_lease_held_across_a_rotation_never_sends_the_old_token() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    let admission = stage.admitted(&pool).await;
    let question = Question::new(&admission);
    let ask = question.ask();
    let Answer::Ready(held) = pool.lease(&ask) else { panic!("the token is fresh") };
    // Meanwhile another request finds the token refused, and it is rotated.
    let mut other = Question::new(&admission);
    let (attempt, _) = other.attempt(&pool).await.unwrap();
    let made = made(&attempt, Class::Unauthorized);
    attempt.finish(claviger_contract::Report::Seen(Class::Unauthorized));
    assert_eq!(other.attempts.after(made), Next::Refresh);
    let (_, renewed) = other.attempt(&pool).await.unwrap();
    assert_ne!(renewed, "Bearer at-ada");

    let mut parts = http::Request::new(()).into_parts().0;
    assert!(held.apply(&mut parts).is_err());
    assert!(parts.headers.is_empty(), "a superseded lease wrote a header");
    assert_eq!(question.attempt(&pool).await.unwrap().1, renewed);
}

#[tokio::test]
async fn a_thousand_refusals_of_one_token_cause_one_refresh() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    let admission = Arc::new(stage.admitted(&pool).await);
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (pool, admission) = (pool.clone(), Arc::clone(&admission));
        requests.spawn(async move {
            let mut question = Question::new(&admission);
            let (attempt, header) = question.attempt(&pool).await.unwrap();
            if header != "Bearer at-ada" {
                return;
            }
            let made = made(&attempt, Class::Unauthorized);
            pool.report(attempt, Class::Unauthorized);
            question.attempts.after(made);
            assert_ne!(question.attempt(&pool).await.unwrap().1, "Bearer at-ada");
        });
    }
    requests.join_all().await;
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (1, 0));
}

#[tokio::test]
async fn a_lost_answer_of_a_grace_provider_is_replayed_once() {
    let stage = Stage::new(GRACE).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    stage.simulator.control().token_fault_next(TokenFault::CloseAfterCommit);
    let admission = stage.admitted(&pool).await;
    Question::new(&admission).attempt(&pool).await.unwrap();
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (2, 0));
}

#[tokio::test]
async fn a_lost_strict_answer_uses_the_live_token_up_and_then_needs_a_login() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    let admission = stage.admitted(&pool).await;
    stage.advance(3560);
    stage.simulator.control().token_fault_next(TokenFault::CloseAfterCommit);
    pool.sweep().await;
    let ledger = stage.simulator.ledger();
    assert_eq!(ledger.refreshes(), 1, "the answer is lost, and the token still lives");
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-ada");
    assert_eq!(ledger.refreshes(), 1);
    stage.advance(30);
    // Near the end the one replay is spent; the provider sees a reuse and kills the family.
    pool.sweep().await;
    assert_eq!(ledger.refreshes(), 2);
    stage.advance(60);
    let refusal = Question::new(&admission).attempt(&pool).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NeedsLogin { .. }), "{refusal:?}");
    let listed = pool.account_list().await.unwrap().accounts;
    let view = listed.iter().find(|view| view.id == account.0).unwrap();
    assert!(matches!(view.standing, StandingView::NeedsLogin { .. }), "{view:?}");
    pool.sweep().await;
    assert_eq!(ledger.refreshes(), 2, "a dead grant is never asked for again");
}

#[tokio::test]
async fn an_unreachable_endpoint_spends_nothing_and_latches_nothing() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    stage.simulator.control().token_fault_next(TokenFault::RateLimited { retry_after_s: 20 });
    let admission = stage.admitted(&pool).await;
    let refusal = Question::new(&admission).attempt(&pool).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable { .. }), "{refusal:?}");
    stage.advance(60);
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!(stage.simulator.ledger().reuses(), 0);
}

#[tokio::test]
async fn a_bad_answer_leaves_the_stored_grant_as_it_was() {
    for fault in [
        TokenFault::Garbage,
        TokenFault::Html(200),
        TokenFault::Truncated,
        TokenFault::WrongTypes,
        TokenFault::OkWithError,
        TokenFault::ServerError(500),
        TokenFault::Huge { bytes: 1 << 20 },
    ] {
        let stage = Stage::new(Rotation::Strict).await;
        let pool = stage.pool().await;
        stage.login(&pool, "ada", 3600).await;
        stage.advance(3100);
        stage.simulator.control().token_fault_next(fault.clone());
        pool.sweep().await;
        let admission = stage.admitted(&pool).await;
        assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-ada", "{fault:?}");
        assert_eq!(stage.simulator.ledger().refreshes(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    let stage = Stage::new(Rotation::None).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    Question::new(&admission).attempt(&pool).await.unwrap();
    stage.advance(7200);
    Question::new(&admission).attempt(&pool).await.unwrap();
    let posts = stage.simulator.ledger().token_posts();
    assert_eq!(posts.len(), 2);
    assert!(posts.iter().all(|post| post.refresh_token.as_deref() == Some("rt-ada")));
}

#[tokio::test]
async fn a_dead_grant_is_told_apart_from_a_tired_endpoint() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    stage.simulator.control().grant_revoke("ada");
    let admission = stage.admitted(&pool).await;
    let refusal = Question::new(&admission).attempt(&pool).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NeedsLogin { .. }), "{refusal:?}");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn two_refusals_in_a_row_rest_the_account_and_two_with_a_success_between_do_not() {
    for (accepted_between, rests) in [(true, false), (false, true)] {
        let stage = Stage::new(Rotation::Strict).await;
        let pool = stage.pool().await;
        stage.login(&pool, "ada", 3600).await;
        let admission = stage.admitted(&pool).await;
        let mut question = Question::new(&admission);
        let (attempt, _) = question.attempt(&pool).await.unwrap();
        question.attempts.after(made(&attempt, Class::Unauthorized));
        pool.report(attempt, Class::Unauthorized);
        let (attempt, _) = question.attempt(&pool).await.unwrap();
        if accepted_between {
            pool.report(attempt, Class::Accepted);
        }
        let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
        pool.report(attempt, Class::Unauthorized);
        let blocks = &pool.account_list().await.unwrap().accounts[0].blocks;
        assert_eq!(!blocks.is_empty(), rests, "accepted between: {accepted_between}");
    }
}

#[tokio::test]
async fn a_dead_grant_whose_last_token_is_refused_leaves_the_pool() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    stage.simulator.control().grant_revoke("ada");
    let admission = stage.admitted(&pool).await;
    let mut question = Question::new(&admission);
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    question.attempts.after(made(&attempt, Class::Unauthorized));
    pool.report(attempt, Class::Unauthorized);
    // The refresh finds it dead. Its token has most of an hour to go, and nobody gets it again.
    for question in [&question, &Question::new(&admission)] {
        let refusal = question.attempt(&pool).await.map(|(_, header)| header);
        assert!(matches!(refusal, Err(Refusal::NeedsLogin { .. })), "{refusal:?}");
    }
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_dead_grant_whose_token_is_accepted_serves_until_one_call_is_refused() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    stage.simulator.control().token_fault_next(TokenFault::InvalidGrant);
    stage.advance(3100);
    pool.sweep().await;
    let admission = stage.admitted(&pool).await;
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    pool.report(attempt, Class::Accepted);
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    pool.report(attempt, Class::Unauthorized);
    assert!(matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::NeedsLogin { .. })));
}

#[tokio::test]
async fn a_short_lived_token_is_never_waited_for_in_vain() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 12).await;
    let admission = stage.admitted(&pool).await;
    for _second in 0..14 {
        Question::new(&admission).attempt(&pool).await.unwrap();
        stage.advance(1);
    }
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_new_login_is_not_held_up_by_what_became_of_the_old_one() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 36_000).await;
    let admission = stage.admitted(&pool).await;
    stage.advance(31_000);
    stage.simulator.control().token_fault_next(TokenFault::CloseAfterCommit);
    pool.sweep().await;
    // The old token is used up for more than an hour; the new login is due at once.
    let issued = stage.simulator.control().grant_issue_with("ada", "at-new", "rt-new", -10);
    stage.add(&pool, &issued, "ada", None).await;
    let (_, header) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert!(header != "Bearer at-new" && header != "Bearer at-ada", "{header}");
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_serves_no_token_beyond_its_life() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    let admission = stage.admitted(&pool).await;
    let clock = stage.sim_clock.as_ref().unwrap();
    clock.set(stage.clock.now().minus(std::time::Duration::from_hours(24 * 365)));
    pool.account_list().await.unwrap();
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-ada");
    stage.advance(3600);
    pool.account_list().await.unwrap();
    assert_ne!(Question::new(&admission).attempt(&pool).await.unwrap().1, "Bearer at-ada");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_now_is_not_sent_for_again() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
    stage.login(&pool, "ada", 3600).await;
    let admission = stage.admitted(&pool).await;
    // The process stops short after the answer was spilled; the token lives.
    stage.advance(3500);
    failpoints.fail("answer.spilled", "stop here");
    pool.sweep().await;
    stage.advance(200);
    let slots = stage.slots();
    assert_eq!(slots.len(), 1);
    std::fs::set_permissions(&slots[0], std::fs::Permissions::from_mode(0o644)).unwrap();
    let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::Unavailable { .. })), "{refusal:?}");
    assert_eq!(stage.simulator.ledger().refreshes(), 1, "its answer may be whole");
    std::fs::set_permissions(&slots[0], std::fs::Permissions::from_mode(0o600)).unwrap();
    stage.advance(60);
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!((stage.simulator.ledger().refreshes(), stage.simulator.ledger().reuses()), (1, 0));
    assert_eq!(stage.slots(), [] as [std::path::PathBuf; 0]);
}

#[tokio::test]
async fn a_damaged_answer_counts_as_lost_and_one_under_an_unknown_key_does_not() {
    // A slot begins with four bytes of length, then format, version of the data key (up to byte 8), nonce and text.
    for (position, lost) in [(100, true), (8, false)] {
        let stage = Stage::new(Rotation::Strict).await;
        let failpoints = Failpoints::new();
        let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
        stage.login(&pool, "ada", 3600).await;
        let admission = stage.admitted(&pool).await;
        stage.advance(3500);
        failpoints.fail("answer.spilled", "stop here");
        pool.sweep().await;
        stage.advance(200);
        let slot = stage.slots().remove(0);
        let whole = std::fs::read(&slot).unwrap();
        let mut changed = whole.clone();
        changed[position] ^= 0x40;
        std::fs::write(&slot, changed).unwrap();
        let refused = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
        let ledger = stage.simulator.ledger();
        if lost {
            assert!(matches!(refused, Err(Refusal::NeedsLogin { .. })), "{refused:?}");
            assert_eq!(ledger.refreshes(), 2, "the one replay is spent");
            continue;
        }
        assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "{refused:?}");
        assert_eq!((ledger.refreshes(), stage.slots().len()), (1, 1), "its answer may be whole");
        std::fs::write(&slot, whole).unwrap();
        stage.advance(60);
        Question::new(&admission).attempt(&pool).await.unwrap();
        assert_eq!((ledger.refreshes(), ledger.reuses()), (1, 0));
    }
}

#[tokio::test]
async fn an_answer_whose_slot_was_taken_away_gets_another_one() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
    stage.login(&pool, "ada", 3600).await;
    stage.advance(3500);
    let pause = failpoints.pause("answer.received");
    failpoints.fail("answer.spilled", "stop here");
    tokio::join!(pool.sweep(), async {
        pause.reached().await;
        stage.slots().iter().for_each(|slot| std::fs::remove_file(slot).unwrap());
        pause.release();
    });
    assert_eq!(stage.slots().len(), 1);
    stage.advance(200);
    let admission = stage.admitted(&pool).await;
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!((stage.simulator.ledger().refreshes(), stage.simulator.ledger().reuses()), (1, 0));
}

#[tokio::test]
async fn no_slot_outlives_what_was_done_with_its_answer() {
    for (rotation, faults) in [
        (GRACE, vec![TokenFault::CloseAfterCommit]),
        (GRACE, vec![TokenFault::ServerError(500)]),
        (Rotation::Strict, vec![TokenFault::InvalidGrant]),
        (Rotation::Strict, vec![TokenFault::RateLimited { retry_after_s: 20 }]),
        (Rotation::None, vec![TokenFault::ServerError(500); 20]),
    ] {
        let stage = Stage::new(rotation).await;
        let pool = stage.pool().await;
        stage.login(&pool, "ada", -10).await;
        for fault in &faults {
            stage.simulator.control().token_fault_next(fault.clone());
        }
        for _flight in 0..faults.len() {
            pool.sweep().await;
            stage.advance(31);
            assert!(stage.slots().len() < 2, "{faults:?}: {:?}", stage.slots());
        }
        assert_eq!(stage.slots(), [] as [std::path::PathBuf; 0], "{faults:?}");
        assert_eq!(stage.simulator.ledger().reuses(), 0);
    }
}

#[tokio::test]
async fn an_import_of_a_login_that_was_refreshed_here_since_takes_nothing_back() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (_, issued) = stage.login(&pool, "ada", -10).await;
    let admission = stage.admitted(&pool).await;
    let (_, renewed) = Question::new(&admission).attempt(&pool).await.unwrap();
    stage.add(&pool, &issued, "ada", None).await;
    assert_eq!(Question::new(&admission).attempt(&pool).await.unwrap().1, renewed);
    stage.advance(7200);
    Question::new(&admission).attempt(&pool).await.unwrap();
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (2, 0));
}

#[tokio::test]
async fn the_end_of_a_process_waits_for_what_was_sent_and_sends_nothing_new() {
    let stage = Stage::new(Rotation::Strict).await;
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    let supervisor = Arc::clone(&parts.supervisor);
    let pool = Pool::open(parts).await.unwrap();
    let accounts = [stage.login(&pool, "ada", -10).await.0, stage.login(&pool, "bob", -10).await.0];
    let admission = stage.admitted(&pool).await;
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let ledger = stage.simulator.ledger();
    let question = Question::new(&admission);
    let ask = claviger_contract::Ask { account: Some(accounts[0]), ..question.ask() };
    let Answer::Pending(sent) = pool.lease(&ask) else { panic!("a refresh is needed") };
    tokio::select! {
        _ = sent => panic!("the answer is held"),
        () = ledger.wait_for(|ledger| ledger.refreshes() == 1) => {}
    }
    let (end, ()) = tokio::join!(supervisor.stop(FLIGHT_END_WITHIN), async {
        let ask = claviger_contract::Ask { account: Some(accounts[1]), ..question.ask() };
        let Answer::Pending(unsent) = pool.lease(&ask) else { panic!("a refresh is needed") };
        unsent.await.unwrap();
        assert!(matches!(pool.lease(&ask), Answer::Refused(Refusal::Unavailable { .. })));
        stage.simulator.control().release();
    });
    assert_eq!(end, TaskEnd::Drained);
    assert_eq!(ledger.refreshes(), 1, "nothing is sent after the stop");
    let restarted = stage.pool().await;
    let tokens = restarted.account_list().await.unwrap().accounts;
    assert_eq!(tokens.iter().filter(|account| account.grant_revision == 2).count(), 1, "the answer is kept");
}

#[tokio::test]
async fn a_token_on_disk_serves_although_its_refresher_keeps_the_lock() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let holder = stage.pool_with(Arc::new(failpoints.clone())).await;
    stage.login(&holder, "ada", -10).await;
    let (admission, other) = (stage.admitted(&holder).await, stage.pool().await);
    let elsewhere = stage.admitted(&other).await;
    let pause = failpoints.pause("grant.stored");
    let (question, asked) = (Question::new(&admission), Question::new(&elsewhere));
    let clock = stage.sim_clock.clone().unwrap();
    let (first, second) = tokio::join!(question.attempt(&holder), async {
        pause.reached().await;
        let (served, ()) = tokio::join!(asked.attempt(&other), async {
            clock.sleeping(1).await;
            clock.advance(LOCK_WAIT_MAX);
        });
        pause.release();
        served
    });
    let renewed = first.unwrap().1;
    assert_eq!(second.unwrap().1, renewed);
    assert_ne!(renewed, "Bearer at-ada");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}
