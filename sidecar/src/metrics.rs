//! What the sidecar tells of itself.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::account::Accounts;
use crate::reader::Unreadable;
use crate::rules::{BothRedacted, Fingerprint, Redacted, Withheld};
use crate::shipper::spool::SpoolCounts;
use crate::tap::Side;

/// How a request to the collector went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Acknowledged.
    Ok,
    /// Refused for good.
    Rejected,
    /// Not now: to be tried again.
    Retry,
    /// Not from this sender, as long as its token and certificate are what they are: to be tried again.
    Unauthorized,
}

impl Outcome {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Ok, "ok"), (Self::Rejected, "rejected"), (Self::Retry, "retry"), (Self::Unauthorized, "unauthorized")];
}

/// Handles to all metrics, resolved once: the pump only ever increments an atomic.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) spool: SpoolCounts,
    pub(crate) connections: IntCounter,
    pub(crate) connections_active: IntGauge,
    pub(crate) upstream_failures: IntCounter,
    pub(crate) tls_failures: IntCounter,
    pub(crate) spans_sent: IntCounter,
    pub(crate) spans_dropped: IntCounter,
    pub(crate) certificate_reloads: [IntCounter; 2],
    pub(crate) without_bodies: IntCounter,
    unread: [IntCounter; Unreadable::ALL.len()],
    bytes: [IntCounter; 2],
    pub(crate) capture_bytes: IntGauge,
    pub(crate) queue_length: IntGauge,
    pub(crate) backlog_batches: IntGauge,
    pub(crate) collector_up: IntGauge,
    pub(crate) collector_backoff: Gauge,
    collector_requests: [IntCounter; Outcome::ALL.len()],
    bodies_rewritten: IntCounter,
    bodies_withheld: [IntCounter; Withheld::ALL.len()],
    rules_reloads: [IntCounter; 2],
    rules_loaded_timestamp: IntGauge,
    rules_fingerprint: IntGauge,
}

impl Metrics {
    pub(crate) fn new(budget_bytes: usize) -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let vector = |name: &str, help: &str, label: &str| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let unread = vector(
            "driftline_sidecar_connections_unread_total",
            "Connections whose bytes passed unread from some point on, by reason.",
            "reason",
        )?;
        let bytes = vector("driftline_sidecar_bytes_total", "Bytes pumped, by the side that sent them.", "from")?;
        let collector_requests = vector(
            "driftline_sidecar_collector_requests_total",
            "Requests to the collector, by how they went.",
            "outcome",
        )?;
        let certificate_reloads = vector(
            "driftline_sidecar_certificate_reloads_total",
            "Times that changed certificates were read again, by outcome; after a failure the old ones stay.",
            "outcome",
        )?;
        let bodies_withheld = vector(
            "driftline_sidecar_bodies_withheld_total",
            "Bodies that stayed in the pod, by reason; their exchanges were sent without them.",
            "reason",
        )?;
        let rules_reloads = vector(
            "driftline_sidecar_rules_reloads_total",
            "Changed rules that were put in force (`ok`), or left the old ones in force for being wrong (`rejected`).",
            "outcome",
        )?;
        gauge("driftline_sidecar_capture_budget_bytes", "Memory that capture may hold.")?.set(budget_bytes as i64);
        let build = IntGauge::with_opts(
            Opts::new("driftline_sidecar_build_info", "Which build this is; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        register(&registry, build)?.set(1);
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Arc::new(Self {
            accounts: Accounts::new(&registry)?,
            spool: SpoolCounts::new(&registry)?,
            connections: counter("driftline_sidecar_connections_total", "Connections accepted.")?,
            connections_active: gauge("driftline_sidecar_connections_active", "Connections open now.")?,
            upstream_failures: counter(
                "driftline_sidecar_upstream_connect_failures_total",
                "Connections that were reset because the model's server could not be reached. What was asked on them is captured, \
                 and ends with an error of the server.",
            )?,
            tls_failures: counter(
                "driftline_sidecar_tls_failures_total",
                "Connections that ended in the TLS handshake with the caller.",
            )?,
            spans_sent: counter("driftline_sidecar_spans_sent_total", "Spans that the OTLP receiver took.")?,
            spans_dropped: counter(
                "driftline_sidecar_spans_dropped_total",
                "Spans that did not fit the buffer, or that the OTLP receiver did not take.",
            )?,
            certificate_reloads: ["ok", "failed"].map(|outcome| certificate_reloads.with_label_values(&[outcome])),
            without_bodies: counter(
                "driftline_sidecar_exchanges_without_bodies_total",
                "Exchanges that were captured without their bodies, because the memory budget had no room for these.",
            )?,
            unread: Unreadable::ALL.map(|reason| unread.with_label_values(&[reason.name()])),
            bytes: ["client", "upstream"].map(|side| bytes.with_label_values(&[side])),
            capture_bytes: gauge("driftline_sidecar_capture_bytes", "Memory that capture holds now.")?,
            queue_length: gauge("driftline_sidecar_queue_length", "Exchanges waiting for the shipper.")?,
            backlog_batches: gauge("driftline_sidecar_backlog_batches", "Batches waiting for the collector.")?,
            collector_up: gauge(
                "driftline_sidecar_collector_up",
                "1 if the collector took or refused the last batch for good; 0 if it did not answer or asked to come back, and before \
                 the first batch.",
            )?,
            collector_backoff: register(
                &registry,
                Gauge::new(
                    "driftline_sidecar_collector_backoff_seconds",
                    "The pause between tries while the collector takes no batch; 0 while it does. It doubles from 0.2 to 30 s, less up to \
                     half of it at random, and is longer where the collector asks for more.",
                )?,
            )?,
            collector_requests: Outcome::ALL.map(|(_, name)| collector_requests.with_label_values(&[name])),
            bodies_rewritten: counter(
                "driftline_sidecar_bodies_rewritten_total",
                "Bodies that were sent with fields dropped, masked or replaced.",
            )?,
            bodies_withheld: Withheld::ALL.map(|reason| bodies_withheld.with_label_values(&[reason.name()])),
            rules_reloads: ["ok", "rejected"].map(|outcome| rules_reloads.with_label_values(&[outcome])),
            rules_loaded_timestamp: gauge(
                "driftline_sidecar_rules_loaded_timestamp_seconds",
                "When the rules in force were loaded, in seconds since the Unix epoch; 0 without a rules file.",
            )?,
            rules_fingerprint: gauge(
                "driftline_sidecar_rules_fingerprint",
                "A hash of the text of the rules in force, the same in all pods that have the same; 0 without a rules file.",
            )?,
            registry,
        }))
    }

    pub(crate) fn unread(&self, reason: Unreadable) -> &IntCounter {
        let index = Unreadable::ALL.iter().position(|other| *other == reason).unwrap_or(0);
        &self.unread[index]
    }

    pub(crate) fn bytes_from(&self, side: Side) -> &IntCounter {
        match side {
            Side::Client => &self.bytes[0],
            Side::Upstream => &self.bytes[1],
        }
    }

    pub(crate) fn collector_requests(&self, outcome: Outcome) -> &IntCounter {
        let index = Outcome::ALL.iter().position(|(other, _)| *other == outcome).unwrap_or(0);
        &self.collector_requests[index]
    }

    /// Counts what happened to an exchange's bodies.
    pub(crate) fn bodies(&self, redacted: BothRedacted) {
        for redacted in redacted {
            match redacted {
                Redacted::Untouched => {}
                Redacted::Rewritten => self.bodies_rewritten.inc(),
                Redacted::Withheld(reason) => {
                    let index = Withheld::ALL.iter().position(|other| *other == reason).unwrap_or(0);
                    self.bodies_withheld[index].inc();
                }
            }
        }
    }

    pub(crate) fn rules_reloaded(&self, accepted: bool) {
        self.rules_reloads[usize::from(!accepted)].inc();
    }

    /// Shows which rules are in force, and since when.
    pub(crate) fn rules_in_force(&self, fingerprint: Fingerprint) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.rules_loaded_timestamp.set(now.as_secs() as i64);
        self.rules_fingerprint.set(fingerprint.0);
    }

    /// The exposition, in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_metric_is_on_the_reference_page() {
        let metrics = Metrics::new(1).unwrap();
        let mut table = "| metric | type | labels | what it says |\n|---|---|---|---|\n".to_owned();
        for family in metrics.registry.gather() {
            if !family.name().starts_with("driftline_") {
                continue;
            }
            let labels = family.get_metric().first().map_or(Vec::new(), |metric| {
                metric.get_label().iter().map(|label| format!("`{}`", label.name())).collect()
            });
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            table.push_str(&format!("| `{}` | {kind} | {} | {} |\n", family.name(), labels.join(", "), family.help()));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = ("<!-- begin: sidecar -->\n", "<!-- end: sidecar -->");
        let (before, rest) = text.split_once(begin).unwrap();
        let (part, after) = rest.split_once(end).unwrap();
        if std::env::var_os("DRIFTLINE_UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        } else {
            assert_eq!(
                part, table,
                "docs/metrics.md is not what the code says; run the test with DRIFTLINE_UPDATE_DOCS=1"
            );
        }
    }
}
