//! Answers of every provider that has rows of its own, and what they mean: a file a provider in `tests/classes/`.

use claviger_domain::classify::{Class, ClassifyContext, Evidence, classify};
use claviger_domain::credential::CredentialKind;
use claviger_domain::profile::ProviderProfile;
use claviger_domain::time::Timestamp;
use claviger_providers::catalogue::Catalogue;
use http::HeaderMap;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// 2026-11-22T10:00:00Z
const NOW: Timestamp = Timestamp(1_795_341_600_000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: Kind,
    model: String,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: String,
    class: String,
    scope: Option<String>,
    until_s: Option<f64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Oauth,
    ApiKey,
}

impl Case {
    fn class(&self, profile: &ProviderProfile) -> Class {
        let kind = match self.kind {
            Kind::Oauth => CredentialKind::OAuth,
            Kind::ApiKey => CredentialKind::ApiKey,
        };
        assert!(profile.wire(kind).is_some(), "{}: {} is a credential that the provider does not take", profile.id, self.name);
        let pairs = self.headers.iter().map(|(name, value)| (name.parse().expect("a header name"), value.parse().expect("a header value")));
        let headers: HeaderMap = pairs.collect();
        let evidence = Evidence::Answer { status: self.status, headers: &headers, body: self.body.as_bytes() };
        classify(&profile.classes, ClassifyContext { kind, model: Some(&self.model), now: NOW }, evidence)
    }
}

/// A class as its word, its scope and the milliseconds to its end.
fn told(class: &Class) -> (&'static str, Option<String>, Option<i64>) {
    let wait = |until: &Option<Timestamp>| until.map(|until| until.0 - NOW.0);
    match class {
        Class::Unauthorized => ("unauthorized", None, None),
        Class::UsageLimit { scope, until } => ("usage_limit", Some(scope.to_string()), wait(until)),
        Class::Policy { scope } => ("policy", Some(scope.to_string()), None),
        Class::RateLimited { until } => ("rate_limited", None, wait(until)),
        Class::Concurrency => ("concurrency", None, None),
        Class::Capacity => ("capacity", None, None),
        Class::Unrelated => ("unrelated", None, None),
        Class::Accepted | Class::Unreachable | Class::Lost => ("not an answer that failed", None, None),
    }
}

fn files() -> BTreeMap<String, Cases> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/classes");
    let listing = std::fs::read_dir(folder).expect("the folder of the cases");
    let paths = listing.map(|item| item.expect("an item of the folder").path());
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        let cases = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), cases)
    };
    paths.map(read).collect()
}

#[test]
fn every_answer_means_what_its_case_says() {
    let mut wrong = Vec::new();
    for (provider, cases) in files() {
        let profile = Catalogue::builtin().get(&provider).unwrap_or_else(|| panic!("there is no provider {provider}"));
        for case in cases.case {
            #[expect(clippy::cast_possible_truncation, reason = "the cases are hours and days long")]
            let expected = (case.class.as_str(), case.scope.clone(), case.until_s.map(|seconds| (seconds * 1000.0).round() as i64));
            let class = case.class(profile);
            let (word, scope, wait) = told(&class);
            if (word, &scope, wait) != (expected.0, &expected.1, expected.2) {
                wrong.push(format!("{provider}: {}: {:?}, not {expected:?}", case.name, (word, scope, wait)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_provider_with_rows_of_its_own_is_without_cases() {
    let files = files();
    for profile in Catalogue::builtin().iter().filter(|profile| !profile.classes.rules.is_empty()) {
        assert!(files.contains_key(profile.id.as_str()), "{} has rows and no cases", profile.id);
    }
}
