//! Many processes on one home: one refresh among all of them.

use crate::stage::{Stage, post};
use claviger_simulator::{Rotation, TokenFault};
use std::process::Stdio;

const PROCESSES: usize = 12;

fn add_login(stage: &Stage, name: &str, lifetime_s: i64) {
    let issued = stage.simulator.control().grant_issue_with(name, &format!("at-{name}"), &format!("rt-{name}"), lifetime_s);
    let login = format!(
        r#"{{"type":"oauth","access":"{}","refresh":"{}","expires":{},"email":"{name}@example.com"}}"#,
        issued.access, issued.refresh, issued.expires_at_ms
    );
    let file = stage.path("login.json");
    std::fs::write(&file, login).unwrap();
    stage.run(&["account", "add", "anthropic", "--from-json", file.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_processes_that_start_together_cause_one_refresh_and_all_have_the_new_token() {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", -10);
    stage.simulator.control().token_fault_next(TokenFault::HoldMs(1000));

    // A shell is the barrier: each one waits for its line, and all lines are written at once.
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let binary = stage.command(&[]).get_program().to_owned();
            let mut shell = stage.command(&[]);
            shell.stdin(Stdio::piped());
            let mut waiting = std::process::Command::new("/bin/sh");
            waiting.args(["-c", "read go; exec \"$0\" token anthropic --json"]).arg(binary).env_clear();
            for (name, value) in shell.get_envs() {
                waiting.env(name, value.unwrap());
            }
            waiting.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs = tokio::task::spawn_blocking(move || {
        let mut children = children;
        for child in &mut children {
            std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n").unwrap();
        }
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect::<Vec<_>>()
    })
    .await
    .unwrap();

    let tokens: Vec<String> = outputs
        .iter()
        .map(|output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let token: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            token["token"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(tokens.len(), PROCESSES);
    assert!(tokens.iter().all(|token| *token == tokens[0] && token != "at-ada"), "{tokens:?}");
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_a_command_beside_it_share_one_refresh_and_a_restart_needs_none() {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", -10);
    let key = stage.key_for(1);
    let served = stage.serve();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (origin, key) = (served.origin.clone(), key.clone());
        requests.spawn(async move { post(&origin, "/anthropic/v1/messages", &key).await });
    }
    for (status, body) in requests.join_all().await {
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("Hello from ada."), "{body}");
    }
    let token = stage.json(&["token", "anthropic"]);
    assert_ne!(token["token"], "at-ada");
    drop(served);
    let served = stage.serve();
    assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 200);
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses(), ledger.stale_credentials()), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_refreshed_a_quota_goes_to_a_sibling_and_the_last_one_says_when() {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", 3600);
    add_login(&stage, "bob", 3600);
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();
    let served = stage.serve();
    let control = stage.simulator.control();
    control.account_expire("ada");
    control.account_expire("bob");
    assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 200);
    control.llm_fault_for("ada", claviger_simulator::LlmFault::QuotaExhausted { reset_in_s: 900 }, u32::MAX);
    for _ in 0..4 {
        let (status, body) = post(&served.origin, "/v1/messages", &key).await;
        assert_eq!(status, 200, "{body}");
    }
    control.llm_fault_for("bob", claviger_simulator::LlmFault::QuotaExhausted { reset_in_s: 600 }, u32::MAX);
    let (status, body) = post(&served.origin, "/v1/messages", &key).await;
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("rate_limit_error"), "{body}");
    assert_eq!(stage.simulator.ledger().reuses(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_no_request_bears_the_old_token_not_even_over_a_connection_that_was_built_anew() {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", 3600);
    let key = stage.key_for(1);
    let served = stage.serve();
    let control = stage.simulator.control();
    assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 200);
    control.access_revoke("at-ada");
    assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 200);
    let rotated_at = stage.simulator.ledger().requests().len();
    for _ in 0..3 {
        control.llm_fault_next(claviger_simulator::LlmFault::DropBeforeResponse);
        assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 502, "the answer is lost, and the client decides");
        assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 200);
    }
    let ledger = stage.simulator.ledger();
    let later = &ledger.requests()[rotated_at..];
    assert_eq!(later.len(), 6);
    assert!(later.iter().all(|request| request.credential().is_some_and(|credential| credential.text != "at-ada")));
    assert_eq!((ledger.refreshes(), ledger.stale_credentials()), (1, 1));
}
