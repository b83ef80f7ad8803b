//! A model whose rows never come late. What its windows counted is held against what was sent, window by window; and every
//! score against the one that `driftline backfill` makes from the archive.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use driftline_tests::{Collector, eventually, run as run_binary};
use serde_json::Value;

use crate::rows::{OWN_TIME_BEFORE, RowId};
use crate::senders::Boot;

/// Its name.
pub(crate) const EXACT: &str = "exact";
/// How long its windows are. As those of the other model they do not overlap.
const WINDOW_MICROS: i64 = 2_000_000;
/// Its windows close when nothing has come for a while, and not before: longer than the oldest row is old, and a pane.
/// Its event time is the same from start to start. Types are said, so that the archive has what was sent.
pub(crate) const MODEL: &str = "  - name: exact
    reference: reference.json
    event_time: {column: at, unit: microseconds}
    columns: {integer: integer, flag: boolean}
    windows: {pane: 2s, window: 2s, every: 2s, lateness: 10m, min_filled: 1, close_when_idle: 15s}
";
/// Rows of its reference.
const REFERENCE_ROWS: u64 = 2000;
/// Scores that must be the same to the bit.
const EXACT_SCORES: [&str; 10] = [
    "psi",
    "ks",
    "jensen_shannon",
    "cramer_von_mises",
    "chi_square",
    "total_variation",
    "hellinger",
    "l_infinity",
    "missing_share",
    "new_category_share",
];
/// One that rests on sums of floating-point numbers, which come in another order where partitions were changed.
const SUMMED_SCORE: &str = "wasserstein";

/// Writes the model's reference into a folder.
pub(crate) fn write_reference(folder: &Path) {
    let mut csv = "number,integer,flag,text,score\n".to_owned();
    for row in 0..REFERENCE_ROWS {
        let values = RowId { boot: 0, sequence: row, row: 0 }.values();
        let text = values.text.unwrap_or_default().replace('"', "\"\"");
        let (number, integer, flag, score) = (values.number, values.integer, values.flag, values.score);
        csv += &format!("{number},{integer},{flag},\"{text}\",{score}\n");
    }
    std::fs::write(folder.join("reference.csv"), csv).expect("a file");
    let arguments = ["reference", "build", "reference.csv", "--model", EXACT, "--output", "reference.json"];
    let built = run_binary("driftline", &arguments, folder);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
}

/// What one window must have counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    rows: u64,
    texts: u64,
    flags: u64,
}

/// Holds the windows of a collector that is idle against the rows in its archive, and gives how many windows there were.
pub(crate) async fn check_windows(
    boots: &BTreeMap<u64, Boot>,
    archived: &HashSet<RowId>,
    collector: &Collector,
) -> u64 {
    let expected = expected(boots, archived);
    if expected.is_empty() {
        return 0;
    }
    let matrix = async |score: &str| {
        collector.api(&format!("models/{EXACT}/scores?version=1&limit=1000&detector={score}")).await
    };
    let psi = eventually("every window of the exact model has closed", async || {
        let psi = matrix("psi").await?;
        let rows: Vec<u64> = windows(&psi).iter().filter_map(|window| window["rows"].as_u64()).collect();
        let sent: Vec<u64> = expected.iter().map(|counted| counted.rows).collect();
        if rows == sent { Ok(psi) } else { Err(format!("{rows:?} rows in windows, and {sent:?} were sent")) }
    })
    .await;
    for (index, (window, sent)) in windows(&psi).iter().zip(&expected).enumerate() {
        let ends = window["ends"].as_str().expect("a time");
        let flag = collector.api(&format!("models/{EXACT}/columns/flag?version=1&ends={ends}")).await;
        let flag = flag.unwrap_or_else(|why| panic!("column flag of the window to {ends}: {why}"));
        let share = |bar: &&Value| bar["label"] == "true";
        let share = flag["bars"].as_array().and_then(|bars| bars.iter().find(share)?["window"].as_f64());
        let counted = Counted {
            rows: usable(&psi, "number", index),
            texts: usable(&psi, "text", index),
            flags: (share.unwrap_or(0.0) * usable(&psi, "flag", index) as f64).round() as u64,
        };
        assert_eq!(counted, *sent, "the window to {ends} counted what was not sent, or not all of it");
    }
    let again = made_again(collector);
    assert_eq!(again.len(), expected.len(), "windows that were made again");
    for score in EXACT_SCORES.into_iter().chain([SUMMED_SCORE]) {
        let live = matrix(score).await.unwrap_or_else(|why| panic!("{score}: {why}"));
        for (index, window) in again.iter().enumerate() {
            assert_eq!(window["ends"], windows(&live)[index]["ends"]);
            for column in window["columns"].as_array().expect("columns") {
                same_score(cell(&live, &column["column"], index), column, score);
            }
        }
    }
    expected.len() as u64
}

/// What each window must have counted, the oldest first.
fn expected(boots: &BTreeMap<u64, Boot>, archived: &HashSet<RowId>) -> Vec<Counted> {
    let mut windows: BTreeMap<i64, Counted> = BTreeMap::new();
    for id in archived {
        let boot = &boots[&id.boot];
        if boot.model != EXACT {
            continue;
        }
        let at = boot.started_at[id.sequence as usize - 1] - OWN_TIME_BEFORE;
        let (counted, values) = (windows.entry(at.div_euclid(WINDOW_MICROS)).or_default(), id.values());
        counted.rows += 1;
        counted.texts += u64::from(values.text.is_some());
        counted.flags += u64::from(values.flag);
    }
    windows.into_values().collect()
}

/// The windows that `driftline backfill` makes from the archive.
fn made_again(collector: &Collector) -> Vec<Value> {
    let arguments = "backfill --config driftline.yaml --model exact --from 2020-01-01 --to 2100-01-01 --format jsonl";
    let ran = run_binary("driftline", &arguments.split(' ').collect::<Vec<_>>(), collector.folder());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn windows(matrix: &Value) -> &[Value] {
    matrix["windows"].as_array().map_or(&[], Vec::as_slice)
}

/// A score of a column in a window, as the collector has it; null when it was not taken.
fn cell<'m>(matrix: &'m Value, column: &Value, index: usize) -> &'m Value {
    let columns = matrix["columns"].as_array().map_or(&[][..], Vec::as_slice);
    let found = columns.iter().find(|found| found["column"] == *column);
    found.map_or(&Value::Null, |found| &found["cells"][index])
}

/// Values of a column that a window could use.
fn usable(psi: &Value, column: &str, index: usize) -> u64 {
    cell(psi, &column.into(), index)["n_window"].as_u64().unwrap_or(0)
}

/// Holds a score of the collector against the one that was made again.
fn same_score(live: &Value, column: &Value, score: &str) {
    let scores = column["scores"].as_array().expect("scores");
    let again = scores.iter().find(|again| again["detector"] == score).unwrap_or(&Value::Null);
    if score == SUMMED_SCORE {
        let value = |score: &Value| score["value"].as_f64();
        let is_near = match (value(live), value(again)) {
            (Some(live), Some(again)) => (live - again).abs() <= live.abs() * 1e-9,
            (live, again) => live == again,
        };
        assert!(is_near, "{score} of {column} was {live}");
    } else {
        assert_eq!(live, again, "{score} of {}, and what is made again from the archive", column["column"]);
    }
}
