//! `claviger key`

use crate::sandbox::Sandbox;
use serde_json::json;

#[test]
fn a_key_is_printed_once_and_alone() {
    let sandbox = Sandbox::initialised();
    let made = sandbox.run(&["key", "create", "--label", "ci", "--provider", "openai", "--expires", "30d"]).succeeded();
    let key = made.stdout.trim_end().to_owned();
    assert!(key.starts_with("clv_k") && key.len() == 49, "{key}");
    assert!(made.stderr.contains("shown this once") && !made.stderr.contains(&key), "{}", made.stderr);
    for arguments in [["key", "list"], ["key", "list"]] {
        assert!(!sandbox.run(&arguments).succeeded().shows(&key));
    }
    let list = sandbox.run(&["key", "list", "--json"]).succeeded();
    assert!(!list.stdout.contains(&key));
    assert_eq!((&list.json()["keys"][0]["label"], &list.json()["keys"][0]["providers"]), (&json!("ci"), &json!(["openai"])));
    assert!(list.json()["keys"][0]["expires_at"].is_string());
}

#[test]
fn a_key_as_json_has_its_id_and_is_revoked_by_it() {
    let sandbox = Sandbox::initialised();
    let made = sandbox.run(&["key", "create", "--json"]).succeeded().json();
    let id = made["id"].as_str().unwrap();
    assert!(made["key"].as_str().unwrap().contains(id));
    assert!(sandbox.run(&["key", "revoke", id, "--json"]).succeeded().json()["revoked_at"].is_string());
    assert!(sandbox.run(&["key", "list"]).succeeded().stdout.contains("revoked"));
    sandbox.run(&["key", "revoke", "zzzzzzzzzz"]).ended_with(4);
}

#[test]
fn a_key_for_what_is_not_there_or_for_no_time_is_refused() {
    let sandbox = Sandbox::initialised();
    sandbox.run(&["key", "create", "--expires", "0d"]).ended_with(2);
    sandbox.run(&["key", "create", "--expires", "soon"]).ended_with(2);
    assert_ne!(sandbox.run(&["key", "create", "--provider", "opnai"]).code, 0);
    assert_ne!(sandbox.run(&["key", "create", "--account", "7"]).code, 0);
    assert_eq!(sandbox.run(&["key", "list", "--json"]).succeeded().json(), json!({"keys": []}));
}
