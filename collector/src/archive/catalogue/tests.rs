//! Manifests and logs held against the files, and files that grow too old.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::super::owner::OWN_FOLDER;
use super::super::tests::{HOUR, archiver, cut};
use super::*;

const DAY: i64 = 24 * HOUR;
const TABLE: &str = "model=m/version=1";

/// All files below a folder, by their names from there.
fn files_below(root: &Path, folder: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(root, &path));
        } else {
            files.insert(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
    files
}

fn archived(root: &Path) -> BTreeSet<String> {
    let is_row_file = |name: &String| !name.contains("_delta_log") && !name.starts_with(OWN_FOLDER);
    files_below(root, root).into_iter().filter(is_row_file).collect()
}

/// What the manifests list, and what the one above them says.
fn in_manifests(root: &Path) -> (BTreeMap<String, Value>, Value) {
    let mut lines = BTreeMap::new();
    for name in files_below(root, &root.join(OWN_FOLDER)).into_iter().filter(|name| name.ends_with(".jsonl")) {
        for line in std::fs::read_to_string(root.join(name)).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            lines.insert(line["path"].as_str().unwrap().to_owned(), line);
        }
    }
    (lines, serde_json::from_slice(&std::fs::read(root.join(manifest::INDEX)).unwrap()).unwrap())
}

/// The actions of all commits of the table, in their order.
fn actions(root: &Path) -> Vec<Value> {
    let log = root.join(TABLE).join("_delta_log");
    let commits = files_below(root, &log).into_iter().filter(|name| name.ends_with(".json"));
    let text: String = commits.map(|name| std::fs::read_to_string(root.join(name)).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The files that the table has, after all actions. No action adds one that is there, or removes one that is not.
fn in_table(root: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for action in actions(root) {
        let path = |action: &Value| format!("{TABLE}/{}", action["path"].as_str().unwrap());
        if let Some(add) = action.get("add") {
            assert!(files.insert(path(add)), "{add} is added twice");
        }
        if let Some(remove) = action.get("remove") {
            assert!(files.remove(&path(remove)), "{remove} was not there");
        }
    }
    files
}

#[tokio::test]
async fn manifests_and_logs_list_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: a, delta: true}");
    let root = folder.path().join("a");
    let layout = CutLayout::of(&archiver.config.archive);
    for (number, times) in [(1, 0), (2, HOUR), (3, 2 * DAY)] {
        archiver.archive(cut(layout.clone(), (number, number), &[(times, &[times + 5])])).await.unwrap();
        archiver.keep_catalogue(&layout).await.unwrap();
        let (listed, index) = in_manifests(&root);
        assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), archived(&root));
        assert_eq!(in_table(&root), archived(&root));
        assert_eq!(index["models"][0]["files"], listed.len());
    }
    let (listed, index) = in_manifests(&root);
    for (path, line) in listed {
        let file = std::fs::read(root.join(path)).unwrap();
        assert_eq!(line["bytes"], file.len());
        let identity = super::super::Identity::read(file.into()).unwrap();
        assert_eq!(line["run"], identity.owner.run.as_str());
        assert_eq!(line["cut"], serde_json::json!([identity.cut.0, identity.cut.1]));
        assert_eq!(line["rows"], identity.rows);
    }
    assert_eq!(
        (&index["models"][0]["first_date"], &index["models"][0]["last_date"]),
        (&"1970-01-01".into(), &"1970-01-03".into())
    );
    // The same files, the same names: nothing is written a second time.
    let before = files_below(&root, &root);
    archiver.keep_catalogue(&layout).await.unwrap();
    assert_eq!(files_below(&root, &root), before);
}

#[tokio::test]
async fn a_commit_that_was_put_and_not_noted_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: a, delta: true}");
    let root = folder.path().join("a");
    let layout = CutLayout::of(&archiver.config.archive);
    archiver.archive(cut(layout.clone(), (1, 1), &[(0, &[5])])).await.unwrap();
    let place = archiver.place.clone();
    let number = archiver.write(move |db| {
        let number = files::place_number(db, &layout.place)?;
        delta::plan(db, number, "c", true, 7)?;
        Ok(number)
    });
    let number = number.await.unwrap();
    // The process dies here.
    let commit = archiver.store.read(move |db| delta::pending(db, number)).await.unwrap().unwrap();
    assert!(delta::put(&place, &commit).await.unwrap());
    archiver.commit(&place, number).await.unwrap();
    assert_eq!(in_table(&root), archived(&root));
    assert_eq!(archiver.metrics.delta_tables_left.get(), 0);
}

#[tokio::test]
async fn a_table_that_somebody_else_writes_to_is_left_alone_until_its_log_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: a, delta: true, retention: 1s}");
    let root = folder.path().join("a");
    let layout = CutLayout::of(&archiver.config.archive);
    archiver.archive(cut(layout.clone(), (1, 1), &[(0, &[5])])).await.unwrap();
    let log = root.join(TABLE).join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let theirs: PathBuf = log.join("00000000000000000000.json");
    std::fs::write(&theirs, "{\"commitInfo\":{}}\n").unwrap();
    archiver.keep_catalogue(&layout).await.unwrap();
    assert_eq!(archiver.metrics.delta_tables_left.get(), 1);
    archiver.archive(cut(layout.clone(), (2, 2), &[(0, &[5])])).await.unwrap();
    archiver.keep_catalogue(&layout).await.unwrap();
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "{\"commitInfo\":{}}\n");
    assert_eq!((files_below(&root, &log).len(), archived(&root).len()), (1, 2));
    std::fs::remove_dir_all(&log).unwrap();
    archiver.keep_catalogue(&layout).await.unwrap();
    assert_eq!(in_table(&root), archived(&root));
    assert_eq!(archiver.metrics.delta_tables_left.get(), 0);
}

#[tokio::test]
async fn files_that_are_too_old_are_told_of_nowhere_and_deleted_and_others_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: a, delta: true, retention: 1h}");
    let root = folder.path().join("a");
    let layout = CutLayout::of(&archiver.config.archive);
    let now = now_micros() / HOUR * HOUR;
    let times = [now - 10 * DAY, now - 9 * DAY, now + DAY];
    archiver
        .archive(cut(layout.clone(), (1, 1), &times.map(|time| (time, [time])).each_ref().map(|(s, t)| (*s, &t[..]))))
        .await
        .unwrap();
    archiver.keep_catalogue(&layout).await.unwrap();
    assert_eq!(archived(&root).len(), 3, "they came now, however old they are");
    let by_hand = root.join(archived(&root).first().unwrap()).with_file_name("mine.parquet");
    std::fs::write(&by_hand, "not a collector's").unwrap();
    // Two hours later. The oldest of them has been replaced by somebody.
    let replaced = root.join(archived(&root).first().unwrap());
    std::fs::write(&replaced, "not a collector's").unwrap();
    archiver.write(|db| db.execute("UPDATE archive_files SET ages_from = ages_from - 7200000000", [])).await.unwrap();
    archiver.keep_catalogue(&layout).await.unwrap();
    let left = archived(&root);
    assert!(by_hand.is_file() && replaced.is_file(), "{left:?}");
    assert_eq!(left.len(), 3, "two that are somebody's, and the one whose partition is not over");
    let (listed, _) = in_manifests(&root);
    assert_eq!((listed.len(), in_table(&root).len()), (1, 1));
    assert!(!root.join(TABLE).join(format!("date={}", crate::times::date_and_hour(times[1]).0)).is_dir());
    // What was forgotten is not made again.
    archiver.keep_catalogue(&layout).await.unwrap();
    assert_eq!(archived(&root), left);
}

#[tokio::test]
async fn a_long_log_has_a_checkpoint_and_loses_what_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let mut archiver = archiver(folder.path(), "archive: {folder: a, delta: true, partition: day}");
    let root = folder.path().join("a");
    let layout = CutLayout::of(&archiver.config.archive);
    for number in 1..=101 {
        archiver.archive(cut(layout.clone(), (number, number), &[(0, &[5])])).await.unwrap();
        archiver.keep_catalogue(&layout).await.unwrap();
    }
    let log = root.join(TABLE).join("_delta_log");
    let last: Value = serde_json::from_slice(&std::fs::read(log.join("_last_checkpoint")).unwrap()).unwrap();
    assert_eq!(last, serde_json::json!({"version": 99, "size": 103}));
    let checkpoint = std::fs::read(log.join("00000000000000000099.checkpoint.parquet")).unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(checkpoint)).unwrap();
    let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
    assert_eq!(rows.len(), 103);
    assert!(rows[0].contains("minReaderVersion: 1") && rows[2].contains("version: 100"), "{rows:?}");
    assert!(rows[3].contains("date=1970-01-01/") && rows[3].contains("numRecords"), "{}", rows[3]);
    archiver.write(|db| db.execute("UPDATE delta_commits SET made_at = 0", [])).await.unwrap();
    archiver.keep_catalogue(&layout).await.unwrap();
    let kept = files_below(&log, &log);
    let expected = [
        "00000000000000000099.checkpoint.parquet",
        "00000000000000000099.json",
        "00000000000000000100.json",
        "_last_checkpoint",
    ];
    assert_eq!(kept, expected.map(str::to_owned).into());
}
