//! The reader of token answers: no bytes make it panic, and a token or a death stands in the bytes that it was read from.
#![no_main]

use claviger_domain::profile::{RefreshRule, Rotation, TokenCarry, TokenEncoding, TokenNames};
use claviger_domain::time::Timestamp;
use claviger_oauth::{Outcome, RawParts, read_answer};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

static RULE: LazyLock<RefreshRule> = LazyLock::new(|| {
    let list = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
    RefreshRule {
        url: "https://auth.example/token".parse().expect("a URL"),
        client_id: String::new(),
        client_secret: None,
        encoding: TokenEncoding::Form,
        carry: TokenCarry::Parameter,
        names: TokenNames::default(),
        headers: Vec::new(),
        params: Vec::new(),
        rotation: Rotation::Strict,
        timeout: Duration::from_secs(30),
        dead_codes: list(&["invalid_grant", "refresh_token_reused"]),
        not_consumed_codes: list(&["invalid_request"]),
        dead_statuses: vec![401],
    }
});

// The input is an answer as it stands on the wire, so that the files of the corpus are seeds as they are.
fuzz_target!(|bytes: &[u8]| {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(bytes.len());
    let (head, body) = (&bytes[..end], bytes.get(end + 4..).unwrap_or_default());
    let Ok(head) = std::str::from_utf8(head) else { return };
    let Some(status) = head.split(' ').nth(1).and_then(|status| status.parse().ok()) else { return };
    let header =
        |name: &str| head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| *found == name).map(|(_, value)| value);
    let raw = RawParts { status, date: header("date"), retry_after: header("retry-after"), content_type: header("content-type"), body };
    let outcome = read_answer(&RULE, &raw, NOW);
    match &outcome {
        Outcome::Token(token) => {
            assert!((200..300).contains(&status));
            let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
            if let Ok(value) = serde_json::from_slice::<serde_json::Value>(text) {
                assert_eq!(value["access_token"].as_str(), Some(token.access.expose()));
                assert!(value["error"].is_null() || value["error"] == "");
                if let Some(refresh) = &token.refresh {
                    assert_eq!(value["refresh_token"].as_str(), Some(refresh.expose()));
                }
            }
            assert!(!token.access.expose().trim().is_empty());
            assert!(token.refresh.as_ref().is_none_or(|refresh| !refresh.expose().trim().is_empty()));
            if let Some(at) = token.expires_at(NOW) {
                assert!(at >= NOW && at <= NOW.plus(claviger_oauth::LIFE_MAX));
            }
        }
        Outcome::Dead { code } => {
            assert!(matches!(status, 400 | 401 | 403));
            assert!(["invalid_grant", "refresh_token_reused", "status_401"].contains(&code.as_str()));
        }
        Outcome::Transient { retry_at, .. } => {
            assert!(retry_at.is_none_or(|at| (5..=900).contains(&at.until(NOW).as_secs())));
        }
        Outcome::Ambiguous { .. } => {}
    }
});
