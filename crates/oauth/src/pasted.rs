//! What comes back from an authorization page: the query of a callback, or what a person pasted.

use claviger_domain::origin::Origin;
use claviger_domain::secret::SecretText;
use percent_encoding::percent_decode_str;
use std::fmt;
use zeroize::Zeroizing;

/// Most bytes of what comes back. Codes of a few KiB exist; common servers take no longer line.
pub const PASTED_MAX_BYTES: usize = 16 * 1024;

/// Most letters of an error code that is shown.
const ERROR_CODE_MAX_CHARS: usize = 64;

/// What came back.
pub struct Returned {
    /// The code, or the provider's refusal.
    pub outcome: Result<SecretText, String>,
    /// `state`, if it came.
    pub state: Option<SecretText>,
    /// `iss` (RFC 9207), if it came.
    pub issuer: Option<String>,
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned")
            .field("refusal", &self.outcome.as_ref().err())
            .field("has_state", &self.state.is_some())
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Why nothing can be read out of it. The text is not repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PastedError {
    /// Nothing is there.
    #[error("nothing was pasted")]
    Empty,
    /// It is longer than [`PASTED_MAX_BYTES`].
    #[error("that is longer than {PASTED_MAX_BYTES} bytes")]
    TooLong,
    /// It holds blanks or control characters.
    #[error("that has blanks or line breaks in it: paste it whole, on one line")]
    Broken,
    /// It is an address without a code.
    #[error("that address holds no code: paste the one that the browser ended at")]
    NoCode,
    /// A parameter stands there twice, or is no text.
    #[error("that address cannot be read")]
    Malformed,
}

/// Reads what a person pasted: the whole address that the browser ended at, its query alone, `code#state`, or the code alone.
///
/// A `state` in the fragment wins over one in the query.
pub fn read_pasted(text: &str) -> Result<Returned, PastedError> {
    let text = text.trim().trim_matches(['<', '>', '"', '\'']);
    if text.is_empty() {
        return Err(PastedError::Empty);
    }
    check(text)?;
    let (rest, fragment) = text.split_once('#').map_or((text, None), |(rest, fragment)| (rest, Some(fragment)));
    let query = match rest.split_once('?') {
        Some((_, query)) => Some(query),
        None if rest.contains("://") => Some(""),
        None if rest.starts_with("code=") || rest.contains("&code=") || rest.starts_with("error=") => Some(rest),
        None => None,
    };
    match query {
        Some(query) => read(query, fragment),
        // An empty fragment is no state: a page that shows `code#` has none to give.
        None if rest.is_empty() => Err(PastedError::NoCode),
        None => Ok(Returned {
            outcome: Ok(SecretText::new(rest.to_owned())),
            state: fragment.filter(|state| !state.is_empty()).map(|state| SecretText::new(state.to_owned())),
            issuer: None,
        }),
    }
}

/// Reads the query of a callback, without `?`.
pub fn read_callback(query: &str) -> Result<Returned, PastedError> {
    check(query)?;
    read(query, None)
}

/// Whether an issuer (RFC 9207) is the authorization server that was asked: its own origin, or that of its token endpoint.
///
/// Without metadata the issuer's exact text is not known; an attacker's server has another origin.
pub fn is_issuer(given: &str, asked: &[&Origin]) -> bool {
    given.parse::<Origin>().is_ok_and(|issuer| asked.contains(&&issuer))
}

fn check(text: &str) -> Result<(), PastedError> {
    if text.len() > PASTED_MAX_BYTES {
        return Err(PastedError::TooLong);
    }
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err(PastedError::Broken);
    }
    Ok(())
}

fn read(query: &str, fragment: Option<&str>) -> Result<Returned, PastedError> {
    let is_parameter = |pair: &str| ["code=", "state=", "iss=", "error="].iter().any(|name| pair.starts_with(name));
    let mut found = Found::default();
    found.take(query)?;
    match fragment {
        // Some servers answer in the fragment as they would in the query.
        Some(fragment) if fragment.split('&').any(is_parameter) => {
            let mut late = Found::default();
            late.take(fragment)?;
            found = late.or(found);
        }
        Some(state) if !state.is_empty() => found.state = Some(decoded(state)?),
        Some(_) | None => {}
    }
    let outcome = match (found.error, found.code) {
        (Some(error), _) => Err(error_code(&error)),
        (None, Some(code)) if !code.is_empty() => Ok(SecretText::new(code.to_string())),
        (None, _) => return Err(PastedError::NoCode),
    };
    Ok(Returned {
        outcome,
        state: found.state.filter(|state| !state.is_empty()).map(|state| SecretText::new(state.to_string())),
        issuer: found.issuer.map(|issuer| issuer.to_string()),
    })
}

#[derive(Default)]
struct Found {
    code: Option<Zeroizing<String>>,
    state: Option<Zeroizing<String>>,
    issuer: Option<Zeroizing<String>>,
    error: Option<Zeroizing<String>>,
}

impl Found {
    /// A parameter that stands there twice is refused (RFC 6749 §3.1): whoever put the second one there may be somebody else.
    fn take(&mut self, query: &str) -> Result<(), PastedError> {
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                "code" => &mut self.code,
                "state" => &mut self.state,
                "iss" => &mut self.issuer,
                "error" => &mut self.error,
                _ => continue,
            };
            if slot.replace(decoded(value)?).is_some() {
                return Err(PastedError::Malformed);
            }
        }
        Ok(())
    }

    fn or(self, other: Self) -> Self {
        Self {
            code: self.code.or(other.code),
            state: self.state.or(other.state),
            issuer: self.issuer.or(other.issuer),
            error: self.error.or(other.error),
        }
    }
}

/// A value of a form. What it holds after decoding must be fit for a request: visible ASCII and blanks (RFC 6749 §A.11).
fn decoded(value: &str) -> Result<Zeroizing<String>, PastedError> {
    let spaced = Zeroizing::new(value.replace('+', " "));
    let text = Zeroizing::new(percent_decode_str(&spaced).decode_utf8().map_err(|_no_text| PastedError::Malformed)?.into_owned());
    let fit = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if fit { Ok(text) } else { Err(PastedError::Malformed) }
}

/// An error code as it may be shown: what RFC 6749 §4.1.2.1 allows is more than a terminal should be given.
pub(crate) fn error_code(given: &str) -> String {
    let fit = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let code: String = given.chars().filter(fit).take(ERROR_CODE_MAX_CHARS).collect();
    if code.is_empty() { "an error without a code".to_owned() } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(text: &str) -> (Result<String, String>, Option<String>, Option<String>) {
        let Returned { outcome, state, issuer } = read_pasted(text).unwrap();
        (outcome.map(|code| code.expose().to_owned()), state.map(|state| state.expose().to_owned()), issuer)
    }

    #[test]
    fn whatever_a_page_shows_can_be_pasted() {
        let table = [
            ("code-1", "code-1", None),
            (" code-1#st-1 \n", "code-1", Some("st-1")),
            ("code-1#", "code-1", None),
            ("http://127.0.0.1:1/cb?code=code-1&state=st-1", "code-1", Some("st-1")),
            ("http://localhost:1455/cb?state=st-1&x=y&code=c%2F1%3D", "c/1=", Some("st-1")),
            ("https://page.example/show?code=code-1&state=old#st-1", "code-1", Some("st-1")),
            ("https://page.example/show#code=code-1&state=st-1", "code-1", Some("st-1")),
            ("other-app://auth/callback?code=code-1&state=st-1", "code-1", Some("st-1")),
            ("?code=code-1&state=st-1", "code-1", Some("st-1")),
            ("code=code-1&state=st-1", "code-1", Some("st-1")),
            ("<https://page.example/?code=code-1>", "code-1", None),
            ("4/0AX4XfWh-a_b", "4/0AX4XfWh-a_b", None),
        ];
        for (text, code, state) in table {
            assert_eq!(read_all(text), (Ok(code.to_owned()), state.map(str::to_owned), None), "{text}");
        }
    }

    #[test]
    fn a_refusal_and_an_issuer_are_read_and_a_refusals_words_are_not() {
        let text = "http://127.0.0.1:1/cb?error=access_denied&error_description=canary&state=s&iss=https%3A%2F%2Flogin.example";
        assert_eq!(read_all(text), (Err("access_denied".into()), Some("s".into()), Some("https://login.example".into())));
        assert_eq!(read_all("?error=%5B2J%3Cb%3E").0, Err("2Jb".into()), "what no code has is left out");
        assert_eq!(read_pasted("?error=%1B[2J").unwrap_err(), PastedError::Malformed);
    }

    #[test]
    fn what_holds_no_code_is_told_apart() {
        let table = [
            ("", PastedError::Empty),
            ("  \n", PastedError::Empty),
            ("https://page.example/", PastedError::NoCode),
            ("https://page.example/?state=s", PastedError::NoCode),
            ("https://page.example/?code=", PastedError::NoCode),
            ("#st-1", PastedError::NoCode),
            ("code 1", PastedError::Broken),
            ("co\u{1b}de", PastedError::Broken),
            ("?code=a&code=b", PastedError::Malformed),
            ("?code=%ff", PastedError::Malformed),
            ("?code=%0A", PastedError::Malformed),
        ];
        for (text, error) in table {
            assert_eq!(read_pasted(text).unwrap_err(), error, "{text:?}");
        }
        assert_eq!(read_pasted(&"x".repeat(PASTED_MAX_BYTES + 1)).unwrap_err(), PastedError::TooLong);
    }

    #[test]
    fn an_issuer_is_the_server_that_was_asked() {
        let origin = |text: &str| text.parse::<Origin>().unwrap();
        let (page, token) = (origin("https://login.example"), origin("https://api.example"));
        for good in ["https://login.example", "https://login.example/", "https://login.example:443/tenant", "https://api.example"] {
            assert!(is_issuer(good, &[&page, &token]), "{good}");
        }
        for bad in
            ["", "login.example", "http://login.example", "https://login.example.evil", "https://evil@login.example", "https://x.example"]
        {
            assert!(!is_issuer(bad, &[&page, &token]), "{bad}");
        }
    }

    fn escaped(text: &str) -> String {
        percent_encoding::utf8_percent_encode(text, crate::request::FORM).to_string()
    }

    proptest! {
        #[test]
        fn every_code_and_state_comes_out_of_an_address_as_it_went_in(code in "[!-~]{1,80}", state in "[!-~]{1,80}", late: bool) {
            let text = if late {
                format!("https://page.example/cb?code={}#{}", escaped(&code), escaped(&state))
            } else {
                format!("https://page.example/cb?code={}&state={}", escaped(&code), escaped(&state))
            };
            // A fragment that looks like parameters is read as such; escaped text never does.
            prop_assert_eq!(read_all(&text), (Ok(code), Some(state), None));
        }

        #[test]
        fn no_text_makes_the_parser_fail_or_shows_in_its_error(text in "\\PC{0,60}|[ -~]{0,60}|(code=|state=|#|&|\\?|%[0-9a-f]{2}|://){0,12}") {
            match read_pasted(&text) {
                Ok(returned) => {
                    if let Ok(code) = &returned.outcome {
                        prop_assert!(!code.expose().is_empty());
                    }
                }
                Err(error) => prop_assert!(text.len() < 4 || !error.to_string().contains(&text)),
            }
        }
    }
}
