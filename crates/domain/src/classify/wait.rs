//! How vendors write waits and points in time, in headers and in prose.

use crate::time::Timestamp;
use std::time::Duration;

/// The ends that a text names.
pub(super) struct InText {
    /// The latest that leaves no doubt.
    pub(super) certain: Option<Timestamp>,
    /// The latest stamp without a zone, read as UTC.
    pub(super) without_zone: Option<Timestamp>,
}

/// Phrases before a duration.
const BEFORE_DURATION: [&str; 10] = [
    "reset after",
    "resets after",
    "reset in",
    "resets in",
    "retry in",
    "retry after",
    "try again in",
    "try again after",
    "retrydelay",
    "available again in",
];
/// Phrases before a number of milliseconds.
const BEFORE_MILLIS: [&str; 1] = ["retry-after-ms"];
/// Phrases before a number of seconds or a duration.
const BEFORE_SECONDS: [&str; 1] = ["retry-after"];
/// Phrases before a point in time.
const BEFORE_STAMP: [&str; 4] = ["reset at", "resets at", "reset on", "resets on"];
/// Words that may stand between a phrase and its number.
const FILLERS: [&str; 4] = ["about ", "around ", "approximately ", "~"];
/// Longest text that can be a stamp: RFC 3339 with nanoseconds and an offset, and the word UTC.
const STAMP_MAX_CHARS: usize = 40;

/// Finds the waits in a text in lower case.
pub(super) fn in_text(text: &str, now: Timestamp) -> InText {
    let durations = BEFORE_DURATION.iter().flat_map(|phrase| after_each(text, phrase)).filter_map(duration);
    let millis = BEFORE_MILLIS.iter().flat_map(|phrase| after_each(text, phrase)).filter_map(leading_number);
    let seconds = BEFORE_SECONDS.iter().flat_map(|phrase| after_each(text, phrase)).filter_map(|rest| {
        let plain = || leading_number(rest).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration(rest).or_else(plain)
    });
    let millis = millis.filter_map(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
    let waits = durations.chain(millis).chain(seconds).map(|wait| now.plus(wait));
    let stamps: Vec<Stamp> = BEFORE_STAMP.iter().flat_map(|phrase| after_each(text, phrase)).filter_map(stamp).collect();
    InText {
        certain: waits.chain(stamps.iter().filter_map(|stamp| stamp.zoned.then_some(stamp.at))).max(),
        without_zone: stamps.iter().filter_map(|stamp| (!stamp.zoned).then_some(stamp.at)).max(),
    }
}

/// What follows each occurrence of a phrase, past punctuation and filler words.
fn after_each<'a>(text: &'a str, phrase: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(phrase).filter_map(|(at, _)| {
        let mut rest = text.get(at + phrase.len()..)?.trim_start_matches([' ', ':', '=', '"', '\\', '\'', '\n']);
        for filler in FILLERS {
            rest = rest.strip_prefix(filler).unwrap_or(rest);
        }
        Some(rest)
    })
}

/// A whole text that is a finite number of zero or more.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

fn leading_number(text: &str) -> Option<f64> {
    split_number(text).map(|(number, _)| number)
}

fn split_number(text: &str) -> Option<(f64, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(text);
    let rest = text.get(whole..)?;
    let fraction = rest.strip_prefix('.').map_or(0, digits);
    let end = if fraction > 0 { whole + 1 + fraction } else { whole };
    let (number, rest) = text.split_at_checked(end)?;
    number.parse().ok().map(|number| (number, rest))
}

/// A duration with units at the beginning of a text, such as `34.07s`, `1h2m3s`, `2hr 15min`, `3 days`. A number without
/// a unit is none.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut total: Option<Duration> = None;
    let mut rest = text.trim_start();
    while let Some((number, after)) = split_number(rest) {
        let after = after.trim_start_matches(' ');
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let Some(seconds) = unit_seconds(unit) else { break };
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = Some(total.unwrap_or_default().saturating_add(part));
        rest = after.trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    total
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ms" | "millis" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// RFC 3339, with a blank allowed for the `T`.
pub(super) fn date_time(text: &str) -> Option<Timestamp> {
    text.to_ascii_uppercase().parse::<jiff::Timestamp>().ok().map(|stamp| Timestamp(stamp.as_millisecond()))
}

/// An HTTP date (RFC 9110 §5.6.7, the preferred format).
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    let stamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp(stamp.as_millisecond()))
}

/// A point in time that a text names.
struct Stamp {
    at: Timestamp,
    zoned: bool,
}

/// The stamp at the beginning of a text in lower case; one without a zone is read as UTC.
fn stamp(text: &str) -> Option<Stamp> {
    let is_stamp = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | '+' | 't' | 'z' | ' ');
    let end = text.char_indices().take(STAMP_MAX_CHARS).take_while(|(_, c)| is_stamp(*c)).last().map_or(0, |(at, c)| at + c.len_utf8());
    let (written, rest) = text.split_at_checked(end)?;
    let written = written.trim_end_matches([' ', '.', 't', '-']);
    if let Some(at) = date_time(written) {
        return Some(Stamp { at, zoned: true });
    }
    let at = naive(written)?;
    Some(Stamp { at, zoned: rest.starts_with("utc") || rest.starts_with("gmt") })
}

fn naive(text: &str) -> Option<Timestamp> {
    let stamp = text.to_ascii_uppercase().parse::<jiff::civil::DateTime>().ok()?;
    let zoned = stamp.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_way_that_vendors_write_them() {
        for (text, millis) in [
            ("34.07s", 34_070),
            ("12ms", 12),
            ("6m0s", 360_000),
            ("1h2m3s", 3_723_000),
            ("18h31m10s", 66_670_000),
            ("2hr 15min", 8_100_000),
            ("3 days.", 259_200_000),
            ("13 minutes and 5 seconds, then", 785_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "soon", "3 months", "-3s", "5. x"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn waits_are_found_in_prose() {
        let now = Timestamp(1_000_000);
        for (text, wait) in [
            ("your quota will reset after 18h31m10s.", 66_670_000),
            ("please retry in 250ms", 250),
            ("try again in ~5 min", 300_000),
            ("try again in 2h", 7_200_000),
            ("resets in 3 days", 259_200_000),
            (r#"{"retrydelay":"34.07s"}"#, 34_070),
            (r#"{\"retrydelay\": \"20.04466179s\"}"#, 20_044),
            ("retry-after-ms=1500", 1_500),
            ("retry-after: 7", 7_000),
            ("retry in 1s, or resets in 2h", 7_200_000),
            ("please retry in 0s", 0),
        ] {
            assert_eq!(in_text(text, now).certain, Some(Timestamp(now.0 + wait)), "{text}");
        }
        for text in ["retry later", "reset in march", "try again in 5", "limit 5 per 3s"] {
            assert_eq!(in_text(text, now).certain, None, "{text}");
        }
    }

    #[test]
    fn a_stamp_without_a_zone_is_kept_apart() {
        let now = Timestamp(0);
        let zoned = in_text("your limit will reset at 2026-11-22t10:00:00z.", now);
        assert_eq!(zoned.certain, Some(Timestamp(1_795_341_600_000)));
        let offset = in_text("resets at 2026-11-22 11:00:00+01:00", now);
        assert_eq!(offset.certain, Some(Timestamp(1_795_341_600_000)));
        let named = in_text("resets at 2026-11-22 10:00 utc", now);
        assert_eq!(named.certain, Some(Timestamp(1_795_341_600_000)));
        let naive = in_text("reset at 2026-11-22 10:00:00 (server time)", now);
        assert_eq!((naive.certain, naive.without_zone), (None, Some(Timestamp(1_795_341_600_000))));
    }

    #[test]
    fn an_http_date_is_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp(784_111_777_000)));
        assert_eq!(http_date("soon"), None);
    }
}
