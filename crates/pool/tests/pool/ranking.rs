//! Ranking by what accounts have left, through the real view: what answers tell decides where new sessions go.

use crate::stage::{Question, Stage};
use claviger_admin::{AccountChange, Admin, OptionsSet};
use claviger_contract::{Admission, Answer, Ask, Attempt, Broker, Report};
use claviger_domain::classify::Class;
use claviger_domain::id::AccountId;
use claviger_domain::session::SessionHash;
use claviger_pool::Pool;
use claviger_simulator::Rotation;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

const DAY: i64 = 86_400;

/// A pool with two accounts, and their ids.
async fn stage() -> (Stage, Pool, [AccountId; 2]) {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    for user in ["one", "two"] {
        stage.login(&pool, user, 36_000).await;
    }
    let mut ids: Vec<AccountId> = pool.account_list().await.unwrap().accounts.iter().map(|account| AccountId(account.id)).collect();
    ids.sort_unstable();
    (stage, pool, ids.try_into().unwrap())
}

fn attempt(pool: &Pool, ask: &Ask<'_>) -> Attempt {
    let Answer::Ready(lease) = pool.lease(ask) else { panic!("the accounts are ready") };
    lease.apply(&mut http::Request::new(()).into_parts().0).unwrap()
}

/// An answer of this account, whose windows of these names have so many per cent used and so many days left.
fn tell(stage: &Stage, pool: &Pool, admission: &Admission, account: AccountId, windows: &[(&str, u32, i64)]) {
    let question = Question::new(admission);
    let attempt = attempt(pool, &Ask { account: Some(account), ..question.ask() });
    let mut headers = HeaderMap::new();
    for (window, percent, days) in windows {
        let mut put = |field: &str, value: String| {
            let name: HeaderName = format!("anthropic-ratelimit-unified-{window}-{field}").parse().unwrap();
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        };
        put("utilization", format!("{}", f64::from(*percent) / 100.0));
        put("reset", (stage.clock.now().as_secs() + days * DAY).to_string());
    }
    attempt.answered(StatusCode::OK, &headers);
    attempt.finish(Report::Seen(Class::Accepted));
}

/// How many of forty new sessions go to an account.
fn share(pool: &Pool, admission: &Admission, account: AccountId, model: Option<&str>) -> usize {
    let picked = |session: u64| {
        let question = Question { session: Some(SessionHash::of(&[&session.to_le_bytes()])), ..Question::new(admission) };
        attempt(pool, &Ask { model, ..question.ask() }).facts().account
    };
    (0..40).filter(|session| picked(*session) == account).count()
}

#[tokio::test]
async fn new_sessions_go_where_more_would_expire_and_follow_what_answers_tell() {
    let (stage, pool, [one, two]) = stage().await;
    let admission = stage.admitted(&pool).await;
    assert!((8..=32).contains(&share(&pool, &admission, one, None)), "nothing is known: they share");
    tell(&stage, &pool, &admission, one, &[("5h", 10, 0), ("7d", 80, 3)]);
    tell(&stage, &pool, &admission, two, &[("5h", 10, 0), ("7d", 10, 3)]);
    pool.rank();
    assert_eq!(share(&pool, &admission, two, None), 40);
    stage.advance(2);
    tell(&stage, &pool, &admission, two, &[("5h", 10, 0), ("7d", 98, 3)]);
    pool.rank();
    assert_eq!(share(&pool, &admission, one, None), 40);
}

#[tokio::test]
async fn a_warm_session_stays_where_it_is_and_a_cold_one_goes_by_the_order() {
    let (stage, pool, [one, two]) = stage().await;
    let admission = stage.admitted(&pool).await;
    let question = Question { session: Some(SessionHash(7)), ..Question::new(&admission) };
    attempt(&pool, &Ask { account: Some(one), ..question.ask() }).finish(Report::Seen(Class::Accepted));
    tell(&stage, &pool, &admission, one, &[("7d", 80, 3)]);
    tell(&stage, &pool, &admission, two, &[("7d", 10, 3)]);
    pool.rank();
    stage.advance(3599);
    assert_eq!(attempt(&pool, &question.ask()).facts().account, one, "its prompt cache is warm");
    stage.advance(1);
    assert_eq!(attempt(&pool, &question.ask()).facts().account, two, "its prompt cache is cold");
}

#[tokio::test]
async fn a_family_that_is_used_up_at_an_account_is_asked_elsewhere_and_the_rest_is_not() {
    let (stage, pool, [one, two]) = stage().await;
    let admission = stage.admitted(&pool).await;
    tell(&stage, &pool, &admission, one, &[("7d", 10, 3), ("7d_oi", 99, 3)]);
    tell(&stage, &pool, &admission, two, &[("7d", 80, 3), ("7d_oi", 50, 3)]);
    pool.rank();
    assert_eq!(share(&pool, &admission, one, Some("claude-sonnet-4-5")), 40);
    assert_eq!(share(&pool, &admission, two, Some("claude-fable-1")), 40);
}

#[tokio::test]
async fn a_reserve_that_is_touched_keeps_sessions_away() {
    let (stage, pool, [one, two]) = stage().await;
    let admission = stage.admitted(&pool).await;
    tell(&stage, &pool, &admission, one, &[("7d", 85, 1)]);
    tell(&stage, &pool, &admission, two, &[("7d", 95, 6)]);
    pool.rank();
    assert_eq!(share(&pool, &admission, one, None), 40);
    let options = OptionsSet { reserve_percent: Some(20), ..OptionsSet::default() };
    pool.account_change(one, AccountChange { options, ..AccountChange::default() }).await.unwrap();
    assert_eq!(share(&pool, &admission, two, None), 40);
}
