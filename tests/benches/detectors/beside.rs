//! Twenty columns, beside SciPy, Evidently, NannyML and river on the same values in the same run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use driftline_detectors::{ColumnKind, Profile, Reference, ReferenceBuilder, Thresholds};

use crate::Options;
use crate::data::{Column, columns};
use crate::numbers::Numbers;

/// Rows that are counted in one go, as they come in a batch.
const BATCH: usize = 1000;
/// Batches that are timed as one: few enough to be done before somebody else has the core.
const BATCHES: usize = 50;
const ROUNDS: usize = 10;

/// One column's rows.
struct Rows {
    name: &'static str,
    reference: Vec<f64>,
    window: Vec<f64>,
}

pub(crate) fn run(options: &Options) {
    let mut numbers = Numbers::new(11);
    let mut draw = |column: &Column| Rows {
        name: column.name,
        reference: column.reference.rows(&mut numbers, options.reference_rows),
        window: column.window.rows(&mut numbers, options.rows),
    };
    let columns: Vec<Rows> = columns().iter().map(&mut draw).collect();
    println!(
        "\n{} columns of {} rows against references of {}, on one core",
        columns.len(),
        options.rows,
        options.reference_rows
    );
    let (counting, scoring) = ours(&columns);
    let values = (columns.len() * options.rows) as f64;
    let total = (counting + scoring).as_nanos() as f64 / values;
    println!("{:<40} {:>12} {:>8}", "", "ns a value", "×");
    println!("{:<40} {:>12.2} {:>8.1}", "driftline, counting and all scores", total, 1.0);
    println!("{:<40} {:>12.2}", "  of it counting", counting.as_nanos() as f64 / values);
    if let Some(python) = &options.beside {
        for (name, nanoseconds) in others(python, &columns) {
            println!("{name:<40} {nanoseconds:>12.2} {:>8.1}", nanoseconds / total);
        }
    }
}

/// What counting takes, and scoring; of each piece of a column the least of the rounds.
fn ours(columns: &[Rows]) -> (Duration, Duration) {
    println!("{:<20} {:>10} {:>10} {:>14}", "", "counting", "scores, µs", "build, ms");
    let (mut all_counting, mut all_scoring) = (Duration::ZERO, Duration::ZERO);
    for rows in columns {
        let began = Instant::now();
        let reference = build(rows.name, &rows.reference);
        let building = began.elapsed();
        let pieces: Vec<&[f64]> = rows.window.chunks(BATCH * BATCHES).collect();
        let (mut counting, mut scoring) = (vec![Duration::MAX; pieces.len()], Duration::MAX);
        for _ in 0..ROUNDS {
            let mut profile = reference.empty_profile();
            for (piece, least) in pieces.iter().zip(&mut counting) {
                *least = timed(|| count(&reference, &mut profile, piece)).min(*least);
            }
            let score = || assert!(!reference.scores(&profile, &Thresholds::default(), true).is_empty());
            scoring = timed(score).min(scoring);
        }
        let counting: Duration = counting.iter().sum();
        println!(
            "{:<20} {:>10.2} {:>10.0} {:>14.0}",
            rows.name,
            counting.as_nanos() as f64 / rows.window.len() as f64,
            scoring.as_secs_f64() * 1e6,
            building.as_secs_f64() * 1e3
        );
        all_counting += counting;
        all_scoring += scoring;
    }
    (all_counting, all_scoring)
}

pub(crate) fn build(name: &str, rows: &[f64]) -> Reference {
    let mut builder = ReferenceBuilder::new(name, ColumnKind::Numeric);
    rows.iter().for_each(|row| builder.number(None, *row));
    builder.build(None).unwrap()
}

fn count(reference: &Reference, profile: &mut Profile, rows: &[f64]) {
    rows.chunks(BATCH).for_each(|batch| reference.count_numbers(profile, batch));
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// Nanoseconds for a value that the other libraries took, as `others.py` prints them.
fn others(python: &Path, columns: &[Rows]) -> Vec<(String, f64)> {
    let folder = tempfile::tempdir().unwrap();
    for rows in columns {
        for (sample, values) in [("reference", &rows.reference), ("window", &rows.window)] {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            fs::write(folder.path().join(format!("{}.{sample}", rows.name)), bytes).unwrap();
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/detectors/others.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: BTreeMap<String, f64> = serde_json::from_slice(&output.stdout).unwrap();
    said.into_iter().collect()
}
