//! Watermarks: the newest time that each column of times has ever held, and whether it goes on.
//!
//! A row says how old what it was computed from was when it was asked for; once nobody asks, nobody says anything. So the newest
//! time of each such column is kept, over restarts, and its age by the clock is looked at every ten seconds: it grows when no
//! request comes, and when requests come whose times stand still.

use driftline_alerts::{Condition, Counts};
use driftline_protocol::Rows;
use rusqlite::{Connection, OptionalExtension, params};

use super::Pipeline;
use super::cells::time_micros;
use super::exchanges::column;
use crate::alerting::book::Change;
use crate::config::{Model, WATERMARK_SLI, Watermark, watched};
use crate::store::journal;
use crate::times::{now_micros, second};

/// A time from further ahead than this is a clock that is wrong, and would hide for good that no others come.
const MOST_AHEAD_MICROS: i64 = 60_000_000;
/// Watermarks that an alert describes.
const MAX_DESCRIBED: usize = 5;

/// The newest time of a column, and when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The time, in microseconds since the Unix epoch.
    pub(crate) newest: i64,
    /// When the row was received that brought it.
    pub(crate) moved_at: i64,
}

/// How a watermark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatermarkState {
    /// Its newest time is young enough.
    Fresh,
    /// It is too old.
    Stale,
    /// No time was ever seen of a model of which nothing came either, or one that lies ahead of the clock.
    Unknown,
}

impl WatermarkState {
    /// The name by which the API knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }

    /// How it is by the clock. Before the first time it is the model's first batch that waits.
    pub(crate) fn of(mark: Option<Mark>, first_seen: Option<i64>, max_age: std::time::Duration, now: i64) -> Self {
        match mark.map(|mark| mark.newest).or(first_seen) {
            None => Self::Unknown,
            // The clock was put back since, or was wrong when it came.
            Some(newest) if newest > now.saturating_add(MOST_AHEAD_MICROS) => Self::Unknown,
            Some(newest) if now.saturating_sub(newest) <= max_age.as_micros() as i64 => Self::Fresh,
            Some(_) => Self::Stale,
        }
    }
}

/// A model's watermarks.
#[derive(Debug)]
pub(crate) struct Watermarks(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    watermark: Watermark,
    mark: Option<Mark>,
    /// Whether it moved since it was stored.
    is_new: bool,
}

impl Watermarks {
    /// Those that the configuration names, as they are stored.
    pub(super) fn load(db: &Connection, model: &Model) -> rusqlite::Result<Self> {
        let of_column = |watermark: Watermark| {
            let mark = stored(db, &model.name, &watermark.column)?;
            Ok(Watched { watermark, mark, is_new: false })
        };
        watched(&model.slis, &model.event_time).into_iter().map(of_column).collect::<rusqlite::Result<_>>().map(Self)
    }

    /// Takes in the times of rows, whatever was answered to them: what they were computed from is that old.
    pub(super) fn see(&mut self, rows: &Rows<'_>, received_at: i64) {
        let latest = received_at.saturating_add(MOST_AHEAD_MICROS);
        for Watched { watermark, mark, is_new } in &mut self.0 {
            let Some(column) = column(rows, &watermark.column) else { continue };
            let times = (0..rows.count).filter_map(|row| time_micros(&*column.cells.get(row)?, watermark.unit));
            let Some(newest) = times.filter(|time| *time <= latest).max() else { continue };
            // One that lies ahead of what comes now came while our clock was.
            if mark.is_none_or(|mark| mark.newest < newest || mark.newest > latest) {
                (*mark, *is_new) = (Some(Mark { newest, moved_at: received_at }), true);
            }
        }
    }

    /// Those that moved since they were taken last, by their columns.
    pub(super) fn take_new(&mut self) -> Vec<(String, Mark)> {
        let take = |watched: &mut Watched| {
            let mark = watched.mark.filter(|_| std::mem::take(&mut watched.is_new))?;
            Some((watched.watermark.column.clone(), mark))
        };
        self.0.iter_mut().filter_map(take).collect()
    }
}

/// Stores a model's watermarks.
pub(super) fn store(db: &Connection, model: &str, marks: &[(String, Mark)]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO watermarks (model, column_name, newest, moved_at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (column, mark) in marks {
        statement.execute(params![model, column, mark.newest, mark.moved_at])?;
    }
    Ok(())
}

/// The newest time of a column; none before the first.
pub(crate) fn stored(db: &Connection, model: &str, column: &str) -> rusqlite::Result<Option<Mark>> {
    db.prepare_cached("SELECT newest, moved_at FROM watermarks WHERE model = ?1 AND column_name = ?2")?
        .query_row([model, column], |row| Ok(Mark { newest: row.get(0)?, moved_at: row.get(1)? }))
        .optional()
}

impl Pipeline {
    /// Looks at how old each watermark is.
    pub(super) fn observe_watermarks(&mut self) {
        let now = now_micros();
        // What the journal held at the start may bring newer ones: until it is counted, nobody knows.
        let is_behind = self.replay.as_ref().is_some_and(|replay| replay.after(self.counted_through) > 0);
        for model in self.models.values() {
            let marks = &model.watermarks.0;
            // Before a column's first time it is the model's first batch that waits.
            let first_seen = match marks.iter().any(|watched| watched.mark.is_none()) {
                true => self.parts.store.read_blocking(|db| journal::first_seen(db, &model.name)),
                false => Ok(None),
            };
            let Ok(first_seen) = first_seen else { continue };
            for Watched { watermark, mark, .. } in marks {
                if let Some(mark) = mark {
                    self.parts.metrics.show_watermark(&model.name, &watermark.column, mark.newest);
                }
                let Some(max_age) = watermark.max_age else { continue };
                let looked = match WatermarkState::of(*mark, first_seen, max_age, now) {
                    WatermarkState::Fresh => Counts { good: 1, valid: 1, unknown: 0 },
                    WatermarkState::Stale if !is_behind => Counts { good: 0, valid: 1, unknown: 0 },
                    WatermarkState::Stale | WatermarkState::Unknown => Counts { good: 0, valid: 0, unknown: 1 },
                };
                self.next.slis.count(&model.name, WATERMARK_SLI, &watermark.column, now, looked);
                self.parts.metrics.sli(&model.name, WATERMARK_SLI, &watermark.column).count(looked);
            }
        }
    }

    /// What is known of the watermarks that an alert is about, as facts of it; none where it is about others.
    pub(super) fn facts_of_watermarks(&self, change: &Change) -> Vec<(String, String)> {
        let (Condition::Sli { sli, .. } | Condition::Budget { sli, .. }) = &change.rule.condition else {
            return Vec::new();
        };
        if sli != WATERMARK_SLI {
            return Vec::new();
        }
        let fact = |labels: &driftline_alerts::Labels| {
            let (model, column) = (labels.get("model")?, labels.get("column")?);
            let state = self.models.get(model.as_str())?;
            let Watched { mark, .. } = state.watermarks.0.iter().find(|one| one.watermark.column == *column)?;
            Some(("Newest time".to_owned(), in_words(column, *mark, state.heard_at)))
        };
        change.alert.over().filter_map(|member| fact(&member.labels)).take(MAX_DESCRIBED).collect()
    }
}

/// What is known of a watermark, and whether anything came since it moved.
fn in_words(column: &str, mark: Option<Mark>, heard_at: i64) -> String {
    let requests = match heard_at {
        0 => "no request was ever counted".to_owned(),
        at => format!("the last request came {} UTC", second(at)),
    };
    match mark {
        None => format!("{column}: none was ever seen; {requests}"),
        Some(Mark { newest, moved_at }) if heard_at > moved_at => {
            format!("{column}: {} UTC, since {} UTC; {requests}", second(newest), second(moved_at))
        }
        Some(Mark { newest, moved_at }) => {
            format!("{column}: {} UTC, since {} UTC; no request came since", second(newest), second(moved_at))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use driftline_protocol::{Cell, Column, Role};

    use super::*;
    use crate::config::Config;

    const SECOND: i64 = 1_000_000;
    const NOW: i64 = 1_000_000 * SECOND;
    const HOUR: Duration = Duration::from_secs(3600);

    fn model() -> Model {
        let text = "models: [{name: m, event_time: {column: at, unit: seconds},
            slis: {watermarks: [{column: source_at, unit: seconds, max_age: 1h}], freshness: [{column: other_at, max_age: 1h}]}}]";
        Config::parse("d.yaml", text, Path::new("/")).unwrap().model("m")
    }

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    fn rows(columns: &[(&'static str, Vec<Cell<'static>>)]) -> Rows<'static> {
        let column = |(name, cells): &(&'static str, Vec<Cell<'static>>)| Column {
            name: (*name).into(),
            role: Role::Feature,
            cells: cells.clone().into(),
        };
        let mut rows = Rows::default();
        rows.count = columns[0].1.len();
        rows.columns = columns.iter().map(column).collect();
        rows
    }

    fn seconds(seconds: &[i64]) -> Vec<Cell<'static>> {
        seconds.iter().map(|second| Cell::Integer(*second)).collect()
    }

    fn newest(marks: &Watermarks) -> Vec<Option<i64>> {
        marks.0.iter().map(|watched| Some(watched.mark?.newest / SECOND)).collect()
    }

    #[test]
    fn the_newest_time_stays_over_a_restart_and_only_goes_on() {
        let (db, model) = (database(), model());
        let mut marks = Watermarks::load(&db, &model).unwrap();
        assert_eq!(newest(&marks), [None, None, None]);
        marks.see(&rows(&[("source_at", seconds(&[999_000, 999_500])), ("at", seconds(&[999_900, 1]))]), NOW);
        marks.see(&rows(&[("source_at", seconds(&[999_400]))]), NOW + SECOND);
        marks.see(&rows(&[("other_at", vec![Cell::Text("yesterday".into())])]), NOW + SECOND);
        assert_eq!(newest(&marks), [Some(999_500), None, Some(999_900)]);
        let new = marks.take_new();
        assert_eq!(new[0], ("source_at".to_owned(), Mark { newest: 999_500 * SECOND, moved_at: NOW }));
        store(&db, "m", &new).unwrap();
        assert_eq!(marks.take_new(), []);
        let mut again = Watermarks::load(&db, &model).unwrap();
        assert_eq!(newest(&again), [Some(999_500), None, Some(999_900)]);
        again.see(&rows(&[("source_at", seconds(&[999_501]))]), NOW + 2 * SECOND);
        store(&db, "m", &again.take_new()).unwrap();
        assert_eq!(stored(&db, "m", "source_at").unwrap().unwrap().newest, 999_501 * SECOND);
    }

    #[test]
    fn a_time_from_the_future_is_none_and_one_that_a_wrong_clock_let_in_gives_way() {
        let (db, model) = (database(), model());
        let mut marks = Watermarks::load(&db, &model).unwrap();
        let ahead = |by: i64| rows(&[("source_at", seconds(&[1_000_000 + by]))]);
        marks.see(&ahead(61), NOW);
        assert_eq!(newest(&marks)[0], None);
        marks.see(&ahead(60), NOW);
        assert_eq!(newest(&marks)[0], Some(1_000_060));
        // Our clock was a day ahead, and is put back.
        let day = 86_400;
        marks.see(&ahead(day), NOW + day * SECOND);
        let mark = marks.0[0].mark;
        assert_eq!(WatermarkState::of(mark, None, HOUR, NOW), WatermarkState::Unknown);
        marks.see(&ahead(5), NOW + 10 * SECOND);
        assert_eq!(newest(&marks)[0], Some(1_000_005));
    }

    #[test]
    fn a_watermark_grows_old_by_the_clock_and_before_the_first_the_model_waits() {
        let of = |newest: Option<i64>, first_seen: Option<i64>, now: i64| {
            let mark = newest.map(|newest| Mark { newest, moved_at: newest });
            WatermarkState::of(mark, first_seen, HOUR, now).name()
        };
        let hour = 3600 * SECOND;
        assert_eq!(of(None, None, NOW), "unknown", "nothing ever came");
        assert_eq!(of(None, Some(NOW - hour), NOW), "fresh");
        assert_eq!(of(None, Some(NOW - hour - 1), NOW), "stale", "rows came, and no time in them");
        assert_eq!(of(Some(NOW - hour), Some(0), NOW), "fresh");
        assert_eq!(of(Some(NOW - hour), Some(0), NOW + 1), "stale", "whatever else came, or did not");
        assert_eq!(of(Some(NOW + SECOND), Some(0), NOW), "fresh", "clocks differ");
    }

    #[test]
    fn an_alert_tells_a_source_that_stands_still_from_a_model_that_nobody_asks() {
        let mark = Some(Mark { newest: 0, moved_at: 60 * SECOND });
        assert_eq!(
            in_words("x", mark, 60 * SECOND),
            "x: 1970-01-01 00:00:00 UTC, since 1970-01-01 00:01:00 UTC; no request came since"
        );
        assert_eq!(
            in_words("x", mark, 90 * SECOND),
            "x: 1970-01-01 00:00:00 UTC, since 1970-01-01 00:01:00 UTC; the last request came 1970-01-01 00:01:30 UTC"
        );
        assert_eq!(in_words("x", None, 0), "x: none was ever seen; no request was ever counted");
    }
}
