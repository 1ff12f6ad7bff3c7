//! OpenAI's Chat Completions, embeddings and model list, and the error shape that OpenAI's endpoints share.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::route::Operation;
use super::{Call, Refusal, plain_event};
use crate::reply::Reply;

pub(super) fn answer(operation: Operation, call: &Call<'_>) -> Reply {
    let reply = match operation {
        Operation::Models => models(),
        Operation::Embeddings => embeddings(call),
        _ if call.streams() => Reply::events("text/event-stream; charset=utf-8", events(call)),
        _ => Reply::json(200, &completion(call)),
    };
    limits(reply, call.serial)
}

/// The throttle headers of every good answer.
pub(super) fn limits(reply: Reply, serial: u64) -> Reply {
    reply
        .header("x-request-id", format!("req_sim{serial:08}"))
        .header("openai-processing-ms", 12)
        .header("openai-version", "2020-10-01")
        .header("x-ratelimit-limit-requests", 10_000)
        .header("x-ratelimit-limit-tokens", 2_000_000)
        .header("x-ratelimit-remaining-requests", 9_999)
        .header("x-ratelimit-remaining-tokens", 1_999_900)
        .header("x-ratelimit-reset-requests", "6ms")
        .header("x-ratelimit-reset-tokens", "3ms")
}

fn usage(call: &Call<'_>) -> Value {
    let (input, output) = (call.input_tokens(), call.output_tokens());
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

fn completion(call: &Call<'_>) -> Value {
    let message = json!({ "role": "assistant", "content": call.text(), "refusal": null, "annotations": [] });
    json!({
        "id": format!("chatcmpl-sim{:08}", call.serial),
        "object": "chat.completion",
        "created": call.now_s(),
        "model": call.model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" }],
        "usage": usage(call),
        "service_tier": "default",
        "system_fingerprint": "fp_sim",
    })
}

fn events(call: &Call<'_>) -> Vec<Bytes> {
    let with_usage = call.body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
    let chunk = |choices: Value, usage: Value| {
        let mut chunk = json!({
            "id": format!("chatcmpl-sim{:08}", call.serial),
            "object": "chat.completion.chunk",
            "created": call.now_s(),
            "model": call.model,
            "service_tier": "default",
            "system_fingerprint": "fp_sim",
            "choices": choices,
        });
        if let (true, Some(fields)) = (with_usage, chunk.as_object_mut()) {
            fields.insert("usage".to_owned(), usage);
        }
        plain_event(&chunk)
    };
    let choice = |delta: Value, finish_reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        chunk(json!([choice]), Value::Null)
    };
    let mut events = vec![choice(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null)];
    events.extend(call.pieces().into_iter().map(|text| choice(json!({ "content": text }), Value::Null)));
    events.push(choice(json!({}), json!("stop")));
    if with_usage {
        events.push(chunk(json!([]), usage(call)));
    }
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

fn models() -> Reply {
    let model = |id: &str| json!({ "id": id, "object": "model", "created": 1_767_225_600, "owned_by": "simulator" });
    Reply::json(200, &json!({ "object": "list", "data": [model("sim-1"), model("sim-2")] }))
}

/// One vector of four numbers for each input, packed where the client asks for base64 as OpenAI's own does.
fn embeddings(call: &Call<'_>) -> Reply {
    let inputs = call.body.get("input").and_then(Value::as_array).map_or(1, Vec::len);
    let numbers = [0.5_f32, -0.5, 0.5, 0.5];
    let vector = match call.body.get("encoding_format").and_then(Value::as_str) {
        Some("base64") => Value::from(STANDARD.encode(numbers.map(f32::to_le_bytes).concat())),
        _ => json!(numbers),
    };
    let data: Vec<_> = (0..inputs).map(|index| json!({ "object": "embedding", "index": index, "embedding": vector })).collect();
    let usage = json!({ "prompt_tokens": call.input_tokens(), "total_tokens": call.input_tokens() });
    Reply::json(200, &json!({ "object": "list", "data": data, "model": call.model, "usage": usage }))
}

/// An error of OpenAI's public API.
pub(super) fn refuse(refusal: Refusal) -> Reply {
    let (status, kind, code, message) = match refusal {
        Refusal::BadRequest => (400, "invalid_request_error", Value::Null, "We could not parse the JSON body of your request."),
        Refusal::Unauthorized => (401, "invalid_request_error", json!("invalid_api_key"), "Incorrect API key provided."),
        Refusal::Policy => (403, "invalid_request_error", json!("model_not_allowed"), "Your organization may not use this model."),
        Refusal::NotFound => (404, "invalid_request_error", json!("unknown_url"), "Unknown request URL."),
        Refusal::RateLimited { .. } => (429, "requests", json!("rate_limit_exceeded"), "Rate limit reached for requests."),
        Refusal::Quota { .. } => (
            429,
            "insufficient_quota",
            json!("insufficient_quota"),
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        Refusal::Overloaded => (503, "server_error", json!("server_is_overloaded"), "The server is overloaded."),
        Refusal::Internal => (500, "server_error", Value::Null, "The server had an error while processing your request."),
    };
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    let reply = Reply::json(status, &json!({ "error": error })).header("x-request-id", "req_sim");
    match refusal {
        Refusal::RateLimited { retry_after_s } => reply
            .header("retry-after", retry_after_s)
            .header("x-ratelimit-remaining-requests", 0)
            .header("x-ratelimit-reset-requests", format!("{retry_after_s}s")),
        _ => reply,
    }
}

pub(super) fn error_event() -> Bytes {
    let message = "The server had an error while processing your request.";
    plain_event(&json!({ "error": { "message": message, "type": "server_error", "param": null, "code": null } }))
}
