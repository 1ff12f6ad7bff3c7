//! Anthropic's Messages: answers, the order of stream events, errors and the two families of rate-limit headers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::route::Operation;
use super::{Call, Refusal, named_event};
use crate::reply::{Reply, rfc3339};
use crate::usage_endpoint::UsageTold;

/// The length of the longer window of a subscription, in seconds.
const SEVEN_DAYS_S: i64 = 7 * 86_400;

pub(super) fn answer(operation: Operation, call: &Call<'_>) -> Reply {
    let reply = match operation {
        Operation::CountTokens => Reply::json(200, &json!({ "input_tokens": call.input_tokens() })),
        Operation::Models => models(),
        _ if call.streams() => Reply::events("text/event-stream; charset=utf-8", events(call)),
        _ => Reply::json(200, &message(call, &json!([{ "type": "text", "text": call.text() }]), &json!("end_turn"))),
    };
    limits(reply, call).header("request-id", request_id(call.serial))
}

fn request_id(serial: u64) -> String {
    format!("req_sim{serial:08}")
}

fn message(call: &Call<'_>, content: &Value, stop_reason: &Value) -> Value {
    let output_tokens = if stop_reason.is_null() { 1 } else { call.output_tokens() };
    json!({
        "id": format!("msg_sim{:08}", call.serial),
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {
            "input_tokens": call.input_tokens(),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": { "ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0 },
            "output_tokens": output_tokens,
            "service_tier": "standard",
        },
    })
}

fn events(call: &Call<'_>) -> Vec<Bytes> {
    let event = |value: Value| {
        let name = value.get("type").and_then(Value::as_str).unwrap_or_default();
        named_event(name, &value)
    };
    let block = json!({ "type": "text", "text": "" });
    let mut events = vec![
        event(json!({ "type": "message_start", "message": message(call, &json!([]), &Value::Null) })),
        event(json!({ "type": "content_block_start", "index": 0, "content_block": block })),
        event(json!({ "type": "ping" })),
    ];
    events.extend(call.pieces().into_iter().map(|text| {
        let delta = json!({ "type": "text_delta", "text": text });
        event(json!({ "type": "content_block_delta", "index": 0, "delta": delta }))
    }));
    let usage = json!({
        "input_tokens": call.input_tokens(),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": call.output_tokens(),
    });
    let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    events.extend([
        event(json!({ "type": "content_block_stop", "index": 0 })),
        event(json!({ "type": "message_delta", "delta": delta, "usage": usage })),
        event(json!({ "type": "message_stop" })),
    ]);
    events
}

fn models() -> Reply {
    let model = |id: &str, name: &str| json!({ "type": "model", "id": id, "display_name": name, "created_at": "2026-01-01T00:00:00Z" });
    let data = [model("sim-1", "Simulated 1"), model("sim-2", "Simulated 2")];
    Reply::json(200, &json!({ "data": data, "has_more": false, "first_id": "sim-1", "last_id": "sim-2" }))
}

/// A subscription reports its windows, an API key its buckets.
fn limits(reply: Reply, call: &Call<'_>) -> Reply {
    let now_s = call.now_s();
    if call.by_api_key {
        let reset = rfc3339(call.now_ms.saturating_add(1000));
        let reply = ["requests", "input-tokens", "output-tokens"].into_iter().fold(reply, |reply, bucket| {
            let name = |field: &str| format!("anthropic-ratelimit-{bucket}-{field}");
            reply.header(&name("limit"), 4000).header(&name("remaining"), 3999).header(&name("reset"), &reset)
        });
        return reply.header("anthropic-organization-id", "00000000-0000-4000-8000-000000000001");
    }
    let told = call.usage.unwrap_or_else(|| UsageTold::by_default(now_s));
    let (five, five_ends) = (told.five_hour_percent / 100.0, now_s.saturating_add(told.five_hour_resets_in_s));
    let (seven, seven_ends) = (told.seven_day_percent / 100.0, now_s.saturating_add(told.seven_day_resets_in_s));
    let status = |used: f64| if used >= 1.0 { "rejected" } else { "allowed" };
    reply
        .header("anthropic-organization-id", "00000000-0000-4000-8000-000000000001")
        .header("anthropic-ratelimit-unified-status", "allowed")
        .header("anthropic-ratelimit-unified-representative-claim", "five_hour")
        .header("anthropic-ratelimit-unified-reset", five_ends)
        .header("anthropic-ratelimit-unified-5h-status", status(five))
        .header("anthropic-ratelimit-unified-5h-utilization", five)
        .header("anthropic-ratelimit-unified-5h-reset", five_ends)
        .header("anthropic-ratelimit-unified-7d-status", status(seven))
        .header("anthropic-ratelimit-unified-7d-utilization", seven)
        .header("anthropic-ratelimit-unified-7d-reset", seven_ends)
}

fn window_end(now_s: i64, length_s: i64) -> i64 {
    (now_s.div_euclid(length_s) + 1).saturating_mul(length_s)
}

pub(super) fn refuse(refusal: Refusal, now_ms: i64) -> Reply {
    let (status, kind, message) = match refusal {
        Refusal::BadRequest => (400, "invalid_request_error", "The request body is not valid JSON"),
        Refusal::Unauthorized => (401, "authentication_error", "Invalid authentication credentials"),
        Refusal::Policy => (403, "permission_error", "OAuth authentication is currently not allowed for this organization."),
        Refusal::NotFound => (404, "not_found_error", "Not found"),
        Refusal::RateLimited { .. } => (429, "rate_limit_error", "Number of requests has exceeded your rate limit"),
        Refusal::Quota { .. } => (429, "rate_limit_error", "This request would exceed your account's rate limit. Please try again later."),
        Refusal::Overloaded => (529, "overloaded_error", "Overloaded"),
        Refusal::Internal => (500, "api_error", "Internal server error"),
    };
    let error = json!({ "type": kind, "message": message });
    let body = json!({ "type": "error", "error": error, "request_id": request_id(0) });
    let reply = Reply::json(status, &body).header("request-id", request_id(0));
    match refusal {
        Refusal::RateLimited { retry_after_s } => reply.header("retry-after", retry_after_s),
        Refusal::Quota { reset_in_s } => {
            let now_s = now_ms.div_euclid(1000);
            let reset_at_s = now_s.saturating_add(i64::try_from(reset_in_s).unwrap_or(i64::MAX));
            reply
                .header("retry-after", reset_in_s)
                .header("anthropic-ratelimit-unified-status", "rejected")
                .header("anthropic-ratelimit-unified-representative-claim", "five_hour")
                .header("anthropic-ratelimit-unified-reset", reset_at_s)
                .header("anthropic-ratelimit-unified-5h-status", "rejected")
                .header("anthropic-ratelimit-unified-5h-utilization", "1.0")
                .header("anthropic-ratelimit-unified-5h-reset", reset_at_s)
                .header("anthropic-ratelimit-unified-7d-status", "allowed")
                .header("anthropic-ratelimit-unified-7d-utilization", "0.40")
                .header("anthropic-ratelimit-unified-7d-reset", window_end(now_s, SEVEN_DAYS_S))
        }
        _ => reply,
    }
}

pub(super) fn error_event() -> Bytes {
    let error = json!({ "type": "overloaded_error", "message": "Overloaded" });
    named_event("error", &json!({ "type": "error", "error": error }))
}
