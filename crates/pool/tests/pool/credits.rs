//! Saved resets: listed live, redeemed once, and what follows from that.

use crate::stage::{Question, Stage};
use claviger_admin::{
    AccountAdd, AccountCreditsView, AccountView, Admin, CredentialAdd, CreditsAsk, ErrorCode, Exposed, IdentityView, RedeemAsk, RedeemView,
};
use claviger_contract::Report;
use claviger_domain::block::BlockScope;
use claviger_domain::classify::Class;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::time::Timestamp;
use claviger_pool::Pool;
use claviger_simulator::{CreditHit, Rotation};
use std::time::Duration;

const CODEX: &str = "openai-codex";

async fn stage() -> (Stage, Pool) {
    let stage = Stage::new(Rotation::Strict).await;
    let origin = stage.simulator.origin();
    let overlay = format!(
        "[providers.{CODEX}]\nbase_url = \"{origin}/backend-api\"\n[providers.{CODEX}.oauth]\ntoken_url = \"{origin}/v1/oauth/token\"\n\
         [providers.{CODEX}.usage]\nurl = \"{origin}/backend-api/wham/usage\"\n"
    );
    std::fs::write(stage.overlay().join("codex.toml"), overlay).unwrap();
    let pool = stage.pool().await;
    (stage, pool)
}

async fn login(stage: &Stage, pool: &Pool, name: &str) -> AccountId {
    let issued = stage.simulator.control().grant_issue_with(name, &format!("at-{name}"), &format!("rt-{name}"), 8 * 3600);
    let credential = CredentialAdd::Oauth {
        access: Exposed::new(issued.access),
        refresh: Some(Exposed::new(issued.refresh)),
        expires_at: Some(Timestamp(issued.expires_at_ms)),
    };
    let identity =
        IdentityView { email: Some(format!("{name}@example.com")), account_id: Some(format!("ws-{name}")), ..IdentityView::default() };
    let add = AccountAdd { identity, ..AccountAdd::new("row 1", CODEX, credential) };
    AccountId(pool.account_add(add).await.unwrap().account.id)
}

async fn list(pool: &Pool) -> Vec<AccountCreditsView> {
    pool.credits_list(CreditsAsk::default()).await.unwrap().accounts
}

async fn redeem(pool: &Pool, target: &str) -> RedeemView {
    pool.credits_redeem(RedeemAsk { target: target.into(), ..RedeemAsk::default() }).await.unwrap()
}

async fn account(pool: &Pool, id: AccountId) -> AccountView {
    let list = pool.account_list().await.unwrap();
    list.accounts.into_iter().find(|account| account.id == id.0).unwrap()
}

/// Blocks the account and a tier by answers that say that a quota is used up.
async fn used_up(stage: &Stage, pool: &Pool) {
    let admission = stage.admitted(pool).await;
    for scope in [BlockScope::Tier("spark".into()), BlockScope::Account] {
        let question = Question { provider: ProviderId::new(CODEX).unwrap(), ..Question::new(&admission) };
        let (attempt, _) = question.attempt(pool).await.unwrap();
        let until = Some(stage.clock.now().plus(Duration::from_hours(3)));
        attempt.finish(Report::Seen(Class::UsageLimit { scope, until }));
    }
}

fn consumed(stage: &Stage) -> Vec<CreditHit> {
    stage.simulator.ledger().credit_hits().into_iter().filter(|hit| hit.what.ends_with("/consume")).collect()
}

#[tokio::test]
async fn every_account_is_asked_live_and_one_that_fails_harms_no_other() {
    let (stage, pool) = stage().await;
    let (ada, bob) = (login(&stage, &pool, "ada").await, login(&stage, &pool, "bob").await);
    stage.simulator.control().credit_save("ada", "c1");
    stage.simulator.control().credit_save("ada", "c2");
    stage.simulator.control().grant_revoke("bob");
    for _ in 0..2 {
        let accounts = list(&pool).await;
        let [of_ada, of_bob] = accounts.as_slice() else { panic!("{accounts:?}") };
        assert_eq!((of_ada.account, of_ada.available, of_ada.resets.len(), of_ada.error.as_deref()), (ada.0, Some(2), 2, None));
        assert_eq!((of_bob.account, of_bob.available), (bob.0, None));
        assert!(of_bob.error.as_ref().is_some_and(|error| error.contains("401")), "{of_bob:?}");
        assert_eq!(accounts.iter().filter(|account| account.active).count(), 1);
        assert!(!format!("{accounts:?}").contains("canary"));
    }
    let asked = stage.simulator.ledger().credit_hits();
    assert_eq!(asked.len(), 4, "nothing is remembered");
    assert_eq!(asked[0].account_header.as_deref(), Some("ws-ada"));
}

#[tokio::test]
async fn a_redeemed_reset_lifts_what_a_quota_has_set_aside_for_good() {
    let (stage, pool) = stage().await;
    let ada = login(&stage, &pool, "ada").await;
    stage.simulator.control().credit_save("ada", "c1");
    used_up(&stage, &pool).await;
    assert_eq!(account(&pool, ada).await.blocks.len(), 2);
    let view = redeem(&pool, &ada.to_string()).await;
    assert_eq!((view.code.as_str(), view.credit.as_deref(), view.lifted), ("reset", Some("c1"), 2));
    assert_eq!(account(&pool, ada).await.blocks, []);
    let asked: Vec<_> = stage.simulator.ledger().credit_hits().iter().map(|hit| hit.what.clone()).collect();
    assert_eq!(asked.last().map(String::as_str), Some("usage"), "what was known of its use is asked for anew");
    serves(&stage, &pool).await;
    pool.flush().await;
    drop(pool);
    assert_eq!(account(&stage.pool().await, ada).await.blocks, [], "they do not come back with the next process");
}

/// It serves at once.
async fn serves(stage: &Stage, pool: &Pool) {
    let admission = stage.admitted(pool).await;
    let question = Question { provider: ProviderId::new(CODEX).unwrap(), ..Question::new(&admission) };
    question.attempt(pool).await.unwrap();
}

#[tokio::test]
async fn what_was_not_reset_lifts_nothing_and_says_why() {
    let (stage, pool) = stage().await;
    let ada = login(&stage, &pool, "ada").await;
    assert_eq!(redeem(&pool, "nobody@example.com").await.code, "no_account");
    assert_eq!(redeem(&pool, "ADA@example.com").await.code, "no_credit");
    stage.simulator.control().credit_save("ada", "c1");
    used_up(&stage, &pool).await;
    for (status, word, code) in [
        (200, "nothing_to_reset", "nothing_to_reset"),
        (200, "already_redeemed", "already_redeemed"),
        (429, "", "http_429"),
        (503, "", "http_503"),
    ] {
        stage.simulator.control().credit_answer_next(status, word);
        let view = redeem(&pool, "ws-ada").await;
        assert_eq!((view.code.as_str(), view.account, view.lifted), (code, Some(ada.0), 0));
    }
    assert_eq!(account(&pool, ada).await.blocks.len(), 2);
    let other = RedeemAsk { target: ada.to_string(), credit: Some("c9".into()), ..RedeemAsk::default() };
    assert_eq!(pool.credits_redeem(other).await.unwrap().code, "no_credit");
    stage.simulator.control().grant_revoke("ada");
    stage.advance(9 * 3600);
    assert_eq!(redeem(&pool, "ws-ada").await.code, "account_unavailable");
}

#[tokio::test]
async fn an_attempt_that_is_repeated_spends_nothing_twice() {
    let (stage, pool) = stage().await;
    let ada = login(&stage, &pool, "ada").await;
    for id in ["c1", "c2"] {
        stage.simulator.control().credit_save("ada", id);
    }
    used_up(&stage, &pool).await;
    stage.simulator.control().credit_cut_next();
    let lost = pool.credits_redeem(RedeemAsk { target: ada.to_string(), ..RedeemAsk::default() }).await.unwrap_err();
    assert_eq!(lost.code, ErrorCode::Failed);
    let hint = lost.hint.unwrap();
    let request_id = consumed(&stage)[0].request_id.clone().unwrap();
    assert_eq!(hint, format!("claviger account credits redeem {ada} --credit c1 --request-id {request_id}"));

    let again = RedeemAsk { target: ada.to_string(), request_id: Some(request_id.clone()), ..RedeemAsk::default() };
    let view = pool.credits_redeem(again).await.unwrap();
    assert_eq!((view.code.as_str(), view.credit.as_deref()), ("already_redeemed", Some("c1")));
    assert_eq!((view.request_id.as_deref(), view.lifted), (Some(request_id.as_str()), 2), "it was this attempt that has reset them");
    assert_eq!(account(&pool, ada).await.blocks, []);
    assert_eq!(list(&pool).await[0].available, Some(1), "the other one is still there");
}

#[tokio::test]
async fn an_attempt_is_in_the_audit_trail_before_it_is_sent() {
    let (stage, pool) = stage().await;
    let ada = login(&stage, &pool, "ada").await;
    stage.simulator.control().credit_save("ada", "c1");
    stage.simulator.control().credit_cut_next();
    let ask = RedeemAsk { target: ada.to_string(), request_id: Some("r-1".into()), actor: "uid 7".into(), ..RedeemAsk::default() };
    pool.credits_redeem(ask).await.unwrap_err();
    pool.flush().await;
    drop(pool);
    let store = claviger_store::SqliteStore::open(&stage.home(), &stage.root_key(), &*stage.clock).unwrap();
    let trail = claviger_store::Store::audit_list(&store, 9).await.unwrap();
    assert!(
        trail.iter().any(|entry| entry.subject == format!("account {ada}, credit c1, request r-1") && entry.actor == "uid 7"),
        "{trail:?}"
    );
}
