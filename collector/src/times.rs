//! Times as people read them, and the one place where the clock is.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Now, in microseconds since the Unix epoch.
pub(crate) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// Now, in nanoseconds since the Unix epoch.
pub(crate) fn now_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Reads a time: RFC 3339, or a day, which begins at midnight UTC.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    let day = text.parse::<jiff::civil::Date>().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC));
    day.map(|day| day.timestamp().as_microsecond())
        .map_err(|_| "not a time; write 2013-07-01 or 2013-07-01T05:00:00Z".to_owned())
}

/// RFC 3339.
pub(crate) fn rfc3339(micros: i64) -> String {
    timestamp(micros).to_string()
}

/// To the second, in UTC: 2013-07-11 05:00:00.
pub(crate) fn second(micros: i64) -> String {
    timestamp(micros).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The day in UTC: 2013-07-11.
pub(crate) fn day(micros: i64) -> String {
    date(micros).to_string()
}

/// The day in UTC.
pub(crate) fn date(micros: i64) -> Date {
    timestamp(micros).to_zoned(TimeZone::UTC).date()
}

/// A stretch of time, as briefly as it can be said: days without hours when both ends are at the same hour.
pub(crate) fn span(from: i64, to: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    let format = if (to - from) % DAY == 0 && from != to { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" };
    format!("{} to {} UTC", timestamp(from).strftime(format), timestamp(to).strftime(format))
}

/// `date` and `hour` of a time in UTC, as partitions name them.
pub(crate) fn date_and_hour(micros: i64) -> (String, String) {
    let time = timestamp(micros);
    (time.strftime("%Y-%m-%d").to_string(), time.strftime("%H").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_days_when_they_are_days() {
        assert_eq!(span(1_357_016_400_000_000, 1_357_880_400_000_000), "2013-01-01 to 2013-01-11 UTC");
        assert_eq!(span(1_357_016_400_000_000, 1_357_020_000_000_000), "2013-01-01 05:00 to 2013-01-01 06:00 UTC");
        assert_eq!(date_and_hour(1_357_016_400_000_000), ("2013-01-01".to_owned(), "05".to_owned()));
    }
}
