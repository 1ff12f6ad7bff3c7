//! A minimal completion: whether an account is really served, by the dialect of its provider.

use crate::account::AccountLive;
use claviger_domain::profile::Dialect;
use serde_json::{Value, json};

/// What is said to the model: as little as it can answer.
const PROMPT: &str = "Say OK.";

/// The path and the body of a minimal completion.
pub(super) fn request(account: &AccountLive, model: &str) -> Option<(String, Value)> {
    let dialect = account.profile.dialects.first()?;
    let message = json!([{ "role": "user", "content": PROMPT }]);
    let (version, rest, body) = match dialect {
        Dialect::Messages => ("v1", "/messages".to_owned(), json!({ "model": model, "max_tokens": 1, "messages": message })),
        Dialect::Chat => ("v1", "/chat/completions".to_owned(), json!({ "model": model, "messages": message })),
        Dialect::Responses => {
            let body = json!({ "model": model, "instructions": PROMPT, "input": message, "store": false, "stream": true });
            ("v1", "/responses".to_owned(), body)
        }
        Dialect::Generate => {
            let model: String = percent_encoding::utf8_percent_encode(model, percent_encoding::NON_ALPHANUMERIC).to_string();
            let body =
                json!({ "contents": [{ "role": "user", "parts": [{ "text": PROMPT }] }], "generationConfig": { "maxOutputTokens": 1 } });
            ("v1beta", format!("/models/{model}:generateContent"), body)
        }
    };
    Some((join(&account.profile.base.path, version, &rest), body))
}

/// The path below a base: one that has a path of its own has the version in it, or stands for it.
fn join(base: &str, version: &str, rest: &str) -> String {
    let last = base.rsplit('/').next().unwrap_or_default();
    let is_version =
        |segment: &str| segment.strip_prefix('v').is_some_and(|digits| digits.starts_with(|letter: char| letter.is_ascii_digit()));
    if base.is_empty() || (is_version(last) && last != version) { format!("{base}/{version}{rest}") } else { format!("{base}{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_stands_once_in_the_path() {
        assert_eq!(join("", "v1", "/messages"), "/v1/messages");
        assert_eq!(join("/openai/v1", "v1", "/chat/completions"), "/openai/v1/chat/completions");
        assert_eq!(join("/backend-api", "v1", "/responses"), "/backend-api/responses");
        assert_eq!(join("/v1", "v1beta", "/models/m"), "/v1/v1beta/models/m");
    }
}
