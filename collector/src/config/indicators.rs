//! The indicators that there are, by the names that rules, metrics and the API have for them.

/// Indicators that the collector counts of each model.
pub(crate) const SLIS: [&str; 14] = [
    "latency",
    FIRST_MESSAGE_SLI,
    "availability",
    "freshness",
    "capture",
    SCHEMA_SLI,
    DECODED_SLI,
    HEARD_SLI,
    SIDECARS_SLI,
    FEEDS_SLI,
    FEEDS_LISTED_SLI,
    OUTCOMES_SLI,
    SLICES_SLI,
    WATERMARK_SLI,
];
/// Of the streams, those whose first message came in time.
pub(crate) const FIRST_MESSAGE_SLI: &str = "first_message";
/// Of the rows, those that have the columns and types that they always had.
pub(crate) const SCHEMA_SLI: &str = "schema";
/// Of the model's answers, those whose bodies gave rows.
pub(crate) const DECODED_SLI: &str = "decoded";
/// Of the times at which somebody looked, those at which the model was heard as often as ever.
pub(crate) const HEARD_SLI: &str = "heard";
/// Of the times at which somebody looked, those at which no sidecar of the model was missed.
pub(crate) const SIDECARS_SLI: &str = "sidecars";
/// Of the times at which somebody looked at a feed and knew, those at which its newest file was young enough, by feed.
pub(crate) const FEEDS_SLI: &str = "feeds";
/// Of the times at which somebody looked, those at which a feed could be listed, by feed.
pub(crate) const FEEDS_LISTED_SLI: &str = "feeds_listed";
/// Of the times at which somebody looked, those at which the model's newest outcome was young enough.
pub(crate) const OUTCOMES_SLI: &str = "outcomes";
/// Of the windows that closed, those whose score stayed below its limit, by slices.
pub(crate) const SLICES_SLI: &str = "slices";
/// Of the times at which somebody looked, those at which the newest time of a column was young enough, by column.
pub(crate) const WATERMARK_SLI: &str = "watermark";
/// An indicator of the collector itself: of the times at which somebody looked, those at which the archive kept up.
pub(crate) const ARCHIVE_SLI: &str = "archive";
/// Another one: of the times at which somebody looked, those at which a target had got what was its own, by target.
pub(crate) const DELIVERY_SLI: &str = "delivery";
/// Another one: of the times at which the collector was to look at itself, those at which it was there to do it.
pub(crate) const RUNNING_SLI: &str = "running";
/// The indicators of the collector itself.
pub(crate) const OWN_SLIS: [&str; 3] = [ARCHIVE_SLI, DELIVERY_SLI, RUNNING_SLI];

/// What the parts of an indicator that has any are told apart by, in rules, alerts and metrics: a label.
pub(crate) fn part_label(sli: &str) -> &'static str {
    if sli == DELIVERY_SLI { "target" } else { "column" }
}
