//! Service level objectives: error budgets, and how fast they burn.
//!
//! An objective of 99 % over 30 days allows one bad event in a hundred: that is its budget. The *burn rate* over a window is
//! by how many times the budget is spent faster than the period allows; at 1 it lasts exactly as long as the period, and at
//! 14.4 two hundredths of it are gone in an hour. An alert asks for a high rate over a long window, which says that it
//! matters, and over a short one, which says that it goes on (Beyer et al., *The Site Reliability Workbook*, chapter 5).
//!
//! Three things are other than in the book. The share of the budget that a pair of windows stands for depends on the period:
//! two hundredths of a week's budget in an hour are a rate of 3.4, and of a quarter's one of 43. A rate that cannot be
//! reached at all (1/(1 − objective) is the highest) is refused. And a single bad event among a few is no evidence of
//! anything, so a pair also asks that so many of them be unlikely while the objective is met.

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::period::Period;
use crate::state::Micros;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// With fewer judged than nine of ten, the tenth that is lost outweighs what objectives allow: what was lost together was
/// often bad together.
const LEAST_COVERAGE: f64 = 0.9;

/// How unlikely the bad events of a window must be while the objective is met.
const EVIDENCE: f64 = 1e-3;
/// The standard normal's quantile of it.
const EVIDENCE_DEVIATIONS: f64 = 3.090_232_306_167_814;

/// Events of an indicator. Those that are valid were judged, and are good or bad; those that are unknown were seen, and lost
/// before anybody could judge them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many were good.
    pub good: u64,
    /// How many counted.
    pub valid: u64,
    /// How many of those that were seen nobody could judge.
    #[serde(default)]
    pub unknown: u64,
}

impl Counts {
    /// How many were bad.
    pub fn bad(self) -> u64 {
        self.valid.saturating_sub(self.good)
    }

    /// How many there were: good, bad and unknown.
    pub fn seen(self) -> u64 {
        self.valid.saturating_add(self.unknown)
    }

    /// The share of those seen that could be judged; none where none was seen.
    pub fn coverage(self) -> Option<f64> {
        (self.seen() > 0).then(|| self.valid as f64 / self.seen() as f64)
    }

    /// How likely so many bad ones or more are while a share of `target` is good and each is bad on its own: the tail of a
    /// binomial.
    ///
    /// ```
    /// use driftline_alerts::Counts;
    ///
    /// let three_of_ten = Counts { good: 7, valid: 10, unknown: 0 };
    /// // From SciPy: binom.sf(2, 10, 0.01).
    /// assert!((three_of_ten.chance(0.99) - 1.138_491e-4).abs() < 1e-9);
    /// ```
    pub fn chance(self, target: f64) -> f64 {
        let Some(at_most) = self.bad().checked_sub(1) else { return 1.0 };
        // A chance between 0 and 1 is one.
        Binomial::new(1.0 - target, self.valid).map_or(1.0, |binomial| binomial.sf(at_most))
    }

    /// Whether so few of them could be judged that those say little of all.
    pub fn is_degraded(self) -> bool {
        self.coverage().is_some_and(|coverage| coverage < LEAST_COVERAGE)
    }

    /// The same if everything unknown was bad.
    pub fn at_worst(self) -> Self {
        Self { good: self.good, valid: self.seen(), unknown: 0 }
    }

    /// The same if everything unknown was good.
    pub fn at_best(self) -> Self {
        Self { good: self.good.saturating_add(self.unknown), valid: self.seen(), unknown: 0 }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.valid = self.valid.saturating_add(other.valid);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }
}

/// What share of events is to be good, over how long a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    target: f64,
    period: Period,
}

/// How urgent a rate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// The budget is gone within days: for now.
    Fast,
    /// It will not last for the period: for the next working day.
    Slow,
}

/// A burn rate that two windows must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The window that says that it matters.
    pub long: Duration,
    /// The window that says that it goes on: a twelfth of the long one.
    pub short: Duration,
    /// The rate.
    pub rate: f64,
}

/// From how many bad events on they are evidence: `share · n + spread · √n + offset` of n valid ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvidenceBound {
    /// The share that the objective allows.
    pub share: f64,
    /// How far chance reaches beyond it.
    pub spread: f64,
    /// What is added because a binomial is skew, and counts are whole.
    pub offset: f64,
}

/// What is left of a budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Bad events that the objective allows for the valid ones there were.
    pub allowed: f64,
    /// Bad events that there were.
    pub spent: u64,
    /// The share that is left; below zero when the objective was missed.
    pub left: f64,
}

impl Objective {
    /// Fewer bad events than this never alert.
    pub const MIN_BAD: u64 = 3;

    /// An objective above 0 and below 1, over a part of the calendar, or over 7 to 90 days; none otherwise.
    pub fn new(target: f64, period: Period) -> Option<Self> {
        let is_allowed = match &period {
            Period::Rolling(length) => Period::ROLLING.contains(length),
            Period::Calendar { .. } => true,
        };
        (target > 0.0 && target < 1.0 && is_allowed).then_some(Self { target, period })
    }

    /// The share of events that is to be good.
    pub fn target(&self) -> f64 {
        self.target
    }

    /// Over how long a time.
    pub fn period(&self) -> &Period {
        &self.period
    }

    /// By how many times the budget is spent faster than the period allows; none without valid events, of which nothing
    /// can be said.
    ///
    /// ```
    /// use driftline_alerts::{Counts, Objective, Period};
    ///
    /// let month = Period::Rolling(std::time::Duration::from_secs(30 * 86_400));
    /// let objective = Objective::new(0.99, month).unwrap();
    /// let rate = objective.burn_rate(Counts { good: 900, valid: 1000, unknown: 0 }).unwrap();
    /// assert!((rate - 10.0).abs() < 1e-9);
    /// assert_eq!(objective.burn_rate(Counts { good: 0, valid: 0, unknown: 0 }), None);
    /// ```
    pub fn burn_rate(&self, counts: Counts) -> Option<f64> {
        (counts.valid > 0).then(|| counts.bad() as f64 / counts.valid as f64 / (1.0 - self.target))
    }

    /// Between which rates the true one lies: if everything unknown was good, and if it was bad. None where nothing was seen.
    pub fn burn_bounds(&self, counts: Counts) -> Option<(f64, f64)> {
        Some((self.burn_rate(counts.at_best())?, self.burn_rate(counts.at_worst())?))
    }

    /// The rate at which nothing is good any more.
    pub fn highest_rate(&self) -> f64 {
        1.0 / (1.0 - self.target)
    }

    /// The pairs of a pace that can fire. None of them can where the objective is so low that even an outage spends its
    /// budget slowly.
    pub fn pairs(&self, pace: Pace) -> Vec<Pair> {
        let all = self.table().into_iter().map(|(long, share)| {
            let rate = share * self.period.about().as_secs_f64() / long as f64;
            Pair { long: Duration::from_secs(long), short: Duration::from_secs(long / 12), rate }
        });
        let of_pace = |pair: &Pair| (pair.long.as_secs() <= 6 * HOUR) == (pace == Pace::Fast);
        all.filter(|pair| of_pace(pair) && (1.0..self.highest_rate()).contains(&pair.rate)).collect()
    }

    /// Long windows, and the share of the budget that is spent in each at its rate. A share that suits a month is a
    /// healthy day's of a week's budget, and more than an outage can spend of a quarter's.
    fn table(&self) -> [(u64, f64); 4] {
        match self.period.about().as_secs() / DAY {
            ..14 => [(HOUR, 0.08), (6 * HOUR, 0.125), (DAY, 0.20), (3 * DAY, 0.45)],
            14..60 => [(HOUR, 0.02), (6 * HOUR, 0.05), (DAY, 0.10), (3 * DAY, 0.11)],
            _ => [(HOUR, 0.01), (6 * HOUR, 0.03), (DAY, 0.05), (3 * DAY, 0.10)],
        }
    }

    /// Whether both windows of a pair burn at its rate, and the bad events are evidence of it. More bad events among the
    /// same valid ones never make it less so.
    pub fn burns(&self, pair: &Pair, long: Counts, short: Counts) -> bool {
        let reaches = |counts: Counts| self.burn_rate(counts).is_some_and(|rate| rate >= pair.rate);
        reaches(long) && reaches(short) && long.bad() >= Self::MIN_BAD && self.chance(long) < EVIDENCE
    }

    /// How likely so many bad events or more are while the objective is met.
    pub fn chance(&self, counts: Counts) -> f64 {
        counts.chance(self.target)
    }

    /// What [`burns`](Self::burns) takes for evidence, for those who have no binomial: its quantile by Cornish and Fisher's
    /// first term. It asks for as many bad events, or for one more; never for fewer.
    pub fn evidence_bound(&self) -> EvidenceBound {
        let (bad, z) = (1.0 - self.target, EVIDENCE_DEVIATIONS);
        EvidenceBound {
            share: bad,
            spread: z * (bad * self.target).sqrt(),
            offset: (z * z - 1.0) * (1.0 - 2.0 * bad) / 6.0 + 0.5,
        }
    }

    /// What is left of the budget of the period that these events are of.
    pub fn budget(&self, counts: Counts) -> Budget {
        let allowed = (1.0 - self.target) * counts.valid as f64;
        let left = if counts.valid == 0 { 1.0 } else { 1.0 - counts.bad() as f64 / allowed };
        Budget { allowed, spent: counts.bad(), left }
    }

    /// How long what is left of the budget lasts at this rate; none while nothing burns, or when the calendar's next period
    /// begins before.
    ///
    /// A rolling period gets back what it forgets, and so loses its length's budget in its length at a rate of one. One of
    /// the calendar gains as it goes on what its further requests allow, and loses what is beyond a rate of one.
    pub fn lasts(&self, left: f64, rate: f64, now: Micros) -> Option<Duration> {
        let seconds = |micros: Micros| micros as f64 / 1e6;
        let (length, net_rate, remaining) = match self.period.ends(now) {
            None => (self.period.about().as_secs_f64(), rate, f64::INFINITY),
            Some(ends) => (seconds(now - self.period.began(now)), rate - 1.0, seconds(ends - now)),
        };
        let lasts = length * left.max(0.0) / net_rate;
        (net_rate > 0.0 && lasts < remaining).then(|| Duration::try_from_secs_f64(lasts).ok())?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::period::CalendarUnit;

    fn objective(target: f64, days: u64) -> Objective {
        Objective::new(target, Period::Rolling(Duration::from_secs(days * DAY))).unwrap()
    }

    fn rates(target: f64, days: u64, pace: Pace) -> Vec<f64> {
        objective(target, days).pairs(pace).iter().map(|pair| (pair.rate * 100.0).round() / 100.0).collect()
    }

    #[test]
    fn each_period_has_its_own_rates() {
        // The workbook's for a month, and those that others settled on for a week and a quarter.
        assert_eq!(rates(0.999, 30, Pace::Fast), [14.4, 6.0]);
        assert_eq!(rates(0.999, 30, Pace::Slow), [3.0, 1.1]);
        assert_eq!(rates(0.999, 28, Pace::Fast), [13.44, 5.6]);
        assert_eq!(rates(0.999, 7, Pace::Fast), [13.44, 3.5]);
        assert_eq!(rates(0.999, 7, Pace::Slow), [1.4, 1.05]);
        assert_eq!(rates(0.999, 90, Pace::Fast), [21.6, 10.8]);
    }

    #[test]
    fn a_rate_that_no_outage_reaches_is_left_out() {
        // At 90 % an outage burns ten times as fast as is allowed.
        assert_eq!(rates(0.9, 30, Pace::Fast), [6.0]);
        assert!(rates(0.5, 30, Pace::Fast).is_empty());
    }

    #[test]
    fn an_objective_that_is_none_is_refused() {
        for (target, days) in [(1.0, 30), (0.0, 30), (f64::NAN, 30), (0.9, 6), (0.9, 91)] {
            assert_eq!(Objective::new(target, Period::Rolling(Duration::from_secs(days * DAY))), None);
        }
    }

    #[test]
    fn a_single_bad_event_is_no_evidence() {
        let objective = objective(0.999, 30);
        let pair = objective.pairs(Pace::Fast)[0];
        let counts = |bad, valid| Counts { good: valid - bad, valid, unknown: 0 };
        // One of ten is a rate of a hundred, and says nothing.
        assert!(!objective.burns(&pair, counts(1, 10), counts(1, 10)));
        assert!(objective.burns(&pair, counts(3, 10), counts(3, 10)));
        // 14 of 1,000 miss the rate, 15 reach it.
        assert!(!objective.burns(&pair, counts(14, 1000), counts(14, 1000)));
        assert!(objective.burns(&pair, counts(15, 1000), counts(2, 100)));
        // It is over: the short window is clean.
        assert!(!objective.burns(&pair, counts(15, 1000), counts(0, 100)));
        assert!(!objective.burns(&pair, counts(15, 1000), counts(0, 0)));
    }

    #[test]
    fn a_budget_is_what_the_objective_allows() {
        let objective = objective(0.99, 30);
        let budget = objective.budget(Counts { good: 99_750, valid: 100_000, unknown: 0 });
        assert_eq!((budget.spent, budget.allowed.round()), (250, 1000.0));
        assert!((budget.left - 0.75).abs() < 1e-9);
        assert!(objective.budget(Counts { good: 0, valid: 10, unknown: 0 }).left < 0.0);
        assert_eq!(objective.budget(Counts::default()).left, 1.0);
        let lasts = objective.lasts(0.75, 10.0, 0).unwrap();
        assert!((lasts.as_secs_f64() - 0.075 * 30.0 * DAY as f64).abs() < 1e-6);
        assert_eq!(objective.lasts(0.75, 0.0, 0), None);
    }

    #[test]
    fn a_months_budget_lasts_to_its_end_or_runs_out_before() {
        let month = Period::Calendar { unit: CalendarUnit::Month, zone: jiff::tz::TimeZone::UTC };
        let objective = Objective::new(0.99, month).unwrap();
        let day = |day: i64| (day - 1) * DAY as i64 * 1_000_000;
        // Ten days into January 1970 with half of what they allow left: at a rate of 3 two days' worth is lost a day.
        let lasts = objective.lasts(0.5, 3.0, day(11)).unwrap();
        assert!((lasts.as_secs_f64() / DAY as f64 - 2.5).abs() < 1e-9);
        assert_eq!(objective.lasts(0.5, 1.0, day(11)), None, "what comes allows for as much");
        assert_eq!(objective.lasts(0.5, 1.1, day(11)), None, "February begins before");
        assert_eq!(objective.lasts(0.0, 3.0, day(11)), Some(Duration::ZERO));
        assert_eq!(
            rates(0.999, 30, Pace::Fast),
            objective.pairs(Pace::Fast).iter().map(|pair| pair.rate).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_chance_is_the_binomials_tail() {
        // From SciPy: binom.sf(2, 10, 0.001), binom.sf(14, 1000, 0.01).
        let chance = |target, bad, valid| objective(target, 30).chance(Counts { good: valid - bad, valid, unknown: 0 });
        assert!((chance(0.999, 3, 10) / 1.193_715_099_018e-7 - 1.0).abs() < 1e-6);
        assert!((chance(0.99, 15, 1000) / 0.082_412_319_516_09 - 1.0).abs() < 1e-6);
        assert_eq!(chance(0.99, 0, 1000), 1.0);
    }

    #[test]
    fn what_is_unknown_bounds_the_burn_rate() {
        let objective = objective(0.99, 30);
        let counts = Counts { good: 12_004, valid: 12_035, unknown: 200 };
        assert_eq!((counts.bad(), counts.seen()), (31, 12_235));
        let rounded = |rate: f64| (rate * 1e4).round() / 1e4;
        // 31/12,235, 31/12,035 and 231/12,235 of a hundredth.
        let (best, worst) = objective.burn_bounds(counts).unwrap();
        assert_eq!([best, objective.burn_rate(counts).unwrap(), worst].map(rounded), [0.2534, 0.2576, 1.888]);
        let lost = Counts { unknown: 5, ..Counts::default() };
        assert_eq!(
            objective.burn_bounds(lost),
            Some((0.0, objective.highest_rate())),
            "of nothing judged nothing is known"
        );
        assert_eq!(objective.burn_bounds(Counts::default()), None);
        // Nine of ten are enough.
        let judged = |valid| Counts { good: valid, valid, unknown: 100 - valid };
        assert!(!judged(90).is_degraded() && judged(89).is_degraded() && !Counts::default().is_degraded());
    }

    #[test]
    fn counts_that_were_stored_without_what_is_unknown_can_be_read() {
        let counts: Counts = serde_json::from_str(r#"{"good": 1, "valid": 2}"#).unwrap();
        assert_eq!(counts, Counts { good: 1, valid: 2, unknown: 0 });
    }

    proptest! {
        #[test]
        fn good_bad_and_unknown_are_what_was_seen_and_the_burn_rate_lies_between_its_bounds(
            target in 0.5..0.99999f64, good in 0..10_000u64, bad in 0..10_000u64, unknown in 0..10_000u64,
        ) {
            let counts = Counts { good, valid: good + bad, unknown };
            prop_assert_eq!(counts.good + counts.bad() + counts.unknown, counts.seen());
            let objective = objective(target, 30);
            if let Some(rate) = objective.burn_rate(counts) {
                let (best, worst) = objective.burn_bounds(counts).unwrap();
                prop_assert!(best <= rate && rate <= worst, "{best} {rate} {worst}");
            }
        }

        #[test]
        fn the_bound_on_evidence_is_the_binomials_or_one_event_above_it(
            target in 0.5..0.99999f64, valid in prop_oneof![1..100u64, 1..10_000u64, 1..10_000_000u64],
        ) {
            let objective = objective(target, 30);
            let EvidenceBound { share, spread, offset } = objective.evidence_bound();
            let n = valid as f64;
            let bound = ((share * n + spread * n.sqrt() + offset).ceil() as u64).max(Objective::MIN_BAD);
            let is_evidence = |bad: u64| objective.chance(Counts { good: valid.saturating_sub(bad), valid, unknown: 0 }) < EVIDENCE;
            prop_assert!(bound > valid || is_evidence(bound), "{bound} of {valid}");
            prop_assert!(bound - 2 < Objective::MIN_BAD || bound - 2 > valid || !is_evidence(bound - 2), "{bound} of {valid}");
        }

        #[test]
        fn more_bad_events_never_clear_an_alert(
            target in 0.8..0.9999f64, valid in 1..100_000u64, bad in 0..100_000u64, more in 0..1000u64, short in 1..1000u64,
        ) {
            let objective = objective(target, 30);
            for pair in objective.pairs(Pace::Fast).into_iter().chain(objective.pairs(Pace::Slow)) {
                let counts = |bad: u64| Counts { good: valid - bad.min(valid), valid, unknown: 0 };
                let short = Counts { good: 0, valid: short, unknown: 0 };
                let before = objective.burns(&pair, counts(bad), short);
                let after = objective.burns(&pair, counts(bad + more), short);
                prop_assert!(after || !before);
            }
        }
    }
}
