//! Maintenance windows: silences that come again on days of the week, by a place's own clock.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::matching::Matchers;
use crate::schedule::Stretch;
use crate::state::Micros;

/// A stretch of some days of the week in which nothing is said of some alerts but their end.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintenance {
    /// Its name.
    pub name: String,
    /// Which alerts it is of.
    pub matching: Matchers,
    /// The days on which it begins.
    pub days: Vec<Weekday>,
    /// When it begins, by the clocks of `zone`.
    pub from: Time,
    /// When it ends: on the same day if that is later than `from`, else on the next.
    pub until: Time,
    /// Whose clocks.
    pub zone: TimeZone,
}

impl Maintenance {
    /// Whether it is on. It goes by what the clocks show: where they are put forward past all of it, it does not come that
    /// day; where they are put back, an hour of it comes twice.
    pub fn is_on(&self, now: Micros) -> bool {
        let Ok(now) = jiff::Timestamp::from_microsecond(now) else { return false };
        let here = self.zone.to_datetime(now);
        let (time, today) = (here.time(), here.date().weekday());
        let begins_on = |day: Weekday| self.days.contains(&day);
        let stretch = Stretch { from: self.from, until: self.until };
        (begins_on(today) && stretch.has_on_its_day(time))
            || (begins_on(today.previous()) && stretch.has_on_the_next(time))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;
    use crate::matching::tests::matchers;

    fn window(days: &[Weekday], from: Time, until: Time) -> Maintenance {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        Maintenance { name: "w".into(), matching: matchers(&[("rule", "*")]), days: days.to_vec(), from, until, zone }
    }

    fn is_on(window: &Maintenance, at: &str) -> bool {
        window.is_on(at.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn it_follows_the_clocks_of_its_place_in_winter_and_summer() {
        let every_day = [0, 1, 2, 3, 4, 5, 6].map(|days| Weekday::Monday.wrapping_add(days));
        let window = window(&every_day, time(2, 0, 0, 0), time(4, 30, 0, 0));
        for (at, on) in [
            ("2026-01-15T00:59:59Z", false),
            ("2026-01-15T01:00:00Z", true),
            ("2026-01-15T03:29:59Z", true),
            ("2026-01-15T03:30:00Z", false),
            ("2026-07-15T00:00:00Z", true),
            ("2026-07-15T02:30:00Z", false),
        ] {
            assert_eq!(is_on(&window, at), on, "{at}");
        }
    }

    #[test]
    fn over_midnight_it_belongs_to_the_day_on_which_it_begins() {
        let window = window(&[Weekday::Friday], time(22, 0, 0, 0), time(6, 0, 0, 0));
        // 20 November 2026 is a Friday.
        for (at, on) in [
            ("2026-11-20T04:00:00Z", false),
            ("2026-11-20T21:00:00Z", true),
            ("2026-11-21T04:59:59Z", true),
            ("2026-11-21T05:00:00Z", false),
            ("2026-11-21T22:00:00Z", false),
        ] {
            assert_eq!(is_on(&window, at), on, "{at}");
        }
    }

    #[test]
    fn one_that_ends_when_it_begins_is_a_whole_day() {
        let window = window(&[Weekday::Saturday], time(0, 0, 0, 0), time(0, 0, 0, 0));
        assert!(is_on(&window, "2026-11-20T23:00:00Z") && is_on(&window, "2026-11-21T22:59:59Z"));
        assert!(!is_on(&window, "2026-11-20T22:59:59Z") && !is_on(&window, "2026-11-21T23:00:00Z"));
    }

    #[test]
    fn what_the_clocks_skip_does_not_come() {
        let window = window(&[Weekday::Sunday], time(2, 0, 0, 0), time(3, 0, 0, 0));
        // On 29 March 2026 the clocks go from 2:00 to 3:00; on 25 October an hour comes twice.
        assert!(!is_on(&window, "2026-03-29T00:59:59Z") && !is_on(&window, "2026-03-29T01:00:00Z"));
        assert!(is_on(&window, "2026-10-25T00:30:00Z") && is_on(&window, "2026-10-25T01:30:00Z"));
    }
}
