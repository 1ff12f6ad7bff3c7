//! The answer to a login's exchange: tokens and identity, wherever a provider puts them, or a refusal by its code alone.

use crate::body::wipe;
use crate::pasted::error_code;
use crate::token::{RefreshToken, TokenAnswer};
use claviger_domain::identity::{Identity, fit_name};
use claviger_domain::secret::{AccessToken, SECRET_MAX_BYTES};
use serde_json::Value;
use std::fmt;

/// Where an answer says what: paths of names, outermost first. An empty path is the standard field.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerPaths<'a> {
    /// The access token, or the key. Default `access_token`.
    pub access: &'a [String],
    /// The refresh token. Default `refresh_token`.
    pub refresh: &'a [String],
    /// The account id; no default.
    pub account_id: &'a [String],
    /// The e-mail; no default.
    pub email: &'a [String],
    /// The organisation's id; no default.
    pub org_id: &'a [String],
    /// The organisation's name; no default.
    pub org_name: &'a [String],
}

/// What a login brought.
pub struct LoginAnswer {
    /// The tokens.
    pub token: TokenAnswer,
    /// The id token, of which the claims alone are read.
    pub id_token: Option<AccessToken>,
    /// Who the answer says that it is.
    pub identity: Identity,
}

impl fmt::Debug for LoginAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginAnswer").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Why an answer brought nothing. No text of the body is in it but for an error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// The provider refused by an OAuth error code.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// The provider, or something before it, asks for fewer requests.
    #[error("the provider asks for fewer requests (status 429)")]
    TooManyRequests,
    /// Another status without an error code.
    #[error("the provider answered with status {0}")]
    Status(u16),
    /// A success that holds no usable token.
    #[error("the provider's answer holds no token")]
    NoToken,
    /// A success that is no JSON object.
    #[error("the provider's answer cannot be read")]
    Unreadable,
}

/// Reads the answer to an exchange, or to a poll that is done.
///
/// A token that comes with an error is none: some providers answer refusals with status 200.
pub fn read_login(paths: &AnswerPaths<'_>, status: u16, body: &[u8]) -> Result<LoginAnswer, LoginRefusal> {
    let answer = Answer::parse(body);
    if let Some(code) = answer.as_ref().and_then(Answer::error) {
        return Err(LoginRefusal::Refused(code));
    }
    match (status, answer) {
        (200..=299, Some(answer)) => answer.login(paths).ok_or(LoginRefusal::NoToken),
        (200..=299, None) => Err(LoginRefusal::Unreadable),
        (429, _) => Err(LoginRefusal::TooManyRequests),
        (status, _) => Err(LoginRefusal::Status(status)),
    }
}

/// An answer's object; every text in it is overwritten when it is dropped.
pub(crate) struct Answer(Value);

impl Drop for Answer {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl Answer {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
        serde_json::from_slice(text).ok().filter(Value::is_object).map(Self)
    }

    /// The error code (RFC 6749 §5.2), also where it stands in an object of its own.
    pub(crate) fn error(&self) -> Option<String> {
        let error = self.0.get("error")?;
        let code = match error {
            Value::Null => return None,
            Value::Object(inner) => inner.get("code").or_else(|| inner.get("type")).and_then(Value::as_str),
            other => other.as_str(),
        };
        (code != Some("")).then(|| error_code(code.unwrap_or_default()))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
    }

    /// A number of seconds, or the same as a string.
    pub(crate) fn seconds(&self, name: &str) -> Option<std::time::Duration> {
        self.0.get(name).and_then(|value| crate::answer::life(&value.to_string()))
    }

    pub(crate) fn login(&self, paths: &AnswerPaths<'_>) -> Option<LoginAnswer> {
        let access = self.secret(paths.access, "access_token")?;
        let refresh = self.secret(paths.refresh, "refresh_token");
        let named = |path: &[String]| if path.is_empty() { None } else { self.name(path) };
        let identity = Identity {
            account_id: named(paths.account_id),
            email: named(paths.email),
            org_id: named(paths.org_id),
            org_name: named(paths.org_name),
            ..Identity::default()
        };
        Some(LoginAnswer {
            token: TokenAnswer {
                access: AccessToken::new(access),
                refresh: refresh.map(RefreshToken::new),
                expires_in: self.seconds("expires_in"),
                scope: self.text("scope").map(str::to_owned),
            },
            id_token: self.text("id_token").map(|token| AccessToken::new(token.to_owned())),
            identity: identity.normalized(),
        })
    }

    fn at(&self, path: &[String]) -> Option<&Value> {
        path.iter().try_fold(&self.0, |value, name| value.get(name))
    }

    /// A secret that a header can carry (RFC 6749 §A.12).
    fn secret(&self, path: &[String], default: &str) -> Option<String> {
        let value = if path.is_empty() { self.0.get(default) } else { self.at(path) };
        let text = value.and_then(Value::as_str)?.trim();
        let fit = !text.is_empty() && text.len() <= SECRET_MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
        fit.then(|| text.to_owned())
    }

    /// A name as text, or a number as its digits: some providers count their accounts.
    fn name(&self, path: &[String]) -> Option<String> {
        match self.at(path)? {
            Value::String(text) => fit_name(text).map(str::to_owned),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn path(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_standard_answer_needs_no_paths() {
        let body = br#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":"3600","id_token":"a.b.c","scope":"s"}"#;
        let answer = read_login(&AnswerPaths::default(), 200, body).unwrap();
        assert_eq!(answer.token.access.expose(), "at-1");
        assert_eq!(answer.token.refresh.as_ref().map(RefreshToken::expose), Some("rt-1"));
        assert_eq!(answer.token.expires_in, Some(Duration::from_hours(1)));
        assert_eq!(answer.id_token.as_ref().map(AccessToken::expose), Some("a.b.c"));
        assert_eq!(answer.identity, Identity::default());
        assert!(!format!("{answer:?}").contains("at-1"));
    }

    #[test]
    fn tokens_and_names_are_found_wherever_the_rule_says() {
        let body = br#"{"data":{"token":"key-1"},"account":{"uuid":7,"mail":" A@X.example "},"organization":{"uuid":"o-1","name":"Org"}}"#;
        let (access, account, email) = (path(&["data", "token"]), path(&["account", "uuid"]), path(&["account", "mail"]));
        let (org_id, org_name) = (path(&["organization", "uuid"]), path(&["organization", "name"]));
        let paths =
            AnswerPaths { access: &access, refresh: &[], account_id: &account, email: &email, org_id: &org_id, org_name: &org_name };
        let answer = read_login(&paths, 201, body).unwrap();
        assert_eq!(answer.token.access.expose(), "key-1");
        let identity = answer.identity;
        assert_eq!((identity.account_id.as_deref(), identity.email.as_deref()), (Some("7"), Some("a@x.example")));
        assert_eq!((identity.org_id.as_deref(), identity.org_name.as_deref()), (Some("o-1"), Some("Org")));
    }

    #[test]
    fn a_refusal_is_its_code_and_never_its_words() {
        let table: [(u16, &str, LoginRefusal); 9] = [
            (400, r#"{"error":"invalid_grant","error_description":"canary"}"#, LoginRefusal::Refused("invalid_grant".into())),
            (200, r#"{"error":"bad_verification_code","access_token":"at-1"}"#, LoginRefusal::Refused("bad_verification_code".into())),
            (401, r#"{"error":{"code":"token_used","message":"canary"}}"#, LoginRefusal::Refused("token_used".into())),
            (400, r#"{"error":{"message":"canary"}}"#, LoginRefusal::Refused("an error without a code".into())),
            (429, "slow", LoginRefusal::TooManyRequests),
            (503, "<html>", LoginRefusal::Status(503)),
            (200, "<html>", LoginRefusal::Unreadable),
            (200, r#"{"access_token":"at\n1"}"#, LoginRefusal::NoToken),
            (200, r#"{"code":500,"msg":"canary"}"#, LoginRefusal::NoToken),
        ];
        for (status, body, refusal) in table {
            assert_eq!(read_login(&AnswerPaths::default(), status, body.as_bytes()).unwrap_err(), refusal, "{body}");
            assert!(!refusal.to_string().contains("canary"));
        }
    }
}
