//! `claviger account`

use crate::sandbox::Sandbox;
use serde_json::json;

const OAUTH: &str = r#"{"type":"oauth","access":"canary-at","refresh":"canary-rt","expires":4102444800000,"email":"Ada@Example.com"}"#;
const CANARIES: [&str; 3] = ["canary-at", "canary-rt", "canary-key"];

fn with_account() -> Sandbox {
    let sandbox = Sandbox::initialised();
    sandbox.run_in(&["account", "add", "anthropic", "--from-json", "-"], OAUTH, &[]).succeeded();
    sandbox
}

#[test]
fn an_account_is_added_from_stdin_and_from_a_file() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run_in(&["account", "add", "anthropic", "--from-json", "-"], OAUTH, &[]).succeeded().shows_none_of(&CANARIES);
    assert_eq!(ran.stdout, "added account 1: anthropic, ada@example.com\n");
    sandbox.write("key.json", r#"{"type":"api_key","key":"canary-key"}"#);
    let ran = sandbox.run(&["account", "add", "openai", "--from-json", "key.json", "--label", "team", "--json"]).succeeded();
    let added = ran.shows_none_of(&CANARIES).json();
    assert_eq!((&added["outcome"], &added["account"]["label"]), (&json!("created"), &json!("team")));
    assert_eq!(added["account"]["source"], "login");
}

#[test]
fn a_malformed_object_is_located_and_never_quoted() {
    let sandbox = Sandbox::initialised();
    for (text, place) in [
        ("{\"type\":\"oauth\",\n\"access\": 7, \"refresh\":\"canary-rt\"}", "stdin: line 2, column 11: "),
        ("canary-at", "stdin: line 1, column 1: "),
        ("{\"type\":\"canary-at\"}", "stdin: the type is not one of"),
        ("{\"type\":\"api_key\",\"key\":\"canary-key\",\"extra\":\"canary-at\"}", "stdin: line 1, column "),
    ] {
        let ran = sandbox.run_in(&["account", "add", "anthropic", "--from-json", "-"], text, &[]).ended_with(2).shows_none_of(&CANARIES);
        assert!(ran.stderr.contains(place), "{}", ran.stderr);
    }
    sandbox.run(&["account", "add", "anthropic", "--from-json", "nowhere.json"]).ended_with(4);
    let unknown = sandbox.run_in(&["account", "add", "antropic", "--from-json", "-"], OAUTH, &[]).ended_with(4);
    assert!(unknown.stderr.contains("close to it: anthropic"), "{}", unknown.stderr);
}

#[test]
fn what_a_person_sets_is_shown_again() {
    let sandbox = with_account();
    let changed = sandbox.run(&["account", "set", "1", "--priority", "-3", "--label", "mine", "--json"]).succeeded().json();
    assert_eq!((&changed["priority"], &changed["label"]), (&json!(-3), &json!("mine")));
    sandbox.run(&["account", "set", "1"]).ended_with(2);
    sandbox.run(&["account", "disable", "1", "--cause", "on holiday"]).succeeded();
    let shown = sandbox.run(&["account", "show", "1", "--json"]).succeeded().json();
    assert_eq!(shown["standing"], json!({"state": "disabled", "cause": "on holiday"}));
    let shown = sandbox.run(&["account", "show", "1"]).succeeded().shows_none_of(&CANARIES);
    assert!(shown.stdout.contains("claviger account enable 1"), "{}", shown.stdout);
    let enabled = sandbox.run(&["account", "enable", "1", "--json"]).succeeded().json();
    assert_eq!(enabled["standing"]["state"], "active");
    let lifted = sandbox.run(&["account", "unblock", "--all", "--json"]).succeeded().json();
    assert_eq!(lifted, json!({"lifted": 0}));
}

#[test]
fn a_removal_needs_a_terminal_or_yes() {
    let sandbox = with_account();
    let refused = sandbox.run_in(&["account", "remove", "1"], "y\n", &[]).ended_with(5);
    assert!(refused.stderr.contains("hint: claviger account remove 1 --yes"), "{}", refused.stderr);
    assert_eq!(sandbox.run(&["account", "list", "--json"]).json()["accounts"].as_array().unwrap().len(), 1);
    assert_eq!(sandbox.run(&["account", "remove", "1", "--yes", "--json"]).succeeded().json(), json!({"removed": 1}));
    sandbox.run(&["account", "show", "1"]).ended_with(4);
    sandbox.run(&["account", "remove", "1", "--yes"]).ended_with(4);
    sandbox.run(&["account", "disable", "1"]).ended_with(4);
}

#[test]
fn without_a_vault_the_exit_code_says_so() {
    let sandbox = Sandbox::empty();
    let ran = sandbox.run(&["account", "list"]).ended_with(4);
    assert!(ran.stderr.contains("claviger init"), "{}", ran.stderr);
}
