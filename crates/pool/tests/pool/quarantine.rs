//! A vault that was put back from an older copy: what it may not send, what it serves, and how that ends.

use crate::stage::{Question, Stage, pool_parts};
use claviger_admin::{AccountAdd, Admin, ErrorCode, EventsAsk, OriginsView, StandingView, TakeOutcome, TokenAsk};
use claviger_contract::{Broker, Readiness, Refusal};
use claviger_domain::attempt::Made;
use claviger_domain::classify::Class;
use claviger_domain::id::AccountId;
use claviger_pool::{Pool, PoolParts};
use claviger_runtime::{Failpoint, NoFailpoints, Supervisor};
use claviger_simulator::{Rotation, TokenFault};
use claviger_store::{SqliteStore, Store};
use claviger_testkit::{Failpoints, proof_row};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// A pool over a vault that knows its mirror.
async fn guarded(stage: &Stage) -> (Pool, Arc<SqliteStore>) {
    guarded_with(stage, Arc::new(NoFailpoints)).await
}

async fn guarded_with(stage: &Stage, failpoints: Arc<dyn Failpoint>) -> (Pool, Arc<SqliteStore>) {
    let mirrors = stage.folder.path().join("mirrors");
    let store = Arc::new(SqliteStore::open_guarded(&stage.home(), &stage.root_key(), &*stage.clock, &mirrors).unwrap());
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    let supervisor = Arc::new(Supervisor::new());
    let parts = PoolParts { store: Arc::clone(&store) as Arc<dyn Store>, failpoints, supervisor, ..parts };
    (Pool::open(parts).await.unwrap(), store)
}

fn copy(from: &Path, to: &Path) {
    std::fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A vault with the login of ada, put back after it has refreshed this often since the copy.
async fn put_back(rotation: Rotation, refreshes: usize) -> (Stage, Pool, Arc<SqliteStore>, AccountId) {
    let stage = Stage::new(rotation).await;
    let (pool, store) = guarded(&stage).await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    store.close().await.unwrap();
    drop(pool);
    let kept = stage.folder.path().join("kept");
    copy(&stage.home(), &kept);
    let (pool, store) = guarded(&stage).await;
    let admission = stage.admitted(&pool).await;
    for _refresh in 0..refreshes {
        let mut question = Question::new(&admission);
        let (attempt, _) = question.attempt(&pool).await.unwrap();
        let facts = attempt.facts().clone();
        question.attempts.after(Made { account: facts.account, grant: facts.grant, revision: facts.revision, class: Class::Unauthorized });
        pool.report(attempt, Class::Unauthorized);
        let (attempt, _) = question.attempt(&pool).await.unwrap();
        pool.report(attempt, Class::Accepted);
    }
    assert_eq!(stage.simulator.ledger().refreshes(), refreshes);
    store.close().await.unwrap();
    drop(pool);
    std::fs::remove_dir_all(stage.home()).unwrap();
    copy(&kept, &stage.home());
    let (pool, store) = guarded(&stage).await;
    (stage, pool, store, account)
}

async fn standing(pool: &Pool, account: AccountId) -> StandingView {
    let list = pool.account_list().await.unwrap();
    list.accounts.into_iter().find(|view| view.id == account.0).unwrap().standing
}

#[tokio::test]
async fn a_vault_put_back_from_a_copy_three_generations_old_sends_no_refresh_token() {
    let (stage, pool, _store, account) = put_back(Rotation::Strict, 3).await;
    assert!(matches!(standing(&pool, account).await, StandingView::Quarantined { .. }));
    let status = pool.status().await.unwrap();
    assert_eq!((status.degraded.len(), status.providers[0].quarantined, status.providers[0].ready), (1, 1, 1), "{status:?}");
    assert_eq!(pool.readiness(), Readiness::Degraded);
    let admission = stage.admitted(&pool).await;
    // The live token serves to its end.
    for _minute in 0..59 {
        let (attempt, header) = Question::new(&admission).attempt(&pool).await.unwrap();
        assert_eq!(header, "Bearer at-ada");
        pool.report(attempt, Class::Accepted);
        pool.sweep().await;
        stage.advance(60);
    }
    stage.advance(60);
    for _request in 0..100 {
        let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
        assert!(matches!(refusal, Err(Refusal::Quarantined { account: named, .. }) if named == account), "{refusal:?}");
        pool.sweep().await;
        stage.advance(600);
    }
    let ask = TokenAsk { provider: "anthropic".into(), account: Some(account.0), all: false, session: None, actor: "test".into() };
    let refused = pool.token(ask).await.unwrap_err();
    assert_eq!((refused.code, refused.hint.as_deref()), (ErrorCode::Refused, Some("claviger account take 1")));
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (3, 0), "nothing but what the other copy sent");
    assert_eq!(pool.status().await.unwrap().providers[0].ready, 0);
    proof_row("quarantine: requests after the end of a token from a copy three generations old", 100, 100, "0 refresh tokens sent");
}

#[tokio::test]
async fn whoever_takes_an_account_ends_its_quarantine_at_once() {
    // The other copy has ended, and its owner logged in anew with the same texts: the token here is ours.
    let (stage, pool, store, account) = put_back(Rotation::Strict, 1).await;
    let admission = stage.admitted(&pool).await;
    let issued = stage.simulator.control().grant_issue_with("ada", "at-ada", "rt-ada", 3600);
    assert_eq!(issued.refresh, "rt-ada", "the provider takes it again");
    stage.advance(4000);
    assert!(matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::Quarantined { .. })));
    let taken = pool.account_take(account).await.unwrap();
    assert_eq!((taken.outcome, taken.account.standing), (TakeOutcome::Taken, StandingView::Active));
    let (_, header) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert_ne!(header, "Bearer at-ada");
    assert_eq!(pool.readiness(), Readiness::Whole);
    assert_eq!(pool.status().await.unwrap().degraded, [] as [String; 0]);
    assert_eq!(stage.simulator.ledger().reuses(), 0);
    // A second time there is nothing to take, and the trail has one entry.
    assert_eq!(pool.account_take(account).await.unwrap().outcome, TakeOutcome::NotQuarantined);
    let trail = store.audit_list(50).await.unwrap();
    assert_eq!(trail.iter().filter(|entry| entry.action == "account.take").count(), 1, "{trail:?}");
    assert_eq!(pool.account_take(AccountId(99)).await.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn an_answer_that_was_spilled_before_the_copy_is_recovered_in_quarantine() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let (pool, store) = guarded_with(&stage, Arc::new(failpoints.clone())).await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    stage.advance(3500);
    failpoints.fail("answer.spilled", "stop here");
    pool.sweep().await;
    store.close().await.unwrap();
    drop(pool);
    let kept = stage.folder.path().join("kept");
    copy(&stage.home(), &kept);
    let (pool, store) = guarded(&stage).await;
    pool.sweep().await;
    assert_eq!(pool.account_list().await.unwrap().accounts[0].grant_revision, 2, "the other copy has recovered it as well");
    store.close().await.unwrap();
    drop(pool);
    std::fs::remove_dir_all(stage.home()).unwrap();
    copy(&kept, &stage.home());
    let (pool, _store) = guarded(&stage).await;
    assert!(matches!(standing(&pool, account).await, StandingView::Quarantined { .. }));
    stage.advance(200);
    let admission = stage.admitted(&pool).await;
    let (attempt, header) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert_ne!(header, "Bearer at-ada");
    assert_eq!(stage.send(&attempt, &header).await, 200);
    assert!(matches!(standing(&pool, account).await, StandingView::Quarantined { .. }), "it may have been redeemed since");
    // Its successor is not sent.
    stage.advance(3600);
    assert!(matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::Quarantined { .. })));
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_not_replayed_in_quarantine() {
    let stage = Stage::new(Rotation::Strict).await;
    let (pool, store) = guarded(&stage).await;
    stage.login(&pool, "ada", 3600).await;
    stage.advance(3500);
    stage.simulator.control().token_fault_next(TokenFault::ServerError(500));
    pool.sweep().await;
    store.close().await.unwrap();
    drop(pool);
    let kept = stage.folder.path().join("kept");
    copy(&stage.home(), &kept);
    let (pool, store) = guarded(&stage).await;
    stage.advance(80);
    pool.sweep().await;
    assert_eq!(stage.simulator.ledger().refreshes(), 2, "the other copy has spent the one replay");
    store.close().await.unwrap();
    drop(pool);
    std::fs::remove_dir_all(stage.home()).unwrap();
    copy(&kept, &stage.home());
    let (pool, _store) = guarded(&stage).await;
    stage.advance(200);
    let admission = stage.admitted(&pool).await;
    let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::Quarantined { .. })), "{refusal:?}");
    assert_eq!((stage.simulator.ledger().refreshes(), stage.simulator.ledger().reuses()), (2, 0));
}

#[tokio::test]
async fn a_take_at_the_end_of_a_flight_is_not_undone_by_it() {
    let stage = Stage::new(Rotation::Strict).await;
    let (pool, store) = guarded(&stage).await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    stage.advance(3500);
    stage.simulator.control().token_fault_next(TokenFault::CloseBeforeRead);
    pool.sweep().await;
    store.close().await.unwrap();
    drop(pool);
    let kept = stage.folder.path().join("kept");
    copy(&stage.home(), &kept);
    let (pool, store) = guarded(&stage).await;
    stage.login(&pool, "bob", 36_000).await;
    store.close().await.unwrap();
    drop(pool);
    std::fs::remove_dir_all(stage.home()).unwrap();
    copy(&kept, &stage.home());
    let failpoints = Failpoints::new();
    let (pool, _store) = guarded_with(&stage, Arc::new(failpoints.clone())).await;
    assert!(matches!(standing(&pool, account).await, StandingView::Quarantined { .. }));
    // The sweep looks for what was left behind and finds nothing; somebody takes the account before its flight has ended.
    let pause = failpoints.pause("lock.freed");
    tokio::join!(pool.sweep(), async {
        pause.reached().await;
        assert_eq!(pool.account_take(account).await.unwrap().outcome, TakeOutcome::Taken);
        pause.release();
    });
    stage.advance(200);
    let admission = stage.admitted(&pool).await;
    let served = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(served.is_ok_and(|header| header != "Bearer at-ada"));
    assert_eq!(stage.simulator.ledger().reuses(), 0);
}

#[tokio::test]
async fn a_sibling_serves_where_an_account_in_quarantine_cannot() {
    let (stage, pool, _store, account) = put_back(Rotation::Strict, 1).await;
    stage.login(&pool, "bob", 36_000).await;
    stage.advance(4000);
    let admission = stage.admitted(&pool).await;
    for seed in 0..50 {
        let question = Question { seed, ..Question::new(&admission) };
        assert_eq!(question.attempt(&pool).await.unwrap().1, "Bearer at-bob");
    }
    assert!(matches!(standing(&pool, account).await, StandingView::Quarantined { .. }));
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_refused_token_in_quarantine_rests_its_account_and_is_not_refreshed() {
    let (stage, pool, _store, _) = put_back(Rotation::Strict, 1).await;
    stage.login(&pool, "bob", 36_000).await;
    let admission = stage.admitted(&pool).await;
    let mut refused = 0;
    for seed in 0..200 {
        let mut question = Question { seed, ..Question::new(&admission) };
        let (attempt, header) = question.attempt(&pool).await.unwrap();
        if header != "Bearer at-ada" {
            continue;
        }
        refused += 1;
        let facts = attempt.facts().clone();
        question.attempts.after(Made { account: facts.account, grant: facts.grant, revision: facts.revision, class: Class::Unauthorized });
        pool.report(attempt, Class::Unauthorized);
        assert_eq!(question.attempt(&pool).await.unwrap().1, "Bearer at-bob");
    }
    assert_eq!(refused, 1, "it rests after one refusal");
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn a_grant_that_does_not_rotate_is_refreshed_as_ever_after_it_was_put_back() {
    let (stage, pool, _store, account) = put_back(Rotation::None, 1).await;
    assert_eq!(standing(&pool, account).await, StandingView::Active);
    stage.advance(4000);
    let admission = stage.admitted(&pool).await;
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!(stage.simulator.ledger().refreshes(), 2);
    assert_eq!(pool.readiness(), Readiness::Whole);
}

#[tokio::test]
async fn the_login_of_another_tool_is_not_taken() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let path = stage.folder.path().join(".credentials.json");
    let credential = claviger_admin::CredentialAdd::Oauth {
        access: claviger_admin::Exposed::new("at-tool".to_owned()),
        refresh: None,
        expires_at: None,
    };
    let add = AccountAdd { follows: Some(path.display().to_string()), ..Stage::draft("ada", credential) };
    let account = AccountId(pool.account_add(add).await.unwrap().account.id);
    let refused = pool.account_take(account).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Refused);
    assert!(refused.message.contains(".credentials.json") && refused.hint.is_some(), "{refused:?}");
}

#[tokio::test]
async fn an_account_is_bound_to_what_was_agreed_to_and_to_nothing_else() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    let shown = pool.account_origins(account).await.unwrap();
    assert_eq!(shown.stored, shown.effective);
    let elsewhere = OriginsView { inference: vec!["https://elsewhere.example:443".into()], ..shown.effective.clone() };
    let refused = pool.account_rebind(account, elsewhere).await.unwrap_err();
    assert_eq!((refused.code, refused.hint.as_deref()), (ErrorCode::Refused, Some("claviger account rebind 1")));
    // Nothing to do is no error, and no change.
    let revision = |account: &claviger_admin::AccountView| account.grant_revision;
    let bound = pool.account_rebind(account, shown.effective.clone()).await.unwrap();
    assert_eq!(revision(&bound.account), revision(&shown.account));
    assert_eq!(pool.account_origins(AccountId(99)).await.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_moved_token_endpoint_gets_no_refresh_token_before_its_account_is_rebound() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    drop(pool);
    let elsewhere =
        claviger_simulator::Simulator::start(claviger_simulator::SimulatorConfig { seed: 2, ..Default::default() }).await.unwrap();
    let overlay = stage.overlay_at("anthropic", &elsewhere.origin().parse().unwrap(), "");
    std::fs::write(stage.overlay().join("stage.toml"), overlay).unwrap();
    let pool = stage.pool().await;
    let admission = stage.admitted(&pool).await;
    // The live token goes where it always went; what is wrong can be read.
    let (attempt, header) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!(header, "Bearer at-ada");
    assert_eq!(standing(&pool, account).await, StandingView::OriginChanged);
    // Refused there, it rests: no refresh follows that could bring another one.
    pool.report(attempt, Class::Unauthorized);
    assert_eq!(pool.account_list().await.unwrap().accounts[0].blocks.len(), 1);
    stage.advance(3600);
    pool.sweep().await;
    let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
    assert!(matches!(refusal, Err(Refusal::OriginChanged { .. })), "{refusal:?}");
    let ask = TokenAsk { provider: "anthropic".into(), account: Some(account.0), all: false, session: None, actor: "test".into() };
    let refused = pool.token(ask).await.unwrap_err();
    assert!(refused.hint.as_deref().unwrap().contains("claviger account rebind 1"), "{refused:?}");
    assert_eq!((stage.simulator.ledger().refreshes(), elsewhere.ledger().refreshes()), (0, 0));
    elsewhere.control().grant_issue_with("ada", "at-ada", "rt-ada", -10);
    let effective = pool.account_origins(account).await.unwrap().effective;
    pool.account_rebind(account, effective).await.unwrap();
    Question::new(&admission).attempt(&pool).await.unwrap();
    assert_eq!((stage.simulator.ledger().refreshes(), elsewhere.ledger().refreshes()), (0, 1));
}

#[tokio::test]
async fn every_change_of_an_account_is_in_the_audit_trail() {
    let stage = Stage::new(Rotation::Strict).await;
    let (pool, store) = guarded(&stage).await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    let change = claviger_admin::AccountChange::default;
    pool.account_change(account, claviger_admin::AccountChange { priority: Some(3), ..change() }).await.unwrap();
    pool.account_change(account, claviger_admin::AccountChange { disable: Some("on holiday".into()), ..change() }).await.unwrap();
    pool.account_change(account, claviger_admin::AccountChange { enable: true, ..change() }).await.unwrap();
    pool.account_unblock(Some(account)).await.unwrap();
    pool.account_unblock(None).await.unwrap();
    pool.account_remove(account).await.unwrap();
    pool.account_remove(account).await.unwrap_err();
    let trail: Vec<_> = store.audit_list(50).await.unwrap().into_iter().rev().map(|entry| (entry.action, entry.subject)).collect();
    let expected = [
        ("account.add", "anthropic, ada@example.com"),
        ("account.change", "account 1"),
        ("account.disable", "account 1"),
        ("account.enable", "account 1"),
        ("account.unblock", "account 1"),
        ("account.unblock", "every account"),
        ("account.remove", "account 1"),
    ];
    assert_eq!(trail, expected.map(|(action, subject)| (action.to_owned(), subject.to_owned())));
}

#[tokio::test]
async fn a_quarantine_is_told_and_so_is_the_take_that_ends_it() {
    let (_stage, pool, _store, account) = put_back(Rotation::Strict, 1).await;
    let told = |pool: Pool| async move {
        pool.care_look().await;
        let events = pool.events(EventsAsk::default()).await.unwrap().events;
        events.iter().map(|event| event.kind.word()).collect::<Vec<_>>()
    };
    assert_eq!(told(pool.clone()).await, ["account_quarantined"]);
    assert_eq!(told(pool.clone()).await, ["account_quarantined"], "another look is no other news");
    pool.account_take(account).await.unwrap();
    assert_eq!(told(pool.clone()).await, ["account_quarantined", "account_renewed"]);
}
