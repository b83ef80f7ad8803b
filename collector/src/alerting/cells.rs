//! Where the worst column of an alert moved: in which cells, and in which segments.

use driftline_alerts::Member;
use driftline_detectors::{Bar, Verdict};

use crate::numbers::{percent, significant};
use crate::pipeline::HEADLINE;
use crate::pipeline::series::{ClosedColumn, ClosedWindow};
use crate::segments::beyond;

/// Cells that are named, and segments.
const MAX_NAMED: usize = 3;
/// Of less than this share nobody has to be told.
const LEAST_MOVED: f64 = 0.005;

/// The cells whose shares moved furthest from the reference's, as a fact; none of a column without cells, or of one that was
/// held against earlier windows only.
pub(super) fn that_moved(column: &ClosedColumn) -> Option<String> {
    let moved = |bar: &Bar| (bar.window - bar.reference).abs();
    let mut cells: Vec<&Bar> = column.bars.iter().filter(|bar| moved(bar) >= LEAST_MOVED).collect();
    cells.sort_by(|a, b| moved(b).total_cmp(&moved(a)));
    let named = |bar: &Bar| format!("{} ({}, was {})", bar.label, percent(bar.window), percent(bar.reference));
    let named: Vec<String> = cells.into_iter().take(MAX_NAMED).map(named).collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// The segments in which a member's column drifts furthest, as a fact; none where there are no segments, or where it drifts in
/// none of them by itself.
pub(super) fn segments_that_moved(member: &Member, window: &ClosedWindow) -> Option<String> {
    let name = member.labels.get("column")?;
    if member.labels.contains_key("segment") {
        return None;
    }
    let score = |column: &ClosedColumn| {
        let score = column.scores.iter().find(|score| score.detector == HEADLINE)?.clone();
        (column.column == *name && score.verdict == Verdict::Drift).then_some(score)
    };
    let drifts = window
        .segments
        .iter()
        .filter_map(|segment| Some((segment.name.as_str(), segment.columns.iter().find_map(score)?)));
    let mut drifts: Vec<_> = drifts.collect();
    drifts.sort_by(|(_, a), (_, b)| beyond(b).total_cmp(&beyond(a)));
    let named: Vec<String> = drifts
        .iter()
        .take(MAX_NAMED)
        .map(|(segment, score)| format!("{segment} ({} {})", HEADLINE.name(), significant(score.effect)))
        .collect();
    let (drifting, all) = (drifts.len(), window.segments.len());
    (!named.is_empty()).then(|| format!("{}; {name} drifts in {drifting} of {all}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use driftline_alerts::{Labels, Reading, Unjudged};
    use driftline_detectors::{ColumnKind, ReferenceBuilder, Thresholds};

    use super::*;
    use crate::segments::ClosedSegment;

    fn bar(label: &str, reference: f64, window: f64) -> Bar {
        Bar { label: label.to_owned(), from: None, to: None, reference, window }
    }

    /// A column that drifts by so much of the headline score; none when it does not.
    fn column(effect: Option<f64>, bars: Vec<Bar>) -> ClosedColumn {
        let mut builder = ReferenceBuilder::new("temp", ColumnKind::Numeric);
        (0..100).for_each(|i| builder.number(None, f64::from(i)));
        let reference = builder.build(None).unwrap();
        let mut scores = reference.scores(&reference.profile(), &Thresholds::default(), true);
        for score in scores.iter_mut().filter(|score| score.detector == HEADLINE) {
            score.verdict = effect.map_or(Verdict::Ok, |_| Verdict::Drift);
            score.effect = effect.unwrap_or(0.0);
        }
        ClosedColumn { column: "temp".into(), scores, causes: Vec::new(), bars, beside: Vec::new() }
    }

    #[test]
    fn the_cells_that_moved_furthest_are_named_whether_they_grew_or_shrank() {
        let bars = vec![bar("UA", 0.5, 0.2), bar("DL", 0.25, 0.25), bar("AA", 0.2, 0.3), bar("ZZ", 0.0, 0.25)];
        let said = that_moved(&column(None, bars)).unwrap();
        assert_eq!(said, "UA (20%, was 50%), ZZ (25%, was 0%), AA (30%, was 20%)");
        assert_eq!(that_moved(&column(None, vec![bar("UA", 0.5, 0.501)])), None, "that is nothing");
        assert_eq!(that_moved(&column(None, Vec::new())), None);
    }

    #[test]
    fn the_segments_in_which_it_drifts_furthest_are_named_and_an_alert_of_segments_names_none_again() {
        let segment = |name: &str, effect: Option<f64>| {
            let columns = vec![column(effect, Vec::new())];
            ClosedSegment { name: name.to_owned(), rows: 9, reference_rows: 9, columns }
        };
        let segments =
            vec![segment("origin=EWR", Some(0.5)), segment("origin=JFK", Some(2.0)), segment("origin=LGA", None)];
        let (columns, profiles) = (Vec::new(), Vec::new());
        let window = ClosedWindow { starts: 0, ends: 1, rows: 9, filled: 1, panes: 1, columns, profiles, segments };
        let member = |labels: &[(&str, &str)]| Member {
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Labels>(),
            recent: vec![true],
            last: Reading::NotEnoughData,
            said_at: 0,
            over: true,
            was_over: true,
            unobserved: 0,
            unjudged: Unjudged::default(),
        };
        let said = segments_that_moved(&member(&[("column", "temp")]), &window).unwrap();
        assert_eq!(said, "origin=JFK (psi 2), origin=EWR (psi 0.5); temp drifts in 2 of 3");
        assert_eq!(segments_that_moved(&member(&[("column", "dewp")]), &window), None);
        assert_eq!(segments_that_moved(&member(&[("column", "temp"), ("segment", "origin=JFK")]), &window), None);
    }
}
