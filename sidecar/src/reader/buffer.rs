//! Bytes that a reader keeps for itself, while what they belong to has not arrived whole.

use std::sync::Arc;

use super::Unreadable;
use crate::budget::{Budget, Reservation};

/// The least that is allocated.
const FIRST_BYTES: usize = 512;

/// Bytes whose memory is taken from the budget, and given back with them.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    reservation: Option<Reservation>,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds bytes; an error, and none added, when the budget has no room.
    pub(super) fn extend(&mut self, bytes: &[u8], budget: &Arc<Budget>) -> Result<(), Unreadable> {
        let needed = self.bytes.len() + bytes.len();
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let wanted = needed.max(capacity * 2).max(FIRST_BYTES);
            let is_reserved = match &mut self.reservation {
                Some(reservation) => reservation.grow(wanted - capacity),
                none => {
                    *none = budget.reserve(wanted);
                    none.is_some()
                }
            };
            if !is_reserved {
                return Err(Unreadable::Budget);
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
