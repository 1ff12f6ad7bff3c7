//! `claviger token`, against a provider that keeps a ledger.

use crate::sandbox::Sandbox;
use claviger_simulator::{Simulator, SimulatorConfig};
use serde_json::json;

const ALLOW: &str = "[export]\nallow = true\n";

/// Points a provider at the simulator, before an account is added.
fn overlay(sandbox: &Sandbox, origin: &str) {
    let text = format!(
        "[providers.anthropic]\nbase_url = \"{origin}\"\n[providers.anthropic.oauth]\ntoken_url = \"{origin}/v1/oauth/token\"\n[providers.anthropic.usage]\nurl = \"{origin}/api/oauth/usage\"\n"
    );
    sandbox.write("settings/providers.d/anthropic.toml", &text);
}

fn add(sandbox: &Sandbox, access: &str, refresh: &str, expires: i64, email: &str) {
    let object = json!({"type": "oauth", "access": access, "refresh": refresh, "expires": expires, "email": email}).to_string();
    sandbox.run_in(&["account", "add", "anthropic", "--from-json", "-"], &object, &[]).succeeded();
}

#[test]
fn without_leave_no_token_is_printed() {
    let sandbox = Sandbox::initialised();
    add(&sandbox, "canary-at", "canary-rt", 4_102_444_800_000, "ada@example.com");
    let refused = sandbox.run_in(&["token", "anthropic"], "y\n", &[]).ended_with(5).shows_none_of(&["canary-at", "canary-rt"]);
    assert!(refused.stderr.contains("hint: ") && refused.stderr.contains("allow = true"), "{}", refused.stderr);
    let refused = sandbox.run(&["token", "anthropic", "--json"]).ended_with(5);
    assert_eq!(refused.json()["error"]["code"], "refused");
}

#[test]
fn a_live_token_is_printed_bare_or_with_its_identity() {
    let sandbox = Sandbox::initialised();
    sandbox.write("settings/config.toml", ALLOW);
    add(&sandbox, "at-live", "canary-rt", 4_102_444_800_000, "ada@example.com");
    let bare = sandbox.run(&["token", "anthropic"]).succeeded().shows_none_of(&["canary-rt"]);
    assert_eq!(bare.stdout, "at-live\n");
    let full = sandbox.run(&["token", "anthropic", "--json"]).succeeded().shows_none_of(&["canary-rt"]).json();
    assert_eq!((&full["token"], &full["account"], &full["email"]), (&json!("at-live"), &json!(1), &json!("ada@example.com")));
    assert_eq!(full["expires_at"], "2100-01-01T00:00:00Z");
    let all = sandbox.run(&["token", "anthropic", "--all", "--json"]).succeeded().json();
    assert_eq!((all["tokens"].as_array().unwrap().len(), &all["skipped"]), (1, &json!([])));
    sandbox.run(&["token", "anthropic", "--account", "9"]).ended_with(4);
    assert_ne!(sandbox.run(&["token", "openai"]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_refreshed_once_and_kept() {
    let simulator = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let grant = simulator.control().grant_issue("ada@example.com");
    let sandbox = Sandbox::initialised();
    sandbox.write("settings/config.toml", ALLOW);
    overlay(&sandbox, &simulator.origin());
    add(&sandbox, &grant.access, &grant.refresh, 1, "ada@example.com");
    let (sandbox, first, second) = tokio::task::spawn_blocking(move || {
        let ask = || sandbox.run(&["token", "anthropic", "--json"]).succeeded().json()["token"].clone();
        let tokens = (ask(), ask());
        (sandbox, tokens.0, tokens.1)
    })
    .await
    .unwrap();
    assert_ne!(first, json!(grant.access));
    assert_eq!(first, second);
    assert_eq!((simulator.ledger().refreshes(), simulator.ledger().reuses()), (1, 0));
    drop(sandbox);
    simulator.stop().await;
}
