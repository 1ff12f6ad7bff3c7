//! Device authorization (RFC 8628): the request for a code, and what a poll's answer means.

use crate::authorize::addressed;
use crate::login_answer::{Answer, AnswerPaths, LoginAnswer, LoginRefusal, read_login};
use crate::pkce::Pkce;
use crate::request::post;
use bytes::Bytes;
use claviger_domain::origin::{Endpoint, Origin};
use claviger_domain::profile::TokenEncoding;
use claviger_domain::secret::SecretText;
use http::{HeaderName, HeaderValue, Request};
use std::fmt;
use std::time::Duration;

/// How often to poll where the provider does not say (RFC 8628 §3.2).
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);

/// The most often that a provider may make us poll.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The least often: a person waits on the other side.
pub const INTERVAL_MAX: Duration = Duration::from_mins(1);

/// What `slow_down` adds to the interval (RFC 8628 §3.5), and what an answer that says nothing adds too.
pub const SLOW_DOWN: Duration = Duration::from_secs(5);

/// How long a code is good where the provider does not say. Common ones say 15 minutes.
pub const CODE_LIFE_DEFAULT: Duration = Duration::from_mins(15);

/// The longest life of a code that is believed.
pub const CODE_LIFE_MAX: Duration = Duration::from_mins(30);

/// Most letters of a code that a person types.
const USER_CODE_MAX_CHARS: usize = 64;

/// Most bytes of the address of a page.
const URL_MAX_BYTES: usize = 2048;

/// The grant type of RFC 8628 §3.4.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct DeviceClient<'a> {
    /// Where a code is asked for.
    pub device_url: &'a Endpoint,
    /// Where the token is polled for.
    pub token_url: &'a Endpoint,
    /// The client id.
    pub client_id: &'a str,
    /// Scopes, joined by blanks.
    pub scopes: &'a [String],
    /// How bodies are written.
    pub encoding: TokenEncoding,
    /// Headers of all requests.
    pub headers: &'a [(HeaderName, HeaderValue)],
}

/// A code that a person types in, and its secret half.
pub struct DeviceCode {
    /// The secret half.
    pub device_code: SecretText,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub url: String,
    /// The same page with the code filled in.
    pub url_complete: Option<String>,
    /// How long to wait between polls.
    pub interval: Duration,
    /// How long the code is good.
    pub life: Duration,
}

impl fmt::Debug for DeviceCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCode").field("url", &self.url).field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// The POST that asks for a code. Its URI is absolute.
///
/// # Panics
/// If the endpoint was not made by parsing a URL.
pub fn device_request(client: &DeviceClient<'_>, pkce: Option<&Pkce>) -> Request<Bytes> {
    let scope = client.scopes.join(" ");
    let mut parameters = vec![("client_id", client.client_id)];
    if !scope.is_empty() {
        parameters.push(("scope", &scope));
    }
    if let Some(pkce) = pkce {
        parameters.extend([("code_challenge", pkce.challenge()), ("code_challenge_method", "S256")]);
    }
    addressed(post(client.encoding, &parameters), client.device_url, client.headers)
}

/// Reads the answer to [`device_request`]. A page that no browser should be sent to makes it unreadable.
pub fn read_device_code(status: u16, body: &[u8]) -> Result<DeviceCode, LoginRefusal> {
    let answer = Answer::parse(body);
    if let Some(code) = answer.as_ref().and_then(Answer::error) {
        return Err(LoginRefusal::Refused(code));
    }
    match (status, answer) {
        (200..=299, Some(answer)) => device_code(&answer).ok_or(LoginRefusal::Unreadable),
        (200..=299, None) => Err(LoginRefusal::Unreadable),
        (429, _) => Err(LoginRefusal::TooManyRequests),
        (status, _) => Err(LoginRefusal::Status(status)),
    }
}

fn device_code(answer: &Answer) -> Option<DeviceCode> {
    let url = answer.text("verification_uri").or_else(|| answer.text("verification_url")).filter(|url| is_page(url))?;
    let user_code = answer.text("user_code").filter(|code| is_user_code(code))?;
    let interval = answer.seconds("interval").unwrap_or(INTERVAL_DEFAULT);
    Some(DeviceCode {
        device_code: SecretText::new(answer.text("device_code")?.to_owned()),
        user_code: user_code.to_owned(),
        url: url.to_owned(),
        url_complete: answer.text("verification_uri_complete").filter(|url| is_page(url)).map(str::to_owned),
        interval: interval.clamp(INTERVAL_MIN, INTERVAL_MAX),
        life: answer.seconds("expires_in").unwrap_or(CODE_LIFE_DEFAULT).min(CODE_LIFE_MAX),
    })
}

/// Whether a code may be shown to be typed in: letters, digits, and what stands between groups of them.
pub fn is_user_code(code: &str) -> bool {
    let fit = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    (1..=USER_CODE_MAX_CHARS).contains(&code.chars().count()) && code.chars().all(fit)
}

/// Whether an address may be shown and opened: https, or http on this machine, in the letters that RFC 3986 §2 knows. Others are
/// never needed, and some openers have handed quotes and backticks to a shell.
pub fn is_page(url: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    url.len() <= URL_MAX_BYTES && url.bytes().all(fit) && url.parse::<Origin>().is_ok()
}

/// The POST that asks whether somebody has typed the code. Its URI is absolute.
///
/// # Panics
/// If the endpoint was not made by parsing a URL.
pub fn poll_request(client: &DeviceClient<'_>, code: &DeviceCode, pkce: Option<&Pkce>) -> Request<Bytes> {
    let mut parameters = vec![("grant_type", GRANT_TYPE), ("device_code", code.device_code.expose()), ("client_id", client.client_id)];
    if let Some(pkce) = pkce {
        parameters.push(("code_verifier", pkce.verifier()));
    }
    addressed(post(client.encoding, &parameters), client.token_url, client.headers)
}

/// What a poll's answer means.
#[derive(Debug)]
pub enum PollAnswer {
    /// Somebody has logged in.
    Done(Box<LoginAnswer>),
    /// Nobody has yet.
    Pending,
    /// Nobody has yet, and polls come too often: the interval grows to this, or by [`SLOW_DOWN`].
    SlowDown(Option<Duration>),
    /// The code is good no more.
    Expired,
    /// The person, or the provider, refused.
    Refused(String),
    /// An answer that says nothing of the login: a failing server, a page, too many requests.
    Unclear,
}

/// Reads the answer to [`poll_request`]. The error decides and not the status: some providers say `authorization_pending` with
/// status 200.
pub fn read_poll(paths: &AnswerPaths<'_>, status: u16, body: &[u8]) -> PollAnswer {
    match read_login(paths, status, body) {
        Ok(answer) => PollAnswer::Done(Box::new(answer)),
        Err(LoginRefusal::Refused(code)) => match code.as_str() {
            "authorization_pending" => PollAnswer::Pending,
            "slow_down" => {
                let told = Answer::parse(body).and_then(|answer| answer.seconds("interval"));
                PollAnswer::SlowDown(told.map(|interval| interval.clamp(INTERVAL_MIN, INTERVAL_MAX)))
            }
            "expired_token" => PollAnswer::Expired,
            _ if matches!(status, 500..=599 | 429) => PollAnswer::Unclear,
            _ => PollAnswer::Refused(code),
        },
        // A success without a token and without an error: not done yet, as it seems.
        Err(LoginRefusal::NoToken) => PollAnswer::Pending,
        Err(LoginRefusal::Status(status)) if matches!(status, 400..=404) => PollAnswer::Refused(format!("status {status}")),
        Err(LoginRefusal::TooManyRequests | LoginRefusal::Status(_) | LoginRefusal::Unreadable) => PollAnswer::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"device_code":"dc-1","user_code":"ABCD-1234","verification_uri":"https://login.example/device",
        "verification_uri_complete":"https://login.example/device?code=ABCD-1234","expires_in":900,"interval":5}"#;

    #[test]
    fn a_code_is_read_with_its_page_and_its_times() {
        let code = read_device_code(200, ANSWER.as_bytes()).unwrap();
        assert_eq!((code.user_code.as_str(), code.url.as_str()), ("ABCD-1234", "https://login.example/device"));
        assert_eq!((code.interval, code.life), (Duration::from_secs(5), Duration::from_mins(15)));
        let bare = r#"{"device_code":"d","user_code":"U","verification_url":"http://127.0.0.1:1/d","interval":"0","expires_in":1e9}"#;
        let code = read_device_code(200, bare.as_bytes()).unwrap();
        assert_eq!((code.interval, code.life, code.url_complete), (INTERVAL_DEFAULT, CODE_LIFE_MAX, None));
    }

    #[test]
    fn a_page_that_no_browser_should_be_sent_to_is_refused() {
        for url in [
            "file:///etc/passwd",
            "http://login.example/device",
            "javascript:alert(1)",
            "https://login.example/\u{1b}[2J",
            "x",
            "https://login.example/`id`",
            "https://login.example@evil.example/",
        ] {
            let body = ANSWER.replace("https://login.example/device\"", &format!("{}\"", url.escape_default()));
            assert!(read_device_code(200, body.as_bytes()).is_err(), "{url}");
        }
        let steered = ANSWER.replace("ABCD-1234\",\"v", "AB\\u001b[2J\",\"v");
        assert!(read_device_code(200, steered.as_bytes()).is_err());
    }

    #[test]
    fn what_a_poll_says_is_told_by_its_error_whatever_the_status() {
        let word = |status: u16, body: &str| match read_poll(&AnswerPaths::default(), status, body.as_bytes()) {
            PollAnswer::Done(_) => "done".to_owned(),
            PollAnswer::Pending => "pending".to_owned(),
            PollAnswer::SlowDown(told) => format!("slower {told:?}"),
            PollAnswer::Expired => "expired".to_owned(),
            PollAnswer::Refused(code) => format!("refused {code}"),
            PollAnswer::Unclear => "unclear".to_owned(),
        };
        for status in [200, 400, 403] {
            assert_eq!(word(status, r#"{"error":"authorization_pending"}"#), "pending");
            assert_eq!(word(status, r#"{"error":"slow_down"}"#), "slower None");
            assert_eq!(word(status, r#"{"error":"slow_down","interval":10}"#), "slower Some(10s)");
            assert_eq!(word(status, r#"{"error":"expired_token"}"#), "expired");
            assert_eq!(word(status, r#"{"error":"access_denied"}"#), "refused access_denied");
        }
        assert_eq!(word(200, r#"{"access_token":"at-1"}"#), "done");
        assert_eq!(word(200, "{}"), "pending");
        assert_eq!(word(404, "{}"), "refused status 404");
        for (status, body) in [(502, "<html>"), (200, "<html>"), (429, "{}"), (500, r#"{"error":"server_error"}"#)] {
            assert_eq!(word(status, body), "unclear");
        }
    }

    #[test]
    fn requests_have_what_rfc_8628_asks_for() {
        let (device_url, token_url) = ("https://a.example/d".parse().unwrap(), "https://a.example/t".parse().unwrap());
        let scopes = ["a".to_owned(), "b".to_owned()];
        let encoding = TokenEncoding::Form;
        let client =
            DeviceClient { device_url: &device_url, token_url: &token_url, client_id: "c-1", scopes: &scopes, encoding, headers: &[] };
        assert_eq!(&device_request(&client, None).body()[..], b"client_id=c-1&scope=a%20b");
        let code = read_device_code(200, ANSWER.as_bytes()).unwrap();
        let poll = poll_request(&client, &code, None);
        let body = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=dc-1&client_id=c-1";
        assert_eq!((poll.uri().to_string().as_str(), std::str::from_utf8(poll.body()).unwrap()), ("https://a.example/t", body));
    }
}
