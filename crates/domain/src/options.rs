//! What a person sets for one account, beside its label and its priority.

mod proxy;

pub use proxy::{PROXY_MAX_BYTES, ProxyLogin, ProxyScheme, ProxyUrl};

use std::fmt;
use std::str::FromStr;

/// The largest reserve: an account that keeps more back than this is meant to be disabled.
pub const RESERVE_MAX_PERCENT: u8 = 90;
/// The largest weight; one against a hundred is as uneven as a spread can be and still use both.
pub const WEIGHT_MAX: u16 = 100;
/// Most letters of a model prefix: it stands in front of a model's name.
pub const MODEL_PREFIX_MAX_CHARS: usize = 64;

/// Why a value cannot be an option. Never repeats a proxy's URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// Not a share from 0 % to [`RESERVE_MAX_PERCENT`].
    #[error("a reserve is a whole percentage from 0% to {RESERVE_MAX_PERCENT}%, for instance 10%")]
    Reserve,
    /// Not a whole number from 1 to [`WEIGHT_MAX`].
    #[error("a weight is a whole number from 1 to {WEIGHT_MAX}")]
    Weight,
    /// Not a single path segment.
    #[error("a model prefix has 1 to {MODEL_PREFIX_MAX_CHARS} letters, digits, '.', '_' or '-', and may end with '/'")]
    ModelPrefix,
    /// Not a proxy's URL.
    #[error("a proxy is http://HOST:PORT or socks5://HOST:PORT, with NAME:PASSWORD@ before the host where it asks for one")]
    Proxy,
    /// A scheme that is not spoken.
    #[error("a proxy of the scheme {0:?} is not supported: use http:// or socks5://")]
    ProxyScheme(String),
    /// Something after the port.
    #[error("a proxy's URL ends after its port: it has no path, query or fragment")]
    ProxyPath,
    /// A name or a password that the scheme cannot carry.
    #[error("the name or the password of the proxy is one that its scheme cannot carry")]
    ProxyLogin,
}

/// What a person sets for one account, beside its label and its priority. The default is that of a new account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountOptions {
    /// The share of each limit that is kept back while other accounts have room.
    pub reserve: Reserve,
    /// How many sessions it takes, compared with accounts that are its equals.
    pub weight: Weight,
    /// Whether it serves the vendor's own client alone.
    pub own_client: OwnClient,
    /// Serves only requests whose model begins with this prefix; `None` serves those whose model has no prefix.
    pub model_prefix: Option<ModelPrefix>,
    /// Through which proxy it is reached; `None` dials directly.
    pub proxy: Option<ProxyUrl>,
}

/// A change to one option that may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken away.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// A change to options; what it does not name stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionsChange {
    /// The reserve.
    pub reserve: Option<Reserve>,
    /// The weight.
    pub weight: Option<Weight>,
    /// Whether it serves the vendor's own client alone.
    pub own_client: Option<OwnClient>,
    /// The prefix of models.
    pub model_prefix: Change<ModelPrefix>,
    /// The proxy.
    pub proxy: Change<ProxyUrl>,
}

impl OptionsChange {
    /// The options after this change.
    #[must_use]
    pub fn apply(self, before: AccountOptions) -> AccountOptions {
        let Self { reserve, weight, own_client, model_prefix, proxy } = self;
        AccountOptions {
            reserve: reserve.unwrap_or(before.reserve),
            weight: weight.unwrap_or(before.weight),
            own_client: own_client.unwrap_or(before.own_client),
            model_prefix: model_prefix.apply(before.model_prefix),
            proxy: proxy.apply(before.proxy),
        }
    }
}

/// The share of each limit that is kept back, in whole percents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Reserve(u8);

impl Reserve {
    /// A share from 0 to [`RESERVE_MAX_PERCENT`].
    pub fn from_percent(percent: u8) -> Result<Self, OptionError> {
        if percent <= RESERVE_MAX_PERCENT { Ok(Self(percent)) } else { Err(OptionError::Reserve) }
    }

    /// In percent.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// As a fraction from 0 to 0.9.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromStr for Reserve {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        let number = text.trim();
        let number = number.strip_suffix('%').unwrap_or(number).trim_end();
        number.parse().map_err(|_source| OptionError::Reserve).and_then(Self::from_percent)
    }
}

impl fmt::Display for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// How many sessions an account takes, compared with accounts that are its equals. Default 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    /// A weight from 1 to [`WEIGHT_MAX`].
    pub fn new(weight: u16) -> Result<Self, OptionError> {
        if (1..=WEIGHT_MAX).contains(&weight) { Ok(Self(weight)) } else { Err(OptionError::Weight) }
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl FromStr for Weight {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        text.parse().map_err(|_source| OptionError::Weight).and_then(Self::new)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether an account serves the vendor's own client alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnClient {
    /// As the vendor's terms have it.
    #[default]
    ByTerms,
    /// It does, whatever the terms.
    Only,
    /// It serves every client: a person has read the terms.
    Any,
}

impl OwnClient {
    /// The word in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByTerms => "default",
            Self::Only => "on",
            Self::Any => "off",
        }
    }

    /// Whether the limit holds, given what the vendor's terms say of this kind of credential.
    pub fn holds(self, by_terms: bool) -> bool {
        match self {
            Self::ByTerms => by_terms,
            Self::Only => true,
            Self::Any => false,
        }
    }
}

impl FromStr for OwnClient {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = [Self::ByTerms, Self::Only, Self::Any].into_iter().find(|rule| rule.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not one of on, off and default"))
    }
}

/// What a model's name begins with, up to its first `/`, so that a request asks for an account by name. Kept without the `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelPrefix(Box<str>);

impl ModelPrefix {
    /// The prefix without its `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelPrefix {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        let text = text.trim();
        let bare = text.strip_suffix('/').unwrap_or(text);
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        let valid = (1..=MODEL_PREFIX_MAX_CHARS).contains(&bare.len()) && bare.chars().all(fits);
        if valid { Ok(Self(bare.into())) } else { Err(OptionError::ModelPrefix) }
    }
}

impl fmt::Display for ModelPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_read_in_percent_and_bounded() {
        for (text, percent) in [("10%", 10), ("0", 0), (" 90 % ", 90)] {
            assert_eq!(text.parse::<Reserve>().map(Reserve::percent), Ok(percent), "{text:?}");
        }
        for text in ["91%", "-1", "0.1", "10%%", "", "%"] {
            assert_eq!(text.parse::<Reserve>(), Err(OptionError::Reserve), "{text:?}");
        }
        assert!((Reserve::from_percent(25).unwrap().fraction() - 0.25).abs() < f64::EPSILON);
    }

    #[test]
    fn a_weight_is_from_one_to_a_hundred_and_one_by_default() {
        assert_eq!(Weight::default().get(), 1);
        assert_eq!("100".parse::<Weight>().map(Weight::get), Ok(100));
        for text in ["0", "101", "1.5", ""] {
            assert_eq!(text.parse::<Weight>(), Err(OptionError::Weight), "{text:?}");
        }
    }

    #[test]
    fn a_person_overrules_the_terms_in_both_directions() {
        let table = [(OwnClient::ByTerms, false, true), (OwnClient::Only, true, true), (OwnClient::Any, false, false)];
        for (rule, without, with) in table {
            assert_eq!((rule.holds(false), rule.holds(true)), (without, with), "{rule:?}");
            assert_eq!(rule.as_str().parse(), Ok(rule));
        }
        assert!("yes".parse::<OwnClient>().is_err());
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let set = OptionsChange {
            reserve: Some(Reserve::from_percent(10).unwrap()),
            weight: Some(Weight::new(3).unwrap()),
            own_client: Some(OwnClient::Any),
            model_prefix: Change::Set("a".parse().unwrap()),
            proxy: Change::Set("http://h:1".parse().unwrap()),
        };
        let all = set.apply(AccountOptions::default());
        assert_eq!(OptionsChange::default().apply(all.clone()), all);
        let cleared = OptionsChange { model_prefix: Change::Clear, proxy: Change::Clear, ..OptionsChange::default() }.apply(all.clone());
        assert_eq!(cleared, AccountOptions { model_prefix: None, proxy: None, ..all });
    }

    #[test]
    fn a_model_prefix_is_one_segment_with_or_without_its_slash() {
        for text in ["team-a", "team-a/", " team-a/ "] {
            let prefix: ModelPrefix = text.parse().unwrap();
            assert_eq!((prefix.as_str(), prefix.to_string().as_str()), ("team-a", "team-a/"));
        }
        for text in ["", "/", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(text.parse::<ModelPrefix>(), Err(OptionError::ModelPrefix), "{text:?}");
        }
    }
}
