//! The shape of a token endpoint's body: which of its members matter, and none of the others is kept.

use claviger_domain::profile::TokenNames;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use zeroize::Zeroize;

/// What a body is.
pub(crate) enum Content {
    /// Nothing but blanks.
    Empty,
    /// A page, by its media type or its first character.
    Html,
    /// A JSON object.
    Object(Box<Members>),
    /// JSON, but no object.
    OtherJson,
    /// Neither.
    Unparsable,
}

impl Content {
    /// Reads a body. A byte order mark before JSON is skipped (RFC 8259 §8.1 allows that).
    pub(crate) fn of(content_type: Option<&str>, body: &[u8], names: &TokenNames) -> Self {
        let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
        if content_type.is_some_and(is_html) || text.starts_with(b"<") {
            Self::Html
        } else if text.is_empty() {
            Self::Empty
        } else if let Some(members) = Members::read(text, names) {
            Self::Object(Box::new(members))
        } else if serde_json::from_slice::<IgnoredAny>(text).is_ok() && !text.starts_with(b"{") {
            Self::OtherJson
        } else {
            Self::Unparsable
        }
    }
}

fn is_html(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/html") || essence.eq_ignore_ascii_case("application/xhtml+xml")
}

/// The members that matter. Of a repeated member the last one counts, as with the parsers that vendors' own clients use.
/// What nobody took out is overwritten when it is dropped.
#[derive(Default)]
pub(crate) struct Members {
    pub(crate) access_token: Option<Value>,
    pub(crate) refresh_token: Option<Value>,
    /// Kept as it was written, since a number out of range must not cost the token beside it.
    pub(crate) expires_in: Option<Box<RawValue>>,
    pub(crate) scope: Option<Value>,
    error: Option<Value>,
    code: Option<Value>,
}

impl Drop for Members {
    fn drop(&mut self) {
        let values = [&mut self.access_token, &mut self.refresh_token, &mut self.error, &mut self.code];
        values.into_iter().flatten().for_each(wipe);
    }
}

/// Overwrites every text in a value. The parser bounds its depth.
pub(crate) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Members {
    fn read(text: &[u8], names: &TokenNames) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let members = MembersSeed(names).deserialize(&mut deserializer).ok()?;
        deserializer.end().ok().map(|()| members)
    }

    /// Keeps a secret member; the one before it is overwritten.
    fn keep(slot: &mut Option<Value>, value: Value) {
        slot.replace(value).iter_mut().for_each(wipe);
    }

    /// Whether there is an `error` that says something.
    pub(crate) fn has_error(&self) -> bool {
        !matches!(&self.error, None | Some(Value::Null)) && self.error.as_ref().and_then(Value::as_str) != Some("")
    }

    /// Where error codes stand, in this order: `error`, `error.code`, `error.type`, `code`.
    pub(crate) fn error_codes(&self) -> impl Iterator<Item = &str> {
        let inner = |name| self.error.as_ref().and_then(|error| error.get(name));
        [self.error.as_ref(), inner("code"), inner("type"), self.code.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|code| !code.is_empty())
    }
}

/// Reads members by the names that a rule gives them.
struct MembersSeed<'a>(&'a TokenNames);

impl<'de> DeserializeSeed<'de> for MembersSeed<'_> {
    type Value = Members;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MembersSeed<'_> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                name if name == self.0.access => Members::keep(&mut members.access_token, map.next_value()?),
                name if name == self.0.refresh => Members::keep(&mut members.refresh_token, map.next_value()?),
                "expires_in" => members.expires_in = Some(map.next_value()?),
                "scope" => members.scope = Some(map.next_value()?),
                "error" => members.error = Some(map.next_value()?),
                "code" => members.code = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}
