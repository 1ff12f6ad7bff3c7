//! Tables of answers and what they mean, with bodies that no vendor in particular writes.

use super::*;
use http::HeaderValue;
use std::time::Duration;

const NOW: Timestamp = Timestamp(1_795_341_600_000);

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}

fn class_of(rules: Vec<ClassRule>, status: u16, sent: &[(&'static str, &str)], body: &str) -> Class {
    let context = ClassifyContext { kind: CredentialKind::OAuth, model: Some("m-large"), now: NOW };
    classify(
        &ClassTable { rules, ..ClassTable::default() },
        context,
        Evidence::Answer { status, headers: &headers(sent), body: body.as_bytes() },
    )
}

fn rule(statuses: &[u16], verdict: Verdict) -> ClassRule {
    ClassRule {
        statuses: statuses.to_vec(),
        kind: None,
        models: Vec::new(),
        header: None,
        json: None,
        text: Vec::new(),
        verdict,
        scope: RuleScope::Account,
        resets: Vec::new(),
    }
}

fn limit(until: Option<Timestamp>) -> Class {
    Class::UsageLimit { scope: BlockScope::Account, until }
}

fn throttle(until: Option<Timestamp>) -> Class {
    Class::RateLimited { until }
}

fn in_secs(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

#[test]
fn without_rows_the_status_decides_and_the_body_where_the_status_is_open() {
    let policy = Class::Policy { scope: BlockScope::Account };
    let model_policy = Class::Policy { scope: BlockScope::Model("m-large".into()) };
    for (status, body, class) in [
        (200, "", Class::Accepted),
        (302, "", Class::Accepted),
        (400, r#"{"error":{"message":"you said: usage limit, insufficient quota"}}"#, Class::Unrelated),
        (401, r#"{"error":{"message":"bad key"}}"#, Class::Unauthorized),
        (402, "", limit(None)),
        (402, r#"{"error":{"message":"pay"}}"#, limit(None)),
        (403, "<html>Attention required: permission denied</html>", Class::Unrelated),
        (403, "", Class::Unrelated),
        (403, r#"{"error":{"message":"flagged"}}"#, Class::Unrelated),
        (403, r#"{"error":{"message":"an explanation was planned"}}"#, Class::Unrelated),
        (403, r#"{"error":{"type":"permission_error","message":"no"}}"#, policy.clone()),
        (403, r#"{"error":{"message":"Your plan does not include this."}}"#, policy),
        (403, r#"{"error":{"message":"your plan does not include the model m-large"}}"#, model_policy),
        (403, r#"{"error":{"code":"insufficient_quota","message":"permission"}}"#, limit(None)),
        (404, r#"{"error":{"message":"permission"}}"#, Class::Unrelated),
        (429, "", limit(None)),
        (429, " 429 ", limit(None)),
        (429, "{}", limit(None)),
        (429, "<html>Too Many Requests</html>", throttle(None)),
        (429, r#"{"error":{"message":"Too many requests"}}"#, throttle(None)),
        (429, r#"{"error":{"code":"insufficient_quota"}}"#, limit(None)),
        (429, r#"{"error":{"message":"You have hit your usage limit"}}"#, limit(None)),
        (429, r#"{"error":{"message":"quota exceeded: 10 requests per minute"}}"#, throttle(None)),
        (429, r#"{"error":{"code":"rate_limit_exceeded","message":"daily limit"}}"#, throttle(None)),
        (429, r#"{"error":{"message":"Too many concurrent requests"}}"#, Class::Concurrency),
        (429, r#"{"error":{"message":"The model is overloaded"}}"#, Class::Capacity),
        (500, "usage limit", Class::Unrelated),
        (502, "", Class::Unrelated),
        (503, "", Class::Capacity),
        (504, "", Class::Unrelated),
        (529, r#"{"error":{"type":"overloaded_error"}}"#, Class::Capacity),
    ] {
        assert_eq!(class_of(Vec::new(), status, &[], body), class, "{status} {body}");
    }
}

#[test]
fn every_way_to_write_a_wait_in_a_header_is_read() {
    for (name, value, wait_millis) in [
        ("retry-after", "12", 12_000),
        ("retry-after", "1.5", 1_500),
        ("retry-after", "Sun, 22 Nov 2026 10:01:00 GMT", 60_000),
        ("retry-after", "2026-11-22T10:01:00Z", 60_000),
        ("retry-after-ms", "1500", 1_500),
        ("x-ratelimit-reset-ms", "1500", 1_500),
        ("x-ratelimit-reset-ms", "1795341660", 60_000),
        ("x-ratelimit-reset-ms", "1795341660000", 60_000),
        ("x-ratelimit-reset", "1795341660", 60_000),
        ("x-ratelimit-reset", "1795341660000", 60_000),
        ("x-ratelimit-reset", "60", 60_000),
        ("x-ratelimit-reset", "12ms", 12),
        ("x-ratelimit-reset-after", "0.5", 500),
        ("retry-after", "0", 0),
        ("x-ratelimit-reset", "1795341000", 0),
    ] {
        let class = class_of(Vec::new(), 429, &[(name, value)], "slow down");
        assert_eq!(class, throttle(Some(Timestamp(NOW.0 + wait_millis))), "{name}: {value}");
    }
    for (name, value) in
        [("retry-after", "-1"), ("retry-after", "soon"), ("retry-after", "NaN"), ("retry-after", "1e400"), ("retry-after", "")]
    {
        assert_eq!(class_of(Vec::new(), 429, &[(name, value)], "slow down"), throttle(None), "{name}: {value}");
    }
}

#[test]
fn a_retry_date_is_measured_against_the_date_of_the_answer() {
    let sent = [("date", "Sun, 22 Nov 2026 09:00:00 GMT"), ("retry-after", "Sun, 22 Nov 2026 09:00:30 GMT")];
    assert_eq!(class_of(Vec::new(), 429, &sent, "slow down"), throttle(Some(in_secs(30))));
}

#[test]
fn the_longest_certain_wait_wins_and_a_stamp_without_zone_is_a_last_resort() {
    let body = "retry in 30s; resets at 2026-11-22 12:00:00";
    assert_eq!(class_of(Vec::new(), 429, &[("retry-after", "10")], body), throttle(Some(in_secs(30))));
    assert_eq!(class_of(Vec::new(), 402, &[], "resets at 2026-11-22 12:00:00"), limit(Some(in_secs(7200))));
}

#[test]
fn now_is_not_the_same_as_no_hint() {
    assert_eq!(class_of(Vec::new(), 402, &[("retry-after", "0")], ""), limit(Some(NOW)));
    assert_eq!(class_of(Vec::new(), 402, &[], "reset at 2026-11-22T09:00:00Z"), limit(Some(NOW)));
    assert_eq!(class_of(Vec::new(), 402, &[], ""), limit(None));
}

#[test]
fn an_absurd_wait_is_capped() {
    assert_eq!(class_of(Vec::new(), 402, &[("retry-after", "99999999999")], ""), limit(Some(NOW.plus(RESET_MAX))));
}

#[test]
fn a_throttle_of_five_minutes_is_a_usage_limit() {
    assert_eq!(class_of(Vec::new(), 429, &[("retry-after", "299")], "slow down"), throttle(Some(in_secs(299))));
    assert_eq!(class_of(Vec::new(), 429, &[("retry-after", "300")], "slow down"), limit(Some(in_secs(300))));
}

#[test]
fn the_first_row_whose_conditions_all_hold_decides() {
    let narrow = ClassRule {
        json: Some(("error.details[].reason".into(), vec!["spent".into()])),
        text: vec!["for today".into()],
        scope: RuleScope::Tier("large".into()),
        ..rule(&[429], Verdict::UsageLimit)
    };
    let rules = vec![narrow, rule(&[429], Verdict::Capacity)];
    let class = |body| class_of(rules.clone(), 429, &[], body);
    let spent = r#"{"error":{"details":[{"reason":"SPENT","why":"For today"}]}}"#;
    assert_eq!(class(spent), Class::UsageLimit { scope: BlockScope::Tier("large".into()), until: None });
    assert_eq!(class(r#"{"error":{"details":[{"reason":"SPENT"}]}}"#), Class::Capacity);
    assert_eq!(class_of(rules.clone(), 401, &[], spent), Class::Unauthorized);
}

#[test]
fn a_401_can_be_made_a_policy_answer_or_a_usage_limit() {
    let region = ClassRule { text: vec!["in this region".into()], ..rule(&[401], Verdict::Policy) };
    let balance = ClassRule { text: vec!["insufficient balance".into()], ..rule(&[401], Verdict::UsageLimit) };
    let rules = vec![region, balance];
    assert_eq!(class_of(rules.clone(), 401, &[], "Not authorized in this region."), Class::Policy { scope: BlockScope::Account });
    assert_eq!(class_of(rules.clone(), 401, &[], "Insufficient balance. Resets in 3 days"), limit(Some(in_secs(3 * 86_400))));
    assert_eq!(class_of(rules, 401, &[], "expired"), Class::Unauthorized);
}

#[test]
fn conditions_on_kind_model_and_header_narrow_a_row() {
    let rules = vec![
        ClassRule { kind: Some(CredentialKind::ApiKey), ..rule(&[429], Verdict::Unrelated) },
        ClassRule { models: vec!["small".into()], ..rule(&[429], Verdict::Unrelated) },
        ClassRule {
            header: Some((http::HeaderName::from_static("x-window"), vec!["rejected".into()])),
            ..rule(&[429], Verdict::UsageLimit)
        },
        ClassRule { models: vec!["large".into()], ..rule(&[429], Verdict::Capacity) },
    ];
    assert_eq!(class_of(rules.clone(), 429, &[("x-window", "Rejected")], "x"), limit(None));
    assert_eq!(class_of(rules, 429, &[("x-window", "allowed")], "x"), Class::Capacity);
}

#[test]
fn a_row_may_judge_a_success_only_by_naming_its_status() {
    assert_eq!(class_of(vec![rule(&[], Verdict::Capacity)], 200, &[], ""), Class::Accepted);
    assert_eq!(class_of(vec![rule(&[200], Verdict::Capacity)], 200, &[], ""), Class::Capacity);
    assert_eq!(class_of(vec![rule(&[], Verdict::Capacity)], 418, &[], ""), Class::Capacity);
}

#[test]
fn the_latest_reset_among_rejected_windows_counts() {
    let place = |window: &str| ResetPlace {
        at: ResetSource::HeaderIf {
            header: format!("x-{window}-reset").parse().unwrap(),
            when: format!("x-{window}-state").parse().unwrap(),
            is: "rejected".into(),
        },
        format: ResetFormat::EpochSeconds,
    };
    let rules = vec![ClassRule { resets: vec![place("short"), place("long")], ..rule(&[429], Verdict::UsageLimit) }];
    let class = |long: &str| {
        let sent = [
            ("x-short-state", "rejected"),
            ("x-short-reset", "1795345200"),
            ("x-long-state", long),
            ("x-long-reset", "1795600800"),
            ("retry-after", "60"),
        ];
        class_of(rules.clone(), 429, &sent, "limit")
    };
    assert_eq!(class("rejected"), limit(Some(in_secs(259_200))));
    assert_eq!(class("allowed"), limit(Some(in_secs(3_600))));
}

#[test]
fn a_row_reads_resets_from_json_in_every_format() {
    for (format, value, wait_secs) in [
        (ResetFormat::EpochSeconds, "1795341660", 60),
        (ResetFormat::EpochSeconds, "\"1795341660\"", 60),
        (ResetFormat::EpochMillis, "1795341660000", 60),
        (ResetFormat::Seconds, "60", 60),
        (ResetFormat::DateTime, "\"2026-11-22T10:01:00Z\"", 60),
        (ResetFormat::DurationText, "\"1m0s\"", 60),
    ] {
        let resets = vec![ResetPlace { at: ResetSource::Json("error.reset".into()), format }];
        let rules = vec![ClassRule { resets, ..rule(&[429], Verdict::UsageLimit) }];
        let body = format!(r#"{{"error":{{"reset":{value}}}}}"#);
        assert_eq!(class_of(rules, 429, &[], &body), limit(Some(in_secs(wait_secs))), "{format:?}");
    }
}

#[test]
fn an_unreadable_body_is_classed_by_its_status() {
    let context = ClassifyContext { kind: CredentialKind::ApiKey, model: None, now: NOW };
    let deep = "[".repeat(100_000);
    for body in [&b"\xff\xfe\x00"[..], deep.as_bytes(), b"{\"error\":"] {
        let evidence = Evidence::Answer { status: 401, headers: &HeaderMap::new(), body };
        assert_eq!(classify(&ClassTable::default(), context, evidence), Class::Unauthorized);
    }
}

#[test]
fn without_a_model_a_model_scope_is_the_account() {
    let context = ClassifyContext { kind: CredentialKind::ApiKey, model: None, now: NOW };
    let table = ClassTable {
        rules: vec![ClassRule { scope: RuleScope::RequestedModel, ..rule(&[400], Verdict::Policy) }],
        ..ClassTable::default()
    };
    let evidence = Evidence::Answer { status: 400, headers: &HeaderMap::new(), body: b"" };
    assert_eq!(classify(&table, context, evidence), Class::Policy { scope: BlockScope::Account });
}

#[test]
fn a_stamp_without_a_zone_is_read_in_the_zone_that_the_provider_means() {
    let body = br#"{"error":{"message":"Your limit will reset at 2026-11-22 10:00:00"}}"#;
    let context = ClassifyContext { kind: CredentialKind::ApiKey, model: None, now: Timestamp(1_795_300_000_000) };
    let end = |stamp_offset_minutes| {
        let table = ClassTable { rules: vec![rule(&[429], Verdict::UsageLimit)], stamp_offset_minutes };
        match classify(&table, context, Evidence::Answer { status: 429, headers: &HeaderMap::new(), body }) {
            Class::UsageLimit { until, .. } => until,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end(None), Some(Timestamp(1_795_341_600_000)));
    assert_eq!(end(Some(8 * 60)), Some(Timestamp(1_795_341_600_000 - 8 * 3_600_000)));
}
