//! Logins and keys in the files of other tools, in the environment and in a JSON object.

use base64::Engine;
use claviger_domain::credential::Standing;
use claviger_domain::identity::Identity;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::time::Timestamp;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::import::{
    FollowFault, FollowFormat, Import, ImportContext, ImportError, ImportedAccount, ImportedCredential, parse_account_json,
    parse_claude_code, parse_codex, parse_env, read_followed, source, sources,
};
use std::path::Path;

const NOW: Timestamp = Timestamp(1_795_348_423_000);

const CLAUDE_CODE: &str = r#"{"claudeAiOauth":{"accessToken":"sk-ant-oat01-canary","refreshToken":"sk-ant-ort01-canary","expiresAt":1795352022664,"scopes":["user:inference"],"subscriptionType":"max"},"mcpOAuth":{}}"#;

fn token(claims: &str) -> String {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", encode("{}"), encode(claims), encode("canary-signature"))
}

fn codex_file() -> String {
    let access = token(r#"{"exp":1795352022,"https://api.openai.com/auth":{"chatgpt_account_id":"ws-1"}}"#);
    let id = token(r#"{"email":"A@X.example"}"#);
    format!(
        r#"{{"OPENAI_API_KEY":null,"tokens":{{"id_token":"{id}","access_token":"{access}","refresh_token":"rt-canary","account_id":"ws-1"}},"last_refresh":"2026-11-22T09:00:00Z"}}"#
    )
}

fn context() -> ImportContext<'static> {
    ImportContext { catalogue: Catalogue::builtin(), now: NOW, home: None, environment: &|_| None }
}

fn profile(id: &str) -> &'static ProviderProfile {
    Catalogue::builtin().get(id).expect("the catalogue has it")
}

fn oauth(account: &ImportedAccount) -> (&str, bool, Option<Timestamp>) {
    match &account.credential {
        ImportedCredential::OAuth { access, refresh, expires_at } => (access.expose(), refresh.is_some(), *expires_at),
        ImportedCredential::ApiKey { .. } => panic!("a key"),
    }
}

fn key(account: &ImportedAccount) -> &str {
    match &account.credential {
        ImportedCredential::ApiKey { key } => key.expose(),
        ImportedCredential::OAuth { .. } => panic!("a login"),
    }
}

fn skipped(import: &Import) -> Vec<String> {
    import.skipped.iter().map(|skipped| format!("{}: {}", skipped.row, skipped.why)).collect()
}

#[test]
fn a_login_of_claude_code_is_followed_and_its_refresh_token_left_there() {
    let path = Path::new("/home/a/.claude/.credentials.json");
    let import = parse_claude_code(&context(), CLAUDE_CODE.as_bytes(), path, Identity::default()).unwrap();
    let [account] = import.accounts.as_slice() else { panic!("{import:?}") };
    assert_eq!(account.provider.as_str(), "anthropic");
    assert_eq!(oauth(account), ("sk-ant-oat01-canary", false, Some(Timestamp(1_795_352_022_664))));
    assert_eq!((account.follow.as_deref(), account.label.as_deref()), (Some(path), Some("Claude Code (max)")));
    assert!(!format!("{import:?}").contains("canary"));
}

#[test]
fn a_login_of_codex_is_followed_with_the_identity_of_its_claims() {
    let path = Path::new("/home/a/.codex/auth.json");
    let import = parse_codex(&context(), codex_file().as_bytes(), path).unwrap();
    let [account] = import.accounts.as_slice() else { panic!("{import:?}") };
    assert_eq!((account.provider.as_str(), account.follow.as_deref()), ("openai-codex", Some(path)));
    let (_, refresh, expires_at) = oauth(account);
    assert_eq!((refresh, expires_at), (false, Some(Timestamp(1_795_352_022_000))));
    assert_eq!((account.identity.account_id.as_deref(), account.identity.email.as_deref()), (Some("ws-1"), Some("a@x.example")));
    assert!(!format!("{import:?}").contains("canary"));
}

#[test]
fn a_key_of_codex_becomes_a_key_of_its_own_provider_and_is_not_followed() {
    let import = parse_codex(&context(), br#"{"OPENAI_API_KEY":"sk-canary"}"#, Path::new("auth.json")).unwrap();
    let [account] = import.accounts.as_slice() else { panic!("{import:?}") };
    assert_eq!((account.provider.as_str(), key(account), account.follow.as_ref()), ("openai", "sk-canary", None));
}

#[test]
fn a_logged_out_stub_is_skipped_and_a_broken_file_is_an_error() {
    let path = Path::new("auth.json");
    let ended = r#"{"claudeAiOauth":{"accessToken":"at-1","refreshToken":"","expiresAt":1795348422000}}"#;
    for stub in ["{}", r#"{"claudeAiOauth":null}"#, r#"{"claudeAiOauth":{"accessToken":"","refreshToken":""}}"#, ended] {
        let import = parse_claude_code(&context(), stub.as_bytes(), path, Identity::default()).unwrap();
        assert_eq!(skipped(&import), ["claudeAiOauth: the tool is logged out"], "{stub}");
    }
    for stub in ["{}", r#"{"OPENAI_API_KEY":null,"tokens":null}"#, r#"{"tokens":{"access_token":""}}"#] {
        let import = parse_codex(&context(), stub.as_bytes(), path).unwrap();
        assert_eq!(skipped(&import), ["tokens: the tool is logged out"], "{stub}");
    }
    let broken = r#"{"tokens":{"access_token":"canary"#;
    let error = parse_codex(&context(), broken.as_bytes(), path).unwrap_err();
    assert_eq!(error.to_string(), "auth.json is not what the tool writes: line 1, column 33: not valid JSON");
}

#[test]
fn a_followed_file_is_read_again_in_the_format_that_its_text_has() {
    let claude = read_followed(profile("anthropic"), CLAUDE_CODE.as_bytes()).unwrap();
    assert_eq!((claude.format, claude.access.expose()), (FollowFormat::ClaudeCode, "sk-ant-oat01-canary"));
    assert_eq!(claude.refresh.map(|refresh| refresh.expose().to_owned()).as_deref(), Some("sk-ant-ort01-canary"));
    let codex = read_followed(profile("openai-codex"), codex_file().as_bytes()).unwrap();
    assert_eq!((codex.format, codex.expires_at), (FollowFormat::Codex, Some(Timestamp(1_795_352_022_000))));
    assert_eq!((codex.identity.account_id.as_deref(), codex.identity.email.as_deref()), (Some("ws-1"), Some("a@x.example")));
    let newer = r#"{"claudeAiOauth":{"accessToken":"sk-ant-oat01-x","refreshToken":""}}"#;
    let newer = read_followed(profile("anthropic"), newer.as_bytes()).unwrap();
    assert!(newer.refresh.is_none() && newer.expires_at.is_none());
    let fault = |text: &[u8]| read_followed(profile("anthropic"), text).unwrap_err();
    assert_eq!(fault(b"{}"), FollowFault::LoggedOut);
    assert!(matches!(fault(b"{\"claudeAi"), FollowFault::Malformed(_)));
    assert!(matches!(fault(b""), FollowFault::Malformed(_)));
    assert_eq!(fault(br#"{"claudeAiOauth":{"accessToken":"a\nb"}}"#), FollowFault::NotSendable);
}

#[test]
fn whose_a_login_of_claude_code_is_stands_in_another_file() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".claude");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(".credentials.json"), CLAUDE_CODE).unwrap();
    let owner = r#"{"projects":{},"oauthAccount":{"accountUuid":"u-1","emailAddress":"A@x.example","organizationUuid":"o-1","organizationName":"X"}}"#;
    std::fs::write(home.path().join(".claude.json"), owner).unwrap();
    let context = ImportContext { home: Some(home.path()), ..context() };
    let import = source("claude-code").unwrap().read(&context, None).unwrap();
    let identity = &import.accounts[0].identity;
    assert_eq!((identity.account_id.as_deref(), identity.email.as_deref()), (Some("u-1"), Some("a@x.example")));
    assert_eq!((identity.org_id.as_deref(), identity.org_name.as_deref()), (Some("o-1"), Some("X")));
}

#[test]
fn variables_become_keys_and_logins_without_a_refresh_token() {
    let access = token(r#"{"exp":1795352022,"https://api.openai.com/auth":{"chatgpt_account_id":"ws-1"}}"#);
    let lookup = |name: &str| match name {
        "ANTHROPIC_API_KEY" => Some("sk-ant-oat01-misplaced".to_owned()),
        "OPENAI_API_KEY" => Some("sk-canary".to_owned()),
        "OPENROUTER_API_KEY" => Some("  ".to_owned()),
        "LITELLM_API_KEY" => Some("two words".to_owned()),
        "GEMINI_API_KEY" => Some("N/A".to_owned()),
        "OPENAI_CODEX_OAUTH_TOKEN" => Some(access.clone()),
        _ => None,
    };
    let import = parse_env(Catalogue::builtin(), &lookup);
    let rows: Vec<&str> = import.accounts.iter().map(|account| account.row.as_str()).collect();
    assert_eq!(rows, ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_CODEX_OAUTH_TOKEN"]);
    assert_eq!(oauth(&import.accounts[0]), ("sk-ant-oat01-misplaced", false, None));
    assert_eq!(key(&import.accounts[1]), "sk-canary");
    assert_eq!(oauth(&import.accounts[2]).2, Some(Timestamp(1_795_352_022_000)));
    assert_eq!(import.accounts[2].identity.account_id.as_deref(), Some("ws-1"));
    assert_eq!(
        skipped(&import),
        [
            "GEMINI_API_KEY: a placeholder stands where the secret belongs",
            "LITELLM_API_KEY: the secret holds characters that a header cannot carry",
        ]
    );
}

#[test]
fn an_account_object_gives_a_login_or_a_key() {
    let login = r#"{"type":"oauth","access":"at-1","refresh":"rt-1","expires":1795352022664,"email":" A@X.example ","orgId":"o","label":"work","resourceUrl":"https://x"}"#;
    let account = parse_account_json(profile("anthropic"), login.as_bytes()).unwrap();
    assert_eq!(oauth(&account), ("at-1", true, Some(Timestamp(1_795_352_022_664))));
    assert_eq!((account.identity.email.as_deref(), account.identity.org_id.as_deref()), (Some("a@x.example"), Some("o")));
    assert_eq!((account.label.as_deref(), &account.standing), (Some("work"), &Standing::Active));
    assert_eq!(account.notes, ["unknown field \"resourceUrl\" left out"]);

    let account = parse_account_json(profile("openai"), br#"{"type":"api_key","key":"sk-1"}"#).unwrap();
    assert_eq!(key(&account), "sk-1");

    let access = token(r#"{"exp":1795352022,"https://api.openai.com/auth":{"chatgpt_account_id":"ws-1"}}"#);
    let account = parse_account_json(profile("openai-codex"), format!(r#"{{"type":"oauth","access":"{access}"}}"#).as_bytes()).unwrap();
    assert_eq!(account.identity.account_id.as_deref(), Some("ws-1"));
    assert_eq!(oauth(&account).2, Some(Timestamp(1_795_352_022_000)));
}

#[test]
fn a_fault_of_an_account_object_names_its_place_and_no_value() {
    let fault = |id: &str, text: &str| parse_account_json(Catalogue::builtin().get(id).unwrap(), text.as_bytes()).unwrap_err().to_string();
    for (id, text, message) in [
        ("openai", "{\n \"type\": \"api_key\",\n \"key\": 7}", "line 3, column 9: \"key\" is not text"),
        ("openai", r#"{"type":"api_key"}"#, "line 1, column 1: \"key\" is missing"),
        ("openai", "{\"type\":\"api_key\",\"key\":\"canary\",\n\"extra\":\"canary\"}", "line 2, column 9: unknown field \"extra\""),
        ("openai", r#"{"key":"canary"}"#, "line 1, column 1: \"type\" is missing"),
        ("openai", r#"{"type":"canary"}"#, "the type is not one of oauth and api_key"),
        ("openai", r#"{"type":"oauth","access":"canary"}"#, "openai takes no login"),
        ("openai-codex", r#"{"type":"api_key","key":"canary"}"#, "openai-codex takes no API key"),
        ("anthropic", r#"{"type":"oauth","access":"canary","expires":"canary"}"#, "line 1, column 45: \"expires\" is not a number"),
        (
            "anthropic",
            r#"{"type":"oauth","access":"canary","refresh":"__remote__"}"#,
            "its refresh token is kept by a broker; import from there",
        ),
        ("anthropic", "[]", "line 1, column 1: an object is expected"),
    ] {
        assert_eq!(fault(id, text), message);
    }
}

#[test]
fn the_registry_knows_where_each_tool_keeps_its_file() {
    let names: Vec<&str> = sources().iter().map(|source| source.name).collect();
    assert_eq!(names, ["omp", "claude-code", "codex", "gemini-cli", "kimi-cli", "opencode", "copilot", "cliproxyapi", "litellm", "env"]);
    let default = |name: &str, environment: &dyn Fn(&str) -> Option<String>| {
        let context = ImportContext { catalogue: Catalogue::builtin(), now: NOW, home: Some(Path::new("/h")), environment };
        source(name).unwrap().default_path(&context).map(|path| path.display().to_string())
    };
    assert_eq!(default("omp", &|_| None).as_deref(), Some("/h/.omp/agent/agent.db"));
    assert_eq!(default("claude-code", &|_| None).as_deref(), Some("/h/.claude/.credentials.json"));
    assert_eq!(default("codex", &|_| None).as_deref(), Some("/h/.codex/auth.json"));
    assert_eq!(default("gemini-cli", &|_| None).as_deref(), Some("/h/.gemini"));
    assert_eq!(default("kimi-cli", &|_| None).as_deref(), Some("/h/.kimi"));
    assert_eq!(default("opencode", &|_| None).as_deref(), Some("/h/.local/share/opencode/auth.json"));
    assert_eq!(default("copilot", &|_| None).as_deref(), Some("/h/.config/github-copilot"));
    assert_eq!(default("cliproxyapi", &|_| None).as_deref(), Some("/h/.cli-proxy-api"));
    assert_eq!(default("litellm", &|_| None), None);
    for (name, variable, path) in [
        ("codex", "CODEX_HOME", "/elsewhere/auth.json"),
        ("gemini-cli", "GEMINI_CLI_HOME", "/elsewhere/.gemini"),
        ("kimi-cli", "KIMI_SHARE_DIR", "/elsewhere/"),
        ("opencode", "XDG_DATA_HOME", "/elsewhere/opencode/auth.json"),
        ("copilot", "XDG_CONFIG_HOME", "/elsewhere/github-copilot"),
    ] {
        let named = |name: &str| (name == variable).then(|| "/elsewhere".to_owned());
        assert_eq!(default(name, &named).as_deref(), Some(path));
    }
    assert_eq!(default("env", &|_| None), None);
}

#[test]
fn a_file_is_read_from_its_place_or_from_a_given_one() {
    let home = tempfile::tempdir().unwrap();
    let context = ImportContext { home: Some(home.path()), ..context() };
    let read = |name: &str, path: Option<&Path>| source(name).unwrap().read(&context, path);
    assert!(matches!(read("codex", None), Err(ImportError::NotFound { .. })));
    let given = home.path().join("given.json");
    std::fs::write(&given, CLAUDE_CODE).unwrap();
    let import = read("claude-code", Some(&given)).unwrap();
    assert_eq!(import.accounts[0].follow.as_deref(), Some(given.as_path()));
    std::fs::write(&given, vec![b' '; 1024 * 1024 + 1]).unwrap();
    assert!(matches!(read("codex", Some(&given)), Err(ImportError::TooLong { .. })));
    assert!(read("env", None).unwrap().accounts.is_empty());
}

#[test]
fn only_a_regular_file_can_be_followed() {
    let error = source("codex").unwrap().read(&context(), Some(Path::new("/dev/zero"))).unwrap_err();
    assert!(matches!(error, ImportError::Unreadable { .. }), "{error}");
}
