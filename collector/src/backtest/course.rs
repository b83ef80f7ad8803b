//! What the report shows of every column: its scores over the windows, and the window that lay farthest from the reference.

use std::collections::BTreeMap;

use driftline_detectors::{Bar, Detector, Score, Verdict};

use crate::pipeline::series::ClosedWindow;

/// Columns of model versions that are followed; past it they are judged as the others, and only not shown.
const MAX_COLUMNS: usize = 1000;
/// Points that a line is drawn through.
const MAX_POINTS: usize = 240;

/// Every column of every model version.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) columns: BTreeMap<Name, ColumnCourse>,
    /// Whether there were more columns than are followed.
    pub(crate) is_cut: bool,
}

/// Which column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) column: String,
}

/// One column over the windows.
#[derive(Debug, Default)]
pub(crate) struct ColumnCourse {
    pub(crate) lines: BTreeMap<Detector, Line>,
    pub(crate) worst: Option<Worst>,
}

/// The window in which a score lay farthest over its limit, or the least below it.
#[derive(Debug)]
pub(crate) struct Worst {
    /// The largest of its scores, in limits.
    pub(crate) limits: f64,
    pub(crate) starts: i64,
    pub(crate) ends: i64,
    pub(crate) rows: u64,
    pub(crate) scores: Vec<Score>,
    pub(crate) bars: Vec<Bar>,
}

/// A score over time, in limits: above 1 it drifts. Of windows that share a point, the largest is shown.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) points: Vec<f64>,
    /// Windows to a point, as a power of two.
    doubled: u32,
    /// Windows in the last point.
    in_last: u32,
    /// Windows that drifted.
    pub(crate) drifted: u64,
    pub(crate) windows: u64,
}

impl Course {
    /// Takes the window that closes next.
    pub(crate) fn take(&mut self, model: &str, version: &str, window: &ClosedWindow) {
        for column in &window.columns {
            let name = Name { model: model.to_owned(), version: version.to_owned(), column: column.column.clone() };
            if !self.columns.contains_key(&name) && self.columns.len() >= MAX_COLUMNS {
                self.is_cut = true;
                continue;
            }
            let course = self.columns.entry(name).or_default();
            for score in &column.scores {
                course.lines.entry(score.detector).or_default().push(score);
            }
            let limits = column.scores.iter().filter_map(in_limits).fold(f64::NEG_INFINITY, f64::max);
            if course.worst.as_ref().is_none_or(|worst| limits > worst.limits) {
                course.worst = Some(Worst {
                    limits,
                    starts: window.starts,
                    ends: window.ends,
                    rows: window.rows,
                    scores: column.scores.clone(),
                    bars: column.bars.clone(),
                });
            }
        }
    }
}

/// How many limits a score's effect is; none where it says nothing.
fn in_limits(score: &Score) -> Option<f64> {
    let limit = score.threshold_in_force();
    (score.verdict != Verdict::NotEnoughData && limit > 0.0).then(|| score.effect / limit)
}

impl Line {
    fn push(&mut self, score: &Score) {
        self.windows += 1;
        self.drifted += u64::from(score.verdict == Verdict::Drift);
        let Some(limits) = in_limits(score) else { return };
        match self.points.last_mut() {
            Some(last) if self.in_last < 1 << self.doubled => {
                *last = last.max(limits);
                self.in_last += 1;
            }
            _ => {
                self.make_room();
                self.points.push(limits);
                self.in_last = 1;
            }
        }
    }

    /// Joins neighbours once there are as many points as are drawn.
    fn make_room(&mut self) {
        if self.points.len() >= MAX_POINTS {
            self.points = self.points.chunks(2).map(|pair| pair.iter().copied().fold(0.0, f64::max)).collect();
            self.doubled = (self.doubled + 1).min(30);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_any_length_keeps_its_peak_within_its_points() {
        let mut line = Line::default();
        let score = |effect: f64| Score {
            detector: Detector::Psi,
            value: effect,
            upper: effect,
            effect,
            interval: (effect, effect),
            null_mean: 0.0,
            n_reference: 9,
            n_window: 9,
            p_value: 1.0,
            noise: driftline_detectors::Noise { independent: 0.0, blocks: None, budget: None },
            threshold: 0.2,
            verdict: if effect > 0.2 { Verdict::Drift } else { Verdict::Ok },
        };
        (0..10_000).for_each(|window| line.push(&score(if window == 4321 { 0.8 } else { 0.1 })));
        assert!(line.points.len() <= MAX_POINTS && line.points.len() > MAX_POINTS / 4, "{}", line.points.len());
        assert_eq!(line.points.iter().filter(|limits| **limits > 3.9).count(), 1);
        assert_eq!((line.drifted, line.windows), (1, 10_000));
    }
}
