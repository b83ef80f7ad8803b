//! Where archived rows lie: names that follow from what they hold.

use crate::config::Partition;
use crate::times;

/// The names of folders. To an engine they are columns.
pub(crate) const PARTITION_KEYS: [&str; 4] = ["model", "version", "date", "hour"];

/// The partition of a time: where its slice begins.
pub(crate) fn partition_start(event_time: i64, partition: Partition) -> i64 {
    let length = match partition {
        Partition::Hour => 3_600_000_000,
        Partition::Day => 86_400_000_000,
    };
    event_time.div_euclid(length) * length
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

#[cfg(test)]
mod tests {
    use super::*;

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
