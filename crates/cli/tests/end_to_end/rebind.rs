//! A provider that an overlay moves: its accounts stay behind until a person binds them to the new place.

use crate::stage::{Stage, post};
use claviger_runtime::SystemClock;
use claviger_simulator::{Rotation, Simulator, SimulatorConfig};
use claviger_store::{RootKey, SqliteStore, Store};

const KEY: &str = "canary-key-of-the-team";
const PATH: &str = "/openai/v1/chat/completions";

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_provider_gets_no_key_before_somebody_has_bound_it_to_the_new_place() {
    let stage = Stage::new(Rotation::Strict).await;
    let elsewhere = Simulator::start(SimulatorConfig { seed: 2, ..SimulatorConfig::default() }).await.unwrap();
    for simulator in [&stage.simulator, &elsewhere] {
        simulator.control().api_key_add(KEY, "team");
    }
    let file = stage.path("key.json");
    std::fs::write(&file, format!(r#"{{"type":"api_key","key":"{KEY}"}}"#)).unwrap();
    stage.run(&["account", "add", "openai", "--from-json", file.to_str().unwrap()]);
    let key = stage.key_for(1);
    let served = stage.serve();
    assert_eq!(post(&served.origin, PATH, &key).await.0, 200);

    let overlay = stage.path("settings/providers.d/stage.toml");
    let (here, there) = (stage.simulator.origin(), elsewhere.origin());
    let text = std::fs::read_to_string(&overlay).unwrap();
    std::fs::write(&overlay, text.replacen(&format!("base_url = \"{here}/v1\""), &format!("base_url = \"{there}/v1\""), 1)).unwrap();
    stage.run(&["config", "reload"]);
    let (status, body) = post(&served.origin, PATH, &key).await;
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("origin_changed") && body.contains("claviger account rebind 1"), "{body}");
    for arguments in [&["account", "rebind", "1"][..], &["token", "openai"]] {
        let refused = stage.command(arguments).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(5), "{arguments:?}: {told}");
        assert!(told.contains("hint: ") && told.contains("claviger account rebind 1"), "{arguments:?}: {told}");
    }
    let doctor = String::from_utf8(stage.command(&["doctor"]).output().unwrap().stdout).unwrap();
    assert!(doctor.contains("claviger account rebind 1"), "{doctor}");
    assert_eq!(elsewhere.ledger().requests_count(), 0, "nothing may arrive there");

    let bound = stage.json(&["account", "rebind", "1", "--yes"]);
    assert_eq!((bound["stored"]["inference"][0].as_str(), bound["effective"]["inference"][0].as_str()), (Some(&*here), Some(&*there)));
    assert_eq!(bound["account"]["standing"]["state"], "active");
    assert_eq!(post(&served.origin, PATH, &key).await.0, 200);
    assert_eq!(elsewhere.ledger().credentials_seen(), [KEY]);
    assert_eq!(stage.simulator.ledger().requests_count(), 1);
    // Once more there is nothing to do.
    let again = stage.run(&["account", "rebind", "1"]);
    assert!(String::from_utf8(again.stdout).unwrap().contains("nothing to do"));
    let taken = stage.json(&["account", "take", "1", "--yes"]);
    assert_eq!(taken["outcome"], "not_quarantined");

    drop(served);
    let trail = trail(&stage).await;
    let rebound = trail.iter().find(|(action, _)| action == "account.rebind").unwrap();
    assert!(rebound.1.starts_with("account 1, ") && rebound.1.contains(&here) && rebound.1.contains(&there), "{rebound:?}");
    assert!(trail.iter().any(|(action, _)| action == "account.add"), "{trail:?}");
    assert!(!trail.iter().any(|(_, subject)| subject.contains(KEY)), "{trail:?}");
}

async fn trail(stage: &Stage) -> Vec<(String, String)> {
    let root = RootKey::KeyFile { path: stage.path("settings/master.key") };
    let store = SqliteStore::open(&stage.path("home"), &root, &SystemClock).unwrap();
    let trail = store.audit_list(100).await.unwrap();
    store.close().await.unwrap();
    trail.into_iter().map(|entry| (entry.action, entry.subject)).collect()
}
