//! The collector's own metrics, as rules' expressions read them.
//!
//! ```text
//!   docs/metrics.md ─▶ catalogue: which there are, of which kind, with which labels   (when the configuration is read)
//!   the registry ─▶ History: gauges as they are, counters as what they grew by over a time (when rules are looked at)
//! ```

mod asked;
mod catalogue;
mod history;

pub(crate) use self::asked::{ReadLabels, labels_read, of_alert};
pub(crate) use self::catalogue::{Kind, OwnMetric};
pub(crate) use self::history::History;
