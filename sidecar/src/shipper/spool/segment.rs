//! One segment file, while it is written and while it is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::folder::Folder;
use super::format::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::account::Spooled;
use crate::shipper::batcher::Pending;

/// A place between records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::shipper) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A segment's state: where it is written, and where it is read.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    /// Bytes of whole records, and what was before them.
    pub(super) written: u64,
    /// Up to where it was delivered, or skipped.
    pub(super) read: u64,
    pub(super) file: Option<File>,
    pub(super) content: Content,
}

/// Whose exchanges are in a segment.
#[derive(Debug)]
pub(super) enum Content {
    /// Written by this boot; the ticket is of what was not read yet.
    Mine(Option<Spooled>),
    /// Left by an earlier boot; known once it is read.
    Earlier(Option<SegmentHeader>),
}

impl Segment {
    pub(super) fn mine(id: u64, file: File) -> Self {
        let start = SEGMENT_HEADER_BYTES as u64;
        Self { id, written: start, read: start, file: Some(file), content: Content::Mine(None) }
    }

    pub(super) fn earlier(id: u64, length: u64) -> Self {
        Self { id, written: length, read: 0, file: None, content: Content::Earlier(None) }
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.file.as_ref().and_then(|file| file.metadata().ok()).is_some_and(|metadata| metadata.nlink() == 0)
    }

    /// Writes a batch at its end. If that fails, what was written of it is cut off, if possible; it is not read anyway.
    pub(super) fn write(&mut self, batch: Pending) -> Result<Position, (Pending, io::Error)> {
        let header = RecordHeader {
            frame_bytes: batch.frame.len() as u32,
            exchanges: u32::try_from(batch.ticket.exchanges()).unwrap_or(u32::MAX),
            last_sequence: batch.last_sequence,
        };
        let Some(file) = &self.file else { return Err((batch, io::ErrorKind::NotFound.into())) };
        let body = self.written + RECORD_HEADER_BYTES as u64;
        let written = put(file, &header.encode(), self.written).and_then(|()| put(file, &batch.frame, body));
        if let Err(error) = written {
            file.set_len(self.written).ok();
            return Err((batch, error));
        }
        self.written = body + batch.frame.len() as u64;
        let spooled = batch.ticket.spooled();
        match &mut self.content {
            Content::Mine(Some(ticket)) => ticket.absorb(spooled),
            content => *content = Content::Mine(Some(spooled)),
        }
        Ok(Position { segment: self.id, offset: self.written })
    }

    /// Makes sure that it can be read: its file is open, and its header is right.
    pub(super) fn begin(&mut self, folder: &Folder) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(folder.open(self.id)?);
        }
        if let (Content::Earlier(header @ None), Some(file)) = (&mut self.content, &self.file) {
            // Made, and never written: its boot ended just then.
            if self.written == 0 {
                return Ok(());
            }
            let mut bytes = [0; SEGMENT_HEADER_BYTES];
            file.read_exact_at(&mut bytes, 0)?;
            let found = SegmentHeader::decode(&bytes).filter(|found| found.id == self.id);
            let found = found.ok_or(io::ErrorKind::InvalidData)?;
            self.read = folder.noted(found).unwrap_or(SEGMENT_HEADER_BYTES as u64).min(self.written);
            *header = Some(found);
        }
        Ok(())
    }
}

#[cfg(not(test))]
fn put(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

#[cfg(test)]
use super::tests::put;
