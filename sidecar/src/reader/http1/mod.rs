//! HTTP/1.1: requests and responses paired in their order.

mod chunked;
mod head;
mod message;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use driftline_protocol::EndState;

use self::head::{Expected, Length, RequestHead, ResponseHead, parse_request, parse_response};
use self::message::{Direction, Messages, Next};
use super::capture::{Capture, CaptureLimits, Captured, Finished};
use super::{Moment, Unreadable};
use crate::rules::with_rules;

/// Requests that may wait for their responses on one connection. Real clients pipeline few or none.
const MAX_PIPELINE: usize = 64;
/// Of those, how many an idle connection keeps room for.
const KEPT_PIPELINE: usize = 4;

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Http1 {
    requests: Direction,
    responses: Direction,
    open: VecDeque<Open>,
    /// An interim (1xx) response is passing.
    interim: bool,
}

/// A connection that turned to HTTP/2 by `101 Switching Protocols`.
#[derive(Debug)]
pub(super) struct Upgraded<'a> {
    /// The request that asked for it, which HTTP/2 answers on stream 1.
    pub(super) capture: Option<Capture>,
    /// The server's first bytes in HTTP/2.
    pub(super) bytes: &'a [u8],
}

/// A request whose exchange is not over.
#[derive(Debug)]
struct Open {
    /// None when nobody asked to capture it, or it could not be kept.
    capture: Option<Capture>,
    without_response_body: bool,
    is_connect: bool,
    request_ended: bool,
    response_ended: bool,
}

impl Http1 {
    pub(super) fn new() -> Self {
        Self { requests: Direction::new(), responses: Direction::new(), open: VecDeque::new(), interim: false }
    }

    /// Whether nothing is on its way in either direction.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.is_between_requests() && self.responses.is_between_messages()
    }

    /// Whether every request that began has passed whole.
    pub(super) fn is_between_requests(&self) -> bool {
        self.requests.is_between_messages()
    }

    pub(super) fn request_bytes(
        &mut self,
        bytes: &[u8],
        now: Moment,
        limits: &CaptureLimits,
        finished: &mut Finished,
    ) -> Result<(), Unreadable> {
        let Self { requests, open, .. } = self;
        requests.feed(bytes, now, &limits.budget, &mut Requests { limits, open, now, finished }).map(|_| ())
    }

    /// Follows the server's bytes. They may turn to HTTP/2.
    pub(super) fn response_bytes<'a>(
        &mut self,
        bytes: &'a [u8],
        now: Moment,
        limits: &CaptureLimits,
        finished: &mut Finished,
    ) -> Result<Option<Upgraded<'a>>, Unreadable> {
        let Self { requests, responses, open, interim } = self;
        let is_request_whole = requests.is_between_messages();
        let mut messages = Responses { limits, open, now, interim, is_request_whole, finished };
        let Some(bytes) = responses.feed(bytes, now, &limits.budget, &mut messages)? else { return Ok(None) };
        Ok(Some(Upgraded { capture: self.open.pop_front().and_then(|open| open.capture), bytes }))
    }

    /// The model's server has sent its last byte. A response without a length ends here.
    pub(super) fn response_end(&mut self, now: Moment, limits: &CaptureLimits, finished: &mut Finished) {
        let Self { responses, open, interim, .. } = self;
        responses.close(&mut Responses { limits, open, now, interim, is_request_whole: true, finished });
    }

    /// What has not ended gets this state, unless it was answered whole.
    pub(super) fn abandon(&mut self, end: EndState, now: Moment, finished: &mut Finished) {
        for open in self.open.drain(..) {
            let end = if open.response_ended { EndState::Complete } else { end };
            finished.extend(open.capture.map(|capture| capture.finish(end, now)));
        }
    }
}

struct Requests<'a> {
    limits: &'a CaptureLimits,
    open: &'a mut VecDeque<Open>,
    now: Moment,
    finished: &'a mut Finished,
}

impl Messages for Requests<'_> {
    fn head(&mut self, bytes: &[u8], expected: Expected, began: Moment) -> Result<Option<(Next, usize)>, Unreadable> {
        parse_request(bytes, expected, |head: RequestHead<'_>| {
            if self.open.len() == MAX_PIPELINE {
                return Err(Unreadable::PipelineTooDeep);
            }
            let request = (head.method, head.target);
            let capture = with_rules(&self.limits.rules, |rules| {
                let route = rules.route(head.method, head.target)?;
                Capture::begin(self.limits, rules, route, request, &head.headers, began)
            });
            self.open.push_back(Open {
                capture,
                without_response_body: head.method == "HEAD",
                is_connect: head.method == "CONNECT",
                request_ended: false,
                response_ended: false,
            });
            Ok(Next::Body(head.length))
        })
    }

    fn body(&mut self, bytes: &[u8]) {
        // One that was ended early, with the server's going away, takes no more.
        let open = self.open.back_mut().filter(|open| !open.request_ended);
        if let Some(capture) = open.and_then(|open| open.capture.as_mut()) {
            capture.request_body(bytes, self.now, self.limits);
        }
    }

    fn end(&mut self) {
        let Some(open) = self.open.back_mut().filter(|open| !open.request_ended) else { return };
        open.request_ended = true;
        if let Some(capture) = &mut open.capture {
            capture.request_end(self.now);
        }
        // The server may have answered before the request was over.
        if open.response_ended {
            let ended = self.open.pop_back();
            self.finished.extend(ended.and_then(|open| open.complete(self.now)));
            give_back(self.open);
        }
    }
}

struct Responses<'a> {
    limits: &'a CaptureLimits,
    open: &'a mut VecDeque<Open>,
    now: Moment,
    interim: &'a mut bool,
    /// The last request that began has passed whole.
    is_request_whole: bool,
    finished: &'a mut Finished,
}

impl Messages for Responses<'_> {
    fn head(&mut self, bytes: &[u8], expected: Expected, began: Moment) -> Result<Option<(Next, usize)>, Unreadable> {
        let is_last = self.open.len() == 1;
        let read = parse_response(bytes, expected, |head: ResponseHead<'_>| {
            let Some(open) = self.open.front_mut().filter(|open| !open.response_ended) else {
                return Err(Unreadable::UnexpectedResponse);
            };
            let is_last_and_whole = is_last && open.request_ended && self.is_request_whole;
            if (100..200).contains(&head.status) && head.status != 101 {
                *self.interim = true;
                return Ok(Some(Next::Body(Length::None)));
            }
            if head.status == 101 && head.headers.has("upgrade", "h2c") && is_last_and_whole {
                return Ok(Some(Next::Http2));
            }
            if let Some(capture) = &mut open.capture {
                with_rules(&self.limits.rules, |rules| {
                    capture.response_head(head.status, &head.headers, began, rules);
                });
            }
            let is_tunnel = head.status == 101 || open.is_connect && (200..300).contains(&head.status);
            let is_bodiless = open.without_response_body || head.status == 204 || head.status == 304;
            let length = if is_bodiless { Length::None } else { head.length };
            Ok((!is_tunnel).then_some(Next::Body(length)))
        })?;
        let Some((next, end)) = read else { return Ok(None) };
        let next = next.ok_or_else(|| {
            let capture = self.open.pop_front().and_then(|open| open.capture);
            self.finished.extend(capture.map(|capture| capture.finish(EndState::Upgraded, self.now)));
            Unreadable::Upgraded
        })?;
        Ok(Some((next, end)))
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(capture) = self.open.front_mut().and_then(|open| open.capture.as_mut()) {
            capture.response_body(bytes, self.now, self.limits);
        }
    }

    fn end(&mut self) {
        if std::mem::take(self.interim) {
            return;
        }
        let Some(open) = self.open.front_mut() else { return };
        open.response_ended = true;
        if let Some(capture) = &mut open.capture {
            capture.response_end(self.now);
        }
        if open.request_ended {
            let ended = self.open.pop_front();
            self.finished.extend(ended.and_then(|open| open.complete(self.now)));
            give_back(self.open);
        }
    }
}

/// An idle connection keeps nothing of its deepest pipeline.
fn give_back(open: &mut VecDeque<Open>) {
    if open.is_empty() {
        open.shrink_to(KEPT_PIPELINE);
    }
}

impl Open {
    fn complete(self, now: Moment) -> Option<Captured> {
        Some(self.capture?.finish(EndState::Complete, now))
    }
}
