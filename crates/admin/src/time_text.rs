//! Points in time as RFC 3339 text in UTC, for `#[serde(with = "…")]`.

use claviger_domain::time::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// RFC 3339 in UTC with milliseconds dropped; the raw number where it is outside the calendar.
pub fn format(timestamp: Timestamp) -> String {
    jiff::Timestamp::from_second(timestamp.as_secs()).map_or_else(|_outside| timestamp.0.to_string(), |time| time.to_string())
}

/// Reads what [`format()`] wrote: RFC 3339 text, or the raw number of milliseconds.
pub fn parse(text: &str) -> Result<Timestamp, jiff::Error> {
    if let Ok(outside_the_calendar) = text.parse() {
        return Ok(Timestamp(outside_the_calendar));
    }
    text.parse::<jiff::Timestamp>().map(|time| Timestamp(time.as_millisecond()))
}

/// For `#[serde(serialize_with)]`.
pub fn serialize<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*timestamp))
}

/// For `#[serde(deserialize_with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// The same for a point in time that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, format, parse};

    /// For `#[serde(serialize_with)]`.
    pub fn serialize<S: Serializer>(timestamp: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match timestamp {
            Some(timestamp) => serializer.serialize_some(&format(*timestamp)),
            None => serializer.serialize_none(),
        }
    }

    /// For `#[serde(deserialize_with)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_outside_the_calendar_is_read_back_too() {
        for at in [Timestamp::FAR_FUTURE, Timestamp(i64::MIN), Timestamp(9_000_000_000_000_000), Timestamp::from_secs(1_800_000_000)] {
            assert_eq!(parse(&format(at)).unwrap(), at);
        }
        assert!(parse("soon").is_err());
    }
}
