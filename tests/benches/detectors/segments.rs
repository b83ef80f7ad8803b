//! Twenty columns in fifty segments, beside pandas' groups and SciPy on the same rows in the same run.
//!
//! Ours is what the collector does with a batch: its rows are parted once, and each column's values are put together by segment and
//! counted on the cells that segments share. A window then has PSI, KS and the missing share of each column of each segment. Theirs
//! groups the window's frame once, and asks SciPy for KS and NumPy for PSI on the deciles of each group's reference, which are known
//! before.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use driftline_detectors::{
    ColumnKind, Parting, Profile, Reference, ReferenceBuilder, SEGMENT_DETECTORS, Segment, Segmentation, Segments,
    Thresholds,
};

use crate::Options;
use crate::data::{Column, columns};
use crate::numbers::Numbers;

const SEGMENTS: usize = 50;
/// Rows that are parted and counted in one go, as they come in a batch.
const BATCH: usize = 1000;
const ROUNDS: usize = 3;

/// The same rows of all columns, and the segment of each.
struct Frame {
    of_row: Vec<u8>,
    columns: Vec<Vec<f64>>,
}

impl Frame {
    /// The segments are of unlike sizes: the largest has a hundred times the rows of the smallest.
    fn draw(
        rows: usize,
        columns: &[Column],
        numbers: &mut Numbers,
        pool: impl Fn(&Column, &mut Numbers) -> Vec<f64>,
    ) -> Self {
        let mut segment = || {
            let part = (numbers.below(1 << 20) as f64 + 0.5) / f64::from(1 << 20);
            (part * part * SEGMENTS as f64) as u8
        };
        let of_row = (0..rows).map(|_| segment()).collect();
        Self { of_row, columns: columns.iter().map(|column| pool(column, numbers)).collect() }
    }

    /// The rows of each segment among these.
    fn part(&self, rows: std::ops::Range<usize>, parted: &mut [Vec<u32>]) {
        parted.iter_mut().for_each(Vec::clear);
        for row in rows {
            parted[usize::from(self.of_row[row])].push(row as u32);
        }
    }
}

pub(crate) fn run(options: &Options) {
    let (columns, mut numbers) = (columns(), Numbers::new(17));
    let before = Frame::draw(options.reference_rows, &columns, &mut numbers, |column, numbers| {
        column.reference.rows(numbers, options.reference_rows)
    });
    let window =
        Frame::draw(options.rows, &columns, &mut numbers, |column, numbers| column.window.rows(numbers, options.rows));
    println!(
        "\n{} columns of {} rows in {SEGMENTS} segments against references of {}, on one core",
        columns.len(),
        options.rows,
        options.reference_rows
    );
    let began = spent();
    let references = references(&columns, &before);
    println!("building the references {:.1} s", (spent() - began).as_secs_f64());
    let (mut counting, mut scoring) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let mut profiles: Vec<Vec<Profile>> =
            references.iter().map(|column| column.iter().map(Reference::empty_profile).collect()).collect();
        let began = spent();
        count(&window, &references, &mut profiles);
        counting = counting.min(spent() - began);
        let began = spent();
        let mut scores = 0;
        for (reference, profile) in
            references.iter().zip(&profiles).flat_map(|(column, profiles)| column.iter().zip(profiles))
        {
            scores += reference.scores_of(SEGMENT_DETECTORS, profile, &Thresholds::default(), true).len();
        }
        scoring = scoring.min(spent() - began);
        assert_eq!(scores, SEGMENTS * columns.len() * SEGMENT_DETECTORS.len());
    }
    let values = (columns.len() * options.rows) as f64;
    let of_value = |took: Duration| took.as_nanos() as f64 / values;
    let total = of_value(counting + scoring);
    println!("{:<40} {:>12} {:>8}", "", "ns a value", "×");
    println!("{:<40} {total:>12.2} {:>8.1}", "driftline, counting and three scores", 1.0);
    println!("{:<40} {:>12.2}", "  of it parting and counting", of_value(counting));
    let each = scoring.as_secs_f64() * 1e6 / (SEGMENTS * columns.len()) as f64;
    println!("{:<40} {each:>12.1} µs", "  scores of a column of a segment");
    if let Some(python) = &options.beside {
        let seconds = others(python, &before, &window);
        let theirs = seconds * 1e9 / values;
        println!("{:<40} {theirs:>12.2} {:>8.1}", "pandas' groups, SciPy's KS, NumPy's PSI", theirs / total);
    }
}

/// What this thread has had of a core, as the kernel counts it: the others are measured by theirs, too.
fn spent() -> Duration {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(counted.split_whitespace().next().unwrap().parse().unwrap())
}

/// Of each column, what is normal in each segment.
fn references(columns: &[Column], before: &Frame) -> Vec<Vec<Reference>> {
    let mut parted = vec![Vec::new(); SEGMENTS];
    before.part(0..before.of_row.len(), &mut parted);
    let of_column = |(column, values): (&Column, &Vec<f64>)| {
        let rows = |of: &mut dyn Iterator<Item = f64>| {
            let mut rows = ReferenceBuilder::new(column.name, ColumnKind::Numeric);
            of.for_each(|value| rows.number(None, value));
            rows
        };
        let all = rows(&mut values.iter().copied());
        let whole = Reference::of_rows(column.name, ColumnKind::Numeric, &all, None).unwrap();
        let shared = whole.in_segments(&all).unwrap().unwrap();
        let of_segment = |of_it: &Vec<u32>| {
            let rows = rows(&mut of_it.iter().map(|row| values[*row as usize]));
            Segment { rows: of_it.len() as u64, columns: vec![shared.of_segment(&rows, None).unwrap()] }
        };
        let segments: Vec<Segment> = parted.iter().map(of_segment).collect();
        let parting = Parting::Column { name: "segment".into(), values: Vec::new() };
        let file = Segments { columns: vec![shared.clone()], by: vec![Segmentation { parting, segments }] };
        file.by[0].segments.iter().map(|segment| file.reference(0, &segment.columns[0])).collect()
    };
    columns.iter().zip(&before.columns).map(of_column).collect()
}

fn count(window: &Frame, references: &[Vec<Reference>], profiles: &mut [Vec<Profile>]) {
    let (mut parted, mut values) = (vec![Vec::new(); SEGMENTS], Vec::with_capacity(BATCH));
    let rows = window.of_row.len();
    for begins in (0..rows).step_by(BATCH) {
        window.part(begins..(begins + BATCH).min(rows), &mut parted);
        for ((column, references), profiles) in window.columns.iter().zip(references).zip(&mut *profiles) {
            for ((rows, reference), profile) in parted.iter().zip(references).zip(profiles) {
                values.clear();
                values.extend(rows.iter().map(|row| column[*row as usize]));
                reference.count_numbers(profile, &values);
            }
        }
    }
}

/// Seconds that the others took, as `segments.py` prints them.
fn others(python: &Path, before: &Frame, window: &Frame) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    for (sample, frame) in [("reference", before), ("window", window)] {
        fs::write(folder.path().join(format!("segments.{sample}")), &frame.of_row).unwrap();
        for (index, column) in frame.columns.iter().enumerate() {
            let bytes: Vec<u8> = column.iter().flat_map(|value| value.to_le_bytes()).collect();
            fs::write(folder.path().join(format!("{index}.{sample}")), bytes).unwrap();
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/detectors/segments.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
