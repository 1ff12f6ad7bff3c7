//! Saved resets: what is listed, which one is taken, and what each answer to a redemption means.

use crate::stage::{FakeProvider, NOW, now_or_never, profile, stage};
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use claviger_providers::credits::{self, RedeemOutcome, ResetProgram, ResetState, SavedReset, SavedResets};
use claviger_providers::hooks::{HookError, LiveCredential};
use proptest::prelude::*;
use serde_json::{Value, json};

const WEEK_MS: i64 = 7 * 24 * 3600 * 1000;

/// Runs one call with a live credential of a provider against answers, and says what was asked.
fn with<T>(provider: &str, answers: &[(u16, Value)], call: impl AsyncFnOnce(&LiveCredential<'_>, &FakeProvider) -> T) -> (T, String) {
    let answers: Vec<Value> = answers.iter().map(|(status, body)| json!({ "status": status, "body": body })).collect();
    let case = json!({ "kind": "oauth", "identity": { "account_id": "ws-1", "email": "a@x.example", "org_id": "org-1/../x" }, "answers": answers });
    let (http, identity, is_key) = stage(&case);
    let secret = SecretText::new("at-1".to_owned());
    let credential = LiveCredential { profile: profile(provider), secret: &secret, is_key, identity: &identity };
    let value = now_or_never(call(&credential, &http));
    (value, http.asked())
}

fn list(provider: &str, answers: &[(u16, Value)]) -> (Result<Option<SavedResets>, HookError>, String) {
    with(provider, answers, async |credential, http| credits::list(credential, http).await)
}

fn reset(id: &str, program: ResetProgram, expires_at: Option<Timestamp>) -> SavedReset {
    SavedReset { id: id.into(), program, title: None, state: ResetState::Available, left: 1, granted_at: None, expires_at }
}

#[test]
fn credits_are_listed_with_the_account_and_the_lost_ones_are_told_apart() {
    let answer = json!({ "available_count": 2, "credits": [
        { "id": "c-late", "status": "available", "granted_at": "2026-11-01T00:00:00Z", "expires_at": "2026-12-30T00:00:00Z", "title": "Full reset\u{1b}[2J" },
        { "id": "c-used", "status": "redeemed", "redeemed_at": "2026-11-02T00:00:00Z" },
        { "id": "c-lost", "status": "available", "expires_at": "2026-11-21T00:00:00Z" },
        { "id": "c-undated", "status": "available", "expires_at": null },
        { "id": "c-soon", "status": "available", "expires_at": "2026-12-01T00:00:00Z" },
        { "id": "", "status": "available" },
    ]});
    let (listed, asked) = list("openai-codex", &[(200, answer)]);
    let listed = listed.unwrap().unwrap();
    assert_eq!(
        asked,
        "GET https://chatgpt.com:443/backend-api/wham/rate-limit-reset-credits\n  authorization: Bearer at-1\n  chatgpt-account-id: ws-1\n"
    );
    assert_eq!(listed.available, Some(2));
    let states: Vec<_> = listed.resets.iter().map(|reset| (reset.id.as_str(), reset.state)).collect();
    let (yes, gone) = (ResetState::Available, ResetState::Gone);
    assert_eq!(states, [("c-late", yes), ("c-used", gone), ("c-lost", gone), ("c-undated", yes), ("c-soon", yes)]);
    assert_eq!(listed.resets[0].title.as_deref(), Some("Full reset[2J"));
    assert_eq!(credits::pick(&listed.resets, NOW).map(|reset| reset.id.as_str()), Some("c-soon"));
}

#[test]
fn the_reset_that_is_lost_soonest_is_taken_and_undated_ones_last() {
    let dated = |id: &str, after| reset(id, ResetProgram::CodexCredit, Some(Timestamp(NOW.0 + after)));
    let undated = || reset("undated", ResetProgram::CodexCredit, None);
    let picked = |resets: &[SavedReset]| credits::pick(resets, NOW).map(|reset| reset.id.clone());
    assert_eq!(picked(&[undated(), dated("later", 2 * WEEK_MS), dated("soon", WEEK_MS)]).as_deref(), Some("soon"));
    assert_eq!(picked(&[undated(), dated("lost", -1)]).as_deref(), Some("undated"));
    assert_eq!(picked(&[SavedReset { state: ResetState::NeedsLimit, ..undated() }, SavedReset { left: 0, ..undated() }]), None);
}

#[test]
fn grants_are_listed_from_both_programs_and_null_is_not_none() {
    let grant = |id: &str, more: Value| {
        let mut grant = json!({ "id": id, "label": "Reset", "resets_left": 2, "resets_total": 2, "starts_at": "2026-11-01T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z", "usable_now": true });
        grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        grant
    };
    let ember = json!({ "cedar_ember": { "eligible": true, "cooldown_until": null, "next_grant_id": "g-1", "grants": [
        grant("g-1", json!({})),
        grant("g-paused", json!({ "paused": true })),
        grant("g-used", json!({ "resets_left": 0 })),
        grant("g-early", json!({ "starts_at": "2026-11-23T00:00:00Z" })),
        grant("g-wall", json!({ "usable_now": false, "use_requires_limit": true })),
    ]}});
    let tide = json!({ "juniper_tide": { "eligible": true, "arm": "x", "available": true, "next_available_at": null } });
    let (listed, asked) = list("anthropic", &[(200, ember), (200, tide)]);
    let listed = listed.unwrap().unwrap();
    let states: Vec<_> = listed.resets.iter().map(|reset| (reset.id.as_str(), reset.state, reset.left)).collect();
    assert_eq!(
        states,
        [
            ("g-1", ResetState::Available, 2),
            ("g-paused", ResetState::Gone, 2),
            ("g-used", ResetState::Gone, 0),
            ("g-early", ResetState::Gone, 2),
            ("g-wall", ResetState::NeedsLimit, 2),
            ("juniper_tide", ResetState::Available, 1),
        ]
    );
    assert_eq!(listed.available, Some(5));
    assert!(asked.starts_with("GET https://api.anthropic.com:443/api/oauth/usage?cedar_ember=1&skip_spend=1\n"), "{asked}");
    assert!(asked.contains("GET https://api.anthropic.com:443/api/oauth/usage?at_wall=1&skip_spend=1\n"), "{asked}");

    let (nobody_looked, _) = list("anthropic", &[(200, json!({ "cedar_ember": null })), (200, json!({}))]);
    assert_eq!(nobody_looked.unwrap().unwrap(), SavedResets::default());
}

#[test]
fn a_list_that_cannot_be_had_says_why_without_the_answer() {
    for (status, body, says) in [
        (401, json!({ "m": "canary" }), "the list of saved resets refused the credential with status 401 Unauthorized"),
        (500, json!("canary"), "the list of saved resets answered with status 500 Internal Server Error"),
        (200, json!("canary"), "the list of saved resets answered with something that cannot be read: the answer is no JSON"),
        (
            200,
            json!({ "credits": "canary" }),
            "the list of saved resets answered with something that cannot be read: credits is text, not a list",
        ),
    ] {
        let (listed, _) = list("openai-codex", &[(status, body)]);
        assert_eq!(listed.unwrap_err().to_string(), says);
    }
    assert!(list("groq", &[]).0.unwrap().is_none(), "a provider without saved resets is asked nothing");
}

fn redeem(provider: &str, reset: &SavedReset, request_id: &str, answer: (u16, Value)) -> (RedeemOutcome, String) {
    let (outcome, asked) = with(provider, &[answer], async |credential, http| credits::redeem(credential, reset, request_id, http).await);
    (outcome.unwrap(), asked)
}

#[test]
fn each_answer_to_a_redemption_has_its_code() {
    let credit = reset("c-1", ResetProgram::CodexCredit, None);
    for (status, body, code, lifts) in [
        (200, json!({ "code": "reset" }), "reset", true),
        (200, json!({ "code": "already_redeemed" }), "already_redeemed", false),
        (409, json!({ "code": "already_redeemed" }), "already_redeemed", false),
        (200, json!({ "code": "no_credit" }), "no_credit", false),
        (200, json!({ "code": "nothing_to_reset" }), "nothing_to_reset", false),
        (429, json!({ "detail": "canary" }), "http_429", false),
        (500, json!({ "code": "reset" }), "http_500", false),
        (502, json!("canary"), "http_502", false),
        (200, json!({ "code": "Later Word" }), "later-word", false),
        (200, json!({ "code": 7 }), "http_200", false),
    ] {
        let (outcome, _) = redeem("openai-codex", &credit, "r-1", (status, body));
        assert_eq!((outcome.code().as_str(), outcome.lifts_blocks()), (code, lifts));
    }
    let grant = reset("g-1", ResetProgram::CedarEmber, None);
    for (word, code) in [("reset", "reset"), ("already_used", "already_redeemed"), ("not_limited", "nothing_to_reset")] {
        assert_eq!(redeem("anthropic", &grant, "r-1", (200, json!({ "result": word }))).0.code(), code);
    }
}

#[test]
fn a_redemption_carries_the_callers_id_of_the_attempt_and_is_sent_once() {
    let (_, asked) = redeem("openai-codex", &reset("c-1", ResetProgram::CodexCredit, None), "r-7", (500, json!({})));
    assert_eq!(
        asked,
        "POST https://chatgpt.com:443/backend-api/wham/rate-limit-reset-credits/consume\n  authorization: Bearer at-1\n  chatgpt-account-id: ws-1\n  \
         content-type: application/json\n  {\"account_id\":\"ws-1\",\"credit_id\":\"c-1\",\"redeem_request_id\":\"r-7\"}\n"
    );
    let (_, asked) = redeem("anthropic", &reset("g-1", ResetProgram::CedarEmber, None), "r-7", (200, json!({ "result": "reset" })));
    assert!(asked.starts_with("POST https://api.anthropic.com:443/api/organizations/org-1%2F%2E%2E%2Fx/reset_rate_limits\n"), "{asked}");
    assert!(asked.ends_with("{\"grant_id\":\"g-1\",\"program\":\"cedar_ember\",\"request_id\":\"r-7\"}\n"), "{asked}");
    let (_, asked) =
        redeem("anthropic", &reset("juniper_tide", ResetProgram::JuniperTide, None), "r-7", (200, json!({ "result": "reset" })));
    assert!(asked.ends_with("  {\"program\":\"juniper_tide\"}\n"), "{asked}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_to_a_redemption_makes_a_panic_or_a_false_reset(body in "\\PC{0,60}", status in 300..=599_u16) {
        let credit = reset("c-1", ResetProgram::CodexCredit, None);
        prop_assert!(!redeem("openai-codex", &credit, "r-1", (status, Value::from(body))).0.lifts_blocks());
    }
}
