//! Care of accounts through the whole pool: what becomes of them is told once, and a login that ends by itself is announced.

use crate::stage::{PROVIDER, Question, Stage, pool_parts};
use claviger_admin::{AccountAdd, AccountChange, Admin, CredentialAdd, EventKind, EventsAsk, Exposed, Renewal, StandingView, Unblocking};
use claviger_contract::Report;
use claviger_domain::block::BlockScope;
use claviger_domain::classify::Class;
use claviger_domain::credential::{CredentialKind, Source};
use claviger_domain::id::{AccountId, ProviderId};
use claviger_domain::secret::SecretText;
use claviger_domain::value_ref::ValueRef;
use claviger_pool::{EVENTS_KEPT, Pool, PoolParts, PoolSettings, ValueError, ValueKey, ValueSource, Values};
use claviger_runtime::BoxFuture;
use claviger_simulator::Rotation;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// What was told after a cursor, once it was looked, and the cursor from there.
async fn news(pool: &Pool, since: u64) -> (Vec<EventKind>, u64) {
    pool.care_look().await;
    let page = pool.events(EventsAsk { since: Some(since), ..EventsAsk::default() }).await.unwrap();
    (page.events.into_iter().map(|event| event.kind).collect(), page.last)
}

async fn words(pool: &Pool) -> Vec<&'static str> {
    news(pool, 0).await.0.iter().map(EventKind::word).collect()
}

async fn stage() -> (Stage, Pool, AccountId) {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let (id, _) = stage.login(&pool, "ada", 8 * 3600).await;
    pool.care_look().await;
    (stage, pool, id)
}

/// A request whose answer says this.
async fn seen(stage: &Stage, pool: &Pool, class: Class) {
    let admission = stage.admitted(pool).await;
    let (attempt, _) = Question::new(&admission).attempt(pool).await.unwrap();
    attempt.finish(Report::Seen(class));
}

fn usage_limit(stage: &Stage) -> Class {
    Class::UsageLimit { scope: BlockScope::Account, until: Some(stage.clock.now().plus(Duration::from_secs(HOUR))) }
}

#[tokio::test]
async fn a_login_that_dies_by_a_refresh_is_told_once_with_its_cause() {
    let (stage, pool, id) = stage().await;
    stage.simulator.control().grant_revoke("ada");
    stage.advance(8 * HOUR);
    for _ in 0..3 {
        pool.sweep().await;
    }
    let (told, last) = news(&pool, 0).await;
    let [EventKind::AccountDisabled { cause }] = told.as_slice() else { panic!("{told:?}") };
    assert!(cause.starts_with("oauth refresh failed: the provider refused the refresh token"), "{cause}");
    assert_eq!(news(&pool, last).await.0, []);
    let accounts = pool.account_list().await.unwrap().accounts;
    let of_ada = accounts.iter().find(|account| account.id == id.0).unwrap();
    assert!(matches!(&of_ada.standing, StandingView::NeedsLogin { cause } if !cause.is_empty()), "it stays visible, with its cause");

    let issued = stage.simulator.control().grant_issue_with("ada", "at-ada-2", "rt-ada-2", 8 * 3600);
    assert_eq!(stage.add(&pool, &issued, "ada", None).await, id);
    assert_eq!(news(&pool, last).await.0, [EventKind::AccountRenewed { how: Renewal::Login }]);
}

#[tokio::test]
async fn what_a_person_switches_off_or_removes_is_no_event() {
    let (_stage, pool, id) = stage().await;
    let disable = AccountChange { disable: Some("on holiday".into()), ..AccountChange::default() };
    pool.account_change(id, disable).await.unwrap();
    assert!(words(&pool).await.is_empty());
    pool.account_change(id, AccountChange { enable: true, ..AccountChange::default() }).await.unwrap();
    assert!(words(&pool).await.is_empty());
    pool.account_remove(id).await.unwrap();
    assert!(words(&pool).await.is_empty());
}

#[tokio::test]
async fn a_thousand_blocked_requests_are_one_event_and_the_end_is_another() {
    let (stage, pool, id) = stage().await;
    let admission = stage.admitted(&pool).await;
    let mut attempts = Vec::new();
    for _ in 0..1000 {
        attempts.push(Question::new(&admission).attempt(&pool).await.unwrap().0);
    }
    for attempt in attempts {
        attempt.finish(Report::Seen(usage_limit(&stage)));
        pool.care_look().await;
    }
    let (told, last) = news(&pool, 0).await;
    let [EventKind::AccountBlocked { scope, reason, guessed: false, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((scope.as_str(), reason.as_str()), ("account", "a quota is used up"));
    pool.account_unblock(Some(id)).await.unwrap();
    let lifted = EventKind::AccountUnblocked { scope: "account".into(), why: Unblocking::Lifted };
    let (told, last) = news(&pool, last).await;
    assert_eq!(told, [lifted]);

    seen(&stage, &pool, usage_limit(&stage)).await;
    let (told, last) = news(&pool, last).await;
    assert_eq!(told.len(), 1, "another block is other news");
    stage.advance(HOUR + 1);
    assert_eq!(news(&pool, last).await.0, [EventKind::AccountUnblocked { scope: "account".into(), why: Unblocking::Ended }]);
}

#[tokio::test]
async fn a_login_that_ends_by_itself_is_announced_ahead_and_once() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let issued = stage.simulator.control().grant_issue_with("ada", "at-ada", "rt-ada", 400 * 86_400);
    let credential = CredentialAdd::Oauth {
        access: Exposed::new(issued.access.clone()),
        refresh: Some(Exposed::new(issued.refresh.clone())),
        expires_at: Some(claviger_domain::time::Timestamp(issued.expires_at_ms)),
    };
    let logged_in_at = stage.clock.now();
    let add = AccountAdd { logged_in_at: Some(logged_in_at), ..Stage::draft("ada", credential) };
    let id = pool.account_add(add).await.unwrap().account.id;
    let ends_at = logged_in_at.plus(Duration::from_secs(30 * DAY));
    let account = pool.account_list().await.unwrap().accounts.remove(0);
    assert_eq!((account.login_ends_at, account.login_ends_soon(stage.clock.now())), (Some(ends_at), None));
    assert!(words(&pool).await.is_empty() && pool.status().await.unwrap().warnings.is_empty());

    stage.advance(25 * DAY + 1);
    assert_eq!(news(&pool, 0).await.0, [EventKind::LoginEnds { ends_at }]);
    assert_eq!(words(&pool).await.len(), 1);
    let warnings = pool.status().await.unwrap().warnings;
    assert!(warnings[0].contains(&format!("claviger login anthropic --account {id}")), "{warnings:?}");

    drop(pool);
    let again = stage.pool().await;
    assert!(words(&again).await.is_empty(), "an earlier process has announced it");
}

#[tokio::test]
async fn a_waiting_reader_hears_at_once_and_one_that_is_behind_hears_a_count() {
    let (stage, pool, _) = stage().await;
    let waiting = pool.events(EventsAsk { since: Some(0), wait_s: 30, ..EventsAsk::default() });
    let happening = async {
        seen(&stage, &pool, usage_limit(&stage)).await;
        pool.care_look().await;
    };
    let (page, ()) = tokio::join!(waiting, happening);
    let page = page.unwrap();
    let [event] = page.events.as_slice() else { panic!("{page:?}") };
    assert_eq!((event.provider.as_str(), event.name.as_deref()), ("anthropic", Some("ada@example.com")));

    for _ in 0..EVENTS_KEPT + 2 {
        stage.advance(HOUR + 1);
        seen(&stage, &pool, usage_limit(&stage)).await;
        pool.care_look().await;
    }
    let late = pool.events(EventsAsk { stream: Some(page.stream.clone()), since: Some(page.last), wait_s: 0 }).await.unwrap();
    assert_eq!(late.events.len(), EVENTS_KEPT);
    assert_eq!(late.missed, late.last - page.last - EVENTS_KEPT as u64);
    assert!(late.missed > 0);
    let all = pool.events(EventsAsk::default()).await.unwrap();
    assert_eq!((all.events.len(), all.missed), (EVENTS_KEPT, 0));
}

/// A place where a key stands, or does not.
#[derive(Debug, Default)]
struct Place(Mutex<Option<&'static str>>);

impl ValueSource for Place {
    fn fetch<'a>(&'a self, value: &'a ValueRef) -> BoxFuture<'a, Result<SecretText, ValueError>> {
        let found = *self.0.lock().unwrap();
        Box::pin(async move { found.map(|key| SecretText::new(key.to_owned())).ok_or_else(|| ValueError(format!("{value} is not there"))) })
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_had_is_told_once_it_has_stayed_so_and_when_it_is_back() {
    let stage = Stage::new(Rotation::Strict).await;
    let place = Arc::new(Place::default());
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    let key = ValueKey {
        provider: ProviderId::new(PROVIDER).unwrap(),
        source: Source::Config,
        kind: CredentialKind::ApiKey,
        value: ValueRef::read("file:/nowhere/key").unwrap(),
    };
    let values = Values { keys: vec![key], source: Some(Arc::clone(&place) as Arc<dyn ValueSource>), ..Values::default() };
    let settings = PoolSettings { values, ..parts.settings.clone() };
    let pool = Pool::open(PoolParts { settings, ..parts }).await.unwrap();
    let told = || async {
        pool.account_list().await.unwrap();
        words(&pool).await
    };
    assert!(told().await.is_empty());
    stage.advance(6);
    assert_eq!(told().await, ["value_broken"]);
    stage.advance(60);
    assert_eq!(told().await, ["value_broken"]);
    *place.0.lock().unwrap() = Some("canary-key-in-a-file");
    stage.advance(3);
    told().await;
    let events = pool.events(EventsAsk::default()).await.unwrap();
    assert!(told().await.ends_with(&["account_renewed"]), "{events:?}");
    assert!(!serde_json::to_string(&events).unwrap().contains("canary"));
}
