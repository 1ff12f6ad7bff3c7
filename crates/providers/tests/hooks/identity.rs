//! Who an account is: what the tokens claim, what a userinfo endpoint adds, and which hooks the catalogue gives to whom.

use crate::stage::{Fake, Scripted, answer, fresh, jwt};
use claviger_domain::identity::Identity;
use claviger_domain::secret::SecretText;
use claviger_providers::catalogue::Catalogue;
use claviger_providers::hooks::{login_params, vendor_login};

const PROFILE: &str = include_str!("../fixtures/anthropic/hooks/profile.json");
const USERINFO: &str = include_str!("../fixtures/xai-oauth/hooks/userinfo.json");

#[test]
fn claims_are_read_from_the_access_token_then_the_id_token_then_the_refresh_token() {
    let auth = |account: &str| format!(r#"{{"https://api.openai.com/auth":{{"chatgpt_account_id":"{account}"}}}}"#);
    let table = [
        (auth("of-access"), Some(auth("of-id")), Some(auth("of-refresh")), Some("of-access")),
        ("{}".to_owned(), Some(auth("of-id")), Some(auth("of-refresh")), Some("of-id")),
        ("{}".to_owned(), None, Some(auth("of-refresh")), Some("of-refresh")),
        ("[]".to_owned(), Some("{".to_owned()), Some("7".to_owned()), None),
    ];
    for (access, id, refresh, account) in table {
        let mut login = fresh();
        login.access = SecretText::new(jwt(&access));
        login.id_token = id.map(|claims| SecretText::new(jwt(&claims)));
        login.refresh = refresh.map(|claims| SecretText::new(jwt(&claims)));
        let login = Fake::of("openai-codex", []).finish(login).unwrap();
        assert_eq!(login.identity.account_id.as_deref(), account);
    }
}

#[test]
fn what_the_answer_to_the_login_said_is_not_asked_again() {
    let mut login = fresh();
    (login.identity.account_id, login.identity.org_id) = (Some("acc-0".to_owned()), Some("org-0".to_owned()));
    let login = Fake::of("anthropic", []).finish(login).unwrap();
    assert_eq!(login.identity.account_id.as_deref(), Some("acc-0"));
}

#[test]
fn a_profile_fills_what_the_answer_left_out() {
    let mut login = fresh();
    login.identity.account_id = Some("acc-0".to_owned());
    let fake = Fake::of("anthropic", [answer(200, PROFILE)]);
    let identity = fake.finish(login).unwrap().identity;
    assert_eq!(identity.key().as_deref(), Some("email:a@x.example|org:org-1"));
    assert_eq!((identity.account_id.as_deref(), identity.org_name.as_deref()), (Some("acc-0"), Some("Org")));
    assert_eq!(fake.lines(), ["GET https://api.anthropic.com/api/oauth/profile"]);
}

#[test]
fn a_userinfo_endpoint_names_who_the_token_does_not() {
    let fake = Fake::of("xai-oauth", [answer(200, USERINFO)]);
    let identity = fake.finish(fresh()).unwrap().identity;
    assert_eq!((identity.account_id.as_deref(), identity.email.as_deref()), (Some("user-1"), Some("a@x.example")));
    assert_eq!(fake.lines(), ["GET https://auth.x.ai/oauth2/userinfo"]);
}

#[test]
fn names_that_would_steer_a_terminal_or_fill_a_table_are_dropped() {
    let long = "x".repeat(300);
    for email in ["\u{1b}[2J", long.as_str(), "  "] {
        let body = serde_json::json!({ "sub": email, "email": email }).to_string();
        let login = Fake::of("xai-oauth", [answer(200, &body)]).finish(fresh()).unwrap();
        assert_eq!(login.identity, Identity::default());
    }
}

#[test]
fn an_unreachable_profile_does_not_end_a_login() {
    for (provider, bad) in [("anthropic", Scripted::Unreachable), ("xai-oauth", answer(401, "canary"))] {
        let login = Fake::of(provider, [bad]).finish(fresh()).unwrap();
        assert_eq!((login.identity, login.access.expose()), (Identity::default(), "canary-at-1"));
    }
}

#[test]
fn the_catalogue_names_kimis_owner_by_claims_alone() {
    let mut login = fresh();
    login.access = SecretText::new(jwt(r#"{"sub":"s-1","user_id":"u-1"}"#));
    let login = Fake::of("kimi-code", []).finish(login).unwrap();
    assert_eq!(login.identity.account_id.as_deref(), Some("u-1"));
}

#[test]
fn every_hook_of_the_catalogue_has_what_it_needs() {
    let hooks: Vec<_> = Catalogue::builtin()
        .iter()
        .filter(|profile| !profile.hook_urls.is_empty())
        .map(|profile| (profile.id.as_str(), profile.hook_urls.keys().map(String::as_str).collect::<Vec<_>>().join(" ")))
        .collect();
    let expected = [
        ("anthropic", "anthropic-profile"),
        ("cursor", "cursor-page cursor-poll"),
        ("github-copilot", "copilot-user github-user"),
        ("google-antigravity", "antigravity-code-assist userinfo"),
        ("google-gemini-cli", "gemini-code-assist userinfo"),
        ("openai-codex", "codex-device codex-device-page"),
        ("xai-oauth", "userinfo"),
        ("zai", "zai-business zai-business-login"),
    ];
    assert_eq!(hooks.iter().map(|(id, names)| (*id, names.as_str())).collect::<Vec<_>>(), expected);
    for (hook, provider) in [("codex-device", "openai-codex"), ("cursor-poll", "cursor")] {
        let login = |provider: &str| vendor_login(hook, Catalogue::builtin().get(provider).unwrap(), [0; 64]);
        assert!(login(provider).is_some());
        assert!(login("openai").is_none());
    }
    assert!(vendor_login("no-such-hook", Catalogue::builtin().get("cursor").unwrap(), [0; 64]).is_none());
    assert!(login_params(Catalogue::builtin().get("cursor").unwrap()).is_empty());
}
