//! One merged entry, checked and compiled to a provider profile.

use super::RESERVED;
use super::base::{Base, Filled, base, endpoint, how_to_fill, lacking, origin};
use super::fault::Faults;
use super::place::Place;
use super::reader::{TableReader, not_empty, one_of};
use super::token::OAuth;
use super::tree::{Node, Value};
use super::wire::{header_name, wires};
use super::{login, rows, terms, token, usage};
use crate::login::LoginRule;
use claviger_domain::credential::CredentialKind;
use claviger_domain::id::ProviderId;
use claviger_domain::origin::{Endpoint, Origins};
use claviger_domain::profile::{Dialect, IdentityRule, ProviderProfile, SessionRule};
use claviger_domain::select::CACHE_LIFE;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

const DIALECTS: [(&str, Dialect); 4] = [
    (Dialect::Messages.as_str(), Dialect::Messages),
    (Dialect::Chat.as_str(), Dialect::Chat),
    (Dialect::Responses.as_str(), Dialect::Responses),
    (Dialect::Generate.as_str(), Dialect::Generate),
];

/// How long a prompt cache may be said to live: the longest that a vendor sells is a day, and sessions are forgotten after that.
const PROMPT_CACHE_S: RangeInclusive<u32> = 1..=86_400;

/// What an entry compiles to.
pub(super) enum Outcome {
    /// A provider that can be used.
    Ready(Box<Compiled>),
    /// One that cannot be used as it stands.
    NotReady(NotReady),
}

/// An entry, compiled.
pub(super) struct Compiled {
    pub(super) profile: ProviderProfile,
    pub(super) environment: EnvironmentRule,
    pub(super) default_dialects: Vec<(Dialect, Place)>,
    pub(super) login: LoginRule,
    pub(super) facts: Facts,
}

/// A provider of the catalogue that cannot be used as it stands: a value of the user is missing, or there is no way at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// The catalogue id.
    pub id: ProviderId,
    /// The name for people.
    pub name: String,
    /// Other ids under which it is found.
    pub aliases: Vec<String>,
    /// Why it cannot be used.
    pub why: String,
    /// What to do instead.
    pub hint: String,
}

/// What is known of an entry itself, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The day on which it was tried with a real account; `None` for never.
    pub verified_live: Option<String>,
    /// The product whose published client id is used; `None` where there is no client id, or where it is our own.
    pub client_id_of: Option<String>,
    /// What a user should know: what does not work, and what to do instead.
    pub notes: Vec<String>,
}

/// A provider's environment variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvironmentRule {
    /// The variables, first found first: logins before keys.
    pub variables: Vec<EnvironmentVariable>,
    /// How an access token begins, where that tells it from a key.
    pub oauth_token_prefix: Option<String>,
}

impl EnvironmentRule {
    fn keys(&self) -> Vec<String> {
        let keys = self.variables.iter().filter(|variable| variable.kind == CredentialKind::ApiKey);
        keys.map(|variable| variable.name.clone()).collect()
    }
}

/// An environment variable that holds a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: CredentialKind,
}

/// The origins of entries, before any file of the user is merged over them; `None` for one that needs a value first.
pub(super) fn origins_of(written: &BTreeMap<String, Node>, faults: &Faults) -> BTreeMap<String, Option<Origins>> {
    let origins = |id: &String, node| match compile(id, node, None, faults)? {
        Outcome::Ready(compiled) => Some((id.clone(), Some(compiled.profile.origins))),
        Outcome::NotReady(_) => Some((id.clone(), None)),
    };
    written.iter().filter_map(|(id, node)| origins(id, node)).collect()
}

/// Checks an entry and compiles it; notes all faults and returns nothing where a part that all others need is missing.
pub(super) fn compile(id: &str, node: &Node, builtin_origins: Option<&Origins>, faults: &Faults) -> Option<Outcome> {
    let table = TableReader::new(format!("providers.{id}"), node, faults)?;
    let provider_id = provider_id(id, &table, faults);
    let values = Filled::of(&table);
    let base = base(&table, &values);
    let oauth = table.table("oauth").map(OAuth::read);
    let refresh = token::refresh(&table, oauth.as_ref());
    let (usage, usage_origins) = usage::read(&table, base.as_ref());
    let (api_key, oauth_wire) = wires(&table, &values);
    let dialects = dialects(&table);
    let environment = environment(&table);
    let default_dialects = default_dialects(&table, &dialects);
    let (login, mut login_origins) = login::read(&table, oauth.as_ref(), api_key.is_some());
    let hook_urls: BTreeMap<String, Endpoint> = table.map("hook_urls", hook_url).into_iter().collect();
    login_origins.extend(hook_urls.values().map(|url| url.origin.clone()));
    let name = table.text("name").unwrap_or(id).to_owned();
    let aliases = table.list("aliases", |text| ProviderId::new(text).map(|alias| alias.as_str().to_owned()));
    let (families, plans, terms) = (terms::families(&table), terms::plans(&table), terms::terms(&table));
    let facts = facts(&table, oauth.as_ref());
    let unsupported = table.text("unsupported").map(str::to_owned);
    let more_origins = table.list("inference_origins", origin);
    let (session, prompt_cache_life) = (session(&table), prompt_cache_life(&table));
    let (identity, classes) = (identity(&table, faults), rows::read(&table));
    table.finish();

    let id = provider_id?;
    let problem = match (unsupported, base?) {
        (Some(hint), _) => Err(("it is not supported".to_owned(), hint)),
        (None, Base::Missing(values)) => Err((lacking(&values), how_to_fill(&id, &values, &facts.notes))),
        (None, Base::At(base)) => Ok(base),
    };
    let base = match problem {
        Ok(base) => base,
        Err((why, hint)) => return Some(Outcome::NotReady(NotReady { id, name, aliases, why, hint })),
    };
    let token_urls = refresh.iter().map(|refresh| &refresh.url).chain(oauth.iter().filter_map(|oauth| oauth.token_url.as_ref()));
    let origins = Origins {
        inference: more_origins.into_iter().chain([base.origin.clone()]).collect(),
        usage: usage_origins,
        token: token_urls.map(|url| url.origin.clone()).collect(),
    };
    let profile = ProviderProfile {
        id,
        name,
        aliases,
        dialects,
        base,
        origins,
        login_origins,
        builtin_origins: builtin_origins.cloned(),
        api_key,
        oauth: oauth_wire,
        refresh,
        classes,
        session,
        prompt_cache_life,
        env: environment.keys(),
        identity,
        hook_urls,
        families,
        plans,
        terms,
        usage,
    };
    Some(Outcome::Ready(Box::new(Compiled { profile, environment, default_dialects, login, facts })))
}

fn provider_id(id: &str, table: &TableReader<'_>, faults: &Faults) -> Option<ProviderId> {
    if RESERVED.contains(&id) {
        faults.add(table.at, &table.key, "the id is reserved for a route of the gateway");
        return None;
    }
    ProviderId::new(id).map_err(|error| faults.add(table.at, &table.key, error.to_string())).ok()
}

fn hook_url(name: &str, url: &str) -> Result<(String, Endpoint), String> {
    if !crate::hooks::HOOK_URLS.contains(&name) {
        return Err(format!("no hook asks there; known here: {}", crate::hooks::HOOK_URLS.join(", ")));
    }
    endpoint(url).map(|url| (name.to_owned(), url))
}

fn dialects(table: &TableReader<'_>) -> Vec<Dialect> {
    if !table.has("dialects") {
        table.fault("dialects", "missing");
    }
    table.list("dialects", |text| one_of(text, &DIALECTS))
}

fn facts(table: &TableReader<'_>, oauth: Option<&OAuth>) -> Facts {
    let day = |text: &str| match text {
        "never" => Ok(None),
        _ if is_day(text) => Ok(Some(text.to_owned())),
        _ => Err("never, or a day such as 2026-11-22, is expected"),
    };
    Facts {
        verified_live: table.parsed("verified_live", day).flatten(),
        client_id_of: oauth.and_then(|oauth| oauth.client_id_of.clone()),
        notes: table.texts("notes"),
    }
}

fn is_day(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(shape)
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

fn prompt_cache_life(entry: &TableReader<'_>) -> Duration {
    entry.number("prompt_cache_s", PROMPT_CACHE_S).map_or(CACHE_LIFE, |seconds| Duration::from_secs(seconds.into()))
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
    let rule = IdentityRule { account_id: paths("account_id"), email: paths("email"), org_id: paths("org_id"), plan: paths("plan") };
    table.finish();
    rule
}

fn claim(step: &Node) -> Option<String> {
    match &step.value {
        Value::Text(text) => not_empty(text).ok(),
        _ => None,
    }
}
