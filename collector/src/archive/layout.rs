//! Where archived rows lie: names that follow from what they hold.

use std::fmt::Display;

use crate::config::Partition;
use crate::times;

/// The names of folders. To an engine they are columns.
pub(crate) const PARTITION_KEYS: [&str; 4] = ["model", "version", "date", "hour"];

/// The partition of a time: where its slice begins.
pub(crate) fn partition_start(event_time: i64, partition: Partition) -> i64 {
    let length = length(partition);
    event_time.div_euclid(length) * length
}

/// How long a partition is, in microseconds.
pub(super) fn length(partition: Partition) -> i64 {
    match partition {
        Partition::Hour => 3_600_000_000,
        Partition::Day => 86_400_000_000,
    }
}

/// The name of a file: its partition, who wrote it, and the journal positions of its cut. The same cut always gives the
/// same name, and two collectors never the same.
pub(crate) fn path(
    partition: Partition,
    model: &str,
    version: &str,
    partition_start: i64,
    collector_id: &str,
    (first, last): (i64, i64),
) -> String {
    let (date, hour) = times::date_and_hour(partition_start);
    let hour = match partition {
        Partition::Hour => format!("hour={hour}/"),
        Partition::Day => String::new(),
    };
    let (model, version) = (escape(model), escape(version));
    format!("model={model}/version={version}/date={date}/{hour}{collector_id}-{first:012}-{last:012}.parquet")
}

/// The folder that all files of a model lie in.
pub(crate) fn folder_of(model: &str) -> String {
    format!("model={}", escape(model))
}

/// The folder that all files of a version lie in: they have one schema, and are a table of Delta Lake.
pub(super) fn table_of(model: &str, version: &str) -> String {
    format!("{}/version={}", folder_of(model), escape(version))
}

/// The folder that all files of a version's day lie in.
pub(super) fn day_of(model: &str, version: &str, date: impl Display) -> String {
    format!("{}/date={date}", table_of(model, version))
}

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) model: String,
    pub(crate) version: String,
    /// Its rows' times, in microseconds since the Unix epoch; the end is not part of them.
    pub(crate) starts: i64,
    pub(crate) ends: i64,
}

/// Reads a name that [`path`] made. None for any other.
pub(crate) fn parse(path: &str) -> Option<Located> {
    let mut parts = path.split('/');
    let model = unescape(parts.next()?.strip_prefix("model=")?)?;
    let version = unescape(parts.next()?.strip_prefix("version=")?)?;
    let date = parts.next()?.strip_prefix("date=")?;
    let (hour, file) = match parts.next()? {
        file if file.ends_with(".parquet") => (None, file),
        hour => (Some(hour.strip_prefix("hour=")?), parts.next()?),
    };
    if parts.next().is_some() || !file.ends_with(".parquet") {
        return None;
    }
    let day: jiff::civil::Date = date.parse().ok()?;
    let day = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
    let (starts, partition) = match hour {
        None => (day, Partition::Day),
        Some(hour) => {
            (day + hour.parse::<u8>().ok().filter(|hour| *hour < 24).map(i64::from)? * 3_600_000_000, Partition::Hour)
        }
    };
    Some(Located { model, version, starts, ends: starts + length(partition) })
}

/// Versions come from the model's answers, so they may hold anything. What is not plain is percent-encoded, as Hive does.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_says_what_it_was_made_of(model in "[a-zA-Z0-9_.-]{1,20}", version in ".{1,20}", hours in -1_000_000i64..1_000_000, by_hour: bool) {
            let partition = if by_hour { Partition::Hour } else { Partition::Day };
            let starts = partition_start(hours * 3_600_000_000, partition);
            let name = path(partition, &model, &version, starts, "0badcafe", (1, 42));
            prop_assert_eq!(parse(&name), Some(Located { model, version, starts, ends: starts + length(partition) }));
        }

        #[test]
        fn any_other_name_is_none_of_ours(name in ".{0,60}") {
            prop_assert_eq!(parse(&name), None);
        }
    }

    #[test]
    fn names_follow_from_what_a_file_holds() {
        let start = partition_start(1_357_020_000_000_001, Partition::Hour);
        assert_eq!(
            path(Partition::Hour, "flights", "1.0", start, "0badcafe", (1, 42)),
            "model=flights/version=1.0/date=2013-01-01/hour=06/0badcafe-000000000001-000000000042.parquet"
        );
        let start = partition_start(1_357_020_000_000_001, Partition::Day);
        assert_eq!(
            path(Partition::Day, "flights", "../a b", start, "0badcafe", (1, 42)),
            "model=flights/version=..%2Fa%20b/date=2013-01-01/0badcafe-000000000001-000000000042.parquet"
        );
    }

    #[test]
    fn times_before_the_epoch_have_partitions_too() {
        assert_eq!(partition_start(-1, Partition::Hour), -3_600_000_000);
    }
}
