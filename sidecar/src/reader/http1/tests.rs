//! HTTP/1.1 conversations.

use std::sync::Arc;

use driftline_protocol::{EndState, Exchange, Redaction};
use proptest::prelude::*;

use super::{Http1, KEPT_PIPELINE, MAX_PIPELINE};
use crate::reader::script::Piece::{self, Client, ClientEnds, Server, ServerEnds};
use crate::reader::script::{self, Read, assert_accounted, limits, read_timed};
use crate::reader::{CaptureLimits, Over, Reader, Side, Unreadable};

const POST: &[u8] = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: m\r\nX-Request-Id: r-1\r\nContent-Type: application/json\r\nAuthorization: Bearer secret\r\nContent-Length: 4\r\n\r\nabcd";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nok";

fn read_with(limits: &CaptureLimits, pieces: &[Piece<'_>]) -> (Vec<Exchange>, Result<(), Unreadable>) {
    let Read { exchanges, result } = script::read(limits, pieces);
    assert_accounted(limits);
    assert_eq!(limits.accounts.account().delivered, exchanges.len() as u64);
    (exchanges, result)
}

fn read(pieces: &[Piece<'_>]) -> (Vec<Exchange>, Result<(), Unreadable>) {
    read_with(&limits(1 << 20, 1 << 16), pieces)
}

/// How exchanges ended, of which each piece came so many milliseconds after the beginning.
fn ends(pieces: &[(u64, Piece<'_>)], over: Over) -> Vec<EndState> {
    let pieces: Vec<(u64, Piece<'_>)> = pieces.iter().map(|(millis, piece)| (millis * 1000, *piece)).collect();
    read_timed(&limits(1 << 20, 1 << 16), &pieces, over).exchanges.iter().map(Exchange::end).collect()
}

fn bodies(exchanges: &[Exchange]) -> Vec<(u32, EndState, String, String)> {
    let text =
        |body: &Option<driftline_protocol::Body>| String::from_utf8(body.as_ref().unwrap().content.to_vec()).unwrap();
    exchanges.iter().map(|e| (e.status, e.end(), text(&e.request), text(&e.response))).collect()
}

fn complete(status: u32, request: &str, response: &str) -> (u32, EndState, String, String) {
    (status, EndState::Complete, request.to_owned(), response.to_owned())
}

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
fn a_deep_pipeline_leaves_no_memory_behind() {
    let limits = limits(1 << 20, 1 << 16);
    let mut http1 = Http1::new();
    let mut finished = Vec::new();
    let now = script::moment(0);
    let probe = b"GET /v2/health/ready HTTP/1.1\r\n\r\n";
    http1.request_bytes(&probe.repeat(MAX_PIPELINE), now, &limits, &mut finished).unwrap();
    assert!(http1.open.capacity() >= MAX_PIPELINE);
    let ready = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    http1.response_bytes(&ready.repeat(MAX_PIPELINE), now, &limits, &mut finished).unwrap();
    assert!(http1.is_idle());
    assert!(http1.open.capacity() <= 2 * KEPT_PIPELINE, "room for {}", http1.open.capacity());
}

#[test]
fn a_messages_first_byte_is_its_own_wherever_the_one_before_it_ended() {
    let split = OK.len() - 1;
    let both = [&OK[split..], &OK[..5]].concat();
    let pieces = [
        (0, Client(POST)),
        (10, Client(POST)),
        (1_000, Server(&OK[..split])),
        // The end of one response and the beginning of the next in one piece, and the rest of it later.
        (5_000, Server(&both)),
        (9_000, Server(&OK[5..])),
    ];
    let Read { exchanges, .. } = read_timed(&limits(1 << 20, 1 << 16), &pieces, Over::Closed);
    let times = |exchange: &Exchange| (exchange.first_byte_micros.unwrap(), exchange.duration_micros);
    assert_eq!(exchanges.iter().map(times).collect::<Vec<_>>(), [(1_000, 5_000), (4_990, 8_990)]);
}

#[test]
fn chunked_both_ways_with_trailers() {
    let (exchanges, _) = read(&[
        Client(
            b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n",
        ),
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
    let (exchanges, _) = read(&[Client(POST), Server(b"HTTP/1.1 204 No Content\r\n\r\n"), Client(POST), Server(OK)]);
    assert_eq!(bodies(&exchanges), [complete(204, "abcd", ""), complete(200, "abcd", "ok")]);
    let (exchanges, _) = read(&[Client(POST), Server(b"HTTP/1.0 200 OK\r\n\r\nall of it"), ServerEnds]);
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
    // And one that the server does not wait for.
    let (exchanges, _) = read(&[Client(&POST[..POST.len() - 2]), Server(early), ServerEnds, Client(b"cd")]);
    assert_eq!(bodies(&exchanges), [complete(413, "ab", "")]);
}

#[test]
fn what_is_not_over_when_the_sidecar_stops_was_cancelled() {
    let (exchanges, _) = read(&[Client(POST), Server(&OK[..OK.len() - 1])]);
    assert_eq!(bodies(&exchanges), [(200, EndState::Cancelled, "abcd".to_owned(), "o".to_owned())]);
}

#[test]
fn a_server_that_closes_with_a_response_due_failed_at_once() {
    let half = Server(&OK[..OK.len() - 1]);
    for pieces in [vec![Client(POST), ServerEnds], vec![Client(POST), half, ServerEnds]] {
        let limits = limits(1 << 20, 1 << 16);
        let mut reader = Reader::new(limits);
        let mut finished = Vec::new();
        for piece in pieces {
            match piece {
                Client(bytes) => reader.bytes(Side::Client, bytes, script::moment(0), &mut finished).unwrap(),
                Server(bytes) => reader.bytes(Side::Upstream, bytes, script::moment(0), &mut finished).unwrap(),
                _ => reader.side_ended(Side::Upstream, script::moment(0), &mut finished),
            }
        }
        let states: Vec<EndState> = finished.iter().map(|captured| captured.exchange.end()).collect();
        assert_eq!(states, [EndState::UpstreamError]);
    }
}

#[test]
fn who_is_to_blame_follows_from_who_broke_off() {
    use EndState::{Cancelled, UpstreamError};
    let whole = |over| ends(&[(0, Client(POST)), (1, ClientEnds)], over);
    assert_eq!(whole(Over::Reset(Side::Upstream)), [UpstreamError], "a caller that half-closed only waited");
    assert_eq!(whole(Over::Reset(Side::Client)), [Cancelled]);
    let closes_after = |millis| ends(&[(0, Client(POST)), (1, ClientEnds), (millis, ServerEnds)], Over::Closed);
    assert_eq!(closes_after(2), [Cancelled], "most servers take their caller's end for a cancellation");
    assert_eq!(closes_after(5_000), [UpstreamError], "one that closes later failed");
    let half = Client(&POST[..POST.len() - 1]);
    assert_eq!(ends(&[(0, half), (1, ClientEnds), (5_000, ServerEnds)], Over::Closed), [Cancelled]);
    assert_eq!(ends(&[(0, half)], Over::Reset(Side::Upstream)), [UpstreamError]);
    // Answered after a half-close.
    assert_eq!(ends(&[(0, Client(POST)), (1, ClientEnds), (2, Server(OK))], Over::Closed), [EndState::Complete]);
    // Sent when the server had already closed.
    assert_eq!(ends(&[(0, ServerEnds), (1, Client(POST))], Over::Reset(Side::Upstream)), [UpstreamError]);
}

#[test]
fn upgrades_end_the_exchange_and_the_reading() {
    let (exchanges, result) =
        read(&[Client(POST), Server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")]);
    assert_eq!((exchanges[0].end(), result), (EndState::Upgraded, Err(Unreadable::Upgraded)));
}

#[test]
fn what_cannot_be_followed_is_given_up_by_name() {
    let given_up = |bytes: &[u8]| read(&[Client(bytes)]).1.unwrap_err();
    assert_eq!(given_up(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"), Unreadable::Malformed);
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
    for length in ["+4", "", "4 4", "0x4", "99999999999999999999"] {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(given_up(head.as_bytes()), Unreadable::AmbiguousLength, "{length}");
    }
    assert_eq!(given_up(&b"GET / HTTP/1.1\r\n\r\n".repeat(65)), Unreadable::PipelineTooDeep);
    assert_eq!(read(&[Server(OK)]).1, Err(Unreadable::UnexpectedResponse));
    assert_eq!(read(&[Client(b"P"), Server(OK)]).1, Err(Unreadable::UnexpectedResponse));
}

#[test]
fn part_of_a_head_is_charged_and_refused_without_room() {
    let tight = limits(1000, 1 << 16);
    let mut reader = Reader::new(tight.clone());
    let mut finished = Vec::new();
    reader.bytes(Side::Client, &POST[..60], script::moment(0), &mut finished).unwrap();
    assert_eq!(tight.budget.used(), 512);
    let padding = [b'a'; 500];
    let refused = reader.bytes(Side::Client, &padding, script::moment(0), &mut finished);
    assert_eq!(refused, Err(Unreadable::Budget));
    drop(reader);
    assert_eq!(tight.budget.used(), 0);
}

#[test]
fn bodies_past_the_cap_are_truncated() {
    let (exchanges, _) = read_with(&limits(1 << 20, 3), &[Client(POST), Server(OK)]);
    assert_eq!(bodies(&exchanges), [(200, EndState::Truncated, "abc".to_owned(), "ok".to_owned())]);
    assert_eq!(exchanges[0].request.as_ref().unwrap().size, 4);
}

#[test]
fn without_room_for_bodies_the_record_is_kept_with_their_sizes() {
    let head = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 300\r\n\r\n";
    let big = [head.to_vec(), vec![b'x'; 300]].concat();
    let (exchanges, _) = read_with(&limits(1300, 1 << 16), &[Client(&big), Server(OK)]);
    assert_eq!(bodies(&exchanges), [(200, EndState::Budget, String::new(), String::new())]);
    let sizes = |exchange: &Exchange| [&exchange.request, &exchange.response].map(|body| body.as_ref().unwrap().size);
    assert_eq!(sizes(&exchanges[0]), [300, 2]);
    assert_eq!(exchanges[0].response_header("content-type"), Some("application/json"));
    // What has another end keeps it.
    let (exchanges, _) = read_with(&limits(1300, 1 << 16), &[Client(&big), ServerEnds]);
    assert_eq!(bodies(&exchanges), [(0, EndState::UpstreamError, String::new(), String::new())]);
    // A response's body costs the request's.
    let response = [b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n".to_vec(), vec![b'y'; 300]].concat();
    let (exchanges, _) = read_with(&limits(1300, 1 << 16), &[Client(POST), Server(&response)]);
    assert_eq!(bodies(&exchanges), [(200, EndState::Budget, String::new(), String::new())]);
    assert_eq!(sizes(&exchanges[0]), [4, 300]);
}

#[test]
fn bodies_that_never_leave_take_no_memory() {
    let head = b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 9000\r\n\r\n";
    let big = [head.to_vec(), vec![b'x'; 9000]].concat();
    let limits = limits(1300, 1 << 16);
    limits.rules.store(Arc::new(crate::rules::tests::rules("bodies: never")));
    let (exchanges, _) = read_with(&limits, &[Client(&big), Server(OK)]);
    assert_eq!(bodies(&exchanges), [(200, EndState::Complete, String::new(), String::new())]);
    let told = [&exchanges[0].request, &exchanges[0].response].map(|body| {
        let body = body.as_ref().unwrap();
        (body.size, body.redaction())
    });
    assert_eq!(told, [(9000, Redaction::Withheld), (2, Redaction::Withheld)]);
}

#[test]
fn without_room_for_the_record_the_exchange_is_dropped() {
    let tight = limits(1000, 1 << 16);
    assert_eq!(read_with(&tight, &[Client(POST), Server(OK)]).0, []);
    let account = tight.accounts.account();
    assert_eq!((account.seen, account.delivered, account.dropped[0].reason.as_str()), (1, 0, "budget"));
}

#[test]
fn the_headers_that_are_kept_are_charged() {
    let value = "\u{e9}".repeat(200).into_bytes().into_iter().filter(|byte| *byte == 0xa9).collect::<Vec<u8>>();
    let line = [b"Content-Type: ".as_slice(), &value, b"\r\n"].concat();
    let head = [b"POST /v2/models/m/infer HTTP/1.1\r\n".as_slice(), &line.repeat(20), b"\r\n"].concat();
    let ample = limits(1 << 20, 1 << 16);
    let mut reader = Reader::new(ample.clone());
    let mut finished = Vec::new();
    reader.bytes(Side::Client, &head, script::moment(0), &mut finished).unwrap();
    let texts = 16 * 200 * 3;
    assert!(ample.budget.used() > texts, "{} for {texts}", ample.budget.used());
    drop(reader);
    assert_eq!(read_with(&limits(8000, 1 << 16), &[Client(&head)]).0, []);
}

#[test]
fn messages_of_a_stream_are_told_apart_with_their_times_also_past_the_cap() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let pieces = [
        (0, Client(POST)),
        (50_000, Server(head)),
        (90_000, Server(b"9\r\ndata: a\n\n\r\n")),
        (91_000, Server(b"f\r\n: ping\n\ndata: \r\n")),
        (99_000, Server(b"3\r\nb\n\n\r\n0\r\n\r\n")),
    ];
    let Read { exchanges, .. } = read_timed(&limits(1 << 20, 4), &pieces, Over::Closed);
    let messages = exchanges[0].response_messages.as_ref().unwrap();
    assert_eq!((messages.count, &*messages.sizes, &*messages.gaps_micros), (2, &[9, 18][..], &[90_000, 9_000][..]));
    assert_eq!((exchanges[0].end(), exchanges[0].first_byte_micros), (EndState::Truncated, Some(50_000)));
    assert_eq!(exchanges[0].request_messages, None);
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
        b"HTTP/1.1 503 Busy\r\nContent-Type: application/jsonl\r\nContent-Length: 6\r\n\r\n{}\n{}\n",
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
        let whole = read(&[Client(&requests), Server(&responses)]);
        let pieces: Vec<Piece<'_>> = script::split(&requests, &client_cuts)
            .map(Client)
            .chain(script::split(&responses, &server_cuts).map(Server))
            .collect();
        prop_assert_eq!(&whole.1, &Ok(()));
        prop_assert_eq!(
            bodies(&whole.0),
            [complete(200, "abcd", "ok"), complete(200, "abcd", "hello"), complete(503, "abcd", "{}\n{}\n")]
        );
        prop_assert_eq!(read(&pieces), whole);
    }

    #[test]
    fn any_bytes_pass_without_a_panic_and_every_exchange_is_accounted_for(
        pieces in proptest::collection::vec((any::<bool>(), prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            Just(POST.to_vec()), Just(OK.to_vec()), Just(POST[..60].to_vec()), Just(b"\r\n\r\n".to_vec()),
        ]), 0..20),
        budget in 0usize..8192,
    ) {
        let pieces: Vec<Piece<'_>> =
            pieces.iter().map(|(client, bytes)| if *client { Client(bytes) } else { Server(bytes) }).collect();
        let (exchanges, _) = read_with(&limits(budget, 64), &pieces);
        prop_assert!(exchanges.len() <= pieces.len());
    }
}

#[test]
fn idle_is_between_exchanges_only() {
    let mut reader = Reader::new(limits(1 << 20, 1 << 16));
    let mut finished = Vec::new();
    let now = script::moment(0);
    assert!(reader.is_idle());
    reader.bytes(Side::Client, POST, now, &mut finished).unwrap();
    assert!(!reader.is_idle());
    reader.bytes(Side::Upstream, OK, now, &mut finished).unwrap();
    assert!(reader.is_idle());
    reader.bytes(Side::Client, &POST[..10], now, &mut finished).unwrap();
    assert!(!reader.is_idle());
}
