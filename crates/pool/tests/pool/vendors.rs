//! What providers do each in their own way, through the whole pool: hosts of accounts, and refreshes of another shape.

use crate::endpoint::{Endpoint, REFRESH};
use crate::stage::{PROVIDER, Question, Stage};
use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, IdentityView, TokenAsk};
use claviger_domain::id::ProviderId;
use claviger_pool::Pool;
use claviger_simulator::Rotation;
use std::collections::BTreeMap;

fn key(key: &str) -> CredentialAdd {
    CredentialAdd::ApiKey { key: Exposed::new(key.to_owned()) }
}

#[tokio::test]
async fn an_account_goes_to_the_host_that_it_was_given_if_the_catalogue_admits_it_and_else_to_the_base() {
    let stage = Stage::new(Rotation::Strict).await;
    let more = format!("[providers.{PROVIDER}]\ninference_origins = [\"https://plan.example\"]\n");
    std::fs::write(stage.overlay().join("zz-hosts.toml"), more).unwrap();
    let pool = stage.pool().await;
    let admission = stage.admitted(&pool).await;
    let base = stage.simulator.origin();
    let table = [
        ("https://plan.example", "https://plan.example:443"),
        ("https://evil.example", base.as_str()),
        ("http://plan.example", base.as_str()),
        ("no origin", base.as_str()),
    ];
    for (told, target) in table {
        let mut add = Stage::draft("ada", key("sk-test-1"));
        add.identity.api_endpoint = Some(told.to_owned());
        let added = pool.account_add(add).await.unwrap();
        assert_eq!(added.account.identity.api_endpoint.as_deref(), Some(told));
        let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
        assert_eq!(attempt.facts().target().to_string(), target, "{told}");
        assert!(attempt.allowed().contains(attempt.facts().target()));
    }
}

#[tokio::test]
async fn the_same_login_with_another_host_is_a_change_and_without_one_is_none() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let add = |api_endpoint: Option<&str>| {
        let mut add = Stage::draft("ada", key("sk-test-1"));
        add.identity.api_endpoint = api_endpoint.map(str::to_owned);
        add
    };
    let outcome = async |api_endpoint| format!("{:?}", pool.account_add(add(api_endpoint)).await.unwrap().outcome);
    assert_eq!(outcome(Some("https://one.example")).await, "Created");
    assert_eq!(outcome(Some("https://one.example")).await, "Unchanged");
    assert_eq!(outcome(None).await, "Unchanged");
    assert_eq!(outcome(Some("https://two.example")).await, "Updated");
}

#[tokio::test]
async fn an_account_and_its_token_keep_every_field_of_the_identity() {
    let stage = Stage::new(Rotation::Strict).await;
    let some = |text: &str| Some(text.to_owned());
    let identity = IdentityView {
        email: some("a@x.example"),
        account_id: some("w1"),
        org_id: some("o1"),
        org_name: some("Org"),
        project_id: some("p1"),
        enterprise_url: some("acme.ghe.example"),
        api_endpoint: some("https://api.example"),
    };
    let pool = stage.pool().await;
    let add = AccountAdd { identity: identity.clone(), ..Stage::draft("ada", key("sk-test-1")) };
    let added = pool.account_add(add).await.unwrap().account;
    assert_eq!(added.identity, identity);
    drop(pool);
    let again = stage.pool().await;
    assert_eq!(again.account_list().await.unwrap().accounts[0].identity, identity);
    let ask = TokenAsk { provider: PROVIDER.into(), account: Some(added.id), all: false, session: None, actor: "test".into() };
    let tokens = again.token(ask).await.unwrap().tokens;
    assert_eq!((tokens[0].token.expose(), &tokens[0].identity), ("sk-test-1", &identity));
}

#[tokio::test]
async fn of_several_logins_of_one_person_the_newest_serves_and_keys_and_strangers_stay() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let oauth = |access: &str| CredentialAdd::Oauth { access: Exposed::new(access.to_owned()), refresh: None, expires_at: None };
    let add = async |name: &str, access: &str| pool.account_add(Stage::draft(name, oauth(access))).await.unwrap().account.id;
    let nameless = async |credential| {
        let identity = IdentityView::default();
        pool.account_add(AccountAdd { identity, ..Stage::draft("nobody", credential) }).await.unwrap().account.id
    };
    let (first, second) = (add("ada", "at-1").await, add("bob", "at-2").await);
    let others = [nameless(key("sk-test-1")).await, nameless(key("sk-test-2")).await, nameless(oauth("at-3")).await];
    assert_eq!(add(" ADA", "at-4").await, first);
    let accounts = pool.account_list().await.unwrap().accounts;
    let ids: Vec<_> = accounts.iter().map(|account| account.id).collect();
    assert_eq!(ids, [first, second].into_iter().chain(others).collect::<Vec<_>>());
    let admission = stage.admitted(&pool).await;
    let mut sent = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let (_, authorization) = Question { seed, ..Question::new(&admission) }.attempt(&pool).await.unwrap();
        sent.insert(authorization);
    }
    assert!(!sent.contains("Bearer at-1"), "{sent:?}");
}

#[tokio::test]
async fn a_refresh_token_that_is_a_bearer_is_sent_once_and_its_answer_is_read_by_its_own_names() {
    let body = r#"{"accessToken":"at-2","refreshToken":""}"#;
    let bytes = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let endpoint = Endpoint::of(BTreeMap::from([("ada".to_owned(), bytes.into_bytes())])).await;
    let stage = Stage::new(Rotation::Strict).await;
    let overlay = format!(
        "[providers.cursor]\nbase_url = \"{}\"\n[providers.cursor.refresh]\nurl = \"{}/auth/exchange\"\n",
        stage.simulator.origin(),
        endpoint.origin()
    );
    std::fs::write(stage.overlay().join("stage.toml"), overlay).unwrap();
    let pool: Pool = stage.pool().await;
    // {"sub":"auth0|user_1"}
    let claims = "eyJzdWIiOiJhdXRoMHx1c2VyXzEifQ";
    let refresh = format!("{REFRESH}ada");
    let credential = CredentialAdd::Oauth {
        access: Exposed::new(format!("e30.{claims}.sig")),
        refresh: Some(Exposed::new(refresh)),
        expires_at: Some(stage.clock.now()),
    };
    let add = AccountAdd { provider: "cursor".into(), identity: IdentityView::default(), ..Stage::draft("ada", credential) };
    let added = pool.account_add(add).await.unwrap().account;
    assert_eq!(added.identity.account_id.as_deref(), Some("auth0|user_1"));
    let admission = stage.admitted(&pool).await;
    let question = Question { provider: ProviderId::new("cursor").unwrap(), ..Question::new(&admission) };
    let (_, authorization) = question.attempt(&pool).await.unwrap();
    assert_eq!((authorization.as_str(), endpoint.posts("ada")), ("Bearer at-2", 1));
    assert!(stage.slots().is_empty());
}
