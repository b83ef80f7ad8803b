//! A body as it passes: how long it is, what is kept of it, and where its messages end.

use driftline_protocol::{Body, Messages};

use super::messages::Cutter;
use crate::budget::Reservation;

/// A claimed length is not yet a received one: memory is taken for so many times what has come, at most.
const TRUST: usize = 4;

/// What there is of a body so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    size: u64,
    /// How long it says that it is.
    claimed: Option<usize>,
    cutter: Option<Box<Cutter>>,
}

impl Kept {
    /// Two bodies that have not begun, and empty buffers for them, which are used if the budget has room for both.
    pub(super) fn both(buffers: [Vec<u8>; 2], memory: &mut Reservation) -> [Self; 2] {
        let bytes = buffers.iter().map(Vec::capacity).sum();
        let has_room = bytes == 0 || memory.grow_for_body(bytes);
        buffers.map(|buffer| Self { bytes: if has_room { buffer } else { Vec::new() }, ..Self::default() })
    }

    /// How long it will be, and how its messages are told apart, once its head is known.
    pub(super) fn head(&mut self, claimed: Option<usize>, cutter: Option<Box<Cutter>>) {
        self.claimed = claimed;
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
            let wanted = self.wanted(needed).min(max_bytes);
            if !memory.grow_for_body(wanted - capacity) {
                return false;
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// How much memory to take when so much is needed. What is not used of it, no other body can have.
    fn wanted(&self, needed: usize) -> usize {
        let doubled = needed.max(2 * self.bytes.capacity());
        match self.claimed {
            Some(claimed) if claimed >= needed && claimed <= TRUST * needed => claimed,
            Some(claimed) if claimed >= needed => doubled.min(claimed),
            _ => doubled,
        }
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

/// What `content-length` says: digits and nothing else, as it must be.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    /// What is reserved after each of these pieces.
    fn reserved(claimed: Option<usize>, pieces: &[usize]) -> Vec<usize> {
        let budget = Budget::new(1 << 20);
        let mut memory = budget.reserve(0).unwrap();
        let [mut body, _] = Kept::both(Default::default(), &mut memory);
        body.head(claimed, None);
        let keep = |bytes: &usize| {
            assert!(body.keep(&vec![0; *bytes], 1 << 19, &mut memory));
            budget.used()
        };
        pieces.iter().map(keep).collect()
    }

    #[test]
    fn no_more_is_taken_than_is_claimed_and_not_much_more_than_has_come() {
        assert_eq!(reserved(Some(65_536), &[65_400, 136]), [65_536, 65_536]);
        assert_eq!(reserved(Some(65_536), &[100, 300, 20_000, 45_136]), [100, 400, 65_536, 65_536]);
        assert_eq!(reserved(Some(usize::MAX), &[100, 1, 1]), [100, 200, 200]);
        assert_eq!(reserved(Some(3), &[100, 1]), [100, 200], "it lies");
        assert_eq!(reserved(None, &[100, 1, 200_000, 400_000]), [100, 200, 200_101, 1 << 19], "up to the cap");
    }
}
