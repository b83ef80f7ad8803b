//! What the names of rules' expressions stand for at a time, and whether the expressions hold.

use std::collections::BTreeSet;
use std::time::Duration;

use driftline_alerts::{Condition, Expression, Labels, Observation, Reading, Rule};
use driftline_detectors::Verdict;
use driftline_protocol::Role;
use rusqlite::{Connection, params};

use super::columns::role_name;
use super::series::{ClosedColumn, ClosedWindow};
use super::slis::{self, LatencyCounts};
use crate::vocabulary::{Named, OfIndicator, OfScore};

/// What rules with expressions are told of a window: of every column whether theirs holds. Rules of one expression are told
/// the same, so it is said once. `measure` says what an indicator was over a time.
pub(crate) fn of_window(
    rules: &[Rule],
    (model, version): (&str, &str),
    window: &ClosedWindow,
    role: &dyn Fn(&str) -> Role,
    measure: &dyn Fn(&Named, Duration) -> Option<f64>,
) -> Vec<Observation> {
    let (mut observations, mut said) = (Vec::new(), BTreeSet::new());
    for rule in rules.iter().filter(|rule| rule.condition.is_of_windows()) {
        let Condition::Expression { expression, .. } = &rule.condition else { continue };
        if !said.insert(expression.text()) {
            continue;
        }
        // Indicators are the model's, and so the same for all columns.
        let measured: Vec<Option<f64>> =
            expression.variables().iter().map(|variable| measure(&Named::of(variable).ok()?, variable.over?)).collect();
        for column in &window.columns {
            let labels = [
                ("model", model),
                ("version", version),
                ("column", column.column.as_str()),
                ("role", role_name(role(&column.column))),
            ];
            let names = expression.variables().iter().zip(&measured);
            let values: Vec<Option<f64>> = names
                .map(|(variable, measured)| measured.or_else(|| of_column(&Named::of(variable).ok()?, window, column)))
                .collect();
            observations.push(Observation {
                name: expression.text().to_owned(),
                labels: Labels::from(labels.map(|(name, value)| (name.to_owned(), value.to_owned()))),
                reading: reading(expression, &values),
            });
        }
    }
    observations
}

/// Whether an expression holds for these values of its names.
pub(super) fn reading(expression: &Expression, known: &[Option<f64>]) -> Reading {
    let values = std::array::from_fn(|index| known.get(index).copied().flatten());
    expression.holds(known).map_or(Reading::NotEnoughData, |holds| Reading::Expression { holds, values })
}

/// What a name stands for that is of a window and one of its columns.
fn of_column(named: &Named, window: &ClosedWindow, column: &ClosedColumn) -> Option<f64> {
    match named {
        Named::Rows => Some(window.rows as f64),
        Named::Score(name, part) => {
            let score = column.score(name).filter(|score| score.verdict != Verdict::NotEnoughData)?;
            Some(match part {
                OfScore::Effect => score.effect,
                OfScore::Limit => score.threshold_in_force(),
                OfScore::Sample => score.n_window as f64,
            })
        }
        Named::Indicator(..) | Named::Latency(_) => None,
    }
}

/// What the names of an expression on indicators alone stand for.
pub(super) fn measured(
    db: &Connection,
    model: &str,
    expression: &Expression,
    now: i64,
) -> rusqlite::Result<Vec<Option<f64>>> {
    let value = |variable: &driftline_alerts::Variable| match (Named::of(variable), variable.over) {
        (Ok(named), Some(over)) => measure(db, model, &named, over, now),
        _ => Ok(None),
    };
    expression.variables().iter().map(value).collect()
}

/// What an indicator of a model was over a time; none without events. Of freshness, all columns together.
pub(crate) fn measure(
    db: &Connection,
    model: &str,
    named: &Named,
    over: Duration,
    now: i64,
) -> rusqlite::Result<Option<f64>> {
    let from = now - over.as_micros() as i64;
    Ok(match named {
        Named::Indicator(sli, part) => {
            let sums = slis::sums(db, model, sli, from, now)?;
            let (good, valid) = sums.values().fold((0, 0), |(good, valid), sum| (good + sum.good, valid + sum.valid));
            match part {
                OfIndicator::Share => (valid > 0).then(|| good as f64 / valid as f64),
                OfIndicator::Valid => Some(valid as f64),
                OfIndicator::Bad => Some(valid.saturating_sub(good) as f64),
            }
        }
        Named::Latency(share) => latencies(db, model, from, now)?.quantile_ms(*share).map(|millis| millis / 1000.0),
        Named::Score(..) | Named::Rows => None,
    })
}

fn latencies(db: &Connection, model: &str, from: i64, now: i64) -> rusqlite::Result<LatencyCounts> {
    let mut total = LatencyCounts::default();
    let mut statement =
        db.prepare_cached("SELECT counts FROM latencies WHERE model = ?1 AND slice >= ?2 AND slice <= ?3")?;
    for bytes in statement.query_map(params![model, from, now], |row| row.get::<_, Vec<u8>>(0))? {
        if let Some(counts) = LatencyCounts::from_bytes(&bytes?) {
            total.merge(&counts);
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use driftline_alerts::{Counts, Unit};
    use driftline_detectors::{Detector, Noise, Score};

    use super::*;
    use crate::config::Config;
    use crate::pipeline::slis::SliCounts;

    const MINUTE: i64 = 60_000_000;

    fn expression(text: &str) -> Expression {
        Expression::parse(text, |variable| Named::of(variable).map(|named| named.unit())).unwrap()
    }

    /// A window of a column `x` with this effect of psi, and of a column `y` of which nothing is known.
    fn window(psi: f64) -> ClosedWindow {
        let score = Score {
            detector: Detector::Psi,
            value: psi,
            upper: psi,
            effect: psi,
            interval: (psi, psi),
            null_mean: 0.0,
            n_reference: 1000,
            n_window: 500,
            p_value: 0.5,
            noise: Noise { independent: 0.05, blocks: None, budget: None },
            threshold: 0.2,
            verdict: Verdict::Ok,
        };
        let column = |name: &str, scores: Vec<Score>| ClosedColumn {
            column: name.to_owned(),
            scores,
            causes: Vec::new(),
            bars: Vec::new(),
            beside: Vec::new(),
        };
        ClosedWindow {
            starts: 0,
            ends: 1,
            rows: 500,
            filled: 1,
            panes: 1,
            columns: vec![column("x", vec![score]), column("y", Vec::new())],
            profiles: Vec::new(),
            segments: Vec::new(),
        }
    }

    #[test]
    fn a_windows_columns_are_told_once_for_rules_of_one_expression() {
        let rule = |name: &str| {
            format!(
                "{{name: {name}, severity: info, runbook: feature-drift, when: 'psi > psi.limit and psi.n = rows and latency[5m] > 0.5'}}"
            )
        };
        let yaml = format!("alerts: {{rules: [{}, {}]}}", rule("A"), rule("B"));
        let rules = Config::parse("d.yaml", &yaml, std::path::Path::new("")).unwrap().alerting.rules;
        let told = |psi: f64, share: Option<f64>| {
            let measure = |named: &Named, over: Duration| {
                assert_eq!((named, over.as_secs()), (&Named::Indicator("latency", OfIndicator::Share), 300));
                share
            };
            let observations = of_window(&rules, ("m", "1"), &window(psi), &|_| Role::Feature, &measure);
            let said = observations.iter().map(|observation| match observation.reading {
                Reading::Expression { holds, .. } => (observation.labels["column"].clone(), Some(holds)),
                _ => (observation.labels["column"].clone(), None),
            });
            said.collect::<Vec<_>>()
        };
        let expected = |x, y| vec![("x".to_owned(), x), ("y".to_owned(), y)];
        assert_eq!(told(0.3, Some(0.9)), expected(Some(true), None));
        assert_eq!(told(0.1, Some(0.9)), expected(Some(false), None), "its limit is 0.2");
        assert_eq!(told(0.3, None), expected(None, None));
        assert_eq!(told(0.3, Some(0.1)), expected(Some(false), Some(false)));
    }

    #[test]
    fn indicators_are_of_their_time_and_none_without_events() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::store::SCHEMA).unwrap();
        let mut counts = SliCounts::default();
        counts.count("m", "latency", "", 0, Counts { good: 0, valid: 60, unknown: 0 });
        counts.count("m", "latency", "", 58 * MINUTE, Counts { good: 39, valid: 40, unknown: 0 });
        (0..99).for_each(|_| counts.latency("m", 58 * MINUTE, 100_000, 1));
        counts.latency("m", 58 * MINUTE, 2_000_000, 1);
        counts.store(&db).unwrap();
        let says = |text: &str| {
            let expression = expression(text);
            reading(&expression, &measured(&db, "m", &expression, 60 * MINUTE).unwrap())
        };
        let holds = |text: &str| match says(text) {
            Reading::Expression { holds, .. } => Some(holds),
            _ => None,
        };
        assert_eq!(holds("latency[5m] = 0.975 and latency[1h] = 0.39"), Some(true));
        assert_eq!(holds("latency.valid[5m] = 40 and latency.bad[1h] = 61 and availability.valid[5m] = 0"), Some(true));
        assert_eq!(holds("p50[5m] < 120ms and p99[5m] < 120ms"), Some(true));
        assert_eq!(holds("p99[5m] > 1s or availability[5m] < 1"), None, "no request counted for availability");
        assert!(
            matches!(says("latency[5m] < 1"), Reading::Expression { values: [Some(share), None, ..], .. } if share == 0.975)
        );
        assert_eq!(Named::of(&expression("p99[5m] > 1s").variables()[0]).unwrap().unit(), Unit::Time);
    }
}
