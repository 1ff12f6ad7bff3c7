//! The catalogue as a whole: that nobody is missing, that what is not supported says so, and that no entry reaches further, or
//! claims more, than it may.

use claviger_domain::credential::CredentialKind;
use claviger_domain::origin::Purpose;
use claviger_domain::profile::{ProviderProfile, Rotation};
use claviger_domain::usage::LimitRole;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::login::{LoginWay, Redirect, RedirectPort};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// Every provider that people's tools know, by all the names that they use.
const NAMES: [(&str, &[&str]); 39] = [
    ("alibaba-coding-plan", &[]),
    ("amazon-bedrock", &[]),
    ("anthropic", &[]),
    ("azure", &["azure-openai", "azure-openai-responses"]),
    ("cerebras", &[]),
    ("cloudflare-ai-gateway", &[]),
    ("cursor", &[]),
    ("deepseek", &[]),
    ("fireworks", &[]),
    ("github-copilot", &[]),
    ("gitlab-duo", &[]),
    ("google", &[]),
    ("google-antigravity", &[]),
    ("google-gemini-cli", &[]),
    ("google-vertex", &["vertex"]),
    ("groq", &[]),
    ("huggingface", &[]),
    ("kimi-code", &["kimi", "kimi-for-coding"]),
    ("litellm", &[]),
    ("minimax", &[]),
    ("minimax-code", &[]),
    ("minimax-code-cn", &[]),
    ("mistral", &[]),
    ("moonshot", &[]),
    ("nvidia", &[]),
    ("ollama", &[]),
    ("ollama-cloud", &[]),
    ("openai", &[]),
    ("openai-codex", &[]),
    ("opencode-go", &[]),
    ("opencode-zen", &[]),
    ("openrouter", &[]),
    ("perplexity", &[]),
    ("qwen-portal", &["qwen", "qwen-oauth"]),
    ("together", &[]),
    ("vercel-ai-gateway", &[]),
    ("xai", &[]),
    ("xai-oauth", &[]),
    ("zai", &["zai-coding-plan"]),
];

/// Words by which vendors' own clients are known.
const PRODUCTS: [&str; 14] = [
    "claude-cli",
    "claude-code/",
    "codex",
    "geminicli",
    "gemini-cli",
    "antigravity",
    "kimicli",
    "kimi_cli",
    "githubcopilotchat",
    "copilot",
    "vscode",
    "qwencode",
    "grok-cli",
    "opencode/",
];

fn catalogue() -> &'static Catalogue {
    Catalogue::builtin()
}

fn profile(name: &str) -> &'static ProviderProfile {
    catalogue().get(name).unwrap_or_else(|| panic!("{name} is not ready"))
}

fn with_file(text: &str) -> Catalogue {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.toml"), text).expect("a file is written");
    Catalogue::load(Some(folder.path())).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_provider_is_found_by_every_name_and_there_is_no_other() {
    for (id, aliases) in NAMES {
        for name in aliases.iter().chain([&id]) {
            let ready = catalogue().get(name).map(|profile| profile.id.as_str());
            let found = ready.or_else(|| catalogue().not_ready(name).map(|provider| provider.id.as_str()));
            assert_eq!(found, Some(id), "{name}");
        }
    }
    assert_eq!(catalogue().iter().count() + catalogue().iter_not_ready().count(), NAMES.len());
}

#[test]
fn what_cannot_be_used_says_why_and_what_to_do_instead() {
    let not_ready: Vec<(&str, &str)> =
        catalogue().iter_not_ready().map(|provider| (provider.id.as_str(), provider.hint.as_str())).collect();
    let ids: Vec<&str> = not_ready.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["amazon-bedrock", "azure", "cloudflare-ai-gateway", "gitlab-duo", "google-vertex", "qwen-portal"]);
    let hint = |id| catalogue().not_ready(id).unwrap().hint.as_str();
    assert_eq!(hint("azure-openai"), "write into providers.d/azure.toml: [providers.azure.values] resource = \"…\"");
    assert!(hint("qwen").contains("alibaba-coding-plan"));
    assert!(catalogue().get("azure").is_none() && catalogue().login("azure").is_none());
}

#[test]
fn a_value_completes_an_address_and_a_wrong_one_does_not() {
    let catalogue = with_file("[providers.amazon-bedrock.values]\nregion = \"eu-central-1\"\n");
    let bedrock = catalogue.get("amazon-bedrock").unwrap();
    assert_eq!(bedrock.base.to_string(), "https://bedrock-runtime.eu-central-1.amazonaws.com:443/");
    assert!(catalogue.not_ready("amazon-bedrock").is_none());
    let whole = with_file("[providers.azure]\nbase_url = \"https://mine.example/openai/v1\"\n");
    assert_eq!(whole.get("azure").unwrap().base.to_string(), "https://mine.example:443/openai/v1");

    let folder = tempfile::tempdir().unwrap();
    let faults = |text: &str| {
        std::fs::write(folder.path().join("a.toml"), text).unwrap();
        let error = Catalogue::load(Some(folder.path())).map(|_| ()).unwrap_err();
        error
            .faults
            .iter()
            .map(|fault| format!("{}:{} {}: {}", fault.place.line, fault.place.column, fault.key, fault.problem))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        faults("[providers.azure.values]\nresource = \"a.example/b\"\n"),
        ["2:1 providers.azure.values.resource: letters, digits, -, _ and . are expected"]
    );
    assert_eq!(
        faults("[providers.openai.values]\nresource = \"a\"\n"),
        ["1:19 providers.openai.values: \"resource\" does not occur in base_url"]
    );
}

#[test]
fn another_entry_may_be_made_of_one_that_waits_for_a_value() {
    let text = "[providers.eu]\nextends = \"azure\"\n[providers.eu.values]\nresource = \"eu\"\n[providers.us]\nextends = \"azure\"\n[providers.us.values]\nresource = \"us\"\n";
    let catalogue = with_file(text);
    assert_eq!(catalogue.get("eu").unwrap().base.origin.host(), "eu.openai.azure.com");
    assert_eq!(catalogue.get("us").unwrap().base.origin.host(), "us.openai.azure.com");
    assert!(catalogue.get("azure").is_none());
}

#[test]
fn a_way_that_takes_keys_is_there_where_keys_are_taken_and_a_login_elsewhere() {
    for profile in catalogue().iter() {
        let login = catalogue().login(profile.id.as_str()).unwrap();
        let has_key = login.ways.iter().any(|way| matches!(way, LoginWay::Key(_)));
        assert_eq!(has_key, profile.api_key.is_some(), "{}", profile.id);
        let has_login = login.ways.iter().any(|way| !matches!(way, LoginWay::Key(_)));
        assert!(has_login || profile.oauth.is_none(), "{} takes logins, and there is no way to one", profile.id);
        assert!(!login.ways.is_empty() || login.advice.is_some(), "{}", profile.id);
    }
}

#[test]
fn logins_are_what_each_provider_admits() {
    let ways = |id: &str| -> Vec<&'static str> {
        let word = |way: &LoginWay| match way {
            LoginWay::Loopback(_) => "loopback",
            LoginWay::Paste(_) => "paste",
            LoginWay::Device(_) => "device",
            LoginWay::Vendor(_) => "vendor",
            LoginWay::Key(_) => "key",
        };
        catalogue().login(id).unwrap().ways.iter().map(word).collect()
    };
    for (id, expected) in [
        ("anthropic", &["loopback", "key"][..]),
        ("openai-codex", &["loopback", "vendor"]),
        ("google-gemini-cli", &["loopback", "paste"]),
        ("google-antigravity", &["loopback"]),
        ("github-copilot", &["device", "key"]),
        ("kimi-code", &["device", "key"]),
        ("xai-oauth", &["device"]),
        ("zai", &["paste", "key"]),
        ("openrouter", &["loopback", "key"]),
        ("cursor", &["vendor"]),
        ("groq", &["key"]),
    ] {
        assert_eq!(ways(id), expected, "{id}");
    }
    let flow = |id: &str| match catalogue().login(id).unwrap().ways.first().unwrap() {
        LoginWay::Loopback(flow) | LoginWay::Paste(flow) => flow.clone(),
        other => panic!("{other:?}"),
    };
    let codex = flow("openai-codex");
    let redirect = Redirect::Loopback { host: "localhost".to_owned(), port: RedirectPort::Fixed(1455), path: "/auth/callback".to_owned() };
    assert_eq!((codex.redirect, codex.pkce, codex.client_id.as_str()), (redirect, true, "app_EMoamEEZ73f0CkXaXp7hrann"));
    assert_eq!(flow("zai").redirect, Redirect::Fixed("zcode://zai-auth/callback".to_owned()));
    let openrouter = flow("openrouter");
    assert!(!openrouter.state_returned && openrouter.pkce && openrouter.params_replace && openrouter.answer.is_key);
    assert!(openrouter.client_id.is_empty());
    assert!(flow("google-antigravity").client_secret.is_some() && flow("google-antigravity").answer.refresh_required);
    assert_eq!(catalogue().login("anthropic").unwrap().grant_life, Some(Duration::from_hours(30 * 24)));
    assert_eq!(flow("anthropic").token_params, [("state".to_owned(), "{state}".to_owned())]);
}

#[test]
fn every_flow_that_is_not_protected_by_state_is_protected_by_pkce() {
    for profile in catalogue().iter() {
        for way in &catalogue().login(profile.id.as_str()).unwrap().ways {
            if let LoginWay::Loopback(flow) | LoginWay::Paste(flow) = way {
                assert!(flow.pkce || flow.state_returned, "{}", profile.id);
            }
        }
    }
}

#[test]
fn control_requests_have_all_their_origins_and_no_other_provider_shares_a_token_endpoint_by_accident() {
    for profile in catalogue().iter() {
        let control = profile.control_origins();
        assert!(profile.origins.of(Purpose::Token).is_subset(&control), "{}", profile.id);
        assert!(profile.hook_urls.values().all(|url| control.contains(&url.origin)), "{}", profile.id);
        let usage = profile.usage.endpoint.iter().flat_map(|endpoint| std::iter::once(&endpoint.url).chain(&endpoint.more));
        assert!(usage.into_iter().all(|url| profile.origins.of(Purpose::Usage).contains(&url.origin)), "{}", profile.id);
        for way in &catalogue().login(profile.id.as_str()).unwrap().ways {
            let urls = match way {
                LoginWay::Loopback(flow) | LoginWay::Paste(flow) => vec![&flow.token_url],
                LoginWay::Device(flow) => vec![&flow.device_url, &flow.token_url],
                LoginWay::Key(entry) => entry.probe.iter().map(|probe| &probe.url).collect(),
                LoginWay::Vendor(_) => Vec::new(),
            };
            assert!(urls.iter().all(|url| control.contains(&url.origin)), "{}: {way:?}", profile.id);
        }
    }
    let antigravity = profile("google-antigravity");
    assert!(antigravity.origins.of(Purpose::Token).iter().all(|origin| origin.host() == "oauth2.googleapis.com"));
    assert!(antigravity.control_origins().iter().any(|origin| origin.host() == "www.googleapis.com"));
    assert!(!antigravity.origins.of(Purpose::Inference).iter().any(|origin| origin.host() == "www.googleapis.com"));
}

#[test]
fn no_entry_claims_to_be_another_client() {
    let mut headers: Vec<(String, &HeaderName, String)> = Vec::new();
    for profile in catalogue().iter() {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_lowercase();
        let mut add = |name, value: &HeaderValue| headers.push((profile.id.to_string(), name, text(value)));
        let wires = [CredentialKind::ApiKey, CredentialKind::OAuth].into_iter().filter_map(|kind| profile.wire(kind));
        for rule in wires.flat_map(|wire| &wire.extra) {
            if let claviger_domain::profile::HeaderText::Fixed(value) = &rule.value {
                add(&rule.name, value);
            }
        }
        profile.refresh.iter().flat_map(|refresh| &refresh.headers).for_each(|(name, value)| add(name, value));
        profile.usage.endpoint.iter().flat_map(|endpoint| &endpoint.headers).for_each(|(name, value)| add(name, value));
        for way in &catalogue().login(profile.id.as_str()).unwrap().ways {
            match way {
                LoginWay::Loopback(flow) | LoginWay::Paste(flow) => flow.headers.iter().for_each(|(name, value)| add(name, value)),
                LoginWay::Device(flow) => flow.headers.iter().for_each(|(name, value)| add(name, value)),
                LoginWay::Vendor(_) | LoginWay::Key(_) => {}
            }
        }
    }
    for (id, name, value) in headers {
        assert!(!["user-agent", "x-app", "version", "editor-version", "copilot-integration-id"].contains(&name.as_str()), "{id}: {name}");
        assert!(PRODUCTS.iter().all(|product| !value.contains(product)), "{id}: {name}: {value}");
    }
}

#[test]
fn a_login_is_for_the_vendors_own_client_where_the_vendor_says_so() {
    let limited: Vec<&str> =
        catalogue().iter().filter(|profile| profile.terms.own_client_only).map(|profile| profile.id.as_str()).collect();
    assert_eq!(limited, ["anthropic", "google-antigravity", "google-gemini-cli"]);
    for id in limited {
        let terms = &profile(id).terms;
        assert!(!terms.own_client.is_empty() && terms.note.is_some(), "{id}");
    }
    let client = |header: &'static str, value: &'static str| {
        HeaderMap::from_iter([(HeaderName::from_static(header), HeaderValue::from_static(value))])
    };
    assert!(profile("anthropic").terms.is_own_client(&client("user-agent", "claude-cli/2.1.220 (external, cli)")));
    assert!(!profile("anthropic").terms.is_own_client(&client("user-agent", "omp/18.2.11")));
    assert!(profile("google-gemini-cli").terms.is_own_client(&client("user-agent", "GeminiCLI/0.9.0/gemini-3-pro (linux; x64; terminal)")));
    assert!(profile("google-antigravity").terms.is_own_client(&client("user-agent", "antigravity/hub/2.9.0 (aidev_client)")));
    assert!(profile("openai-codex").terms.is_own_client(&client("originator", "codex_exec")));
    for profile in catalogue().iter().filter(|profile| profile.oauth.is_some()) {
        assert!(profile.terms.note.is_some(), "{}: what the vendor says is not written down", profile.id);
    }
}

#[test]
fn the_key_of_one_product_does_not_sign_anybody_in_at_another() {
    let variables =
        |id: &str| -> Vec<&str> { catalogue().environment(id).unwrap().variables.iter().map(|variable| variable.name.as_str()).collect() };
    assert_eq!((variables("xai"), variables("xai-oauth")), (vec!["XAI_API_KEY"], vec!["XAI_OAUTH_TOKEN"]));
    assert_eq!((variables("openai"), variables("openai-codex")), (vec!["OPENAI_API_KEY"], vec!["OPENAI_CODEX_OAUTH_TOKEN"]));
    assert!(variables("kimi-code").is_empty(), "a key of the Kimi platform is not one of a Kimi Code subscription");
}

#[test]
fn a_published_client_id_says_whose_it_is() {
    for profile in catalogue().iter() {
        let facts = catalogue().facts(profile.id.as_str()).unwrap();
        let has_id = profile.refresh.as_ref().is_some_and(|refresh| !refresh.client_id.is_empty());
        assert!(!has_id || facts.client_id_of.is_some(), "{}", profile.id);
        assert_eq!(facts.verified_live, None, "{}: nobody has tried it with a real account yet", profile.id);
    }
}

#[test]
fn models_belong_to_the_family_whose_meter_they_share() {
    for (id, model, family) in [
        ("anthropic", "claude-fable-5-20260901", Some("fable")),
        ("anthropic", "claude-opus-5", Some("opus")),
        ("anthropic", "claude-haiku-5", None),
        ("openai-codex", "gpt-5.3-codex-spark", Some("spark")),
        ("openai-codex", "gpt-5.6", None),
        ("google-antigravity", "gemini-3-pro-high", Some("google")),
        ("google-antigravity", "claude-sonnet-4-5", Some("anthropic")),
        ("google-antigravity", "gpt-oss-120b-medium", Some("openai")),
        ("google-gemini-cli", "gemini-3-flash-preview", Some("3-flash")),
        ("google-gemini-cli", "gemini-2.5-flash-lite", Some("flash")),
        ("google-gemini-cli", "gemini-3-pro-preview", Some("pro")),
        ("openrouter", "x/y:free", Some(":free")),
    ] {
        assert_eq!(profile(id).families.family_of(model), family, "{id} {model}");
    }
}

#[test]
fn a_plan_may_use_the_models_that_its_class_may_use() {
    let plans = &profile("openai-codex").plans;
    let spark = plans.row_of("gpt-5.3-codex-spark").unwrap();
    assert!(spark.admits("Pro") && !spark.admits("plus"));
    let paid = plans.row_of("gpt-5.6-sol-high").unwrap();
    assert!(paid.admits("team") && paid.admits("pro") && !paid.admits("free"));
    assert!(plans.row_of("gpt-5.4").is_none());
    assert!(plans.knows("go") && !plans.knows("unheard-of"));
}

#[test]
fn limits_have_the_part_that_they_play() {
    for (id, limit, role) in [
        ("anthropic", "5h", LimitRole::Primary),
        ("anthropic", "7d", LimitRole::Secondary),
        ("anthropic", "7d:fable", LimitRole::Secondary),
        ("anthropic", "extra", LimitRole::Shown),
        ("openai-codex", "spark:primary", LimitRole::Primary),
        ("zai", "tokens:5h", LimitRole::Primary),
        ("zai", "features:zread:1mo", LimitRole::Shown),
        ("opencode-go", "monthly", LimitRole::Shown),
        ("deepseek", "balance:usd", LimitRole::Gate),
    ] {
        assert_eq!(profile(id).usage.limit(limit).unwrap().role, role, "{id} {limit}");
    }
    let ids: Vec<&str> = profile("anthropic").usage.headers.iter().map(|tap| tap.id.as_str()).collect();
    assert_eq!(ids, ["5h", "7d", "7d:fable", "requests", "tokens"]);
}

#[test]
fn a_refresh_token_is_taken_to_stay_only_where_that_is_known() {
    let staying: Vec<&str> = catalogue()
        .iter()
        .filter(|profile| profile.refresh.as_ref().is_some_and(|refresh| refresh.rotation != Rotation::Strict))
        .map(|profile| profile.id.as_str())
        .collect();
    assert_eq!(staying, ["google-antigravity", "google-gemini-cli"]);
}

#[test]
fn a_usage_path_follows_the_address_of_the_provider() {
    let catalogue = with_file("[providers.litellm]\nbase_url = \"https://llm.example/v1\"\n");
    let endpoint = catalogue.get("litellm").unwrap().usage.endpoint.as_ref().unwrap();
    assert_eq!(endpoint.url.to_string(), "https://llm.example:443/key/info");
}
