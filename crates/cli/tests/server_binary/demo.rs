//! The whole way offline: the demo started, a key made, a request answered, a token expired, the end.

use crate::home::{Home, Ran, http};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const QUESTION: &str = r#"{"model":"demo","max_tokens":16,"messages":[{"role":"user","content":"hello"}]}"#;

/// A command in the demo's home, found by the variables that the demo prints.
fn inside(home: &Home, demo: &Value, arguments: &[&str]) -> Ran {
    let mut command = home.command(arguments);
    command.env("CLAVIGER_HOME", demo["home"].as_str().unwrap()).env("CLAVIGER_CONFIG", demo["config"].as_str().unwrap());
    Ran::of(&command.output().unwrap())
}

fn ask(demo: &Value, key: &str) -> (u16, String) {
    let listen = demo["server"]["listen"].as_str().unwrap();
    http(listen, &format!("POST /v1/messages HTTP/1.1\r\nx-api-key: {key}\r\ncontent-type: application/json"), QUESTION)
}

fn ledger(demo: &Value) -> Value {
    let simulator = demo["server"]["simulator"].as_str().unwrap().strip_prefix("http://").unwrap();
    serde_json::from_str(&http(simulator, "GET /__simulator/ledger HTTP/1.1", "").1).unwrap()
}

fn demo_homes(below: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("claviger-demo-")).collect()
}

#[test]
fn a_demo_in_the_background_serves_refreshes_and_leaves_nothing_behind() {
    let home = Home::new();
    let demo = home.run(&["up", "--demo", "-d", "--listen", "127.0.0.1:0", "--json"]).succeeded().json();
    let first = demo["key"]["key"].as_str().unwrap();
    let (status, body) = ask(&demo, first);
    assert_eq!(status, 200, "{body}");

    let shown = inside(&home, &demo, &["status", "--json"]).succeeded().json();
    assert_eq!(shown["running"], true);
    assert_eq!(shown["requests_total"], 1);
    let made = inside(&home, &demo, &["key", "create", "--label", "second", "--json"]).succeeded().json();
    let second = made["key"].as_str().unwrap();

    let simulator = demo["server"]["simulator"].as_str().unwrap().strip_prefix("http://").unwrap();
    for account in ["ada@example.com", "bob@example.com"] {
        let body = format!("{{\"account\":\"{account}\"}}");
        assert_eq!(http(simulator, "POST /__simulator/expire HTTP/1.1", &body).0, 200);
    }
    let (status, body) = ask(&demo, second);
    assert_eq!(status, 200, "{body}");
    let seen = ledger(&demo);
    assert_eq!(seen["refreshes"], 1, "{seen}");
    assert_eq!(seen["reuses"], 0, "{seen}");

    let used = inside(&home, &demo, &["ps", "--json"]).succeeded().json();
    assert_eq!(used["keys"].as_array().unwrap().len(), 2, "{used}");
    let accounts = inside(&home, &demo, &["account", "list"]).succeeded().stdout;
    for secret in [first, second, "sk-sim-demo-key-1"] {
        assert!(!accounts.contains(secret));
    }
    let log = std::fs::read_to_string(demo["server"]["log"].as_str().unwrap()).unwrap();
    assert!(log.contains("serving") && !log.contains("clv_"), "{log}");

    inside(&home, &demo, &["down"]).succeeded();
    assert_eq!(demo_homes(&home.path("")), Vec::<PathBuf>::new());
    assert!(!home.path("data").exists() && !home.path("settings/master.key").exists(), "the user's home was touched");
}

#[test]
fn a_demo_in_the_foreground_removes_its_home_when_it_is_interrupted() {
    let home = Home::new();
    let mut command = home.command(&["up", "--demo", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.starts_with("export CLAVIGER_HOME=")));
    assert_eq!(demo_homes(&home.path("")).len(), 1);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    // The rest is read to its end, so that the demo never waits for its reader.
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert_eq!(demo_homes(&home.path("")), Vec::<PathBuf>::new());
}

#[test]
fn a_second_demo_takes_the_next_free_ports() {
    let home = Home::new();
    let first = home.run(&["up", "--demo", "-d", "--json"]).succeeded().json();
    let second = home.run(&["up", "--demo", "-d", "--json"]).succeeded().json();
    assert_ne!(first["url"], second["url"]);
    assert_ne!(first["server"]["simulator"], second["server"]["simulator"]);
    for demo in [first, second] {
        inside(&home, &demo, &["down"]).succeeded();
    }
}

#[test]
fn the_hidden_flag_never_removes_a_home_that_is_no_demo() {
    let home = Home::initialised();
    home.run(&["up", "--demo", "--detached"]).ended_with(2);
    assert!(home.path("data/vault.db").is_file());
}
