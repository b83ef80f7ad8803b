//! How windows with their scores are written: as a table for people, as CSV, or as JSON lines.

use std::io::Write;

use clap::ValueEnum;
use driftline_detectors::{Bar, Detector, Score};
use serde::Serialize;

use crate::api::{BesideView, REFERENCE, ScoreView};
use crate::numbers::{significant, thousands};
use crate::pipeline::checkpoint::StoredWindow;
use crate::pipeline::series::ClosedColumn;
use crate::times::rfc3339;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One score of each column, a line for each window and column.
    Table,
    /// A line for each window, column and score, after a line of names: those of all rows and of each segment, against the
    /// reference and beside earlier windows.
    Csv,
    /// An object for each window, with all scores and the bars of its columns; a window for each line.
    Jsonl,
}

/// Where windows are written.
pub(super) enum Sink<W: Write> {
    Table(W, Detector),
    Csv(Box<csv::Writer<W>>),
    Jsonl(W),
}

impl<W: Write> Sink<W> {
    pub(super) fn new(format: Format, shown: Detector, mut output: W) -> Result<Self, String> {
        Ok(match format {
            Format::Table => {
                let (ends, filled, effect) = ("ends", "filled", shown.name());
                writeln!(
                    output,
                    "{ends:<20} {:<12} {:>11} {filled:>7}  {:<24} {effect:>16} {:>9}  verdict",
                    "version", "rows", "column", "limit"
                )
                .map_err(|error| error.to_string())?;
                Self::Table(output, shown)
            }
            Format::Csv => Self::Csv(Box::new(csv::Writer::from_writer(output))),
            Format::Jsonl => Self::Jsonl(output),
        })
    }

    pub(super) fn write(&mut self, window: &StoredWindow) -> Result<(), String> {
        match self {
            Self::Table(output, shown) => table(output, *shown, window).map_err(|error| error.to_string()),
            Self::Csv(writer) => {
                ScoreLine::of(window).try_for_each(|line| writer.serialize(line)).map_err(|error| error.to_string())
            }
            Self::Jsonl(output) => {
                serde_json::to_writer(&mut *output, &WindowLine::of(window)).map_err(|error| error.to_string())?;
                output.write_all(b"\n").map_err(|error| error.to_string())
            }
        }
    }

    pub(super) fn finish(self) -> Result<(), String> {
        match self {
            Self::Table(mut output, _) | Self::Jsonl(mut output) => output.flush(),
            Self::Csv(mut writer) => writer.flush(),
        }
        .map_err(|error| error.to_string())
    }
}

fn table(output: &mut impl Write, shown: Detector, stored: &StoredWindow) -> std::io::Result<()> {
    let StoredWindow { version, window, .. } = stored;
    let (ends, filled) = (rfc3339(window.ends), format!("{}/{}", window.filled, window.panes));
    write!(output, "{ends:<20} {version:<12} {:>11} {filled:>7}", thousands(window.rows))?;
    if window.columns.is_empty() {
        return writeln!(output, "  no reference");
    }
    for (number, column) in window.columns.iter().enumerate() {
        if number > 0 {
            write!(output, "{:<53}", "")?;
        }
        match column.scores.iter().find(|score| score.detector == shown) {
            Some(score) => {
                let score = ScoreView::from(score);
                let (effect, limit) = (significant(score.effect), significant(score.limit));
                writeln!(output, "  {:<24} {effect:>16} {limit:>9}  {}", column.column, score.verdict)?;
            }
            None => writeln!(output, "  {:<24} {:>16} {:>9}", column.column, "-", "-")?,
        }
    }
    Ok(())
}

/// A window as JSON has it.
#[derive(Serialize)]
struct WindowLine<'w> {
    model: &'w str,
    version: &'w str,
    starts: String,
    ends: String,
    rows: u64,
    filled: u32,
    panes: u32,
    reference: &'w str,
    columns: Vec<ColumnLine<'w>>,
    /// Absent of models without segments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segments: Vec<SegmentLine<'w>>,
}

#[derive(Serialize)]
struct SegmentLine<'w> {
    segment: &'w str,
    rows: u64,
    reference_rows: u64,
    columns: Vec<ColumnLine<'w>>,
}

#[derive(Serialize)]
struct ColumnLine<'w> {
    column: &'w str,
    scores: Vec<ScoreView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<BesideView>,
    bars: &'w [Bar],
}

impl<'w> WindowLine<'w> {
    fn of(stored: &'w StoredWindow) -> Self {
        let StoredWindow { model, version, reference, window } = stored;
        let segments = window.segments.iter().map(|segment| SegmentLine {
            segment: &segment.name,
            rows: segment.rows,
            reference_rows: segment.reference_rows,
            columns: segment.columns.iter().map(ColumnLine::of).collect(),
        });
        Self {
            model,
            version,
            starts: rfc3339(window.starts),
            ends: rfc3339(window.ends),
            rows: window.rows,
            filled: window.filled,
            panes: window.panes,
            reference,
            columns: window.columns.iter().map(ColumnLine::of).collect(),
            segments: segments.collect(),
        }
    }
}

impl<'w> ColumnLine<'w> {
    fn of(column: &'w ClosedColumn) -> Self {
        let scores = column.scores.iter().map(ScoreView::from).collect();
        let beside = column.beside.iter().map(BesideView::from).collect();
        Self { column: &column.column, scores, beside, bars: &column.bars }
    }
}

/// A score as CSV has it.
#[derive(Serialize)]
struct ScoreLine<'w> {
    model: &'w str,
    version: &'w str,
    starts: String,
    ends: String,
    rows: u64,
    filled: u32,
    panes: u32,
    reference: &'w str,
    /// Empty of all rows.
    segment: &'w str,
    column: &'w str,
    /// What it is held against: the reference, or which earlier windows.
    against: &'static str,
    detector: &'static str,
    value: f64,
    upper: f64,
    effect: f64,
    interval_low: f64,
    interval_high: f64,
    null_mean: f64,
    limit: f64,
    threshold: f64,
    noise_independent: f64,
    noise_blocks: Option<f64>,
    noise_budget: Option<f64>,
    p_value: f64,
    n_reference: u64,
    n_window: u64,
    verdict: String,
}

impl<'w> ScoreLine<'w> {
    fn of(stored: &'w StoredWindow) -> impl Iterator<Item = Self> {
        let StoredWindow { model, version, reference, window } = stored;
        let segments = window.segments.iter().map(|segment| (&*segment.name, segment.columns.as_slice()));
        let columns = [("", window.columns.as_slice())].into_iter().chain(segments);
        let columns = columns.flat_map(|(segment, columns)| columns.iter().map(move |column| (segment, column)));
        let scores = columns.flat_map(|(segment, column)| {
            scores_of(column).map(move |(against, score)| (segment, column, against, score))
        });
        scores.map(move |(segment, column, against, score)| Self {
            model,
            version,
            starts: rfc3339(window.starts),
            ends: rfc3339(window.ends),
            rows: window.rows,
            filled: window.filled,
            panes: window.panes,
            reference,
            segment,
            column: &column.column,
            against,
            detector: score.detector.name(),
            value: score.value,
            upper: score.upper,
            effect: score.effect,
            interval_low: score.interval.0,
            interval_high: score.interval.1,
            null_mean: score.null_mean,
            limit: score.threshold_in_force(),
            threshold: score.threshold,
            noise_independent: score.noise.independent,
            noise_blocks: score.noise.blocks,
            noise_budget: score.noise.budget,
            p_value: score.p_value,
            n_reference: score.n_reference,
            n_window: score.n_window,
            verdict: ScoreView::from(score).verdict,
        })
    }
}

/// A column's scores, each with what it is held against.
fn scores_of(column: &ClosedColumn) -> impl Iterator<Item = (&'static str, &Score)> {
    let beside =
        column.beside.iter().flat_map(|beside| beside.scores.iter().map(|score| (beside.against.name(), score)));
    column.scores.iter().map(|score| (REFERENCE, score)).chain(beside)
}
