//! The dialects over HTTP: good answers whole and as streams, refusals, and what the ledger keeps of a request.

use crate::client::{Answer, Lab, NOW_MS};
use claviger_simulator::demo::{self, DemoAccount, DemoCredential};
use claviger_simulator::{CredentialSlot, CredentialVerdict, ExchangeEnd, TokenPolicy};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const TEXT: &str = "Hello from ada@example.com.";

/// A lab where `ada@example.com` has the login `at-1` and the key `sk-test-1`.
async fn lab() -> Lab {
    let lab = Lab::new(TokenPolicy::default()).await;
    lab.simulator.control().grant_issue_with("ada@example.com", "at-1", "rt-1", 3600);
    lab.simulator.control().api_key_add("sk-test-1", "ada@example.com");
    lab
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    kinds
}

fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)).filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn messages_answers_whole() {
    let lab = lab().await;
    let answer = lab.post("/v1/messages?beta=true", "at-1", &json!({ "model": "m-1", "messages": [] })).await;
    assert_eq!((answer.status, answer.at("/content/0/text"), answer.at("/model")), (200, TEXT.into(), "m-1".into()));
    assert_eq!((answer.at("/stop_reason"), answer.at("/type")), ("end_turn".into(), "message".into()));
    assert!(answer.json()["usage"]["output_tokens"].as_u64() > Some(0));
    assert_eq!(answer.header("anthropic-ratelimit-unified-status"), "allowed");
    assert!(answer.header("anthropic-ratelimit-unified-5h-reset").parse::<i64>().unwrap() > NOW_MS / 1000);
}

#[tokio::test]
async fn messages_streams_its_events_in_the_order_of_the_vendor() {
    let lab = lab().await;
    let answer = lab.post("/v1/messages", "at-1", &json!({ "model": "m-1", "stream": true })).await;
    let events = answer.events();
    let expected =
        ["message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop", "message_delta", "message_stop"];
    assert_eq!(kinds(&events), expected);
    assert_eq!(joined(&events, "/delta/text"), TEXT);
    assert!(answer.text().starts_with("event: message_start\ndata: {"));
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
}

#[tokio::test]
async fn chat_answers_whole_and_streams_role_text_end_and_usage() {
    let lab = lab().await;
    let whole = lab.post("/v1/chat/completions", "sk-test-1", &json!({ "model": "m" })).await;
    assert_eq!((whole.at("/choices/0/message/content"), whole.at("/object")), (TEXT.into(), "chat.completion".into()));
    assert_eq!(whole.header("x-ratelimit-remaining-requests"), "9999");

    let body = json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true } });
    let stream = lab.post("/chat/completions", "sk-test-1", &body).await;
    let events = stream.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(joined(&events, "/choices/0/delta/content"), TEXT);
    let [.., end, usage] = &events[..] else { panic!("too few events") };
    assert_eq!((&end["choices"][0]["finish_reason"], &end["usage"]), (&json!("stop"), &Value::Null));
    assert_eq!(usage["choices"], json!([]));
    assert!(usage["usage"]["total_tokens"].as_u64() > Some(0));
    assert!(stream.text().ends_with("data: [DONE]\n\n"));

    let plain = lab.post("/v1/chat/completions", "sk-test-1", &json!({ "model": "m", "stream": true })).await;
    assert!(plain.events().iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn responses_answers_whole_and_numbers_the_events_of_a_stream() {
    let lab = lab().await;
    let whole = lab.post("/v1/responses", "sk-test-1", &json!({ "model": "m", "input": "hi" })).await;
    assert_eq!((whole.at("/output/0/content/0/text"), whole.at("/status")), (TEXT.into(), "completed".into()));
    for path in ["/v1/responses", "/responses", "/backend-api/codex/responses", "/codex/responses"] {
        let stream = lab.post(path, "at-1", &json!({ "model": "m", "stream": true })).await;
        let events = stream.events();
        let expected = [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ];
        assert_eq!(kinds(&events), expected, "{path}");
        assert_eq!(joined(&events, "/delta"), TEXT);
        assert!(events.iter().enumerate().all(|(number, event)| event["sequence_number"] == number));
        let codex = stream.header("x-codex-primary-used-percent");
        assert_eq!(codex.is_empty(), !path.contains("codex"), "{path}");
    }
}

#[tokio::test]
async fn generate_answers_whole_as_events_and_as_an_array() {
    let lab = lab().await;
    let key = [("x-goog-api-key", "sk-test-1")];
    let whole = lab.ask("POST", "/v1beta/models/g-1:generateContent", &key, "{}").await;
    assert_eq!((whole.at("/candidates/0/content/parts/0/text"), whole.at("/modelVersion")), (TEXT.into(), "g-1".into()));
    let stream = lab.ask("POST", "/v1beta/models/g-1:streamGenerateContent?alt=sse", &key, "{}").await;
    let events = stream.events();
    assert_eq!((events.len(), joined(&events, "/candidates/0/content/parts/0/text").as_str()), (5, TEXT));
    assert_eq!(events[4]["candidates"][0]["finishReason"], "STOP");
    let array = lab.ask("POST", "/v1beta/models/g-1:streamGenerateContent?key=sk-test-1", &[], "{}").await;
    let array = array.json();
    assert_eq!(joined(array.as_array().unwrap(), "/candidates/0/content/parts/0/text"), TEXT);
}

#[tokio::test]
async fn the_small_endpoints_answer_in_their_vendors_shape() {
    let lab = lab().await;
    let key = [("x-api-key", "sk-test-1")];
    assert_eq!(lab.ask("GET", "/v1/models", &key, "").await.at("/object"), "list");
    assert_eq!(lab.ask("GET", "/models", &key, "").await.at("/data/0/id"), "sim-1");
    let anthropic = [key[0], ("anthropic-version", "2023-06-01")];
    assert_eq!(lab.ask("GET", "/v1/models", &anthropic, "").await.at("/data/0/type"), "model");
    assert_eq!(lab.ask("GET", "/v1beta/models", &key, "").await.at("/models/0/name"), "models/sim-1");
    assert_eq!(lab.ask("GET", "/v1/responses", &key, "").await.status, 426);
    assert!(lab.ask("POST", "/v1/messages/count_tokens", &key, "{}").await.json()["input_tokens"].is_u64());
    let body = r#"{"input":["a","b"],"encoding_format":"base64"}"#;
    let embeddings = lab.ask("POST", "/v1/embeddings", &key, body).await;
    assert_eq!((embeddings.at("/data/1/embedding"), embeddings.at("/data/1/index")), ("AAAAPwAAAL8AAAA/AAAAPw==".into(), "1".into()));
}

#[tokio::test]
async fn a_credential_that_was_not_issued_is_refused_in_the_words_of_the_dialect() {
    let lab = lab().await;
    let table = [
        ("/v1/messages", "/error/type", "authentication_error"),
        ("/v1/chat/completions", "/error/code", "invalid_api_key"),
        ("/v1/responses", "/error/code", "invalid_api_key"),
        ("/codex/responses", "/error/code", "token_invalidated"),
        ("/v1beta/models/g:generateContent", "/error/status", "UNAUTHENTICATED"),
    ];
    for (path, pointer, expected) in table {
        let answer = lab.post(path, "at-9", &json!({ "model": "m" })).await;
        assert_eq!((answer.status, answer.at(pointer).as_str()), (401, expected), "{path}");
    }
    assert_eq!(lab.ask("POST", "/v1/messages", &[], "{}").await.status, 401);
    let ledger = lab.simulator.ledger();
    assert_eq!((ledger.stale_credentials(), ledger.credentials_seen()), (table.len(), vec!["at-9".to_owned()]));
    assert_eq!(ledger.requests().last().unwrap().verdict, CredentialVerdict::Missing);
}

#[tokio::test]
async fn an_access_token_is_good_as_a_bearer_alone() {
    let lab = lab().await;
    assert_eq!(lab.ask("POST", "/v1/messages", &[("x-api-key", "at-1")], "{}").await.status, 401);
    assert_eq!(lab.ask("POST", "/v1/messages", &[("authorization", "Bearer at-1")], "{}").await.status, 200);
}

#[tokio::test]
async fn a_path_or_a_body_that_nobody_knows_is_refused_and_entered() {
    let lab = lab().await;
    assert_eq!(lab.post("/v1/v1/messages", "at-1", &json!({})).await.status, 404);
    let broken = lab.ask("POST", "/v1/messages", &[("authorization", "Bearer at-1")], "{").await;
    assert_eq!((broken.status, broken.at("/error/type")), (400, "invalid_request_error".into()));
    let statuses: Vec<_> = lab.simulator.ledger().requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(404), Some(400)]);
}

#[tokio::test]
async fn the_ledger_keeps_the_head_as_it_was_on_the_wire() {
    let lab = lab().await;
    let mut stream = tokio::net::TcpStream::connect(lab.simulator.addr()).await.unwrap();
    let body = "{\"model\":\"m\"}";
    for key in ["sk-test-1", "sk-test-9"] {
        let request = format!(
            "POST /v1/messages?key=q HTTP/1.1\r\nX-Zeta:  1 \r\nHost: x\r\nX-API-Key: {key}\r\nx-zeta: 2\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, if key == "sk-test-1" { b"HTTP/1.1 200" } else { b"HTTP/1.1 401" });
        // The first answer is still in the pipe when the second request is sent; nothing of it is needed.
        let mut rest = [0; 4096];
        assert!(stream.read(&mut rest).await.unwrap() > 0);
    }
    for (request, key) in lab.simulator.ledger().requests().iter().zip(["sk-test-1", "sk-test-9"]) {
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let length = body.len().to_string();
        let expected = [("X-Zeta", "1"), ("Host", "x"), ("X-API-Key", key), ("x-zeta", "2"), ("Content-Length", length.as_str())];
        assert_eq!(headers, expected);
        let slots: Vec<_> = request.credentials.iter().map(|seen| (seen.slot, seen.text.as_str())).collect();
        assert_eq!(slots, [(CredentialSlot::XApiKey, key), (CredentialSlot::Query, "q")]);
        assert_eq!((&request.body[..], request.header("host")), (body.as_bytes(), Some("x")));
        assert_eq!((request.path_and_query.as_str(), request.end), ("/v1/messages?key=q", ExchangeEnd::Completed));
    }
}

#[tokio::test]
async fn the_demo_has_two_logins_and_a_key_and_each_is_answered_by_name() {
    let lab = Lab::new(TokenPolicy::default()).await;
    let accounts = demo::seed(&lab.simulator.control());
    let mut answers = Vec::new();
    for DemoAccount { account, credential, .. } in accounts {
        let token = match credential {
            DemoCredential::OAuth(grant) => lab.refresh(&grant.refresh).await.at("/access_token"),
            DemoCredential::ApiKey(key) => key,
        };
        let answer = lab.post("/v1/messages", &token, &json!({})).await;
        answers.push(answer.at("/content/0/text"));
        assert!(lab.simulator.control().account_is_known(&account));
    }
    assert_eq!(answers, ["Hello from ada@example.com.", "Hello from bob@example.com.", "Hello from team@example.com."]);
}

#[tokio::test]
async fn the_console_expires_an_account_and_tells_the_ledger_without_a_token() {
    let lab = lab().await;
    let ask = |verb: &'static str, body: &'static str| lab.ask("POST", verb, &[], body);
    assert_eq!(ask("/__simulator/expire", r#"{"account":"ada@example.com"}"#).await.status, 200);
    assert_eq!(lab.post("/v1/messages", "at-1", &json!({})).await.status, 401);
    assert_eq!(ask("/__simulator/fault", r#"{"token":{"rate_limited":{"retry_after_s":2}}}"#).await.status, 200);
    assert_eq!(lab.refresh("rt-1").await.status, 429);
    let refreshed = lab.refresh("rt-1").await;
    let quota = r#"{"account":"ada@example.com","reset_in_s":60}"#;
    assert_eq!(ask("/__simulator/quota", quota).await.status, 200);
    let limited: Answer = lab.post("/v1/messages", &refreshed.at("/access_token"), &json!({})).await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "60"));
    assert_eq!(ask("/__simulator/clear", "").await.status, 200);
    assert_eq!(lab.post("/v1/messages", &refreshed.at("/access_token"), &json!({})).await.status, 200);

    for (path, body, status) in [
        ("/__simulator/expire", r#"{"account":"nobody"}"#, 404),
        ("/__simulator/expire", "{}", 400),
        ("/__simulator/quota", r#"{"acount":"ada@example.com"}"#, 400),
        ("/__simulator/explode", "{}", 404),
    ] {
        assert_eq!(ask(path, body).await.status, status, "{path} {body}");
    }
    let summary = lab.ask("GET", "/__simulator/ledger", &[], "").await;
    assert_eq!((summary.at("/refreshes"), summary.at("/token_posts/1/outcome")), ("2".into(), "rotated".into()));
    assert_eq!(summary.at("/requests/0/account"), "ada@example.com");
    let full = lab.ask("GET", "/__simulator/ledger?full=1", &[], "").await;
    assert_eq!(full.at("/token_posts/1/refresh_token"), "rt-1");
    for token in ["at-1", "rt-1", &refreshed.at("/access_token"), &refreshed.at("/refresh_token")] {
        assert!(!summary.text().contains(token) && full.text().contains(token), "{token}");
    }
}

#[tokio::test]
async fn the_console_logs_a_new_account_in_and_enters_a_key_for_it() {
    let lab = lab().await;
    let ask = |verb: &'static str, body: &'static str| lab.ask("POST", verb, &[], body);
    let grant = ask("/__simulator/login", r#"{"account":"eve@example.com"}"#).await;
    assert_eq!(lab.post("/v1/messages", &grant.at("/access"), &json!({})).await.at("/content/0/text"), "Hello from eve@example.com.");
    assert_eq!(lab.refresh(&grant.at("/refresh")).await.status, 200);
    assert_eq!(lab.post("/v1/messages", "sk-test-9", &json!({})).await.status, 401);
    assert_eq!(ask("/__simulator/key", r#"{"account":"fay@example.com","key":"sk-test-9"}"#).await.status, 200);
    assert_eq!(lab.post("/v1/messages", "sk-test-9", &json!({})).await.at("/content/0/text"), "Hello from fay@example.com.");
    for (path, body) in [("/__simulator/login", "{}"), ("/__simulator/key", r#"{"account":"fay@example.com"}"#)] {
        assert_eq!(ask(path, body).await.status, 400, "{path} {body}");
    }
}
