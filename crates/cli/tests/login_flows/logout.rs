//! `claviger logout`.

use crate::stage::Stage;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_takes_the_one_account_or_asks_which() {
    let stage = Stage::new("[login.device]\ndevice_url = \"ORIGIN/device/code\"\n").await;
    for who in ["ada", "bob"] {
        stage.simulator.control().login_policy_set(crate::stage::policy(who));
        stage.run(&["login", "acme"]).ended_with(0);
    }
    let ran = stage.run(&["logout", "acme"]).ended_with(5);
    assert!(ran.stderr.contains("account 1: acme, ada@example.com (Org); account 2: acme, bob@example.com (Org)"), "{}", ran.stderr);
    assert_eq!(
        stage.run(&["logout", "acme", "--account", "1"]).ended_with(0).stdout,
        "logged out: account 1: acme, ada@example.com (Org)\n"
    );
    let ran = stage.run(&["logout", "acme", "--json"]).ended_with(0);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["removed"], serde_json::json!([2]));
    assert!(stage.accounts().is_empty());
    stage.run(&["logout", "acme"]).ended_with(4);
    stage.run(&["logout", "nobody"]).ended_with(4);
    // The device code of each login, and its tokens, are nowhere in the vault's files any more.
    let vault = std::fs::read(stage.path("home/vault.db")).unwrap();
    for secret in stage.secrets() {
        assert!(!vault.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}
