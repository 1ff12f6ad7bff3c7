//! The cloud project of a Google login.

use crate::stage::{Fake, Scripted, answer, fresh, told};
use claviger_providers::hooks::{HookError, login_params};
use std::time::Duration;

macro_rules! gemini {
    ($name:literal) => {
        include_str!(concat!("../fixtures/google-gemini-cli/hooks/", $name, ".json"))
    };
}
macro_rules! antigravity {
    ($name:literal) => {
        include_str!(concat!("../fixtures/google-antigravity/hooks/", $name, ".json"))
    };
}

const USERINFO: &str = "GET https://www.googleapis.com/oauth2/v1/userinfo?alt=json";
const LOAD: &str = "POST https://cloudcode-pa.googleapis.com/v1internal:loadCodeAssist";
const ONBOARD: &str = "POST https://cloudcode-pa.googleapis.com/v1internal:onboardUser";
const OPERATION: &str = "GET https://cloudcode-pa.googleapis.com/v1internal/operations/onboard-1";
const DAILY: &str = "POST https://daily-cloudcode-pa.googleapis.com/v1internal:";

fn gemini(script: impl IntoIterator<Item = Scripted>) -> Fake {
    Fake::of("google-gemini-cli", [answer(200, gemini!("userinfo"))].into_iter().chain(script))
}

fn antigravity(script: impl IntoIterator<Item = Scripted>) -> Fake {
    Fake::of("google-antigravity", [answer(200, gemini!("userinfo"))].into_iter().chain(script))
}

#[test]
fn an_account_with_a_project_keeps_it() {
    let fake = gemini([answer(200, gemini!("load_known"))]);
    let login = fake.finish(fresh()).unwrap();
    assert_eq!((login.identity.project_id.as_deref(), login.identity.email.as_deref()), (Some("project-1"), Some("a@x.example")));
    assert_eq!(login.plan.as_deref(), Some("standard-tier"));
    let ledger = fake.ledger();
    assert_eq!(ledger.iter().map(|sent| sent.line.as_str()).collect::<Vec<_>>(), [USERINFO, LOAD]);
    assert!(ledger.iter().all(|sent| sent.authorization == "Bearer canary-at-1"));
    assert_eq!(ledger[1].body, r#"{"metadata":{"ideType":"IDE_UNSPECIFIED","platform":"PLATFORM_UNSPECIFIED","pluginType":"GEMINI"}}"#);
}

#[test]
fn a_company_account_names_its_project_or_is_told_how() {
    let fake = gemini([answer(200, gemini!("load_without_project"))]);
    let error = fake.finish(fresh()).unwrap_err();
    assert!(told(&error).contains("--param project="), "{error}");
    assert_eq!(login_params(fake.profile())[0].name, "project");

    let fake = gemini([answer(200, gemini!("load_without_project"))]);
    let login = fake.finish_with(fresh(), &[("project", "mine-1")]).unwrap();
    assert_eq!(login.identity.project_id.as_deref(), Some("mine-1"));
    let body = fake.ledger().remove(1).body;
    assert!(body.contains(r#""cloudaicompanionProject":"mine-1""#) && body.contains(r#""duetProject":"mine-1""#), "{body}");
}

#[test]
fn a_new_account_of_the_free_tier_gets_a_project_of_googles() {
    let running = || answer(200, gemini!("operation_running"));
    let fake = gemini([answer(200, gemini!("load_new_free")), running(), running(), answer(200, gemini!("operation_done"))]);
    let login = fake.finish_with(fresh(), &[("project", "billed-1")]).unwrap();
    assert_eq!((login.identity.project_id.as_deref(), login.plan.as_deref()), (Some("project-2"), Some("free-tier")));
    assert_eq!(fake.waited(), Duration::from_secs(10));
    let ledger = fake.ledger();
    assert_eq!(ledger.iter().map(|sent| sent.line.as_str()).collect::<Vec<_>>(), [USERINFO, LOAD, ONBOARD, OPERATION, OPERATION]);
    assert!(ledger[2].body.contains(r#""tierId":"free-tier""#) && !ledger[2].body.contains("billed-1"), "{}", ledger[2].body);
}

#[test]
fn another_tier_needs_a_project_of_ones_own() {
    let fake = gemini([answer(200, gemini!("load_new_standard"))]);
    assert!(told(&fake.finish(fresh()).unwrap_err()).contains("--param project="));
    assert_eq!(fake.lines(), [USERINFO, LOAD]);

    let done = r#"{"done":true,"response":{}}"#;
    let fake = gemini([answer(200, gemini!("load_new_standard")), answer(200, done)]);
    let login = fake.finish_with(fresh(), &[("project", "mine-1")]).unwrap();
    assert_eq!((login.identity.project_id.as_deref(), login.plan.as_deref()), (Some("mine-1"), Some("standard-tier")));
}

#[test]
fn a_perimeter_around_the_organisation_counts_as_a_standard_tier() {
    let fake = gemini([answer(403, gemini!("load_fenced"))]);
    let login = fake.finish_with(fresh(), &[("project", "mine-1")]).unwrap();
    assert_eq!((login.identity.project_id.as_deref(), login.plan.as_deref()), (Some("mine-1"), Some("standard-tier")));
}

#[test]
fn a_project_that_is_never_ready_ends_the_wait_after_two_minutes() {
    let running = std::iter::repeat_with(|| answer(200, gemini!("operation_running"))).take(25);
    let fake = gemini([answer(200, gemini!("load_new_free"))].into_iter().chain(running));
    assert!(matches!(fake.finish(fresh()), Err(HookError::TimedOut)));
    assert_eq!(fake.waited(), Duration::from_mins(2));
    assert_eq!(fake.lines().len(), 27);
}

#[test]
fn no_answer_leads_the_token_elsewhere() {
    for name in ["../../evil", "https://evil.example/x", "operations/a?b=c", "//evil.example"] {
        let body = serde_json::json!({ "name": name }).to_string();
        let fake = gemini([answer(200, gemini!("load_new_free")), answer(200, &body)]);
        let error = fake.finish(fresh()).unwrap_err();
        assert!(matches!(error, HookError::Unreadable { .. }), "{error:?}");
        assert_eq!(fake.lines().len(), 3);
    }
}

#[test]
fn refusals_garbage_and_silence_are_told_without_secrets() {
    let scripts = [
        vec![answer(403, r#"{"error":{"message":"canary-body"}}"#)],
        vec![answer(500, "canary-body")],
        vec![answer(200, "<html>canary-body")],
        vec![answer(200, r#"{"currentTier":"canary-body"}"#)],
        vec![Scripted::Unreachable],
        vec![answer(200, gemini!("load_new_free")), answer(403, "canary-body")],
        vec![answer(200, gemini!("load_new_free")), answer(200, gemini!("operation_failed"))],
    ];
    for script in scripts {
        let fake = gemini(script);
        told(&fake.finish(fresh()).unwrap_err());
        fake.ledger();
    }
}

#[test]
fn a_login_without_a_name_is_better_than_none() {
    for nameless in [answer(500, "canary"), answer(200, "canary"), Scripted::Unreachable] {
        let fake = Fake::of("google-gemini-cli", [nameless, answer(200, gemini!("load_known"))]);
        let login = fake.finish(fresh()).unwrap();
        assert_eq!((login.identity.email, login.identity.project_id.as_deref()), (None, Some("project-1")));
    }
}

#[test]
fn antigravity_asks_again_for_the_paid_tier_where_a_project_came_without_one() {
    let fake = antigravity([answer(200, antigravity!("load_unpaid")), answer(200, antigravity!("load_paid"))]);
    let login = fake.finish(fresh()).unwrap();
    assert_eq!((login.identity.project_id.as_deref(), login.plan.as_deref()), (Some("project-3"), Some("g1-pro-tier")));
    let ledger = fake.ledger();
    assert_eq!(ledger[1].body, r#"{"metadata":{"ideType":"ANTIGRAVITY"}}"#);
    assert_eq!(ledger[2].body, r#"{"cloudaicompanionProject":"project-3","metadata":{"ideType":"ANTIGRAVITY"}}"#);
    assert_eq!(ledger[2].line, format!("{DAILY}loadCodeAssist"));
}

#[test]
fn antigravity_sets_a_new_account_up_and_looks_again() {
    let fake = antigravity([
        answer(200, antigravity!("load_new")),
        answer(200, gemini!("operation_running")),
        answer(200, r#"{"done":true}"#),
        answer(200, antigravity!("load_paid")),
    ]);
    let login = fake.finish(fresh()).unwrap();
    assert_eq!(login.identity.project_id.as_deref(), Some("project-3"));
    assert_eq!(fake.waited(), Duration::from_secs(1));
    let ledger = fake.ledger();
    assert_eq!(ledger[2].line, format!("{DAILY}onboardUser"));
    assert_eq!(ledger[2].body, r#"{"metadata":{"ideType":"ANTIGRAVITY"},"tierId":"free-tier"}"#);
}

#[test]
fn an_ineligible_account_is_sent_to_googles_page_and_to_no_other() {
    let fake = antigravity([answer(200, antigravity!("load_ineligible"))]);
    let text = told(&fake.finish(fresh()).unwrap_err());
    assert!(text.contains("https://accounts.google.com/verify?continue=1"), "{text}");

    let elsewhere = antigravity!("load_ineligible").replace("accounts.google.com", "evil.example");
    let fake = antigravity([answer(200, &elsewhere)]);
    let text = told(&fake.finish(fresh()).unwrap_err());
    assert!(!text.contains("evil.example"), "{text}");
}

#[test]
fn antigravity_without_a_project_is_an_error_that_says_what_to_do() {
    let fake = antigravity([answer(200, r#"{"currentTier":{"id":"free-tier"}}"#)]);
    assert!(told(&fake.finish(fresh()).unwrap_err()).contains("another account"));
    let running = std::iter::repeat_with(|| answer(200, gemini!("operation_running"))).take(31);
    let fake = antigravity([answer(200, antigravity!("load_new"))].into_iter().chain(running));
    assert!(matches!(fake.finish(fresh()), Err(HookError::TimedOut)));
    assert_eq!(fake.waited(), Duration::from_secs(30));
}
