//! Other libraries themselves, on the windows of planted drifts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::flights::{Column, Drift, Flights};
use crate::power::{DAYS, KINDS, QUIET_DAYS, SIZES};
use crate::years::numbers::Numbers;
use crate::years::{Plan, drawn};

/// Libraries that share a Python environment. Not all can: alibi-detect needs the NumPy before the one of the others.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) names: &'static [&'static str],
    script: &'static str,
    python: PathBuf,
}

/// For each kind and size, and each library in turn, the days until it was found; none when it was not.
pub(crate) type Found = [[Vec<Option<usize>>; SIZES]; KINDS.len()];

/// Those that are installed.
pub(crate) fn installed() -> Vec<Peers> {
    let all: [(&str, &str, &[&str]); 2] = [
        ("DRIFTLINE_CALIBRATION_PYTHON", "peers.py", &["Evidently 0.7.23", "NannyML 0.13.1"]),
        ("DRIFTLINE_CALIBRATION_ALIBI", "alibi.py", &["alibi-detect 0.13.0"]),
    ];
    let there = |(variable, script, names)| Some(Peers { names, script, python: std::env::var_os(variable)?.into() });
    all.into_iter().filter_map(there).collect()
}

/// The same draw of days, and the same drifts, as in [`crate::power::find`].
pub(crate) fn find(flights: &Flights, plan: &Plan, installed: &[Peers], seed: u64) -> Found {
    let mut numbers = Numbers::new(1 + seed);
    let before = drawn(flights.days.len(), plan.reference_days, &mut numbers);
    let after = drawn(flights.days.len(), QUIET_DAYS + DAYS, &mut numbers);
    let folder = tempfile::tempdir().unwrap();
    for (kind, name, _, sizes) in KINDS {
        let column = flights.columns.iter().find(|column| column.name == name).unwrap();
        for size in sizes {
            let of_drift = folder.path().join(drift_name(name, size));
            std::fs::create_dir(&of_drift).unwrap();
            write(&of_drift.join("before.parquet"), column, &flights.days, &before, |_| None);
            let drift = |day| (day >= QUIET_DAYS).then_some(Drift { kind, size });
            write(&of_drift.join("after.parquet"), column, &flights.days, &after, drift);
        }
    }
    let said: Vec<Value> = installed.iter().map(|peers| peers.ask(folder.path(), plan)).collect();
    KINDS.map(|(_, name, _, sizes)| {
        sizes.map(|size| {
            let of_drift = said.iter().flat_map(|said| said[drift_name(name, size)].as_array().unwrap());
            of_drift.map(|windows| days_until_found(windows, plan.window_days as usize)).collect()
        })
    })
}

impl Peers {
    fn ask(&self, drifts: &Path, plan: &Plan) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/calibration").join(self.script);
        let mut command = Command::new(&self.python);
        command.arg(script).arg(drifts).args([plan.window_days.to_string(), plan.columns.to_string()]);
        // A draw has a core of its own, and no more.
        command.envs(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"].map(|threads| (threads, "1")));
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice(&ran.stdout).unwrap()
    }
}

fn drift_name(column: &str, size: f64) -> String {
    format!("{column} {size}")
}

/// Each of their windows tells. The first ends on the last day that fills it.
fn days_until_found(windows: &Value, window_days: usize) -> Option<usize> {
    let mut windows = windows.as_array().unwrap().iter().enumerate();
    let day = |index: usize| (index + window_days).saturating_sub(QUIET_DAYS);
    windows.find_map(|(index, says)| (says == &Value::Bool(true) && day(index) > 0).then(|| day(index)))
}

fn write(path: &Path, column: &Column, days: &[Vec<usize>], drawn: &[usize], drift: impl Fn(usize) -> Option<Drift>) {
    let batch = |(number, day): (usize, &usize)| {
        let rows = &days[*day];
        let day: ArrayRef = Arc::new(Int32Array::from(vec![number as i32; rows.len()]));
        let columns = [("day", day, false), ("x", column.array(rows, drift(number)), true)];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    let mut batches = drawn.iter().enumerate().map(batch);
    let first = batches.next().unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), first.schema(), None).unwrap();
    [first].into_iter().chain(batches).for_each(|batch| writer.write(&batch).unwrap());
    writer.close().unwrap();
}
