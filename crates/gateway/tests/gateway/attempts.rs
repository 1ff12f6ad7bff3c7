//! What a request survives: refused tokens, quotas, overload, lost connections, slow refreshes.

use crate::broker::Refresh;
use crate::client::Request;
use crate::rig::{Rig, Setup, chat};
use claviger_gateway::{GatewayConfig, Limits};
use claviger_simulator::LlmFault;
use std::time::Duration;

async fn rig_of(accounts: &[(&'static str, Refresh)]) -> Rig {
    Rig::with(Setup { accounts: accounts.to_vec(), ..Setup::default() }).await
}

#[tokio::test]
async fn a_refused_token_is_refreshed_once_and_the_request_repeated_unseen() {
    let rig = Rig::start().await;
    rig.simulator.control().account_expire("ada");
    let answer = rig.send(&chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        rig.broker.log.lines(),
        ["attempt 1.1 Unauthorized", "refresh 1", "attempt 1.2 Accepted", "record openai 200 account 1 attempts 2"]
    );
    let requests = rig.ledger().requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[0].path_and_query, requests[1].path_and_query);
    assert_ne!(requests[0].credential(), requests[1].credential());
}

#[tokio::test]
async fn a_token_refused_twice_leaves_the_request_to_a_sibling() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_for("ada", LlmFault::Unauthorized, 2);
    let answer = rig.send(&chat()).await;
    assert_eq!(answer.status, 200);
    let lines = rig.broker.log.lines();
    assert_eq!(lines[..4], ["attempt 1.1 Unauthorized", "refresh 1", "attempt 1.2 Unauthorized", "attempt 2.1 Accepted"]);
    assert!(answer.text().contains("bob"));
}

#[tokio::test]
async fn a_used_up_quota_and_a_policy_leave_the_request_to_a_sibling() {
    for fault in [LlmFault::QuotaExhausted { reset_in_s: 3600 }, LlmFault::Policy403, LlmFault::RateLimited { retry_after_s: 20 }] {
        let rig = Rig::start().await;
        rig.simulator.control().llm_fault_for("ada", fault.clone(), 1);
        let answer = rig.send(&chat()).await;
        assert_eq!(answer.status, 200, "{fault:?}");
        assert!(answer.text().contains("bob"), "{fault:?}");
        assert_eq!(rig.ledger().requests_count(), 2);
    }
}

#[tokio::test]
async fn with_all_accounts_used_up_the_client_learns_when_to_come_back() {
    let rig = Rig::start().await;
    for account in ["ada", "bob"] {
        rig.simulator.control().llm_fault_for(account, LlmFault::QuotaExhausted { reset_in_s: 3600 }, 1);
    }
    let answer = rig.send(&chat()).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("91"));
    assert_eq!(answer.header("x-should-retry"), Some("false"), "no client shall sit this out in silence");
    assert_eq!(answer.json()["error"]["code"], "all_blocked");
    assert_eq!(rig.broker.log.lines().last().unwrap(), "record openai 429 account 2 attempts 2");
}

#[tokio::test]
async fn without_any_account_the_client_is_told_how_to_add_one_and_not_to_retry() {
    let rig = rig_of(&[]).await;
    let answer = rig.send(&chat()).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("claviger account add openai"));
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn a_throttle_of_the_only_account_is_handed_on_as_the_provider_said_it() {
    let rig = rig_of(&[("ada", Refresh::Works)]).await;
    rig.simulator.control().llm_fault_for("ada", LlmFault::RateLimited { retry_after_s: 20 }, 1);
    let answer = rig.send(&chat()).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), Some("20"));
    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
}

#[tokio::test]
async fn overload_is_waited_out_and_tried_again() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_for("ada", LlmFault::Overloaded, 2);
    let request = chat();
    let (answer, ()) = tokio::join!(rig.send(&request), async {
        rig.clock.slept(Duration::from_millis(500)).await;
        rig.clock.advance(Duration::from_millis(500));
        rig.clock.slept(Duration::from_secs(1)).await;
        rig.clock.advance(Duration::from_secs(1));
    });
    assert_eq!(answer.status, 200);
    assert_eq!(rig.broker.log.lines()[..3], ["attempt 1.1 Capacity", "attempt 1.1 Capacity", "attempt 1.1 Accepted"]);
}

#[tokio::test]
async fn overload_that_stays_is_handed_on_as_the_provider_said_it() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_for("ada", LlmFault::Overloaded, 3);
    let request = chat();
    let (answer, ()) = tokio::join!(rig.send(&request), async {
        rig.clock.slept(Duration::from_millis(500)).await;
        rig.clock.advance(Duration::from_millis(500));
        rig.clock.slept(Duration::from_secs(1)).await;
        rig.clock.advance(Duration::from_secs(1));
    });
    assert_eq!(answer.status, 503);
    assert_eq!(rig.ledger().requests_count(), 3);
    assert_ne!(answer.json()["error"]["code"], "unavailable");
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_tried_thrice_and_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::with(Setup { upstream: Some(format!("http://{closed}")), ..Setup::default() }).await;
    let request = chat();
    let (answer, ()) = tokio::join!(rig.send(&request), async {
        rig.clock.slept(Duration::from_millis(500)).await;
        rig.clock.advance(Duration::from_millis(500));
        rig.clock.slept(Duration::from_secs(1)).await;
        rig.clock.advance(Duration::from_secs(1));
    });
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["code"], "provider_unreachable");
    assert_eq!(rig.broker.log.lines()[..3], ["attempt 1.1 Unreachable"; 3]);
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_not_sent_again() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::DropBeforeResponse);
    let answer = rig.send(&chat()).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["code"], "provider_lost");
    assert_eq!(rig.ledger().requests_count(), 1);
}

#[tokio::test]
async fn an_answer_that_never_begins_is_given_up() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_next(LlmFault::HoldUntilReleased);
    let limit = claviger_gateway::limits::ANSWER_HEAD_TIMEOUT;
    let request = chat();
    let (answer, ()) = tokio::join!(rig.send(&request), async {
        rig.clock.slept(limit).await;
        rig.ledger().wait_for(|ledger| ledger.held() == 1).await;
        rig.clock.advance(limit);
    });
    assert_eq!(answer.status, 504);
    rig.ledger().wait_for(|ledger| ledger.requests()[0].is_aborted()).await;
}

#[tokio::test]
async fn a_refresh_that_hangs_and_a_race_that_never_ends_are_given_up() {
    let rig = rig_of(&[("ada", Refresh::Hangs)]).await;
    rig.simulator.control().account_expire("ada");
    let request = chat();
    let (answer, ()) = tokio::join!(rig.send(&request), async {
        rig.clock.slept(Duration::from_secs(30)).await;
        rig.clock.advance(Duration::from_secs(30));
    });
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("x-should-retry"), None, "a short wait is worth it");

    let rig = rig_of(&[("ada", Refresh::Races)]).await;
    let answer = rig.send(&chat()).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn a_refusal_of_the_credential_never_shows_what_the_provider_wrote() {
    for status in [401, 403] {
        let rig = rig_of(&[("ada", Refresh::Never)]).await;
        let fault = LlmFault::Status {
            status,
            headers: vec![("www-authenticate".to_owned(), "Bearer canary".to_owned())],
            body: r#"{"error":{"message":"your organization disabled the key canary-echo"}}"#.to_owned(),
        };
        rig.simulator.control().llm_fault_for("ada", fault, 3);
        let answer = rig.send(&chat()).await;
        let shown = format!("{:?} {}", answer.headers, answer.text());
        assert!(!shown.contains("canary"), "{shown}");
        assert!(answer.status == 403 || answer.status == 429, "{}", answer.status);
    }
}

#[tokio::test]
async fn a_request_error_is_handed_on_untouched_and_not_repeated() {
    let rig = Rig::start().await;
    for (status, body) in [(400, "no JSON at all"), (404, "{}"), (422, ""), (403, r#"{"error":{"message":"this content is blocked"}}"#)] {
        rig.simulator.control().llm_fault_next(LlmFault::Status { status, headers: Vec::new(), body: body.to_owned() });
        let answer = rig.send(&chat()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, body));
    }
    assert_eq!(rig.ledger().requests_count(), 4);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_passed_on_whole_but_not_repeated() {
    for total in [1000, 100] {
        let limits = Limits { replay_request_max_bytes: 200, replay_total_max_bytes: total, ..Limits::default() };
        let rig = Rig::with(Setup { config: GatewayConfig { limits, ..GatewayConfig::default() }, ..Setup::default() }).await;
        let large = format!(r#"{{"model":"gpt-5","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(300_000));
        let chunked: Vec<u8> = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).into_bytes();
        for request in [chat().body(large.clone()), chat().header("Transfer-Encoding", "chunked").body(chunked)] {
            let answer = rig.raw(&request).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
            assert_eq!(rig.ledger().requests().last().unwrap().body, large);
        }
        rig.simulator.control().account_expire("ada");
        let answer = rig.send(&chat().body(large.clone())).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.json()["error"]["code"], "credential_refused");
        assert_eq!(rig.ledger().requests_count(), 3);
        assert_eq!(rig.gateway.status().replay_bytes, 0);
    }
}

#[tokio::test]
async fn the_broker_is_asked_with_model_and_session() {
    let rig = Rig::start().await;
    rig.send(&chat().header("X-Session-Id", "s1")).await;
    rig.send(&chat().header("X-Session-Id", "s1").body(r#"{"model":"gpt-5-mini"}"#)).await;
    rig.send(&chat()).await;
    rig.send(&Request { target: "/v1beta/models/g-2:generateContent".to_owned(), ..chat() }).await;
    rig.send(&Request { target: "/v1/messages".to_owned(), ..chat() }.body(r#"{"model":"claude-x"}"#)).await;
    rig.send(&chat().body(r#"{"model":"claude-x"}"#)).await;
    let asks = rig.broker.asks.lock().unwrap();
    let models: Vec<_> = asks.iter().map(|(provider, model, _)| (provider.as_str(), model.as_deref().unwrap())).collect();
    assert_eq!(
        models,
        [
            ("openai", "gpt-5"),
            ("openai", "gpt-5-mini"),
            ("openai", "gpt-5"),
            ("google", "g-2"),
            ("anthropic", "claude-x"),
            ("anthropic", "claude-x")
        ]
    );
    assert_eq!(asks[0].2, asks[1].2);
    assert_ne!(asks[0].2, asks[2].2);
    assert!(asks[2].2.is_some());
}

#[tokio::test]
async fn a_broker_hears_the_head_of_every_answer_good_or_not_before_what_came_of_it() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_for("ada", LlmFault::QuotaExhausted { reset_in_s: 3600 }, 1);
    let answer = rig.send(&Request { target: "/v1/messages".to_owned(), ..chat() }.body(r#"{"model":"claude-x"}"#)).await;
    assert_eq!(answer.status, 200);
    let heads: Vec<_> = rig.broker.log.heads().into_iter().map(|(account, status, left)| (account.0, status, left)).collect();
    assert_eq!(heads, [(1, 429, Some("1.0".to_owned())), (2, 200, Some("0.12".to_owned()))]);
}

#[tokio::test]
async fn without_an_answer_a_broker_hears_of_no_head() {
    let rig = Rig::start().await;
    rig.simulator.control().llm_fault_for("ada", LlmFault::DropBeforeResponse, 1);
    rig.send(&chat()).await;
    assert!(rig.broker.log.heads().iter().all(|(_, status, _)| *status == 200), "{:?}", rig.broker.log.heads());
}
