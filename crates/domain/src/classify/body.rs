//! The body of an answer as evidence: its text, its JSON and the codes in it, each read at most once.

use super::EVIDENCE_BODY_MAX_BYTES;
use serde_json::Value;
use std::cell::OnceCell;

/// Where vendors put a machine-readable code.
const CODE_PATHS: [&str; 8] = ["error.code", "error.type", "error.status", "error", "code", "type", "detail.code", "error.error.type"];

/// The beginning of an answer's body.
pub(super) struct Body<'a> {
    raw: &'a [u8],
    text: OnceCell<String>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Body<'a> {
    pub(super) fn new(raw: &'a [u8]) -> Self {
        let raw = raw.get(..EVIDENCE_BODY_MAX_BYTES).unwrap_or(raw);
        Self { raw, text: OnceCell::new(), json: OnceCell::new() }
    }

    /// The body in lower case; what is not UTF-8 is replaced.
    pub(super) fn text(&self) -> &str {
        self.text.get_or_init(|| String::from_utf8_lossy(self.raw).to_lowercase())
    }

    /// The body as JSON; `None` for anything but a whole object or list.
    pub(super) fn json(&self) -> Option<&Value> {
        let parse = || serde_json::from_slice::<Value>(self.raw).ok().filter(|value| value.is_object() || value.is_array());
        self.json.get_or_init(parse).as_ref()
    }

    /// Whether it says nothing in words: empty, digits, punctuation, or JSON without a word in any value.
    pub(super) fn is_opaque(&self) -> bool {
        match self.json() {
            Some(json) => !has_words(json),
            None => !self.text().contains(char::is_alphabetic),
        }
    }

    /// Whether one of these fragments (lower case) occurs.
    pub(super) fn contains_any(&self, fragments: &[&str]) -> bool {
        fragments.iter().any(|fragment| self.text().contains(fragment))
    }

    /// Whether one of these phrases (lower case) occurs as whole words.
    pub(super) fn says_any(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| {
            self.text().match_indices(phrase).any(|(at, _)| {
                let (before, rest) = self.text().split_at(at);
                let after = rest.get(phrase.len()..).unwrap_or_default();
                !before.ends_with(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric)
            })
        })
    }

    /// Whether one of these codes (lower case) stands where vendors put codes.
    pub(super) fn has_code(&self, codes: &[&str]) -> bool {
        CODE_PATHS.iter().any(|path| self.any_at(path, |found| codes.contains(&found)))
    }

    /// Whether a scalar at the dotted path, in lower case, passes the test.
    pub(super) fn any_at(&self, path: &str, mut test: impl FnMut(&str) -> bool) -> bool {
        let mut any = false;
        self.each_at(path, &mut |value| any = any || scalar(value).is_some_and(|text| test(&text.to_lowercase())));
        any
    }

    /// Calls `found` with every value at the dotted path.
    pub(super) fn each_at(&self, path: &str, found: &mut dyn FnMut(&Value)) {
        match self.json() {
            Some(Value::Array(items)) => items.iter().for_each(|item| walk(item, path, found)),
            Some(root) => walk(root, path, found),
            None => {}
        }
    }
}

/// Text and numbers as text; `None` for anything else.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn walk(value: &Value, path: &str, found: &mut dyn FnMut(&Value)) {
    let (step, rest) = match path.split_once('.') {
        Some((step, rest)) => (step, Some(rest)),
        None => (path, None),
    };
    let next = value.get(step.trim_end_matches("[]"));
    let mut arrive = |value: &Value| match rest {
        Some(rest) => walk(value, rest, found),
        None => found(value),
    };
    match next {
        Some(Value::Array(items)) if step.ends_with("[]") => items.iter().for_each(arrive),
        Some(next) => arrive(next),
        None => {}
    }
}

fn has_words(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(char::is_alphabetic),
        Value::Array(items) => items.iter().any(has_words),
        Value::Object(fields) => fields.values().any(has_words),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_words_is_opaque() {
        for opaque in ["", " \n", "429", "--", "{}", r#"{"code":429,"list":[1,""]}"#] {
            assert!(Body::new(opaque.as_bytes()).is_opaque(), "{opaque}");
        }
        for readable in ["slow down", r#"{"error":{"message":"no"}}"#, "<html>x</html>"] {
            assert!(!Body::new(readable.as_bytes()).is_opaque(), "{readable}");
        }
    }

    #[test]
    fn a_path_visits_lists_where_it_says_so_and_at_the_root() {
        let body = Body::new(br#"[{"error":{"details":[{"reason":"A"},{"reason":"B"}]}}]"#);
        assert!(body.any_at("error.details[].reason", |text| text == "b"));
        assert!(!body.any_at("error.details.reason", |_| true));
        assert!(!body.any_at("error.nothing", |_| true));
    }

    #[test]
    fn a_phrase_counts_as_whole_words_only() {
        let body = Body::new(b"an explanation of the plan_type");
        assert!(body.says_any(&["plan"]));
        assert!(!Body::new(b"an explanation, planned").says_any(&["plan"]));
    }
}
