//! The `wire` of an entry: how a credential is written into a request.

use super::base::Filled;
use super::reader::TableReader;
use claviger_domain::profile::{HeaderMode, HeaderRule, HeaderText, SigningRule, WireRule};
use http::{HeaderName, HeaderValue};

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

/// The rules for keys and for logins.
pub(super) fn wires(entry: &TableReader<'_>, values: &Filled) -> (Option<WireRule>, Option<WireRule>) {
    let Some(table) = entry.table("wire") else {
        if !entry.has("wire") {
            entry.fault("wire", "missing: how a credential is sent is said in wire.api_key or wire.oauth");
        }
        return (None, None);
    };
    let rules: (Option<WireRule>, Option<WireRule>) =
        (table.table("api_key").and_then(|table| wire(table, values)), table.table("oauth").and_then(|table| wire(table, values)));
    if !table.has("api_key") && !table.has("oauth") {
        table.fault("api_key", "one of api_key and oauth is expected");
    }
    if rules.0.as_ref().is_some_and(|rule| rule.signing.is_some()) {
        table.fault("api_key", "requests are signed for wire.oauth alone");
    }
    table.finish();
    rules
}

fn wire(table: TableReader<'_>, values: &Filled) -> Option<WireRule> {
    let header = table.required_text("header").and_then(|_| table.parsed("header", header_name));
    let scheme = table.text_or_none("scheme").and_then(|text| scheme(text).map_err(|problem| table.fault("scheme", problem)).ok());
    let extra = table.tables("headers").into_iter().filter_map(header_rule).collect();
    let query = table.map("query", |name, value| Ok::<_, String>((name.to_owned(), value.to_owned())));
    let signing = table.table("signing").and_then(|table| signing(table, values));
    table.finish();
    Some(WireRule { header: header?, scheme, extra, query, signing })
}

/// The region may hold a value of the user, as the base URL does.
fn signing(table: TableReader<'_>, values: &Filled) -> Option<SigningRule> {
    let region = table.required_text("region").map(|text| values.fill(text));
    let service = table.required_text("service").map(str::to_owned);
    table.finish();
    Some(SigningRule { region: region?, service: service? })
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

pub(super) fn header_to_set(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    if FORBIDDEN_HEADERS.contains(&name.as_str()) {
        return Err(format!("{name} is not set from here: credentials belong into the vault, and the rest to the connection"));
    }
    Ok(name)
}

pub(super) fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_source| "not a header value".to_owned())
}

fn scheme(text: &str) -> Result<String, &'static str> {
    let well_formed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if well_formed { Ok(text.to_owned()) } else { Err("a scheme such as Bearer is expected") }
}
