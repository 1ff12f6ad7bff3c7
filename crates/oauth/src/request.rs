//! The refresh request (RFC 6749 §6), as a rule says it.

use crate::token::RefreshToken;
use bytes::Bytes;
use claviger_domain::profile::{RefreshRule, TokenCarry, TokenEncoding};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// What `application/x-www-form-urlencoded` escapes. A blank becomes `%20`, which every form parser reads as `+`.
pub(crate) const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// The most bytes that one byte grows to: `\u00XX` in JSON, `%XX` in a form.
const ESCAPED_MAX_BYTES: usize = 6;

/// The POST that trades a refresh token for an access token. Its URI is the endpoint's path and query.
///
/// The rule's parameters follow the standard ones and never replace them; its headers replace ours, save the one that carries
/// the token. An empty client id is left out. The body is overwritten when the last handle on it is dropped.
///
/// `None` for a token that no header can carry, where the rule wants it there: nothing was sent.
///
/// # Panics
/// If the rule's endpoint was not made by parsing a URL.
pub fn refresh_request(rule: &RefreshRule, token: &RefreshToken) -> Option<Request<Bytes>> {
    let bearer = match rule.carry {
        TokenCarry::Parameter => None,
        TokenCarry::Bearer => Some(bearer(token)?),
    };
    let mut request = post(rule.encoding, &parameters(rule, token));
    *request.uri_mut() = rule.url.path_and_query().parse().expect("an endpoint's path was parsed from a URL");
    let headers = request.headers_mut();
    for (name, value) in &rule.headers {
        headers.insert(name, value.clone());
    }
    if let Some(bearer) = bearer {
        headers.insert(AUTHORIZATION, bearer);
    }
    Some(request)
}

/// A POST of parameters, to nowhere yet. The body is overwritten when the last handle on it is dropped.
pub(crate) fn post(encoding: TokenEncoding, parameters: &[(&str, &str)]) -> Request<Bytes> {
    let capacity = parameters.iter().map(|(name, value)| ESCAPED_MAX_BYTES * (name.len() + value.len() + 1)).sum::<usize>() + 2;
    // The whole capacity at once: growing would leave copies of a secret behind.
    let mut body = Zeroizing::new(Vec::with_capacity(capacity));
    let content_type = match encoding {
        TokenEncoding::Form => {
            write_form(&mut body, parameters);
            "application/x-www-form-urlencoded"
        }
        TokenEncoding::Json => {
            write_json(&mut body, parameters);
            "application/json"
        }
    };
    let mut request = Request::new(Bytes::from_owner(body));
    *request.method_mut() = http::Method::POST;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("claviger/", env!("CARGO_PKG_VERSION"))));
    request
}

fn bearer(token: &RefreshToken) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn parameters<'a>(rule: &'a RefreshRule, token: &'a RefreshToken) -> Vec<(&'a str, &'a str)> {
    let mut parameters = Vec::new();
    if rule.carry == TokenCarry::Parameter {
        parameters.extend([("grant_type", "refresh_token"), ("refresh_token", token.expose())]);
        if !rule.client_id.is_empty() {
            parameters.push(("client_id", &rule.client_id));
        }
        if let Some(secret) = &rule.client_secret {
            parameters.push(("client_secret", secret));
        }
    }
    for (name, value) in &rule.params {
        if !parameters.iter().any(|(taken, _)| taken == name) {
            parameters.push((name, value));
        }
    }
    parameters
}

fn write_form(body: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            body.push(b'&');
        }
        let escaped = utf8_percent_encode(name, FORM).chain(["="]).chain(utf8_percent_encode(value, FORM));
        body.extend(escaped.flat_map(str::as_bytes));
    }
}

fn write_json(body: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    let write = |body: &mut Vec<u8>, text: &str| serde_json::to_writer(body, text).expect("text is written to memory");
    body.push(b'{');
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        write(body, name);
        body.push(b':');
        write(body, value);
    }
    body.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_domain::profile::{Rotation, TokenNames};
    use std::time::Duration;

    fn rule() -> RefreshRule {
        RefreshRule {
            url: "https://auth.example/token?v=1".parse().unwrap(),
            client_id: "client-1".to_owned(),
            client_secret: None,
            encoding: TokenEncoding::Form,
            carry: TokenCarry::Parameter,
            names: TokenNames::default(),
            headers: Vec::new(),
            params: Vec::new(),
            rotation: Rotation::Strict,
            timeout: Duration::from_secs(30),
            dead_codes: Vec::new(),
            not_consumed_codes: Vec::new(),
            dead_statuses: Vec::new(),
        }
    }

    fn sent(rule: &RefreshRule) -> (Request<Bytes>, String) {
        let request = refresh_request(rule, &RefreshToken::new("rt-1/+ \"ä".to_owned())).unwrap();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        (request, body)
    }

    #[test]
    fn a_form_holds_every_parameter_once_and_escaped() {
        let mut rule = rule();
        rule.client_secret = Some("s&=".to_owned());
        rule.params = vec![("scope".to_owned(), "a b".to_owned()), ("grant_type".to_owned(), "password".to_owned())];
        let (request, body) = sent(&rule);
        assert_eq!(
            body,
            "grant_type=refresh_token&refresh_token=rt-1%2F%2B%20%22%C3%A4&client_id=client-1&client_secret=s%26%3D&scope=a%20b"
        );
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", "/token?v=1"));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(request.headers()[ACCEPT], "application/json");
        assert!(request.headers()[USER_AGENT].to_str().unwrap().starts_with("claviger/"));
    }

    #[test]
    fn json_holds_the_same_parameters() {
        let mut rule = rule();
        rule.encoding = TokenEncoding::Json;
        let (request, body) = sent(&rule);
        assert_eq!(body, r#"{"grant_type":"refresh_token","refresh_token":"rt-1/+ \"ä","client_id":"client-1"}"#);
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn the_rules_headers_replace_ours() {
        let mut rule = rule();
        rule.headers = vec![(USER_AGENT, HeaderValue::from_static("other/1"))];
        let (request, _) = sent(&rule);
        assert_eq!(request.headers().get_all(USER_AGENT).iter().collect::<Vec<_>>(), ["other/1"]);
    }

    #[test]
    fn an_empty_client_id_is_left_out() {
        let mut rule = rule();
        rule.client_id = String::new();
        assert!(!sent(&rule).1.contains("client_id"));
    }

    #[test]
    fn a_bearer_rule_sends_the_token_in_the_header_alone() {
        let mut rule = rule();
        (rule.carry, rule.encoding) = (TokenCarry::Bearer, TokenEncoding::Json);
        rule.headers = vec![(AUTHORIZATION, HeaderValue::from_static("Bearer other"))];
        let request = refresh_request(&rule, &RefreshToken::new("rt-1".to_owned())).unwrap();
        assert_eq!(request.headers().get_all(AUTHORIZATION).iter().collect::<Vec<_>>(), ["Bearer rt-1"]);
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        assert_eq!(&request.body()[..], b"{}");
    }

    #[test]
    fn a_token_that_no_header_can_carry_makes_no_bearer_request() {
        let mut rule = rule();
        rule.carry = TokenCarry::Bearer;
        assert!(refresh_request(&rule, &RefreshToken::new("rt\n1".to_owned())).is_none());
    }

    #[test]
    fn the_body_never_outgrows_its_first_allocation() {
        for encoding in [TokenEncoding::Form, TokenEncoding::Json] {
            let mut rule = rule();
            rule.encoding = encoding;
            let token = RefreshToken::new("\u{1}".repeat(100));
            let parameters = parameters(&rule, &token);
            let capacity = parameters.iter().map(|(name, value)| ESCAPED_MAX_BYTES * (name.len() + value.len() + 1)).sum::<usize>() + 2;
            assert!(refresh_request(&rule, &token).unwrap().body().len() <= capacity);
        }
    }
}
