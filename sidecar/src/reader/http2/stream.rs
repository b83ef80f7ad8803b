//! The streams of a connection that are open, each with what is kept of its exchange.

use crate::reader::capture::Capture;

/// Most streams that are followed at a time. Servers commonly allow 100 to 250; one costs little until it is captured, and
/// then the budget bounds it.
const MAX_OPEN_STREAMS: usize = 1024;

/// One request and what comes back.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// None when nobody asked to capture it, or it could not be kept.
    pub(super) capture: Option<Capture>,
    pub(super) request_ended: bool,
    /// The response's final head has come.
    pub(super) answered: bool,
    pub(super) response_ended: bool,
}

/// Open streams, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Vec<Stream>,
    /// The client's highest number so far.
    last: u32,
    /// Some stream could not be followed: whether it is over is not known.
    lost_track: bool,
}

impl Streams {
    /// Whether none is known to be open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && !self.lost_track
    }

    /// Whether every request that began has passed whole.
    pub(super) fn all_requests_ended(&self) -> bool {
        !self.lost_track && self.open.iter().all(|stream| stream.request_ended)
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id).ok()?;
        self.open.get_mut(place)
    }

    /// Whether a client's HEADERS frame opens a stream: its numbers are odd and only grow (RFC 9113, section 5.1.1).
    pub(super) fn is_new(&self, id: u32) -> bool {
        id % 2 == 1 && id > self.last
    }

    /// Notes that a stream was opened. False when there is no room to follow it.
    pub(super) fn has_room_for(&mut self, id: u32) -> bool {
        self.last = self.last.max(id);
        let has_room = self.open.len() < MAX_OPEN_STREAMS;
        self.lost_track |= !has_room;
        has_room
    }

    pub(super) fn open(&mut self, id: u32, capture: Option<Capture>) {
        self.last = self.last.max(id);
        let stream = Stream { id, capture, request_ended: false, answered: false, response_ended: false };
        self.open.push(stream);
    }

    pub(super) fn close(&mut self, id: u32) -> Option<Stream> {
        let place = self.place(id).ok()?;
        let stream = self.open.remove(place);
        if self.open.is_empty() {
            // An idle connection keeps nothing of its busiest time.
            self.open.shrink_to(1);
        }
        Some(stream)
    }

    /// Closes all streams whose number is higher.
    pub(super) fn close_after(&mut self, last: u32) -> impl Iterator<Item = Stream> {
        let place = self.open.partition_point(|stream| stream.id <= last);
        self.open.drain(place..)
    }

    pub(super) fn close_all(&mut self) -> impl Iterator<Item = Stream> {
        self.lost_track = false;
        self.open.drain(..)
    }

    fn place(&self, id: u32) -> Result<usize, usize> {
        self.open.binary_search_by_key(&id, |stream| stream.id)
    }
}
