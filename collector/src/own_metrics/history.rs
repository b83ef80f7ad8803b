//! What counters grew by over a time.
//!
//! The registry knows what was counted since the start. What it was earlier is noted here as rules are looked at, for what rules
//! ask for and nothing else: at most [`POINTS`] times of each name, of [`MAX_SERIES`] series in all. It is memory's alone, so
//! after a start an increase is only known in part until its time is over: what the run before it counted is not known.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use driftline_alerts::{Expression, Labels, Series, Source, Variable};

use super::OwnMetric;
use crate::metrics::Metrics;
use crate::vocabulary::Named;

/// Times at which a counter is noted over its time: it is looked at over that, and up to so small a part of it longer.
const POINTS: u32 = 120;
/// Series that are noted in all: 10 MB.
const MAX_SERIES: usize = 10_000;

/// What counters were.
#[derive(Debug)]
pub(crate) struct History {
    started: Instant,
    kept: BTreeMap<String, Kept>,
    /// Series that were left out since somebody asked, because there are too many.
    left_out: u64,
}

/// What the series of one name were.
#[derive(Debug, Default)]
struct Kept {
    /// When they were looked at, since the start; the newest last.
    times: VecDeque<Duration>,
    /// What each was at these times. What was not there was 0, as long as none was left out.
    series: BTreeMap<Labels, VecDeque<f64>>,
    /// Whether there was no room for some.
    lacks_some: bool,
}

impl History {
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, kept: BTreeMap::new(), left_out: 0 }
    }

    /// Notes what the counters are that an expression names.
    pub(crate) fn look(&mut self, expression: &Expression, metrics: &Metrics) {
        for variable in expression.variables() {
            let now = self.started.elapsed();
            if let (Ok(Named::Metric(metric)), Some(over)) = (Named::of(variable), variable.over)
                && self.is_due(variable, over, now)
            {
                self.note(variable, over, selected(variable, &metric, metrics), now);
            }
        }
    }

    /// Whether it is time to note a counter again: over a day that is not at each look.
    fn is_due(&self, variable: &Variable, over: Duration, now: Duration) -> bool {
        let last = self.kept.get(&variable.to_string()).and_then(|kept| kept.times.back());
        last.is_none_or(|last| now.saturating_sub(*last) >= over / POINTS)
    }

    fn note(&mut self, variable: &Variable, over: Duration, now_is: Vec<(Labels, f64)>, now: Duration) {
        let mut room = MAX_SERIES.saturating_sub(self.kept.values().map(|kept| kept.series.len()).sum());
        let kept = self.kept.entry(variable.to_string()).or_insert_with(|| Kept {
            // Nothing was counted when the process began.
            times: VecDeque::from([Duration::ZERO]),
            ..Kept::default()
        });
        for (labels, value) in now_is {
            if !kept.series.contains_key(&labels) {
                if room == 0 {
                    self.left_out += 1;
                    kept.lacks_some = true;
                    continue;
                }
                room -= 1;
            }
            let values = kept.series.entry(labels).or_insert_with(|| vec![0.0; kept.times.len()].into());
            values.push_back(value);
        }
        kept.times.push_back(now);
        // A counter never goes away; one that did would be what it was.
        for values in kept.series.values_mut().filter(|values| values.len() < kept.times.len()) {
            values.push_back(values.back().copied().unwrap_or_default());
        }
        // One time at the beginning of the time that is asked for, or before it, is enough.
        while kept.times.get(1).is_some_and(|second| *second <= now.saturating_sub(over)) {
            kept.times.pop_front();
            for values in kept.series.values_mut() {
                values.pop_front();
            }
        }
    }

    /// How many series were not noted since this was asked last.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// What the names of an expression stand for that are metrics. Everything else is a value that is not known here.
    pub(crate) fn sources(&self, expression: &Expression, metrics: &Metrics) -> Vec<Source> {
        let source = |variable: &Variable| match (Named::of(variable), variable.over) {
            (Ok(Named::Metric(metric)), None) => {
                let of = |(labels, value)| Series { labels, value };
                Source::Gauge(selected(variable, &metric, metrics).into_iter().map(of).collect())
            }
            (Ok(Named::Metric(metric)), Some(over)) => {
                self.increases(variable, over, selected(variable, &metric, metrics), self.started.elapsed())
            }
            _ => Source::Value(None),
        };
        expression.variables().iter().map(source).collect()
    }

    fn increases(&self, variable: &Variable, over: Duration, now_is: Vec<(Labels, f64)>, now: Duration) -> Source {
        let kept = self.kept.get(&variable.to_string());
        let begins = now.checked_sub(over);
        // The newest time at which all of it lies behind; where there is none, the first there is.
        let at = kept.and_then(|kept| {
            let before = kept.times.iter().rposition(|time| begins.is_some_and(|begins| *time <= begins));
            Some((before.or((!kept.times.is_empty()).then_some(0))?, before.is_some()))
        });
        let known = match (at, kept) {
            (Some((at, false)), Some(kept)) => now.saturating_sub(kept.times[at]).as_secs_f64() / over.as_secs_f64(),
            (Some((_, true)), _) => 1.0,
            _ => 0.0,
        };
        let increase = |(labels, value): (Labels, f64)| {
            let before = at.and_then(|(at, _)| kept?.series.get(&labels)?.get(at).copied());
            // One that there was no room for may be as old as the process: how much of it is of this time nobody knows.
            if before.is_none() && kept.is_some_and(|kept| kept.lacks_some) {
                return None;
            }
            Some(Series { labels, value: (value - before.unwrap_or_default()).max(0.0) })
        };
        // Of nothing at all not even a rate is known.
        Source::Counter { series: now_is.into_iter().filter_map(increase).collect(), known: known.clamp(1e-6, 1.0) }
    }
}

/// The series of a metric that a name of an expression chooses, as they are now.
fn selected(variable: &Variable, metric: &OwnMetric, metrics: &Metrics) -> Vec<(Labels, f64)> {
    let mut series = metrics.own_series(metric);
    series.retain(|(labels, _)| variable.selects(labels));
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Duration = Duration::from_secs(600);

    fn variable() -> Variable {
        Variable { name: "driftline_reactions_total".to_owned(), labels: Vec::new(), over: Some(OVER) }
    }

    fn labels(value: &str) -> Labels {
        [("reaction".to_owned(), value.to_owned())].into()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn grew(history: &History, counts: &[(&str, f64)], now: u64) -> (Vec<f64>, f64) {
        let now_is = counts.iter().map(|(name, value)| (labels(name), *value)).collect();
        let Source::Counter { series, known } = history.increases(&variable(), OVER, now_is, at(now)) else { panic!() };
        (series.iter().map(|series| series.value).collect(), known)
    }

    #[test]
    fn an_increase_is_over_its_time_and_at_least_what_came_since_a_start() {
        let mut history = History::new(Instant::now());
        // One a second of `a`, and of `b` from the thousandth second on.
        for second in (0..=3000).step_by(15) {
            let b = (second > 1000).then(|| (labels("b"), (second - 1000) as f64));
            history.note(&variable(), OVER, [(labels("a"), second as f64)].into_iter().chain(b).collect(), at(second));
            if second == 300 {
                assert_eq!(grew(&history, &[("a", 300.0)], 300), (vec![300.0], 0.5), "what came before is not known");
            }
            if second == 600 {
                assert_eq!(grew(&history, &[("a", 600.0)], 600), (vec![600.0], 1.0));
            }
            if second == 1200 {
                assert_eq!(grew(&history, &[("a", 1200.0), ("b", 200.0)], 1200), (vec![600.0, 200.0], 1.0));
            }
        }
        assert_eq!(grew(&history, &[("a", 3000.0), ("b", 2000.0)], 3000), (vec![600.0, 600.0], 1.0));
        assert_eq!(grew(&history, &[("a", 3003.0)], 3003), (vec![603.0], 1.0), "from a look a little earlier");
        let kept = &history.kept[&variable().to_string()];
        assert!(kept.times.len() <= POINTS as usize + 2, "{}", kept.times.len());
    }

    #[test]
    fn series_beyond_the_limit_are_counted_and_not_kept() {
        let mut history = History::new(Instant::now());
        let many = |count: usize| (0..count).map(|index| (labels(&index.to_string()), 1.0)).collect::<Vec<_>>();
        history.note(&variable(), OVER, many(MAX_SERIES + 7), at(10));
        let kept = history.kept[&variable().to_string()].series.len();
        assert_eq!((kept, history.take_left_out(), history.take_left_out()), (MAX_SERIES, 7, 0));
        let now_is = vec![(labels("0"), 3.0), (labels(&(MAX_SERIES + 1).to_string()), 9.0)];
        let Source::Counter { series, .. } = history.increases(&variable(), OVER, now_is, at(700)) else { panic!() };
        assert_eq!(series, [Series { labels: labels("0"), value: 2.0 }], "the other may have grown long ago");
    }
}
