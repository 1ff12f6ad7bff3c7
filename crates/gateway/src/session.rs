//! The model and the conversation of a request, read from headers or from as little of the body as is needed.
//!
//! Nothing here is proof: a provider may read the same body differently, for instance where a field stands twice. It only steers
//! the choice of an account.

use claviger_domain::profile::SessionRule;
use claviger_domain::session::SessionHash;
use http::HeaderMap;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Most messages that are looked at for the first one of the user; agents put at most a few instructions before it.
const OPENING_MESSAGES_MAX: usize = 8;

/// Fields of all dialects that hold instructions, tools and messages; a dialect uses one of each kind.
const OPENING_FIELDS: [&str; 8] =
    ["system", "instructions", "systemInstruction", "system_instruction", "tools", "messages", "input", "contents"];

/// The model that a path or a body names.
pub(crate) fn model<'a>(path: &'a str, body: &'a [u8]) -> Option<Cow<'a, str>> {
    if let Some((_, after)) = path.split_once("/models/") {
        let name = after.split([':', '/']).next().filter(|name| !name.is_empty());
        return name.map(Cow::Borrowed);
    }
    let [model] = fields(body, ["model"], Until::AllSeen);
    text(model?)
}

/// The conversation: what the provider's rule says, first found, else a fingerprint of how it began.
pub(crate) fn find(rule: &SessionRule, headers: &HeaderMap, body: &[u8], model: Option<&str>) -> Option<SessionHash> {
    let named = rule.headers.iter().find_map(|name| headers.get(name).filter(|value| !value.is_empty()));
    if let Some(value) = named {
        return Some(SessionHash::of(&[b"named", value.as_bytes()]));
    }
    for name in &rule.fields {
        let [value] = fields(body, [name], Until::AllSeen);
        if let Some(value) = value.and_then(text).filter(|value| !value.is_empty()) {
            return Some(SessionHash::of(&[b"named", value.as_bytes()]));
        }
    }
    opening(body, model)
}

/// The fingerprint of model, instructions, tools and messages up to the first one of the user. They stay the same while the
/// conversation grows.
fn opening(body: &[u8], model: Option<&str>) -> Option<SessionHash> {
    let found = fields(body, OPENING_FIELDS, Until::End);
    let [.., messages, input, contents] = found;
    let list = messages.or(input).or(contents)?;
    let mut parts = vec![b"opening".as_slice(), model.unwrap_or_default().as_bytes()];
    parts.extend(found.iter().take(OPENING_FIELDS.len() - 3).map(|field| field.map_or(&[][..], |raw| raw.get().as_bytes())));
    let first = first_messages(list);
    if first.is_empty() {
        parts.push(list.get().as_bytes());
    }
    parts.extend(first.iter().map(|message| message.get().as_bytes()));
    Some(SessionHash::of(&parts))
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<&str>(raw.get()) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        Err(_escaped_or_no_text) => serde_json::from_str::<String>(raw.get()).ok().map(Cow::Owned),
    }
}

/// When reading a body may stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// As soon as every field was seen.
    AllSeen,
    /// At its end, since absent fields are expected.
    End,
}

/// The raw values of top-level fields of a JSON object. What is no object has none.
fn fields<'a, const N: usize>(body: &'a [u8], names: [&str; N], until: Until) -> [Option<&'a RawValue>; N] {
    let mut found = [None; N];
    if body.first().is_some_and(|first| *first == b'{' || first.is_ascii_whitespace()) {
        let object = Object { names: &names, found: &mut found, until };
        // A body that breaks off or is no JSON gives what was found until then; the provider will say what is wrong with it.
        drop(serde_json::Deserializer::from_slice(body).deserialize_map(object));
    }
    found
}

struct Object<'s, 'a> {
    names: &'s [&'s str],
    found: &'s mut [Option<&'a RawValue>],
    until: Until,
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(index) = map.next_key_seed(IndexOf(self.names))? {
            match index.and_then(|index| self.found.get_mut(index)) {
                Some(slot) => *slot = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
            if self.until == Until::AllSeen && self.found.iter().all(Option::is_some) {
                return Err(A::Error::custom("all was seen"));
            }
        }
        Ok(())
    }
}

/// The position of a key among names.
struct IndexOf<'s>(&'s [&'s str]);

impl<'a> DeserializeSeed<'a> for IndexOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IndexOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

/// The first elements of a list up to the first one of the user; empty where it is no list.
fn first_messages(list: &RawValue) -> Vec<&RawValue> {
    let mut first = Vec::new();
    drop(serde_json::Deserializer::from_str(list.get()).deserialize_seq(Messages(&mut first)));
    first
}

struct Messages<'s, 'a>(&'s mut Vec<&'a RawValue>);

impl<'a> Visitor<'a> for Messages<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(message) = list.next_element::<&'a RawValue>()? {
            self.0.push(message);
            let [role] = fields(message.get().as_bytes(), ["role"], Until::AllSeen);
            let is_first_of_user = role.and_then(text).is_some_and(|role| role == "user");
            if is_first_of_user || self.0.len() == OPENING_MESSAGES_MAX {
                return Err(A::Error::custom("enough was seen"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn session(body: &str) -> Option<SessionHash> {
        find(&SessionRule::default(), &HeaderMap::new(), body.as_bytes(), None)
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
            assert_eq!(model(path, body.as_bytes()).as_deref(), expected, "{path} {body}");
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
        let by_field = find(&rule, &headers, body("a").as_bytes(), None);
        assert_eq!(by_field, find(&rule, &headers, body("b").as_bytes(), None));
        headers.insert("x-session", HeaderValue::from_static("s1"));
        let by_header = find(&rule, &headers, body("a").as_bytes(), None);
        assert_ne!(by_header, by_field);
        assert_eq!(by_header, find(&rule, &headers, b"", None));
        headers.insert("x-session", HeaderValue::from_static(""));
        assert_eq!(find(&rule, &headers, body("a").as_bytes(), None), by_field);
    }
}
