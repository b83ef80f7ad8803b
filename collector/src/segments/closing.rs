//! From the panes of segments to what a window says of each, and to how much of the whole's drift is their mix.

use driftline_detectors::causes::{self, MixShift, SegmentPair};
use driftline_detectors::{
    Derivation, MIN_SEGMENT_ROWS, Parting, Profile, Reference, SEGMENT_DETECTORS, Score, Verdict,
};

use super::{KnownSegment, ModelSegments, Parted, SegmentPane};
use crate::config::Scoring;
use crate::pipeline::series::ClosedColumn;

/// One segment of a closed window.
#[derive(Debug, Clone)]
pub(crate) struct ClosedSegment {
    pub(crate) name: String,
    /// Its rows in the window.
    pub(crate) rows: u64,
    /// Its rows in the reference.
    pub(crate) reference_rows: u64,
    /// The columns that can be scored; those that drift have causes and bars.
    pub(crate) columns: Vec<ClosedColumn>,
}

impl ClosedSegment {
    /// The worst score, as it is shown.
    pub(crate) fn shown(&self) -> Option<WorstScore> {
        let (_, score) = self.worst()?;
        Some(WorstScore { limits: beyond(score), limit: score.threshold_in_force() })
    }

    /// The score that is furthest beyond its limit, or nearest to it, of those that were judged; with its column.
    pub(crate) fn worst(&self) -> Option<(&ClosedColumn, &Score)> {
        let scores = self.columns.iter().flat_map(|column| column.scores.iter().map(move |score| (column, score)));
        let judged = scores.filter(|(_, score)| score.verdict != Verdict::NotEnoughData);
        judged.max_by(|(_, a), (_, b)| beyond(a).total_cmp(&beyond(b)))
    }
}

/// A segment's worst score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WorstScore {
    /// How many times its limit it is.
    pub(crate) limits: f64,
    /// The limit that is in force.
    pub(crate) limit: f64,
}

/// How many times its limit a score is.
pub(crate) fn beyond(score: &Score) -> f64 {
    score.effect / score.threshold_in_force().max(f64::MIN_POSITIVE)
}

/// How a window is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing<'s> {
    pub(crate) scoring: &'s Scoring,
    /// Panes in which a segment must have rows.
    pub(crate) min_filled: u32,
}

/// One segment's rows of a window.
struct Total {
    rows: u64,
    filled: u32,
    profiles: Vec<Profile>,
}

impl ModelSegments {
    /// What the panes of a window say of each segment. Where the mix of segments accounts for what the whole's columns drift
    /// by, they get a cause of it.
    pub(crate) fn close(
        &self,
        panes: &[&[SegmentPane]],
        closing: Closing<'_>,
        whole: &mut [ClosedColumn],
    ) -> Vec<ClosedSegment> {
        let totals: Vec<Total> = (0..self.known().count()).map(|place| self.total(panes, place)).collect();
        for column in whole.iter_mut().filter(|column| causes::is_distribution_drift(&column.scores)) {
            if let Some((by, shift)) = self.mix(&column.column, &totals) {
                column.causes = causes::with_mix(std::mem::take(&mut column.causes), by, &shift);
            }
        }
        self.known().zip(&totals).map(|(segment, total)| close(segment, total, closing, self.is_in_budget)).collect()
    }

    fn total(&self, panes: &[&[SegmentPane]], place: usize) -> Total {
        let mut profiles: Vec<Profile> = self.shared.columns.iter().map(Reference::empty_profile).collect();
        let (mut rows, mut filled) = (0, 0);
        // A pane from before the segment was watched has none of it.
        for pane in panes.iter().filter_map(|segments| segments.get(place)).filter(|pane| pane.rows > 0) {
            rows += pane.rows;
            filled += 1;
            profiles.iter_mut().zip(&pane.profiles).for_each(|(total, profile)| total.merge(profile));
        }
        Total { rows, filled, profiles }
    }

    /// By which column's segments the mix accounts for most of what a column changed by, and for how much.
    fn mix(&self, column: &str, totals: &[Total]) -> Option<(&str, MixShift)> {
        let at = self.shared.columns.iter().position(|shared| shared.column == column)?;
        let mut totals = totals;
        let mut found: Option<(&str, MixShift)> = None;
        for Parted { parting, segments, .. } in &self.by {
            let (own, others) = totals.split_at(segments.len());
            totals = others;
            let Parting::Column { name, .. } = parting else { continue };
            if self.is_of(column, name) {
                continue;
            }
            let known: Vec<Profile> = segments.iter().map(|segment| segment.references[at].profile()).collect();
            let pairs: Vec<SegmentPair<'_>> = segments
                .iter()
                .zip(own)
                .zip(&known)
                .map(|((segment, total), reference)| SegmentPair {
                    name: &segment.name,
                    reference,
                    window: &total.profiles[at],
                })
                .collect();
            let shift = causes::mix(&self.shared.columns[at], &pairs);
            if let Some(shift) = shift.filter(|shift| found.as_ref().is_none_or(|(_, best)| best.share < shift.share)) {
                found = Some((name, shift));
            }
        }
        found
    }

    /// Whether a column is this one, or derived from it: its own mix is all that it can change by.
    fn is_of(&self, column: &str, source: &str) -> bool {
        let is_derived = |derivation: &Derivation| derivation.column() == source && derivation.gives(column);
        column == source || self.shared.derived.iter().any(is_derived)
    }
}

fn close(segment: &KnownSegment, total: &Total, closing: Closing<'_>, is_in_budget: bool) -> ClosedSegment {
    let is_covered = total.filled >= closing.min_filled;
    let scored = segment.references.iter().zip(&total.profiles);
    let scored = scored.filter(|(reference, _)| reference.profile().usable() >= MIN_SEGMENT_ROWS);
    let columns = scored.map(|(reference, profile)| {
        let mut detectors = closing.scoring.detectors(reference.kind());
        detectors.retain(|detector| SEGMENT_DETECTORS.contains(detector));
        let mut scores = reference.scores_of(detectors, profile, &closing.scoring.thresholds, is_covered);
        // The reference has the segment on too few days to say how far it may go by chance.
        for score in scores.iter_mut().filter(|score| is_in_budget && score.noise.budget.is_none()) {
            score.verdict = Verdict::NotEnoughData;
        }
        let drifts = scores.iter().any(|score| score.verdict == Verdict::Drift);
        ClosedColumn {
            column: reference.column.clone(),
            causes: reference.causes(profile, &scores),
            bars: if drifts { reference.histogram(profile) } else { Vec::new() },
            scores,
            beside: Vec::new(),
        }
    });
    ClosedSegment {
        name: segment.name.clone(),
        rows: total.rows,
        reference_rows: segment.rows,
        columns: columns.collect(),
    }
}
