//! The rows of `errors`: what an answer means.

use super::reader::TableReader;
use super::wire::header_name;
use claviger_domain::classify::{ClassRule, ClassTable, ResetFormat, ResetPlace, ResetSource, RuleScope, Verdict};
use claviger_domain::credential::CredentialKind;

const VERDICTS: [(&str, Verdict); 7] = [
    ("unauthorized", Verdict::Unauthorized),
    ("usage_limit", Verdict::UsageLimit),
    ("policy", Verdict::Policy),
    ("rate_limited", Verdict::RateLimited),
    ("concurrency", Verdict::Concurrency),
    ("capacity", Verdict::Capacity),
    ("unrelated", Verdict::Unrelated),
];
pub(super) const KINDS: [(&str, CredentialKind); 2] =
    [(CredentialKind::OAuth.as_str(), CredentialKind::OAuth), (CredentialKind::ApiKey.as_str(), CredentialKind::ApiKey)];
pub(super) const FORMATS: [(&str, ResetFormat); 5] = [
    ("epoch_s", ResetFormat::EpochSeconds),
    ("epoch_ms", ResetFormat::EpochMillis),
    ("seconds", ResetFormat::Seconds),
    ("date_time", ResetFormat::DateTime),
    ("duration", ResetFormat::DurationText),
];

/// All rows of an entry, in their order.
pub(super) fn read(entry: &TableReader<'_>) -> ClassTable {
    let stamp_offset_minutes = entry.parsed("stamp_offset", offset);
    ClassTable { rules: entry.tables("errors").into_iter().flat_map(row).collect(), stamp_offset_minutes }
}

/// An offset from UTC such as `+08:00`, in minutes.
fn offset(text: &str) -> Result<i32, &'static str> {
    let read = || {
        let (sign, rest) = text.split_at_checked(1)?;
        let sign = match sign {
            "+" => 1,
            "-" => -1,
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let part = |text: &str, most| text.parse::<i32>().ok().filter(|number| text.len() == 2 && (0..=most).contains(number));
        Some(sign * (part(hours, 14)? * 60 + part(minutes, 59)?))
    };
    read().ok_or("an offset such as +08:00 is expected")
}

/// One row; several JSON paths make several rules with the same meaning.
fn row(table: TableReader<'_>) -> Vec<ClassRule> {
    table.required_text("class");
    let verdict = table.word("class", &VERDICTS);
    let (paths, values) = json(&table);
    let rule = ClassRule {
        statuses: table.statuses("status", 200..=599),
        kind: table.word("kind", &KINDS),
        models: lower(table.texts("models")),
        header: header(&table),
        json: None,
        text: lower(table.texts("text")),
        verdict: verdict.unwrap_or(Verdict::Unrelated),
        scope: table.parsed("scope", scope).unwrap_or(RuleScope::Account),
        resets: table.tables("resets").into_iter().filter_map(reset).collect(),
    };
    if ["status", "header", "json", "text"].iter().all(|condition| !table.has(condition)) {
        table.fault("class", "a row needs one of status, header, json and text");
    }
    table.finish();
    if paths.is_empty() {
        return vec![rule];
    }
    paths.into_iter().map(|path| ClassRule { json: Some((path, values.clone())), ..rule.clone() }).collect()
}

fn header(row: &TableReader<'_>) -> Option<(http::HeaderName, Vec<String>)> {
    let table = row.table("header")?;
    table.required_text("name");
    let name = table.parsed("name", header_name);
    let values = values(&table);
    table.finish();
    Some((name?, values))
}

fn json(row: &TableReader<'_>) -> (Vec<String>, Vec<String>) {
    let Some(table) = row.table("json") else { return (Vec::new(), Vec::new()) };
    let paths = table.text_or_texts("path");
    if paths.is_empty() {
        table.fault("path", "missing");
    }
    let values = values(&table);
    table.finish();
    (paths, values)
}

fn values(table: &TableReader<'_>) -> Vec<String> {
    let values = table.texts("is");
    if values.is_empty() {
        table.fault("is", "a list of values is expected");
    }
    lower(values)
}

fn lower(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().map(|text| text.to_lowercase()).collect()
}

fn scope(text: &str) -> Result<RuleScope, &'static str> {
    match text.split_once(':') {
        None if text == "account" => Ok(RuleScope::Account),
        None if text == "model" => Ok(RuleScope::RequestedModel),
        Some(("tier", tier)) if !tier.is_empty() => Ok(RuleScope::Tier(tier.to_owned())),
        _ => Err("account, model or tier:NAME is expected"),
    }
}

fn reset(table: TableReader<'_>) -> Option<ResetPlace> {
    table.required_text("format");
    let format = table.word("format", &FORMATS);
    let header = table.parsed("header", header_name);
    let json = table.text("json").map(str::to_owned);
    let when = table.parsed("when", header_name);
    let is = table.text("is").map(str::to_lowercase);
    if table.has("header") == table.has("json") {
        table.fault("header", "one of header and json is expected");
    }
    if table.has("when") != table.has("is") || (table.has("when") && table.has("json")) {
        table.fault("when", "when and is go together, beside header");
    }
    table.finish();
    let at = match (header, json, when.zip(is)) {
        (Some(header), _, Some((when, is))) => ResetSource::HeaderIf { header, when, is },
        (Some(header), _, None) => ResetSource::Header(header),
        (None, Some(path), _) => ResetSource::Json(path),
        (None, None, _) => return None,
    };
    Some(ResetPlace { at, format: format? })
}
