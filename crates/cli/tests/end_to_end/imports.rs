//! Databases and login files that other tools wrote: imported, refreshed at the simulator, and used for a request each.

use crate::stage::{Stage, files_below, post};
use claviger_simulator::Rotation;
use serde_json::Value;
use std::path::Path;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../providers/tests/fixtures/omp").join(name);
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

fn account_of<'a>(accounts: &'a Value, provider: &str, org: Option<&str>) -> &'a Value {
    let found = |account: &&Value| account["provider"] == provider && org.is_none_or(|org| account["identity"]["org_id"] == org);
    accounts["accounts"].as_array().unwrap().iter().find(found).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_the_current_database_serve_after_one_refresh_for_their_shared_login() {
    let stage = Stage::new(Rotation::Strict).await;
    let control = stage.simulator.control();
    control.grant_issue_with("shared", "at-1", "rt-1", -10);
    control.grant_issue_with("codex", "at-2", "rt-2", -10);
    let report = stage.json(&["import", "omp", &fixture("agent_v8.db")]);
    assert_eq!(report["imported"].as_array().unwrap().len(), 4, "{report}");

    let accounts = stage.json(&["account", "list"]);
    let (first, second) = (account_of(&accounts, "anthropic", Some("org-1")), account_of(&accounts, "anthropic", Some("org-2")));
    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["grant"], second["grant"]);
    assert_eq!(account_of(&accounts, "openai", None)["standing"]["state"], "disabled");

    let served = stage.serve();
    let codex = account_of(&accounts, "openai-codex", None);
    for (account, path) in [(first, "/anthropic/v1/messages"), (second, "/anthropic/v1/messages"), (codex, "/openai-codex/codex/responses")]
    {
        let key = stage.key_for(account["id"].as_i64().unwrap());
        let (status, body) = post(&served.origin, path, &key).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    let ledger = stage.simulator.ledger();
    let posts = ledger.token_posts();
    let count = |token: &str| posts.iter().filter(|post| post.refresh_token.as_deref() == Some(token)).count();
    assert_eq!((count("rt-1"), count("rt-2"), posts.len()), (1, 1, 2));
    assert_eq!((ledger.reuses(), ledger.stale_credentials()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_old_database_are_imported_or_skipped_by_name() {
    let stage = Stage::new(Rotation::Strict).await;
    let control = stage.simulator.control();
    control.grant_issue_with("ada", "a1", "r1", -10);
    control.api_key_add("sk-1", "team");
    let report = stage.json(&["import", "omp", &fixture("agent_v4.db")]);
    assert_eq!(report["imported"].as_array().unwrap().len(), 3, "{report}");
    let skipped: Vec<&str> = report["skipped"].as_array().unwrap().iter().map(|row| row["row"].as_str().unwrap()).collect();
    assert_eq!(skipped.len(), 3, "{report}");
    for (row, number) in skipped.iter().zip(["4", "5", "6"]) {
        assert!(row.contains(number), "{row}");
    }
    let accounts = stage.json(&["account", "list"]);
    let served = stage.serve();
    for (provider, path) in [("anthropic", "/v1/messages"), ("openai", "/v1/chat/completions")] {
        let key = stage.key_for(account_of(&accounts, provider, None)["id"].as_i64().unwrap());
        let (status, body) = post(&served.origin, path, &key).await;
        assert_eq!(status, 200, "{provider}: {body}");
    }
    assert_eq!(stage.simulator.ledger().refreshes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_file_of_another_tool_is_followed_and_never_refreshed() {
    let stage = Stage::new(Rotation::Strict).await;
    let control = stage.simulator.control();
    let issued = control.grant_issue_with("ada", "at-first", "rt-first", 3600);
    let file = stage.path("user/.claude/.credentials.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let write = |access: &str, refresh: &str, expires_at_ms: i64| {
        let login = format!(
            r#"{{"claudeAiOauth":{{"accessToken":"{access}","refreshToken":"{refresh}","expiresAt":{expires_at_ms},"scopes":["user:inference"],"subscriptionType":"max"}}}}"#
        );
        std::fs::write(&file, login).unwrap();
    };
    write(&issued.access, &issued.refresh, issued.expires_at_ms);
    stage.run(&["import", "claude-code", "--yes"]);
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();
    let served = stage.serve();
    assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 200);
    // The tool refreshes its own login; the next refusal is answered with what its file holds then.
    control.access_revoke("at-first");
    let renewed = control.grant_issue_with("ada", "at-second", "rt-second", 3600);
    write(&renewed.access, &renewed.refresh, renewed.expires_at_ms);
    let (status, body) = post(&served.origin, "/v1/messages", &key).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(stage.simulator.ledger().refreshes(), 0);
}

/// Two unsigned access tokens of workspace `ws-1` that end in 2100, as Codex keeps them: the claims alone are real.
const CODEX_TOKENS: [&str; 2] = [
    "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDAsImp0aSI6MSwiaHR0cHM6Ly9hcGkub3BlbmFpLmNvbS9hdXRoIjp7ImNoYXRncHRfYWNjb3VudF9pZCI6IndzLTEifX0.fake",
    "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDAsImp0aSI6MiwiaHR0cHM6Ly9hcGkub3BlbmFpLmNvbS9hdXRoIjp7ImNoYXRncHRfYWNjb3VudF9pZCI6IndzLTEifX0.fake",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_codex_login_is_followed_with_its_workspace_and_never_refreshed() {
    let stage = Stage::new(Rotation::Strict).await;
    let control = stage.simulator.control();
    let [first, second] = CODEX_TOKENS;
    let file = stage.path("user/.codex/auth.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let write = |access: &str| {
        let login = format!(
            r#"{{"OPENAI_API_KEY":null,"tokens":{{"id_token":"{access}","access_token":"{access}","refresh_token":"rt-codex","account_id":"ws-1"}},"last_refresh":"2026-11-22T00:00:00Z"}}"#
        );
        std::fs::write(&file, login).unwrap();
    };
    control.grant_issue_with("ada", first, "rt-codex", 3600);
    write(first);
    stage.run(&["import", "codex", "--yes"]);
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();
    let served = stage.serve();
    assert_eq!(post(&served.origin, "/openai-codex/codex/responses", &key).await.0, 200);
    control.access_revoke(first);
    control.grant_issue_with("ada", second, "rt-codex-2", 3600);
    write(second);
    let (status, body) = post(&served.origin, "/openai-codex/codex/responses", &key).await;
    assert_eq!(status, 200, "{body}");
    let ledger = stage.simulator.ledger();
    assert_eq!(ledger.refreshes(), 0);
    assert!(ledger.requests().iter().all(|request| request.header("chatgpt-account-id") == Some("ws-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_login_that_is_taken_over_is_refreshed_once_and_its_file_stays_as_it_is() {
    let stage = Stage::new(Rotation::Strict).await;
    let control = stage.simulator.control();
    let file = stage.path("user/.claude/.credentials.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let keep = |issued: &claviger_simulator::IssuedGrant| {
        let login = format!(
            r#"{{"claudeAiOauth":{{"accessToken":"{}","refreshToken":"{}","expiresAt":{},"scopes":["user:inference"]}}}}"#,
            issued.access, issued.refresh, issued.expires_at_ms
        );
        std::fs::write(&file, login).unwrap();
    };
    keep(&control.grant_issue_with("ada", "at-first", "rt-first", 3600));
    stage.run(&["import", "claude-code", "--yes"]);
    stage.run(&["account", "set", "1", "--own-client-only", "off"]);
    let key = stage.json(&["key", "create"])["key"].as_str().unwrap().to_owned();
    let served = stage.serve();
    assert_eq!(post(&served.origin, "/v1/messages", &key).await.0, 200);
    // The tool renews its login just before it is taken over, and by then nobody here has seen that.
    keep(&control.grant_issue_with("ada", "at-second", "rt-second", 3600));
    let text = std::fs::read(&file).unwrap();
    let taken = stage.json(&["account", "take", "1", "--yes"]);
    assert_eq!((&taken["outcome"], taken["account"].get("follows")), (&Value::from("taken_over"), None));
    assert!(taken["steps"].as_array().unwrap().len() > 2, "{taken}");
    // The provider ends the token: from now on that is ours to mend.
    control.access_revoke("at-second");
    let (status, body) = post(&served.origin, "/v1/messages", &key).await;
    assert_eq!(status, 200, "{body}");
    let ledger = stage.simulator.ledger();
    let posts = ledger.token_posts();
    let sent: Vec<_> = posts.iter().filter_map(|post| post.refresh_token.as_deref()).collect();
    assert_eq!((sent, ledger.reuses()), (vec!["rt-second"], 0));
    assert_eq!(std::fs::read(&file).unwrap(), text);
    let trail = files_below(&stage.path("home"));
    assert!(trail.iter().any(|(_, bytes)| bytes.windows(12).any(|part| part == b"account.take")), "it is in the audit trail");
}
