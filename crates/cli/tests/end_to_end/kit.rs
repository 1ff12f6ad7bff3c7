//! The recovery kit, drilled: the key of a vault is lost, and the kit brings the vault back.

use crate::stage::{Stage, post};
use claviger_simulator::Rotation;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const PASSPHRASE: &str = "canary-kit-passphrase";

/// Made for this test by `age-keygen`; it opens nothing else.
const IDENTITY: &str = "AGE-SECRET-KEY-10RMUC4L365CGCGDS84KVAXHLJKUY4LZF72FJ0T82S65JCTE3878SY0K6XE";
const RECIPIENT: &str = "age1gmq482lzc7ex3gdlp02c6kmfz7x8879k762mxdl77vylk4x03amsyanwjt";

struct Drill {
    stage: Stage,
    passphrase: String,
    identity: String,
}

impl Drill {
    async fn new() -> Self {
        let stage = Stage::new(Rotation::Strict).await;
        let write = |name: &str, text: &str| {
            std::fs::write(stage.path(name), text).unwrap();
            stage.path(name).display().to_string()
        };
        let (passphrase, identity) = (write("passphrase", PASSPHRASE), write("identity", &format!("# a comment\n{IDENTITY}\n")));
        Self { stage, passphrase, identity }
    }

    fn path(&self, name: &str) -> String {
        self.stage.path(name).display().to_string()
    }

    fn master_key(&self) -> PathBuf {
        self.stage.path("settings/master.key")
    }

    /// Runs a command that is to fail; gives its exit code and what it said.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.stage.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("canary"), "{said}");
        (output.status.code().unwrap(), said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_whose_key_is_lost_is_brought_back_by_its_kit_and_serves_again() {
    let drill = Drill::new().await;
    let stage = &drill.stage;
    let issued = stage.simulator.control().grant_issue_with("ada", "at-ada", "rt-ada", 3600);
    let login =
        format!(r#"{{"type":"oauth","access":"{}","refresh":"{}","expires":{}}}"#, issued.access, issued.refresh, issued.expires_at_ms);
    std::fs::write(stage.path("login.json"), login).unwrap();
    stage.run(&["account", "add", "anthropic", "--from-json", &drill.path("login.json")]);
    let account = stage.json(&["account", "list"])["accounts"][0]["id"].as_i64().unwrap();
    let key = stage.key_for(account);

    let kit = drill.path("kit.age");
    assert_eq!(stage.json(&["seal", "status"])["kit"]["state"], "missing");
    stage.run(&["seal", "kit", &kit, "--passphrase-file", &drill.passphrase]);
    assert_eq!(std::fs::metadata(&kit).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&kit).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1\n-> scrypt "));
    assert_eq!(stage.json(&["seal", "status"])["kit"]["state"], "current");
    let (code, said) = drill.fails(&["seal", "kit", &kit, "--passphrase-file", &drill.passphrase]);
    assert!(code == 5 && said.contains("never written over"), "{code}: {said}");
    assert_eq!(std::fs::read(&kit).unwrap(), bytes);

    std::fs::remove_file(drill.master_key()).unwrap();
    assert_eq!(drill.fails(&["key", "list"]).0, 3);
    let opening = ["--kit-passphrase-file", &drill.passphrase];
    let checked = stage.json(&[&["seal", "check-kit", &kit][..], &opening].concat());
    assert_eq!((&checked["accounts"], &checked["keys"], &checked["faults"]), (&1.into(), &1.into(), &0.into()));
    assert!(!drill.master_key().exists(), "a drill changes nothing");

    stage.run(&[&["seal", "rewrap", "--to", "keyfile", "--kit", &kit][..], &opening].concat());
    let served = stage.serve();
    let (status, body) = post(&served.origin, "/v1/messages", &key).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(stage.json(&["seal", "status"])["kit"]["state"], "outdated");
    let (code, said) = drill.fails(&[&["seal", "check-kit", &kit][..], &opening].concat());
    assert!(code == 3 && said.contains("is outdated"), "{code}: {said}");
    let doctor = stage.json(&["doctor"]);
    let finding = doctor.as_array().unwrap().iter().find(|finding| finding["check"] == "recovery kit").unwrap();
    assert_eq!((&finding["verdict"], &finding["hint"]), (&"warn".into(), &"claviger seal kit FILE".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kit_opens_by_its_own_key_and_for_its_own_vault_alone() {
    let drill = Drill::new().await;
    let stage = &drill.stage;
    let kit = drill.path("kit.age");
    stage.run(&["seal", "kit", &kit, "--recipient", RECIPIENT]);
    stage.run(&["seal", "check-kit", &kit, "--identity", &drill.identity]);
    assert_eq!(stage.json(&["seal", "status"])["kit"]["state"], "current");

    let (code, said) = drill.fails(&["seal", "check-kit", &kit, "--kit-passphrase-file", &drill.passphrase]);
    assert!(code == 2 && said.contains("opens with an identity") && said.contains("--identity FILE"), "{code}: {said}");
    assert_eq!(drill.fails(&["seal", "check-kit", &kit]).0, 2, "nobody can be asked");
    let (code, said) = drill.fails(&["seal", "check-kit", &drill.passphrase, "--identity", &drill.identity]);
    assert!(code == 1 && said.contains("no age file"), "{code}: {said}");
    let (code, said) = drill.fails(&["seal", "check-kit", &drill.path("nowhere.age"), "--identity", &drill.identity]);
    assert!(code == 4 && said.contains("there is no file"), "{code}: {said}");
    let (code, said) = drill.fails(&["seal", "rewrap", "--identity", &drill.identity]);
    assert!(code == 2 && said.contains("--kit FILE"), "{code}: {said}");
    let (code, said) = drill.fails(&["seal", "kit", &drill.path("other.age"), "--recipient", "age1nobody"]);
    assert!(code == 2 && said.contains("no age recipient"), "{code}: {said}");
    std::fs::write(stage.path("short"), "short").unwrap();
    let (code, said) = drill.fails(&["seal", "kit", &drill.path("other.age"), "--passphrase-file", &drill.path("short")]);
    assert!(code == 2 && said.contains("shorter than"), "{code}: {said}");
    assert!(!stage.path("other.age").exists());

    let stranger = Stage::new(Rotation::Strict).await;
    let output = stranger.command(&["seal", "rewrap", "--to", "keyfile", "--kit", &kit, "--identity", &drill.identity]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(5) && said.contains("the kit of another vault"), "{said}");
    stranger.run(&["key", "list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passphrase_opens_no_kit_and_changes_nothing() {
    let drill = Drill::new().await;
    let kit = drill.path("kit.age");
    drill.stage.run(&["seal", "kit", &kit, "--passphrase-file", &drill.passphrase]);
    std::fs::write(drill.stage.path("wrong"), "canary-wrong-passphrase").unwrap();
    let key = std::fs::read(drill.master_key()).unwrap();
    let (code, said) = drill.fails(&["seal", "rewrap", "--to", "keyfile", "--kit", &kit, "--kit-passphrase-file", &drill.path("wrong")]);
    assert!(code == 3 && said.contains("the passphrase does not open it"), "{code}: {said}");
    assert_eq!(std::fs::read(drill.master_key()).unwrap(), key);
    drill.stage.run(&["key", "list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored_on_another_machine_with_the_kit_alone() {
    let drill = Drill::new().await;
    let stage = &drill.stage;
    let (kit, backup) = (drill.path("kit.age"), drill.path("backup.db"));
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();
    stage.run(&["seal", "kit", &kit, "--recipient", RECIPIENT]);
    stage.run(&["backup", &backup]);
    std::fs::remove_dir_all(stage.path("home")).unwrap();
    std::fs::remove_file(drill.master_key()).unwrap();
    let opening = ["--kit", &kit, "--identity", &drill.identity];
    stage.run(&[&["restore", &backup][..], &opening].concat());
    stage.run(&[&["seal", "rewrap", "--to", "keyfile"][..], &opening].concat());
    let served = stage.serve();
    let (status, body) = post(&served.origin, "/v1/messages", &key).await;
    assert!(status == 403 && body.contains("no account"), "{status} {body}");
}
