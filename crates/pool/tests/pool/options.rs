//! What a person sets for one account, as the choice and the way out meet it.

use crate::stage::{PROVIDER, Question, Stage};
use claviger_admin::{AccountAdd, AccountChange, AccountView, Admin, CredentialAdd, ErrorCode, Exposed, OptionsSet, StandingView};
use claviger_contract::{Ask, Broker, Refusal};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_pool::Pool;
use claviger_runtime::Supervisor;
use claviger_simulator::Rotation;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

fn key(text: &str) -> CredentialAdd {
    CredentialAdd::ApiKey { key: Exposed::new(text.to_owned()) }
}

fn login(name: &str) -> CredentialAdd {
    CredentialAdd::Oauth { access: Exposed::new(format!("at-{name}")), refresh: None, expires_at: None }
}

async fn add(pool: &Pool, account: AccountAdd) -> AccountView {
    pool.account_add(account).await.unwrap().account
}

async fn set(pool: &Pool, account: i64, options: OptionsSet) -> Result<AccountView, claviger_admin::AdminError> {
    pool.account_change(AccountId(account), AccountChange { options, ..AccountChange::default() }).await
}

fn own_client(word: &str) -> OptionsSet {
    OptionsSet { own_client_only: Some(word.to_owned()), ..OptionsSet::default() }
}

/// The account that a question is answered with.
fn picked(pool: &Pool, ask: &Ask<'_>) -> Result<i64, Refusal> {
    match pool.lease(ask) {
        claviger_contract::Answer::Ready(lease) => Ok(lease.facts().account.0),
        claviger_contract::Answer::Refused(refusal) => Err(refusal),
        claviger_contract::Answer::Pending(_) => panic!("nothing is to be refreshed"),
    }
}

/// A provider that only a file defines, so that its terms are its own wherever it is.
const TERMS: &str = "[providers.acme]\ndialects = [\"chat\"]\nbase_url = \"http://127.0.0.1:9\"\n\
    [providers.acme.wire]\noauth = { header = \"authorization\", scheme = \"Bearer\" }\n\
    api_key = { header = \"authorization\", scheme = \"Bearer\" }\n\
    [providers.acme.terms]\nown_client_only = true\nown_client = [{ header = \"user-agent\", prefix = \"acme/\" }]\n";

#[tokio::test]
async fn by_its_terms_a_login_serves_the_vendors_own_client_alone_and_a_key_serves_all() {
    let stage = Stage::new(Rotation::Strict).await;
    std::fs::write(stage.overlay().join("acme.toml"), TERMS).unwrap();
    let pool = stage.pool().await;
    let acme = |name: &str, credential| AccountAdd { provider: "acme".into(), ..Stage::draft(name, credential) };
    let limited = add(&pool, acme("ada", login("ada"))).await;
    assert!(limited.options.own_client_only);
    assert_eq!(limited.options.own_client_only_set, "default");
    let admission = stage.admitted(&pool).await;
    let question = Question { provider: ProviderId::new("acme").unwrap(), ..Question::new(&admission) };
    let (own, foreign) = (question.ask(), Ask { own_client: false, ..question.ask() });
    assert_eq!(picked(&pool, &own), Ok(limited.id));
    let refused = picked(&pool, &foreign).unwrap_err();
    assert!(matches!(&refused, Refusal::OwnClientOnly { account, .. } if account.0 == limited.id), "{refused:?}");

    // A sibling that may serve does.
    let free = add(&pool, acme("bob", login("bob"))).await;
    assert!(!set(&pool, free.id, own_client("off")).await.unwrap().options.own_client_only);
    for seed in 0..16 {
        assert_eq!(picked(&pool, &Ask { seed, ..foreign_of(&question) }), Ok(free.id));
    }
    assert!(set(&pool, free.id, own_client("default")).await.unwrap().options.own_client_only);

    for account in [limited.id, free.id] {
        pool.account_remove(AccountId(account)).await.unwrap();
    }
    let plain = add(&pool, acme("team", key("sk-test-1"))).await;
    assert!(!plain.options.own_client_only);
    assert_eq!(picked(&pool, &foreign_of(&question)), Ok(plain.id));
}

fn foreign_of<'a>(question: &'a Question<'_>) -> Ask<'a> {
    Ask { own_client: false, ..question.ask() }
}

#[tokio::test]
async fn the_terms_of_a_vendor_say_nothing_of_a_provider_that_was_moved_elsewhere() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let moved = add(&pool, Stage::draft("ada", login("ada"))).await;
    assert!(!moved.options.own_client_only, "{PROVIDER} is at the simulator");
    let limited = set(&pool, moved.id, own_client("on")).await.unwrap();
    assert!(limited.options.own_client_only, "a person may limit it all the same");
    let admission = stage.admitted(&pool).await;
    let refused = picked(&pool, &foreign_of(&Question::new(&admission))).unwrap_err();
    assert!(matches!(refused, Refusal::OwnClientOnly { .. }));

    let unknown = add(&pool, AccountAdd { provider: "openrouter".into(), ..Stage::draft("team", key("sk-test-1")) }).await;
    let error = set(&pool, unknown.id, own_client("on")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage, "an account that would serve nobody: {error}");
}

#[tokio::test]
async fn an_account_with_a_model_prefix_serves_those_who_ask_for_it_and_nobody_else() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let plain = add(&pool, Stage::draft("ada", login("ada"))).await.id;
    let team = add(&pool, Stage::draft("bob", login("bob"))).await.id;
    let options = OptionsSet { model_prefix: Some("team-a/".to_owned()), ..OptionsSet::default() };
    assert_eq!(set(&pool, team, options).await.unwrap().options.model_prefix.as_deref(), Some("team-a/"));
    let provider = ProviderId::new(PROVIDER).unwrap();
    assert_eq!(pool.routes().split_prefix(&provider, "team-a/org/m"), Some(("team-a", "org/m")));
    assert_eq!(pool.routes().split_prefix(&provider, "team-b/m"), None);

    let admission = stage.admitted(&pool).await;
    let question = Question::new(&admission);
    for seed in 0..16 {
        assert_eq!(picked(&pool, &Ask { seed, model_prefix: Some("team-a"), ..question.ask() }), Ok(team));
        assert_eq!(picked(&pool, &Ask { seed, ..question.ask() }), Ok(plain));
    }
    let off = AccountChange { disable: Some(String::new()), ..AccountChange::default() };
    pool.account_change(AccountId(team), off).await.unwrap();
    assert!(pool.routes().split_prefix(&provider, "team-a/m").is_some(), "its requests must not go elsewhere unawares");
    let refused = picked(&pool, &Ask { model_prefix: Some("team-a"), ..question.ask() }).unwrap_err();
    assert!(matches!(refused, Refusal::NoCredential { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_disabled_account_stays_with_its_cause_and_an_empty_one_is_said_so() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let account = AccountId(add(&pool, Stage::draft("ada", login("ada"))).await.id);
    for (given, kept) in [("  ", "disabled"), (" on\tholiday ", "on holiday")] {
        let change = AccountChange { disable: Some(given.to_owned()), ..AccountChange::default() };
        let view = pool.account_change(account, change).await.unwrap();
        assert_eq!(view.standing, StandingView::Disabled { cause: kept.to_owned() });
    }
    assert_eq!(pool.account_list().await.unwrap().accounts.len(), 1, "it stays");
    let unknown = pool.account_change(AccountId(99), AccountChange { disable: Some("x".into()), ..AccountChange::default() }).await;
    assert_eq!(unknown.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_list_shows_the_end_of_a_key_and_nothing_of_a_token() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let masked = |view: AccountView| view.masked_key;
    assert_eq!(masked(add(&pool, Stage::draft("a", key("sk-test-canary"))).await).as_deref(), Some("…nary"));
    assert_eq!(masked(add(&pool, Stage::draft("b", key("abcdefgh"))).await).as_deref(), Some("…[set]"));
    assert_eq!(masked(add(&pool, Stage::draft("c", login("ada"))).await), None);
    let listed = serde_json::to_string(&pool.account_list().await.unwrap()).unwrap();
    assert!(!listed.contains("sk-test") && !listed.contains("abcdefgh") && !listed.contains("at-ada"), "{listed}");
}

/// A proxy that opens every tunnel and counts them.
async fn proxy(supervisor: &Arc<Supervisor>) -> (String, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://me:canary-pw@{}", listener.local_addr().unwrap());
    let (tunnels, seen) = watch::channel(0);
    let owner = Arc::clone(supervisor);
    supervisor.spawn("proxy", async move {
        while let Ok((client, _)) = listener.accept().await {
            tunnels.send_modify(|tunnels| *tunnels += 1);
            owner.spawn("tunnel", tunnel(client));
        }
    });
    (url, seen)
}

async fn tunnel(mut client: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let target = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let mut server = TcpStream::connect(target).await.unwrap();
    drop(copy_bidirectional(&mut client, &mut server).await);
}

#[tokio::test]
async fn an_account_with_a_proxy_is_refreshed_and_served_through_it() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (account, _) = stage.login(&pool, "ada", -10).await;
    let supervisor = Arc::new(Supervisor::new());
    let (url, tunnels) = proxy(&supervisor).await;
    let options = OptionsSet { proxy: Some(Exposed::new(url.clone())), ..OptionsSet::default() };
    let view = set(&pool, account.0, options).await.unwrap();
    let shown = view.options.proxy.unwrap();
    assert!(shown.starts_with("http://me:…@127.0.0.1:") && !shown.contains("canary-pw"), "{shown}");

    let admission = stage.admitted(&pool).await;
    let question = Question::new(&admission);
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    assert_eq!((*tunnels.borrow(), stage.simulator.ledger().refreshes()), (1, 1), "the refresh went through it");
    assert_eq!(attempt.facts().proxy, Some(url.parse().unwrap()));

    let gone = OptionsSet { proxy: Some(Exposed::new(String::new())), ..OptionsSet::default() };
    assert_eq!(set(&pool, account.0, gone).await.unwrap().options.proxy, None);
    let (attempt, _) = question.attempt(&pool).await.unwrap();
    assert_eq!(attempt.facts().proxy, None);
}

#[tokio::test]
async fn an_option_that_cannot_be_is_refused_without_repeating_a_password() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let account = add(&pool, Stage::draft("ada", login("ada"))).await.id;
    for options in [
        OptionsSet { reserve_percent: Some(91), ..OptionsSet::default() },
        OptionsSet { weight: Some(0), ..OptionsSet::default() },
        own_client("yes"),
        OptionsSet { model_prefix: Some("a/b".to_owned()), ..OptionsSet::default() },
        OptionsSet { proxy: Some(Exposed::new("ftp://me:canary-pw@h:1".to_owned())), ..OptionsSet::default() },
    ] {
        let error = set(&pool, account, options).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Usage);
        assert!(!format!("{error:?}").contains("canary-pw"));
    }
    let set_all = OptionsSet { reserve_percent: Some(10), weight: Some(3), ..OptionsSet::default() };
    let view = set(&pool, account, set_all).await.unwrap();
    assert_eq!((view.options.reserve_percent, view.options.weight), (10, 3));
}
