//! JSON objects read field by field, with faults that name a field, line and column and never a value.

use claviger_domain::secret::SecretText;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// What is wrong with a text, and where. The parsers' own messages quote values, so they are not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct TextFault {
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// What is wrong, without a value.
    pub problem: String,
}

impl TextFault {
    /// The fault at an offset in bytes.
    pub(super) fn at_offset(text: &str, offset: usize, problem: &str) -> Self {
        Self { problem: problem.to_owned(), ..start_of(text.get(..offset).unwrap_or(text)) }
    }
}

/// An object while its fields are taken out one by one.
pub(super) struct JsonObject<'a> {
    text: &'a str,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> JsonObject<'a> {
    /// Reads a whole text that must be an object.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, TextFault> {
        let text = std::str::from_utf8(text).map_err(|error| {
            let before = text.get(..error.valid_up_to()).unwrap_or_default();
            TextFault { problem: "not UTF-8".to_owned(), ..start_of(&String::from_utf8_lossy(before)) }
        })?;
        Self::of(text, text)
    }

    fn of(text: &'a str, part: &'a str) -> Result<Self, TextFault> {
        match serde_json::from_str(part) {
            Ok(fields) => Ok(Self { text, fields }),
            Err(error) if error.is_data() => Err(fault_at(text, part, "an object is expected")),
            Err(error) => Err(TextFault { line: error.line(), column: error.column().max(1), problem: "not valid JSON".to_owned() }),
        }
    }

    /// A secret; absent, null and empty are none.
    pub(super) fn take_secret(&mut self, name: &str) -> Result<Option<SecretText>, TextFault> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        let secret = serde_json::from_str::<SecretField>(raw.get()).map_err(|_quotes_the_value| self.wrong(raw, name, "text"))?;
        Ok(Some(secret.0).filter(|secret| !secret.expose().trim().is_empty()))
    }

    /// Text; absent, null and empty are none.
    pub(super) fn take_text(&mut self, name: &str) -> Result<Option<String>, TextFault> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        let text = serde_json::from_str::<String>(raw.get()).map_err(|_quotes_the_value| self.wrong(raw, name, "text"))?;
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }

    /// A number; absent and null are none.
    pub(super) fn take_number(&mut self, name: &str) -> Result<Option<f64>, TextFault> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_quotes_the_value| self.wrong(raw, name, "a number"))
    }

    /// Yes or no; absent and null are none.
    pub(super) fn take_flag(&mut self, name: &str) -> Result<Option<bool>, TextFault> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_quotes_the_value| self.wrong(raw, name, "true or false"))
    }

    /// A number, or text that people write in its place; absent, null and empty are none.
    pub(super) fn take_number_text(&mut self, name: &str) -> Result<Option<String>, TextFault> {
        let is_text = self.fields.get(name).is_some_and(|raw| raw.get().starts_with('"'));
        if is_text { self.take_text(name) } else { Ok(self.take_number(name)?.map(|number| number.to_string())) }
    }

    /// Whether a field is there, whatever it holds.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Whether any field is an object that has a field of this name.
    pub(super) fn has_objects_with(&self, name: &str) -> bool {
        self.fields.values().any(|raw| Self::of(self.text, raw.get()).is_ok_and(|object| object.has(name)))
    }

    /// Every field that is not null as an object of its own, in the order of the names.
    pub(super) fn into_objects(self) -> impl Iterator<Item = (String, Result<Self, TextFault>)> {
        let text = self.text;
        let wrong = move |raw: &RawValue, name: &str| fault_at(text, raw.get(), &format!("{name:?} is not an object"));
        self.fields.into_iter().filter(|(_, raw)| raw.get() != "null").map(move |(name, raw)| {
            let object = Self::of(text, raw.get()).map_err(|_of_a_part| wrong(raw, &name));
            (name, object)
        })
    }

    /// An object; absent and null are none.
    pub(super) fn take_object(&mut self, name: &str) -> Result<Option<Self>, TextFault> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        Self::of(self.text, raw.get()).map(Some).map_err(|_of_a_part| self.wrong(raw, name, "an object"))
    }

    /// The names of the fields that were not taken, with their places.
    pub(super) fn left(&self) -> impl Iterator<Item = (&str, TextFault)> {
        self.fields.iter().map(|(name, raw)| (name.as_str(), fault_at(self.text, raw.get(), &format!("unknown field {name:?}"))))
    }

    /// A fault at the beginning of the text.
    pub(super) fn missing(&self, name: &str) -> TextFault {
        fault_at(self.text, self.text.trim_start(), &format!("{name:?} is missing"))
    }

    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.fields.remove(name).filter(|raw| raw.get() != "null")
    }

    fn wrong(&self, raw: &RawValue, name: &str, expected: &str) -> TextFault {
        fault_at(self.text, raw.get(), &format!("{name:?} is not {expected}"))
    }
}

/// The fault at the place of `part`, which is a piece of `text` in memory.
fn fault_at(text: &str, part: &str, problem: &str) -> TextFault {
    let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    TextFault { problem: problem.to_owned(), ..start_of(text.get(..offset).unwrap_or_default()) }
}

fn start_of(before: &str) -> TextFault {
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    TextFault { line: before.matches('\n').count() + 1, column: before.len() - line_start + 1, problem: String::new() }
}

/// Moves a JSON text into secret memory without another copy.
struct SecretField(SecretText);

impl<'de> Deserialize<'de> for SecretField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntoSecret;
        impl Visitor<'_> for IntoSecret {
            type Value = SecretField;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E>(self, text: &str) -> Result<SecretField, E> {
                Ok(SecretField(SecretText::new(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<SecretField, E> {
                Ok(SecretField(SecretText::new(text)))
            }
        }
        deserializer.deserialize_string(IntoSecret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_the_place_and_the_field_and_never_the_value() {
        let text = "{\n  \"access\": 7,\n  \"expires\": \"canary-at\"\n}";
        let mut object = JsonObject::parse(text.as_bytes()).unwrap();
        assert_eq!(object.take_secret("access").unwrap_err().to_string(), "line 2, column 13: \"access\" is not text");
        let fault = object.take_number("expires").unwrap_err();
        assert_eq!(fault.to_string(), "line 3, column 14: \"expires\" is not a number");
    }

    #[test]
    fn broken_text_is_located() {
        let fault = |text: &[u8]| JsonObject::parse(text).err().unwrap().to_string();
        assert_eq!(fault(b"{\n \"canary-x\" }"), "line 2, column 13: not valid JSON");
        assert_eq!(fault(b"\"canary-x\""), "line 1, column 1: an object is expected");
        assert_eq!(fault(b"{}\n\xff"), "line 2, column 1: not UTF-8");
        assert!(fault(b"").ends_with("not valid JSON"));
    }

    #[test]
    fn null_and_empty_text_are_absent() {
        let mut object = JsonObject::parse(br#"{"a":null,"b":"","c":" ","d":"x","e":{"f":1}}"#).unwrap();
        assert!(object.take_secret("a").unwrap().is_none());
        assert!(object.take_secret("b").unwrap().is_none());
        assert!(object.take_text("c").unwrap().is_none());
        assert_eq!(object.take_object("e").unwrap().unwrap().take_number("f").unwrap(), Some(1.0));
        assert_eq!(object.left().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), ["d"]);
    }
}
