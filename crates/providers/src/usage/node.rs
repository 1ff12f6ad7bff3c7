//! Reading a vendor's JSON with the place of every fault, and without a word of its text in the fault.

use claviger_domain::time::Timestamp;
use http::StatusCode;
use serde_json::Value;
use std::time::Duration;

/// Most bytes of an answer that is read: what a control request reads at most.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// Most characters of a name or an id that comes from an answer: it is shown on terminals and kept in history.
const WORD_MAX_CHARS: usize = 64;
/// Numbers from here on are milliseconds since the epoch, smaller ones seconds: in seconds this is the year 5138.
const EPOCH_MILLIS_MIN: f64 = 1e11;

/// Why an answer could not be read. It names the place by our own words for it and never holds a part of the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFault {
    /// The status says that there is no report.
    #[error("it answered with status {0}")]
    Status(StatusCode),
    /// It is longer than any report.
    #[error("the answer is longer than {BODY_MAX_BYTES} bytes")]
    TooLong,
    /// It is no JSON, or is nested too deeply.
    #[error("the answer is no JSON")]
    NotJson,
    /// A value is not what it should be.
    #[error("{path} is {found}, not {wanted}")]
    Shape {
        /// Where it stands.
        path: String,
        /// What was expected.
        wanted: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value without which nothing can be said is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// The provider says itself that this is no report.
    #[error("{path} says that the request failed")]
    Refused {
        /// Where it says so.
        path: String,
    },
    /// Nothing in the answer is known.
    #[error("the answer holds no limit and no plan")]
    Empty,
}

static NULL: Value = Value::Null;

/// A value of the answer and its place. A missing value and `null` are the same.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The member with this name.
    pub(crate) fn at(&self, key: &str) -> Self {
        Self { value: self.value.get(key).unwrap_or(&NULL), path: join(&self.path, key) }
    }

    /// The first of these members that is there; the first name's place where none is.
    pub(crate) fn first(&self, keys: &[&str]) -> Self {
        let found = keys.iter().map(|key| self.at(key)).find(Node::is_there);
        found.unwrap_or_else(|| self.at(keys.first().copied().unwrap_or_default()))
    }

    pub(crate) fn is_there(&self) -> bool {
        !self.value.is_null()
    }

    /// The object itself, which must be there.
    pub(crate) fn required(self) -> Result<Self, ParseFault> {
        if self.is_there() { self.object() } else { Err(ParseFault::Missing(self.path)) }
    }

    /// The object, or nothing at all.
    pub(crate) fn object(self) -> Result<Self, ParseFault> {
        if self.value.is_object() || self.value.is_null() { Ok(self) } else { Err(self.wrong("an object")) }
    }

    /// The members of a list; none where it is missing.
    pub(crate) fn items(&self) -> Result<Vec<Self>, ParseFault> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => {
                Ok(items.iter().enumerate().map(|(at, value)| Self { value, path: format!("{}[{at}]", self.path) }).collect())
            }
            _ => Err(self.wrong("a list")),
        }
    }

    /// The members of an object with their names, which are the vendor's and stay out of the paths.
    pub(crate) fn entries(&self) -> Result<Vec<(&'a str, Self)>, ParseFault> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Object(map) => Ok(map.iter().map(|(key, value)| (key.as_str(), Self { value, path: join(&self.path, "*") })).collect()),
            _ => Err(self.wrong("an object")),
        }
    }

    /// A finite number, also one that is written as text.
    pub(crate) fn number(&self) -> Result<Option<f64>, ParseFault> {
        match self.value {
            Value::Null => Ok(None),
            Value::Number(number) => Ok(number.as_f64().filter(|number| number.is_finite())),
            Value::String(text) if text.trim().is_empty() => Ok(None),
            Value::String(text) => match text.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(self.wrong("a number")),
            },
            _ => Err(self.wrong("a number")),
        }
    }

    /// A percentage as a fraction.
    pub(crate) fn percent(&self) -> Result<Option<f64>, ParseFault> {
        Ok(self.number()?.map(|percent| percent / 100.0))
    }

    /// A length in seconds.
    pub(crate) fn seconds(&self) -> Result<Option<Duration>, ParseFault> {
        let seconds = self.number()?.filter(|seconds| *seconds > 0.0);
        Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }

    pub(crate) fn text(&self) -> Result<Option<&'a str>, ParseFault> {
        match self.value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            _ => Err(self.wrong("text")),
        }
    }

    /// Text that is shown or kept: short and without control characters.
    pub(crate) fn word(&self) -> Result<Option<String>, ParseFault> {
        Ok(self.text()?.map(word))
    }

    pub(crate) fn flag(&self) -> Result<Option<bool>, ParseFault> {
        match self.value {
            Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(*flag)),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// A point in time: RFC 3339, without a zone as UTC, a date alone, or seconds or milliseconds since the epoch. Zero and
    /// empty text are no time.
    pub(crate) fn time(&self) -> Result<Option<Timestamp>, ParseFault> {
        let number = match self.value {
            Value::Null => return Ok(None),
            Value::Number(_) => self.number()?,
            Value::String(text) if text.trim().is_empty() => return Ok(None),
            Value::String(text) => match text.trim().parse::<f64>() {
                Ok(number) => Some(number),
                Err(_not_a_number) => {
                    return written_time(text.trim()).map_or_else(|| Err(self.wrong("a point in time")), |at| Ok(Some(at)));
                }
            },
            _ => return Err(self.wrong("a point in time")),
        };
        Ok(number.filter(|number| *number > 0.0).and_then(epoch))
    }

    pub(crate) fn refused(&self) -> ParseFault {
        ParseFault::Refused { path: self.path.clone() }
    }

    fn wrong(&self, wanted: &'static str) -> ParseFault {
        let found = match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let path = if self.path.is_empty() { "the answer".to_owned() } else { self.path.clone() };
        ParseFault::Shape { path, wanted, found }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn epoch(number: f64) -> Option<Timestamp> {
    let seconds = if number >= EPOCH_MILLIS_MIN { number / 1000.0 } else { number };
    Duration::try_from_secs_f64(seconds).ok().map(|since| Timestamp(0).plus(since))
}

/// A written point in time; one without a zone is UTC, and a date alone its first moment.
pub(crate) fn written_time(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<jiff::Timestamp>().ok();
    let plain = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    zoned.or_else(|| plain().map(|zoned| zoned.timestamp())).map(|stamp| Timestamp(stamp.as_millisecond()))
}

/// Text of a vendor, fit to be shown and kept.
pub(crate) fn word(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control() && !turns_text(*c)).take(WORD_MAX_CHARS).collect()
}

/// Letters that show nothing, and change the order in which terminals show others (UAX #9).
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Text of a vendor as a part of an id: lower case letters, digits and single dashes.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().take(WORD_MAX_CHARS) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_fault_names_the_place_and_not_the_text() {
        let value = json!({"a": {"canary-key": [{"n": "canary-text"}]}});
        let (_, list) = Node::root(&value).at("a").entries().unwrap().remove(0);
        let fault = list.items().unwrap().remove(0).at("n").number().unwrap_err();
        assert_eq!(fault.to_string(), "a.*[0].n is text, not a number");
        assert_eq!(Node::root(&value).at("b").required().unwrap_err().to_string(), "b is missing");
        assert_eq!(Node::root(&json!(3)).items().unwrap_err().to_string(), "the answer is a number, not a list");
    }

    #[test]
    fn a_point_in_time_is_read_in_every_way_that_vendors_write_it() {
        let at = Timestamp(1_796_083_200_000);
        for value in [
            json!("2026-12-01T00:00:00Z"),
            json!("2026-12-01T08:00:00+08:00"),
            json!("2026-12-01"),
            json!("2026-12-01 00:00:00"),
            json!(1_796_083_200),
            json!("1796083200"),
            json!(1_796_083_200_000_i64),
        ] {
            assert_eq!(Node::root(&value).time(), Ok(Some(at)), "{value}");
        }
        for value in [json!(null), json!(""), json!(0), json!("0"), json!(-5), json!("inf")] {
            assert_eq!(Node::root(&value).time(), Ok(None), "{value}");
        }
        assert!(Node::root(&json!("soon")).time().is_err());
        assert!(Node::root(&json!([1])).time().is_err());
    }

    #[test]
    fn what_is_shown_is_short_and_holds_no_control_characters() {
        assert_eq!(word(" a\u{1b}[2Jb\n"), "a[2Jb");
        assert_eq!(word("a\u{202e}b\u{2066}c\u{200b}"), "abc");
        assert_eq!(word(&"x".repeat(500)).len(), WORD_MAX_CHARS);
        assert_eq!((slug("GPT-5.3 Codex_Spark!"), slug("--")), ("gpt-5-3-codex-spark".to_owned(), String::new()));
    }
}
