//! How a model's objectives stand, by the rules on their budgets.

use driftline_alerts::Rule;
use rusqlite::Connection;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pipeline::objectives::{self, Objectively};

/// An objective of a rule on its budget, for one part of its indicator.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ObjectiveView {
    /// The rule on its budget.
    rule: String,
    sli: String,
    /// What of the indicator it is: a column, a feed or slices; null where there is one.
    column: Option<String>,
    /// `ok`, `burning`, `exhausted`; or, when nobody can say, `degraded_capture`, `no_traffic`, `no_data`.
    state: String,
    /// The share of events that is to be good.
    target: f64,
    /// Over how long a time, in words.
    period: String,
    /// Events of the period.
    good: u64,
    bad: u64,
    /// Events that were seen, and lost or unreadable before they could be judged.
    unknown: u64,
    /// What is left of the budget, as a share; below zero when the objective was missed.
    budget_left: f64,
    /// Over the first long window of its rule; null without events in it.
    burn_rate: Option<f64>,
    /// The same if everything unknown was good, and if it was bad.
    burn_rate_between: Option<[f64; 2]>,
}

impl ObjectiveView {
    fn of(one: Objectively<'_>) -> Self {
        let Objectively { rule, sli, objective, label, state, period, first } = one;
        Self {
            rule: rule.name.clone(),
            sli: sli.to_owned(),
            column: Some(label).filter(|label| !label.is_empty()),
            state: state.name().to_owned(),
            target: objective.target(),
            period: objective.period().in_words(),
            good: period.good,
            bad: period.bad(),
            unknown: period.unknown,
            budget_left: objective.budget(period).left,
            burn_rate: objective.burn_rate(first),
            burn_rate_between: objective.burn_bounds(first).map(|(best, worst)| [best, worst]),
        }
    }
}

/// Those of a model at a time, rule by rule.
pub(super) fn of_model(db: &Connection, rules: &[Rule], model: &str, now: i64) -> rusqlite::Result<Vec<ObjectiveView>> {
    Ok(objectives::of_model(db, rules, model, now)?.into_iter().map(ObjectiveView::of).collect())
}
