//! What the collector tells of itself and of the models it watches, in Prometheus' format.
//!
//! Every label set is bounded: models by `max_models`, versions and columns by their own limits, and the scores in all
//! by [`MAX_SCORE_SERIES`]; segments by the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use driftline_alerts::{Counts, Labels, ObjectiveState};
use driftline_protocol::DecodeError;
use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricType};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use crate::config::{DECODED_SLI, FIRST_MESSAGE_SLI, HEARD_SLI, Model, SCHEMA_SLI, SLICES_SLI, part_label};
use crate::feeds::FeedMetrics;
use crate::ingest::{Refused, cloud_events};
use crate::own_metrics::OwnMetric;
use crate::segments::WorstScore;
use crate::{telemetry, watchdog};

/// What indicators' events are told apart by: as rules match them, and as Prometheus' rules sum them.
pub(crate) const SLI_LABELS: [&str; 4] = ["model", "sli", "column", "target"];
/// Series of scores that are exposed. More columns than this are scored all the same, and read by the API.
const MAX_SCORE_SERIES: usize = 20_000;
/// OpenTelemetry's bounds for HTTP request durations, in seconds.
pub(crate) const DURATION_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bounds for clocks that differ, in seconds: what a network and a full second of batching explain, and what they do not.
pub(crate) const OFFSET_BOUNDS: [f64; 12] =
    [-3600.0, -300.0, -60.0, -10.0, -1.0, -0.1, 0.0, 1.0, 10.0, 60.0, 300.0, 3600.0];

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
    pub(crate) fn new() -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registered::default();
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help)?);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let build = IntGauge::with_opts(
            Opts::new("driftline_build_info", "Which build this is; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        register(&registry, build)?.set(1);
        registry.add(prometheus::process_collector::ProcessCollector::for_self)?;
        let certificate_reloads = counters(
            "driftline_certificate_reloads_total",
            "Times that changed certificates were read again, by outcome; after a failure the old ones stay.",
            &["outcome"],
        )?;
        let durations = HistogramOpts::new(
            "driftline_request_duration_seconds",
            "Time from a model request's first byte to the response's last.",
        )
        .buckets(DURATION_BOUNDS.to_vec());
        let offsets = HistogramOpts::new(
            "driftline_sender_clock_offset_seconds",
            "When a batch came, by the collector's clock, less when it was made, by its sidecar's: below zero the sidecar's clock is ahead; far above, it is behind, or the batch has waited.",
        )
        .buckets(OFFSET_BOUNDS.to_vec());
        let metrics = Self {
            clock_offset: register(&registry, HistogramVec::new(offsets, &["model"])?)?,
            batches: counters(
                "driftline_batches_total",
                "Batches received from sidecars, by what became of them.",
                &["outcome"],
            )?,
            requests_refused: counters(
                "driftline_requests_refused_total",
                "Requests that were refused or put off, by reason; senders' and readers'.",
                &["reason"],
            )?,
            cloud_events: counters(
                "driftline_cloud_events_total",
                "Events of KServe's and Seldon's loggers, by what became of them: waits for its other half and then joined, repeated, late for a request that was given up on; alone, when the other half did not come; ignored, when it is no inference's.",
                &["outcome"],
            )?,
            cloud_events_waiting: gauge(
                "driftline_cloud_events_waiting",
                "Events of loggers that wait for their other halves.",
            )?,
            tls_failures: counter(
                "driftline_tls_failures_total",
                "Connections that ended in the TLS handshake with their client.",
            )?,
            certificate_reloads: ["ok", "failed"].map(|outcome| certificate_reloads.with_label_values(&[outcome])),
            database_bytes: gauge(
                "driftline_database_bytes",
                "Bytes of the database that are in use, the journal among them.",
            )?,
            database_limit_bytes: gauge(
                "driftline_database_limit_bytes",
                "Bytes that the database may use before senders are told to wait: ingest.max_database_bytes.",
            )?,
            disk_free_bytes: gauge("driftline_disk_free_bytes", "Bytes that are free on the disk of data_dir.")?,
            disk_floor_bytes: gauge(
                "driftline_disk_floor_bytes",
                "Bytes that stay free on the disk of data_dir: below, senders are told to wait.",
            )?,
            exchanges_received: counters(
                "driftline_exchanges_received_total",
                "Exchanges that are durable, each once.",
                &["model"],
            )?,
            exchanges_duplicate: counter(
                "driftline_exchanges_duplicate_total",
                "Exchanges that were sent again after they were durable.",
            )?,
            exchanges_missing: counter(
                "driftline_exchanges_missing_total",
                "Exchanges that a sidecar numbered and never delivered.",
            )?,
            undecodable: counters(
                "driftline_exchanges_undecodable_total",
                "Exchanges without rows, by reason.",
                &["reason"],
            )?,
            rows_counted: counters("driftline_rows_counted_total", "Rows counted in windows.", &["model"])?,
            rows_late: counters(
                "driftline_rows_late_total",
                "Rows that came after their windows had closed.",
                &["model"],
            )?,
            rows_not_counted: counters(
                "driftline_rows_not_counted_total",
                "Rows that are archived only, because their request did not succeed or the sample did not draw it.",
                &["model"],
            )?,
            columns_refused: counter(
                "driftline_columns_refused_total",
                "Cells of columns beyond the limit of columns of a model.",
            )?,
            metadata_requests: counters(
                "driftline_model_metadata_requests_total",
                "Requests to servers for what a model says of its inputs and outputs, by how they went.",
                &["model", "outcome"],
            )?,
            values_wrong_type: counters(
                "driftline_values_wrong_type_total",
                "Values that are not of their column's type, and kept as missing.",
                &["model"],
            )?,
            event_times_unusable: counter(
                "driftline_event_times_unusable_total",
                "Rows whose event time was missing, unreadable, before 1900 or in the future, and taken from their request instead.",
            )?,
            outcomes: counters("driftline_outcomes_received_total", "Outcomes that are durable.", &["model"])?,
            newest_outcome: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_newest_outcome_timestamp_seconds",
                        "When the newest outcome of a model became known, in seconds since the Unix epoch, where `slis.outcomes` says how old it may be.",
                    ),
                    &["model"],
                )?,
            )?,
            watermark: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_watermark_timestamp_seconds",
                        "The newest time that a column of times ever held, in seconds since the Unix epoch: of event time, and of the columns under `slis.freshness` and `slis.watermarks`.",
                    ),
                    &["model", "column"],
                )?,
            )?,
            feed_listings: counters(
                "driftline_feed_listings_total",
                "Listings of a feed's files, by how they went.",
                &["model", "feed", "outcome"],
            )?,
            feed_newest: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_feed_newest_timestamp_seconds",
                        "When the newest file of a feed was written, by its store's clock, in seconds since the Unix epoch; 0 when none was seen since the start.",
                    ),
                    &["model", "feed"],
                )?,
            )?,
            windows_closed: counters("driftline_windows_closed_total", "Windows that closed.", &["model"])?,
            score: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_score",
                        "Effect of a score in the last window that closed, on the scale of its limit.",
                    ),
                    &["model", "version", "column", "score"],
                )?,
            )?,
            score_limit: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_score_limit",
                        "Effect above which the score's verdict is drift: what matters, or what chance reaches.",
                    ),
                    &["model", "version", "column", "score"],
                )?,
            )?,
            beside: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_score_beside_earlier",
                        "Effect of a score of the last window that closed beside earlier windows of its version.",
                    ),
                    &["model", "version", "column", "score", "against"],
                )?,
            )?,
            beside_limit: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_score_beside_earlier_limit",
                        "Effect above which a window has changed since those that it is compared with.",
                    ),
                    &["model", "version", "column", "score", "against"],
                )?,
            )?,
            score_series: Mutex::new(BTreeSet::new()),
            segment_series: Mutex::new(BTreeSet::new()),
            score_series_refused: counter(
                "driftline_score_series_refused_total",
                "Scores, and segments, that are not exposed, because there are too many series.",
            )?,
            window_rows: gauges(
                "driftline_window_rows",
                "Rows in the last window that closed.",
                &["model", "version"],
            )?,
            segment_rows: gauges(
                "driftline_segment_rows",
                "Rows of a segment in the last window that closed.",
                &["model", "version", "segment"],
            )?,
            segment_worst: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_segment_worst_score",
                        "The score of a segment's columns that is furthest beyond its limit in the last window that closed, in limits: above 1 it drifts.",
                    ),
                    &["model", "version", "segment"],
                )?,
            )?,
            segment_limit: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_segment_worst_limit",
                        "The limit of the score that driftline_segment_worst_score is of.",
                    ),
                    &["model", "version", "segment"],
                )?,
            )?,
            request_duration: register(&registry, HistogramVec::new(durations, &["model"])?)?,
            sli_good: counters(
                "driftline_sli_good_total",
                "Good events of a service level indicator; freshness has one for each column, feeds for each feed, delivery for each target.",
                &SLI_LABELS,
            )?,
            sli_valid: counters(
                "driftline_sli_valid_total",
                "Valid events of a service level indicator; freshness has one for each column, feeds for each feed, delivery for each target.",
                &SLI_LABELS,
            )?,
            sli_unknown: counters(
                "driftline_sli_unknown_total",
                "Events of a service level indicator that were seen, and lost or unreadable before they could be judged.",
                &SLI_LABELS,
            )?,
            objective_state: gauges(
                "driftline_objective_state",
                "1 for how a budget rule's objective stands, 0 for the other states.",
                &[SLI_LABELS.as_slice(), &["rule", "state"]].concat(),
            )?,
            alerts_firing: gauges("driftline_alerts_firing", "Alerts that fire now.", &["rule", "severity"])?,
            alerts_muted: gauges(
                "driftline_alerts_muted",
                "Alerts that fire now and are not told: by a silence, a maintenance window, an alert that explains them, or a schedule that everybody waits for.",
                &["rule", "severity"],
            )?,
            notifications: counters(
                "driftline_notifications_total",
                "Attempts to notify a target, or by the target `heartbeat` to give a sign of life, by how they went; and changes that were forgotten before there was room for them, `missed`.",
                &["target", "outcome"],
            )?,
            drill_notifications: counters(
                "driftline_drill_notifications_total",
                "Attempts to notify a target of a drill, by how they went: these are not among `driftline_notifications_total`.",
                &["target", "outcome"],
            )?,
            notifications_pending: gauge(
                "driftline_notifications_pending",
                "Notifications that wait to be delivered.",
            )?,
            dead_letters: gauges(
                "driftline_notifications_dead_letters",
                "Notifications that were given up, and neither sent again nor dismissed.",
                &["target"],
            )?,
            target_failing: gauges(
                "driftline_target_failing",
                "1 while a target does not answer, or not as it should: one attempt at a time finds out whether it is back.",
                &["target"],
            )?,
            target_rests: counters(
                "driftline_target_rests_total",
                "Looks at the outbox at which a target was left alone, because it was failing, or by its rate.",
                &["target", "reason"],
            )?,
            drills: counters(
                "driftline_drills_total",
                "Drills that are over, by whether everybody took both their beginning and their end. What they sent is counted in `driftline_drill_notifications_total`.",
                &["rule", "outcome"],
            )?,
            reactions: counters(
                "driftline_reactions_total",
                "What became of reactions: `asked`, `approved`, `declined`, `lapsed`; `begun`, `retried`, `started`, `unknown` (it may \
                 have been started), `refused`, `failed`; and what jobs reported, `job_succeeded` and `job_failed`.",
                &["reaction", "outcome"],
            )?,
            archive_rows: counter("driftline_archive_rows_total", "Rows archived.")?,
            archive_files: counter("driftline_archive_files_total", "Files archived.")?,
            archive_failures: counter("driftline_archive_failures_total", "Attempts to archive a file that failed.")?,
            archive_files_deleted: counter(
                "driftline_archive_files_deleted_total",
                "Files deleted because they were older than archive.retention.",
            )?,
            archive_bytes_deleted: counter("driftline_archive_bytes_deleted_total", "Bytes of these files.")?,
            catalogue_failures: counter(
                "driftline_archive_catalogue_failures_total",
                "Attempts to write manifests and Delta commits, or to delete files that are too old, that failed.",
            )?,
            delta_commits: counter("driftline_archive_delta_commits_total", "Commits to Delta tables.")?,
            delta_tables_left: gauge(
                "driftline_archive_delta_tables_left",
                "Delta tables that are not written to any more, because somebody else has: their files are archived as before.",
            )?,
            archive_lag: register(
                &registry,
                Gauge::new("driftline_archive_lag_seconds", "Age of the oldest batch that is not archived.")?,
            )?,
            archive_stopped: gauge(
                "driftline_archive_stopped",
                "1 when archiving has ended until a restart: counting goes on, and rows stay in the journal.",
            )?,
            start_seconds: register(
                &registry,
                Gauge::new("driftline_start_seconds", "How long the last start took, until batches were taken.")?,
            )?,
            start_replay_batches: gauges(
                "driftline_start_replay_batches",
                "Batches of the journal that the last start had to read again, by what for: they were not counted, or not archived.",
                &["purpose"],
            )?,
            start_replay_seconds: register(
                &registry,
                Gauge::new(
                    "driftline_start_replay_seconds",
                    "How long it took after the last start until these had been read; 0 until then.",
                )?,
            )?,
            scores_not_finite: counter(
                "driftline_scores_not_finite_total",
                "Scores that came out as no finite number, and are left out.",
            )?,
            observations_refused: counter(
                "driftline_observations_refused_total",
                "Observations that no rule looked at, because an alert has too many members or a rule too many alerts.",
            )?,
            versions_refused: counters(
                "driftline_versions_refused_total",
                "Exchanges of versions beyond the limit of versions of a model, counted under the name 'other'.",
                &["model"],
            )?,
            journal_position: gauge("driftline_journal_position", "Number of the last batch in the journal.")?,
            counted_position: gauge("driftline_counted_position", "Number of the last batch that was counted.")?,
            spans: counters(
                "driftline_spans_total",
                "The collector's own spans: sent to a receiver, or dropped, because too many waited or it did not take them.",
                &["outcome"],
            )?,
            otlp_requests: counters(
                "driftline_otlp_requests_total",
                "Requests with the collector's own traces and metrics to OTLP receivers, by how they went.",
                &["signal", "outcome"],
            )?,
            part_working: register(
                &registry,
                GaugeVec::new(
                    Opts::new(
                        "driftline_part_working_seconds",
                        "For how long a part works at one piece; 0 when it rests. The runtime begins a new one every second.",
                    ),
                    &["part"],
                )?,
            )?,
            part_stalls: counters(
                "driftline_part_stalls_total",
                "Times that a part worked at one piece for longer than 30 seconds.",
                &["part"],
            )?,
            registry,
        };
        // Counters exist before their first increment, or its rate would never show it.
        for outcome in ["stored", "duplicate", "refused", "deferred"] {
            metrics.batches(outcome).inc_by(0);
        }
        for outcome in cloud_events::OUTCOMES {
            metrics.cloud_events(outcome).inc_by(0);
        }
        for reason in Refused::REASONS {
            metrics.requests_refused(reason).inc_by(0);
        }
        for reason in DecodeError::REASONS.into_iter().chain(["batch"]) {
            metrics.undecodable(reason).inc_by(0);
        }
        metrics.show_replay(0, 0);
        for outcome in ["sent", "dropped"] {
            metrics.spans(outcome).inc_by(0);
        }
        for (signal, outcome) in telemetry::SIGNALS.into_iter().flat_map(|signal| [(signal, "ok"), (signal, "failed")])
        {
            metrics.otlp_requests(signal, outcome).inc_by(0);
        }
        for part in watchdog::PARTS {
            metrics.part_working(part).set(0.0);
            metrics.part_stalls(part).inc_by(0);
        }
        Ok(Arc::new(metrics))
    }

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

    /// Shows a score and its limit, as long as there is room for its series.
    pub(crate) fn show_score(&self, series: [&str; 4], effect: f64, limit: f64) {
        if self.has_room(&series) {
            self.score.with_label_values(&series).set(effect);
            self.score_limit.with_label_values(&series).set(limit);
        }
    }

    /// Shows a score of a window beside earlier ones, as long as there is room for its series.
    pub(crate) fn show_beside(&self, series: [&str; 5], effect: f64, limit: f64) {
        if self.has_room(&series) {
            self.beside.with_label_values(&series).set(effect);
            self.beside_limit.with_label_values(&series).set(limit);
        }
    }

    /// Whether these series of a score may be exposed. It is counted when they may not.
    fn has_room(&self, series: &[&str]) -> bool {
        let owned: Vec<String> = series.iter().map(|label| (*label).to_owned()).collect();
        let has_room = self
            .score_series
            .lock()
            .is_ok_and(|mut known| known.contains(&owned) || (known.len() < MAX_SCORE_SERIES && known.insert(owned)));
        if !has_room {
            self.score_series_refused.inc();
        }
        has_room
    }

    /// Shows a segment's rows and its worst score, as long as there is room for its series. A segment of which nothing is
    /// judged has no worst score.
    pub(crate) fn show_segment(&self, series: [&str; 3], rows: u64, worst: Option<WorstScore>) {
        let owned = series.map(str::to_owned);
        let has_room = self
            .segment_series
            .lock()
            .is_ok_and(|mut known| known.contains(&owned) || (known.len() < MAX_SCORE_SERIES && known.insert(owned)));
        if !has_room {
            self.score_series_refused.inc();
            return;
        }
        self.segment_rows.with_label_values(&series).set(i64::try_from(rows).unwrap_or(i64::MAX));
        match worst {
            Some(worst) => {
                self.segment_worst.with_label_values(&series).set(worst.limits);
                self.segment_limit.with_label_values(&series).set(worst.limit);
            }
            None => self.forget_worst(&series),
        }
    }

    fn forget_worst<S: AsRef<str> + std::fmt::Debug>(&self, series: &[S; 3]) {
        // One of which nothing was judged has no worst score.
        self.segment_worst.remove_label_values(series).ok();
        self.segment_limit.remove_label_values(series).ok();
    }

    /// Forgets what was shown of a version's segments.
    pub(crate) fn forget_segments(&self, model: &str, version: &str) {
        let Ok(mut known) = self.segment_series.lock() else { return };
        known.retain(|series| {
            let is_kept = series[0] != model || series[1] != version;
            if !is_kept {
                self.segment_rows.remove_label_values(series).ok();
                self.forget_worst(series);
            }
            is_kept
        });
    }

    /// All of them, as they are now.
    pub(crate) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.registry.gather()
    }

    /// The series of one of them, as a rule's expression names it, with their labels.
    pub(crate) fn own_series(&self, metric: &OwnMetric) -> Vec<(Labels, f64)> {
        let (family, part) = metric.family();
        let Some(collector) = self.registry.by_name(family) else { return Vec::new() };
        let families = collector.collect();
        let Some(family) = families.iter().find(|found| found.name() == family) else { return Vec::new() };
        family.get_metric().iter().flat_map(|series| values(series, family.get_field_type(), part)).collect()
    }

    /// The exposition, in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.gather())
    }
}

/// A registry, and what is registered in it by its names: a rule that asks for one metric need not gather them all.
#[derive(Default)]
struct Registered {
    registry: Registry,
    by_name: Mutex<BTreeMap<String, Arc<dyn Collector>>>,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Registered").finish_non_exhaustive()
    }
}

impl Registered {
    fn add<M: Collector + 'static>(&self, make: impl Fn() -> M) -> Result<(), prometheus::Error> {
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

fn register<M: Collector + Clone + 'static>(registered: &Registered, metric: M) -> Result<M, prometheus::Error> {
    registered.add(|| metric.clone())?;
    Ok(metric)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Freshness, TimeUnit};

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
