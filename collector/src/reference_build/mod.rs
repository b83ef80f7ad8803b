//! `driftline reference build`: from files of rows to a reference file.

mod csv;
mod parquet;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use driftline_detectors::{
    ColumnKind, FORMAT, MIN_STRETCHES, Reference, ReferenceBuilder, ReferenceFile, Source, VERSION, WindowLength,
};
use sha2::{Digest, Sha256};

use self::values::{Chunk, Values, add};
use crate::config::Windows;
use crate::times::{now_micros, rfc3339};

/// What to build a reference from.
#[derive(Debug, Clone)]
pub struct ReferencePlan {
    /// The model that it is for.
    pub model: String,
    /// Parquet and CSV files, by their ending.
    pub inputs: Vec<PathBuf>,
    /// The columns to take; all when empty.
    pub columns: Vec<String>,
    /// Columns to leave out.
    pub exclude: Vec<String>,
    /// Columns that are names although they look like numbers.
    pub categorical: Vec<String>,
    /// The column that says when a row happened, and the windows to come: with them the reference also learns what its
    /// own stretches of time say of each other.
    pub time: Option<(String, Windows)>,
}

/// Why there is no reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A file that cannot be read.
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

/// Builds a reference.
///
/// # Errors
/// See [`ReferenceError`].
pub fn build_reference(plan: &ReferencePlan) -> Result<ReferenceFile, ReferenceError> {
    if plan.inputs.is_empty() {
        return Err(ReferenceError::Plan("no input; name Parquet or CSV files".to_owned()));
    }
    let mut building =
        Building { plan, builders: BTreeMap::new(), order: Vec::new(), present: BTreeSet::new(), rows: 0, untimed: 0 };
    let mut sources = Vec::new();
    for path in &plan.inputs {
        let input = |why: String| ReferenceError::Input { path: path.clone(), why };
        sources.push(source(path).map_err(|error| input(format!("{error}; check the path")))?);
        let mut take = |chunk: Chunk| building.take(chunk);
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("parquet") => parquet::read(path, &mut take).map_err(input)?,
            Some("csv") => csv::read(path, &plan.categorical, &mut take).map_err(input)?,
            _ => return Err(input("files ending in .parquet and .csv can be read".to_owned())),
        }
    }
    building.finish(sources)
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

struct Building<'a> {
    plan: &'a ReferencePlan,
    builders: BTreeMap<String, ReferenceBuilder>,
    /// Columns in the order of their first appearance.
    order: Vec<String>,
    /// Names of all columns of all inputs, wanted or not.
    present: BTreeSet<String>,
    rows: u64,
    /// Rows without a usable time.
    untimed: u64,
}

impl Building<'_> {
    fn wants(&self, column: &str) -> bool {
        let plan = self.plan;
        let is_time = plan.time.as_ref().is_some_and(|(time, _)| time == column);
        !is_time
            && !plan.exclude.iter().any(|excluded| excluded == column)
            && (plan.columns.is_empty() || plan.columns.iter().any(|wanted| wanted == column))
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), String> {
        let rows = chunk.first().map_or(0, |(_, values)| values.len());
        let panes = self.panes(&chunk, rows)?;
        for (column, values) in &chunk {
            if !self.present.contains(column) {
                self.present.insert(column.clone());
            }
            if !self.wants(column) {
                continue;
            }
            let is_name = self.plan.categorical.contains(column);
            let kind = match values {
                Values::Numbers(_) | Values::Fields { are_numbers: true, .. } if !is_name => ColumnKind::Numeric,
                Values::Numbers(_) | Values::Texts(_) | Values::Fields { .. } => ColumnKind::Categorical,
                Values::Times(_) => continue,
            };
            if !self.builders.contains_key(column) {
                let mut builder = ReferenceBuilder::new(column.clone(), kind);
                // Files before this one did not have it.
                (0..self.rows).for_each(|_| builder.missing(None));
                self.order.push(column.clone());
                self.builders.insert(column.clone(), builder);
            }
            let Some(builder) = self.builders.get_mut(column) else { continue };
            // The file that had the column first decides, as a column has one kind.
            add(builder, values, &panes);
        }
        self.rows += rows as u64;
        for (column, builder) in &mut self.builders {
            if !chunk.iter().any(|(present, _)| present == column) {
                panes.iter().for_each(|pane| builder.missing(*pane));
            }
        }
        Ok(())
    }

    /// The number of the pane of each row.
    fn panes(&mut self, chunk: &Chunk, rows: usize) -> Result<Vec<Option<i64>>, String> {
        let Some((column, windows)) = &self.plan.time else { return Ok(vec![None; rows]) };
        let Some((_, values)) = chunk.iter().find(|(name, _)| name == column) else {
            return Err(format!("there is no time column '{column}'; name another with --time-column"));
        };
        let times: Vec<Option<i64>> = match values {
            Values::Times(times) => times.clone(),
            Values::Fields { are_numbers: false, texts } | Values::Texts(texts) => {
                let parse =
                    |text: &Option<String>| Some(text.as_ref()?.parse::<jiff::Timestamp>().ok()?.as_microsecond());
                texts.iter().map(parse).collect()
            }
            Values::Numbers(_) | Values::Fields { .. } => {
                return Err(format!("the time column '{column}' holds numbers; times or RFC 3339 texts are needed"));
            }
        };
        self.untimed += times.iter().filter(|time| time.is_none()).count() as u64;
        let pane = |time: i64| windows.pane_start(time).div_euclid(windows.pane_micros());
        Ok(times.into_iter().map(|time| time.map(pane)).collect())
    }

    fn finish(self, sources: Vec<Source>) -> Result<ReferenceFile, ReferenceError> {
        let plan = self.plan;
        let missing: Vec<&str> =
            plan.columns.iter().filter(|column| !self.builders.contains_key(*column)).map(String::as_str).collect();
        if !missing.is_empty() {
            let there: Vec<&str> = self.present.iter().map(String::as_str).collect();
            return Err(ReferenceError::Plan(format!(
                "no input has a usable column {}; there are {}",
                missing.join(", "),
                there.join(", ")
            )));
        }
        if self.untimed > 0 {
            tracing::warn!(
                rows = self.untimed,
                "rows without a time are counted, and tell nothing of stretches of time"
            );
        }
        let shape = plan.time.as_ref().map(|(_, windows)| windows.shape());
        let mut builders = self.builders;
        let columns: Result<Vec<_>, _> = self
            .order
            .iter()
            .filter_map(|column| builders.remove(column))
            .map(|builder| builder.build(shape))
            .collect();
        let columns = columns.map_err(|error| ReferenceError::Plan(error.to_string()))?;
        if columns.is_empty() {
            return Err(ReferenceError::Plan("no input has a column to take".to_owned()));
        }
        if let Some((_, windows)) = &plan.time {
            warn_of_no_block_noise(&columns, windows);
        }
        Ok(ReferenceFile {
            format: FORMAT.to_owned(),
            version: VERSION,
            model: plan.model.clone(),
            rows: self.rows,
            sources,
            built_at: rfc3339(now_micros()),
            window: plan
                .time
                .as_ref()
                .map(|(_, windows)| WindowLength { pane_seconds: windows.pane.as_secs(), panes: windows.panes }),
            columns,
        })
    }
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
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Source { path: path.display().to_string(), bytes, sha256 })
}

#[cfg(test)]
mod tests {
    use driftline_detectors::Normal;

    use super::*;

    fn plan(inputs: Vec<PathBuf>) -> ReferencePlan {
        ReferencePlan {
            model: "m".into(),
            inputs,
            columns: Vec::new(),
            exclude: Vec::new(),
            categorical: Vec::new(),
            time: None,
        }
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
        assert!(error(&|plan| plan.inputs.push("rows.txt".into())).contains("rows.txt"));
        assert!(error(&|plan| plan.time = Some(("when".into(), Windows::default()))).contains("--time-column"));
    }
}
