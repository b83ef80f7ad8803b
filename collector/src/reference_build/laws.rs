//! However its rows are split over files, and in whatever order these come, a reference is the same.

use std::fmt::Write;
use std::time::Duration;

use driftline_detectors::{ReferenceFile, Segment};
use proptest::prelude::*;

use super::{ReferencePlan, build_reference};
use crate::config::{SegmentBy, Windows};

/// A row: a number in quarters, whose sums are exact in any order; a place among a few names; a day.
type Row = (Option<i16>, u8, u8);

/// The reference of rows that lie in files of these lengths, which are read in this order.
fn built(rows: &[Row], files: &[usize], first: usize) -> ReferenceFile {
    let folder = tempfile::tempdir().unwrap();
    let (mut left, mut inputs) = (rows, Vec::new());
    for (number, length) in files.iter().chain([&usize::MAX]).enumerate() {
        let (own, rest) = left.split_at((*length).min(left.len()));
        left = rest;
        // The first row says of each column what it is.
        let mut text = "when,x,name\n2026-01-01T00:00:00Z,0.25,first\n".to_owned();
        for (x, name, day) in own {
            let x = x.map_or(String::new(), |x| (f64::from(x) / 4.0).to_string());
            writeln!(text, "2026-01-{:02}T12:00:00Z,{x},name {name}", day + 1).unwrap();
        }
        inputs.push(folder.path().join(format!("{number}.csv")));
        std::fs::write(&inputs[number], text).unwrap();
    }
    let many = inputs.len();
    inputs.rotate_left(first % many);
    let daily = Windows { pane: Duration::from_secs(86_400), panes: 5, min_filled: 3, ..Windows::default() };
    let plan = ReferencePlan {
        model: "m".into(),
        inputs,
        time: Some(("when".into(), daily)),
        segments: vec![SegmentBy::parse("name").unwrap()],
        ..ReferencePlan::default()
    };
    build_reference(&plan).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_rows_gives_the_same_reference(
        rows in proptest::collection::vec((proptest::option::of(-200..200i16), 0..6u8, 0..28u8), 40..200),
        files in proptest::collection::vec(0..80usize, 3),
        other in proptest::collection::vec(0..80usize, 3),
        first in 0..4usize,
    ) {
        let (one, split) = (built(&rows, &files, 0), built(&rows, &other, first));
        prop_assert_eq!(one.columns, split.columns);
        prop_assert_eq!(one.segments, split.segments);
        prop_assert_eq!(one.rows, split.rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// With rows enough that each segment has histories.
    #[test]
    fn any_split_of_the_rows_gives_segments_the_same_histories(
        rows in proptest::collection::vec((proptest::option::of(-200..200i16), 0..2u8, 0..28u8), 1000..1100),
        files in proptest::collection::vec(0..400usize, 3),
        other in proptest::collection::vec(0..400usize, 3),
        first in 0..4usize,
    ) {
        let (one, split) = (built(&rows, &files, 0), built(&rows, &other, first));
        let segments = one.segments.as_ref().unwrap();
        let known = |segment: &&Segment| segment.columns.iter().any(|column| !column.nulls.is_empty());
        let known = segments.by[0].segments.iter().filter(known);
        prop_assert!(known.count() >= 2);
        prop_assert_eq!(one.segments, split.segments);
    }
}
