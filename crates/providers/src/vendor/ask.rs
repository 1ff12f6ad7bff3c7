//! One control request of a hook: JSON or a form out, JSON in, and errors that quote neither.

use crate::hooks::{ControlAnswer, ControlHttp, FreshLogin, HookError};
use bytes::Bytes;
use claviger_domain::identity::{NAME_MAX_BYTES, fit_name};
use claviger_domain::origin::{Endpoint, Origin, Scheme};
use claviger_domain::secret::{AccessToken, SecretText};
use claviger_domain::time::Timestamp;
use claviger_oauth::{AnswerPaths, LoginAnswer, RefreshToken, read_login};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::error::Category;
use zeroize::Zeroizing;

/// What stays as it is in a query or a form (RFC 3986 §2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A control request under construction.
pub(super) struct Ask {
    what: &'static str,
    request: Request<Bytes>,
}

impl Ask {
    /// A GET. `what` names the request in errors, for instance `the question who has logged in`.
    pub(super) fn get(what: &'static str, url: &str) -> Result<Self, HookError> {
        Self::new(what, Method::GET, url, Bytes::new())
    }

    /// A POST of JSON.
    pub(super) fn post(what: &'static str, url: &str, body: &impl Serialize) -> Result<Self, HookError> {
        let body = Zeroizing::new(serde_json::to_vec(body).expect("texts and maps with text keys become JSON"));
        Ok(Self::new(what, Method::POST, url, Bytes::from_owner(body))?.with(CONTENT_TYPE, "application/json"))
    }

    /// A POST of a form.
    pub(super) fn form(what: &'static str, url: &str, fields: &[(&str, &str)]) -> Result<Self, HookError> {
        let body = Bytes::from_owner(Zeroizing::new(query(fields).as_bytes().to_vec()));
        Ok(Self::new(what, Method::POST, url, body)?.with(CONTENT_TYPE, "application/x-www-form-urlencoded"))
    }

    fn new(what: &'static str, method: Method, url: &str, body: Bytes) -> Result<Self, HookError> {
        let request = Request::builder().method(method).uri(url).header(ACCEPT, "application/json").body(body);
        let request = request.map_err(|_source| unreadable(what, "it makes no address"))?;
        Ok(Self { what, request })
    }

    /// With a header, which replaces another of its name.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.request.headers_mut().insert(name, HeaderValue::from_static(value));
        self
    }

    /// With a token in `Authorization`, after a scheme.
    pub(super) fn authorized(mut self, scheme: &str, token: &SecretText) -> Result<Self, HookError> {
        let text = Zeroizing::new(format!("{scheme} {}", token.expose()));
        let value = HeaderValue::from_str(&text).map_err(|_source| unreadable(self.what, "the token cannot stand in a header"));
        let mut value = value?;
        value.set_sensitive(true);
        self.request.headers_mut().insert(AUTHORIZATION, value);
        Ok(self)
    }

    /// Sends it; any status is an answer.
    pub(super) async fn answer(self, http: &dyn ControlHttp) -> Result<Answer, HookError> {
        let ControlAnswer { status, headers: _, body } = http.send(self.request).await?;
        Ok(Answer { what: self.what, status: status.as_u16(), body })
    }

    /// Sends it and reads the answer, whose status must be one of success.
    pub(super) async fn json<T: DeserializeOwned>(self, http: &dyn ControlHttp) -> Result<T, HookError> {
        self.answer(http).await?.success()
    }
}

/// An answer of any status.
pub(super) struct Answer {
    what: &'static str,
    pub(super) status: u16,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Reads the body if the status is one of success.
    pub(super) fn success<T: DeserializeOwned>(&self) -> Result<T, HookError> {
        if (200..300).contains(&self.status) { self.read() } else { Err(self.refused()) }
    }

    /// Reads the body whatever the status.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, HookError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let why = match error.classify() {
                Category::Data => "a field that is needed is missing or of another kind",
                Category::Io | Category::Syntax | Category::Eof => "it is not JSON",
            };
            unreadable(self.what, why)
        })
    }

    /// Reads the body as the tokens of a login that has just ended.
    pub(super) fn login(&self, paths: &AnswerPaths<'_>, sent_at: Timestamp) -> Result<FreshLogin, HookError> {
        let read = read_login(paths, self.status, &self.body);
        let LoginAnswer { token, id_token, identity } =
            read.map_err(|refusal| HookError::Refused(format!("{}: {refusal}; begin the login again", self.what)))?;
        let expires_at = token.expires_at(sent_at);
        Ok(FreshLogin {
            access: token.access.into_text(),
            refresh: token.refresh.map(RefreshToken::into_text),
            id_token: id_token.map(AccessToken::into_text),
            is_key: false,
            expires_at,
            identity,
            plan: None,
        })
    }

    /// That the provider said no, in our words.
    pub(super) fn refused(&self) -> HookError {
        HookError::Refused(format!("{} was refused with status {}: begin the login again", self.what, self.status))
    }
}

/// That an answer is not what it should be. `why` is ours.
pub(super) fn unreadable(what: &'static str, why: &str) -> HookError {
    HookError::Unreadable { what, why: why.to_owned() }
}

/// An address with more path behind it.
pub(super) fn below(url: &Endpoint, path: &str) -> String {
    format!("{}{}{path}", url.origin, url.path)
}

/// An address as people write it, without the port that goes without saying.
pub(super) fn public(url: &Endpoint) -> String {
    format!("{}{}", public_origin(&url.origin), url.path_and_query())
}

/// The same of an origin.
pub(super) fn public_origin(origin: &Origin) -> String {
    let text = origin.to_string();
    let usual = match origin.scheme() {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    text.strip_suffix(usual).map_or_else(|| text.clone(), str::to_owned)
}

/// Fields as a query or a form, escaped.
pub(super) fn query(fields: &[(&str, &str)]) -> Zeroizing<String> {
    let escaped = |text| utf8_percent_encode(text, ESCAPED);
    // Counted first: growing would leave copies of secrets behind.
    let length: usize = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut text = Zeroizing::new(String::with_capacity(length));
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(escaped(name));
        text.push('=');
        text.extend(escaped(value));
    }
    text
}

/// A name that is fit to be kept and shown.
pub(super) fn label(text: String) -> Option<String> {
    fit_name(&text).is_some().then_some(text)
}

/// An id that becomes part of a path: nothing in it may lead elsewhere.
pub(super) fn segment(text: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fit = !text.is_empty() && text.len() <= NAME_MAX_BYTES && text.bytes().all(plain) && !text.contains("..") && text != ".";
    fit.then_some(text)
}

/// A secret of an answer. What is empty is no secret, and what no header can carry neither.
pub(super) struct Secret(pub(super) SecretText);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SecretText::new(String::deserialize(deserializer)?);
        let sendable = !text.expose().is_empty() && text.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if sendable { Ok(Self(text)) } else { Err(serde::de::Error::custom("not a token")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_escapes_what_would_end_a_field() {
        assert_eq!(query(&[("a", "b&c=d"), ("e", "ä ~")]).as_str(), "a=b%26c%3Dd&e=%C3%A4%20~");
    }

    #[test]
    fn an_id_never_leads_to_another_path() {
        assert_eq!(segment("org-1_a.b"), Some("org-1_a.b"));
        for text in ["", ".", "..", "a/b", "a?b", "a..b", "a%2f", "ä", "a b"] {
            assert_eq!(segment(text), None, "{text}");
        }
    }
}
