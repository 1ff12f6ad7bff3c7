//! What answers of token endpoints mean, as a table, and what no answer may ever do.
#![expect(clippy::unwrap_used, reason = "what fails in a test may panic")]

use claviger_domain::profile::{RefreshRule, Rotation, TokenCarry, TokenEncoding, TokenNames};
use claviger_domain::time::Timestamp;
use claviger_oauth::{Doubt, LIFE_MAX, Outcome, RawParts, Refusal, TokenAnswer, read_answer};
use proptest::prelude::*;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn rule() -> RefreshRule {
    let list = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
    RefreshRule {
        url: "https://auth.example/token".parse().unwrap(),
        client_id: "client-1".to_owned(),
        client_secret: None,
        encoding: TokenEncoding::Form,
        carry: TokenCarry::Parameter,
        names: TokenNames::default(),
        headers: Vec::new(),
        params: Vec::new(),
        rotation: Rotation::Strict,
        timeout: Duration::from_secs(30),
        dead_codes: list(&["invalid_grant", "refresh_token_reused", "refresh_token_expired"]),
        not_consumed_codes: list(&["temporarily_unavailable", "slow_down", "invalid_client"]),
        dead_statuses: vec![401, 408, 500],
    }
}

fn read(status: u16, content_type: Option<&str>, body: impl AsRef<[u8]>) -> Outcome {
    read_answer(&rule(), &RawParts { status, date: None, retry_after: None, content_type, body: body.as_ref() }, NOW)
}

/// The outcome in one word or two, for the table; a token as access, refresh and life.
fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Token(TokenAnswer { access, refresh, expires_in, scope: _ }) => format!(
            "token {} {} {}",
            access.expose(),
            refresh.as_ref().map_or("-", |refresh| refresh.expose()),
            expires_in.map_or("-".to_owned(), |life| life.as_secs().to_string())
        ),
        Outcome::Dead { code } => format!("dead {code}"),
        Outcome::Transient { why: Refusal::NotConsumed { code }, .. } => format!("transient {code}"),
        Outcome::Transient { why, .. } => format!("transient {why:?}"),
        Outcome::Ambiguous { why: Doubt::Html { .. } } => "ambiguous html".to_owned(),
        Outcome::Ambiguous { why: Doubt::UnknownError { .. } } => "ambiguous unknown".to_owned(),
        Outcome::Ambiguous { why: Doubt::UnexpectedStatus { .. } } => "ambiguous status".to_owned(),
        Outcome::Ambiguous { why } => format!("ambiguous {why:?}"),
    }
}

fn check(table: &[(u16, &str, &str)]) {
    for (status, body, expected) in table {
        assert_eq!(short(&read(*status, Some("application/json"), body)), *expected, "{status} {body}");
    }
}

#[test]
fn a_success_is_a_token_only_if_it_is_complete() {
    check(&[
        (200, r#"{"access_token":"at-1","refresh_token":"rt-2","expires_in":3600,"token_type":"Bearer"}"#, "token at-1 rt-2 3600"),
        (201, r#"{"access_token":"at-1","expires_in":3600}"#, "token at-1 - 3600"),
        (200, r#" {"access_token":"at-1"} "#, "token at-1 - -"),
        (200, "\u{feff}{\"access_token\":\"at-1\"}", "token at-1 - -"),
        (200, r#"{"access_token":"at-1","refresh_token":null,"expires_in":null,"error":null}"#, "token at-1 - -"),
        (200, r#"{"access_token":"at-1","refresh_token":"","error":""}"#, "token at-1 - -"),
        (200, r#"{"access_token":"at-1","x":{"y":[1e999]},"expires_in":60}"#, "token at-1 - 60"),
        (200, r#"{"access_token":"at-0","access_token":"at-1","refresh_token":"rt-1","refresh_token":"rt-2"}"#, "token at-1 rt-2 -"),
        (200, r#"{"access_token":"a\u0074-1"}"#, "token at-1 - -"),
        (200, r#"{"access_token":"at-1","code":"200"}"#, "token at-1 - -"),
        (200, r#"{"access_token":""}"#, "ambiguous Incomplete"),
        (200, r#"{"access_token":null}"#, "ambiguous Incomplete"),
        (200, r#"{"access_token":7}"#, "ambiguous Incomplete"),
        (200, r#"{"access_token":["at-1"]}"#, "ambiguous Incomplete"),
        (200, r#"{"access_token":"at\n1"}"#, "ambiguous Incomplete"),
        (200, r#"{"access_token":"ät-1"}"#, "ambiguous Incomplete"),
        (200, r#"{"access_token":"at-1","refresh_token":7}"#, "ambiguous Incomplete"),
        (200, r#"{"access_token":"at-1","refresh_token":{"token":"rt"}}"#, "ambiguous Incomplete"),
        (200, r#"{"data":{"access_token":"at-1"}}"#, "ambiguous Incomplete"),
        (200, r#"[{"access_token":"at-1"}]"#, "ambiguous Incomplete"),
        (200, r#""at-1""#, "ambiguous Incomplete"),
        (200, "null", "ambiguous Incomplete"),
        (200, "access_token=at-1&expires_in=3600", "ambiguous Incomplete"),
        (200, r#"{"access_token":"at-1","refresh_token":"rt-2""#, "ambiguous Incomplete"),
        (200, r#"{"access_token":"at-1"} trailing"#, "ambiguous Incomplete"),
        (200, "", "ambiguous Incomplete"),
        (204, "", "ambiguous Incomplete"),
        (200, "\u{1f}\u{8b}\u{8}\u{0}", "ambiguous Incomplete"),
        (200, "<html>sign in</html>", "ambiguous Incomplete"),
        (200, r#"{"error":"invalid_grant"}"#, "ambiguous ErrorInSuccess"),
        (200, r#"{"access_token":"at-1","error":"invalid_grant"}"#, "ambiguous ErrorInSuccess"),
        (200, r#"{"access_token":"at-1","error":{"code":"slow_down"}}"#, "ambiguous ErrorInSuccess"),
    ]);
}

#[test]
fn a_life_that_cannot_be_used_does_not_cost_the_token() {
    let ten_years = LIFE_MAX.as_secs().to_string();
    for (written, expected) in [
        ("3600", "3600"),
        ("3599.9", "3599"),
        ("3.6e3", "3600"),
        (r#""3600""#, "3600"),
        (r#"" 3600 ""#, "3600"),
        ("1e999", &ten_years),
        ("18446744073709551616", &ten_years),
        ("0", "-"),
        ("-1", "-"),
        (r#""""#, "-"),
        (r#""inf""#, "-"),
        (r#""NaN""#, "-"),
        (r#""1h""#, "-"),
        ("true", "-"),
        ("[3600]", "-"),
        ("{}", "-"),
    ] {
        let body = format!(r#"{{"access_token":"at-1","expires_in":{written}}}"#);
        assert_eq!(short(&read(200, None, &body)), format!("token at-1 - {expected}"), "{written}");
    }
}

#[test]
fn a_grant_is_dead_only_by_a_listed_code_or_a_status_that_the_rule_lists() {
    check(&[
        (400, r#"{"error":"invalid_grant","error_description":"canary"}"#, "dead invalid_grant"),
        (401, r#"{"error":"INVALID_GRANT"}"#, "dead invalid_grant"),
        (403, r#"{"error":{"code":"refresh_token_reused","message":"canary"}}"#, "dead refresh_token_reused"),
        (400, r#"{"error":{"code":400,"type":"refresh_token_expired"}}"#, "dead refresh_token_expired"),
        (400, r#"{"error":{"code":"","type":"invalid_grant"}}"#, "dead invalid_grant"),
        (400, r#"{"code":"refresh_token_reused"}"#, "dead refresh_token_reused"),
        (400, "\u{feff}{\"error\":\"invalid_grant\"}", "dead invalid_grant"),
        (401, "", "dead status_401"),
        (401, " \r\n", "dead status_401"),
        (401, "{}", "dead status_401"),
        (401, r#"{"detail":"canary"}"#, "dead status_401"),
        (401, "[]", "dead status_401"),
        (401, "Unauthorized", "ambiguous unknown"),
        (401, r#"{"error":"invalid_gr"#, "ambiguous unknown"),
        (401, "<!doctype html><p>invalid_grant", "ambiguous html"),
        (403, "<html>revoked captcha</html>", "ambiguous html"),
        (403, "", "ambiguous unknown"),
        (401, r#"{"error":"something_new"}"#, "ambiguous unknown"),
        (400, r#"{"error":"invalid_request"}"#, "ambiguous unknown"),
        (400, r#"{"error":["invalid_grant"]}"#, "ambiguous unknown"),
        (400, r#"["invalid_grant"]"#, "ambiguous unknown"),
        (400, r#""invalid_grant""#, "ambiguous unknown"),
        (400, r#"{"error_description":"invalid_grant: token revoked"}"#, "ambiguous unknown"),
        (404, r#"{"error":"invalid_grant"}"#, "ambiguous unknown"),
        (408, "", "ambiguous unknown"),
        (422, r#"{"error":"invalid_grant"}"#, "ambiguous unknown"),
        (500, r#"{"error":"invalid_grant"}"#, "ambiguous status"),
        (500, "", "ambiguous status"),
        (302, "", "ambiguous status"),
    ]);
    assert_eq!(short(&read(400, Some("text/html; charset=utf-8"), r#"{"error":"invalid_grant"}"#)), "ambiguous html");
    assert_eq!(short(&read(401, Some("Text/HTML"), "")), "ambiguous html");
    assert_eq!(short(&read(400, None, r#"{"error":"invalid_grant"}"#)), "dead invalid_grant");
    assert_eq!(short(&read(401, None, b"\xff\xfe{}")), "ambiguous unknown");
}

#[test]
fn a_refusal_is_transient_only_where_the_token_was_provably_not_consumed() {
    check(&[
        (400, r#"{"error":"slow_down"}"#, "transient slow_down"),
        (401, r#"{"error":"Invalid_Client"}"#, "transient invalid_client"),
        (409, r#"{"error":{"type":"temporarily_unavailable"}}"#, "transient temporarily_unavailable"),
        (429, "", "transient TooManyRequests"),
        (429, "<html>slow</html>", "transient TooManyRequests"),
        (429, r#"{"error":"invalid_grant"}"#, "transient TooManyRequests"),
        (503, r#"{"error":"temporarily_unavailable"}"#, "transient Unavailable"),
        (503, r#"{"message":"token revoked"}"#, "transient Unavailable"),
        (503, "<html>revoked invalid_grant</html>", "ambiguous html"),
        (503, "", "ambiguous status"),
        (503, "[]", "ambiguous status"),
        (500, r#"{"error":"temporarily_unavailable"}"#, "ambiguous status"),
        (502, "<html>bad gateway</html>", "ambiguous html"),
        (504, "", "ambiguous status"),
    ]);
}

#[test]
fn a_retry_is_told_by_the_answers_own_clock() {
    let raw = RawParts {
        status: 429,
        date: Some("Sun, 06 Nov 1994 08:49:37 GMT"),
        retry_after: Some("Sun, 06 Nov 1994 08:51:37 GMT"),
        content_type: None,
        body: b"",
    };
    let Outcome::Transient { retry_at, .. } = read_answer(&rule(), &raw, NOW) else { panic!("429 is transient") };
    assert_eq!(retry_at, Some(NOW.plus(Duration::from_mins(2))));
}

#[test]
fn deep_nesting_ends_nothing_and_hides_no_token() {
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    assert_eq!(short(&read(200, None, format!(r#"{{"access_token":"at-1","x":{deep}}}"#))), "token at-1 - -");
    assert_eq!(short(&read(400, None, format!(r#"{{"error":{deep}}}"#))), "ambiguous unknown");
    assert_eq!(short(&read(200, None, &deep)), "ambiguous Incomplete");
}

#[test]
fn no_output_shows_what_the_body_said() {
    for (status, body) in [
        (200, r#"{"access_token":"canary-1","refresh_token":"canary-2","scope":"canary-3"}"#),
        (200, r#"{"access_token":"canary-1","error":"canary-2"}"#),
        (400, r#"{"error":"canary-1"}"#),
        (400, r#"{"error":"invalid_grant","error_description":"canary-1"}"#),
    ] {
        let outcome = read(status, None, body);
        let words = match &outcome {
            Outcome::Transient { why, .. } => why.to_string(),
            Outcome::Ambiguous { why } => why.to_string(),
            Outcome::Token(_) | Outcome::Dead { .. } => String::new(),
        };
        assert!(!format!("{outcome:?} {words}").contains("canary"), "{outcome:?}");
    }
}

#[test]
fn an_expiry_counts_from_the_send_and_has_a_bound() {
    let Outcome::Token(token) = read(200, None, r#"{"access_token":"at-1","expires_in":60}"#) else { panic!("a token") };
    assert_eq!(token.expires_at(NOW), Some(NOW.plus(Duration::from_mins(1))));
    let Outcome::Token(token) = read(200, None, r#"{"access_token":"at-1"}"#) else { panic!("a token") };
    assert_eq!(token.expires_at(NOW), None);
    // {"iat":1000,"exp":4600} and {"exp":99999999999}
    for (claims, expected) in
        [("eyJpYXQiOjEwMDAsImV4cCI6NDYwMH0", NOW.plus(Duration::from_hours(1))), ("eyJleHAiOjk5OTk5OTk5OTk5fQ", NOW.plus(LIFE_MAX))]
    {
        let Outcome::Token(token) = read(200, None, format!(r#"{{"access_token":"e30.{claims}.sig"}}"#)) else { panic!("a token") };
        assert_eq!(token.expires_at(NOW), Some(expected), "{claims}");
    }
    // {"exp":4600}: long over by our clock, and handed out a moment ago.
    let Outcome::Token(token) = read(200, None, r#"{"access_token":"e30.eyJleHAiOjQ2MDB9.sig"}"#) else { panic!("a token") };
    assert_eq!(token.expires_at(NOW), None);
}

/// JSON-like noise: it reaches further into the reader than random bytes do.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\\u00",
        "null",
        "-0",
        "<",
        " ",
        "\u{feff}",
        "\"access_token\"",
        "\"refresh_token\"",
        "\"expires_in\"",
        "\"error\"",
        "\"code\"",
        "\"invalid_grant\"",
        "\"at-1\"",
        "{\"error\":",
        "{\"access_token\":\"at-1\"}",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(word, 0..24).prop_map(|words| words.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic_or_give_a_token_without_an_object_that_holds_one(
        status in 100_u16..600,
        body in noise(),
        retry_after in prop::option::of(".{0,40}"),
        content_type in prop::option::of(".{0,20}"),
    ) {
        let raw = RawParts { status, date: None, retry_after: retry_after.as_deref(), content_type: content_type.as_deref(), body: &body };
        let outcome = read_answer(&rule(), &raw, NOW);
        if let Outcome::Token(token) = &outcome {
            prop_assert!((200..300).contains(&status));
            let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body);
            let value: serde_json::Value = serde_json::from_slice(text).unwrap();
            prop_assert_eq!(value["access_token"].as_str(), Some(token.access.expose()));
            prop_assert!(value["error"].is_null() || value["error"] == "");
        }
        if matches!(outcome, Outcome::Dead { .. }) {
            prop_assert!(matches!(status, 400 | 401 | 403));
        }
        if let Outcome::Transient { retry_at: Some(at), .. } = outcome {
            prop_assert!((5..=900).contains(&at.until(NOW).as_secs()));
        }
    }
}
