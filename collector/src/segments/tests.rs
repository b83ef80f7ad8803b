//! Segments from rows to scores, as a series counts and closes them.

use std::time::{Duration, Instant};

use driftline_alerts::Observation;
use driftline_detectors::causes::{Cause, CauseKind};
use driftline_detectors::{Detector, ReferenceFile, Score, Verdict};
use driftline_protocol::{Cells, Column, Role};

use super::*;
use crate::causes::HISTORY_WINDOWS;
use crate::config::{ColumnType, Scoring, SegmentBy, TimeUnit, Windows};
use crate::pipeline::judging;
use crate::pipeline::series::{ClosedWindow, Series};
use crate::pipeline::table::{RowMeta, Table};
use crate::reference_build::{ReferencePlan, build_reference};

const HOUR: i64 = 3_600_000_000;
const PLACES: [&str; 3] = ["EWR", "JFK", "LGA"];

/// A row: where, how far, how late. Where it is says how late it is.
type Row = (&'static str, f64, f64);

/// So many rows of each place.
fn rows(of_each: [usize; 3]) -> Vec<Row> {
    let of = |(place, rows): (usize, usize)| {
        (0..rows).map(move |row| (PLACES[place], (row % 40) as f64 * 50.0, (row * 7 % 60 + 40 * place) as f64))
    };
    of_each.into_iter().enumerate().flat_map(of).collect()
}

fn model(segments: &[&str]) -> Model {
    let windows = Windows {
        pane: Duration::from_secs(3600),
        panes: 2,
        every: 1,
        min_filled: 1,
        lateness: Duration::ZERO,
        ..Windows::default()
    };
    let by = segments.iter().map(|text| SegmentBy::parse(text).unwrap()).collect();
    let segments = crate::config::Segments { by, ..Default::default() };
    Model { windows, segments, ..Model::undescribed("m") }
}

/// A reference of so many rows of each place.
fn reference(segments: &[&str], of_each: [usize; 3]) -> ReferenceFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let lines: String = rows(of_each).iter().map(|(o, d, l)| format!("{o},{d},{l}\n")).collect();
    std::fs::write(&path, format!("origin,distance,late\n{lines}")).unwrap();
    let segments = model(segments).segments.by;
    build_reference(&ReferencePlan { model: "m".into(), inputs: vec![path], segments, ..Default::default() }).unwrap()
}

fn references(model: &Model, file: &ReferenceFile) -> References {
    let segments = ModelSegments::of(model, &file.derived, file.segments.as_ref());
    References { columns: file.columns.clone(), segments, ..References::default() }
}

fn table(rows: &[Row]) -> Finished {
    let mut table = Table::default();
    for (origin, distance, late) in rows {
        table.begin_row(RowMeta {
            event_time: 0,
            request_id: "",
            row_id: "",
            status: 200,
            end_state: "complete",
            latency_micros: Some(0),
            instance: "",
            received_at: 0,
        });
        for (name, number) in [("distance", *distance), ("late", *late)] {
            let column = Column { name: name.into(), role: Role::Feature, cells: Cells::Numbers(vec![number]) };
            table.push(&column, ColumnType::Number, TimeUnit::Rfc3339, 0..1);
        }
        let cell = driftline_protocol::Cell::Text((*origin).into());
        let column = Column { name: "origin".into(), role: Role::Feature, cells: vec![cell].into() };
        table.push(&column, ColumnType::Text, TimeUnit::Rfc3339, 0..1);
    }
    table.finish().unwrap()
}

/// The window of these rows.
fn closed(model: &Model, file: &ReferenceFile, rows: &[Row]) -> ClosedWindow {
    let references = references(model, file);
    let mut series = Series::new(model.windows.clone(), None);
    series.count(0, 0, &table(rows), &references, Instant::now());
    series.close_through(HOUR, &references, &Scoring::default()).remove(0)
}

fn segment<'w>(window: &'w ClosedWindow, name: &str) -> &'w ClosedSegment {
    window.segments.iter().find(|segment| segment.name == name).unwrap()
}

/// The segments that drift, each with its columns that do.
fn drifting(window: &ClosedWindow) -> Vec<(&str, &str)> {
    let drifts = |score: &Score| score.verdict == Verdict::Drift;
    let columns =
        window.segments.iter().flat_map(|segment| segment.columns.iter().map(move |column| (segment, column)));
    columns
        .filter(|(_, column)| column.scores.iter().any(drifts))
        .map(|(segment, column)| (segment.name.as_str(), column.column.as_str()))
        .collect()
}

#[test]
fn nothing_drifts_where_nothing_changed() {
    let by = ["origin", "far=distance > 1000"];
    let window = closed(&model(&by), &reference(&by, [3000; 3]), &rows([500, 500, 500]));
    let names: Vec<(&str, u64)> = window.segments.iter().map(|one| (one.name.as_str(), one.rows)).collect();
    let far = 500 * 19 / 40 * 3;
    assert_eq!(names[..4], [("origin=EWR", 500), ("origin=JFK", 500), ("origin=LGA", 500), ("origin=other", 0)]);
    assert!((names[4].1 as i64 - far as i64).abs() < 60 && names[4].0 == "far", "{names:?}");
    assert_eq!(drifting(&window), []);
    assert!(segment(&window, "origin=other").columns.is_empty(), "the reference has none of it");
    assert!(segment(&window, "origin=JFK").worst().is_some());
}

#[test]
fn a_segment_drifts_although_the_whole_does_not() {
    let by = ["origin"];
    let mut changed = rows([900, 60, 900]);
    // One place in hours.
    changed.iter_mut().filter(|row| row.0 == "JFK").for_each(|row| row.2 /= 60.0);
    // As many of each as in the reference, so that the mix is no news.
    let window = closed(&model(&by), &reference(&by, [3000, 200, 3000]), &changed);
    assert_eq!(drifting(&window), [("origin=JFK", "late")]);
    let whole = window.column(None, "late").unwrap();
    assert!(whole.scores.iter().all(|score| score.detector != Detector::Psi || score.verdict == Verdict::Ok));
    let (column, worst) = segment(&window, "origin=JFK").worst().unwrap();
    assert!(column.column == "late" && worst.verdict == Verdict::Drift);
    let CauseKind::UnitChange { factor, .. } = column.causes[0].kind else { panic!("{:?}", column.causes) };
    assert!((factor * 60.0 - 1.0).abs() < 0.05, "{factor}");
}

#[test]
fn a_drift_that_is_another_mix_says_so() {
    let by = ["origin"];
    let window = closed(&model(&by), &reference(&by, [3000; 3]), &rows([100, 100, 1300]));
    assert_eq!(drifting(&window), [], "each is as it was");
    let late = window.column(None, "late").unwrap();
    let CauseKind::MixShift { by, segments, count } = &late.causes[0].kind else { panic!("{:?}", late.causes) };
    assert_eq!((by.as_str(), *count), ("origin", 4));
    assert_eq!(segments[0].0, "origin=LGA");
    assert!((segments[0].1 - 1.0 / 3.0).abs() < 1e-9 && segments[0].2 > 0.8 && late.causes[0].share > 0.9);
    let origin = window.column(None, "origin").unwrap();
    let is_mix = |cause: &Cause| matches!(cause.kind, CauseKind::MixShift { .. });
    assert!(!origin.causes.is_empty() && !origin.causes.iter().any(is_mix), "its own mix explains nothing");
}

#[test]
fn what_was_stored_counts_on_where_it_stopped() {
    let (by, halves) = (["origin", "far=distance > 1000"], [rows([300, 200, 100]), rows([100, 200, 300])]);
    let (model, file) = (model(&by), reference(&by, [3000; 3]));
    let references = references(&model, &file);
    let segments = references.segments.as_ref().unwrap();
    let (mut at_once, mut first) = (Vec::new(), Vec::new());
    segments.count(&table(&halves[0]), &mut first);
    let bytes = stored::panes_to_bytes(segments, &first).unwrap();
    let mut second = segments.restore(stored::panes_of_bytes(&bytes).unwrap());
    for half in &halves {
        segments.count(&table(half), &mut at_once);
    }
    segments.count(&table(&halves[1]), &mut second);
    let counts = |panes: &[SegmentPane]| format!("{panes:?}");
    assert_eq!(counts(&second), counts(&at_once));
    assert!(stored::panes_of_bytes(&bytes[..bytes.len() / 2]).is_err());
}

#[test]
fn the_segments_of_a_window_add_up_to_its_rows() {
    let (by, of_each) = (["origin"], rows([310, 205, 98]));
    let (model, file) = (model(&by), reference(&by, [3000; 3]));
    let references = references(&model, &file);
    let segments = references.segments.as_ref().unwrap();
    let mut panes = Vec::new();
    segments.count(&table(&of_each), &mut panes);
    for (at, shared) in segments.shared.columns.iter().enumerate() {
        let mut sum = shared.empty_profile();
        panes.iter().filter(|pane| pane.rows > 0).for_each(|pane| sum.merge(&pane.profiles[at]));
        let whole = References { columns: vec![shared.clone()], ..References::default() };
        let mut counted = vec![shared.empty_profile()];
        counting::count(&table(&of_each), &whole, &mut counted);
        assert_eq!(sum, counted[0], "{}", shared.column);
    }
}

#[test]
fn segments_that_the_reference_lacks_are_not_watched() {
    let file = reference(&["origin"], [3000; 3]);
    let watched = |by: &[&str]| ModelSegments::of(&model(by), &[], file.segments.as_ref()).map(|s| s.names().count());
    assert_eq!(watched(&["origin"]), Some(4));
    assert_eq!(watched(&[]), None);
    assert_eq!(watched(&["far=distance > 1000"]), None);
    assert_eq!(watched(&["origin", "far=distance > 1000"]), Some(4));
}

/// What rules are told of a window's segments: the segment and the column, by PSI.
fn told(window: &ClosedWindow) -> Vec<(String, String)> {
    let observations = judging::observations("m", "1", window, &|_| Role::Feature);
    let of_segments = observations.iter().filter(|observation| observation.name == "segment_psi");
    let named = |observation: &Observation| ["segment", "column"].map(|name| observation.labels[name].clone()).into();
    of_segments.map(named).collect()
}

#[test]
fn rules_see_a_segment_only_where_the_whole_does_not_drift() {
    let (by, file) = (["origin"], reference(&["origin"], [3000; 3]));
    let quiet = told(&closed(&model(&by), &file, &rows([500; 3])));
    assert_eq!(quiet.len(), 3 * 3, "three places, three columns");
    let mut all_in_hours = rows([500; 3]);
    all_in_hours.iter_mut().for_each(|row| row.2 /= 60.0);
    let left: BTreeSet<String> =
        told(&closed(&model(&by), &file, &all_in_hours)).into_iter().map(|(_, column)| column).collect();
    assert_eq!(left, ["distance", "origin"].map(str::to_owned).into(), "of delays the whole's alert speaks");
}

#[test]
fn rules_of_the_whole_see_no_segments() {
    let window = closed(&model(&["origin"]), &reference(&["origin"], [3000; 3]), &rows([500; 3]));
    let observations = judging::observations("m", "1", &window, &|_| Role::Feature);
    let has_segment = |observation: &&Observation| observation.labels.contains_key("segment");
    assert!(observations.iter().filter(has_segment).all(|observation| Detector::named(&observation.name).is_none()));
}

/// A reference of eight days of five flights an hour of each place, but LGA's, which are of its first two.
fn timed_reference(model: &Model) -> ReferenceFile {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let mut lines = "at,origin,distance,late\n".to_owned();
    for hour in 0..8 * 24 {
        let at = jiff::Timestamp::from_second(i64::from(hour) * 3600).unwrap();
        for (place, name) in PLACES.iter().enumerate().filter(|(_, name)| hour < 48 || **name != "LGA") {
            for row in 0..5 {
                let number = (hour * 37 + row * 11 + place as i32 * 5) % 60;
                lines += &format!("{at},{name},{number},{}\n", number % 7);
            }
        }
    }
    std::fs::write(&path, lines).unwrap();
    let time = Some(("at".to_owned(), model.windows.clone()));
    let (segments, exclude) = (model.segments.by.clone(), vec!["at".into()]);
    let plan = ReferencePlan { model: "m".into(), inputs: vec![path], segments, exclude, time, ..Default::default() };
    build_reference(&plan).unwrap()
}

#[test]
fn within_a_budget_nothing_is_judged_of_which_it_knows_nothing() {
    let model = model(&["origin"]);
    let mut file = timed_reference(&model);
    let rules = crate::config::Config::parse("d.yaml", "", std::path::Path::new("")).unwrap().alerting.rules;
    let close = |file: &ReferenceFile, segments: Option<ModelSegments>| {
        let references = References { columns: file.columns.clone(), segments, ..References::default() };
        let mut series = Series::new(model.windows.clone(), None);
        series.count(0, 0, &table(&rows([30; 3])), &references, Instant::now());
        series.close_through(HOUR, &references, &Scoring::default()).remove(0)
    };
    let budgets = |window: &ClosedWindow, place: &str| -> Vec<(bool, Verdict)> {
        let columns = &segment(window, place).columns;
        let scores = columns.iter().flat_map(|column| &column.scores);
        scores.map(|score| (score.noise.budget.is_some(), score.verdict)).collect()
    };
    let known = |file: &ReferenceFile| ModelSegments::of(&model, &file.derived, file.segments.as_ref());
    let without = close(&file, known(&file));
    assert!(budgets(&without, "origin=JFK").iter().all(|(is_known, _)| !is_known));
    assert!(budgets(&without, "origin=LGA").contains(&(false, Verdict::Drift)), "as thresholds and noise have it");

    let mut segments = known(&file);
    crate::page_budget::allow_false_pages(&mut file, segments.as_mut(), &model, &rules);
    let within = close(&file, segments);
    let (jfk, lga) = (budgets(&within, "origin=JFK"), budgets(&within, "origin=LGA"));
    assert!(jfk.iter().all(|(is_known, _)| *is_known) && jfk.contains(&(true, Verdict::Drift)), "{jfk:?}");
    let unknown = (false, Verdict::NotEnoughData);
    assert!(!lga.is_empty() && lga.iter().all(|score| *score == unknown), "of two days nothing is known: {lga:?}");
}

#[test]
fn scores_of_segments_are_kept_for_a_versions_last_windows() {
    let db = crate::store::in_memory().unwrap();
    let window = closed(&model(&["origin"]), &reference(&["origin"], [3000; 3]), &rows([500; 3]));
    let closed_windows = i64::from(HISTORY_WINDOWS) + 10;
    for ends in 1..=closed_windows {
        db.execute("INSERT INTO windows VALUES ('m', '1', ?1, 0, 1500, 1, 2, 'r', 0)", [ends]).unwrap();
        stored::store_window(&db, ("m", "1", ends), &window.segments).unwrap();
    }
    for table in ["segment_windows", "segment_scores"] {
        let kept = format!("SELECT min(ends), count(DISTINCT ends) FROM {table}");
        let kept: (i64, i64) = db.query_row(&kept, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(kept, (11, i64::from(HISTORY_WINDOWS)), "{table}");
    }
    let mut shown = Vec::new();
    stored::last_windows(&db, "m", |_, segment, rows, worst| shown.push((segment.to_owned(), rows, worst))).unwrap();
    let expected = window.segments.iter().map(|one| (one.name.clone(), one.rows, one.shown()));
    assert_eq!(shown, expected.collect::<Vec<_>>(), "as they were before a restart");
}
