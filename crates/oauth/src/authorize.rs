//! The authorization request (RFC 6749 §4.1.1, §4.1.3): the page that a browser is sent to, and the exchange of the code that
//! comes back.

use crate::pkce::{LoginState, Pkce};
use crate::request::{FORM, post};
use bytes::Bytes;
use claviger_domain::origin::{Endpoint, Scheme};
use claviger_domain::profile::TokenEncoding;
use http::{HeaderName, HeaderValue, Request};
use percent_encoding::utf8_percent_encode;
use zeroize::Zeroizing;

/// Who asks, and what is the same in every login of a provider.
#[derive(Debug, Clone, Copy)]
pub struct CodeClient<'a> {
    /// Where the browser is sent.
    pub authorize_url: &'a Endpoint,
    /// Where the code is exchanged.
    pub token_url: &'a Endpoint,
    /// The client id; empty for a provider that knows no clients.
    pub client_id: &'a str,
    /// The secret of an installed application, which its vendor publishes.
    pub client_secret: Option<&'a str>,
    /// Scopes, joined by blanks.
    pub scopes: &'a [String],
    /// Parameters of the authorization URL. Values may hold `{redirect_uri}`, `{state}` and `{code_challenge}`.
    pub authorize_params: &'a [(String, String)],
    /// Parameters of the exchange. Values may hold `{code}`, `{state}`, `{code_verifier}` and `{redirect_uri}`.
    pub token_params: &'a [(String, String)],
    /// Whether the parameters, where there are any, take the place of the standard ones.
    pub params_replace: bool,
    /// How the exchange is written.
    pub encoding: TokenEncoding,
    /// Headers of the exchange.
    pub headers: &'a [(HeaderName, HeaderValue)],
}

/// What is of one login alone.
#[derive(Debug, Clone, Copy)]
pub struct CodeAttempt<'a> {
    /// Where the browser comes back to.
    pub redirect_uri: &'a str,
    /// Ties the answer to this login.
    pub state: &'a LoginState,
    /// Ties the code to this login; `None` where the provider knows no PKCE.
    pub pkce: Option<&'a Pkce>,
}

/// The page that a browser is sent to. It holds no secret: `state` and the challenge are for the browser and the provider.
pub fn authorize_url(client: &CodeClient<'_>, attempt: &CodeAttempt<'_>) -> String {
    let scope = client.scopes.join(" ");
    let mut standard = vec![("response_type", "code"), ("client_id", client.client_id), ("redirect_uri", attempt.redirect_uri)];
    standard.extend([("scope", scope.as_str()), ("state", attempt.state.expose())]);
    if let Some(pkce) = attempt.pkce {
        standard.extend([("code_challenge", pkce.challenge()), ("code_challenge_method", "S256")]);
    }
    let known = [
        ("{redirect_uri}", attempt.redirect_uri),
        ("{state}", attempt.state.expose()),
        ("{code_challenge}", attempt.pkce.map_or("", Pkce::challenge)),
    ];
    let parameters = merged(&standard, client.authorize_params, client.params_replace, &known);
    let mut url = address(client.authorize_url);
    let mut joint = if client.authorize_url.query.is_empty() { '?' } else { '&' };
    for (name, value) in &parameters {
        url.push(joint);
        url.extend(utf8_percent_encode(name, FORM));
        url.push('=');
        url.extend(utf8_percent_encode(value, FORM));
        joint = '&';
    }
    url
}

/// The POST that trades a code for tokens. Its URI is absolute. The body is overwritten when the last handle on it is dropped.
///
/// # Panics
/// If the endpoint was not made by parsing a URL.
pub fn exchange_request(client: &CodeClient<'_>, attempt: &CodeAttempt<'_>, code: &str) -> Request<Bytes> {
    let mut standard = vec![("grant_type", "authorization_code"), ("client_id", client.client_id)];
    standard.push(("client_secret", client.client_secret.unwrap_or_default()));
    standard.extend([("code", code), ("redirect_uri", attempt.redirect_uri)]);
    let verifier = attempt.pkce.map_or("", Pkce::verifier);
    standard.push(("code_verifier", verifier));
    let known =
        [("{code}", code), ("{state}", attempt.state.expose()), ("{code_verifier}", verifier), ("{redirect_uri}", attempt.redirect_uri)];
    let parameters = merged(&standard, client.token_params, client.params_replace, &known);
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    addressed(post(client.encoding, &parameters), client.token_url, client.headers)
}

/// A request on its way to an endpoint, with the headers of a rule in the place of ours.
pub(crate) fn addressed(mut request: Request<Bytes>, endpoint: &Endpoint, headers: &[(HeaderName, HeaderValue)]) -> Request<Bytes> {
    *request.uri_mut() = address(endpoint).parse().expect("an endpoint was parsed from a URL");
    for (name, value) in headers {
        request.headers_mut().insert(name, value.clone());
    }
    request
}

/// An endpoint as people and browsers write it: without the port that goes without saying.
fn address(endpoint: &Endpoint) -> String {
    let origin = &endpoint.origin;
    let (scheme, usual) = match origin.scheme() {
        Scheme::Http => ("http", 80),
        Scheme::Https => ("https", 443),
    };
    let path = endpoint.path_and_query();
    match origin.port() {
        port if port == usual => format!("{scheme}://{}{path}", origin.host()),
        port => format!("{scheme}://{}:{port}{path}", origin.host()),
    }
}

/// The parameters of a request: the standard ones that have a value, then the rule's, which never replace one of them, unless
/// they replace them all.
fn merged<'a>(
    standard: &[(&'a str, &str)],
    rule: &'a [(String, String)],
    params_replace: bool,
    known: &[(&str, &str)],
) -> Vec<(&'a str, Zeroizing<String>)> {
    let replaced = params_replace && !rule.is_empty();
    let kept = standard.iter().filter(|(_, value)| !replaced && !value.is_empty());
    let mut parameters: Vec<(&str, Zeroizing<String>)> = kept.map(|(name, value)| (*name, Zeroizing::new((*value).to_owned()))).collect();
    for (name, value) in rule {
        if !parameters.iter().any(|(taken, _)| taken == name) {
            parameters.push((name, filled(value, known)));
        }
    }
    parameters
}

/// A template with its places filled. What is put in is not searched again.
fn filled(template: &str, known: &[(&str, &str)]) -> Zeroizing<String> {
    let longest = known.iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    let places = template.matches('{').count();
    // The whole capacity at once: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(template.len() + places * longest));
    let mut rest = template;
    while let Some((before, from)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        text.push_str(before);
        let place = known.iter().find_map(|(place, value)| from.strip_prefix(place).map(|after| (*value, after)));
        rest = if let Some((value, after)) = place {
            text.push_str(value);
            after
        } else {
            text.push('{');
            from.strip_prefix('{').unwrap_or_default()
        };
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pkce::{STATE_BYTES, VERIFIER_BYTES};

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    struct Rule {
        authorize_url: Endpoint,
        token_url: Endpoint,
        scopes: Vec<String>,
        authorize_params: Vec<(String, String)>,
        token_params: Vec<(String, String)>,
        state: LoginState,
        pkce: Pkce,
    }

    impl Rule {
        fn new() -> Self {
            Self {
                authorize_url: "https://login.example/authorize".parse().unwrap(),
                token_url: "https://login.example/token?v=1".parse().unwrap(),
                scopes: vec!["openid".to_owned(), "a/b".to_owned()],
                authorize_params: Vec::new(),
                token_params: Vec::new(),
                state: LoginState::new([1; STATE_BYTES]),
                pkce: Pkce::new([2; VERIFIER_BYTES]),
            }
        }

        fn client(&self) -> CodeClient<'_> {
            CodeClient {
                authorize_url: &self.authorize_url,
                token_url: &self.token_url,
                client_id: "client-1",
                client_secret: None,
                scopes: &self.scopes,
                authorize_params: &self.authorize_params,
                token_params: &self.token_params,
                params_replace: false,
                encoding: TokenEncoding::Form,
                headers: &[],
            }
        }

        fn attempt(&self) -> CodeAttempt<'_> {
            CodeAttempt { redirect_uri: "http://127.0.0.1:1/cb", state: &self.state, pkce: Some(&self.pkce) }
        }
    }

    #[test]
    fn the_page_has_every_standard_parameter_and_the_rules_own() {
        let mut rule = Rule::new();
        rule.authorize_params = pairs(&[("prompt", "login"), ("state", "mine")]);
        let url = authorize_url(&rule.client(), &rule.attempt());
        let (state, challenge) = (rule.state.expose(), rule.pkce.challenge());
        assert_eq!(
            url,
            format!(
                "https://login.example/authorize?response_type=code&client_id=client-1&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcb\
                 &scope=openid%20a%2Fb&state={state}&code_challenge={challenge}&code_challenge_method=S256&prompt=login"
            )
        );
        assert!(!url.contains(rule.pkce.verifier()));
    }

    #[test]
    fn a_rule_may_replace_every_standard_parameter() {
        let mut rule = Rule::new();
        rule.authorize_params = pairs(&[("callback_url", "{redirect_uri}"), ("code_challenge", "{code_challenge}")]);
        rule.token_params = pairs(&[("code", "{code}"), ("code_verifier", "{code_verifier}"), ("odd", "{{code}}{x}")]);
        let client = CodeClient { params_replace: true, encoding: TokenEncoding::Json, ..rule.client() };
        let url = authorize_url(&client, &rule.attempt());
        let challenge = rule.pkce.challenge();
        let expected = format!("https://login.example/authorize?callback_url=http%3A%2F%2F127.0.0.1%3A1%2Fcb&code_challenge={challenge}");
        assert_eq!(url, expected);
        let request = exchange_request(&client, &rule.attempt(), "co{code}de");
        let verifier = rule.pkce.verifier();
        let body = format!(r#"{{"code":"co{{code}}de","code_verifier":"{verifier}","odd":"{{co{{code}}de}}{{x}}"}}"#);
        assert_eq!(std::str::from_utf8(request.body()).unwrap(), body);
    }

    #[test]
    fn the_exchange_is_that_of_rfc_6749_with_the_verifier() {
        let mut rule = Rule::new();
        rule.token_params = pairs(&[("state", "{state}")]);
        let client = CodeClient { client_secret: Some("published"), ..rule.client() };
        let request = exchange_request(&client, &rule.attempt(), "c/1");
        let (state, verifier) = (rule.state.expose(), rule.pkce.verifier());
        assert_eq!(
            std::str::from_utf8(request.body()).unwrap(),
            format!(
                "grant_type=authorization_code&client_id=client-1&client_secret=published&code=c%2F1\
                 &redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcb&code_verifier={verifier}&state={state}"
            )
        );
        assert_eq!(request.uri().to_string(), "https://login.example/token?v=1");
    }

    #[test]
    fn a_query_of_the_page_itself_is_kept() {
        let mut rule = Rule::new();
        rule.authorize_url = "https://login.example/authorize?tenant=t".parse().unwrap();
        assert!(authorize_url(&rule.client(), &rule.attempt()).starts_with("https://login.example/authorize?tenant=t&response_type="));
    }
}
