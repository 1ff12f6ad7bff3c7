//! The `usage` of an entry: where the provider tells what an account has left.

use super::base::{Base, endpoint, origin};
use super::reader::{TableReader, one_of};
use super::rows::{FORMATS, KINDS};
use super::wire::{header_name, header_to_set, header_value};
use crate::usage::Parser;
use claviger_domain::block::BlockScope;
use claviger_domain::credential::CredentialKind;
use claviger_domain::origin::Origin;
use claviger_domain::profile::{HeaderTap, LimitRule, StatusHeader, UsageEndpoint, UsageRule, UsageScheme, UsedHeader};
use claviger_domain::usage::LimitRole;
use http::Method;
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest window that an entry may give a limit: a year and a day.
const WINDOW_MAX_S: u32 = 366 * 24 * 3600;

const ROLES: [(&str, LimitRole); 4] =
    [("primary", LimitRole::Primary), ("secondary", LimitRole::Secondary), ("gate", LimitRole::Gate), ("shown", LimitRole::Shown)];
const SCHEMES: [(&str, UsageScheme); 3] = [("as_usual", UsageScheme::AsUsual), ("bearer", UsageScheme::Bearer), ("raw", UsageScheme::Raw)];
/// What stands for all of a limit in a header.
const WHOLES: [(&str, u32); 2] = [("fraction", 1), ("percent", 100)];

/// The rule, and all origins to which usage requests go.
pub(super) fn read(entry: &TableReader<'_>, base: Option<&Base>) -> (UsageRule, BTreeSet<Origin>) {
    let Some(table) = entry.table("usage") else { return (UsageRule::default(), BTreeSet::new()) };
    let endpoint = usage_endpoint(&table, base);
    let mut origins: BTreeSet<Origin> = table.list("control_origins", origin).into_iter().collect();
    origins.extend(endpoint.iter().flat_map(|endpoint| std::iter::once(&endpoint.url).chain(&endpoint.more)).map(|url| url.origin.clone()));
    let limits = table.tables("limits").into_iter().filter_map(limit).collect();
    let headers = table.tables("headers").into_iter().filter_map(tap).collect();
    let cost = table.parsed("cost_header", header_name);
    table.finish();
    (UsageRule { endpoint, limits, headers, cost }, origins)
}

fn usage_endpoint(table: &TableReader<'_>, base: Option<&Base>) -> Option<UsageEndpoint> {
    // Where the base URL is at fault, or waits for a value, a path says nothing yet.
    let here = match base {
        Some(Base::At(base)) => Some(base.origin.to_string()),
        Some(Base::Missing(_)) | None => None,
    };
    let place = |text: &str| match &here {
        Some(here) if text.starts_with('/') => endpoint(&format!("{here}{text}")),
        _ => endpoint(text),
    };
    let waits = here.is_none() && table.text("url").is_some_and(|text| text.starts_with('/'));
    let url = if waits { None } else { table.parsed("url", place) };
    let rest = UsageEndpointRest {
        more: table.list("more", endpoint),
        method: table.parsed("method", method).unwrap_or(Method::GET),
        kinds: table.list("kinds", |text| one_of(text, &KINDS)),
        parser: table.parsed("parser", parser),
        scheme: table.word("scheme", &SCHEMES).unwrap_or_default(),
        headers: table.map("request_headers", |name, value| Ok::<_, String>((header_to_set(name)?, header_value(value)?))),
    };
    if url.is_none() && !table.has("url") && table.has("parser") {
        table.fault("url", "missing beside parser");
    }
    let UsageEndpointRest { more, method, mut kinds, parser, scheme, headers } = rest;
    if kinds.is_empty() {
        kinds = vec![CredentialKind::OAuth, CredentialKind::ApiKey];
    }
    Some(UsageEndpoint { url: url?, more, method, kinds, parser, scheme, headers })
}

/// An endpoint without its address: all keys are read, so that all faults are found, before it is known to have one.
struct UsageEndpointRest {
    more: Vec<claviger_domain::origin::Endpoint>,
    method: Method,
    kinds: Vec<CredentialKind>,
    parser: Option<String>,
    scheme: UsageScheme,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

fn parser(name: &str) -> Result<String, String> {
    let known = || Parser::ALL.map(Parser::name).join(", ");
    if Parser::from_name(name).is_some() { Ok(name.to_owned()) } else { Err(format!("there is no such parser; there are: {}", known())) }
}

pub(super) fn method(text: &str) -> Result<Method, &'static str> {
    match text {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        _ => Err("GET or POST is expected"),
    }
}

fn limit(table: TableReader<'_>) -> Option<LimitRule> {
    let id = table.required_text("id").map(str::to_owned);
    table.required_text("role");
    let role = table.word("role", &ROLES);
    let label = table.text("label").map(str::to_owned);
    let window = window(&table);
    table.finish();
    Some(LimitRule { id: id?, label, role: role?, window })
}

fn tap(table: TableReader<'_>) -> Option<HeaderTap> {
    let id = table.required_text("id").map(str::to_owned);
    let label = table.required_text("label").map(str::to_owned);
    table.required_text("role");
    let role = table.word("role", &ROLES);
    let scope = table.parsed("scope", |text| BlockScope::from_text(text).ok_or("account, tier:NAME or model:NAME is expected"));
    let whole = table.word("used_as", &WHOLES);
    let format = table.word("reset_format", &FORMATS);
    let (exhausted, warning) = (lower(table.texts("exhausted")), lower(table.texts("warning")));
    for (header, beside) in [("used", "used_as"), ("reset", "reset_format")] {
        if table.has(header) != table.has(beside) {
            table.fault(beside, format!("goes together with {header}"));
        }
    }
    if !["used", "remaining", "status"].iter().any(|name| table.has(name)) {
        table.fault("id", "one of used, remaining and status is expected");
    }
    let tap = HeaderTap {
        id: id.unwrap_or_default(),
        label: label.unwrap_or_default(),
        scope: scope.unwrap_or(BlockScope::Account),
        role: role.unwrap_or(LimitRole::Shown),
        window: window(&table),
        window_minutes: table.parsed("window_minutes", header_name),
        used: table.parsed("used", header_name).zip(whole).map(|(name, whole)| UsedHeader { name, whole }),
        limit: table.parsed("limit", header_name),
        remaining: table.parsed("remaining", header_name),
        unit: table.text("unit").map(str::to_owned),
        reset: table.parsed("reset", header_name).zip(format),
        status: table.parsed("status", header_name).map(|name| StatusHeader { name, exhausted, warning }),
    };
    table.finish();
    (!tap.id.is_empty() && !tap.label.is_empty()).then_some(tap)
}

fn window(table: &TableReader<'_>) -> Option<Duration> {
    table.number("window_s", 1..=WINDOW_MAX_S).map(|seconds| Duration::from_secs(seconds.into()))
}

fn lower(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().map(|text| text.to_lowercase()).collect()
}
