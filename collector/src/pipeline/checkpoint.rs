//! Everything that a stretch of the journal changed, written in one transaction with the position that it reached.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use driftline_detectors::Profile;
use driftline_protocol::Role;
use rusqlite::{Connection, params};
use tokio::sync::mpsc::OwnedPermit;
use tracing::{error, warn};

use super::earlier::stored::{self as earlier, StoredEarlier};
use super::events::{self, Event};
use super::series::{ClosedWindow, SeriesProgress};
use super::slis::SliCounts;
use super::time_slices::CountedSlice;
use super::versions::{self, Span};
use super::watermarks::{self, Mark};
use super::{Pipeline, RETRY_PAUSE, TIDY_AGAIN, TIDY_INTERVAL, columns, judging, tidying};
use crate::alerting::book;
use crate::alerting::changes::{self, Change};
use crate::alerting::news::News;
use crate::archive::{self, Cut, Unfinished};
use crate::config::ColumnType;
use crate::failpoint::Failpoint;
use crate::segments::{SegmentPane, stored};
use crate::store::{Begun, StoreError};
use crate::telemetry::Spanning;
use crate::times::now_micros;

/// How often the last checkpoint is tried when the collector stops; it is made again from the journal otherwise.
const TRIES_AT_STOP: u32 = 5;

/// What changed since the last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    /// Every batch up to here was counted.
    pub(crate) counted_through: i64,
    /// New columns by model.
    pub(crate) columns: Vec<(String, Vec<NewColumn>)>,
    pub(crate) panes: Vec<StoredPane>,
    /// By model and version.
    pub(crate) progress: Vec<(String, String, SeriesProgress)>,
    /// Versions that began or ended, by model.
    pub(crate) versions: Vec<(String, Vec<Span>)>,
    /// Watermarks that moved, by model and column.
    pub(crate) watermarks: Vec<(String, Vec<(String, Mark)>)>,
    /// Versions that are not told apart any more, by model: their panes are not needed.
    pub(crate) forget_versions: Vec<(String, String)>,
    /// Panes of a model version before this are not needed any more.
    pub(crate) forget_panes: Vec<(String, String, i64)>,
    pub(crate) windows: Vec<StoredWindow>,
    /// Windows that later ones are compared with.
    pub(crate) earlier: Vec<StoredEarlier>,
    pub(crate) slis: SliCounts,
    /// What the windows were counted as.
    pub(crate) counted_slices: Vec<CountedSlice>,
    pub(crate) alerts: Vec<(String, String, String)>,
    pub(crate) news: Vec<News>,
    pub(crate) events: Vec<Event>,
    /// What was changed around models.
    pub(crate) changes: Vec<Change>,
    /// A cut that was made.
    pub(crate) cut: Option<Unfinished>,
    /// Whether to forget batches that were counted and archived.
    pub(crate) forget_journal: bool,
    /// Whether to forget what is older than it is kept.
    pub(crate) tidy: bool,
}

/// A column that was given a type: name, type, role.
pub(crate) type NewColumn = (String, ColumnType, Role);

/// A pane as it is stored.
#[derive(Debug)]
pub(crate) struct StoredPane {
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) start: i64,
    pub(crate) rows: u64,
    pub(crate) reference: String,
    pub(crate) profiles: Vec<u8>,
    /// Those of the segments that hold rows; none without any.
    pub(crate) segments: Option<Vec<u8>>,
}

/// A window as it is stored.
#[derive(Debug)]
pub(crate) struct StoredWindow {
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) reference: String,
    pub(crate) window: ClosedWindow,
}

/// A checkpoint that was handed to the writer.
#[derive(Debug)]
pub(super) struct Writing {
    checkpoint: Arc<Checkpoint>,
    begun: Begun<bool>,
    /// The cut that it records. It goes to the archive once it is recorded.
    cut: Option<(OwnedPermit<Cut>, Cut)>,
    span: Spanning,
}

impl Checkpoint {
    /// Whether there is anything to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
            && self.panes.is_empty()
            && self.progress.is_empty()
            && self.versions.is_empty()
            && self.watermarks.is_empty()
            && self.forget_versions.is_empty()
            && self.windows.is_empty()
            && self.earlier.is_empty()
            && self.slis.is_empty()
            && self.alerts.is_empty()
            && self.news.is_empty()
            && self.events.is_empty()
            && self.changes.is_empty()
            && self.cut.is_none()
            && !self.forget_journal
            && !self.tidy
    }

    /// Writes it all. True when there is more that was kept long enough.
    pub(crate) fn write(&self, db: &Connection, now: i64) -> rusqlite::Result<bool> {
        db.prepare_cached("INSERT OR REPLACE INTO progress (consumer, position) VALUES ('count', ?1)")?
            .execute([self.counted_through])?;
        for (model, new) in &self.columns {
            columns::store(db, model, new)?;
        }
        for pane in &self.panes {
            db.prepare_cached(
                "INSERT OR REPLACE INTO panes (model, version, start, rows, reference, profiles) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![pane.model, pane.version, pane.start, pane.rows as i64, pane.reference, pane.profiles])?;
            if let Some(segments) = &pane.segments {
                db.prepare_cached(
                    "INSERT OR REPLACE INTO segment_panes (model, version, start, reference, segments)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![pane.model, pane.version, pane.start, pane.reference, segments])?;
            }
        }
        for (model, version, progress) in &self.progress {
            db.prepare_cached(
                "INSERT OR REPLACE INTO window_progress (model, version, newest_event, closed_through, rows, late_rows)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                model,
                version,
                progress.newest_event,
                progress.closed_through,
                progress.rows as i64,
                progress.late_rows as i64
            ])?;
        }
        for (model, version, before) in &self.forget_panes {
            for table in ["panes", "segment_panes"] {
                db.prepare_cached(&format!("DELETE FROM {table} WHERE model = ?1 AND version = ?2 AND start < ?3"))?
                    .execute(params![model, version, before])?;
            }
        }
        for (model, spans) in &self.versions {
            versions::store(db, model, spans)?;
        }
        for (model, marks) in &self.watermarks {
            watermarks::store(db, model, marks)?;
        }
        for (model, version) in &self.forget_versions {
            for table in ["panes", "segment_panes", "window_progress", "earlier_windows"] {
                db.prepare_cached(&format!("DELETE FROM {table} WHERE model = ?1 AND version = ?2"))?
                    .execute([model, version])?;
            }
        }
        for window in &self.windows {
            store_window(db, window, now)?;
        }
        for kept in &self.earlier {
            earlier::store(db, kept)?;
        }
        self.slis.store(db)?;
        for counted in &self.counted_slices {
            counted.store(db)?;
        }
        book::store(db, &self.alerts, now)?;
        for news in &self.news {
            news.store(db, now)?;
        }
        events::store(db, &self.events, now)?;
        for change in &self.changes {
            changes::store(db, change)?;
        }
        if let Some(cut) = &self.cut {
            archive::record(db, cut, now)?;
        }
        if self.forget_journal {
            tidying::forget_journal(db, self.counted_through)?;
        }
        if self.tidy { tidying::tidy(db, now) } else { Ok(false) }
    }
}

impl Pipeline {
    /// Hands everything that changed to the writer, with the cut that is among it. [`Self::settle`] waits until it is written,
    /// and comes before the next.
    pub(super) fn checkpoint(
        &mut self,
        cut: Option<(OwnedPermit<Cut>, Cut)>,
        span: Spanning,
    ) -> Result<(), StoreError> {
        self.last_checkpoint = Instant::now();
        self.next.counted_through = self.counted_through;
        for model in self.models.values_mut() {
            let spans = model.versions.take_changed();
            if !spans.is_empty() {
                self.next.versions.push((model.name.to_string(), spans));
            }
            let moved = model.watermarks.take_new();
            if !moved.is_empty() {
                self.next.watermarks.push((model.name.to_string(), moved));
            }
            let new = model.columns.take_new();
            if !new.is_empty() {
                self.next.columns.push((model.name.to_string(), new));
            }
            for (version, series) in &mut model.series {
                let keep_from = series.keep_from();
                let (panes, progress) = series.take_dirty();
                for (start, pane) in panes {
                    self.next.panes.push(StoredPane {
                        model: model.name.to_string(),
                        version: version.to_string(),
                        start,
                        rows: pane.rows,
                        reference: model.references.identity.clone(),
                        profiles: profiles_to_bytes(&pane.profiles),
                        segments: model
                            .references
                            .segments
                            .as_ref()
                            .and_then(|segments| stored::panes_to_bytes(segments, &pane.segments)),
                    });
                }
                if let Some(progress) = progress {
                    self.next.progress.push((model.name.to_string(), version.to_string(), progress));
                    self.next
                        .forget_panes
                        .extend(keep_from.map(|from| (model.name.to_string(), version.to_string(), from)));
                }
            }
        }
        self.next.alerts.extend(self.book.take_changed());
        if self.next.is_empty() && self.counted_through == self.stored_through {
            return Ok(());
        }
        let checkpoint = Arc::new(std::mem::take(&mut self.next));
        Failpoint::CheckpointDue.pass();
        let begun = self.begin_writing(&checkpoint)?;
        self.writing = Some(Writing { checkpoint, begun, cut, span });
        Ok(())
    }

    fn begin_writing(&self, checkpoint: &Arc<Checkpoint>) -> Result<Begun<bool>, StoreError> {
        let checkpoint = Arc::clone(checkpoint);
        self.parts.store.writer.begin_blocking(move |db| checkpoint.write(db, now_micros()))
    }

    /// Waits until the checkpoint that is being written is, and tries until then: memory is ahead of the database meanwhile.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let Some(Writing { checkpoint, mut begun, cut, span }) = self.writing.take() else { return Ok(()) };
        let mut tries_at_stop = 0;
        let has_more = loop {
            match begun.wait() {
                Ok(has_more) => break has_more,
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => {
                    if self.stopping.load(Ordering::Relaxed) {
                        tries_at_stop += 1;
                        if tries_at_stop == TRIES_AT_STOP {
                            error!(%error, "the last checkpoint cannot be written; it is made again after the next start");
                            return Err(StoreError::Closed);
                        }
                    }
                    warn!(%error, "a checkpoint cannot be written; it will be tried again");
                    std::thread::sleep(RETRY_PAUSE);
                    begun = self.begin_writing(&checkpoint)?;
                }
            }
        };
        drop(span);
        if checkpoint.tidy {
            self.next_tidying = Instant::now() + if has_more { TIDY_AGAIN } else { TIDY_INTERVAL };
        }
        Failpoint::CheckpointWritten.pass();
        self.stored_through = checkpoint.counted_through;
        self.parts.metrics.counted_position.set(checkpoint.counted_through);
        self.show_alerts();
        if let Some((permit, cut)) = cut {
            Failpoint::CutRecorded.pass();
            permit.send(cut);
        }
        if self.book.holds(self.evaluated_at) {
            // What may explain it is counted by now.
            self.evaluate_slis()?;
        }
        Ok(())
    }
}

/// Stores a window with its scores.
pub(super) fn store_window(db: &Connection, stored: &StoredWindow, now: i64) -> rusqlite::Result<()> {
    let StoredWindow { model, version, reference, window } = stored;
    db.prepare_cached(
        "INSERT OR REPLACE INTO windows (model, version, ends, starts, rows, filled, panes, reference, closed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        model,
        version,
        window.ends,
        window.starts,
        window.rows as i64,
        window.filled,
        window.panes,
        reference,
        now
    ])?;
    for column in &window.columns {
        // The database holds no number that is none, and would refuse the checkpoint for good.
        for score in column.scores.iter().filter(|score| judging::is_finite(score)) {
            let verdict = serde_json::to_value(score.verdict).ok();
            db.prepare_cached(
                "INSERT OR REPLACE INTO scores
                    (model, version, ends, column_name, detector, value, upper, effect, interval_low, interval_high,
                     null_mean, n_reference, n_window, p_value, noise_independent, noise_blocks, noise_budget,
                     threshold, verdict)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            )?
            .execute(params![
                model,
                version,
                window.ends,
                column.column,
                score.detector.name(),
                score.value,
                score.upper,
                score.effect,
                score.interval.0,
                score.interval.1,
                score.null_mean,
                score.n_reference as i64,
                score.n_window as i64,
                score.p_value,
                score.noise.independent,
                score.noise.blocks,
                score.noise.budget,
                score.threshold,
                verdict.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default(),
            ])?;
        }
        if !column.causes.is_empty() {
            let causes = serde_json::to_string(&column.causes).unwrap_or_else(|_| "[]".to_owned());
            db.prepare_cached(
                "INSERT OR REPLACE INTO causes (model, version, ends, column_name, causes) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![model, version, window.ends, column.column, causes])?;
        }
        let bars = serde_json::to_string(&column.bars).unwrap_or_else(|_| "[]".to_owned());
        db.prepare_cached(
            "INSERT OR REPLACE INTO histograms (model, version, ends, column_name, bars) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![model, version, window.ends, column.column, bars])?;
        earlier::store_beside(db, (model, version, window.ends), column)?;
    }
    stored::store_window(db, (model, version, window.ends), &window.segments)
}

/// Profiles as bytes.
pub(crate) fn profiles_to_bytes(profiles: &[Profile]) -> Vec<u8> {
    // Serialising plain data into memory cannot fail.
    postcard::to_stdvec(profiles).unwrap_or_default()
}

/// What is stored of a model's versions: progress, and the panes that still count.
pub(crate) struct StoredSeries {
    pub(crate) progress: SeriesProgress,
    pub(crate) panes: Vec<OpenPane>,
}

/// A pane that still counts.
pub(crate) struct OpenPane {
    pub(crate) start: i64,
    pub(crate) rows: u64,
    pub(crate) profiles: Vec<Profile>,
    /// The panes of segments that hold rows, by name.
    pub(crate) segments: Vec<(String, SegmentPane)>,
}

/// What the last window of each of a model's versions said: version, column, score, effect and the limit in force.
pub(crate) fn last_scores(
    db: &Connection,
    model: &str,
    mut show: impl FnMut(&str, &str, &str, f64, f64),
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT version, column_name, detector, effect,
                max(threshold, coalesce(noise_budget, max(noise_independent, coalesce(noise_blocks, 0))))
         FROM scores AS score
         WHERE model = ?1 AND ends = (SELECT max(ends) FROM windows WHERE model = ?1 AND version = score.version)",
    )?;
    let mut rows = statement.query([model])?;
    while let Some(row) = rows.next()? {
        let (version, column, detector): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        show(&version, &column, &detector, row.get(3)?, row.get(4)?);
    }
    Ok(())
}

/// Reads a model's versions. Panes that were counted on another reference are left out: they do not add up with this one.
pub(crate) fn load_series(
    db: &Connection,
    model: &str,
    reference: &str,
) -> rusqlite::Result<BTreeMap<String, StoredSeries>> {
    let mut series: BTreeMap<String, StoredSeries> = db
        .prepare("SELECT version, newest_event, closed_through, rows, late_rows FROM window_progress WHERE model = ?1")?
        .query_map([model], |row| {
            let progress = SeriesProgress {
                newest_event: row.get(1)?,
                closed_through: row.get(2)?,
                rows: row.get::<_, i64>(3)? as u64,
                late_rows: row.get::<_, i64>(4)? as u64,
            };
            Ok((row.get(0)?, StoredSeries { progress, panes: Vec::new() }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = db.prepare(
        "SELECT version, start, rows, profiles, segments FROM panes
         LEFT JOIN segment_panes USING (model, version, start, reference)
         WHERE model = ?1 AND reference = ?2 ORDER BY start",
    )?;
    let mut rows = statement.query([model, reference])?;
    while let Some(row) = rows.next()? {
        let version: String = row.get(0)?;
        let bytes: Vec<u8> = row.get(3)?;
        match (series.get_mut(&version), postcard::from_bytes::<Vec<Profile>>(&bytes)) {
            (Some(series), Ok(profiles)) => {
                let segments =
                    row.get::<_, Option<Vec<u8>>>(4)?.map_or(Ok(Vec::new()), |bytes| stored::panes_of_bytes(&bytes));
                let segments = segments.unwrap_or_else(|error| {
                    tracing::warn!(model, version, %error, "a stored pane's segments cannot be read, and are left out");
                    Vec::new()
                });
                let (start, rows) = (row.get(1)?, row.get::<_, i64>(2)? as u64);
                series.panes.push(OpenPane { start, rows, profiles, segments });
            }
            (_, Err(error)) => tracing::warn!(model, version, %error, "a stored pane cannot be read, and is left out"),
            (None, _) => {}
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use driftline_detectors::{ColumnKind, ReferenceBuilder, Thresholds};

    use super::*;
    use crate::pipeline::series::ClosedColumn;

    #[test]
    fn a_score_that_is_no_number_does_not_hold_the_checkpoint_up() {
        let db = crate::store::in_memory().unwrap();
        let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
        (0..100).for_each(|i| builder.number(None, f64::from(i)));
        let reference = builder.build(None).unwrap();
        let mut scores = reference.scores(&reference.profile(), &Thresholds::default(), true);
        let all = scores.len();
        scores[0].value = f64::NAN;
        let column =
            ClosedColumn { column: "x".into(), scores, causes: Vec::new(), bars: Vec::new(), beside: Vec::new() };
        let window = ClosedWindow {
            starts: 0,
            ends: 1,
            rows: 100,
            filled: 1,
            panes: 1,
            columns: vec![column],
            profiles: Vec::new(),
            segments: Vec::new(),
        };
        let window = StoredWindow { model: "m".into(), version: "1".into(), reference: String::new(), window };
        let checkpoint = Checkpoint { windows: vec![window], counted_through: 7, ..Checkpoint::default() };
        checkpoint.write(&db, 0).unwrap();
        let stored: i64 = db.query_row("SELECT count(*) FROM scores", [], |row| row.get(0)).unwrap();
        assert_eq!(stored as usize, all - 1);
    }
}
