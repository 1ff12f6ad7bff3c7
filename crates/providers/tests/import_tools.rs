//! Files and folders of Gemini CLI, kimi-cli, OpenCode, Copilot, CLIProxyAPI and LiteLLM.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap, as tests do")]

use base64::Engine;
use claviger_domain::credential::Standing;
use claviger_domain::options::ModelPrefix;
use claviger_domain::time::Timestamp;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::import::{
    FollowFormat, Import, ImportContext, ImportError, ImportedAccount, ImportedCredential, read_followed, source,
};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const NOW: Timestamp = Timestamp(1_795_348_423_000);
/// An hour later, in milliseconds.
const LATER_MS: i64 = 1_795_352_023_000;

/// A folder of a tool, and what is read from it.
struct Folder {
    root: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Folder {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn read(&self, tool: &str, path: Option<&Path>) -> Result<Import, ImportError> {
        let environment = |name: &str| self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let context = ImportContext { catalogue: Catalogue::builtin(), now: NOW, home: Some(self.root.path()), environment: &environment };
        let import = source(tool).unwrap().read(&context, path)?;
        assert!(!format!("{import:?}").contains("canary"), "{import:?}");
        Ok(import)
    }
}

fn token(claims: &str) -> String {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", encode("{}"), encode(claims), encode("canary-signature"))
}

/// `row provider kind secret refresh`, an account a line.
fn told(import: &Import) -> Vec<String> {
    let secret = |account: &ImportedAccount| match &account.credential {
        ImportedCredential::OAuth { access, refresh, .. } => {
            format!("oauth {} {}", access.expose(), refresh.as_ref().map_or("-", |refresh| refresh.expose()))
        }
        ImportedCredential::ApiKey { key } => format!("key {}", key.expose()),
    };
    import.accounts.iter().map(|account| format!("{}: {} {}", account.row, account.provider, secret(account))).collect()
}

fn skipped(import: &Import) -> Vec<String> {
    import.skipped.iter().map(|skipped| format!("{}: {}", skipped.row, skipped.why)).collect()
}

fn expires_at(account: &ImportedAccount) -> Option<Timestamp> {
    match &account.credential {
        ImportedCredential::OAuth { expires_at, .. } => *expires_at,
        ImportedCredential::ApiKey { .. } => panic!("a key"),
    }
}

#[test]
fn a_login_of_gemini_cli_is_followed_with_its_owner_and_a_key_beside_it_is_taken_over() {
    let mut folder = Folder::new();
    let id = token(r#"{"email":"A@x.example","sub":"7"}"#);
    let login =
        format!(r#"{{"access_token":"canary-at","refresh_token":"canary-rt","id_token":"{id}","expiry_date":{LATER_MS},"scope":"s"}}"#);
    let file = folder.write(".gemini/oauth_creds.json", &login);
    folder.write(".gemini/google_accounts.json", r#"{"active":"other@x.example","old":[]}"#);
    folder.write(".gemini/.env", "# keys\nexport GEMINI_API_KEY=\"canary-key\"\nGOOGLE_CLOUD_PROJECT=proj-1 # mine\n");
    let import = folder.read("gemini-cli", None).unwrap();
    assert_eq!(told(&import), ["oauth_creds.json: google-gemini-cli oauth canary-at -", "GEMINI_API_KEY in .env: google key canary-key"]);
    let [login, key] = import.accounts.as_slice() else { panic!() };
    assert_eq!((login.follow.as_deref(), expires_at(login)), (Some(file.as_path()), Some(Timestamp(LATER_MS))));
    assert_eq!((login.identity.email.as_deref(), login.identity.project_id.as_deref()), (Some("a@x.example"), Some("proj-1")));
    assert_eq!(key.follow, None);
    // The environment comes before the file, as in the tool.
    folder.variables = vec![("GOOGLE_CLOUD_PROJECT", "proj-2")];
    assert_eq!(folder.read("gemini-cli", Some(&file)).unwrap().accounts[0].identity.project_id.as_deref(), Some("proj-2"));
}

#[test]
fn the_active_account_of_gemini_cli_owns_a_login_that_claims_nobody() {
    let folder = Folder::new();
    folder.write(".gemini/oauth_creds.json", &format!(r#"{{"access_token":"at-1","refresh_token":"rt-1","expiry_date":{LATER_MS}}}"#));
    folder.write(".gemini/google_accounts.json", r#"{"active":"b@x.example"}"#);
    assert_eq!(folder.read("gemini-cli", None).unwrap().accounts[0].identity.email.as_deref(), Some("b@x.example"));
}

#[test]
fn stubs_and_broken_files_of_gemini_cli_are_told_apart() {
    let folder = Folder::new();
    assert!(matches!(folder.read("gemini-cli", None), Err(ImportError::NotFound { .. })));
    let file = folder.write(".gemini/oauth_creds.json", r#"{"access_token":"","refresh_token":""}"#);
    assert_eq!(skipped(&folder.read("gemini-cli", None).unwrap()), ["oauth_creds.json: the tool is logged out"]);
    folder.write(".gemini/oauth_creds.json", r#"{"access_token":"at-1","expiry_date":1795348422000}"#);
    assert_eq!(skipped(&folder.read("gemini-cli", None).unwrap()), ["oauth_creds.json: the tool is logged out"]);
    folder.write(".gemini/oauth_creds.json", r#"{"access_token":"canary"#);
    let error = folder.read("gemini-cli", None).unwrap_err().to_string();
    assert_eq!(error, format!("{} is not what the tool writes: line 1, column 23: not valid JSON", file.display()));
}

#[test]
fn each_login_of_kimi_cli_is_followed_and_keys_go_only_where_its_configuration_sends_them() {
    let folder = Folder::new();
    let access = token(r#"{"user_id":"k-1"}"#);
    let login = format!(
        r#"{{"access_token":"{access}","refresh_token":"canary-rt","expires_at":1795352023.5,"scope":"","token_type":"Bearer","expires_in":900}}"#
    );
    let file = folder.write(".kimi/credentials/kimi-code.json", &login);
    folder.write(".kimi/credentials/broken.json", "{");
    let config = "[providers.\"managed:kimi-code\"]\ntype = \"kimi\"\nbase_url = \"https://api.kimi.com/coding/v1\"\napi_key = \"\"\n\
                  [providers.own]\ntype = \"kimi\"\nbase_url = \"https://api.kimi.com/coding/v1\"\napi_key = \"canary-key\"\n\
                  [providers.work]\ntype = \"openai_legacy\"\nbase_url = \"https://llm.corp.example/v1\"\napi_key = \"canary-corp\"\n";
    folder.write(".kimi/config.toml", config);
    let import = folder.read("kimi-cli", None).unwrap();
    assert_eq!(
        told(&import),
        [format!("kimi-code: kimi-code oauth {access} -"), "config.toml: providers.own: kimi-code key canary-key".to_owned()]
    );
    let login = &import.accounts[0];
    assert_eq!((login.follow.as_deref(), expires_at(login)), (Some(file.as_path()), Some(Timestamp(1_795_352_023_500))));
    assert_eq!(login.identity.account_id.as_deref(), Some("k-1"));
    let skipped = skipped(&import);
    assert!(skipped[0].starts_with("broken.json: ") && skipped[0].contains("not what the tool writes"), "{skipped:?}");
    assert!(skipped[1].starts_with("config.toml: providers.work: no provider of the catalogue is at llm.corp.example"), "{skipped:?}");

    let given =
        folder.write("elsewhere.json", &format!(r#"{{"access_token":"at-2","refresh_token":"rt-2","expires_at":{}}}"#, LATER_MS / 1000));
    assert_eq!(told(&folder.read("kimi-cli", Some(&given)).unwrap()), ["elsewhere: kimi-code oauth at-2 -"]);
    let bad = folder.write("config.toml", "[providers]\nkey = canary\n");
    let error = folder.read("kimi-cli", Some(&bad)).unwrap_err().to_string();
    assert!(error.contains("line 2, column 7") && !error.contains("canary"), "{error}");
}

const OPENCODE: &str = r#"{
  "anthropic": {"type":"oauth","refresh":"canary-rt","access":"canary-at","expires":1795352023000},
  "openai": {"type":"oauth","refresh":"canary-rt2","access":"canary-at2","expires":1795352023000,"accountId":"ws-1"},
  "github-copilot": {"type":"oauth","refresh":"canary-gh","access":"canary-session","expires":0},
  "openrouter": {"type":"api","key":"canary-or"},
  "google": {"type":"oauth","refresh":"r|p","access":"a","expires":1},
  "openai-proxy": {"type":"api","key":"canary-x","baseURL":"https://llm.corp.example/v1"},
  "https://opencode.corp.example": {"type":"wellknown","key":"CORP_TOKEN","token":"canary-wk"},
  "mistral": {"type":"api"},
  "groq": {"type":"new-kind"},
  "zai": 7
}"#;

#[test]
fn logins_of_opencode_are_followed_and_its_keys_taken_over_by_provider() {
    let folder = Folder::new();
    let file = folder.write(".local/share/opencode/auth.json", OPENCODE);
    let import = folder.read("opencode", None).unwrap();
    let told = told(&import);
    for line in [
        "anthropic: anthropic oauth canary-at -",
        "openai: openai-codex oauth canary-at2 -",
        "github-copilot: github-copilot oauth canary-gh -",
        "openrouter: openrouter key canary-or",
    ] {
        assert!(told.contains(&line.to_owned()), "{line}: {told:?} {:?}", skipped(&import));
    }
    let of = |provider: &str| import.accounts.iter().find(|account| account.provider.as_str() == provider).unwrap();
    assert_eq!(of("anthropic").follow.as_deref(), Some(file.as_path()));
    assert_eq!(of("openai-codex").identity.account_id.as_deref(), Some("ws-1"));
    assert_eq!((of("github-copilot").follow.as_ref(), expires_at(of("github-copilot"))), (None, None));
    let skipped = skipped(&import).join("\n");
    for part in [
        "google: google takes no login",
        "openai-proxy: no provider of the catalogue is at llm.corp.example",
        "https://opencode.corp.example: no provider of the catalogue is at opencode.corp.example",
        "mistral: no key",
        "groq: unknown type",
        "zai: line 11, column 10: \"zai\" is not an object",
    ] {
        assert!(skipped.contains(part), "{part} in {skipped}");
    }
}

#[test]
fn a_followed_file_of_opencode_is_read_for_one_provider() {
    let profile = |id: &str| Catalogue::builtin().get(id).unwrap();
    let login = read_followed(profile("openai-codex"), OPENCODE.as_bytes()).unwrap();
    assert_eq!((login.format, login.access.expose()), (FollowFormat::OpenCode, "canary-at2"));
    assert!(read_followed(profile("openrouter"), OPENCODE.as_bytes()).is_err());
}

#[test]
fn kimi_and_gemini_files_are_told_apart_by_how_they_count_time() {
    let profile = |id: &str| Catalogue::builtin().get(id).unwrap();
    let kimi = br#"{"access_token":"at-1","refresh_token":"rt-1","expires_at":1795352023}"#;
    let gemini = br#"{"access_token":"at-1","refresh_token":"rt-1","expiry_date":1795352023000}"#;
    for (text, format) in [(&kimi[..], FollowFormat::KimiCli), (&gemini[..], FollowFormat::GeminiCli)] {
        let login = read_followed(profile("kimi-code"), text).unwrap();
        assert_eq!((login.format, login.expires_at), (format, Some(Timestamp(1_795_352_023_000))));
    }
}

#[test]
fn tokens_of_copilot_are_taken_once_a_user_and_the_newer_file_first() {
    let folder = Folder::new();
    folder.write(
        ".config/github-copilot/apps.json",
        r#"{"github.com:Iv1.x":{"user":"ada","oauth_token":"ghu_canary1","githubAppId":"Iv1.x"},"ghe.corp.example:Iv1.x":{"user":"ada","oauth_token":"ghu_canary2"}}"#,
    );
    folder.write(".config/github-copilot/hosts.json", r#"{"github.com":{"user":"ada","oauth_token":"gho_canary3"},"x":{"user":"b"}}"#);
    let import = folder.read("copilot", None).unwrap();
    assert_eq!(
        told(&import),
        ["ghe.corp.example:Iv1.x: github-copilot oauth ghu_canary2 -", "github.com:Iv1.x: github-copilot oauth ghu_canary1 -"]
    );
    assert_eq!(import.accounts[0].identity.enterprise_url.as_deref(), Some("ghe.corp.example"));
    assert_eq!(import.accounts[1].identity.account_id.as_deref(), Some("ada"));
    assert_eq!(skipped(&import), ["github.com: another token of the same user is taken", "x: the tool is logged out"]);
    assert!(matches!(folder.read("copilot", Some(&folder.path("none"))), Err(ImportError::NotFound { .. })));
}

#[test]
fn a_folder_of_cliproxyapi_is_taken_over_with_its_options() {
    let folder = Folder::new();
    let end = "2026-11-23T10:00:00+08:00";
    let login = |kind: &str, more: &str| {
        format!(
            r#"{{"type":"{kind}","access_token":"canary-{kind}","refresh_token":"canary-rt-{kind}","expired":"{end}","email":"{kind}@x.example"{more}}}"#
        )
    };
    let options = r#","priority":"5","weight":3,"proxy_url":"socks5://n:canary-pw@proxy.example:1080","prefix":"team","note":"work","headers":{"X":"canary"}"#;
    folder.write(".cli-proxy-api/claude-a.json", &login("claude", options));
    folder.write(".cli-proxy-api/codex-a.json", &login("codex", r#","account_id":"ws-1","disabled":true"#));
    folder.write(".cli-proxy-api/kimi-1.json", &login("kimi", r#","proxy_url":"https://canary-pw@h:1""#));
    folder.write(".cli-proxy-api/antigravity-a.json", &login("antigravity", r#","project_id":"proj-1""#));
    folder.write(".cli-proxy-api/gemini-a.json", r#"{"type":"gemini","token":{"access_token":"canary-g","refresh_token":"canary-rt-g","expiry":"2026-11-23T10:00:00Z"},"project_id":"p1,p2","email":"g@x.example"}"#);
    folder.write(".cli-proxy-api/iflow-a.json", &login("iflow", ""));
    folder.write(".cli-proxy-api/ended.json", r#"{"type":"claude","access_token":"canary-at","expired":"2026-01-01T00:00:00Z"}"#);
    folder.write(".cli-proxy-api/broken.json", r#"{"type":"claude""#);
    folder.write(".cli-proxy-api/other.json", r#"{"canary":1}"#);
    let import = folder.read("cliproxyapi", None).unwrap();
    let of =
        |row: &str| import.accounts.iter().find(|account| account.row == row).unwrap_or_else(|| panic!("{row} {:?}", skipped(&import)));
    let claude = of("claude-a.json");
    assert_eq!(claude.provider.as_str(), "anthropic");
    assert_eq!(expires_at(claude), Some(Timestamp(1_795_399_200_000)));
    assert!(
        matches!(&claude.credential, ImportedCredential::OAuth { refresh: Some(refresh), .. } if refresh.expose() == "canary-rt-claude")
    );
    assert_eq!((claude.priority, claude.options.weight.get(), claude.label.as_deref()), (5, 3, Some("work")));
    assert_eq!(claude.options.proxy.as_ref().map(ToString::to_string).as_deref(), Some("socks5://n:…@proxy.example:1080"));
    assert_eq!(claude.options.model_prefix.as_ref().map(ModelPrefix::as_str), Some("team"));
    assert_eq!((claude.notes.as_slice(), claude.follow.as_ref()), (&["its option headers is left out".to_owned()][..], None));
    assert!(matches!(&of("codex-a.json").standing, Standing::Disabled { cause, .. } if cause == "disabled in CLIProxyAPI"));
    // What went through a proxy must not go without it.
    assert!(matches!(&of("kimi-1.json").standing, Standing::Disabled { cause, .. } if cause.contains("its proxy cannot be taken over")));
    assert_eq!(of("antigravity-a.json").identity.project_id.as_deref(), Some("proj-1"));
    let gemini = of("gemini-a.json");
    assert_eq!((gemini.provider.as_str(), gemini.identity.project_id.as_deref()), ("google-gemini-cli", Some("p1")));
    assert_eq!(expires_at(gemini), Some(Timestamp(1_795_428_000_000)));
    let skipped = skipped(&import);
    assert_eq!(skipped.len(), 4, "{skipped:?}");
    assert!(skipped.contains(&"iflow-a.json: the catalogue has no provider for the type \"iflow\"".to_owned()), "{skipped:?}");
    assert!(skipped.contains(&"other.json: it names no type, so it is no login of this tool".to_owned()), "{skipped:?}");
}

#[test]
fn the_configuration_of_cliproxyapi_gives_keys_and_names_the_folder_of_logins() {
    let folder = Folder::new();
    folder.write("auths/kimi.json", r#"{"type":"kimi","access_token":"canary-at","refresh_token":"canary-rt"}"#);
    let config = folder.write(
        "config.yaml",
        "auth-dir: ./auths\n\
         api-keys: [canary-client]\n\
         claude-api-key:\n  - api-key: canary-c1\n    priority: 2\n  - api-key: canary-c2\n    base-url: https://llm.corp.example\n\
         gemini-api-key:\n  - api-key: canary-g1\n    proxy-url: direct\n    excluded-models: [x]\n\
         generative-language-api-key: [canary-g2]\n\
         openai-compatibility:\n\
         - name: openrouter\n  base-url: https://openrouter.ai/api/v1\n  disabled: true\n  api-key-entries:\n  - api-key: canary-or\n\
         - name: nowhere\n  api-key-entries: [{api-key: canary-no}]\n",
    );
    let import = folder.read("cliproxyapi", Some(&config)).unwrap();
    assert_eq!(
        told(&import),
        [
            "gemini-api-key 1: google key canary-g1",
            "generative-language-api-key 1: google key canary-g2",
            "claude-api-key 1: anthropic key canary-c1",
            "openai-compatibility openrouter 1: openrouter key canary-or",
            "kimi.json: kimi-code oauth canary-at canary-rt",
        ]
    );
    assert_eq!((import.accounts[2].priority, import.accounts[0].notes.len()), (2, 1));
    assert!(matches!(import.accounts[3].standing, Standing::Disabled { .. }));
    let skipped = skipped(&import).join("\n");
    for part in [
        "claude-api-key 2: no provider of the catalogue is at llm.corp.example",
        "nowhere 1: nothing says which provider",
        "api-keys: these are keys of its own clients",
    ] {
        assert!(skipped.contains(part), "{part} in {skipped}");
    }
    let broken = folder.write("broken.yaml", "a: [canary\nb: }");
    let error = folder.read("cliproxyapi", Some(&broken)).unwrap_err().to_string();
    assert!(error.contains("not valid YAML") && !error.contains("canary"), "{error}");
}

#[test]
fn keys_of_litellm_are_named_or_taken_and_each_is_one_account() {
    let mut folder = Folder::new();
    folder.variables = vec![("ANTHROPIC_API_KEY", "canary-ant"), ("EMPTY", " ")];
    let config = folder.write(
        "litellm.yaml",
        "defaults: &defaults {api_key: os.environ/ANTHROPIC_API_KEY}\n\
         model_list:\n\
         - {model_name: claude, litellm_params: {model: anthropic/claude-x, <<: *defaults}}\n\
         - {model_name: claude-2, litellm_params: {model: claude-y, api_key: os.environ/ANTHROPIC_API_KEY}}\n\
         - {model_name: gpt, litellm_params: {model: gpt-5, api_key: sk-canary}}\n\
         - {model_name: flash, litellm_params: {model: gemini/gemini-x, litellm_credential_name: g}}\n\
         - {model_name: router, litellm_params: {model: openai/llama, api_base: 'https://openrouter.ai/api/v1', api_key: sk-canary-or}}\n\
         - {model_name: corp, litellm_params: {model: openai/llama, api_base: 'https://llm.corp.example', api_key: sk-canary-x}}\n\
         - {model_name: unset, litellm_params: {model: openai/gpt, api_key: os.environ/EMPTY}}\n\
         - {model_name: keyless, litellm_params: {model: anthropic/claude-x}}\n\
         - {model_name: odd, litellm_params: {model: llama, api_key: sk-canary-odd}}\n\
         - {model_name: bare}\n\
         credential_list:\n\
         - {credential_name: g, credential_values: {api_key: canary-g}}\n\
         include: [more.yaml]\n",
    );
    let import = folder.read("litellm", Some(&config)).unwrap();
    assert_eq!(
        told(&import),
        [
            "claude: anthropic key env:ANTHROPIC_API_KEY",
            "gpt: openai key sk-canary",
            "flash: google key canary-g",
            "router: openrouter key sk-canary-or",
        ]
    );
    assert_eq!(import.accounts[0].notes, ["the key stays in ANTHROPIC_API_KEY, which the server must have in its environment"]);
    let skipped = skipped(&import).join("\n");
    for part in [
        "corp: no provider of the catalogue is at llm.corp.example",
        "unset: EMPTY is not set: import again where it is",
        "keyless: it has no key of its own; LiteLLM takes one from the environment, such as ",
        "odd: nothing says which provider it is for",
        "bare: it has no litellm_params",
        "include: other files are not read",
    ] {
        assert!(skipped.contains(part), "{part} in {skipped}");
    }
    assert!(matches!(folder.read("litellm", None), Err(ImportError::NoPlace { tool: "LiteLLM" })));
}

#[test]
fn a_pipe_in_the_place_of_a_tools_file_is_not_waited_for() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for tool in ["omp", "claude-code", "codex", "gemini-cli", "kimi-cli", "opencode", "copilot", "cliproxyapi", "litellm"] {
        assert!(matches!(folder.read(tool, Some(&pipe)), Err(ImportError::Unreadable { .. })), "{tool}");
    }
}

#[test]
fn a_file_of_another_tool_cannot_choose_what_of_this_machine_is_sent() {
    let folder = Folder::new();
    for reference in ["env:AWS_SECRET_ACCESS_KEY", "file:/etc/hostname", "cmd:id"] {
        let config = folder
            .write("c.yaml", &format!("model_list:\n- {{model_name: m, litellm_params: {{model: openai/m, api_key: '{reference}'}}}}\n"));
        let import = folder.read("litellm", Some(&config)).unwrap();
        assert_eq!((import.accounts.len(), import.skipped.len()), (0, 1));
        let codex = folder.write("auth.json", &format!(r#"{{"OPENAI_API_KEY":"{reference}"}}"#));
        let import = folder.read("codex", Some(&codex)).unwrap();
        assert_eq!(told(&import), [""; 0]);
        assert!(skipped(&import).join("").contains("a reference to a value stands"), "{import:?}");
    }
}

#[test]
fn a_file_that_others_can_read_is_warned_about_and_a_link_is_followed() {
    let folder = Folder::new();
    let file = folder.write("real.json", r#"{"OPENAI_API_KEY":"sk-1"}"#);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = folder.path("link.json");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let import = folder.read("codex", Some(&link)).unwrap();
    assert_eq!(told(&import), ["OPENAI_API_KEY: openai key sk-1"]);
    assert_eq!(import.notes, [format!("others of this machine can read {0} (mode 644): chmod 600 {0}", link.display())]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), r#"{"OPENAI_API_KEY":"sk-1"}"#);
}

/// Files are read while their tools write them, and some are broken by hand.
#[test]
fn a_file_cut_off_anywhere_or_with_a_letter_changed_is_told_without_its_secrets() {
    let folder = Folder::new();
    let login = r#"{"access_token":"canary-at","refresh_token":"canary-rt","expires_at":1795352023,"type":"claude","expired":"2026-11-23T10:00:00Z","weight":3}"#;
    let yaml = "model_list:\n- {model_name: m, litellm_params: {model: openai/x, api_key: 'canary-key'}}\nclaude-api-key: [{api-key: canary-key}]\n";
    for (tool, name, text) in [
        ("gemini-cli", "oauth_creds.json", login),
        ("kimi-cli", "kimi-code.json", login),
        ("kimi-cli", "config.toml", "[providers.own]\nbase_url = \"https://api.kimi.com/coding/v1\"\napi_key = \"canary-key\"\n"),
        ("opencode", "auth.json", OPENCODE),
        ("copilot", "apps.json", r#"{"github.com:x":{"user":"ada","oauth_token":"canary-gh"}}"#),
        ("cliproxyapi", "login.json", login),
        ("cliproxyapi", "config.yaml", yaml),
        ("litellm", "config.yaml", yaml),
        ("claude-code", "credentials.json", r#"{"claudeAiOauth":{"accessToken":"canary-at","expiresAt":1795352023000}}"#),
        ("codex", "auth.json", r#"{"tokens":{"access_token":"canary-at"},"OPENAI_API_KEY":"canary-key"}"#),
    ] {
        for at in 0..text.len() {
            let (before, after) = text.split_at(at);
            for broken in [before.to_owned(), format!("{before}{{{}", after.get(1..).unwrap_or_default()), format!("{before}\"{after}")] {
                let path = folder.write(name, &broken);
                match folder.read(tool, Some(&path)) {
                    Ok(import) => assert!(!skipped(&import).join("\n").contains("canary"), "{tool} {at}: {:?}", skipped(&import)),
                    Err(error) => assert!(!error.to_string().contains("canary"), "{tool} {at}: {error}"),
                }
            }
        }
    }
}
