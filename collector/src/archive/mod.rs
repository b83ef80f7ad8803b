//! The archive: every decoded row, as typed Parquet, exactly once.
//!
//! A *cut* is a range of journal positions. It is recorded in the database before its files are made; their names follow
//! from it; they are put only where nothing is, and a file that is there already is compared by the identity in its
//! footer. So whenever the process dies, the same cut gives the same files, and none is there twice.

mod file;
pub(crate) mod layout;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use rusqlite::{Connection, params};
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::numbers::thousands;
use crate::pipeline::events::{self, Event, EventKind};
use crate::store::{Store, StoreError};
use crate::times::now_micros;
use file::Identity;
use place::{Place, Put};

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
    pub(crate) partitions: BTreeMap<PartitionKey, Vec<RecordBatch>>,
}

/// Where cuts are handed to.
pub(crate) type Cuts = mpsc::Sender<Cut>;

/// Opens the place, and returns the hand-over and the task that archives until told to stop.
///
/// # Errors
/// When the place cannot be used at all.
pub(crate) fn start(
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    stopping: watch::Receiver<bool>,
) -> Result<(Cuts, impl Future<Output = ()>), String> {
    let place = place::open(&config.archive.place)?;
    let (sender, receiver) = mpsc::channel(WAITING_CUTS);
    let archiver = Archiver { place, store, config, metrics };
    Ok((sender, archiver.run(receiver, stopping)))
}

struct Archiver {
    place: Place,
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
}

/// A file of the archive, as it is listed.
#[derive(Debug)]
struct ArchivedFile {
    path: String,
    model: String,
    version: String,
    rows: u64,
    bytes: u64,
    events: (i64, i64),
}

impl Archiver {
    /// Archives cut after cut. When it is told to stop it finishes what it can at once: what is left is made again from
    /// the journal at the next start.
    async fn run(self, mut cuts: mpsc::Receiver<Cut>, mut stopping: watch::Receiver<bool>) {
        while let Some(cut) = cuts.recv().await {
            let archive = self.archive(cut);
            tokio::pin!(archive);
            let done = tokio::select! {
                done = &mut archive => done,
                // A store that does not answer must not hold the stop up.
                _ = async { stopping.wait_for(|stopping| *stopping).await.ok(); tokio::time::sleep(LONGEST_PAUSE / 6).await } => return,
            };
            if !done {
                return;
            }
        }
    }

    /// False when archiving must end: somebody else writes under our names.
    async fn archive(&self, cut: Cut) -> bool {
        let mut files = Vec::new();
        for ((model, version, partition_start), batches) in cut.partitions {
            let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
            let identity = Identity { collector: self.store.collector_id.clone(), cut: (cut.first, cut.last), rows };
            let path = layout::path(
                self.config.archive.partition,
                &model,
                &version,
                partition_start,
                &self.store.collector_id,
                identity.cut,
            );
            let events = file::event_range(&batches);
            let built = {
                let identity = identity.clone();
                tokio::task::spawn_blocking(move || file::build(&batches, &identity)).await
            };
            let contents = match built {
                Ok(Ok(contents)) => contents,
                Ok(Err(error)) => {
                    error!(%error, %path, "a file of the archive cannot be made; its rows stay out of it");
                    self.metrics.archive_failures.inc();
                    continue;
                }
                Err(error) => {
                    error!(%error, %path, "making a file of the archive was interrupted");
                    return false;
                }
            };
            let bytes = contents.len() as u64;
            let mut pause = FIRST_PAUSE;
            loop {
                match self.place.put(&path, contents.clone(), &identity).await {
                    Put::Done => break,
                    Put::Fenced(why) => {
                        error!(%why, "another collector archives under the same names; archiving stops. Give each its own data_dir");
                        self.metrics.archive_failures.inc();
                        return false;
                    }
                    Put::Retry(why) => {
                        warn!(%why, %path, "the archive cannot be written; it will be tried again");
                        self.metrics.archive_failures.inc();
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            files.push(ArchivedFile {
                path,
                model: model.to_string(),
                version: version.to_string(),
                rows,
                bytes,
                events,
            });
        }
        let (rows, count) = (files.iter().map(|file| file.rows).sum::<u64>(), files.len() as u64);
        loop {
            let recorded: Vec<_> = files
                .iter()
                .map(|file| {
                    (file.path.clone(), file.model.clone(), file.version.clone(), file.rows, file.bytes, file.events)
                })
                .collect();
            let (last, now) = (cut.last, now_micros());
            match self.store.writer.write(move |db| record_done(db, last, &recorded, now)).await {
                Ok(()) => break,
                Err(StoreError::Closed) => return false,
                Err(error) => {
                    warn!(%error, "a finished cut cannot be recorded; it will be tried again");
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
            }
        }
        self.metrics.archive_rows.inc_by(rows);
        self.metrics.archive_files.inc_by(count);
        true
    }
}

type Recorded = (String, String, String, u64, u64, (i64, i64));

fn record_done(db: &Connection, last: i64, files: &[Recorded], now: i64) -> rusqlite::Result<()> {
    for (path, model, version, rows, bytes, (first_event, last_event)) in files {
        db.prepare_cached(
            "INSERT OR REPLACE INTO archive_files
                (path, cut, model, version, rows, bytes, first_event, last_event, made_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            path,
            last,
            model,
            version,
            *rows as i64,
            *bytes as i64,
            first_event,
            last_event,
            now
        ])?;
        let text = format!("{} rows in {path}", thousands(*rows));
        events::store(db, &[Event { kind: EventKind::Archived, model: model.clone(), text }], now)?;
    }
    db.prepare_cached("UPDATE cuts SET done_at = ?2 WHERE last = ?1")?.execute(params![last, now])?;
    Ok(())
}

/// Records that a cut was made.
pub(crate) fn record_cut(db: &Connection, first: i64, last: i64, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO cuts (first, last, made_at) VALUES (?1, ?2, ?3)")?
        .execute(params![first, last, now])?;
    Ok(())
}

/// Cuts that were recorded and not finished, in their order.
pub(crate) fn unfinished(db: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    db.prepare("SELECT first, last FROM cuts WHERE done_at IS NULL ORDER BY first")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The last position of any cut; 0 before the first.
pub(crate) fn cut_through(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT coalesce(max(last), 0) FROM cuts", [], |row| row.get(0))
}

/// Every row up to this position is in a file.
pub(crate) fn archived_through(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row(
        "SELECT coalesce((SELECT min(first) - 1 FROM cuts WHERE done_at IS NULL), (SELECT max(last) FROM cuts), 0)",
        [],
        |row| row.get(0),
    )
}
