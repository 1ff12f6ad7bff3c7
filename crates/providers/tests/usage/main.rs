//! Every usage fixture: what is asked, and the limits that come out; and what no answer and no header can do.
//!
//! `fixtures/usage/PROVIDER/CASE.json` holds the answers of an endpoint, `CASE.headers` the status and headers of an ordinary
//! answer, and the `.txt` beside each what is expected. All identities and secrets in them are made up.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod credits;
mod stage;

use claviger_domain::time::Timestamp;
use claviger_domain::usage::{LimitStatus, UsageReport};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::usage::{Parser, from_headers};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::Value;
use stage::{NOW, ask, print, profile, read_headers};
use std::fs;
use std::path::{Path, PathBuf};

/// All fixtures that end in this.
fn fixtures(ending: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/usage");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    files
}

fn provider_of(path: &Path) -> &str {
    path.parent().unwrap().file_name().unwrap().to_str().unwrap()
}

/// Compares what came out with the file beside the fixture, and says of each difference what came out.
fn compare(cases: Vec<(PathBuf, String)>) {
    let wrong: Vec<String> = cases
        .into_iter()
        .filter(|(path, found)| fs::read_to_string(path).ok().as_ref() != Some(found))
        .map(|(path, found)| format!("=== {}\n{found}", path.display()))
        .collect();
    assert!(wrong.is_empty(), "{} fixtures differ:\n{}", wrong.len(), wrong.concat());
}

#[test]
fn every_endpoint_fixture_gives_the_limits_beside_it() {
    let cases = fixtures("json").into_iter().map(|path| {
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let (asked, outcome) = ask(profile(provider_of(&path)), &case);
        let said = match outcome {
            Ok(Some(report)) => print(&report),
            Ok(None) => "no report\n".to_owned(),
            Err(error) => format!("error: {error}\n"),
        };
        assert!(!said.contains("canary"), "{} tells a part of the answer", path.display());
        (path.with_extension("json.txt"), asked + &said)
    });
    compare(cases.collect());
}

#[test]
fn every_header_fixture_gives_the_limits_beside_it() {
    let cases = fixtures("headers").into_iter().map(|path| {
        let (status, headers) = read_headers(&fs::read_to_string(&path).unwrap());
        let report = from_headers(profile(provider_of(&path)), status, &headers, NOW);
        (path.with_extension("headers.txt"), report.as_ref().map_or("no report\n".to_owned(), print))
    });
    compare(cases.collect());
}

#[test]
fn every_parser_that_the_catalogue_names_exists_and_has_its_fixtures() {
    for profile in Catalogue::builtin().iter() {
        let Some(endpoint) = &profile.usage.endpoint else { continue };
        let parser = endpoint.parser.as_deref().unwrap_or_else(|| panic!("{} is asked for nothing", profile.id.as_str()));
        assert!(Parser::from_name(parser).is_some(), "{} names {parser}", profile.id.as_str());
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/usage").join(profile.id.as_str());
        for case in ["usual", "fresh", "exhausted", "garbage", "missing_fields", "refused"] {
            assert!(folder.join(case).with_extension("json").exists(), "{} has no fixture {case}", profile.id.as_str());
        }
    }
}

#[test]
fn a_report_holds_nothing_of_the_answer_but_what_a_limit_says() {
    for path in fixtures("json").iter().filter(|path| path.ends_with("usual.json")) {
        let mut case: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for answer in case["answers"].as_array_mut().unwrap() {
            plant(&mut answer["body"]);
        }
        let (_, report) = ask(profile(provider_of(path)), &case);
        let told = format!("{:?}", report.unwrap().unwrap());
        assert!(!told.contains("canary"), "{} tells {told}", path.display());
    }
}

/// Adds a member that no parser knows to every object.
fn plant(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(plant);
            map.insert("raw".to_owned(), Value::from("canary-raw"));
        }
        Value::Array(items) => items.iter_mut().for_each(plant),
        _ => {}
    }
}

/// What holds of every report.
fn assert_sane(report: &UsageReport) {
    let mut ids: Vec<&str> = report.limits.iter().map(|limit| limit.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), report.limits.len(), "an id twice");
    for limit in &report.limits {
        assert!(limit.used.is_none_or(|used| used.is_finite() && used >= 0.0), "{limit:?}");
        let ranked = limit.used_or_neutral(NOW);
        assert!((0.0..=1.0).contains(&ranked), "{limit:?}");
        assert!(limit.required_drain(NOW).is_finite() && limit.required_drain(NOW) >= 0.0, "{limit:?}");
        assert!(limit.drain_rate(NOW).is_finite(), "{limit:?}");
        assert!(!limit.label.chars().any(char::is_control), "{limit:?}");
        assert!(limit.used.is_some() || limit.amount.is_some() || limit.status != LimitStatus::Unknown, "says nothing: {limit:?}");
    }
}

/// Any JSON, with the names that parsers look for.
fn any_json() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![any::<f64>().prop_map(Value::from), any::<i64>().prop_map(Value::from), (-2..=300_i64).prop_map(Value::from)];
    let texts = prop_oneof![
        "[ -~]{0,12}",
        Just("2026-11-22T13:00:00Z".to_owned()),
        Just("TIME_UNIT_MINUTE".to_owned()),
        Just("TOKENS_LIMIT".to_owned()),
        Just("weekly_scoped".to_owned()),
        "[0-9eE.+-]{1,9}",
    ];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), numbers, texts.prop_map(Value::from)];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(NAMES), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

const NAMES: &[&str] = &[
    "five_hour",
    "utilization",
    "resets_at",
    "limits",
    "kind",
    "percent",
    "scope",
    "model",
    "display_name",
    "spend",
    "enabled",
    "used",
    "limit",
    "amount_minor",
    "exponent",
    "extra_usage",
    "rate_limit",
    "primary_window",
    "used_percent",
    "limit_window_seconds",
    "reset_after_seconds",
    "additional_rate_limits",
    "metered_feature",
    "credits",
    "balance",
    "plan_type",
    "buckets",
    "modelId",
    "remainingFraction",
    "resetTime",
    "groups",
    "bucketId",
    "models",
    "quotaInfo",
    "quota_snapshots",
    "chat",
    "percent_remaining",
    "entitlement",
    "usage",
    "detail",
    "window",
    "duration",
    "timeUnit",
    "usages",
    "used_ratio",
    "data",
    "available_balance",
    "type",
    "unit",
    "number",
    "percentage",
    "nextResetTime",
    "config",
    "creditUsagePercent",
    "currentPeriod",
    "end",
    "rolling",
    "weekly",
    "monthly",
    "is_available",
    "balance_infos",
    "currency",
    "total_balance",
    "limit_remaining",
    "base_resp",
    "status_code",
    "model_remains",
    "model_name",
    "start_time",
    "end_time",
    "numRequests",
    "maxRequestUsage",
    "startOfMonth",
    "individualUsage",
    "plan",
    "info",
    "max_budget",
    "budget_duration",
    "total_used",
];

/// One fixture's answer with one value in it replaced.
fn mutated(mut value: Value, place: usize, new: &Value) -> Value {
    fn visit(value: &mut Value, left: &mut usize, new: &Value) -> bool {
        if *left == 0 {
            *value = new.clone();
            return true;
        }
        *left -= 1;
        match value {
            Value::Array(items) => items.iter_mut().any(|item| visit(item, left, new)),
            Value::Object(map) => map.values_mut().any(|item| visit(item, left, new)),
            _ => false,
        }
    }
    let mut left = place;
    visit(&mut value, &mut left, new);
    value
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_parser_panics_on_any_json_and_every_fraction_is_a_number(value in any_json()) {
        let body = value.to_string();
        for parser in Parser::ALL {
            if let Ok(report) = parser.parse(StatusCode::OK, body.as_bytes(), NOW) {
                assert_sane(&report);
            }
        }
    }

    #[test]
    fn no_parser_panics_on_any_bytes(body in prop::collection::vec(any::<u8>(), 0..64), status in 100..=599_u16) {
        for parser in Parser::ALL {
            prop_assert!(parser.parse(StatusCode::from_u16(status).unwrap(), &body, NOW).is_err());
        }
    }

    #[test]
    fn a_real_answer_with_one_odd_value_is_read_or_refused_and_never_makes_an_odd_limit(place in 0..60_usize, new in any_json()) {
        for path in fixtures("json").iter().filter(|path| path.ends_with("usual.json")) {
            let Some(parser) = Parser::of(profile(provider_of(path))) else { continue };
            let case: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            let body = mutated(case["answers"][0]["body"].clone(), place, &new).to_string();
            if let Ok(report) = parser.parse(StatusCode::OK, body.as_bytes(), NOW) {
                assert_sane(&report);
            }
        }
    }

    #[test]
    fn no_header_value_makes_a_panic_or_an_odd_limit(
        values in prop::collection::vec(prop_oneof!["[ -~]{0,24}", "-?[0-9]{1,22}(\\.[0-9]{0,4})?", Just("inf".to_owned()), Just("NaN".to_owned()), "(ent|rem|rst|ov|ovPerm)=[ -~]{0,12}&rem=-?[0-9.]{0,9}"], 12),
        bytes in prop::collection::vec(0x80..=0xff_u8, 0..8),
        status in prop::sample::select(&[200_u16, 429, 500][..]),
        now in prop_oneof![Just(NOW.0), any::<i64>()],
    ) {
        for profile in Catalogue::builtin().iter() {
            let mut names: Vec<HeaderName> = profile.usage.headers.iter().flat_map(|tap| {
                let used = tap.used.iter().map(|used| used.name.clone());
                let status = tap.status.iter().map(|status| status.name.clone());
                let reset = tap.reset.iter().map(|(name, _)| name.clone());
                used.chain(status).chain(reset).chain(tap.limit.clone()).chain(tap.remaining.clone()).chain(tap.window_minutes.clone())
            }).collect();
            names.extend(["x-usage-ratelimit-session", "x-quota-snapshot-chat", "x-codex-new-primary-used-percent", "x-codex-new-primary-reset-at", "x-codex-credits-balance"].map(HeaderName::from_static));
            let mut headers: HeaderMap = names.into_iter().zip(values.iter().cycle()).map(|(name, value)| (name, HeaderValue::from_str(value).unwrap())).collect();
            headers.insert("x-quota-snapshot-premium_models", HeaderValue::from_bytes(&bytes).unwrap());
            let report = from_headers(profile, StatusCode::from_u16(status).unwrap(), &headers, Timestamp(now));
            report.iter().filter(|report| report.observed_at == NOW).for_each(assert_sane);
        }
    }
}
