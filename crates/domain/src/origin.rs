//! Origins: where a credential may go, and the rule that clear text goes to loopback only.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The scheme of an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Clear text; loopback only.
    Http,
    /// TLS.
    Https,
}

/// Scheme, host and port (RFC 6454 §4). The host is lower case; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

/// A URL that cannot serve as a base or an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not an absolute http or https URL.
    #[error("{0:?} is not an absolute http or https URL")]
    NotAbsolute(String),
    /// User information in a URL would be a credential outside the vault.
    #[error("a URL with user information is refused (host {0:?})")]
    UserInfo(String),
    /// `http://` beyond loopback.
    #[error("http:// is accepted for loopback only, not for {0:?}; use https://")]
    ClearText(String),
}

impl Origin {
    /// The origin of an absolute URL.
    pub fn of(uri: &http::Uri) -> Result<Self, UrlError> {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::NotAbsolute(uri.to_string()));
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(UrlError::NotAbsolute(uri.to_string())),
        };
        let host = authority.host().to_ascii_lowercase();
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo(host));
        }
        if host.is_empty() {
            return Err(UrlError::NotAbsolute(uri.to_string()));
        }
        let port = authority.port_u16().unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        });
        let origin = Self { scheme, host: host.into(), port };
        if scheme == Scheme::Http && !origin.is_loopback() {
            return Err(UrlError::ClearText(origin.host.into()));
        }
        Ok(origin)
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, lower case; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is `localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        host_is_loopback(&self.host)
    }
}

/// Whether a host, in lower case, is `localhost` or a loopback address.
pub fn host_is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl std::str::FromStr for Origin {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri = text.parse::<http::Uri>().map_err(|_source| UrlError::NotAbsolute(text.to_owned()))?;
        Self::of(&uri)
    }
}

/// A checked absolute URL: its origin, its path (no trailing `/`) and its query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub origin: Origin,
    /// The path, without a trailing slash; empty for the root.
    pub path: String,
    /// The query, without `?`; empty for none.
    pub query: String,
}

impl std::str::FromStr for Endpoint {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri = text.parse::<http::Uri>().map_err(|_source| UrlError::NotAbsolute(text.to_owned()))?;
        Ok(Self {
            origin: Origin::of(&uri)?,
            path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
        })
    }
}

impl Endpoint {
    /// Path and query as they stand in a request line; at least `/`.
    pub fn path_and_query(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        if self.query.is_empty() { path.to_owned() } else { format!("{path}?{}", self.query) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path_and_query())
    }
}

/// What a credential may be used for; each purpose has origins of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Requests of agents; carries the access token or key.
    Inference,
    /// Usage reports; carries the access token or key.
    Usage,
    /// The token endpoint; carries the refresh token.
    Token,
}

/// The origins of a provider by purpose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    /// For agents' requests.
    pub inference: BTreeSet<Origin>,
    /// For usage reports.
    pub usage: BTreeSet<Origin>,
    /// For the token endpoint.
    pub token: BTreeSet<Origin>,
}

impl Origins {
    /// The origins for one purpose.
    pub fn of(&self, purpose: Purpose) -> &BTreeSet<Origin> {
        match purpose {
            Purpose::Inference => &self.inference,
            Purpose::Usage => &self.usage,
            Purpose::Token => &self.token,
        }
    }
}

/// The origins that a grant was stored with; bound to its sealed fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredOrigins {
    /// The running binary's own set for the provider, so that an upgrade may move a URL.
    Builtin,
    /// An explicit set, fixed when the account was stored.
    Explicit(Origins),
}

impl StoredOrigins {
    /// One canonical line: `builtin`, or the sorted origins per purpose. Sealed fields are bound to it.
    pub fn canonical(&self, purposes: &[Purpose]) -> String {
        match self {
            Self::Builtin => "builtin".to_owned(),
            Self::Explicit(origins) => {
                let mut line = String::from("explicit");
                for purpose in purposes {
                    line.push_str(match purpose {
                        Purpose::Inference => " inference",
                        Purpose::Usage => " usage",
                        Purpose::Token => " token",
                    });
                    for origin in origins.of(*purpose) {
                        line.push(' ');
                        line.push_str(&origin.to_string());
                    }
                }
                line
            }
        }
    }

    /// Whether `wanted` may receive a credential stored with these origins.
    pub fn admits(&self, purpose: Purpose, wanted: &Origin, builtin: Option<&Origins>) -> bool {
        match self {
            Self::Builtin => builtin.is_some_and(|origins| origins.of(purpose).contains(wanted)),
            Self::Explicit(origins) => origins.of(purpose).contains(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_is_for_loopback_only() {
        for good in ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9/x", "https://api.example.com/v1/"] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
        for bad in
            ["http://10.0.0.1", "http://localhost.example.com", "ftp://x", "/v1", "https://u:p@x.example", "http://127.0.0.1.evil.example"]
        {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_has_no_trailing_slash_and_keeps_its_query() {
        let endpoint = "https://X.example/v1/?a=b".parse::<Endpoint>().unwrap();
        assert_eq!(endpoint.to_string(), "https://x.example:443/v1?a=b");
    }

    #[test]
    fn explicit_origins_admit_themselves_only() {
        let a: Origin = "https://a.example".parse().unwrap();
        let b: Origin = "https://b.example".parse().unwrap();
        let set = Origins { inference: BTreeSet::from([a.clone()]), ..Origins::default() };
        let stored = StoredOrigins::Explicit(set.clone());
        assert!(stored.admits(Purpose::Inference, &a, None));
        assert!(!stored.admits(Purpose::Token, &a, None));
        assert!(!stored.admits(Purpose::Inference, &b, None));
        assert!(!StoredOrigins::Builtin.admits(Purpose::Inference, &a, None));
        assert!(StoredOrigins::Builtin.admits(Purpose::Inference, &a, Some(&set)));
    }
}
