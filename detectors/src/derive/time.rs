//! Of times: how old they are when the row happens, and when in the day and the week they lie, in UTC.

use super::Derived;
use crate::reference::ColumnKind;

pub(super) const COLUMNS: [(&str, ColumnKind); 3] =
    [("age", ColumnKind::Numeric), ("hour", ColumnKind::Categorical), ("weekday", ColumnKind::Categorical)];

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// With two digits, as folders of the archive have them.
const HOURS: [&str; 24] = [
    "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "17", "18",
    "19", "20", "21", "22", "23",
];
/// The epoch began on a Thursday.
const WEEKDAYS: [&str; 7] = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];

/// The age is in seconds, and negative for what lies ahead; it is missing where nobody knows when the row happened.
pub(super) fn derive(time: i64, event_time: Option<i64>) -> [Derived; 3] {
    let age = event_time.map(|event| (event as f64 - time as f64) / 1e6);
    let hour = HOURS[time.rem_euclid(DAY_MICROS).div_euclid(HOUR_MICROS) as usize];
    let weekday = WEEKDAYS[time.div_euclid(DAY_MICROS).rem_euclid(7) as usize];
    [age.map_or(Derived::Missing, Derived::Number), Derived::Name(hour), Derived::Name(weekday)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_have_hours_and_weekdays_too() {
        // 1969-12-31T23:30:00Z, a Wednesday.
        let derived = derive(-HOUR_MICROS / 2, Some(0));
        assert_eq!(derived, [Derived::Number(1800.0), Derived::Name("23"), Derived::Name("wednesday")]);
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(derive(extreme, None)[0], Derived::Missing);
            assert!(derive(extreme, Some(-extreme.saturating_add(1)))[0] != Derived::Missing);
        }
    }
}
