//! What another tool says of the same rows by its own defaults, in its own numbers.
//!
//! Of the two samples as they are, and by their rules on columns and on all of them together: Evidently calls the whole
//! drifted when half of the columns are, NannyML says it of each stretch of a column. Neither adds up over windows, so no
//! collector scores by them; `docs/moving-over.md` says what to take instead.

use std::fmt::Write as _;

use clap::ValueEnum;
use driftline_alerts::escape_html;
use driftline_detectors::compat::nannyml::{self, Categories, CategoryMethod, NumberMethod, Numbers};
use driftline_detectors::compat::{Compat, CompatError, Sample, evidently};
use serde::Serialize;

use super::{Compare, EXIT_DRIFT, EXIT_IO, EXIT_NOT_ENOUGH_DATA, EXIT_USAGE, Format, Report};
use crate::backtest::page;
use crate::numbers::{percent, significant, thousands};
use crate::reference_build::{RawColumn, RawPair, RawRows};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Preset {
    /// Evidently's data drift preset (0.7): a test for each column by its type and the reference's size, and drift where
    /// half of the columns drift.
    Evidently,
    /// NannyML's univariate drift (0.13): Jensen-Shannon distances of ten chunks of ROWS, and drift where one lies above the
    /// mean and three standard deviations of NORMAL's own ten.
    Nannyml,
}

impl Preset {
    fn tool(self) -> &'static str {
        match self {
            Self::Evidently => "Evidently",
            Self::Nannyml => "NannyML",
        }
    }
}

/// Two samples, as the other tool sees them.
pub(super) struct TheirNumbers<'c> {
    compare: &'c Compare,
    preset: Preset,
    rows: (u64, u64),
    /// That which drifts in most chunks first, then in the order in which they came.
    columns: Vec<Column>,
}

#[derive(Debug, Serialize)]
struct Column {
    column: String,
    /// By the name that the tool gives it; none where it has no number.
    method: Option<&'static str>,
    threshold: Option<f64>,
    drifted: bool,
    chunks: Vec<Chunk>,
    /// Why it has no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Values of both sides that are of another type than the column, and left out.
    wrong_type: u64,
}

/// Rows that lie side by side. Evidently takes all of them for one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Chunk {
    first_row: usize,
    rows: usize,
    /// None where no row has a usable value.
    value: Option<f64>,
    drifted: bool,
}

impl<'c> TheirNumbers<'c> {
    /// # Errors
    /// An exit code, and why there is nothing to say.
    pub(super) fn of(compare: &'c Compare, preset: Preset) -> Result<Self, (u8, String)> {
        if compare.normal.is_reference_file() {
            return Err((EXIT_USAGE, "--preset needs rows of both; a reference file holds none".to_owned()));
        }
        let (normal, window) = (compare.normal.open(&compare.archive)?, compare.rows.open(&compare.archive)?);
        let io = |why| (EXIT_IO, why);
        let plan = compare.plan(&normal.not_features);
        let normal = RawRows::read(&normal, &plan).map_err(io)?;
        let window = RawRows::read(&window, &plan).map_err(io)?;
        let names: Vec<&str> = normal.names().collect();
        if let Some(absent) = compare.column.iter().find(|column| !names.contains(&column.as_str())) {
            let why = format!("{} has no column {absent} of numbers or names", compare.normal);
            return Err((EXIT_USAGE, why));
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let Some(pair) = normal.beside(&window, name).map_err(io)? else { continue };
            columns.push(Column::of(name, preset, &pair));
        }
        if columns.is_empty() {
            return Err((EXIT_USAGE, format!("{} has no column of numbers or names", compare.normal)));
        }
        columns.sort_by_key(|column| std::cmp::Reverse(column.chunks_that_drift()));
        Ok(Self { compare, preset, rows: (normal.rows, window.rows), columns })
    }

    pub(super) fn report(&self) -> Report {
        let text = match self.compare.format {
            Format::Table => self.table(),
            Format::Json => self.json(),
            Format::Html => self.html(),
        };
        Report { text, code: self.code() }
    }

    fn drifted(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.drifted)
    }

    fn share_drifted(&self) -> f64 {
        self.drifted().count() as f64 / self.columns.len() as f64
    }

    fn is_drift(&self) -> bool {
        match self.preset {
            Preset::Evidently => self.share_drifted() >= evidently::DRIFT_SHARE,
            Preset::Nannyml => self.drifted().next().is_some(),
        }
    }

    /// A column without a number is none without drift: the tool ends with an error there.
    fn code(&self) -> u8 {
        match () {
            () if self.is_drift() => EXIT_DRIFT,
            () if self.columns.iter().any(|column| column.error.is_some()) => EXIT_NOT_ENOUGH_DATA,
            () => 0,
        }
    }

    fn headline(&self) -> String {
        let names: Vec<&str> = self.drifted().map(|column| column.column.as_str()).collect();
        let all = self.columns.len();
        let says = match (self.code(), names.as_slice()) {
            (EXIT_NOT_ENOUGH_DATA, _) => "has no number for some columns".to_owned(),
            (EXIT_DRIFT, names) => format!("says drift, in {} of {all} columns: {}", names.len(), names.join(", ")),
            (_, []) => format!("says no drift in {all} columns"),
            (_, names) => format!(
                "says no drift: {} of {all} columns drift, {}, and {} would be",
                names.len(),
                names.join(", "),
                percent(evidently::DRIFT_SHARE)
            ),
        };
        let (n, m) = self.rows;
        format!("{} {says}; {} rows beside {}", self.preset.tool(), thousands(m), thousands(n))
    }

    fn table(&self) -> String {
        let mut text = self.headline() + "\n\n";
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap_or_default();
        let [column, method, value, threshold, says] = ["column", "method", "value", "threshold", "says"];
        line(format_args!("{column:<28} {method:<18} {value:>10} {threshold:>10}  {says}"));
        for column in &self.columns {
            line(format_args!(
                "{:<28} {:<18} {:>10} {:>10}  {}",
                column.column,
                column.method.unwrap_or_default(),
                column.farthest().map(significant).unwrap_or_default(),
                column.threshold.map(significant).unwrap_or_default(),
                column.says()
            ));
        }
        for column in self.columns.iter().filter(|column| column.wrong_type > 0) {
            let values = thousands(column.wrong_type);
            line(format_args!("{}: {values} values of another type are left out", column.column));
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'c> {
            headline: String,
            preset: Preset,
            normal: String,
            rows: String,
            n_reference: u64,
            n_window: u64,
            verdict: &'static str,
            share_drifted: f64,
            columns: &'c [Column],
        }
        let whole = Whole {
            headline: self.headline(),
            preset: self.preset,
            normal: self.compare.normal.to_string(),
            rows: self.compare.rows.to_string(),
            n_reference: self.rows.0,
            n_window: self.rows.1,
            verdict: match self.code() {
                EXIT_DRIFT => "drift",
                EXIT_NOT_ENOUGH_DATA => "not_enough_data",
                _ => "ok",
            },
            share_drifted: self.share_drifted(),
            columns: &self.columns,
        };
        // Texts and numbers can always be written.
        serde_json::to_string_pretty(&whole).unwrap_or_default() + "\n"
    }

    fn html(&self) -> String {
        let state = if self.is_drift() { "is-over" } else { "is-fine" };
        let sides = format!("{} beside {}", self.compare.rows, self.compare.normal);
        let mut body = format!(
            "<header class=\"report-head {state}\"><p class=\"sub\">Driftline compare by {}'s defaults · {}</p><h1>{}</h1></header>\
             <section><h2>Columns <span class=\"count\">those that drift first</span></h2>",
            self.preset.tool(),
            escape_html(&sides),
            escape_html(&self.headline())
        );
        self.columns.iter().for_each(|column| body.push_str(&column.html()));
        page::page("Driftline compare", &(body + "</section>"))
    }
}

impl Column {
    fn of(name: &str, preset: Preset, pair: &RawPair) -> Self {
        let said = match preset {
            Preset::Evidently => by_evidently(pair).map(|said| vec![(pair.rows.len(), Some(said))]),
            Preset::Nannyml => by_nannyml(pair),
        };
        // A tool that has no number of any chunk has none at all.
        let error = match &said {
            Ok(chunks) if chunks.iter().all(|(_, said)| said.is_none()) => Some(CompatError::Empty(Sample::Window)),
            Ok(_) => None,
            Err(error) => Some(*error),
        };
        let said = said.unwrap_or_default();
        let first = said.iter().find_map(|(_, said)| *said);
        let starts = said.iter().scan(0, |next, (rows, _)| Some(std::mem::replace(next, *next + rows)));
        let chunks = starts.zip(&said).map(|(first_row, (rows, said))| Chunk {
            first_row,
            rows: *rows,
            value: said.map(|said| said.value),
            drifted: said.is_some_and(|said| said.drifted),
        });
        let chunks: Vec<Chunk> = chunks.collect();
        Self {
            column: name.to_owned(),
            method: first.map(|said| said.method),
            threshold: first.and_then(|said| said.threshold),
            drifted: chunks.iter().any(|chunk| chunk.drifted),
            chunks,
            error: error.map(|error| error.to_string()),
            wrong_type: pair.wrong_type,
        }
    }

    fn chunks_that_drift(&self) -> usize {
        self.chunks.iter().filter(|chunk| chunk.drifted).count()
    }

    /// The largest of its chunks' values.
    fn farthest(&self) -> Option<f64> {
        self.chunks.iter().filter_map(|chunk| chunk.value).max_by(f64::total_cmp)
    }

    fn says(&self) -> String {
        match (&self.error, self.chunks_that_drift(), self.chunks.len()) {
            (Some(error), ..) => format!("no number: {error}"),
            (None, 0, _) => "ok".to_owned(),
            (None, _, 1) => "drift".to_owned(),
            (None, drifted, chunks) => format!("drift in {drifted} of {chunks} chunks"),
        }
    }

    fn html(&self) -> String {
        let row = |chunk: &Chunk| {
            let verdict = if chunk.drifted { "drift" } else { "ok" };
            let (first, last) = (chunk.first_row as u64 + 1, (chunk.first_row + chunk.rows) as u64);
            format!(
                "<tr class=\"verdict-{verdict}\"><td>{} to {}</td><td>{}</td><td>{}</td><td>{verdict}</td></tr>",
                thousands(first),
                thousands(last),
                chunk.value.map(significant).unwrap_or_default(),
                self.threshold.map(significant).unwrap_or_default(),
            )
        };
        let table = if self.error.is_some() {
            String::new()
        } else {
            format!(
                "<div class=\"table-scroller\"><table><thead><tr><th>rows</th><th>{}</th><th>threshold</th><th>verdict</th></tr>\
                 </thead><tbody>{}</tbody></table></div>",
                self.method.unwrap_or_default(),
                self.chunks.iter().map(row).collect::<String>()
            )
        };
        format!(
            "<article class=\"panel\"><h3 class=\"breakable\">{}</h3><p class=\"breakable\">{}</p>{table}</article>",
            escape_html(&self.column),
            escape_html(&self.says())
        )
    }
}

fn by_evidently(pair: &RawPair) -> Result<Compat, CompatError> {
    match (&pair.normal, &pair.rows) {
        (RawColumn::Numbers(normal), RawColumn::Numbers(rows)) => evidently::numbers(normal, rows),
        (normal, rows) => evidently::categories(&normal.names(), &rows.names()),
    }
}

/// The rows of each chunk, and what it says of them; nothing where none has a value.
type OfChunks = Vec<(usize, Option<Compat>)>;

fn by_nannyml(pair: &RawPair) -> Result<OfChunks, CompatError> {
    match (&pair.normal, &pair.rows) {
        (RawColumn::Numbers(normal), RawColumn::Numbers(rows)) => {
            let fitted = Numbers::fit(NumberMethod::JensenShannon, normal)?;
            of_chunks(rows, |chunk| fitted.score(chunk))
        }
        (normal, rows) => {
            let fitted = Categories::fit(CategoryMethod::JensenShannon, &normal.names())?;
            of_chunks(&rows.names(), |chunk| fitted.score(chunk))
        }
    }
}

fn of_chunks<T>(rows: &[T], score: impl Fn(&[T]) -> Result<Compat, CompatError>) -> Result<OfChunks, CompatError> {
    let of_chunk = |chunk: &[T]| match score(chunk) {
        Ok(said) => Ok((chunk.len(), Some(said))),
        Err(CompatError::Empty(Sample::Window)) => Ok((chunk.len(), None)),
        Err(error) => Err(error),
    };
    nannyml::chunks(rows, Sample::Window)?.map(of_chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: impl Iterator<Item = i32>) -> RawColumn {
        RawColumn::Numbers(values.map(f64::from).collect())
    }

    fn column(preset: Preset, normal: RawColumn, rows: RawColumn) -> Column {
        Column::of("x", preset, &RawPair { normal, rows, wrong_type: 0 })
    }

    #[test]
    fn chunks_are_told_of_one_by_one_and_one_without_values_is_no_drift() {
        let normal = || numbers((0..1000).map(|i| i % 10));
        let mut rows: Vec<f64> = (0..105).map(|i| f64::from(i % 10)).collect();
        rows[20..30].fill(f64::NAN);
        rows[30..40].fill(100.0);
        let said = column(Preset::Nannyml, normal(), RawColumn::Numbers(rows));
        assert_eq!((said.chunks.len(), said.chunks[10].rows, said.chunks[10].first_row), (11, 5, 100));
        assert_eq!((said.chunks[2].value, said.chunks[2].drifted), (None, false));
        assert!(said.drifted && said.chunks[3].drifted && !said.chunks[0].drifted);
    }

    #[test]
    fn a_column_without_a_number_says_why() {
        let normal = || numbers(0..100);
        let empty = column(Preset::Nannyml, normal(), RawColumn::Numbers(vec![f64::NAN; 50]));
        assert_eq!((empty.method, empty.drifted), (None, false));
        assert!(empty.says().contains("the window has no usable value"));
        assert!(column(Preset::Nannyml, normal(), numbers(0..9)).says().contains("the window has 9 rows"));
        assert!(column(Preset::Evidently, normal(), numbers(0..0)).says().contains("the window has no usable value"));
    }
}
