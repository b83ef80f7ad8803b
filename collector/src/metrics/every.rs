//! Every metric that there is: its name, what it says, and what its series are told apart by.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use driftline_protocol::DecodeError;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use super::registered::{Registered, register};
use super::{Metrics, SLI_LABELS};
use crate::ingest::{Refused, cloud_events};
use crate::{telemetry, watchdog};

/// OpenTelemetry's bounds for HTTP request durations, in seconds.
pub(crate) const DURATION_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bounds for clocks that differ, in seconds: what a network and a full second of batching explain, and what they do not.
pub(crate) const OFFSET_BOUNDS: [f64; 12] =
    [-3600.0, -300.0, -60.0, -10.0, -1.0, -0.1, 0.0, 1.0, 10.0, 60.0, 300.0, 3600.0];

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
}
