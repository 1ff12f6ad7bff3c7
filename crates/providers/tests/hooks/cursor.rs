//! Cursor's login.

use crate::stage::{Fake, START, Scripted, answer, at_once, jwt, told};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claviger_domain::secret::SecretText;
use claviger_providers::hooks::{HookError, VendorLogin, VendorStep, vendor_login};
use std::collections::BTreeMap;
use std::time::Duration;

const CONFIRMED: &str = include_str!("../fixtures/cursor/hooks/confirmed.json");

fn begin(fake: &Fake) -> Box<dyn VendorLogin> {
    vendor_login("cursor-poll", fake.profile(), [7; 64]).expect("the catalogue names the hook")
}

fn step(login: &mut Box<dyn VendorLogin>, fake: &Fake) -> Result<VendorStep, HookError> {
    at_once(login.step(fake))
}

fn shown(fake: &Fake) -> (Box<dyn VendorLogin>, String) {
    let mut login = begin(fake);
    let VendorStep::Show { url, user_code: None, poll_after, .. } = step(&mut login, fake).unwrap() else { panic!("no page") };
    assert_eq!(poll_after, Duration::from_secs(1));
    (login, url)
}

fn fields(query: &str) -> BTreeMap<&str, &str> {
    query.split('&').filter_map(|field| field.split_once('=')).collect()
}

#[test]
fn the_page_gets_the_challenge_and_the_poll_the_verifier() {
    let fake = Fake::of("cursor", [answer(404, ""), answer(200, CONFIRMED)]);
    let (mut login, url) = shown(&fake);
    assert!(matches!(step(&mut login, &fake).unwrap(), VendorStep::Pending(_)));
    let VendorStep::Done(fresh) = step(&mut login, &fake).unwrap() else { panic!("not done") };
    assert_eq!((fresh.access.expose(), fresh.refresh.as_ref().map(SecretText::expose)), ("canary-at-1", Some("canary-rt-1")));
    // The token does not say when it ends.
    assert_eq!(fresh.expires_at, Some(START.plus(Duration::from_hours(1))));

    let (page, query) = url.split_once('?').unwrap();
    assert_eq!(page, "https://cursor.com/loginDeepControl");
    let page = fields(query);
    assert_eq!((page["mode"], page["redirectTarget"]), ("login", "cli"));
    assert_eq!(URL_SAFE_NO_PAD.decode(page["challenge"]).unwrap().len(), 32);
    assert_eq!(page["uuid"].split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert_eq!(page["uuid"].chars().nth(14), Some('4'));
    for line in fake.lines() {
        let (address, query) = line.split_once('?').unwrap();
        assert_eq!(address, "GET https://api2.cursor.sh/auth/poll");
        let poll = fields(query);
        assert_eq!(poll["uuid"], page["uuid"]);
        assert_eq!(poll["verifier"], URL_SAFE_NO_PAD.encode([7; 64]));
        assert_ne!(poll["verifier"], page["challenge"]);
    }
}

#[test]
fn the_end_of_the_token_and_its_owner_are_what_the_token_says() {
    let access = jwt(r#"{"sub":"auth0|user_1","iat":1000,"exp":8200}"#);
    let body = format!(r#"{{"accessToken":"{access}","refreshToken":""}}"#);
    let fake = Fake::of("cursor", [answer(200, &body)]);
    let (mut login, _) = shown(&fake);
    let VendorStep::Done(fresh) = step(&mut login, &fake).unwrap() else { panic!("not done") };
    assert_eq!(fresh.expires_at, Some(START.plus(Duration::from_hours(2))));
    assert!(fresh.refresh.is_none());
    assert_eq!(fake.finish(*fresh).unwrap().identity.account_id.as_deref(), Some("auth0|user_1"));
}

#[test]
fn the_waits_grow_up_to_ten_seconds_and_end_after_150_polls() {
    let fake = Fake::of("cursor", std::iter::repeat_with(|| answer(404, "")).take(150));
    let (mut login, _) = shown(&fake);
    let mut waits = Vec::new();
    for _ in 0..150 {
        let VendorStep::Pending(wait) = step(&mut login, &fake).unwrap() else { panic!("not pending") };
        waits.push(wait);
    }
    assert_eq!(waits[..2], [Duration::from_millis(1200), Duration::from_millis(1440)]);
    assert!(waits.is_sorted());
    assert_eq!(waits.last(), Some(&Duration::from_secs(10)));
    assert!(matches!(step(&mut login, &fake), Err(HookError::TimedOut)));
}

#[test]
fn three_failures_in_a_row_end_the_login_and_name_no_verifier() {
    let fake = Fake::of(
        "cursor",
        [answer(500, "canary"), Scripted::Unreachable, answer(404, ""), Scripted::Unreachable, answer(500, ""), Scripted::Unreachable],
    );
    let (mut login, _) = shown(&fake);
    for _ in 0..5 {
        assert!(matches!(step(&mut login, &fake).unwrap(), VendorStep::Pending(_)));
    }
    let text = told(&step(&mut login, &fake).unwrap_err());
    assert!(!text.contains(&URL_SAFE_NO_PAD.encode([7; 64])), "{text}");
}

#[test]
fn garbage_for_tokens_ends_the_login() {
    for body in ["<html>canary", r#"{"accessToken":"","refreshToken":"canary"}"#, r#"["canary"]"#] {
        let fake = Fake::of("cursor", [answer(200, body)]);
        let (mut login, _) = shown(&fake);
        told(&step(&mut login, &fake).unwrap_err());
    }
}
