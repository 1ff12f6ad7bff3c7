//! The token endpoint of an entry: who asks it, and how grants are refreshed there.

use super::base::endpoint;
use super::reader::TableReader;
use super::wire::{header_to_set, header_value};
use base64::Engine;
use claviger_domain::origin::Endpoint;
use claviger_domain::profile::{RefreshRule, Rotation, TokenCarry, TokenEncoding, TokenNames};
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

/// How the body of a token request is written.
pub(super) const ENCODINGS: [(&str, TokenEncoding); 2] = [("form", TokenEncoding::Form), ("json", TokenEncoding::Json)];

/// The keys of `oauth`.
pub(super) struct OAuth {
    pub(super) authorize_url: Option<Endpoint>,
    pub(super) token_url: Option<Endpoint>,
    pub(super) client_id: Option<String>,
    pub(super) client_id_of: Option<String>,
    pub(super) client_secret: Option<String>,
    pub(super) encoding: TokenEncoding,
    pub(super) scopes: Vec<String>,
}

impl OAuth {
    pub(super) fn read(table: TableReader<'_>) -> Self {
        let oauth = Self {
            authorize_url: table.parsed("authorize_url", endpoint),
            token_url: table.parsed("token_url", endpoint),
            client_id: table.text("client_id").map(str::to_owned),
            client_id_of: table.text("client_id_of").map(str::to_owned),
            client_secret: table.parsed("client_secret_b64", secret),
            encoding: table.word("token_encoding", &ENCODINGS).unwrap_or(TokenEncoding::Form),
            scopes: table.texts("scopes"),
        };
        if table.has("token_url") && !table.has("client_id") {
            table.fault("client_id", "missing beside token_url");
        }
        table.finish();
        oauth
    }
}

/// How grants are refreshed; nothing where there is no token endpoint.
pub(super) fn refresh(entry: &TableReader<'_>, oauth: Option<&OAuth>) -> Option<RefreshRule> {
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
        carry: TokenCarry::Parameter,
        names: TokenNames::default(),
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
    rule.carry = table.word("carry", &[("parameter", TokenCarry::Parameter), ("bearer", TokenCarry::Bearer)]).unwrap_or_default();
    rule.names = TokenNames {
        access: table.text("access_name").map_or(rule.names.access, str::to_owned),
        refresh: table.text("refresh_name").map_or(rule.names.refresh, str::to_owned),
    };
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

/// A client secret, in base64 so that scanners for secrets stay quiet about what its vendor publishes.
pub(super) fn secret(text: &str) -> Result<String, &'static str> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_source| "base64 is expected")?;
    String::from_utf8(bytes).map_err(|_source| "base64 of text is expected")
}
