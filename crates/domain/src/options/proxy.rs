//! Through which proxy an account is reached: a URL whose password is a secret.

use super::OptionError;
use crate::secret::SecretText;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Most bytes of a proxy's URL. The credentials of commercial proxies are long, since they name sessions and countries.
pub const PROXY_MAX_BYTES: usize = 2048;
/// Most bytes of a name and of a password for a SOCKS proxy, which count them in one byte (RFC 1929 §2).
const SOCKS_FIELD_MAX_BYTES: usize = 255;

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyScheme {
    /// `CONNECT` (RFC 9110 §9.3.6) over clear text; what is tunnelled has its own TLS.
    Http,
    /// SOCKS version 5 (RFC 1928). Names are resolved by the proxy, under `socks5h` and `socks5` alike.
    Socks5,
}

impl ProxyScheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5 => "socks5",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Socks5 => 1080,
        }
    }
}

/// Through which proxy an account is reached: `http://[NAME:PASSWORD@]HOST[:PORT]`, or `socks5://`.
///
/// The password is a secret, and so is a name without one: `Debug` and `Display` leave them out, and [`ProxyUrl::exposed`] alone writes it, for the store.
#[derive(Clone)]
pub struct ProxyUrl(Arc<ProxyParts>);

struct ProxyParts {
    scheme: ProxyScheme,
    host: Box<str>,
    port: u16,
    login: Option<ProxyLogin>,
}

/// What a proxy asks for.
#[derive(Debug)]
pub struct ProxyLogin {
    /// The name.
    pub name: String,
    /// The password; may be empty.
    pub password: SecretText,
}

impl ProxyUrl {
    /// How it is spoken to.
    pub fn scheme(&self) -> ProxyScheme {
        self.0.scheme
    }

    /// Its host, lower case; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// What it asks for.
    pub fn login(&self) -> Option<&ProxyLogin> {
        self.0.login.as_ref()
    }

    /// The whole URL with the password, as it parses again. For the store, which seals it.
    pub fn exposed(&self) -> Zeroizing<String> {
        let ProxyParts { scheme, host, port, login } = &*self.0;
        let mut text = Zeroizing::new(String::with_capacity(PROXY_MAX_BYTES));
        text.push_str(scheme.as_str());
        text.push_str("://");
        if let Some(login) = login {
            encode(&mut text, &login.name);
            text.push(':');
            encode(&mut text, login.password.expose());
            text.push('@');
        }
        text.push_str(host);
        text.push(':');
        text.push_str(&port.to_string());
        text
    }
}

/// Two are the same where they are in all parts, the password included: it tells whether a row changes, and which connections
/// may be shared. Neither side comes from outside.
impl PartialEq for ProxyUrl {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.exposed() == other.exposed()
    }
}

impl Eq for ProxyUrl {}

impl std::hash::Hash for ProxyUrl {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.0.scheme, &self.0.host, self.0.port).hash(state);
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

/// The URL with `…` in place of a password, and of a name without one: that is how proxies take a key of theirs.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProxyParts { scheme, host, port, login } = &*self.0;
        let login = match login {
            None => String::new(),
            Some(login) if login.password.expose().is_empty() => "…@".to_owned(),
            Some(login) => format!("{}:…@", login.name),
        };
        write!(f, "{}://{login}{host}:{port}", scheme.as_str())
    }
}

impl FromStr for ProxyUrl {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        let text = text.trim();
        if text.len() > PROXY_MAX_BYTES {
            return Err(OptionError::Proxy);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OptionError::Proxy)?;
        let scheme = match &*scheme.to_ascii_lowercase() {
            "http" => ProxyScheme::Http,
            "socks5" | "socks5h" => ProxyScheme::Socks5,
            "" => return Err(OptionError::Proxy),
            // Whatever stands before `://` may be the beginning of a password that holds it.
            other if other.len() <= 8 && other.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(OptionError::ProxyScheme(other.to_owned()));
            }
            _ => return Err(OptionError::Proxy),
        };
        // A password may hold an `@` that nobody has encoded, a host may not.
        let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        let place = place.strip_suffix('/').unwrap_or(place);
        if place.contains(['/', '?', '#']) {
            return Err(OptionError::ProxyPath);
        }
        let authority: http::uri::Authority = place.parse().map_err(|_source| OptionError::Proxy)?;
        let port = match (authority.port(), authority.port_u16()) {
            (None, _) => scheme.default_port(),
            (Some(_), Some(port)) if port > 0 => port,
            _ => return Err(OptionError::Proxy),
        };
        if authority.host().is_empty() || place.ends_with(':') {
            return Err(OptionError::Proxy);
        }
        let login = login.map(|login| login_of(scheme, login)).transpose()?;
        Ok(Self(Arc::new(ProxyParts { scheme, host: authority.host().to_ascii_lowercase().into(), port, login })))
    }
}

fn login_of(scheme: ProxyScheme, text: &str) -> Result<ProxyLogin, OptionError> {
    let (name, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text: &str| decode(text).ok_or(OptionError::ProxyLogin);
    let name = decoded(name)?;
    let password = SecretText::new(decoded(password)?);
    let fits = match scheme {
        // The name ends at the first colon (RFC 7617 §2).
        ProxyScheme::Http => !name.contains(':'),
        ProxyScheme::Socks5 => (1..=SOCKS_FIELD_MAX_BYTES).contains(&name.len()) && password.expose().len() <= SOCKS_FIELD_MAX_BYTES,
    };
    let clean = |text: &str| !text.chars().any(char::is_control);
    if fits && clean(&name) && clean(password.expose()) { Ok(ProxyLogin { name, password }) } else { Err(OptionError::ProxyLogin) }
}

/// Percent-encodes what is not unreserved (RFC 3986 §2.3).
fn encode(into: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS.get(usize::from(value)).map_or('0', |digit| char::from(*digit));
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Decodes `%XX`; a `%` without two digits stands for itself, as people write it in passwords. `None` where it is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = || {
            let (digits, after) = after.split_at_checked(2)?;
            let value = digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))?;
            Some((u8::try_from(value).ok()?, after))
        };
        let (byte, next) = (*first == b'%').then(escaped).flatten().unwrap_or((*first, after));
        bytes.push(byte);
        rest = next;
    }
    std::str::from_utf8(&bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::AccountOptions;

    #[test]
    fn a_proxy_reads_back_what_it_writes() {
        for (text, written) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.Example", "http://proxy.example:80"),
            ("socks5h://[::1]/", "socks5://[::1]:1080"),
            ("http://name@proxy.example:1", "http://name:@proxy.example:1"),
            ("http://na%3Ame:p@ss:w%rd@h:1", ""),
            ("http://name:p@ss:w%rd@h:1", "http://name:p%40ss%3Aw%25rd@h:1"),
            ("socks5://u:%C3%BC@127.0.0.1:9", "socks5://u:%C3%BC@127.0.0.1:9"),
        ] {
            let Ok(proxy) = text.parse::<ProxyUrl>() else {
                assert_eq!(written, "", "{text}");
                continue;
            };
            assert_eq!(*proxy.exposed(), written);
            assert_eq!(proxy.exposed().parse::<ProxyUrl>().unwrap(), proxy);
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_repeating_it() {
        let socks_name = format!("socks5://{}:p@h:1", "n".repeat(256));
        for text in [
            "",
            "proxy.example:3128",
            "ftp://canary-pw@h:1",
            "canary-pw://x",
            "http://u:canary-pw@h:1/path",
            "http://u:canary-pw@h:0",
            "http://u:canary-pw@h:",
            "http://u:canary-pw@:1",
            "http://u:canary-pw%00@h:1",
            "socks5://:canary-pw@h:1",
            &socks_name,
        ] {
            let error = text.parse::<ProxyUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary-pw"), "{error:?}");
        }
    }

    #[test]
    fn a_proxys_password_is_in_no_text_for_people() {
        let proxy: ProxyUrl = "http://name:canary-pw@proxy.example:3128".parse().unwrap();
        let options = AccountOptions { proxy: Some(proxy.clone()), ..AccountOptions::default() };
        assert_eq!(proxy.to_string(), "http://name:…@proxy.example:3128");
        assert!(!format!("{options:?}").contains("canary-pw"));
        for text in ["http://canary-pw@proxy.example:1", "http://canary-pw:@proxy.example:1"] {
            assert_eq!(text.parse::<ProxyUrl>().unwrap().to_string(), "http://…@proxy.example:1");
        }
    }

    #[test]
    fn proxies_that_differ_in_their_password_only_are_two() {
        let proxy = |text: &str| text.parse::<ProxyUrl>().unwrap();
        assert_ne!(proxy("http://n:a@h:1"), proxy("http://n:b@h:1"));
        assert_eq!(proxy("http://n:a@H:1"), proxy("http://n:a@h:1"));
    }
}
