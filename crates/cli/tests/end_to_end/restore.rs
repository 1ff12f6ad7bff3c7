//! An older copy of a vault, put back by us or by hand: nothing is refreshed until somebody says that the accounts are ours.

use crate::stage::{Served, Stage, post};
use claviger_simulator::{LlmFault, Rotation};
use serde_json::Value;
use std::path::PathBuf;

const PATH: &str = "/anthropic/v1/messages";

/// Issues a login at the simulator and stores it.
fn add_login(stage: &Stage, name: &str, lifetime_s: i64) {
    let issued = stage.simulator.control().grant_issue_with(name, &format!("at-{name}"), &format!("rt-{name}"), lifetime_s);
    let login = format!(
        r#"{{"type":"oauth","access":"{}","refresh":"{}","expires":{},"email":"{name}@example.com"}}"#,
        issued.access, issued.refresh, issued.expires_at_ms
    );
    let file = stage.path("login.json");
    std::fs::write(&file, login).unwrap();
    stage.run(&["account", "add", "anthropic", "--from-json", file.to_str().unwrap()]);
}

/// One refresh: the provider refuses the token that is there once, although it lives.
async fn rotate(stage: &Stage, served: &Served, key: &str) {
    let before = stage.simulator.ledger().refreshes();
    stage.simulator.control().llm_fault_next(LlmFault::Unauthorized);
    assert_eq!(post(&served.origin, PATH, key).await.0, 200);
    assert_eq!(stage.simulator.ledger().refreshes(), before + 1);
}

fn standing(stage: &Stage, account: i64) -> String {
    let list = stage.json(&["account", "list"]);
    let found = list["accounts"].as_array().unwrap().iter().find(|row| row["id"] == account).unwrap().clone();
    found["standing"]["state"].as_str().or(found["standing"].as_str()).unwrap_or_default().to_owned()
}

fn doctor(stage: &Stage, check: &str) -> Value {
    let findings = stage.command(&["doctor", "--json"]).output().unwrap().stdout;
    let findings: Value = serde_json::from_slice(&findings).unwrap();
    findings.as_array().unwrap().iter().find(|finding| finding["check"] == check).unwrap().clone()
}

struct Aged {
    stage: Stage,
    backup: PathBuf,
    copy: Vec<u8>,
    key: String,
}

/// A vault whose backup, and whose copy by hand, are three generations of one login old. The token of the copy is still live.
async fn three_generations_old() -> Aged {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", 3600);
    let key = stage.key_for(1);
    let backup = stage.path("backup.db");
    stage.run(&["backup", backup.to_str().unwrap()]);
    let copy = std::fs::read(stage.path("home/vault.db")).unwrap();
    let served = stage.serve();
    for _ in 0..3 {
        rotate(&stage, &served, &key).await;
    }
    stage.run(&["down"]);
    drop(served);
    assert_eq!(stage.simulator.ledger().refreshes(), 3);
    Aged { stage, backup, copy, key }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_three_generations_ago_is_restored_and_refreshes_nothing_until_it_is_taken() {
    let Aged { stage, backup, key, .. } = three_generations_old().await;
    let file = backup.to_str().unwrap();
    let refused = stage.command(&["restore", file]).output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "nobody agreed: {}", String::from_utf8_lossy(&refused.stderr));
    let restored = stage.run(&["restore", file, "--yes"]);
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(said.contains("claviger account take 1"), "{said}");

    let served = stage.serve();
    for _ in 0..3 {
        assert_eq!(post(&served.origin, PATH, &key).await.0, 200, "a live token is served");
    }
    assert_eq!(standing(&stage, 1), "quarantined");
    stage.simulator.control().account_expire("ada");
    let (status, body) = post(&served.origin, PATH, &key).await;
    assert_ne!(status, 200, "{body}");
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (3, 0), "0 refresh calls since the restore");

    stage.run(&["account", "take", "1", "--yes"]);
    assert_ne!(standing(&stage, 1), "quarantined");
    claviger_testkit::proof_row("quarantine: a backup three generations old, restored", 1, 1, "0 refreshes until it was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_login_that_is_still_ours_is_refreshed_once_it_is_taken() {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", -10);
    let key = stage.key_for(1);
    let backup = stage.path("backup.db");
    stage.run(&["backup", backup.to_str().unwrap()]);
    // Something has happened since, so that the restored vault cannot know what.
    add_login(&stage, "bob", 3600);
    let restored = stage.json(&["restore", backup.to_str().unwrap(), "--yes"]);
    assert_eq!(restored["quarantined"], serde_json::json!([1]));
    let served = stage.serve();
    assert_ne!(post(&served.origin, PATH, &key).await.0, 200);
    assert_eq!(stage.simulator.ledger().refreshes(), 0);
    stage.run(&["account", "take", "1", "--yes"]);
    assert_eq!(post(&served.origin, PATH, &key).await.0, 200, "at once, without a restart");
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_switched_off_does_not_leave_its_quarantine_unless_somebody_agrees() {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", 3600);
    let backup = stage.path("backup.db");
    stage.run(&["backup", backup.to_str().unwrap()]);
    add_login(&stage, "bob", 3600);
    stage.run(&["restore", backup.to_str().unwrap(), "--yes"]);
    let up = stage.json(&["up", "-d", "--no-adopt", "--listen", "127.0.0.1:0"]);
    assert!(up["degraded"][0].as_str().unwrap().contains("1 account is in quarantine"), "{up}");
    stage.run(&["account", "disable", "1", "--cause", "a rest"]);
    assert_eq!(standing(&stage, 1), "disabled");
    assert_eq!(stage.command(&["account", "take", "1"]).output().unwrap().status.code(), Some(5), "nobody agreed");
    stage.run(&["account", "enable", "1"]);
    assert_eq!(standing(&stage, 1), "quarantined");
    stage.run(&["account", "disable", "1", "--cause", "a rest"]);
    assert_eq!(stage.json(&["account", "take", "1", "--yes"])["outcome"], "taken");
    stage.run(&["down"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_copied_back_is_noticed_by_its_mirror() {
    let Aged { stage, copy, key, .. } = three_generations_old().await;
    std::fs::write(stage.path("home/vault.db"), copy).unwrap();
    let served = stage.serve();
    stage.simulator.control().account_expire("ada");
    assert_ne!(post(&served.origin, PATH, &key).await.0, 200);
    assert_eq!(standing(&stage, 1), "quarantined");
    let ledger = stage.simulator.ledger();
    assert_eq!((ledger.refreshes(), ledger.reuses()), (3, 0));
    assert_eq!(doctor(&stage, "copies")["verdict"], "warn");
    assert!(std::fs::read_to_string(stage.path("serve.log")).unwrap().contains("put back or copied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_mirror_is_warned_of_and_costs_nothing() {
    let Aged { stage, key, .. } = three_generations_old().await;
    assert_eq!(doctor(&stage, "copies")["verdict"], "ok");
    std::fs::remove_dir_all(stage.path("user/.local/state/claviger")).unwrap();
    let served = stage.serve();
    rotate(&stage, &served, &key).await;
    assert!(std::fs::read_to_string(stage.path("serve.log")).unwrap().contains("mirror"), "it is said");
    assert_ne!(standing(&stage, 1), "quarantined");
    assert_eq!(doctor(&stage, "copies")["verdict"], "warn", "while the server that found it so runs");
    stage.run(&["down"]);
    assert_eq!(doctor(&stage, "copies")["verdict"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_under_a_running_server_and_no_backup_overwrites_anything() {
    let stage = Stage::new(Rotation::Strict).await;
    add_login(&stage, "ada", 3600);
    let served = stage.serve();
    let backup = stage.path("backup.db");
    let file = backup.to_str().unwrap();
    let made = stage.json(&["backup", file]);
    assert_eq!(made["seal"], "keyfile");
    assert_eq!(stage.command(&["backup", file]).output().unwrap().status.code(), Some(5));
    let refused = stage.command(&["restore", file, "--yes"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hint: claviger down"));
    stage.run(&["down"]);
    drop(served);
    let restored = stage.json(&["restore", file, "--yes"]);
    assert_eq!((&restored["accounts"], &restored["quarantined"]), (&1.into(), &Value::Array(Vec::new())), "nothing has happened since");
    assert_eq!(stage.command(&["restore", "nothing.db"]).output().unwrap().status.code(), Some(4));
}
