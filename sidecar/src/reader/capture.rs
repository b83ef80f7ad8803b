//! What is kept of one exchange while it passes.

use std::borrow::Cow;
use std::sync::Arc;

use driftline_protocol::{EndState, Exchange, Header, MAX_TARGET_BYTES, path_of};

use super::Moment;
use super::body::{Kept, content_length};
use super::messages::Cutter;
use super::names::is_named;
use crate::account::{Accounts, DropReason, Ticket};
use crate::budget::{Budget, Reservation};
use crate::rules::{Route, Rules, SharedRules, withhold};
use crate::spares::{Spare, SpareHeaders, Spares};

/// Most headers that travel with each side of an exchange.
const MAX_KEPT_HEADERS: usize = 16;
/// Longest header value that is kept.
const MAX_HEADER_VALUE_BYTES: usize = 256;
/// What a record costs: its own fields, its place in queues, the allocator's rounding, and some text.
const RECORD_BYTES: usize = 1024;
/// Of that, what is left for its texts.
const RECORD_TEXT_BYTES: usize = RECORD_BYTES - size_of::<Captured>() - 128;
/// What a kept header costs besides its own bytes: two strings, and the allocator's rounding of each.
const HEADER_BYTES: usize = size_of::<Header>() + 32;

/// How much capture may keep.
#[derive(Debug, Clone)]
pub(crate) struct CaptureLimits {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) rules: SharedRules,
    pub(crate) spares: Arc<Spares>,
    /// Most bytes kept of each body.
    pub(crate) max_body_bytes: usize,
}

/// A finished exchange on its way to the shipper.
#[derive(Debug)]
pub(crate) struct Captured {
    /// It stays where it is from its first byte to the shipper: it is half a kilobyte.
    pub(crate) exchange: Box<Exchange>,
    pub(crate) ticket: Ticket,
    pub(crate) reservation: Reservation,
}

/// Where finished exchanges are put.
pub(crate) type Finished = Vec<Captured>;

/// A message head's fields, as they stand; names in any case.
pub(super) trait Fields {
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])>;
}

/// An exchange that is passing.
#[derive(Debug)]
pub(super) struct Capture {
    captured: Captured,
    started: Moment,
    request: Kept,
    response: Kept,
    /// Memory for the response's headers.
    response_headers: SpareHeaders,
    /// Bytes of the reservation that no text has used.
    spare: usize,
    bodies: Bodies,
}

/// Whether an exchange's bodies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bodies {
    Kept,
    /// The budget had no room for one of them, so none is.
    GivenUp,
    /// The owner's rules say that none ever leaves, so there is no use for them.
    Withheld,
}

impl Capture {
    /// Begins to capture. None when the budget has no room for the record: the exchange is then counted as dropped.
    pub(super) fn begin(
        limits: &CaptureLimits,
        rules: &Rules,
        route: Route,
        (method, target): (&str, &str),
        fields: &impl Fields,
        started: Moment,
    ) -> Option<Self> {
        // Only the path: a query may hold what nobody allowed to leave the pod.
        let path = prefix(path_of(target), MAX_TARGET_BYTES);
        let ticket = limits.accounts.ticket();
        let Some(reservation) = limits.budget.reserve(RECORD_BYTES + path.len()) else {
            ticket.dropped(DropReason::Budget);
            return None;
        };
        let Spare { mut exchange, request_headers, response_headers, request, response } = limits.spares.take();
        exchange.started_at_micros = started.wall_micros;
        exchange.method.push_str(prefix(method, MAX_HEADER_VALUE_BYTES));
        exchange.target.push_str(path);
        exchange.protocol.push_str(route.protocol.name());
        let head = Head::read(fields, rules, request_headers, Some(&mut exchange));
        let mut capture = Self {
            captured: Captured { exchange, ticket, reservation },
            started,
            request: Kept::default(),
            response: Kept::default(),
            response_headers,
            spare: RECORD_TEXT_BYTES,
            bodies: if rules.keeps_bodies() { Bodies::Kept } else { Bodies::Withheld },
        };
        if !capture.charge(head.bytes) {
            capture.captured.ticket.dropped(DropReason::Budget);
            return None;
        }
        capture.captured.exchange.request_headers = head.kept.into_lines();
        let memory = &mut capture.captured.reservation;
        [capture.request, capture.response] = Kept::both([request, response], memory);
        capture.request.head(head.claimed, head.cutter);
        Some(capture)
    }

    pub(super) fn request_body(&mut self, bytes: &[u8], now: Moment, limits: &CaptureLimits) {
        let Self { captured, started, request, bodies, .. } = self;
        let memory = &mut captured.reservation;
        request.pass(bytes, || micros_between(*started, now), memory);
        if *bodies == Bodies::Kept && !request.keep(bytes, limits.max_body_bytes, memory) {
            self.give_bodies_up();
        }
    }

    pub(super) fn response_body(&mut self, bytes: &[u8], now: Moment, limits: &CaptureLimits) {
        let Self { captured, started, response, bodies, .. } = self;
        let memory = &mut captured.reservation;
        response.pass(bytes, || micros_between(*started, now), memory);
        if *bodies == Bodies::Kept && !response.keep(bytes, limits.max_body_bytes, memory) {
            self.give_bodies_up();
        }
    }

    pub(super) fn request_end(&mut self, now: Moment) {
        let micros = micros_between(self.started, now);
        self.captured.exchange.request_micros = micros;
        self.request.end(|| micros, &mut self.captured.reservation);
    }

    pub(super) fn response_end(&mut self, now: Moment) {
        let started = self.started;
        self.response.end(|| micros_between(started, now), &mut self.captured.reservation);
    }

    pub(super) fn response_head(&mut self, status: u16, fields: &impl Fields, first_byte: Moment, rules: &Rules) {
        let first_byte_micros = micros_between(self.started, first_byte);
        let exchange = &mut self.captured.exchange;
        // An id that the caller did not give may be the server's.
        let ids = exchange.request_id.is_empty().then_some(&mut **exchange);
        let head = Head::read(fields, rules, std::mem::take(&mut self.response_headers), ids);
        let is_kept = self.charge(head.bytes);
        let exchange = &mut self.captured.exchange;
        exchange.status = u32::from(status);
        exchange.first_byte_micros = Some(first_byte_micros);
        if is_kept {
            exchange.response_headers = head.kept.into_lines();
        }
        self.response.head(head.claimed, head.cutter);
    }

    /// Fields that came after the response's body, among them gRPC's status.
    pub(super) fn response_trailers(&mut self, fields: &impl Fields, rules: &Rules) {
        let head = Head::read(fields, rules, SpareHeaders::default(), None);
        if self.charge(head.bytes) {
            let headers = &mut self.captured.exchange.response_headers;
            let room = MAX_KEPT_HEADERS.saturating_sub(headers.len());
            headers.extend(head.kept.into_lines().into_iter().take(room));
        }
    }

    pub(super) fn finish(mut self, end: EndState, now: Moment) -> Captured {
        self.captured.exchange.duration_micros = micros_between(self.started, now);
        let Self { mut captured, request, response, bodies, .. } = self;
        let exchange = &mut captured.exchange;
        let (mut request, request_messages) = request.into_parts();
        let (mut response, response_messages) = response.into_parts();
        if bodies == Bodies::Withheld {
            withhold(&mut request);
            withhold(&mut response);
        }
        exchange.end = match end {
            EndState::Complete if bodies == Bodies::GivenUp => EndState::Budget,
            EndState::Complete if request.is_truncated() || response.is_truncated() => EndState::Truncated,
            end => end,
        }
        .into();
        exchange.request = Some(request);
        exchange.response = Some(response);
        exchange.request_messages = request_messages;
        exchange.response_messages = response_messages;
        captured
    }

    /// Charges a text to the reservation; for want of room, at the bodies' cost. False when there is no room even so.
    fn charge(&mut self, bytes: usize) -> bool {
        if bytes > self.spare {
            let growth = bytes - self.spare;
            if !self.captured.reservation.grow(growth) {
                self.give_bodies_up();
                if !self.captured.reservation.grow(growth) {
                    return false;
                }
            }
            self.spare += growth;
        }
        self.spare -= bytes;
        true
    }

    fn give_bodies_up(&mut self) {
        if self.bodies == Bodies::Kept {
            self.bodies = Bodies::GivenUp;
        }
        let freed = self.request.give_up() + self.response.give_up();
        self.captured.reservation.shrink_by(freed);
    }
}

/// What an exchange keeps of a head.
#[derive(Debug)]
struct Head {
    kept: SpareHeaders,
    cutter: Option<Box<Cutter>>,
    /// How long its body says that it is.
    claimed: Option<usize>,
    /// What the texts cost.
    bytes: usize,
}

impl Head {
    /// Reads a head, and writes its ids into an exchange that has none yet.
    fn read(fields: &impl Fields, rules: &Rules, kept: SpareHeaders, mut ids: Option<&mut Exchange>) -> Self {
        let mut head = Self { kept, cutter: None, claimed: None, bytes: 0 };
        let (mut content_type, mut content_encoding) = (None, None);
        for (name, value) in fields.fields() {
            match name.len() {
                11 if is_named(name, "traceparent") => head.id(ids.as_mut().map(|ids| &mut ids.traceparent), value),
                12 if is_named(name, "content-type") => content_type = content_type.or(Some(value)),
                12 if is_named(name, "x-request-id") => head.id(ids.as_mut().map(|ids| &mut ids.request_id), value),
                14 if is_named(name, "content-length") => {
                    head.claimed = content_length(value).and_then(|length| length.try_into().ok());
                }
                16 if is_named(name, "content-encoding") => content_encoding = Some(value),
                _ => {}
            }
            if head.kept.len() < MAX_KEPT_HEADERS
                && let Some(name) = rules.header(name)
            {
                let value = lossy(value);
                head.bytes += HEADER_BYTES + name.len() + value.len();
                head.kept.push(name, &value);
            }
        }
        head.cutter = content_type.and_then(|kind| Cutter::new(kind, content_encoding)).map(Box::new);
        head.bytes += head.cutter.as_ref().map_or(0, |_| size_of::<Cutter>());
        head
    }

    /// The first value counts.
    fn id(&mut self, text: Option<&mut String>, value: &[u8]) {
        if let Some(text) = text.filter(|text| text.is_empty()) {
            let value = lossy(value);
            self.bytes += value.len();
            text.push_str(&value);
        }
    }
}

fn micros_between(started: Moment, now: Moment) -> u64 {
    now.micros.saturating_sub(started.micros)
}

fn lossy(value: &[u8]) -> Cow<'_, str> {
    // Nearly all bodies are, and a text that is there need not be checked.
    const JSON: &str = "application/json";
    if value == JSON.as_bytes() {
        return Cow::Borrowed(JSON);
    }
    let value = value.get(..MAX_HEADER_VALUE_BYTES).unwrap_or(value);
    // Nearly all values are ASCII, which this check knows quickly.
    std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

/// The longest beginning of a text that has at most so many bytes.
fn prefix(text: &str, bytes: usize) -> &str {
    text.split_at(text.floor_char_boundary(bytes)).0
}
