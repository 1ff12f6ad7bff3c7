//! Google's generateContent: whole, as server-sent events or as a growing array, and errors as google.rpc.Status.

use bytes::Bytes;
use serde_json::{Value, json};

use super::route::Operation;
use super::{Call, Refusal};
use crate::reply::Reply;

pub(super) fn answer(operation: Operation, call: &Call<'_>) -> Reply {
    match operation {
        Operation::Models => models(),
        Operation::CountTokens => Reply::json(200, &json!({ "totalTokens": call.input_tokens() })),
        Operation::TextEvents => Reply::events("text/event-stream", chunks(call).iter().map(event)),
        Operation::TextArray => Reply::events("application/json; charset=UTF-8", array(call)),
        _ => Reply::json(200, &chunk(call, &call.text(), Last::Yes)),
    }
}

/// Whether a chunk ends the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

fn chunk(call: &Call<'_>, text: &str, last: Last) -> Value {
    let (input, output) = (call.input_tokens(), call.output_tokens());
    let content = json!({ "parts": [{ "text": text }], "role": "model" });
    let mut candidate = json!({ "content": content, "index": 0 });
    let mut usage = json!({ "promptTokenCount": input, "totalTokenCount": input });
    if last == Last::Yes {
        candidate = json!({ "content": content, "index": 0, "finishReason": "STOP" });
        usage = json!({
            "promptTokenCount": input,
            "candidatesTokenCount": output,
            "totalTokenCount": input + output,
        });
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": call.model,
        "responseId": format!("sim{:08}", call.serial),
    })
}

fn chunks(call: &Call<'_>) -> Vec<Value> {
    let pieces = call.pieces();
    let last = pieces.len().saturating_sub(1);
    let end = |index| if index == last { Last::Yes } else { Last::No };
    pieces.iter().enumerate().map(|(index, text)| chunk(call, text, end(index))).collect()
}

/// Google ends its lines with CR LF.
fn event(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\r\n\r\n"))
}

fn array(call: &Call<'_>) -> Vec<Bytes> {
    let mut open = "[";
    let mut parts: Vec<Bytes> = Vec::new();
    for chunk in chunks(call) {
        parts.push(Bytes::from(format!("{open}{chunk}")));
        open = ",\r\n";
    }
    parts.push(Bytes::from_static(b"]"));
    parts
}

fn models() -> Reply {
    let model = |id: &str| {
        json!({
            "name": format!("models/{id}"),
            "version": "1",
            "displayName": id,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        })
    };
    Reply::json(200, &json!({ "models": [model("sim-1"), model("sim-2")] }))
}

pub(super) fn refuse(refusal: Refusal) -> Reply {
    let (code, status, message) = match refusal {
        Refusal::BadRequest => (400, "INVALID_ARGUMENT", "Invalid JSON payload received."),
        Refusal::Unauthorized => (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        Refusal::Policy => (403, "PERMISSION_DENIED", "The caller does not have permission."),
        Refusal::NotFound => (404, "NOT_FOUND", "Requested entity was not found."),
        Refusal::RateLimited { .. } => (429, "RESOURCE_EXHAUSTED", "Too many requests. Please retry."),
        Refusal::Quota { .. } => (429, "RESOURCE_EXHAUSTED", "You have exhausted your quota on this model."),
        Refusal::Overloaded => (503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        Refusal::Internal => (500, "INTERNAL", "An internal error has occurred."),
    };
    let details = match refusal {
        Refusal::RateLimited { retry_after_s } => limit_details("RATE_LIMIT_EXCEEDED", retry_after_s),
        Refusal::Quota { reset_in_s } => limit_details("QUOTA_EXHAUSTED", reset_in_s),
        _ => json!([]),
    };
    let error = json!({ "code": code, "message": message, "status": status, "details": details });
    Reply::json(code, &json!({ "error": error }))
}

fn limit_details(reason: &str, delay_s: u64) -> Value {
    let delay = format!("{delay_s}s");
    json!([
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "cloudcode-pa.googleapis.com",
            "metadata": { "quotaResetDelay": delay },
        },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
    ])
}

pub(super) fn error_event() -> Bytes {
    let error = json!({ "code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE" });
    event(&json!({ "error": error }))
}
