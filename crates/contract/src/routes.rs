//! Where requests go: providers by name, and the provider of a dialect or model.

use claviger_domain::family::matches_pattern;
use claviger_domain::id::ProviderId;
use claviger_domain::options::ModelPrefix;
use claviger_domain::profile::{Dialect, ProviderProfile};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A snapshot of the routes.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// Providers by id and by alias.
    pub providers: HashMap<String, Arc<ProviderProfile>>,
    /// Model patterns and their provider; first match wins.
    pub models: Vec<(Pattern, ProviderId)>,
    /// The provider of a dialect where no pattern matches.
    pub dialects: HashMap<Dialect, ProviderId>,
    /// Model prefixes by which accounts of a provider are asked for.
    pub model_prefixes: HashMap<ProviderId, BTreeSet<ModelPrefix>>,
}

impl Routes {
    /// A provider by id or alias.
    pub fn provider(&self, name: &str) -> Option<&Arc<ProviderProfile>> {
        self.providers.get(name)
    }

    /// The provider for a request on a dialect's own route.
    pub fn choose(&self, dialect: Dialect, model: Option<&str>) -> Option<&Arc<ProviderProfile>> {
        let by_model = model.and_then(|model| self.models.iter().find(|(pattern, _)| pattern.matches(model)));
        let id = by_model.map(|(_, provider)| provider).or_else(|| self.dialects.get(&dialect))?;
        self.providers.get(id.as_str())
    }

    /// A model's name cut after its first `/`, where accounts of that provider are asked for by what stands before it.
    pub fn split_prefix<'a>(&self, provider: &ProviderId, model: &'a str) -> Option<(&'a str, &'a str)> {
        let prefixes = self.model_prefixes.get(provider)?;
        let (prefix, rest) = model.split_once('/')?;
        prefixes.iter().any(|known| known.as_str() == prefix).then_some((prefix, rest))
    }
}

/// A model pattern: literal text in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        matches_pattern(&self.0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5x", false),
            ("gpt-*", "gpt-", true),
            ("*-mini", "gpt-mini", true),
            ("*-mini", "gpt-minix", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }
}
