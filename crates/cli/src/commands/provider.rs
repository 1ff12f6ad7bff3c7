//! Finds the provider that a person named, or says which ones there are.

use super::account::words::tidy;
use crate::context::Context;
use crate::error::CliError;
use claviger_domain::profile::ProviderProfile;
use claviger_providers::catalogue::{Catalogue, NotReady};
use std::fmt::Write as _;
use std::sync::Arc;

/// Most letters of a name that are compared: ids are no longer, and the work grows with the square.
const NAME_MAX_CHARS: usize = 64;

/// The catalogue with the user's files over it.
pub fn catalogue(context: &Context) -> Result<Catalogue, CliError> {
    let folder = &context.paths.providers_dir;
    Catalogue::load(Some(folder)).map_err(|error| CliError::usage(error.to_string()).hint("claviger config check"))
}

/// A provider by id or alias. The error names those that are close, and all that there are.
pub fn find(catalogue: &Catalogue, name: &str) -> Result<Arc<ProviderProfile>, CliError> {
    catalogue.get(name).cloned().ok_or_else(|| match catalogue.not_ready(name) {
        Some(provider) => not_ready(provider),
        None => unknown(catalogue, name),
    })
}

/// A provider of the catalogue that waits for a value, or that cannot be used at all.
fn not_ready(provider: &NotReady) -> CliError {
    CliError::failed(format!("{} cannot be used: {}", provider.id, provider.why)).hint(provider.hint.clone())
}

fn unknown(catalogue: &Catalogue, name: &str) -> CliError {
    let shown: String = name.chars().take(NAME_MAX_CHARS).collect();
    let mut message = format!("there is no provider {:?}", tidy(&shown));
    let close = close_to(catalogue, &shown);
    if !close.is_empty() {
        write!(message, "; close to it: {}", close.join(", ")).expect("writing to a String never fails");
    }
    let ids: Vec<&str> = catalogue.iter().map(|profile| profile.id.as_str()).collect();
    CliError::not_found(message).hint(format!("choose one of {}", ids.join(", ")))
}

/// Ids whose own name or alias holds the name, or is few letters away from it.
fn close_to<'a>(catalogue: &'a Catalogue, name: &str) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let near = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let contained = name.chars().count() > 2 && (candidate.contains(&name) || name.contains(&candidate));
        contained || distance(&candidate, &name) <= 1 + name.chars().count() / 4
    };
    let named = |profile: &&'a Arc<ProviderProfile>| {
        near(profile.id.as_str()) || profile.aliases.iter().any(|alias| near(alias)) || near(&profile.name)
    };
    catalogue.iter().filter(named).map(|profile| profile.id.as_str()).collect()
}

/// How many letters must be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (position, letter) in a.chars().enumerate() {
        let mut diagonal = position;
        let mut left = position + 1;
        let mut next = vec![left];
        for (other, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(*other != letter);
            left = replaced.min(left + 1).min(above + 1);
            next.push(left);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_letters_put_in_taken_out_and_replaced() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "abd", 1), ("abc", "ab", 1), ("kitten", "sitting", 3), ("", "abc", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn an_unknown_provider_names_the_close_ones_and_all_ids() {
        let error = find(Catalogue::builtin(), "antropic").unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert_eq!(error.0.message, "there is no provider \"antropic\"; close to it: anthropic");
        let hint = error.0.hint.unwrap_or_default();
        assert!(hint.starts_with("choose one of alibaba-coding-plan, anthropic, "), "{hint}");
        assert_eq!(hint.split(", ").count(), Catalogue::builtin().iter().count());
        assert!(find(Catalogue::builtin(), "zzzzzzzz").unwrap_err().0.message.ends_with("\"zzzzzzzz\""));
    }

    #[test]
    fn a_provider_that_is_not_ready_says_what_to_do() {
        let error = find(Catalogue::builtin(), "azure-openai").unwrap_err();
        assert_eq!(error.0.message, "azure cannot be used: its address needs a value of yours: resource");
        assert_eq!(error.0.hint.as_deref(), Some("write into providers.d/azure.toml: [providers.azure.values] resource = \"…\""));
        let error = find(Catalogue::builtin(), "qwen").unwrap_err();
        assert_eq!(error.0.message, "qwen-portal cannot be used: it is not supported");
        assert!(error.0.hint.is_some_and(|hint| hint.contains("alibaba-coding-plan")));
    }

    #[test]
    fn a_name_from_elsewhere_cannot_move_the_cursor() {
        let error = find(Catalogue::builtin(), "\u{1b}[31mx\n").unwrap_err();
        assert!(!error.0.message.contains('\u{1b}'));
    }
}
