//! One merged entry, checked and compiled to a provider profile.

use super::RESERVED;
use super::fault::Faults;
use super::place::Place;
use super::reader::{TableReader, not_empty, one_of};
use super::rows;
use super::tree::{Node, Value};
use base64::Engine;
use claviger_domain::credential::CredentialKind;
use claviger_domain::id::ProviderId;
use claviger_domain::origin::{Endpoint, Origins, UrlError};
use claviger_domain::profile::{
    Dialect, HeaderMode, HeaderRule, HeaderText, IdentityRule, ProviderProfile, RefreshRule, Rotation, SessionRule, TokenEncoding, WireRule,
};
use http::{HeaderName, HeaderValue};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long one token exchange may take where an entry does not say: the limit that the vendors' own clients use.
const REFRESH_TIMEOUT_DEFAULT_S: u32 = 30;
/// Longest time that an entry may give a token exchange: the lock of a grant is held that long.
const REFRESH_TIMEOUT_MAX_S: u32 = 120;
/// Longest grace window that an entry may claim.
const GRACE_MAX_S: u32 = 3600;

/// Codes that end a grant where an entry names none: RFC 6749 §5.2, RFC 6750 §3.1 and what vendors add.
const DEAD_CODES: [&str; 6] =
    ["invalid_grant", "invalid_token", "unauthorized_client", "refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated"];
/// Codes that show that the refresh token was not looked at, where an entry names none (RFC 6749 §5.2).
const NOT_CONSUMED_CODES: [&str; 3] = ["invalid_request", "invalid_client", "unsupported_grant_type"];

/// Headers that an entry cannot set: credentials belong into the vault, and the rest belongs to the connection.
const FORBIDDEN_HEADERS: [&str; 14] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "keep-alive",
];

const DIALECTS: [(&str, Dialect); 4] = [
    (Dialect::Messages.as_str(), Dialect::Messages),
    (Dialect::Chat.as_str(), Dialect::Chat),
    (Dialect::Responses.as_str(), Dialect::Responses),
    (Dialect::Generate.as_str(), Dialect::Generate),
];

/// An entry, compiled.
pub(super) struct Compiled {
    pub(super) profile: ProviderProfile,
    pub(super) environment: EnvironmentRule,
    pub(super) default_dialects: Vec<(Dialect, Place)>,
}

/// A provider's environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvironmentRule {
    /// The variables, first found first: logins before keys.
    pub variables: Vec<EnvironmentVariable>,
    /// How an access token begins, where that tells it from a key.
    pub oauth_token_prefix: Option<String>,
}

/// An environment variable that holds a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: CredentialKind,
}

/// The origins of entries, before any file of the user is merged over them.
pub(super) fn origins_of(written: &BTreeMap<String, Node>, faults: &Faults) -> BTreeMap<String, Origins> {
    let compiled = written.iter().filter_map(|(id, node)| Some((id.clone(), compile(id, node, None, faults)?.profile.origins)));
    compiled.collect()
}

/// Checks an entry and compiles it; notes all faults and returns nothing where a part that all others need is missing.
pub(super) fn compile(id: &str, node: &Node, builtin_origins: Option<&Origins>, faults: &Faults) -> Option<Compiled> {
    let table = TableReader::new(format!("providers.{id}"), node, faults)?;
    let provider_id = provider_id(id, &table, faults);
    let base = base(&table);
    let oauth = table.table("oauth").map(OAuth::read);
    let refresh = refresh(&table, oauth.as_ref());
    let usage = table.table("usage").and_then(|usage| {
        let url = usage.required_text("url").and_then(|_| usage.parsed("url", endpoint));
        usage.finish();
        url
    });
    let (api_key, oauth_wire) = wires(&table);
    let dialects = table.list("dialects", |text| one_of(text, &DIALECTS));
    if dialects.is_empty() && !table.has("dialects") {
        table.fault("dialects", "missing");
    }
    let environment = environment(&table);
    let default_dialects = default_dialects(&table, &dialects);
    let name = table.text("name").unwrap_or(id).to_owned();
    let aliases = table.list("aliases", |text| ProviderId::new(text).map(|alias| alias.as_str().to_owned()));
    let session = session(&table);
    let identity = identity(&table, faults);
    let classes = rows::read(&table);
    table.finish();

    let base = base?;
    let token_urls = refresh.iter().map(|refresh| &refresh.url).chain(oauth.iter().filter_map(|oauth| oauth.token_url.as_ref()));
    let origins = Origins {
        inference: BTreeSet::from([base.origin.clone()]),
        usage: usage.into_iter().map(|url| url.origin).collect(),
        token: token_urls.map(|url| url.origin.clone()).collect(),
    };
    let profile = ProviderProfile {
        id: provider_id?,
        name,
        aliases,
        dialects,
        base,
        origins,
        builtin_origins: builtin_origins.cloned(),
        api_key,
        oauth: oauth_wire,
        refresh,
        classes,
        session,
        env: environment
            .variables
            .iter()
            .filter(|variable| variable.kind == CredentialKind::ApiKey)
            .map(|variable| variable.name.clone())
            .collect(),
        identity,
    };
    Some(Compiled { profile, environment, default_dialects })
}

fn provider_id(id: &str, table: &TableReader<'_>, faults: &Faults) -> Option<ProviderId> {
    if RESERVED.contains(&id) {
        faults.add(table.at, &table.key, "the id is reserved for a route of the gateway");
        return None;
    }
    ProviderId::new(id).map_err(|error| faults.add(table.at, &table.key, error.to_string())).ok()
}

fn base(table: &TableReader<'_>) -> Option<Endpoint> {
    table.required_text("base_url")?;
    let base = table.parsed("base_url", endpoint)?;
    if !base.query.is_empty() {
        table.fault("base_url", "a base URL has no query");
        return None;
    }
    Some(base)
}

/// A URL, without quoting in the error what may be a credential inside it.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse::<Endpoint>().map_err(|error| match error {
        UrlError::NotAbsolute(_) => "an absolute http or https URL is expected".to_owned(),
        UrlError::UserInfo(_) | UrlError::ClearText(_) => error.to_string(),
    })
}

/// The keys of `oauth`.
struct OAuth {
    token_url: Option<Endpoint>,
    client_id: Option<String>,
    client_secret: Option<String>,
    encoding: TokenEncoding,
}

impl OAuth {
    fn read(table: TableReader<'_>) -> Self {
        let secret = |text: &str| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_source| "base64 is expected")?;
            String::from_utf8(bytes).map_err(|_source| "base64 of text is expected")
        };
        let oauth = Self {
            token_url: table.parsed("token_url", endpoint),
            client_id: table.text("client_id").map(str::to_owned),
            client_secret: table.parsed("client_secret_b64", secret),
            encoding: table
                .word("token_encoding", &[("form", TokenEncoding::Form), ("json", TokenEncoding::Json)])
                .unwrap_or(TokenEncoding::Form),
        };
        if table.has("token_url") && !table.has("client_id") {
            table.fault("client_id", "missing beside token_url");
        }
        table.finish();
        oauth
    }
}

fn refresh(entry: &TableReader<'_>, oauth: Option<&OAuth>) -> Option<RefreshRule> {
    let table = entry.table("refresh");
    let url = table.as_ref().and_then(|table| table.parsed("url", endpoint)).or_else(|| oauth?.token_url.clone());
    let Some((url, oauth)) = url.zip(oauth) else {
        if entry.has("refresh") {
            entry.fault("refresh", "there is no token endpoint; oauth.token_url and oauth.client_id are missing");
        }
        return None;
    };
    let mut rule = RefreshRule {
        url,
        client_id: oauth.client_id.clone().unwrap_or_default(),
        client_secret: oauth.client_secret.clone(),
        encoding: oauth.encoding,
        headers: Vec::new(),
        params: Vec::new(),
        rotation: Rotation::Strict,
        timeout: Duration::from_secs(REFRESH_TIMEOUT_DEFAULT_S.into()),
        dead_codes: DEAD_CODES.map(str::to_owned).to_vec(),
        not_consumed_codes: NOT_CONSUMED_CODES.map(str::to_owned).to_vec(),
        dead_statuses: Vec::new(),
    };
    let Some(table) = table else { return Some(rule) };
    rule.rotation = rotation(&table);
    rule.headers = table.map("headers", |name, value| Ok::<_, String>((header_to_set(name)?, header_value(value)?)));
    rule.params = table.map("params", |name, value| Ok::<_, String>((name.to_owned(), value.to_owned())));
    if let Some(seconds) = table.number("timeout_s", 1..=REFRESH_TIMEOUT_MAX_S) {
        rule.timeout = Duration::from_secs(seconds.into());
    }
    if table.has("dead_codes") {
        rule.dead_codes = table.texts("dead_codes");
    }
    if table.has("not_consumed_codes") {
        rule.not_consumed_codes = table.texts("not_consumed_codes");
    }
    rule.dead_statuses = table.statuses("dead_statuses", 400..=499);
    table.finish();
    Some(rule)
}

/// Unknown is strict.
fn rotation(table: &TableReader<'_>) -> Rotation {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        NonRotating,
        Grace,
        Strict,
    }
    let words = [("non_rotating", Word::NonRotating), ("grace", Word::Grace), ("strict", Word::Strict)];
    let word = table.word("profile", &words).unwrap_or(Word::Strict);
    let window = table.number("grace_s", 1..=GRACE_MAX_S);
    match (word, window) {
        (Word::Grace, Some(seconds)) => Rotation::Grace { window: Duration::from_secs(seconds.into()) },
        (Word::Grace, None) => {
            if !table.has("grace_s") {
                table.fault("grace_s", "missing beside profile = \"grace\"");
            }
            Rotation::Strict
        }
        (Word::NonRotating | Word::Strict, window) => {
            if window.is_some() {
                table.fault("grace_s", "belongs to profile = \"grace\" only");
            }
            if word == Word::Strict { Rotation::Strict } else { Rotation::NonRotating }
        }
    }
}

fn wires(entry: &TableReader<'_>) -> (Option<WireRule>, Option<WireRule>) {
    let Some(table) = entry.table("wire") else {
        if !entry.has("wire") {
            entry.fault("wire", "missing: how a credential is sent is said in wire.api_key or wire.oauth");
        }
        return (None, None);
    };
    let rules = (table.table("api_key").and_then(wire), table.table("oauth").and_then(wire));
    if !table.has("api_key") && !table.has("oauth") {
        table.fault("api_key", "one of api_key and oauth is expected");
    }
    table.finish();
    rules
}

fn wire(table: TableReader<'_>) -> Option<WireRule> {
    let header = table.required_text("header").and_then(|_| table.parsed("header", header_name));
    let scheme = table.parsed("scheme", scheme);
    let extra = table.tables("headers").into_iter().filter_map(header_rule).collect();
    let query = table.map("query", |name, value| Ok::<_, String>((name.to_owned(), value.to_owned())));
    table.finish();
    Some(WireRule { header: header?, scheme, extra, query })
}

fn header_rule(table: TableReader<'_>) -> Option<HeaderRule> {
    let sources = [("account_id", HeaderText::AccountId), ("project_id", HeaderText::ProjectId), ("org_id", HeaderText::OrgId)];
    let name = table.required_text("name").and_then(|_| table.parsed("name", header_to_set));
    let fixed = table.parsed("value", header_value).map(HeaderText::Fixed);
    let from = table.parsed("from", |text| {
        let found = sources.iter().find(|(word, _)| *word == text);
        found.map(|(_, source)| source.clone()).ok_or("one of account_id, project_id and org_id is expected")
    });
    if table.has("value") == table.has("from") {
        table.fault("value", "one of value and from is expected");
    }
    let modes = [("set", HeaderMode::Set), ("add_to_list", HeaderMode::AddToList), ("if_absent", HeaderMode::IfAbsent)];
    let mode = table.word("mode", &modes).unwrap_or(HeaderMode::Set);
    table.finish();
    Some(HeaderRule { name: name?, value: fixed.or(from)?, mode })
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_source| format!("{text:?} is not a header name"))
}

fn header_to_set(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    if FORBIDDEN_HEADERS.contains(&name.as_str()) {
        return Err(format!("{name} is not set from here: credentials belong into the vault, and the rest to the connection"));
    }
    Ok(name)
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_source| "not a header value".to_owned())
}

fn scheme(text: &str) -> Result<String, &'static str> {
    let well_formed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if well_formed { Ok(text.to_owned()) } else { Err("a scheme such as Bearer is expected") }
}

fn environment(table: &TableReader<'_>) -> EnvironmentRule {
    let named = |kind| move |name: String| EnvironmentVariable { name, kind };
    let logins = table.list("oauth_env", variable_name).into_iter().map(named(CredentialKind::OAuth));
    let keys = table.list("env", variable_name).into_iter().map(named(CredentialKind::ApiKey));
    EnvironmentRule { variables: logins.chain(keys).collect(), oauth_token_prefix: table.text("oauth_token_prefix").map(str::to_owned) }
}

fn variable_name(text: &str) -> Result<String, &'static str> {
    let well_formed = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if well_formed { Ok(text.to_owned()) } else { Err("the name of an environment variable is expected") }
}

fn default_dialects(table: &TableReader<'_>, spoken: &[Dialect]) -> Vec<(Dialect, Place)> {
    let place = table.place_of("default_dialects");
    let defaults = table.list("default_dialects", |text| match one_of(text, &DIALECTS) {
        Ok(dialect) if !spoken.contains(&dialect) && !place.is_built_in() => Err(format!("{text:?} is not among the dialects")),
        other => other,
    });
    // A file may take a dialect from a built-in entry; the entry's claim to it goes with it.
    defaults.into_iter().filter(|dialect| spoken.contains(dialect)).map(|dialect| (dialect, place.clone())).collect()
}

fn session(entry: &TableReader<'_>) -> SessionRule {
    let Some(table) = entry.table("session") else { return SessionRule::default() };
    let rule = SessionRule { headers: table.list("headers", header_name), fields: table.texts("fields") };
    table.finish();
    rule
}

fn identity(entry: &TableReader<'_>, faults: &Faults) -> IdentityRule {
    let Some(table) = entry.table("identity") else { return IdentityRule::default() };
    let paths = |name| {
        let mut paths = Vec::new();
        for item in table.items(name) {
            let path: Option<Vec<String>> = match &item.value {
                Value::List(steps) => steps.iter().map(claim).collect(),
                _ => None,
            };
            match path {
                Some(path) if !path.is_empty() => paths.push(path),
                _ => faults.add(&item.at, &format!("{}.{name}", table.key), "a list of claim names is expected"),
            }
        }
        paths
    };
    let rule = IdentityRule { account_id: paths("account_id"), email: paths("email") };
    table.finish();
    rule
}

fn claim(step: &Node) -> Option<String> {
    match &step.value {
        Value::Text(text) => not_empty(text).ok(),
        _ => None,
    }
}
