//! Our own errors in the shape of each dialect.

use crate::broker::{GOOD, GOOD_TOO, NARROW, REVOKED, key_text};
use crate::client::{Answer, Request};
use crate::rig::{Rig, chat};
use insta::assert_snapshot;

/// Status, the headers that matter, and the body with the id of the request blanked.
fn shown(answer: &Answer) -> String {
    let id = answer.header("x-claviger-request-id").unwrap();
    for name in ["request-id", "x-request-id"] {
        assert_eq!(answer.header(name), Some(id), "{name}");
    }
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.text().contains(id), "people see messages and not headers");
    assert_eq!(answer.header("x-should-retry"), (answer.status == 401).then_some("false"), "a refused key is refused again");
    let retry = answer.header("retry-after").map_or(String::new(), |wait| format!(" retry-after {wait}"));
    format!("{}{retry} {}", answer.status.as_u16(), answer.text().replace(id, "ID"))
}

fn keyless(target: &str) -> Request {
    Request::new("POST", target).body("{}")
}

#[tokio::test]
async fn a_missing_key_is_said_in_every_dialect() {
    let rig = Rig::start().await;
    assert_snapshot!(shown(&rig.send(&keyless("/v1/messages")).await), @r#"401 {"type":"error","error":{"type":"authentication_error","message":"no virtual key in this request: create one with `claviger key create` and send it as the API key (ID)"},"request_id":"ID"}"#);
    assert_snapshot!(shown(&rig.send(&keyless("/v1/chat/completions")).await), @r#"401 {"error":{"message":"no virtual key in this request: create one with `claviger key create` and send it as the API key (ID)","type":"authentication_error","code":"virtual_key_missing"}}"#);
    assert_snapshot!(shown(&rig.send(&keyless("/v1/responses")).await), @r#"401 {"error":{"message":"no virtual key in this request: create one with `claviger key create` and send it as the API key (ID)","type":"authentication_error","code":"virtual_key_missing"}}"#);
    assert_snapshot!(shown(&rig.send(&keyless("/v1beta/models/m:generateContent")).await), @r#"401 {"error":{"code":401,"message":"no virtual key in this request: create one with `claviger key create` and send it as the API key (ID)","status":"UNAUTHENTICATED"}}"#);
    assert_snapshot!(shown(&rig.send(&keyless("/anthropic/x")).await), @r#"401 {"type":"error","error":{"type":"authentication_error","message":"no virtual key in this request: create one with `claviger key create` and send it as the API key (ID)"},"request_id":"ID"}"#);
    assert_snapshot!(shown(&rig.send(&keyless("/google/x")).await), @r#"401 {"error":{"code":401,"message":"no virtual key in this request: create one with `claviger key create` and send it as the API key (ID)","status":"UNAUTHENTICATED"}}"#);
}

#[tokio::test]
async fn every_refusal_of_a_key_says_what_to_do() {
    let rig = Rig::start().await;
    let with = |key: String| Request { headers: vec![("x-api-key".to_owned(), key)], ..chat() };
    assert_snapshot!(shown(&rig.send(&with(key_text(REVOKED))).await), @r#"401 {"error":{"message":"this virtual key was revoked: create one with `claviger key create` (ID)","type":"authentication_error","code":"virtual_key_revoked"}}"#);
    assert_snapshot!(shown(&rig.send(&with(key_text(99))).await), @r#"401 {"error":{"message":"this virtual key is not known here: create one with `claviger key create` (ID)","type":"authentication_error","code":"virtual_key_unknown"}}"#);
    assert_snapshot!(shown(&rig.send(&with(key_text(NARROW))).await), @r#"403 {"error":{"message":"this virtual key may not use openai (ID)","type":"permission_error","code":"provider_denied"}}"#);
    assert_snapshot!(shown(&rig.send(&with(format!("{}x", key_text(GOOD)))).await), @r#"401 {"error":{"message":"the virtual key is damaged: its checksum does not fit; `claviger key create` makes a new one (ID)","type":"authentication_error","code":"virtual_key_damaged"}}"#);
    assert_snapshot!(shown(&rig.send(&with(key_text(GOOD)).header("api-key", &key_text(GOOD_TOO))).await), @r#"400 {"error":{"message":"two different virtual keys in one request: send one (ID)","type":"invalid_request_error","code":"virtual_keys_differ"}}"#);
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_is() {
    let rig = Rig::start().await;
    let at = |target: &str| Request { target: target.to_owned(), ..chat() };
    assert_snapshot!(shown(&rig.send(&at("/v1/files")).await), @r#"404 {"error":{"message":"no such route: use /{provider}/{path}, or the route of a dialect such as /v1/chat/completions (ID)","type":"invalid_request_error","code":"route_unknown"}}"#);
    assert_snapshot!(shown(&rig.send(&at("/nobody/v1/messages")).await), @r#"404 {"type":"error","error":{"type":"not_found_error","message":"no provider \"nobody\" is known here (ID)"},"request_id":"ID"}"#);
    assert_snapshot!(shown(&rig.send(&at("/openai/%2e%2e/x")).await), @r#"400 {"error":{"message":"the path is refused: it climbs, or holds control characters (ID)","type":"invalid_request_error","code":"path_refused"}}"#);
}
