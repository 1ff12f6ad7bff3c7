//! The `login` of an entry: the ways in which a person logs in.

use super::base::{endpoint, origin};
use super::reader::TableReader;
use super::token::{ENCODINGS, OAuth, secret};
use super::usage::method;
use super::wire::{header_to_set, header_value};
use crate::login::{CodeFlow, DeviceFlow, KeyEntry, KeyProbe, LoginRule, LoginWay, Redirect, RedirectPort, TokenFields, VendorFlow};
use claviger_domain::id::ProviderId;
use claviger_domain::origin::{Endpoint, Origin};
use claviger_domain::profile::TokenEncoding;
use http::Method;
use std::collections::BTreeSet;
use std::time::Duration;

/// Where a browser comes back to unless an entry says otherwise: RFC 8252 §7.3 and §8.3.
const REDIRECT_DEFAULT: &str = "http://127.0.0.1/callback";
/// Longest life of a grant that an entry may claim, in days: ten years.
const GRANT_LIFE_MAX_DAYS: u32 = 3660;

#[derive(Debug, Clone, Copy, PartialEq)]
enum PortWord {
    Preferred,
    Fixed,
}

/// The ways to log in, and all origins to which requests of a login go.
pub(super) fn read(entry: &TableReader<'_>, oauth: Option<&OAuth>, takes_keys: bool) -> (LoginRule, BTreeSet<Origin>) {
    let mut rule = LoginRule::default();
    let mut origins = BTreeSet::new();
    let table = entry.table("login");
    let mut key = None;
    if let Some(table) = table {
        origins.extend(table.list("control_origins", origin));
        rule.stores_as = table.parsed("stores_as", ProviderId::new);
        rule.advice = table.text("advice").map(str::to_owned);
        rule.grant_life = table.number("grant_life_days", 1..=GRANT_LIFE_MAX_DAYS).map(|days| Duration::from_hours(24 * u64::from(days)));
        let answer = table.table("answer").map(answer).unwrap_or_default();
        let defaults = Defaults { oauth, answer };
        rule.ways.extend(table.table("loopback").and_then(|way| code(way, &defaults, loopback)).map(LoginWay::Loopback));
        rule.ways.extend(table.table("device").and_then(|way| device(way, &defaults)).map(LoginWay::Device));
        rule.ways.extend(table.table("vendor").and_then(vendor).map(LoginWay::Vendor));
        rule.ways.extend(table.table("paste").and_then(|way| code(way, &defaults, fixed)).map(LoginWay::Paste));
        key = table.table("key").map(key_entry);
        if key.is_some() && !takes_keys {
            table.fault("key", "wire.api_key is missing: how a key is sent is not known");
        }
        table.finish();
    }
    if takes_keys {
        rule.ways.push(LoginWay::Key(key.unwrap_or_default()));
    }
    origins.extend(rule.ways.iter().flat_map(addresses).map(|url| url.origin.clone()));
    (rule, origins)
}

/// Where requests of a way go; the page that the browser opens is not among them.
fn addresses(way: &LoginWay) -> Vec<&Endpoint> {
    match way {
        LoginWay::Loopback(flow) | LoginWay::Paste(flow) => vec![&flow.token_url],
        LoginWay::Device(flow) => vec![&flow.device_url, &flow.token_url],
        LoginWay::Vendor(_) => Vec::new(),
        LoginWay::Key(entry) => entry.probe.iter().map(|probe| &probe.url).collect(),
    }
}

/// What a way takes over where it does not say it itself.
struct Defaults<'a> {
    oauth: Option<&'a OAuth>,
    answer: TokenFields,
}

/// What the ways that end at a token endpoint have in common.
struct Client {
    token_url: Option<Endpoint>,
    id: String,
    secret: Option<String>,
    scopes: Vec<String>,
    encoding: TokenEncoding,
}

impl Defaults<'_> {
    fn client(&self, table: &TableReader<'_>) -> Client {
        let token_url = table.parsed("token_url", endpoint);
        if token_url.is_none() && !table.has("token_url") && self.oauth.is_none_or(|oauth| oauth.token_url.is_none()) {
            table.fault("token_url", "missing here and in oauth");
        }
        let (id, secret) = (table.text("client_id").map(str::to_owned), table.parsed("client_secret_b64", secret));
        let scopes = table.texts("scopes");
        Client {
            token_url: token_url.or_else(|| self.oauth?.token_url.clone()),
            id: id.or_else(|| self.oauth?.client_id.clone()).unwrap_or_default(),
            secret: secret.or_else(|| self.oauth?.client_secret.clone()),
            scopes: if table.has("scopes") { scopes } else { self.oauth.map(|oauth| oauth.scopes.clone()).unwrap_or_default() },
            encoding: table
                .word("token_encoding", &ENCODINGS)
                .or_else(|| self.oauth.map(|oauth| oauth.encoding))
                .unwrap_or(TokenEncoding::Form),
        }
    }
}

fn code(table: TableReader<'_>, defaults: &Defaults<'_>, redirect: fn(&TableReader<'_>) -> Option<Redirect>) -> Option<CodeFlow> {
    let authorize_url = table.parsed("authorize_url", endpoint);
    if authorize_url.is_none() && !table.has("authorize_url") && defaults.oauth.is_none_or(|oauth| oauth.authorize_url.is_none()) {
        table.fault("authorize_url", "missing here and in oauth");
    }
    let client = defaults.client(&table);
    let redirect = redirect(&table);
    let pairs = |name| table.map(name, |name, value| Ok::<_, String>((name.to_owned(), value.to_owned())));
    let (authorize_params, token_params) = (pairs("authorize_params"), pairs("token_params"));
    let headers = table.map("headers", |name, value| Ok::<_, String>((header_to_set(name)?, header_value(value)?)));
    let pkce = table.flag("pkce").unwrap_or(true);
    let state_returned = table.flag("state_returned").unwrap_or(true);
    let params_replace = table.flag("params_replace").unwrap_or(false);
    if !pkce && !state_returned {
        table.fault("state_returned", "a flow without state needs pkce");
    }
    table.finish();
    Some(CodeFlow {
        authorize_url: authorize_url.or_else(|| defaults.oauth?.authorize_url.clone())?,
        token_url: client.token_url?,
        client_id: client.id,
        client_secret: client.secret,
        scopes: client.scopes,
        redirect: redirect?,
        pkce,
        state_returned,
        authorize_params,
        token_params,
        params_replace,
        encoding: client.encoding,
        headers,
        answer: defaults.answer.clone(),
    })
}

/// A port of this machine: its own loopback address, in the form that the provider has registered.
fn loopback(table: &TableReader<'_>) -> Option<Redirect> {
    let words = [("preferred", PortWord::Preferred), ("fixed", PortWord::Fixed)];
    let word = table.word("port", &words);
    let read = |text: &str| {
        let uri = text.parse::<http::Uri>().map_err(|_source| "a URL is expected")?;
        let origin = Origin::of(&uri).map_err(|_source| "an http URL of loopback is expected")?;
        if uri.scheme_str() != Some("http") || !origin.is_loopback() || uri.query().is_some() {
            return Err("an http URL of loopback is expected");
        }
        let port = match (uri.port_u16(), word) {
            (None, None) => RedirectPort::Any,
            (Some(port), Some(PortWord::Fixed)) => RedirectPort::Fixed(port),
            (Some(port), _) => RedirectPort::Preferred(port),
            (None, Some(_)) => return Err("a port is expected, since port says which one it is"),
        };
        Ok(Redirect::Loopback { host: origin.host().to_owned(), port, path: uri.path().to_owned() })
    };
    if table.has("redirect") {
        return table.parsed("redirect", read);
    }
    let text = table.text("redirect").unwrap_or(REDIRECT_DEFAULT);
    read(text).map_err(|problem| table.fault("redirect", problem)).ok()
}

/// A page of the provider or a scheme of another application.
fn fixed(table: &TableReader<'_>) -> Option<Redirect> {
    table.required_text("redirect").map(|text| Redirect::Fixed(text.to_owned()))
}

fn device(table: TableReader<'_>, defaults: &Defaults<'_>) -> Option<DeviceFlow> {
    table.required_text("device_url");
    let device_url = table.parsed("device_url", endpoint);
    let client = defaults.client(&table);
    let headers = table.map("headers", |name, value| Ok::<_, String>((header_to_set(name)?, header_value(value)?)));
    let (pkce, restarts) = (table.flag("pkce").unwrap_or(false), table.flag("restarts").unwrap_or(false));
    table.finish();
    Some(DeviceFlow {
        device_url: device_url?,
        token_url: client.token_url?,
        client_id: client.id,
        scopes: client.scopes,
        pkce,
        encoding: client.encoding,
        headers,
        restarts,
        answer: defaults.answer.clone(),
    })
}

fn vendor(table: TableReader<'_>) -> Option<VendorFlow> {
    let (hook, summary) = (table.required_text("hook"), table.required_text("summary"));
    table.finish();
    Some(VendorFlow { hook: hook?.to_owned(), summary: summary?.to_owned() })
}

fn key_entry(table: TableReader<'_>) -> KeyEntry {
    let page = table.text("page").map(str::to_owned);
    let url = table.parsed("probe_url", endpoint);
    let method = table.parsed("probe_method", method).unwrap_or(Method::GET);
    let body = table.text("probe_body").map(str::to_owned);
    if !table.has("probe_url") && (table.has("probe_method") || table.has("probe_body")) {
        table.fault("probe_url", "missing");
    }
    table.finish();
    KeyEntry { page, probe: url.map(|url| KeyProbe { method, url, body }) }
}

fn answer(table: TableReader<'_>) -> TokenFields {
    let fields = TokenFields {
        access: table.texts("access"),
        refresh: table.texts("refresh"),
        is_key: table.flag("is_key").unwrap_or(false),
        refresh_required: table.flag("refresh_required").unwrap_or(false),
        account_id: table.texts("account_id"),
        email: table.texts("email"),
        org_id: table.texts("org_id"),
        org_name: table.texts("org_name"),
    };
    table.finish();
    fields
}
