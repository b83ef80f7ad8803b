//! Which labels an expression on metrics tells its alerts apart by, and whether each of its metrics can be read for them.

use std::collections::BTreeSet;

use driftline_alerts::{Expression, Variable};

use super::{Kind, OwnMetric};
use crate::vocabulary::Named;

/// Labels of the observations of a window's columns, and of a model.
const OF_WINDOW: [&str; 4] = ["model", "version", "column", "role"];
const OF_MODEL: [&str; 1] = ["model"];

/// The labels of what an expression with metrics says something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadLabels {
    /// What scores and indicators in it are of, which metrics agree with in what they have of it.
    pub(crate) base: &'static [&'static str],
    /// What all of its metrics have besides.
    pub(crate) by: BTreeSet<String>,
}

impl ReadLabels {
    /// All of them, as alerts have them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.base.iter().copied().chain(self.by.iter().map(|label| of_alert(label)))
    }
}

/// A label of a metric, as alerts have it: a rule and how urgent it is are an alert's own.
pub(crate) fn of_alert(label: &str) -> &str {
    match label {
        "rule" => "of_rule",
        "severity" => "of_severity",
        label => label,
    }
}

/// The labels of an expression; none where it names no metric.
///
/// # Errors
/// When a gauge has a label that would leave open which of its values is meant.
pub(crate) fn labels_read(expression: &Expression) -> Result<Option<ReadLabels>, String> {
    let named: Vec<(&Variable, Named)> =
        expression.variables().iter().filter_map(|variable| Some((variable, Named::of(variable).ok()?))).collect();
    let metrics: Vec<(&Variable, &OwnMetric)> = named
        .iter()
        .filter_map(|(variable, named)| match named {
            Named::Metric(metric) => Some((*variable, metric)),
            _ => None,
        })
        .collect();
    if metrics.is_empty() {
        return Ok(None);
    }
    let base: &[&str] = match (expression.is_of_windows(), metrics.len() < named.len()) {
        (true, _) => &OF_WINDOW,
        (false, true) => &OF_MODEL,
        (false, false) => &[],
    };
    let left = |(variable, metric): &(&Variable, &OwnMetric)| -> BTreeSet<String> {
        let is_left = |label: &&String| !base.contains(&label.as_str()) && !variable.fixes(label);
        metric.labels.iter().filter(is_left).cloned().collect()
    };
    let all: Vec<BTreeSet<String>> = metrics.iter().map(left).collect();
    // Of a window's columns one thing is said, however many series there are.
    let by = match expression.is_of_windows() {
        true => BTreeSet::new(),
        false => all.iter().skip(1).fold(all[0].clone(), |by, labels| by.intersection(labels).cloned().collect()),
    };
    for ((variable, metric), labels) in metrics.iter().zip(&all) {
        let open: Vec<&String> = labels.difference(&by).collect();
        if let (Kind::Gauge, [label, ..]) = (metric.kind, open.as_slice()) {
            return Err(format!(
                "{variable} has a value for each {label}, which the other names do not tell apart; say which one, as in {}{{{label}=\"…\"}}",
                metric.name
            ));
        }
    }
    Ok(Some(ReadLabels { base, by }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Result<Option<Vec<String>>, String> {
        let expression = Expression::parse(text, |variable| Named::of(variable).map(|named| named.meaning())).unwrap();
        Ok(labels_read(&expression)?.map(|read| read.all().map(str::to_owned).collect()))
    }

    #[test]
    fn alerts_are_told_apart_by_what_all_metrics_of_an_expression_have() {
        for (text, expected) in [
            ("driftline_disk_free_bytes < 100", &[][..]),
            ("driftline_notifications_total{outcome=\"failed\"}[10m] > 5", &["target"]),
            ("driftline_notifications_total{outcome=~\"f.*\"}[10m] > 5", &["outcome", "target"]),
            ("driftline_rows_late_total[1h] / driftline_rows_counted_total[1h] > 5%", &["model"]),
            ("driftline_exchanges_undecodable_total[1h] / driftline_exchanges_received_total[1h] > 5%", &[]),
            ("driftline_alerts_firing > 10", &["of_rule", "of_severity"]),
            ("driftline_rows_late_total[1h] > 5 and latency.valid[1h] > 100", &["model"]),
            ("driftline_reactions_total[1h] > 5 and latency.valid[1h] > 100", &["model", "outcome", "reaction"]),
            ("psi > 0.2 and driftline_rows_late_total[1h] = 0", &["model", "version", "column", "role"]),
        ] {
            let expected: Vec<String> = expected.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(labels(text), Ok(Some(expected)), "{text}");
        }
        assert_eq!(labels("psi > 0.2 and latency[5m] < 99%"), Ok(None));
    }

    #[test]
    fn a_gauge_of_which_nobody_knows_which_value_is_meant_is_refused() {
        for (text, label) in [
            ("driftline_target_failing = 1 and driftline_notifications_pending > 10", "target"),
            ("psi > 0.2 and driftline_score{score=\"ks\"} > 0.1 and driftline_part_working_seconds > 5s", "part"),
        ] {
            let error = labels(text).unwrap_err();
            assert!(error.contains(&format!("has a value for each {label}")), "{text}: {error}");
        }
        assert!(labels("driftline_target_failing{target=\"a\"} = 1 and driftline_notifications_pending > 10").is_ok());
        assert!(labels("psi > 0.2 and driftline_score{score=\"ks\"} > 0.1").is_ok(), "of the same column");
    }
}
