//! What an answer's headers say, through the whole of it: gateway, pool, log, and the command that shows it.

use crate::stage::{Stage, post};
use claviger_simulator::{Rotation, UsageTold};
use std::io::Write;
use std::process::Stdio;

/// Stores a login of somebody at the simulator.
fn login(stage: &Stage, name: &str) -> i64 {
    let grant = stage.simulator.control().grant_issue(name);
    let json = serde_json::json!({
        "type": "oauth", "access": grant.access, "refresh": grant.refresh, "expires": grant.expires_at_ms, "email": format!("{name}@example.com"),
    });
    let mut command = stage.command(&["account", "add", "anthropic", "--from-json", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(json.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let added: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    added["account"]["id"].as_i64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_whose_answer_said_exhausted_is_not_asked_again_and_the_command_shows_why() {
    let stage = Stage::new(Rotation::Strict).await;
    let (ada, bob) = (login(&stage, "ada"), login(&stage, "bob"));
    stage.simulator.control().usage_set("ada", UsageTold::percent(100.0, 60.0));
    stage.simulator.control().usage_set("bob", UsageTold::percent(20.0, 10.0));
    let (of_ada, of_bob) = (stage.key_for(ada), stage.key_for(bob));
    let served = stage.serve();

    assert_eq!(post(&served.origin, "/anthropic/v1/messages", &of_ada).await.0, 200);
    let (status, body) = post(&served.origin, "/anthropic/v1/messages", &of_ada).await;
    assert_eq!(status, 429, "{body}");
    assert_eq!(stage.simulator.ledger().requests_count(), 1, "the second request never left");
    assert_eq!(post(&served.origin, "/anthropic/v1/messages", &of_bob).await.0, 200);

    let view = stage.json(&["usage", "anthropic"]);
    let limits = |account: usize| {
        let limits = view["accounts"][account]["limits"].as_array().unwrap();
        limits.iter().map(|limit| format!("{} {} {}", limit["id"], limit["used"], limit["status"])).collect::<Vec<_>>()
    };
    assert_eq!(limits(0), [r#""5h" 1.0 "exhausted""#, r#""7d" 0.6 "ok""#]);
    assert_eq!(limits(1), [r#""5h" 0.2 "ok""#, r#""7d" 0.1 "ok""#]);
    assert!(view["accounts"][0]["blocked_until"].is_string() && view["accounts"][1]["blocked_until"].is_null());

    let shown = String::from_utf8(stage.run(&["usage", "--history", "1d", "--waste", "--cost"]).stdout).unwrap();
    for part in ["ada@example.com", "used up", "resets in", "set aside for", "the last 1 d", "wasted:", "paid:"] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours in a pipe");
    let csv = String::from_utf8(stage.run(&["usage", "--csv"]).stdout).unwrap();
    assert_eq!(csv.lines().count(), 5, "{csv}");
    drop(served);
}
