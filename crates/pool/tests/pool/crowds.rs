//! Crowds in one process: many callers, many expiries, many refusals, and an endpoint that is away.

use crate::stage::{Question, Stage, pool_parts};
use claviger_admin::{Admin, StandingView};
use claviger_contract::{Answer, Broker, Refusal, Report};
use claviger_domain::attempt::{Made, Next};
use claviger_domain::block::REFRESH_FAILURE_REST;
use claviger_domain::classify::Class;
use claviger_domain::id::AccountId;
use claviger_pool::Pool;
use claviger_pool::limits::FLIGHT_END_WITHIN;
use claviger_runtime::TaskEnd;
use claviger_simulator::{LlmFault, Rotation, TokenFault};
use claviger_testkit::{Failpoints, proof_row};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const EXPIRIES: usize = 50;
const TASKS: usize = 64;

/// One request as the gateway makes it: lease, send, report, and again as the answer asks for. Gives the last status.
async fn request(stage: &Stage, pool: &Pool, question: &mut Question<'_>) -> Result<u16, Refusal> {
    loop {
        let (attempt, header) = question.attempt(pool).await?;
        let status = stage.send(&attempt, &header).await;
        let class = if status == 200 { Class::Accepted } else { Class::Unauthorized };
        let facts = attempt.facts().clone();
        attempt.finish(Report::Seen(class.clone()));
        let made = Made { account: facts.account, grant: facts.grant, revision: facts.revision, class };
        if question.attempts.after(made) == Next::Answer {
            return Ok(status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_tasks_over_fifty_expiries_cause_fifty_refreshes() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", -10).await;
    let admission = Arc::new(stage.admitted(&pool).await);
    let ledger = stage.simulator.ledger();
    let mut before = "Bearer at-ada".to_owned();
    for expiry in 1..=EXPIRIES {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (pool, admission) = (pool.clone(), Arc::clone(&admission));
            tasks.spawn(async move { Question::new(&admission).attempt(&pool).await.unwrap().1 });
        }
        let headers = tasks.join_all().await;
        assert!(headers.len() == TASKS && headers.iter().all(|header| *header == headers[0] && *header != before), "{headers:?}");
        assert_eq!((ledger.refreshes(), ledger.reuses()), (expiry, 0));
        before.clone_from(&headers[0]);
        stage.advance(7200);
    }
    let served = (EXPIRIES * TASKS) as u64;
    proof_row(
        "crowds: 64 tasks over 50 expiries",
        served,
        served,
        &format!("{} refreshes, {} reuses", ledger.refreshes(), ledger.reuses()),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_two_accounts_on_one_grant_cause_one_refresh() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    let issued = stage.simulator.control().grant_issue_with("ada", "at-ada", "rt-ada", -10);
    let accounts = [stage.add(&pool, &issued, "ada", Some("org-1")).await, stage.add(&pool, &issued, "ada", Some("org-2")).await];
    let admission = Arc::new(stage.admitted(&pool).await);
    let ledger = stage.simulator.ledger();
    for expiry in 1..=EXPIRIES {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (pool, admission, account) = (pool.clone(), Arc::clone(&admission), accounts[task % 2]);
            tasks.spawn(async move { leased(&pool, &admission, account).await });
        }
        let headers = tasks.join_all().await;
        assert!(headers.iter().all(|header| *header == headers[0]), "{headers:?}");
        assert_eq!((ledger.refreshes(), ledger.reuses()), (expiry, 0));
        stage.advance(7200);
    }
    let served = (EXPIRIES * TASKS) as u64;
    proof_row("crowds: 64 tasks of two accounts on one grant", served, served, &format!("{} refreshes", ledger.refreshes()));
}

/// The authorization of one account and no other.
async fn leased(pool: &Pool, admission: &claviger_contract::Admission, account: AccountId) -> String {
    let question = Question::new(admission);
    loop {
        let ask = claviger_contract::Ask { account: Some(account), ..question.ask() };
        match pool.lease(&ask) {
            Answer::Ready(lease) => {
                let mut parts = http::Request::new(()).into_parts().0;
                if lease.apply(&mut parts).is_ok() {
                    return parts.headers.get("authorization").unwrap().to_str().unwrap().to_owned();
                }
            }
            Answer::Pending(wait) => wait.await.unwrap(),
            Answer::Refused(refusal) => panic!("{refusal}"),
        }
    }
}

#[tokio::test]
async fn a_token_whose_callers_have_all_gone_is_on_disk_a_hundred_times_of_a_hundred() {
    const RUNS: u64 = 100;
    let stage = Stage::new(Rotation::Strict).await;
    let first = stage.pool().await;
    stage.login(&first, "ada", -10).await;
    drop(first);
    let ledger = stage.simulator.ledger();
    for run in 1..=RUNS {
        let parts = pool_parts(&stage.home(), &stage.key_file(), &stage.overlay(), Arc::clone(&stage.clock));
        let (supervisor, store) = (Arc::clone(&parts.supervisor), Arc::clone(&parts.store));
        let pool = Pool::open(parts).await.unwrap();
        let admission = stage.admitted(&pool).await;
        stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
        let question = Question::new(&admission);
        let ask = question.ask();
        let waits: Vec<_> = std::iter::repeat_with(|| match pool.lease(&ask) {
            Answer::Pending(wait) => wait,
            _ => panic!("a refresh is needed"),
        })
        .take(8)
        .collect();
        ledger.wait_for(|ledger| ledger.held() == 1).await;
        drop(waits);
        stage.simulator.control().release();
        // The end of the process waits for the flight alone.
        assert_eq!(supervisor.stop(FLIGHT_END_WITHIN).await, TaskEnd::Drained);
        assert_eq!(pool.account_list().await.unwrap().accounts[0].grant_revision, run + 1, "run {run}");
        store.close().await.unwrap();
        stage.advance(7200);
    }
    assert_eq!((ledger.refreshes() as u64, ledger.reuses()), (RUNS, 0));
    proof_row("crowds: all callers gone in the middle of a refresh", RUNS, RUNS, "0 tokens lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_false_refusals_at_once_cause_one_refresh_and_disable_nobody() {
    const REQUESTS: usize = 1000;
    let stage = Arc::new(Stage::new(Rotation::Strict).await);
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    let admission = Arc::new(stage.admitted(&pool).await);
    // Every request has its lease before the first one hears of a refusal.
    let gate = Arc::new(tokio::sync::Barrier::new(REQUESTS));
    let mut tasks = JoinSet::new();
    for _ in 0..REQUESTS {
        let (pool, admission, gate) = (pool.clone(), Arc::clone(&admission), Arc::clone(&gate));
        tasks.spawn(async move {
            let mut question = Question::new(&admission);
            let (attempt, header) = question.attempt(&pool).await.unwrap();
            assert_eq!(header, "Bearer at-ada");
            let facts = attempt.facts().clone();
            let made = Made { account: facts.account, grant: facts.grant, revision: facts.revision, class: Class::Unauthorized };
            gate.wait().await;
            pool.report(attempt, Class::Unauthorized);
            assert_eq!(question.attempts.after(made), Next::Refresh);
            let (attempt, header) = question.attempt(&pool).await.unwrap();
            assert_ne!(header, "Bearer at-ada");
            pool.report(attempt, Class::Accepted);
        });
    }
    tasks.join_all().await;
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (1, 0));
    let account = &pool.account_list().await.unwrap().accounts[0];
    assert_eq!((&account.standing, account.blocks.len()), (&StandingView::Active, 0));
    proof_row("crowds: 1,000 refusals of one token at once", 1000, 1000, "1 refresh, 0 accounts set aside");
}

#[tokio::test]
async fn a_false_refusal_of_a_good_token_disables_nobody() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 36_000).await;
    let admission = stage.admitted(&pool).await;
    for turn in 0..20 {
        stage.simulator.control().llm_fault_next(LlmFault::Unauthorized);
        assert_eq!(request(&stage, &pool, &mut Question::new(&admission)).await, Ok(200), "turn {turn}");
        let account = &pool.account_list().await.unwrap().accounts[0];
        assert_eq!((&account.standing, account.blocks.len()), (&StandingView::Active, 0), "turn {turn}");
    }
    assert_eq!((stage.simulator.ledger().refreshes(), stage.simulator.ledger().reuses()), (20, 0));
}

#[tokio::test]
async fn a_dead_account_leaves_the_pool_after_two_calls_at_most() {
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 3600).await;
    stage.login(&pool, "bob", 36_000).await;
    stage.simulator.control().grant_revoke("ada");
    let admission = stage.admitted(&pool).await;
    for seed in 0..500 {
        let mut question = Question { seed, ..Question::new(&admission) };
        assert_eq!(request(&stage, &pool, &mut question).await, Ok(200), "request {seed}");
    }
    let ledger = stage.simulator.ledger();
    let calls = ledger.requests().iter().filter(|request| request.account() == Some("ada")).count();
    assert!((1..=2).contains(&calls), "{calls} calls with a dead account");
    assert_eq!(ledger.refreshes(), 1);
    proof_row("crowds: a dead account among 500 requests", 500, 500, &format!("{calls} calls until it left, at most 2 allowed"));
}

/// Ten minutes in which the token endpoint is away: requests every second, the sweep every half minute.
///
/// Attempts are bounded by the length over [`REFRESH_FAILURE_REST`], and one: a flight that changed nothing rests the grant.
#[tokio::test]
async fn an_endpoint_that_is_away_for_ten_minutes_is_asked_seldom_and_the_token_is_used_to_its_end() {
    let outage = Duration::from_mins(10);
    let stage = Stage::new(Rotation::Strict).await;
    let pool = stage.pool().await;
    stage.login(&pool, "ada", 360).await;
    let admission = stage.admitted(&pool).await;
    for _ in 0..30 {
        stage.simulator.control().token_fault_next(TokenFault::ServerError(503));
    }
    let (mut served, mut refused) = (0, 0);
    for second in 0..outage.as_secs() {
        if second % 30 == 0 {
            pool.sweep().await;
        }
        match Question::new(&admission).attempt(&pool).await {
            Ok((attempt, header)) => {
                assert_eq!((stage.send(&attempt, &header).await, header.as_str()), (200, "Bearer at-ada"), "second {second}");
                served += 1;
            }
            Err(Refusal::Unavailable { .. }) => refused += 1,
            Err(refusal) => panic!("second {second}: {refusal}"),
        }
        stage.advance(1);
    }
    let ledger = stage.simulator.ledger();
    let most = usize::try_from(outage.as_secs() / REFRESH_FAILURE_REST.as_secs()).unwrap() + 1;
    assert!(ledger.refreshes() <= most, "{} attempts, {most} allowed", ledger.refreshes());
    assert!(served >= 354, "the token serves until 5 s before its end: {served} of 360");
    let attempts = ledger.refreshes();
    // It comes back, and so does the account, after one rest at most.
    while stage.simulator.ledger().token_posts().last().is_some_and(|post| post.fault.is_some()) {
        stage.advance(REFRESH_FAILURE_REST.as_secs() + 1);
        pool.sweep().await;
    }
    assert_eq!(request(&stage, &pool, &mut Question::new(&admission)).await, Ok(200));
    assert_eq!((ledger.stale_credentials(), ledger.reuses()), (0, 0));
    let figure = format!("{attempts} attempts, {most} allowed; {served} of 360 s served, {refused} s refused");
    proof_row("outages: the token endpoint away for 10 min", 600, 600, &figure);
}

#[tokio::test]
async fn hours_offline_spend_no_replay_and_latch_nothing() {
    let stage = Stage::new(Rotation::Strict).await;
    let failpoints = Failpoints::new();
    let pool = stage.pool_with(Arc::new(failpoints.clone())).await;
    let (account, _) = stage.login(&pool, "ada", 3600).await;
    let admission = stage.admitted(&pool).await;
    // An answer was lost just before, so that there is a replay to be spent.
    stage.advance(3500);
    stage.simulator.control().token_fault_next(TokenFault::CloseBeforeRead);
    pool.sweep().await;
    stage.advance(200);
    let before = stage.simulator.ledger().refreshes();
    for _minute in 0..240 {
        failpoints.fail("refresh.connected", "no way to the endpoint");
        let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
        assert!(matches!(refusal, Err(Refusal::Unavailable { .. })), "{refusal:?}");
        stage.advance(60);
    }
    assert_eq!(stage.simulator.ledger().refreshes(), before, "nothing was sent");
    let list = pool.account_list().await.unwrap();
    let view = list.accounts.iter().find(|view| view.id == account.0).unwrap();
    assert_eq!(view.standing, StandingView::Active, "nothing is latched");
    assert_eq!(request(&stage, &pool, &mut Question::new(&admission)).await, Ok(200));
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (before + 1, 0));
    proof_row("outages: offline for 4 h, with a replay to be spent", 240, 240, "0 sent, 0 latched, refreshed at return");
}
