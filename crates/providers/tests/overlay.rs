//! The user's files: what they change, and how their faults are located.

use claviger_domain::classify::Verdict;
use claviger_domain::origin::{Purpose, StoredOrigins};
use claviger_domain::profile::{Dialect, Rotation};
use claviger_providers::catalogue::{Catalogue, CatalogueError};
use claviger_providers::login::{LoginWay, Redirect, RedirectPort};
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
    assert_eq!(catalogue.iter().count(), Catalogue::builtin().iter().count() + 1);
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
    assert_eq!(catalogue.iter().count(), Catalogue::builtin().iter().count());
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
    assert_eq!(place_of("providers.anthropic.oauth.client_id"), "built-in anthropic.toml:31:1");
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
    let found: Vec<String> = faults(text).iter().map(|fault| fault.split("; known here: ").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        found,
        [
            "a.toml:2:1: providers.openai.base_url: http:// is accepted for loopback only, not for \"10.0.0.1\"; use https://",
            "a.toml:3:21: providers.openai.dialects: \"chatt\" is none of: messages, chat, responses, generate",
            "a.toml:4:1: providers.openai.nmae: unknown key",
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

#[test]
fn every_fault_of_logins_usage_and_terms_has_its_line_and_column() {
    let text = r#"[providers.openai.login]
grant_life_days = 0
control_origins = ["https://a.example/path"]
[providers.openai.login.loopback]
redirect = "https://a.example/callback"
pkce = "no"
[providers.openai.login.device]
device_url = "/device"
[providers.openai.login.vendor]
hook = "x"
[providers.openai.login.key]
probe_method = "PUT"
[providers.openai.hook_urls]
nobody = "https://a.example"
[providers.openai.terms]
own_client = [{ header = "user-agent" }]
own_client_only = 1
[providers.openai.plans.classes]
paid = "plus"
[[providers.openai.plans.rows]]
models = ["*"]
classes = ["gold"]
[[providers.openai.families]]
name = "f"
[providers.openai.usage]
parser = "x"
kinds = ["token"]
headers = [{ id = "a", label = "a", role = "primary", used = "x-used" }]
limits = [{ id = "a", role = "big" }]
"#;
    let found = faults(text);
    let keys: Vec<&str> = found.iter().filter_map(|fault| fault.split(": ").nth(1)).collect();
    for key in [
        "login.grant_life_days",
        "login.control_origins",
        "login.loopback.redirect",
        "login.loopback.pkce",
        "login.loopback.authorize_url",
        "login.loopback.token_url",
        "login.device.device_url",
        "login.vendor.summary",
        "login.key.probe_method",
        "login.key.probe_url",
        "hook_urls.nobody",
        "terms.own_client[0].prefix",
        "terms.own_client_only",
        "plans.classes.paid",
        "plans.rows[0].classes",
        "families[0].models",
        "usage.url",
        "usage.kinds",
        "usage.headers[0].used_as",
        "usage.limits[0].role",
    ] {
        assert!(keys.contains(&format!("providers.openai.{key}").as_str()), "{key} is not among {found:#?}");
    }
    assert!(found.iter().all(|fault| !fault.contains(":0:")), "{found:#?}");
}

#[test]
fn a_login_of_ones_own_is_made_of_toml_alone() {
    let text = r#"
[providers.sso]
dialects = ["chat"]
base_url = "https://llm.example/v1"
[providers.sso.wire.oauth]
header = "authorization"
scheme = "Bearer"
[providers.sso.oauth]
authorize_url = "https://sso.example/authorize"
token_url = "https://sso.example/token"
client_id = "claviger"
scopes = ["openid"]
[providers.sso.login.loopback]
"#;
    let catalogue = Folder::with(&[("a.toml", text)]).load().unwrap();
    let ways = &catalogue.login("sso").unwrap().ways;
    let [LoginWay::Loopback(flow)] = ways.as_slice() else { panic!("{ways:?}") };
    assert_eq!(flow.redirect, Redirect::Loopback { host: "127.0.0.1".to_owned(), port: RedirectPort::Any, path: "/callback".to_owned() });
    assert!(flow.pkce && flow.state_returned && flow.scopes == ["openid"]);
    assert_eq!(flow.token_url.to_string(), "https://sso.example:443/token");
}

#[test]
fn an_entry_that_extends_another_does_not_send_its_keys_to_the_other_ones_probe() {
    let text = "[providers.ours]\nextends = \"deepseek\"\nbase_url = \"https://llm.example\"\n";
    let catalogue = Folder::with(&[("a.toml", text)]).load().unwrap();
    let ours = catalogue.get("ours").unwrap();
    assert!(ours.control_origins().is_empty());
    let ways = &catalogue.login("ours").unwrap().ways;
    assert!(matches!(ways.as_slice(), [LoginWay::Key(entry)] if entry.probe.is_none() && entry.page.is_none()), "{ways:?}");
}

#[test]
fn an_empty_scheme_takes_the_scheme_of_the_extended_entry_away() {
    let text = "[providers.ours]\nextends = \"opencode-zen\"\ndialects = [\"messages\"]\n[providers.ours.wire.api_key]\nheader = \"x-api-key\"\nscheme = \"\"\n";
    let catalogue = Folder::with(&[("a.toml", text)]).load().unwrap();
    let wire = catalogue.get("ours").unwrap().api_key.clone().unwrap();
    assert_eq!((wire.header.as_str(), wire.scheme), ("x-api-key", None));
}
