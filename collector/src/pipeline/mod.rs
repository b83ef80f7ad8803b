//! The pipeline: it reads the journal once, in order, and turns exchanges into counts, scores, alerts and files.
//!
//! ```text
//!   journal ─▶ decode ─▶ tables ─┬─▶ panes ─▶ windows ─▶ scores ─▶ alerts ─▶ outbox
//!                                └─▶ archive buffers ─▶ cuts ─▶ files
//!   every few hundred milliseconds: one transaction with everything that changed and the position reached
//! ```
//!
//! It runs on a thread of its own. What it holds in memory is what the database holds, plus what came since the last
//! checkpoint; after a crash it reads that part of the journal again.

mod checkpoint;
pub(crate) mod columns;
mod counting;
pub(crate) mod events;
mod exchanges;
pub(crate) mod series;
pub(crate) mod slis;
pub(crate) mod table;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use driftline_alerts::{Condition, Labels, Observation, Phase, Reading, Transition};
use driftline_detectors::{Detector, Score, Verdict};
use driftline_protocol::frame;
use tracing::{error, info, warn};

use self::checkpoint::{Checkpoint, StoredPane, StoredWindow, ToTell, last_scores, load_series, profiles_to_bytes};
use self::columns::{Columns, role_name};
use self::events::{Event, EventKind};
use self::exchanges::Gathered;
use self::series::{ClosedColumn, ClosedWindow, References, Series, Wall};
use crate::alerting::book::{Book, Change};
use crate::alerting::{evidence, outbox};
use crate::archive::{self, Cut, Cuts, PartitionKey};
use crate::config::{Config, EventTime, Model};
use crate::metrics::Metrics;
use crate::numbers::{significant, thousands};
use crate::references::LoadedReferences;
use crate::store::{Store, StoreError, journal};
use crate::times::{self, now_micros};

/// The version of exchanges whose model names none.
pub(crate) const UNVERSIONED: &str = "unversioned";
/// The score that a column is first judged by.
pub(crate) const HEADLINE: Detector = Detector::Psi;
/// Versions of one model that are told apart; the others share a name.
const MAX_VERSIONS: usize = 50;
const OTHER_VERSIONS: &str = "other";
/// How much of the journal is read at once, compressed.
const READ_BYTES: usize = 4 << 20;
/// How long the thread sleeps when nothing wakes it.
const TICK: Duration = Duration::from_millis(200);
/// Checkpoints are at least this far apart, so that small batches share one.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(250);
const TIDY_INTERVAL: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What the pipeline works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) references: Arc<LoadedReferences>,
    pub(crate) cuts: Cuts,
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
    let pipeline = Pipeline::load(parts)?;
    let thread = {
        let stopping = Arc::clone(&stopping);
        std::thread::Builder::new()
            .name("driftline-pipeline".to_owned())
            .spawn(move || pipeline.run(&woken, &stopping))
            .map_err(|_| StoreError::Closed)?
    };
    Ok(Handle { wake, stopping, thread })
}

/// One model: what is known of it, and its versions.
#[derive(Debug)]
struct ModelState {
    config: Model,
    references: Arc<References>,
    columns: Columns,
    series: BTreeMap<Arc<str>, Series>,
    /// Whether a version's column drifted when it was last judged.
    drifting: HashMap<(Arc<str>, String), bool>,
    name: Arc<str>,
}

#[derive(Debug)]
struct Pipeline {
    parts: Parts,
    models: BTreeMap<Arc<str>, ModelState>,
    gathered: HashMap<exchanges::TableKey, Gathered>,
    book: Book,
    next: Checkpoint,
    counted_through: i64,
    buffer: ArchiveBuffer,
    last_checkpoint: Instant,
    last_evaluation: Instant,
    last_tidy: Instant,
}

/// Rows that wait for their cut.
#[derive(Debug)]
struct ArchiveBuffer {
    partitions: BTreeMap<PartitionKey, Vec<arrow_array::RecordBatch>>,
    rows: u64,
    /// When its oldest batch was received.
    oldest: Option<i64>,
    /// Every row up to here is in a cut.
    cut_through: i64,
    /// Every row up to here is in a cut or in this buffer.
    buffered_through: i64,
    /// Cuts of an earlier run whose files are to be made again.
    unfinished: VecDeque<(i64, i64)>,
    /// The store is too slow: rows are left in the journal until it has caught up.
    lagging: bool,
}

/// What a stretch of the journal is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Purpose {
    count: bool,
    archive: bool,
}

impl Pipeline {
    fn load(parts: Parts) -> Result<Self, StoreError> {
        let started = Instant::now();
        let rules = parts.config.alerting.rules.clone();
        let (counted_through, cut_through, unfinished, (book, orphans), known) = parts.store.read_blocking(|db| {
            let counted: i64 = db.query_row(
                "SELECT coalesce((SELECT position FROM progress WHERE consumer = 'count'), 0)",
                [],
                |row| row.get(0),
            )?;
            let unfinished = archive::unfinished(db)?;
            Ok((counted, archive::cut_through(db)?, unfinished, Book::load(db, rules)?, journal::known_models(db)?))
        })?;
        let mut pipeline = Self {
            parts,
            models: BTreeMap::new(),
            gathered: HashMap::new(),
            book,
            next: Checkpoint { counted_through, ..Checkpoint::default() },
            counted_through,
            buffer: ArchiveBuffer {
                partitions: BTreeMap::new(),
                rows: 0,
                oldest: None,
                cut_through,
                buffered_through: cut_through,
                unfinished: unfinished.into(),
                lagging: false,
            },
            last_checkpoint: started,
            last_evaluation: started,
            last_tidy: started,
        };
        let described: Vec<String> = pipeline.parts.config.models.iter().map(|model| model.name.clone()).collect();
        for model in described.into_iter().chain(known) {
            pipeline.model(&model)?;
        }
        pipeline.resolve_orphans(orphans);
        info!(counted_through, models = pipeline.models.len(), elapsed = ?started.elapsed(), "the pipeline's state is loaded");
        Ok(pipeline)
    }

    /// A rule that was taken out while it fired: who was told of the beginning is told of the end.
    fn resolve_orphans(&mut self, orphans: Vec<driftline_alerts::Alert>) {
        for mut alert in orphans {
            let Phase::Firing { episode, .. } = alert.phase.clone() else { continue };
            let fingerprint = alert.fingerprint();
            alert.phase = Phase::Inactive;
            let told = self.parts.store.read_blocking(|db| outbox::told(db, &episode));
            if let Ok(Some((mut notification, targets))) = told {
                notification.action = driftline_alerts::Action::Resolve;
                notification.resolved_at = Some(now_micros());
                let runbook = String::new();
                self.next.notifications.push(ToTell {
                    notification,
                    fingerprint: fingerprint.clone(),
                    runbook,
                    targets,
                });
            }
            if let Ok(state) = serde_json::to_string(&alert) {
                self.next.alerts.push((fingerprint, alert.rule, state));
            }
        }
    }

    fn run(mut self, woken: &Receiver<()>, stopping: &AtomicBool) {
        loop {
            // Read before the journal is: what came before the order to stop is still worked on.
            let last_round = stopping.load(Ordering::Relaxed);
            match self.step(last_round) {
                Ok(true) => continue,
                Ok(false) if last_round => break,
                Ok(false) => {}
                Err(StoreError::Closed) => break,
                Err(error) => {
                    warn!(%error, "the pipeline cannot go on; it will try again");
                    std::thread::sleep(RETRY_PAUSE);
                    continue;
                }
            }
            match woken.recv_timeout(TICK) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Works on the next stretch of the journal. True when there may be more.
    fn step(&mut self, last_round: bool) -> Result<bool, StoreError> {
        if let Some(range) = self.buffer.unfinished.front().copied() {
            self.finish_cut(range)?;
        }
        let (after, through, purpose) = self.next_stretch();
        let entries = self.parts.store.read_blocking(|db| journal::read_after(db, after, READ_BYTES))?;
        let entries: Vec<_> = entries.into_iter().filter(|entry| entry.position <= through).collect();
        let progressed = !entries.is_empty();
        for entry in entries {
            let position = entry.position;
            self.entry(entry, purpose)?;
            if purpose.count {
                self.counted_through = position;
            }
            if purpose.archive {
                self.buffer.buffered_through = position;
            }
        }
        self.flush(purpose);
        self.close_windows();
        if self.last_evaluation.elapsed() >= self.parts.config.alerting.evaluation_interval {
            self.last_evaluation = Instant::now();
            self.evaluate_slis()?;
        }
        let is_final = last_round && !progressed;
        let cut = self.cut(is_final);
        if self.last_tidy.elapsed() >= TIDY_INTERVAL || is_final {
            self.last_tidy = Instant::now();
            self.next.tidy = true;
            self.observe_archive();
        }
        let is_due = !progressed || cut.is_some() || self.last_checkpoint.elapsed() >= CHECKPOINT_INTERVAL;
        if is_due {
            self.checkpoint()?;
        }
        if let Some((permit, cut)) = cut {
            permit.send(cut);
        }
        Ok(progressed)
    }

    /// Which part of the journal comes next, and what for. The archive may be behind the counting: after a start, and
    /// after its store was slow.
    fn next_stretch(&mut self) -> (i64, i64, Purpose) {
        let buffer = &mut self.buffer;
        if buffer.lagging && self.parts.cuts.capacity() == self.parts.cuts.max_capacity() {
            info!("the archive's store answers again; rows are archived from the journal");
            buffer.lagging = false;
        }
        if !buffer.lagging && buffer.unfinished.is_empty() && buffer.buffered_through < self.counted_through {
            (buffer.buffered_through, self.counted_through, Purpose { count: false, archive: true })
        } else {
            let archive = !buffer.lagging && buffer.unfinished.is_empty();
            (self.counted_through, i64::MAX, Purpose { count: true, archive })
        }
    }

    fn entry(&mut self, entry: journal::Entry, purpose: Purpose) -> Result<(), StoreError> {
        let batch = match frame::decode(&entry.frame) {
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
        if purpose.archive {
            self.buffer.oldest.get_or_insert(entry.received_at);
        }
        self.model(&batch.model)?;
        for exchange in &batch.exchanges {
            if exchange.sequence > entry.skip_through {
                self.exchange(&batch, exchange, entry.received_at, purpose);
            }
        }
        if exchanges::is_large(&self.gathered) {
            self.flush(purpose);
        }
        Ok(())
    }

    /// Makes sure that a model's state is there.
    fn model(&mut self, name: &str) -> Result<(), StoreError> {
        if self.models.contains_key(name) {
            return Ok(());
        }
        let config = self.parts.config.model(name);
        let references = self.parts.references.of(name);
        let file = self.parts.references.file(name);
        let metrics = &self.parts.metrics;
        let (columns, stored) = self.parts.store.read_blocking(|db| {
            // A restart must not make gauges vanish until the next window closes.
            last_scores(db, name, |version, column, score, effect, limit| {
                metrics.show_score([name, version, column, score], effect, limit);
            })?;
            Ok((Columns::load(db, &config, file)?, load_series(db, name, &references.identity)?))
        })?;
        let mut series = BTreeMap::new();
        for (version, stored) in stored {
            let mut one = Series::new(config.windows.clone(), Some(stored.progress));
            for (start, rows, profiles) in stored.panes {
                if profiles.len() == references.columns.len() {
                    one.restore(start, rows, profiles);
                }
            }
            series.insert(Arc::from(version), one);
        }
        self.parts.metrics.introduce_model(name);
        let name: Arc<str> = Arc::from(name);
        let state =
            ModelState { config, references, columns, series, drifting: HashMap::new(), name: Arc::clone(&name) };
        self.models.insert(name, state);
        Ok(())
    }

    /// Counts and buffers the rows that were gathered.
    fn flush(&mut self, purpose: Purpose) {
        let now = Instant::now();
        for (key, gathered) in self.gathered.drain() {
            let finished = match gathered.table.finish() {
                Ok(finished) => finished,
                Err(error) => {
                    error!(%error, model = %key.model, "rows could not be put together, and are lost");
                    continue;
                }
            };
            let rows = finished.batch.num_rows() as u64;
            if key.count
                && let Some(model) = self.models.get_mut(&key.model)
            {
                if let Some(series) = model.series.get_mut(&key.version) {
                    series.count(key.pane, gathered.newest, &finished, &model.references, now);
                }
                self.parts.metrics.rows_counted.with_label_values(&[&key.model]).inc_by(rows);
            }
            if purpose.archive {
                self.buffer.rows += rows;
                let partition = (key.model, key.version, key.partition);
                self.buffer.partitions.entry(partition).or_default().push(finished.batch);
            }
        }
    }

    fn close_windows(&mut self) {
        let now = Instant::now();
        let mut closed = Vec::new();
        for model in self.models.values_mut() {
            let wall = match model.config.event_time {
                EventTime::Request => Wall::IsEventTime(now_micros()),
                EventTime::Column { .. } => Wall::BesideEventTime(now_micros()),
            };
            for (version, series) in &mut model.series {
                for window in series.close_windows(&model.references, &model.config.thresholds, now, wall) {
                    closed.push((Arc::clone(&model.name), Arc::clone(version), window));
                }
            }
        }
        for (model, version, window) in closed {
            self.judge(&model, &version, window);
        }
    }

    /// Shows a closed window, and takes its scores to the rules.
    fn judge(&mut self, model: &Arc<str>, version: &Arc<str>, window: ClosedWindow) {
        let Some(state) = self.models.get_mut(model) else { return };
        let metrics = &self.parts.metrics;
        metrics.windows_closed.with_label_values(&[model]).inc();
        metrics.window_rows.with_label_values(&[model, version]).set(window.rows as i64);
        let mut observations = Vec::new();
        for column in &window.columns {
            for score in &column.scores {
                let series = [model, version, column.column.as_str(), score.detector.name()];
                metrics.show_score(series, score.effect, score.threshold_in_force());
                observations.push(observation(
                    model,
                    version,
                    column,
                    role_name(state.columns.role(&column.column)),
                    score,
                ));
            }
            self.next.events.extend(drift_event(state, version, column));
        }
        self.next.events.push(Event { kind: EventKind::Window, model: model.to_string(), text: window_text(&window) });
        let changes = self.book.observe_scores(&observations, now_micros());
        for change in changes {
            self.tell(&change, Some((model, &window)));
        }
        let reference = self.models.get(model).map(|state| state.references.identity.clone()).unwrap_or_default();
        self.next.windows.push(StoredWindow {
            model: model.to_string(),
            version: version.to_string(),
            reference,
            window,
        });
    }

    /// Puts a change of an alert into the next checkpoint, for everybody who is to know.
    fn tell(&mut self, change: &Change, window: Option<(&Arc<str>, &ClosedWindow)>) {
        let now = now_micros();
        let store = &self.parts.store;
        let history = |version: &str, column: &str, score: &str| {
            let Some((model, window)) = window else { return Vec::new() };
            let mut history =
                store.read_blocking(|db| score_history(db, model, version, column, score)).unwrap_or_default();
            let last = window.columns.iter().find(|own| own.column == column);
            let last = last.and_then(|own| own.scores.iter().find(|own| own.detector.name() == score));
            history.extend(last.map(|score| Some(score.effect)));
            history
        };
        let triggered = match &change.transition {
            Transition::Fired { .. } => None,
            Transition::Resolved { episode, .. } => {
                // What was told in this very checkpoint is not stored yet.
                let waiting =
                    self.next.notifications.iter().map(|told| &told.notification).find(|said| said.episode == *episode);
                waiting.cloned().or_else(|| store.read_blocking(|db| outbox::triggered(db, episode)).ok().flatten())
            }
        };
        let context = evidence::Context {
            triggered,
            window: window.map(|(_, window)| window),
            history: &history,
            public_url: &self.parts.config.public_url,
            now,
        };
        let notification = evidence::notification(change, &context);
        let kind = match change.transition {
            Transition::Fired { .. } => EventKind::AlertFired,
            Transition::Resolved { .. } => EventKind::AlertResolved,
        };
        let model = change.alert.labels.get("model").cloned().unwrap_or_default();
        let text = format!("{}: {} — runbook {}", change.rule.name, notification.summary, notification.runbook_url);
        self.next.events.push(Event { kind, model, text });
        self.next.notifications.push(ToTell {
            notification,
            fingerprint: change.alert.fingerprint(),
            runbook: change.rule.runbook.clone(),
            targets: change.rule.targets.clone(),
        });
    }

    /// Takes the indicators to their rules.
    fn evaluate_slis(&mut self) -> Result<(), StoreError> {
        let now = now_micros();
        let rules: Vec<(usize, String, Duration)> = self
            .book
            .rules()
            .iter()
            .enumerate()
            .filter_map(|(index, rule)| match &rule.condition {
                Condition::Sli { sli, over, .. } => Some((index, sli.clone(), *over)),
                Condition::Score { .. } => None,
            })
            .collect();
        for (index, sli, over) in rules {
            let from = now - over.as_micros() as i64;
            let models: Vec<Arc<str>> = self.models.keys().cloned().collect();
            let observations = self.parts.store.read_blocking(|db| {
                let mut observations = Vec::new();
                for model in &models {
                    for (label, sum) in slis::sums(db, model, &sli, from)? {
                        let mut labels = Labels::from([("model".to_owned(), model.to_string())]);
                        if !label.is_empty() {
                            labels.insert("column".to_owned(), label);
                        }
                        let reading = Reading::Ratio { good: sum.good, valid: sum.valid };
                        observations.push(Observation { name: sli.clone(), labels, reading });
                    }
                }
                Ok(observations)
            })?;
            for change in self.book.observe(index, &observations, now) {
                self.tell(&change, None);
            }
        }
        Ok(())
    }

    /// Makes a cut of what is buffered, when it is time and the archive has room. When it has none for too long, the
    /// buffer is let go: its rows are still in the journal.
    fn cut(&mut self, is_final: bool) -> Option<(tokio::sync::mpsc::OwnedPermit<Cut>, Cut)> {
        let limits = &self.parts.config.archive;
        let buffer = &mut self.buffer;
        if buffer.buffered_through <= buffer.cut_through {
            return None;
        }
        let age = buffer.oldest.map_or(0, |oldest| now_micros() - oldest);
        let is_due = is_final || buffer.rows >= limits.max_rows || age >= limits.max_age.as_micros() as i64;
        if !is_due {
            return None;
        }
        let Ok(permit) = self.parts.cuts.clone().try_reserve_owned() else {
            if buffer.rows >= 2 * limits.max_rows {
                warn!("the archive's store is slow; rows stay in the journal until it has caught up");
                buffer.lagging = true;
                buffer.partitions.clear();
                buffer.rows = 0;
                buffer.oldest = None;
                buffer.buffered_through = buffer.cut_through;
            }
            return None;
        };
        let cut = Cut {
            first: buffer.cut_through + 1,
            last: buffer.buffered_through,
            partitions: std::mem::take(&mut buffer.partitions),
        };
        buffer.rows = 0;
        buffer.oldest = None;
        buffer.cut_through = cut.last;
        self.next.cut = Some((cut.first, cut.last));
        Some((permit, cut))
    }

    /// Makes the rows of a recorded cut again from the journal, and hands them to the archive.
    fn finish_cut(&mut self, (first, last): (i64, i64)) -> Result<(), StoreError> {
        let Ok(permit) = self.parts.cuts.clone().try_reserve_owned() else { return Ok(()) };
        let purpose = Purpose { count: false, archive: true };
        let mut after = first - 1;
        while after < last {
            let entries = self.parts.store.read_blocking(|db| journal::read_after(db, after, READ_BYTES))?;
            let entries: Vec<_> = entries.into_iter().filter(|entry| entry.position <= last).collect();
            let Some(position) = entries.last().map(|entry| entry.position) else { break };
            for entry in entries {
                self.entry(entry, purpose)?;
            }
            after = position;
        }
        self.flush(purpose);
        let partitions = std::mem::take(&mut self.buffer.partitions);
        self.buffer.rows = 0;
        self.buffer.oldest = None;
        self.buffer.unfinished.pop_front();
        info!(first, last, "a cut of an earlier run is archived again");
        permit.send(Cut { first, last, partitions });
        Ok(())
    }

    fn observe_archive(&self) {
        let oldest = self.parts.store.read_blocking(|db| {
            let through = archive::archived_through(db)?;
            let newest: i64 = db.query_row("SELECT coalesce(max(position), 0) FROM journal", [], |row| row.get(0))?;
            let oldest = journal::oldest_after(db, through)?;
            Ok((newest, oldest, outbox::pending(db)?))
        });
        if let Ok((newest, oldest, pending)) = oldest {
            let lag = oldest.map_or(0.0, |received| (now_micros() - received) as f64 / 1e6);
            self.parts.metrics.archive_lag.set(lag.max(0.0));
            self.parts.metrics.journal_position.set(newest);
            self.parts.metrics.notifications_pending.set(pending as i64);
        }
    }

    /// Writes everything that changed, and tries until it is written: memory is ahead of the database meanwhile.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.last_checkpoint = Instant::now();
        self.next.counted_through = self.counted_through;
        for model in self.models.values_mut() {
            let new = model.columns.take_new();
            if !new.is_empty() {
                self.next.columns.push((model.name.to_string(), new));
            }
            for (version, series) in &mut model.series {
                let keep_from = series.keep_from();
                let (panes, progress) = series.take_dirty();
                for (start, pane) in panes {
                    self.next.panes.push(StoredPane {
                        model: model.name.to_string(),
                        version: version.to_string(),
                        start,
                        rows: pane.rows,
                        reference: model.references.identity.clone(),
                        profiles: profiles_to_bytes(&pane.profiles),
                    });
                }
                if let Some(progress) = progress {
                    self.next.progress.push((model.name.to_string(), version.to_string(), progress));
                    self.next
                        .forget_panes
                        .extend(keep_from.map(|from| (model.name.to_string(), version.to_string(), from)));
                }
            }
        }
        self.next.alerts.extend(self.book.take_changed());
        if self.next.is_empty() {
            return Ok(());
        }
        let checkpoint = Arc::new(std::mem::take(&mut self.next));
        loop {
            let writing = Arc::clone(&checkpoint);
            match self.parts.store.writer.write_blocking(move |db| writing.write(db, now_micros())) {
                Ok(()) => break,
                Err(StoreError::Closed) => return Err(StoreError::Closed),
                Err(error) => {
                    warn!(%error, "a checkpoint cannot be written; it will be tried again");
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        }
        self.parts.metrics.counted_position.set(self.counted_through);
        self.show_alerts();
        Ok(())
    }

    fn show_alerts(&self) {
        let gauge = &self.parts.metrics.alerts_firing;
        for rule in self.book.rules() {
            gauge.with_label_values(&[rule.name.as_str(), rule.severity.name()]).set(0);
        }
        for (rule, _) in self.book.firing() {
            gauge.with_label_values(&[rule.name.as_str(), rule.severity.name()]).inc();
        }
    }
}

fn observation(model: &str, version: &str, column: &ClosedColumn, role: &str, score: &Score) -> Observation {
    let labels = [("model", model), ("version", version), ("column", &column.column), ("role", role)];
    let reading = match score.verdict {
        Verdict::NotEnoughData => Reading::NotEnoughData,
        Verdict::Ok | Verdict::Drift => Reading::Score {
            value: score.effect,
            threshold: score.threshold,
            noise: score.noise.level(),
            n: score.n_window,
        },
    };
    Observation {
        name: score.detector.name().to_owned(),
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        reading,
    }
}

fn headline(column: &ClosedColumn) -> Option<&Score> {
    column.scores.iter().find(|score| score.detector == HEADLINE)
}

/// The line that says that a column began or stopped to drift.
fn drift_event(state: &mut ModelState, version: &Arc<str>, column: &ClosedColumn) -> Option<Event> {
    let score = headline(column).filter(|score| score.verdict != Verdict::NotEnoughData)?;
    let drifts = score.verdict == Verdict::Drift;
    let before = state.drifting.insert((Arc::clone(version), column.column.clone()), drifts).unwrap_or(false);
    if drifts == before {
        return None;
    }
    let numbers =
        format!("{} {}, limit {}", HEADLINE.name(), significant(score.effect), significant(score.threshold_in_force()));
    let says = if drifts { "drifts" } else { "is back within its limit" };
    Some(Event {
        kind: EventKind::Drift,
        model: state.name.to_string(),
        text: format!("{} {says} ({numbers})", column.column),
    })
}

fn window_text(window: &ClosedWindow) -> String {
    let span = times::span(window.starts, window.ends);
    let rows = format!("{span}: {} rows, {} of {} panes filled", thousands(window.rows), window.filled, window.panes);
    let judged = || window.columns.iter().filter_map(headline);
    let drifting: Vec<String> = window
        .columns
        .iter()
        .filter_map(|column| Some((column, headline(column)?)))
        .filter(|(_, score)| score.verdict == Verdict::Drift)
        .map(|(column, score)| format!("{} ({})", column.column, significant(score.effect)))
        .collect();
    if window.columns.is_empty() {
        format!("{rows}; no reference, so nothing is scored")
    } else if !drifting.is_empty() {
        format!("{rows}; drift in {}", drifting.join(", "))
    } else if judged().all(|score| score.verdict == Verdict::NotEnoughData) {
        format!("{rows}; not enough data")
    } else {
        format!("{rows}; no drift")
    }
}

/// The last effects of a score that are stored, the newest last.
fn score_history(
    db: &rusqlite::Connection,
    model: &str,
    version: &str,
    column: &str,
    score: &str,
) -> rusqlite::Result<Vec<Option<f64>>> {
    let mut history: Vec<Option<f64>> = db
        .prepare_cached(
            "SELECT effect FROM scores WHERE model = ?1 AND version = ?2 AND column_name = ?3 AND detector = ?4
             ORDER BY ends DESC LIMIT ?5",
        )?
        .query_map(rusqlite::params![model, version, column, score, evidence::SPARKLINE_WINDOWS as i64 - 1], |row| {
            row.get(0)
        })?
        .collect::<rusqlite::Result<_>>()?;
    history.reverse();
    Ok(history)
}
