//! OpenAI's device login.

use crate::stage::{Fake, START, Scripted, answer, at_once, jwt, told};
use claviger_domain::secret::SecretText;
use claviger_providers::hooks::{HookError, VendorLogin, VendorStep, vendor_login};
use std::time::Duration;

const STARTED: &str = include_str!("../fixtures/openai-codex/hooks/device_started.json");
const TYPED: &str = include_str!("../fixtures/openai-codex/hooks/device_typed.json");

const START_LINE: &str = "POST https://auth.openai.com/api/accounts/deviceauth/usercode";
const POLL_LINE: &str = "POST https://auth.openai.com/api/accounts/deviceauth/token";

fn begin(fake: &Fake) -> Box<dyn VendorLogin> {
    vendor_login("codex-device", fake.profile(), [7; 64]).expect("the catalogue names the hook")
}

fn step(login: &mut Box<dyn VendorLogin>, fake: &Fake) -> Result<VendorStep, HookError> {
    at_once(login.step(fake))
}

fn shown(fake: &Fake) -> Box<dyn VendorLogin> {
    let mut login = begin(fake);
    let step = step(&mut login, fake).unwrap();
    assert!(matches!(step, VendorStep::Show { .. }), "{step:?}");
    login
}

fn tokens() -> String {
    let access = jwt(r#"{"https://api.openai.com/auth":{"chatgpt_account_id":"ws-1"},"iat":1000,"exp":865000}"#);
    let id = jwt(r#"{"email":"A@X.example","https://api.openai.com/auth":{"chatgpt_plan_type":"Pro"}}"#);
    format!(r#"{{"access_token":"{access}","refresh_token":"canary-rt-1","id_token":"{id}"}}"#)
}

#[test]
fn a_code_is_shown_polled_for_and_exchanged_with_the_verifier_that_came_with_it() {
    let fake =
        Fake::of("openai-codex", [answer(200, STARTED), answer(403, "{}"), answer(404, ""), answer(200, TYPED), answer(200, &tokens())]);
    let mut login = begin(&fake);
    let VendorStep::Show { url, user_code, poll_after, ends_at } = step(&mut login, &fake).unwrap() else { panic!("no code") };
    assert_eq!((url.as_str(), user_code.as_deref()), ("https://auth.openai.com/codex/device", Some("WXYZ-9876")));
    assert_eq!(poll_after, Duration::from_secs(8));
    assert_eq!(ends_at, START.plus(Duration::from_mins(16)));
    for _ in 0..2 {
        assert!(matches!(step(&mut login, &fake).unwrap(), VendorStep::Pending(wait) if wait == poll_after));
    }
    let VendorStep::Done(fresh) = step(&mut login, &fake).unwrap() else { panic!("not done") };
    assert_eq!(fresh.expires_at, Some(START.plus(Duration::from_hours(240))));
    let fresh = fake.finish(*fresh).unwrap();
    assert_eq!((fresh.identity.account_id.as_deref(), fresh.identity.email.as_deref()), (Some("ws-1"), Some("a@x.example")));
    assert_eq!((fresh.plan.as_deref(), fresh.refresh.as_ref().map(SecretText::expose)), (Some("pro"), Some("canary-rt-1")));

    let ledger = fake.ledger();
    let lines: Vec<_> = ledger.iter().map(|sent| sent.line.as_str()).collect();
    assert_eq!(lines, [START_LINE, POLL_LINE, POLL_LINE, POLL_LINE, "POST https://auth.openai.com/oauth/token"]);
    assert_eq!(ledger[0].body, r#"{"client_id":"app_EMoamEEZ73f0CkXaXp7hrann"}"#);
    assert_eq!(ledger[1].body, r#"{"device_auth_id":"canary-device-auth-1","user_code":"WXYZ-9876"}"#);
    assert_eq!(
        ledger[4].body,
        "grant_type=authorization_code&client_id=app_EMoamEEZ73f0CkXaXp7hrann&code=canary-code-1&code_verifier=canary-verifier-1\
         &redirect_uri=https%3A%2F%2Fauth.openai.com%2Fdeviceauth%2Fcallback"
    );
}

#[test]
fn an_account_without_device_codes_is_told_where_to_enable_them() {
    let fake = Fake::of("openai-codex", [answer(404, "canary-body")]);
    let error = step(&mut begin(&fake), &fake).unwrap_err();
    assert!(told(&error).contains("enable them in the security settings"), "{error}");
}

#[test]
fn garbage_for_a_code_is_unreadable() {
    for body in ["<html>canary-body", r#"{"user_code":"canary-body"}"#, r#"{"device_auth_id":"a b","user_code":"x"}"#] {
        let fake = Fake::of("openai-codex", [answer(200, body)]);
        let error = step(&mut begin(&fake), &fake).unwrap_err();
        assert!(matches!(error, HookError::Unreadable { .. }), "{error:?}");
        told(&error);
    }
    let steering = r#"{"device_auth_id":"d","user_code":"\u001b[2J"}"#;
    let fake = Fake::of("openai-codex", [answer(200, steering)]);
    assert!(matches!(step(&mut begin(&fake), &fake), Err(HookError::Unreadable { .. })));
}

#[test]
fn a_poll_may_fail_twice_in_a_row_and_not_three_times() {
    let bad = || [answer(503, "canary-body"), Scripted::Unreachable];
    let script = [answer(200, STARTED)].into_iter().chain(bad()).chain([answer(403, "{}")]).chain(bad()).chain([answer(429, "canary")]);
    let fake = Fake::of("openai-codex", script);
    let mut login = shown(&fake);
    for _ in 0..5 {
        assert!(matches!(step(&mut login, &fake).unwrap(), VendorStep::Pending(_)));
    }
    told(&step(&mut login, &fake).unwrap_err());
    assert_eq!(fake.lines().len(), 7);
}

#[test]
fn a_code_that_nobody_types_in_ends_the_login() {
    let pending = std::iter::repeat_with(|| answer(403, "{}")).take(120);
    let fake = Fake::of("openai-codex", [answer(200, STARTED)].into_iter().chain(pending));
    let mut login = shown(&fake);
    for _ in 0..120 {
        assert!(matches!(step(&mut login, &fake).unwrap(), VendorStep::Pending(_)));
    }
    assert!(matches!(step(&mut login, &fake), Err(HookError::TimedOut)));
    assert_eq!(fake.lines().len(), 121);
}

#[test]
fn a_refused_exchange_names_its_code_and_nothing_else() {
    let refused = r#"{"error":"invalid_grant","error_description":"canary-body"}"#;
    let fake = Fake::of("openai-codex", [answer(200, STARTED), answer(200, TYPED), answer(400, refused)]);
    let mut login = shown(&fake);
    let error = step(&mut login, &fake).unwrap_err();
    assert!(told(&error).contains("invalid_grant"), "{error}");
}

#[test]
fn an_exchange_without_an_answer_may_be_asked_for_again() {
    let fake = Fake::of("openai-codex", [answer(200, STARTED), answer(200, TYPED), Scripted::Unreachable, answer(200, &tokens())]);
    let mut login = shown(&fake);
    told(&step(&mut login, &fake).unwrap_err());
    assert!(matches!(step(&mut login, &fake).unwrap(), VendorStep::Done(_)));
    assert_eq!(fake.lines().iter().filter(|line| *line == POLL_LINE).count(), 1);
}
