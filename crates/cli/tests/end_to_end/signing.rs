//! Requests that are signed instead of carrying a key: from a profile of AWS in a home to a server that checks every signature.

use crate::stage::{Stage, files_below};
use claviger_domain::profile::SigningRule;
use claviger_domain::time::Timestamp;
use claviger_providers::ambient::{AwsKeys, sign};
use claviger_simulator::Rotation;
use claviger_testkit::leak::canary_search;
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &str = "canary-aws-secret-key-0001";
const SESSION: &str = "canary-aws-session-0001";
/// A model whose name has a colon, as its clients write it.
const PATH: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";

/// One request as it came: its head in lines, and its body.
async fn received(stream: &mut TcpStream) -> Option<(Vec<String>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let lines: Vec<String> = String::from_utf8(bytes[..head].to_vec()).unwrap().split("\r\n").map(str::to_owned).collect();
    let length: usize = header(&lines, "content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head + 4 + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some((lines, bytes[head + 4..head + 4 + length].to_vec()))
}

fn header<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().filter_map(|line| line.split_once(": ")).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether the signature is the one that these keys make of what came.
fn is_signed(lines: &[String], body: &[u8], origin: &str, keys: &str) -> bool {
    let mut words = lines[0].split(' ');
    let mut request = http::Request::builder().method(words.next().unwrap()).uri(words.next().unwrap());
    if let Some(kind) = header(lines, "content-type") {
        request = request.header("content-type", kind);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let date = header(lines, "x-amz-date").unwrap();
    let signed_at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    let now = Timestamp(signed_at.timestamp().as_millisecond());
    let rule = SigningRule { region: "eu-central-1".to_owned(), service: "bedrock".to_owned() };
    sign(&AwsKeys::of_text(keys).unwrap(), &rule, &mut parts, (&origin.parse().unwrap(), body), now).unwrap();
    header(lines, "authorization") == Some(parts.headers["authorization"].to_str().unwrap())
}

/// A Bedrock that answers 200 to what these keys have signed, and tells what came.
async fn bedrock(keys: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (told, heard) = tokio::sync::mpsc::unbounded_channel();
    let here = origin.clone();
    let serving = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some((lines, body)) = received(&mut stream).await else { continue };
            let status = if is_signed(&lines, &body, &here, keys) { "200 OK" } else { "403 Forbidden" };
            told.send(lines).unwrap();
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    #[expect(clippy::disallowed_methods, reason = "a server of this test, which ends with its runtime")]
    drop(tokio::spawn(serving));
    (origin, heard)
}

/// A stage whose Bedrock is there; `config` goes on with the configuration.
async fn stage(origin: &str, config: &str) -> Stage {
    let stage = Stage::new(Rotation::Strict).await;
    let overlay =
        format!("[providers.amazon-bedrock]\nbase_url = \"{origin}\"\n[providers.amazon-bedrock.values]\nregion = \"eu-central-1\"\n");
    std::fs::write(stage.path("settings/providers.d/bedrock.toml"), overlay).unwrap();
    std::fs::write(stage.path("settings/config.toml"), format!("[export]\nallow = true\n{config}")).unwrap();
    stage
}

fn virtual_key(stage: &Stage) -> String {
    stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned()
}

/// Sends a head and a body, and gives the status and the body of the answer.
async fn ask(origin: &str, key: &str, length: usize, body: &[u8]) -> (u16, String) {
    let address = origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /amazon-bedrock{PATH} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
         content-type: application/json\r\nx-amz-security-token: the-clients\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_aws_signs_what_the_provider_can_verify_and_its_keys_go_nowhere() {
    let (origin, mut heard) = bedrock("AKIATEAM\ncanary-aws-secret-key-0001").await;
    let stage = stage(&origin, "[providers.amazon-bedrock]\nmachine_login = \"team\"\n").await;
    std::fs::create_dir(stage.path("user/.aws")).unwrap();
    let file = stage.path("user/.aws/credentials");
    std::fs::write(&file, format!("[team]\naws_access_key_id = AKIATEAM\naws_secret_access_key = {SECRET}\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let key = virtual_key(&stage);
    let served = stage.serve();

    let body = br#"{"messages":[{"role":"user","content":[{"text":"hello"}]}]}"#;
    let (status, answer) = ask(&served.origin, &key, body.len(), body).await;
    assert_eq!(status, 200, "{answer}");
    let lines = heard.recv().await.unwrap();
    assert_eq!(lines[0], format!("POST {PATH} HTTP/1.1"));
    assert_eq!(header(&lines, "x-amz-security-token"), None, "what the client brought is not sent");
    assert!(!lines.concat().contains("clv_"));

    let (status, answer) = ask(&served.origin, &key, 64 * 1024 * 1024, b"").await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("signs its requests"), "{answer}");

    let listed = stage.json(&["account", "list"]);
    let account = &listed["accounts"][0];
    assert_eq!((&account["label"], &account["source"]), (&"aws profile team".into(), &"config".into()));
    assert_eq!(account["standing"]["state"], "active", "{account}");
    let refused = stage.command(&["token", "amazon-bedrock"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("signs requests"), "{said}");
    drop(served);
    let log = (stage.path("serve.log"), std::fs::read(stage.path("serve.log")).unwrap());
    for (path, bytes) in files_below(&stage.path("home")).into_iter().chain([log]) {
        assert_eq!(canary_search(&bytes, &[SECRET]).len(), 0, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_keys_of_the_environment_sign_and_their_session_token_goes_along() {
    let (origin, mut heard) = bedrock("AKIAENV\ncanary-aws-secret-key-0001\ncanary-aws-session-0001").await;
    let stage = stage(&origin, "").await;
    let key = virtual_key(&stage);
    let variables = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_SESSION_TOKEN", SESSION)];
    let served = stage.serve_within(&variables);
    let (status, answer) = ask(&served.origin, &key, 2, b"{}").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(header(&heard.recv().await.unwrap(), "x-amz-security-token"), Some(SESSION));
    drop(served);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_process_is_run_and_what_is_missing_is_said_with_what_to_do() {
    let (origin, _heard) = bedrock("AKIAPROC\ncanary-aws-secret-key-0001").await;
    let stage = stage(&origin, "[providers.amazon-bedrock]\nmachine_login = \"team\"\n").await;
    let key = virtual_key(&stage);
    let served = stage.serve();
    assert_eq!(ask(&served.origin, &key, 2, b"{}").await.0, 403);
    let said = String::from_utf8(stage.run(&["account", "list"]).stdout).unwrap();
    assert!(said.contains("needs login"), "{said}");
    let listed = stage.json(&["account", "list"]);
    assert!(listed["accounts"][0]["standing"]["cause"].as_str().unwrap().contains("aws configure --profile team"), "{listed}");
    drop(served);

    std::fs::create_dir(stage.path("user/.aws")).unwrap();
    let printed = format!(r#"{{"Version":1,"AccessKeyId":"AKIAPROC","SecretAccessKey":"{SECRET}"}}"#);
    let config = format!("[profile team]\ncredential_process = /usr/bin/printf %s '{printed}'\n");
    std::fs::write(stage.path("user/.aws/config"), config).unwrap();
    std::fs::set_permissions(stage.path("user/.aws/config"), PermissionsExt::from_mode(0o600)).unwrap();
    let served = stage.serve();
    let (status, answer) = ask(&served.origin, &key, 2, b"{}").await;
    assert_eq!(status, 200, "{answer}");
    drop(served);
}
