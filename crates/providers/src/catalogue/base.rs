//! Where an entry's requests go: its URLs, and the values of the user that its base URL may ask for.

use super::reader::TableReader;
use claviger_domain::id::ProviderId;
use claviger_domain::origin::{Endpoint, Origin, UrlError};
use std::collections::BTreeMap;

/// Where requests go.
pub(super) enum Base {
    /// Here.
    At(Endpoint),
    /// That cannot be said before the user has given these values.
    Missing(Vec<String>),
}

/// The values of the user, put into texts in which their names stand in braces.
pub(super) struct Filled(BTreeMap<String, String>);

impl Filled {
    /// Those of an entry.
    pub(super) fn of(table: &TableReader<'_>) -> Self {
        Self(table.map("values", value).into_iter().collect())
    }

    /// A text with the values in place of their names.
    pub(super) fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }
}

/// The base URL, in which `{name}` stands for the value of that name in `values`. The region of signatures may ask for one too.
pub(super) fn base(table: &TableReader<'_>, values: &Filled) -> Option<Base> {
    let text = table.required_text("base_url")?;
    let mut names = placeholders(text);
    names.extend(signed_region(table).map(placeholders).unwrap_or_default());
    names.dedup();
    for name in values.0.keys().filter(|name| !names.contains(name)) {
        table.fault("values", format!("{name:?} does not occur in base_url"));
    }
    let missing: Vec<String> = names.iter().filter(|name| !values.0.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        return Some(Base::Missing(missing));
    }
    let base = table.parsed("base_url", |text| endpoint(&values.fill(text)))?;
    if !base.query.is_empty() {
        table.fault("base_url", "a base URL has no query");
        return None;
    }
    Some(Base::At(base))
}

fn signed_region<'a>(table: &TableReader<'a>) -> Option<&'a str> {
    table.table("wire")?.table("oauth")?.table("signing")?.text("region")
}

/// The names in braces, in their order.
fn placeholders(text: &str) -> Vec<String> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name.to_owned()).collect()
}

/// A value becomes a part of a host or of a path, and nothing else.
fn value(name: &str, text: &str) -> Result<(String, String), &'static str> {
    let fit = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fit { Ok((name.to_owned(), text.to_owned())) } else { Err("letters, digits, -, _ and . are expected") }
}

/// Why a provider whose values are missing cannot be used.
pub(super) fn lacking(values: &[String]) -> String {
    format!("its address needs a value of yours: {}", values.join(", "))
}

/// What to do about it.
pub(super) fn how_to_fill(id: &ProviderId, values: &[String], notes: &[String]) -> String {
    let lines: Vec<String> = values.iter().map(|name| format!("{name} = \"…\"")).collect();
    let write = format!("write into providers.d/{id}.toml: [providers.{id}.values] {}", lines.join(", "));
    std::iter::once(&write).chain(notes).cloned().collect::<Vec<_>>().join("; ")
}

/// An origin, from a URL without path and query.
pub(super) fn origin(text: &str) -> Result<Origin, String> {
    let endpoint = endpoint(text)?;
    if endpoint.path.is_empty() && endpoint.query.is_empty() {
        Ok(endpoint.origin)
    } else {
        Err("an origin has no path and no query".to_owned())
    }
}

/// A URL, without quoting in the error what may be a credential inside it.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse::<Endpoint>().map_err(|error| match error {
        UrlError::NotAbsolute(_) => "an absolute http or https URL is expected".to_owned(),
        UrlError::UserInfo(_) | UrlError::ClearText(_) => error.to_string(),
    })
}
