//! One connection's reader: it finds out which protocol is spoken, and lets that one's reader follow.

use std::sync::Arc;

use driftline_protocol::EndState;

use super::buffer::Buffer;
use super::capture::{CaptureLimits, Finished};
use super::http1::{Http1, Upgraded};
use super::http2::Http2;
use super::{Moment, Side, Unreadable};
use crate::budget::Budget;

/// What a client that speaks HTTP/2 begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// What a server may send before its client has begun: HTTP/2 settings, and what goes with them.
const MAX_EARLY_BYTES: usize = 4 << 10;
/// A server that closes within this time of its caller's last byte does so because of that: most take it for a
/// cancellation. One that closes later failed.
const REACTION_MICROS: u64 = 1_000_000;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Both sides said that they were done.
    Closed,
    /// This side was reset, or took no more.
    Reset(Side),
    /// The sidecar ended it.
    Stopped,
}

/// Follows the bytes of one connection, and hands out its exchanges as they finish.
#[derive(Debug)]
pub(crate) struct Reader {
    limits: CaptureLimits,
    protocol: Protocol,
    /// When the client said that it is done, and whether a request was on its way.
    client_ended: Option<(Moment, bool)>,
}

#[derive(Debug)]
enum Protocol {
    Unknown(Sniffer),
    Http1(Http1),
    Http2(Box<Http2>),
}

/// The beginning of a connection, until it is known what is spoken.
#[derive(Debug, Default)]
struct Sniffer {
    /// Bytes of HTTP/2's preface that have passed.
    preface_bytes: usize,
    began: Option<Moment>,
    /// What the server sent before the client had said enough.
    early: Buffer,
}

impl Reader {
    pub(crate) fn new(limits: CaptureLimits) -> Self {
        Self { limits, protocol: Protocol::Unknown(Sniffer::default()), client_ended: None }
    }

    /// Whether nothing is on its way in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.protocol {
            Protocol::Unknown(sniffer) => sniffer.preface_bytes == 0,
            Protocol::Http1(http1) => http1.is_idle(),
            Protocol::Http2(http2) => http2.is_idle(),
        }
    }

    /// Whether something was asked, and every request that began has passed whole.
    pub(crate) fn awaits_answer(&self) -> bool {
        let is_known = !matches!(self.protocol, Protocol::Unknown(_));
        is_known && !self.is_idle() && self.is_between_requests()
    }

    fn is_between_requests(&self) -> bool {
        match &self.protocol {
            Protocol::Unknown(_) => true,
            Protocol::Http1(http1) => http1.is_between_requests(),
            Protocol::Http2(http2) => http2.is_between_requests(),
        }
    }

    /// Bytes that a side sent, after they were sent on.
    pub(crate) fn bytes(
        &mut self,
        side: Side,
        bytes: &[u8],
        now: Moment,
        finished: &mut Finished,
    ) -> Result<(), Unreadable> {
        let result = match side {
            Side::Client => self.request_bytes(bytes, now, finished),
            Side::Upstream => self.response_bytes(bytes, now, finished),
        };
        if result.is_err() {
            self.abandon(EndState::Unreadable, now, finished);
        }
        result
    }

    /// A side has sent its last byte. What waits for the server's next one fails.
    pub(crate) fn side_ended(&mut self, side: Side, now: Moment, finished: &mut Finished) {
        match side {
            Side::Client => {
                self.client_ended = Some((now, !self.is_between_requests()));
            }
            Side::Upstream => {
                if let Protocol::Http1(http1) = &mut self.protocol {
                    http1.response_end(now, &self.limits, finished);
                }
                self.abandon(self.end_by_server(now), now, finished);
            }
        }
    }

    /// The connection is over, and so is whatever was on its way.
    pub(crate) fn connection_over(&mut self, over: Over, now: Moment, finished: &mut Finished) {
        let end = match over {
            Over::Closed => self.end_by_server(now),
            Over::Reset(Side::Upstream) => EndState::UpstreamError,
            Over::Reset(Side::Client) | Over::Stopped => EndState::Cancelled,
        };
        self.abandon(end, now, finished);
    }

    /// How an exchange ended that the server closed its side on.
    fn end_by_server(&self, now: Moment) -> EndState {
        match self.client_ended {
            Some((_, true)) => EndState::Cancelled,
            Some((at, false)) if now.micros.saturating_sub(at.micros) < REACTION_MICROS => EndState::Cancelled,
            _ => EndState::UpstreamError,
        }
    }

    fn abandon(&mut self, end: EndState, now: Moment, finished: &mut Finished) {
        match &mut self.protocol {
            Protocol::Unknown(_) => {}
            Protocol::Http1(http1) => http1.abandon(end, now, finished),
            Protocol::Http2(http2) => http2.abandon(end, now, finished),
        }
    }

    fn request_bytes(&mut self, bytes: &[u8], now: Moment, finished: &mut Finished) -> Result<(), Unreadable> {
        match &mut self.protocol {
            Protocol::Http1(http1) => http1.request_bytes(bytes, now, &self.limits, finished),
            Protocol::Http2(http2) => http2.request_bytes(bytes, now, &self.limits, finished),
            Protocol::Unknown(sniffer) => {
                let seen = sniffer.preface_bytes;
                let Some(found) = sniffer.request_bytes(bytes, now)? else { return Ok(()) };
                let (began, early) = (sniffer.began.unwrap_or(now), std::mem::take(&mut sniffer.early));
                let (seen, rest) = match found {
                    Found::Http1 => {
                        self.protocol = Protocol::Http1(Http1::new());
                        (&PREFACE[..seen], bytes)
                    }
                    Found::Http2(rest) => {
                        self.protocol = Protocol::Http2(Box::new(Http2::with_prior_knowledge()));
                        (&[][..], rest)
                    }
                };
                self.response_bytes(early.bytes(), now, finished)?;
                self.request_bytes(seen, began, finished)?;
                self.request_bytes(rest, now, finished)
            }
        }
    }

    fn response_bytes(&mut self, bytes: &[u8], now: Moment, finished: &mut Finished) -> Result<(), Unreadable> {
        let upgraded = match &mut self.protocol {
            Protocol::Http1(http1) => http1.response_bytes(bytes, now, &self.limits, finished)?,
            Protocol::Http2(http2) => return http2.response_bytes(bytes, now, &self.limits, finished),
            Protocol::Unknown(sniffer) => return sniffer.response_bytes(bytes, &self.limits.budget),
        };
        let Some(Upgraded { capture, bytes }) = upgraded else { return Ok(()) };
        self.protocol = Protocol::Http2(Box::new(Http2::upgraded(capture)));
        self.response_bytes(bytes, now, finished)
    }
}

/// What is spoken.
enum Found<'a> {
    Http1,
    /// HTTP/2, with what followed the preface.
    Http2(&'a [u8]),
}

impl Sniffer {
    fn request_bytes<'a>(&mut self, bytes: &'a [u8], now: Moment) -> Result<Option<Found<'a>>, Unreadable> {
        if self.preface_bytes == 0 && bytes.first() == Some(&TLS_HANDSHAKE) {
            return Err(Unreadable::Tls);
        }
        let missing = &PREFACE[self.preface_bytes..];
        let (begin, rest) = bytes.split_at(bytes.len().min(missing.len()));
        if !missing.starts_with(begin) {
            return Ok(Some(Found::Http1));
        }
        self.began.get_or_insert(now);
        self.preface_bytes += begin.len();
        Ok((begin.len() == missing.len()).then_some(Found::Http2(rest)))
    }

    /// Keeps what a server sends first. Only HTTP/2 allows it, and only to begin with a SETTINGS frame.
    fn response_bytes(&mut self, bytes: &[u8], budget: &Arc<Budget>) -> Result<(), Unreadable> {
        self.early.extend(bytes, budget)?;
        let is_settings = match self.early.bytes() {
            [] => true,
            [0] | [0, _] | [0, _, _] | [0, _, _, 4, ..] => self.early.bytes().len() <= MAX_EARLY_BYTES,
            _ => false,
        };
        if is_settings { Ok(()) } else { Err(Unreadable::UnexpectedResponse) }
    }
}
