//! What the collector tells of itself and of the models it watches, in Prometheus' format.
//!
//! Every label set is bounded: models by `max_models`, versions and columns by their own limits, and the scores in all
//! by a limit of their own (`scores`); segments by the same.

mod every;
mod registered;
mod scores;

use std::collections::BTreeSet;
use std::sync::Mutex;

use driftline_alerts::{Counts, ObjectiveState};
use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

pub(crate) use self::every::{DURATION_BOUNDS, OFFSET_BOUNDS};
use self::registered::Registered;

use crate::config::{DECODED_SLI, FIRST_MESSAGE_SLI, HEARD_SLI, Model, SCHEMA_SLI, SLICES_SLI, part_label};
use crate::feeds::FeedMetrics;

/// What indicators' events are told apart by: as rules match them, and as Prometheus' rules sum them.
pub(crate) const SLI_LABELS: [&str; 4] = ["model", "sli", "column", "target"];

/// Handles to all metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registered,
    batches: IntCounterVec,
    requests_refused: IntCounterVec,
    pub(crate) clock_offset: HistogramVec,
    cloud_events: IntCounterVec,
    pub(crate) cloud_events_waiting: IntGauge,
    pub(crate) tls_failures: IntCounter,
    pub(crate) certificate_reloads: [IntCounter; 2],
    pub(crate) database_bytes: IntGauge,
    pub(crate) database_limit_bytes: IntGauge,
    pub(crate) disk_free_bytes: IntGauge,
    pub(crate) disk_floor_bytes: IntGauge,
    exchanges_received: IntCounterVec,
    pub(crate) exchanges_duplicate: IntCounter,
    pub(crate) exchanges_missing: IntCounter,
    undecodable: IntCounterVec,
    pub(crate) rows_counted: IntCounterVec,
    rows_late: IntCounterVec,
    rows_not_counted: IntCounterVec,
    pub(crate) columns_refused: IntCounter,
    pub(crate) values_wrong_type: IntCounterVec,
    metadata_requests: IntCounterVec,
    pub(crate) event_times_unusable: IntCounter,
    pub(crate) outcomes: IntCounterVec,
    newest_outcome: GaugeVec,
    feed_listings: IntCounterVec,
    feed_newest: GaugeVec,
    watermark: GaugeVec,
    pub(crate) windows_closed: IntCounterVec,
    score: GaugeVec,
    score_limit: GaugeVec,
    beside: GaugeVec,
    beside_limit: GaugeVec,
    score_series: Mutex<BTreeSet<Vec<String>>>,
    segment_series: Mutex<BTreeSet<[String; 3]>>,
    pub(crate) score_series_refused: IntCounter,
    pub(crate) window_rows: IntGaugeVec,
    segment_rows: IntGaugeVec,
    segment_worst: GaugeVec,
    segment_limit: GaugeVec,
    request_duration: HistogramVec,
    sli_good: IntCounterVec,
    sli_valid: IntCounterVec,
    sli_unknown: IntCounterVec,
    objective_state: IntGaugeVec,
    alerts_firing: IntGaugeVec,
    alerts_muted: IntGaugeVec,
    notifications: IntCounterVec,
    drill_notifications: IntCounterVec,
    pub(crate) notifications_pending: IntGauge,
    pub(crate) dead_letters: IntGaugeVec,
    pub(crate) target_failing: IntGaugeVec,
    pub(crate) target_rests: IntCounterVec,
    drills: IntCounterVec,
    reactions: IntCounterVec,
    pub(crate) archive_rows: IntCounter,
    pub(crate) archive_files: IntCounter,
    pub(crate) archive_failures: IntCounter,
    pub(crate) archive_files_deleted: IntCounter,
    pub(crate) archive_bytes_deleted: IntCounter,
    pub(crate) catalogue_failures: IntCounter,
    pub(crate) delta_commits: IntCounter,
    pub(crate) delta_tables_left: IntGauge,
    pub(crate) archive_lag: Gauge,
    pub(crate) archive_stopped: IntGauge,
    pub(crate) start_seconds: Gauge,
    start_replay_batches: IntGaugeVec,
    pub(crate) start_replay_seconds: Gauge,
    pub(crate) scores_not_finite: IntCounter,
    pub(crate) observations_refused: IntCounter,
    pub(crate) versions_refused: IntCounterVec,
    pub(crate) journal_position: IntGauge,
    pub(crate) counted_position: IntGauge,
    spans: IntCounterVec,
    otlp_requests: IntCounterVec,
    part_working: GaugeVec,
    part_stalls: IntCounterVec,
}

/// A model's metrics that every exchange changes: finding them by their labels would cost more than all of its counting.
#[derive(Debug)]
pub(crate) struct ModelMetrics {
    pub(crate) exchanges_received: IntCounter,
    pub(crate) rows_late: IntCounter,
    pub(crate) rows_not_counted: IntCounter,
    pub(crate) request_duration: Histogram,
    pub(crate) availability: SliMetrics,
    pub(crate) latency: SliMetrics,
    /// Of models that say how soon their streams are to begin.
    pub(crate) first_message: Option<SliMetrics>,
    /// One for each column, in the configuration's order.
    pub(crate) freshness: Vec<SliMetrics>,
    pub(crate) schema: SliMetrics,
    pub(crate) decoded: SliMetrics,
    pub(crate) heard: SliMetrics,
}

/// The counters of one indicator.
#[derive(Debug)]
pub(crate) struct SliMetrics {
    good: IntCounter,
    valid: IntCounter,
    unknown: IntCounter,
}

impl SliMetrics {
    pub(crate) fn count(&self, counts: Counts) {
        self.good.inc_by(counts.good);
        self.valid.inc_by(counts.valid);
        self.unknown.inc_by(counts.unknown);
    }
}

/// The values of [`SLI_LABELS`] for a part of an indicator.
fn sli_labels<'a>(model: &'a str, sli: &'a str, part: &'a str) -> [&'a str; 4] {
    SLI_LABELS.map(|label| match label {
        "model" => model,
        "sli" => sli,
        label if label == part_label(sli) => part,
        _ => "",
    })
}

impl Metrics {
    /// Shows what a start has to read again.
    pub(crate) fn show_replay(&self, to_count: i64, to_archive: i64) {
        self.start_replay_batches.with_label_values(&["count"]).set(to_count);
        self.start_replay_batches.with_label_values(&["archive"]).set(to_archive);
    }

    /// Makes a model's counters exist, and gives those that every exchange changes.
    pub(crate) fn introduce_model(&self, model: &Model) -> ModelMetrics {
        let name = model.name.as_str();
        for counters in [
            &self.exchanges_received,
            &self.rows_counted,
            &self.rows_late,
            &self.rows_not_counted,
            &self.values_wrong_type,
            &self.outcomes,
            &self.windows_closed,
            &self.versions_refused,
        ] {
            counters.with_label_values(&[name]).inc_by(0);
        }
        self.sli(name, "capture", "");
        for slices in &model.slis.slices {
            self.sli(name, SLICES_SLI, &slices.name);
        }
        let of_model = |counters: &IntCounterVec| counters.with_label_values(&[name]);
        let columns = model.slis.freshness.iter().map(|freshness| freshness.column.as_str());
        ModelMetrics {
            exchanges_received: of_model(&self.exchanges_received),
            rows_late: of_model(&self.rows_late),
            rows_not_counted: of_model(&self.rows_not_counted),
            request_duration: self.request_duration.with_label_values(&[name]),
            availability: self.sli(name, "availability", ""),
            latency: self.sli(name, "latency", ""),
            first_message: model.slis.first_message.map(|_| self.sli(name, FIRST_MESSAGE_SLI, "")),
            freshness: columns.map(|column| self.sli(name, "freshness", column)).collect(),
            schema: self.sli(name, SCHEMA_SLI, ""),
            decoded: self.sli(name, DECODED_SLI, ""),
            heard: self.sli(name, HEARD_SLI, ""),
        }
    }

    /// The counters of an indicator, or of a part of it. They exist from then on, at 0.
    pub(crate) fn sli(&self, model: &str, sli: &str, part: &str) -> SliMetrics {
        let labels = &sli_labels(model, sli, part);
        SliMetrics {
            good: self.sli_good.with_label_values(labels),
            valid: self.sli_valid.with_label_values(labels),
            unknown: self.sli_unknown.with_label_values(labels),
        }
    }

    pub(crate) fn batches(&self, outcome: &str) -> IntCounter {
        self.batches.with_label_values(&[outcome])
    }

    pub(crate) fn cloud_events(&self, outcome: &str) -> IntCounter {
        self.cloud_events.with_label_values(&[outcome])
    }

    pub(crate) fn requests_refused(&self, reason: &str) -> IntCounter {
        self.requests_refused.with_label_values(&[reason])
    }

    pub(crate) fn undecodable(&self, reason: &str) -> IntCounter {
        self.undecodable.with_label_values(&[reason])
    }

    /// Shows how an objective of a rule stands, for a model's indicator or a part of it.
    pub(crate) fn show_objective(&self, (model, sli, part): (&str, &str, &str), rule: &str, state: ObjectiveState) {
        for other in ObjectiveState::ALL {
            let labels = [sli_labels(model, sli, part).as_slice(), &[rule, other.name()]].concat();
            self.objective_state.with_label_values(&labels).set(i64::from(other == state));
        }
    }

    /// How many alerts of a rule fire, and how many of these are muted.
    pub(crate) fn show_firing(&self, rule: &str, severity: &str, (firing, muted): (i64, i64)) {
        self.alerts_firing.with_label_values(&[rule, severity]).set(firing);
        self.alerts_muted.with_label_values(&[rule, severity]).set(muted);
    }

    pub(crate) fn notifications(&self, target: &str, outcome: &str) -> IntCounter {
        self.notifications.with_label_values(&[target, outcome])
    }

    /// An attempt to tell a target of something that is wrong, or of a drill.
    pub(crate) fn attempt(&self, target: &str, is_drill: bool, outcome: &str) -> IntCounter {
        let counter = if is_drill { &self.drill_notifications } else { &self.notifications };
        counter.with_label_values(&[target, outcome])
    }

    pub(crate) fn drills(&self, rule: &str, outcome: &str) -> IntCounter {
        self.drills.with_label_values(&[rule, outcome])
    }

    /// One of `reaction`, which is configured.
    pub(crate) fn reactions(&self, reaction: &str, outcome: &str) -> IntCounter {
        self.reactions.with_label_values(&[reaction, outcome])
    }

    pub(crate) fn spans(&self, outcome: &str) -> IntCounter {
        self.spans.with_label_values(&[outcome])
    }

    /// Requests for a model's metadata: those that told something, and those that did not.
    pub(crate) fn metadata_requests(&self, model: &str) -> [IntCounter; 2] {
        ["ok", "failed"].map(|outcome| self.metadata_requests.with_label_values(&[model, outcome]))
    }

    pub(crate) fn otlp_requests(&self, signal: &str, outcome: &str) -> IntCounter {
        self.otlp_requests.with_label_values(&[signal, outcome])
    }

    pub(crate) fn part_working(&self, part: &str) -> Gauge {
        self.part_working.with_label_values(&[part])
    }

    pub(crate) fn part_stalls(&self, part: &str) -> IntCounter {
        self.part_stalls.with_label_values(&[part])
    }

    /// A feed's: its listings, and when its newest file was written.
    pub(crate) fn feed(&self, model: &str, feed: &str) -> FeedMetrics {
        FeedMetrics {
            listings: ["ok", "failed"].map(|outcome| self.feed_listings.with_label_values(&[model, feed, outcome])),
            newest_at: self.feed_newest.with_label_values(&[model, feed]),
        }
    }

    /// Shows when a model's newest outcome became known.
    pub(crate) fn show_newest_outcome(&self, model: &str, at: i64) {
        self.newest_outcome.with_label_values(&[model]).set(at as f64 / 1e6);
    }

    /// Shows the newest time of a column.
    pub(crate) fn show_watermark(&self, model: &str, column: &str, at: i64) {
        self.watermark.with_label_values(&[model, column]).set(at as f64 / 1e6);
    }

    /// All of them, as they are now.
    pub(crate) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.registry.gather()
    }

    /// The exposition, in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.gather())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Freshness, TimeUnit};
    use crate::segments::WorstScore;

    /// The metrics as the reference page lists them.
    fn table() -> String {
        let metrics = Metrics::new().unwrap();
        let freshness =
            Freshness { column: "at".to_owned(), unit: TimeUnit::Seconds, max_age: Duration::from_secs(60) };
        let mut model = Model::undescribed("m");
        model.slis.freshness.push(freshness);
        metrics.introduce_model(&model);
        metrics.metadata_requests("m")[0].inc();
        metrics.feed("m", "f").listings[0].inc();
        metrics.show_newest_outcome("m", 0);
        metrics.show_watermark("m", "c", 0);
        for gauge in [&metrics.score, &metrics.score_limit] {
            gauge.with_label_values(&["m", "1", "c", "psi"]).set(0.0);
        }
        for gauge in [&metrics.beside, &metrics.beside_limit] {
            gauge.with_label_values(&["m", "1", "c", "psi", "recent"]).set(0.0);
        }
        metrics.window_rows.with_label_values(&["m", "1"]).set(0);
        metrics.show_segment(["m", "1", "s"], 0, Some(WorstScore { limits: 0.0, limit: 0.0 }));
        metrics.request_duration.with_label_values(&["m"]).observe(0.0);
        metrics.clock_offset.with_label_values(&["m"]).observe(0.0);
        metrics.show_firing("R", "page", (0, 0));
        metrics.show_objective(("m", "s", ""), "R", ObjectiveState::Ok);
        metrics.notifications("t", "delivered").inc();
        metrics.attempt("t", true, "delivered").inc();
        metrics.dead_letters.with_label_values(&["t"]).set(0);
        metrics.target_failing.with_label_values(&["t"]).set(0);
        metrics.target_rests.with_label_values(&["t", "rate"]).inc();
        metrics.drills("R", "passed").inc();
        metrics.reactions("r", "started").inc();
        let mut table = "| metric | type | labels | what it says |\n|---|---|---|---|\n".to_owned();
        for family in metrics.gather() {
            if !family.name().starts_with("driftline_") {
                continue;
            }
            let labels = family.get_metric().first().map_or(Vec::new(), |metric| {
                metric.get_label().iter().map(|label| format!("`{}`", label.name())).collect()
            });
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            table.push_str(&format!("| `{}` | {kind} | {} | {} |\n", family.name(), labels.join(", "), family.help()));
        }
        table
    }

    #[test]
    fn every_metric_is_on_the_reference_page() {
        crate::documented::check("docs/metrics.md", "collector", &table());
    }
}
