//! Batches that were stored a moment ago, as they were decoded to be checked.
//!
//! A batch is decoded before it is acknowledged, and what comes of it is what the pipeline wants next. It is handed over here
//! once it is durable, so that hardly a batch is decoded twice. The journal stays the truth: what is not here is read from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use driftline_protocol::{Batch, Exchange};

/// Memory that batches may take here. What comes when it is taken is decoded again.
const MAX_BYTES: usize = 24 << 20;
/// What an exchange takes besides its bytes: itself, and its texts' allocations.
const EXCHANGE_BYTES: usize = size_of::<Exchange>() + 256;

/// The hand-over. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fresh {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    /// Batches and the bytes that they take, by their position.
    batches: BTreeMap<i64, (Batch, usize)>,
    bytes: usize,
    /// Nobody asks for batches up to here any more.
    taken_through: i64,
}

impl Fresh {
    /// Hands over a batch of so many bytes that is durable at this position, if there is room and it is not too late.
    pub(crate) fn put(&self, position: i64, batch: Batch, raw_bytes: usize) {
        let bytes = raw_bytes + batch.exchanges.len() * EXCHANGE_BYTES;
        if let Ok(mut held) = self.held.lock()
            && position > held.taken_through
            && held.bytes + bytes <= MAX_BYTES
        {
            held.bytes += bytes;
            held.batches.insert(position, (batch, bytes));
        }
    }

    /// The batch of a position, if it is here. Those before it are not asked for any more.
    pub(crate) fn take(&self, position: i64) -> Option<Batch> {
        let mut held = self.held.lock().ok()?;
        held.taken_through = held.taken_through.max(position);
        while let Some(first) = held.batches.first_entry().filter(|first| *first.key() <= position) {
            let (at, (batch, bytes)) = first.remove_entry();
            held.bytes -= bytes;
            if at == position {
                return Some(batch);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first_sequence: u64) -> Batch {
        Batch { first_sequence, exchanges: vec![Exchange::default()], ..Batch::default() }
    }

    #[test]
    fn a_batch_is_handed_over_once_and_not_to_those_who_have_gone_on() {
        let fresh = Fresh::default();
        for position in 1..=4 {
            fresh.put(position, batch(position as u64), 100);
        }
        assert_eq!(fresh.take(2), Some(batch(2)));
        assert_eq!((fresh.take(1), fresh.take(2)), (None, None));
        assert_eq!(fresh.take(3), Some(batch(3)));
        assert_eq!(fresh.take(5), None);
        fresh.put(5, batch(5), 100);
        assert_eq!(fresh.take(5), None, "it came too late");
        assert_eq!(fresh.held.lock().unwrap().bytes, 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_left_to_the_journal() {
        let fresh = Fresh::default();
        for position in 1..=10 {
            fresh.put(position, batch(position as u64), MAX_BYTES / 4);
        }
        assert_eq!((1..=10).filter(|position| fresh.take(*position).is_some()).count(), 3);
        fresh.put(11, batch(11), MAX_BYTES / 4);
        assert!(fresh.take(11).is_some(), "there is room again");
    }
}
