//! OpenAI's Responses, in the public edition and in the one behind ChatGPT that Codex speaks to.

use bytes::Bytes;
use serde_json::{Value, json};

use super::chat;
use super::{Call, Refusal, named_event};
use crate::reply::Reply;

/// The lengths of the two windows of a ChatGPT plan, in minutes.
const PRIMARY_MINUTES: i64 = 300;
const SECONDARY_MINUTES: i64 = 10_080;

/// Which of the two endpoints answers; they differ in headers and errors alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    Public,
    Codex,
}

pub(super) fn answer(call: &Call<'_>, edition: Edition) -> Reply {
    let reply = if call.streams() {
        Reply::events("text/event-stream; charset=utf-8", events(call))
    } else {
        Reply::json(200, &response(call, "completed", &json!([item(call, "completed")])))
    };
    match edition {
        Edition::Public => chat::limits(reply, call.serial),
        Edition::Codex => windows(reply, call.now_s(), 12),
    }
}

fn response(call: &Call<'_>, status: &str, output: &Value) -> Value {
    let usage = match status {
        "completed" => {
            let (input, output) = (call.input_tokens(), call.output_tokens());
            json!({
                "input_tokens": input,
                "input_tokens_details": { "cached_tokens": 0 },
                "output_tokens": output,
                "output_tokens_details": { "reasoning_tokens": 0 },
                "total_tokens": input + output,
            })
        }
        _ => Value::Null,
    };
    json!({
        "id": format!("resp_sim{:08}", call.serial),
        "object": "response",
        "created_at": call.now_s(),
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "model": call.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": { "effort": null, "summary": null },
        "service_tier": "default",
        "store": false,
        "temperature": 1.0,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": null,
    })
}

fn item_id(call: &Call<'_>) -> String {
    format!("msg_sim{:08}", call.serial)
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn item(call: &Call<'_>, status: &str) -> Value {
    let content = if status == "completed" { json!([part(&call.pieces().concat())]) } else { json!([]) };
    json!({ "id": item_id(call), "type": "message", "status": status, "role": "assistant", "content": content })
}

fn events(call: &Call<'_>) -> Vec<Bytes> {
    let id = item_id(call);
    let text = call.pieces().concat();
    let at = |kind: &str, mut fields: Value| {
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("type".to_owned(), Value::from(kind));
            fields.insert("output_index".to_owned(), Value::from(0));
        }
        fields
    };
    let in_part = |kind: &str, fields: Value| {
        let mut fields = at(kind, fields);
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("item_id".to_owned(), Value::from(id.clone()));
            fields.insert("content_index".to_owned(), Value::from(0));
        }
        fields
    };
    let started = response(call, "in_progress", &json!([]));
    let mut values = vec![
        json!({ "type": "response.created", "response": started }),
        json!({ "type": "response.in_progress", "response": started }),
        at("response.output_item.added", json!({ "item": item(call, "in_progress") })),
        in_part("response.content_part.added", json!({ "part": part("") })),
    ];
    values.extend(call.pieces().into_iter().map(|delta| in_part("response.output_text.delta", json!({ "delta": delta, "logprobs": [] }))));
    let completed = response(call, "completed", &json!([item(call, "completed")]));
    values.extend([
        in_part("response.output_text.done", json!({ "text": text, "logprobs": [] })),
        in_part("response.content_part.done", json!({ "part": part(&text) })),
        at("response.output_item.done", json!({ "item": item(call, "completed") })),
        json!({ "type": "response.completed", "response": completed }),
    ]);
    values.into_iter().enumerate().map(|(number, value)| numbered(number, value)).collect()
}

/// Every event of this dialect carries its number in the stream and repeats its type as the event's name.
fn numbered(number: usize, mut value: Value) -> Bytes {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("sequence_number".to_owned(), Value::from(number));
    }
    named_event(&kind, &value)
}

/// The list that Codex asks its own endpoint for; empty, so that it keeps its built-in one.
pub(super) fn codex_models() -> Reply {
    Reply::json(200, &json!({ "models": [] }))
}

/// The plan's windows as ChatGPT reports them.
fn windows(reply: Reply, now_s: i64, primary_used_percent: u8) -> Reply {
    reply
        .header("x-codex-plan-type", "plus")
        .header("x-codex-primary-used-percent", primary_used_percent)
        .header("x-codex-primary-window-minutes", PRIMARY_MINUTES)
        .header("x-codex-primary-reset-at", now_s + PRIMARY_MINUTES * 60)
        .header("x-codex-secondary-used-percent", 4)
        .header("x-codex-secondary-window-minutes", SECONDARY_MINUTES)
        .header("x-codex-secondary-reset-at", now_s + SECONDARY_MINUTES * 60)
}

/// An error of the endpoint behind ChatGPT.
pub(super) fn codex_refuse(refusal: Refusal, now_ms: i64) -> Reply {
    let now_s = now_ms.div_euclid(1000);
    match refusal {
        Refusal::Quota { reset_in_s } => {
            let resets_at = now_s.saturating_add(i64::try_from(reset_in_s).unwrap_or(i64::MAX));
            let error = json!({
                "type": "usage_limit_reached",
                "message": "The usage limit has been reached",
                "plan_type": "plus",
                "resets_at": resets_at,
                "resets_in_seconds": reset_in_s,
            });
            let mut reply = windows(Reply::json(429, &json!({ "error": error })), now_s, 100);
            for (name, value) in &mut reply.headers {
                if name == "x-codex-primary-reset-at" {
                    *value = resets_at.to_string();
                }
            }
            reply
        }
        Refusal::Unauthorized => {
            let message = "Your authentication token has been invalidated. Please try signing in again.";
            let error = json!({ "message": message, "type": null, "code": "token_invalidated", "param": null });
            Reply::json(401, &json!({ "error": error, "status": 401 }))
        }
        Refusal::Policy => {
            let message = "This request was refused by policy.";
            Reply::json(403, &json!({ "error": { "message": message, "type": "policy", "code": "cyber_policy" } }))
        }
        other => chat::refuse(other),
    }
}

pub(super) fn error_event() -> Bytes {
    let message = "The server had an error while processing your request.";
    let value = json!({
        "type": "error", "code": "server_error", "message": message, "param": null, "sequence_number": 9_999,
    });
    named_event("error", &value)
}
