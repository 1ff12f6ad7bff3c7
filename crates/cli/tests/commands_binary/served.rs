//! The same commands while a server runs: they go through its socket, and print the same.

use crate::sandbox::{Sandbox, fixture};
use serde_json::json;

#[test]
fn every_command_goes_through_a_running_server() {
    let sandbox = Sandbox::initialised();
    sandbox.write("settings/config.toml", "[export]\nallow = true\n");
    sandbox.run(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"]).succeeded();
    let status = sandbox.run(&["status", "--json"]).succeeded().json();
    assert_eq!(status["running"], true);

    let secrets = ["at-1", "rt-1", "at-2", "rt-2", "sk-x"];
    let report = sandbox.run(&["import", "omp", &fixture("agent_v8.db"), "--json"]).succeeded().shows_none_of(&secrets).json();
    assert_eq!(report["imported"].as_array().unwrap().len(), 4);
    sandbox.run_in(&["login", "openai", "--with-key", "--label", "mine"], "sk-canary-1", &[]).succeeded().shows_none_of(&["sk-canary-1"]);
    let list = sandbox.run(&["account", "list", "--json"]).succeeded().json();
    let mine = list["accounts"].as_array().unwrap().iter().find(|account| account["label"] == "mine").unwrap()["id"].to_string();
    let token = sandbox.run(&["token", "openai", "--account", &mine, "--json"]).succeeded().json();
    assert_eq!((&token["token"], &token["expires_at"]), (&json!("sk-canary-1"), &json!(null)));
    sandbox.run(&["account", "disable", &mine, "--cause", "on holiday"]).succeeded();
    assert_ne!(sandbox.run(&["token", "openai", "--account", &mine]).code, 0);
    sandbox.run(&["account", "remove", &mine, "--yes"]).succeeded();
    sandbox.run(&["account", "show", &mine]).ended_with(4);

    let key = sandbox.run(&["key", "create", "--json"]).succeeded().json();
    sandbox.run(&["key", "revoke", key["id"].as_str().unwrap()]).succeeded();

    let findings = sandbox.run(&["doctor", "--json"]).json();
    let found = |check: &str| findings.as_array().unwrap().iter().find(|finding| finding["check"] == check).unwrap().clone();
    let pid = status["server"]["pid"].to_string();
    assert!(found("server")["detail"].as_str().unwrap().contains(&pid), "{findings}");
    assert_eq!((&found("server")["verdict"], &found("gateway")["verdict"]), (&json!("ok"), &json!("ok")));
    assert!(found("spill")["detail"].as_str().unwrap().starts_with("not looked at"));
    sandbox.run(&["down"]).succeeded();
}
