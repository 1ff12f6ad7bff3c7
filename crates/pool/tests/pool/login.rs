//! Logins on a clock of their own: how often a provider is asked, and how long a login waits.

use crate::flight::held_elsewhere;
use crate::stage::Stage;
use claviger_admin::{Admin, AdminError, ErrorCode, Exposed, LoginAsk, LoginContinue, LoginInput, LoginStep, LoginWayWord};
use claviger_pool::Pool;
use claviger_pool::limits::{ADMIN_LOCK_WAIT_MAX, LOGIN_IDLE_MAX, LOGIN_STORE_WAIT_MAX, LOGINS_MAX};
use claviger_simulator::{DevicePoll, LoginHitKind, LoginPolicy, Rotation, TokenFault};
use claviger_store::{SqliteStore, Store};
use std::time::Duration;
use tokio::task::JoinSet;

/// A pool with a provider that has every way to log in; the simulator is its identity provider.
async fn stage(polls: &[DevicePoll]) -> (Stage, Pool) {
    let stage = Stage::new(Rotation::Strict).await;
    let origin = stage.simulator.origin();
    let overlay = format!(
        "[providers.acme]\nname = \"Acme\"\ndialects = [\"chat\"]\nbase_url = \"{origin}/v1\"\n\
         [providers.acme.wire.oauth]\nheader = \"authorization\"\nscheme = \"Bearer\"\n\
         [providers.acme.oauth]\nauthorize_url = \"{origin}/authorize\"\ntoken_url = \"{origin}/oauth/token\"\nclient_id = \"client-1\"\n\
         [providers.acme.login.device]\ndevice_url = \"{origin}/device/code\"\n\
         [providers.acme.login.paste]\nredirect = \"{origin}/show\"\n\
         [providers.acme.login.vendor]\nhook = \"cursor-poll\"\nsummary = \"a page\"\n\
         [providers.acme.hook_urls]\ncursor-page = \"{origin}/loginDeepControl\"\ncursor-poll = \"{origin}/auth/poll\"\n"
    );
    std::fs::write(stage.overlay().join("acme.toml"), overlay).unwrap();
    stage.simulator.control().login_policy_set(LoginPolicy {
        polls: polls.iter().copied().collect(),
        interval_s: 5,
        ..LoginPolicy::default()
    });
    let pool = stage.pool().await;
    (stage, pool)
}

fn ask(way: LoginWayWord) -> LoginAsk {
    LoginAsk { provider: "acme".into(), way, ..LoginAsk::default() }
}

async fn poll(pool: &Pool, login: &str) -> LoginStep {
    pool.login_continue(LoginContinue { login: login.into(), input: LoginInput::Poll }).await.unwrap()
}

fn polls_seen(stage: &Stage) -> usize {
    stage.simulator.ledger().login_hits().iter().filter(|hit| hit.kind == LoginHitKind::Poll).count()
}

#[tokio::test]
async fn a_provider_is_asked_as_rarely_as_it_wants_however_often_the_caller_asks() {
    let (stage, pool) = stage(&[DevicePoll::Pending, DevicePoll::SlowDown, DevicePoll::BadGateway]).await;
    let clock = stage.sim_clock.clone().unwrap();
    let LoginStep::ShowCode { login, poll_after_ms, .. } = pool.login_begin(ask(LoginWayWord::Device)).await.unwrap() else { panic!() };
    assert_eq!(poll_after_ms, 5000);
    // The interval after each poll: as asked, five seconds more for slow_down, and as much for an answer that says nothing.
    for (count, (wait_s, next_ms)) in [(5, 5000), (5, 10_000), (10, 15_000)].into_iter().enumerate() {
        let early = poll(&pool, &login).await;
        assert_eq!(early, LoginStep::Waiting { login: login.clone(), poll_after_ms: wait_s * 1000 });
        assert_eq!(polls_seen(&stage), count, "too early a poll reaches nobody");
        clock.advance(Duration::from_secs(wait_s));
        assert_eq!(poll(&pool, &login).await, LoginStep::Waiting { login: login.clone(), poll_after_ms: next_ms });
    }
    clock.advance(Duration::from_secs(15));
    assert!(matches!(poll(&pool, &login).await, LoginStep::Stored { .. }));
}

#[tokio::test]
async fn a_login_that_nobody_goes_on_with_is_forgotten_and_a_used_one_is_over() {
    let (stage, pool) = stage(&[]).await;
    let clock = stage.sim_clock.clone().unwrap();
    let step = pool.login_begin(ask(LoginWayWord::Paste)).await.unwrap();
    let login = step.login().unwrap().to_owned();
    clock.advance(LOGIN_IDLE_MAX);
    let late = pool.login_continue(LoginContinue { login, input: LoginInput::Pasted { text: Exposed::new("code".into()) } }).await;
    assert_eq!(late.unwrap_err().code, ErrorCode::NotFound);

    let LoginStep::ShowCode { login, .. } = pool.login_begin(ask(LoginWayWord::Device)).await.unwrap() else { panic!() };
    clock.advance(Duration::from_secs(5));
    assert!(matches!(poll(&pool, &login).await, LoginStep::Stored { .. }));
    let again = pool.login_continue(LoginContinue { login: login.clone(), input: LoginInput::Poll }).await;
    assert_eq!(again.unwrap_err().code, ErrorCode::NotFound);
    pool.login_cancel(login).await.unwrap();
}

#[tokio::test]
async fn a_caller_who_goes_away_loses_no_token_and_one_who_gives_up_stores_none() {
    let (stage, pool) = stage(&[]).await;
    let clock = stage.sim_clock.clone().unwrap();
    for (gives_up, accounts) in [(true, 0), (false, 1)] {
        let LoginStep::ShowCode { login, .. } = pool.login_begin(ask(LoginWayWord::Device)).await.unwrap() else { panic!() };
        clock.advance(Duration::from_secs(5));
        stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
        let asking = pool.login_continue(LoginContinue { login: login.clone(), input: LoginInput::Poll });
        let ledger = stage.simulator.ledger();
        tokio::select! {
            _ = asking => panic!("the answer is held"),
            () = ledger.wait_for(|ledger| ledger.held() == 1) => {}
        }
        let answered = ledger.login_hits().len() + 1;
        if gives_up {
            pool.login_cancel(login).await.unwrap();
            ledger.wait_for(|ledger| ledger.held() == 0).await;
            assert!(ledger.login_hits().len() < answered, "the question is taken back");
        } else {
            stage.simulator.control().release();
            ledger.wait_for(|ledger| ledger.login_hits().len() == answered).await;
        }
        // What the answer leads to is a task of the pool's own.
        while pool.account_list().await.unwrap().accounts.len() < accounts {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.account_list().await.unwrap().accounts.len(), accounts);
    }
}

#[tokio::test]
async fn logins_that_are_begun_and_left_are_bounded() {
    let (stage, pool) = stage(&[]).await;
    let clock = stage.sim_clock.clone().unwrap();
    let first = pool.login_begin(ask(LoginWayWord::Paste)).await.unwrap().login().unwrap().to_owned();
    for _more in 0..LOGINS_MAX {
        clock.advance(Duration::from_secs(1));
        pool.login_begin(ask(LoginWayWord::Paste)).await.unwrap();
    }
    let gone = pool.login_continue(LoginContinue { login: first, input: LoginInput::Poll }).await;
    assert_eq!(gone.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_vendors_own_flow_is_asked_no_sooner_than_it_wants() {
    let (stage, pool) = stage(&[]).await;
    let clock = stage.sim_clock.clone().unwrap();
    let step = pool.login_begin(ask(LoginWayWord::Vendor)).await.unwrap();
    let LoginStep::ShowCode { login, poll_after_ms: 1000, .. } = step else { panic!("{step:?}") };
    for _hurry in 0..3 {
        assert_eq!(poll(&pool, &login).await, LoginStep::Waiting { login: login.clone(), poll_after_ms: 1000 });
    }
    assert_eq!(polls_seen(&stage), 0, "too early a poll reaches nobody");
    clock.advance(Duration::from_secs(1));
    assert_eq!(poll(&pool, &login).await, LoginStep::Waiting { login: login.clone(), poll_after_ms: 1200 });
    assert_eq!(polls_seen(&stage), 1);
}

/// A step that is asked for.
struct Asking(JoinSet<Result<LoginStep, AdminError>>);

impl Asking {
    async fn end(mut self) -> Result<LoginStep, AdminError> {
        self.0.join_next().await.unwrap().unwrap()
    }
}

/// A device login of `acme` on the way to its token, which the provider holds back: the answer, and what it waits for.
async fn held(stage: &Stage, pool: &Pool, account: Option<i64>) -> (String, Asking) {
    let step = pool.login_begin(LoginAsk { account, ..ask(LoginWayWord::Device) }).await.unwrap();
    let login = step.login().unwrap().to_owned();
    stage.advance(5);
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let (asking, next) = (pool.clone(), LoginContinue { login: login.clone(), input: LoginInput::Poll });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { asking.login_continue(next).await });
    stage.simulator.ledger().wait_for(|ledger| ledger.held() == 1).await;
    (login, Asking(tasks))
}

#[tokio::test]
async fn a_login_that_others_push_out_of_the_table_is_not_one_that_waits_for_its_token() {
    let (stage, pool) = stage(&[]).await;
    let (_, asking) = held(&stage, &pool, None).await;
    for _more in 0..=LOGINS_MAX {
        stage.sim_clock.as_ref().unwrap().advance(Duration::from_millis(100));
        pool.login_begin(ask(LoginWayWord::Paste)).await.unwrap();
    }
    stage.simulator.control().release();
    assert!(matches!(asking.end().await, Ok(LoginStep::Stored { .. })));
}

#[tokio::test]
async fn a_login_waits_for_a_refresh_of_what_it_replaces_and_loses_no_token_to_it() {
    let (stage, pool) = stage(&[]).await;
    let (_, asking) = held(&stage, &pool, None).await;
    stage.simulator.control().release();
    assert!(matches!(asking.end().await, Ok(LoginStep::Stored { .. })));
    let clock = stage.sim_clock.clone().unwrap();
    let store = SqliteStore::open(&stage.home(), &stage.root_key(), &clock).unwrap();
    for frees in [true, false] {
        let account = pool.account_list().await.unwrap().accounts.first().unwrap().clone();
        let lock = held_elsewhere(&stage, &pool).await;
        let (login, asking) = held(&stage, &pool, Some(account.id)).await;
        let audited = store.audit_list(100).await.unwrap().len();
        stage.simulator.control().release();
        // The trail is written before the vault is.
        while store.audit_list(100).await.unwrap().len() == audited {
            tokio::task::yield_now().await;
        }
        clock.sleeping(1).await;
        assert_eq!(pool.login_cancel(login).await.unwrap_err().code, ErrorCode::Refused, "it is too late to give it up");
        clock.advance(ADMIN_LOCK_WAIT_MAX);
        clock.sleeping(1).await;
        if frees {
            drop(lock);
            clock.advance(Duration::from_secs(1));
            let stored = asking.end().await.unwrap();
            let LoginStep::Stored { added, .. } = stored else { panic!("{stored:?}") };
            assert_eq!((added.account.id, added.account.grant_revision), (account.id, account.grant_revision + 1));
        } else {
            clock.advance(LOGIN_STORE_WAIT_MAX);
            assert_eq!(asking.end().await.unwrap_err().code, ErrorCode::Locked);
        }
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_before_anybody_has_logged_in_ends_the_question() {
    let (stage, pool) = stage(&[]).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/device/code", silent.local_addr().unwrap());
    let more = format!("[providers.acme.login.device]\ndevice_url = \"{url}\"\n");
    std::fs::write(stage.overlay().join("zz-silent.toml"), more).unwrap();
    drop(pool);
    let pool = stage.pool().await;
    let mut asked = tokio::select! {
        step = pool.login_begin(ask(LoginWayWord::Device)) => panic!("{step:?}"),
        accepted = silent.accept() => accepted.unwrap().0,
    };
    let mut question = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut asked, &mut question).await.unwrap();
}

#[tokio::test]
async fn a_code_that_nobody_vouches_for_may_be_wrong_a_few_times() {
    let (stage, pool) = stage(&[]).await;
    let step = pool.login_begin(ask(LoginWayWord::Paste)).await.unwrap();
    let login = step.login().unwrap().to_owned();
    let paste = async |text: &str| {
        let input = LoginInput::Pasted { text: Exposed::new(text.to_owned()) };
        pool.login_continue(LoginContinue { login: login.clone(), input }).await
    };
    for _mistake in 0..4 {
        let LoginStep::NotTaken { why, .. } = paste("mistyped").await.unwrap() else { panic!() };
        assert_eq!(why, "acme does not take that code for this login (the provider refused: invalid_grant)");
    }
    assert_eq!(paste("mistyped").await.unwrap_err().code, ErrorCode::Failed);
    let exchanges = stage.simulator.ledger().login_hits().iter().filter(|hit| hit.kind == LoginHitKind::Exchange).count();
    assert_eq!(exchanges, 5, "nobody tries codes out through us");
}

#[tokio::test]
async fn a_login_is_not_stored_for_addresses_that_it_was_not_begun_for() {
    let (stage, pool) = stage(&[]).await;
    let (_, asking) = held(&stage, &pool, None).await;
    std::fs::write(stage.overlay().join("zz-moved.toml"), "[providers.acme]\nbase_url = \"https://moved.example/v1\"\n").unwrap();
    pool.reconfigure(stage.settings()).await.unwrap();
    stage.simulator.control().release();
    let error = asking.end().await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Refused, "the addresses of acme were changed during the login: nothing was stored")
    );
    assert!(pool.account_list().await.unwrap().accounts.is_empty());
}
