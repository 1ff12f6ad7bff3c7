//! The token endpoint over HTTP: rotation, what the ledger says of it, and every fault.

use crate::client::{Lab, read, refresh_body};
use claviger_simulator::{CredentialVerdict, ExchangeEnd, ReuseError, Rotation, TokenFault, TokenOutcome, TokenPolicy};
use serde_json::json;

/// A lab where `ada` has the login `at-1`, `rt-1`.
async fn lab(token: TokenPolicy) -> Lab {
    let lab = Lab::new(token).await;
    lab.simulator.control().grant_issue_with("ada", "at-1", "rt-1", 3600);
    lab
}

/// The status of a model request with this access token.
async fn use_access(lab: &Lab, access: &str) -> u16 {
    lab.post("/v1/messages", access, &json!({ "model": "m", "messages": [] })).await.status
}

#[tokio::test]
async fn a_strict_refresh_token_seen_twice_kills_its_family() {
    let lab = lab(TokenPolicy::default()).await;
    let first = lab.refresh("rt-1").await;
    assert_eq!((first.status, first.at("/token_type"), first.at("/expires_in")), (200, "Bearer".into(), "3600".into()));
    let access = first.at("/access_token");
    assert_eq!(use_access(&lab, &access).await, 200);
    assert_eq!(use_access(&lab, "at-1").await, 200);

    let second = lab.refresh("rt-1").await;
    assert_eq!((second.status, second.at("/error")), (400, "invalid_grant".into()));
    assert_eq!(use_access(&lab, &access).await, 401);
    assert_eq!(use_access(&lab, "at-1").await, 401);
    assert_eq!(lab.refresh(&first.at("/refresh_token")).await.status, 400);

    let ledger = lab.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses(), ledger.stale_credentials()), (3, 1, 2));
    let outcomes: Vec<_> = ledger.token_posts().into_iter().map(|post| post.outcome).collect();
    let rotated = TokenOutcome::Rotated { access, refresh: first.at("/refresh_token") };
    assert_eq!(outcomes, [rotated, TokenOutcome::Reused, TokenOutcome::Dead]);
}

#[tokio::test]
async fn the_reuse_error_can_be_the_one_of_openai() {
    let lab = lab(TokenPolicy { reuse_error: ReuseError::RefreshTokenReused, ..TokenPolicy::default() }).await;
    let seen = [lab.refresh("rt-1").await, lab.refresh("rt-1").await, lab.refresh("rt-1").await];
    let seen = seen.map(|answer| (answer.status, answer.at("/error/code")));
    let (reused, dead) = ("refresh_token_reused".to_owned(), "refresh_token_invalidated".to_owned());
    assert_eq!(seen, [(200, "(absent)".into()), (401, reused), (401, dead)]);
}

#[tokio::test]
async fn a_replay_inside_the_grace_window_gets_the_same_pair_and_one_after_it_is_reuse() {
    let lab = lab(TokenPolicy { rotation: Rotation::Grace { grace_s: 30 }, ..TokenPolicy::default() }).await;
    let first = lab.refresh("rt-1").await;
    lab.advance_s(30);
    let replay = lab.refresh("rt-1").await;
    for field in ["/access_token", "/refresh_token"] {
        assert_eq!(replay.at(field), first.at(field));
    }
    assert_eq!(replay.at("/expires_in"), "3570");
    lab.advance_s(1);
    assert_eq!(lab.refresh("rt-1").await.status, 400);
    assert_eq!(lab.simulator.ledger().reuses(), 1);
}

#[tokio::test]
async fn a_refresh_token_that_does_not_rotate_stays_the_same() {
    let lab = lab(TokenPolicy { rotation: Rotation::None, ..TokenPolicy::default() }).await;
    let (first, second) = (lab.refresh("rt-1").await, lab.refresh("rt-1").await);
    assert_eq!((first.at("/refresh_token"), second.at("/refresh_token")), ("rt-1".into(), "rt-1".into()));
    assert_ne!(first.at("/access_token"), second.at("/access_token"));
    assert_eq!(lab.simulator.ledger().reuses(), 0);
}

#[tokio::test]
async fn an_omitted_refresh_token_goes_on_working() {
    let lab = lab(TokenPolicy { omit_refresh_token: true, ..TokenPolicy::default() }).await;
    assert_eq!(lab.refresh("rt-1").await.at("/refresh_token"), "(absent)");
    assert_eq!(lab.refresh("rt-1").await.status, 200);
}

#[tokio::test]
async fn a_refresh_revokes_the_old_access_token_where_the_policy_says_so() {
    let lab = lab(TokenPolicy { revoke_old_access: true, ..TokenPolicy::default() }).await;
    lab.refresh("rt-1").await;
    assert_eq!(use_access(&lab, "at-1").await, 401);
    let verdict = lab.simulator.ledger().requests().remove(0).verdict;
    assert_eq!(verdict, CredentialVerdict::Revoked { account: "ada".into() });
}

#[tokio::test]
async fn an_access_token_is_refused_after_its_life_and_a_minted_one_after_the_policys() {
    let lab = lab(TokenPolicy { lifetime_s: 60, ..TokenPolicy::default() }).await;
    let minted = lab.simulator.control().grant_issue("bob");
    lab.advance_s(59);
    assert_eq!((use_access(&lab, &minted.access).await, use_access(&lab, "at-1").await), (200, 200));
    lab.advance_s(1);
    assert_eq!((use_access(&lab, &minted.access).await, use_access(&lab, "at-1").await), (401, 200));
    lab.simulator.control().access_expire("at-1");
    assert_eq!(use_access(&lab, "at-1").await, 401);
}

#[tokio::test]
async fn a_revoked_login_can_neither_be_used_nor_refreshed() {
    let lab = lab(TokenPolicy::default()).await;
    lab.simulator.control().grant_revoke("ada");
    assert_eq!((use_access(&lab, "at-1").await, lab.refresh("rt-1").await.status), (401, 400));
    assert_eq!(lab.simulator.ledger().reuses(), 0);
}

#[tokio::test]
async fn a_form_is_read_like_json_and_the_ledger_keeps_how_it_was_sent() {
    let lab = Lab::new(TokenPolicy::default()).await;
    lab.simulator.control().grant_issue_with("ada", "at-1", "rt+1/x", 3600);
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("user-agent", "probe/1")];
    let form = "grant_type=refresh_token&refresh_token=rt%2B1%2Fx&client_id=c";
    for (path, status) in [("/oauth/token", 200), ("/api/oauth/token", 400)] {
        assert_eq!(lab.ask("POST", path, &headers, form).await.status, status);
    }
    let post = lab.simulator.ledger().token_posts().remove(0);
    assert_eq!(post.refresh_token.as_deref(), Some("rt+1/x"));
    assert_eq!(post.content_type.as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(post.user_agent.as_deref(), Some("probe/1"));
    assert_eq!((post.client_id.as_deref(), post.path.as_str()), (Some("c"), "/oauth/token"));
}

#[tokio::test]
async fn what_is_no_refresh_request_is_malformed_and_an_unknown_token_is_unknown() {
    let lab = lab(TokenPolicy::default()).await;
    let bodies = ["", "{", "grant_type=password&refresh_token=rt-1", r#"{"grant_type":"refresh_token"}"#];
    for body in bodies {
        assert_eq!(lab.ask("POST", "/oauth/token", &[], body).await.at("/error"), "invalid_request");
    }
    assert_eq!(lab.refresh("rt-9").await.at("/error"), "invalid_grant");
    let posts = lab.simulator.ledger().token_posts();
    assert!(posts.iter().take(bodies.len()).all(|post| post.outcome == TokenOutcome::Malformed));
    assert_eq!(posts.last().unwrap().outcome, TokenOutcome::Unknown);
}

#[tokio::test]
async fn every_answer_carries_the_skewed_date() {
    let lab = lab(TokenPolicy { date_skew_s: -3600, ..TokenPolicy::default() }).await;
    assert_eq!(lab.refresh("rt-1").await.header("date"), "Fri, 15 Jan 2027 07:00:00 GMT");
    assert_eq!(lab.post("/v1/messages", "at-1", &json!({})).await.header("date"), "Fri, 15 Jan 2027 07:00:00 GMT");
}

#[tokio::test]
async fn a_fault_that_does_not_commit_leaves_the_refresh_token_good() {
    let table = [
        (TokenFault::RateLimited { retry_after_s: 7 }, 429, r#""error":"rate_limited""#),
        (TokenFault::ServerError(503), 503, r#""error":"server_error""#),
        (TokenFault::Html(502), 502, "<h1>Just a moment"),
        (TokenFault::InvalidGrant, 400, r#""error":"invalid_grant""#),
        (TokenFault::OAuthError { status: 403, error: "denied".into() }, 403, r#""error":"denied""#),
        (TokenFault::OkWithError, 200, r#""error":"temporarily_unavailable""#),
    ];
    for (fault, status, part) in table {
        let lab = lab(TokenPolicy::default()).await;
        lab.simulator.control().token_fault_next(fault.clone());
        let answer = lab.refresh("rt-1").await;
        assert_eq!(answer.status, status, "{fault:?}");
        assert!(answer.text().contains(part), "{}", answer.text());
        if let TokenFault::RateLimited { .. } = fault {
            assert_eq!(answer.header("retry-after"), "7");
        }
        let post = lab.simulator.ledger().token_posts().remove(0);
        assert_eq!(post.outcome, TokenOutcome::Faulted(fault));
        assert_eq!(lab.refresh("rt-1").await.status, 200);
    }
}

#[tokio::test]
async fn a_fault_that_commits_has_used_the_refresh_token_up() {
    let table = [
        TokenFault::Garbage,
        TokenFault::Truncated,
        TokenFault::Huge { bytes: 300_000 },
        TokenFault::Slow { chunk_bytes: 40, chunk_ms: 1 },
        TokenFault::CloseAfterCommit,
        TokenFault::HoldMs(1),
        TokenFault::WrongTypes,
        TokenFault::Bom,
        TokenFault::GzipBomb { bytes: 1_000_000 },
    ];
    for fault in table {
        let lab = lab(TokenPolicy::default()).await;
        lab.simulator.control().token_fault_next(fault.clone());
        let headers = [("content-type", "application/json")];
        let sent = lab.send("POST", "/oauth/token", &headers, refresh_body("rt-1")).await;
        assert_eq!(sent.is_none(), fault == TokenFault::CloseAfterCommit, "{fault:?}");
        if let Some(response) = sent {
            let answer = read(response).await;
            assert_eq!((answer.status, answer.is_cut), (200, fault == TokenFault::Truncated), "{fault:?}");
            let is_good = serde_json::from_slice::<serde_json::Value>(&answer.body)
                .is_ok_and(|body| body["access_token"].as_str().is_some_and(|token| token.starts_with("sim-at-")));
            let expected = matches!(fault, TokenFault::Slow { .. } | TokenFault::HoldMs(_));
            assert_eq!(is_good, expected, "{fault:?}");
            match fault {
                TokenFault::Huge { bytes } => assert_eq!(answer.body.len() as u64, bytes),
                TokenFault::GzipBomb { .. } => {
                    assert_eq!(answer.header("content-encoding"), "gzip");
                }
                TokenFault::Bom => assert!(answer.text().starts_with("\u{feff}{")),
                _ => {}
            }
        }
        let post = lab.simulator.ledger().token_posts().remove(0);
        assert!(matches!(post.outcome, TokenOutcome::Rotated { .. }), "{post:?}");
        let is_cut = matches!(fault, TokenFault::Truncated | TokenFault::CloseAfterCommit);
        assert_eq!(post.end, if is_cut { ExchangeEnd::Cut } else { ExchangeEnd::Completed }, "{fault:?}");
        assert_eq!(post.fault, Some(fault));
        assert_eq!(lab.refresh("rt-1").await.status, 400);
        assert_eq!(lab.simulator.ledger().reuses(), 1);
    }
}

#[tokio::test]
async fn an_empty_refresh_token_means_that_the_old_one_stays() {
    let lab = lab(TokenPolicy::default()).await;
    lab.simulator.control().token_fault_next(TokenFault::EmptyRefreshToken);
    assert_eq!(lab.refresh("rt-1").await.at("/refresh_token"), "");
    assert_eq!(lab.refresh("rt-1").await.status, 200);
}

#[tokio::test]
async fn a_connection_closed_before_the_body_was_read_leaves_the_refresh_token_good() {
    let lab = lab(TokenPolicy::default()).await;
    lab.simulator.control().token_fault_next(TokenFault::CloseBeforeRead);
    assert!(lab.send("POST", "/oauth/token", &[], refresh_body("rt-1")).await.is_none());
    let post = lab.simulator.ledger().token_posts().remove(0);
    assert_eq!((post.refresh_token, post.end), (None, ExchangeEnd::Cut));
    assert_eq!(lab.refresh("rt-1").await.status, 200);
}

#[tokio::test]
async fn a_hang_after_the_commit_ends_when_the_client_leaves() {
    let lab = lab(TokenPolicy::default()).await;
    lab.simulator.control().token_fault_next(TokenFault::HangAfterCommit);
    let ledger = lab.simulator.ledger();
    tokio::select! {
        answer = lab.refresh("rt-1") => panic!("answered: {answer:?}"),
        () = ledger.wait_for(|ledger| {
            ledger.token_posts().iter().any(|post| matches!(post.outcome, TokenOutcome::Rotated { .. }))
        }) => {}
    }
    ledger.wait_for(|ledger| ledger.token_posts()[0].end == ExchangeEnd::AbortedByClient).await;
}

#[tokio::test]
async fn a_held_answer_comes_with_the_release_and_not_before() {
    let lab = lab(TokenPolicy::default()).await;
    lab.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let (ledger, control) = (lab.simulator.ledger(), lab.simulator.control());
    let release = async {
        ledger.wait_for(|ledger| ledger.held() == 1).await;
        assert_eq!(ledger.token_posts()[0].status, None);
        control.release();
    };
    let (answer, ()) = tokio::join!(lab.refresh("rt-1"), release);
    assert_eq!((answer.status, ledger.held()), (200, 0));
}

#[tokio::test]
async fn two_simulators_with_different_seeds_mint_different_tokens() {
    let (one, two) = (lab(TokenPolicy::default()).await, {
        let config = claviger_simulator::SimulatorConfig { seed: 2, ..Default::default() };
        claviger_simulator::Simulator::start(config).await.unwrap()
    });
    let (a, b) = (one.simulator.control().grant_issue("x"), two.control().grant_issue("x"));
    assert!(a.access != b.access && a.refresh != b.refresh && a.access.starts_with("sim-at-"));
}
