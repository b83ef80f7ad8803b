//! Rows on their way to the archive: the buffer, and the cuts that are made of it.

use std::collections::{BTreeMap, VecDeque};

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use driftline_alerts::Counts;
use tokio::sync::mpsc::OwnedPermit;
use tracing::{info, warn};

use super::slis::COLLECTOR;
use super::{Pipeline, Purpose, READ_BYTES};
use crate::archive::{self, Cut, CutLayout, PartitionKey, Unfinished};
use crate::config::ARCHIVE_SLI;
use crate::store::{StoreError, journal};
use crate::times::now_micros;

/// Batches are put together up to so many rows and bytes: more would be copied for little. What is gathered at once when many
/// rows come has as many, and is copied no more.
const MAX_MERGED_ROWS: usize = 16_384;
const MAX_MERGED_BYTES: usize = 16 << 20;
/// While the archive is behind, one stretch in so many is counted. What is counted meanwhile is read a second time for the
/// archive, so that it must be the smaller part, or the archive would never catch up.
const COUNTING_TURN: u8 = 4;

/// Whether rows are archived as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Archiving {
    Running,
    /// The store is too slow: rows are left in the journal until it has caught up.
    Lagging,
    /// The archiver has ended. Rows are left in the journal until a restart.
    Stopped,
}

/// Rows by their file-to-be, and how many and how much they are.
#[derive(Debug, Default)]
struct Buffered {
    partitions: BTreeMap<PartitionKey, Vec<RecordBatch>>,
    rows: u64,
    bytes: u64,
}

impl Buffered {
    /// Adds a batch to its partition. Small batches are put together as they come: each has costs of its own, of a
    /// hundred columns more than of a hundred rows.
    fn add(&mut self, key: PartitionKey, batch: RecordBatch) {
        let size = |batch: &RecordBatch| batch.get_array_memory_size();
        self.rows += batch.num_rows() as u64;
        self.bytes += size(&batch) as u64;
        let batches = self.partitions.entry(key).or_default();
        batches.push(batch);
        // Like the digits of a counter: what is put together is at least half of what it is put to, so that every row is
        // copied as often as its partition doubles.
        while let [.., before, last] = batches.as_slice()
            && before.num_rows() <= 2 * last.num_rows()
            && before.num_rows() + last.num_rows() <= MAX_MERGED_ROWS
            && size(before) + size(last) <= MAX_MERGED_BYTES
            && before.schema() == last.schema()
            && let Ok(merged) = concat_batches(&before.schema(), [before, last])
        {
            self.bytes = self.bytes.saturating_sub((size(before) + size(last)) as u64) + size(&merged) as u64;
            batches.truncate(batches.len() - 2);
            batches.push(merged);
        }
    }
}

/// Rows that wait for their cut.
#[derive(Debug)]
pub(super) struct ArchiveBuffer {
    buffered: Buffered,
    /// When its oldest batch was received.
    oldest: Option<i64>,
    /// Every row up to here is in a cut.
    cut_through: i64,
    /// Every row up to here is in a cut or in this buffer.
    buffered_through: i64,
    /// Cuts of an earlier run whose files are to be made again.
    unfinished: VecDeque<Unfinished>,
    archiving: Archiving,
    /// Stretches since the archive is behind, up to [`COUNTING_TURN`].
    turn: u8,
}

impl ArchiveBuffer {
    pub(super) fn new(cut_through: i64, unfinished: Vec<Unfinished>) -> Self {
        Self {
            buffered: Buffered::default(),
            oldest: None,
            cut_through,
            buffered_through: cut_through,
            unfinished: unfinished.into(),
            archiving: Archiving::Running,
            turn: 0,
        }
    }

    /// Adds rows.
    pub(super) fn add(&mut self, key: PartitionKey, batch: RecordBatch) {
        self.buffered.add(key, batch);
    }

    /// Notes that a batch of the journal, received at this time, is being buffered.
    pub(super) fn receive(&mut self, received_at: i64) {
        self.oldest.get_or_insert(received_at);
    }

    /// Notes that everything up to a position is buffered.
    pub(super) fn through(&mut self, position: i64) {
        self.buffered_through = position;
    }

    /// Lets go of what is buffered: it is still in the journal.
    fn let_go(&mut self) {
        self.buffered = Buffered::default();
        self.oldest = None;
        self.buffered_through = self.cut_through;
    }
}

impl Pipeline {
    /// Whether rows that were counted are still to be read again for the archive.
    pub(super) fn archives_behind(&self) -> bool {
        let buffer = &self.buffer;
        buffer.archiving == Archiving::Running
            && buffer.unfinished.is_empty()
            && buffer.buffered_through < self.counted_through
    }

    /// Which part of the journal comes next, and what for. The archive may be behind the counting: after a start, and
    /// after its store was slow. Counting takes its turns meanwhile: windows do not wait for hours of backlog.
    pub(super) fn next_stretch(&mut self) -> (i64, i64, Purpose) {
        let (buffer, cuts) = (&mut self.buffer, &self.parts.cuts);
        if cuts.is_closed() && buffer.archiving != Archiving::Stopped {
            buffer.archiving = Archiving::Stopped;
            buffer.let_go();
            self.parts.vitals.archive_stopped("the archiver has ended");
        }
        if buffer.archiving == Archiving::Lagging && cuts.capacity() == cuts.max_capacity() {
            info!("the archive's store answers again; rows are archived from the journal");
            buffer.archiving = Archiving::Running;
        }
        let archives = buffer.archiving == Archiving::Running && buffer.unfinished.is_empty();
        let archive = archives.then_some(self.parts.config.archive.partition);
        if !self.archives_behind() {
            return (self.counted_through, i64::MAX, Purpose { count: true, archive });
        }
        let buffer = &mut self.buffer;
        buffer.turn = (buffer.turn + 1) % COUNTING_TURN;
        if buffer.turn == 0 {
            (self.counted_through, i64::MAX, Purpose { count: true, archive: None })
        } else {
            (buffer.buffered_through, self.counted_through, Purpose { count: false, archive })
        }
    }

    /// Makes a cut of what is buffered, when it is time and the archive has room. When it has none for too long, the
    /// buffer is let go: its rows are still in the journal.
    pub(super) fn cut(&mut self, is_final: bool) -> Option<(OwnedPermit<Cut>, Cut)> {
        let limits = &self.parts.config.archive;
        let buffer = &mut self.buffer;
        if buffer.buffered_through <= buffer.cut_through || buffer.archiving == Archiving::Stopped {
            return None;
        }
        let is_over = |times: u64| {
            buffer.buffered.rows >= times * limits.max_rows || buffer.buffered.bytes >= times * limits.max_bytes
        };
        let age = buffer.oldest.map_or(0, |oldest| now_micros() - oldest);
        let is_due = is_final || is_over(1) || age >= limits.max_age.as_micros() as i64;
        if !is_due {
            return None;
        }
        let Ok(permit) = self.parts.cuts.clone().try_reserve_owned() else {
            if is_over(2) {
                warn!("the archive's store is slow; rows stay in the journal until it has caught up");
                buffer.archiving = Archiving::Lagging;
                buffer.let_go();
            }
            return None;
        };
        let layout = CutLayout::of(limits);
        let (first, last) = (buffer.cut_through + 1, buffer.buffered_through);
        let partitions = std::mem::take(&mut buffer.buffered).partitions;
        buffer.oldest = None;
        buffer.cut_through = last;
        self.next.cut = Some(Unfinished { first, last, layout: layout.clone() });
        Some((permit, Cut { first, last, layout, partitions }))
    }

    /// Makes the rows of a recorded cut again from the journal, and hands them to the archive. After an error nothing of
    /// it is left, and it can be tried again.
    pub(super) fn finish_cut(&mut self) -> Result<(), StoreError> {
        let Some(cut) = self.buffer.unfinished.front().cloned() else { return Ok(()) };
        let Ok(permit) = self.parts.cuts.clone().try_reserve_owned() else { return Ok(()) };
        // While cuts are unfinished nothing else is buffered.
        self.flush();
        self.buffer.let_go();
        let again = self.gather_cut(&cut);
        self.flush();
        let partitions = std::mem::take(&mut self.buffer.buffered).partitions;
        self.buffer.let_go();
        again?;
        let Unfinished { first, last, layout } = cut;
        self.buffer.unfinished.pop_front();
        info!(first, last, "a cut of an earlier run is archived again");
        permit.send(Cut { first, last, layout, partitions });
        Ok(())
    }

    fn gather_cut(&mut self, cut: &Unfinished) -> Result<(), StoreError> {
        let purpose = Purpose { count: false, archive: Some(cut.layout.partition) };
        let mut after = cut.first - 1;
        while after < cut.last {
            let entries = self.parts.store.read_blocking(|db| journal::read_after(db, after, READ_BYTES))?;
            let entries: Vec<_> = entries.into_iter().filter(|entry| entry.position <= cut.last).collect();
            let Some(position) = entries.last().map(|entry| entry.position) else { break };
            for entry in entries {
                self.entry(entry, purpose)?;
            }
            after = position;
        }
        Ok(())
    }

    /// Shows how far the archive is behind, and counts whether that is within what is allowed.
    pub(super) fn observe_archive(&mut self) {
        let oldest = self.parts.store.read_blocking(|db| {
            let through = archive::archived_through(db)?;
            let newest: i64 = db.query_row("SELECT coalesce(max(position), 0) FROM journal", [], |row| row.get(0))?;
            let oldest = journal::oldest_after(db, through)?;
            Ok((newest, oldest))
        });
        if let Ok((newest, oldest)) = oldest {
            let now = now_micros();
            let lag = oldest.map_or(0, |received| (now - received).max(0));
            let max_lag = self.parts.config.archive.max_lag.as_micros() as i64;
            let keeps_up = lag <= max_lag && !self.parts.vitals.archive_has_stopped();
            let looked = Counts { good: u64::from(keeps_up), valid: 1, unknown: 0 };
            self.next.slis.count(COLLECTOR, ARCHIVE_SLI, "", now, looked);
            self.parts.metrics.sli(COLLECTOR, ARCHIVE_SLI, "").count(looked);
            self.parts.metrics.archive_lag.set(lag as f64 / 1e6);
            self.parts.metrics.journal_position.set(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    use arrow_array::{ArrayRef, Float64Array};

    use super::*;
    use crate::metrics::Metrics;
    use crate::pipeline::Parts;
    use crate::references::LoadedReferences;
    use crate::store::Store;
    use crate::telemetry::Tracer;
    use crate::vitals::Vitals;

    fn key() -> PartitionKey {
        ("m".into(), "1".into(), 0)
    }

    fn batch(name: &str, values: std::ops::Range<i32>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Float64Array::from_iter_values(values.map(f64::from)));
        RecordBatch::try_from_iter([(name, column)]).unwrap()
    }

    /// A pipeline on an empty database, and what its cuts come out of.
    fn pipeline(folder: &std::path::Path) -> (Pipeline, tokio::sync::mpsc::Receiver<Cut>) {
        let config = crate::Config::parse("d.yaml", "", folder).unwrap();
        let metrics = Metrics::new().unwrap();
        let (cuts, archiver) = tokio::sync::mpsc::channel(1);
        let parts = Parts {
            store: Store::open(folder).unwrap(),
            references: Arc::new(LoadedReferences::load(&config).unwrap()),
            feeds: Arc::default(),
            runbooks: Arc::new(crate::runbooks::Runbooks::shipped()),
            metadata: Arc::default(),
            config: Arc::new(config),
            vitals: Vitals::new(metrics.archive_stopped.clone()),
            metrics,
            pulse: crate::watchdog::Pulse::default(),
            tracer: Tracer::default(),
            cuts,
        };
        (Pipeline::load(parts, Arc::default()).unwrap(), archiver)
    }

    #[test]
    fn a_cut_goes_to_the_archive_once_it_is_recorded_and_nobody_waits_for_that() {
        let folder = tempfile::tempdir().unwrap();
        let (mut pipeline, mut archiver) = pipeline(folder.path());
        let writer = pipeline.parts.store.writer.clone();
        let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
        let held = writer.begin_blocking(move |_| Ok(gone.recv().is_ok())).unwrap();
        pipeline.counted_through = 7;
        pipeline.buffer.through(7);
        let cut = pipeline.cut(true);
        assert!(cut.is_some());
        pipeline.checkpoint(cut, Tracer::default().begin("checkpoint")).unwrap();
        assert!(archiver.try_recv().is_err() && pipeline.stored_through == 0, "it is not recorded yet");
        go.send(()).unwrap();
        pipeline.settle().unwrap();
        assert!(held.wait().unwrap());
        let cut = archiver.try_recv().unwrap();
        let recorded = pipeline.parts.store.read_blocking(archive::cut_through).unwrap();
        assert_eq!((cut.last, recorded, pipeline.stored_through), (7, 7, 7));
    }

    #[test]
    fn counting_takes_its_turns_while_the_archive_is_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (mut pipeline, _archiver) = pipeline(folder.path());
        let together = |purpose: Purpose| purpose.count && purpose.archive.is_some();
        assert!(together(pipeline.next_stretch().2) && !pipeline.archives_behind());
        // As after a start: everything was counted, and nothing archived.
        pipeline.counted_through = 100;
        let stretches: Vec<_> = (0..8).map(|_| pipeline.next_stretch()).collect();
        let counted = stretches.iter().filter(|(after, _, purpose)| *after == 100 && purpose.count);
        assert!(counted.clone().all(|(_, _, purpose)| purpose.archive.is_none()), "it would be archived out of turn");
        assert_eq!(counted.count(), 2);
        let archived =
            stretches.iter().filter(|(after, through, purpose)| (*after, *through, purpose.count) == (0, 100, false));
        assert_eq!(archived.count(), 6);
        pipeline.buffer.through(100);
        assert!(together(pipeline.next_stretch().2) && !pipeline.archives_behind());
    }

    #[test]
    fn small_batches_are_put_together_in_their_order() {
        let mut buffered = Buffered::default();
        for i in 0..1000 {
            buffered.add(key(), batch("x", i..i + 1));
        }
        let batches = &buffered.partitions[&key()];
        assert!(batches.len() <= 10, "{} batches", batches.len());
        let values: Vec<f64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Float64Type>().values().to_vec()).collect();
        assert!(values.iter().copied().eq((0..1000).map(f64::from)));
        let held: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        assert_eq!((buffered.rows, buffered.bytes), (1000, held as u64));
        assert!(held < 100_000, "{held} bytes for a thousand numbers");
    }

    #[test]
    fn batches_with_other_columns_stay_apart() {
        let mut buffered = Buffered::default();
        buffered.add(key(), batch("x", 0..1));
        buffered.add(key(), batch("y", 0..1));
        assert_eq!(buffered.partitions[&key()].len(), 2);
    }
}
