//! The user's files: what they change, and how their faults are located.

use claviger_domain::classify::Verdict;
use claviger_domain::origin::{Purpose, StoredOrigins};
use claviger_domain::profile::{Dialect, Rotation};
use claviger_providers::catalogue::{Catalogue, CatalogueError};
use std::time::Duration;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for files");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file is written");
        }
        Self(folder)
    }

    fn load(&self) -> Result<Catalogue, CatalogueError> {
        Catalogue::load(Some(self.0.path()))
    }

    /// The faults as `file:line:column: key: problem`, the folder cut off.
    fn faults(&self) -> Vec<String> {
        let error = self.load().map(|_| ()).expect_err("the files have faults");
        error.to_string().lines().map(|line| line.replace(&format!("{}/", self.0.path().display()), "")).collect()
    }
}

fn faults(text: &str) -> Vec<String> {
    Folder::with(&[("a.toml", text)]).faults()
}

const FAKE_ANTHROPIC: &str = r#"
[providers.anthropic]
base_url = "http://127.0.0.1:9001"
[providers.anthropic.oauth]
token_url = "http://127.0.0.1:9001/oauth/token"
[providers.anthropic.refresh]
profile = "grace"
grace_s = 60
[providers.anthropic.usage]
url = "http://127.0.0.1:9001/api/oauth/usage"
"#;

const NEW_PROVIDER: &str = r#"
[providers.mine]
dialects = ["chat"]
base_url = "https://llm.example/v1"
[providers.mine.wire.api_key]
header = "authorization"
scheme = "Bearer"
"#;

#[test]
fn a_file_changes_single_keys_and_leaves_the_others() {
    let catalogue = Folder::with(&[("a.toml", FAKE_ANTHROPIC)]).load().unwrap();
    let profile = catalogue.get("anthropic").unwrap();
    assert_eq!(profile.base.to_string(), "http://127.0.0.1:9001/");
    let refresh = profile.refresh.as_ref().unwrap();
    assert_eq!(refresh.url.to_string(), "http://127.0.0.1:9001/oauth/token");
    assert_eq!(refresh.rotation, Rotation::Grace { window: Duration::from_mins(1) });
    assert_eq!(refresh.client_id, Catalogue::builtin().get("anthropic").unwrap().refresh.as_ref().unwrap().client_id);
    assert_eq!(profile.classes, Catalogue::builtin().get("anthropic").unwrap().classes);
    for purpose in [Purpose::Inference, Purpose::Usage, Purpose::Token] {
        let origins: Vec<String> = profile.origins.of(purpose).iter().map(ToString::to_string).collect();
        assert_eq!(origins, ["http://127.0.0.1:9001"]);
        assert!(!profile.origins_admitted(&StoredOrigins::Builtin, purpose), "an account stored before must not follow an overlay");
    }
    assert_eq!(profile.builtin_origins, Catalogue::builtin().get("anthropic").unwrap().builtin_origins.clone());
    assert_eq!(profile.origins_to_store(), StoredOrigins::Explicit(profile.origins.clone()));
}

#[test]
fn an_overlay_that_changes_no_origin_keeps_accounts_on_the_built_in_set() {
    let catalogue = Folder::with(&[("a.toml", "[providers.openai]\nname = \"Ours\"\n")]).load().unwrap();
    assert_eq!(catalogue.get("openai").unwrap().origins_to_store(), StoredOrigins::Builtin);
    assert_eq!(catalogue.get("openai").unwrap().name, "Ours");
}

#[test]
fn a_provider_may_be_defined_wholly_in_a_file() {
    let catalogue = Folder::with(&[("a.toml", NEW_PROVIDER)]).load().unwrap();
    let profile = catalogue.get("mine").unwrap();
    assert_eq!(profile.builtin_origins, None);
    assert_eq!(profile.origins_to_store(), StoredOrigins::Explicit(profile.origins.clone()));
    assert_eq!(catalogue.iter().count(), 8);
}

#[test]
fn a_provider_may_extend_another_and_takes_over_neither_its_names_nor_its_variables_nor_its_usage() {
    let text = "[providers.mine]\nextends = \"openrouter\"\nbase_url = \"https://llm.example/v1\"\naliases = [\"m\"]\n";
    let catalogue = Folder::with(&[("a.toml", text)]).load().unwrap();
    let (mine, theirs) = (catalogue.get("m").unwrap(), catalogue.get("openrouter").unwrap());
    assert_eq!(mine.classes, theirs.classes);
    assert_eq!(mine.api_key, theirs.api_key);
    assert_eq!(mine.name, "mine");
    assert!(mine.env.is_empty(), "a key from another provider's variable would reach this origin");
    assert!(mine.origins.usage.is_empty());
    assert_eq!(mine.builtin_origins, None);
}

#[test]
fn extending_works_through_a_chain_and_sees_the_files_of_the_user() {
    let one = "[providers.one]\nextends = \"openai\"\nbase_url = \"https://one.example\"\n";
    let two = "[providers.two]\nextends = \"one\"\n[providers.openai.session]\nfields = [\"thread\"]\n";
    let catalogue = Folder::with(&[("1.toml", one), ("2.toml", two)]).load().unwrap();
    assert_eq!(catalogue.get("two").unwrap().base.to_string(), "https://one.example:443/");
    assert_eq!(catalogue.get("two").unwrap().session.fields, ["thread"]);
}

#[test]
fn later_files_win_over_earlier_ones_and_other_files_are_not_read() {
    let files = [
        ("20.toml", "[providers.openai]\nname = \"second\"\n"),
        ("10.toml", "[providers.openai]\nname = \"first\"\nenv = [\"FIRST_KEY\"]\n"),
        ("30.toml.bak", "not toml at all ["),
    ];
    let catalogue = Folder::with(&files).load().unwrap();
    assert_eq!(catalogue.get("openai").unwrap().name, "second");
    assert_eq!(catalogue.get("openai").unwrap().env, ["FIRST_KEY"]);
}

#[test]
fn a_folder_that_is_not_there_is_empty() {
    let folder = Folder::with(&[]);
    let catalogue = Catalogue::load(Some(&folder.0.path().join("providers.d"))).unwrap();
    assert_eq!(catalogue.iter().count(), 7);
}

#[test]
fn a_dialect_may_be_given_to_another_provider() {
    let text = NEW_PROVIDER.replace("dialects = [\"chat\"]", "dialects = [\"chat\"]\ndefault_dialects = [\"chat\"]");
    let catalogue = Folder::with(&[("a.toml", &text)]).load().unwrap();
    assert_eq!(catalogue.default_for(Dialect::Chat).unwrap().as_str(), "mine");
    assert_eq!(catalogue.default_for(Dialect::Responses).unwrap().as_str(), "openai");
}

#[test]
fn a_file_may_take_a_dialect_from_a_built_in_provider() {
    let catalogue = Folder::with(&[("a.toml", "[providers.openai]\ndialects = [\"chat\"]\n")]).load().unwrap();
    assert_eq!(catalogue.default_for(Dialect::Responses), None);
    assert_eq!(catalogue.default_for(Dialect::Chat).unwrap().as_str(), "openai");
}

#[test]
fn values_say_from_which_file_and_line_they_come() {
    let folder = Folder::with(&[("a.toml", FAKE_ANTHROPIC)]);
    let catalogue = folder.load().unwrap();
    let place_of = |key: &str| {
        let value = catalogue.effective_values("anthropic").iter().find(|value| value.key == key).unwrap();
        value.place.to_string().replace(&format!("{}/", folder.0.path().display()), "")
    };
    assert_eq!(place_of("providers.anthropic.base_url"), "a.toml:3:1");
    assert_eq!(place_of("providers.anthropic.refresh.grace_s"), "a.toml:8:1");
    assert_eq!(place_of("providers.anthropic.oauth.client_id"), "built-in anthropic.toml:27:1");
}

#[test]
fn a_client_secret_is_not_among_the_effective_values() {
    let text = "[providers.openai-codex.oauth]\nclient_secret_b64 = \"Y2FuYXJ5\"\n";
    let catalogue = Folder::with(&[("a.toml", text)]).load().unwrap();
    assert_eq!(catalogue.get("openai-codex").unwrap().refresh.as_ref().unwrap().client_secret.as_deref(), Some("canary"));
    let shown = format!("{:?}", catalogue.effective_values("openai-codex"));
    assert!(shown.contains("client_secret_b64") && !shown.contains("Y2FuYXJ5"));
}

#[test]
fn rows_of_a_file_replace_the_built_in_ones() {
    let text = "[[providers.openai.errors]]\nstatus = [418]\nclass = \"capacity\"\n";
    let catalogue = Folder::with(&[("a.toml", text)]).load().unwrap();
    let rules = &catalogue.get("openai").unwrap().classes.rules;
    assert_eq!((rules.len(), rules[0].verdict, rules[0].statuses.as_slice()), (1, Verdict::Capacity, &[418][..]));
}

#[test]
fn a_syntax_fault_has_its_line_and_column() {
    let faults = faults("[providers.openai]\nname = \n");
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("a.toml:2:"), "{faults:?}");
}

#[test]
fn every_fault_has_its_file_line_and_key() {
    let text = r#"[providers.openai]
base_url = "http://10.0.0.1/v1"
dialects = ["chat", "chatt"]
nmae = "x"
env = "OPENAI_API_KEY"
[providers.openai.wire.api_key]
header = "bad header"
[providers.anthropic.refresh]
profile = "lenient"
timeout_s = 500
[providers.anthropic.oauth]
client_secret_b64 = "!"
[[providers.google.errors]]
status = [42]
class = "sad"
scope = "tier:"
resets = [{ header = "x", json = "y", format = "epoch_s" }]
"#;
    assert_eq!(
        faults(text),
        [
            "a.toml:2:1: providers.openai.base_url: http:// is accepted for loopback only, not for \"10.0.0.1\"; use https://",
            "a.toml:3:21: providers.openai.dialects: \"chatt\" is none of: messages, chat, responses, generate",
            "a.toml:4:1: providers.openai.nmae: unknown key; known here: base_url, oauth, refresh, usage, wire, dialects, oauth_env, env, oauth_token_prefix, default_dialects, name, aliases, session, identity, errors",
            "a.toml:5:1: providers.openai.env: a list is expected, not text",
            "a.toml:7:1: providers.openai.wire.api_key.header: \"bad header\" is not a header name",
            "a.toml:9:1: providers.anthropic.refresh.profile: \"lenient\" is none of: non_rotating, grace, strict",
            "a.toml:10:1: providers.anthropic.refresh.timeout_s: a whole number from 1 to 120 is expected",
            "a.toml:12:1: providers.anthropic.oauth.client_secret_b64: base64 is expected",
            "a.toml:14:11: providers.google.errors[0].status: a status from 200 to 599 is expected",
            "a.toml:15:1: providers.google.errors[0].class: \"sad\" is none of: unauthorized, usage_limit, policy, rate_limited, concurrency, capacity, unrelated",
            "a.toml:16:1: providers.google.errors[0].scope: account, model or tier:NAME is expected",
            "a.toml:17:13: providers.google.errors[0].resets[0].header: one of header and json is expected",
        ]
    );
}

#[test]
fn the_faults_of_all_files_are_collected() {
    let files = [("a.toml", "[providers.openai]\nbase_url = \"/v1\"\n"), ("b.toml", "x = 1\n"), ("c.toml", "[providers\n")];
    let faults = Folder::with(&files).faults();
    assert!(faults.contains(&"a.toml:2:1: providers.openai.base_url: an absolute http or https URL is expected".to_owned()), "{faults:?}");
    assert!(faults.contains(&"b.toml:1:1: x: unknown key; a file holds [providers.ID] tables only".to_owned()), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("c.toml:1:")), "{faults:?}");
}

#[test]
fn a_new_provider_must_say_where_it_is_and_how_credentials_are_sent() {
    assert_eq!(
        faults("[providers.mine]\n"),
        [
            "a.toml:1:12: providers.mine.base_url: missing",
            "a.toml:1:12: providers.mine.wire: missing: how a credential is sent is said in wire.api_key or wire.oauth",
            "a.toml:1:12: providers.mine.dialects: missing",
        ]
    );
}

#[test]
fn names_cannot_collide() {
    let text = NEW_PROVIDER.replace("dialects", "aliases = [\"openai\"]\ndialects");
    assert_eq!(faults(&text), ["a.toml:3:1: providers.mine.aliases: \"openai\" is taken"]);
    let text = NEW_PROVIDER.replace("mine", "v1");
    assert_eq!(faults(&text), ["a.toml:2:12: providers.v1: the id is reserved for a route of the gateway"]);
    let twice = NEW_PROVIDER.replace("dialects", "default_dialects = [\"chat\"]\ndialects");
    let files = [("a.toml", twice.as_str()), ("b.toml", &twice.replace("mine", "other"))];
    let faults = Folder::with(&files).faults();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("b.toml:3:1: providers.other.default_dialects: \"chat\" is claimed at "), "{faults:?}");
}

#[test]
fn extending_nothing_oneself_or_from_a_built_in_provider_is_a_fault() {
    assert_eq!(faults("[providers.a]\nextends = \"zzz\"\n"), ["a.toml:2:1: providers.a.extends: the id of a provider is expected"]);
    let circle = faults("[providers.a]\nextends = \"b\"\n[providers.b]\nextends = \"a\"\n");
    assert_eq!(circle, ["a.toml:2:1: providers.a.extends: extends itself", "a.toml:4:1: providers.b.extends: extends itself"]);
    let built_in = faults("[providers.openai]\nextends = \"google\"\n");
    assert_eq!(built_in, ["a.toml:2:1: providers.openai.extends: a built-in provider extends none; its keys are changed directly"]);
}

#[test]
fn a_fault_never_quotes_what_may_be_a_credential() {
    let text = r#"[providers.openai]
base_url = "https://user:canary-1@llm.example/v1"
[providers.openai.wire.api_key]
headers = [{ name = "x-api-key", value = "canary-2" }, { name = "authorization", value = "Bearer canary-3" }]
[providers.anthropic]
base_url = "ftp://user:canary-4@llm.example"
"#;
    let faults = faults(text);
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(faults.iter().all(|fault| !fault.contains("canary")), "{faults:?}");
}

#[test]
fn an_overlong_or_unreadable_file_is_a_fault_of_that_file() {
    let folder = Folder::with(&[("a.toml", &"#".repeat(256 * 1024 + 1))]);
    assert_eq!(folder.faults(), ["a.toml: longer than 262144 bytes"]);
    let folder = Folder::with(&[]);
    std::fs::create_dir(folder.0.path().join("b.toml")).unwrap();
    assert!(folder.faults()[0].starts_with("b.toml: cannot be read: "));
}

#[test]
fn what_is_no_regular_file_is_a_fault_and_is_not_waited_for() {
    let folder = Folder::with(&[]);
    std::os::unix::fs::symlink("/dev/zero", folder.0.path().join("endless.toml")).expect("a link");
    assert_eq!(folder.faults(), ["endless.toml: cannot be read: it is no regular file"]);
}
