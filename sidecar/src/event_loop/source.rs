//! Sockets as the loop knows them: what may be done with each without waiting.
//!
//! The kernel says once when a socket becomes readable or writable (edge-triggered). So each has two flags, set by its
//! events and taken back by a call that found nothing to do.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use mio::event::Event;
use mio::{Interest, Token, event};

use super::EventLoop;
use super::tasks::{Key, NO_TASK};

/// A socket in a loop. It leaves it when it is dropped.
#[derive(Debug)]
pub(crate) struct Source<T: event::Source> {
    io: T,
    key: usize,
    ready: Rc<Ready>,
    event_loop: Rc<EventLoop>,
}

/// What is known of a socket.
#[derive(Debug)]
pub(super) struct Ready {
    is_readable: Cell<bool>,
    /// The other side has ended, so there is no more to wait for: bytes, the end, or an error are there.
    is_read_closed: Cell<bool>,
    is_writable: Cell<bool>,
    /// The one that waited for it last.
    task: Cell<Key>,
}

impl Ready {
    pub(super) fn note(&self, event: &Event) {
        let is_broken = event.is_error() || event.is_write_closed();
        if event.is_read_closed() || event.is_error() {
            self.is_read_closed.set(true);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.is_readable.set(true);
        }
        if event.is_writable() || is_broken {
            self.is_writable.set(true);
        }
    }

    pub(super) fn task(&self) -> Key {
        self.task.get()
    }
}

impl<T: event::Source> Source<T> {
    /// Puts a socket into a loop. One that `is_ready` is tried before it is waited for; one that is just connecting is not.
    ///
    /// # Errors
    /// The system's own: it is no socket that can be waited for, or there is no memory.
    pub(crate) fn new(event_loop: &Rc<EventLoop>, mut io: T, interest: Interest, is_ready: bool) -> io::Result<Self> {
        let ready = Rc::new(Ready {
            is_readable: Cell::new(is_ready),
            is_read_closed: Cell::new(false),
            is_writable: Cell::new(is_ready),
            task: Cell::new(NO_TASK),
        });
        let key = event_loop.sources.borrow_mut().insert(Rc::clone(&ready));
        if let Err(error) = event_loop.registry.register(&mut io, Token(key), interest) {
            event_loop.sources.borrow_mut().try_remove(key);
            return Err(error);
        }
        Ok(Self { io, key, ready, event_loop: Rc::clone(event_loop) })
    }

    pub(crate) fn io(&self) -> &T {
        &self.io
    }

    /// False when nothing has come since the last call that found nothing, whose task will be polled when something does.
    pub(crate) fn may_be_readable(&self) -> bool {
        self.ready.is_readable.get()
    }

    /// Calls what reads, if there may be something; pending when there is nothing.
    pub(crate) fn poll_read_with<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        self.poll_with(&self.ready.is_readable, call)
    }

    /// Says that a read took all there was, which saves the call that would only find that out.
    pub(crate) fn was_emptied(&self) {
        if !self.ready.is_read_closed.get() {
            self.ready.is_readable.set(false);
        }
    }

    /// Calls what writes, if there may be room; pending when there is none.
    pub(crate) fn poll_write_with<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        self.poll_with(&self.ready.is_writable, call)
    }

    fn poll_with<R>(&self, may: &Cell<bool>, mut call: impl FnMut(&T) -> io::Result<R>) -> Poll<io::Result<R>> {
        while may.get() {
            match call(&self.io) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => may.set(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
        self.ready.task.set(self.event_loop.tasks.running());
        Poll::Pending
    }
}

impl<T: event::Source> Drop for Source<T> {
    fn drop(&mut self) {
        // Closing it takes it from the kernel's list, too; a list entry that outlives it would be of no socket.
        self.event_loop.registry.deregister(&mut self.io).ok();
        self.event_loop.sources.borrow_mut().try_remove(self.key);
    }
}
