//! When an account's usage endpoint is asked next. Pure.

use std::time::Duration;

/// How often the endpoint of an account in use is asked.
pub(super) const IN_USE: Duration = Duration::from_mins(5);
/// The same where answers tell in their headers what is left: the endpoint adds little then.
const FED_BY_HEADERS: Duration = Duration::from_mins(30);
/// The same of an account that nobody uses.
const IDLE: Duration = Duration::from_hours(1);
/// Where the endpoint tells nothing for this kind of credential; a day later the catalogue may know better.
const TELLS_NOTHING: Duration = Duration::from_hours(24);
/// After a first failure; doubled by each further one.
const FAILURE_FIRST: Duration = Duration::from_secs(10);
/// The longest wait after failures.
const FAILURE_MAX: Duration = Duration::from_mins(15);
/// What costs make stale is asked for again this long after the last question: every request may have a price.
const STALE: Duration = Duration::from_secs(30);
/// An account that comes into use and was never asked is asked within this time.
const FIRST_WITHIN: Duration = Duration::from_secs(30);
/// An account that has served within this time is in use.
pub(super) const IN_USE_WITHIN: Duration = Duration::from_hours(1);

/// What the next question depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    pub(super) asked: Asked,
    /// Whether it has served within [`IN_USE_WITHIN`].
    pub(super) in_use: bool,
    /// Whether headers told within [`IN_USE`] what is left.
    pub(super) fed_by_headers: bool,
}

/// How the last question went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Asked {
    #[default]
    Never,
    Told,
    /// It told, and something has happened since that makes that stale.
    Stale,
    TellsNothing,
    Failed {
        /// How often in a row.
        times: u32,
    },
}

/// How long after the last question, or the start, the next one is due; `seed` spreads accounts by a quarter in both directions.
pub(super) fn wait(pace: Pace, seed: u64) -> Duration {
    let by_use = match (pace.in_use, pace.fed_by_headers) {
        (true, false) => IN_USE,
        (true, true) => FED_BY_HEADERS,
        (false, _) => IDLE,
    };
    match pace.asked {
        Asked::Never if pace.in_use => FIRST_WITHIN.mul_f64(fraction(seed)),
        // Nobody asked for it: spread over the whole hour, so that a start asks for nothing at once.
        Asked::Never => IDLE.mul_f64(fraction(seed)),
        Asked::Stale => STALE,
        Asked::Told => jittered(by_use, seed),
        Asked::TellsNothing => jittered(TELLS_NOTHING, seed),
        Asked::Failed { times } => jittered(backoff(times), seed),
    }
}

fn backoff(times: u32) -> Duration {
    let doubled = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    FAILURE_FIRST.saturating_mul(doubled).min(FAILURE_MAX)
}

fn jittered(base: Duration, seed: u64) -> Duration {
    base.mul_f64(0.75 + 0.5 * fraction(seed))
}

/// From 0 to just below 1.
fn fraction(seed: u64) -> f64 {
    (seed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(pace: Pace) -> (Duration, Duration) {
        let waits = (0..2000_u64).map(|turn| wait(pace, turn.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        waits.fold((Duration::MAX, Duration::ZERO), |(least, most), wait| (least.min(wait), most.max(wait)))
    }

    fn assert_range(pace: Pace, least: Duration, most: Duration) {
        let (seen_least, seen_most) = range(pace);
        let slack = most.saturating_sub(least) / 50;
        assert!(seen_least >= least && seen_least < least + slack, "{pace:?}: {seen_least:?}");
        assert!(seen_most <= most && seen_most + slack > most, "{pace:?}: {seen_most:?}");
    }

    #[test]
    fn an_account_in_use_is_asked_every_five_minutes_give_or_take_a_quarter() {
        let pace = Pace { asked: Asked::Told, in_use: true, fed_by_headers: false };
        assert_range(pace, Duration::from_secs(225), Duration::from_secs(375));
    }

    #[test]
    fn an_idle_one_hourly_and_one_that_headers_feed_rarely() {
        let pace = Pace { asked: Asked::Told, in_use: false, fed_by_headers: false };
        assert_range(pace, Duration::from_mins(45), Duration::from_mins(75));
        assert_range(Pace { in_use: true, fed_by_headers: true, ..pace }, Duration::from_secs(1350), Duration::from_secs(2250));
    }

    #[test]
    fn failures_back_off_from_ten_seconds_to_a_quarter_of_an_hour() {
        let pace = |times| Pace { asked: Asked::Failed { times }, in_use: true, fed_by_headers: false };
        assert_range(pace(1), Duration::from_millis(7500), Duration::from_millis(12500));
        assert_range(pace(2), Duration::from_secs(15), Duration::from_secs(25));
        assert_range(pace(40), Duration::from_secs(675), Duration::from_secs(1125));
    }

    #[test]
    fn a_start_asks_for_idle_accounts_over_an_hour_and_for_those_in_use_soon() {
        let idle = Pace { asked: Asked::Never, in_use: false, fed_by_headers: false };
        assert_range(idle, Duration::ZERO, Duration::from_hours(1));
        assert_range(Pace { in_use: true, ..idle }, Duration::ZERO, Duration::from_secs(30));
    }
}
