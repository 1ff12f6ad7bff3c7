//! Header taps: the limits that the catalogue says the headers of ordinary answers tell.

use super::shape::{amount, limit};
use claviger_domain::profile::{HeaderTap, StatusHeader, UsedHeader};
use claviger_domain::time::Timestamp;
use claviger_domain::usage::{Limit, LimitStatus, status_of};
use http::{HeaderMap, HeaderName};
use std::time::Duration;

/// Reads what each tap finds. Nothing is allocated for a tap whose headers are missing.
pub(super) fn read(taps: &[HeaderTap], headers: &HeaderMap, now: Timestamp, limits: &mut Vec<Limit>) {
    limits.extend(taps.iter().filter_map(|tap| read_one(tap, headers, now)));
}

/// A size or a reset alone says nothing of use; a tap counts once something else of it is there.
fn read_one(tap: &HeaderTap, headers: &HeaderMap, now: Timestamp) -> Option<Limit> {
    let used = tap.used.as_ref().and_then(|used| fraction(used, headers));
    let remaining = tap.remaining.as_ref().and_then(|name| number(headers, name));
    let word = tap.status.as_ref().and_then(|status| Some((status, text(headers, &status.name)?)));
    if used.is_none() && remaining.is_none() && word.is_none() {
        return None;
    }
    let size = tap.limit.as_ref().and_then(|name| number(headers, name));
    let minutes = tap.window_minutes.as_ref().and_then(|name| number(headers, name));
    let told_window = minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
    let amount = amount(None, size, remaining, tap.unit.as_deref().unwrap_or("requests"));
    let by_numbers = status_of(LimitStatus::Unknown, used, amount.as_ref());
    Some(Limit {
        scope: tap.scope.clone(),
        window: told_window.or(tap.window),
        used,
        resets_at: tap.reset.as_ref().and_then(|(name, format)| format.read(text(headers, name)?, now)),
        status: word.map_or(by_numbers, |(status, word)| judge(status, word, by_numbers)),
        amount,
        ..limit(tap.id.as_str(), tap.label.as_str(), tap.role)
    })
}

/// A word that does not say that nothing is left says that something is: then even 100 % is only a warning.
fn judge(status: &StatusHeader, word: &str, by_numbers: LimitStatus) -> LimitStatus {
    let is = |words: &[String]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    if is(&status.exhausted) {
        LimitStatus::Exhausted
    } else if is(&status.warning) {
        LimitStatus::Warning
    } else {
        by_numbers.min(LimitStatus::Warning)
    }
}

fn fraction(used: &UsedHeader, headers: &HeaderMap) -> Option<f64> {
    number(headers, &used.name).map(|number| number / f64::from(used.whole.max(1)))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<f64> {
    text(headers, name)?.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}
