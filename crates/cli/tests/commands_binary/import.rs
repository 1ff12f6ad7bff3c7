//! `claviger import`

use crate::sandbox::{Sandbox, fixture};
use serde_json::{Value, json};

const V4_SECRETS: [&str; 6] = ["a1", "r1", "a2", "r2", "sk-1", "sk-sapi-1"];
const V8_SECRETS: [&str; 5] = ["at-1", "rt-1", "at-2", "rt-2", "sk-x"];

fn skipped_rows(report: &Value) -> Vec<&str> {
    report["skipped"].as_array().unwrap().iter().map(|skipped| skipped["row"].as_str().unwrap()).collect()
}

#[test]
fn a_dry_run_says_what_would_happen_and_leaves_the_vault_closed() {
    let sandbox = Sandbox::empty();
    let ran = sandbox.run(&["import", "omp", &fixture("agent_v4.db"), "--dry-run", "--json"]).succeeded().shows_none_of(&V4_SECRETS);
    let plan = ran.json();
    assert_eq!(plan["dry_run"], true);
    let rows: Vec<_> = plan["imported"].as_array().unwrap().iter().map(|row| row["provider"].as_str().unwrap()).collect();
    assert_eq!(rows, ["anthropic", "openai", "openai-codex"]);
    assert_eq!(plan["imported"][2]["disabled"], "oauth refresh failed: x");
    assert_eq!(skipped_rows(&plan).len(), 3);
    assert!(!sandbox.path("home").exists());
    let human = sandbox.run(&["import", "omp", &fixture("agent_v8.db"), "--dry-run"]).succeeded().shows_none_of(&V8_SECRETS);
    insta::assert_snapshot!(human.stdout, @r"
    would import row 1 (anthropic): anthropic oauth, u1@example.com (Org)
    would import row 2 (anthropic): anthropic oauth, u1@example.com (org-2)
    would import row 3 (openai-codex): openai-codex oauth, u2@example.com (ws)
    would import row 4 (openai): openai api_key, disabled: gone
    ");
}

#[test]
fn an_old_database_is_imported_row_by_row_and_bad_rows_are_skipped_by_name() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run(&["import", "omp", &fixture("agent_v4.db"), "--json"]).succeeded().shows_none_of(&V4_SECRETS);
    let report = ran.json();
    let imported = report["imported"].as_array().unwrap();
    let states: Vec<_> = imported.iter().map(|added| (&added["account"]["provider"], &added["account"]["standing"]["state"])).collect();
    assert_eq!(json!(states), json!([["anthropic", "active"], ["openai", "active"], ["openai-codex", "disabled"]]));
    assert_eq!(skipped_rows(&report).len(), 3, "{report}");
    insta::assert_snapshot!(report["skipped"], @r#"
    [{"row":"row 4 (singularityapi)","why":"unknown provider \"singularityapi\""},{"row":"row 5 (broken)","why":"its data cannot be used: line 1, column 2: not valid JSON"},{"row":"row 6 (weird)","why":"unknown type \"future_type\""}]
    "#);
    let list = sandbox.run(&["account", "list", "--json"]).succeeded().shows_none_of(&V4_SECRETS).json();
    assert_eq!(list["accounts"].as_array().unwrap().len(), 3);
    assert_eq!(list["accounts"][0]["identity"]["email"], "a@ex.com");
}

#[test]
fn two_organisations_of_one_login_are_two_accounts_on_one_grant() {
    let sandbox = Sandbox::initialised();
    let ran = sandbox.run(&["import", "omp", &fixture("agent_v8.db")]).succeeded().shows_none_of(&V8_SECRETS);
    insta::assert_snapshot!(ran.stdout, @r"
    added account 1: anthropic, u1@example.com (Org), active
    added account 2: anthropic, u1@example.com (org-2), active
    added account 3: openai-codex, u2@example.com (ws), active
    added account 4: openai, disabled: gone
    ");
    let list = sandbox.run(&["account", "list", "--json"]).succeeded().shows_none_of(&V8_SECRETS).json();
    let accounts = list["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 4);
    let anthropic: Vec<_> = accounts.iter().filter(|account| account["provider"] == "anthropic").collect();
    assert_eq!(anthropic.len(), 2);
    assert_eq!(anthropic[0]["grant"], anthropic[1]["grant"]);
}

#[test]
fn a_second_import_changes_nothing() {
    let sandbox = Sandbox::initialised();
    sandbox.run(&["import", "omp", &fixture("agent_v8.db")]).succeeded();
    let report = sandbox.run(&["import", "omp", &fixture("agent_v8.db"), "--json"]).succeeded().json();
    let outcomes: Vec<_> = report["imported"].as_array().unwrap().iter().map(|added| &added["outcome"]).collect();
    assert_eq!(json!(outcomes), json!(["unchanged", "unchanged", "unchanged", "unchanged"]));
}

const LOGIN: &str = r#"{"claudeAiOauth":{"accessToken":"canary-access","refreshToken":"canary-refresh","expiresAt":4102444800000,"scopes":["user:inference"],"subscriptionType":"max"}}"#;

#[test]
fn without_a_terminal_no_login_is_followed() {
    let sandbox = Sandbox::initialised();
    sandbox.write("user/.claude/.credentials.json", LOGIN);
    let ran = sandbox.run(&["import", "claude-code", "--json"]).ended_with(5).shows_none_of(&["canary-access", "canary-refresh"]);
    assert_eq!(ran.json()["error"]["code"], "refused");
    assert_eq!(ran.json()["error"]["hint"], "claviger import claude-code --yes");
    let list = sandbox.run(&["account", "list", "--json"]).succeeded().json();
    assert_eq!(list, json!({"accounts": []}));
}

#[test]
fn a_login_is_followed_where_that_was_said_and_its_refresh_token_stays_there() {
    let sandbox = Sandbox::initialised();
    let file = sandbox.write("user/.claude/.credentials.json", LOGIN);
    let ran = sandbox.run(&["import", "claude-code", "--yes"]).succeeded().shows_none_of(&["canary-access", "canary-refresh"]);
    assert!(ran.stderr.contains("never refreshed here"), "{}", ran.stderr);
    let list = sandbox.run(&["account", "list", "--json"]).succeeded().json();
    assert_eq!(list["accounts"][0]["follows"], file.to_str().unwrap());
    let shown = sandbox.run(&["account", "show", "1"]).succeeded();
    assert!(shown.stdout.contains("never written"), "{}", shown.stdout);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), LOGIN);
}

#[test]
fn a_relative_path_is_followed_from_anywhere() {
    let sandbox = Sandbox::initialised();
    let file = sandbox.write("login.json", LOGIN);
    sandbox.run(&["import", "claude-code", "login.json", "--yes"]).succeeded();
    let list = sandbox.run(&["account", "list", "--json"]).succeeded().json();
    assert_eq!(list["accounts"][0]["follows"], file.to_str().unwrap());
}

#[test]
fn keys_of_the_environment_are_imported_by_the_names_of_the_catalogue() {
    let sandbox = Sandbox::initialised();
    let environment = [("OPENAI_API_KEY", "sk-canary-1"), ("OPENROUTER_API_KEY", "bad canary")];
    let ran = sandbox.run_in(&["import", "env", "--json"], "", &environment).succeeded().shows_none_of(&["sk-canary-1", "canary"]);
    assert_eq!(ran.json()["imported"][0]["account"]["provider"], "openai");
    assert_eq!(ran.json()["skipped"][0]["row"], "OPENROUTER_API_KEY");
}

#[test]
fn what_is_mistyped_has_an_exit_code_and_a_hint() {
    let sandbox = Sandbox::initialised();
    let unknown = sandbox.run(&["import", "keepass"]).ended_with(2);
    assert!(unknown.stderr.contains("hint: claviger import omp|claude-code|codex|env"), "{}", unknown.stderr);
    sandbox.run(&["import", "omp"]).ended_with(4);
    sandbox.run(&["import", "env", "PATH"]).ended_with(2);
    let login = sandbox.write("not-a-database", "canary-text");
    sandbox.run(&["import", "omp", login.to_str().unwrap()]).ended_with(1).shows_none_of(&["canary-text"]);
}
