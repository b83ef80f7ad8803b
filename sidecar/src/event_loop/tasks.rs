//! Tasks: futures that are polled when their sockets have news, or when they are woken.

use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread::ThreadId;

use slab::Slab;

/// A task's place.
pub(super) type Key = usize;
/// The place of none.
pub(super) const NO_TASK: Key = usize::MAX;

/// All tasks of a loop.
#[derive(Debug)]
pub(super) struct Tasks {
    places: RefCell<Slab<Place>>,
    /// Those to poll next, each once.
    queue: RefCell<Vec<Key>>,
    /// An emptied queue, to be used again.
    spare: RefCell<Vec<Key>>,
    running: Cell<Key>,
}

#[derive(Debug)]
struct Place {
    /// None while it runs.
    task: Option<Task>,
    is_queued: bool,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
    woken: Arc<Woken>,
}

/// What threads know of a loop that wake its tasks.
#[derive(Debug)]
pub(super) struct Remote {
    woken: Mutex<Vec<Key>>,
    waker: mio::Waker,
    thread: ThreadId,
}

/// A task's waker.
struct Woken {
    key: Key,
    /// It is in the list already.
    is_listed: AtomicBool,
    remote: Arc<Remote>,
}

impl Default for Tasks {
    fn default() -> Self {
        let (places, queue, spare) = Default::default();
        Self { places, queue, spare, running: Cell::new(NO_TASK) }
    }
}

impl Tasks {
    pub(super) fn add(&self, future: Pin<Box<dyn Future<Output = ()>>>, remote: &Arc<Remote>) {
        let mut places = self.places.borrow_mut();
        let place = places.vacant_entry();
        let key = place.key();
        let woken = Arc::new(Woken { key, is_listed: AtomicBool::new(false), remote: Arc::clone(remote) });
        let waker = Waker::from(Arc::clone(&woken));
        place.insert(Place { task: Some(Task { future, waker, woken }), is_queued: true });
        self.queue.borrow_mut().push(key);
    }

    /// The task that is running.
    pub(super) fn running(&self) -> Key {
        self.running.get()
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Lets a task be polled next.
    pub(super) fn queue(&self, key: Key) {
        if let Some(place) = self.places.borrow_mut().get_mut(key)
            && !mem::replace(&mut place.is_queued, true)
        {
            self.queue.borrow_mut().push(key);
        }
    }

    /// Lets those be polled next that were woken.
    pub(super) fn queue_woken(&self, remote: &Remote) {
        for key in remote.take() {
            if let Some(task) = self.places.borrow().get(key).and_then(|place| place.task.as_ref()) {
                // Read and written in one step: who finds it listed still has done what it wakes for, and that is seen below.
                task.woken.is_listed.swap(false, Ordering::AcqRel);
            }
            self.queue(key);
        }
    }

    /// Polls those that are queued now; what they queue has its turn after the next look at the sockets.
    pub(super) fn run_queued(&self) {
        let mut queued = mem::replace(&mut *self.queue.borrow_mut(), mem::take(&mut *self.spare.borrow_mut()));
        queued.iter().for_each(|key| self.poll(*key));
        queued.clear();
        *self.spare.borrow_mut() = queued;
    }

    fn poll(&self, key: Key) {
        let taken = self.places.borrow_mut().get_mut(key).and_then(|place| {
            place.is_queued = false;
            place.task.take()
        });
        let Some(mut task) = taken else { return };
        self.running.set(key);
        let mut context = Context::from_waker(&task.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut context)));
        self.running.set(NO_TASK);
        match polled {
            Ok(poll) if poll.is_pending() => {
                if let Some(place) = self.places.borrow_mut().get_mut(key) {
                    place.task = Some(task);
                }
            }
            ended => {
                if ended.is_err() {
                    tracing::error!("a task of a pump's thread panicked, and is dropped");
                }
                // Its place is free once nothing of it is left: what it drops may look for its own.
                drop(task);
                self.places.borrow_mut().try_remove(key);
            }
        }
    }

    /// Lets the one that is running be polled again, after the others.
    pub(super) fn queue_running(&self) {
        self.queue(self.running());
    }

    pub(super) fn drop_others(&self) {
        let running = self.running();
        let others: Vec<Key> = self.places.borrow().iter().map(|(key, _)| key).filter(|key| *key != running).collect();
        for key in others {
            let place = self.places.borrow_mut().try_remove(key);
            drop(place);
        }
    }

    pub(super) fn drop_all(&self) {
        self.running.set(NO_TASK);
        self.drop_others();
    }
}

impl Remote {
    /// For the thread that runs the loop.
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self { woken: Mutex::default(), waker, thread: std::thread::current().id() }
    }

    pub(super) fn has_woken(&self) -> bool {
        !self.woken.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> Vec<Key> {
        mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_listed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.remote.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        // The loop's own thread looks at the list before it waits.
        if std::thread::current().id() != self.remote.thread
            && let Err(error) = self.remote.waker.wake()
        {
            tracing::error!(%error, "a pump's thread cannot be woken");
        }
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Task").finish_non_exhaustive()
    }
}
