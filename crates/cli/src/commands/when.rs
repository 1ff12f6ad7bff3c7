//! Points in time and durations in words, for people, and durations as people type them.

use crate::error::CliError;
use claviger_admin::time_text;
use claviger_domain::time::Timestamp;
use std::time::Duration;

/// Units in words, largest first.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// A duration in its two largest units that say something, for instance `3 h 12 min`; `0 s` for less than a second.
pub fn words(duration: Duration) -> String {
    let mut left = duration.as_secs();
    let mut parts = Vec::with_capacity(2);
    for (secs, unit) in UNITS {
        let count = left / secs;
        left %= secs;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        }
        // A second unit follows directly or not at all: nobody wants to read `3 d 5 s`.
        if parts.len() == 2 || (count == 0 && !parts.is_empty()) {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// A point in time as seen from `now`: `in 3 h 12 min`, `5 min ago` or `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (at.until(now), now.until(at));
    if ahead >= Duration::from_secs(1) {
        format!("in {}", words(ahead))
    } else if behind >= Duration::from_secs(1) {
        format!("{} ago", words(behind))
    } else {
        "now".to_owned()
    }
}

/// A point in time, both ways: `2026-11-22T20:00:00Z (in 56 min)`.
pub fn both(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", time_text::format(at), relative(at, now))
}

/// Reads what people type: a whole number and `s`, `m`, `h`, `d` or `w`, for instance `90m`. Zero is refused.
pub fn parse_duration(text: &str) -> Result<Duration, CliError> {
    let malformed = || CliError::usage(format!("{text:?} is not a duration")).hint("write 90m, 12h or 30d");
    let mut letters = text.chars();
    let secs_per_unit: u64 = match letters.next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        _ => return Err(malformed()),
    };
    let digits = letters.as_str();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let secs = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(secs_per_unit));
    secs.filter(|secs| *secs > 0).map(Duration::from_secs).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_shows_its_two_largest_units() {
        for (secs, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3_600, "1 h"),
            (3_605, "1 h"),
            (11_520, "3 h 12 min"),
            (90_000, "1 d 1 h"),
            (86_460, "1 d"),
        ] {
            assert_eq!(words(Duration::from_secs(secs)), expected);
        }
    }

    #[test]
    fn the_past_and_the_future_read_differently() {
        let now = Timestamp::from_secs(1_000);
        assert_eq!(relative(Timestamp::from_secs(1_060), now), "in 1 min");
        assert_eq!(relative(Timestamp::from_secs(940), now), "1 min ago");
        assert_eq!(relative(now, now), "now");
        assert_eq!(both(Timestamp::from_secs(1_060), now), "1970-01-01T00:17:40Z (in 1 min)");
    }

    #[test]
    fn a_typed_duration_is_a_number_and_one_unit() {
        for (text, secs) in [("30s", 30), ("90m", 5_400), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "d", "0d", "-1d", "+1d", "1", "1 d", "1.5h", "30x", "ä", "99999999999999999999d", "18446744073709551615w"] {
            assert_eq!(parse_duration(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
