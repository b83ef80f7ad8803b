//! What the configuration says of watermarks: columns whose newest time must go on, requests or none.

use std::ops::RangeInclusive;
use std::time::Duration;

use driftline_document::{Node, Section};

use super::models::{EventTime, Slis, TimeUnit};

/// A column that holds times of a source, of which the newest must not be too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The column that holds the time.
    pub column: String,
    /// How it writes times.
    pub unit: TimeUnit,
    /// How old the newest of them may be, by the clock; none where nothing is asked of it, and it is only shown.
    pub max_age: Option<Duration>,
}

/// Watermarks of one model. Each is a row of the database and a row in every look.
const MAX_WATERMARKS: usize = 20;
const MAX_AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);

pub(super) fn watermarks(node: &Node<'_>, unit: impl Fn(&mut Section<'_>) -> TimeUnit) -> Vec<Watermark> {
    let nodes = node.list().unwrap_or_default();
    if nodes.len() > MAX_WATERMARKS {
        node.problem(format!("has {} columns; a model may have {MAX_WATERMARKS}", nodes.len()));
    }
    let mut all: Vec<Watermark> = Vec::new();
    for node in nodes {
        let Some(mut section) = node.section() else { continue };
        let column = section.required("column").and_then(|node| Some(node.text()?.to_owned()));
        let unit = unit(&mut section);
        let max_age = section.required("max_age").and_then(|node| node.duration(MAX_AGES));
        let (Some(column), Some(max_age)) = (column, max_age) else { continue };
        if all.iter().any(|other| other.column == column) {
            node.problem(format!("there is another watermark of column '{column}'"));
        }
        all.push(Watermark { column, unit, max_age: Some(max_age) });
    }
    all
}

/// All columns of a model whose newest time is kept: those of which something is asked, and the other columns that are known to
/// hold times, which are shown.
pub(crate) fn watched(slis: &Slis, event_time: &EventTime) -> Vec<Watermark> {
    let mut all = slis.watermarks.clone();
    let fresh = slis.freshness.iter().map(|fresh| (&fresh.column, fresh.unit));
    let event_time = match event_time {
        EventTime::Request => None,
        EventTime::Column { name, unit } => Some((name, *unit)),
    };
    for (column, unit) in fresh.chain(event_time) {
        if !all.iter().any(|known| known.column == *column) {
            all.push(Watermark { column: column.clone(), unit, max_age: None });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn read(model: &str) -> Result<Vec<Watermark>, String> {
        let text = format!("models: [{{name: m, {model}}}]");
        let config = parsed(&text)?;
        let model = config.model("m");
        Ok(watched(&model.slis, &model.event_time))
    }

    #[test]
    fn every_column_that_is_known_to_hold_times_is_watched_and_some_may_grow_too_old() {
        let mark = |column: &str, unit, minutes: Option<u64>| Watermark {
            column: column.to_owned(),
            unit,
            max_age: minutes.map(|minutes| Duration::from_secs(60 * minutes)),
        };
        assert_eq!(read("features: [x]").unwrap(), []);
        let all = read(
            "event_time: {column: at, unit: seconds}, slis: {watermarks: [{column: at, unit: seconds, max_age: 5m}, {column: price_at, max_age: 1h}],
             freshness: [{column: price_at, max_age: 2m}, {column: stock_at, unit: milliseconds, max_age: 1m}]}",
        );
        let expected = [
            mark("at", TimeUnit::Seconds, Some(5)),
            mark("price_at", TimeUnit::Rfc3339, Some(60)),
            mark("stock_at", TimeUnit::Milliseconds, None),
        ];
        assert_eq!(all.unwrap(), expected);
        assert_eq!(read("event_time: {column: at}").unwrap(), [mark("at", TimeUnit::Rfc3339, None)]);
    }

    #[test]
    fn what_is_no_watermark_is_said() {
        let many: Vec<String> = (0..21).map(|i| format!("{{column: c{i}, max_age: 1h}}")).collect();
        for (marks, problem) in [
            ("{column: a}", "max_age"),
            ("{max_age: 1h}", "column"),
            ("{column: a, max_age: 0s}", "max_age"),
            ("{column: a, max_age: 1h, unit: hours}", "rfc3339"),
            ("{column: a, max_age: 1h}, {column: a, max_age: 2h}", "there is another watermark of column 'a'"),
            (&many.join(", "), "has 21 columns; a model may have 20"),
        ] {
            let said = read(&format!("slis: {{watermarks: [{marks}]}}")).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
}
