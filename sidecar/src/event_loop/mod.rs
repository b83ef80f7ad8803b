//! The event loop of a thread that pumps: sockets, timers, and the tasks that wait for them.
//!
//! It is less than a runtime, because a pump needs less: everything stays on one thread, and a task is polled whenever
//! one of its sockets has news, so a socket notes no waker, and an event costs a flag and a place in a queue. A runtime's
//! bookkeeping was an eighth of all instructions that an exchange took (`docs/benchmarks.md`). What is not of the byte path
//! (the shipper, the admin port) runs on tokio.
//!
//! Wakers work as ever, from any thread, so whatever waits without a socket can be awaited here: semaphores, channels,
//! and what runs on a runtime elsewhere.

mod source;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use mio::{Events, Poll, Registry, Token};
use slab::Slab;

use self::source::Ready;
pub(crate) use self::source::Source;
use self::tasks::{Remote, Tasks};
use self::timers::Timers;

/// Events that are taken from the kernel at once; with more, the others come next.
const EVENTS_AT_ONCE: usize = 1024;
/// What another thread's waking comes as.
const WOKEN: Token = Token(usize::MAX);

/// What a loop is made of, before it is on its thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    poll: Poll,
    registry: Registry,
    waker: mio::Waker,
}

/// The loop of this thread.
#[derive(Debug)]
pub(crate) struct EventLoop {
    registry: Registry,
    sources: RefCell<Slab<Rc<Ready>>>,
    tasks: Tasks,
    timers: Timers,
    remote: Arc<Remote>,
}

impl Prepared {
    /// Asks the kernel for what a loop needs.
    ///
    /// # Errors
    /// The system's own: there are no descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WOKEN)?;
        Ok(Self { poll, registry, waker })
    }

    /// Runs a future to its end on this thread, and with it what it spawns. What has not ended then is dropped.
    pub(crate) fn run<F: Future<Output = ()> + 'static>(self, make: impl FnOnce(Rc<EventLoop>) -> F) {
        let Self { mut poll, registry, waker } = self;
        let event_loop = Rc::new(EventLoop {
            registry,
            sources: RefCell::default(),
            tasks: Tasks::default(),
            timers: Timers::default(),
            remote: Arc::new(Remote::new(waker)),
        });
        let is_over = Rc::new(Cell::new(false));
        let main = make(Rc::clone(&event_loop));
        let over = SetWhenDropped(Rc::clone(&is_over));
        event_loop.spawn(async move {
            let _over = over;
            main.await;
        });
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        while !is_over.get() {
            event_loop.wait(&mut poll, &mut events);
            event_loop.timers.wake_due();
            event_loop.tasks.queue_woken(&event_loop.remote);
            event_loop.tasks.run_queued();
        }
        event_loop.tasks.drop_all();
    }
}

impl EventLoop {
    /// Runs a future beside the others. A panic ends it alone.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.tasks.add(Box::pin(future), &self.remote);
    }

    /// Lets the other tasks have their turn.
    pub(crate) async fn others_turn(&self) {
        let mut was_theirs = false;
        poll_fn(|_| {
            if std::mem::replace(&mut was_theirs, true) {
                return std::task::Poll::Ready(());
            }
            self.tasks.queue_running();
            std::task::Poll::Pending
        })
        .await;
    }

    /// Drops all tasks but the one that is running.
    pub(crate) fn drop_others(&self) {
        self.tasks.drop_others();
    }

    /// Waits for events, and queues the tasks that they concern.
    fn wait(&self, poll: &mut Poll, events: &mut Events) {
        let has_more = self.tasks.has_queued() || self.remote.has_woken();
        let timeout = if has_more { Some(std::time::Duration::ZERO) } else { self.timers.until_next() };
        match poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            // There is no argument of it that could be wrong; it must not become a loop that spins in silence.
            Err(error) => {
                tracing::error!(%error, "the kernel cannot be asked for events");
                std::thread::sleep(std::time::Duration::from_millis(100));
                return;
            }
        }
        let sources = self.sources.borrow();
        for event in events.iter() {
            // None is of a socket that is gone: no task has run since the kernel was asked. (Another thread's waking is none's.)
            if let Some(ready) = sources.get(event.token().0) {
                ready.note(event);
                self.tasks.queue(ready.task());
            }
        }
    }
}

/// Says that a future is gone, whether it ended, panicked or was dropped.
struct SetWhenDropped(Rc<Cell<bool>>);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
