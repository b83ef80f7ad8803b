//! The spool: batches that wait on disk while the collector is away, in order, in a bounded ring of segment files.
//!
//! ```text
//!   DIR/  00000000004294967296.segment   ← read from here, removed when all of it is delivered
//!         00000000004294967297.segment
//!         00000000004294967298.segment   ← written at its end
//!         cursor                           how far the first one was delivered; advisory
//! ```
//!
//! * **The segments are the state.** There is no ledger that could contradict them (Vector's has been the source of most
//!   of its disk queue's bugs). Without a cursor, batches are sent again, and the collector recognises them.
//! * **A start reads no segment.** Those of earlier boots come first; each is read when its turn comes. What is damaged is
//!   skipped and counted, and costs what `format` says.
//! * **Writing may fail at any time**, and then gives the batch back. It is tried again with the next one: a folder that
//!   was deleted is made again, a full disk may have room.
//! * **Durability.** A record is in the page cache when `append` returns: a sidecar that crashes or is killed loses
//!   nothing of it. A node that crashes loses what the kernel had not written, usually the last 30 s. With
//!   `--spool-fsync` a segment is fsynced when it is full, so that only the last one can be lost.
//! * **Memory** is a few words for each segment, and one batch that is being sent.
//!
//! Disk work runs on the shipper's thread, a record at a time. The pump never waits for it.

mod counts;
mod folder;
mod format;
mod segment;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{info, warn};

pub(crate) use counts::{Recovered, SpoolCounts, SpoolError};
use folder::{Folder, FolderError};
#[cfg(feature = "fuzzing")]
pub(crate) use format::read_segment;
use format::{Found, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, read_record};
pub(super) use segment::Position;
use segment::{Content, Segment};

use super::batcher::Pending;
use crate::account::DropReason;
use crate::budget::{Budget, Reservation};
use crate::metrics::Metrics;

/// Ids begin here, so that there is always room for a segment before the first.
const FIRST_ID: u64 = 1 << 32;
/// Largest segment. Space is given back by the segment, and so is what one damaged header can cost.
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
const MIN_SEGMENT_BYTES: u64 = 64 << 10;

/// How the spool is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpoolSettings {
    pub(crate) folder: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) fsync: bool,
}

/// Why a batch was not spooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room in what the spool may take.
    Full,
    /// The disk did not take it.
    Failed,
}

/// What comes next out of the spool.
#[derive(Debug)]
pub(super) enum Next {
    Batch {
        frame: Bytes,
        last_sequence: u64,
    },
    /// Nothing is left before that position.
    Nothing,
    /// Something is there, and cannot be had now.
    NotNow(String),
}

#[derive(Debug)]
pub(crate) struct Spool {
    folder: Folder,
    boot: [u8; 16],
    max_bytes: u64,
    segment_bytes: u64,
    fsync: bool,
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    segments: VecDeque<Segment>,
    next_id: u64,
    /// Whether the last segment is open for writing.
    is_writing: bool,
    /// What was read and is not settled: the record at the first segment's `read`.
    head: Option<Head>,
    /// Whether writing failed last time.
    is_failing: bool,
}

#[derive(Debug)]
struct Head {
    frame: Bytes,
    header: RecordHeader,
    next: u64,
    /// The frame's bytes in the budget.
    _reservation: Reservation,
}

impl Spool {
    /// Opens a spool. A folder that cannot be used now is no error: batches then wait in memory, and the folder is tried
    /// again with each of them.
    ///
    /// # Errors
    /// When another process has the folder.
    pub(crate) fn open(
        settings: &SpoolSettings,
        boot: [u8; 16],
        metrics: Arc<Metrics>,
        budget: Arc<Budget>,
    ) -> Result<Self, String> {
        let SpoolSettings { folder: path, max_bytes, fsync } = settings;
        let mut folder = Folder::new(path);
        let found = match folder.claim() {
            Ok(()) => folder.segments(),
            Err(FolderError::Taken) => {
                return Err(format!(
                    "--spool-dir: another process has {}; give each sidecar a folder of its own",
                    path.display()
                ));
            }
            Err(FolderError::Io(error)) => Err(error),
        };
        let found = found.unwrap_or_else(|error| {
            warn!(folder = %path.display(), %error, "the spool's folder cannot be used; batches wait in memory");
            metrics.spool.error(SpoolError::of_writing(&error));
            Vec::new()
        });
        let segments: VecDeque<Segment> = found.into_iter().map(|(id, length)| Segment::earlier(id, length)).collect();
        let spool = Self {
            folder,
            boot,
            max_bytes: *max_bytes,
            segment_bytes: (max_bytes / 16).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES),
            fsync: *fsync,
            metrics,
            budget,
            next_id: segments.back().map_or(FIRST_ID, |last| last.id.saturating_add(1)),
            segments,
            is_writing: false,
            head: None,
            is_failing: false,
        };
        if !spool.segments.is_empty() {
            info!(segments = spool.segments.len(), bytes = spool.bytes(), "the spool has batches of an earlier start");
        }
        spool.observe();
        Ok(spool)
    }

    /// Bytes that it takes on disk.
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.written).sum()
    }

    /// The position after everything that is in it; None when it is empty.
    pub(super) fn end(&self) -> Option<Position> {
        self.segments.back().map(|last| Position { segment: last.id, offset: last.written })
    }

    /// Adds a batch after everything that is in it, and says where it ends; or gives it back.
    pub(super) fn append(&mut self, batch: Pending) -> Result<Position, (Pending, Refusal)> {
        let size = (RECORD_HEADER_BYTES + batch.frame.len()) as u64;
        let needs_segment = self.needs_segment(size);
        let header = if needs_segment { SEGMENT_HEADER_BYTES as u64 } else { 0 };
        if self.bytes() + header + size > self.max_bytes {
            return Err((batch, Refusal::Full));
        }
        if needs_segment {
            self.end_segment();
            match self.create(self.next_id) {
                Ok(segment) => {
                    self.next_id = segment.id + 1;
                    self.segments.push_back(segment);
                    self.is_writing = true;
                }
                Err(error) => return Err((batch, self.failed(error))),
            }
        }
        let written = match self.segments.back_mut() {
            Some(last) => last.write(batch),
            None => return Err((batch, Refusal::Failed)),
        };
        match written {
            Ok(position) => {
                self.worked();
                Ok(position)
            }
            Err((batch, error)) => {
                // The file may be bad: the next one goes to another.
                self.is_writing = false;
                if self.segments.back().is_some_and(|last| last.written == SEGMENT_HEADER_BYTES as u64)
                    && let Some(empty) = self.segments.pop_back()
                {
                    self.remove(empty.id);
                }
                Err((batch, self.failed(SpoolError::of_writing(&error))))
            }
        }
    }

    /// Adds batches before everything that is in it, as many as it takes, and says where they end. Those that wait in
    /// memory are older than the spool's when the collector went away while it was being drained.
    pub(super) fn prepend(&mut self, batches: &mut VecDeque<Pending>) -> Option<Position> {
        let id = self.segments.front()?.id.checked_sub(1)?;
        let sizes = batches.iter().map(|batch| (RECORD_HEADER_BYTES + batch.frame.len()) as u64);
        let size = SEGMENT_HEADER_BYTES as u64 + sizes.sum::<u64>();
        if self.bytes() + size > self.max_bytes {
            return None;
        }
        let mut segment = match self.create(id) {
            Ok(segment) if segment.id == id => segment,
            // The place is taken by what was there before the folder was deleted and put back.
            Ok(segment) => {
                self.remove(segment.id);
                return None;
            }
            Err(error) => {
                self.failed(error);
                return None;
            }
        };
        let mut position = None;
        while let Some(batch) = batches.pop_front() {
            match segment.write(batch) {
                Ok(written) => position = Some(written),
                Err((batch, error)) => {
                    batches.push_front(batch);
                    self.failed(SpoolError::of_writing(&error));
                    break;
                }
            }
        }
        if position.is_some() {
            self.head = None;
            self.segments.push_front(segment);
            self.observe();
        } else {
            self.remove(id);
        }
        position
    }

    fn needs_segment(&self, record_bytes: u64) -> bool {
        let Some(last) = self.segments.back().filter(|_| self.is_writing) else { return true };
        let is_full = last.written > SEGMENT_HEADER_BYTES as u64
            && last.written.saturating_add(record_bytes) > self.segment_bytes;
        is_full || last.is_deleted()
    }

    /// Ends the segment that is being written. Its file is opened again when its turn comes, unless it was deleted
    /// meanwhile: then this is the only way to it.
    fn end_segment(&mut self) {
        if !std::mem::take(&mut self.is_writing) {
            return;
        }
        let Some(last) = self.segments.back_mut() else { return };
        if self.fsync
            && let Some(Err(error)) = last.file.as_ref().map(|file| file.sync_data().and(self.folder.sync()))
        {
            warn!(%error, "a segment of the spool cannot be synced");
            self.metrics.spool.error(SpoolError::of_writing(&error));
        }
        if !last.is_deleted() {
            last.file = None;
        }
    }

    /// Makes a segment with this id, or the next that is free.
    fn create(&mut self, id: u64) -> Result<Segment, SpoolError> {
        match self.folder.claim() {
            Ok(()) => {}
            Err(FolderError::Taken) => return Err(SpoolError::Taken),
            Err(FolderError::Io(error)) => return Err(SpoolError::of_writing(&error)),
        }
        for id in id..id.saturating_add(100) {
            match self.folder.create(SegmentHeader { id, boot: self.boot }) {
                Ok(file) => return Ok(Segment::mine(id, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(SpoolError::of_writing(&error)),
            }
        }
        Err(SpoolError::Write)
    }

    fn failed(&mut self, error: SpoolError) -> Refusal {
        if !std::mem::replace(&mut self.is_failing, true) {
            warn!(reason = error.name(), "the spool cannot be written; batches wait in memory");
        }
        self.metrics.spool.error(error);
        Refusal::Failed
    }

    fn worked(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            info!("the spool can be written again");
        }
        self.observe();
    }

    /// The oldest batch before a position. It stays the first until it is settled.
    pub(super) fn first(&mut self, before: Position) -> Next {
        loop {
            if let Some(head) = &self.head {
                return Next::Batch { frame: head.frame.clone(), last_sequence: head.header.last_sequence };
            }
            let Some(first) = self.segments.front_mut() else { return Next::Nothing };
            if (Position { segment: first.id, offset: first.read }) >= before {
                // Drained: its space is given back at once, and not with the next segment.
                if first.read >= first.written {
                    self.retire();
                }
                return Next::Nothing;
            }
            match first.begin(&self.folder) {
                Ok(()) => {}
                Err(error) if is_passing(&error) => return Next::NotNow(format!("the spool cannot be read: {error}")),
                Err(error) => {
                    self.skip(error_of_reading(&error), u64::MAX, None);
                    continue;
                }
            }
            if first.read >= first.written {
                self.retire();
                continue;
            }
            let Some(file) = &first.file else { continue };
            match read_record(file, first.read, first.written) {
                Ok(Found::Record { header, frame, next }) => {
                    let reservation = self.budget.overdraw(frame.len()).framed(frame.len());
                    self.head = Some(Head { frame: frame.into(), header, next, _reservation: reservation });
                }
                Ok(Found::Corrupt { exchanges, next }) => self.skip(SpoolError::Corrupt, exchanges, Some(next)),
                Ok(Found::Torn { exchanges }) => self.skip(SpoolError::Torn, exchanges, None),
                Ok(Found::Lost) => self.skip(SpoolError::Corrupt, 0, None),
                Err(error) if is_passing(&error) => return Next::NotNow(format!("the spool cannot be read: {error}")),
                Err(error) => self.skip(error_of_reading(&error), 0, None),
            }
        }
    }

    /// Skips a record, or the rest of the first segment. How many exchanges that costs is known from tickets where this
    /// boot wrote them, else from the record's header.
    fn skip(&mut self, error: SpoolError, exchanges: u64, next: Option<u64>) {
        self.metrics.spool.error(error);
        let Some(first) = self.segments.front_mut() else { return };
        let lost = match &mut first.content {
            Content::Mine(Some(ticket)) => {
                let lost = if next.is_some() { ticket.take(exchanges) } else { ticket.take_all() };
                let exchanges = lost.exchanges();
                lost.dropped(DropReason::SpoolLost);
                exchanges
            }
            Content::Mine(None) => 0,
            Content::Earlier(_) => {
                let known = if exchanges == u64::MAX { 0 } else { exchanges };
                self.metrics.spool.recovered(Recovered::Lost, known);
                known
            }
        };
        warn!(segment = first.id, offset = first.read, reason = error.name(), exchanges = lost, "the spool skips");
        match next {
            Some(next) => first.read = next,
            None => self.retire(),
        }
    }

    /// Settles the batch that `first` gave, and says how many exchanges it had.
    pub(super) fn settle_first(&mut self, outcome: Recovered) -> u64 {
        let (Some(head), Some(first)) = (self.head.take(), self.segments.front_mut()) else { return 0 };
        let exchanges = u64::from(head.header.exchanges);
        first.read = head.next;
        let noted = match &mut first.content {
            Content::Mine(ticket) => {
                if let Some(ticket) = ticket.as_mut().map(|ticket| ticket.take(exchanges)) {
                    match outcome {
                        Recovered::Delivered => ticket.delivered(),
                        Recovered::Rejected => ticket.dropped(DropReason::Rejected),
                        Recovered::Lost => ticket.dropped(DropReason::SpoolLost),
                    }
                }
                Some(SegmentHeader { id: first.id, boot: self.boot })
            }
            Content::Earlier(header) => {
                self.metrics.spool.recovered(outcome, exchanges);
                *header
            }
        };
        if let Some(Err(error)) = noted.map(|header| self.folder.note(header, head.next)) {
            // Costs a batch that is sent twice, should the sidecar be killed now.
            tracing::debug!(%error, "the spool's cursor cannot be written");
        }
        exchanges
    }

    /// Forgets what `first` gave; it is read again when it is sent again. Pauses are long, and memory is for captures.
    pub(super) fn release_first(&mut self) {
        self.head = None;
    }

    /// Lets the first segment go, with what is left in it.
    fn retire(&mut self) {
        let Some(mut first) = self.segments.pop_front() else { return };
        self.is_writing &= !self.segments.is_empty();
        self.head = None;
        if let Content::Mine(Some(ticket)) = &mut first.content {
            ticket.take_all().dropped(DropReason::SpoolLost);
        }
        self.remove(first.id);
        self.observe();
    }

    fn remove(&self, id: u64) {
        if let Err(error) = self.folder.remove(id) {
            warn!(%error, segment = id, "a delivered segment of the spool cannot be removed; it may be sent again");
            self.metrics.spool.error(SpoolError::Remove);
        }
    }

    fn observe(&self) {
        self.metrics.spool.bytes.set(self.bytes() as i64);
        self.metrics.spool.segments.set(self.segments.len() as i64);
    }

    /// The sidecar stops. What is in the spool stays there for the next start.
    pub(super) fn stop(mut self) {
        self.end_segment();
        for segment in self.segments.drain(..) {
            if let Content::Mine(Some(ticket)) = segment.content {
                ticket.stay();
            }
        }
    }
}

/// Errors of the process rather than of the disk: too many open files, no memory.
fn is_passing(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE))
}

fn error_of_reading(error: &io::Error) -> SpoolError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SpoolError::Missing,
        io::ErrorKind::InvalidData => SpoolError::Corrupt,
        io::ErrorKind::UnexpectedEof => SpoolError::Torn,
        _ => SpoolError::Read,
    }
}

#[cfg(test)]
pub(in crate::shipper) mod tests;
