//! Rows and overlays under attack: no secret reaches an origin that it was not stored for, whoever edits what.

use crate::stage::{Stage, post};
use claviger_simulator::{Rotation, Simulator, SimulatorConfig};

const PATH: &str = "/anthropic/v1/messages";
const OVERLAY: &str = "settings/providers.d/stage.toml";

/// A home with the logins 1 and 2 and the key 3, and a second provider that nothing of it may reach.
struct Attacked {
    stage: Stage,
    second: Simulator,
    /// The database and the overlay as they were.
    whole: (Vec<u8>, String),
    /// Virtual keys for the accounts 1 and 2.
    keys: [String; 2],
}

impl Attacked {
    async fn new() -> Self {
        let stage = Stage::new(Rotation::Strict).await;
        let second = Simulator::start(SimulatorConfig::default()).await.unwrap();
        for name in ["ada", "bob"] {
            let (access, refresh) = (format!("at-{name}"), format!("rt-{name}"));
            second.control().grant_issue_with(name, &access, &refresh, 3600);
            let expires = stage.simulator.control().grant_issue_with(name, &access, &refresh, 3600).expires_at_ms;
            let login =
                format!(r#"{{"type":"oauth","access":"{access}","refresh":"{refresh}","expires":{expires},"email":"{name}@example.com"}}"#);
            add(&stage, "anthropic", &login);
        }
        add(&stage, "openai", r#"{"type":"api_key","key":"sk-test-1"}"#);
        let keys = [stage.key_for(1), stage.key_for(2)];
        let whole = (std::fs::read(stage.path("home/vault.db")).unwrap(), std::fs::read_to_string(stage.path(OVERLAY)).unwrap());
        Self { stage, second, whole, keys }
    }

    /// Puts back what was edited last.
    fn heal(&self) {
        std::fs::write(self.stage.path("home/vault.db"), &self.whole.0).unwrap();
        std::fs::write(self.stage.path(OVERLAY), &self.whole.1).unwrap();
    }

    fn sql(&self, edit: &str) {
        rusqlite::Connection::open(self.stage.path("home/vault.db")).unwrap().execute_batch(edit).unwrap();
    }

    /// Points one of the addresses of anthropic at the second provider.
    fn overlay(&self, from: &str, to: &str) {
        let moved = self.whole.1.replacen(from, to, 1);
        assert_ne!(moved, self.whole.1, "{from} is in the overlay");
        std::fs::write(self.stage.path(OVERLAY), moved).unwrap();
    }

    /// What the requests of both accounts are answered with.
    async fn ask(&self) -> [u16; 2] {
        let served = self.stage.serve();
        let mut answers = [0; 2];
        for (answer, key) in answers.iter_mut().zip(&self.keys) {
            *answer = post(&served.origin, PATH, key).await.0;
        }
        self.stage.run(&["down"]);
        answers
    }

    #[track_caller]
    fn nothing_leaked(&self, what: &str) {
        let ledger = self.second.ledger();
        let reached = (ledger.credentials_seen(), ledger.requests_count(), ledger.token_posts().len());
        assert_eq!(reached, (Vec::new(), 0, 0), "{what}: the second provider was reached");
        let seen = self.stage.simulator.ledger().credentials_seen();
        assert!(seen.iter().all(|text| ["at-ada", "at-bob"].contains(&text.as_str())), "{what}: {seen:?}");
    }
}

fn add(stage: &Stage, provider: &str, draft: &str) {
    let file = stage.path("draft.json");
    std::fs::write(&file, draft).unwrap();
    stage.run(&["account", "add", provider, "--from-json", file.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_row_serves_nobody_and_its_secret_goes_nowhere() {
    let attacked = Attacked::new().await;
    let origin = attacked.second.origin();
    let edits = [
        format!("UPDATE grants SET origins = 'explicit inference {origin} usage {origin} token {origin}' WHERE id = 1"),
        "UPDATE grants SET origins = 'builtin' WHERE id = 1".to_owned(),
        "UPDATE grants SET access_token = (SELECT access_token FROM grants WHERE id = 2) WHERE id = 1".to_owned(),
        "UPDATE grants SET refresh_token = (SELECT refresh_token FROM grants WHERE id = 2) WHERE id = 1".to_owned(),
        "UPDATE grants SET access_token = refresh_token WHERE id = 1".to_owned(),
        "UPDATE grants SET access_token = CAST('at-planted' AS BLOB) WHERE id = 1".to_owned(),
        "UPDATE grants SET access_token = (SELECT api_key FROM grants WHERE id = 3) WHERE id = 1".to_owned(),
        "UPDATE grants SET kind = 'api_key', api_key = (SELECT api_key FROM grants WHERE id = 3) WHERE id = 1".to_owned(),
        "UPDATE grants SET revision = revision + 1 WHERE id = 1".to_owned(),
        "UPDATE grants SET provider = 'openai' WHERE id = 1; UPDATE accounts SET provider = 'openai' WHERE id = 1".to_owned(),
        "UPDATE accounts SET grant_id = 3 WHERE id = 1".to_owned(),
    ];
    for edit in &edits {
        attacked.sql(edit);
        let [edited, untouched] = attacked.ask().await;
        assert_ne!(edited, 200, "{edit}");
        assert_eq!(untouched, 200, "{edit}: the other account goes on");
        attacked.nothing_leaked(edit);
        attacked.heal();
    }
    assert_eq!(attacked.ask().await, [200, 200], "healed, both serve");
    let runs = edits.len() as u64;
    claviger_testkit::proof_row("tampering: rows edited under a running program", runs, runs, "0 secrets beyond their origins");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlay_that_moves_an_address_gets_no_secret_until_somebody_agrees() {
    let attacked = Attacked::new().await;
    let (first, second) = (attacked.stage.simulator.origin(), attacked.second.origin());
    let base = (format!("[providers.anthropic]\nbase_url = \"{first}\""), format!("[providers.anthropic]\nbase_url = \"{second}\""));
    let token =
        (format!("[providers.anthropic.oauth]\ntoken_url = \"{first}"), format!("[providers.anthropic.oauth]\ntoken_url = \"{second}"));
    let usage =
        (format!("url = \"{first}/usage\"\n[providers.openai-codex]"), format!("url = \"{second}/usage\"\n[providers.openai-codex]"));
    for (from, to) in [&base, &token, &usage] {
        attacked.overlay(from, to);
        if to == &token.1 {
            // A refused token is what a refresh is for.
            attacked.stage.simulator.control().llm_fault_next(claviger_simulator::LlmFault::Unauthorized);
        }
        attacked.ask().await;
        attacked.nothing_leaked(to);
        attacked.heal();
        attacked.stage.simulator.control().llm_faults_clear();
    }

    attacked.overlay(&base.0, &base.1);
    let [refused, _] = attacked.ask().await;
    assert_ne!(refused, 200);
    attacked.sql(&format!("UPDATE grants SET origins = 'explicit inference {second} usage {second} token {second}' WHERE id = 1"));
    assert_ne!(attacked.ask().await[0], 200, "an edited row does not make the overlay right");
    let forced = attacked.stage.command(&["account", "rebind", "1", "--yes"]).output().unwrap();
    assert!(!forced.status.success(), "a rebind never makes a tampered row readable");
    attacked.nothing_leaked("overlay and row together");

    attacked.heal();
    attacked.overlay(&base.0, &base.1);
    let unasked = attacked.stage.command(&["account", "rebind", "1"]).output().unwrap();
    assert_eq!(unasked.status.code(), Some(5), "nobody agreed");
    attacked.nothing_leaked("a rebind that nobody agreed to");
    attacked.stage.run(&["account", "rebind", "1", "--yes"]);
    let [rebound, other] = attacked.ask().await;
    assert_eq!(rebound, 200);
    assert_ne!(other, 200, "the account that nobody rebound");
    assert_eq!(attacked.second.ledger().credentials_seen(), ["at-ada"]);
    claviger_testkit::proof_row("tampering: overlays that move an address", 6, 6, "0 secrets before a rebind");
}
