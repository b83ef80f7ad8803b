//! Simulated years through the collector's own rules: `driftline reference build` and `driftline backtest --data` on files of
//! rows, with segments, earlier windows and change over time, which the judges do not know.
//!
//! Windows are days side by side, for that is how earlier windows and streams are counted.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use driftline_tests::binary;
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::TempDir;

use crate::flights::{Column, Flights};
use crate::years::{DAYS_OF_A_MONTH, DAYS_OF_A_YEAR, Plan, Split, year_of};

/// Rules with what they watch. The budget is shared by all of them.
pub(crate) const RULES: [(&str, &str); 8] = [
    ("psi", "score: psi, windows: 2 of 3"),
    ("missing_share", "score: missing_share, windows: 2 of 3"),
    ("new_category_share", "score: new_category_share, windows: 2 of 3"),
    ("recent_psi", "score: recent_psi, windows: 2 of 3"),
    ("segment_psi", "score: segment_psi, windows: 2 of 3"),
    ("psi_cusum", "score: psi_cusum"),
    ("psi_ewma", "score: psi_ewma"),
    ("psi_page_hinkley", "score: psi_page_hinkley"),
];
/// Expressions, each of which has the budget to itself.
pub(crate) const EXPRESSIONS: [(&str, &str); 4] = [
    ("psi", "expression: 'psi > psi.limit', windows: 2 of 3"),
    ("psi or missing_share", "expression: 'psi > psi.limit or missing_share > missing_share.limit', windows: 2 of 3"),
    ("psi and ks", "expression: 'psi > psi.limit and ks > ks.limit', windows: 2 of 3"),
    ("psi and missing_share", "expression: 'psi > psi.limit and missing_share > missing_share.limit', windows: 2 of 3"),
];
const DAY_MICROS: i64 = 86_400_000_000;
/// 2020-01-01, from which on the year is; the reference is before it.
const BEGINNING: i64 = 18_262 * DAY_MICROS;

/// How often a rule's alerts began, in a month, and in which part of the year one was on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) alerts: f64,
    pub(crate) days: f64,
}

/// A year in files, with the reference of what was before it.
pub(crate) struct Year {
    folder: TempDir,
}

impl Year {
    pub(crate) fn write(flights: &Flights, plan: &Plan, split: Split, seed: u64) -> Self {
        let (days, before, after) = year_of(flights, plan, split, seed);
        let columns = &flights.columns[..plan.columns];
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("before.parquet"), columns, &days, &before, BEGINNING - before.len() as i64 * DAY_MICROS);
        write(&at("after.parquet"), columns, &days, &after, BEGINNING);
        std::fs::write(at("driftline.yaml"), configuration(plan, &RULES)).unwrap();
        let build = ["reference", "build", "--model=m", "--config=driftline.yaml", "--output=reference.json"];
        driftline(folder.path(), &[&build[..], &["before.parquet"]].concat());
        Self { folder }
    }

    /// What rules make of it that are all there are.
    pub(crate) fn told<const N: usize>(&self, plan: &Plan, rules: &[(&str, &str); N]) -> [Told; N] {
        std::fs::write(self.folder.path().join("driftline.yaml"), configuration(plan, rules)).unwrap();
        let (from, to) = ("--from=2020-01-01", "--to=2020-12-31");
        let report = ["backtest", "--config=driftline.yaml", "--data=after.parquet", from, to, "--format=json"];
        let report: Value = serde_json::from_slice(&driftline(self.folder.path(), &report)).unwrap();
        assert_eq!(report["present"]["windows"], DAYS_OF_A_YEAR as u64, "each day is a window");
        std::array::from_fn(|rule| told(&report["present"]["episodes"], &name(rule)))
    }
}

/// Rules are named by their place, since an expression is no name.
fn name(rule: usize) -> String {
    format!("rule-{rule}")
}

fn told(episodes: &Value, rule: &str) -> Told {
    let mut told = Told::default();
    for episode in episodes.as_array().unwrap().iter().filter(|episode| episode["rule"] == rule) {
        let day = |time: &Value| time.as_str().map(day_of_year);
        let fired = day(&episode["window"][1]).unwrap();
        let resolved = day(&episode["resolved"]).unwrap_or(DAYS_OF_A_YEAR as f64);
        told.alerts += DAYS_OF_A_MONTH / DAYS_OF_A_YEAR as f64;
        told.days += (resolved - fired).max(0.0) / DAYS_OF_A_YEAR as f64;
    }
    told
}

/// The day of a time of 2020, a leap year, or the first of the next one.
fn day_of_year(time: &str) -> f64 {
    let part = |from: usize, to: usize| time[from..to].parse::<usize>().unwrap();
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    let months = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    ((year - 2020) * 366 + months[..month - 1].iter().sum::<usize>() + day - 1) as f64
}

fn configuration(plan: &Plan, rules: &[(&str, &str)]) -> String {
    let rule = |(index, (_, when)): (usize, &(&str, &str))| {
        format!(
            "    - {{name: {}, severity: ticket, runbook: feature-drift, when: {{{when}}}, group_by: [model]}}\n",
            name(index)
        )
    };
    let shipped = ["FeatureDrift", "PredictionDrift", "MissingValues", "NewCategory", "NewChange", "SegmentDrift"];
    let off = shipped.map(|name| format!("    - {{name: {name}, enabled: false}}\n")).concat();
    // Where not all columns are looked at, the one of the airport is not among them.
    let segments = if plan.columns >= 17 { "    segments: [{column: origin}]\n" } else { "" };
    format!(
        "models:\n  - name: m\n    reference: reference.json\n    event_time: {{column: when}}\n    \
         windows: {{pane: 1d, window: 1d, every: 1d, min_filled: 1, lateness: 0s}}\n    \
         compare_with: {{recent: {{over: 7d}}}}\n    false_pages: {} per month\n{segments}\
         alerts:\n  rules:\n{off}{}",
        plan.per_month,
        rules.iter().enumerate().map(rule).collect::<String>()
    )
}

/// Writes a file in which each of these days has its rows, one day after the other.
fn write(path: &Path, columns: &[Column], days: &[Vec<usize>], drawn: &[usize], begins: i64) {
    let batch = |(number, day): (usize, &usize)| {
        let rows = &days[*day];
        let starts = begins + number as i64 * DAY_MICROS;
        let time = |row: usize| starts + row as i64 * DAY_MICROS / rows.len() as i64;
        let when: ArrayRef = Arc::new((0..rows.len()).map(time).map(Some).collect::<TimestampMicrosecondArray>());
        let named = columns.iter().map(|column| (column.name.as_str(), column.array(rows, None), true));
        RecordBatch::try_from_iter_with_nullable([("when", when, true)].into_iter().chain(named)).unwrap()
    };
    let mut batches = drawn.iter().enumerate().map(batch);
    let first = batches.next().unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), first.schema(), None).unwrap();
    [first].into_iter().chain(batches).for_each(|batch| writer.write(&batch).unwrap());
    writer.close().unwrap();
}

fn driftline(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let ran = Command::new(binary("driftline")).args(arguments).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "driftline {}: {}", arguments.join(" "), String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}
