//! Canary secrets through whole flows, then a search for them in everything that was written.

use crate::stage::{Served, Stage, files_below, post, post_raw};
use claviger_simulator::{LlmFault, Rotation, TokenFault};
use claviger_testkit::leak::canary_search;
use claviger_testkit::proof_row;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const CANARIES: [&str; 4] =
    ["canary-access-7c1f9e2b40d8", "canary-refresh-a94e6d03bb17", "canary-apikey-51c0f7d2e6a8", "canary-garbled-0e8b7a6c5d4f"];

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_output_log_database_or_error() {
    let stage = Stage::new(Rotation::Grace { grace_s: 60 }).await;
    let [access, refresh, api_key, garbled] = CANARIES;
    let control = stage.simulator.control();
    let issued = control.grant_issue_with("ada", access, refresh, -10);
    control.api_key_add(api_key, "team");
    let login = |file: &str, text: String| {
        std::fs::write(stage.path("user").join(file), text).unwrap();
        stage.path("user").join(file).to_str().unwrap().to_owned()
    };
    let oauth = login(
        "oauth.json",
        format!(
            r#"{{"type":"oauth","access":"{access}","refresh":"{refresh}","expires":{},"email":"ada@example.com"}}"#,
            issued.expires_at_ms
        ),
    );
    let key_file = login("key.json", format!(r#"{{"type":"api_key","key":"{api_key}"}}"#));
    let broken = login("broken.json", format!(r#"{{"type":"oauth","access":"{garbled}","refresh":7}}"#));
    let mut outputs = Vec::new();
    let mut keep = |output: std::process::Output| {
        outputs.extend(output.stdout);
        outputs.extend(output.stderr);
    };
    keep(stage.run(&["-vv", "account", "add", "anthropic", "--from-json", &oauth]));
    keep(stage.run(&["-vv", "account", "add", "openai", "--from-json", &key_file]));
    keep(stage.command(&["-vv", "account", "add", "anthropic", "--from-json", &broken]).output().unwrap());
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();

    // A lost answer, garbage, a refusal that echoes the credential, and good answers.
    for fault in [TokenFault::CloseAfterCommit, TokenFault::Garbage] {
        control.token_fault_next(fault);
    }
    let echo = format!(r#"{{"error":{{"message":"bad key {api_key}","type":"invalid_request_error"}}}}"#);
    control.llm_fault_for("team", LlmFault::Status { status: 401, headers: Vec::new(), body: echo }, 1);
    let served = stage.serve();
    for path in ["/v1/messages", "/v1/chat/completions", "/v1/messages", "/openai/v1/chat/completions"] {
        let (_, body) = post(&served.origin, path, &key).await;
        outputs.extend(body.into_bytes());
    }
    for arguments in [&["account", "list"][..], &["status"], &["ps"], &["doctor"], &["key", "list"], &["account", "show", "1"]] {
        let output = stage.command(arguments).output().unwrap();
        outputs.extend(output.stdout);
        outputs.extend(output.stderr);
    }

    let posts = stage.simulator.ledger().token_posts();
    let issued: Vec<String> = posts.iter().filter_map(|post| post.refresh_token.clone()).collect();
    let seen = stage.simulator.ledger().credentials_seen();
    let mut canaries: Vec<&str> = CANARIES.to_vec();
    canaries.extend(issued.iter().map(String::as_str));
    canaries.extend(seen.iter().map(String::as_str));
    canaries.push(&key);

    assert!(!outputs.is_empty());
    assert_eq!(canary_search(&outputs, &canaries), [], "in what was printed or answered");
    let files =
        files_below(&stage.path("home")).into_iter().chain([(stage.path("serve.log"), std::fs::read(stage.path("serve.log")).unwrap())]);
    let mut names = Vec::new();
    for (path, bytes) in files {
        assert_eq!(canary_search(&bytes, &canaries), [], "in {}", path.display());
        names.push(path);
    }
    assert!(names.iter().any(|path| path.ends_with("vault.db")), "{names:?}");
    drop(served);

    // The control: a planted leak is found, in the same way and in the same place.
    let planted = stage.path("home").join("planted");
    std::fs::write(&planted, format!("GET /?key={refresh}")).unwrap();
    let found = files_below(&stage.path("home")).into_iter().any(|(_, bytes)| !canary_search(&bytes, &canaries).is_empty());
    assert!(found, "the search finds nothing at all");
}

/// What this test looks through.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn run(&mut self, stage: &Stage, arguments: &[&str]) -> std::process::Output {
        let output = stage.command(arguments).output().unwrap();
        self.0.push((arguments.join(" "), [output.stdout.as_slice(), &output.stderr].concat()));
        output
    }

    fn succeeds(&mut self, stage: &Stage, arguments: &[&str]) {
        let output = self.run(stage, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Every file below the folders; those that hold secrets on purpose are left out by name.
    fn files(&mut self, folders: &[PathBuf], but: &[&Path]) {
        for (path, bytes) in folders.iter().flat_map(|folder| files_below(folder)) {
            if !but.contains(&path.as_path()) {
                self.0.push((path.display().to_string(), bytes));
            }
        }
    }

    fn check(&self, canaries: &BTreeSet<String>) {
        let canaries: Vec<&str> = canaries.iter().map(String::as_str).collect();
        for (place, bytes) in &self.0 {
            assert_eq!(canary_search(bytes, &canaries), [], "in {place}");
        }
    }
}

fn private_file(path: &Path, text: &str) -> String {
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_of_everything_an_answer_a_backup_or_what_a_killed_server_leaves() {
    let stage = Stage::new(Rotation::Strict).await;
    let control = stage.simulator.control();
    let mut outputs = Outputs::default();
    let mut canaries: BTreeSet<String> =
        ["canary-live-0b5d8e12c7fa", "canary-rt-77aa03b1e95c", "canary-apikey-2d90c4e8fb16"].map(str::to_owned).into();
    let issued = control.grant_issue_with("ada", "canary-live-0b5d8e12c7fa", "canary-rt-77aa03b1e95c", -10);
    control.api_key_add("canary-apikey-2d90c4e8fb16", "team");
    let login = format!(
        r#"{{"type":"oauth","access":"{}","refresh":"{}","expires":{},"email":"ada@example.com"}}"#,
        issued.access, issued.refresh, issued.expires_at_ms
    );
    let login = private_file(&stage.path("user/login.json"), &login);
    let api_key = private_file(&stage.path("user/key.json"), r#"{"type":"api_key","key":"canary-apikey-2d90c4e8fb16"}"#);
    let kit_passphrase = private_file(&stage.path("user/kit-passphrase"), "canary kit passphrase 51f0\n");
    canaries.insert("canary kit passphrase 51f0".to_owned());
    let key_file = files_below(&stage.path("settings"))
        .into_iter()
        .map(|(path, _)| path)
        .find(|path| path.extension().is_some_and(|end| end == "key"));
    let key_file = key_file.unwrap();
    canaries.insert(std::fs::read_to_string(&key_file).unwrap().lines().last().unwrap().to_owned());

    let served = stage.serve_with(&["-vv"]);
    outputs.succeeds(&stage, &["-vv", "account", "add", "anthropic", "--from-json", &login]);
    outputs.succeeds(&stage, &["-vv", "account", "add", "openai", "--from-json", &api_key]);
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();
    canaries.insert(key.clone());
    gateway(&stage, &served.origin, &key, &mut outputs, &mut canaries).await;
    socket(&stage, &mut outputs, &mut canaries);
    for command in [
        &["account", "list"][..],
        &["account", "show", "1"],
        &["status"],
        &["ps"],
        &["doctor"],
        &["key", "list"],
        &["config", "show"],
        &["seal", "status"],
    ] {
        outputs.run(&stage, &[&["-vv"], command].concat());
        outputs.run(&stage, &[command, &["--json"]].concat());
    }
    let (backup, kit) = (stage.path("home/backup-of-today"), stage.path("home/kit-of-today"));
    outputs.succeeds(&stage, &["-vv", "backup", backup.to_str().unwrap()]);
    outputs.succeeds(&stage, &["-vv", "seal", "kit", kit.to_str().unwrap(), "--passphrase-file", &kit_passphrase]);
    outputs.succeeds(&stage, &["-vv", "seal", "check-kit", kit.to_str().unwrap(), "--kit-passphrase-file", &kit_passphrase]);
    outputs.succeeds(&stage, &["-vv", "seal", "rotate"]);

    killed(&stage, served, &mut outputs, &mut canaries).await;

    canaries.extend(stage.simulator.ledger().token_posts().iter().filter_map(|post| post.refresh_token.clone()));
    canaries.extend(stage.simulator.ledger().credentials_seen());
    outputs.files(&[stage.path("home"), stage.path("settings")], &[&key_file]);
    outputs.0.push(("serve.log".to_owned(), std::fs::read(stage.path("serve.log")).unwrap()));
    outputs.check(&canaries);
    let places = u64::try_from(outputs.0.len()).unwrap();
    proof_row("canaries: in outputs, files, sockets, backups and slots", places, places, &format!("0 hits of {} secrets", canaries.len()));
}

/// The gateway: refusals of the provider that echo a key, good answers, unknown paths, and keys that are none.
async fn gateway(stage: &Stage, origin: &str, key: &str, outputs: &mut Outputs, canaries: &mut BTreeSet<String>) {
    for status in [401, 403, 500] {
        let body = r#"{"error":{"message":"bad key canary-apikey-2d90c4e8fb16","type":"invalid_request_error"}}"#.to_owned();
        let headers = vec![("x-request-id".to_owned(), "1".to_owned())];
        stage.simulator.control().llm_fault_for("team", LlmFault::Status { status, headers, body }, 1);
        let answer = post_raw(origin, "/v1/chat/completions", key).await;
        if status == 401 {
            outputs.0.push(("the gateway's answer to a 401".to_owned(), answer));
        }
    }
    for path in ["/v1/messages", "/openai/v1/chat/completions", "/nowhere/at/all", "/v1/messages?key=clv_wrong", "/healthz", "/readyz"] {
        outputs.0.push((path.to_owned(), post_raw(origin, path, key).await));
    }
    for key in [format!("{key}x"), "canary-no-key-of-ours-00".to_owned()] {
        outputs.0.push(("a refused key".to_owned(), post_raw(origin, "/v1/messages", &key).await));
        canaries.insert(key);
    }
}

/// A server that is killed while an answer is on its way: a slot, an open intent and the write-ahead log are left.
async fn killed(stage: &Stage, served: Served, outputs: &mut Outputs, canaries: &mut BTreeSet<String>) {
    stage.simulator.control().token_fault_next(TokenFault::HoldUntilReleased);
    let second = stage.simulator.control().grant_issue_with("bob", "canary-live-bob-9f3e2a6c", "canary-rt-bob-4c81d7b0", -10);
    canaries.extend([second.access.clone(), second.refresh.clone()]);
    let text = login_text(&second.access, &second.refresh, second.expires_at_ms);
    let file = private_file(&stage.path("user/second.json"), &text);
    outputs.succeeds(stage, &["account", "add", "anthropic", "--from-json", &file]);
    let (key, ledger) = (stage.key_for(3), stage.simulator.ledger());
    tokio::select! {
        _ = post_raw(&served.origin, "/v1/messages", &key) => panic!("the answer is held"),
        () = ledger.wait_for(|ledger| ledger.refreshes() == 2) => {}
    }
    served.kill();
    assert!(!files_below(&stage.path("home/spill")).is_empty(), "the kill left no slot");
    outputs.run(stage, &["-vv", "account", "list"]);
}

fn login_text(access: &str, refresh: &str, expires_at_ms: i64) -> String {
    format!(r#"{{"type":"oauth","access":"{access}","refresh":"{refresh}","expires":{expires_at_ms},"email":"bob@example.com"}}"#)
}

/// The admin socket itself: what it answers to good questions and to bad ones that hold a secret.
fn socket(stage: &Stage, outputs: &mut Outputs, canaries: &mut BTreeSet<String>) {
    let garbled = "canary-garbled-on-the-socket-8e";
    canaries.insert(garbled.to_owned());
    let questions = [
        ("GET", "/api/v1/status", String::new()),
        ("GET", "/api/v1/accounts", String::new()),
        ("GET", "/api/v1/processes", String::new()),
        ("GET", "/api/v1/keys", String::new()),
        ("GET", "/api/v1/accounts/origins/1", String::new()),
        ("POST", "/api/v1/accounts", format!(r#"{{"row":"r","provider":"anthropic","credential":{{"api_key":"{garbled}"}}"#)),
        ("POST", "/api/v1/accounts", format!(r#"{{"{garbled}":1}}"#)),
        ("POST", "/api/v1/keys", format!(r#"{{"label":7,"x":"{garbled}"}}"#)),
        ("DELETE", "/api/v1/keys/canary-garbled-on-the-socket-8e", String::new()),
        ("POST", "/api/v1/tokens", format!(r#"{{"provider":"anthropic","account":"{garbled}"}}"#)),
    ];
    for (method, path, body) in questions {
        let mut stream = UnixStream::connect(stage.path("home/admin.sock")).unwrap();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n");
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{method} {path}");
        outputs.0.push((format!("{method} {path}"), answer));
    }
}
