//! When a block ends: the places that a row names, generic headers and text.

use super::answer::Answer;
use super::body::scalar;
use super::wait;
use super::{ResetFormat, ResetPlace, ResetSource};
use crate::time::Timestamp;
use http::HeaderName;
use http::header::{DATE, RETRY_AFTER};
use std::time::Duration;

/// Longest block that an answer can cause: a weekly window and a day. A longer quota is asked again after that, and an
/// absurd stamp does not set an account aside for ever.
pub const RESET_MAX: Duration = Duration::from_hours(8 * 24);

/// Above this a number is milliseconds since the epoch, above [`EPOCH_SECONDS_MIN`] seconds since it, else a wait.
const EPOCH_MILLIS_MIN: f64 = 1e12;
/// See [`EPOCH_MILLIS_MIN`].
const EPOCH_SECONDS_MIN: f64 = 1e9;

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const RESET_MS: HeaderName = HeaderName::from_static("x-ratelimit-reset-ms");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RESET_AFTER: HeaderName = HeaderName::from_static("x-ratelimit-reset-after");

/// The latest end that the answer names, never before `now` and at most [`RESET_MAX`] after it; `None` where it names none.
///
/// An explicit zero and an elapsed stamp are `now`, which is not the same as no hint. A stamp without a zone counts
/// (as UTC) only where nothing better is found, unless the provider is known to mean a zone.
pub(super) fn until(places: &[ResetPlace], answer: &Answer<'_>, now: Timestamp) -> Option<Timestamp> {
    let mut ends = Vec::new();
    for place in places {
        at_place(place, answer, now, &mut ends);
    }
    generic_headers(answer, now, &mut ends);
    let text = wait::in_text(answer.body.text(), now);
    ends.extend(text.certain);
    let ahead = answer.stamp_offset_minutes.map(|minutes| i64::from(minutes) * 60_000);
    ends.extend(text.without_zone.zip(ahead).map(|(stamp, ahead)| Timestamp(stamp.0.saturating_sub(ahead))));
    let latest = ends.into_iter().max().or(text.without_zone)?;
    Some(latest.clamp(now, now.plus(RESET_MAX)))
}

fn at_place(place: &ResetPlace, answer: &Answer<'_>, now: Timestamp, ends: &mut Vec<Timestamp>) {
    match &place.at {
        ResetSource::Header(header) => ends.extend(header_text(answer, header).and_then(|text| read(text, place.format, now))),
        ResetSource::HeaderIf { header, when, is } => {
            if header_text(answer, when).is_some_and(|text| same(text, is)) {
                ends.extend(header_text(answer, header).and_then(|text| read(text, place.format, now)));
            }
        }
        ResetSource::Json(path) => {
            answer.body.each_at(path, &mut |value| ends.extend(scalar(value).and_then(|text| read(&text, place.format, now))));
        }
    }
}

fn same(text: &str, wanted: &str) -> bool {
    text.eq_ignore_ascii_case(wanted) || matches!((text.parse::<f64>(), wanted.parse::<f64>()), (Ok(a), Ok(b)) if a.total_cmp(&b).is_eq())
}

pub(super) fn read(text: &str, format: ResetFormat, now: Timestamp) -> Option<Timestamp> {
    match format {
        ResetFormat::EpochSeconds => wait::number(text).and_then(|seconds| epoch_millis(seconds * 1000.0)),
        ResetFormat::EpochMillis => wait::number(text).and_then(epoch_millis),
        ResetFormat::Seconds => after(wait::number(text)?, now),
        ResetFormat::DateTime => wait::date_time(text),
        ResetFormat::DurationText => wait::duration(text).map(|duration| now.plus(duration)),
    }
}

fn generic_headers(answer: &Answer<'_>, now: Timestamp, ends: &mut Vec<Timestamp>) {
    let text = |name: &HeaderName| header_text(answer, name);
    ends.extend(text(&RETRY_AFTER_MS).and_then(wait::number).and_then(|millis| after(millis / 1000.0, now)));
    ends.extend(text(&RETRY_AFTER).and_then(|text| retry_after(text, answer, now)));
    ends.extend(text(&RESET_MS).and_then(wait::number).and_then(|number| by_magnitude(number, 1000.0, now)));
    ends.extend(text(&RESET).and_then(|text| match wait::number(text) {
        Some(number) => by_magnitude(number, 1.0, now),
        None => wait::date_time(text).or_else(|| wait::duration(text).map(|duration| now.plus(duration))),
    }));
    ends.extend(text(&RESET_AFTER).and_then(wait::number).and_then(|seconds| after(seconds, now)));
}

/// `Retry-After` (RFC 9110 §10.2.3), with fractions of a second and RFC 3339 as some vendors write them.
///
/// A date is measured against the answer's own `Date`, so that a provider's skewed clock does not matter.
fn retry_after(text: &str, answer: &Answer<'_>, now: Timestamp) -> Option<Timestamp> {
    if let Some(seconds) = wait::number(text) {
        return after(seconds, now);
    }
    let stamp = wait::http_date(text).or_else(|| wait::date_time(text))?;
    let sent = header_text(answer, &DATE).and_then(wait::http_date).unwrap_or(now);
    Some(now.plus(stamp.until(sent)))
}

/// A number that some vendors write as a point in time and others as a wait; `per_second` is the unit of a wait.
fn by_magnitude(number: f64, per_second: f64, now: Timestamp) -> Option<Timestamp> {
    if number > EPOCH_MILLIS_MIN {
        epoch_millis(number)
    } else if number > EPOCH_SECONDS_MIN {
        epoch_millis(number * 1000.0)
    } else {
        after(number / per_second, now)
    }
}

fn epoch_millis(millis: f64) -> Option<Timestamp> {
    let since = Duration::try_from_secs_f64(millis / 1000.0).ok()?;
    Some(Timestamp(0).plus(since))
}

fn after(seconds: f64, now: Timestamp) -> Option<Timestamp> {
    Duration::try_from_secs_f64(seconds).ok().map(|wait| now.plus(wait))
}

fn header_text<'a>(answer: &Answer<'a>, name: &HeaderName) -> Option<&'a str> {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}
