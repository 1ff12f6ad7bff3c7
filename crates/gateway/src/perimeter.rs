//! Who may speak to this listener at all: `Host` and `Origin`, checked before any key, against DNS rebinding and browsers.

use crate::error::Fault;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// The names under which the gateway answers, without ports and in lower case; an IPv6 address stands in brackets.
#[derive(Debug, Clone)]
pub(crate) struct Names(Vec<Box<str>>);

impl Names {
    /// The loopback names and those of the configuration.
    pub(crate) fn new(extra: &[String]) -> Self {
        let loopback = ["127.0.0.1", "[::1]", "localhost"].map(str::to_owned);
        Self(loopback.iter().chain(extra).map(|name| name.trim().to_ascii_lowercase().into()).collect())
    }

    fn contains(&self, authority: &str) -> bool {
        let name = without_port(authority);
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Refuses a request for another host, and one that a web page of another origin sends.
pub(crate) fn check(names: &Names, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Fault::HostMissing);
    };
    let host = host.to_str().map_err(|_not_text| Fault::HostRefused)?;
    if uri.authority().is_some_and(|authority| !authority.as_str().eq_ignore_ascii_case(host)) {
        return Err(Fault::HostMismatch);
    }
    if !names.contains(host) {
        return Err(Fault::HostRefused);
    }
    if headers.get_all(ORIGIN).iter().any(|origin| !is_own(origin.as_bytes(), host)) {
        return Err(Fault::OriginRefused);
    }
    // A browser says this even where it sends no `Origin`, for instance for an image.
    match headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes) {
        Some(b"cross-site" | b"same-site") => Err(Fault::OriginRefused),
        _ => Ok(()),
    }
}

/// Whether a page of this origin was served under the very host that it now asks.
fn is_own(origin: &[u8], host: &str) -> bool {
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn verdict(uri: &str, sent: &[(&'static str, &str)]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        check(&Names::new(&["Gate.example".to_owned()]), &uri.parse().unwrap(), &headers).map_err(|fault| format!("{fault:?}"))
    }

    #[test]
    fn only_loopback_and_configured_names_are_answered() {
        for host in ["127.0.0.1:4100", "127.0.0.1", "[::1]:4100", "[::1]", "LOCALHOST:1", "gate.example:80", "GATE.EXAMPLE"] {
            assert_eq!(verdict("/x", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:4100",
            "",
            "127.0.0.2",
            "::1",
            "localhost:80:80",
            "a@localhost",
        ] {
            assert!(verdict("/x", &[("host", host)]).is_err(), "{host}");
        }
        assert!(verdict("/x", &[]).is_err());
        assert!(verdict("/x", &[("host", "localhost"), ("host", "localhost")]).is_err());
    }

    #[test]
    fn an_absolute_target_must_name_the_host() {
        assert_eq!(verdict("http://localhost:4100/x", &[("host", "localhost:4100")]), Ok(()));
        assert_eq!(verdict("http://evil.example/x", &[("host", "localhost:4100")]), Err("HostMismatch".to_owned()));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let with = |origin: &str| verdict("/x", &[("host", "localhost:4100"), ("origin", origin)]);
        assert_eq!(with("http://localhost:4100"), Ok(()));
        for origin in ["null", "http://localhost:3000", "https://evil.example", "http://evil.example/localhost:4100", ""] {
            assert!(with(origin).is_err(), "{origin}");
        }
        assert!(verdict("/x", &[("host", "localhost"), ("sec-fetch-site", "cross-site")]).is_err());
        assert_eq!(verdict("/x", &[("host", "localhost"), ("sec-fetch-site", "none")]), Ok(()));
    }
}
