//! What is around an alert when it begins: how many predictions it concerns, what else moved, and what was changed before.

use std::collections::BTreeSet;

use driftline_alerts::{Condition, Counts, Member, Reading};
use driftline_detectors::Verdict;
use driftline_document::in_units;
use rusqlite::{Connection, params};

use super::book::Change;
use crate::config::{
    ARCHIVE_SLI, DELIVERY_SLI, FEEDS_LISTED_SLI, FEEDS_SLI, HEARD_SLI, OUTCOMES_SLI, RUNNING_SLI, SCHEMA_SLI,
    SIDECARS_SLI, SLICES_SLI, WATERMARK_SLI,
};
use crate::numbers::{and_more, percent, significant, thousands};
use crate::pipeline::HEADLINE;
use crate::pipeline::series::{ClosedColumn, ClosedWindow};
use crate::times;

/// Columns that are named.
const MAX_NAMED: usize = 5;
/// Windows back in which predictions are counted.
const MAX_WINDOWS: u32 = 1000;

/// Predictions that rest on what is wrong, by the rows of windows since it began, or by bad events; none where that is not
/// known.
pub(crate) fn affected(
    db: &Connection,
    change: &Change,
    window: Option<(&str, &ClosedWindow)>,
    since: Option<i64>,
) -> rusqlite::Result<Option<String>> {
    let Some(worst) = change.alert.over().next() else { return Ok(None) };
    match (worst.last, &change.rule.condition, window) {
        (Reading::Ratio { good, valid, unknown }, Condition::Sli { sli, over, .. }, _) => {
            Ok(counted(Counts { good, valid, unknown }, sli, &format!("in {}", in_units(*over))))
        }
        (Reading::Burn { long: [first, _], .. }, Condition::Budget { sli, .. }, _) => {
            Ok(counted(first, sli, "in the first window"))
        }
        (Reading::Few(events), Condition::Sli { sli, .. }, _) => Ok(counted(events.last, sli, "of the last that came")),
        (Reading::Score { .. }, _, Some((model, window))) => {
            let version = worst.labels.get("version").map_or("", String::as_str);
            let before = rows_before(db, (model, version), since.unwrap_or(window.ends), window.starts)?;
            let from = before.map_or(window.starts, |(starts, _)| starts);
            let rows = window.rows + before.map_or(0, |(_, rows)| rows);
            Ok(Some(format!("at least {} predictions, {}", thousands(rows), times::span(from, window.ends))))
        }
        _ => Ok(None),
    }
}

/// How many of an indicator's events were bad; none where they are no predictions.
fn counted(counts: Counts, sli: &str, when: &str) -> Option<String> {
    let events = match sli {
        ARCHIVE_SLI | RUNNING_SLI | HEARD_SLI | SIDECARS_SLI | FEEDS_SLI | FEEDS_LISTED_SLI | OUTCOMES_SLI
        | SLICES_SLI | WATERMARK_SLI | DELIVERY_SLI => return None,
        "freshness" | SCHEMA_SLI => "predictions",
        "capture" => "exchanges",
        _ => "requests",
    };
    Some(format!("{} of {} {events} {when}", thousands(counts.bad()), thousands(counts.valid)))
}

/// Rows of the windows of a version that ended at `since` or later and by `until`, of those that do not overlap, and when the
/// first of them started.
fn rows_before(
    db: &Connection,
    (model, version): (&str, &str),
    since: i64,
    until: i64,
) -> rusqlite::Result<Option<(i64, u64)>> {
    let windows: Vec<(i64, i64, u64)> = db
        .prepare_cached(
            "SELECT starts, ends, rows FROM windows WHERE model = ?1 AND version = ?2 AND ends BETWEEN ?3 AND ?4
             ORDER BY ends DESC LIMIT ?5",
        )?
        .query_map(params![model, version, since, until, MAX_WINDOWS], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut counted: Option<(i64, u64)> = None;
    for (starts, ends, rows) in windows {
        let (from, so_far) = counted.unwrap_or((until, 0));
        if ends <= from {
            counted = Some((starts, so_far + rows));
        }
    }
    Ok(counted)
}

/// Other columns of the same window that drift, too: the furthest first.
pub(crate) fn moved_with_it(members: &[&Member], window: &ClosedWindow) -> Option<String> {
    let own: BTreeSet<&str> = members.iter().filter_map(|member| Some(member.labels.get("column")?.as_str())).collect();
    let score = |column: &ClosedColumn| {
        let score = column.scores.iter().find(|score| score.detector == HEADLINE)?;
        (score.verdict == Verdict::Drift).then_some(score.effect)
    };
    let others = window.columns.iter().filter(|column| !own.contains(column.column.as_str()));
    let mut moved: Vec<(&str, f64)> =
        others.filter_map(|column| Some((column.column.as_str(), score(column)?))).collect();
    moved.sort_by(|a, b| b.1.total_cmp(&a.1));
    let named: Vec<String> =
        moved.iter().take(MAX_NAMED).map(|(column, effect)| format!("{column} ({})", significant(*effect))).collect();
    let more = moved.len() - named.len();
    let more = and_more(more);
    let share = percent(moved.len() as f64 / window.columns.len().max(1) as f64);
    (!named.is_empty()).then(|| format!("{}{more}: {share} of all columns ({})", named.join(", "), HEADLINE.name()))
}

#[cfg(test)]
mod tests {
    use driftline_alerts::Labels;
    use driftline_detectors::{ColumnKind, ReferenceBuilder, Thresholds};

    use super::*;

    /// A column with an effect of the headline score; none when it does not drift.
    fn column(name: &str, effect: Option<f64>) -> ClosedColumn {
        let mut builder = ReferenceBuilder::new(name, ColumnKind::Numeric);
        (0..100).for_each(|i| builder.number(None, f64::from(i)));
        let reference = builder.build(None).unwrap();
        let mut scores = reference.scores(&reference.profile(), &Thresholds::default(), true);
        for score in scores.iter_mut().filter(|score| score.detector == HEADLINE) {
            score.verdict = effect.map_or(Verdict::Ok, |_| Verdict::Drift);
            score.effect = effect.unwrap_or(9.0);
        }
        ClosedColumn { column: name.into(), scores, causes: Vec::new(), bars: Vec::new(), beside: Vec::new() }
    }

    #[test]
    fn columns_that_drift_with_it_are_named_the_furthest_first_and_its_own_are_not() {
        let columns = [("temp", Some(5.0)), ("a", None), ("b", Some(0.3)), ("c", Some(0.5)), ("d", Some(0.25))];
        let more = ["e", "f", "g"].map(|name| (name, Some(0.21)));
        let columns = columns.into_iter().chain(more).map(|(name, effect)| column(name, effect)).collect();
        let (profiles, segments) = (Vec::new(), Vec::new());
        let window = ClosedWindow { starts: 0, ends: 1, rows: 9, filled: 1, panes: 1, columns, profiles, segments };
        let labels: Labels = [("column".to_owned(), "temp".to_owned())].into();
        let own = Member {
            labels,
            recent: vec![true],
            last: Reading::NotEnoughData,
            said_at: 0,
            over: true,
            was_over: true,
            unobserved: 0,
            unjudged: driftline_alerts::Unjudged::default(),
        };
        let said = moved_with_it(&[&own], &window).unwrap();
        assert_eq!(said, "c (0.5), b (0.3), d (0.25), e (0.21), f (0.21) and 1 more: 75% of all columns (psi)");
        let alone = ClosedWindow { columns: vec![column("temp", Some(5.0)), column("a", None)], ..window };
        assert_eq!(moved_with_it(&[&own], &alone), None);
    }

    #[test]
    fn rows_are_counted_once_and_back_to_the_beginning() {
        let db = crate::store::in_memory().unwrap();
        // Windows of 4 that end at each hour, with as many rows as the hour's number; and one of another version.
        for ends in 4..=20_i64 {
            for (version, rows) in [("1", ends), ("2", 1000)] {
                let stored = "INSERT INTO windows VALUES ('m', ?1, ?2, ?2 - 4, ?3, 4, 4, '', 0)";
                db.execute(stored, params![version, ends, rows]).unwrap();
            }
        }
        let before = |since, until| rows_before(&db, ("m", "1"), since, until).unwrap();
        assert_eq!(before(10, 20), Some((8, 20 + 16 + 12)), "of those that end at 20, 16 and 12");
        assert_eq!(before(20, 20), Some((16, 20)));
        assert_eq!(before(21, 20), None, "it began with the window that closes now");
    }

    #[test]
    fn bad_events_are_what_they_are_of() {
        let counts = Counts { good: 900, valid: 2100, unknown: 0 };
        assert_eq!(counted(counts, "latency", "in 5m").unwrap(), "1\u{202f}200 of 2\u{202f}100 requests in 5m");
        for sli in ["archive", "delivery"] {
            assert_eq!(counted(counts, sli, "in 5m"), None, "{sli}: its events are looks");
        }
    }
}
