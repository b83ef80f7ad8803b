//! A body as it passes: how long it is, what is kept of it, and where its messages end.

use driftline_protocol::{Body, Messages};

use super::messages::Cutter;
use crate::budget::Reservation;

/// A body's first allocation, at most: a claimed length is not yet a received one.
const FIRST_BODY_BYTES: usize = 16 << 10;

/// What there is of a body so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    size: u64,
    cutter: Option<Box<Cutter>>,
}

impl Kept {
    /// A body that has not begun, and an empty buffer for it, which is used if the budget has room.
    pub(super) fn new(cutter: Option<Box<Cutter>>, buffer: Vec<u8>, memory: &mut Reservation) -> Self {
        let has_room = buffer.capacity() == 0 || memory.grow(buffer.capacity());
        Self { bytes: if has_room { buffer } else { Vec::new() }, size: 0, cutter }
    }

    /// How its messages are told apart, once its head is known.
    pub(super) fn set_cutter(&mut self, cutter: Option<Box<Cutter>>) {
        self.cutter = cutter;
    }

    /// Bytes that passed at this time, and are or are not kept.
    pub(super) fn pass(&mut self, bytes: &[u8], micros: impl FnOnce() -> u64, memory: &mut Reservation) {
        self.size += bytes.len() as u64;
        if let Some(cutter) = &mut self.cutter {
            cutter.feed(bytes, micros(), memory);
        }
    }

    /// Keeps bytes up to a cap. False, and nothing changed, when the budget has no room.
    pub(super) fn keep(&mut self, bytes: &[u8], max_bytes: usize, memory: &mut Reservation) -> bool {
        let room = max_bytes.saturating_sub(self.bytes.len());
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let needed = self.bytes.len() + bytes.len();
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let wanted = needed.max(capacity * 2).max(needed.min(FIRST_BODY_BYTES)).min(max_bytes);
            if !memory.grow(wanted - capacity) {
                return false;
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// Lets go of what is kept, and says how much memory that was.
    pub(super) fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.bytes).capacity()
    }

    /// The body passed whole.
    pub(super) fn end(&mut self, micros: impl FnOnce() -> u64, memory: &mut Reservation) {
        if let Some(cutter) = &mut self.cutter {
            cutter.end(micros(), memory);
        }
    }

    pub(super) fn into_parts(self) -> (Body, Option<Messages>) {
        let body = Body { content: self.bytes.into(), size: self.size, ..Body::default() };
        (body, self.cutter.map(|cutter| cutter.into_messages()))
    }
}
