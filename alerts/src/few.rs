//! Evidence among few events: whether the last ones say more than that chance had a bad day.
//!
//! A model with two requests an hour has no share of the last five minutes, and an hour of it is two coin flips. What it has is
//! its last twenty requests, however long they took to come. Four bad ones among them are not what an objective of 99 % explains,
//! and that can be said with a number that holds at any traffic: how often a rule pages while the objective is just met.
//!
//! An alert begins with a bad event that is the k-th among the last n, or a later one. While events are bad with probability
//! p, one event is that with a probability of at most p · P\[Binomial(n − 1, p) ≥ k − 1\]: the others are independent of it. Times
//! the events of a year that is how many alerts may begin in a year for nothing. So k is not chosen but follows: from the
//! objective, from n, from the traffic, and from how many false pages a year are allowed. It is an upper bound, whatever an
//! alert does in between, and with requests that fail less often than the objective allows there are far fewer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::slo::{Counts, Objective};

/// How many of the last events must be bad before somebody is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FewEvents {
    target: f64,
    last: u64,
    false_pages: f64,
}

/// What a condition on a share looks at where too few events come for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Few {
    /// How many of how many are too many.
    pub events: FewEvents,
    /// Older events are not looked at.
    pub within: Duration,
}

/// What is known of the last events of an indicator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LastEvents {
    /// The last ones, as many as are looked at, or fewer.
    pub last: Counts,
    /// The newest of them, by which it is seen whether it goes on.
    pub newest: Counts,
    /// How many events come in a year, at the present traffic.
    pub per_year: f64,
}

impl FewEvents {
    /// How many events may be looked at.
    pub const LAST: std::ops::RangeInclusive<u64> = 5..=1000;
    /// The part of the last events that are the newest: as many good ones end an alert.
    const NEWEST_PART: u64 = 4;

    /// For an objective, of so many last events, with so many false pages a year; none when even all of them bad would not be
    /// evidence at one event an hour, or the numbers are no such.
    pub fn new(target: f64, last: u64, false_pages: f64) -> Option<Self> {
        const HOURS_OF_A_YEAR: f64 = 8766.0;
        let is_allowed = target > 0.0 && target < 1.0 && Self::LAST.contains(&last) && false_pages > 0.0;
        let few = Self { target, last, false_pages };
        few.needed(last, HOURS_OF_A_YEAR).filter(|_| is_allowed).map(|_| few)
    }

    /// The share of events that is to be good.
    pub fn target(&self) -> f64 {
        self.target
    }

    /// How many events are looked at.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many of the last events are the newest.
    pub fn newest(&self) -> u64 {
        self.last.div_ceil(Self::NEWEST_PART)
    }

    /// How many alerts may begin in a year for nothing.
    pub fn false_pages(&self) -> f64 {
        self.false_pages
    }

    /// How often an event begins an alert, at the most, when so many of so many must be bad and the objective is just met.
    ///
    /// ```
    /// use driftline_alerts::FewEvents;
    ///
    /// let few = FewEvents::new(0.99, 20, 1.0).unwrap();
    /// // Four of twenty: once in 116,000 events.
    /// assert_eq!((1.0 / few.begins_by_chance(4, 20)).round(), 116_356.0);
    /// ```
    pub fn begins_by_chance(&self, bad: u64, of: u64) -> f64 {
        let share = 1.0 - self.target;
        let (Some(others_bad), Some(others)) = (bad.checked_sub(2), of.checked_sub(1)) else { return share };
        // A share between 0 and 1 is one.
        share * Binomial::new(share, others).map_or(1.0, |binomial| binomial.sf(others_bad))
    }

    /// How many of so many events must be bad when so many come in a year: the fewest with which alerts that begin for nothing
    /// are no more than are allowed, and never fewer than three. None when all of them would not be enough.
    ///
    /// ```
    /// use driftline_alerts::FewEvents;
    ///
    /// let few = FewEvents::new(0.99, 20, 1.0).unwrap();
    /// // One event an hour, fifty, and a thousand.
    /// assert_eq!([8_766.0, 438_300.0, 8_766_000.0].map(|per_year| few.needed(20, per_year)), [4, 5, 6].map(Some));
    /// ```
    pub fn needed(&self, of: u64, per_year: f64) -> Option<u64> {
        let is_rare = |bad: u64| per_year * self.begins_by_chance(bad, of) <= self.false_pages;
        if of < Objective::MIN_BAD || !is_rare(of) {
            return None;
        }
        // Chances fall with the number: the least that is rare lies between one that is not and one that is.
        let (mut too_few, mut enough) = (Objective::MIN_BAD - 1, of);
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if is_rare(middle) { enough = middle } else { too_few = middle }
        }
        Some(enough)
    }

    /// Whether so many of the last events are bad, and the newest say that it goes on: more are bad than the objective allows.
    /// None without events. Fewer events than are looked at ask for as many bad ones as all of them would.
    pub fn is_over(&self, events: LastEvents) -> Option<bool> {
        let LastEvents { last, newest, per_year } = events;
        let goes_on = newest.bad() as f64 > (1.0 - self.target) * newest.valid as f64;
        let needed = self.needed(last.valid.max(self.last), per_year);
        (last.valid > 0).then(|| goes_on && needed.is_some_and(|needed| last.bad() >= needed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    use super::*;

    fn few(target: f64) -> FewEvents {
        FewEvents::new(target, 20, 1.0).unwrap()
    }

    fn counts(bad: u64, valid: u64) -> Counts {
        Counts { good: valid - bad, valid, unknown: 0 }
    }

    #[test]
    fn chances_are_the_binomials() {
        // From SciPy 1.17: p * binom.sf(k - 2, n - 1, p).
        for (target, bad, of, expected) in [
            (0.99, 3, 10, 3.435_730_017_846_292e-5),
            (0.99, 4, 10, 8.029_476_538_112_8e-7),
            (0.99, 3, 20, 1.527_376_148_889_660_6e-4),
            (0.99, 4, 20, 8.594_328_820_314_652e-6),
            (0.999, 3, 20, 1.690_735_816_233_582e-7),
            (0.95, 6, 20, 1.006_389_416_060_639_4e-4),
            (0.99, 6, 50, 1.322_100_244_673_000_8e-6),
            (0.99, 60, 3000, 1.614_214_258_452_74e-8),
        ] {
            let chance = few(target).begins_by_chance(bad, of);
            assert!((chance / expected - 1.0).abs() < 1e-6, "{bad} of {of}: {chance}");
        }
    }

    #[test]
    fn what_is_needed_follows_from_objective_and_traffic() {
        // From SciPy: the least k from 3 on with events * p * binom.sf(k - 2, n - 1, p) <= 1, at 1, 5, 50 and 1,000 an hour.
        let hourly = [8_766.0, 43_830.0, 438_300.0, 8_766_000.0];
        for (target, expected) in
            [(0.999, [3, 3, 3, 4]), (0.99, [4, 4, 5, 6]), (0.95, [6, 7, 8, 9]), (0.9, [9, 10, 11, 12])]
        {
            assert_eq!(hourly.map(|per_year| few(target).needed(20, per_year).unwrap()), expected, "{target}");
        }
        assert_eq!(hourly.map(|per_year| few(0.99).needed(3000, per_year).unwrap()), [45, 49, 53, 58]);
        assert_eq!(few(0.99).needed(2, 8_766.0), None, "two are never evidence");
    }

    #[test]
    fn numbers_that_could_never_tell_are_refused() {
        assert_eq!(FewEvents::new(0.5, 5, 1.0), None, "five of five are nothing at a half");
        for (target, last, false_pages) in
            [(1.0, 20, 1.0), (0.0, 20, 1.0), (0.99, 4, 1.0), (0.99, 20, 0.0), (0.99, 1001, 1.0)]
        {
            assert_eq!(FewEvents::new(target, last, false_pages), None);
        }
    }

    #[test]
    fn four_of_twenty_tell_until_the_newest_are_good() {
        let events = |bad, valid, newest_bad| LastEvents {
            last: counts(bad, valid),
            newest: counts(newest_bad, 5),
            per_year: 8_766.0,
        };
        let is_over = |events| few(0.99).is_over(events);
        assert_eq!(is_over(LastEvents::default()), None);
        assert_eq!(is_over(events(3, 20, 1)), Some(false));
        assert_eq!(is_over(events(4, 20, 1)), Some(true));
        assert_eq!(is_over(events(4, 20, 0)), Some(false), "it is over");
        // Of the first requests that there ever were, too.
        assert_eq!([is_over(events(3, 3, 3)), is_over(events(4, 4, 4))], [Some(false), Some(true)]);
    }

    /// Alerts that begin for nothing are counted over a hundred years of a model with ten requests an hour, of which one in a
    /// hundred fails: the worst that the objective allows.
    #[test]
    fn alerts_begin_for_nothing_no_more_often_than_is_allowed() {
        let (few, per_year, years) = (few(0.99), 87_660.0, 100);
        let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let (mut last, mut is_on, mut begun) = (std::collections::VecDeque::from([true; 20]), false, 0);
        for _ in 0..years * per_year as u64 {
            last.pop_front();
            last.push_back(!random.next_u32().is_multiple_of(100));
            let bad = |of: usize| last.iter().rev().take(of).filter(|good| !**good).count() as u64;
            let events = LastEvents { last: counts(bad(20), 20), newest: counts(bad(5), 5), per_year };
            let was_on = std::mem::replace(&mut is_on, few.is_over(events).unwrap());
            begun += u32::from(is_on && !was_on);
        }
        // 0.75 a year are the bound; a window of four that stays is one alert, so there are fewer.
        assert!((30..100).contains(&begun), "{begun} in a hundred years");
    }

    proptest! {
        #[test]
        fn more_bad_events_never_clear_and_more_traffic_never_needs_fewer(
            target in 0.8..0.9999f64, bad in 0..=20u64, more in 0..=20u64, newest in 0..=5u64, per_year in 1.0..1e9f64,
        ) {
            let Some(few) = FewEvents::new(target, 20, 1.0) else { return Ok(()) };
            let events = |bad: u64, newest: u64| LastEvents {
                last: counts(bad.min(20), 20), newest: counts(newest.min(5), 5), per_year,
            };
            let (before, after) = (few.is_over(events(bad, newest)), few.is_over(events(bad + more, newest + more)));
            prop_assert!(after == Some(true) || before == Some(false));
            let needed = |per_year| few.needed(20, per_year).unwrap_or(u64::MAX);
            prop_assert!(needed(per_year) <= needed(2.0 * per_year));
            prop_assert!(few.needed(20, per_year).is_none_or(|needed| per_year * few.begins_by_chance(needed, 20) <= 1.0));
        }
    }
}
