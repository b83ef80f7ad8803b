//! What the names of rules' expressions stand for at a time, and whether the expressions hold.

use std::collections::BTreeSet;
use std::time::Duration;

use driftline_alerts::{Condition, Expression, Labels, Observation, Reading, Rule, Source, Variable};
use driftline_detectors::Verdict;
use driftline_protocol::Role;
use rusqlite::{Connection, params};

use super::columns::role_name;
use super::series::{ClosedColumn, ClosedWindow};
use super::slis::{self, LatencyCounts};
use crate::own_metrics::{ReadLabels, labels_read, of_alert};
use crate::vocabulary::{Named, OfIndicator, OfScore};

/// What the names of an expression stand for that are metrics, everything else being a value that is not known yet.
pub(crate) type Sources<'s> = dyn Fn(&Expression) -> Vec<Source> + 's;

/// What an indicator was over a time.
pub(crate) type Measure<'m> = dyn Fn(&Named, Duration) -> Option<f64> + 'm;

/// What rules with expressions are told of a window: of every column whether theirs holds. Rules of one expression are told
/// the same, so it is said once. `measure` says what an indicator was over a time, `sources` what metrics are.
pub(crate) fn of_window(
    rules: &[Rule],
    (model, version): (&str, &str),
    window: &ClosedWindow,
    role: &dyn Fn(&str) -> Role,
    (measure, sources): (&Measure<'_>, &Sources<'_>),
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
        // What metrics are is read once; which of their series are a column's is chosen for each.
        let mut read = names_metrics(expression).then(|| sources(expression));
        read.iter_mut().flatten().for_each(|source| keep_of_model(source, model));
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
            let labels = Labels::from(labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
            let reading = match &mut read {
                None => reading(expression, &values),
                Some(read) => {
                    put_values(read, &values);
                    let said = expression.by_labels(&labels, &BTreeSet::new(), read).into_iter().next();
                    said.map_or(Reading::NotEnoughData, |(_, reading)| reading)
                }
            };
            observations.push(Observation { name: expression.text().to_owned(), labels, reading });
        }
    }
    observations
}

/// Puts values in the place of those that are not known yet, or were another's.
fn put_values(sources: &mut [Source], values: &[Option<f64>]) {
    for (source, is) in sources.iter_mut().zip(values) {
        if let Source::Value(value) = source {
            *value = *is;
        }
    }
}

/// Leaves out the series of other models: they would be looked at, and not meant, for each column.
fn keep_of_model(source: &mut Source, model: &str) {
    if let Source::Gauge(series) | Source::Counter { series, .. } = source {
        series.retain(|series| series.labels.get("model").is_none_or(|own| own == model));
    }
}

/// Whether an expression names a metric.
pub(crate) fn names_metrics(expression: &Expression) -> bool {
    expression.variables().iter().any(|variable| matches!(Named::of(variable), Ok(Named::Metric(_))))
}

/// What a rule on metrics is told by the clock: of each of the things that it tells apart, of each model if it names an
/// indicator. `read` says what metrics are, `value` what an indicator of a model was.
pub(super) fn of_metrics(
    expression: &Expression,
    models: &[&str],
    mut read: Vec<Source>,
    value: &dyn Fn(&str, &Variable) -> Option<f64>,
) -> Vec<Observation> {
    // It was looked at when the configuration was read.
    let Ok(Some(ReadLabels { base, by })) = labels_read(expression) else { return Vec::new() };
    let bases: Vec<&str> = if base.is_empty() { vec![""] } else { models.to_vec() };
    let mut observations = Vec::new();
    for model in bases {
        let values: Vec<Option<f64>> = expression.variables().iter().map(|variable| value(model, variable)).collect();
        put_values(&mut read, &values);
        let own = base.iter().map(|name| ((*name).to_owned(), model.to_owned())).collect();
        let said = expression.by_labels(&own, &by, &read);
        observations.extend(said.into_iter().map(|(labels, reading)| Observation {
            name: expression.text().to_owned(),
            labels: labels.into_iter().map(|(name, value)| (of_alert(&name).to_owned(), value)).collect(),
            reading,
        }));
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
        Named::Indicator(..) | Named::Latency(_) | Named::Metric(_) => None,
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
        Named::Score(..) | Named::Rows | Named::Metric(_) => None,
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
        Expression::parse(text, |variable| Named::of(variable).map(|named| named.meaning())).unwrap()
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
            let no_metrics = |_: &Expression| -> Vec<Source> { panic!("it names none") };
            let observations = of_window(&rules, ("m", "1"), &window(psi), &|_| Role::Feature, (&measure, &no_metrics));
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
    fn metrics_are_read_for_what_each_column_and_each_model_has_in_common_with_them() {
        let series = |pairs: &[(&str, &str)], value: f64| driftline_alerts::Series {
            labels: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            value,
        };
        let late = vec![series(&[("model", "m")], 7.0), series(&[("model", "other")], 90.0)];
        let sources = |expression: &Expression| -> Vec<Source> {
            let source = |variable: &Variable| match variable.name.as_str() {
                "driftline_rows_late_total" => Source::Counter { series: late.clone(), known: 1.0 },
                _ => Source::Value(None),
            };
            expression.variables().iter().map(source).collect()
        };
        let yaml = "alerts: {rules: [{name: A, severity: info, runbook: feature-drift, when: 'psi > 0.2 and driftline_rows_late_total[1h] < 10'}]}";
        let rules = Config::parse("d.yaml", yaml, std::path::Path::new("")).unwrap().alerting.rules;
        let holds = |observation: &Observation| match observation.reading {
            Reading::Expression { holds, .. } => Some(holds),
            _ => None,
        };
        let of_column = |model: &str| {
            let said = of_window(&rules, (model, "1"), &window(0.3), &|_| Role::Feature, (&|_, _| None, &sources));
            said.iter().map(holds).collect::<Vec<_>>()
        };
        assert_eq!(of_column("m"), [Some(true), None], "psi of y is not known");
        assert_eq!(of_column("other"), [Some(false), Some(false)], "90 rows of this model were late");

        let both = expression("driftline_rows_late_total[1h] > 5 and latency[5m] < 0.9");
        let value = |model: &str, _: &Variable| (model == "m").then_some(0.5);
        let said = of_metrics(&both, &["m", "other"], sources(&both), &value);
        let said: Vec<_> = said.iter().map(|said| (said.labels["model"].as_str(), holds(said))).collect();
        assert_eq!(said, [("m", Some(true)), ("other", None)]);
        let alone = expression("driftline_rows_late_total[1h] > 50");
        let alone = of_metrics(&alone, &["m"], sources(&alone), &value);
        let alone: Vec<_> = alone.iter().map(|said| (said.labels["model"].as_str(), holds(said))).collect();
        assert_eq!(alone, [("m", Some(false)), ("other", Some(true))], "of every model that there is a series of");
    }

    #[test]
    fn indicators_are_of_their_time_and_none_without_events() {
        let db = crate::store::in_memory().unwrap();
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
