//! Cuts that are cut off, made again, and fenced.

use std::path::Path;

use arrow_array::types::IntervalMonthDayNanoType;
use arrow_array::{ArrayRef, Float64Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prometheus::IntGauge;

use super::*;

pub(super) const HOUR: i64 = 3_600_000_000;

fn batch(times: &[i64]) -> RecordBatch {
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
    let x: ArrayRef = Arc::new(Float64Array::from(vec![1.0; times.len()]));
    RecordBatch::try_from_iter([("event_time", time), ("x", x)]).unwrap()
}

pub(super) fn archiver(folder: &Path, configuration: &str) -> Archiver {
    let config = Config::parse("d.yaml", configuration, folder).unwrap();
    let store = Store::open(&config.data_dir).unwrap();
    let place = place::open(&config.archive.place).unwrap();
    let vitals = Vitals::new(IntGauge::new("stopped", "Stopped.").unwrap());
    Archiver::new(place, store, Arc::new(config), Metrics::new().unwrap(), (vitals, Tracer::default()))
}

pub(super) fn cut(layout: CutLayout, (first, last): (i64, i64), partitions: &[(i64, &[i64])]) -> Cut {
    let part = |(start, times): &(i64, &[i64])| (("m".into(), "1".into(), *start), vec![batch(times)]);
    Cut { first, last, layout, partitions: partitions.iter().map(part).collect() }
}

/// Rows of all files below a folder.
fn rows(folder: &Path) -> u64 {
    let mut rows = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        rows += if path.ends_with(owner::OWN_FOLDER) {
            0
        } else if path.is_dir() {
            self::rows(&path)
        } else {
            Identity::read(std::fs::read(path).unwrap().into()).unwrap().rows
        };
    }
    rows
}

#[tokio::test]
async fn a_cut_that_comes_out_otherwise_replaces_what_was_put_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: a}");
    let layout = CutLayout::of(&archiver.config.archive);
    let place = archiver.place_of(&layout).unwrap();
    // The first attempt dies after one of its two files.
    let first = cut(layout.clone(), (1, 2), &[(0, &[1, 2, 3]), (HOUR, &[HOUR])]);
    let mut files = planned(&archiver.store.collector_id, (1, 2), layout.partition, first.partitions);
    archiver.plan(&place, (1, 2), &files).await.unwrap();
    let Planned { listed, batches } = files.remove(0);
    let identity = Identity { owner: archiver.owner.clone(), cut: (1, 2), rows: listed.rows };
    let contents = build(&listed.path, batches, identity.clone()).await.unwrap();
    archiver.put(&place, &listed.path, contents, &identity, false).await.unwrap();
    assert_eq!(rows(&folder.path().join("a")), 3);
    // By the second, the model's event time is another.
    archiver.archive(cut(layout.clone(), (1, 2), &[(0, &[1]), (2 * HOUR, &[2 * HOUR; 3])])).await.unwrap();
    assert_eq!(rows(&folder.path().join("a")), 4, "each row is there once");
}

#[tokio::test]
async fn rows_that_change_places_between_attempts_are_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: a}");
    let layout = CutLayout::of(&archiver.config.archive);
    let place = archiver.place_of(&layout).unwrap();
    // One row in each hour. The first attempt dies after the first file.
    let first = cut(layout.clone(), (1, 2), &[(0, &[1]), (HOUR, &[HOUR + 2])]);
    let mut files = planned(&archiver.store.collector_id, (1, 2), layout.partition, first.partitions);
    archiver.plan(&place, (1, 2), &files).await.unwrap();
    let Planned { listed, batches } = files.remove(0);
    let owner = Owner { run: "earlier".into(), ..archiver.owner.clone() };
    let identity = Identity { owner, cut: (1, 2), rows: 1 };
    let contents = build(&listed.path, batches, identity.clone()).await.unwrap();
    archiver.put(&place, &listed.path, contents, &identity, false).await.unwrap();
    // By the second, the model's event time is another: as many rows in each file, and not the same ones.
    archiver.archive(cut(layout.clone(), (1, 2), &[(0, &[2]), (HOUR, &[HOUR + 1])])).await.unwrap();
    let stored = std::fs::read(folder.path().join("a").join(&listed.path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(stored)).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(file::event_range(&batches), (2, 2), "the row that the other file has now is not here any more");
}

#[tokio::test]
async fn a_file_of_another_run_is_replaced_if_it_was_recorded_and_fences_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let archiver = archiver(folder.path(), "archive: {folder: a}");
    let place = archiver.place_of(&CutLayout::of(&archiver.config.archive)).unwrap();
    let of_run =
        |run: &str| Identity { owner: Owner { run: run.into(), ..archiver.owner.clone() }, cut: (1, 2), rows: 1 };
    let path = "model=m/a.parquet";
    let file = async |run: &str| build(path, vec![batch(&[1])], of_run(run)).await.unwrap();
    archiver.put(&place, path, file("1").await, &of_run("1"), false).await.unwrap();
    archiver.put(&place, path, file("2").await, &of_run("2"), true).await.unwrap();
    let fenced = archiver.put(&place, path, file("3").await, &of_run("3"), false).await;
    assert!(matches!(fenced, Err(End::Stopped(_))), "{fenced:?}");
    let stored = std::fs::read(folder.path().join("a").join(path)).unwrap();
    assert_eq!(Identity::read(stored.into()), Some(of_run("2")));
}

#[tokio::test]
async fn a_cut_goes_where_it_was_recorded_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: new}");
    let old = Config::parse("d.yaml", "archive: {folder: old, partition: day}", folder.path()).unwrap();
    archiver.archive(cut(CutLayout::of(&old.archive), (1, 2), &[(0, &[1])])).await.unwrap();
    assert_eq!((rows(&folder.path().join("old")), rows(&folder.path().join("new"))), (1, 0));
    assert!(folder.path().join("old/model=m/version=1/date=1970-01-01").read_dir().unwrap().count() == 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_made_leaves_its_cut_undone() {
    let folder = tempfile::tempdir().unwrap();
    let archiver = archiver(folder.path(), "archive: {folder: a}");
    let layout = CutLayout::of(&archiver.config.archive);
    let recorded = Unfinished { first: 1, last: 2, layout: layout.clone() };
    archiver.store.writer.write(move |db| record(db, &recorded, 0)).await.unwrap();
    // Parquet has no intervals of nanoseconds.
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC"));
    let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNanoType::make_value(0, 0, 1)]);
    let unknown: ArrayRef = Arc::new(interval);
    let mut broken = cut(layout, (1, 2), &[(0, &[1])]);
    let batch = RecordBatch::try_from_iter([("event_time", time), ("x", unknown)]).unwrap();
    broken.partitions.insert(("m".into(), "2".into(), 0), vec![batch]);
    let store = archiver.store.clone();
    let vitals = archiver.vitals.clone();
    let (sender, receiver) = mpsc::channel(1);
    let (_stop, stopping) = watch::channel(false);
    sender.send(broken).await.unwrap();
    tokio::spawn(archiver.run(receiver, stopping)).await.unwrap();
    let problem = vitals.problem().unwrap();
    assert!(problem.contains("cannot be made"), "{problem}");
    assert_eq!(vitals.failure(), None, "counting goes on");
    assert!(sender.is_closed());
    assert_eq!(store.read(archived_through).await.unwrap(), 0);
}
