//! How the catalogue's odd providers refresh: what is sent, and what comes out of the answer.

use claviger_domain::profile::{RefreshRule, Rotation, TokenCarry};
use claviger_domain::time::Timestamp;
use claviger_oauth::{Outcome, RawParts, RefreshToken, TokenAnswer, read_answer, refresh_request};
use claviger_providers::catalogue::Catalogue;

use crate::stage::{START, jwt};
use std::time::Duration;

fn rule(provider: &str) -> RefreshRule {
    Catalogue::builtin().get(provider).unwrap().refresh.clone().expect("it refreshes")
}

fn sent(provider: &str) -> (String, Option<String>, String) {
    let rule = rule(provider);
    let request = refresh_request(&rule, &RefreshToken::new("canary-rt-1".to_owned())).unwrap();
    let bearer = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = String::from_utf8(request.body().to_vec()).unwrap();
    (format!("{}{}", rule.url.origin, request.uri()), bearer, body)
}

fn answered(provider: &str, body: &str) -> TokenAnswer {
    let raw = RawParts { status: 200, date: None, retry_after: None, content_type: Some("application/json"), body: body.as_bytes() };
    match read_answer(&rule(provider), &raw, START) {
        Outcome::Token(token) => token,
        other => panic!("no token: {other:?}"),
    }
}

#[test]
fn cursor_gets_its_refresh_token_as_bearer_beside_an_empty_object() {
    let (url, bearer, body) = sent("cursor");
    assert_eq!(url, "https://api2.cursor.sh:443/auth/exchange_user_api_key");
    assert_eq!((bearer.as_deref(), body.as_str()), (Some("Bearer canary-rt-1"), "{}"));
    assert_eq!(rule("cursor").carry, TokenCarry::Bearer);
}

#[test]
fn an_empty_refresh_token_of_cursor_keeps_the_old_one_and_the_token_says_when_it_ends() {
    let access = jwt(r#"{"iat":1000,"exp":8200}"#);
    let token = answered("cursor", &format!(r#"{{"accessToken":"{access}","refreshToken":""}}"#));
    assert!(token.refresh.is_none());
    assert_eq!(token.expires_at(START), Some(START.plus(Duration::from_hours(2))));
    let rotated = answered("cursor", r#"{"accessToken":"at-2","refreshToken":"rt-2"}"#);
    assert_eq!((rotated.access.expose(), rotated.refresh.as_ref().map(RefreshToken::expose)), ("at-2", Some("rt-2")));
    let none: Option<Timestamp> = rotated.expires_at(START);
    assert_eq!(none, None);
}

#[test]
fn the_standard_members_are_none_of_cursors() {
    let raw = RawParts { status: 200, date: None, retry_after: None, content_type: None, body: br#"{"access_token":"at-1"}"# };
    assert!(matches!(read_answer(&rule("cursor"), &raw, START), Outcome::Ambiguous { .. }));
}

#[test]
fn codex_gets_its_client_id() {
    let (url, bearer, body) = sent("openai-codex");
    assert_eq!((url.as_str(), bearer), ("https://auth.openai.com:443/oauth/token", None));
    assert_eq!(body, "grant_type=refresh_token&refresh_token=canary-rt-1&client_id=app_EMoamEEZ73f0CkXaXp7hrann");
}

#[test]
fn google_keeps_its_refresh_token_where_the_answer_has_none() {
    for provider in ["google-gemini-cli", "google-antigravity"] {
        let (url, _, body) = sent(provider);
        assert_eq!(url, "https://oauth2.googleapis.com:443/token");
        assert!(body.contains("&client_secret=GOCSPX-"), "{provider}");
        assert_eq!(rule(provider).rotation, Rotation::NonRotating);
        assert!(answered(provider, r#"{"access_token":"at-2","expires_in":3599}"#).refresh.is_none());
    }
}

#[test]
fn no_answer_moves_the_refresh_token_of_xai() {
    let rule = rule("xai-oauth");
    assert_eq!(rule.url.to_string(), "https://auth.x.ai:443/oauth2/token");
    assert_eq!(rule.rotation, Rotation::Strict);
    let profile = Catalogue::builtin().get("xai-oauth").unwrap();
    assert_eq!(profile.origins.token.iter().map(ToString::to_string).collect::<Vec<_>>(), ["https://auth.x.ai:443"]);
}

#[test]
fn githubs_token_lasts_and_is_never_refreshed() {
    assert!(Catalogue::builtin().get("github-copilot").unwrap().refresh.is_none());
}
