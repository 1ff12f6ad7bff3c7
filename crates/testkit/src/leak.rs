//! The leak check: looks for planted secrets in whatever a program wrote, in every dress that they may wear.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use std::collections::BTreeSet;

/// How many characters at either end of a secret give it away.
pub const LEAK_EDGE_CHARS: usize = 12;

/// A planted secret that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// The secret.
    pub canary: String,
    /// How it was written, for instance `base64 at offset 1`.
    pub form: String,
    /// Where it stands, in bytes.
    pub position: usize,
}

/// Looks for secrets in bytes: as they are, in base64 (both alphabets, at each of the three offsets that a longer text may
/// give them), percent-encoded, as hexadecimal digits, as a list of numbers (as bytes are printed for debugging), escaped as in
/// JSON, in UTF-16, and by their first and last 12 characters. One hit per form.
///
/// # Panics
/// For a secret under 16 bytes, whose forms could stand anywhere by chance.
pub fn canary_search(haystack: &[u8], canaries: &[&str]) -> Vec<Hit> {
    let mut hits = Vec::new();
    let lower = haystack.to_ascii_lowercase();
    for canary in canaries {
        assert!(canary.len() >= 16, "a canary needs 16 bytes or more, or it is found by chance");
        for (form, needle) in forms(canary) {
            let found = if form.starts_with("hex") || form.starts_with("percent") {
                position(&lower, &needle.to_ascii_lowercase())
            } else {
                position(haystack, &needle)
            };
            hits.extend(found.map(|position| Hit { canary: (*canary).to_owned(), form, position }));
        }
    }
    hits
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

fn forms(canary: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = canary.as_bytes();
    let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let every = bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let reserved = bytes.iter().map(|byte| percent(*byte)).collect::<Vec<_>>().concat();
    let first: String = canary.chars().take(LEAK_EDGE_CHARS).collect();
    let skip = canary.chars().count().saturating_sub(LEAK_EDGE_CHARS);
    let last: String = canary.chars().skip(skip).collect();
    let mut forms = vec![
        ("raw".to_owned(), bytes.to_vec()),
        ("hex".to_owned(), hex.into_bytes()),
        ("percent, every byte".to_owned(), every.into_bytes()),
        ("percent, reserved bytes".to_owned(), reserved.into_bytes()),
        ("first characters".to_owned(), first.into_bytes()),
        ("last characters".to_owned(), last.into_bytes()),
    ];
    let numbers = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    forms.push(("numbers".to_owned(), numbers.join(", ").into_bytes()));
    forms.push(("numbers without blanks".to_owned(), numbers.join(",").into_bytes()));
    forms.push(("UTF-16".to_owned(), canary.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    let quoted = canary.replace('\\', "\\\\").replace('"', "\\\"");
    forms.push(("JSON".to_owned(), quoted.replace('/', "\\/").into_bytes()));
    forms.push(("JSON, slashes as they are".to_owned(), quoted.into_bytes()));
    // A secret that needs no escape looks the same in some forms: one hit for one finding.
    let mut seen = BTreeSet::new();
    forms.retain(|(_, needle)| seen.insert(needle.clone()));
    for offset in 0..3 {
        forms.push((format!("base64 at offset {offset}"), inner_base64(bytes, offset, |bytes| STANDARD_NO_PAD.encode(bytes))));
        forms.push((format!("url-safe base64 at offset {offset}"), inner_base64(bytes, offset, |bytes| URL_SAFE_NO_PAD.encode(bytes))));
    }
    forms
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") }
}

/// The letters that depend on the secret alone, whatever stands before and after it in the encoded text.
fn inner_base64(bytes: &[u8], offset: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let text = encode(&[&vec![0; offset], bytes].concat());
    let before = (offset * 8).div_ceil(6);
    let inner = (offset + bytes.len()) * 8 / 6;
    text.bytes().take(inner).skip(before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-rt/00+11=22?33-end";

    fn forms_found(text: &str) -> Vec<String> {
        canary_search(text.as_bytes(), &[CANARY]).into_iter().map(|hit| hit.form).collect()
    }

    #[test]
    fn a_planted_leak_is_found_in_every_dress() {
        let hex = CANARY.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat();
        let table = [
            (format!("token={CANARY};"), "raw"),
            (format!("x{hex}x"), "hex"),
            ("?t=canary-rt%2F00%2B11%3D22%3F33-end&".to_owned(), "percent, reserved bytes"),
            ("canary-rt/00...".to_owned(), "first characters"),
            ("...11=22?33-end".to_owned(), "last characters"),
            (r#"{"token":"canary-rt\/00+11=22?33-end"}"#.to_owned(), "JSON"),
            (format!("Bytes({:?})", CANARY.as_bytes()), "numbers"),
            (serde_json::to_string(CANARY.as_bytes()).unwrap(), "numbers without blanks"),
            (CANARY.encode_utf16().flat_map(u16::to_le_bytes).map(char::from).collect(), "UTF-16"),
        ];
        for (text, form) in table {
            assert!(forms_found(&text).contains(&form.to_owned()), "{form} in {text}");
        }
    }

    #[test]
    fn base64_is_found_at_whatever_offset_and_with_whatever_around_it() {
        for before in 0..7 {
            for after in 0..4 {
                let text = ["<".repeat(before), CANARY.to_owned(), "y".repeat(after)].concat();
                let standard = forms_found(&STANDARD_NO_PAD.encode(&text));
                assert_eq!(standard.iter().filter(|form| form.starts_with("base64")).count(), 1, "{before} {after}");
                let url_safe = forms_found(&URL_SAFE_NO_PAD.encode(&text));
                assert!(url_safe.iter().any(|form| form.starts_with("url-safe")), "{before} {after}");
            }
        }
    }

    #[test]
    fn a_secret_with_quotes_is_found_as_json_writes_it() {
        let canary = r#"canary-"quoted"\end"#;
        let text = serde_json::to_string(canary).unwrap();
        assert!(canary_search(text.as_bytes(), &[canary]).iter().any(|hit| hit.form.starts_with("JSON")), "{text}");
    }

    #[test]
    fn clean_text_has_no_hits() {
        assert_eq!(forms_found("canary-r token rt/00 SecretText 63616e617279"), Vec::<String>::new());
        assert_eq!(canary_search(b"", &[CANARY]), Vec::new());
    }
}
