//! HTTP/2 (RFC 9113): streams from the frames of both directions.
//!
//! ```text
//!   client bytes ──▶ Frames ──block──▶ Decoder ──fields──▶ ┐
//!                       └─────data, end, reset───────────▶ ├─▶ Streams ──▶ Captured
//!   server bytes ──▶ Frames ──block──▶ Decoder ──fields──▶ ┘
//! ```
//!
//! Every header block is decoded, whatever stream it belongs to: the next one may refer to it.

mod frame;
mod hpack;
mod huffman;
#[cfg(test)]
mod recorded_tests;
mod static_table;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use driftline_protocol::EndState;

use self::frame::{Events, FIRST_MAX_FRAME_BYTES, Frames, Settings};
use self::hpack::{Decoder, FieldList};
use self::stream::{Stream, Streams};
use super::capture::{Capture, CaptureLimits, Captured, Fields, Finished};
use super::connection::PREFACE;
use super::{Moment, Unreadable};
use crate::budget::Reservation;
use crate::rules::with_rules;

/// SETTINGS frames that may wait for their acknowledgement.
const MAX_UNACKNOWLEDGED: usize = 16;
/// The error by which a side says that nothing went wrong.
const NO_ERROR: u32 = 0;

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Http2 {
    /// Bytes of the client's preface that have passed.
    preface_bytes: usize,
    client: Half,
    server: Half,
    streams: Streams,
    fields: FieldList,
}

/// What one side sends, and what it allows the other to send.
#[derive(Debug)]
struct Half {
    frames: Frames,
    headers: Headers,
    allowed: Allowed,
}

/// The header table of what a side sends, with its memory.
#[derive(Debug)]
struct Headers {
    decoder: Decoder,
    reservation: Option<Reservation>,
}

#[derive(Debug)]
struct Allowed {
    max_frame_bytes: u32,
    /// Sizes of the header table in SETTINGS that the other side has not acknowledged.
    table_bytes: VecDeque<Option<u32>>,
}

impl Http2 {
    /// A connection on which the client said so at its beginning, and its preface has passed.
    pub(super) fn with_prior_knowledge() -> Self {
        Self {
            preface_bytes: PREFACE.len(),
            client: Half::new(),
            server: Half::new(),
            streams: Streams::default(),
            fields: FieldList::default(),
        }
    }

    /// A connection that HTTP/1.1 turned to it: its request is stream 1, and the client's preface is to come.
    pub(super) fn upgraded(capture: Option<Capture>) -> Self {
        let mut upgraded = Self { preface_bytes: 0, ..Self::with_prior_knowledge() };
        upgraded.streams.open(1, capture);
        if let Some(stream) = upgraded.streams.get(1) {
            stream.request_ended = true;
        }
        upgraded
    }

    /// Whether no stream is open, and none about to be.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.client.frames.is_between_frames()
    }

    /// Whether every request that began has passed whole.
    pub(super) fn is_between_requests(&self) -> bool {
        self.streams.all_requests_ended() && self.client.frames.is_between_frames()
    }

    pub(super) fn request_bytes(
        &mut self,
        mut bytes: &[u8],
        now: Moment,
        limits: &CaptureLimits,
        finished: &mut Finished,
    ) -> Result<(), Unreadable> {
        if self.preface_bytes < PREFACE.len() {
            let missing = &PREFACE[self.preface_bytes..];
            let (preface, rest) = bytes.split_at(bytes.len().min(missing.len()));
            if !missing.starts_with(preface) {
                return Err(Unreadable::Malformed);
            }
            self.preface_bytes += preface.len();
            bytes = rest;
        }
        let Self { client, server, streams, fields, .. } = self;
        let Half { frames, headers, allowed } = client;
        let max_frame_bytes = server.allowed.max_frame_bytes;
        let own =
            Shared { headers, allowed, allowed_here: &mut server.allowed, streams, fields, limits, now, finished };
        frames.feed(bytes, now, max_frame_bytes, &limits.budget, &mut Requests(own))
    }

    pub(super) fn response_bytes(
        &mut self,
        bytes: &[u8],
        now: Moment,
        limits: &CaptureLimits,
        finished: &mut Finished,
    ) -> Result<(), Unreadable> {
        let Self { client, server, streams, fields, .. } = self;
        let Half { frames, headers, allowed } = server;
        let max_frame_bytes = client.allowed.max_frame_bytes;
        let own =
            Shared { headers, allowed, allowed_here: &mut client.allowed, streams, fields, limits, now, finished };
        frames.feed(bytes, now, max_frame_bytes, &limits.budget, &mut Responses(own))
    }

    /// What has not ended gets this state, unless it was answered whole.
    pub(super) fn abandon(&mut self, end: EndState, now: Moment, finished: &mut Finished) {
        finished.extend(self.streams.close_all().filter_map(|stream| stream.finish(end, now)));
    }
}

impl Half {
    fn new() -> Self {
        Self {
            frames: Frames::default(),
            headers: Headers { decoder: Decoder::new(), reservation: None },
            allowed: Allowed { max_frame_bytes: FIRST_MAX_FRAME_BYTES, table_bytes: VecDeque::new() },
        }
    }
}

impl Headers {
    fn decode(&mut self, block: &[u8], fields: &mut FieldList, limits: &CaptureLimits) -> Result<(), Unreadable> {
        self.decoder.decode(block, fields)?;
        // The table is small and changes little: it is charged after the fact.
        let bytes = self.decoder.table_bytes();
        let is_reserved = match &mut self.reservation {
            Some(reservation) => reservation.resize(bytes),
            none => {
                *none = limits.budget.reserve(bytes);
                none.is_some()
            }
        };
        if is_reserved { Ok(()) } else { Err(Unreadable::Budget) }
    }
}

/// What either direction's frames act on.
struct Shared<'a> {
    headers: &'a mut Headers,
    /// What the sender of these frames allows the other side, and what that side allows it.
    allowed: &'a mut Allowed,
    allowed_here: &'a mut Allowed,
    streams: &'a mut Streams,
    fields: &'a mut FieldList,
    limits: &'a CaptureLimits,
    now: Moment,
    finished: &'a mut Finished,
}

impl Shared<'_> {
    /// Decodes a block, and forgets its fields once somebody has looked at them: an idle connection keeps no list of them.
    fn look_at(&mut self, block: &[u8], look: impl FnOnce(&mut Self)) -> Result<(), Unreadable> {
        self.headers.decode(block, self.fields, self.limits)?;
        look(self);
        self.fields.clear();
        Ok(())
    }

    /// Begins an exchange with the fields that the client has sent.
    fn request_head(&mut self, id: u32, began: Moment) {
        let Shared { streams, fields, limits, .. } = self;
        // Others are trailers, or belong to a stream that is closed.
        if !streams.is_new(id) {
            return;
        }
        let (mut method, mut path) = ("", "");
        for (name, value) in fields.fields().take_while(|(name, _)| name.starts_with(':')) {
            match name {
                ":method" => method = std::str::from_utf8(value).unwrap_or_default(),
                ":path" => path = std::str::from_utf8(value).unwrap_or_default(),
                _ => {}
            }
        }
        with_rules(&limits.rules, |rules| {
            let route = rules.route(method, path);
            match streams.make_room_for(id, &limits.budget) {
                Ok(()) => {
                    let begin = |route| Capture::begin(limits, rules, route, (method, path), &**fields, began);
                    streams.open(id, route.and_then(begin));
                }
                Err(reason) if route.is_some() => limits.accounts.ticket().dropped(reason),
                Err(_) => {}
            }
        });
    }

    /// Gives an exchange the fields that the server has sent: its answer's, or its trailers.
    fn response_head(&mut self, id: u32, began: Moment) {
        let Shared { streams, fields, limits, .. } = self;
        let Some(stream) = streams.get(id) else { return };
        let status = fields.fields().find(|(name, _)| *name == ":status").map(|(_, value)| value);
        let status = status.and_then(|value| std::str::from_utf8(value).ok()?.parse::<u16>().ok()).unwrap_or(0);
        if !stream.answered && (100..200).contains(&status) {
            return;
        }
        let is_final = !std::mem::replace(&mut stream.answered, true);
        let Some(capture) = &mut stream.capture else { return };
        with_rules(&limits.rules, |rules| {
            if is_final {
                capture.response_head(status, &**fields, began, rules);
            } else {
                capture.response_trailers(&**fields, rules);
            }
        });
    }

    fn settings(&mut self, settings: Settings) -> Result<(), Unreadable> {
        if self.allowed.table_bytes.len() == MAX_UNACKNOWLEDGED {
            return Err(Unreadable::Malformed);
        }
        self.allowed.table_bytes.push_back(settings.header_table_bytes);
        // A lower one holds from its acknowledgement on; being late with it only allows more.
        let max_frame_bytes = settings.max_frame_bytes.unwrap_or(0);
        self.allowed.max_frame_bytes = self.allowed.max_frame_bytes.max(max_frame_bytes);
        Ok(())
    }

    fn settings_acknowledged(&mut self) {
        if let Some(Some(table_bytes)) = self.allowed_here.table_bytes.pop_front() {
            self.headers.decoder.allow(table_bytes as usize);
        }
    }

    fn close(&mut self, stream: u32, end: EndState) {
        let closed = self.streams.close(stream).and_then(|stream| stream.finish(end, self.now));
        self.finished.extend(closed);
    }

    /// Closes a stream if both its sides are over.
    fn close_if_over(&mut self, id: u32) {
        if self.streams.get(id).is_some_and(|stream| stream.request_ended && stream.response_ended) {
            self.close(id, EndState::Complete);
        }
    }
}

struct Requests<'a>(Shared<'a>);

impl Events for Requests<'_> {
    fn headers(&mut self, id: u32, block: &[u8], began: Moment) -> Result<(), Unreadable> {
        self.0.look_at(block, |shared| shared.request_head(id, began))
    }

    fn push_promise(&mut self, block: &[u8]) -> Result<(), Unreadable> {
        self.0.look_at(block, |_| {})
    }

    fn data(&mut self, id: u32, bytes: &[u8]) {
        let Shared { streams, limits, now, .. } = &mut self.0;
        if let Some(capture) = streams.get(id).and_then(|stream| stream.capture.as_mut()) {
            capture.request_body(bytes, *now, limits);
        }
    }

    fn end(&mut self, id: u32) {
        let Shared { streams, now, .. } = &mut self.0;
        let Some(stream) = streams.get(id).filter(|stream| !stream.request_ended) else { return };
        stream.request_ended = true;
        if let Some(capture) = &mut stream.capture {
            capture.request_end(*now);
        }
        self.0.close_if_over(id);
    }

    fn reset(&mut self, id: u32, _error: u32) {
        self.0.close(id, EndState::Cancelled);
    }

    fn go_away(&mut self, _last_stream: u32) {
        // A client's speaks of pushed streams.
    }

    fn settings(&mut self, settings: Settings) -> Result<(), Unreadable> {
        self.0.settings(settings)
    }

    fn settings_acknowledged(&mut self) {
        self.0.settings_acknowledged();
    }
}

struct Responses<'a>(Shared<'a>);

impl Events for Responses<'_> {
    fn headers(&mut self, id: u32, block: &[u8], began: Moment) -> Result<(), Unreadable> {
        self.0.look_at(block, |shared| shared.response_head(id, began))
    }

    fn push_promise(&mut self, block: &[u8]) -> Result<(), Unreadable> {
        self.0.look_at(block, |_| {})
    }

    fn data(&mut self, id: u32, bytes: &[u8]) {
        let Shared { streams, limits, now, .. } = &mut self.0;
        if let Some(capture) = streams.get(id).and_then(|stream| stream.capture.as_mut()) {
            capture.response_body(bytes, *now, limits);
        }
    }

    fn end(&mut self, id: u32) {
        let Shared { streams, now, .. } = &mut self.0;
        let Some(stream) = streams.get(id).filter(|stream| !stream.response_ended) else { return };
        stream.response_ended = true;
        if let Some(capture) = &mut stream.capture {
            capture.response_end(*now);
        }
        self.0.close_if_over(id);
    }

    fn reset(&mut self, id: u32, error: u32) {
        // With NO_ERROR a server that has answered asks for no more of the request (RFC 9113, section 8.1).
        let Some(stream) = self.0.streams.close(id) else { return };
        let ended = match error {
            NO_ERROR => stream.finish(EndState::UpstreamError, self.0.now),
            _ => stream.finish_as(EndState::UpstreamError, self.0.now),
        };
        self.0.finished.extend(ended);
    }

    fn go_away(&mut self, last_stream: u32) {
        let Shared { streams, finished, now, .. } = &mut self.0;
        let refused = streams.close_after(last_stream);
        finished.extend(refused.filter_map(|stream| stream.finish(EndState::UpstreamError, *now)));
    }

    fn settings(&mut self, settings: Settings) -> Result<(), Unreadable> {
        self.0.settings(settings)
    }

    fn settings_acknowledged(&mut self) {
        self.0.settings_acknowledged();
    }
}

impl Stream {
    /// Ends it in this state, unless it was answered whole.
    fn finish(self, end: EndState, now: Moment) -> Option<Captured> {
        let end = if self.response_ended { EndState::Complete } else { end };
        self.finish_as(end, now)
    }

    fn finish_as(self, end: EndState, now: Moment) -> Option<Captured> {
        Some(self.capture?.finish(end, now))
    }
}
