//! Over how long a time an objective holds: the last so many days, or the week, month or quarter that is on.
//!
//! A rolling period forgets by the day, so its budget never jumps. One of the calendar is what contracts and reports go by:
//! its budget is whole again on the first, by the clocks of a place, and a month is as long as it is.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::state::Micros;

const DAY: Duration = Duration::from_secs(86_400);

/// Over how long a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Period {
    /// The time before now, of this length.
    Rolling(Duration),
    /// The one that is on.
    Calendar {
        /// A week, a month or a quarter.
        unit: CalendarUnit,
        /// By whose clocks it begins.
        zone: TimeZone,
    },
}

/// A stretch of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    /// From Monday on.
    Week,
    /// From the first on.
    Month,
    /// From the first of January, April, July or October on.
    Quarter,
}

impl CalendarUnit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Week, Self::Month, Self::Quarter];

    /// The name by which the configuration knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
        }
    }

    /// The first day of the stretch that a day is in.
    pub fn first_day(self, day: Date) -> Option<Date> {
        match self {
            Self::Week => day.checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days()).ok(),
            Self::Month => Some(day.first_of_month()),
            Self::Quarter => Some(date(day.year(), (day.month() - 1) / 3 * 3 + 1, 1)),
        }
    }

    /// The first day of the next stretch.
    fn next_day(self, first: Date) -> Option<Date> {
        let length = match self {
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Quarter => 3.months(),
        };
        first.checked_add(length).ok()
    }
}

impl Period {
    /// The shortest and the longest rolling one.
    pub const ROLLING: RangeInclusive<Duration> = Duration::from_secs(7 * 86_400)..=Duration::from_secs(90 * 86_400);

    /// About how long it is: what burn rates go by, which must not change with the month.
    pub fn about(&self) -> Duration {
        match self {
            Self::Rolling(length) => *length,
            Self::Calendar { unit: CalendarUnit::Week, .. } => 7 * DAY,
            Self::Calendar { unit: CalendarUnit::Month, .. } => 30 * DAY,
            Self::Calendar { unit: CalendarUnit::Quarter, .. } => 91 * DAY,
        }
    }

    /// When the one began that is on.
    pub fn began(&self, now: Micros) -> Micros {
        let before = now.saturating_sub(self.about().as_micros() as Micros);
        self.bounds(now).map_or(before, |(began, _)| began)
    }

    /// When it ends; a rolling one never does.
    pub fn ends(&self, now: Micros) -> Option<Micros> {
        Some(self.bounds(now)?.1)
    }

    /// Beginning and end of the calendar's stretch that a time is in. A day begins with its first moment, where clocks skip
    /// midnight.
    fn bounds(&self, now: Micros) -> Option<(Micros, Micros)> {
        let Self::Calendar { unit, zone } = self else { return None };
        let today = zone.to_datetime(Timestamp::from_microsecond(now).ok()?).date();
        let first = unit.first_day(today)?;
        let begins = |day: Date| Some(day.to_zoned(zone.clone()).ok()?.timestamp().as_microsecond());
        Some((begins(first)?, begins(unit.next_day(first)?)?))
    }

    /// In words: `30 days`, `the month (Europe/Berlin)`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Rolling(length) => format!("{} days", length.as_secs() / DAY.as_secs()),
            Self::Calendar { unit, zone } => {
                format!("the {} ({})", unit.name(), zone.iana_name().unwrap_or("UTC"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn period(unit: CalendarUnit, zone: &str) -> Period {
        Period::Calendar { unit, zone: TimeZone::get(zone).unwrap() }
    }

    fn micros(time: &str) -> Micros {
        time.parse::<Timestamp>().unwrap().as_microsecond()
    }

    /// When the stretch began and ends that a time is in.
    fn bounds(unit: CalendarUnit, zone: &str, now: &str) -> [String; 2] {
        let (period, now) = (period(unit, zone), micros(now));
        [period.began(now), period.ends(now).unwrap()].map(|at| Timestamp::from_microsecond(at).unwrap().to_string())
    }

    #[test]
    fn a_month_is_as_long_as_it_is_and_as_its_clocks_make_it() {
        use CalendarUnit::{Month, Quarter, Week};
        for (unit, zone, now, began, ends) in [
            (Month, "UTC", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            (Month, "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Month, "UTC", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            // The first is another moment in Berlin and in Auckland, and March an hour shorter there than elsewhere.
            (Month, "Europe/Berlin", "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            (Month, "Europe/Berlin", "2026-10-31T22:59:59Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
            (Month, "Pacific/Auckland", "2026-03-31T11:00:00Z", "2026-03-31T11:00:00Z", "2026-04-30T12:00:00Z"),
            (Week, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Week, "UTC", "2027-01-01T00:00:00Z", "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
            (Quarter, "America/New_York", "2026-03-31T12:00:00Z", "2026-01-01T05:00:00Z", "2026-04-01T04:00:00Z"),
            // The clocks of Asunción skipped midnight on the first of a month: it began at one.
            (Month, "America/Asuncion", "2017-10-01T05:00:00Z", "2017-10-01T04:00:00Z", "2017-11-01T03:00:00Z"),
        ] {
            assert_eq!(bounds(unit, zone, now), [began, ends], "the {} of {now} in {zone}", unit.name());
        }
    }

    #[test]
    fn a_rolling_one_never_ends() {
        let week = Period::Rolling(7 * DAY);
        assert_eq!((week.began(7 * 24 * HOUR), week.ends(0)), (0, None));
        assert_eq!(week.in_words(), "7 days");
        assert_eq!(period(CalendarUnit::Month, "Europe/Berlin").in_words(), "the month (Europe/Berlin)");
    }

    proptest! {
        #[test]
        fn every_moment_is_in_one_stretch_and_the_next_begins_where_it_ends(
            now in -2_000_000_000i64..4_000_000_000, unit in prop::sample::select(CalendarUnit::ALL.to_vec()),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"]),
        ) {
            let (period, now) = (period(unit, zone), now * 1_000_000);
            let (began, ends) = (period.began(now), period.ends(now).unwrap());
            prop_assert!(began <= now && now < ends);
            prop_assert_eq!(period.began(ends), ends);
            prop_assert_eq!(period.began(ends - 1), began);
            let off = (ends - began) - period.about().as_micros() as i64;
            prop_assert!(off.abs() <= 50 * HOUR, "{off}");
        }
    }
}
