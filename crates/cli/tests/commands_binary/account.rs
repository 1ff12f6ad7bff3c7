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

#[test]
fn every_option_is_set_shown_and_taken_back() {
    let sandbox = with_account();
    let all =
        ["account", "set", "1", "--reserve", "10%", "--weight", "3", "--own-client-only", "off", "--model-prefix", "team-a", "--json"];
    let options = &sandbox.run(&all).succeeded().json()["options"];
    let expected = json!({
        "reserve_percent": 10, "weight": 3, "own_client_only": false, "own_client_only_set": "off", "model_prefix": "team-a/",
    });
    assert_eq!(*options, expected);
    let listed = sandbox.run(&["account", "list"]).succeeded();
    assert!(listed.stdout.contains("reserve 10%, weight 3, any client, models team-a/…"), "{}", listed.stdout);
    let back = ["account", "set", "1", "--reserve", "0", "--weight", "1", "--own-client-only", "default", "--model-prefix", "", "--json"];
    let options = &sandbox.run(&back).succeeded().json()["options"];
    assert_eq!(*options, json!({"reserve_percent": 0, "weight": 1, "own_client_only": true, "own_client_only_set": "default"}));
    for (option, value) in [("--reserve", "95%"), ("--weight", "0"), ("--own-client-only", "yes"), ("--model-prefix", "a/b")] {
        sandbox.run(&["account", "set", "1", option, value]).ended_with(2);
    }
}

#[test]
fn a_proxys_password_comes_from_stdin_and_is_shown_nowhere() {
    let sandbox = with_account();
    let url = "socks5://me:canary-pw@proxy.example:1080";
    let refused = sandbox.run(&["account", "set", "1", "--proxy", url]).ended_with(2).shows_none_of(&["canary-pw"]);
    assert!(refused.stderr.contains("hint: claviger account set 1 --proxy -"), "{}", refused.stderr);
    let set = sandbox.run_in(&["account", "set", "1", "--proxy", "-", "--json"], url, &[]).succeeded().shows_none_of(&["canary-pw"]);
    assert_eq!(set.json()["options"]["proxy"], "socks5://me:…@proxy.example:1080");
    let shown = sandbox.run(&["account", "show", "1"]).succeeded().shows_none_of(&["canary-pw"]);
    assert!(shown.stdout.contains("through socks5://me:…@proxy.example:1080"), "{}", shown.stdout);
    let gone = sandbox.run(&["account", "set", "1", "--proxy", "none", "--json"]).succeeded().json();
    assert_eq!(gone["options"].get("proxy"), None);
    let plain = sandbox.run(&["account", "set", "1", "--proxy", "http://proxy.example:3128", "--json"]).succeeded().json();
    assert_eq!(plain["options"]["proxy"], "http://proxy.example:3128");
    let bad = sandbox.run_in(&["account", "set", "1", "--proxy", "-"], "ftp://me:canary-pw@h:1", &[]).ended_with(2);
    bad.shows_none_of(&["canary-pw"]);
}

#[test]
fn an_account_is_disabled_without_a_cause_too() {
    let sandbox = with_account();
    let shown = sandbox.run(&["account", "disable", "1", "--cause", "  ", "--json"]).succeeded().json();
    assert_eq!(shown["standing"], json!({"state": "disabled", "cause": "disabled"}));
    let listed = sandbox.run(&["account", "list"]).succeeded();
    assert!(listed.stdout.contains("disabled"), "{}", listed.stdout);
}

#[test]
fn a_list_can_be_narrowed_to_one_provider() {
    let sandbox = with_account();
    sandbox.run_in(&["account", "add", "openai", "--from-json", "-"], r#"{"type":"api_key","key":"canary-key"}"#, &[]).succeeded();
    let providers = |arguments: &[&str]| -> Vec<String> {
        let list = sandbox.run(&[&["account", "list", "--json"], arguments].concat()).succeeded().shows_none_of(&CANARIES).json();
        list["accounts"].as_array().unwrap().iter().map(|account| account["provider"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(providers(&[]), ["anthropic", "openai"]);
    assert_eq!(providers(&["openai"]), ["openai"]);
    assert!(providers(&["google"]).is_empty());
    sandbox.run(&["account", "list", "antropic"]).ended_with(4);
}
