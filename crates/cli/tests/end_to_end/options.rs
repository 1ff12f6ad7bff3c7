//! What a person sets for an account, from the command line to the wire.

use crate::stage::{HELLO, Stage, files_below};
use claviger_simulator::Rotation;
use claviger_testkit::leak::canary_search;
use std::io::Write;
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

const PASSWORD: &str = "canary-proxy-password-0001";

/// A stage with one login that lives.
async fn stage() -> Stage {
    let stage = Stage::new(Rotation::Strict).await;
    let issued = stage.simulator.control().grant_issue("ada");
    let login = format!(
        r#"{{"type":"oauth","access":"{}","refresh":"{}","expires":{},"email":"ada@example.com"}}"#,
        issued.access, issued.refresh, issued.expires_at_ms
    );
    std::fs::write(stage.path("login.json"), login).unwrap();
    stage.run(&["account", "add", "anthropic", "--from-json", stage.path("login.json").to_str().unwrap()]);
    stage
}

/// One request of a client that says who it is: the status and the body.
async fn ask(origin: &str, key: &str, client: &str, body: &str) -> (u16, String) {
    let address = origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\nuser-agent: {client}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_account_serves_the_vendors_own_client_and_tells_others_what_to_type() {
    let stage = stage().await;
    let key = stage.key_for(1);
    let served = stage.serve();
    assert_eq!(ask(&served.origin, &key, "curl/8", HELLO).await.0, 200);
    stage.run(&["account", "set", "1", "--own-client-only", "on"]);
    let (status, body) = ask(&served.origin, &key, "curl/8", HELLO).await;
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("claviger account set 1 --own-client-only off"), "{body}");
    let own = "claude-cli/2.1.0 (external, cli)";
    assert_eq!(ask(&served.origin, &key, own, HELLO).await.0, 200);
    let ledger = stage.simulator.ledger().requests();
    assert_eq!(ledger.iter().map(|request| request.header("user-agent")).collect::<Vec<_>>(), [Some("curl/8"), Some(own)]);
    stage.run(&["account", "set", "1", "--own-client-only", "default"]);
    assert_eq!(ask(&served.origin, &key, "curl/8", HELLO).await.0, 200, "what is at the simulator is not the vendor's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_prefix_is_for_those_who_ask_for_it_and_never_reaches_the_provider() {
    let stage = stage().await;
    stage.run(&["account", "set", "1", "--model-prefix", "team-a"]);
    let key = stage.key_for(1);
    let served = stage.serve();
    let (status, body) = ask(&served.origin, &key, "curl/8", HELLO).await;
    assert_eq!(status, 403, "{body}");
    let asked = HELLO.replace("\"m\"", "\"team-a/m\"");
    assert_eq!(ask(&served.origin, &key, "curl/8", &asked).await.0, 200);
    let requests = stage.simulator.ledger().requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body, HELLO.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_with_a_password_carries_requests_and_refreshes_and_its_password_stays_in_the_vault() {
    let stage = stage().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://me:{PASSWORD}@{}", listener.local_addr().unwrap());
    let mut set = stage.command(&["account", "set", "1", "--proxy", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(url.as_bytes()).unwrap();
    assert!(set.wait_with_output().unwrap().status.success());
    let key = stage.key_for(1);
    let served = stage.serve();

    stage.simulator.control().account_expire("ada");
    let answered = async {
        assert_eq!(ask(&served.origin, &key, "curl/8", HELLO).await.0, 200);
        let targets = stage.simulator.origin().replace("http://", "");
        (stage.simulator.ledger().refreshes(), targets)
    };
    let mut heads = Vec::new();
    let (refreshes, target) = {
        let mut answered = std::pin::pin!(answered);
        let mut tunnels = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                done = &mut answered => break done,
                accepted = listener.accept() => {
                    let mut client = accepted.unwrap().0;
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        head.push(char::from(client.read_u8().await.unwrap()));
                    }
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let mut server = TcpStream::connect(head.split(' ').nth(1).unwrap()).await.unwrap();
                    heads.push(head);
                    tunnels.spawn(async move { drop(copy_bidirectional(&mut client, &mut server).await) });
                }
            }
        }
    };
    assert_eq!(refreshes, 1);
    assert_eq!(heads.len(), 2, "one for requests, one for the refresh: {heads:?}");
    assert!(heads.iter().all(|head| head.starts_with(&format!("CONNECT {target} ")) && head.contains("proxy-authorization: Basic ")));
    drop(served);
    for (path, bytes) in files_below(&stage.path(".")) {
        assert_eq!(canary_search(&bytes, &[PASSWORD]), [], "{}", path.display());
    }
}
