//! Signature Version 4 of AWS over headers, for services that encode paths twice (all but S3):
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. Pure.

use super::AwsKeys;
use crate::vendor::ask::public_origin;
use claviger_domain::origin::Origin;
use claviger_domain::profile::SigningRule;
use claviger_domain::secret::SecretText;
use claviger_domain::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use zeroize::Zeroizing;

/// The scheme.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What stays as it is: the unreserved letters of RFC 3986 §2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// Part of signatures of S3 alone; what a client sent would contradict ours.
const CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Signs a request to `target` with its whole body. What the client's own signature left behind is replaced. `None`, and nothing
/// changed, where a part cannot be written.
pub fn sign(
    keys: &AwsKeys,
    rule: &SigningRule,
    parts: &mut request::Parts,
    (target, body): (&Origin, &[u8]),
    now: Timestamp,
) -> Option<()> {
    let date = jiff::Timestamp::from_millisecond(now.0).ok()?.strftime("%Y%m%dT%H%M%SZ").to_string();
    let (day, _) = date.split_once('T')?;
    let token = keys.token.as_ref().map(SecretText::expose);
    let origin = public_origin(target);
    let (_, host) = origin.split_once("://")?;
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let signed = [(CONTENT_TYPE, kind), (HOST, Some(host)), (DATE, Some(&date)), (TOKEN, token)];
    let signed: Vec<(HeaderName, &str)> = signed.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");

    let request = canonical_request(parts, &signed, body);
    let scope = format!("{day}/{}/{}/aws4_request", rule.region, rule.service);
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(request.as_bytes())));
    let signature = hex(&*mac(&*signing_key(&keys.secret, day, rule), &to_sign));

    let header = format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", keys.id.expose());
    let mut header = HeaderValue::from_str(&header).ok()?;
    header.set_sensitive(true);
    let token = match token.map(HeaderValue::from_str).transpose().ok()? {
        Some(mut token) => {
            token.set_sensitive(true);
            Some(token)
        }
        None => None,
    };
    let date = HeaderValue::from_str(&date).ok()?;
    parts.headers.remove(CONTENT_HASH);
    parts.headers.remove(TOKEN);
    parts.headers.extend(token.map(|token| (TOKEN, token)));
    parts.headers.insert(DATE, date);
    parts.headers.insert(AUTHORIZATION, header);
    Some(())
}

/// The request as it is hashed. Holds the session token.
fn canonical_request(parts: &request::Parts, signed: &[(HeaderName, &str)], body: &[u8]) -> Zeroizing<String> {
    let path = canonical_path(parts.uri.path());
    let query = canonical_query(parts.uri.query().unwrap_or_default());
    let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let hash = hex(&Sha256::digest(body));
    // Counted first: growing would leave copies of the token behind.
    let headers: usize = signed.iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
    let fixed = parts.method.as_str().len() + path.len() + query.len() + names.len() + hash.len();
    let mut text = Zeroizing::new(String::with_capacity(headers + fixed + 5));
    for line in [parts.method.as_str(), &path, &query] {
        text.push_str(line);
        text.push('\n');
    }
    for (name, value) in signed {
        text.push_str(name.as_str());
        text.push(':');
        for (index, word) in value.split_ascii_whitespace().enumerate() {
            text.push_str(if index == 0 { "" } else { " " });
            text.push_str(word);
        }
        text.push('\n');
    }
    for part in ["\n", &names, "\n", &hash] {
        text.push_str(part);
    }
    text
}

/// The path as it goes out, without what climbs and what is empty, and encoded once more than it is.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut text: String = segments.iter().flat_map(|segment| ["/".into(), encoded(segment.as_bytes())]).collect();
    if path.ends_with('/') || text.is_empty() {
        text.push('/');
    }
    text
}

/// The parameters by name and value, each encoded once.
fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let once = |text: &str| encoded(&percent_decode_str(text).collect::<Vec<u8>>());
    let mut pairs: Vec<(String, String)> = pairs.map(|(name, value)| (once(name), once(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, ENCODED).to_string()
}

/// The key that signs for one day, region and service.
fn signing_key(secret: &SecretText, day: &str, rule: &SigningRule) -> Zeroizing<[u8; 32]> {
    let mut first = Zeroizing::new(String::with_capacity(4 + secret.expose().len()));
    first.push_str("AWS4");
    first.push_str(secret.expose());
    let of_day = mac(first.as_bytes(), day);
    [&rule.region, &rule.service, "aws4_request"].iter().fold(of_day, |key, part| mac(&*key, part))
}

fn mac(key: &[u8], text: &str) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const ID: &str = "AKIDEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    /// The session token of the suite.
    const SESSION: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn keys(token: Option<&str>) -> AwsKeys {
        AwsKeys::of(ID, SECRET, token).unwrap()
    }

    fn rule(service: &str) -> SigningRule {
        SigningRule { region: "us-east-1".to_owned(), service: service.to_owned() }
    }

    fn parts(method: &str, target: &str, kind: Option<&str>) -> request::Parts {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// Signed headers and signature, as in the suite of AWS: 30 August 2015, `us-east-1`, the service `service`.
    fn signed(method: &str, target: &str, kind: Option<&str>, token: Option<&str>, body: &[u8]) -> (String, String) {
        let mut parts = parts(method, target, kind);
        let origin = "https://example.amazonaws.com".parse().unwrap();
        sign(&keys(token), &rule("service"), &mut parts, (&origin, body), at("2015-08-30T12:36:00Z")).unwrap();
        let header = parts.headers["authorization"].to_str().unwrap();
        assert!(
            header.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="),
            "{header}"
        );
        assert_eq!(parts.headers["x-amz-date"], "20150830T123600Z");
        let (names, signature) = header.split_once("SignedHeaders=").unwrap().1.split_once(", Signature=").unwrap();
        (names.to_owned(), signature.to_owned())
    }

    /// Name, method, target, content type, body, signature.
    type Vector = (&'static str, &'static str, &'static str, Option<&'static str>, &'static [u8], &'static str);

    /// The vectors of `aws-sig-v4-test-suite` whose signed headers are those that are signed here.
    #[test]
    fn the_vectors_of_aws_come_out() {
        let form = Some("application/x-www-form-urlencoded");
        let vectors: [Vector; 8] = [
            ("get-vanilla", "GET", "/", None, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("get-slash", "GET", "//", None, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("get-relative", "GET", "/example/..", None, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "get-vanilla-empty-query-key",
                "GET",
                "/?Param1=value1",
                None,
                b"",
                "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/?Param2=value2&Param1=value1",
                None,
                b"",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("post-vanilla", "POST", "/", None, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "post-vanilla-query",
                "POST",
                "/?Param1=value1",
                None,
                b"",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "/",
                form,
                b"Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (name, method, target, kind, body, expected) in vectors {
            let (names, signature) = signed(method, target, kind, None, body);
            assert_eq!(names, if kind.is_some() { "content-type;host;x-amz-date" } else { "host;x-amz-date" }, "{name}");
            assert_eq!(signature, expected, "{name}");
        }
    }

    #[test]
    fn the_vector_of_aws_with_a_session_token_comes_out() {
        let (names, signature) = signed("POST", "/", None, Some(SESSION), b"");
        assert_eq!(names, "host;x-amz-date;x-amz-security-token");
        assert_eq!(signature, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead");
    }

    #[test]
    fn the_key_of_a_day_is_the_one_in_the_documentation_of_aws() {
        let key = signing_key(&SecretText::new(SECRET.to_owned()), "20150830", &rule("iam"));
        assert_eq!(hex(&*key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn the_path_of_a_model_is_encoded_once_more_than_it_goes_out() {
        let escaped = parts("POST", "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse", Some("application/json"));
        let request = canonical_request(&escaped, &[(HOST, "bedrock-runtime.us-east-1.amazonaws.com")], b"{}");
        assert_eq!(
            request.as_str(),
            "POST\n/model/anthropic.claude-3-haiku-20240307-v1%253A0/converse\n\nhost:bedrock-runtime.us-east-1.amazonaws.com\n\nhost\n44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert_eq!(canonical_path("/model/a.b-v1:0/invoke"), "/model/a.b-v1%3A0/invoke");
        assert_eq!(
            canonical_path("/model/arn%3Aaws%3Abedrock%3A%3A1%3Ax%2Fy/invoke-with-response-stream"),
            "/model/arn%253Aaws%253Abedrock%253A%253A1%253Ax%252Fy/invoke-with-response-stream"
        );
    }

    #[test]
    fn a_signature_is_over_the_body_the_host_and_the_moment() {
        let sign_with = |origin: &str, body: &[u8], now: &str| {
            let mut parts = parts("POST", "/p", None);
            sign(&keys(None), &rule("bedrock"), &mut parts, (&origin.parse().unwrap(), body), at(now)).unwrap();
            parts.headers["authorization"].to_str().unwrap().to_owned()
        };
        let first = sign_with("https://a.example", b"{}", "2026-01-01T00:00:00Z");
        assert_eq!(first, sign_with("https://a.example:443", b"{}", "2026-01-01T00:00:00Z"));
        for (origin, body, now) in [
            ("https://a.example:444", &b"{}"[..], "2026-01-01T00:00:00Z"),
            ("https://a.example", b"{ }", "2026-01-01T00:00:00Z"),
            ("https://a.example", b"{}", "2026-01-01T00:00:01Z"),
        ] {
            assert_ne!(first, sign_with(origin, body, now));
        }
    }

    #[test]
    fn what_a_client_signed_with_is_replaced_and_no_secret_is_sent_or_shown() {
        let mut parts = parts("POST", "/p", None);
        for name in ["x-amz-security-token", "x-amz-content-sha256", "x-amz-date"] {
            parts.headers.insert(name, HeaderValue::from_static("the-clients"));
        }
        sign(&keys(None), &rule("bedrock"), &mut parts, (&"https://a.example".parse().unwrap(), b""), at("2026-01-01T00:00:00Z")).unwrap();
        assert!(!parts.headers.values().any(|value| value == "the-clients"));
        assert!(!parts.headers.contains_key("x-amz-content-sha256") && !parts.headers.contains_key("x-amz-security-token"));
        assert!(parts.headers["authorization"].is_sensitive());
        let keys = keys(Some(SESSION));
        let shown = format!("{keys:?} {:?}", parts.headers);
        assert!(!shown.contains(SECRET) && !shown.contains(ID) && !shown.contains("AQoDYXdz"), "{shown}");
        let again = AwsKeys::of_text(keys.into_text().expose()).unwrap();
        assert_eq!((again.secret.expose(), again.token.as_ref().unwrap().expose()), (SECRET, SESSION));
    }
}
