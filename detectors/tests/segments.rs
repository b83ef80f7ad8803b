//! Segments that part the rows are together the whole, in the reference and in windows; and a file keeps them.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::{
    ColumnKind, Detector, FORMAT, Parting, Reference, ReferenceBuilder, ReferenceFile, RowValue, Rows, SEGMENT_CUTS,
    SEGMENT_DETECTORS, Segment, Segmentation, Segments, Thresholds, Timeline, VERSION, Verdict, WindowShape,
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
    let shape = WindowShape { panes: 2, min_filled: 1, every: 1, season: 1 };
    let timeline = Timeline::of(&rows, shape).unwrap();
    let column = shared.of_segment(&rows.of(1), timeline.as_ref()).unwrap();
    assert!(column.blocks[&Detector::Psi].level() > 0.2, "{:?}", column.blocks);
    assert!(column.blocks.keys().all(|detector| SEGMENT_DETECTORS.contains(detector)));
    let few = Numbers(rows.of(1).0.into_iter().take(100).collect());
    assert!(shared.of_segment(&few, timeline.as_ref()).unwrap().blocks.is_empty(), "it is not scored");
}

const FIVE_DAYS: WindowShape = WindowShape { panes: 5, min_filled: 3, every: 1, season: 1 };

/// Rows of days, each around a level of its own, forty of each segment.
fn days(levels: &[u8], segments: usize) -> Numbers {
    let day = |(day, level): (usize, &u8)| {
        (0..40 * segments)
            .map(move |row| (row % segments, day as i64, f64::from(*level) + (row * 37 % 100) as f64))
            .collect::<Vec<_>>()
    };
    Numbers(levels.iter().enumerate().flat_map(day).collect())
}

/// The segments of these rows, on the timeline of all.
fn parted(rows: &Numbers, segments: usize) -> Segments {
    let shared = whole_of(rows).unwrap().in_segments(rows).unwrap().unwrap();
    let timeline = Timeline::of(rows, FIVE_DAYS).unwrap();
    let segment = |segment| {
        let own = rows.of(segment);
        Segment { rows: own.0.len() as u64, columns: vec![shared.of_segment(&own, timeline.as_ref()).unwrap()] }
    };
    let segments: Vec<Segment> = (0..segments).map(segment).collect();
    let values = (1..segments.len()).map(|value| value.to_string()).collect();
    let parting = Parting::Column { name: "part".into(), values };
    Segments { columns: vec![shared], by: vec![Segmentation { parting, segments }] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_a_smaller_share_of_windows_exceeds_is_no_less(levels in proptest::collection::vec(0u8..40, 20..40), panes in 1u32..8) {
        let rows = days(&levels, 1);
        let shared = whole_of(&rows).unwrap().in_segments(&rows).unwrap().unwrap();
        let shape = WindowShape { panes, min_filled: 1, ..FIVE_DAYS };
        let timeline = Timeline::of(&rows, shape).unwrap();
        let nulls = shared.of_segment(&rows, timeline.as_ref()).unwrap().nulls;
        let shares = || (0..60).map(|step| 0.05 * 0.85f64.powi(step));
        for (detector, null) in &nulls {
            let limits: Vec<f64> = shares().map(|share| null.quantile(*detector, share)).collect();
            prop_assert!(limits.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}: {:?}", detector, limits);
        }
        prop_assert_eq!(nulls.len(), if levels.len() as u32 >= 3 * panes { SEGMENT_DETECTORS.len() } else { 0 });
    }

    #[test]
    fn the_order_of_rows_makes_no_difference(levels in proptest::collection::vec(0u8..40, 20..30), by in 1usize..2000) {
        let rows = days(&levels, 2);
        let mut other = rows.clone();
        let (count, places) = (other.0.len(), other.0.clone());
        // A step that shares no factor with their number goes through all of them.
        let step = (by..).find(|step| (1..=count).take_while(|n| n * step % count != 0).count() == count - 1).unwrap();
        (0..count).for_each(|at| other.0[at] = places[at * step % count]);
        prop_assert_eq!(parted(&rows, 2), parted(&other, 2));
    }
}

#[test]
fn a_file_keeps_what_histories_say_of_segments_and_reads_those_that_say_nothing() {
    let levels: Vec<u8> = (0..30).map(|day| (day * day % 17) as u8).collect();
    let with = file(Some(parted(&days(&levels, 3), 3)));
    let text = with.to_text().unwrap();
    let read = ReferenceFile::parse(&text).unwrap();
    assert_eq!(read, with);
    assert!(read.segments.unwrap().by[0].segments.iter().all(|segment| segment.columns[0].nulls.len() == 3));

    let mut before: serde_json::Value = serde_json::from_str(&text).unwrap();
    before["version"] = 3.into();
    for segment in before["segments"]["by"][0]["segments"].as_array_mut().unwrap() {
        segment["columns"][0].as_object_mut().unwrap().remove("nulls");
    }
    let before = ReferenceFile::parse(&before.to_string()).unwrap();
    assert!(before.segments.unwrap().by[0].segments.iter().all(|segment| segment.columns[0].nulls.is_empty()));

    let mut wrong: serde_json::Value = serde_json::from_str(&text).unwrap();
    wrong["segments"]["by"][0]["segments"][1]["columns"][0]["nulls"]["psi"]["kept"] = 0.into();
    let refused = ReferenceFile::parse(&wrong.to_string()).unwrap_err().to_string();
    assert!(refused.contains("'part=1' of the reference file is inconsistent: what its detectors say"), "{refused}");
}

#[test]
fn a_segment_that_begins_later_lives_through_the_same_days() {
    // The second one is without the first three days. On one day both are far from what they are else.
    let levels: Vec<u8> = (0..40u32).map(|day| if day == 20 { 250 } else { (day * 5 % 7) as u8 }).collect();
    let mut rows = days(&levels, 2);
    rows.0.retain(|(segment, pane, _)| *segment == 0 || *pane >= 3);
    let both = parted(&rows, 2);
    let largest = |segment: usize| -> std::collections::BTreeSet<u32> {
        both.by[0].segments[segment].columns[0].nulls[&Detector::Psi].at.iter().take(40).copied().collect()
    };
    let shared = largest(0).intersection(&largest(1)).count();
    // Drawn each on a timeline of its own they would share one, if any.
    assert!(shared >= 15, "of the forty windows in which each goes farthest they share {shared}");
}

#[test]
fn of_a_segment_on_few_days_nothing_is_known() {
    let mut rows = days(&[0, 9, 3, 12, 6, 1, 8, 2, 11, 5, 7, 4, 10, 13, 0, 9, 3, 12], 2);
    // Rows enough, on three days.
    rows.0.iter_mut().filter(|(segment, ..)| *segment == 1).for_each(|(_, pane, _)| *pane %= 3);
    let both = parted(&rows, 2);
    let known = |segment: usize| both.by[0].segments[segment].columns[0].nulls.len();
    assert_eq!((known(0), known(1)), (SEGMENT_DETECTORS.len(), 0));
}
