//! The memory that capture may hold: one number for the process.
//!
//! The allocator keeps what a thread's memory once was at its most, for what comes next there: bodies on the pump's thread,
//! frames on the shipper's. With one limit for both, resident memory came to twice the limit. So each has a part to itself.
//!
//! When it is full, bodies are the first to go: a little of it is for records alone. An exchange without its bodies still
//! says how it ended and how long it took, in a hundredth of the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is not framed yet may take one part in so many.
const UNFRAMED_PART: usize = 4;
/// Of that, one part in so many is no body's: by default a megabyte, which is 3,000 records, or half a second's of a shipper that
/// is kept from its core.
const RECORDS_PART: usize = 16;

/// Bytes that may be held, and that are.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    /// Of that, for what is not framed yet.
    unframed_limit: usize,
    /// What bodies leave free.
    for_records: usize,
    used: AtomicUsize,
    /// Of that, what frames take.
    framed: AtomicUsize,
}

impl Budget {
    /// One for a process that is to hold so many bytes, and an exchange of up to so many.
    pub(crate) fn of_process(bytes: usize, exchange_bytes: usize) -> Arc<Self> {
        let unframed = (bytes / UNFRAMED_PART).max(exchange_bytes);
        // Where there is only just room for such an exchange, its bodies may take all of it.
        let for_records = (unframed / RECORDS_PART).min(unframed - exchange_bytes);
        Self::with_limits(bytes.saturating_sub(unframed).max(unframed), unframed, for_records)
    }

    fn with_limits(limit: usize, unframed_limit: usize, for_records: usize) -> Arc<Self> {
        let (used, framed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { limit, unframed_limit, for_records, used, framed })
    }

    /// One that makes no difference between what is framed and what is not, nor between records and bodies.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Self::with_limits(limit, limit, 0)
    }

    /// Bytes that may be held.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether what is not framed yet takes more than half of its part: it comes faster than it is framed.
    pub(crate) fn is_filling_up(&self) -> bool {
        self.used().saturating_sub(self.framed.load(Ordering::Relaxed)) > self.unframed_limit / 2
    }

    /// Reserves bytes, or says at once that there is no room. It never waits.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        self.take(bytes, 0).then(|| Reservation { budget: Arc::clone(self), bytes, is_framed: false })
    }

    /// Counts bytes that are needed whether there is room or not, such as the buffers of the batch that is compressed.
    /// While that takes the budget past its limit, nothing new is captured.
    pub(crate) fn overdraw(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Reservation { budget: Arc::clone(self), bytes, is_framed: false }
    }

    /// Takes bytes, if so many are left free.
    fn take(&self, bytes: usize, free: usize) -> bool {
        let unframed_limit = self.framed.load(Ordering::Relaxed).saturating_add(self.unframed_limit);
        let limit = self.limit.min(unframed_limit).saturating_sub(free);
        let fits = |used: usize| used.checked_add(bytes).filter(|total| *total <= limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// Bytes taken from the budget; they go back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
    is_framed: bool,
}

impl Reservation {
    /// Makes it a frame's, of so many bytes: what is too much goes back, and what is missing is taken whether there is room
    /// or not.
    pub(crate) fn framed(mut self, bytes: usize) -> Self {
        self.hold_exactly(bytes);
        self.is_framed = true;
        self.budget.framed.fetch_add(bytes, Ordering::Relaxed);
        self
    }

    /// Takes more; false, and nothing taken, when there is no room.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        self.grow_leaving(bytes, 0)
    }

    /// Takes more for a body, which leaves some room to records; false, and nothing taken, when there is none.
    pub(crate) fn grow_for_body(&mut self, bytes: usize) -> bool {
        self.grow_leaving(bytes, self.budget.for_records)
    }

    fn grow_leaving(&mut self, bytes: usize, free: usize) -> bool {
        let taken = self.budget.take(bytes, free);
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    /// Makes two reservations one.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Makes it so many bytes: what is too much goes back, and what is missing is taken whether there is room or not.
    pub(crate) fn hold_exactly(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(missing) => self.budget.used.fetch_add(missing, Ordering::Relaxed),
            None => self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
    }

    /// Takes more or gives back, to hold so many; false, and nothing changed, when there is no room.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.shrink_to(bytes);
        true
    }

    /// Gives back so many bytes.
    pub(crate) fn shrink_by(&mut self, bytes: usize) {
        self.shrink_to(self.bytes.saturating_sub(bytes));
    }

    /// Gives back all but so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        if surplus == 0 {
            return;
        }
        self.budget.used.fetch_sub(surplus, Ordering::Relaxed);
        self.bytes -= surplus;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Most were absorbed by another.
        if self.bytes == 0 {
            return;
        }
        if self.is_framed {
            self.budget.framed.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_gives_more_than_its_limit_and_gets_all_of_it_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(60).unwrap();
        assert!(budget.reserve(41).is_none());
        assert!(first.grow(40) && !first.grow(1));
        first.shrink_by(50);
        assert!(first.resize(60) && !first.resize(101) && first.resize(30));
        first.hold_exactly(200);
        assert_eq!(budget.used(), 200, "what is held is counted, whether there was room or not");
        first.hold_exactly(30);
        let second = budget.reserve(70).unwrap();
        first.absorb(second);
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(usize::MAX).is_none());
        let overdraft = budget.overdraw(150);
        assert!(budget.reserve(1).is_none());
        drop(overdraft);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn bodies_leave_room_for_records_however_many_frames_there_are() {
        let budget = Budget::of_process(6400, 10);
        let mut record = budget.reserve(10).unwrap();
        assert!(!record.grow_for_body(1491) && record.grow_for_body(1490), "fifteen sixteenths of a quarter");
        assert!(!record.grow_for_body(1) && record.grow(100) && !record.grow(1));
        let mut frames = vec![record.framed(1600)];
        frames.extend((0..2).map(|_| budget.reserve(1600).unwrap().framed(1600)));
        assert_eq!(budget.used(), 4800);
        assert!(budget.reserve(1).is_none());
        frames.truncate(2);
        let mut record = budget.reserve(1).unwrap();
        assert!(!record.grow_for_body(1500) && record.grow_for_body(1499) && record.grow(100));
        let tight = Budget::of_process(400, 199);
        assert!(tight.reserve(9).unwrap().grow_for_body(190), "an exchange always fits, with its bodies");
    }

    #[test]
    fn what_is_not_framed_has_a_part_of_it_and_frames_the_rest() {
        let budget = Budget::of_process(400, 10);
        let mut bodies = budget.reserve(50).unwrap();
        assert!(!budget.is_filling_up() && bodies.grow(50) && budget.is_filling_up());
        assert!(budget.reserve(1).is_none(), "a quarter");
        let first = bodies.framed(60);
        assert!(!budget.is_filling_up(), "however many frames there are");
        assert_eq!(budget.used(), 60);
        let frames: Vec<Reservation> = (0..3).map(|_| budget.reserve(100).unwrap().framed(50)).collect();
        assert_eq!(budget.used(), 210);
        assert!(budget.reserve(91).is_none() && budget.reserve(90).is_some(), "three quarters in all");
        drop((first, frames));
        assert_eq!((budget.used(), budget.framed.load(Ordering::Relaxed)), (0, 0));
        assert!(Budget::of_process(400, 150).reserve(150).is_some(), "an exchange always fits");
    }
}
