//! Checks of stored accounts against a provider that keeps a ledger.

use crate::stage::Stage;
use claviger_admin::{
    AccountChange, Admin, CheckAsk, CheckView, CredentialAdd, ErrorCode, Exposed, OptionsSet, StandingView, Unverifiable,
};
use claviger_domain::id::AccountId;
use claviger_pool::Pool;
use claviger_simulator::{LlmFault, Rotation, UsageFault};

async fn check(pool: &Pool, id: AccountId) -> CheckView {
    check_with(pool, id, None).await
}

async fn check_with(pool: &Pool, id: AccountId, completion: Option<&str>) -> CheckView {
    let ask = CheckAsk { account: id.0, timeout_ms: 10_000, completion: completion.map(str::to_owned) };
    pool.account_check(ask).await.unwrap()
}

fn verdict(view: &CheckView) -> (Option<bool>, &str) {
    (view.ok, view.reason.as_deref().unwrap_or_default())
}

async fn stage() -> (Stage, Pool, AccountId) {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, _) = stage.login(&pool, "ada", 8 * 3600).await;
    (stage, pool, id)
}

#[tokio::test]
async fn a_good_account_is_shown_to_work_and_says_who_it_is() {
    let (stage, pool, id) = stage().await;
    let view = check(&pool, id).await;
    assert_eq!(verdict(&view), (Some(true), ""));
    assert_eq!((view.provider.as_str(), view.kind.as_str(), view.email.as_deref()), ("anthropic", "oauth", Some("ada@example.com")));
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 1);
    assert!(!serde_json::to_string(&view).unwrap().contains("at-ada"));
}

#[tokio::test]
async fn a_login_that_has_ended_is_refreshed_before_it_is_asked_about() {
    let (stage, pool, id) = stage().await;
    stage.advance(9 * 3600);
    assert_eq!(verdict(&check(&pool, id).await), (Some(true), ""));
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    assert!(stage.simulator.ledger().usage_hits().iter().all(|hit| hit.is_good));
}

#[tokio::test]
async fn a_dead_login_has_one_reason_and_its_provider_is_not_asked() {
    let (stage, pool, id) = stage().await;
    stage.advance(9 * 3600);
    stage.simulator.control().grant_revoke("ada");
    for _ in 0..2 {
        let view = check_with(&pool, id, Some("m")).await;
        assert_eq!(view.ok, Some(false));
        assert!(view.reason.as_ref().unwrap().starts_with("oauth refresh failed: the provider refused"), "{view:?}");
        let completion = view.completion.unwrap();
        assert_eq!((completion.ok, completion.latency_ms), (None, None));
    }
    assert_eq!((stage.simulator.ledger().usage_hits().len(), stage.simulator.ledger().requests_count()), (0, 0));
}

#[tokio::test]
async fn a_refusal_right_after_a_refresh_is_said_and_switches_nothing_off() {
    let (stage, pool, id) = stage().await;
    for _ in 0..2 {
        stage.simulator.control().usage_fault_next(UsageFault::Status(401));
    }
    let view = check(&pool, id).await;
    assert_eq!(verdict(&view), (Some(false), "the usage endpoint refused the credential with status 401 Unauthorized"));
    assert_eq!(stage.simulator.ledger().refreshes(), 1, "a refused token is refreshed once, by the ordinary way");
    let account = pool.account_list().await.unwrap().accounts.remove(0);
    assert_eq!((account.standing, account.blocks), (StandingView::Active, Vec::new()));
    assert_eq!(verdict(&check(&pool, id).await), (Some(true), ""));
}

#[tokio::test]
async fn a_token_that_was_revoked_before_its_time_is_refreshed_and_works() {
    let (stage, pool, id) = stage().await;
    stage.simulator.control().access_revoke("at-ada");
    assert_eq!(verdict(&check(&pool, id).await), (Some(true), ""));
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test]
async fn one_that_hangs_fails_in_its_time_and_the_next_one_is_checked() {
    let (stage, pool, id) = stage().await;
    let (next, _) = stage.login(&pool, "bob", 8 * 3600).await;
    stage.simulator.control().usage_fault_next(UsageFault::Hang);
    let waiting = async {
        stage.simulator.ledger().wait_for(|ledger| ledger.held() == 1).await;
        stage.sim_clock.as_ref().unwrap().advance(std::time::Duration::from_millis(201));
    };
    let (view, ()) = tokio::join!(pool.account_check(CheckAsk { account: id.0, timeout_ms: 200, completion: None }), waiting);
    let view = view.unwrap();
    assert_eq!(view.ok, Some(false));
    assert!(view.reason.as_ref().unwrap().contains("200 ms") || view.reason.as_ref().unwrap().contains("within 0 s"), "{view:?}");
    assert_eq!(verdict(&check(&pool, next).await), (Some(true), ""));
    stage.simulator.control().release();
}

/// A key of a provider that a file alone defines; `more` goes on with its entry.
async fn key_of(stage: &Stage, id: &str, more: &str) -> (Pool, AccountId) {
    let origin = stage.simulator.origin();
    let text = format!(
        "[providers.{id}]\nname = \"{id}\"\ndialects = [\"chat\"]\nbase_url = \"{origin}/v1\"\n\
         [providers.{id}.wire.api_key]\nheader = \"authorization\"\nscheme = \"Bearer\"\n{}",
        more.replace("ORIGIN", &origin)
    );
    std::fs::write(stage.overlay().join(format!("{id}.toml")), text).unwrap();
    stage.simulator.control().api_key_add("sk-test-1", "ada");
    let pool = stage.pool().await;
    let credential = CredentialAdd::ApiKey { key: Exposed::new("sk-test-1".into()) };
    let add = claviger_admin::AccountAdd::new("row 1", id, credential);
    let account = pool.account_add(add).await.unwrap().account.id;
    (pool, AccountId(account))
}

#[tokio::test]
async fn four_reasons_for_not_knowing_are_told_apart() {
    let entry = |id: &str, more: &str| format!("[providers.{id}{more}").replace("providers.acme", &format!("providers.{id}"));
    let cases = [
        ("silent", String::new(), Unverifiable::NoProbe),
        (
            "logins-only",
            entry("logins-only", ".usage]\nurl = \"ORIGIN/api/oauth/usage\"\nkinds = [\"oauth\"]\nparser = \"anthropic\"\n"),
            Unverifiable::KindUnsupported,
        ),
        ("vague", entry("vague", ".login.key]\nprobe_url = \"ORIGIN/nowhere/at/all\"\n"), Unverifiable::NotValidating),
        (
            "empty",
            entry("empty", ".usage]\nurl = \"ORIGIN/nowhere/usage\"\nkinds = [\"api_key\"]\nparser = \"anthropic\"\n"),
            Unverifiable::NoData,
        ),
    ];
    let mut reasons = std::collections::BTreeSet::new();
    for (id, more, expected) in cases {
        let stage = Stage::new(Rotation::Strict).await;
        let (pool, account) = key_of(&stage, id, &more).await;
        let view = check(&pool, account).await;
        assert_eq!((view.ok, view.unverifiable), (None, Some(expected)), "{id}: {view:?}");
        reasons.insert(view.reason.unwrap().replace(id, "P"));
    }
    assert_eq!(reasons.len(), 4, "{reasons:?}");
}

#[tokio::test]
async fn a_completion_is_independent_of_what_else_is_asked() {
    let (stage, pool, id) = stage().await;
    let change =
        AccountChange { options: OptionsSet { own_client_only: Some("off".into()), ..OptionsSet::default() }, ..AccountChange::default() };
    pool.account_change(id, change).await.unwrap();
    let good = check_with(&pool, id, Some("claude-test")).await;
    let completion = good.completion.unwrap();
    assert_eq!((good.ok, completion.ok, completion.model.as_str()), (Some(true), Some(true), "claude-test"));
    assert!(completion.latency_ms.is_some());

    stage.simulator.control().llm_fault_next(LlmFault::Unauthorized);
    let refused = check_with(&pool, id, Some("claude-test")).await;
    let completion = refused.completion.unwrap();
    assert_eq!((refused.ok, completion.ok, completion.reason.as_deref()), (Some(true), Some(false), Some("answered with status 401")));
    assert_eq!(pool.account_list().await.unwrap().accounts[0].blocks, [], "a check sets nothing aside");
}

#[tokio::test]
async fn an_account_of_the_vendors_own_client_is_sent_no_completion_of_ours() {
    let (stage, pool, id) = stage().await;
    let change =
        AccountChange { options: OptionsSet { own_client_only: Some("on".into()), ..OptionsSet::default() }, ..AccountChange::default() };
    pool.account_change(id, change).await.unwrap();
    let view = check_with(&pool, id, Some("claude-test")).await;
    assert_eq!((view.ok, view.completion.unwrap().ok), (Some(true), None));
    assert_eq!(stage.simulator.ledger().requests_count(), 0);
}

#[tokio::test]
async fn what_is_switched_off_or_not_there_is_not_checked() {
    let (stage, pool, id) = stage().await;
    pool.account_change(id, AccountChange { disable: Some("on holiday".into()), ..AccountChange::default() }).await.unwrap();
    let ask = |id: i64| CheckAsk { account: id, timeout_ms: 10_000, completion: None };
    let refused = pool.account_check(ask(id.0)).await.unwrap_err();
    assert!(refused.code == ErrorCode::Refused && refused.message.contains("on holiday"), "{refused:?}");
    assert_eq!(pool.account_check(ask(99)).await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(stage.simulator.ledger().usage_hits(), []);
}
