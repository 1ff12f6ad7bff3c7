//! Checks, saved resets and events as they are typed, against a simulated provider.

use crate::sandbox::Sandbox;
use claviger_simulator::{Simulator, SimulatorConfig};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

const CANARIES: [&str; 4] = ["canary-at-ada", "canary-rt-ada", "canary-at-bob", "canary-rt-bob"];

/// A home whose accounts of two people are at the simulator.
async fn with_accounts(lifetime_s: i64) -> (Sandbox, Simulator) {
    let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let origin = simulator.origin();
    let sandbox = Sandbox::initialised();
    let overlay = format!(
        "[providers.openai-codex]\nbase_url = \"{origin}/backend-api\"\n[providers.openai-codex.oauth]\ntoken_url = \"{origin}/v1/oauth/token\"\n\
         [providers.openai-codex.usage]\nurl = \"{origin}/backend-api/wham/usage\"\n"
    );
    sandbox.write("settings/providers.d/codex.toml", &overlay);
    for name in ["ada", "bob"] {
        let issued = simulator.control().grant_issue_with(name, &format!("canary-at-{name}"), &format!("canary-rt-{name}"), lifetime_s);
        let account = json!({
            "type": "oauth", "access": issued.access, "refresh": issued.refresh, "expires": issued.expires_at_ms,
            "email": format!("{name}@example.com"), "accountId": format!("ws-{name}"),
        });
        sandbox.run_in(&["account", "add", "openai-codex", "--from-json", "-"], &account.to_string(), &[]).succeeded();
    }
    (sandbox, simulator)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_of_each_account_whether_it_works_and_strictly_fails() {
    let (sandbox, simulator) = with_accounts(3600).await;
    let all = sandbox.run(&["account", "check", "--strict", "--json"]).succeeded().shows_none_of(&CANARIES).json();
    let oks: Vec<&Value> = all["accounts"].as_array().unwrap().iter().map(|account| &account["ok"]).collect();
    assert_eq!(oks, [&json!(true), &json!(true)]);

    simulator.control().grant_revoke("bob");
    let ran = sandbox.run(&["account", "check"]).succeeded().shows_none_of(&CANARIES);
    assert!(
        ran.stdout.starts_with(
            "ok      account 1: openai-codex, ada@example.com\nFAILED  account 2: openai-codex, bob@example.com: oauth refresh failed: "
        ),
        "{}",
        ran.stdout
    );
    let ran = sandbox.run(&["account", "check", "--strict"]).ended_with(1);
    assert!(ran.stderr.contains("1 of 2 accounts could not be shown to work"), "{}", ran.stderr);
    sandbox.run(&["account", "check", "1", "--strict"]).succeeded();

    let strict = sandbox.run(&["account", "check", "--provider", "openai-codex", "--strict", "--json"]).ended_with(1);
    let rows = strict.json()["accounts"].as_array().unwrap().clone();
    assert_eq!((rows[1]["ok"].clone(), rows[1]["account_id"].clone()), (json!(false), json!("ws-bob")));
    let shown = sandbox.run(&["account", "show", "2"]).succeeded().stdout;
    assert!(shown.contains("needs login: the provider refused") && shown.contains("to type"), "{shown}");

    sandbox.run(&["account", "disable", "2"]).succeeded();
    let left = sandbox.run_in(&["account", "check", "--json"], "", &[("OPENAI_API_KEY", "sk-test-1")]).succeeded().json();
    assert_eq!(left["accounts"].as_array().unwrap().len(), 1, "neither what is switched off nor what the environment has");
    sandbox.run(&["account", "check", "--timeout", "5m"]).ended_with(2);
    sandbox.run(&["account", "check", "--completion"]).ended_with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_reset_is_listed_and_spent_once_somebody_agrees() {
    let (sandbox, simulator) = with_accounts(3600).await;
    simulator.control().credit_save("ada", "reset-1");
    let list = sandbox.run(&["account", "credits", "list", "--json"]).succeeded().shows_none_of(&CANARIES).json();
    assert_eq!((&list["accounts"][0]["available"], &list["accounts"][0]["resets"][0]["id"]), (&json!(1), &json!("reset-1")));
    let list = sandbox.run(&["account", "credits", "list"]).succeeded().stdout;
    assert!(list.contains("account 1: openai-codex, ada@example.com") && list.contains("reset-1 One reset, lost "), "{list}");

    let refused = sandbox.run_in(&["account", "credits", "redeem", "1"], "y\n", &[]).ended_with(5);
    assert!(refused.stderr.contains("hint: claviger account credits redeem 1 --yes"), "{}", refused.stderr);
    let redeem = ["account", "credits", "redeem", "ada@example.com", "--request-id", "r-1", "--yes", "--json"];
    let view = sandbox.run(&redeem).succeeded().shows_none_of(&CANARIES).json();
    assert_eq!((&view["code"], &view["credit"], &view["request_id"]), (&json!("reset"), &json!("reset-1"), &json!("r-1")));
    assert_eq!(sandbox.run(&redeem).succeeded().json()["code"], "already_redeemed");
    let none = sandbox.run(&["account", "credits", "redeem", "2", "--yes", "--json"]).ended_with(1).json();
    assert_eq!(none["code"], "no_credit");
    let nobody = sandbox.run(&["account", "credits", "redeem", "eve@example.com", "--yes", "--json"]).ended_with(1).json();
    assert_eq!(nobody["code"], "no_account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_dies_is_told_to_the_command_the_webhook_and_whoever_asks() {
    let (sandbox, simulator) = with_accounts(-1).await;
    simulator.control().grant_revoke("bob");
    let fifo = sandbox.path("told");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = format!(
        "[events]\ncommand = [\"/bin/sh\", \"-c\", \"cat > \\\"$0\\\"\", \"{}\"]\nwebhook = \"http://{}/canary-path\"\nwebhook_secret = \"env:HOOK_SECRET\"\nkinds = [\"account_disabled\"]\n",
        fifo.display(),
        listener.local_addr().unwrap(),
    );
    sandbox.write("settings/config.toml", &settings);
    let shown = sandbox.run(&["config", "show"]).succeeded().stdout;
    assert!(shown.contains("events.webhook = ") && !shown.contains("canary-path"), "{shown}");
    let environment = [("HOOK_SECRET", "canary-hook-secret"), ("PATH", "/usr/bin:/bin")];
    sandbox.run_in(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"], "", &environment).succeeded();

    let called = post(&mut listener.accept().unwrap().0);
    let started = std::fs::read_to_string(&fifo).unwrap();
    let event: Value = serde_json::from_str(&started).unwrap();
    assert_eq!((&event["event"], &event["account"], &event["name"]), (&json!("account_disabled"), &json!(2), &json!("bob@example.com")));
    assert!(event["cause"].as_str().unwrap().starts_with("oauth refresh failed: "), "{event}");
    assert!(called.ends_with(&started), "both are told the same: {called}");
    assert!(called.to_ascii_lowercase().contains("x-claviger-signature: sha256="), "{called}");

    let told = sandbox.run(&["events", "--json"]).succeeded().shows_none_of(&CANARIES).stdout;
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let disabled: Vec<&Value> = lines.iter().filter(|line| line["event"] == "account_disabled").collect();
    assert_eq!((disabled.len(), &disabled[0]["account"]), (1, &json!(2)), "{told}");
    assert!(sandbox.run(&["events", "--kind", "account_disabled"]).succeeded().stdout.contains("needs a new login"));
    sandbox.run(&["events", "--kind", "nonsense"]).ended_with(2);
    let log = sandbox.run(&["logs"]).succeeded();
    for text in [&log.stdout, &started, &called] {
        for canary in CANARIES.iter().chain(&["canary-hook-secret"]) {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
    assert!(!log.stdout.contains("canary-path"), "{}", log.stdout);
    sandbox.run(&["down"]).succeeded();
    sandbox.run(&["events"]).ended_with(1);
}

/// One call of the webhook, answered.
fn post(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0; 1];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
    let head = String::from_utf8(text.clone()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().trim().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text.extend(body);
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn a_command_for_events_in_a_file_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::initialised();
    let path = sandbox.write("settings/config.toml", "[events]\ncommand = [\"/bin/true\"]\n");
    sandbox.run(&["config", "check"]).succeeded();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let refused = sandbox.run(&["config", "check"]).ended_with(2);
    assert!(refused.stderr.contains("config.toml:2:11: events.command: ") && refused.stderr.contains("chmod go-w"), "{}", refused.stderr);
}

#[test]
fn ctrl_c_ends_a_check_in_the_middle_of_an_account() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let sandbox = Sandbox::initialised();
    let overlay =
        format!("[providers.openai-codex]\nbase_url = \"{origin}\"\n[providers.openai-codex.usage]\nurl = \"{origin}/wham/usage\"\n");
    sandbox.write("settings/providers.d/codex.toml", &overlay);
    let account = json!({ "type": "oauth", "access": "canary-at-ada", "refresh": "canary-rt-ada", "expires": 4_102_444_800_000_i64 });
    sandbox.run_in(&["account", "add", "openai-codex", "--from-json", "-"], &account.to_string(), &[]).succeeded();
    let child = Command::new(env!("CARGO_BIN_EXE_claviger"))
        .args(["account", "check"])
        .env_clear()
        .env("CLAVIGER_HOME", sandbox.path("home"))
        .env("CLAVIGER_CONFIG", sandbox.path("settings/config.toml"))
        .env("HOME", sandbox.path("user"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It waits for an answer that never comes.
    let _unanswered = listener.accept().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("stopped: 0 of 1 accounts were checked"), "{stderr}");
}
