//! Records that were encoded, and whose memory the next ones use.
//!
//! Most are encoded by the pump's thread that made them, and their memory is then still in its cache. A record that goes
//! to the shipper whole is let go on that thread. Allocators are at their slowest then: a third of what capture cost the
//! pump was finding memory that another thread had freed. So whoever encodes a record puts it here, emptied, and the
//! readers take it. It is bounded, never waited for, and an empty one only means that memory is allocated.

use std::sync::Mutex;

use driftline_protocol::{Body, Exchange, Header};
use prost::Message;

use crate::handover::try_lock;

/// Records that are kept: twice what comes in one tick of the shipper under full load.
const MAX_SPARES: usize = 256;
/// A body that is larger is let go with its record; so 256 records hold a few megabytes at most.
const MAX_BODY_BYTES: usize = 4 << 10;
/// Texts that are longer are let go as well.
const MAX_TEXT_BYTES: usize = 256;

/// An emptied record. Nothing of what it held can be read from it; only the memory is there.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub(crate) exchange: Box<Exchange>,
    /// Emptied header lines, to be overwritten.
    pub(crate) request_headers: SpareHeaders,
    pub(crate) response_headers: SpareHeaders,
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
}

/// Emptied records that wait to be used. The one that came last goes first: it is in a cache.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    waiting: Mutex<Vec<Spare>>,
}

impl Spares {
    /// An emptied record, or a new one.
    pub(crate) fn take(&self) -> Spare {
        try_lock(&self.waiting).and_then(|mut waiting| waiting.pop()).unwrap_or_default()
    }

    /// Empties a record and keeps it, if there is room.
    pub(crate) fn give(&self, exchange: Box<Exchange>) {
        let spare = Spare::of(exchange);
        if let Some(mut waiting) = try_lock(&self.waiting).filter(|waiting| waiting.len() < MAX_SPARES) {
            waiting.push(spare);
        }
    }
}

impl Spare {
    fn of(mut exchange: Box<Exchange>) -> Self {
        let request_headers = SpareHeaders::of(std::mem::take(&mut exchange.request_headers));
        let response_headers = SpareHeaders::of(std::mem::take(&mut exchange.response_headers));
        let (request, response) = (buffer(exchange.request.take()), buffer(exchange.response.take()));
        // Where it lies: moving half a kilobyte out and in costs as much as all the rest.
        exchange.clear();
        let Exchange { request_id, traceparent, method, target, protocol, .. } = &mut *exchange;
        [request_id, traceparent, method, target, protocol].into_iter().for_each(empty);
        Self { exchange, request_headers, response_headers, request, response }
    }
}

/// Empties a text, and lets go of its memory if that is much.
fn empty(text: &mut String) {
    text.clear();
    if text.capacity() > MAX_TEXT_BYTES {
        *text = String::new();
    }
}

/// The memory of a body, if nobody else reads it.
fn buffer(body: Option<Body>) -> Vec<u8> {
    let Some(Body { content, .. }) = body else { return Vec::new() };
    // One that somebody else reads would be copied.
    if content.is_empty() || content.len() > MAX_BODY_BYTES || !content.is_unique() {
        return Vec::new();
    }
    let mut buffer = Vec::from(content);
    if buffer.capacity() > 2 * MAX_BODY_BYTES {
        return Vec::new();
    }
    buffer.clear();
    buffer
}

/// Header lines to be overwritten: a list, and how many of it are in use.
#[derive(Debug, Default)]
pub(crate) struct SpareHeaders {
    lines: Vec<Header>,
    used: usize,
}

impl SpareHeaders {
    fn of(mut lines: Vec<Header>) -> Self {
        for line in &mut lines {
            empty(&mut line.name);
            empty(&mut line.value);
        }
        Self { lines, used: 0 }
    }

    /// How many lines were written.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Writes the next line.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        match self.lines.get_mut(self.used) {
            Some(line) => {
                line.name.push_str(name);
                line.value.push_str(value);
            }
            None => self.lines.push(Header { name: name.to_owned(), value: value.to_owned() }),
        }
        self.used += 1;
    }

    /// The lines that were written.
    pub(crate) fn into_lines(mut self) -> Vec<Header> {
        self.lines.truncate(self.used);
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Box<Exchange> {
        let body = |text: &'static str| Some(Body { content: text.as_bytes().to_vec().into(), size: 9, redaction: 1 });
        let header = || Header { name: "content-type".into(), value: "secret".into() };
        Box::new(Exchange {
            sequence: 7,
            request_id: "secret".into(),
            target: "/secret".into(),
            status: 200,
            weight: 3,
            request_headers: vec![header(), header()],
            response_headers: vec![header()],
            request: body("secret"),
            response: body("secret"),
            ..Exchange::default()
        })
    }

    #[test]
    fn nothing_of_what_a_record_held_is_in_what_becomes_of_it() {
        let spares = Spares::default();
        spares.give(full());
        let mut spare = spares.take();
        assert_eq!(*spare.exchange, Exchange::default());
        assert!(spare.request.is_empty() && spare.response.is_empty());
        assert!(spare.request.capacity() >= 6 && spare.exchange.target.capacity() > 0, "its memory is there");
        spare.request_headers.push("a", "b");
        let line = Header { name: "a".into(), value: "b".into() };
        assert_eq!((spare.request_headers.into_lines(), spare.response_headers.into_lines()), (vec![line], Vec::new()));
    }

    #[test]
    fn it_keeps_so_many_and_none_that_is_large() {
        let spares = Spares::default();
        (0..MAX_SPARES + 9).for_each(|_| spares.give(full()));
        assert_eq!(spares.waiting.lock().unwrap().len(), MAX_SPARES);
        let mut large = full();
        large.request = Some(Body { content: vec![0; MAX_BODY_BYTES + 1].into(), ..Body::default() });
        large.target = "x".repeat(2000);
        let spare = Spare::of(large);
        assert_eq!((spare.request.capacity(), spare.exchange.target.capacity()), (0, 0));
        assert_eq!(spares.take().request.capacity(), 6);
    }
}
