//! The archive: every decoded row, as typed Parquet, exactly once.
//!
//! A *cut* is a range of journal positions. It is recorded in the database before its files are made, with how and where
//! they lie, and then with their names and rows; they are put only where nothing is, and a file that is there already is
//! compared by the identity in its footer. So whenever the process dies, the same cut gives the same rows, and none is there
//! twice. The files of an attempt that was cut off are taken away before they are put again, since the configuration of a
//! model may have changed in between: nobody was told yet that the cut is there.

mod catalogue;
mod columns;
mod cuts;
pub(crate) mod file;
mod files;
mod folder;
pub(crate) mod layout;
mod owner;
pub(crate) mod place;
pub(crate) mod probe;
pub(crate) mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use bytes::Bytes;
use rusqlite::Savepoint;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

pub(crate) use self::catalogue::agreement;
use self::columns::Columns;
use self::cuts::Address;
pub(crate) use self::cuts::{CutLayout, Unfinished, archived_through, cut_through, record, unfinished};
use self::file::Identity;
use self::files::ArchivedFile;
use self::owner::{NotOurs, Owner};
use self::place::{Place, Put, Removed};
use crate::config::{Config, Partition};
use crate::failpoint::Failpoint;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::telemetry::Tracer;
use crate::times::now_micros;
use crate::vitals::Vitals;

/// Cuts that may wait in memory for the store. While they do, no more are made; the rows stay in the journal.
const WAITING_CUTS: usize = 1;
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
    (vitals, tracer): (Vitals, Tracer),
    stopping: watch::Receiver<bool>,
) -> Result<(Cuts, impl Future<Output = ()>), String> {
    let place = place::open(&config.archive.place)?;
    let (sender, receiver) = mpsc::channel(WAITING_CUTS);
    let archiver = Archiver::new(place, store, config, metrics, (vitals, tracer));
    Ok((sender, archiver.run(receiver, stopping)))
}

struct Archiver {
    place: Place,
    owner: Owner,
    /// Places that are this run's.
    claimed: Vec<Address>,
    store: Store,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    vitals: Vitals,
    tracer: Tracer,
    /// How long to wait when the catalogue could not be written.
    catalogue_pause: Duration,
    /// The manifest above all others, as this run last wrote it, and to which place.
    written_index: (i64, String),
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
    fn new(
        place: Place,
        store: Store,
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        (vitals, tracer): (Vitals, Tracer),
    ) -> Self {
        Self {
            place,
            owner: Owner::of_this_run(&store.collector_id),
            claimed: Vec::new(),
            store,
            config,
            metrics,
            vitals,
            tracer,
            catalogue_pause: FIRST_PAUSE,
            written_index: (0, String::new()),
        }
    }

    /// Archives cut after cut. When it is told to stop it finishes what it can at once: what is left is made again from
    /// the journal at the next start.
    async fn run(mut self, mut cuts: mpsc::Receiver<Cut>, mut stopping: watch::Receiver<bool>) {
        let running = self.vitals.part("archiver");
        let mut ended = tokio::select! {
            // Before there is anything to put: whoever sets a second collector up learns it now.
            claimed = self.own_configured() => claimed,
            () = out_of_time(&mut stopping) => return,
        };
        let mut rest = Duration::ZERO;
        while ended.is_ok() {
            let cut = match tokio::time::timeout(rest, cuts.recv()).await {
                Ok(None) => break,
                Ok(cut) => cut,
                // It is time to look for files that have become too old, and for what was left undone.
                Err(_) => None,
            };
            ended = tokio::select! {
                done = self.turn(cut) => done.map(|until_next| rest = until_next),
                () = out_of_time(&mut stopping) => return,
            };
        }
        match ended {
            // Nobody makes cuts any more; whoever did says why.
            Ok(()) => running.ends(),
            Err(End::Stopped(why)) => {
                self.metrics.archive_failures.inc();
                self.vitals.archive_stopped(&why);
                running.ends();
            }
            Err(End::Closed) => {}
        }
    }

    /// Archives a cut, if there is one, and brings the catalogue up to date. Gives how long it may rest without another.
    async fn turn(&mut self, cut: Option<Cut>) -> Result<Duration, End> {
        let mut layout = CutLayout::of(&self.config.archive);
        if let Some(cut) = cut {
            layout = cut.layout.clone();
            self.archive(cut).await?;
        }
        self.keep_catalogue(&layout).await
    }

    /// Makes and puts the files of a cut, and records that they are there.
    async fn archive(&mut self, cut: Cut) -> Result<(), End> {
        let Cut { first, last, layout, partitions } = cut;
        let span = self.tracer.begin("archive cut");
        let place = self.place_of(&layout)?;
        self.own(&place, &layout.place).await?;
        let files = planned(&self.store.collector_id, (first, last), layout.partition, partitions);
        let before = self.plan(&place, (first, last), &files).await?;
        Failpoint::FilesPlanned.pass();
        let mut done = Vec::with_capacity(files.len());
        for Planned { mut listed, batches } in files {
            let identity = Identity { owner: self.owner.clone(), cut: (first, last), rows: listed.rows };
            let contents = build(&listed.path, batches, identity.clone()).await?;
            listed.bytes = contents.len() as u64;
            let was_planned = before.contains(&listed.path);
            let mut put = self.tracer.inside(span.context(), "archive put");
            put.text("driftline.path", &listed.path);
            put.number("driftline.bytes", listed.bytes);
            self.put(&place, &listed.path, contents, &identity, was_planned).await?;
            Failpoint::FilePut.pass();
            done.push(listed);
        }
        for path in before.iter().filter(|path| done.iter().all(|file| file.path != **path)) {
            // It may have been on its way when it was looked for.
            self.remove(&place, path, (first, last)).await;
        }
        let (rows, count) = (done.iter().map(|file| file.rows).sum::<u64>(), done.len() as u64);
        let identity = Identity { owner: self.owner.clone(), cut: (first, last), rows };
        let done = Arc::new((done, layout.place, identity));
        let now = now_micros();
        self.persist(move || {
            let done = Arc::clone(&done);
            move |db: &Savepoint<'_>| {
                let (files, place, identity) = &*done;
                files::list(db, place, identity, files, now)?;
                cuts::record_done(db, last, now)
            }
        })
        .await?;
        self.metrics.archive_rows.inc_by(rows);
        self.metrics.archive_files.inc_by(count);
        Ok(())
    }

    /// Makes the place that is configured this run's.
    async fn own_configured(&mut self) -> Result<(), End> {
        let address = CutLayout::of(&self.config.archive).place;
        self.own(&self.place.clone(), &address).await
    }

    /// Makes a place this run's, or makes sure that it still is.
    async fn own(&mut self, place: &Place, address: &Address) -> Result<(), End> {
        let is_claimed = self.claimed.contains(address);
        let mut pause = FIRST_PAUSE;
        loop {
            let owned = match is_claimed {
                true => owner::keep(place, &self.owner).await,
                false => owner::claim(place, &self.owner).await,
            };
            match owned {
                Ok(()) if is_claimed => return Ok(()),
                Ok(()) => {
                    self.claimed.push(address.clone());
                    return Ok(());
                }
                Err(NotOurs::Refused(why)) => return Err(End::Stopped(why)),
                Err(NotOurs::Retry(why)) => self.wait(&why, owner::OWN_FOLDER, &mut pause).await,
            }
        }
    }

    /// Says that the store did not do something, and waits longer each time.
    async fn wait(&self, why: &str, path: &str, pause: &mut Duration) {
        warn!(why, path, "the archive's store does not do as it should; it will be tried again");
        self.metrics.archive_failures.inc();
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
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

    /// Records the files that a cut is going to have, and gives the names that earlier attempts recorded. Their files are
    /// taken away before. They may be the same; but where a row belongs may have changed, and not how many there are.
    async fn plan(&self, place: &Place, cut: (i64, i64), files: &[Planned]) -> Result<BTreeSet<String>, End> {
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
        for path in &before {
            self.remove(place, path, cut).await;
        }
        let plan: Vec<(String, u64)> = files.iter().map(|file| (file.listed.path.clone(), file.listed.rows)).collect();
        let plan = Arc::new(plan);
        self.persist(move || {
            let plan = Arc::clone(&plan);
            move |db: &Savepoint<'_>| cuts::plan(db, cut.1, &plan)
        })
        .await?;
        Ok(before)
    }

    /// Takes away what an earlier attempt at a cut may have put.
    async fn remove(&self, place: &Place, path: &str, cut: (i64, i64)) {
        info!(path, "a file of an earlier attempt at this cut is taken away, if it is there");
        let mut pause = FIRST_PAUSE;
        while let Removed::Retry(why) = place.remove(path, &self.store.collector_id, cut).await {
            self.wait(&why, path, &mut pause).await;
        }
    }

    /// Puts a file. `was_planned`: an earlier run recorded that it would.
    async fn put(
        &self,
        place: &Place,
        path: &str,
        contents: Bytes,
        identity: &Identity,
        was_planned: bool,
    ) -> Result<(), End> {
        let mut pause = FIRST_PAUSE;
        loop {
            match place.put(path, contents.clone(), identity).await {
                Put::Done => return Ok(()),
                Put::Retry(why) => self.wait(&why, path, &mut pause).await,
                // It was on its way when that run died, and came after it was looked for.
                Put::OtherRun(_) if was_planned => self.remove(place, path, identity.cut).await,
                Put::OtherRun(why) | Put::Fenced(why) => {
                    // Or the next run would take it away as its own.
                    let (last, path) = (identity.cut.1, path.to_owned());
                    self.persist(move || {
                        let path = path.clone();
                        move |db: &Savepoint<'_>| cuts::give_up(db, last, &path)
                    })
                    .await?;
                    return Err(End::Stopped(format!(
                        "another collector archives under the same names: {why}. Give each its own data_dir"
                    )));
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

/// Told to stop, and past the time that is left then: a store that does not answer must not hold the stop up.
async fn out_of_time(stopping: &mut watch::Receiver<bool>) {
    stopping.wait_for(|stopping| *stopping).await.ok();
    tokio::time::sleep(LONGEST_PAUSE / 6).await;
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
            partition: (start, start + layout::length(partition)),
            rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            bytes: 0,
            events: file::event_range(&batches),
            columns: Columns::of(&file::union(&batches)),
        },
        batches,
    };
    partitions.into_iter().map(file).collect()
}

/// Makes a file. One that cannot be made ends the archiving: its rows were acknowledged, and would be left out.
async fn build(path: &str, batches: Vec<RecordBatch>, identity: Identity) -> Result<Bytes, End> {
    match tokio::task::spawn_blocking(move || file::build(batches, &identity)).await {
        Ok(Ok(contents)) => Ok(contents),
        Ok(Err(error)) => Err(End::Stopped(format!("{path} cannot be made: {error}"))),
        Err(error) if error.is_panic() => {
            error!(%error, %path, "making a file of the archive panicked");
            Err(End::Stopped(format!("{path} cannot be made; the log has the panic")))
        }
        Err(_) => Err(End::Closed),
    }
}
