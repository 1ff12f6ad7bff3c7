//! `claviger seal`

use crate::sandbox::Sandbox;
use claviger_store::{RootKey, SqliteStore, Store};
use claviger_testkit::SimClock;
use serde_json::json;
use std::fs;

/// A key that a provider gave; it must be there after whatever is done to the seal.
const PROVIDER_KEY: &str = "sk-canary-1";
const PHRASE: &str = "canary-passphrase-0001";

fn with_an_account() -> Sandbox {
    let sandbox = Sandbox::initialised();
    sandbox.write("settings/config.toml", "[export]\nallow = true\n");
    sandbox.run_in(&["login", "openai", "--with-key"], PROVIDER_KEY, &[]).succeeded();
    sandbox
}

fn assert_whole(sandbox: &Sandbox, environment: &[(&str, &str)]) {
    let token = sandbox.run_in(&["token", "openai", "--json"], "", environment).succeeded().json();
    assert_eq!(token.get("token").and_then(serde_json::Value::as_str), Some(PROVIDER_KEY));
}

async fn audited(sandbox: &Sandbox) -> Vec<String> {
    let root = RootKey::KeyFile { path: sandbox.path("settings/master.key") };
    let store = SqliteStore::open(&sandbox.path("home"), &root, &SimClock::new()).unwrap();
    let entries = store.audit_list(100).await.unwrap();
    store.close().await.unwrap();
    let lines = entries.into_iter().rev().filter(|entry| entry.action.starts_with("seal."));
    lines.map(|entry| format!("{}: {} by {}", entry.action, entry.subject, entry.actor)).collect()
}

#[test]
fn the_help_names_what_there_is() {
    let help = Sandbox::empty().run(&["seal", "rewrap", "--help"]).succeeded().stdout;
    let ours = help.split("Options of every command").next().unwrap();
    insta::assert_snapshot!(ours);
}

#[test]
fn the_status_says_what_opens_the_vault_and_which_data_keys_there_are() {
    let sandbox = with_an_account();
    let status = sandbox.run(&["seal", "status", "--json"]).succeeded().json();
    assert_eq!((&status["seal"], &status["kit"]), (&json!("keyfile"), &json!({"state": "missing", "made_at": null})));
    assert_eq!((&status["cost"], &status["changed_at"], &status["rotation_unfinished"]), (&json!(null), &json!(null), &json!(false)));
    assert_eq!((&status["data_keys"][0]["version"], &status["data_keys"][0]["fields"]), (&json!(1), &json!(3)));
    let shown = sandbox.run(&["seal", "status"]).succeeded();
    assert!(shown.stdout.starts_with("sealed with: keyfile\n") && shown.stdout.contains("master.key"), "{}", shown.stdout);
    assert!(shown.stdout.contains("3 fields") && shown.stderr.contains("claviger seal kit FILE"), "{} {}", shown.stdout, shown.stderr);
    Sandbox::empty().run(&["seal", "status"]).ended_with(4);
}

#[tokio::test]
async fn a_rotation_says_what_it_did_and_loses_nothing() {
    let sandbox = with_an_account();
    let rotated = sandbox.run(&["seal", "rotate"]).succeeded().shows_none_of(&[PROVIDER_KEY]);
    insta::assert_snapshot!(rotated.stdout, @r"
    data key  2 seals from now on
    sealed    3 fields anew
    deleted   data key 1
    ");
    let again = sandbox.run(&["seal", "rotate", "--json"]).succeeded().json();
    assert_eq!(again, json!({"version": 3, "resumed": false, "resealed": 3, "retired": [2], "kept": [], "unopened": []}));
    assert_whole(&sandbox, &[]);
    assert_eq!(audited(&sandbox).await, ["seal.rotate: data key by cli"; 2]);
}

#[tokio::test]
async fn another_key_file_takes_the_place_of_the_old_one_which_stays_for_backups() {
    let sandbox = with_an_account();
    let (key, old) = (sandbox.path("settings/master.key"), sandbox.path("settings/master.key.old"));
    let first = fs::read(&key).unwrap();
    let done = sandbox.run(&["seal", "rewrap", "--json"]).succeeded().json();
    assert_eq!((&done["from"], &done["seal"], &done["restart_needed"]), (&json!("keyfile"), &json!("keyfile"), &json!(false)));
    assert_eq!(done["old_key_file"], json!(old));
    assert!(fs::read(&key).unwrap() != first && fs::read(&old).unwrap() == first);
    assert_whole(&sandbox, &[]);
    let said = sandbox.run(&["seal", "rewrap"]).succeeded();
    assert!(said.stderr.contains("master.key.old-2") && !said.stderr.contains("recovery kit"), "none was made: {}", said.stderr);
    assert_eq!(fs::read(&old).unwrap(), first, "no old key file is overwritten");
    assert_whole(&sandbox, &[]);
    assert_eq!(audited(&sandbox).await, ["seal.rewrap: from keyfile to keyfile by cli"; 2]);

    fs::copy(&old, &key).unwrap();
    sandbox.run(&["account", "list"]).ended_with(3);
}

#[test]
fn a_passphrase_takes_the_place_of_a_key_file_and_back() {
    let sandbox = with_an_account();
    let file = sandbox.write("passphrase", &format!("{PHRASE}\n"));
    let second = sandbox.write("passphrase-2", "canary-passphrase-0002\n");
    let (file, second) = (file.to_str().unwrap(), second.to_str().unwrap());
    let short = sandbox.write("passphrase-3", "short\n");
    sandbox.run(&["seal", "rewrap", "--to", "passphrase", "--new-passphrase-file", short.to_str().unwrap()]).ended_with(2);
    sandbox.run(&["seal", "rewrap", "--to", "passphrase"]).ended_with(2);
    sandbox.run(&["seal", "rewrap", "--new-passphrase-file", file]).ended_with(2);
    assert_whole(&sandbox, &[]);

    let ran = sandbox.run(&["seal", "rewrap", "--to", "passphrase", "--new-passphrase-file", file]).succeeded();
    let ran = ran.shows_none_of(&[PHRASE]);
    assert!(ran.stdout.starts_with("sealed    with passphrase (was: keyfile)"), "{}", ran.stdout);
    assert!(ran.stderr.contains("settings/master.key: it opens backups"), "what stays is named: {}", ran.stderr);
    sandbox.run(&["account", "list"]).ended_with(3);
    let given = [("CLAVIGER_PASSPHRASE_FILE", file)];
    assert_whole(&sandbox, &given);
    let status = sandbox.run_in(&["seal", "status", "--json"], "", &given).succeeded().json();
    assert_eq!((&status["seal"], &status["cost"]["memory_kib"]), (&json!("passphrase"), &json!(65536)));

    sandbox.run_in(&["seal", "rewrap", "--new-passphrase-file", second], "", &given).succeeded();
    sandbox.run_in(&["account", "list"], "", &given).ended_with(3);
    let given = [("CLAVIGER_PASSPHRASE_FILE", second)];
    assert_whole(&sandbox, &given);
    sandbox.run_in(&["seal", "rewrap", "--to", "keyfile"], "", &given).succeeded();
    assert_whole(&sandbox, &[]);
}

#[test]
fn a_stop_between_the_new_seal_and_its_key_files_move_is_finished_by_the_next_command() {
    let sandbox = with_an_account();
    let (key, next, old) =
        (sandbox.path("settings/master.key"), sandbox.path("settings/master.key.new"), sandbox.path("settings/master.key.old"));
    sandbox.run(&["seal", "rewrap"]).succeeded();
    // As it was right after the vault was sealed anew.
    fs::rename(&key, &next).unwrap();
    fs::rename(&old, &key).unwrap();
    let (first, second) = (fs::read(&key).unwrap(), fs::read(&next).unwrap());
    assert_whole(&sandbox, &[]);
    assert!(!next.exists());
    assert_eq!((fs::read(&key).unwrap(), fs::read(&old).unwrap()), (second.clone(), first));

    // As it was right before: the successor is there, and opens nothing yet.
    sandbox.run(&["seal", "rewrap"]).succeeded();
    fs::rename(&key, sandbox.path("settings/kept")).unwrap();
    let other = with_an_account();
    fs::copy(other.path("settings/master.key"), &next).unwrap();
    fs::rename(sandbox.path("settings/kept"), &key).unwrap();
    assert_whole(&sandbox, &[]);
    assert!(next.exists(), "a key that another process may be sealing with is never removed");
    sandbox.run(&["seal", "rewrap"]).succeeded();
    assert!(!next.exists());
    assert_whole(&sandbox, &[]);
}

#[test]
fn a_rotation_beside_a_running_server_needs_no_restart_and_a_rewrap_does() {
    let sandbox = with_an_account();
    sandbox.run(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"]).succeeded();
    sandbox.run(&["seal", "rotate"]).succeeded();
    assert_whole(&sandbox, &[]);
    sandbox.run(&["key", "create"]).succeeded();

    // One right after the other: the server must have met the new data key before another seal is put on it.
    sandbox.run(&["seal", "rotate"]).succeeded();
    let done = sandbox.run(&["seal", "rewrap", "--json"]).succeeded().json();
    assert_eq!(done["restart_needed"], true);
    assert_whole(&sandbox, &[]);
    let refused = sandbox.run(&["seal", "rotate"]).ended_with(5);
    assert!(refused.stderr.contains("hint: claviger down"), "{}", refused.stderr);
    sandbox.run(&["down"]).succeeded();
    sandbox.run(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"]).succeeded();
    sandbox.run(&["seal", "rotate"]).succeeded();
    assert_whole(&sandbox, &[]);
    sandbox.run(&["down"]).succeeded();
}
