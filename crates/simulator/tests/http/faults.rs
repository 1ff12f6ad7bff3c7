//! Faults of the model side: each dialect's refusals, broken streams, holds, and clients that go away.

use std::pin::pin;

use crate::client::{Answer, Lab, NOW_MS};
use claviger_simulator::{ExchangeEnd, LlmFault, TokenPolicy};
use http_body_util::BodyExt;
use serde_json::json;

const BEARER: [(&str, &str); 1] = [("authorization", "Bearer at-1")];
const STREAM: &str = r#"{"model":"m","stream":true}"#;

async fn lab() -> Lab {
    let lab = Lab::new(TokenPolicy::default()).await;
    lab.simulator.control().grant_issue_with("ada", "at-1", "rt-1", 3600);
    lab.simulator.control().grant_issue_with("bob", "at-2", "rt-2", 3600);
    lab
}

async fn faulted(lab: &Lab, path: &str, fault: LlmFault) -> Answer {
    lab.simulator.control().llm_fault_next(fault);
    lab.post(path, "at-1", &json!({ "model": "m" })).await
}

#[tokio::test]
async fn a_used_up_quota_is_told_as_each_vendor_tells_it() {
    let lab = lab().await;
    let quota = || LlmFault::QuotaExhausted { reset_in_s: 600 };
    let reset_at = (NOW_MS / 1000 + 600).to_string();

    let messages = faulted(&lab, "/v1/messages", quota()).await;
    assert_eq!((messages.status, messages.at("/error/type")), (429, "rate_limit_error".into()));
    assert_eq!(messages.header("anthropic-ratelimit-unified-status"), "rejected");
    assert_eq!(messages.header("anthropic-ratelimit-unified-5h-reset"), reset_at);

    let chat = faulted(&lab, "/v1/chat/completions", quota()).await;
    assert_eq!((chat.status, chat.at("/error/code")), (429, "insufficient_quota".into()));

    let codex = faulted(&lab, "/backend-api/codex/responses", quota()).await;
    assert_eq!((codex.status, codex.at("/error/type")), (429, "usage_limit_reached".into()));
    assert_eq!((codex.at("/error/resets_at"), codex.header("x-codex-primary-reset-at")), (reset_at.clone(), &*reset_at));

    let generate = faulted(&lab, "/v1beta/models/g:generateContent", quota()).await;
    assert_eq!((generate.status, generate.at("/error/status")), (429, "RESOURCE_EXHAUSTED".into()));
    assert_eq!(generate.at("/error/details/0/reason"), "QUOTA_EXHAUSTED");
    assert_eq!(generate.at("/error/details/1/retryDelay"), "600s");
}

#[tokio::test]
async fn other_refusals_have_their_status_in_each_dialect() {
    let lab = lab().await;
    let paths = ["/v1/messages", "/v1/chat/completions", "/v1/responses", "/codex/responses", "/v1beta/models/g:generateContent"];
    let table = [
        (LlmFault::RateLimited { retry_after_s: 3 }, [429; 5]),
        (LlmFault::Overloaded, [529, 503, 503, 503, 503]),
        (LlmFault::Policy403, [403; 5]),
        (LlmFault::Unauthorized, [401; 5]),
        (LlmFault::ErrorMidStream { after_events: 1 }, [500; 5]),
    ];
    for (fault, expected) in table {
        for (path, status) in paths.into_iter().zip(expected) {
            assert_eq!(faulted(&lab, path, fault.clone()).await.status, status, "{path} {fault:?}");
        }
    }
    assert_eq!(lab.simulator.ledger().stale_credentials(), 0);
}

#[tokio::test]
async fn a_scripted_answer_is_given_as_it_is() {
    let lab = lab().await;
    let headers = vec![("content-type".into(), "text/plain".into()), ("x-odd".into(), "1".into())];
    let fault = LlmFault::Status { status: 418, headers, body: "short".into() };
    let answer = faulted(&lab, "/v1/messages", fault).await;
    assert_eq!((answer.status, answer.text(), answer.header("x-odd")), (418, "short".into(), "1"));
    assert_eq!(answer.headers.get_all("content-type").iter().count(), 1);
}

#[tokio::test]
async fn a_fault_of_one_account_spares_the_other_and_ends_after_its_times() {
    let lab = lab().await;
    let control = lab.simulator.control();
    control.llm_fault_for("ada", LlmFault::Unauthorized, 2);
    control.llm_fault_for("bob", LlmFault::Overloaded, u32::MAX);
    let mut seen = Vec::new();
    for token in ["at-1", "at-2", "at-1", "at-1", "at-2"] {
        seen.push(lab.post("/v1/messages", token, &json!({})).await.status);
    }
    assert_eq!(seen, [401, 529, 401, 200, 529]);
    control.llm_faults_clear();
    assert_eq!(lab.post("/v1/messages", "at-2", &json!({})).await.status, 200);
}

#[tokio::test]
async fn neither_a_bad_credential_nor_a_model_list_uses_a_fault_up() {
    let lab = lab().await;
    lab.simulator.control().llm_fault_next(LlmFault::Overloaded);
    assert_eq!(lab.post("/v1/messages", "at-9", &json!({})).await.status, 401);
    assert_eq!(lab.ask("GET", "/v1/models", &BEARER, "").await.status, 200);
    assert_eq!(lab.post("/v1/messages", "at-1", &json!({})).await.status, 529);
}

#[tokio::test]
async fn a_dropped_connection_gives_no_answer_and_is_entered_as_cut() {
    let lab = lab().await;
    lab.simulator.control().llm_fault_next(LlmFault::DropBeforeResponse);
    assert!(lab.send("POST", "/v1/messages", &BEARER, "{}").await.is_none());
    let request = lab.simulator.ledger().requests().remove(0);
    assert_eq!((request.status, request.end, request.account()), (None, ExchangeEnd::Cut, Some("ada")));
}

#[tokio::test]
async fn a_stream_breaks_after_exactly_the_events_that_were_asked_for() {
    let lab = lab().await;
    for (path, after_events) in [("/v1/messages", 4), ("/v1/chat/completions", 2), ("/v1/responses", 0)] {
        lab.simulator.control().llm_fault_next(LlmFault::DropMidStream { after_events });
        let answer = lab.ask("POST", path, &BEARER, STREAM).await;
        assert_eq!((answer.status, answer.is_cut, answer.events().len()), (200, true, after_events), "{path}");
    }
    let whole = faulted(&lab, "/v1/messages", LlmFault::DropMidStream { after_events: 1 }).await;
    assert!(whole.is_cut && !whole.body.is_empty() && serde_json::from_slice::<serde_json::Value>(&whole.body).is_err());
}

#[tokio::test]
async fn an_error_event_ends_a_stream_in_the_words_of_the_dialect() {
    let lab = lab().await;
    let table = [
        ("/v1/messages", "/error/type", "overloaded_error"),
        ("/v1/chat/completions", "/error/type", "server_error"),
        ("/v1/responses", "/code", "server_error"),
        ("/v1beta/models/g:streamGenerateContent?alt=sse", "/error/status", "UNAVAILABLE"),
    ];
    for (path, pointer, expected) in table {
        lab.simulator.control().llm_fault_next(LlmFault::ErrorMidStream { after_events: 3 });
        let answer = lab.ask("POST", path, &BEARER, STREAM).await;
        let events = answer.events();
        assert_eq!((answer.is_cut, events.len()), (false, 4), "{path}");
        assert_eq!(events[3].pointer(pointer).unwrap(), expected, "{path}");
    }
}

#[tokio::test]
async fn events_leave_one_by_one_and_an_abort_in_a_stalled_stream_is_noticed() {
    let lab = lab().await;
    lab.simulator.control().llm_fault_next(LlmFault::StallMidStream { after_events: 2 });
    let mut response = lab.send("POST", "/v1/messages", &BEARER, STREAM).await.unwrap();
    for start in ["event: message_start", "event: content_block_start"] {
        let frame = response.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(frame.starts_with(start.as_bytes()) && frame.ends_with(b"\n\n"), "{frame:?}");
    }
    let ledger = lab.simulator.ledger();
    assert_eq!(ledger.requests()[0].end, ExchangeEnd::Open);
    drop(response);
    ledger.wait_for(|ledger| ledger.requests()[0].is_aborted()).await;
}

#[tokio::test]
async fn an_abort_before_the_answer_is_noticed() {
    let lab = lab().await;
    lab.simulator.control().llm_fault_next(LlmFault::HoldUntilReleased);
    let ledger = lab.simulator.ledger();
    {
        let mut sent = pin!(lab.send("POST", "/v1/messages", &BEARER, "{}"));
        tokio::select! {
            _ = &mut sent => panic!("a held answer came"),
            () = ledger.wait_for(|ledger| ledger.held() == 1) => {}
        }
    }
    ledger.wait_for(|ledger| ledger.requests()[0].is_aborted() && ledger.held() == 0).await;
}

#[tokio::test]
async fn a_release_frees_every_held_answer() {
    let lab = lab().await;
    let control = lab.simulator.control();
    control.llm_fault_for("ada", LlmFault::HoldUntilReleased, 2);
    let ledger = lab.simulator.ledger();
    let release = async {
        ledger.wait_for(|ledger| ledger.held() == 2).await;
        control.release();
    };
    let body = json!({});
    let (one, two, ()) = tokio::join!(lab.post("/v1/messages", "at-1", &body), lab.post("/v1/messages", "at-1", &body), release);
    assert_eq!((one.status, two.status), (200, 200));
}

#[tokio::test]
async fn a_delayed_answer_is_good_and_a_stream_has_the_deltas_that_were_set() {
    let lab = lab().await;
    assert_eq!(faulted(&lab, "/v1/messages", LlmFault::Delay { ms: 1 }).await.status, 200);
    lab.simulator.control().stream_events_set(40, 1);
    let events = lab.ask("POST", "/v1/messages", &BEARER, STREAM).await.events();
    assert_eq!(events.iter().filter(|event| event["type"] == "content_block_delta").count(), 40);
}

#[tokio::test]
async fn a_stopped_simulator_refuses_connections_and_its_ledger_stays() {
    let lab = lab().await;
    lab.post("/v1/messages", "at-1", &json!({})).await;
    let (ledger, addr) = (lab.simulator.ledger(), lab.simulator.addr());
    lab.simulator.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    assert_eq!(ledger.requests_count(), 1);
}
