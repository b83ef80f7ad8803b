//! A segment file: what a record looks like on disk, and reading one whatever has become of it.
//!
//! ```text
//!   segment   ┌──────────┬────────┬─────────┬─────────┬────────┬────────┬──
//!             │ DRFTSPL1 │ id u64 │ boot 16 │ crc u32 │ record │ record │ …
//!             └──────────┴────────┴─────────┴─────────┴────────┴────────┴──
//!   record    ┌──────┬────────────┬───────────────┬───────────────────┬─────────┬─────────
//!             │ DRSR │ length u32 │ exchanges u32 │ last sequence u64 │ crc u32 │ frame …
//!             └──────┴────────────┴───────────────┴───────────────────┴─────────┴─────────
//! ```
//!
//! All numbers are little-endian; each checksum is CRC-32C of the header before it. The frame is what goes to the
//! collector, and has a checksum of its own. A segment belongs to one boot: no later one adds to it.
//!
//! What can be damaged, and what it costs: a frame, its own record; a record's header, the rest of the segment, because
//! nothing says where the next one begins (looking for its magic could find one that a caller put into a body); the
//! segment's header, the segment. A file that was cut short costs the record that was cut.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use driftline_protocol::frame::{self, MAX_FRAME_BYTES};

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: usize = 36;
/// Bytes of a record's header.
pub(super) const RECORD_HEADER_BYTES: usize = 24;
const SEGMENT_MAGIC: [u8; 8] = *b"DRFTSPL1";
const RECORD_MAGIC: [u8; 4] = *b"DRSR";

/// Which boot a segment is of, and its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) id: u64,
    pub(super) boot: [u8; 16],
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.boot);
        seal(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<Self> {
        let rest = unseal(bytes)?.strip_prefix(&SEGMENT_MAGIC)?;
        let (id, boot) = rest.split_first_chunk()?;
        Some(Self { id: u64::from_le_bytes(*id), boot: boot.try_into().ok()? })
    }
}

/// What is known of a frame before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) frame_bytes: u32,
    pub(super) exchanges: u32,
    pub(super) last_sequence: u64,
}

impl RecordHeader {
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&self.frame_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.exchanges.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.last_sequence.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        let rest = unseal(bytes)?.strip_prefix(&RECORD_MAGIC)?;
        let (frame_bytes, rest) = rest.split_first_chunk()?;
        let (exchanges, rest) = rest.split_first_chunk()?;
        let header = Self {
            frame_bytes: u32::from_le_bytes(*frame_bytes),
            exchanges: u32::from_le_bytes(*exchanges),
            last_sequence: u64::from_le_bytes(rest.try_into().ok()?),
        };
        (header.frame_bytes as usize <= MAX_FRAME_BYTES).then_some(header)
    }
}

/// Puts the checksum of a header behind it.
pub(super) fn seal(header: &mut [u8]) {
    if let Some((front, checksum)) = header.split_last_chunk_mut::<4>() {
        *checksum = crc32c::crc32c(front).to_le_bytes();
    }
}

/// A header without its checksum, if that is right.
pub(super) fn unseal(header: &[u8]) -> Option<&[u8]> {
    let (front, checksum) = header.split_last_chunk::<4>()?;
    (crc32c::crc32c(front) == u32::from_le_bytes(*checksum)).then_some(front)
}

/// Where a segment's bytes come from: a file, or memory in tests and under the fuzzer.
pub(super) trait Source {
    /// Fills the buffer from this place; `UnexpectedEof` when there is not so much.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Source for [u8] {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let bytes = from.and_then(|rest| rest.get(..buffer.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// What stands in a segment at some place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole record; the next one begins at `next`.
    Record { header: RecordHeader, frame: Vec<u8>, next: u64 },
    /// The file ends inside a record. Its exchanges, where its header says how many.
    Torn { exchanges: u64 },
    /// A frame that was changed; the next record begins at `next`.
    Corrupt { exchanges: u64, next: u64 },
    /// No record begins here; nothing says where the next one would.
    Lost,
}

/// Reads the record at some place before the segment's end.
///
/// # Errors
/// What the disk says, except that there is less than expected.
pub(super) fn read_record(source: &(impl Source + ?Sized), offset: u64, end: u64) -> io::Result<Found> {
    let mut header = [0; RECORD_HEADER_BYTES];
    let body = offset + RECORD_HEADER_BYTES as u64;
    if body > end || !filled(source.fill(&mut header, offset))? {
        return Ok(Found::Torn { exchanges: 0 });
    }
    let Some(header) = RecordHeader::decode(&header) else { return Ok(Found::Lost) };
    let exchanges = u64::from(header.exchanges);
    let next = body + u64::from(header.frame_bytes);
    if next > end {
        return Ok(Found::Torn { exchanges });
    }
    let mut frame = vec![0; header.frame_bytes as usize];
    if !filled(source.fill(&mut frame, body))? {
        return Ok(Found::Torn { exchanges });
    }
    Ok(match frame::check(&frame) {
        Ok(()) => Found::Record { header, frame, next },
        Err(_) => Found::Corrupt { exchanges, next },
    })
}

/// Whether a buffer was filled, or the source ended before.
fn filled(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a whole segment from memory, as the spool would: how many frames are whole, and how many exchanges are known to
/// be lost. The fuzzer's way in.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_segment(bytes: &[u8]) -> (u64, u64) {
    let (mut whole, mut lost) = (0, 0);
    let Some(header) = bytes.first_chunk() else { return (0, 0) };
    if SegmentHeader::decode(header).is_none() {
        return (0, 0);
    }
    let mut offset = SEGMENT_HEADER_BYTES as u64;
    while offset < bytes.len() as u64 {
        match read_record(bytes, offset, bytes.len() as u64) {
            Ok(Found::Record { next, .. }) => {
                whole += 1;
                offset = next;
            }
            Ok(Found::Corrupt { exchanges, next }) => {
                lost += exchanges;
                offset = next;
            }
            Ok(Found::Torn { exchanges }) => return (whole, lost + exchanges),
            Ok(Found::Lost) | Err(_) => break,
        }
    }
    (whole, lost)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::frame_of;
    use super::*;

    fn segment(records: &[u32]) -> Vec<u8> {
        let mut bytes = SegmentHeader { id: 3, boot: [1; 16] }.encode().to_vec();
        for (i, exchanges) in records.iter().enumerate() {
            let frame = frame_of(1 + i as u64, u64::from(*exchanges));
            let header =
                RecordHeader { frame_bytes: frame.len() as u32, exchanges: *exchanges, last_sequence: i as u64 };
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(&frame);
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_segment_cut_anywhere_gives_every_record_before_the_cut(at in any::<prop::sample::Index>()) {
            let bytes = segment(&[1, 2, 3]);
            let cut = at.index(bytes.len());
            let (whole, lost) = read_segment(&bytes[..cut]);
            let ends: Vec<usize> = (0..=3).map(|records| segment(&[1, 2, 3][..records]).len()).collect();
            prop_assert_eq!(whole, ends[1..].iter().filter(|end| **end <= cut).count() as u64);
            // The lost one is known as soon as its header is whole.
            let known = ends.iter().any(|end| cut >= end + RECORD_HEADER_BYTES && !ends.contains(&cut) && cut > *end)
                && ends.windows(2).any(|pair| cut >= pair[0] + RECORD_HEADER_BYTES && cut < pair[1]);
            prop_assert_eq!(lost > 0, known);
        }

        #[test]
        fn a_changed_byte_never_gives_a_frame_that_was_not_written(at in any::<prop::sample::Index>(), change in 1u8..=255) {
            let mut bytes = segment(&[1, 2, 3]);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(read_segment(&bytes).0 < 3);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = segment(&[]);
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(read_segment(&bytes).0, 0);
            prop_assert_eq!(read_segment(&tail).0, 0);
        }
    }
}
