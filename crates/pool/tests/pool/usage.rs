//! Usage through the whole pool: learned from headers and from the endpoint, kept, and turned into blocks and their end.

use crate::stage::{PROVIDER, Question, Stage, pool_parts};
use claviger_admin::{AccountUsageView, Admin, CredentialAdd, EventKind, EventsAsk, Exposed, StandingView, UsageAsk, UsageView};
use claviger_contract::{Attempt, Refusal, Report};
use claviger_domain::block::BlockScope;
use claviger_domain::classify::Class;
use claviger_domain::id::{AccountId, ProviderId};
use claviger_pool::{Pool, PoolParts, RequestCost};
use claviger_simulator::{Rotation, UsageFault, UsageTold};
use claviger_store::{LogStore, MemoryLog};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const HOUR: u64 = 3600;

/// What an answer's head says of the windows, in per cent; the short one ends in an hour.
fn headers(stage: &Stage, five_hours: u32, week: Option<u32>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut window = |name: &str, percent: u32, ends_in_s: i64| {
        let mut put = |field: &str, value: String| {
            let name: HeaderName = format!("anthropic-ratelimit-unified-{name}-{field}").parse().unwrap();
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        };
        put("utilization", format!("{}", f64::from(percent) / 100.0));
        put("status", if percent >= 100 { "rejected" } else { "allowed" }.to_owned());
        put("reset", (stage.clock.now().as_secs() + ends_in_s).to_string());
    };
    window("5h", five_hours, 3600);
    if let Some(week) = week {
        window("7d", week, 3 * 86_400);
    }
    headers
}

async fn attempt(stage: &Stage, pool: &Pool) -> Attempt {
    let admission = stage.admitted(pool).await;
    Question::new(&admission).attempt(pool).await.unwrap().0
}

/// A request whose answer is good and says this.
async fn served(stage: &Stage, pool: &Pool, headers: &HeaderMap) -> AccountId {
    let attempt = attempt(stage, pool).await;
    let account = attempt.facts().account;
    attempt.answered(StatusCode::OK, headers);
    attempt.finish(Report::Seen(Class::Accepted));
    account
}

async fn usage(pool: &Pool, ask: UsageAsk) -> UsageView {
    pool.usage(ask).await.unwrap()
}

/// The only account, asked for now.
async fn fresh(pool: &Pool) -> AccountUsageView {
    let view = usage(pool, UsageAsk { fresh: true, ..UsageAsk::default() }).await;
    let [account] = view.accounts.try_into().unwrap();
    account
}

/// The only account, as it is known. It has been asked for at least once.
async fn known(pool: &Pool) -> AccountUsageView {
    let [account] = usage(pool, UsageAsk::default()).await.accounts.try_into().unwrap();
    account
}

fn used(account: &AccountUsageView) -> Vec<(&str, Option<f64>)> {
    account.limits.iter().map(|limit| (limit.id.as_str(), limit.used)).collect()
}

async fn blocks(pool: &Pool) -> Vec<String> {
    let accounts = pool.account_list().await.unwrap().accounts;
    accounts.iter().flat_map(|account| &account.blocks).map(|block| format!("{} {}", block.scope, block.reason)).collect()
}

fn told(stage: &Stage, five_hours: f64, week: f64) {
    stage.simulator.control().usage_set("ada", UsageTold::percent(five_hours, week));
}

async fn one_account() -> (Stage, Pool) {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 8 * 3600).await;
    (stage, pool)
}

#[tokio::test]
async fn headers_of_an_answer_replace_limits_of_the_same_id_and_keep_the_others() {
    let (stage, pool) = one_account().await;
    served(&stage, &pool, &headers(&stage, 20, Some(5))).await;
    stage.advance(2);
    served(&stage, &pool, &headers(&stage, 30, None)).await;
    let account = known(&pool).await;
    assert_eq!(used(&account), [("5h", Some(0.3)), ("7d", Some(0.05))]);
    assert_eq!((account.source.as_deref(), account.age_s), (Some("headers"), Some(0)));
    assert_eq!(stage.simulator.ledger().usage_hits(), [], "what headers told is not asked for");
}

#[tokio::test]
async fn of_many_answers_in_a_second_one_counts_unless_the_status_changes() {
    let (stage, pool) = one_account().await;
    for percent in 10..30 {
        served(&stage, &pool, &headers(&stage, percent, None)).await;
    }
    assert_eq!(used(&known(&pool).await), [("5h", Some(0.1))], "the first is news, the second has its turn later");
    served(&stage, &pool, &headers(&stage, 95, None)).await;
    assert_eq!(used(&known(&pool).await), [("5h", Some(0.95))]);
}

#[tokio::test]
async fn an_account_whose_answer_said_exhausted_is_avoided_until_its_reset() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    for name in ["ada", "bob"] {
        stage.login(&pool, name, 8 * 3600).await;
    }
    let first = served(&stage, &pool, &headers(&stage, 100, None)).await;
    for _ in 0..20 {
        assert_ne!(served(&stage, &pool, &HeaderMap::new()).await, first);
    }
    let view = usage(&pool, UsageAsk { account: Some(first.0), ..UsageAsk::default() }).await;
    assert_eq!(view.accounts[0].blocked_until, Some(stage.clock.now().plus(Duration::from_hours(1))));
    assert_eq!(blocks(&pool).await, ["account a quota is used up"]);

    let other = served(&stage, &pool, &headers(&stage, 100, None)).await;
    assert_ne!(other, first);
    let admission = stage.admitted(&pool).await;
    let refused = Question::new(&admission).attempt(&pool).await.unwrap_err();
    assert!(matches!(refused, Refusal::AllBlocked { retry_at, .. } if retry_at == stage.clock.now().plus(Duration::from_hours(1))));
    stage.advance(HOUR + 1);
    served(&stage, &pool, &HeaderMap::new()).await;
}

#[tokio::test]
async fn twenty_questions_for_one_account_are_one_request() {
    let (stage, pool) = one_account().await;
    stage.simulator.control().usage_fault_next(UsageFault::Hang);
    let ask = || UsageAsk { fresh: true, ..UsageAsk::default() };
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        asking.spawn(first_of(pool.clone(), ask()));
    }
    stage.simulator.ledger().wait_for(|ledger| ledger.held() == 1).await;
    stage.simulator.control().release();
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|answer| used(answer) == [("5h", Some(0.12)), ("7d", Some(0.03))]));
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 1);
}

async fn first_of(pool: Pool, ask: UsageAsk) -> AccountUsageView {
    usage(&pool, ask).await.accounts.remove(0)
}

#[tokio::test]
async fn a_fresh_report_with_headroom_lifts_a_told_block_for_good() {
    let (stage, pool) = one_account().await;
    let exhausted = attempt(&stage, &pool).await;
    let until = stage.clock.now().plus(Duration::from_hours(72));
    exhausted.finish(Report::Seen(Class::UsageLimit { scope: BlockScope::Account, until: Some(until) }));
    pool.flush().await;
    assert_eq!(blocks(&pool).await, ["account a quota is used up"]);

    stage.advance(1);
    told(&stage, 100.0, 40.0);
    assert_eq!(fresh(&pool).await.blocked_until, Some(until), "one window is used up, and the earlier end does not shorten the block");
    stage.advance(6);
    told(&stage, 1.0, 40.0);
    assert_eq!(fresh(&pool).await.blocked_until, None);
    served(&stage, &pool, &HeaderMap::new()).await;
    pool.flush().await;
    assert_eq!(blocks(&pool).await, [] as [&str; 0]);
    assert_eq!(blocks(&stage.pool().await).await, [] as [&str; 0], "another process sees it too");
}

#[tokio::test]
async fn an_answer_that_was_under_way_lifts_no_block() {
    let (stage, pool) = one_account().await;
    let (one, other) = (attempt(&stage, &pool).await, attempt(&stage, &pool).await);
    one.finish(Report::Seen(Class::UsageLimit { scope: BlockScope::Account, until: None }));
    stage.advance(2);
    other.answered(StatusCode::OK, &headers(&stage, 99, None));
    other.finish(Report::Seen(Class::Accepted));
    assert_eq!(blocks(&pool).await.len(), 1);
}

#[tokio::test]
async fn a_probe_that_is_accepted_lifts_the_guessed_block_that_it_met() {
    let (stage, pool) = one_account().await;
    attempt(&stage, &pool).await.finish(Report::Seen(Class::Policy { scope: BlockScope::Account }));
    stage.advance(61);
    served(&stage, &pool, &HeaderMap::new()).await;
    pool.flush().await;
    assert_eq!(blocks(&pool).await, [] as [&str; 0]);
    assert_eq!(blocks(&stage.pool().await).await, [] as [&str; 0]);
}

#[tokio::test]
async fn an_acceptance_of_what_was_no_probe_lifts_nothing() {
    let (stage, pool) = one_account().await;
    let before = attempt(&stage, &pool).await;
    attempt(&stage, &pool).await.finish(Report::Seen(Class::Policy { scope: BlockScope::Account }));
    before.finish(Report::Seen(Class::Accepted));
    assert_eq!(blocks(&pool).await.len(), 1);
}

#[tokio::test]
async fn while_a_probe_is_under_way_the_acceptance_of_an_earlier_request_lifts_nothing() {
    let (stage, pool) = one_account().await;
    let before = attempt(&stage, &pool).await;
    attempt(&stage, &pool).await.finish(Report::Seen(Class::Policy { scope: BlockScope::Account }));
    stage.advance(61);
    let probe = attempt(&stage, &pool).await;
    before.finish(Report::Seen(Class::Accepted));
    assert_eq!(blocks(&pool).await.len(), 1);
    probe.finish(Report::Seen(Class::Accepted));
    assert_eq!(blocks(&pool).await, [] as [&str; 0]);
}

#[tokio::test]
async fn a_start_after_a_night_asks_for_nothing_at_once() {
    let (stage, pool) = one_account().await;
    told(&stage, 40.0, 10.0);
    fresh(&pool).await;
    pool.flush().await;
    stage.advance(3 * HOUR);
    let restarted = stage.pool().await;
    restarted.usage_poll().await;
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 1);
    stage.advance(HOUR);
    restarted.usage_poll().await;
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 2);
}

#[tokio::test]
async fn after_a_failure_the_last_report_stays_with_its_age_for_a_day() {
    let (stage, pool) = one_account().await;
    let good = fresh(&pool).await;
    stage.advance(600);
    stage.simulator.control().usage_fault_next(UsageFault::Status(429));
    let stale = fresh(&pool).await;
    assert_eq!((used(&stale), stale.age_s), (used(&good), Some(600)));
    let note = stale.note.unwrap();
    assert!(!note.contains("canary"), "{note}");
    // The windows have ended meanwhile; what is known of the rest is a day old.
    stage.advance(24 * HOUR);
    stage.simulator.control().usage_fault_next(UsageFault::Status(500));
    assert_eq!(fresh(&pool).await.observed_at, None);
}

#[tokio::test]
async fn without_any_report_a_failure_brings_none() {
    let (stage, pool) = one_account().await;
    stage.simulator.control().usage_fault_next(UsageFault::Body("canary-usage-body".to_owned()));
    let account = fresh(&pool).await;
    assert_eq!((account.limits.len(), account.observed_at), (0, None));
    assert!(!account.note.unwrap().contains("canary"));
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up_after_ten_seconds() {
    let (stage, pool) = one_account().await;
    stage.simulator.control().usage_fault_next(UsageFault::Hang);
    let mut asking = JoinSet::new();
    asking.spawn(first_of(pool.clone(), UsageAsk { fresh: true, ..UsageAsk::default() }));
    stage.simulator.ledger().wait_for(|ledger| ledger.held() == 1).await;
    stage.advance(10);
    let account = asking.join_next().await.unwrap().unwrap();
    assert_eq!(account.observed_at, None);
    assert!(account.note.unwrap().contains("10 s"));
}

#[tokio::test]
async fn a_401_of_the_endpoint_refreshes_once_and_asks_again() {
    let (stage, pool) = one_account().await;
    stage.simulator.control().access_revoke("at-ada");
    let account = fresh(&pool).await;
    assert_eq!(used(&account), [("5h", Some(0.12)), ("7d", Some(0.03))]);
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    let asked: Vec<_> = stage.simulator.ledger().usage_hits().iter().map(|hit| hit.is_good).collect();
    assert_eq!(asked, [false, true]);
}

#[tokio::test]
async fn an_endpoint_that_refuses_every_token_costs_one_refresh_and_disables_nothing() {
    let (stage, pool) = one_account().await;
    for _ in 0..4 {
        stage.simulator.control().usage_fault_next(UsageFault::Status(401));
    }
    for _ in 0..3 {
        assert_eq!(fresh(&pool).await.note.as_deref(), Some("the usage endpoint refuses this credential"));
        stage.advance(60);
    }
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    assert_eq!(pool.account_list().await.unwrap().accounts[0].standing, StandingView::Active);
    served(&stage, &pool, &HeaderMap::new()).await;
}

#[tokio::test]
async fn a_dead_grant_that_the_endpoint_reveals_takes_the_ordinary_way() {
    let (stage, pool) = one_account().await;
    stage.simulator.control().grant_revoke("ada");
    fresh(&pool).await;
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    let standing = &pool.account_list().await.unwrap().accounts[0].standing;
    assert!(matches!(standing, StandingView::NeedsLogin { .. }), "{standing:?}");
    stage.advance(60);
    assert_eq!(fresh(&pool).await.note.as_deref(), Some("needs a new login"));
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 1);
}

#[tokio::test]
async fn the_endpoint_is_asked_rarely_and_only_while_the_account_is_in_use() {
    let (stage, pool) = one_account().await;
    let hits = || stage.simulator.ledger().usage_hits().len();
    served(&stage, &pool, &HeaderMap::new()).await;
    stage.advance(30);
    pool.usage_poll().await;
    assert_eq!(hits(), 1, "it came into use");
    for _ in 0..14 {
        stage.advance(15);
        pool.usage_poll().await;
    }
    assert_eq!(hits(), 1, "asked again before 3 min 45 s");
    stage.advance(165);
    pool.usage_poll().await;
    assert_eq!(hits(), 2, "not asked again within 6 min 15 s");
    // An hour of which the account serves nothing: then once an hour.
    stage.advance(HOUR + 16 * 60);
    pool.usage_poll().await;
    let before = hits();
    assert_eq!(before, 3, "not asked again within 75 min");
    for _ in 0..8 {
        stage.advance(5 * 60);
        pool.usage_poll().await;
    }
    assert_eq!(hits(), before, "asked again before 45 min");
}

#[tokio::test]
async fn an_account_that_headers_feed_is_asked_more_rarely() {
    let (stage, pool) = one_account().await;
    stage.advance(30);
    fresh(&pool).await;
    for minute in 0..21 {
        served(&stage, &pool, &headers(&stage, 10 + minute, None)).await;
        stage.advance(60);
        pool.usage_poll().await;
    }
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 1);
}

#[tokio::test]
async fn a_failure_is_followed_by_a_wait_that_grows() {
    let (stage, pool) = one_account().await;
    for _ in 0..20 {
        stage.simulator.control().usage_fault_next(UsageFault::Status(500));
    }
    served(&stage, &pool, &HeaderMap::new()).await;
    let mut asked_at = Vec::new();
    for second in 0..400 {
        stage.advance(1);
        let before = stage.simulator.ledger().usage_hits().len();
        pool.usage_poll().await;
        if stage.simulator.ledger().usage_hits().len() > before {
            asked_at.push(second);
        }
    }
    let waits: Vec<i32> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (turn, base) in [10, 20, 40, 80].into_iter().enumerate() {
        let wait = waits[turn];
        assert!((base * 3 / 4 - 1..=base * 5 / 4 + 1).contains(&wait), "{waits:?}");
    }
}

#[tokio::test]
async fn history_has_a_row_for_every_limit_and_outlives_the_process() {
    let (stage, pool) = one_account().await;
    told(&stage, 40.0, 10.0);
    let before = fresh(&pool).await;
    stage.advance(2 * HOUR);
    told(&stage, 60.0, 20.0);
    fresh(&pool).await;
    let view = usage(&pool, UsageAsk { history_s: Some(7 * 86_400), ..UsageAsk::default() }).await;
    let points: Vec<_> = view
        .history
        .iter()
        .map(|series| (series.limit.as_str(), series.points.iter().map(|point| point.used).collect::<Vec<_>>()))
        .collect();
    assert_eq!(points, [("5h", vec![Some(0.4), Some(0.6)]), ("7d", vec![Some(0.1), Some(0.2)])]);
    pool.flush().await;

    let hits = stage.simulator.ledger().usage_hits().len();
    stage.advance(300);
    let restarted = known(&stage.pool().await).await;
    assert_eq!((used(&restarted), restarted.age_s), (vec![("5h", Some(0.6)), ("7d", Some(0.2))], Some(300)));
    assert_eq!(restarted.plan, before.plan);
    assert_eq!(stage.simulator.ledger().usage_hits().len(), hits, "what an earlier process was told is not asked for");
}

#[tokio::test]
async fn what_was_unused_at_a_reset_is_noted_once() {
    let (stage, pool) = one_account().await;
    told(&stage, 25.0, 50.0);
    fresh(&pool).await;
    assert_eq!(usage(&pool, UsageAsk::default()).await.waste, []);
    stage.advance(HOUR + 60);
    pool.usage_poll().await;
    pool.usage_poll().await;
    told(&stage, 0.0, 50.0);
    fresh(&pool).await;
    let [waste] = usage(&pool, UsageAsk::default()).await.waste.try_into().unwrap();
    assert_eq!((waste.limit.as_str(), waste.unused), ("5h", 0.75));
    assert_eq!(waste.ended_at, stage.clock.now().minus(Duration::from_mins(1)));
}

#[tokio::test]
async fn a_threshold_is_an_event_once_per_window_and_so_is_the_waste_of_one() {
    let (stage, pool) = one_account().await;
    for percent in [50, 76, 80, 91, 92] {
        stage.advance(2);
        served(&stage, &pool, &headers(&stage, percent, None)).await;
    }
    stage.advance(2 * HOUR);
    pool.usage_poll().await;
    pool.flush().await;
    let page = pool.events(EventsAsk::default()).await.unwrap();
    let told = page.events.iter().filter_map(|event| match &event.kind {
        EventKind::UsageThreshold { percent, limit, .. } => Some(format!("{limit} {percent}")),
        EventKind::ResetWasted { limit, unused, .. } => Some(format!("{limit} {unused:.2} unused")),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["5h 75", "5h 90", "5h 0.08 unused"]);
}

#[tokio::test]
async fn nothing_of_a_providers_own_words_leaves() {
    let (stage, pool) = one_account().await;
    fresh(&pool).await;
    stage.advance(6);
    let view = usage(&pool, UsageAsk { history_s: Some(3600), costs: true, fresh: true, ..UsageAsk::default() }).await;
    let text = serde_json::to_string(&view).unwrap();
    assert!(text.contains("\"5h\"") && !text.contains("canary") && !text.contains("internal_note"), "{text}");
    assert!(!text.contains("at-ada"));
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 2);
}

#[tokio::test]
async fn a_log_that_cannot_be_used_harms_no_request() {
    let stage = Stage::new(Rotation::Strict).await;
    let log = Arc::new(MemoryLog::new());
    log.fail();
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    let pool = Pool::open(PoolParts { log: Arc::clone(&log) as Arc<dyn LogStore>, ..parts }).await.unwrap();
    stage.login(&pool, "ada", 8 * 3600).await;
    served(&stage, &pool, &headers(&stage, 80, Some(10))).await;
    let view = usage(&pool, UsageAsk { history_s: Some(3600), costs: true, ..UsageAsk::default() }).await;
    assert_eq!(used(&view.accounts[0]), [("5h", Some(0.8)), ("7d", Some(0.1))]);
    assert_eq!((view.history.len(), view.waste.len(), view.costs.len()), (0, 0, 0));
    served(&stage, &pool, &HeaderMap::new()).await;
    pool.flush().await;
    assert!(log.dropped() > 0);
}

#[tokio::test]
async fn a_usage_endpoint_that_has_moved_is_not_asked() {
    let (stage, pool) = one_account().await;
    let moved = stage.overlay_at(PROVIDER, &stage.simulator.origin().parse().unwrap(), "").replace("api/oauth/usage", "moved");
    let elsewhere = moved.replace(&format!("{}/moved", stage.simulator.origin()), "http://127.0.0.1:9/api/oauth/usage");
    std::fs::write(stage.overlay().join("stage.toml"), elsewhere).unwrap();
    drop(pool);
    let account = fresh(&stage.pool().await).await;
    assert_eq!(account.note.as_deref(), Some("the address of its provider's usage endpoint has changed"));
    assert_eq!(stage.simulator.ledger().usage_hits(), []);
}

#[tokio::test]
async fn a_key_is_not_asked_for_where_the_endpoint_answers_logins_alone() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let key = CredentialAdd::ApiKey { key: Exposed::new("sk-test-1".to_owned()) };
    pool.account_add(Stage::draft("ada", key)).await.unwrap();
    let account = fresh(&pool).await;
    assert!(account.note.unwrap().contains("tells no usage for this kind of credential"));
    assert_eq!(stage.simulator.ledger().usage_hits(), []);
}

#[tokio::test]
async fn a_price_is_noted_for_the_account_that_served_and_makes_its_usage_due() {
    let (stage, pool) = one_account().await;
    let provider = ProviderId::new(PROVIDER).unwrap();
    let cost = |usd: f64| RequestCost { provider: provider.clone(), account: None, session: None, model: None, usd };
    served(&stage, &pool, &HeaderMap::new()).await;
    fresh(&pool).await;
    assert_eq!([0.0, f64::NAN, -1.0].map(|usd| pool.record_cost(cost(usd))), [false; 3]);
    assert!(pool.record_cost(cost(0.5)) && pool.record_cost(cost(0.25)));
    let view = usage(&pool, UsageAsk { costs: true, ..UsageAsk::default() }).await;
    assert_eq!((view.costs.len(), view.costs[0].requests, view.costs[0].cost_usd), (1, 2, 0.75));
    stage.advance(31);
    pool.usage_poll().await;
    assert_eq!(stage.simulator.ledger().usage_hits().len(), 2);

    stage.login(&pool, "bob", 8 * 3600).await;
    assert!(!pool.record_cost(cost(1.0)), "it could be either's");
}

#[tokio::test]
async fn what_an_answer_says_that_it_cost_is_added_up() {
    let stage = Stage::new(Rotation::Strict).await;
    let told = format!("[providers.{PROVIDER}.usage]\ncost_header = \"x-cost\"\n");
    std::fs::write(stage.overlay().join("cost.toml"), told).unwrap();
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 8 * 3600).await;
    for cost in ["0.5", "0.25", "0", "-1", "NaN", "cheap"] {
        served(&stage, &pool, &HeaderMap::from_iter([(HeaderName::from_static("x-cost"), HeaderValue::from_static(cost))])).await;
    }
    let view = usage(&pool, UsageAsk { costs: true, ..UsageAsk::default() }).await;
    assert_eq!((view.costs.len(), view.costs[0].requests, view.costs[0].cost_usd), (1, 2, 0.75));
}

#[tokio::test]
async fn questions_are_answered_by_provider_and_account() {
    let (stage, pool) = one_account().await;
    let (bob, _) = stage.login(&pool, "bob", 8 * 3600).await;
    let all = usage(&pool, UsageAsk { provider: Some(PROVIDER.into()), ..UsageAsk::default() }).await;
    assert_eq!(all.accounts.len(), 2);
    let one = usage(&pool, UsageAsk { account: Some(bob.0), ..UsageAsk::default() }).await;
    assert_eq!(one.accounts[0].name.as_deref(), Some("bob@example.com"));
    assert!(pool.usage(UsageAsk { provider: Some("nobody".into()), ..UsageAsk::default() }).await.is_err());
    assert!(pool.usage(UsageAsk { account: Some(99), ..UsageAsk::default() }).await.is_err());
}

#[tokio::test]
async fn a_report_outlives_a_rotation_and_is_forgotten_when_the_provider_moves() {
    let (stage, pool) = one_account().await;
    told(&stage, 40.0, 10.0);
    fresh(&pool).await;
    stage.advance(7 * HOUR + 3000);
    pool.sweep().await;
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
    assert_eq!(used(&known(&pool).await)[1], ("7d", Some(0.1)), "another token of the same account");

    let moved = stage.overlay_at(PROVIDER, &stage.simulator.origin().parse().unwrap(), "");
    let moved = moved.replacen(&stage.simulator.origin(), "http://127.0.0.1:9", 1);
    std::fs::write(stage.overlay().join("stage.toml"), moved).unwrap();
    let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
    pool.reconfigure(parts.settings).await.unwrap();
    assert_eq!(known(&pool).await.observed_at, None);
}
