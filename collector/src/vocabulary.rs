//! The names that a rule's expression may use, and what each of them stands for; and those of labels.
//!
//! What has no time in brackets is of the window that closes, and of one column; what has is added up over the model's time
//! before now. Metrics are the collector's own, as they are when somebody looks. `docs/alerts.md` lists all of them.

use std::ops::RangeInclusive;
use std::time::Duration;

use driftline_alerts::{Meaning, Unit, Variable, nearest};
use driftline_detectors::Detector;
use driftline_document::in_units;

use crate::config::SLIS;
use crate::own_metrics::OwnMetric;
use crate::pipeline::earlier::{Against, COMPARED};

/// Rows of the window.
const ROWS: &str = "rows";
/// Latencies that so many requests of a hundred stay below.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];
/// Over how long a time an indicator may be added up. Its slices are kept for a week.
const OVER: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(7 * 86_400);

/// Labels of what alerts are about: each has some of them. All others are those that its rule adds.
pub(crate) const LABELS: [&str; 6] = ["model", "version", "column", "role", "segment", "target"];

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Named {
    /// A part of a score of the window's column.
    Score(String, OfScore),
    /// The window's rows.
    Rows,
    /// A part of an indicator of the model.
    Indicator(&'static str, OfIndicator),
    /// The latency that a share of the model's requests stays below, in seconds.
    Latency(f64),
    /// A metric of the collector itself.
    Metric(OwnMetric),
}

/// What is told of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfScore {
    /// Its value, on the scale of its limit.
    Effect,
    /// From where on it drifts, by what matters or by what chance reaches.
    Limit,
    /// Its sample.
    Sample,
}

/// What is told of an indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfIndicator {
    /// The share of good events.
    Share,
    /// Events that counted.
    Valid,
    /// Those that were not good.
    Bad,
}

impl Named {
    /// What a name of an expression stands for.
    ///
    /// # Errors
    /// Why there is none such, and what may be meant.
    pub(crate) fn of(variable: &Variable) -> Result<Self, String> {
        let Variable { name, labels, over } = variable;
        if OwnMetric::is_named_so(name) {
            return OwnMetric::of(variable).map(Self::Metric);
        }
        let Some((named, of_window)) = named(name) else {
            let known = names();
            return Err(match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("'{name}' is no name; did you mean '{near}'?"),
                None => format!("'{name}' is no name; among them are psi, psi.limit, rows, latency[5m] and p99[5m]"),
            });
        };
        if !labels.is_empty() {
            return Err(format!(
                "'{name}' is no metric, and has no labels to ask about; 'matching' chooses among columns"
            ));
        }
        match over {
            None if !of_window => Err(format!("'{name}' needs a time over which it is taken, as in {name}[5m]")),
            Some(_) if of_window => Err(format!("'{name}' is of a window, and takes no time in brackets")),
            Some(over) if !OVER.contains(over) => {
                let (least, most) = (in_units(*OVER.start()), in_units(*OVER.end()));
                Err(format!("'{name}' is taken over {least} to {most}, and not over {}", in_units(*over)))
            }
            _ => Ok(named),
        }
    }

    /// What it means in an expression.
    pub(crate) fn meaning(&self) -> Meaning {
        Meaning { unit: self.unit(), of_window: matches!(self, Self::Score(..) | Self::Rows) }
    }

    /// The unit of its values.
    pub(crate) fn unit(&self) -> Unit {
        match self {
            Self::Metric(metric) => metric.unit(),
            Self::Latency(_) => Unit::Time,
            Self::Score(..) | Self::Rows | Self::Indicator(..) => Unit::Number,
        }
    }
}

/// What a name stands for, and whether that is of a window.
fn named(name: &str) -> Option<(Named, bool)> {
    if name == ROWS {
        return Some((Named::Rows, true));
    }
    if let Some((_, share)) = QUANTILES.iter().find(|(quantile, _)| *quantile == name) {
        return Some((Named::Latency(*share), false));
    }
    let (base, part) = name.split_once('.').unwrap_or((name, ""));
    if let Some(sli) = SLIS.into_iter().find(|sli| *sli == base) {
        let part = match part {
            "" => OfIndicator::Share,
            "valid" => OfIndicator::Valid,
            "bad" => OfIndicator::Bad,
            _ => return None,
        };
        return Some((Named::Indicator(sli, part), false));
    }
    let part = match part {
        "" => OfScore::Effect,
        "limit" => OfScore::Limit,
        "n" => OfScore::Sample,
        _ => return None,
    };
    scores().contains(&base.to_owned()).then(|| (Named::Score(base.to_owned(), part), true))
}

/// Scores of whole windows, against the reference and beside earlier ones.
fn scores() -> Vec<String> {
    let beside = |against: Against| COMPARED.map(|detector| against.score_name(detector));
    let all = Detector::ALL.map(|detector| detector.name().to_owned());
    all.into_iter().chain(Against::ALL.into_iter().flat_map(beside)).collect()
}

/// All names.
fn names() -> Vec<String> {
    let scores = scores().into_iter().flat_map(|score| ["", ".limit", ".n"].map(|part| format!("{score}{part}")));
    let slis = SLIS.into_iter().flat_map(|sli| ["", ".valid", ".bad"].map(|part| format!("{sli}{part}")));
    let quantiles = QUANTILES.map(|(name, _)| name.to_owned());
    scores.chain(slis).chain(quantiles).chain([ROWS.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, seconds: Option<u64>) -> Result<Named, String> {
        Named::of(&Variable { name: name.to_owned(), labels: Vec::new(), over: seconds.map(Duration::from_secs) })
    }

    #[test]
    fn every_name_stands_for_something() {
        for name in names() {
            assert!(of(&name, None).is_ok() != of(&name, Some(300)).is_ok(), "{name}");
        }
        assert_eq!(of("psi.limit", None), Ok(Named::Score("psi".to_owned(), OfScore::Limit)));
        assert_eq!(of("recent_psi", None), Ok(Named::Score("recent_psi".to_owned(), OfScore::Effect)));
        assert_eq!(of("latency.bad", Some(60)), Ok(Named::Indicator("latency", OfIndicator::Bad)));
        assert_eq!(of("p99", Some(60)).unwrap().unit(), Unit::Time);
    }

    #[test]
    fn what_is_no_name_says_what_may_be_meant() {
        for (name, over, said) in [
            ("psy", None, "'psy' is no name; did you mean 'psi'?"),
            ("missing_shares", None, "'missing_shares' is no name; did you mean 'missing_share'?"),
            ("psi.limits", None, "'psi.limits' is no name; did you mean 'psi.limit'?"),
            ("weather", None, "'weather' is no name; among them are psi, psi.limit, rows, latency[5m] and p99[5m]"),
            ("latency", None, "'latency' needs a time over which it is taken, as in latency[5m]"),
            ("psi", Some(300), "'psi' is of a window, and takes no time in brackets"),
            ("latency", Some(1), "'latency' is taken over 10s to 7d, and not over 1s"),
        ] {
            assert_eq!(of(name, over), Err(said.to_owned()));
        }
    }
}
