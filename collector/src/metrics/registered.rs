//! A registry whose metrics are found by their names: a rule that asks for one need not gather them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use driftline_alerts::Labels;
use prometheus::Registry;
use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricType};

use super::Metrics;
use crate::own_metrics::OwnMetric;

/// A registry, and what is registered in it by its names: a rule that asks for one metric need not gather them all.
#[derive(Default)]
pub(super) struct Registered {
    pub(super) registry: Registry,
    by_name: Mutex<BTreeMap<String, Arc<dyn Collector>>>,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Registered").finish_non_exhaustive()
    }
}

impl Registered {
    pub(super) fn add<M: Collector + 'static>(&self, make: impl Fn() -> M) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(make()))?;
        let collector: Arc<dyn Collector> = Arc::new(make());
        if let Ok(mut by_name) = self.by_name.lock() {
            by_name.extend(collector.desc().into_iter().map(|desc| (desc.fq_name.clone(), Arc::clone(&collector))));
        }
        Ok(())
    }

    fn by_name(&self, name: &str) -> Option<Arc<dyn Collector>> {
        self.by_name.lock().ok()?.get(name).cloned()
    }
}

pub(super) fn register<M: Collector + Clone + 'static>(
    registered: &Registered,
    metric: M,
) -> Result<M, prometheus::Error> {
    registered.add(|| metric.clone())?;
    Ok(metric)
}

impl Metrics {
    /// The series of one of them, as a rule's expression names it, with their labels.
    pub(crate) fn own_series(&self, metric: &OwnMetric) -> Vec<(Labels, f64)> {
        let (family, part) = metric.family();
        let Some(collector) = self.registry.by_name(family) else { return Vec::new() };
        let families = collector.collect();
        let Some(family) = families.iter().find(|found| found.name() == family) else { return Vec::new() };
        family.get_metric().iter().flat_map(|series| values(series, family.get_field_type(), part)).collect()
    }
}

/// The values of a series: one, or of a histogram what is asked for, its buckets each with its bound.
fn values(series: &Metric, kind: MetricType, part: Option<&str>) -> Vec<(Labels, f64)> {
    let labels: Labels =
        series.get_label().iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
    let with_bound = |bound: String| {
        labels.iter().map(|(name, value)| (name.clone(), value.clone())).chain([("le".to_owned(), bound)]).collect()
    };
    match (kind, part) {
        (MetricType::COUNTER, _) => vec![(labels, series.get_counter().get_value())],
        (MetricType::GAUGE, _) => vec![(labels, series.get_gauge().get_value())],
        (MetricType::HISTOGRAM, Some("_sum")) => vec![(labels, series.get_histogram().get_sample_sum())],
        (MetricType::HISTOGRAM, Some("_bucket")) => {
            let histogram = series.get_histogram();
            let below = histogram.get_bucket().iter();
            let below =
                below.map(|bucket| (with_bound(bucket.upper_bound().to_string()), bucket.cumulative_count() as f64));
            let all = (with_bound("+Inf".to_owned()), histogram.get_sample_count() as f64);
            below.chain([all]).collect()
        }
        (MetricType::HISTOGRAM, _) => vec![(labels, series.get_histogram().get_sample_count() as f64)],
        _ => Vec::new(),
    }
}
