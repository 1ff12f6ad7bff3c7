//! `Retry-After` (RFC 9110 §10.2.3), measured by the answer's own clock.

use claviger_domain::time::Timestamp;
use std::time::{Duration, UNIX_EPOCH};

/// The shortest wait that is kept: an endpoint that says 0 has just refused.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(5);

/// The longest wait that is kept: a token of an hour must not miss its whole life for one header.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

/// When to try again; `None` without a usable header. A date counts from the answer's `Date`, so that neither side's
/// skewed clock shows; without one, from `now`.
pub(crate) fn retry_at(retry_after: Option<&str>, date: Option<&str>, now: Timestamp) -> Option<Timestamp> {
    let text = retry_after?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only too many digits fail here.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        http_date(text)?.until(date.and_then(http_date).unwrap_or(now))
    };
    Some(now.plus(wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text.trim()).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp(0).plus(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_clamped_and_dates_count_from_the_answers_own() {
        let now = Timestamp::from_secs(1_000_000_000);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let table: [(&str, Option<&str>, Option<u64>); 13] = [
            ("30", None, Some(30)),
            (" 30 ", Some(date), Some(30)),
            ("0", None, Some(5)),
            ("4000", None, Some(900)),
            ("99999999999999999999999", None, Some(900)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(date), Some(60)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(date), Some(5)),
            ("Sun, 09 Sep 2001 01:47:40 GMT", None, Some(60)),
            ("Sun, 09 Sep 2001 01:47:40 GMT", Some("nonsense"), Some(60)),
            ("-1", None, None),
            ("1.5", None, None),
            ("soon", None, None),
            ("", None, None),
        ];
        for (text, date, wait) in table {
            let expected = wait.map(|secs| now.plus(Duration::from_secs(secs)));
            assert_eq!(retry_at(Some(text), date, now), expected, "{text} after {date:?}");
        }
        assert_eq!(retry_at(None, Some(date), now), None);
    }
}
