//! Timers: a few for each thread, so a sorted list of them will do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::EventLoop;

/// Who waits for which time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<Timer, Waker>>,
    next_number: Cell<u64>,
}

/// When, and a number that tells those of one time apart.
type Timer = (Instant, u64);

/// A time was over before what was awaited.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// Waits for a time.
struct Sleep {
    event_loop: Rc<EventLoop>,
    /// None is never: the time is past all that can be told.
    timer: Option<Timer>,
}

impl Timers {
    /// How long it is until somebody is to be woken; none when nobody waits.
    pub(super) fn until_next(&self) -> Option<Duration> {
        let (at, _) = *self.waiting.borrow().first_key_value()?.0;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Wakes all whose time has come.
    pub(super) fn wake_due(&self) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(first) = waiting.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }
}

impl EventLoop {
    /// Waits for so long.
    pub(crate) fn sleep(self: &Rc<Self>, duration: Duration) -> impl Future<Output = ()> + use<> {
        let number = self.timers.next_number.get();
        self.timers.next_number.set(number + 1);
        let timer = Instant::now().checked_add(duration).map(|at| (at, number));
        Sleep { event_loop: Rc::clone(self), timer }
    }

    /// Waits for a future, and so long at most. It is asked once whatever the time is.
    ///
    /// # Errors
    /// [`Elapsed`] when the time is over first.
    pub(crate) async fn timeout<T>(
        self: &Rc<Self>,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let sleep = pin!(self.sleep(duration));
        tokio::select! {
            biased;
            value = future => Ok(value),
            () = sleep => Err(Elapsed),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(timer) = self.timer else { return Poll::Pending };
        if timer.0 <= Instant::now() {
            return Poll::Ready(());
        }
        self.event_loop.timers.waiting.borrow_mut().insert(timer, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self.event_loop.timers.waiting.borrow_mut().remove(&timer);
            drop(waker);
        }
    }
}
