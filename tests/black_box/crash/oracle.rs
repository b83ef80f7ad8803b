//! Conservation: what was acknowledged is in the archive once and counted once, what is there was sent, and it is what was
//! sent.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use driftline_tests::{Collector, eventually};
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::catalogue;
use crate::exact::{EXACT, check_windows};
use crate::rows::{OWN_TIME_BEFORE, RowId, Values, rows};
use crate::senders::Boot;

/// What the collector keeps for itself beside the rows.
pub(crate) const OWN_FOLDER: &str = "_driftline";
/// Where a Delta table has its log.
pub(crate) const LOG_FOLDER: &str = "_delta_log";

/// An archive, as its reader sees it.
#[derive(Debug, Clone)]
pub(crate) enum Archive {
    Folder(PathBuf),
    S3(Arc<AmazonS3>),
}

impl Archive {
    /// All files that engines would read.
    pub(crate) async fn files(&self) -> Vec<(String, Bytes)> {
        let all = self.all().await;
        files_of_rows(&all).cloned().collect()
    }

    /// Everything that is there.
    pub(crate) async fn all(&self) -> Vec<(String, Bytes)> {
        match self {
            Self::Folder(folder) => files_below(folder),
            Self::S3(store) => {
                let listed: Vec<_> = store.list(None).try_collect().await.expect("the store lists its objects");
                let mut files = Vec::with_capacity(listed.len());
                for object in listed {
                    let found = store.get(&object.location).await.expect("an object that is listed");
                    files.push((object.location.to_string(), found.bytes().await.expect("an object that is listed")));
                }
                files
            }
        }
    }
}

/// Without what lies beside the rows.
pub(crate) fn files_of_rows(all: &[(String, Bytes)]) -> impl Iterator<Item = &(String, Bytes)> {
    all.iter().filter(|(name, _)| !name.split('/').any(|part| [OWN_FOLDER, LOG_FOLDER].contains(&part)))
}

fn files_below(folder: &Path) -> Vec<(String, Bytes)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            // One that is being written has another name until it is whole, and may have had it when it was listed.
            match std::fs::read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                contents => files.push((path.display().to_string(), contents.expect("a file").into())),
            }
        }
    }
    files
}

/// What was found.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    pub(crate) files: u64,
    pub(crate) rows: u64,
    /// Rows of the windows that have closed.
    pub(crate) in_windows: u64,
    /// Rows that came after their windows had closed, and are counted as that.
    pub(crate) late: u64,
    /// Windows of the exact model, each of which counted what was sent.
    pub(crate) exact_windows: u64,
}

/// What the files of an archive hold.
#[derive(Debug)]
pub(crate) struct Archived {
    files: u64,
    rows: HashSet<RowId>,
}

/// Holds a collector that has worked everything off, and its archive, against what was sent.
pub(crate) async fn check(boots: &BTreeMap<u64, Boot>, archive: &Archive, collector: &Collector) -> Found {
    let archived = in_archive(boots, &archive.files().await).unwrap_or_else(|why| panic!("{why}"));
    let mut found = Found { files: archived.files, rows: archived.rows.len() as u64, ..Found::default() };
    for model in boots.values().map(|boot| boot.model).collect::<BTreeSet<_>>() {
        let rows = archived.rows.iter().filter(|id| boots[&id.boot].model == model).count() as u64;
        let (in_windows, late) = counted(model, rows, collector).await;
        assert!(model != EXACT || late == 0, "{late} rows of the exact model came late");
        found.in_windows += in_windows;
        found.late += late;
    }
    found.exact_windows = check_windows(boots, &archived.rows, collector).await;
    catalogue::check(archive).await;
    found
}

/// Waits until a model's rows are counted, each once: in a window, or as late.
async fn counted(model: &str, archived: u64, collector: &Collector) -> (u64, u64) {
    let counted = eventually("every row is counted once", async || {
        let model = collector.api(&format!("models/{model}")).await?;
        let of = |name: &str| model[name].as_u64().unwrap_or(0);
        let (rows, late) = (of("rows"), of("late_rows"));
        if rows + late == archived {
            Ok((rows, late))
        } else {
            Err(format!("{rows} rows and {late} late ones counted, and {archived} archived"))
        }
    })
    .await;
    // Windows do not overlap here, so that each row that was in time is in one.
    eventually("every row in time is in one window", async || {
        let scores = collector.api(&format!("models/{model}/scores?version=1&limit=1000")).await?;
        let windows = scores["windows"].as_array().ok_or("no windows")?;
        let rows: u64 = windows.iter().filter_map(|window| window["rows"].as_u64()).sum();
        if rows == counted.0 { Ok(()) } else { Err(format!("{rows} in windows of {} counted", counted.0)) }
    })
    .await;
    counted
}

/// Holds the files of an archive against what was sent.
pub(crate) fn in_archive(boots: &BTreeMap<u64, Boot>, files: &[(String, Bytes)]) -> Result<Archived, String> {
    let mut seen: HashSet<RowId> = HashSet::new();
    for (name, file) in files {
        if !name.ends_with(".parquet") {
            return Err(format!("{name} lies in the archive, and engines read it"));
        }
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).and_then(|reader| reader.build());
        for batch in reader.map_err(|error| format!("{name}: {error}"))? {
            let batch = batch.map_err(|error| format!("{name}: {error}"))?;
            check_rows(boots, &batch, &mut seen).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    for (number, boot) in boots {
        for sequence in 1..=boot.started_at.len() as u64 {
            let all = rows(*number, sequence);
            let is_there = |row: &u64| seen.contains(&RowId { boot: *number, sequence, row: *row });
            let there = (0..all).filter(is_there).count() as u64;
            // What was never acknowledged may be there, or not, but not in part.
            if there != all && (there > 0 || sequence <= boot.acknowledged) {
                return Err(format!(
                    "boot {number}, exchange {sequence} of {} acknowledged: {there} of {all} rows are archived",
                    boot.acknowledged
                ));
            }
        }
    }
    Ok(Archived { files: files.len() as u64, rows: seen })
}

fn check_rows(boots: &BTreeMap<u64, Boot>, batch: &RecordBatch, seen: &mut HashSet<RowId>) -> Result<(), String> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("it has no column {name}"));
    let ids = column("row_id")?.as_string::<i32>();
    let times = column("event_time")?.as_primitive::<TimestampMicrosecondType>();
    let number = |name| Ok::<_, String>(column(name)?.as_primitive::<Float64Type>());
    let (numbers, scores) = (number("number")?, number("score")?);
    let (integers, flags) = (column("integer")?.as_primitive::<Int64Type>(), column("flag")?.as_boolean());
    // A file whose rows all lack it has no such column.
    let texts = batch.column_by_name("text").map(|column| column.as_string::<i32>());
    for row in 0..batch.num_rows() {
        let text = ids.value(row);
        let id = RowId::parse(text).ok_or_else(|| format!("row {text} was sent by nobody"))?;
        if !seen.insert(id) {
            return Err(format!("{text} is archived twice"));
        }
        let sent_at = boots.get(&id.boot).and_then(|boot| boot.started_at.get(id.sequence as usize - 1));
        let sent_at = sent_at.ok_or_else(|| format!("{text} was not sent"))?;
        // Which of its times it is archived by is the configuration's to say.
        if ![*sent_at, sent_at - OWN_TIME_BEFORE].contains(&times.value(row)) {
            return Err(format!("{text} was sent with {sent_at}, and is archived with {}", times.value(row)));
        }
        let found = Values {
            number: numbers.value(row),
            integer: integers.value(row),
            flag: flags.value(row),
            text: texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row).to_owned()),
            score: scores.value(row),
        };
        if found != id.values() {
            return Err(format!("{text} is archived as {found:?}, and was sent as {:?}", id.values()));
        }
    }
    Ok(())
}
