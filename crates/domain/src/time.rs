//! Points in time as numbers; nobody here asks a clock.

use std::time::Duration;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z. Arithmetic saturates, since wall time is never assumed to grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later than any other.
    pub const FAR_FUTURE: Self = Self(i64::MAX);

    /// From seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// This much earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// The time from `now` until this point; zero if it has passed.
    #[must_use]
    pub fn until(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }
}

/// A duration as whole milliseconds, saturating.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::FAR_FUTURE.plus(Duration::from_secs(1)), Timestamp::FAR_FUTURE);
        assert_eq!(Timestamp(5).until(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).until(Timestamp(5)), Duration::from_millis(4));
        assert_eq!(Timestamp(-1).as_secs(), -1);
    }
}
