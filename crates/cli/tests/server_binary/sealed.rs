//! A server whose vault is sealed by a keyring that is not there, and what else happens without a key.

use crate::home::{Home, http};
use claviger_runtime::SystemClock;
use claviger_store::{RootKey, RootSecret, SqliteStore, Store};
use rustix::process::Signal;

/// A vault whose key is in a keyring; there is none in the environment of these tests.
fn sealed() -> Home {
    let home = Home::new();
    let root = RootKey::Keyring { entry: "vault-0123456789abcdef".to_owned(), key: RootSecret::generate() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = SqliteStore::create(&home.path("data"), &root, &SystemClock).unwrap();
    runtime.block_on(store.close()).unwrap();
    home
}

#[test]
fn without_its_keyring_a_server_starts_sealed_says_so_everywhere_and_ends_by_a_signal() {
    let home = sealed();
    let serving = home.serve();
    let (status, body) = http(&serving.listen, "POST /v1/chat/completions HTTP/1.1", "{}");
    assert!(status == 503 && body.contains(r#""code":"sealed""#), "{status} {body}");
    assert_eq!(http(&serving.listen, "GET /livez HTTP/1.1", "").0, 200);
    assert_eq!(http(&serving.listen, "GET /readyz HTTP/1.1", "").0, 503);

    let shown = home.run(&["status", "--json"]).succeeded().json();
    assert_eq!((&shown["running"], &shown["sealed"]["why"]), (&true.into(), &"no keyring answers here".into()));
    assert!(shown.get("keys_active").is_none(), "{shown}");
    assert!(home.run(&["status"]).succeeded().stdout.contains("sealed    no keyring answers here"));
    for arguments in [["key", "list"], ["account", "list"]] {
        let error = home.run(&[arguments[0], arguments[1], "--json"]).ended_with(3).json()["error"].clone();
        assert_eq!(error["code"], "sealed", "{error}");
        assert!(error["hint"].as_str().unwrap().contains("keyring"), "{error}");
    }
    assert!(home.run(&["doctor"]).ended_with(1).stdout.contains("serves nobody, its vault is sealed"));
    serving.signal(Signal::TERM);
    let (code, said) = serving.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the vault is sealed"), "{said}");
}

#[test]
fn up_in_the_background_says_that_it_is_sealed_and_down_ends_it() {
    let home = sealed();
    let up = home.run(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0", "--json"]).succeeded().json();
    assert_eq!(up["sealed"]["why"], "no keyring answers here");
    let again = home.run(&["up", "-d", "--no-adopt"]).succeeded();
    assert!(again.stdout.contains("nobody is served yet"), "{}", again.stdout);
    home.run(&["down"]).succeeded();
    let ran = home.run(&["key", "list"]).ended_with(3);
    assert!(ran.stderr.contains("no keyring answers here"), "{}", ran.stderr);
}

#[test]
fn without_a_keyring_no_vault_is_sealed_with_one() {
    let home = Home::new();
    let ran = home.run(&["init", "--seal", "keyring"]).ended_with(3);
    assert!(ran.stderr.contains("no keyring answers here") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert!(!home.path("data/vault.db").exists());
}

#[test]
fn a_passphrase_that_nobody_can_be_asked_for_is_the_end_of_the_start() {
    let home = Home::new();
    home.write("passphrase", "canary-passphrase\n");
    let file = home.path("passphrase");
    let made = home.command(&["init", "--seal", "passphrase"]).env("CLAVIGER_PASSPHRASE_FILE", file).output().unwrap();
    assert!(made.status.success());
    let ran = home.run(&["serve", "--listen", "127.0.0.1:0"]).ended_with(3);
    assert!(ran.stderr.contains("nobody can be asked"), "{}", ran.stderr);
}
