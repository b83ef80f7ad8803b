//! Rules that are looked at by the clock: on indicators, their budgets and days, and on the collector's own metrics.

use std::sync::Arc;
use std::time::Duration;

use driftline_alerts::{Condition, Expression, Labels, Observation, Reading, Variable};
use tracing::warn;

use super::judging::SHORTEST_FORGET_MICROS;
use super::over_time;
use super::{Pipeline, expressions, slis};
use crate::config::{OWN_SLIS, part_label};
use crate::store::StoreError;
use crate::times::now_micros;
use crate::vocabulary::Named;

impl Pipeline {
    /// Takes the indicators to their rules.
    pub(super) fn evaluate_slis(&mut self) -> Result<(), StoreError> {
        let now = now_micros();
        let rules: Vec<(usize, Condition)> =
            self.book.rules().iter().map(|rule| rule.condition.clone()).enumerate().collect();
        self.look_at_metrics(&rules);
        for (index, condition) in rules {
            let Some((sli, over)) = by_the_clock(&condition) else { continue };
            if let Condition::Expression { expression, .. } = &condition
                && expressions::names_metrics(expression)
            {
                let observations = self.of_metrics(expression, now)?;
                self.observe(index, &observations, over, now);
                continue;
            }
            let models: Vec<Arc<str>> = if OWN_SLIS.contains(&sli) {
                vec![Arc::from(slis::COLLECTOR)]
            } else {
                self.models.keys().cloned().collect()
            };
            let observations = self.parts.store.read_blocking(|db| {
                let of_model = |model| indicator_observations(db, model, (&condition, sli), now);
                let observations = models.iter().map(|model| of_model(model)).collect::<rusqlite::Result<Vec<_>>>()?;
                Ok(observations.concat())
            })?;
            self.observe(index, &observations, over, now);
        }
        self.show_objectives(now);
        self.evaluated_at = now;
        self.tell();
        Ok(())
    }

    /// Takes what was observed by the clock to its rule.
    fn observe(&mut self, index: usize, observations: &[Observation], over: Duration, now: i64) {
        for change in self.book.observe(index, observations, now, forget_indicator_after(over)) {
            self.note(&change, None);
        }
        self.parts.metrics.observations_refused.inc_by(self.book.take_refused());
    }

    /// Notes what the collector's own counters are that rules ask for, also those that are looked at as windows close.
    fn look_at_metrics(&mut self, rules: &[(usize, Condition)]) {
        for (_, condition) in rules {
            if let Condition::Expression { expression, .. } = condition {
                self.own.look(expression, &self.parts.metrics);
            }
        }
        self.parts.metrics.observations_refused.inc_by(self.own.take_left_out());
    }

    /// What a rule on the collector's own metrics is told.
    fn of_metrics(&self, expression: &Expression, now: i64) -> Result<Vec<Observation>, StoreError> {
        let models: Vec<&str> = self.models.keys().map(|model| &**model).collect();
        let read = self.own.sources(expression, &self.parts.metrics);
        self.parts.store.read_blocking(|db| {
            let value = |model: &str, variable: &Variable| {
                let (named, over) = (Named::of(variable).ok()?, variable.over?);
                let measured = expressions::measure(db, model, &named, over, now);
                measured.inspect_err(|error| warn!(%error, %variable, "what a rule names cannot be read")).ok()?
            };
            Ok(expressions::of_metrics(expression, &models, read, &value))
        })
    }
}

/// What a condition that is looked at by the clock is of, and over how long a time; none of one on windows.
pub(crate) fn by_the_clock(condition: &Condition) -> Option<(&str, Duration)> {
    match condition {
        Condition::Sli { sli, over, few, .. } => Some((sli, few.map_or(*over, |few| few.within))),
        Condition::Budget { sli, objective, .. } => Some((sli, objective.period().about())),
        Condition::Expression { expression, .. } if !condition.is_of_windows() => {
            let longest = expression.variables().iter().filter_map(|name| name.over).max();
            Some((expression.text(), longest.unwrap_or_default()))
        }
        Condition::Score { score, .. } if is_of_indicator(score) => Some((score, over_time::FORGET_INDICATORS)),
        Condition::Score { .. } | Condition::Expression { .. } => None,
    }
}

/// For how long a label of an indicator may be missing while others are looked at, in microseconds.
pub(crate) fn forget_indicator_after(over: Duration) -> i64 {
    (over.as_micros() as i64).max(SHORTEST_FORGET_MICROS)
}

/// What a rule that is looked at by the clock is told of a model at a time.
pub(crate) fn indicator_observations(
    db: &rusqlite::Connection,
    model: &str,
    (condition, sli): (&Condition, &str),
    now: i64,
) -> rusqlite::Result<Vec<Observation>> {
    let observation = |(label, reading): (String, Reading)| Observation {
        name: sli.to_owned(),
        labels: indicator_labels(model, sli, &label),
        reading,
    };
    Ok(readings(db, model, condition, now)?.into_iter().map(observation).collect())
}

/// The labels of an observation of an indicator.
pub(super) fn indicator_labels(model: &str, sli: &str, label: &str) -> Labels {
    let labels = [("model", model), (part_label(sli), label)].into_iter().filter(|(_, value)| !value.is_empty());
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a condition on an indicator looks at, for each of the indicator's labels.
fn readings(
    db: &rusqlite::Connection,
    model: &str,
    condition: &Condition,
    now: i64,
) -> rusqlite::Result<Vec<(String, Reading)>> {
    match condition {
        Condition::Sli { sli, over, few, min_events, .. } => {
            let mut sums = slis::sums(db, model, sli, now - over.as_micros() as i64, now)?;
            let last = match few {
                // Where enough come, their share says it.
                Some(few) => {
                    sums.retain(|_, sum| sum.valid >= *min_events);
                    slis::last_events(db, model, sli, (few, *over), now)?
                }
                None => Vec::new(),
            };
            let last = last.into_iter().filter(|(label, _)| !sums.contains_key(label));
            let last: Vec<_> = last.map(|(label, events)| (label, Reading::Few(events))).collect();
            let shares = sums
                .into_iter()
                .map(|(label, sum)| (label, Reading::Ratio { good: sum.good, valid: sum.valid, unknown: sum.unknown }));
            Ok(shares.chain(last).collect())
        }
        Condition::Budget { sli, objective, pace, .. } => slis::burn(db, model, sli, (objective, *pace), now),
        Condition::Expression { expression, .. } => {
            let measured = expressions::measured(db, model, expression, now)?;
            Ok(vec![(String::new(), expressions::reading(expression, &measured))])
        }
        Condition::Score { score, .. } => match over_time::OverTime::named(score) {
            Some(watched) => over_time::of_indicator(db, model, (watched.of_name(), watched), now),
            None => Ok(Vec::new()),
        },
    }
}

/// Whether a rule watches an indicator's days.
fn is_of_indicator(score: &str) -> bool {
    over_time::OverTime::named(score).is_some_and(|watched| matches!(watched.of, over_time::Of::Sli(_)))
}
