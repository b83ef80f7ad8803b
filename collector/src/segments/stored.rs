//! Segments in the database: their panes, and the scores of a model version's last windows.

use driftline_detectors::Profile;
use rusqlite::{Connection, params};

use super::{ClosedSegment, ModelSegments, SegmentPane, WorstScore};
use crate::causes::HISTORY_WINDOWS;
use crate::pipeline::judging;

/// Tables that hold what a window says of segments.
pub(crate) const WINDOW_TABLES: [&str; 3] = ["segment_windows", "segment_scores", "segment_causes"];

/// Panes of segments as bytes: those that hold rows, with their names. None when there are none.
pub(crate) fn panes_to_bytes(segments: &ModelSegments, panes: &[SegmentPane]) -> Option<Vec<u8>> {
    let named: Vec<(&str, u64, &[Profile])> = segments
        .names()
        .zip(panes)
        .filter(|(_, pane)| pane.rows > 0)
        .map(|(name, pane)| (name, pane.rows, pane.profiles.as_slice()))
        .collect();
    // Serialising plain data into memory cannot fail.
    (!named.is_empty()).then(|| postcard::to_stdvec(&named).unwrap_or_default())
}

/// Panes of segments that were stored, by their names.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn panes_of_bytes(bytes: &[u8]) -> Result<Vec<(String, SegmentPane)>, postcard::Error> {
    let named: Vec<(String, u64, Vec<Profile>)> = postcard::from_bytes(bytes)?;
    Ok(named.into_iter().map(|(name, rows, profiles)| (name, SegmentPane { rows, profiles })).collect())
}

/// Stores what a window says of segments, and forgets what is older than a version's last windows.
pub(crate) fn store_window(
    db: &Connection,
    (model, version, ends): (&str, &str, i64),
    segments: &[ClosedSegment],
) -> rusqlite::Result<()> {
    if segments.is_empty() {
        return Ok(());
    }
    for segment in segments {
        db.prepare_cached(
            "INSERT OR REPLACE INTO segment_windows (model, version, ends, segment, rows, reference_rows)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            model,
            version,
            ends,
            segment.name,
            segment.rows as i64,
            segment.reference_rows as i64
        ])?;
        store_columns(db, (model, version, ends), segment)?;
    }
    for table in WINDOW_TABLES {
        db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE model = ?1 AND version = ?2 AND ends <
                 (SELECT min(ends) FROM (SELECT ends FROM windows WHERE model = ?1 AND version = ?2
                                         ORDER BY ends DESC LIMIT ?3))"
        ))?
        .execute(params![model, version, HISTORY_WINDOWS])?;
    }
    Ok(())
}

/// What the last window of each of a model's versions said of segments: version, segment, rows, and the worst score.
pub(crate) fn last_windows(
    db: &Connection,
    model: &str,
    mut show: impl FnMut(&str, &str, u64, Option<WorstScore>),
) -> rusqlite::Result<()> {
    // Beside a maximum SQLite gives the other columns of its row.
    let mut statement = db.prepare(
        "SELECT version, segment, rows, max(effect / in_force), in_force
         FROM segment_windows AS one LEFT JOIN
              (SELECT *, max(threshold, coalesce(noise_budget, max(noise_independent, coalesce(noise_blocks, 0)))) AS in_force
               FROM segment_scores WHERE model = ?1 AND verdict != 'not_enough_data') AS score
              USING (model, version, ends, segment)
         WHERE model = ?1 AND ends = (SELECT max(ends) FROM windows WHERE model = ?1 AND version = one.version)
         GROUP BY version, segment",
    )?;
    let mut rows = statement.query([model])?;
    while let Some(row) = rows.next()? {
        let (version, segment): (String, String) = (row.get(0)?, row.get(1)?);
        let (limits, limit): (Option<f64>, Option<f64>) = (row.get(3)?, row.get(4)?);
        let worst = limits.zip(limit).map(|(limits, limit)| WorstScore { limits, limit });
        show(&version, &segment, row.get::<_, i64>(2)? as u64, worst);
    }
    Ok(())
}

fn store_columns(
    db: &Connection,
    (model, version, ends): (&str, &str, i64),
    segment: &ClosedSegment,
) -> rusqlite::Result<()> {
    for column in &segment.columns {
        for score in column.scores.iter().filter(|score| judging::is_finite(score)) {
            let verdict = serde_json::to_value(score.verdict).ok();
            db.prepare_cached(
                "INSERT OR REPLACE INTO segment_scores
                    (model, version, ends, segment, column_name, detector, value, upper, effect, interval_low,
                     interval_high, null_mean, n_reference, n_window, p_value, noise_independent, noise_blocks,
                     noise_budget, threshold, verdict)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            )?
            .execute(params![
                model,
                version,
                ends,
                segment.name,
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
                "INSERT OR REPLACE INTO segment_causes (model, version, ends, segment, column_name, causes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![model, version, ends, segment.name, column.column, causes])?;
        }
    }
    Ok(())
}
