//! Schedules: hours of the week by a place's own clock, and days on which they are others.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::state::Micros;

/// Hours of some days, such as those of an office.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Hours of the week.
    pub hours: Vec<Hours>,
    /// Days that have hours of their own instead, or none.
    pub except: BTreeMap<Date, Vec<Stretch>>,
    /// By whose clocks.
    pub zone: TimeZone,
}

/// The same stretch of some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// The days on which it begins.
    pub days: Vec<Weekday>,
    /// When.
    pub stretch: Stretch,
}

/// A stretch of a day, or over midnight into the next one. It belongs to the day on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// When it begins.
    pub from: Time,
    /// When it ends: on the same day if that is later than `from`, else on the next.
    pub until: Time,
}

impl Stretch {
    /// Whether a time of the day on which it begins is in it.
    pub(crate) fn has_on_its_day(&self, time: Time) -> bool {
        self.from <= time && (time < self.until || self.until <= self.from)
    }

    /// Whether a time of the day after that is in it.
    pub(crate) fn has_on_the_next(&self, time: Time) -> bool {
        self.until <= self.from && time < self.until
    }
}

impl Schedule {
    /// How far ahead a beginning is looked for: further than any row of closed days.
    const AHEAD_DAYS: i64 = 400;

    /// Whether it is on. It goes by what the clocks show: where they are put forward past all of a stretch, that does not come;
    /// where they are put back, an hour of it may come twice.
    pub fn is_on(&self, now: Micros) -> bool {
        let Ok(now) = Timestamp::from_microsecond(now) else { return false };
        self.is_on_by_the_clock(self.zone.to_datetime(now))
    }

    fn is_on_by_the_clock(&self, here: DateTime) -> bool {
        let today = self.stretches(here.date()).any(|stretch| stretch.has_on_its_day(here.time()));
        let yesterday = || here.date().yesterday().ok();
        today || yesterday().is_some_and(|day| self.stretches(day).any(|stretch| stretch.has_on_the_next(here.time())))
    }

    /// The stretches that begin on a day.
    fn stretches(&self, day: Date) -> impl Iterator<Item = Stretch> {
        let exception = self.except.get(&day);
        let of_the_week = move |hours: &&Hours| exception.is_none() && hours.days.contains(&day.weekday());
        let usual = self.hours.iter().filter(of_the_week).map(|hours| hours.stretch);
        exception.into_iter().flatten().copied().chain(usual)
    }

    /// When it is on next: now, if it is; none when that is not in sight.
    pub fn next_on(&self, now: Micros) -> Option<Micros> {
        if self.is_on(now) {
            return Some(now);
        }
        let at = Timestamp::from_microsecond(now).ok()?;
        let today = self.zone.to_datetime(at).date();
        // Where the clocks jump, a stretch may begin in its middle.
        let end = at.checked_add(Span::new().hours(24 * Self::AHEAD_DAYS)).ok()?;
        let jumps = self.zone.following(at).map(|jump| jump.timestamp()).take_while(|jump| *jump <= end);
        let jump = jumps.filter(|jump| self.is_on(jump.as_microsecond())).min();
        let day = |ahead: i64| today.checked_add(Span::new().days(ahead)).ok();
        let begins = (0..=Self::AHEAD_DAYS).filter_map(day).find_map(|day| {
            let begins = self.stretches(day).flat_map(|stretch| self.instants(day.to_datetime(stretch.from)));
            begins.filter(|begin| *begin > at && self.is_on(begin.as_microsecond())).min()
        });
        jump.into_iter().chain(begins).min().map(|next| next.as_microsecond())
    }

    /// The instants at which the clocks show a time: mostly one.
    fn instants(&self, time: DateTime) -> impl Iterator<Item = Timestamp> + use<> {
        let shown = self.zone.to_ambiguous_timestamp(time);
        [shown.earlier(), shown.later()].into_iter().flatten()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::civil::{date, time};
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Micros = 60_000_000;
    const WEEK: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

    pub(crate) fn office() -> Schedule {
        let stretch = Stretch { from: time(9, 0, 0, 0), until: time(17, 0, 0, 0) };
        let short = Stretch { from: time(9, 0, 0, 0), until: time(12, 0, 0, 0) };
        Schedule {
            hours: vec![Hours { days: WEEK.to_vec(), stretch }],
            except: BTreeMap::from([(date(2026, 12, 25), vec![]), (date(2026, 12, 24), vec![short])]),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
        }
    }

    pub(crate) fn micros(at: &str) -> Micros {
        at.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn hours_are_a_places_own_and_some_days_have_others() {
        let office = office();
        for (at, next) in [
            // A Friday, in winter time; after work it is Monday.
            ("2026-11-27T07:59:59Z", "2026-11-27T08:00:00Z"),
            ("2026-11-27T15:59:59Z", "2026-11-27T15:59:59Z"),
            ("2026-11-27T16:00:00Z", "2026-11-30T08:00:00Z"),
            // The clocks are put forward over that weekend.
            ("2026-03-27T16:00:00Z", "2026-03-30T07:00:00Z"),
            // Christmas Eve ends at noon, Christmas is closed, and a weekend follows.
            ("2026-12-24T11:00:00Z", "2026-12-28T08:00:00Z"),
        ] {
            let (at, next) = (micros(at), micros(next));
            assert_eq!((office.next_on(at), office.is_on(at)), (Some(next), at == next));
        }
        assert_eq!(Schedule { hours: vec![], ..office }.next_on(micros("2026-12-27T00:00:00Z")), None);
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins_and_a_day_off_ends_none_before_it() {
        let stretch = Stretch { from: time(22, 0, 0, 0), until: time(6, 0, 0, 0) };
        let night = Schedule { hours: vec![Hours { days: WEEK.to_vec(), stretch }], ..office() };
        // The night before Christmas began on a day of other hours; that of Christmas does not come.
        assert!(night.is_on(micros("2026-12-24T04:59:00Z")) && !night.is_on(micros("2026-12-24T22:00:00Z")));
        assert!(!night.is_on(micros("2026-12-25T22:00:00Z")));
        assert_eq!(night.next_on(micros("2026-12-25T22:00:00Z")), Some(micros("2026-12-28T21:00:00Z")));
    }

    fn any_schedule() -> impl Strategy<Value = Schedule> {
        let stretch = || {
            let clock = || (0_i8..24, 0_i8..60).prop_map(|(hour, minute)| time(hour, minute, 0, 0));
            (clock(), clock()).prop_map(|(from, until)| Stretch { from, until })
        };
        let hours = (prop::collection::vec(0_i8..7, 1..4), stretch()).prop_map(|(days, stretch)| {
            let days = days.into_iter().map(|day| Weekday::Monday.wrapping_add(day)).collect();
            Hours { days, stretch }
        });
        let zones =
            prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]);
        (prop::collection::vec(hours, 1..3), prop::option::of(stretch()), zones).prop_map(|(hours, except, zone)| {
            let except = except.map(|stretch| (date(2026, 3, 29), vec![stretch])).into_iter().collect();
            Schedule { hours, except, zone: TimeZone::get(zone).unwrap() }
        })
    }

    proptest! {
        /// Around the days on which clocks are put forward and back, in places that do so by an hour, by half of one, and not.
        #[test]
        fn the_next_beginning_is_the_first_minute_that_is_on(
            schedule in any_schedule(),
            day in prop::sample::select(vec!["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"]),
            minute in 0_i64..2 * 1440,
        ) {
            let now = micros(&format!("{day}T00:00:00Z")) + minute * MINUTE;
            let next = schedule.next_on(now).unwrap();
            prop_assert!(next >= now && schedule.is_on(next));
            let first = (0..).map(|ahead| now + ahead * MINUTE).find(|at| schedule.is_on(*at)).unwrap();
            prop_assert_eq!(next, first);
        }
    }
}
