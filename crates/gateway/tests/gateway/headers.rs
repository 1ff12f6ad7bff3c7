//! What the provider sees is what the client sent, but for a named list.

use crate::broker::{GOOD, GOOD_TOO, Refresh, key_text};
use crate::client::Request;
use crate::rig::{Rig, Setup, chat};
use claviger_simulator::{LlmFault, LlmRequest};
use http::{HeaderName, header};
use serde_json::Value;

/// Headers that may differ: credentials, and what belongs to one connection.
const MAY_DIFFER: [&str; 6] = ["authorization", "x-api-key", "x-goog-api-key", "connection", "host", "content-length"];

struct Case {
    name: String,
    request: Request,
}

/// The requests that real agents send, as they were recorded; bodies are filled up to their recorded size.
fn recorded() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clients");
    let mut cases = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["type"] == "request" {
                cases.push(Case { name: path.file_stem().unwrap().to_string_lossy().into_owned(), request: replayed(&line) });
            }
        }
    }
    assert_eq!(cases.len(), 13);
    cases
}

fn replayed(line: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let query = text(&line["query"]);
    let target = if query.is_empty() { text(&line["path"]) } else { format!("{}?{query}", text(&line["path"])) };
    let headers = line["headers"].as_array().unwrap().iter().map(|pair| (text(&pair[0]), text(&pair[1]).replace("<KEY>", &key_text(GOOD))));
    let headers = headers.filter(|(name, _)| !matches!(name.to_ascii_lowercase().as_str(), "host" | "content-length")).collect();
    let mut body = line["body"].as_object().unwrap().clone();
    let wanted = usize::try_from(line["body_bytes"].as_u64().unwrap()).unwrap();
    let have = serde_json::to_string(&body).unwrap().len();
    // The doubled blanks, escapes and field order would not survive a round through any JSON library.
    body.insert("zz_filler".to_owned(), Value::String(" \\ é / <".repeat(wanted.saturating_sub(have) / 10)));
    let body = serde_json::to_string(&body).unwrap().replacen(':', " :  ", 1).replace('/', "\\/");
    Request { method: "POST", target, headers, body: body.into_bytes() }
}

fn comparable(headers: &[(String, String)]) -> Vec<(String, String)> {
    let lower = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    lower.filter(|(name, _)| !MAY_DIFFER.contains(&name.as_str())).collect()
}

fn assert_no_client_credential(request: &LlmRequest) {
    let seen = format!("{:?} {}", request.headers, request.path_and_query);
    assert!(!seen.contains("clv_") && !seen.contains("canary"), "{seen}");
    assert_eq!(request.credentials.len(), 1, "{seen}");
}

#[tokio::test]
async fn requests_of_real_agents_reach_the_provider_unchanged_but_for_the_named_headers() {
    let rig = Rig::start().await;
    for Case { name, request } in recorded() {
        let answer = rig.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{name}: {answer}");
        let seen = rig.ledger().requests().pop().unwrap();
        assert_eq!(comparable(&seen.headers), comparable(&request.headers), "{name}");
        assert!(seen.body == request.body, "{name}: the body differs");
        assert_eq!(seen.path_and_query, request.target, "{name}");
        assert_eq!(seen.method, "POST");
        assert_eq!(seen.header("host"), Some(rig.simulator.addr().to_string().as_str()), "{name}");
        assert_eq!(seen.header("content-length"), Some(request.body.len().to_string().as_str()), "{name}");
        assert_eq!(seen.header("connection"), None, "{name}");
        assert_no_client_credential(&seen);
        assert!(seen.verdict.is_good(), "{name}");
    }
}

#[tokio::test]
async fn a_key_is_read_from_every_slot_and_all_slots_are_emptied() {
    let rig = Rig::start().await;
    let key = key_text(GOOD);
    let bare = |target: &str| Request { headers: Vec::new(), target: target.to_owned(), ..chat() };
    let path = "/v1/chat/completions";
    for request in [
        bare(path).header("Authorization", &format!("Bearer {key}")),
        bare(path).header("x-api-key", &key),
        bare(path).header("x-goog-api-key", &key),
        bare(path).header("api-key", &key),
        bare(&format!("{path}?a=1&key={key}&b=2")),
        bare(&format!("{path}?key=canary"))
            .header("x-api-key", &key)
            .header("Authorization", "Bearer canary-real-key")
            .header("Cookie", "canary"),
        bare(path)
            .header("x-api-key", &key)
            .header("Authorization", &format!("Bearer {key}"))
            .header("Proxy-Authorization", "Basic canary"),
        bare(path).header("x-api-key", "").header("Authorization", "Bearer ").header("api-key", &key),
    ] {
        let answer = rig.send(&request).await;
        assert_eq!(answer.status, 200, "{request:?}: {}", answer.text());
        assert_no_client_credential(rig.ledger().requests().last().unwrap());
    }
    let queries: Vec<String> = rig.ledger().requests().iter().map(|request| request.path_and_query.replace(path, "")).collect();
    assert_eq!(queries, ["", "", "", "", "?a=1&b=2", "", "", ""]);
}

#[tokio::test]
async fn two_different_keys_are_refused() {
    let rig = Rig::start().await;
    let answer = rig.send(&chat().header("x-api-key", &key_text(GOOD_TOO))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn a_client_cannot_name_the_injected_header_away() {
    for header in [header::AUTHORIZATION, HeaderName::from_static("x-api-key")] {
        let accounts = vec![("ada", Refresh::Works)];
        let rig = Rig::with(Setup { accounts, header: header.clone(), ..Setup::default() }).await;
        let named = "close, Authorization, x-api-key, X-Mine, content-length, host";
        let request = chat().header("Connection", named).header("X-Mine", "1").header("X-Other", "2");
        drop(crate::client::raw(rig.addr, &request.bytes(rig.addr)).await);
        let seen = rig.ledger().requests().pop().unwrap();
        assert!(seen.header(header.as_str()).is_some(), "{:?}", seen.headers);
        assert_eq!((seen.header("x-mine"), seen.header("x-other")), (None, Some("2")));
        assert_eq!(seen.body, request.body);
        assert_no_client_credential(&seen);
    }
}

#[tokio::test]
async fn hop_by_hop_headers_end_here_and_all_others_keep_order_and_repetition() {
    let rig = Rig::start().await;
    let request = chat()
        .header("X-B", "1")
        .header("TE", "trailers")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("X-A", "a,  b")
        .header("X-B", "2")
        .header("Trailer", "x")
        .header("X-Unknown", "\u{e9}t\u{e9}")
        .header("X-Empty", "");
    rig.raw(&request).await;
    let seen = rig.ledger().requests().pop().unwrap();
    let passed = comparable(&seen.headers);
    let mine: Vec<_> = passed.iter().filter(|(name, _)| name.starts_with("x-") || name.starts_with('t')).collect();
    let pairs: Vec<(&str, &str)> = mine.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("x-b", "1"), ("x-b", "2"), ("x-a", "a,  b"), ("x-unknown", "\u{e9}t\u{e9}"), ("x-empty", "")]);
}

#[tokio::test]
async fn an_answer_keeps_its_headers_but_for_those_about_its_own_connection_and_origin() {
    let rig = Rig::start().await;
    let pairs = [
        ("content-type", "application/x-odd"),
        ("anthropic-ratelimit-unified-status", "allowed"),
        ("x-ratelimit-remaining-requests", "7"),
        ("retry-after", "3"),
        ("request-id", "req_upstream"),
        ("x-claviger-request-id", "forged"),
        ("x-named", "1"),
        ("connection", "x-named"),
        ("set-cookie", "canary=1"),
        ("alt-svc", "h3=\":443\""),
        ("strict-transport-security", "max-age=1"),
        ("www-authenticate", "Bearer"),
        ("proxy-authenticate", "Basic"),
        ("keep-alive", "timeout=1"),
    ];
    let headers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    rig.simulator.control().llm_fault_next(LlmFault::Status { status: 201, headers, body: "odd".to_owned() });
    let answer = rig.send(&chat()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (201, "odd"));
    for (name, value) in &pairs[..5] {
        assert_eq!(answer.header(name), Some(*value), "{name}");
    }
    assert!(answer.header("x-claviger-request-id").is_some_and(|id| id.starts_with("req_")));
    for (name, _) in &pairs[6..] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_get_goes_out_without_a_body_or_its_framing() {
    let rig = Rig::start().await;
    let answer = rig.send(&Request::new("GET", "/openai/v1/models").header("x-api-key", &key_text(GOOD))).await;
    assert_eq!(answer.status, 200);
    let seen = rig.ledger().requests().pop().unwrap();
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (None, None));
}
