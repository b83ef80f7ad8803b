//! What is kept of one exchange while it passes.

use std::sync::Arc;
use std::time::Instant;

use driftline_protocol::{Body, EndState, Exchange, Header, MAX_TARGET_BYTES, path_of};

use super::connection::Moment;
use super::http1::{Headers, RequestHead, ResponseHead};
use crate::account::{Accounts, DropReason, Ticket};
use crate::budget::{Budget, Reservation};
use crate::rules::{Route, Rules, SharedRules};

/// Most headers that travel with each side of an exchange.
const MAX_KEPT_HEADERS: usize = 16;
/// Longest header value that is kept.
const MAX_HEADER_VALUE_BYTES: usize = 256;
/// What an exchange costs besides its bodies: its own fields, its place in queues, the allocator's rounding.
const EXCHANGE_BYTES: usize = 1024;
/// A body's first allocation, at most: a claimed length is not yet a received one.
const FIRST_BODY_BYTES: usize = 16 << 10;

/// How much capture may keep.
#[derive(Debug, Clone)]
pub(crate) struct CaptureLimits {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) rules: SharedRules,
    /// Most bytes kept of each body.
    pub(crate) max_body_bytes: usize,
}

/// A finished exchange on its way to the shipper.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) exchange: Exchange,
    pub(crate) ticket: Ticket,
    pub(crate) reservation: Reservation,
}

/// An exchange that is passing.
#[derive(Debug)]
pub(super) struct Capture {
    captured: Captured,
    started: Instant,
    request: Kept,
    response: Kept,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    size: u64,
}

impl Capture {
    /// Begins to capture. None when the budget has no room: the exchange is then counted as dropped.
    pub(super) fn begin(limits: &CaptureLimits, route: Route, head: &RequestHead<'_>, started: Moment) -> Option<Self> {
        // Only the path: a query may hold what nobody allowed to leave the pod.
        let path = path_of(head.target);
        let ticket = limits.accounts.ticket();
        let Some(reservation) = limits.budget.reserve(EXCHANGE_BYTES + path.len().min(MAX_TARGET_BYTES)) else {
            ticket.dropped(DropReason::Budget);
            return None;
        };
        let text = |name: &str| head.headers.first(name).map(lossy).unwrap_or_default();
        let exchange = Exchange {
            request_id: text("x-request-id"),
            traceparent: text("traceparent"),
            started_at_micros: started.wall_micros,
            method: head.method.to_owned(),
            target: prefix(path, MAX_TARGET_BYTES).to_owned(),
            protocol: route.protocol.name().to_owned(),
            request_headers: kept_headers(&head.headers, &limits.rules.load()),
            ..Exchange::default()
        };
        Some(Self {
            captured: Captured { exchange, ticket, reservation },
            started: started.monotonic,
            request: Kept::default(),
            response: Kept::default(),
        })
    }

    pub(super) fn request_body(self, bytes: &[u8], limits: &CaptureLimits) -> Option<Self> {
        self.keep(bytes, limits, |capture| &mut capture.request)
    }

    pub(super) fn response_body(self, bytes: &[u8], limits: &CaptureLimits) -> Option<Self> {
        self.keep(bytes, limits, |capture| &mut capture.response)
    }

    /// Keeps body bytes up to the cap. None when the budget has no room: the exchange is then counted as dropped.
    fn keep(mut self, bytes: &[u8], limits: &CaptureLimits, side: impl Fn(&mut Self) -> &mut Kept) -> Option<Self> {
        let kept = side(&mut self);
        kept.size += bytes.len() as u64;
        let room = limits.max_body_bytes - kept.bytes.len();
        let bytes = &bytes[..bytes.len().min(room)];
        let needed = kept.bytes.len() + bytes.len();
        let capacity = kept.bytes.capacity();
        if needed > capacity {
            let growth =
                needed.max(capacity * 2).max(needed.min(FIRST_BODY_BYTES)).min(limits.max_body_bytes) - capacity;
            if !self.captured.reservation.grow(growth) {
                self.captured.ticket.dropped(DropReason::Budget);
                return None;
            }
            let kept = side(&mut self);
            kept.bytes.reserve_exact(capacity + growth - kept.bytes.len());
        }
        side(&mut self).bytes.extend_from_slice(bytes);
        Some(self)
    }

    pub(super) fn request_end(&mut self, now: Moment) {
        self.captured.exchange.request_micros = self.since_start(now);
    }

    pub(super) fn response_head(&mut self, head: &ResponseHead<'_>, first_byte: Moment, rules: &Rules) {
        let first_byte_micros = self.since_start(first_byte);
        let exchange = &mut self.captured.exchange;
        exchange.status = u32::from(head.status);
        exchange.first_byte_micros = Some(first_byte_micros);
        exchange.response_headers = kept_headers(&head.headers, rules);
        if exchange.request_id.is_empty() {
            exchange.request_id = head.headers.first("x-request-id").map(lossy).unwrap_or_default();
        }
    }

    pub(super) fn finish(mut self, end: EndState, now: Moment) -> Captured {
        self.captured.exchange.duration_micros = self.since_start(now);
        let Self { mut captured, request, response, .. } = self;
        let (request, response) = (request.into_body(), response.into_body());
        let truncated = end == EndState::Complete && (request.is_truncated() || response.is_truncated());
        captured.exchange.end = if truncated { EndState::Truncated } else { end }.into();
        captured.exchange.request = Some(request);
        captured.exchange.response = Some(response);
        captured
    }

    fn since_start(&self, now: Moment) -> u64 {
        now.monotonic.saturating_duration_since(self.started).as_micros() as u64
    }
}

impl Kept {
    fn into_body(self) -> Body {
        Body { content: self.bytes.into(), size: self.size, ..Body::default() }
    }
}

fn kept_headers(headers: &Headers<'_>, rules: &Rules) -> Vec<Header> {
    let kept =
        |(name, value): (&str, &[u8])| Some(Header { name: rules.header(name)?.to_owned(), value: lossy(value) });
    headers.iter().filter_map(kept).take(MAX_KEPT_HEADERS).collect()
}

fn lossy(value: &[u8]) -> String {
    let value = value.get(..MAX_HEADER_VALUE_BYTES).unwrap_or(value);
    String::from_utf8_lossy(value).into_owned()
}

/// The longest beginning of a text that has at most so many bytes.
fn prefix(text: &str, bytes: usize) -> &str {
    text.split_at(text.floor_char_boundary(bytes)).0
}
