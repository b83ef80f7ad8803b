//! The archive: every decoded row, as typed Parquet, exactly once.
//!
//! A *cut* is a range of journal positions. It is recorded in the database before its files are made, with how and where
//! they lie, and then with their names and rows; they are put only where nothing is, and a file that is there already is
//! compared by the identity in its footer. So whenever the process dies, the same cut gives the same files, and none is
//! there twice. Should they come out otherwise all the same, because the configuration of a model changed in between,
//! those of the first attempt are taken away before the others are put: nobody was told yet that the cut is there.

mod cuts;
pub(crate) mod file;
pub(crate) mod layout;
pub(crate) mod place;
pub(crate) mod read;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use bytes::Bytes;
use rusqlite::Savepoint;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use self::cuts::ArchivedFile;
pub(crate) use self::cuts::{CutLayout, Unfinished, archived_through, cut_through, record, unfinished};
use self::file::Identity;
use self::place::{Place, Put, Removed};
use crate::config::{Config, Partition};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::times::now_micros;
use crate::vitals::Vitals;

/// Cuts that may wait in memory for the store. While they do, no more are made; the rows stay in the journal.
const WAITING_CUTS: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Which rows go into one file: model, version, and where its partition begins.
pub(crate) type PartitionKey = (Arc<str>, Arc<str>, i64);

/// The rows of a cut that was recorded.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) layout: CutLayout,
    pub(crate) partitions: BTreeMap<PartitionKey, Vec<RecordBatch>>,
}

/// Where cuts are handed to. It is closed when archiving has ended.
pub(crate) type Cuts = mpsc::Sender<Cut>;

/// Opens the place, and returns the hand-over and the task that archives until told to stop.
///
/// # Errors
/// When the place cannot be used at all.
pub(crate) fn start(
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    vitals: Vitals,
    stopping: watch::Receiver<bool>,
) -> Result<(Cuts, impl Future<Output = ()>), String> {
    let place = place::open(&config.archive.place)?;
    let (sender, receiver) = mpsc::channel(WAITING_CUTS);
    let archiver = Archiver { place, store, config, metrics, vitals };
    Ok((sender, archiver.run(receiver, stopping)))
}

struct Archiver {
    place: Place,
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    vitals: Vitals,
}

/// Why archiving ends.
#[derive(Debug)]
enum End {
    /// A person must act; until then the rows stay in the journal.
    Stopped(String),
    /// The database is closed, or the runtime stops.
    Closed,
}

/// A file that a cut is going to have.
struct Planned {
    listed: ArchivedFile,
    batches: Vec<RecordBatch>,
}

impl Archiver {
    /// Archives cut after cut. When it is told to stop it finishes what it can at once: what is left is made again from
    /// the journal at the next start.
    async fn run(self, mut cuts: mpsc::Receiver<Cut>, mut stopping: watch::Receiver<bool>) {
        let running = self.vitals.part("archiver");
        while let Some(cut) = cuts.recv().await {
            let done = tokio::select! {
                done = self.archive(cut) => done,
                // A store that does not answer must not hold the stop up.
                _ = async { stopping.wait_for(|stopping| *stopping).await.ok(); tokio::time::sleep(LONGEST_PAUSE / 6).await } => return,
            };
            match done {
                Ok(()) => {}
                Err(End::Stopped(why)) => {
                    self.metrics.archive_failures.inc();
                    self.vitals.archive_stopped(&why);
                    running.ends();
                    return;
                }
                Err(End::Closed) => return,
            }
        }
        // Nobody makes cuts any more; whoever did says why.
        running.ends();
    }

    /// Makes and puts the files of a cut, and records that they are there.
    async fn archive(&self, cut: Cut) -> Result<(), End> {
        let Cut { first, last, layout, partitions } = cut;
        let place = self.place_of(&layout)?;
        let files = planned(&self.store.collector_id, (first, last), layout.partition, partitions);
        self.plan(&place, (first, last), &files).await?;
        let mut done = Vec::with_capacity(files.len());
        for Planned { mut listed, batches } in files {
            let identity =
                Identity { collector: self.store.collector_id.clone(), cut: (first, last), rows: listed.rows };
            let contents = build(&listed.path, batches, identity.clone()).await?;
            listed.bytes = contents.len() as u64;
            self.put(&place, &listed.path, contents, &identity).await?;
            done.push(listed);
        }
        let (rows, count) = (done.iter().map(|file| file.rows).sum::<u64>(), done.len() as u64);
        let done = Arc::new(done);
        let now = now_micros();
        self.persist(move || {
            let done = Arc::clone(&done);
            move |db: &Savepoint<'_>| cuts::record_done(db, last, &done, now)
        })
        .await?;
        self.metrics.archive_rows.inc_by(rows);
        self.metrics.archive_files.inc_by(count);
        Ok(())
    }

    /// The place that a cut was made for.
    fn place_of(&self, layout: &CutLayout) -> Result<Place, End> {
        if layout.place == CutLayout::of(&self.config.archive).place {
            return Ok(self.place.clone());
        }
        let place = layout.place.clone().with_credentials_of(&self.config.archive.place);
        place::open(&place).map_err(|why| {
            End::Stopped(format!(
                "{why}. A cut was begun there before archive's place was changed; make it reachable until its files are written"
            ))
        })
    }

    /// Records the files that a cut is going to have. Those of an earlier attempt that came out otherwise are taken away
    /// before: their rows are in the new ones.
    async fn plan(&self, place: &Place, cut: (i64, i64), files: &[Planned]) -> Result<(), End> {
        let plan: Vec<(String, u64)> = files.iter().map(|file| (file.listed.path.clone(), file.listed.rows)).collect();
        let before = loop {
            match self.store.read(move |db| cuts::planned(db, cut.1)).await {
                Ok(before) => break before,
                Err(StoreError::Closed) => return Err(End::Closed),
                Err(error) => {
                    warn!(%error, "the files of a cut cannot be read; it will be tried again");
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
            }
        };
        for (path, rows) in before.iter().filter(|file| !plan.contains(file)) {
            warn!(%path, rows, "a file of an earlier attempt at this cut is not what it is now, and is taken away");
            let mut pause = FIRST_PAUSE;
            while let Removed::Retry(why) = place.remove(path, &self.store.collector_id, cut).await {
                warn!(%why, %path, "a file of an earlier attempt cannot be taken away; it will be tried again");
                self.metrics.archive_failures.inc();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        let plan = Arc::new(plan);
        self.persist(move || {
            let plan = Arc::clone(&plan);
            move |db: &Savepoint<'_>| cuts::plan(db, cut.1, &plan)
        })
        .await
    }

    async fn put(&self, place: &Place, path: &str, contents: Bytes, identity: &Identity) -> Result<(), End> {
        let mut pause = FIRST_PAUSE;
        loop {
            match place.put(path, contents.clone(), identity).await {
                Put::Done => return Ok(()),
                Put::Fenced(why) => {
                    return Err(End::Stopped(format!(
                        "another collector archives under the same names: {why}. Give each its own data_dir"
                    )));
                }
                Put::Retry(why) => {
                    warn!(%why, %path, "the archive cannot be written; it will be tried again");
                    self.metrics.archive_failures.inc();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Writes to the database until it is written.
    async fn persist<W>(&self, work: impl Fn() -> W) -> Result<(), End>
    where
        W: FnOnce(&Savepoint<'_>) -> rusqlite::Result<()> + Send + 'static,
    {
        loop {
            match self.store.writer.write(work()).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Closed) => return Err(End::Closed),
                Err(error) => {
                    warn!(%error, "a cut cannot be recorded; it will be tried again");
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
            }
        }
    }
}

/// The files that a cut is going to have.
fn planned(
    collector_id: &str,
    cut: (i64, i64),
    partition: Partition,
    partitions: BTreeMap<PartitionKey, Vec<RecordBatch>>,
) -> Vec<Planned> {
    let file = |((model, version, start), batches): (PartitionKey, Vec<RecordBatch>)| Planned {
        listed: ArchivedFile {
            path: layout::path(partition, &model, &version, start, collector_id, cut),
            model: model.to_string(),
            version: version.to_string(),
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            bytes: 0,
            events: file::event_range(&batches),
        },
        batches,
    };
    partitions.into_iter().map(file).collect()
}

/// Makes a file. One that cannot be made ends the archiving: its rows were acknowledged, and would be left out.
async fn build(path: &str, batches: Vec<RecordBatch>, identity: Identity) -> Result<Bytes, End> {
    match tokio::task::spawn_blocking(move || file::build(&batches, &identity)).await {
        Ok(Ok(contents)) => Ok(contents),
        Ok(Err(error)) => Err(End::Stopped(format!("{path} cannot be made: {error}"))),
        Err(error) if error.is_panic() => {
            error!(%error, %path, "making a file of the archive panicked");
            Err(End::Stopped(format!("{path} cannot be made; the log has the panic")))
        }
        Err(_) => Err(End::Closed),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use arrow_array::types::IntervalMonthDayNanoType;
    use arrow_array::{ArrayRef, Float64Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
    use prometheus::IntGauge;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn batch(times: &[i64]) -> RecordBatch {
        let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC"));
        let x: ArrayRef = Arc::new(Float64Array::from(vec![1.0; times.len()]));
        RecordBatch::try_from_iter([("event_time", time), ("x", x)]).unwrap()
    }

    fn archiver(folder: &Path, configuration: &str) -> Archiver {
        let config = Config::parse("d.yaml", configuration, folder).unwrap();
        let store = Store::open(&config.data_dir).unwrap();
        Archiver {
            place: place::open(&config.archive.place).unwrap(),
            store,
            config: Arc::new(config),
            metrics: Metrics::new().unwrap(),
            vitals: Vitals::new(IntGauge::new("stopped", "Stopped.").unwrap()),
        }
    }

    fn cut(layout: CutLayout, partitions: &[(i64, &[i64])]) -> Cut {
        let part = |(start, times): &(i64, &[i64])| (("m".into(), "1".into(), *start), vec![batch(times)]);
        Cut { first: 1, last: 2, layout, partitions: partitions.iter().map(part).collect() }
    }

    /// Rows of all files below a folder.
    fn rows(folder: &Path) -> u64 {
        let mut rows = 0;
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            rows += if path.is_dir() {
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
        let archiver = archiver(folder.path(), "archive: {folder: a}");
        let layout = CutLayout::of(&archiver.config.archive);
        let place = archiver.place_of(&layout).unwrap();
        // The first attempt dies after one of its two files.
        let first = cut(layout.clone(), &[(0, &[1, 2, 3]), (HOUR, &[HOUR])]);
        let mut files = planned(&archiver.store.collector_id, (1, 2), layout.partition, first.partitions);
        archiver.plan(&place, (1, 2), &files).await.unwrap();
        let Planned { listed, batches } = files.remove(0);
        let identity = Identity { collector: archiver.store.collector_id.clone(), cut: (1, 2), rows: listed.rows };
        let contents = build(&listed.path, batches, identity.clone()).await.unwrap();
        archiver.put(&place, &listed.path, contents, &identity).await.unwrap();
        assert_eq!(rows(&folder.path().join("a")), 3);
        // By the second, the model's event time is another.
        archiver.archive(cut(layout.clone(), &[(0, &[1]), (2 * HOUR, &[2 * HOUR; 3])])).await.unwrap();
        assert_eq!(rows(&folder.path().join("a")), 4, "each row is there once");
    }

    #[tokio::test]
    async fn a_cut_goes_where_it_was_recorded_to_go() {
        let folder = tempfile::tempdir().unwrap();
        let archiver = archiver(folder.path(), "archive: {folder: new}");
        let old = Config::parse("d.yaml", "archive: {folder: old, partition: day}", folder.path()).unwrap();
        archiver.archive(cut(CutLayout::of(&old.archive), &[(0, &[1])])).await.unwrap();
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
        let mut broken = cut(layout, &[(0, &[1])]);
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
}
