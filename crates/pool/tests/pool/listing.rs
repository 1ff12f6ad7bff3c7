//! What lists and tokens say of accounts, and that saying it changes nothing.

use crate::stage::{PROVIDER, Question, Stage, pool_parts};
use claviger_admin::{AccountAdd, AccountList, AccountView, Admin, CredentialAdd, ErrorCode, Exposed, IdentityView, SourceWord, TokenAsk};
use claviger_contract::Report;
use claviger_domain::classify::Class;
use claviger_domain::credential::{CredentialKind, Source};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::secret::SecretText;
use claviger_domain::session::SessionHash;
use claviger_domain::value_ref::ValueRef;
use claviger_pool::{Pool, PoolParts, PoolSettings, ValueError, ValueKey, ValueSource, Values};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::BoxFuture;
use claviger_simulator::Rotation;
use std::sync::Arc;

/// Whatever is asked for, its name is its value.
#[derive(Debug)]
struct Named;

impl ValueSource for Named {
    fn fetch<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<SecretText, ValueError>> {
        Box::pin(async move { Ok(SecretText::new(value.to_string().replace("env:", "sk-test-"))) })
    }
}

async fn pool_with(stage: &Stage, keys: &[(Source, &str)]) -> Pool {
    let key = |(source, text): &(Source, &str)| ValueKey {
        provider: ProviderId::new(PROVIDER).unwrap(),
        source: *source,
        kind: CredentialKind::ApiKey,
        value: ValueRef::read(text).unwrap(),
    };
    let values = Values { keys: keys.iter().map(key).collect(), source: Some(Arc::new(Named)), ..Values::default() };
    let catalogue = Arc::new(Catalogue::load(Some(&stage.overlay())).unwrap());
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    Pool::open(PoolParts { settings: PoolSettings { catalogue, models: Vec::new(), values }, ..parts }).await.unwrap()
}

fn key(text: &str) -> AccountAdd {
    let credential = CredentialAdd::ApiKey { key: Exposed::new(text.to_owned()) };
    AccountAdd { identity: IdentityView::default(), ..Stage::draft("key", credential) }
}

fn token_ask() -> TokenAsk {
    TokenAsk { provider: PROVIDER.into(), account: None, all: false, session: None, actor: "test".into() }
}

fn shown<T>(list: &AccountList, show: impl Fn(&AccountView) -> T) -> Vec<T> {
    list.accounts.iter().map(show).collect()
}

#[tokio::test]
async fn a_list_is_by_provider_then_id_and_asks_nobody() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let of_openai = pool.account_add(AccountAdd { provider: "openai".into(), ..key("sk-test-1") }).await.unwrap().account.id;
    let first = pool.account_add(key("sk-test-2")).await.unwrap().account.id;
    // Both have ended: whoever wanted a token of theirs would have to refresh it.
    let (ada, bob) = (stage.login(&pool, "ada", -10).await.0.0, stage.login(&pool, "bob", -10).await.0.0);
    for _twice in 0..2 {
        let list = pool.account_list().await.unwrap();
        let rows = shown(&list, |account| (account.id, account.provider.clone(), account.kind.clone()));
        let row = |id, provider: &str, kind: &str| (id, provider.to_owned(), kind.to_owned());
        let expected = [
            row(first, PROVIDER, "api_key"),
            row(ada, PROVIDER, "oauth"),
            row(bob, PROVIDER, "oauth"),
            row(of_openai, "openai", "api_key"),
        ];
        assert_eq!(rows, expected);
        let emails = shown(&list, |account| account.identity.email.clone());
        assert_eq!(emails, [None, Some("ada@example.com".to_owned()), Some("bob@example.com".to_owned()), None]);
        assert_eq!(pool.status().await.unwrap().providers.len(), 2);
    }
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.requests_count(), ledger.usage_hits().len()), (0, 0, 0));
}

#[tokio::test]
async fn every_account_says_where_its_credential_came_from_and_a_key_from_outside_is_nobodys() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = [(Source::Runtime, "env:RUN"), (Source::Config, "env:CONFIGURED"), (Source::Environment, "env:FOUND")];
    let pool = pool_with(&stage, &outside).await;
    stage.login(&pool, "ada", 3600).await;
    pool.account_add(AccountAdd { source: SourceWord::Imported, ..key("sk-test-copied") }).await.unwrap();
    let list = pool.account_list().await.unwrap();
    let mut told = shown(&list, |account| (format!("{:?}", account.source), account.label.clone()));
    told.sort();
    let row = |source: &str, label: Option<&str>| (source.to_owned(), label.map(str::to_owned));
    let expected = [
        row("Config", Some("env:CONFIGURED")),
        row("Environment", Some("env:FOUND")),
        row("Imported", None),
        row("Login", None),
        row("Runtime", Some("env:RUN")),
    ];
    assert_eq!(told, expected);
    // While a key for this run pins the provider, no login's identity goes with it.
    let [token] = pool.token(token_ask()).await.unwrap().tokens.try_into().unwrap();
    assert_eq!((token.token.expose(), token.identity), ("sk-test-RUN", IdentityView::default()));
}

#[tokio::test]
async fn all_tokens_are_given_but_the_one_of_the_dead_login_and_no_sibling_answers_for_it() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let mut ids = Vec::new();
    for name in ["ada", "bob", "cyd"] {
        ids.push(stage.login(&pool, name, -10).await.0);
    }
    stage.simulator.control().grant_revoke("bob");
    let all = pool.token(TokenAsk { all: true, ..token_ask() }).await.unwrap();
    let mut given: Vec<_> = all.tokens.iter().map(|token| token.account).collect();
    given.sort_unstable();
    assert_eq!(given, [ids[0].0, ids[2].0]);
    let [skipped] = all.skipped.try_into().unwrap();
    assert_eq!(skipped.row, format!("account {}", ids[1]));
    assert!(skipped.why.contains("needs a new login"), "{}", skipped.why);
    assert_eq!(stage.simulator.ledger().refreshes(), 3, "each was asked for once");
    let refused = pool.token(TokenAsk { account: Some(ids[1].0), ..token_ask() }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Refused);
    let unknown = pool.token(TokenAsk { account: Some(99), ..token_ask() }).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotFound);
    assert_eq!(stage.simulator.ledger().refreshes(), 3, "neither the dead one nor a sibling was asked for again");
}

#[tokio::test]
async fn a_token_for_a_session_is_that_of_the_account_which_serves_it() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    for name in ["ada", "bob", "cyd", "dan"] {
        stage.login(&pool, name, 36_000).await;
    }
    let admission = stage.admitted(&pool).await;
    for session in ["one", "two", "three", "four", "five", "six"] {
        let hash = Some(SessionHash::of(&[session.as_bytes()]));
        let (attempt, _) = Question { session: hash, ..Question::new(&admission) }.attempt(&pool).await.unwrap();
        let serves = attempt.facts().account;
        attempt.finish(Report::Seen(Class::Accepted));
        for _twice in 0..2 {
            let tokens = pool.token(TokenAsk { session: Some(session.into()), ..token_ask() }).await.unwrap().tokens;
            assert_eq!(AccountId(tokens[0].account), serves, "{session}");
        }
    }
}

#[tokio::test]
async fn a_session_whose_account_is_removed_goes_to_another_one_also_after_a_restart() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 36_000).await;
    stage.login(&pool, "bob", 36_000).await;
    let given = AccountId(pool.account_add(key("sk-test-1")).await.unwrap().account.id);
    let mut left = 3;
    let mut pool = pool;
    while left > 0 {
        let admission = stage.admitted(&pool).await;
        let question = Question { session: Some(SessionHash(7)), ..Question::new(&admission) };
        let (attempt, _) = question.attempt(&pool).await.unwrap();
        let serves = attempt.facts().account;
        attempt.finish(Report::Seen(Class::Accepted));
        assert_eq!(serves == given, left == 1, "logins serve before the key, which serves when they are gone");
        assert_eq!(question.attempt(&pool).await.unwrap().0.facts().account, serves);
        pool.flush().await;
        pool.account_remove(serves).await.unwrap();
        left -= 1;
        pool = stage.pool().await;
    }
    let admission = stage.admitted(&pool).await;
    assert!(Question { session: Some(SessionHash(7)), ..Question::new(&admission) }.attempt(&pool).await.is_err());
}
