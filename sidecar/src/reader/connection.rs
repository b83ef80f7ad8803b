//! One connection's reader: requests and responses paired in their order.

use std::collections::VecDeque;
use std::time::Instant;

use driftline_protocol::EndState;

use super::Unreadable;
use super::capture::{Capture, CaptureLimits, Captured};
use super::http1::{Http1, Length, Messages, RequestHead, ResponseHead, parse_request, parse_response};

/// Requests that may wait for their responses on one connection. Real clients pipeline few or none.
const MAX_PIPELINE: usize = 64;
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// A point in time, on both clocks. Readers are told it; they never ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) monotonic: Instant,
    /// Microseconds since the Unix epoch.
    pub(crate) wall_micros: i64,
}

/// Follows the bytes of one connection, and hands out its exchanges as they finish.
#[derive(Debug)]
pub(crate) struct Reader {
    limits: CaptureLimits,
    requests: Http1,
    responses: Http1,
    open: VecDeque<Open>,
    /// When the current request's and the current response's first byte came.
    request_began: Option<Moment>,
    response_began: Option<Moment>,
    /// An interim (1xx) response is passing.
    interim: bool,
    any_bytes: bool,
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

impl Reader {
    pub(crate) fn new(limits: CaptureLimits) -> Self {
        Self {
            limits,
            requests: Http1::new(),
            responses: Http1::new(),
            open: VecDeque::new(),
            request_began: None,
            response_began: None,
            interim: false,
            any_bytes: false,
        }
    }

    /// Whether nothing is on its way in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.requests.is_between_messages() && self.responses.is_between_messages()
    }

    /// Bytes from the client, after they were sent on.
    pub(crate) fn request_bytes(
        &mut self,
        bytes: &[u8],
        now: Moment,
        finished: &mut Vec<Captured>,
    ) -> Result<(), Unreadable> {
        if !self.any_bytes && bytes.first() == Some(&TLS_HANDSHAKE) {
            return Err(Unreadable::Tls);
        }
        self.any_bytes = true;
        if self.requests.is_between_messages() {
            self.request_began = Some(now);
        }
        let Self { limits, requests, open, request_began, .. } = self;
        let result = requests.feed(bytes, &mut Requests { limits, open, began: request_began, now, finished });
        self.settle(result, now, finished)
    }

    /// Bytes from the model's server, after they were sent on.
    pub(crate) fn response_bytes(
        &mut self,
        bytes: &[u8],
        now: Moment,
        finished: &mut Vec<Captured>,
    ) -> Result<(), Unreadable> {
        if self.responses.is_between_messages() {
            self.response_began = Some(now);
        }
        let Self { limits, responses, open, response_began, interim, .. } = self;
        let began = response_began.unwrap_or(now);
        let result = responses.feed(bytes, &mut Responses { limits, open, began, now, interim, finished });
        self.settle(result, now, finished)
    }

    /// The model's server has sent its last byte. A response without a length ends here.
    pub(crate) fn response_end(&mut self, now: Moment, finished: &mut Vec<Captured>) {
        let Self { limits, responses, open, interim, .. } = self;
        responses.close(&mut Responses { limits, open, began: now, now, interim, finished });
    }

    /// The connection is over. What has not ended gets this state.
    pub(crate) fn abandon(&mut self, end: EndState, now: Moment, finished: &mut Vec<Captured>) {
        finished.extend(self.open.drain(..).filter_map(|open| Some(open.capture?.finish(end, now))));
    }

    fn settle(
        &mut self,
        result: Result<(), Unreadable>,
        now: Moment,
        finished: &mut Vec<Captured>,
    ) -> Result<(), Unreadable> {
        if result.is_err() {
            self.abandon(EndState::Unreadable, now, finished);
        }
        result
    }
}

struct Requests<'a> {
    limits: &'a CaptureLimits,
    open: &'a mut VecDeque<Open>,
    began: &'a mut Option<Moment>,
    now: Moment,
    finished: &'a mut Vec<Captured>,
}

impl Messages for Requests<'_> {
    fn head(&mut self, head: &[u8]) -> Result<Option<Length>, Unreadable> {
        if head.starts_with(b"PRI * HTTP/2.0") {
            return Err(Unreadable::Http2);
        }
        if self.open.len() == MAX_PIPELINE {
            return Err(Unreadable::PipelineTooDeep);
        }
        // A request that came behind another in one piece began no earlier than that piece.
        let began = self.began.take().unwrap_or(self.now);
        parse_request(head, |head: RequestHead<'_>| {
            let route = self.limits.rules.load().route(head.method, head.target);
            self.open.push_back(Open {
                capture: route.and_then(|route| Capture::begin(self.limits, route, &head, began)),
                without_response_body: head.method == "HEAD",
                is_connect: head.method == "CONNECT",
                request_ended: false,
                response_ended: false,
            });
            Ok(Some(head.length))
        })
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(open) = self.open.back_mut() {
            open.capture = open.capture.take().and_then(|capture| capture.request_body(bytes, self.limits));
        }
    }

    fn end(&mut self) {
        if let Some(open) = self.open.back_mut() {
            open.request_ended = true;
            if let Some(capture) = &mut open.capture {
                capture.request_end(self.now);
            }
            // The server may have answered before the request was over.
            if open.response_ended {
                let ended = self.open.pop_back();
                self.finished.extend(ended.and_then(|open| open.complete(self.now)));
            }
        }
    }
}

struct Responses<'a> {
    limits: &'a CaptureLimits,
    open: &'a mut VecDeque<Open>,
    began: Moment,
    now: Moment,
    interim: &'a mut bool,
    finished: &'a mut Vec<Captured>,
}

impl Messages for Responses<'_> {
    fn head(&mut self, head: &[u8]) -> Result<Option<Length>, Unreadable> {
        let Some(open) = self.open.front_mut().filter(|open| !open.response_ended) else {
            return Err(Unreadable::UnexpectedResponse);
        };
        let length = parse_response(head, |head: ResponseHead<'_>| {
            if (100..200).contains(&head.status) && head.status != 101 {
                *self.interim = true;
                return Ok(Some(Length::None));
            }
            if let Some(capture) = &mut open.capture {
                capture.response_head(&head, self.began, &self.limits.rules.load());
            }
            let tunnel = head.status == 101 || open.is_connect && (200..300).contains(&head.status);
            let bodiless = open.without_response_body || head.status == 204 || head.status == 304;
            Ok((!tunnel).then_some(if bodiless { Length::None } else { head.length }))
        })?;
        if length.is_none() {
            let capture = self.open.pop_front().and_then(|open| open.capture);
            self.finished.extend(capture.map(|capture| capture.finish(EndState::Upgraded, self.now)));
        }
        Ok(length)
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(open) = self.open.front_mut() {
            open.capture = open.capture.take().and_then(|capture| capture.response_body(bytes, self.limits));
        }
    }

    fn end(&mut self) {
        if std::mem::take(self.interim) {
            return;
        }
        if let Some(open) = self.open.front_mut() {
            open.response_ended = true;
            if open.request_ended {
                let ended = self.open.pop_front();
                self.finished.extend(ended.and_then(|open| open.complete(self.now)));
            }
        }
    }
}

impl Open {
    fn complete(self, now: Moment) -> Option<Captured> {
        Some(self.capture?.finish(EndState::Complete, now))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use driftline_protocol::Exchange;
    use prometheus::Registry;
    use proptest::prelude::*;

    use super::*;
    use crate::account::Accounts;
    use crate::budget::Budget;
    use crate::rules::SharedRules;

    fn limits(budget: usize, max_body_bytes: usize) -> CaptureLimits {
        CaptureLimits {
            accounts: Accounts::new(&Registry::new()).unwrap(),
            budget: Budget::new(budget),
            rules: SharedRules::default(),
            max_body_bytes,
        }
    }

    fn now() -> Moment {
        Moment { monotonic: Instant::now(), wall_micros: 1_357_000_000_000_000 }
    }

    enum Piece<'a> {
        Client(&'a [u8]),
        Server(&'a [u8]),
        ServerCloses,
    }
    use Piece::{Client, Server, ServerCloses};

    /// Feeds pieces, and settles everything that finished as delivered.
    fn read_with(limits: &CaptureLimits, pieces: &[Piece<'_>]) -> (Vec<Exchange>, Result<(), Unreadable>) {
        let mut reader = Reader::new(limits.clone());
        let mut finished = Vec::new();
        let mut result = Ok(());
        for piece in pieces {
            result = match piece {
                Client(bytes) => reader.request_bytes(bytes, now(), &mut finished),
                Server(bytes) => reader.response_bytes(bytes, now(), &mut finished),
                ServerCloses => {
                    reader.response_end(now(), &mut finished);
                    Ok(())
                }
            };
            if result.is_err() {
                break;
            }
        }
        reader.abandon(EndState::Cancelled, now(), &mut finished);
        let exchange = |captured: Captured| {
            captured.ticket.delivered();
            captured.exchange
        };
        (finished.into_iter().map(exchange).collect(), result)
    }

    fn read(pieces: &[Piece<'_>]) -> (Vec<Exchange>, Result<(), Unreadable>) {
        read_with(&limits(1 << 20, 1 << 16), pieces)
    }

    fn bodies(exchanges: &[Exchange]) -> Vec<(u32, EndState, String, String)> {
        let text = |body: &Option<driftline_protocol::Body>| {
            String::from_utf8(body.as_ref().unwrap().content.to_vec()).unwrap()
        };
        exchanges.iter().map(|e| (e.status, e.end(), text(&e.request), text(&e.response))).collect()
    }

    fn complete(status: u32, request: &str, response: &str) -> (u32, EndState, String, String) {
        (status, EndState::Complete, request.to_owned(), response.to_owned())
    }

    const POST: &[u8] = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nX-Request-Id: r-1\r\nContent-Type: application/json\r\nAuthorization: Bearer secret\r\nContent-Length: 4\r\n\r\nabcd";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nok";

    #[test]
    fn an_exchange_carries_its_ids_and_only_the_headers_that_are_kept() {
        let (exchanges, _) = read(&[Client(POST), Server(OK)]);
        let exchange = &exchanges[0];
        assert_eq!((exchange.request_id.as_str(), exchange.target.as_str()), ("r-1", "/v2/models/m/infer"));
        assert_eq!(exchange.request_header("content-type"), Some("application/json"));
        assert!(!format!("{exchange:?}").contains("secret"));
    }

    #[test]
    fn only_inference_is_captured() {
        let (exchanges, result) = read(&[
            Client(b"GET /v2/health/ready HTTP/1.1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            Client(POST),
            Server(OK),
        ]);
        assert_eq!((bodies(&exchanges), result), (vec![complete(200, "abcd", "ok")], Ok(())));
    }

    #[test]
    fn pipelined_requests_meet_their_own_responses() {
        let responses = [OK, b"HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nx"].concat();
        let (exchanges, _) = read(&[Client(&[POST, POST].concat()), Server(&responses)]);
        assert_eq!(bodies(&exchanges), [complete(200, "abcd", "ok"), complete(500, "abcd", "x")]);
    }

    #[test]
    fn chunked_both_ways_with_trailers() {
        let (exchanges, _) = read(&[
            Client(b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"),
            Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        ]);
        assert_eq!(bodies(&exchanges), [complete(200, "abc", "hi")]);
    }

    #[test]
    fn interim_responses_do_not_end_an_exchange() {
        let (exchanges, _) = read(&[
            Client(&POST[..POST.len() - 4]),
            Server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
            Client(b"abcd"),
            Server(OK),
        ]);
        assert_eq!(bodies(&exchanges), [complete(200, "abcd", "ok")]);
    }

    #[test]
    fn responses_without_a_body_or_a_length() {
        let (exchanges, _) =
            read(&[Client(POST), Server(b"HTTP/1.1 204 No Content\r\n\r\n"), Client(POST), Server(OK)]);
        assert_eq!(bodies(&exchanges), [complete(204, "abcd", ""), complete(200, "abcd", "ok")]);
        let (exchanges, _) = read(&[Client(POST), Server(b"HTTP/1.0 200 OK\r\n\r\nall of it"), ServerCloses]);
        assert_eq!(bodies(&exchanges), [complete(200, "abcd", "all of it")]);
        let head = b"HEAD /x HTTP/1.1\r\n\r\n";
        let (exchanges, result) =
            read(&[Client(head), Server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), Client(POST), Server(OK)]);
        assert_eq!((bodies(&exchanges), result), (vec![complete(200, "abcd", "ok")], Ok(())));
    }

    #[test]
    fn a_response_before_the_end_of_its_request_is_still_one_exchange() {
        let early = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
        let (exchanges, _) = read(&[Client(&POST[..POST.len() - 2]), Server(early), Client(b"cd")]);
        assert_eq!(bodies(&exchanges), [complete(413, "abcd", "")]);
    }

    #[test]
    fn what_is_not_over_when_the_connection_is_was_cancelled() {
        let (exchanges, _) = read(&[Client(POST), Server(&OK[..OK.len() - 1])]);
        assert_eq!(bodies(&exchanges), [(200, EndState::Cancelled, "abcd".to_owned(), "o".to_owned())]);
    }

    #[test]
    fn upgrades_end_the_exchange_and_the_reading() {
        let (exchanges, result) = read(&[
            Client(POST),
            Server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"),
        ]);
        assert_eq!((exchanges[0].end(), result), (EndState::Upgraded, Err(Unreadable::Upgraded)));
    }

    #[test]
    fn what_cannot_be_followed_is_given_up_by_name() {
        let given_up = |bytes: &[u8]| read(&[Client(bytes)]).1.unwrap_err();
        assert_eq!(given_up(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Unreadable::Http2);
        assert_eq!(given_up(b"\x16\x03\x01\x02\x00"), Unreadable::Tls);
        assert_eq!(given_up(b"\x00\x01\x02\n\n"), Unreadable::Malformed);
        assert_eq!(given_up(&vec![b'a'; 70_000]), Unreadable::HeadTooLarge);
        assert_eq!(
            given_up(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Unreadable::AmbiguousLength
        );
        assert_eq!(
            given_up(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n"),
            Unreadable::AmbiguousLength
        );
        assert_eq!(given_up(b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n"), Unreadable::AmbiguousLength);
        assert_eq!(given_up(&b"GET / HTTP/1.1\r\n\r\n".repeat(65)), Unreadable::PipelineTooDeep);
        assert_eq!(read(&[Server(OK)]).1, Err(Unreadable::UnexpectedResponse));
    }

    #[test]
    fn bodies_past_the_cap_are_truncated_and_past_the_budget_dropped() {
        let (exchanges, _) = read_with(&limits(1 << 20, 3), &[Client(POST), Server(OK)]);
        assert_eq!(bodies(&exchanges), [(200, EndState::Truncated, "abc".to_owned(), "ok".to_owned())]);
        assert_eq!(exchanges[0].request.as_ref().unwrap().size, 4);
        let tight = limits(1100, 1 << 16);
        let big =
            [b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 100\r\n\r\n".to_vec(), vec![b'x'; 100]].concat();
        assert_eq!(read_with(&tight, &[Client(&big), Server(OK)]).0, []);
        let account = tight.accounts.account();
        assert_eq!((account.seen, account.delivered, account.dropped[0].reason.as_str()), (1, 0, "budget"));
        assert_eq!(tight.budget.used(), 0);
    }

    fn dialogue() -> (Vec<u8>, Vec<u8>) {
        let requests = [
            POST,
            b"\r\nPOST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n",
            b"GET /metrics HTTP/1.1\nHost: lf-only\n\n",
            POST,
        ];
        let responses = [
            OK,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        ];
        (requests.concat(), responses.concat())
    }

    proptest! {
        #[test]
        fn any_split_of_the_same_bytes_gives_the_same_exchanges(
            client_cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
            server_cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let (requests, responses) = dialogue();
            let split = |bytes: &[u8], cuts: &[prop::sample::Index]| -> Vec<Vec<u8>> {
                let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
                at.extend([0, bytes.len()]);
                at.sort_unstable();
                at.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
            };
            let (requests, responses) = (split(&requests, &client_cuts), split(&responses, &server_cuts));
            let pieces: Vec<Piece<'_>> =
                requests.iter().map(|piece| Client(piece)).chain(responses.iter().map(|piece| Server(piece))).collect();
            let (exchanges, result) = read(&pieces);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(
                bodies(&exchanges),
                [complete(200, "abcd", "ok"), complete(200, "abcd", "hello"), complete(503, "abcd", "")]
            );
        }

        #[test]
        fn any_bytes_pass_without_a_panic_and_every_exchange_is_accounted_for(
            pieces in proptest::collection::vec((any::<bool>(), prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..80),
                Just(POST.to_vec()), Just(OK.to_vec()), Just(POST[..60].to_vec()), Just(b"\r\n\r\n".to_vec()),
            ]), 0..20)
        ) {
            let limits = limits(4096, 64);
            let pieces: Vec<Piece<'_>> =
                pieces.iter().map(|(client, bytes)| if *client { Client(bytes) } else { Server(bytes) }).collect();
            let (exchanges, _) = read_with(&limits, &pieces);
            let account = limits.accounts.account();
            let dropped: u64 = account.dropped.iter().map(|dropped| dropped.count).sum();
            prop_assert_eq!(account.delivered, exchanges.len() as u64);
            prop_assert_eq!(account.seen, account.delivered + dropped);
            prop_assert_eq!(limits.budget.used(), 0);
        }
    }

    #[test]
    fn idle_is_between_exchanges_only() {
        let limits = limits(1 << 20, 1 << 16);
        let mut reader = Reader::new(limits);
        let mut finished = Vec::new();
        assert!(reader.is_idle());
        reader.request_bytes(POST, now(), &mut finished).unwrap();
        assert!(!reader.is_idle());
        reader.response_bytes(OK, now(), &mut finished).unwrap();
        assert!(reader.is_idle());
        reader.request_bytes(&POST[..10], now(), &mut finished).unwrap();
        assert!(!reader.is_idle());
        drop(Arc::new(finished));
    }
}
