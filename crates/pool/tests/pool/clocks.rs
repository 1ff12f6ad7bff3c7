//! Clocks that step, sleep, differ and go backwards: no request with an ended token, and no refresh but the one that a jump is worth.

use crate::stage::{PROVIDER, Question, Stage, policy};
use claviger_admin::{AccountAdd, Admin, CredentialAdd, Exposed, KeyCreate};
use claviger_contract::{Admission, Broker, Denial, Refusal};
use claviger_domain::classify::Class;
use claviger_domain::time::Timestamp;
use claviger_domain::virtual_key::Presented;
use claviger_pool::{FAILPOINTS, Pool};
use claviger_runtime::Clock;
use claviger_simulator::{Rotation, TokenFault, TokenPolicy};
use claviger_testkit::{Failpoints, SimClock, proof_row};
use std::sync::Arc;
use std::time::Duration;

const YEAR: Duration = Duration::from_hours(365 * 24);
const NIGHT: Duration = Duration::from_hours(8);

/// What befalls our clock. The provider's goes on as time does.
#[derive(Debug, Clone, Copy)]
enum Jump {
    YearAhead,
    YearBack,
    /// The machine sleeps, and its boot clock goes on.
    Slept,
    /// The machine sleeps, and its boot clock with it.
    SleptWithItsClock,
}

const JUMPS: [Jump; 4] = [Jump::YearAhead, Jump::YearBack, Jump::Slept, Jump::SleptWithItsClock];

/// A stage whose provider has a clock of its own, which nobody sets.
struct Apart {
    stage: Stage,
    ours: SimClock,
    theirs: SimClock,
}

impl Apart {
    async fn new(lifetime_s: u64) -> Self {
        let (ours, theirs) = (SimClock::new(), SimClock::new());
        let clock = Arc::new(ours.clone());
        let stage = Stage::between(Rotation::Strict, (clock, Some(ours.clone())), Arc::new(theirs.clone())).await;
        stage.simulator.control().token_policy_set(TokenPolicy { lifetime_s, ..policy(Rotation::Strict) });
        Self { stage, ours, theirs }
    }

    fn pass(&self, by: Duration) {
        self.ours.advance(by);
        self.theirs.advance(by);
    }

    fn jump(&self, jump: Jump) {
        let now = self.ours.now();
        match jump {
            Jump::YearAhead => self.ours.set(now.plus(YEAR)),
            Jump::YearBack => self.ours.set(now.minus(YEAR)),
            Jump::Slept => self.pass(NIGHT),
            Jump::SleptWithItsClock => {
                self.theirs.advance(NIGHT);
                self.ours.set(now.plus(NIGHT));
            }
        }
    }

    /// Requests one after the other, with time between them; each must be served at its first attempt.
    async fn serve(&self, pool: &Pool, admission: &Admission, requests: u32, apart: Duration) {
        for request in 0..requests {
            let answer = Question::new(admission).attempt(pool).await;
            let (attempt, header) = answer.unwrap_or_else(|refusal| panic!("request {request}: {refusal}"));
            assert_eq!(self.stage.send(&attempt, &header).await, 200, "request {request}");
            pool.report(attempt, Class::Accepted);
            self.pass(apart);
        }
        let ledger = self.stage.simulator.ledger();
        assert_eq!((ledger.stale_credentials(), ledger.reuses()), (0, 0));
    }

    fn refreshes(&self) -> usize {
        self.stage.simulator.ledger().refreshes()
    }
}

#[tokio::test]
async fn a_jump_of_the_clock_costs_one_refresh_at_most_and_no_ended_token_is_sent() {
    let (mut runs, mut worst) = (0, 0);
    for first in JUMPS {
        for second in JUMPS {
            // While the wall clock is behind, only the boot clock tells of time; a sleep that it does not see has not been.
            if matches!((first, second), (Jump::YearBack, Jump::SleptWithItsClock)) {
                continue;
            }
            runs += 1;
            let apart = Apart::new(3600).await;
            let pool = apart.stage.pool().await;
            apart.stage.login(&pool, "ada", 3600).await;
            let admission = apart.stage.admitted(&pool).await;
            apart.serve(&pool, &admission, 5, Duration::from_secs(1)).await;
            for (jumps, jump) in [first, second].into_iter().enumerate() {
                let before = apart.refreshes();
                apart.jump(jump);
                // A view that is built anew after the jump knows no better.
                pool.account_list().await.unwrap();
                apart.serve(&pool, &admission, 50, Duration::from_secs(1)).await;
                let spent = apart.refreshes() - before;
                assert!(spent <= 1, "jump {jumps} of {first:?}, {second:?}: {spent} refreshes");
                worst = worst.max(spent);
            }
            // What came of it ends when it should.
            apart.serve(&pool, &admission, 80, Duration::from_mins(1)).await;
        }
    }
    proof_row(
        "clocks: two in a row of steps of a year and sleeps of 8 h",
        runs,
        runs,
        &format!("{worst} refreshes a jump, 0 ended tokens sent"),
    );
}

#[tokio::test]
async fn a_jump_of_the_clock_within_a_refresh_costs_one_more_at_most() {
    let (mut runs, mut worst) = (0, 0);
    for site in FAILPOINTS {
        for jump in JUMPS {
            let apart = Apart::new(3600).await;
            let failpoints = Failpoints::new();
            let pool = apart.stage.pool_with(Arc::new(failpoints.clone())).await;
            apart.stage.login(&pool, "ada", -10).await;
            let admission = apart.stage.admitted(&pool).await;
            let pause = failpoints.pause(site);
            let question = Question::new(&admission);
            let (answer, ()) = tokio::join!(question.attempt(&pool), async {
                pause.reached().await;
                apart.jump(jump);
                pause.release();
            });
            let (attempt, header) = answer.unwrap_or_else(|refusal| panic!("{site}, {jump:?}: {refusal}"));
            assert_eq!(apart.stage.send(&attempt, &header).await, 200, "{site}, {jump:?}");
            pool.report(attempt, Class::Accepted);
            apart.serve(&pool, &admission, 20, Duration::from_secs(1)).await;
            let refreshes = apart.refreshes();
            assert!(refreshes <= 2, "{site}, {jump:?}: {refreshes} refreshes");
            (runs, worst) = (runs + 1, worst.max(refreshes));
        }
    }
    proof_row("clocks: a jump at each place of a refresh", runs, runs, &format!("{worst} refreshes, 0 ended tokens sent"));
}

#[tokio::test]
async fn after_a_restart_a_token_from_the_future_is_refreshed_before_it_is_sent() {
    let apart = Apart::new(3600).await;
    let pool = apart.stage.pool().await;
    apart.stage.login(&pool, "ada", 3600).await;
    drop(pool);
    apart.jump(Jump::YearBack);
    // Nobody knows any more that this has passed.
    apart.pass(Duration::from_hours(2));
    let pool = apart.stage.pool().await;
    let admission = apart.stage.admitted(&pool).await;
    apart.serve(&pool, &admission, 1000, Duration::from_secs(1)).await;
    assert_eq!(apart.refreshes(), 1);
}

#[tokio::test]
async fn a_date_of_the_provider_that_is_wrong_changes_no_life_and_no_wait() {
    let skews = [-86_400, -600, 600, 86_400];
    for date_skew_s in skews {
        let apart = Apart::new(3600).await;
        let skewed = TokenPolicy { date_skew_s, ..policy(Rotation::Strict) };
        apart.stage.simulator.control().token_policy_set(skewed);
        let pool = apart.stage.pool().await;
        apart.stage.login(&pool, "ada", -10).await;
        let admission = apart.stage.admitted(&pool).await;
        apart.stage.simulator.control().token_fault_next(TokenFault::RateLimited { retry_after_s: 20 });
        let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
        let Err(Refusal::Unavailable { retry_at, .. }) = refusal else { panic!("{date_skew_s}: {refusal:?}") };
        assert_eq!(retry_at, apart.ours.now().plus(Duration::from_secs(20)), "{date_skew_s}");
        apart.pass(Duration::from_secs(21));
        apart.serve(&pool, &admission, 120, Duration::from_mins(1)).await;
        // The one that was put off, the first one, and two lives of an hour each.
        assert!(apart.refreshes() <= 4, "{date_skew_s}: {}", apart.refreshes());
    }
    proof_row("clocks: dates of the provider off by 10 min and a day", skews.len() as u64, skews.len() as u64, "0 ended tokens sent");
}

#[tokio::test]
async fn a_thousand_requests_on_short_lived_tokens_refresh_no_more_often_than_they_end() {
    for life_s in [5_u32, 60] {
        let apart = Apart::new(life_s.into()).await;
        let pool = apart.stage.pool().await;
        apart.stage.login(&pool, "ada", life_s.into()).await;
        let admission = apart.stage.admitted(&pool).await;
        apart.serve(&pool, &admission, 1000, Duration::from_millis(100)).await;
        // 100 s, and of each life the last quarter is not used.
        let most = (400 / (3 * life_s) + 2) as usize;
        assert!(apart.refreshes() <= most, "{life_s} s: {} refreshes", apart.refreshes());
        let figure = format!("{} refreshes in 100 s, {most} allowed", apart.refreshes());
        proof_row(&format!("clocks: 1,000 requests on tokens of {life_s} s"), 1000, 1000, &figure);
    }
}

#[tokio::test]
async fn a_token_that_names_no_end_is_not_refreshed_whatever_the_clock_does() {
    let apart = Apart::new(3600).await;
    let pool = apart.stage.pool().await;
    let issued = apart.stage.simulator.control().grant_issue_with("ada", "at-ada", "rt-ada", 3_000_000_000);
    let credential = CredentialAdd::Oauth {
        access: Exposed::new(issued.access.clone()),
        refresh: Some(Exposed::new(issued.refresh.clone())),
        expires_at: None,
    };
    pool.account_add(AccountAdd { provider: PROVIDER.into(), ..Stage::draft("ada", credential) }).await.unwrap();
    let admission = apart.stage.admitted(&pool).await;
    for jump in JUMPS {
        apart.jump(jump);
        pool.sweep().await;
        apart.serve(&pool, &admission, 250, Duration::from_mins(1)).await;
    }
    assert_eq!(apart.refreshes(), 0);
}

#[tokio::test]
async fn a_clock_that_is_set_back_lengthens_no_virtual_key() {
    let apart = Apart::new(3600).await;
    let pool = apart.stage.pool().await;
    let created = pool.key_create(KeyCreate { lifetime_s: Some(3600), ..KeyCreate::default() }).await.unwrap();
    let admit = |pool: &Pool| pool.admit(&Presented::read(created.key.expose()).unwrap(), None).map(drop);
    apart.jump(Jump::YearBack);
    pool.account_list().await.unwrap();
    apart.pass(Duration::from_secs(3599));
    assert_eq!(admit(&pool), Ok(()));
    apart.pass(Duration::from_secs(1));
    assert_eq!(admit(&pool), Err(Denial::Expired.into()));
    // What a restart forgets is bounded by the whole life of the key.
    let restarted = apart.stage.pool().await;
    assert_eq!(admit(&restarted), Ok(()));
    apart.pass(Duration::from_hours(1));
    assert_eq!(admit(&restarted), Err(Denial::Expired.into()));
}

#[tokio::test]
async fn a_clock_that_is_set_back_lengthens_no_block_and_the_next_one_holds() {
    let apart = Apart::new(36_000).await;
    let pool = apart.stage.pool().await;
    apart.stage.login(&pool, "ada", 36_000).await;
    let admission = apart.stage.admitted(&pool).await;
    for jump in [None, Some(Jump::YearBack), Some(Jump::YearAhead), Some(Jump::YearBack)] {
        let (attempt, _) = Question::new(&admission).attempt(&pool).await.unwrap();
        pool.report(attempt, Class::RateLimited { until: Some(apart.ours.now().plus(Duration::from_mins(5))) });
        pool.flush().await;
        if let Some(jump) = jump {
            apart.jump(jump);
        }
        if !matches!(jump, Some(Jump::YearAhead)) {
            let refusal = Question::new(&admission).attempt(&pool).await.map(|(_, header)| header);
            let Err(Refusal::AllBlocked { retry_at, .. }) = refusal else { panic!("{jump:?}: {refusal:?}") };
            assert_eq!(retry_at, Timestamp(apart.ours.now().0 + 300_000), "{jump:?}");
        }
        apart.pass(Duration::from_secs(301));
        pool.account_list().await.unwrap();
        Question::new(&admission).attempt(&pool).await.unwrap();
        assert_eq!(pool.account_list().await.unwrap().accounts[0].blocks, [], "{jump:?}");
    }
}
