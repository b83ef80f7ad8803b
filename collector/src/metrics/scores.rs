//! Scores that are shown: as many series of them as there is room for.

use super::Metrics;
use crate::segments::WorstScore;

/// Series of scores that are exposed. More columns than this are scored all the same, and read by the API.
const MAX_SCORE_SERIES: usize = 20_000;

impl Metrics {
    /// Shows a score and its limit, as long as there is room for its series.
    pub(crate) fn show_score(&self, series: [&str; 4], effect: f64, limit: f64) {
        if self.has_room(&series) {
            self.score.with_label_values(&series).set(effect);
            self.score_limit.with_label_values(&series).set(limit);
        }
    }

    /// Shows a score of a window beside earlier ones, as long as there is room for its series.
    pub(crate) fn show_beside(&self, series: [&str; 5], effect: f64, limit: f64) {
        if self.has_room(&series) {
            self.beside.with_label_values(&series).set(effect);
            self.beside_limit.with_label_values(&series).set(limit);
        }
    }

    /// Whether these series of a score may be exposed. It is counted when they may not.
    fn has_room(&self, series: &[&str]) -> bool {
        let owned: Vec<String> = series.iter().map(|label| (*label).to_owned()).collect();
        let has_room = self
            .score_series
            .lock()
            .is_ok_and(|mut known| known.contains(&owned) || (known.len() < MAX_SCORE_SERIES && known.insert(owned)));
        if !has_room {
            self.score_series_refused.inc();
        }
        has_room
    }

    /// Shows a segment's rows and its worst score, as long as there is room for its series. A segment of which nothing is
    /// judged has no worst score.
    pub(crate) fn show_segment(&self, series: [&str; 3], rows: u64, worst: Option<WorstScore>) {
        let owned = series.map(str::to_owned);
        let has_room = self
            .segment_series
            .lock()
            .is_ok_and(|mut known| known.contains(&owned) || (known.len() < MAX_SCORE_SERIES && known.insert(owned)));
        if !has_room {
            self.score_series_refused.inc();
            return;
        }
        self.segment_rows.with_label_values(&series).set(i64::try_from(rows).unwrap_or(i64::MAX));
        match worst {
            Some(worst) => {
                self.segment_worst.with_label_values(&series).set(worst.limits);
                self.segment_limit.with_label_values(&series).set(worst.limit);
            }
            None => self.forget_worst(&series),
        }
    }

    fn forget_worst<S: AsRef<str> + std::fmt::Debug>(&self, series: &[S; 3]) {
        // One of which nothing was judged has no worst score.
        self.segment_worst.remove_label_values(series).ok();
        self.segment_limit.remove_label_values(series).ok();
    }

    /// Forgets what was shown of a version's segments.
    pub(crate) fn forget_segments(&self, model: &str, version: &str) {
        let Ok(mut known) = self.segment_series.lock() else { return };
        known.retain(|series| {
            let is_kept = series[0] != model || series[1] != version;
            if !is_kept {
                self.segment_rows.remove_label_values(series).ok();
                self.forget_worst(series);
            }
            is_kept
        });
    }
}
