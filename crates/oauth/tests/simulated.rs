//! A request, an exchange and a reading together, held against the simulator's ledger: a verdict that frees the refresh
//! token for another try is given only where the provider did not redeem it.
#![expect(clippy::unwrap_used, reason = "what fails in a test may panic")]

use claviger_domain::profile::{RefreshRule, Rotation, TokenCarry, TokenEncoding, TokenNames};
use claviger_domain::time::Timestamp;
use claviger_egress::{Egress, EgressConfig, FirstByte, SendFailure};
use claviger_oauth::{Outcome, RawParts, RefreshToken, read_answer, refresh_request};
use claviger_runtime::{BoxFuture, Clock, SystemClock};
use claviger_simulator::{Ledger, ReuseError, Simulator, SimulatorConfig, TokenFault, TokenOutcome, TokenPolicy};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A clock whose sleeps end once the simulator has redeemed a token.
#[derive(Clone)]
struct AfterCommit(Ledger);

impl std::fmt::Debug for AfterCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AfterCommit")
    }
}

impl Clock for AfterCommit {
    fn now(&self) -> Timestamp {
        NOW
    }
    fn boot(&self) -> Duration {
        Duration::ZERO
    }
    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        let ledger = self.0.clone();
        Box::pin(async move { ledger.wait_for(|ledger| ledger.token_posts().last().is_some_and(|post| committed(&post.outcome))).await })
    }
}

fn committed(outcome: &TokenOutcome) -> bool {
    matches!(outcome, TokenOutcome::Rotated { .. } | TokenOutcome::Replayed { .. })
}

fn rule(simulator: &Simulator, encoding: TokenEncoding) -> RefreshRule {
    RefreshRule {
        url: format!("{}/oauth/token", simulator.origin()).parse().unwrap(),
        client_id: "client-1".to_owned(),
        client_secret: None,
        encoding,
        carry: TokenCarry::Parameter,
        names: TokenNames::default(),
        headers: Vec::new(),
        params: Vec::new(),
        rotation: Rotation::Strict,
        timeout: Duration::from_secs(30),
        dead_codes: vec!["invalid_grant".to_owned(), "refresh_token_reused".to_owned()],
        not_consumed_codes: vec!["temporarily_unavailable".to_owned()],
        dead_statuses: vec![401],
    }
}

/// One exchange; a failure to get an answer is handed back as it is.
async fn refresh(rule: &RefreshRule, token: &str, clock: &dyn Clock) -> Result<Outcome, SendFailure> {
    let egress = Egress::new(EgressConfig::default(), Arc::new(SystemClock));
    let connection = egress.connect(&rule.url.origin, &BTreeSet::from([rule.url.origin.clone()])).await.unwrap();
    let request = refresh_request(rule, &RefreshToken::new(token.to_owned())).unwrap();
    let answer = connection.send(request, rule.timeout, clock).await?;
    let raw = RawParts {
        status: answer.status.as_u16(),
        date: answer.date(),
        retry_after: answer.retry_after(),
        content_type: answer.content_type(),
        body: &answer.body,
    };
    Ok(read_answer(rule, &raw, NOW))
}

#[tokio::test]
async fn a_refresh_in_either_encoding_rotates_once() {
    let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
    for encoding in [TokenEncoding::Form, TokenEncoding::Json] {
        let grant = simulator.control().grant_issue("ada@example.com");
        let outcome = refresh(&rule(&simulator, encoding), &grant.refresh, &SystemClock).await.unwrap();
        let Outcome::Token(token) = outcome else { panic!("{outcome:?}") };
        let post = simulator.ledger().token_posts().pop().unwrap();
        let TokenOutcome::Rotated { access, refresh } = &post.outcome else { panic!("{post:?}") };
        assert_eq!((token.access.expose(), token.refresh.as_ref().unwrap().expose()), (access.as_str(), refresh.as_str()));
        assert_eq!((token.expires_in, post.client_id.as_deref()), (Some(Duration::from_hours(1)), Some("client-1")));
    }
    assert_eq!((simulator.ledger().refreshes(), simulator.ledger().reuses()), (2, 0));
}

#[tokio::test]
async fn a_reused_token_is_dead_in_either_wording() {
    for (reuse_error, code) in [(ReuseError::InvalidGrant, "invalid_grant"), (ReuseError::RefreshTokenReused, "refresh_token_reused")] {
        let token = TokenPolicy { reuse_error, ..TokenPolicy::default() };
        let simulator = Simulator::start(SimulatorConfig { token, ..SimulatorConfig::default() }).await.unwrap();
        let (rule, grant) = (rule(&simulator, TokenEncoding::Form), simulator.control().grant_issue("ada@example.com"));
        assert!(matches!(refresh(&rule, &grant.refresh, &SystemClock).await, Ok(Outcome::Token(_))));
        let outcome = refresh(&rule, &grant.refresh, &SystemClock).await.unwrap();
        assert!(matches!(&outcome, Outcome::Dead { code: dead } if dead == code), "{outcome:?}");
    }
}

#[tokio::test]
async fn no_fault_makes_a_redeemed_token_look_unredeemed() {
    for (fault, expected) in [
        (TokenFault::RateLimited { retry_after_s: 7 }, "transient"),
        (TokenFault::ServerError(503), "transient"),
        (TokenFault::ServerError(500), "ambiguous"),
        (TokenFault::Html(401), "ambiguous"),
        (TokenFault::Html(403), "ambiguous"),
        (TokenFault::Html(503), "ambiguous"),
        (TokenFault::Garbage, "ambiguous"),
        (TokenFault::Truncated, "lost"),
        (TokenFault::Huge { bytes: 65 * 1024 }, "lost"),
        (TokenFault::Slow { chunk_bytes: 64, chunk_ms: 0 }, "token"),
        (TokenFault::HangAfterCommit, "lost"),
        (TokenFault::CloseAfterCommit, "lost"),
        (TokenFault::CloseBeforeRead, "lost"),
        (TokenFault::InvalidGrant, "dead"),
        (TokenFault::OAuthError { status: 400, error: "something_new".to_owned() }, "ambiguous"),
        (TokenFault::OAuthError { status: 400, error: "temporarily_unavailable".to_owned() }, "transient"),
        (TokenFault::WrongTypes, "ambiguous"),
        (TokenFault::EmptyRefreshToken, "token"),
        (TokenFault::Bom, "token"),
        (TokenFault::GzipBomb { bytes: 1024 * 1024 }, "ambiguous"),
        (TokenFault::OkWithError, "ambiguous"),
    ] {
        let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let grant = simulator.control().grant_issue("ada@example.com");
        simulator.control().token_fault_next(fault.clone());
        let after_commit = AfterCommit(simulator.ledger());
        let clock: &dyn Clock = if fault == TokenFault::HangAfterCommit { &after_commit } else { &SystemClock };
        let found = match refresh(&rule(&simulator, TokenEncoding::Form), &grant.refresh, clock).await {
            Ok(Outcome::Token(_)) => "token",
            Ok(Outcome::Dead { .. }) => "dead",
            Ok(Outcome::Transient { .. }) => "transient",
            Ok(Outcome::Ambiguous { .. }) => "ambiguous",
            Err(failure) if failure.first_byte == FirstByte::Sent => "lost",
            Err(_) => "not sent",
        };
        assert_eq!(found, expected, "{fault:?}");
        let posts = simulator.ledger().token_posts();
        let redeemed = posts.iter().any(|post| committed(&post.outcome));
        assert!(!redeemed || matches!(found, "token" | "ambiguous" | "lost"), "{fault:?} was redeemed and looks {found}");
        assert_eq!(posts.len(), 1, "{fault:?}");
    }
}
