//! The model and the conversation of a request, read from headers or from as little of the body as is needed.
//!
//! Nothing here is proof: a provider may read the same body differently, for instance where a field stands twice. It only steers
//! the choice of an account.

use crate::json::{Elements, Field, Fields};
use claviger_domain::profile::SessionRule;
use claviger_domain::session::SessionHash;
use http::HeaderMap;
use memchr::memmem;
use std::borrow::Cow;

/// Most messages that are looked at for the first one of the user; agents put at most a few instructions before it.
const OPENING_MESSAGES_MAX: usize = 8;

/// Most fields of a body that are looked at. Requests have up to 30; a body of nothing but fields must not take many times its room.
const FIELDS_MAX: usize = 256;

/// Fields for which there is room at once: what requests of agents have.
const FIELDS_USUAL: usize = 16;

/// Fields of all dialects that hold instructions and tools; a dialect uses one of each kind.
const OPENING_FIELDS: [&str; 5] = ["system", "instructions", "systemInstruction", "system_instruction", "tools"];

/// Fields of all dialects that hold messages; a dialect uses one.
const MESSAGE_FIELDS: [&str; 3] = ["messages", "input", "contents"];

/// What precedes a model in a path.
pub(crate) const MODELS: &str = "/models/";

/// The fields of a body. It is read once, and only as far as it is asked for.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    unread: std::iter::Take<Fields<'a>>,
    read: Vec<Field<'a>>,
}

impl<'a> Body<'a> {
    /// Nothing is read yet. What is no object has no fields.
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self { unread: Fields::of(body).take(FIELDS_MAX), read: Vec::with_capacity(FIELDS_USUAL) }
    }

    /// The first field of this name, as it is written.
    fn get(&mut self, name: &str) -> Option<&'a [u8]> {
        if let Some(field) = self.read.iter().find(|field| field.is(name)) {
            return Some(field.value);
        }
        loop {
            let field = self.unread.next()?;
            self.read.push(field);
            if field.is(name) {
                return Some(field.value);
            }
        }
    }
}

/// The model that a path or a body names.
pub(crate) fn model<'a>(path: &'a str, body: &mut Body<'a>) -> Option<Cow<'a, str>> {
    if let Some(at) = memmem::find(path.as_bytes(), MODELS.as_bytes()) {
        let name = path.get(at + MODELS.len()..)?.split([':', '/']).next().filter(|name| !name.is_empty());
        return name.map(Cow::Borrowed);
    }
    text(body.get("model")?)
}

/// The conversation: what the provider's rule says, first found, else a fingerprint of how it began.
pub(crate) fn find(rule: &SessionRule, headers: &HeaderMap, body: &mut Body<'_>, model: Option<&str>) -> Option<SessionHash> {
    let named = rule.headers.iter().find_map(|name| headers.get(name).filter(|value| !value.is_empty()));
    if let Some(value) = named {
        return Some(SessionHash::of(&[b"named", value.as_bytes()]));
    }
    for name in &rule.fields {
        if let Some(value) = body.get(name).and_then(text).filter(|value| !value.is_empty()) {
            return Some(SessionHash::of(&[b"named", value.as_bytes()]));
        }
    }
    opening(body, model)
}

/// The fingerprint of model, instructions, tools and messages up to the first one of the user. They stay the same while the
/// conversation grows.
fn opening(body: &mut Body<'_>, model: Option<&str>) -> Option<SessionHash> {
    let list = MESSAGE_FIELDS.iter().find_map(|name| body.get(name))?;
    let mut parts = Vec::with_capacity(2 + OPENING_FIELDS.len() + OPENING_MESSAGES_MAX);
    parts.extend([b"opening", model.unwrap_or_default().as_bytes()]);
    parts.extend(OPENING_FIELDS.iter().map(|name| body.get(name).unwrap_or_default()));
    let before = parts.len();
    for message in Elements::of(list).take(OPENING_MESSAGES_MAX) {
        parts.push(message);
        if is_of_user(message) {
            break;
        }
    }
    if parts.len() == before {
        parts.push(list);
    }
    Some(SessionHash::of(&parts))
}

pub(crate) fn text(raw: &[u8]) -> Option<Cow<'_, str>> {
    match serde_json::from_slice::<&str>(raw) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        Err(_escaped_or_no_text) => serde_json::from_slice::<String>(raw).ok().map(Cow::Owned),
    }
}

fn is_of_user(message: &[u8]) -> bool {
    let role = Fields::of(message).find(|field| field.is("role"));
    role.and_then(|role| text(role.value)).is_some_and(|role| role == "user")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn session(body: &str) -> Option<SessionHash> {
        find(&SessionRule::default(), &HeaderMap::new(), &mut Body::of(body.as_bytes()), None)
    }

    #[test]
    fn a_model_is_found_in_a_path_or_a_body_and_reading_stops_there() {
        for (path, body, expected) in [
            ("/v1/messages", r#"{"model":"m-1","x":{"model":"no"}}"#, Some("m-1")),
            ("/v1/messages", r#"{"x":{"model":"no"},"model":"m-1""#, Some("m-1")),
            ("/v1/messages", r#"{"model":"m-1" then no JSON at all"#, Some("m-1")),
            ("/v1/messages", r#" {"mod\u0065l":"m\u002d1"}"#, Some("m-1")),
            ("/v1/messages", r#"{"model":7}"#, None),
            ("/v1/messages", r#"["model","m-1"]"#, None),
            ("/v1/messages", "", None),
            ("/v1/messages", "\u{1}", None),
            ("/v1beta/models/g-2:streamGenerateContent", r#"{"model":"no"}"#, Some("g-2")),
            ("/v1beta/models/", "{}", None),
            ("/v1/models/g-2", "", Some("g-2")),
        ] {
            assert_eq!(model(path, &mut Body::of(body.as_bytes())).as_deref(), expected, "{path} {body}");
        }
    }

    #[test]
    fn a_conversation_keeps_its_session_while_it_grows() {
        let opening = r#""system":"s","tools":[{"name":"t"}],"messages":[{"role":"user","content":"hi"}"#;
        let first = session(&format!("{{{opening}],\"stream\":true}}"));
        let later =
            session(&format!("{{{opening},{{\"role\":\"assistant\",\"content\":\"hello\"}},{{\"role\":\"user\",\"content\":\"more\"}}]}}"));
        assert!(first.is_some());
        assert_eq!(first, later);
    }

    #[test]
    fn conversations_that_begin_differently_are_different() {
        let bodies = [
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]}"#,
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"b"}]}"#,
            r#"{"system":"s","messages":[{"role":"user","content":"a"}]}"#,
            r#"{"instructions":"s","messages":[{"role":"user","content":"a"}]}"#,
            r#"{"input":"a"}"#,
            r#"{"input":"b"}"#,
            r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
        ];
        let sessions: std::collections::HashSet<_> = bodies.iter().map(|body| session(body).unwrap()).collect();
        assert_eq!(sessions.len(), bodies.len());
        assert_eq!(session(r#"{"model":"m"}"#), None);
        assert_eq!(session("no json"), None);
    }

    #[test]
    fn the_rule_of_the_provider_goes_before_the_fingerprint() {
        let rule =
            SessionRule { headers: vec![HeaderName::from_static("x-session")], fields: vec!["cache_key".to_owned(), "user".to_owned()] };
        let mut headers = HeaderMap::new();
        let body = |text: &str| format!(r#"{{"user":"u","cache_key":"c","input":"{text}"}}"#);
        let by_field = find(&rule, &headers, &mut Body::of(body("a").as_bytes()), None);
        assert_eq!(by_field, find(&rule, &headers, &mut Body::of(body("b").as_bytes()), None));
        headers.insert("x-session", HeaderValue::from_static("s1"));
        let by_header = find(&rule, &headers, &mut Body::of(body("a").as_bytes()), None);
        assert_ne!(by_header, by_field);
        assert_eq!(by_header, find(&rule, &headers, &mut Body::of(b""), None));
        headers.insert("x-session", HeaderValue::from_static(""));
        assert_eq!(find(&rule, &headers, &mut Body::of(body("a").as_bytes()), None), by_field);
    }
}
