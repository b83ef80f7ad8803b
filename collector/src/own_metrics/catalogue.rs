//! Which metrics there are: those of `docs/metrics.md`, which a test holds to the code, and those of every process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use driftline_alerts::{Unit, Variable, nearest};
use driftline_document::in_units;

use crate::metrics::{DURATION_BOUNDS, OFFSET_BOUNDS};

/// The tables of both binaries' metrics.
const PAGE: &str = include_str!("../../../docs/metrics.md");
/// Of every process, by Prometheus' own names.
const PROCESS: [(&str, Kind); 7] = [
    ("process_cpu_seconds_total", Kind::Counter),
    ("process_max_fds", Kind::Gauge),
    ("process_open_fds", Kind::Gauge),
    ("process_resident_memory_bytes", Kind::Gauge),
    ("process_start_time_seconds", Kind::Gauge),
    ("process_threads", Kind::Gauge),
    ("process_virtual_memory_bytes", Kind::Gauge),
];
/// What a bucket of a histogram is told by.
const LE: &str = "le";
/// Over how long a time a counter may be looked at. What it was before is kept in memory.
const OVER: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(86_400);

/// How a metric is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As it is.
    Gauge,
    /// By what it grew over a time.
    Counter,
}

/// A metric of the collector, as an expression names it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnMetric {
    /// Its name; of a histogram's series `_count`, `_sum` or `_bucket` stands behind.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) labels: BTreeSet<String>,
    /// The bounds of its buckets; none of what is no histogram.
    bounds: &'static [f64],
}

impl OwnMetric {
    /// Whether a name looks like that of a metric, so that it is none of a score's or an indicator's.
    pub(crate) fn is_named_so(name: &str) -> bool {
        name.starts_with("driftline_") || name.starts_with("process_")
    }

    /// The metric that a name of an expression stands for.
    ///
    /// # Errors
    /// Why there is none such, or why it cannot be asked for like this, and what may be meant.
    pub(crate) fn of(variable: &Variable) -> Result<Self, String> {
        let Variable { name, labels, over } = variable;
        let metric = known().get(name.as_str()).cloned().ok_or_else(|| not_known(name))?;
        for asked in labels {
            let label = asked.label();
            if !metric.labels.contains(label) {
                let known = metric.labels.iter().map(String::as_str).collect::<Vec<_>>();
                return Err(match (nearest(label, known.iter().copied()), known.as_slice()) {
                    (Some(near), _) => format!("'{name}' has no label '{label}'; did you mean '{near}'?"),
                    (None, []) => format!("'{name}' has no labels, and is asked about '{label}'"),
                    (None, known) => format!("'{name}' has no label '{label}'; it has {}", known.join(", ")),
                });
            }
        }
        if metric.labels.contains(LE) {
            let is_asked = |bound: &str| {
                labels.iter().any(|asked| asked.label() == LE && asked.is_one_value() && asked.accepts(bound))
            };
            if !is_asked("+Inf") && !metric.bounds.iter().any(|bound| is_asked(&bound.to_string())) {
                let bounds: Vec<String> = metric.bounds.iter().map(f64::to_string).collect();
                return Err(format!(
                    "'{name}' adds up what lies below one bound: say which, as in {{le=\"{}\"}}; there are {} and +Inf",
                    bounds.first().map_or("+Inf", String::as_str),
                    bounds.join(", ")
                ));
            }
        }
        match (metric.kind, over) {
            (Kind::Gauge, Some(_)) => {
                Err(format!("'{name}' is a gauge, and read as it is: it takes no time in brackets"))
            }
            (Kind::Counter, None) => {
                Err(format!("'{name}' is a counter: it needs a time over which it grows, as in {name}[10m]"))
            }
            (Kind::Counter, Some(over)) if !OVER.contains(over) => {
                let (least, most) = (in_units(*OVER.start()), in_units(*OVER.end()));
                Err(format!("'{name}' is taken over {least} to {most}, and not over {}", in_units(*over)))
            }
            _ => Ok(metric),
        }
    }

    /// The unit of its values. A point in time is a number: nothing says how long ago it was.
    pub(crate) fn unit(&self) -> Unit {
        let name = self.name.as_str();
        let is_time = ["_seconds", "_seconds_total", "_seconds_sum"].iter().any(|unit| name.ends_with(unit));
        let is_point = name.ends_with("_timestamp_seconds") || name == "process_start_time_seconds";
        if is_time && !is_point { Unit::Time } else { Unit::Number }
    }

    /// The name under which the registry has it, and what of it is meant.
    pub(crate) fn family(&self) -> (&str, Option<&str>) {
        let part = |suffix: &'static str| Some((self.name.strip_suffix(suffix)?, Some(suffix)));
        let parts = ["_bucket", "_count", "_sum"].into_iter().find_map(part);
        parts.filter(|_| !self.bounds.is_empty()).unwrap_or((&self.name, None))
    }
}

fn not_known(name: &str) -> String {
    let known = known();
    if PAGE.contains(&format!("`{name}`")) {
        return match known.contains_key(&format!("{name}_count")) {
            true => format!("'{name}' is a histogram; name {name}_count, {name}_sum or {name}_bucket"),
            false => format!("'{name}' is a metric of sidecars, and rules read the collector's own"),
        };
    }
    // What every name has in common would make all of them near.
    let bare = |name: &str| name.trim_start_matches("driftline_").trim_start_matches("process_").to_owned();
    let all: BTreeMap<String, &str> = known.keys().map(|name| (bare(name), name.as_str())).collect();
    match nearest(&bare(name), all.keys().map(String::as_str)).and_then(|near| all.get(near)) {
        Some(near) => format!("there is no metric '{name}'; did you mean '{near}'?"),
        None => format!("there is no metric '{name}'; docs/metrics.md lists those of the collector"),
    }
}

/// All that there are, by their names.
fn known() -> &'static BTreeMap<String, OwnMetric> {
    static KNOWN: OnceLock<BTreeMap<String, OwnMetric>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let process = PROCESS.into_iter().map(|(name, kind)| OwnMetric {
            name: name.to_owned(),
            kind,
            labels: BTreeSet::new(),
            bounds: &[],
        });
        table().into_iter().chain(process).map(|metric| (metric.name.clone(), metric)).collect()
    })
}

/// The collector's, as the page lists them.
fn table() -> Vec<OwnMetric> {
    let own = PAGE.split("<!-- begin: collector -->").nth(1).and_then(|rest| rest.split("<!-- end").next());
    let rows = own.unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
    let of_row = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, ..] = cells[..] else { return Vec::new() };
        let name = name.trim_matches('`');
        let labels: BTreeSet<String> = labels
            .split(',')
            .map(|label| label.trim().trim_matches('`').to_owned())
            .filter(|label| !label.is_empty())
            .collect();
        let metric = |suffix: &str, kind, labels: &BTreeSet<String>, bounds| OwnMetric {
            name: format!("{name}{suffix}"),
            kind,
            labels: labels.clone(),
            bounds,
        };
        match kind {
            "gauge" => vec![metric("", Kind::Gauge, &labels, &[])],
            "counter" => vec![metric("", Kind::Counter, &labels, &[])],
            _ => {
                let bounds: &'static [f64] = if name.contains("offset") { &OFFSET_BOUNDS } else { &DURATION_BOUNDS };
                let with_bound = labels.iter().cloned().chain([LE.to_owned()]).collect();
                vec![
                    metric("_count", Kind::Counter, &labels, bounds),
                    metric("_sum", Kind::Counter, &labels, bounds),
                    metric("_bucket", Kind::Counter, &with_bound, bounds),
                ]
            }
        }
    };
    rows.flat_map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use driftline_alerts::Expression;

    use super::*;
    use crate::config::Model;
    use crate::metrics::Metrics;
    use crate::vocabulary::Named;

    fn error(text: &str) -> String {
        Expression::parse(text, |variable| Named::of(variable).map(|named| named.meaning())).unwrap_err().to_string()
    }

    #[test]
    fn every_metric_that_there_is_may_be_named() {
        let metrics = Metrics::new().unwrap();
        metrics.introduce_model(&Model::undescribed("m"));
        metrics.clock_offset.with_label_values(&["m"]).observe(0.0);
        let (mut read, mut histograms) = (0, 0);
        for family in metrics.gather() {
            let is_histogram = format!("{:?}", family.get_field_type()) == "HISTOGRAM";
            let names: Vec<String> = match is_histogram {
                true => ["_count", "_sum", "_bucket"].map(|part| format!("{}{part}", family.name())).to_vec(),
                false => vec![family.name().to_owned()],
            };
            for name in names {
                let metric = known().get(name.as_str()).unwrap_or_else(|| panic!("{name} cannot be named"));
                let is_counter = is_histogram || format!("{:?}", family.get_field_type()) == "COUNTER";
                assert_eq!(metric.kind == Kind::Counter, is_counter, "{name}");
                if is_histogram {
                    let buckets = family.get_metric()[0].get_histogram().get_bucket();
                    let bounds: Vec<f64> = buckets.iter().map(|bucket| bucket.upper_bound()).collect();
                    assert_eq!(metric.bounds, bounds, "{name}");
                    histograms += 1;
                }
                read += 1;
            }
        }
        assert!(read > 40 && histograms == 6, "{read} {histograms}");
        assert!(known().len() > 80, "{}", known().len());
    }

    #[test]
    fn what_is_no_metric_or_no_label_of_it_says_what_may_be_meant() {
        for (text, said) in [
            (
                "driftline_batchs_total[5m] > 1",
                "there is no metric 'driftline_batchs_total'; did you mean 'driftline_batches_total'?",
            ),
            (
                "driftline_xyzzy > 1",
                "there is no metric 'driftline_xyzzy'; docs/metrics.md lists those of the collector",
            ),
            ("driftline_sidecar_queue_length > 1", "is a metric of sidecars, and rules read the collector's own"),
            (
                "driftline_request_duration_seconds[5m] > 1",
                "is a histogram; name driftline_request_duration_seconds_count",
            ),
            ("driftline_batches_total{outcom=\"x\"}[5m] > 1", "has no label 'outcom'; did you mean 'outcome'?"),
            ("driftline_batches_total{xy=\"x\"}[5m] > 1", "has no label 'xy'; it has outcome"),
            ("driftline_disk_free_bytes{a=\"b\"} > 1", "has no labels, and is asked about 'a'"),
            ("driftline_disk_free_bytes[5m] > 1", "is a gauge, and read as it is: it takes no time in brackets"),
            (
                "driftline_batches_total > 1",
                "is a counter: it needs a time over which it grows, as in driftline_batches_total[10m]",
            ),
            ("driftline_batches_total[9d] > 1", "is taken over 10s to 1d, and not over 9d"),
            ("driftline_archive_lag_seconds > 5", "a time is compared with a number"),
            ("driftline_batches_total{outcome=\"x\"[5m] > 1", "has no '}'"),
            ("driftline_batches_total{outcome}[5m] > 1", "write LABEL=VALUE"),
            ("driftline_batches_total{outcome=~\"(\"}[5m] > 1", "is no expression that can be used"),
            ("driftline_request_duration_seconds_bucket[5m] > 1", "say which, as in {le=\"0.005\"}"),
            ("driftline_request_duration_seconds_bucket{le=\"0.3\"}[5m] > 1", "say which"),
            ("psi{column=\"x\"} > 1", "'psi' is no metric, and has no labels to ask about"),
        ] {
            let error = error(text);
            assert!(error.starts_with("at character ") && error.contains(said), "{text}: {error}");
        }
        for text in [
            "driftline_archive_lag_seconds > 15m",
            "driftline_request_duration_seconds_bucket{le=\"0.5\"}[5m] / driftline_request_duration_seconds_count[5m] < 99%",
            "driftline_request_duration_seconds_sum[5m] / driftline_request_duration_seconds_count[5m] > 300ms",
            "process_open_fds / process_max_fds > 80%",
            "driftline_newest_outcome_timestamp_seconds > 0",
        ] {
            Expression::parse(text, |variable| Named::of(variable).map(|named| named.meaning()))
                .unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}
