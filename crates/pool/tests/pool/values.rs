//! Keys that are not in the vault, and keys that the vault only names.

use crate::stage::{PROVIDER, Question, Stage, pool_parts};
use claviger_admin::{
    AccountAdd, AccountChange, Admin, CredentialAdd, ErrorCode, Exposed, IdentityView, SourceWord, StandingView, TokenAsk,
};
use claviger_contract::Refusal;
use claviger_domain::credential::{CredentialKind, Source};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::secret::SecretText;
use claviger_domain::value_ref::ValueRef;
use claviger_pool::{Pool, PoolSettings, ValueError, ValueKey, ValueSource, Values};
use claviger_providers::catalogue::Catalogue;
use claviger_runtime::BoxFuture;
use claviger_simulator::Rotation;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// What stands outside, and how often it was asked for.
#[derive(Debug, Default)]
struct Outside {
    values: Mutex<BTreeMap<String, String>>,
    fetches: Mutex<u32>,
    /// Programs that hang until they are told to go on.
    hanging: Mutex<BTreeMap<String, Arc<Notify>>>,
}

impl Outside {
    fn set(&self, reference: &str, value: Option<&str>) {
        let mut values = self.values.lock().unwrap();
        values.remove(reference);
        values.extend(value.map(|value| (reference.to_owned(), value.to_owned())));
    }

    fn hang(&self, reference: &str) -> Arc<Notify> {
        Arc::clone(self.hanging.lock().unwrap().entry(reference.to_owned()).or_default())
    }

    fn fetches(&self) -> u32 {
        *self.fetches.lock().unwrap()
    }
}

impl ValueSource for Outside {
    fn fetch<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<SecretText, ValueError>> {
        *self.fetches.lock().unwrap() += 1;
        let found = match value {
            ValueRef::Literal(key) => Some(key.expose().to_owned()),
            other => self.values.lock().unwrap().get(&other.to_string()).cloned(),
        };
        let hanging = self.hanging.lock().unwrap().get(&value.to_string()).cloned();
        Box::pin(async move {
            if let Some(hanging) = hanging {
                hanging.notified().await;
            }
            found.map(SecretText::new).ok_or_else(|| ValueError(format!("{value} is not there")))
        })
    }
}

fn settings(stage: &Stage, keys: &[(Source, &str)], outside: &Arc<Outside>) -> PoolSettings {
    let key = |(source, text): &(Source, &str)| ValueKey {
        provider: ProviderId::new(PROVIDER).unwrap(),
        source: *source,
        kind: CredentialKind::ApiKey,
        value: ValueRef::read(text).unwrap(),
    };
    let values =
        Values { keys: keys.iter().map(key).collect(), source: Some(Arc::clone(outside) as Arc<dyn ValueSource>), ..Values::default() };
    PoolSettings { catalogue: Arc::new(Catalogue::load(Some(&stage.overlay())).unwrap()), models: Vec::new(), values }
}

async fn pool_with(stage: &Stage, keys: &[(Source, &str)], outside: &Arc<Outside>) -> Pool {
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    Pool::open(claviger_pool::PoolParts { settings: settings(stage, keys, outside), ..parts }).await.unwrap()
}

async fn key_of(pool: &Pool) -> Result<String, String> {
    let ask = TokenAsk { provider: PROVIDER.into(), account: None, all: false, session: None, actor: String::new() };
    let list = pool.token(ask).await.map_err(|error| error.message)?;
    Ok(list.tokens.first().unwrap().token.expose().to_owned())
}

fn stored_key(key: &str, source: SourceWord) -> AccountAdd {
    let credential = CredentialAdd::ApiKey { key: Exposed::new(key.to_owned()) };
    AccountAdd { identity: IdentityView::default(), source, ..Stage::draft("key", credential) }
}

#[tokio::test]
async fn each_rung_of_the_cascade_is_used_when_those_before_it_have_nothing() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    for name in ["RUNTIME", "CONFIG", "ENVIRONMENT"] {
        outside.set(&format!("env:{name}"), Some(&format!("sk-test-{}", name.to_lowercase())));
    }
    let all = [(Source::Runtime, "env:RUNTIME"), (Source::Config, "env:CONFIG"), (Source::Environment, "env:ENVIRONMENT")];
    let pool = pool_with(&stage, &all, &outside).await;
    let (login, _) = stage.login(&pool, "ada", 3600).await;
    let given = pool.account_add(stored_key("sk-test-given", SourceWord::Login)).await.unwrap().account.id;
    pool.account_add(stored_key("sk-test-copied", SourceWord::Imported)).await.unwrap();

    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-runtime"));
    pool.reconfigure(settings(&stage, &all[1..], &outside)).await.unwrap();
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-config"));
    pool.reconfigure(settings(&stage, &all[2..], &outside)).await.unwrap();
    assert_eq!(key_of(&pool).await.as_deref(), Ok("at-ada"));
    pool.account_remove(login).await.unwrap();
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-given"));
    pool.account_remove(AccountId(given)).await.unwrap();
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-environment"));
    pool.reconfigure(settings(&stage, &[], &outside)).await.unwrap();
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-copied"));
}

#[tokio::test]
async fn a_key_from_outside_serves_requests_and_is_in_no_vault() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("env:K", Some("sk-test-outside"));
    let pool = pool_with(&stage, &[(Source::Config, "env:K")], &outside).await;
    let admission = stage.admitted(&pool).await;
    let question = Question::new(&admission);
    let attempt = question.attempt(&pool).await.unwrap();
    assert!(attempt.0.facts().account.is_unstored());
    let listed = &pool.account_list().await.unwrap().accounts[0];
    assert_eq!((listed.source, listed.standing.clone()), (SourceWord::Config, StandingView::Active));
    for refused in [
        pool.account_change(AccountId(listed.id), AccountChange::default()).await.unwrap_err(),
        pool.account_remove(AccountId(listed.id)).await.unwrap_err(),
    ] {
        assert_eq!(refused.code, ErrorCode::Refused);
        assert!(refused.message.contains("in no vault"), "{}", refused.message);
    }
    pool.flush().await;
    let second = pool_with(&stage, &[], &outside).await;
    assert_eq!(second.account_list().await.unwrap().accounts.len(), 0);
}

#[tokio::test]
async fn a_configured_key_that_cannot_be_had_stops_the_cascade_and_says_so() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    let pool = pool_with(&stage, &[(Source::Config, "env:GONE")], &outside).await;
    stage.login(&pool, "ada", 3600).await;
    let admission = stage.admitted(&pool).await;
    assert!(matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::NeedsLogin { .. })));
    let accounts = pool.account_list().await.unwrap().accounts;
    let broken = accounts.iter().find(|account| account.source == SourceWord::Config).unwrap();
    assert!(matches!(&broken.standing, StandingView::NeedsLogin { cause } if cause.contains("env:GONE is not there")), "{broken:?}");
    assert!(key_of(&pool).await.unwrap_err().contains("env:GONE is not there"));
}

#[tokio::test]
async fn a_file_that_is_replaced_is_used_without_a_restart_and_kept_while_it_is_gone_for_a_moment() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("file:/key", Some("sk-test-1"));
    let pool = pool_with(&stage, &[(Source::Config, "file:/key")], &outside).await;
    let admission = stage.admitted(&pool).await;
    let before = pool.account_list().await.unwrap().accounts[0].clone();
    outside.set("file:/key", Some("sk-test-2"));
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-2"));
    let after = pool.account_list().await.unwrap().accounts[0].clone();
    assert_eq!(before.id, after.id);
    assert!(before.grant_revision < after.grant_revision);
    outside.set("file:/key", None);
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-2"));
    stage.advance(61);
    assert!(key_of(&pool).await.unwrap_err().contains("is not there"));
    assert!(matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::NeedsLogin { .. })));
    outside.set("file:/key", Some("sk-test-3"));
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-3"));
}

#[tokio::test]
async fn a_program_is_asked_seldom_and_sooner_when_its_key_was_refused() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("cmd:pass", Some("sk-test-1"));
    let pool = pool_with(&stage, &[(Source::Config, "cmd:pass show key")], &outside).await;
    for _ in 0..10 {
        assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-1"));
    }
    assert_eq!(outside.fetches(), 1);
    stage.advance(301);
    key_of(&pool).await.unwrap();
    assert_eq!(outside.fetches(), 2);

    let admission = stage.admitted(&pool).await;
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    attempt.finish(claviger_contract::Report::Seen(claviger_domain::classify::Class::Unauthorized));
    key_of(&pool).await.unwrap();
    assert_eq!(outside.fetches(), 2, "not within ten seconds of the last time");
    outside.set("cmd:pass", Some("sk-test-2"));
    let (attempt, _) = match Question::new(&admission).attempt(&pool).await {
        Ok(attempt) => attempt,
        Err(refused) => {
            assert!(matches!(refused, Refusal::AllBlocked { .. }), "{refused:?}");
            stage.advance(61);
            Question::new(&admission).attempt(&pool).await.unwrap()
        }
    };
    attempt.finish(claviger_contract::Report::Seen(claviger_domain::classify::Class::Unauthorized));
    stage.advance(11);
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-2"));
    assert_eq!(outside.fetches(), 3);
    Question::new(&admission).attempt(&pool).await.expect("what the old key was refused for says nothing of the new one");
}

#[tokio::test]
async fn a_stored_key_may_name_a_variable_and_never_a_program() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("env:MY_KEY", Some("sk-test-named"));
    let pool = pool_with(&stage, &[], &outside).await;
    let named = pool.account_add(stored_key("env:MY_KEY", SourceWord::Login)).await.unwrap().account;
    assert_eq!(named.standing, StandingView::Active);
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-named"));
    pool.account_remove(AccountId(named.id)).await.unwrap();
    let refused = pool.account_add(stored_key("cmd:rm", SourceWord::Imported)).await.unwrap().account;
    assert!(matches!(&refused.standing, StandingView::NeedsLogin { cause } if cause.contains("configuration only")), "{refused:?}");
    stage.advance(Duration::from_mins(1).as_secs());
    assert_eq!(outside.values.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_in_clear_that_is_replaced_is_used_after_a_reload() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    let pool = pool_with(&stage, &[(Source::Config, "sk-test-1")], &outside).await;
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-1"));
    pool.reconfigure(settings(&stage, &[(Source::Config, "sk-test-2")], &outside)).await.unwrap();
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-2"));
}

#[tokio::test]
async fn a_program_that_hangs_holds_nobody_up_who_does_not_need_its_key() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("cmd:slow", Some("sk-test-slow"));
    let gate = outside.hang("cmd:slow");
    let pool = {
        let mut opening = std::pin::pin!(pool_with(&stage, &[(Source::Config, "cmd:slow key")], &outside));
        let mut seconds_waited = 0;
        loop {
            tokio::select! {
                biased;
                pool = &mut opening => break pool,
                // The vault takes its own time to open; time goes by only once the program runs, and no more than is waited for it.
                () = tokio::task::yield_now() => if outside.fetches() > 0 && seconds_waited < 3 {
                    seconds_waited += 1;
                    stage.advance(1);
                },
            }
        }
    };
    let begun = stage.clock.boot();
    let admission = stage.admitted(&pool).await;
    pool.account_list().await.unwrap();
    assert_eq!(stage.clock.boot(), begun, "only the first reading waits at all");
    assert!(
        matches!(Question::new(&admission).attempt(&pool).await, Err(Refusal::Unavailable { why, .. }) if why.contains("being fetched"))
    );
    assert_eq!(outside.fetches(), 1, "one at a time");
    let asked = key_of(&pool);
    gate.notify_one();
    assert_eq!(asked.await.as_deref(), Ok("sk-test-slow"), "who asks for the key waits for it");
    Question::new(&admission).attempt(&pool).await.unwrap();
}

#[tokio::test]
async fn a_password_manager_that_is_locked_for_a_moment_takes_no_key_away_and_is_not_asked_all_the_time() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("cmd:pass", Some("sk-test-1"));
    let pool = pool_with(&stage, &[(Source::Config, "cmd:pass show key")], &outside).await;
    outside.set("cmd:pass", None);
    stage.advance(301);
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-1"));
    stage.advance(61);
    assert!(key_of(&pool).await.unwrap_err().contains("is not there"));
    let before = outside.fetches();
    for _ in 0..600 {
        stage.advance(1);
        key_of(&pool).await.unwrap_err();
    }
    let asked = outside.fetches() - before;
    assert!((3..=7).contains(&asked), "twice as long after each failure: {asked}");
    outside.set("cmd:pass", Some("sk-test-2"));
    stage.advance(301);
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-2"));
}

#[tokio::test]
async fn a_program_whose_key_was_refused_is_asked_again_although_others_were_looked_at_meanwhile() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("cmd:pass", Some("sk-test-1"));
    let pool = pool_with(&stage, &[(Source::Config, "cmd:pass show key")], &outside).await;
    let admission = stage.admitted(&pool).await;
    let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
    attempt.finish(claviger_contract::Report::Seen(claviger_domain::classify::Class::Unauthorized));
    outside.set("cmd:pass", Some("sk-test-2"));
    for _ in 0..3 {
        stage.advance(3);
        assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-1"), "not within ten seconds of the last time");
    }
    stage.advance(3);
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-2"));
}

#[tokio::test]
async fn a_key_named_twice_is_one_account() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    outside.set("env:K", Some("sk-test-1"));
    let pool = pool_with(&stage, &[(Source::Runtime, "env:K"), (Source::Runtime, "env:K")], &outside).await;
    assert_eq!(pool.account_list().await.unwrap().accounts.len(), 1);
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-1"));
}

#[tokio::test]
async fn a_key_that_takes_the_place_of_one_that_moved_often_is_the_one_that_is_sent() {
    let stage = Stage::new(Rotation::Strict).await;
    let outside = Arc::new(Outside::default());
    let pool = pool_with(&stage, &[], &outside).await;
    outside.set("file:/key", Some("sk-test-0"));
    let id = pool.account_add(stored_key("file:/key", SourceWord::Login)).await.unwrap().account.id;
    for turn in 1..6 {
        outside.set("file:/key", Some(&format!("sk-test-{turn}")));
        assert_eq!(key_of(&pool).await, Ok(format!("sk-test-{turn}")));
    }
    let plain = AccountAdd { onto: Some(id), ..stored_key("sk-test-plain", SourceWord::Login) };
    pool.account_add(plain).await.unwrap();
    assert_eq!(key_of(&pool).await.as_deref(), Ok("sk-test-plain"));
    let admission = stage.admitted(&pool).await;
    let (_attempt, sent) = Question::new(&admission).attempt(&pool).await.unwrap();
    assert!(sent.contains("sk-test-plain"), "{sent}");
}
