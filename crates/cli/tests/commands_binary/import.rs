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
    assert!(
        unknown.stderr.contains("hint: claviger import omp|claude-code|codex|gemini-cli|kimi-cli|opencode|copilot|cliproxyapi|litellm|env"),
        "{}",
        unknown.stderr
    );
    sandbox.run(&["import", "omp"]).ended_with(4);
    sandbox.run(&["import", "env", "PATH"]).ended_with(2);
    let login = sandbox.write("not-a-database", "canary-text");
    sandbox.run(&["import", "omp", login.to_str().unwrap()]).ended_with(1).shows_none_of(&["canary-text"]);
}

/// A login a tool, in its place below the home folder.
fn tools(sandbox: &Sandbox) {
    let login = r#"{"access_token":"canary-at","refresh_token":"canary-rt","expiry_date":4102444800000}"#;
    sandbox.write("user/.gemini/oauth_creds.json", login);
    sandbox.write("user/.gemini/google_accounts.json", r#"{"active":"ada@x.example"}"#);
    sandbox.write("user/.gemini/.env", "GEMINI_API_KEY=canary-gemini\n");
    let login = r#"{"access_token":"canary-at","refresh_token":"canary-rt","expires_at":4102444800}"#;
    sandbox.write("user/.kimi/credentials/kimi-code.json", login);
    let login = r#"{"anthropic":{"type":"oauth","access":"canary-at","refresh":"canary-rt","expires":4102444800000},"openrouter":{"type":"api","key":"canary-or"}}"#;
    sandbox.write("user/.local/share/opencode/auth.json", login);
    sandbox.write("user/.config/github-copilot/apps.json", r#"{"github.com:x":{"user":"ada","oauth_token":"canary-gh"}}"#);
    let login = r#"{"type":"codex","access_token":"canary-at","refresh_token":"canary-rt","expired":"2099-01-01T00:00:00Z","email":"ada@x.example","priority":7,"weight":3,"prefix":"team","proxy_url":"socks5://n:canary-pw@127.0.0.1:9"}"#;
    sandbox.write("user/.cli-proxy-api/codex-ada.json", login);
    sandbox.write("user/.cli-proxy-api/broken.json", "{\"type\":\"claude\",\"access_token\":\"canary");
    sandbox.write("litellm.yaml", "model_list:\n- model_name: m\n  litellm_params: {model: openai/gpt, api_key: os.environ/KEY}\n");
}

/// Everything below the user's folder.
fn files(sandbox: &Sandbox) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut open = vec![sandbox.path("user"), sandbox.path("litellm.yaml")];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.ends_with(".local/state") {
            // Ours: the mirror of the vault's epoch.
        } else if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let text = std::fs::read(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

#[test]
fn the_logins_and_keys_of_every_tool_are_imported_from_their_places_which_stay_as_they_are() {
    let sandbox = Sandbox::initialised();
    tools(&sandbox);
    let before = files(&sandbox);
    let environment = [("KEY", "canary-env")];
    for (tool, path, providers) in [
        ("gemini-cli", None, vec!["google-gemini-cli", "google"]),
        ("kimi-cli", None, vec!["kimi-code"]),
        ("opencode", None, vec!["anthropic", "openrouter"]),
        ("copilot", None, vec!["github-copilot"]),
        ("cliproxyapi", None, vec!["openai-codex"]),
        ("litellm", Some("litellm.yaml"), vec!["openai"]),
    ] {
        let arguments: Vec<&str> = ["import", tool].into_iter().chain(path).collect();
        let dry = sandbox.run_in(&[&arguments[..], &["--dry-run", "--json"]].concat(), "", &environment);
        let plan = dry.succeeded().shows_none_of(&["canary"]).json();
        let planned: Vec<_> = plan["imported"].as_array().unwrap().iter().map(|row| row["provider"].as_str().unwrap()).collect();
        assert_eq!(planned, providers, "{tool}: {plan}");
        let ran = sandbox.run_in(&[&arguments[..], &["--yes", "--json"]].concat(), "", &environment);
        let report = ran.succeeded().shows_none_of(&["canary"]).json();
        let stored: Vec<_> =
            report["imported"].as_array().unwrap().iter().map(|added| added["account"]["provider"].as_str().unwrap()).collect();
        assert_eq!(stored, providers, "{tool}: {report}");
    }
    assert_eq!(files(&sandbox), before, "what other tools keep is read and never written");
    let list = sandbox.run(&["account", "list", "--json"]).succeeded().shows_none_of(&["canary"]).json();
    let accounts = list["accounts"].as_array().unwrap();
    let of = |provider: &str| accounts.iter().find(|account| account["provider"] == provider).unwrap();
    for provider in ["google-gemini-cli", "kimi-code", "anthropic"] {
        assert!(of(provider)["follows"].as_str().unwrap().starts_with(sandbox.path("user").to_str().unwrap()), "{provider}");
    }
    assert_eq!(of("google-gemini-cli")["identity"]["email"], "ada@x.example");
    let codex = of("openai-codex");
    assert_eq!(
        (&codex["priority"], &codex["options"]["weight"], &codex["options"]["model_prefix"]),
        (&json!(7), &json!(3), &json!("team/"))
    );
    assert_eq!(codex["options"]["proxy"], "socks5://n:…@127.0.0.1:9");
    assert_eq!(codex.get("follows"), None);
}

#[test]
fn one_broken_file_of_a_folder_is_named_and_the_others_are_imported() {
    let sandbox = Sandbox::initialised();
    tools(&sandbox);
    let ran = sandbox.run(&["import", "cliproxyapi", "--dry-run"]).succeeded().shows_none_of(&["canary"]);
    insta::assert_snapshot!(ran.stdout, @r#"
    would import codex-ada.json: openai-codex oauth, ada@x.example, priority 7, weight 3, model prefix team/, proxy socks5://n:…@127.0.0.1:9
    would skip broken.json: it is not what the tool writes: line 1, column 39: not valid JSON
    "#);
    let broken = sandbox.write("user/.kimi/credentials/kimi-code.json", "{\"access_token\":\"canary");
    let ran = sandbox.run(&["import", "kimi-cli", broken.to_str().unwrap(), "--yes"]).ended_with(1).shows_none_of(&["canary"]);
    assert!(ran.stderr.contains("kimi-code.json is not what the tool writes: line 1, column 23"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: log in with kimi-cli again"), "{}", ran.stderr);
    let ran = sandbox.run(&["import", "litellm"]).ended_with(2);
    assert!(ran.stderr.contains("hint: claviger import litellm PATH"), "{}", ran.stderr);
}

#[test]
fn a_followed_login_is_taken_over_where_that_was_said_and_the_steps_are_named() {
    let sandbox = Sandbox::initialised();
    let file = sandbox.write("user/.claude/.credentials.json", LOGIN);
    sandbox.run(&["import", "claude-code", "--yes"]).succeeded();
    let refused = sandbox.run(&["account", "take", "1"]).ended_with(5);
    assert!(refused.stderr.contains("Close every running session of the tool first"), "{}", refused.stderr);
    let taken = sandbox.run(&["account", "take", "1", "--yes"]).succeeded().shows_none_of(&["canary-access", "canary-refresh"]);
    let home = file.to_str().unwrap();
    let steps = taken.stdout.replace(home, "FILE");
    insta::assert_snapshot!(steps, @r"
    took account 1: anthropic, Claude Code (max): it is refreshed here from now on. So that its tool no longer does:
      1. close every running session of Claude Code: it keeps the login in memory
      2. mv FILE FILE.taken
      3. do not log out in Claude Code: that may end the login at the provider, for Claviger as well
      4. let Claude Code go through the gateway: ANTHROPIC_BASE_URL=GATEWAY/anthropic and ANTHROPIC_AUTH_TOKEN=KEY; `claviger key create` makes the KEY, `claviger status` names the GATEWAY
    ");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), LOGIN);
    let shown = sandbox.run(&["account", "list", "--json"]).succeeded().json();
    assert_eq!(shown["accounts"][0].get("follows"), None);
    let again = sandbox.run(&["account", "take", "1", "--yes"]).succeeded();
    assert!(again.stdout.contains("there was nothing to do"), "{}", again.stdout);
}

#[test]
fn up_follows_every_tools_login_once_and_only_names_what_it_would_take_over() {
    let sandbox = Sandbox::initialised();
    tools(&sandbox);
    sandbox.write("user/.claude/.credentials.json", &LOGIN.replace("canary-access", "canary-access-2"));
    let up = |sandbox: &Sandbox| {
        let ran = sandbox.run(&["up", "-d", "--yes", "--listen", "127.0.0.1:0", "--json"]).succeeded().shows_none_of(&["canary"]);
        let adopted = ran.json()["adopted"].as_array().unwrap().clone();
        adopted.iter().map(|found| (found["tool"].as_str().unwrap().to_owned(), found["followed"] == true)).collect::<Vec<_>>()
    };
    let found = |tool: &str, followed| (tool.to_owned(), followed);
    assert_eq!(
        up(&sandbox),
        [
            found("claude-code", true),
            found("gemini-cli", true),
            found("kimi-cli", true),
            found("opencode", true),
            found("copilot", false),
            found("cliproxyapi", false)
        ]
    );
    let accounts = sandbox.run(&["account", "list", "--json"]).succeeded().json();
    let mut providers: Vec<_> =
        accounts["accounts"].as_array().unwrap().iter().map(|account| account["provider"].as_str().unwrap()).collect();
    providers.sort_unstable();
    assert_eq!(providers, ["anthropic", "anthropic", "google", "google-gemini-cli", "kimi-code", "openrouter"]);
    assert_eq!(up(&sandbox), [found("copilot", false), found("cliproxyapi", false)], "what is followed is not offered again");
}
