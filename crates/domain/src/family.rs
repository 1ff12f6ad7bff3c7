//! Families: models of a provider that share a meter, so that a limit or a block of one covers them all.

use std::borrow::Cow;

/// Some models of a provider, by the patterns of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Its name, which scopes of limits and blocks use.
    pub name: String,
    /// Patterns of model names, lower case, where `*` stands for any text.
    pub patterns: Vec<String>,
}

/// The families of a provider, the first match first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Families(pub Vec<Family>);

impl Families {
    /// The family of a model; `None` for a model without one.
    pub fn family_of(&self, model: &str) -> Option<&str> {
        self.position_of(model).and_then(|position| self.0.get(position)).map(|family| family.name.as_str())
    }

    /// Where the family of a model stands among the families. Letter case does not count.
    pub fn position_of(&self, model: &str) -> Option<usize> {
        let model = lower_case(model);
        self.0.iter().position(|family| family.patterns.iter().any(|pattern| matches_pattern(pattern, &model)))
    }

    /// Whether there is a family of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|family| family.name == name)
    }
}

/// A name in lower case; copied only where it is not, since requests are asked for their family.
pub(crate) fn lower_case(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_uppercase) { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
}

/// Whether a text is what a pattern describes; `*` stands for any text, the empty one too. Letter case counts.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*-spark", "gpt-spark", true),
            ("*-spark", "gpt-spark-1", false),
            ("*opus*", "claude-opus-4", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_family_whose_pattern_fits_is_the_family() {
        let family = |name: &str, pattern: &str| Family { name: name.to_owned(), patterns: vec![pattern.to_owned()] };
        let families = Families(vec![family("small", "*-mini*"), family("all", "m-*")]);
        assert_eq!(families.family_of("M-1-Mini"), Some("small"));
        assert_eq!(families.family_of("m-1"), Some("all"));
        assert_eq!(families.family_of("x"), None);
        assert_eq!((families.position_of("m-1"), families.has("all"), families.has("m-1")), (Some(1), true, false));
    }
}
