//! Everything that a stretch of the journal changed, written in one transaction with the position that it reached.

use std::collections::BTreeMap;

use driftline_alerts::Notification;
use driftline_detectors::Profile;
use driftline_protocol::Role;
use rusqlite::{Connection, params};

use super::columns;
use super::events::{self, Event};
use super::series::{ClosedWindow, SeriesProgress};
use super::slis::SliCounts;
use crate::alerting::{book, outbox};
use crate::archive;
use crate::config::ColumnType;

/// Windows and scores are kept for so long: a year and a month.
const KEEP_SCORES_MICROS: i64 = 400 * 86_400_000_000;
/// Slices of indicators are kept for a week.
const KEEP_SLICES_MICROS: i64 = 7 * 86_400_000_000;
/// A sidecar that was not heard of for a week will not send again what it sent then.
const KEEP_SENDERS_MICROS: i64 = 7 * 86_400_000_000;

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
    /// Panes of a model version before this are not needed any more.
    pub(crate) forget_panes: Vec<(String, String, i64)>,
    pub(crate) windows: Vec<StoredWindow>,
    pub(crate) slis: SliCounts,
    pub(crate) alerts: Vec<(String, String, String)>,
    pub(crate) notifications: Vec<ToTell>,
    pub(crate) events: Vec<Event>,
    /// A cut of these journal positions.
    pub(crate) cut: Option<(i64, i64)>,
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
}

/// A window as it is stored.
#[derive(Debug)]
pub(crate) struct StoredWindow {
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) reference: String,
    pub(crate) window: ClosedWindow,
}

/// A notification and who gets it.
#[derive(Debug)]
pub(crate) struct ToTell {
    pub(crate) notification: Notification,
    pub(crate) fingerprint: String,
    pub(crate) runbook: String,
    pub(crate) targets: Vec<String>,
}

impl Checkpoint {
    /// Whether there is anything to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
            && self.panes.is_empty()
            && self.progress.is_empty()
            && self.windows.is_empty()
            && self.slis.is_empty()
            && self.alerts.is_empty()
            && self.notifications.is_empty()
            && self.events.is_empty()
            && self.cut.is_none()
            && !self.tidy
    }

    /// Writes it all.
    pub(crate) fn write(&self, db: &Connection, now: i64) -> rusqlite::Result<()> {
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
            db.prepare_cached("DELETE FROM panes WHERE model = ?1 AND version = ?2 AND start < ?3")?
                .execute(params![model, version, before])?;
        }
        for window in &self.windows {
            store_window(db, window, now)?;
        }
        self.slis.store(db)?;
        book::store(db, &self.alerts, now)?;
        for told in &self.notifications {
            store_notification(db, told, now)?;
        }
        events::store(db, &self.events, now)?;
        if let Some((first, last)) = self.cut {
            archive::record_cut(db, first, last, now)?;
        }
        if self.tidy {
            tidy(db, self.counted_through, now)?;
        }
        Ok(())
    }
}

fn store_window(db: &Connection, stored: &StoredWindow, now: i64) -> rusqlite::Result<()> {
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
        for score in &column.scores {
            let verdict = serde_json::to_value(score.verdict).ok();
            db.prepare_cached(
                "INSERT OR REPLACE INTO scores
                    (model, version, ends, column_name, detector, value, upper, effect, n_reference, n_window, p_value,
                     noise_independent, noise_blocks, threshold, verdict)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
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
                score.n_reference as i64,
                score.n_window as i64,
                score.p_value,
                score.noise.independent,
                score.noise.blocks,
                score.threshold,
                verdict.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default(),
            ])?;
        }
        let bars = serde_json::to_string(&column.bars).unwrap_or_else(|_| "[]".to_owned());
        db.prepare_cached(
            "INSERT OR REPLACE INTO histograms (model, version, ends, column_name, bars) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![model, version, window.ends, column.column, bars])?;
    }
    Ok(())
}

fn store_notification(db: &Connection, told: &ToTell, now: i64) -> rusqlite::Result<()> {
    let notification = &told.notification;
    match notification.resolved_at {
        None => {
            let text = serde_json::to_string(notification).unwrap_or_default();
            db.prepare_cached(
                "INSERT OR REPLACE INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                notification.episode,
                told.fingerprint,
                notification.rule,
                notification.severity.name(),
                told.runbook,
                notification.started_at,
                text
            ])?;
        }
        Some(resolved_at) => {
            db.prepare_cached("UPDATE episodes SET resolved_at = ?2 WHERE id = ?1")?
                .execute(params![notification.episode, resolved_at])?;
        }
    }
    outbox::put(db, notification, &told.targets, now)
}

/// Forgets what was kept long enough, and batches that were both counted and archived.
fn tidy(db: &Connection, counted_through: i64, now: i64) -> rusqlite::Result<()> {
    let through = archive::archived_through(db)?.min(counted_through);
    crate::store::journal::forget_through(db, through)?;
    for (table, column) in
        [("windows", "closed_at"), ("sli_counts", "slice"), ("latencies", "slice"), ("senders", "heard_at")]
    {
        let keep = match table {
            "windows" => KEEP_SCORES_MICROS,
            "senders" => KEEP_SENDERS_MICROS,
            _ => KEEP_SLICES_MICROS,
        };
        db.prepare_cached(&format!("DELETE FROM {table} WHERE {column} < ?1"))?.execute([now - keep])?;
    }
    for table in ["scores", "histograms"] {
        db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE (model, version, ends) NOT IN (SELECT model, version, ends FROM windows)"
        ))?
        .execute([])?;
    }
    Ok(())
}

/// Profiles as bytes.
pub(crate) fn profiles_to_bytes(profiles: &[Profile]) -> Vec<u8> {
    // Serialising plain data into memory cannot fail.
    postcard::to_stdvec(profiles).unwrap_or_default()
}

/// What is stored of a model's versions: progress, and the panes that still count.
pub(crate) struct StoredSeries {
    pub(crate) progress: SeriesProgress,
    pub(crate) panes: Vec<(i64, u64, Vec<Profile>)>,
}

/// What the last window of each of a model's versions said: version, column, score, effect and the limit in force.
pub(crate) fn last_scores(
    db: &Connection,
    model: &str,
    mut show: impl FnMut(&str, &str, &str, f64, f64),
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(
        "SELECT version, column_name, detector, effect, max(threshold, noise_independent, coalesce(noise_blocks, 0))
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
        "SELECT version, start, rows, profiles FROM panes WHERE model = ?1 AND reference = ?2 ORDER BY start",
    )?;
    let mut rows = statement.query([model, reference])?;
    while let Some(row) = rows.next()? {
        let version: String = row.get(0)?;
        let bytes: Vec<u8> = row.get(3)?;
        match (series.get_mut(&version), postcard::from_bytes::<Vec<Profile>>(&bytes)) {
            (Some(series), Ok(profiles)) => series.panes.push((row.get(1)?, row.get::<_, i64>(2)? as u64, profiles)),
            (_, Err(error)) => tracing::warn!(model, version, %error, "a stored pane cannot be read, and is left out"),
            (None, _) => {}
        }
    }
    Ok(series)
}
