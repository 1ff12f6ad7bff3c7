//! What the built-in entries compile to.

use claviger_domain::classify::RuleScope;
use claviger_domain::credential::CredentialKind;
use claviger_domain::origin::{Purpose, StoredOrigins};
use claviger_domain::profile::{Dialect, HeaderMode, HeaderText, ProviderProfile, Rotation, TokenEncoding};
use claviger_providers::catalogue::Catalogue;
use std::sync::Arc;
use std::time::Duration;

fn profile(id: &str) -> &'static Arc<ProviderProfile> {
    Catalogue::builtin().get(id).unwrap_or_else(|| panic!("{id} is not built in"))
}

fn origins(id: &str, purpose: Purpose) -> Vec<String> {
    profile(id).origins.of(purpose).iter().map(ToString::to_string).collect()
}

#[test]
fn every_entry_has_the_base_url_that_paths_are_appended_to() {
    for (id, base) in [
        ("anthropic", "https://api.anthropic.com:443/"),
        ("google", "https://generativelanguage.googleapis.com:443/v1beta"),
        ("kimi-code", "https://api.kimi.com:443/coding/v1"),
        ("litellm", "http://localhost:4000/v1"),
        ("openai", "https://api.openai.com:443/v1"),
        ("openai-codex", "https://chatgpt.com:443/backend-api"),
        ("openrouter", "https://openrouter.ai:443/api/v1"),
    ] {
        assert_eq!(profile(id).base.to_string(), base, "{id}");
    }
}

#[test]
fn a_key_and_a_login_of_one_provider_travel_in_different_headers() {
    let anthropic = profile("anthropic");
    let key = anthropic.wire(CredentialKind::ApiKey).unwrap();
    assert_eq!((key.header.as_str(), key.scheme.as_deref()), ("x-api-key", None));
    assert!(key.extra.iter().all(|rule| rule.name.as_str() != "anthropic-beta"), "a key must not carry the beta of logins");
    let login = anthropic.wire(CredentialKind::OAuth).unwrap();
    assert_eq!((login.header.as_str(), login.scheme.as_deref()), ("authorization", Some("Bearer")));
    let beta = login.extra.iter().find(|rule| rule.name.as_str() == "anthropic-beta").unwrap();
    assert_eq!(beta.mode, HeaderMode::AddToList);
    assert_eq!(beta.value, HeaderText::Fixed("oauth-2025-04-20".parse().unwrap()));
    for wire in [key, login] {
        let version = wire.extra.iter().find(|rule| rule.name.as_str() == "anthropic-version").unwrap();
        assert_eq!(version.mode, HeaderMode::IfAbsent);
    }
}

#[test]
fn the_account_of_a_workspace_is_named_in_a_header() {
    let wire = profile("openai-codex").oauth.as_ref().unwrap();
    let account = wire.extra.iter().find(|rule| rule.name.as_str() == "chatgpt-account-id").unwrap();
    assert_eq!((&account.value, account.mode), (&HeaderText::AccountId, HeaderMode::Set));
    assert!(profile("openai-codex").api_key.is_none());
}

#[test]
fn no_refresh_profile_is_milder_than_what_is_known() {
    for id in ["anthropic", "openai-codex", "kimi-code", "xai-oauth", "cursor"] {
        assert_eq!(profile(id).refresh.as_ref().unwrap().rotation, Rotation::Strict, "{id}");
    }
    for id in ["openai", "google", "openrouter", "litellm", "github-copilot"] {
        assert!(profile(id).refresh.is_none(), "{id}");
    }
    let anthropic = profile("anthropic").refresh.as_ref().unwrap();
    assert_eq!((anthropic.encoding, anthropic.timeout), (TokenEncoding::Json, Duration::from_secs(30)));
    let codex = profile("openai-codex").refresh.as_ref().unwrap();
    assert_eq!((codex.encoding, codex.timeout), (TokenEncoding::Form, Duration::from_secs(15)));
    assert!(codex.dead_codes.contains(&"refresh_token_reused".to_owned()));
    assert!(codex.not_consumed_codes.contains(&"missing_required_parameter".to_owned()));
}

#[test]
fn each_purpose_has_origins_of_its_own() {
    assert_eq!(origins("openai-codex", Purpose::Inference), ["https://chatgpt.com:443"]);
    assert_eq!(origins("openai-codex", Purpose::Usage), ["https://chatgpt.com:443"]);
    assert_eq!(origins("openai-codex", Purpose::Token), ["https://auth.openai.com:443"]);
    assert_eq!(origins("kimi-code", Purpose::Token), ["https://auth.kimi.com:443"]);
    assert!(origins("openai", Purpose::Token).is_empty());
    for profile in Catalogue::builtin().iter() {
        assert_eq!(profile.origins_to_store(), StoredOrigins::Builtin, "{}", profile.id);
    }
}

#[test]
fn every_dialect_has_a_default_provider_that_speaks_it() {
    for (dialect, id) in
        [(Dialect::Messages, "anthropic"), (Dialect::Chat, "openai"), (Dialect::Responses, "openai"), (Dialect::Generate, "google")]
    {
        assert_eq!(Catalogue::builtin().default_for(dialect).unwrap().as_str(), id);
        assert!(profile(id).dialects.contains(&dialect));
    }
}

#[test]
fn a_provider_is_found_by_its_alias() {
    assert_eq!(profile("kimi").id.as_str(), "kimi-code");
    assert!(Catalogue::builtin().get("unknown").is_none());
}

#[test]
fn sessions_are_found_where_agents_write_them() {
    let session = |id: &str| &profile(id).session;
    assert_eq!(session("anthropic").headers[0].as_str(), "x-claude-code-session-id");
    for id in ["openai", "openai-codex"] {
        assert_eq!(session(id).headers[0].as_str(), "session-id");
        assert_eq!(session(id).fields, ["prompt_cache_key"]);
    }
    assert_eq!(session("kimi-code").fields, ["prompt_cache_key"]);
    assert!(Catalogue::builtin().iter().all(|profile| profile.session.headers.iter().any(|name| name == "x-session-id")));
}

#[test]
fn variables_of_logins_are_not_offered_as_keys() {
    assert_eq!(profile("anthropic").env, ["ANTHROPIC_API_KEY"]);
    assert!(profile("openai-codex").env.is_empty());
    let variables = &Catalogue::builtin().environment("openai-codex").unwrap().variables;
    assert_eq!((variables[0].name.as_str(), variables[0].kind), ("OPENAI_CODEX_OAUTH_TOKEN", CredentialKind::OAuth));
}

#[test]
fn a_row_with_several_paths_becomes_a_rule_for_each() {
    let rules = &profile("openai-codex").classes.rules;
    let spark = rules.iter().filter(|rule| rule.scope == RuleScope::Tier("spark".into()));
    assert_eq!(spark.map(|rule| rule.json.as_ref().unwrap().0.as_str()).collect::<Vec<_>>(), ["error.type", "error.code"]);
}

#[test]
fn every_value_says_that_it_is_built_in() {
    let values = Catalogue::builtin().effective_values("kimi");
    let base = values.iter().find(|value| value.key == "providers.kimi-code.base_url").unwrap();
    assert_eq!(base.value, "\"https://api.kimi.com/coding/v1\"");
    assert_eq!(base.place.to_string(), "built-in kimi-code.toml:7:1");
    assert!(values.iter().all(|value| value.place.is_built_in()));
}

#[test]
fn every_key_in_use_is_described_in_the_document() {
    let document = include_str!("../../../docs/catalogue.md");
    for profile in Catalogue::builtin().iter() {
        for value in Catalogue::builtin().effective_values(profile.id.as_str()) {
            let key = value.key.strip_prefix(&format!("providers.{}.", profile.id)).unwrap();
            let mut names = key.split('.').take(2);
            assert!(names.all(|name| document.contains(name)), "{key} is not described");
        }
    }
}

#[test]
fn the_examples_of_the_document_are_a_valid_file() {
    let document = include_str!("../../../docs/catalogue.md");
    let example = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("example.toml"), example).unwrap();
    let catalogue = Catalogue::load(Some(folder.path())).unwrap();
    assert!(catalogue.get("mine").is_some() && catalogue.get("ours").is_some());
}
