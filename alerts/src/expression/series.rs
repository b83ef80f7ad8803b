//! Expressions on values that have labels: which of them belong together, and what is said of each.
//!
//! ```text
//!   failed{target="a"} 3   ┐                                        target="a": 3 / 10
//!   failed{target="b"} 0   ├─▶ failed / tried > 20%, by target ─▶
//!   tried{target="a"} 10   │                                        target="b": 0 / 10
//!   tried{target="b"} 10   ┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::Expression;
use crate::rule::Labels;
use crate::state::Reading;

/// One series of a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its value; of a counter by how much it grew, as far as that is known.
    pub value: f64,
}

/// What a name of an expression stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// One value, whatever the labels are; none when it is not known.
    Value(Option<f64>),
    /// Values that stand for themselves. Where there is no series, or there are several, nothing is known.
    Gauge(Vec<Series>),
    /// Counts that add up. Where there is no series nothing was counted.
    Counter {
        /// The series.
        series: Vec<Series>,
        /// Of how much of its time it is known what was counted: above 0, to 1 for all of it.
        known: f64,
    },
}

/// What is known of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    /// It is at least this.
    least: f64,
    /// What it would be if the rest of its time were like what is known of it.
    likely: f64,
    /// Whether it may be more than the least.
    is_open: bool,
}

impl Known {
    fn within(&self) -> RangeInclusive<f64> {
        self.least..=if self.is_open { f64::INFINITY } else { self.least }
    }
}

impl Expression {
    /// What it says of each combination of the labels in `by`, of series that agree with `base` in the labels that they have in
    /// common with it. Without any label in `by` it says one thing. Its names stand for `sources`, in their order; the
    /// selectors of a name choose among its series.
    pub fn by_labels(&self, base: &Labels, by: &BTreeSet<String>, sources: &[Source]) -> Vec<(Labels, Reading)> {
        let agrees = |labels: &Labels| base.iter().all(|(name, value)| labels.get(name).is_none_or(|own| own == value));
        let chosen: Vec<Chosen<'_>> = self
            .variables()
            .iter()
            .zip(sources)
            .map(|(variable, source)| {
                let is_meant = |labels: &Labels| agrees(labels) && variable.selects(labels);
                Chosen::of(source, by, is_meant)
            })
            .collect();
        let mut groups: BTreeSet<&Labels> = chosen.iter().flat_map(|chosen| chosen.own.keys()).collect();
        let all = Labels::new();
        if by.is_empty() {
            groups.insert(&all);
        }
        let said = |group: &Labels| {
            let known: Vec<_> = chosen.iter().map(|chosen| chosen.known(group)).collect();
            let labels = base.iter().chain(group).map(|(name, value)| (name.clone(), value.clone())).collect();
            (labels, self.reading(&known))
        };
        groups.into_iter().map(said).collect()
    }

    /// What an alert is told of values of which this is known. Where that does not decide for certain it has to say the same of
    /// what was counted and of what would be if the rest of the time were like it; and of nothing counted nobody knows.
    fn reading(&self, known: &[Option<Known>]) -> Reading {
        let bounds: Vec<_> = known.iter().map(|known| known.as_ref().map(Known::within)).collect();
        let of = |value: fn(&Known) -> f64| {
            let is_some = |known: &&Known| !known.is_open || known.least > 0.0;
            let values: Vec<_> = known.iter().map(|known| known.as_ref().filter(is_some).map(value)).collect();
            self.holds(&values)
        };
        let by_what_is_known = || {
            let least = of(|known| known.least)?;
            (of(|known| known.likely)? == least).then_some(least)
        };
        let values = std::array::from_fn(|index| Some(known.get(index)?.as_ref()?.least));
        let holds = self.decides(&bounds).or_else(by_what_is_known);
        holds.map_or(Reading::NotEnoughData, |holds| Reading::Expression { holds, values })
    }
}

/// The series of a name that are meant, by the labels that tell groups apart. There may be thousands of series and of groups,
/// so none is looked for among all others.
struct Chosen<'s> {
    source: &'s Source,
    /// The values of those that have all of these labels: each is one group's.
    own: BTreeMap<Labels, Vec<f64>>,
    /// Those that lack some of them: each is everybody's who agrees with it.
    shared: Vec<(Labels, f64)>,
}

impl<'s> Chosen<'s> {
    fn of(source: &'s Source, by: &BTreeSet<String>, is_meant: impl Fn(&Labels) -> bool) -> Self {
        let mut chosen = Self { source, own: BTreeMap::new(), shared: Vec::new() };
        for series in source.series().iter().filter(|series| is_meant(&series.labels)) {
            let key = key(series, by);
            if key.len() == by.len() {
                chosen.own.entry(key).or_default().push(series.value);
            } else {
                chosen.shared.push((key, series.value));
            }
        }
        chosen
    }

    /// What is known of it in a group.
    fn known(&self, group: &Labels) -> Option<Known> {
        let is_of = |key: &Labels| key.iter().all(|(name, value)| group.get(name) == Some(value));
        let shared = self.shared.iter().filter(|(key, _)| is_of(key)).map(|(_, value)| *value);
        let mut of_group = self.own.get(group).into_iter().flatten().copied().chain(shared);
        let exactly = |value: f64| Known { least: value, likely: value, is_open: false };
        match self.source {
            Source::Value(value) => value.map(exactly),
            Source::Gauge(_) => of_group.next().filter(|_| of_group.next().is_none()).map(exactly),
            Source::Counter { known, .. } => {
                let least: f64 = of_group.sum();
                Some(Known { least, likely: least / known, is_open: *known < 1.0 })
            }
        }
    }
}

/// A series' values of some labels.
fn key(series: &Series, by: &BTreeSet<String>) -> Labels {
    let of = |name: &String| Some((name.clone(), series.labels.get(name)?.clone()));
    by.iter().filter_map(of).collect()
}

impl Source {
    fn series(&self) -> &[Series] {
        match self {
            Self::Value(_) => &[],
            Self::Gauge(series) | Self::Counter { series, .. } => series,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::expression::Unit;

    fn expression(text: &str) -> Expression {
        Expression::parse(text, |_| Ok(Unit::Number)).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn series(pairs: &[(&str, &str)], value: f64) -> Series {
        Series { labels: labels(pairs), value }
    }

    fn counter(series: Vec<Series>) -> Source {
        Source::Counter { series, known: 1.0 }
    }

    fn by(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn said(found: Vec<(Labels, Reading)>) -> Vec<(Labels, Option<bool>)> {
        let holds = |reading| match reading {
            Reading::Expression { holds, .. } => Some(holds),
            _ => None,
        };
        found.into_iter().map(|(labels, reading)| (labels, holds(reading))).collect()
    }

    #[test]
    fn counters_add_up_and_what_they_have_in_common_tells_them_apart() {
        let share = expression("failed{kind=\"a\"} / tried > 0.2");
        let failed = counter(vec![
            series(&[("target", "x"), ("kind", "a")], 3.0),
            series(&[("target", "x"), ("kind", "b")], 90.0),
            series(&[("target", "y"), ("kind", "a")], 1.0),
        ]);
        let tried = counter(vec![
            series(&[("target", "x")], 6.0),
            series(&[("target", "x")], 4.0),
            series(&[("target", "y")], 10.0),
            series(&[("target", "z")], 10.0),
        ]);
        let found = said(share.by_labels(&Labels::new(), &by(&["target"]), &[failed.clone(), tried.clone()]));
        let of = |target: &str, holds| (labels(&[("target", target)]), Some(holds));
        assert_eq!(found, [of("x", true), of("y", false), of("z", false)], "nothing of z was counted as failed");
        let found = said(share.by_labels(&Labels::new(), &by(&[]), &[failed.clone(), tried.clone()]));
        assert_eq!(found, [(Labels::new(), Some(false))], "4 of 30");
        let found = said(share.by_labels(&labels(&[("target", "x"), ("model", "m")]), &by(&[]), &[failed, tried]));
        assert_eq!(found, [(labels(&[("target", "x"), ("model", "m")]), Some(true))], "of the base's alone");
    }

    #[test]
    fn a_gauge_stands_for_itself_and_is_unknown_where_there_is_none_or_several() {
        let full = expression("used > 0.8 * limit");
        let limit = Source::Gauge(vec![series(&[], 10.0)]);
        let used = |values: &[f64]| Source::Gauge(values.iter().map(|value| series(&[], *value)).collect());
        let holds = |used: Source| said(full.by_labels(&Labels::new(), &by(&[]), &[used, limit.clone()]))[0].1;
        assert_eq!((holds(used(&[9.0])), holds(used(&[8.0]))), (Some(true), Some(false)));
        assert_eq!((holds(used(&[])), holds(used(&[9.0, 9.0]))), (None, None));
        assert_eq!(holds(Source::Value(Some(9.0))), Some(true));
    }

    #[test]
    fn what_lacks_a_label_is_of_everybody_who_agrees_with_what_it_has() {
        let full = expression("used > 0.8 * limit");
        let used = [("m", "x", 9.0), ("m", "y", 1.0), ("n", "x", 9.0)]
            .map(|(model, disk, value)| series(&[("model", model), ("disk", disk)], value));
        let limit = [("m", 10.0), ("n", 20.0)].map(|(model, value)| series(&[("model", model)], value));
        let sources = [Source::Gauge(used.into()), Source::Gauge(limit.into())];
        let found = said(full.by_labels(&Labels::new(), &by(&["model", "disk"]), &sources));
        let of = |model, disk, holds| (labels(&[("model", model), ("disk", disk)]), Some(holds));
        assert_eq!(found, [of("m", "x", true), of("n", "x", false), of("m", "y", false)]);
    }

    #[test]
    fn what_was_counted_before_is_not_known_and_decides_nothing_that_it_could_change() {
        let counted = |value: f64, known: f64| Source::Counter { series: vec![series(&[], value)], known };
        let holds =
            |text: &str, sources: &[Source]| said(expression(text).by_labels(&Labels::new(), &by(&[]), sources))[0].1;
        // A tenth of the time is known.
        for (text, value, expected) in [
            ("n > 3", 4.0, Some(true)),
            ("n > 3", 3.0, None),
            ("n > 3", 0.0, None),
            ("n < 3", 3.0, Some(false)),
            ("n < 3", 1.0, None),
            ("n = 0", 0.0, None),
            ("n < 30", 1.0, Some(true)),
        ] {
            assert_eq!(holds(text, &[counted(value, 0.1)]), expected, "{text} of {value}");
        }
        let share = "late > 5% * (late + counted) and late >= 100";
        assert_eq!(holds(share, &[counted(150.0, 0.1), counted(200.0, 0.1)]), Some(true), "the share is what it is");
        assert_eq!(holds(share, &[counted(150.0, 0.1), counted(9000.0, 0.1)]), Some(false));
        assert_eq!(holds(share, &[counted(50.0, 0.1), counted(200.0, 0.1)]), None, "it may be a hundred");
        assert_eq!(holds("n = 0", &[counted(0.0, 1.0)]), Some(true));
        let nothing = Source::Counter { series: vec![], known: 0.5 };
        assert_eq!(holds("n > 0", &[nothing]), None);
    }

    proptest! {
        /// Adding up by hand what belongs to each value of a label comes to the same.
        #[test]
        fn groups_are_what_adding_up_by_hand_makes(values in prop::collection::vec((0u8..3, 0u8..3, 0u32..100), 0..30), limit in 0u32..200) {
            let all: Vec<Series> = values
                .iter()
                .map(|(a, b, value)| series(&[("a", &a.to_string()), ("b", &b.to_string())], f64::from(*value)))
                .collect();
            let found = expression(&format!("n > {limit}")).by_labels(&Labels::new(), &by(&["a"]), &[counter(all)]);
            for (labels, holds) in said(found) {
                let own: u32 = values.iter().filter(|(a, ..)| a.to_string() == labels["a"]).map(|(_, _, value)| value).sum();
                prop_assert_eq!(holds, Some(own > limit));
            }
        }
    }
}
