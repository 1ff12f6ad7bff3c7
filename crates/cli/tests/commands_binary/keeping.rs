//! What storing and forgetting accounts leaves alone.

use crate::sandbox::Sandbox;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn accounts(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.run(&["account", "list", "--json"]).succeeded().json().get("accounts").and_then(Value::as_array).unwrap().clone()
}

fn key(sandbox: &Sandbox, provider: &str, key: &str) {
    sandbox.run_in(&["login", provider, "--with-key"], key, &[]).succeeded();
}

#[test]
fn a_logout_of_every_account_leaves_other_providers_alone() {
    let sandbox = Sandbox::initialised();
    for (provider, text) in [("openai", "sk-test-1"), ("openai", "sk-test-2"), ("groq", "sk-test-3")] {
        key(&sandbox, provider, text);
    }
    let ran = sandbox.run(&["logout", "openai", "--all", "--json"]).succeeded().json();
    assert_eq!(ran["removed"], json!([1, 2]));
    let left = accounts(&sandbox);
    assert_eq!((left.len(), &left[0]["provider"], &left[0]["id"]), (1, &json!("groq"), &json!(3)));
    sandbox.run(&["logout", "openai", "--all"]).ended_with(4);
    key(&sandbox, "openai", "sk-test-1");
    assert_eq!(
        accounts(&sandbox).iter().map(|account| account["id"].clone()).collect::<Vec<_>>(),
        [json!(3), json!(4)],
        "no id comes again"
    );
}

#[test]
fn two_keys_of_a_provider_are_two_accounts_and_the_same_key_is_one() {
    let sandbox = Sandbox::initialised();
    for text in ["sk-test-1", "sk-test-2", "sk-test-1"] {
        key(&sandbox, "openai", text);
    }
    let ids: Vec<Value> = accounts(&sandbox).iter().map(|account| account["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(2)]);
}

#[test]
fn an_account_is_stored_under_its_providers_id_whatever_name_was_typed() {
    let sandbox = Sandbox::initialised();
    key(&sandbox, "zai-coding-plan", "sk-test-1");
    sandbox.run_in(&["account", "add", "zai-coding-plan", "--from-json", "-"], r#"{"type":"api_key","key":"sk-test-2"}"#, &[]).succeeded();
    assert!(accounts(&sandbox).iter().all(|account| account["provider"] == "zai"));
    sandbox.run(&["logout", "zai", "--all"]).succeeded();
    assert!(accounts(&sandbox).is_empty());
}

#[test]
fn logins_and_logouts_write_nothing_into_the_configuration() {
    let sandbox = Sandbox::initialised();
    let text = "[log]\nlevel = \"warn\"\n";
    let config = sandbox.write("settings/config.toml", text);
    let names = || std::fs::read_dir(sandbox.path("settings")).unwrap().map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>();
    let before = names();
    for arguments in [&["login", "openai", "--with-key"][..], &["logout", "openai"]] {
        sandbox.run_in(arguments, "sk-test-1", &[]).succeeded();
        assert_eq!((std::fs::read_to_string(&config).unwrap().as_str(), names()), (text, before.clone()));
    }
}

#[test]
fn under_another_configuration_whose_key_file_is_not_there_nothing_is_stored() {
    let sandbox = Sandbox::initialised();
    let other = sandbox.write("elsewhere/other.toml", "[log]\nlevel = \"warn\"\n");
    let arguments = ["login", "openai", "--with-key", "--json", "--config", other.to_str().unwrap()];
    let refused = sandbox.run_in(&arguments, "canary-key", &[]).ended_with(3).shows_none_of(&["canary-key"]);
    assert!(refused.stdout.contains("key file"), "{}", refused.stdout);
    assert_eq!(std::fs::read_dir(sandbox.path("elsewhere")).unwrap().count(), 1);
    assert!(accounts(&sandbox).is_empty());
}
