//! Where requests go: providers by name, and the provider of a dialect or model.

use claviger_domain::id::ProviderId;
use claviger_domain::profile::{Dialect, ProviderProfile};
use std::collections::HashMap;
use std::sync::Arc;

/// A snapshot of the routes.
#[derive(Debug, Default)]
pub struct Routes {
    /// Providers by id and by alias.
    pub providers: HashMap<String, Arc<ProviderProfile>>,
    /// Model patterns and their provider; first match wins.
    pub models: Vec<(Pattern, ProviderId)>,
    /// The provider of a dialect where no pattern matches.
    pub dialects: HashMap<Dialect, ProviderId>,
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
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
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
