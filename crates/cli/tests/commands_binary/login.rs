//! `claviger login`

use crate::sandbox::Sandbox;

#[test]
fn a_key_from_stdin_is_stored_and_never_shown() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run_in(&["login", "openai", "--with-key", "--label", "mine"], "canary-key\n", &[]).succeeded();
    assert_eq!(ran.shows_none_of(&["canary-key"]).stdout, "added account 1: openai, mine\n");
    let ran = sandbox.run_in(&["login", "openai", "--with-key", "--json"], "canary-key", &[]).succeeded().shows_none_of(&["canary-key"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 1, "one event per line: {lines:?}");
    assert_eq!(ran.json()["event"], "stored");
    assert_eq!(ran.json()["outcome"], "unchanged");
}

#[test]
fn what_cannot_be_a_key_is_refused() {
    let sandbox = Sandbox::initialised();
    for text in ["", " \n", "canary key", "canary\nkey\n"] {
        sandbox.run_in(&["login", "openai", "--with-key"], text, &[]).ended_with(2).shows_none_of(&["canary"]);
    }
    assert_eq!(sandbox.run(&["account", "list", "--json"]).json()["accounts"].as_array().unwrap().len(), 0);
}

#[test]
fn a_provider_that_takes_no_key_or_is_unknown_is_named() {
    let sandbox = Sandbox::initialised();
    let unknown = sandbox.run_in(&["login", "opnai", "--with-key"], "canary-key", &[]).ended_with(4).shows_none_of(&["canary-key"]);
    assert!(unknown.stderr.contains("close to it: openai"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("openrouter"), "{}", unknown.stderr);
    sandbox.run_in(&["login", "openai-codex", "--with-key"], "canary-key", &[]).ended_with(5);
    sandbox.run(&["login", "openai"]).ended_with(2);
}
