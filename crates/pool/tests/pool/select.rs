//! Which account serves: sessions, blocks, refusals, keys and origins, through the real view.

use crate::stage::{PROVIDER, Question, Stage};
use claviger_admin::{AccountChange, Admin, CredentialAdd, Exposed, KeyCreate, StandingView};
use claviger_contract::{Answer, Broker, Denial, Refusal, Report};
use claviger_domain::attempt::Made;
use claviger_domain::block::BlockScope;
use claviger_domain::classify::Class;
use claviger_domain::id::AccountId;
use claviger_domain::session::SessionHash;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Presented;
use claviger_pool::{Pool, PoolSettings};
use claviger_providers::catalogue::Catalogue;
use claviger_simulator::Rotation;
use std::collections::BTreeSet;
use std::sync::Arc;

async fn stage_with(count: usize) -> (Stage, Pool) {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    for number in 0..count {
        stage.login(&pool, &format!("user{number}"), 36_000).await;
    }
    (stage, pool)
}

fn limit(until: Option<Timestamp>) -> Class {
    Class::UsageLimit { scope: BlockScope::Account, until }
}

async fn account_for(pool: &Pool, question: &Question<'_>) -> AccountId {
    question.attempt(pool).await.unwrap().0.facts().account
}

#[tokio::test]
async fn a_session_stays_with_the_account_that_answered_it_also_after_a_restart() {
    let (stage, pool) = stage_with(4).await;
    let admission = stage.admitted(&pool).await;
    let question = Question { session: Some(SessionHash(7)), ..Question::new(&admission) };
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    let home = attempt.facts().account;
    // Its own account is blocked, and a sibling answers.
    attempt.finish(Report::Seen(limit(Some(stage.clock.now().plus(std::time::Duration::from_mins(1))))));
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    let sibling = attempt.facts().account;
    assert_ne!(sibling, home);
    attempt.finish(Report::Seen(Class::Accepted));
    // Its own account is free again, but the cache is warm at the sibling.
    stage.advance(120);
    assert_eq!(account_for(&pool, &question).await, sibling);
    pool.flush().await;
    let restarted = stage.pool().await;
    let admission = stage.admitted(&restarted).await;
    let question = Question { session: Some(SessionHash(7)), ..Question::new(&admission) };
    assert_eq!(account_for(&restarted, &question).await, sibling);
}

#[tokio::test]
async fn sessions_spread_over_all_accounts() {
    let (stage, pool) = stage_with(4).await;
    let admission = stage.admitted(&pool).await;
    let mut seen = BTreeSet::new();
    for session in 0..64 {
        let session = SessionHash::of(&[&[session]]);
        seen.insert(account_for(&pool, &Question { session: Some(session), ..Question::new(&admission) }).await);
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn when_all_are_blocked_the_first_to_be_free_is_named() {
    let (stage, pool) = stage_with(2).await;
    let admission = stage.admitted(&pool).await;
    let now = stage.clock.now();
    for seconds in [600, 300] {
        let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
        attempt.finish(Report::Seen(limit(Some(now.plus(std::time::Duration::from_secs(seconds))))));
    }
    let Err(Refusal::AllBlocked { retry_at, .. }) = Question::new(&admission).attempt(&pool).await.map(|(attempt, _)| attempt) else {
        panic!("all are blocked");
    };
    assert_eq!(retry_at, now.plus(std::time::Duration::from_mins(5)));
    // Blocks survive a restart, and end by themselves.
    pool.flush().await;
    let restarted = stage.pool().await;
    let admission = stage.admitted(&restarted).await;
    assert!(Question::new(&admission).attempt(&restarted).await.is_err());
    stage.advance(301);
    Question::new(&admission).attempt(&restarted).await.unwrap();
}

#[tokio::test]
async fn a_guessed_block_lets_one_probe_through_in_a_minute() {
    let (stage, pool) = stage_with(1).await;
    let admission = stage.admitted(&pool).await;
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    attempt.finish(Report::Seen(limit(None)));
    let (probe, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert!(matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::AllBlocked { .. })));
    probe.finish(Report::Seen(limit(None)));
    stage.advance(61);
    Question::new(&admission).attempt(&pool).await.unwrap();
}

fn seen(attempt: claviger_contract::Attempt, question: &mut Question<'_>, class: Class) -> AccountId {
    let facts = attempt.facts().clone();
    attempt.finish(Report::Seen(class.clone()));
    question.attempts.after(Made { account: facts.account, grant: facts.grant, revision: facts.revision, class });
    facts.account
}

#[tokio::test]
async fn a_probe_never_repeats_what_its_own_request_has_seen_refused() {
    let (stage, pool) = stage_with(1).await;
    let admission = stage.admitted(&pool).await;
    let mut question = Question::new(&admission);
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    seen(attempt, &mut question, limit(None));
    let refusal = question.attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::AllBlocked { .. })), "{refusal:?}");
    // Another request may.
    Question::new(&admission).attempt(&pool).await.unwrap();
}

#[tokio::test]
async fn every_blocked_account_whose_end_is_a_guess_gets_a_probe_of_its_own() {
    let (stage, pool) = stage_with(3).await;
    let admission = stage.admitted(&pool).await;
    let mut question = Question::new(&admission);
    let soon = stage.clock.now().plus(std::time::Duration::from_secs(10));
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    let told = seen(attempt, &mut question, limit(Some(soon)));
    for _guessed in 0..2 {
        let (attempt, _) = question.attempt(&pool).await.unwrap();
        seen(attempt, &mut question, limit(None));
    }
    let probed = [account_for(&pool, &Question::new(&admission)).await, account_for(&pool, &Question::new(&admission)).await];
    assert!(probed[0] != probed[1] && !probed.contains(&told), "{probed:?}, told {told}");
    let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::AllBlocked { retry_at, .. }) if retry_at == soon), "{refusal:?}");
}

#[tokio::test]
async fn a_probe_sends_no_token_that_has_ended() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 600).await;
    let admission = stage.admitted(&pool).await;
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    attempt.finish(Report::Seen(limit(None)));
    stage.advance(700);
    let (_, header) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert_ne!(header, "Bearer at-ada");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn no_probe_goes_to_a_source_that_the_cascade_did_not_choose() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let key = CredentialAdd::ApiKey { key: Exposed::new("sk-test-1".to_owned()) };
    pool.account_add(Stage::draft("key", key)).await.unwrap();
    let admission = stage.admitted(&pool).await;
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    attempt.finish(Report::Seen(limit(None)));
    stage.login(&pool, "ada", -10).await;
    stage.simulator.control().grant_revoke("ada");
    let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::NeedsLogin { .. })), "{refusal:?}");
}

#[tokio::test]
async fn an_account_that_this_request_has_tried_is_left_for_a_sibling() {
    let (stage, pool) = stage_with(2).await;
    let admission = stage.admitted(&pool).await;
    let mut question = Question::new(&admission);
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    let facts = attempt.facts().clone();
    question.attempts.after(Made { account: facts.account, grant: facts.grant, revision: facts.revision, class: limit(None) });
    assert_ne!(account_for(&pool, &question).await, facts.account);
}

#[tokio::test]
async fn a_lease_of_an_account_that_was_switched_off_writes_nothing() {
    let (stage, pool) = stage_with(1).await;
    let admission = stage.admitted(&pool).await;
    let question = Question::new(&admission);
    let ask = question.ask();
    let Answer::Ready(lease) = pool.lease(&ask) else { panic!("it is ready") };
    let account = lease.facts().account;
    pool.account_change(account, AccountChange { disable: Some("test".into()), ..AccountChange::default() }).await.unwrap();
    let mut parts = http::Request::new(()).into_parts().0;
    assert!(lease.apply(&mut parts).is_err());
    assert!(matches!(question.attempt(&pool).await, Err(Refusal::NoCredential { .. })));
    pool.account_change(account, AccountChange { enable: true, ..AccountChange::default() }).await.unwrap();
    question.attempt(&pool).await.unwrap();
}

#[tokio::test]
async fn a_key_is_held_to_its_providers_accounts_and_life() {
    let (stage, pool) = stage_with(2).await;
    let only = pool.account_list().await.unwrap().accounts[1].id;
    let create = KeyCreate { accounts: vec![only], providers: vec![PROVIDER.into()], lifetime_s: Some(60), label: None };
    let created = pool.key_create(create).await.unwrap();
    let key = Presented::read(created.key.expose()).unwrap();
    let admission = pool.admit(&key, None).unwrap();
    for seed in 0..16 {
        assert_eq!(account_for(&pool, &Question { seed, ..Question::new(&admission) }).await.0, only);
    }
    let other = Question { provider: "openai".parse().unwrap(), ..Question::new(&admission) };
    assert!(matches!(other.attempt(&pool).await, Err(Refusal::Denied(Denial::Provider { .. }))));
    stage.advance(61);
    assert!(matches!(pool.admit(&key, None), Err(Refusal::Denied(Denial::Expired))));
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_the_next_request_on() {
    let (_stage, pool) = stage_with(1).await;
    let created = pool.key_create(KeyCreate::default()).await.unwrap();
    let key = Presented::read(created.key.expose()).unwrap();
    pool.admit(&key, None).unwrap();
    pool.key_revoke(created.view.id.parse().unwrap()).await.unwrap();
    assert!(matches!(pool.admit(&key, None), Err(Refusal::Denied(Denial::Revoked))));
}

#[tokio::test]
async fn another_process_sees_a_new_account_and_a_revoked_key_by_polling_the_version() {
    let (stage, first) = stage_with(1).await;
    let second = stage.pool().await;
    let admission = stage.admitted(&second).await;
    stage.login(&first, "late", 36_000).await;
    assert_eq!(second.account_list().await.unwrap().accounts.len(), 2);
    let seen: BTreeSet<_> = {
        let mut seen = BTreeSet::new();
        for seed in 0..32 {
            seen.insert(account_for(&second, &Question { seed, ..Question::new(&admission) }).await);
        }
        seen
    };
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn an_overlay_that_moves_a_provider_gets_no_credential_that_was_stored_before() {
    let (stage, pool) = stage_with(1).await;
    let admission = stage.admitted(&pool).await;
    let moved = stage.folder.path().join("moved.d");
    std::fs::create_dir(&moved).unwrap();
    std::fs::write(moved.join("a.toml"), format!("[providers.{PROVIDER}]\nbase_url = \"http://127.0.0.1:9\"\n")).unwrap();
    let catalogue = Arc::new(Catalogue::load(Some(&moved)).unwrap());
    pool.reconfigure(PoolSettings { catalogue, models: Vec::new(), values: claviger_pool::Values::default() }).await.unwrap();
    assert!(matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::OriginChanged { .. })));
    assert_eq!(pool.account_list().await.unwrap().accounts[0].standing, StandingView::OriginChanged);
}

#[tokio::test]
async fn an_unknown_key_is_refused() {
    let (_stage, pool) = stage_with(0).await;
    let (_, text) = claviger_domain::virtual_key::compose(claviger_domain::virtual_key::KeyKind::Standing, &[7; 304]);
    let refused = pool.admit(&Presented::read(text.expose()).unwrap(), None);
    assert!(matches!(refused, Err(Refusal::Denied(Denial::Unknown))));
}
