//! What is refused before anything else: foreign hosts and pages, climbing paths, ambiguous framing.

use crate::broker::{GOOD, key_text};
use crate::client::{self, Request};
use crate::rig::{Rig, Setup, chat};
use claviger_gateway::GatewayConfig;

#[tokio::test]
async fn foreign_hosts_and_pages_are_refused_on_every_route_before_any_key() {
    let rig = Rig::start().await;
    for target in ["/v1/messages", "/openai/v1/chat/completions", "/livez", "/healthz", "/nowhere"] {
        for (name, value) in
            [("host", "evil.example"), ("host", "127.0.0.1.nip.example:4100"), ("origin", "https://evil.example"), ("origin", "null")]
        {
            let mut request = Request { target: target.to_owned(), ..chat() };
            request.headers.push((name.to_owned(), value.to_owned()));
            let answer = rig.send(&request).await;
            assert_eq!(answer.status, 403, "{target} {name}: {value}");
            assert!(answer.header("access-control-allow-origin").is_none());
        }
    }
    assert_eq!(rig.broker.log.lines(), [""; 0]);
}

#[tokio::test]
async fn a_configured_name_is_answered() {
    let config = GatewayConfig { allowed_hosts: vec!["gate.example".to_owned()], ..GatewayConfig::default() };
    let rig = Rig::with(Setup { config, ..Setup::default() }).await;
    assert_eq!(rig.send(&chat().header("Host", "Gate.example:8443")).await.status, 200);
}

#[tokio::test]
async fn health_needs_no_key_and_names_its_request() {
    let rig = Rig::start().await;
    for (target, body) in
        [("/livez", "ok\n"), ("/readyz", "ok\n"), ("/healthz", concat!(r#"{"ok":true,"version":""#, env!("CARGO_PKG_VERSION"), r#""}"#))]
    {
        let answer = rig.send(&Request::new("GET", target)).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, body));
        assert!(answer.header("x-claviger-request-id").unwrap().starts_with("req_"));
    }
    assert_eq!(rig.send(&Request::new("POST", "/livez")).await.status, 405);
    // Live tokens are served: a prober must not take the process out, and a person can read why to look.
    rig.broker.degraded.store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = rig.send(&Request::new("GET", "/readyz")).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "degraded: an account is in quarantine, see claviger status\n"));
}

#[tokio::test]
async fn no_climbing_path_reaches_the_provider() {
    let rig = Rig::start().await;
    for path in [
        "/openai/../admin",
        "/openai/%2e%2e/admin",
        "/openai/v1/..%2f..%2fadmin",
        "/openai/.%2e/x",
        "/openai/%252e%252e/x",
        "/openai/v1/..;/x",
        "/openai/v1/%5c..%5c..",
        "/../v1/messages",
        "/v1/responses/../../x",
        "/v1beta/../v1/x",
        "/openai/a%00b",
        "/openai/a%0d%0ax:y",
        "/openai/..",
        "/openai/.",
        "/%2e%2e/openai/v1/x",
    ] {
        let answer = rig.raw(&Request { target: path.to_owned(), ..chat() }).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn paths_join_the_base_of_their_provider() {
    let rig = Rig::start().await;
    for (target, expected) in [
        ("/openai/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/chat/completions?a=%20&b", "/v1/chat/completions?a=%20&b"),
        ("/anthropic/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/google/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("/v1/responses/resp_1?x=1", "/v1/responses/resp_1?x=1"),
        ("/openai/v1/models/org%2Fname", "/v1/models/org%2Fname"),
        ("/openai//x", "/v1//x"),
    ] {
        rig.send(&Request { target: target.to_owned(), ..chat() }).await;
        assert_eq!(rig.ledger().requests().last().unwrap().path_and_query, expected, "{target}");
    }
}

#[tokio::test]
async fn the_list_of_models_follows_the_dialect_of_the_client() {
    let rig = Rig::start().await;
    let ask = || Request::new("GET", "/v1/models").header("x-api-key", &key_text(GOOD));
    assert_eq!(rig.send(&ask()).await.status, 200);
    assert_eq!(rig.send(&ask().header("anthropic-version", "2023-06-01")).await.status, 200);
    let providers: Vec<String> = rig.broker.asks.lock().unwrap().iter().map(|(provider, ..)| provider.clone()).collect();
    assert_eq!(providers, ["openai", "anthropic"]);
}

#[tokio::test]
async fn a_web_socket_is_answered_so_that_clients_fall_back_to_a_post() {
    let rig = Rig::start().await;
    for target in ["/v1/responses", "/openai/v1/responses"] {
        let request = Request::new("GET", target)
            .header("Authorization", &format!("Bearer {}", key_text(GOOD)))
            .header("Connection", "Upgrade, close")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let answer = client::raw(rig.addr, &request.bytes(rig.addr)).await;
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    }
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn ambiguous_framing_is_refused_or_means_one_request_on_a_connection_that_ends() {
    let rig = Rig::start().await;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\nx-api-key: {}\r\n", rig.addr, key_text(GOOD));
    let hidden = format!("GET /openai/hidden HTTP/1.1\r\nHost: {}\r\nx-api-key: {}\r\n\r\n", rig.addr, key_text(GOOD));
    for (framing, body) in [
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"),
        ("Content-Length: 2, 3\r\n", "{}x"),
        ("Content-Length: +2\r\n", "{}"),
        ("Content-Length: -2\r\n", "{}"),
        ("Content-Length: 0x2\r\n", "{}"),
        ("Transfer-Encoding: gzip\r\n", "{}"),
        ("Transfer-Encoding: chunked, identity\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("X: a\r\n folded\r\nContent-Length: 2\r\n", "{}"),
        ("X: a\0b\r\nContent-Length: 2\r\n", "{}"),
        ("X: a\rb\r\nContent-Length: 2\r\n", "{}"),
        ("Transfer-Encoding: chunked\r\n", "2;\n\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    ] {
        let answer = client::raw(rig.addr, format!("{head}{framing}\r\n{body}{hidden}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{framing:?}: {answer}");
    }
    assert_eq!(rig.ledger().requests_count(), 0);
    // RFC 9112 §6.3: chunked wins, and the connection ends, so that the rest can never become a request.
    for framing in ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"] {
        let before = rig.ledger().requests_count();
        let answer = client::raw(rig.addr, format!("{head}{framing}\r\n2\r\n{{}}\r\n0\r\n\r\n{hidden}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let requests = rig.ledger().requests();
        assert_eq!(requests.len(), before + 1);
        assert_eq!((requests[before].body.as_ref(), requests[before].path_and_query.as_str()), (b"{}".as_slice(), "/v1/chat/completions"));
        assert_eq!(requests[before].header("transfer-encoding"), None);
    }
}

#[tokio::test]
async fn an_absolute_target_for_another_host_is_refused() {
    let rig = Rig::start().await;
    let absolute =
        |host: &str| Request { target: format!("http://{host}/v1/chat/completions"), ..chat() }.header("Host", &rig.addr.to_string());
    assert!(rig.raw(&absolute("evil.example")).await.starts_with("HTTP/1.1 400 "));
    assert!(rig.raw(&absolute(&rig.addr.to_string())).await.starts_with("HTTP/1.1 200 "));
    let connect = Request { method: "CONNECT", target: "evil.example:443".to_owned(), ..chat() };
    assert!(rig.raw(&connect).await.starts_with("HTTP/1.1 4"));
}
