//! `driftline reference build`: from rows of files or of the archive to a reference file.
//!
//! ```text
//!   Parquet, CSV, JSON lines, archive ─▶ chunks of rows ─▶ lanes, one for each column ─▶ references, some at a time
//! ```
//!
//! Sources are read once. What a reference is depends on the order of the rows alone, and not on how many threads made it.

mod archived;
mod aside;
mod columns;
mod counting;
mod csv;
mod gathering;
mod joint;
mod json_lines;
#[cfg(test)]
mod laws;
mod parquet;
mod parting;
mod raw;
mod sampling;
mod values;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use driftline_detectors::{FORMAT, MIN_STRETCHES, Reference, ReferenceFile, Source, VERSION, WindowLength};
use sha2::{Digest, Sha256};

pub(crate) use self::archived::{ArchivedRows, take_counted};
pub(crate) use self::counting::{Counted, count};
use self::gathering::{Finished, Gathering};
pub(crate) use self::raw::{RawColumn, RawPair, RawRows};
pub(crate) use self::sampling::sample;
pub(crate) use self::values::{Chunk, Take, Value};
use crate::config::{SegmentBy, Windows};
use crate::times::{now_micros, rfc3339};

/// What to build a reference from.
#[derive(Debug, Clone, Default)]
pub struct ReferencePlan {
    /// The model that it is for.
    pub model: String,
    /// Parquet, CSV and JSON lines files, by their ending.
    pub inputs: Vec<PathBuf>,
    /// The columns to take; all when empty.
    pub columns: Vec<String>,
    /// Columns to leave out.
    pub exclude: Vec<String>,
    /// Columns that are names although they look like numbers.
    pub categorical: Vec<String>,
    /// Columns of texts that are no names: what is scored of them is derived, as of those that follow.
    pub text: Vec<String>,
    /// Columns of times, where they are written as texts.
    pub timestamp: Vec<String>,
    /// Columns of vectors, where they are JSON's arrays.
    pub embedding: Vec<String>,
    /// Whether columns of numbers are looked at together, too.
    pub joint: bool,
    /// Which of them; all when empty. Naming one says that they are.
    pub joint_columns: Vec<String>,
    /// Whether columns of categories are looked at together, too.
    pub joint_names: bool,
    /// Which of them; all when empty. Naming one says that they are.
    pub joint_name_columns: Vec<String>,
    /// The column that says when a row happened, and the windows to come: with them the reference also learns what its
    /// own stretches of time say of each other.
    pub time: Option<(String, Windows)>,
    /// Parts of the rows that are each compared with themselves.
    pub segments: Vec<SegmentBy>,
    /// Bytes of columns that stay in memory while rows are read; what is more waits in a file. 256 MiB where nothing is said.
    pub memory_bytes: Option<usize>,
    /// What is noted in the file of how it was asked for.
    pub options: Vec<String>,
}

/// Why there is no reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A source that cannot be read.
    #[error("{}: {why}", path.display())]
    Input {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// What was asked for is not there, or not enough.
    #[error("{0}")]
    Plan(String),
}

/// Builds a reference of files.
///
/// # Errors
/// See [`ReferenceError`].
pub fn build_reference(plan: &ReferencePlan) -> Result<ReferenceFile, ReferenceError> {
    if plan.inputs.is_empty() {
        return Err(ReferenceError::Plan("no input; name Parquet, CSV or JSON lines files".to_owned()));
    }
    let mut gathering = Gathering::new(plan);
    let mut sources = Vec::new();
    for path in &plan.inputs {
        let input = |why: String| ReferenceError::Input { path: path.clone(), why };
        sources.push(source(path).map_err(|error| input(format!("{error}; check the path")))?);
        read_rows(path, &plan.embedding, &mut |chunk| gathering.take(chunk)).map_err(input)?;
        gathering.end_source();
    }
    finish(gathering, plan, sources)
}

/// Rows that can be read, as often as it takes, and always in the same order.
pub(crate) trait RowSource {
    /// Hands them on, piece by piece.
    ///
    /// # Errors
    /// Why they cannot be read; or what `take` said.
    fn read(&self, take: &mut Take<'_>) -> Result<(), String>;
}

/// Builds a reference of rows, whatever the plan's inputs are. It names no source.
///
/// # Errors
/// Why there is none.
pub(crate) fn reference_of(rows: &dyn RowSource, plan: &ReferencePlan) -> Result<ReferenceFile, String> {
    let mut gathering = Gathering::new(plan);
    rows.read(&mut |chunk| gathering.take(chunk))?;
    gathering.end_source();
    finish(gathering, plan, Vec::new()).map_err(|error| error.to_string())
}

/// Reads the rows of a file, piece by piece. Its ending says what it is. In JSON lines, arrays of the columns that are named
/// as embeddings are vectors; others have a column for each place.
///
/// # Errors
/// What is wrong with it, or what `take` said.
pub(crate) fn read_rows(path: &Path, embeddings: &[String], take: &mut Take<'_>) -> Result<(), String> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => parquet::read(path, take),
        Some("csv") => csv::read(path, take),
        Some("jsonl" | "ndjson") => json_lines::read(path, embeddings, take),
        _ => Err("files ending in .parquet, .csv, .jsonl and .ndjson can be read".to_owned()),
    }
}

/// Writes a reference file, so that a reader sees the old one or the new one and nothing between.
///
/// # Errors
/// The system's own; and when what would be written could not be read again, of which nothing is written.
pub fn write_reference(file: &ReferenceFile, path: &Path) -> std::io::Result<u64> {
    let text = file.to_text().map_err(std::io::Error::other)?;
    let read = ReferenceFile::parse(&text).map_err(std::io::Error::other)?;
    if read != *file {
        return Err(std::io::Error::other("it reads back differently; leave out the columns with extreme values"));
    }
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, &text)?;
    std::fs::rename(&temporary, path)?;
    Ok(text.len() as u64)
}

/// The reference of everything that was gathered.
fn finish(
    gathering: Gathering<'_>,
    plan: &ReferencePlan,
    sources: Vec<Source>,
) -> Result<ReferenceFile, ReferenceError> {
    let rows = gathering.rows();
    let Finished { columns, derived, segments } = gathering.finish().map_err(ReferenceError::Plan)?;
    if let Some((_, windows)) = &plan.time {
        warn_of_no_block_noise(&columns, windows);
    }
    Ok(ReferenceFile {
        format: FORMAT.to_owned(),
        version: VERSION,
        model: plan.model.clone(),
        rows,
        sources,
        options: plan.options.clone(),
        built_at: rfc3339(now_micros()),
        window: plan
            .time
            .as_ref()
            .map(|(_, windows)| WindowLength { pane_seconds: windows.pane.as_secs(), panes: windows.panes }),
        derived,
        columns,
        segments,
    })
}

/// Says for which columns the rows tell nothing of stretches of time, and what would help.
fn warn_of_no_block_noise(columns: &[Reference], windows: &Windows) {
    let without: Vec<&str> = columns
        .iter()
        .filter(|reference| reference.blocks.is_empty())
        .map(|reference| reference.column.as_str())
        .collect();
    if !without.is_empty() {
        tracing::warn!(
            columns = without.join(", "),
            panes_in_a_window = windows.panes,
            "no block noise: the rows do not fill {MIN_STRETCHES} windows side by side, each with as much outside of it as inside; windows will be judged as if their rows were independent, so give rows of a longer time, or configure shorter windows"
        );
    }
}

/// A file's size and hash, read piece by piece.
fn source(path: &Path) -> std::io::Result<Source> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(Source { path: path.display().to_string(), bytes, sha256: hexadecimal(hash) })
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use driftline_detectors::Normal;

    use super::*;

    fn plan(inputs: Vec<PathBuf>) -> ReferencePlan {
        ReferencePlan { model: "m".into(), inputs, ..ReferencePlan::default() }
    }

    fn csv_file(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("rows.csv");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_csv_file_becomes_numeric_and_categorical_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = csv_file(folder.path(), "temp,carrier,code\n39.02,UA,1\n,DL,2\n41,UA,2\n");
        let mut plan = plan(vec![path]);
        plan.categorical.push("code".into());
        let file = build_reference(&plan).unwrap();
        assert_eq!((file.rows, file.columns.len(), file.sources[0].bytes), (3, 3, 43));
        let Normal::Numeric { grid, exact: true, profile } = &file.columns[0].normal else { panic!() };
        assert_eq!((grid.cuts(), profile.missing), ([39.02, 41.0].as_slice(), 1));
        let Normal::Categorical { dictionary, .. } = &file.columns[2].normal else { panic!() };
        assert_eq!(dictionary.categories(), ["2", "1"]);
        let path = folder.path().join("reference.json");
        write_reference(&file, &path).unwrap();
        assert_eq!(crate::references::read(&path).unwrap().0, file);
    }

    fn build(files: &[&str], change: impl Fn(&mut ReferencePlan)) -> ReferenceFile {
        let folder = tempfile::tempdir().unwrap();
        let path = |(i, text): (usize, &&str)| {
            let path = folder.path().join(format!("{i}.csv"));
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut plan = plan(files.iter().enumerate().map(path).collect());
        change(&mut plan);
        build_reference(&plan).unwrap()
    }

    fn categories(reference: &Reference) -> Vec<String> {
        let Normal::Categorical { dictionary, .. } = &reference.normal else { panic!("{reference:?}") };
        dictionary.categories().to_vec()
    }

    #[test]
    fn booleans_of_any_spelling_are_those_of_json() {
        let file =
            build(&["a,b,c,d\nTrue,FALSE,True,True\nFalse,,maybe,True\n"], |plan| plan.categorical.push("d".into()));
        assert_eq!(categories(&file.columns[0]), ["false", "true"]);
        assert_eq!(categories(&file.columns[1]), ["false"]);
        assert_eq!(categories(&file.columns[2]), ["True", "maybe"]);
        assert_eq!(categories(&file.columns[3]), ["True"]);
    }

    #[test]
    fn rows_of_json_lines_are_those_of_the_same_csv() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let lines = [
            r#"{"temp": 39.02, "plane": {"tail": "N1", "seats": [3, 150]}, "late": true}"#,
            "",
            r#"{"temp": null, "plane": {"tail": "N2", "seats": [3]}, "late": false, "gate": "A1"}"#,
            r#"{"plane": {"tail": "N1", "seats": [4, "none"]}}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let of_json = build_reference(&plan(vec![path])).unwrap();
        let csv = "late,plane.seats_0,plane.seats_1,plane.tail,temp,gate\ntrue,3,150,N1,39.02,\nfalse,3,,N2,,A1\n,4,none,N1,,\n";
        let of_csv = build(&[csv], |_| {});
        let mut columns = [of_json.columns, of_csv.columns];
        columns.iter_mut().for_each(|columns| columns.sort_by(|a, b| a.column.cmp(&b.column)));
        assert_eq!(columns[0], columns[1]);
        assert_eq!((of_json.rows, columns[0].len()), (3, 6));
    }

    #[test]
    fn a_line_that_is_no_row_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        for (text, part) in [("{\"a\": 1}\n[1]\n", "line 2: it is no object"), ("{\"a\": 1}\n\n{", "line 3: EOF")] {
            std::fs::write(&path, text).unwrap();
            let error = build_reference(&plan(vec![path.clone()])).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_file_that_has_a_column_first_decides_on_its_kind() {
        let numbers_first = build(&["x\n1\n2.50\n", "x\n2.5\nnone\n"], |_| {});
        let Normal::Numeric { grid, profile, .. } = &numbers_first.columns[0].normal else { panic!() };
        assert_eq!((grid.cuts(), profile.finite(), profile.wrong_type), ([1.0, 2.5].as_slice(), 3, 1));
        let names_first = build(&["x\nA\n007\n", "x\n007\n8\n"], |_| {});
        assert_eq!(categories(&names_first.columns[0]), ["007", "8", "A"]);
    }

    #[test]
    fn numbers_beyond_all_measure_do_not_spoil_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = build(&["x\n1\n2\n1.7e308\n-1.7e308\n1e155\n"], |_| {});
        let path = folder.path().join("reference.json");
        write_reference(&file, &path).unwrap();
        let Normal::Numeric { profile, .. } = &file.columns[0].normal else { panic!() };
        assert_eq!((profile.finite(), profile.infinite), (2, 3));
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = build(&["x\n1\n2\n"], |_| {});
        let Normal::Numeric { profile, .. } = &mut file.columns[0].normal else { panic!() };
        profile.shifted_squares = f64::INFINITY;
        let path = folder.path().join("reference.json");
        assert!(write_reference(&file, &path).is_err());
        assert!(!path.try_exists().unwrap());
    }

    #[test]
    fn a_reference_of_too_short_a_time_has_no_block_noise() {
        let day = |day: usize| format!("2026-01-{day:02}T12:00:00Z,{}\n", day % 3);
        let rows = |days: usize| format!("when,x\n{}", (1..=days).map(day).collect::<String>());
        let daily =
            Windows { pane: std::time::Duration::from_secs(86_400), panes: 5, min_filled: 3, ..Windows::default() };
        for (days, has_blocks) in [(12, false), (20, true)] {
            let file = build(&[&rows(days)], |plan| plan.time = Some(("when".into(), daily.clone())));
            assert_eq!(!file.columns[0].blocks.is_empty(), has_blocks, "{days} days");
        }
    }

    /// The segments of a file with their rows, and those of one of its columns.
    fn segments(file: &ReferenceFile, column: &str) -> Vec<(String, u64, u64)> {
        let segments = file.segments.as_ref().unwrap();
        let at = segments.columns.iter().position(|shared| shared.column == column).unwrap();
        let of_way = |by: &driftline_detectors::Segmentation| {
            let named = by.parting.segments().into_iter().zip(&by.segments);
            named.map(|(name, one)| (name, one.rows, one.columns[at].profile.usable())).collect::<Vec<_>>()
        };
        segments.by.iter().flat_map(of_way).collect()
    }

    #[test]
    fn rows_are_parted_by_columns_and_conditions_whether_these_are_scored_or_not() {
        let rows = "when,x,origin,late\n2026-01-01T00:00:00Z,1,JFK,true\n2026-01-01T00:00:00Z,,JFK,false\n\
                    2026-01-01T00:00:00Z,3,EWR,true\n2026-01-01T00:00:00Z,4,,true\n2026-01-01T00:00:00Z,5,other,true\n";
        let file = build(&[rows], |plan| {
            plan.exclude.push("origin".into());
            plan.segments = ["origin", "up=x >= 3 and late = true"].map(|text| SegmentBy::parse(text).unwrap()).into();
        });
        let expected = [("origin=JFK", 2, 1), ("origin=EWR", 1, 1), ("origin=other", 2, 2), ("up", 3, 3)];
        assert_eq!(segments(&file, "x"), expected.map(|(name, rows, values)| (name.to_owned(), rows, values)));
        let names: Vec<&str> = file.columns.iter().map(|column| column.column.as_str()).collect();
        assert_eq!(names, ["when", "x", "late"]);
    }

    #[test]
    fn the_most_frequent_values_have_segments_and_the_rest_shares_one() {
        let rows: String = (0..60).map(|row| format!("{row},{}\n", [7, 7, 7, 8, 8, 9][row % 6])).collect();
        let plan = |most| {
            move |plan: &mut ReferencePlan| plan.segments = vec![SegmentBy::Column { name: "hour".into(), most }]
        };
        let of = |most| segments(&build(&[&format!("x,hour\n{rows}")], plan(most)), "x");
        let named: Vec<(String, u64)> = of(2).into_iter().map(|(name, rows, _)| (name, rows)).collect();
        assert_eq!(named, [("hour=7", 30), ("hour=8", 20), ("hour=other", 10)].map(|(name, rows)| (name.into(), rows)));
        assert_eq!(of(20).last().unwrap().1, 0);
    }

    #[test]
    fn says_what_is_missing_and_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = csv_file(folder.path(), "a,b\n1,\n2,\n");
        let error = |change: &dyn Fn(&mut ReferencePlan)| {
            let mut plan = plan(vec![path.clone()]);
            change(&mut plan);
            build_reference(&plan).unwrap_err().to_string()
        };
        assert!(error(&|plan| plan.columns.push("c".into())).contains("c; there are a, b"));
        assert!(error(&|_| {}).contains("'b' has no usable value in 2 rows"));
        assert!(error(&|plan| plan.inputs.clear()).contains("no input"));
        assert!(error(&|plan| plan.inputs.push("missing.csv".into())).contains("missing.csv"));
        assert!(
            error(&|plan| plan.segments.push(SegmentBy::parse("c").unwrap())).contains("no input has a column 'c'")
        );
        assert!(error(&|plan| plan.segments.push(SegmentBy::parse("s=c > 1").unwrap())).contains("column 'c'"));
        assert!(error(&|plan| plan.segments.push(SegmentBy::parse("b").unwrap())).contains("no value that names"));
        assert!(error(&|plan| plan.inputs.push("rows.txt".into())).contains("rows.txt"));
        assert!(error(&|plan| plan.time = Some(("when".into(), Windows::default()))).contains("--time-column"));
    }
}
