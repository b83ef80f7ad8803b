//! Segments that part the rows are together the whole, in the reference and in windows; and a file keeps them.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::{
    ColumnKind, Detector, FORMAT, Parting, Reference, ReferenceBuilder, ReferenceFile, RowValue, Rows, SEGMENT_CUTS,
    SEGMENT_DETECTORS, Segment, Segmentation, Segments, Thresholds, VERSION, Verdict, WindowShape,
};
use proptest::prelude::*;

/// Rows of two columns: the segment of each, its pane, and its number.
#[derive(Debug, Clone)]
struct Numbers(Vec<(usize, i64, f64)>);

impl Rows for Numbers {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        self.0.iter().for_each(|(_, pane, number)| take(Some(*pane), RowValue::Number(*number)));
        Ok(())
    }
}

impl Numbers {
    fn of(&self, segment: usize) -> Self {
        Self(self.0.iter().copied().filter(|(own, ..)| *own == segment).collect())
    }

    fn values(&self) -> Vec<f64> {
        self.0.iter().map(|(_, _, number)| *number).collect()
    }
}

fn any_rows() -> impl Strategy<Value = Numbers> {
    let value = prop_oneof![
        5 => -1000.0..1000.0f64,
        3 => (-50..50i32).prop_map(f64::from),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(0.0)],
    ];
    proptest::collection::vec((0usize..3, 0i64..9, value), 1..600).prop_map(Numbers)
}

fn whole_of(rows: &Numbers) -> Option<Reference> {
    Reference::of_rows("x", ColumnKind::Numeric, rows, None).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn segments_that_part_the_rows_add_up_to_the_whole(reference in any_rows(), window in any_rows()) {
        let Some(whole) = whole_of(&reference) else { return Ok(()) };
        let shared = whole.in_segments(&reference).unwrap().unwrap();
        let mut of_reference = shared.empty_profile();
        let (mut of_window, mut all) = (shared.empty_profile(), shared.empty_profile());
        shared.count_numbers(&mut all, &window.values());
        for segment in 0..3 {
            of_reference.merge(&shared.of_segment(&reference.of(segment), None).unwrap().profile);
            let mut own = shared.empty_profile();
            shared.count_numbers(&mut own, &window.of(segment).values());
            of_window.merge(&own);
        }
        for (sum, counted) in [(of_reference, shared.profile()), (of_window, all)] {
            let (driftline_detectors::Profile::Numeric(sum), driftline_detectors::Profile::Numeric(counted)) = (sum, counted)
            else { panic!() };
            // Sums of floating-point numbers depend on their order; counts do not.
            prop_assert_eq!((&sum.cells, sum.nan, sum.infinite, sum.range), (&counted.cells, counted.nan, counted.infinite, counted.range));
            for (a, b) in sum.open_sums.iter().zip(&counted.open_sums) {
                prop_assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{} {}", a, b);
            }
        }
    }

    #[test]
    fn shared_cells_are_few_and_hold_no_large_part_of_the_rows(values in proptest::collection::vec(-1e6..1e6f64, 1..6000)) {
        let rows = Numbers(values.into_iter().map(|value| (0, 0, value)).collect());
        let shared = whole_of(&rows).unwrap().in_segments(&rows).unwrap().unwrap();
        let driftline_detectors::Normal::Numeric { grid, profile, .. } = &shared.normal else { panic!() };
        prop_assert!(grid.cuts().len() <= SEGMENT_CUTS);
        let largest = profile.cells.iter().step_by(2).max().copied().unwrap_or(0) as f64;
        // A quantile of the whole's grid is off by half a cell of it.
        prop_assert!(largest / rows.0.len() as f64 <= 1.0 / 127.0 + 2.0 / 1024.0, "{}", largest);
    }
}

fn known(values: &[&str], segments: usize) -> Segments {
    let rows = Numbers((0..900).map(|row| (row % 3, row as i64 / 30, row as f64)).collect());
    let shared = whole_of(&rows).unwrap().in_segments(&rows).unwrap().unwrap();
    let segment = |segment| {
        let own = rows.of(segment);
        Segment { rows: own.0.len() as u64, columns: vec![shared.of_segment(&own, None).unwrap()] }
    };
    let parting =
        Parting::Column { name: "origin".into(), values: values.iter().map(|value| (*value).to_owned()).collect() };
    let by = vec![Segmentation { parting, segments: (0..segments).map(segment).collect() }];
    Segments { columns: vec![shared], by }
}

fn file(segments: Option<Segments>) -> ReferenceFile {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    builder.number(None, 1.0);
    ReferenceFile {
        format: FORMAT.to_owned(),
        version: VERSION,
        model: "flights".to_owned(),
        rows: 900,
        sources: vec![],
        options: vec![],
        built_at: "2026-01-31T12:00:00Z".to_owned(),
        window: None,
        derived: vec![],
        columns: vec![builder.build(None).unwrap()],
        segments,
    }
}

#[test]
fn a_file_keeps_its_segments_and_one_without_any_says_nothing_of_them() {
    let with = file(Some(known(&["EWR", "JFK"], 3)));
    assert_eq!(ReferenceFile::parse(&with.to_text().unwrap()).unwrap(), with);
    let without = file(None).to_text().unwrap();
    assert!(!without.contains("segments"), "what reads no segments reads it as before");
    assert_eq!(ReferenceFile::parse(&without).unwrap().segments, None);
}

#[test]
fn segments_that_do_not_fit_are_refused() {
    let refused = |segments| ReferenceFile::parse(&file(Some(segments)).to_text().unwrap()).unwrap_err().to_string();
    assert!(refused(known(&["EWR", "JFK"], 2)).contains("3 segments, and counts of 2"));
    assert!(refused(known(&["EWR", "EWR"], 3)).contains("'origin=EWR' of the reference file is inconsistent"));
    let mut other_cells = known(&["EWR", "JFK"], 3);
    let driftline_detectors::Profile::Numeric(profile) = &mut other_cells.by[0].segments[1].columns[0].profile else {
        panic!()
    };
    profile.cells.pop();
    assert!(refused(other_cells).contains("not on the cells"));
}

#[test]
fn a_segment_is_compared_with_itself() {
    let rows = Numbers((0..9000).map(|row| (row % 3, 0, (row % 100 + 100 * (row % 3)) as f64)).collect());
    let shared = whole_of(&rows).unwrap().in_segments(&rows).unwrap().unwrap();
    let segments = Segments { columns: vec![shared.clone()], by: vec![] };
    let own = segments.reference(0, &shared.of_segment(&rows.of(2), None).unwrap());
    let mut window = own.empty_profile();
    own.count_numbers(&mut window, &rows.of(2).values());
    let psi =
        |reference: &Reference| reference.scores_of([Detector::Psi], &window, &Thresholds::default(), true)[0].verdict;
    assert_eq!((psi(&own), psi(&shared)), (Verdict::Ok, Verdict::Drift));
}

#[test]
fn a_segments_own_stretches_of_time_say_how_far_it_may_go() {
    // Days differ by more than their rows do.
    let row = |row: usize| (row % 2, (row / 40) as i64, (row / 40 % 7) as f64 * 10.0 + (row % 40) as f64);
    let rows = Numbers((0..40 * 60).map(row).collect());
    let shared = whole_of(&rows).unwrap().in_segments(&rows).unwrap().unwrap();
    let shape = Some(WindowShape { panes: 2, min_filled: 1, every: 1, season: 1 });
    let column = shared.of_segment(&rows.of(1), shape).unwrap();
    assert!(column.blocks[&Detector::Psi].level() > 0.2, "{:?}", column.blocks);
    assert!(column.blocks.keys().all(|detector| SEGMENT_DETECTORS.contains(detector)));
    let few = Numbers(rows.of(1).0.into_iter().take(100).collect());
    assert!(shared.of_segment(&few, shape).unwrap().blocks.is_empty(), "it is not scored");
}
