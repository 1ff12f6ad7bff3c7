//! Answers in the shape of each vendor, and what they mean for the account.

use claviger_domain::block::BlockScope;
use claviger_domain::classify::{Class, ClassifyContext, Evidence, classify};
use claviger_domain::credential::CredentialKind;
use claviger_domain::time::Timestamp;
use claviger_providers::catalogue::Catalogue;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// 2026-11-22T10:00:00Z
const NOW: Timestamp = Timestamp(1_795_341_600_000);
const LOGIN: CredentialKind = CredentialKind::OAuth;
const KEY: CredentialKind = CredentialKind::ApiKey;

struct Case<'a> {
    provider: &'a str,
    kind: CredentialKind,
    model: &'a str,
    status: u16,
    headers: &'a [(&'static str, &'a str)],
    body: &'a str,
}

impl Case<'_> {
    fn class(&self) -> Class {
        let profile = Catalogue::builtin().get(self.provider).expect("a built-in provider");
        let pairs =
            self.headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value")));
        let headers: HeaderMap = pairs.collect();
        let context = ClassifyContext { kind: self.kind, model: Some(self.model), now: NOW };
        classify(&profile.classes, context, Evidence::Answer { status: self.status, headers: &headers, body: self.body.as_bytes() })
    }
}

fn secs(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn limit(until: Option<Timestamp>) -> Class {
    Class::UsageLimit { scope: BlockScope::Account, until }
}

fn tier_limit(tier: &str, until: Option<Timestamp>) -> Class {
    Class::UsageLimit { scope: BlockScope::Tier(tier.into()), until }
}

fn model_limit(model: &str, until: Option<Timestamp>) -> Class {
    Class::UsageLimit { scope: BlockScope::Model(model.into()), until }
}

fn throttle(until: Option<Timestamp>) -> Class {
    Class::RateLimited { until }
}

fn policy() -> Class {
    Class::Policy { scope: BlockScope::Account }
}

fn model_policy(model: &str) -> Class {
    Class::Policy { scope: BlockScope::Model(model.into()) }
}

/// A window of a subscription: its status, and a reset so many seconds ahead.
fn window(headers: &mut Vec<(&'static str, String)>, names: (&'static str, &'static str), status: &str, ahead_secs: i64) {
    headers.push((names.0, status.to_owned()));
    headers.push((names.1, (NOW.as_secs() + ahead_secs).to_string()));
}

#[test]
fn a_subscription_of_anthropic_is_blocked_until_the_latest_reset_among_its_rejected_windows() {
    let five = ("anthropic-ratelimit-unified-5h-status", "anthropic-ratelimit-unified-5h-reset");
    let seven = ("anthropic-ratelimit-unified-7d-status", "anthropic-ratelimit-unified-7d-reset");
    let family = ("anthropic-ratelimit-unified-7d_oi-status", "anthropic-ratelimit-unified-7d_oi-reset");
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit. Please try again later."},"request_id":"req_1"}"#;
    let class = |windows: [&str; 3], extra: &[(&'static str, &str)]| {
        let mut headers = Vec::new();
        window(&mut headers, five, windows[0], 3_600);
        window(&mut headers, seven, windows[1], 200_000);
        window(&mut headers, family, windows[2], 300_000);
        let headers: Vec<(&'static str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).chain(extra.iter().copied()).collect();
        Case { provider: "anthropic", kind: LOGIN, model: "claude-opus-4-5", status: 429, headers: &headers, body }.class()
    };
    assert_eq!(class(["rejected", "allowed", "allowed"], &[("retry-after", "60")]), limit(Some(secs(3_600))));
    assert_eq!(class(["rejected", "rejected", "rejected"], &[]), limit(Some(secs(200_000))));
    assert_eq!(class(["allowed", "rejected", "allowed"], &[]), limit(Some(secs(200_000))));
    assert_eq!(class(["allowed", "allowed", "rejected"], &[]), tier_limit("fable", Some(secs(300_000))));
    assert_eq!(class(["allowed", "allowed", "allowed"], &[]), throttle(None));
    let overall = [("anthropic-ratelimit-unified-status", "rejected"), ("anthropic-ratelimit-unified-reset", "1795342600")];
    assert_eq!(class(["allowed", "allowed", "allowed"], &overall), limit(Some(secs(1_000))));
}

#[test]
fn answers_of_anthropic() {
    let error =
        |kind: &str, message: &str| format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"req_1"}}"#);
    let tokens = [
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-requests-reset", "2026-11-22T11:00:00Z"),
        ("anthropic-ratelimit-tokens-remaining", "0"),
        ("anthropic-ratelimit-tokens-reset", "2026-11-22T10:00:42Z"),
    ];
    for (kind, status, headers, body, class) in [
        (LOGIN, 200, &[][..], String::new(), Class::Accepted),
        (LOGIN, 401, &[], error("authentication_error", "OAuth token has expired."), Class::Unauthorized),
        (KEY, 401, &[], error("authentication_error", "invalid x-api-key"), Class::Unauthorized),
        (LOGIN, 403, &[], error("permission_error", "OAuth authentication is not allowed"), policy()),
        (LOGIN, 403, &[], error("x", "oauth_not_allowed_for_organization"), policy()),
        (LOGIN, 403, &[], "<!DOCTYPE html><title>Just a moment...</title>".to_owned(), Class::Unrelated),
        (LOGIN, 403, &[], error("forbidden", "claude_code_version_too_old: your plan needs 2.1"), Class::Unrelated),
        (
            KEY,
            429,
            &[("retry-after", "7")],
            error("rate_limit_error", "Number of request tokens has exceeded your per-minute limit"),
            throttle(Some(secs(7))),
        ),
        (KEY, 429, &tokens, error("rate_limit_error", "slow down"), throttle(Some(secs(42)))),
        (LOGIN, 429, &[], error("rate_limit_error", "Rate limited"), throttle(None)),
        (LOGIN, 429, &[], error("rate_limit_error", "Usage credits are required for long context requests."), Class::Unrelated),
        (LOGIN, 429, &[], error("rate_limit_error", "Usage credits are required"), model_limit("claude-opus-4-5", None)),
        (LOGIN, 429, &[], String::new(), limit(None)),
        (KEY, 402, &[], error("billing_error", "would exceed your available credits"), limit(None)),
        (KEY, 400, &[], error("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), limit(None)),
        (KEY, 400, &[], error("invalid_request_error", "max_tokens: required; you wrote: usage limit"), Class::Unrelated),
        (KEY, 404, &[], error("not_found_error", "model: x"), Class::Unrelated),
        (KEY, 413, &[], error("request_too_large", "too large"), Class::Unrelated),
        (KEY, 500, &[], error("api_error", "Internal server error"), Class::Unrelated),
        (KEY, 529, &[], error("overloaded_error", "Overloaded"), Class::Capacity),
    ] {
        let case = Case { provider: "anthropic", kind, model: "claude-opus-4-5", status, headers, body: &body };
        assert_eq!(case.class(), class, "{status} {body}");
    }
}

#[test]
fn answers_of_openai() {
    let error = |kind: &str, code: &str, message: &str| {
        format!(r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}"}}}}"#)
    };
    let quota = "You exceeded your current quota, please check your plan and billing details.";
    let throttled = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "6m0s"),
        ("x-ratelimit-remaining-tokens", "100"),
        ("x-ratelimit-reset-tokens", "12ms"),
    ];
    let short = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "12ms")];
    for (status, headers, body, class) in [
        (401, &[][..], error("invalid_request_error", "invalid_api_key", "Incorrect API key provided"), Class::Unauthorized),
        (
            403,
            &[],
            error("invalid_request_error", "model_not_found", "Project `p` does not have access to model `gpt-5`"),
            model_policy("gpt-5"),
        ),
        (
            403,
            &[],
            error("request_forbidden", "unsupported_country_region_territory", "Country, region, or territory not supported"),
            Class::Unrelated,
        ),
        (429, &[], error("insufficient_quota", "insufficient_quota", quota), limit(None)),
        (
            429,
            &[],
            error("requests", "rate_limit_exceeded", "Rate limit reached for gpt-5. Please try again in 6.5s."),
            throttle(Some(Timestamp(NOW.0 + 6_500))),
        ),
        (429, &short, error("tokens", "rate_limit_exceeded", "Rate limit reached"), throttle(Some(Timestamp(NOW.0 + 12)))),
        (429, &throttled, error("requests", "rate_limit_exceeded", "Rate limit reached"), model_limit("gpt-5", Some(secs(360)))),
        (429, &[], "12345".to_owned(), limit(None)),
        (
            404,
            &[],
            error("invalid_request_error", "model_not_found", "The model does not exist or you do not have access"),
            Class::Unrelated,
        ),
        (500, &[], error("server_error", "", "The server had an error"), Class::Unrelated),
        (503, &[], error("server_error", "", "That model is currently overloaded"), Class::Capacity),
    ] {
        let case = Case { provider: "openai", kind: KEY, model: "gpt-5", status, headers, body: &body };
        assert_eq!(case.class(), class, "{status} {body}");
    }
}

#[test]
fn answers_of_codex() {
    let reached = r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":1795345200,"resets_in_seconds":3600}}"#;
    let windows = [
        ("x-codex-primary-used-percent", "100.0"),
        ("x-codex-primary-reset-at", "1795345200"),
        ("x-codex-secondary-used-percent", "40"),
        ("x-codex-secondary-reset-at", "1795600800"),
    ];
    for (model, status, headers, body, class) in [
        ("gpt-5", 429, &[][..], reached, limit(Some(secs(3_600)))),
        ("gpt-5", 429, &windows, r#"{"error":{"code":"usage_limit_reached"}}"#, limit(Some(secs(3_600)))),
        ("gpt-5-spark", 429, &[], reached, tier_limit("spark", Some(secs(3_600)))),
        ("gpt-5", 403, &[], r#"{"error":{"type":"usage_not_included","message":"upgrade"}}"#, limit(None)),
        ("gpt-5", 401, &[], r#"{"detail":"Workspace is not authorized in this region."}"#, policy()),
        (
            "gpt-5",
            401,
            &[],
            r#"{"error":{"message":"Provided authentication token is expired.","code":"token_expired"}}"#,
            Class::Unauthorized,
        ),
        (
            "gpt-9",
            400,
            &[],
            r#"{"detail":"The 'gpt-9' model is not supported when using Codex with a ChatGPT account."}"#,
            model_policy("gpt-9"),
        ),
        ("gpt-5", 400, &[], r#"{"error":{"code":"cyber_policy","message":"no"}}"#, model_policy("gpt-5")),
        ("gpt-5", 503, &[], r#"{"error":{"message":"Selected model is at capacity. Please try a different model."}}"#, Class::Capacity),
        ("gpt-5", 429, &[], r#"{"error":{"code":"rate_limit_exceeded","message":"Too many requests"}}"#, throttle(None)),
        ("gpt-5", 403, &[], "<html><body>Cloudflare</body></html>", Class::Unrelated),
        ("gpt-5", 400, &[], r#"{"detail":"Instructions are not valid"}"#, Class::Unrelated),
    ] {
        let case = Case { provider: "openai-codex", kind: LOGIN, model, status, headers, body };
        assert_eq!(case.class(), class, "{status} {body}");
    }
}

#[test]
fn answers_of_google() {
    let error = |status: &str, message: &str, details: &str| {
        format!(r#"{{"error":{{"code":429,"message":"{message}","status":"{status}","details":[{details}]}}}}"#)
    };
    let info = |reason: &str, delay: &str| {
        format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"x","metadata":{{"quotaResetDelay":"{delay}"}}}}"#
        )
    };
    let violation = |id: &str| {
        format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaId":"{id}"}}]}},{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.07s"}}"#
        )
    };
    let quota = "You exceeded your current quota, please check your plan and billing details.";
    let model = "gemini-2.5-pro";
    let retry = Some(Timestamp(NOW.0 + 34_070));
    for (status, body, class) in [
        (400, error("INVALID_ARGUMENT", "API key not valid.", r#"{"reason":"API_KEY_INVALID"}"#), Class::Unauthorized),
        (400, error("INVALID_ARGUMENT", "bad field", ""), Class::Unrelated),
        (403, error("PERMISSION_DENIED", "Permission denied", ""), policy()),
        (
            429,
            error("RESOURCE_EXHAUSTED", quota, &violation("GenerateRequestsPerDayPerProjectPerModel-FreeTier")),
            model_limit(model, retry),
        ),
        (429, error("RESOURCE_EXHAUSTED", quota, &violation("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")), throttle(retry)),
        (429, error("RESOURCE_EXHAUSTED", quota, ""), model_limit(model, None)),
        (429, error("RESOURCE_EXHAUSTED", "x", &info("QUOTA_EXHAUSTED", "18h31m10s")), limit(Some(secs(66_670)))),
        (429, error("RESOURCE_EXHAUSTED", "x", &info("INSUFFICIENT_G1_CREDITS_BALANCE", "")), limit(None)),
        (429, error("RESOURCE_EXHAUSTED", "x", &info("RATE_LIMIT_EXCEEDED", "0.5s")), throttle(Some(Timestamp(NOW.0 + 500)))),
        (429, error("RESOURCE_EXHAUSTED", "x", &info("RATE_LIMIT_EXCEEDED", "6m0s")), model_limit(model, Some(secs(360)))),
        (
            429,
            error(
                "RESOURCE_EXHAUSTED",
                "You have exhausted your capacity on this model. Your quota will reset after 1h2m3s.",
                &info("RATE_LIMIT_EXCEEDED", ""),
            ),
            model_limit(model, Some(secs(3_723))),
        ),
        (429, error("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", ""), Class::Capacity),
        (503, error("UNAVAILABLE", "The model is overloaded.", ""), Class::Capacity),
        (500, error("INTERNAL", "x", ""), Class::Unrelated),
    ] {
        for body in [body.clone(), format!("[{body}]")] {
            let case = Case { provider: "google", kind: KEY, model, status, headers: &[], body: &body };
            assert_eq!(case.class(), class, "{status} {body}");
        }
    }
}

#[test]
fn answers_of_kimi_code() {
    for (kind, status, body, class) in [
        (LOGIN, 401, r#"{"error":{"message":"Invalid Authentication","type":"invalid_authentication_error"}}"#, Class::Unauthorized),
        (KEY, 403, r#"{"error":{"message":"over the limit","type":"access_terminated_error"}}"#, limit(None)),
        (LOGIN, 429, r#"{"error":{"message":"You've reached your usage limit for this billing cycle","type":"exceeded"}}"#, limit(None)),
        (LOGIN, 429, r#"{"error":{"message":"request reached max concurrent requests","type":"rate_limit"}}"#, Class::Concurrency),
        (LOGIN, 429, r#"{"error":{"message":"The engine is currently overloaded","type":"engine_overloaded_error"}}"#, Class::Capacity),
        (
            KEY,
            429,
            r#"{"error":{"message":"please try again after 1 seconds","type":"rate_limit_reached_error"}}"#,
            throttle(Some(secs(1))),
        ),
    ] {
        let case = Case { provider: "kimi-code", kind, model: "kimi-k2", status, headers: &[], body };
        assert_eq!(case.class(), class, "{status} {body}");
    }
}

#[test]
fn answers_of_openrouter() {
    let daily = r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795392000000"}}}}"#;
    let upstream = r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"x is temporarily rate-limited upstream. Please retry shortly."}}}"#;
    for (status, headers, body, class) in [
        (401, &[][..], r#"{"error":{"message":"No auth credentials found","code":401}}"#, Class::Unauthorized),
        (402, &[], r#"{"error":{"message":"Insufficient credits","code":402}}"#, limit(None)),
        (403, &[], r#"{"error":{"message":"Key limit exceeded (total limit)","code":403}}"#, limit(None)),
        (403, &[], r#"{"error":{"message":"Your input was flagged; see your plan","code":403}}"#, Class::Unrelated),
        (429, &[], daily, tier_limit(":free", Some(secs(50_400)))),
        (
            429,
            &[("x-ratelimit-reset", "1795341630000")],
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-min.","code":429}}"#,
            throttle(Some(secs(30))),
        ),
        (429, &[], upstream, Class::Capacity),
        (502, &[], r#"{"error":{"message":"Provider disconnected","code":502}}"#, Class::Unrelated),
    ] {
        let case = Case { provider: "openrouter", kind: KEY, model: "x/y:free", status, headers, body };
        assert_eq!(case.class(), class, "{status} {body}");
    }
}

#[test]
fn answers_of_litellm() {
    let error = |kind: &str, code: &str, message: &str| {
        format!(r#"{{"error":{{"message":"{message}","type":"{kind}","param":"key","code":"{code}"}}}}"#)
    };
    let budget = "Budget has been exceeded! Key=x Current cost: 2.0, Max budget: 1.0";
    let invalid = "Authentication Error, Invalid proxy server token passed. Received API Key = sk-...XXXX";
    for (status, body, class) in [
        (401, error("token_not_found_in_db", "401", invalid), Class::Unauthorized),
        (400, error("expired_key", "400", "Authentication Error - Expired Key."), Class::Unauthorized),
        (400, error("auth_error", "400", budget), limit(None)),
        (429, error("budget_exceeded", "429", budget), limit(None)),
        (401, error("key_model_access_denied", "401", "key not allowed to access model"), model_policy("m")),
        (429, error("None", "429", "Max parallel request limit reached"), Class::Concurrency),
        (429, error("None", "429", "No deployments available for selected model, Try again in 60 seconds."), throttle(Some(secs(60)))),
    ] {
        let case = Case { provider: "litellm", kind: KEY, model: "m", status, headers: &[], body: &body };
        assert_eq!(case.class(), class, "{status} {body}");
    }
}

#[test]
fn an_overlay_can_say_what_other_vendors_mean() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
[providers.go]
dialects = ["chat"]
base_url = "https://go.example/v1"
wire.api_key = { header = "authorization", scheme = "Bearer" }
[[providers.go.errors]]
status = [401]
text = ["insufficient balance"]
class = "usage_limit"
"#;
    std::fs::write(folder.path().join("go.toml"), text).unwrap();
    let catalogue = Catalogue::load(Some(folder.path())).unwrap();
    let context = ClassifyContext { kind: KEY, model: None, now: NOW };
    let body = br#"{"error":{"message":"Insufficient balance. Resets in 2hr 15min"}}"#;
    let evidence = Evidence::Answer { status: 401, headers: &HeaderMap::new(), body };
    assert_eq!(classify(&catalogue.get("go").unwrap().classes, context, evidence), limit(Some(secs(8_100))));
}
