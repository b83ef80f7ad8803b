//! What `/metrics` says, as OpenTelemetry's messages: the same names, labels and numbers.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::attribute;

/// The span of time that counters count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) since_nanos: u64,
    pub(super) at_nanos: u64,
}

/// A family as a metric; none of kinds that the collector has not.
pub(super) fn metric(family: &MetricFamily, counted: Counted) -> Option<Metric> {
    let cumulative = AggregationTemporality::Cumulative.into();
    let numbers = |number: fn(&proto::Metric) -> f64| {
        let point = |metric| point(metric, number(metric), counted);
        family.get_metric().iter().map(point).collect()
    };
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(|metric| metric.get_counter().get_value()),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge { data_points: numbers(|metric| metric.get_gauge().get_value()) }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: family.get_metric().iter().map(|metric| histogram(metric, counted)).collect(),
            aggregation_temporality: cumulative,
        }),
        _ => return None,
    };
    let (name, description) = (family.name().to_owned(), family.help().to_owned());
    Some(Metric { name, description, data: Some(data), ..Metric::default() })
}

fn labels(metric: &proto::Metric) -> Vec<KeyValue> {
    let label = |label: &proto::LabelPair| attribute(label.name(), Value::StringValue(label.value().to_owned()));
    metric.get_label().iter().map(label).collect()
}

fn point(metric: &proto::Metric, value: f64, counted: Counted) -> NumberDataPoint {
    NumberDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: counted.since_nanos,
        time_unix_nano: counted.at_nanos,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// Prometheus counts what is at most a bound; OpenTelemetry what is between two, the last of which is infinite.
fn histogram(metric: &proto::Metric, counted: Counted) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let (mut explicit_bounds, mut bucket_counts, mut before) = (Vec::new(), Vec::new(), 0);
    for bucket in finite {
        explicit_bounds.push(bucket.upper_bound());
        bucket_counts.push(bucket.cumulative_count().saturating_sub(before));
        before = bucket.cumulative_count();
    }
    bucket_counts.push(histogram.get_sample_count().saturating_sub(before));
    HistogramDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: counted.since_nanos,
        time_unix_nano: counted.at_nanos,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds,
        ..HistogramDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts};

    use super::*;

    const COUNTED: Counted = Counted { since_nanos: 1, at_nanos: 2 };

    fn data(collector: &dyn Collector) -> Data {
        metric(&collector.collect()[0], COUNTED).unwrap().data.unwrap()
    }

    #[test]
    fn counters_and_gauges_keep_their_labels_and_values() {
        let counter = IntCounterVec::new(Opts::new("rows_total", "Rows."), &["model"]).unwrap();
        counter.with_label_values(&["m"]).inc_by(7);
        let Data::Sum(sum) = data(&counter) else { panic!("no sum") };
        let point = &sum.data_points[0];
        assert!(sum.is_monotonic && sum.aggregation_temporality() == AggregationTemporality::Cumulative);
        assert_eq!((point.value, point.attributes[0].key.as_str()), (Some(Number::AsDouble(7.0)), "model"));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
        let gauge = IntGauge::new("position", "Position.").unwrap();
        gauge.set(-3);
        let Data::Gauge(gauge) = data(&gauge) else { panic!("no gauge") };
        assert_eq!(gauge.data_points[0].value, Some(Number::AsDouble(-3.0)));
    }

    #[test]
    fn a_histograms_buckets_add_up_to_its_count() {
        let options = HistogramOpts::new("duration", "Duration.").buckets(vec![1.0, 2.0]);
        let histogram = HistogramVec::new(options, &["model"]).unwrap();
        [0.5, 1.5, 1.75, 9.0].into_iter().for_each(|value| histogram.with_label_values(&["m"]).observe(value));
        let Data::Histogram(histogram) = data(&histogram) else { panic!("no histogram") };
        let point = &histogram.data_points[0];
        assert_eq!(
            (point.bucket_counts.as_slice(), point.explicit_bounds.as_slice()),
            (&[1, 2, 1][..], &[1.0, 2.0][..])
        );
        assert_eq!((point.count, point.sum), (4, Some(12.75)));
    }
}
