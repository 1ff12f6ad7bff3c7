//! What a person sets for accounts: the vendor's own client alone, a model prefix, a proxy; and what a provider does: a host.

use crate::broker::{GOOD, key_text};
use crate::client::Request;
use crate::rig::{Rig, chat};
use claviger_runtime::Supervisor;
use claviger_simulator::{Simulator, SimulatorConfig};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

fn keyed(path: &str, body: &str) -> Request {
    Request::new("POST", path).header("x-api-key", &key_text(GOOD)).header("content-type", "application/json").body(body)
}

#[tokio::test]
async fn a_client_that_is_not_the_vendors_own_is_told_so_in_its_own_dialect() {
    let rig = Rig::start().await;
    rig.broker.own_client_only.store(true, Ordering::Relaxed);
    for (path, where_the_code_is) in [
        ("/v1/messages", "\"type\":\"permission_error\""),
        ("/v1/chat/completions", "\"code\":\"own_client_only\""),
        ("/v1/responses", "\"code\":\"own_client_only\""),
        ("/v1beta/models/m:generateContent", "\"status\":\"PERMISSION_DENIED\""),
    ] {
        let answer = rig.send(&keyed(path, r#"{"model":"m"}"#).header("user-agent", "my-own-client/1")).await;
        assert_eq!(answer.status, 403, "{path}");
        let text = answer.text();
        assert!(text.contains(where_the_code_is), "{path}: {text}");
        assert!(text.contains("serves the vendor's own client only"), "{path}: {text}");
        assert!(text.contains("claviger account set 1 --own-client-only off"), "{path}: {text}");
    }
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn the_vendors_own_client_is_known_by_its_headers_which_pass_unchanged() {
    let rig = Rig::start().await;
    rig.broker.own_client_only.store(true, Ordering::Relaxed);
    let answer = rig.send(&chat().header("user-agent", "Own-Client/2.1 (external, cli)")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(*rig.broker.limits.lock().unwrap(), [(None, true)]);
    assert_eq!(rig.ledger().requests()[0].header("user-agent"), Some("Own-Client/2.1 (external, cli)"));
}

#[tokio::test]
async fn a_model_prefix_leads_to_its_accounts_and_goes_no_further() {
    let rig = Rig::start().await;
    let body = r#"{ "messages":[{"role":"user","content":"team-a/x"}], "model" : "team-a/gpt-5" }"#;
    let answer = rig.send(&chat().body(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(*rig.broker.limits.lock().unwrap(), [(Some("team-a".to_owned()), false)]);
    assert_eq!(rig.broker.asks.lock().unwrap()[0].1.as_deref(), Some("gpt-5"), "blocks and plans are about the model itself");
    let sent = String::from_utf8(rig.ledger().requests()[0].body.to_vec()).unwrap();
    assert_eq!(sent, body.replace("\"team-a/gpt-5\"", "\"gpt-5\""));
}

#[tokio::test]
async fn a_body_whose_model_has_no_known_prefix_goes_out_as_it_came() {
    let rig = Rig::start().await;
    let body = r#"{ "model" : "team-b\/gpt-5","messages":[{"role":"user","content":"hi"}] }"#;
    assert_eq!(rig.send(&chat().body(body)).await.status, 200);
    assert_eq!(*rig.broker.limits.lock().unwrap(), [(None, false)]);
    assert_eq!(rig.ledger().requests()[0].body, body.as_bytes());
}

/// A proxy that opens every tunnel and writes down the heads that it was sent.
async fn proxy(supervisor: &Arc<Supervisor>) -> (String, watch::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap().to_string();
    let (heads, seen) = watch::channel(Vec::new());
    let heads = Arc::new(heads);
    let owner = Arc::clone(supervisor);
    supervisor.spawn("proxy", async move {
        while let Ok((client, _)) = listener.accept().await {
            owner.spawn("tunnel", tunnel(client, Arc::clone(&heads)));
        }
    });
    (place, seen)
}

async fn tunnel(mut client: TcpStream, heads: Arc<watch::Sender<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    heads.send_modify(|heads| heads.push(head));
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let mut server = TcpStream::connect(target).await.unwrap();
    let _ended = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn an_accounts_requests_go_through_its_proxy_and_nothing_of_the_proxy_reaches_the_provider() {
    let rig = Rig::start().await;
    let (place, seen) = proxy(&rig.supervisor).await;
    *rig.broker.proxy.lock().unwrap() = Some(format!("http://me:canary-pw@{place}").parse().unwrap());
    for _ in 0..2 {
        let answer = rig.send(&chat()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let origin = rig.simulator.origin().replace("http://", "");
    let basic = "proxy-authorization: Basic bWU6Y2FuYXJ5LXB3";
    assert_eq!(*seen.borrow(), [format!("CONNECT {origin} HTTP/1.1\r\nhost: {origin}\r\n{basic}\r\n\r\n")], "one tunnel carries both");
    let requests = rig.ledger().requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_told_without_its_password_and_nothing_goes_around_it() {
    let rig = Rig::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    *rig.broker.proxy.lock().unwrap() = Some(format!("http://me:canary-pw@{gone}").parse().unwrap());
    let request = chat();
    let (answer, ()) = tokio::join!(rig.send(&request), async {
        rig.clock.slept(Duration::from_millis(500)).await;
        rig.clock.advance(Duration::from_millis(500));
        rig.clock.slept(Duration::from_secs(1)).await;
        rig.clock.advance(Duration::from_secs(1));
    });
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(!answer.text().contains("canary-pw"));
    assert_eq!(rig.ledger().requests_count(), 0);
}

#[tokio::test]
async fn an_account_with_a_host_of_its_own_is_served_there_and_not_at_the_base() {
    let rig = Rig::start().await;
    let own = Simulator::start(SimulatorConfig::default()).await.unwrap();
    *rig.broker.origin.lock().unwrap() = Some(Arc::new(own.origin().parse().unwrap()));
    rig.send(&chat()).await;
    assert!(own.ledger().requests_count() > 0);
    assert_eq!(rig.ledger().requests_count(), 0);
}
