//! What a cause can have hurt, where that is known.
//!
//! An alert on one of several feeds says nothing of the columns that the others bring. Where it is known which columns a part
//! of an indicator brings, its alerts explain what is of these columns, and nothing else: what is of another column, and what is
//! of no column, may have another cause, and somebody has to be told. Where it is not known they may explain anything. A part
//! that there is no more explains nothing: what it brought nobody knows any more.
//!
//! The same holds of rules with expressions, by the indicators and parts that they name or are told apart by:
//!
//! ```text
//!   feeds[10m] < 0.9                                                    all feeds of the model
//!   driftline_sli_good_total{sli="feeds"}[10m] = 0                      the one of each series: its label is column
//!   driftline_feed_newest_timestamp_seconds{feed="fares"} < 1           fares
//!   psi > 0.2 and driftline_rows_late_total[1h] = 0                     whatever rules by these names explain
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::expression::{Expression, Variable};
use crate::rule::{Condition, Labels, Rule};

/// The label that says of which column a member is; of an indicator's member, of which part.
const COLUMN: &str = "column";
const MODEL: &str = "model";
/// The label of metrics that says of which indicator they are.
const SLI: &str = "sli";

/// Which columns parts of indicators bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// By indicator.
    indicators: BTreeMap<String, Parts>,
}

/// The parts of an indicator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts {
    /// The label by which metrics of their own name them.
    label: String,
    /// What each brings, by model and part.
    bring: BTreeMap<[String; 2], Brings>,
}

/// What a part brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brings {
    /// Nobody says what.
    Anything,
    /// These columns, and no others.
    Columns(BTreeSet<String>),
}

/// An indicator, and its model and part as far as they are named.
type Subject<'a> = (&'a Parts, Option<&'a str>, Option<&'a str>);

impl Reach {
    /// Nothing is known: every cause may have hurt anything.
    pub const EVERYTHING: Self = Self { indicators: BTreeMap::new() };

    /// Notes all parts of an indicator that there are: their model, their name, and what they bring. `label` is the one by
    /// which metrics name such a part.
    #[must_use]
    pub fn of_parts(
        mut self,
        (sli, label): (&str, &str),
        parts: impl IntoIterator<Item = (String, String, Brings)>,
    ) -> Self {
        let bring = parts.into_iter().map(|(model, part, brings)| ([model, part], brings)).collect();
        self.indicators.insert(sli.to_owned(), Parts { label: label.to_owned(), bring });
        self
    }

    /// Whether what a member of a cause tells of can have hurt what a rule says of something with such labels.
    pub(crate) fn has(&self, (cause, member): (&Rule, &Labels), (rule, explained): (&Rule, &Labels)) -> bool {
        let subjects = self.subjects(&cause.condition, member);
        if subjects.is_empty() {
            return true;
        }
        let mut columns: BTreeSet<&str> = BTreeSet::new();
        for brings in subjects.into_iter().flat_map(brought) {
            match brings {
                Brings::Anything => return true,
                Brings::Columns(brought) => columns.extend(brought.iter().map(String::as_str)),
            }
        }
        let read = self.columns_read(&rule.condition, explained);
        !read.is_empty() && read.iter().all(|column| columns.contains(column))
    }

    /// What a member of a cause tells of; nothing where that is not known.
    fn subjects<'a>(&'a self, cause: &'a Condition, member: &'a Labels) -> Vec<Subject<'a>> {
        let own = |label: &str| member.get(label).map(String::as_str);
        match cause {
            Condition::Sli { sli, .. } | Condition::Budget { sli, .. } => {
                self.indicators.get(sli).map(|parts| (parts, own(MODEL), own(COLUMN))).into_iter().collect()
            }
            Condition::Expression { expression, .. } => self.named(expression, member),
            Condition::Score { .. } => Vec::new(),
        }
    }

    /// The indicators with parts that an expression names, and which parts of them.
    fn named<'a>(&'a self, expression: &'a Expression, member: &'a Labels) -> Vec<Subject<'a>> {
        let of = |variable: &'a Variable| {
            let value = move |label: &str| labelled(variable, member, label);
            self.indicators.iter().filter_map(move |(sli, parts)| {
                let is_indicator = variable.labels.is_empty() && variable.name.split('.').next() == Some(sli);
                if is_indicator {
                    return Some((parts, value(MODEL), None));
                }
                let is_of_it = value(SLI) == Some(sli);
                let part = if is_of_it { value(COLUMN) } else { value(&parts.label) };
                (is_of_it || part.is_some()).then(|| (parts, value(MODEL), part))
            })
        };
        expression.variables().iter().flat_map(of).collect()
    }

    /// The columns that a rule's member is about: its own, or those that its expression asks for.
    fn columns_read<'a>(&self, condition: &'a Condition, labels: &'a Labels) -> Vec<&'a str> {
        let own = labels.get(COLUMN).map(String::as_str);
        match (own, condition) {
            (None, Condition::Expression { expression, .. }) => {
                let of_column =
                    |variable: &&Variable| variable.value_of(SLI).is_none_or(|sli| !self.indicators.contains_key(sli));
                let variables = expression.variables().iter().filter(of_column);
                variables.filter_map(|variable| variable.value_of(COLUMN)).collect()
            }
            (own, _) => own.into_iter().collect(),
        }
    }
}

/// The value of a label that a variable asks for, or that a member has by it.
fn labelled<'a>(variable: &'a Variable, member: &'a Labels, label: &str) -> Option<&'a str> {
    variable.value_of(label).or_else(|| member.get(label).map(String::as_str))
}

/// What the parts bring that are meant.
fn brought<'a>((parts, model, part): Subject<'a>) -> impl Iterator<Item = &'a Brings> {
    let is_meant =
        move |key: &[String; 2]| model.is_none_or(|model| model == key[0]) && part.is_none_or(|part| part == key[1]);
    parts.bring.iter().filter(move |(key, _)| is_meant(key)).map(|(_, brings)| brings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::rule;
    use crate::{KofM, Unit};

    fn columns(names: &[&str]) -> Brings {
        Brings::Columns(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn reach(weather: Brings) -> Reach {
        let part = |part: &str, brings| ("flights".to_owned(), part.to_owned(), brings);
        let parts = [part("fares", columns(&["fare", "fuel"])), part("weather", weather)];
        Reach::EVERYTHING.of_parts(("feeds", "feed"), parts)
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of_expression(text: &str) -> Rule {
        let expression = Expression::parse(text, |_| Ok(Unit::Number)).unwrap();
        let windows = KofM { k: 1, m: 1 };
        Rule { condition: Condition::Expression { expression, matching: Labels::new(), windows }, ..rule(1, 1) }
    }

    /// Which of the columns an expression explains whose member has these labels besides the model.
    fn explained(reach: &Reach, text: &str, pairs: &[(&str, &str)]) -> Vec<&'static str> {
        let member = labels(&[&[("model", "flights")], pairs].concat());
        let (cause, child) = (of_expression(text), rule(1, 1));
        let is_explained = |column: &&str| {
            reach.has((&cause, &member), (&child, &labels(&[("model", "flights"), ("column", column)])))
        };
        ["fare", "temp", "distance"].into_iter().filter(is_explained).collect()
    }

    #[test]
    fn an_expression_explains_what_the_parts_bring_that_it_names_or_is_told_apart_by() {
        let all = ["fare", "temp", "distance"];
        let both = reach(columns(&["temp"]));
        for (text, pairs, expected) in [
            ("feeds[10m] < 0.9", &[][..], &["fare", "temp"][..]),
            ("feeds.bad[10m] > 3 and latency[5m] < 1", &[], &["fare", "temp"]),
            ("driftline_sli_good_total{sli=\"feeds\"}[10m] = 0", &[("column", "fares")], &["fare"]),
            ("driftline_sli_good_total{sli=\"feeds\", column=\"weather\"}[10m] = 0", &[], &["temp"]),
            ("driftline_sli_good_total[10m] = 0", &[("sli", "feeds"), ("column", "weather")], &["temp"]),
            ("driftline_feed_newest < 1", &[("feed", "fares")], &["fare"]),
            ("driftline_feed_newest{feed=\"weather\"} < 1", &[], &["temp"]),
            ("driftline_feed_newest < 1", &[("feed", "gone")], &[]),
            ("driftline_rows_late[1h] > 5", &[], &all),
            ("driftline_sli_good_total{sli=\"capture\"}[10m] = 0", &[("column", "fares")], &all),
            ("psi > 0.2", &[("column", "fare")], &all),
        ] {
            assert_eq!(explained(&both, text, pairs), expected, "{text}");
        }
        let one = reach(Brings::Anything);
        assert_eq!(explained(&one, "feeds[10m] < 0.9", &[]), all, "nobody knows what weather brings");
        assert_eq!(explained(&one, "driftline_feed_newest < 1", &[("feed", "fares")]), ["fare"]);
    }

    #[test]
    fn an_expression_is_explained_by_the_columns_that_it_asks_for_where_it_is_of_none() {
        let (reach, cause) = (reach(columns(&["temp"])), of_expression("feeds[10m] < 0.9"));
        let of_fares = of_expression("driftline_feed_newest{feed=\"fares\"} < 1");
        let model = labels(&[("model", "flights")]);
        for (text, by_fares, by_all) in [
            ("driftline_score{column=\"fare\"} > 0.3", true, true),
            ("driftline_score{column=\"temp\"} > 0.3", false, true),
            ("driftline_score{column=\"fare\"} > 0.3 and driftline_score{column=\"temp\"} > 0.3", false, true),
            ("driftline_score{column=\"distance\"} > 0.3", false, false),
            ("driftline_score{column=~\"fare\"}[1h] > 3", false, false),
            ("latency[5m] < 0.9", false, false),
            ("driftline_sli_good_total{sli=\"feeds\", column=\"fare\"}[10m] = 0", false, false),
        ] {
            let child = of_expression(text);
            let has = |cause| reach.has((cause, &model), (&child, &model));
            assert_eq!((has(&of_fares), has(&cause)), (by_fares, by_all), "{text}");
        }
    }
}
