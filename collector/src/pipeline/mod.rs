//! The pipeline: it reads the journal once, in order, and turns exchanges into counts, scores, alerts and files.
//!
//! ```text
//!   journal ─▶ decode ─▶ tables ─┬─▶ panes ─▶ windows ─▶ scores ─▶ alerts ─▶ outbox
//!                                └─▶ archive buffers ─▶ cuts ─▶ files
//!   every few hundred milliseconds: one transaction with everything that changed and the position reached
//! ```
//!
//! While a checkpoint is written the next stretch is decoded and counted, for that is memory's; whatever reads the database
//! comes after it.
//!
//! It runs on a thread of its own. What it holds in memory is what the database holds, plus what came since the last
//! checkpoint; after a crash it reads that part of the journal again.

mod archiving;
mod arriving;
pub(crate) mod calls;
pub(crate) mod cells;
pub(crate) mod checkpoint;
pub(crate) mod columns;
mod comparing;
pub(crate) mod counting;
mod delivering;
pub(crate) mod deriving;
pub(crate) mod earlier;
pub(crate) mod evaluating;
pub(crate) mod events;
pub(crate) mod exchanges;
pub(crate) mod expressions;
mod fields;
mod hearing;
pub(crate) mod judging;
mod looked_at;
mod models;
pub(crate) mod objectives;
pub(crate) mod over_time;
mod reasons;
pub(crate) mod rebuild;
pub(crate) mod rewriting;
mod running;
pub(crate) mod schema;
pub(crate) mod series;
mod sidecars;
pub(crate) mod slis;
mod starting;
pub(crate) mod table;
mod telling;
pub(crate) mod tidying;
pub(crate) mod time_slices;
mod versions;
pub(crate) mod watermarks;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driftline_alerts::{Labels, Rule};
use driftline_detectors::Detector;
use driftline_protocol::frame;
use tracing::{error, info, warn};

use self::archiving::ArchiveBuffer;
use self::checkpoint::{Checkpoint, Writing};
use self::events::{Event, EventKind};
use self::exchanges::Gathering;
use self::looked_at::LookedAt;
use self::models::ModelState;
use self::series::Series;
use self::starting::Replay;
use crate::alerting::book::Book;
use crate::alerting::changes;
use crate::archive::{self, Cuts};
use crate::config::{Config, Partition, SCHEMA_SLI};
use crate::feeds::{self, Feeds};
use crate::metrics::Metrics;
use crate::model_metadata::ModelMetadata;
use crate::own_metrics::History;
use crate::references::LoadedReferences;
use crate::runbooks::Runbooks;
use crate::store::{Store, StoreError, journal};
use crate::telemetry::{Spanning, Tracer};
use crate::times::now_micros;
use crate::vitals::Vitals;
use crate::watchdog::Pulse;

/// The version of exchanges whose model names none.
pub(crate) const UNVERSIONED: &str = "unversioned";
/// The score that a column is first judged by.
pub(crate) const HEADLINE: Detector = Detector::Psi;
/// The name that versions share when there are too many.
const OTHER_VERSIONS: &str = "other";
/// How much of the journal is gone through at once, compressed.
const READ_BYTES: usize = 4 << 20;
/// How long the thread sleeps when nothing wakes it.
const TICK: Duration = Duration::from_millis(200);
/// Checkpoints are at least this far apart, so that small batches share one: each writes every pane that changed. What is not
/// written yet when the thread sleeps is due when it wakes.
const CHECKPOINT_INTERVAL: Duration = TICK;
/// How often batches are forgotten that are not needed any more.
const FORGET_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is looked for what was kept long enough, and how soon again when there was too much for once.
const TIDY_INTERVAL: Duration = Duration::from_secs(3600);
const TIDY_AGAIN: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What the pipeline works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) references: Arc<LoadedReferences>,
    pub(crate) metadata: Arc<ModelMetadata>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) runbooks: Arc<Runbooks>,
    pub(crate) cuts: Cuts,
    pub(crate) vitals: Vitals,
    pub(crate) tracer: Tracer,
    /// By which it is seen whether the thread moves.
    pub(crate) pulse: Pulse,
}

/// A running pipeline.
#[derive(Debug)]
pub(crate) struct Handle {
    wake: SyncSender<()>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Something that says that the journal has grown.
    pub(crate) fn waker(&self) -> SyncSender<()> {
        self.wake.clone()
    }

    /// Counts and archives what the journal holds, and stops.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Full means that it is awake already.
        self.wake.try_send(()).ok();
        if self.thread.join().is_err() {
            error!("the pipeline's thread panicked");
        }
    }
}

/// Starts the pipeline's thread.
///
/// # Errors
/// When the state cannot be read.
pub(crate) fn start(parts: Parts) -> Result<Handle, StoreError> {
    let (wake, woken) = sync_channel(1);
    let stopping = Arc::new(AtomicBool::new(false));
    let vitals = parts.vitals.clone();
    let pipeline = Pipeline::load(parts, Arc::clone(&stopping))?;
    let running = vitals.part("pipeline");
    let thread = std::thread::Builder::new()
        .name("driftline-pipeline".to_owned())
        .spawn(move || {
            // Says so when the thread ends, be it by a panic.
            let _running = running;
            pipeline.run(&woken);
        })
        .map_err(|_| StoreError::Closed)?;
    Ok(Handle { wake, stopping, thread })
}

#[derive(Debug)]
struct Pipeline {
    parts: Parts,
    models: BTreeMap<Arc<str>, ModelState>,
    gathering: Gathering,
    book: Book,
    next: Checkpoint,
    /// The checkpoint that is being written.
    writing: Option<Writing>,
    counted_through: i64,
    /// Every batch up to here is counted in the database.
    stored_through: i64,
    buffer: ArchiveBuffer,
    stopping: Arc<AtomicBool>,
    last_checkpoint: Instant,
    last_evaluation: Instant,
    /// When the indicators were looked at last; 0 when they were not since the start.
    evaluated_at: i64,
    /// What the collector's own counters were, of those that rules ask for.
    own: History,
    last_telling: Instant,
    last_forgetting: Instant,
    next_tidying: Instant,
    /// When the run before this one looked at itself last, until this one has.
    ran_until: Option<i64>,
    /// What is read again after the start, until it is.
    replay: Option<Replay>,
}

/// What a stretch of the journal is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Purpose {
    count: bool,
    /// How rows are laid in files, when they are archived.
    archive: Option<Partition>,
}

impl Pipeline {
    fn load(parts: Parts, stopping: Arc<AtomicBool>) -> Result<Self, StoreError> {
        let started = Instant::now();
        let (rules, routes) = (parts.config.alerting.rules.clone(), parts.config.alerting.routes.clone());
        let ran_until = parts.store.read_blocking(running::ran_until)?;
        let (counted_through, cut_through, unfinished, (book, orphans), known, replay) =
            parts.store.read_blocking(|db| {
                let counted: i64 = db.query_row(
                    "SELECT coalesce((SELECT position FROM progress WHERE consumer = 'count'), 0)",
                    [],
                    |row| row.get(0),
                )?;
                let unfinished = archive::unfinished(db)?;
                let looked_at = LookedAt::load(db, &parts.config)?;
                let is_looked_at = |rule: &Rule, labels: &Labels| looked_at.has(&rule.condition, labels);
                let (book, orphans) = Book::load(db, rules, &is_looked_at)?;
                let book = (book.routed_by(routes).reaching(feeds::reach(&parts.config)), orphans);
                let replay = Replay::load(db, started)?;
                Ok((counted, archive::cut_through(db)?, unfinished, book, journal::known_models(db)?, replay))
            })?;
        let (to_count, to_archive) = (replay.after(counted_through), replay.after(cut_through));
        parts.metrics.show_replay(to_count, to_archive);
        let mut pipeline = Self {
            parts,
            models: BTreeMap::new(),
            gathering: Gathering::default(),
            book,
            next: Checkpoint { counted_through, ..Checkpoint::default() },
            writing: None,
            counted_through,
            stored_through: counted_through,
            buffer: ArchiveBuffer::new(cut_through, unfinished),
            stopping,
            last_checkpoint: started,
            last_evaluation: started,
            evaluated_at: 0,
            own: History::new(started),
            last_telling: started,
            last_forgetting: started,
            next_tidying: started + TIDY_AGAIN,
            ran_until,
            replay: Some(replay),
        };
        let described: Vec<String> = pipeline.parts.config.models.iter().map(|model| model.name.clone()).collect();
        for model in described.into_iter().chain(known) {
            pipeline.model(&model)?;
        }
        let looked = pipeline.looked_at();
        pipeline.parts.store.writer.write_blocking(move |db| changes::compare(db, &looked, now_micros()))?;
        pipeline.resolve_orphans(orphans);
        let series = || pipeline.models.values().flat_map(|model| model.series.values());
        info!(
            counted_through,
            models = pipeline.models.len(),
            versions = series().count(),
            panes = series().map(Series::panes).sum::<usize>(),
            to_count,
            to_archive,
            elapsed = ?started.elapsed(),
            "the pipeline's state is loaded"
        );
        Ok(pipeline)
    }

    fn run(mut self, woken: &Receiver<()>) {
        loop {
            // Read before the journal is: what came before the order to stop is still worked on.
            let last_round = self.stopping.load(Ordering::Relaxed);
            self.parts.pulse.beat();
            match self.step(last_round) {
                Ok(true) => continue,
                Ok(false) if last_round => break,
                Ok(false) => {}
                Err(StoreError::Closed) => {
                    error!("the database takes no more checkpoints; the pipeline ends, and goes on from the last one");
                    break;
                }
                Err(error) if last_round => {
                    error!(%error, "the pipeline cannot work off the journal; it goes on after the next start");
                    break;
                }
                Err(error) => {
                    warn!(%error, "the pipeline cannot go on; it will try again");
                    std::thread::sleep(RETRY_PAUSE);
                    continue;
                }
            }
            self.parts.pulse.rest();
            match woken.recv_timeout(TICK) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Works on the next stretch of the journal. True when there may be more.
    fn step(&mut self, last_round: bool) -> Result<bool, StoreError> {
        self.finish_cut()?;
        let (after, through, purpose) = self.next_stretch();
        let entries = self.parts.store.read_blocking(|db| journal::read_after(db, after, READ_BYTES))?;
        let entries: Vec<_> = entries.into_iter().filter(|entry| entry.position <= through).collect();
        let progressed = !entries.is_empty() || self.archives_behind();
        let mut span = if progressed { self.parts.tracer.begin("pipeline round") } else { Spanning::none() };
        span.number("driftline.batches", entries.len() as u64);
        let taken = self.take(entries, purpose);
        // Also after an error: what was taken in before it is not taken in again.
        self.flush();
        taken?;
        // What comes now reads what it writes.
        self.settle()?;
        self.close_windows();
        if self.last_evaluation.elapsed() >= self.parts.config.alerting.evaluation_interval {
            self.last_evaluation = Instant::now();
            self.evaluate_slis()?;
        }
        if self.last_telling.elapsed() >= TICK {
            self.tell();
        }
        self.watch_replay();
        let is_final = last_round && !progressed;
        let cut = self.cut(is_final);
        if self.last_forgetting.elapsed() >= FORGET_INTERVAL || is_final {
            self.last_forgetting = Instant::now();
            self.next.forget_journal = true;
            self.next.tidy = Instant::now() >= self.next_tidying;
            self.observe_archive();
            self.observe_deliveries();
            self.observe_hearing();
            self.observe_sidecars();
            self.observe_running();
            self.observe_arrivals();
            self.observe_watermarks();
        }
        let is_due = is_final || cut.is_some() || self.last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL;
        if is_due {
            // A cut may be due in a round that read nothing; what else such a round writes is no news.
            let span = match span.context() {
                None if cut.is_some() => self.parts.tracer.begin("checkpoint"),
                context => self.parts.tracer.inside(context, "checkpoint"),
            };
            self.checkpoint(cut, span)?;
        }
        if !progressed {
            // There is nothing to do meanwhile.
            self.settle()?;
        }
        Ok(progressed)
    }

    /// Takes in batches of the journal, and notes how far it came.
    fn take(&mut self, entries: Vec<journal::Entry>, purpose: Purpose) -> Result<(), StoreError> {
        for entry in entries {
            let position = entry.position;
            self.entry(entry, purpose)?;
            if purpose.count {
                self.counted_through = position;
            }
            if purpose.archive.is_some() {
                self.buffer.through(position);
            }
        }
        Ok(())
    }

    /// Takes in one batch. After an error, nothing of it.
    fn entry(&mut self, entry: journal::Entry, purpose: Purpose) -> Result<(), StoreError> {
        let batch = match self.parts.store.fresh.take(entry.position) {
            Some(batch) => Ok(batch),
            None => {
                let frame = self.parts.store.read_blocking(|db| journal::frame(db, entry.position))?;
                frame::decode(&frame)
            }
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                // It was read before it was acknowledged, so this is the disk's doing.
                error!(position = entry.position, %error, "a batch of the journal cannot be read, and is left out");
                if purpose.count {
                    self.parts.metrics.undecodable("batch").inc();
                }
                return Ok(());
            }
        };
        self.model(&batch.model)?;
        if purpose.archive.is_some() {
            self.buffer.receive(entry.received_at);
        }
        for exchange in &batch.exchanges {
            if exchange.sequence > entry.skip_through {
                self.exchange(&batch, exchange, (entry.position, entry.received_at), purpose);
            }
        }
        Ok(())
    }

    /// Counts and buffers the rows that were gathered.
    fn flush(&mut self) {
        let now = Instant::now();
        for (key, gathered) in self.gathering.take() {
            let finished = match gathered.table.finish() {
                Ok(finished) => finished,
                Err(error) => {
                    error!(%error, model = %key.model, "rows could not be put together, and are lost");
                    continue;
                }
            };
            let rows = finished.batch.num_rows() as u64;
            if key.count {
                self.note_wrong_types(&key.model, &finished.wrong_type);
            }
            if key.count
                && let Some(model) = self.models.get_mut(&key.model)
            {
                let fitting = schema::fitting(&finished, &model.references);
                self.next.slis.count(&key.model, SCHEMA_SLI, "", gathered.indicated_at, fitting);
                model.metrics.schema.count(fitting);
                if fitting.bad() > 0 {
                    for (column, misfit, rows) in schema::misfits(&finished, &model.references) {
                        model.reasons.misfits.note((column.to_owned(), misfit), rows, now_micros());
                    }
                }
                if let Some(series) = model.series.get_mut(&key.version) {
                    series.count(key.pane, gathered.newest, &finished, &model.references, now);
                }
                self.parts.metrics.rows_counted.with_label_values(&[&key.model]).inc_by(rows);
            }
            if key.archive {
                self.buffer.add((key.model, key.version, key.partition), finished.batch);
            }
        }
    }

    /// Counts values that are not of their column's type. The first of a column is an event: somebody changed what the
    /// model is sent.
    fn note_wrong_types(&mut self, model: &Arc<str>, wrong_type: &HashMap<String, u64>) {
        let Some(state) = self.models.get_mut(model) else { return };
        for (column, values) in wrong_type {
            self.parts.metrics.values_wrong_type.with_label_values(&[model]).inc_by(*values);
            if let Some(text) = state.columns.first_wrong_type(column) {
                self.next.events.push(Event { kind: EventKind::TypeChange, model: model.to_string(), text });
            }
        }
    }
}
