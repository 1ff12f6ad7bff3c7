//! Writes `docs/providers.md` to standard output: what the catalogue says of each provider. `tools/providers` calls it, and a
//! test compares the file with it.

use claviger_domain::credential::CredentialKind;
use claviger_domain::origin::{Endpoint, Scheme};
use claviger_domain::profile::{ProviderProfile, Rotation};
use claviger_providers::catalogue::Catalogue;
use claviger_providers::login::{KeyEntry, LoginWay, Redirect, RedirectPort};
use std::fmt::Write as _;
use std::io::Write as _;

const HEAD: &str = "# Providers

What the built-in catalogue says of each provider. This file is written by `tools/providers` from the entries in
`crates/providers/catalogue/`, and a test fails where they differ. What the keys of an entry mean, and how a file of yours changes them, is in
[catalogue.md](catalogue.md).

- **kinds**: what an account may be, a `login` (OAuth) or a `key`.
- **ways to log in**: `loopback` (the browser comes back to this machine; on another machine the URL is pasted), `paste`, `device` (a code is
  typed in on another device), `vendor` (a flow in code), `key` (tried with a request that tells a good key from a bad one for nothing, or
  untried where none is known).
- **usage**: where it is told what an account has left: an `endpoint`, the `headers` of ordinary answers, or nothing that is known.
- **refresh**: `strict`: a refresh token is taken to be single use, which is also assumed where nothing is known. `non-rotating`: it stays.
- **own client only**: the vendor says that its logins are for its own client. Then the gateway serves that client alone, unless the account
  says otherwise. The client is recognised by what it says of itself; nobody is disguised as it.
- **client id of**: the product whose published client id a login uses. Claviger never sends another product's name in a header.
- **tried**: when the entry was last tried with a real account. Everything here was taken from published sources and tested against fakes.
";

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(document(Catalogue::builtin()).as_bytes())
}

/// The whole file.
pub(crate) fn document(catalogue: &Catalogue) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n| provider | kinds | ways to log in | usage | refresh | own client only | client id of | tried |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for profile in catalogue.iter() {
        row(&mut text, catalogue, profile);
    }
    text.push_str("\nThese need something first, or cannot be used:\n\n| provider | why | what to do |\n|---|---|---|\n");
    for provider in catalogue.iter_not_ready() {
        writeln!(text, "| `{}` | {} | {} |", provider.id, provider.why, provider.hint).expect("writing to a String never fails");
    }
    for profile in catalogue.iter() {
        section(&mut text, catalogue, profile);
    }
    text
}

fn row(text: &mut String, catalogue: &Catalogue, profile: &ProviderProfile) {
    let id = profile.id.as_str();
    let facts = catalogue.facts(id).cloned().unwrap_or_default();
    let ways: Vec<&str> = catalogue.login(id).into_iter().flat_map(|login| &login.ways).map(way_word).collect();
    let own_client = if profile.terms.own_client_only { "yes" } else { "" };
    let cells = [
        format!("[`{id}`](#{id})"),
        kinds(profile).join(", "),
        ways.join(", "),
        usage_words(profile).join(", "),
        refresh_word(profile).to_owned(),
        own_client.to_owned(),
        facts.client_id_of.unwrap_or_default(),
        facts.verified_live.unwrap_or_else(|| "never".to_owned()),
    ];
    writeln!(text, "| {} |", cells.join(" | ")).expect("writing to a String never fails");
}

fn section(text: &mut String, catalogue: &Catalogue, profile: &ProviderProfile) {
    let id = profile.id.as_str();
    write!(text, "\n## {id}\n\n").expect("writing to a String never fails");
    for line in facts_of(catalogue, profile) {
        writeln!(text, "- {line}").expect("writing to a String never fails");
    }
}

fn facts_of(catalogue: &Catalogue, profile: &ProviderProfile) -> Vec<String> {
    let id = profile.id.as_str();
    let mut lines = vec![format!("{}: {}", profile.name, url(&profile.base))];
    let dialects: Vec<&str> = profile.dialects.iter().map(|dialect| dialect.as_str()).collect();
    lines.push(if dialects.is_empty() {
        "speaks: what its own clients speak; passed through".to_owned()
    } else {
        format!("speaks: {}", dialects.join(", "))
    });
    if !profile.aliases.is_empty() {
        lines.push(format!("also: {}", code(&profile.aliases)));
    }
    let variables = catalogue.environment(id).into_iter().flat_map(|rule| &rule.variables).map(|variable| variable.name.as_str());
    let variables: Vec<&str> = variables.collect();
    if !variables.is_empty() {
        lines.push(format!("environment: {}", code(&variables)));
    }
    if let Some(login) = catalogue.login(id) {
        lines.extend(login.ways.iter().map(way_line));
        lines.extend(login.grant_life.map(|life| format!("a login ends {} days after it began", life.as_secs() / 86_400)));
        lines.extend(login.advice.clone());
    }
    lines.extend(profile.terms.note.iter().map(|note| format!("terms: {note}")));
    if let Some(endpoint) = &profile.usage.endpoint {
        lines.push(format!("usage: {} {}", endpoint.method, url(&endpoint.url)));
    }
    let taps: Vec<&str> = profile.usage.headers.iter().map(|tap| tap.id.as_str()).collect();
    if !taps.is_empty() {
        lines.push(format!("limits in headers: {}", code(&taps)));
    }
    lines.extend(catalogue.facts(id).into_iter().flat_map(|facts| facts.notes.clone()));
    lines
}

fn kinds(profile: &ProviderProfile) -> Vec<&'static str> {
    let words = [(CredentialKind::OAuth, "login"), (CredentialKind::ApiKey, "key")];
    words.into_iter().filter(|(kind, _)| profile.wire(*kind).is_some()).map(|(_, word)| word).collect()
}

fn way_word(way: &LoginWay) -> &'static str {
    match way {
        LoginWay::Loopback(_) => "loopback",
        LoginWay::Paste(_) => "paste",
        LoginWay::Device(_) => "device",
        LoginWay::Vendor(_) => "vendor",
        LoginWay::Key(_) => "key",
    }
}

fn way_line(way: &LoginWay) -> String {
    match way {
        LoginWay::Loopback(flow) => {
            let pkce = if flow.pkce { "with PKCE" } else { "without PKCE" };
            format!("login in a browser, {}, {pkce}", redirect_words(&flow.redirect))
        }
        LoginWay::Paste(flow) => format!("login in a browser, {}", redirect_words(&flow.redirect)),
        LoginWay::Device(flow) => format!("login with a code on another device: {}", url(&flow.device_url)),
        LoginWay::Vendor(flow) => format!("login in the vendor's own way: {}", flow.summary),
        LoginWay::Key(entry) => key_line(entry),
    }
}

fn redirect_words(redirect: &Redirect) -> String {
    match redirect {
        Redirect::Loopback { host, port, path } => match port {
            RedirectPort::Any => format!("which comes back to any port of `{host}`"),
            RedirectPort::Preferred(port) => format!("which comes back to `http://{host}:{port}{path}`, or another port"),
            RedirectPort::Fixed(port) => format!("which comes back to `http://{host}:{port}{path}` and to no other port"),
        },
        Redirect::Fixed(page) => format!("which ends at `{page}`, from where it is pasted"),
    }
}

fn key_line(entry: &KeyEntry) -> String {
    let page = entry.page.as_ref().map(|page| format!(" from <{page}>")).unwrap_or_default();
    match &entry.probe {
        Some(probe) => format!("a key{page}, tried with {} {}", probe.method, url(&probe.url)),
        None => format!("a key{page}, stored untried"),
    }
}

fn usage_words(profile: &ProviderProfile) -> Vec<&'static str> {
    let endpoint = profile.usage.endpoint.as_ref().map(|_| "endpoint");
    let headers = (!profile.usage.headers.is_empty()).then_some("headers");
    endpoint.into_iter().chain(headers).collect()
}

fn refresh_word(profile: &ProviderProfile) -> &'static str {
    match profile.refresh.as_ref().map(|refresh| refresh.rotation) {
        None => "",
        Some(Rotation::NonRotating) => "non-rotating",
        Some(Rotation::Grace { .. }) => "grace",
        Some(Rotation::Strict) => "strict",
    }
}

/// An address as people write it, without the port that goes without saying.
fn url(endpoint: &Endpoint) -> String {
    let (origin, usual) = (endpoint.origin.to_string(), if endpoint.origin.scheme() == Scheme::Https { ":443" } else { ":80" });
    let path = endpoint.path_and_query();
    format!("<{}{}>", origin.strip_suffix(usual).unwrap_or(&origin), if path == "/" { "" } else { &path })
}

fn code(words: &[impl AsRef<str>]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}
