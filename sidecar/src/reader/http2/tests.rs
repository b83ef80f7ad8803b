//! HTTP/2 conversations, in frames made by hand.

use driftline_protocol::{EndState, Exchange, Framing};
use proptest::prelude::*;

use super::Http2;
use super::frame::FIRST_MAX_FRAME_BYTES;
use crate::reader::connection::PREFACE;
use crate::reader::script::Piece::{self, Client, Server, ServerEnds};
use crate::reader::script::{self, Read, assert_accounted, limits, read_timed};
use crate::reader::{CaptureLimits, Over, Reader, Side, Unreadable};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const NONE: u8 = 0;
const END: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const CANCEL: &[u8] = &[0, 0, 0, 8];
const MESSAGE: &[u8] = b"\0\0\0\0\x02ab";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal field that enters the table.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0x40, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// The header block of a gRPC call.
fn call() -> Vec<u8> {
    let fields =
        [field(":path", "/inference.GRPCInferenceService/ModelInfer"), field("content-type", "application/grpc")];
    [b"\x83\x86".as_slice(), &fields.concat(), &field("x-request-id", "r-1"), &field("authorization", "secret")]
        .concat()
}

/// A header block of a gRPC response.
fn response() -> Vec<u8> {
    [b"\x88".as_slice(), &field("content-type", "application/grpc")].concat()
}

/// The client's first bytes, and the server's.
fn hello() -> (Vec<u8>, Vec<u8>) {
    ([PREFACE.as_slice(), &frame(SETTINGS, NONE, 0, &[])].concat(), frame(SETTINGS, NONE, 0, &[]))
}

/// A unary call on stream 1, both ways.
fn unary() -> (Vec<u8>, Vec<u8>) {
    let (client, server) = hello();
    let client = [client, frame(HEADERS, END_HEADERS, 1, &call()), frame(DATA, END, 1, MESSAGE)].concat();
    let trailers = frame(HEADERS, END_HEADERS | END, 1, &field("grpc-status", "0"));
    (client, [server, frame(HEADERS, END_HEADERS, 1, &response()), frame(DATA, NONE, 1, MESSAGE), trailers].concat())
}

fn read_with(limits: &CaptureLimits, pieces: &[Piece<'_>]) -> (Vec<Exchange>, Result<(), Unreadable>) {
    let Read { exchanges, result } = script::read(limits, pieces);
    assert_accounted(limits);
    assert_eq!(limits.accounts.account().delivered, exchanges.len() as u64);
    (exchanges, result)
}

/// Exchanges of a conversation that goes on after the greetings.
fn read(pieces: &[Piece<'_>]) -> (Vec<Exchange>, Result<(), Unreadable>) {
    let (client, server) = hello();
    let pieces = [&[Client(&client), Server(&server)], pieces].concat();
    read_with(&limits(1 << 20, 1 << 16), &pieces)
}

fn ends(pieces: &[Piece<'_>]) -> Vec<EndState> {
    let (exchanges, result) = read(pieces);
    assert_eq!(result, Ok(()));
    exchanges.iter().map(Exchange::end).collect()
}

fn body(body: &Option<driftline_protocol::Body>) -> &[u8] {
    &body.as_ref().unwrap().content
}

#[test]
fn a_unary_call_carries_its_ids_its_messages_and_its_status() {
    let (client, server) = unary();
    let (exchanges, result) = read_with(&limits(1 << 20, 1 << 16), &[Client(&client), Server(&server)]);
    assert_eq!((exchanges.len(), result), (1, Ok(())));
    let exchange = &exchanges[0];
    assert_eq!((exchange.method.as_str(), exchange.status, exchange.end()), ("POST", 200, EndState::Complete));
    assert_eq!(exchange.target, "/inference.GRPCInferenceService/ModelInfer");
    assert_eq!(exchange.request_id, "r-1");
    assert_eq!(exchange.response_header("grpc-status"), Some("0"));
    assert_eq!((body(&exchange.request), body(&exchange.response)), (MESSAGE, MESSAGE));
    let messages = exchange.response_messages.as_ref().unwrap();
    assert_eq!((messages.framing(), messages.count, &*messages.sizes), (Framing::Grpc, 1, &[7][..]));
    assert!(!format!("{exchange:?}").contains("secret"));
}

#[test]
fn a_server_may_greet_first_and_the_preface_may_come_in_parts() {
    let (client, server) = unary();
    let greeting = hello().1;
    let rest = &server[greeting.len()..];
    let parts = [Server(&greeting), Client(&client[..1]), Client(&client[1..20]), Client(&client[20..]), Server(rest)];
    let (exchanges, result) = read_with(&limits(1 << 20, 1 << 16), &parts);
    assert_eq!((exchanges.len(), result), (1, Ok(())));
}

#[test]
fn times_are_each_streams_own() {
    let (client, server) = hello();
    let request = |stream| frame(HEADERS, END_HEADERS, stream, &call());
    let whole = request(3);
    let answer = frame(HEADERS, END_HEADERS, 3, &response());
    let last = frame(DATA, END, 3, MESSAGE);
    let pieces = [
        (0, Client(client.as_slice())),
        (0, Server(&server)),
        (1_000, Client(&whole[..3])),
        (2_000, Client(&whole[3..])),
        (3_000, Client(&last)),
        (7_000, Server(&answer[..12])),
        (8_000, Server(&answer[12..])),
        (9_000, Server(&last)),
    ];
    let Read { exchanges, .. } = read_timed(&limits(1 << 20, 1 << 16), &pieces, Over::Closed);
    let exchange = &exchanges[0];
    assert_eq!(exchange.started_at_micros % 1_000_000, 1_000);
    assert_eq!((exchange.request_micros, exchange.first_byte_micros), (2_000, Some(6_000)));
    assert_eq!(exchange.duration_micros, 8_000);
    assert_eq!(exchange.response_messages.as_ref().unwrap().gaps_micros, [8_000]);
}

#[test]
fn continuations_padding_priority_and_unknown_frames_are_followed() {
    let block = call();
    let (first, second) = block.split_at(40);
    let padded = [[3].as_slice(), &[0x80, 0, 0, 1, 16], first, &[0; 3]].concat();
    let client = [
        frame(0x42, 0xff, 7, b"unknown"),
        frame(HEADERS, PADDED | PRIORITY, 1, &padded),
        frame(CONTINUATION, NONE, 1, &second[..5]),
        frame(CONTINUATION, END_HEADERS, 1, &second[5..]),
        frame(DATA, PADDED, 1, b"\x02\0\0\0\0\x02\0\0"),
        frame(WINDOW_UPDATE, NONE, 0, &[0, 0, 1, 0]),
        frame(DATA, PADDED, 1, b"\x00ab"),
        frame(DATA, END, 1, &[]),
    ]
    .concat();
    let server = [frame(HEADERS, END_HEADERS, 1, &response()), frame(DATA, PADDED | END, 1, b"\x03\0\0\0")].concat();
    let (exchanges, result) = read(&[Client(&client), Server(&server)]);
    assert_eq!(result, Ok(()));
    assert_eq!((body(&exchanges[0].request), exchanges[0].end()), (MESSAGE, EndState::Complete));
    assert_eq!(exchanges[0].request_messages.as_ref().unwrap().sizes, [7]);
}

#[test]
fn interim_responses_and_pushes_do_not_end_an_exchange_and_keep_the_header_table() {
    let promised = [b"\0\0\0\x02\x82\x84".as_slice(), &field("pushed", "1")].concat();
    let server = [
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03103"),
        frame(PUSH_PROMISE, END_HEADERS, 1, &promised),
        frame(HEADERS, END_HEADERS, 2, b"\x88\xbe"),
        frame(DATA, END, 2, b"pushed"),
        // The promise's field is where the table says.
        frame(HEADERS, END_HEADERS, 1, b"\x88\xbe"),
        frame(DATA, END, 1, b"ok"),
    ]
    .concat();
    let request = frame(HEADERS, END_HEADERS | END, 1, &call());
    let (exchanges, result) = read(&[Client(&request), Server(&server)]);
    assert_eq!((exchanges.len(), result), (1, Ok(())));
    assert_eq!((exchanges[0].status, body(&exchanges[0].response)), (200, b"ok".as_slice()));
}

#[test]
fn resets_tell_who_broke_off() {
    let open = frame(HEADERS, END_HEADERS, 1, &call());
    let asked = frame(HEADERS, END_HEADERS | END, 1, &call());
    let reset = frame(RST_STREAM, NONE, 1, CANCEL);
    let no_error = frame(RST_STREAM, NONE, 1, &[0; 4]);
    let begun = frame(HEADERS, END_HEADERS, 1, &response());
    let whole = frame(HEADERS, END_HEADERS | END, 1, &response());
    use EndState::{Cancelled, Complete, UpstreamError};
    assert_eq!(ends(&[Client(&asked), Server(&begun), Client(&reset)]), [Cancelled]);
    assert_eq!(ends(&[Client(&asked), Server(&begun), Server(&reset)]), [UpstreamError]);
    assert_eq!(ends(&[Client(&asked), Server(&begun), Server(&no_error)]), [UpstreamError]);
    // Answered whole, while the request was still on its way.
    assert_eq!(ends(&[Client(&open), Server(&whole), Server(&no_error)]), [Complete]);
    assert_eq!(ends(&[Client(&open), Server(&whole), Client(&reset)]), [Complete]);
    assert_eq!(ends(&[Client(&open), Server(&whole), Server(&reset)]), [UpstreamError]);
    assert_eq!(ends(&[Client(&open), Server(&whole), ServerEnds]), [Complete]);
    assert_eq!(ends(&[Client(&asked), Server(&begun), ServerEnds]), [UpstreamError]);
    assert_eq!(ends(&[Client(&asked), Server(&begun)]), [Cancelled]);
}

#[test]
fn what_a_server_that_goes_away_does_not_answer_has_failed() {
    let request = |stream| frame(HEADERS, END_HEADERS | END, stream, &call());
    let requests = [request(1), request(3), request(5)].concat();
    let server = [
        frame(GOAWAY, NONE, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        frame(GOAWAY, NONE, 0, &[0, 0, 0, 1, 0, 0, 0, 0]),
        frame(HEADERS, END_HEADERS | END, 1, &response()),
    ]
    .concat();
    let states = ends(&[Client(&requests), Server(&server)]);
    assert_eq!(states, [EndState::UpstreamError, EndState::UpstreamError, EndState::Complete]);
}

#[test]
fn an_upgraded_request_is_answered_on_stream_one() {
    let upgrade = b"POST /v2/models/m/infer HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\n{}";
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let (client, server) = hello();
    let answer = [frame(HEADERS, END_HEADERS, 1, &response()), frame(DATA, END, 1, b"ok")].concat();
    let next = frame(HEADERS, END_HEADERS | END, 3, &call());
    let whole = frame(HEADERS, END_HEADERS | END, 3, &response());
    let pieces = [
        Client(upgrade),
        Server(&[switch.as_slice(), &server].concat()),
        Server(&answer),
        Client(&[client, next].concat()),
        Server(&whole),
    ];
    for pieces in [pieces.to_vec(), script::cut(&pieces, 1)] {
        let (exchanges, result) = read_with(&limits(1 << 20, 1 << 16), &pieces);
        assert_eq!(result, Ok(()));
        let what = |exchange: &Exchange| (exchange.status, exchange.end(), body(&exchange.response).to_vec());
        let what: Vec<_> = exchanges.iter().map(what).collect();
        assert_eq!(what, [(200, EndState::Complete, b"ok".to_vec()), (200, EndState::Complete, Vec::new())]);
        assert_eq!(body(&exchanges[0].request), b"{}");
    }
}

#[test]
fn streams_past_the_bound_are_counted_and_the_header_table_is_kept() {
    let opened = |stream| frame(HEADERS, END_HEADERS, stream, &call());
    let many: Vec<u8> = (0..1030).flat_map(|n| opened(2 * n + 1)).collect();
    let limits = limits(16 << 20, 1 << 16);
    let (client, server) = hello();
    let mut reader = Reader::new(limits.clone());
    let mut finished = Vec::new();
    let now = script::moment(0);
    reader.bytes(Side::Client, &[client, many].concat(), now, &mut finished).unwrap();
    reader.bytes(Side::Upstream, &[server, frame(RST_STREAM, NONE, 1, &[0; 4])].concat(), now, &mut finished).unwrap();
    // The table is in step: this block is all references, to a stream that has room again.
    let again = frame(HEADERS, END_HEADERS | END, 9001, b"\x83\x86\xc1\xc0\xbf\xbe");
    reader.bytes(Side::Client, &again, now, &mut finished).unwrap();
    assert!(!reader.is_idle());
    reader.connection_over(Over::Stopped, now, &mut finished);
    assert_eq!(finished.len(), 1025);
    assert_eq!(finished[1024].exchange.request_id, "r-1");
    let dropped = &limits.accounts.account().dropped;
    assert_eq!((dropped[0].reason.as_str(), dropped[0].count), ("too_many_streams", 6));
}

#[test]
fn a_lower_table_size_holds_from_its_acknowledgement() {
    let (_, server) = hello();
    let client = [PREFACE.as_slice(), &frame(SETTINGS, NONE, 0, &[0, 1, 0, 0, 0, 0])].concat();
    let requests = [1, 3].map(|stream| frame(HEADERS, END_HEADERS | END, stream, &call())).concat();
    let before = frame(HEADERS, END_HEADERS | END, 1, &response());
    let after = frame(HEADERS, END_HEADERS | END, 3, b"\x88\xbe");
    let answered = [server, before, frame(SETTINGS, ACK, 0, &[]), after].concat();
    let (_, result) = read_with(&limits(1 << 20, 1 << 16), &[Client(&[client, requests].concat()), Server(&answered)]);
    assert_eq!(result, Err(Unreadable::Malformed), "what was evicted cannot be referred to");
}

#[test]
fn heads_that_nobody_needs_leave_no_memory_behind() {
    // A kilobyte in the table, and sixty references to it: heads of 60 KB in a few bytes, which no budget knows of.
    let long = [b"\x40\x01n\x7f\xe9\x06".as_slice(), &[b'v'; 1000]].concat();
    let large = [0xbe; 60];
    let (client, server) = hello();
    let limits = limits(1 << 20, 1 << 16);
    let mut http2 = Http2::with_prior_knowledge();
    let now = script::moment(0);
    let mut finished = Vec::new();
    let asked = [
        client[PREFACE.len()..].to_vec(),
        frame(HEADERS, END_HEADERS, 1, &[call(), long.clone()].concat()),
        // The same stream's trailers.
        frame(HEADERS, END_HEADERS, 1, &large),
    ];
    http2.request_bytes(&asked.concat(), now, &limits, &mut finished).unwrap();
    assert!(http2.fields.memory() <= 8 << 10, "{} bytes after trailers", http2.fields.memory());
    let interim = [b"\x08\x03103".as_slice(), &long, &large].concat();
    let promised = [&[0, 0, 0, 2], large.as_slice()].concat();
    for (what, answered) in [
        ("an interim response", [server, frame(HEADERS, END_HEADERS, 1, &interim)].concat()),
        ("a response of no stream", frame(HEADERS, END_HEADERS, 7, &large)),
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &promised)),
    ] {
        http2.response_bytes(&answered, now, &limits, &mut finished).unwrap();
        assert!(http2.fields.memory() <= 8 << 10, "{} bytes after {what}", http2.fields.memory());
    }
    http2.abandon(EndState::Cancelled, now, &mut finished);
}

#[test]
fn what_breaks_the_grammar_is_given_up() {
    let given_up = |frames: &[u8]| read(&[Client(frames)]).1.unwrap_err();
    let long = vec![0; FIRST_MAX_FRAME_BYTES as usize + 1];
    for frames in [
        frame(DATA, NONE, 0, b"x"),
        frame(HEADERS, END_HEADERS, 0, &call()),
        frame(SETTINGS, NONE, 1, &[]),
        frame(SETTINGS, NONE, 0, &[0; 5]),
        frame(DATA, PADDED, 1, &[]),
        frame(DATA, PADDED, 1, b"\x02x"),
        frame(HEADERS, PADDED | END_HEADERS, 1, b"\x09\x82"),
        frame(RST_STREAM, NONE, 1, &[0; 3]),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
        [frame(HEADERS, NONE, 1, &[]), frame(DATA, NONE, 1, &[])].concat(),
        [frame(HEADERS, NONE, 1, &[]), frame(CONTINUATION, NONE, 3, &[])].concat(),
        frame(DATA, NONE, 1, &long),
    ] {
        assert_eq!(given_up(&frames), Unreadable::Malformed, "{frames:x?}");
    }
    let settings = frame(SETTINGS, NONE, 0, &[]);
    let endless = (0..10).map(|_| frame(CONTINUATION, NONE, 1, &long[1..]));
    let endless = [vec![frame(HEADERS, NONE, 1, &[])], endless.collect()].concat().concat();
    assert_eq!(given_up(&endless), Unreadable::HeadTooLarge);
    assert_eq!(given_up(&settings.repeat(20)), Unreadable::Malformed, "settings that nobody acknowledges");
    let not_settings = [PREFACE.as_slice(), &frame(HEADERS, END_HEADERS, 1, &call())].concat();
    let (_, result) = read_with(&limits(1 << 20, 1 << 16), &[Client(&not_settings)]);
    assert_eq!(result, Err(Unreadable::Malformed));
}

#[test]
fn a_receiver_may_allow_longer_frames() {
    let (client, server) = hello();
    let allowing = [server, frame(SETTINGS, NONE, 0, &[0, 5, 0, 1, 0, 0])].concat();
    let request = [frame(HEADERS, END_HEADERS, 1, &call()), frame(DATA, END, 1, &vec![0; 20_000])].concat();
    let pieces = [Client(client.as_slice()), Server(&allowing), Client(&request)];
    let (exchanges, result) = read_with(&limits(1 << 20, 1 << 16), &pieces);
    assert_eq!((exchanges[0].request.as_ref().unwrap().size, result), (20_000, Ok(())));
}

#[test]
fn idle_is_without_open_streams() {
    let mut reader = Reader::new(limits(1 << 20, 1 << 16));
    let mut finished = Vec::new();
    let now = script::moment(0);
    let (client, server) = unary();
    reader.bytes(Side::Client, &client, now, &mut finished).unwrap();
    assert!(!reader.is_idle());
    reader.bytes(Side::Upstream, &server, now, &mut finished).unwrap();
    assert!(reader.is_idle());
    reader.bytes(Side::Client, &[0], now, &mut finished).unwrap();
    assert!(!reader.is_idle(), "a frame has begun");
}

/// Frames of several calls, taken in turn from each: of the client and of the server.
fn interleaved(turns: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let mut calls: Vec<[std::vec::IntoIter<Vec<u8>>; 2]> = (0..3_u32)
        .map(|call_number| {
            let stream = 2 * call_number + 1;
            let client = vec![
                frame(DATA, NONE, stream, MESSAGE),
                frame(DATA, PADDED, stream, b"\x01\0\0\0\0\x01\0"),
                frame(DATA, END, stream, b"z"),
            ];
            let server = vec![
                frame(HEADERS, END_HEADERS, stream, &response()),
                frame(DATA, NONE, stream, &MESSAGE[..3]),
                frame(DATA, NONE, stream, &MESSAGE[3..]),
                frame(HEADERS, END_HEADERS | END, stream, &field("grpc-status", &call_number.to_string())),
            ];
            [client.into_iter(), server.into_iter()]
        })
        .collect();
    let (mut client, mut server) = hello();
    // Numbers of streams only grow; the rest comes in any order.
    for stream in [1, 3, 5] {
        client.extend(frame(HEADERS, END_HEADERS, stream, &call()));
    }
    let in_order = (0..12).map(|turn| turn / 4);
    for turn in turns.iter().copied().chain(in_order) {
        let [from_client, from_server] = &mut calls[turn % 3];
        client.extend(from_client.next().into_iter().flatten());
        server.extend(from_server.next().into_iter().flatten());
    }
    (client, server)
}

proptest! {
    #[test]
    fn any_split_of_interleaved_streams_gives_the_same_exchanges(
        turns in proptest::collection::vec(0usize..3, 0..12),
        client_cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        server_cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (client, server) = interleaved(&turns);
        let limits = limits(1 << 20, 1 << 16);
        let (whole, result) = read_with(&limits, &[Client(&client), Server(&server)]);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(whole.len(), 3);
        for exchange in &whole {
            prop_assert_eq!((exchange.end(), body(&exchange.response)), (EndState::Complete, MESSAGE));
            prop_assert_eq!(body(&exchange.request), [MESSAGE, b"\0\0\0\0\x01z"].concat());
            prop_assert_eq!(&*exchange.request_messages.as_ref().unwrap().sizes, &[7, 6]);
        }
        let pieces: Vec<Piece<'_>> = script::split(&client, &client_cuts)
            .map(Client)
            .chain(script::split(&server, &server_cuts).map(Server))
            .collect();
        let limits = script::limits(1 << 20, 1 << 16);
        prop_assert_eq!(read_with(&limits, &pieces).0, whole);
    }

    #[test]
    fn any_frames_pass_without_a_panic_and_every_exchange_is_accounted_for(
        pieces in proptest::collection::vec((any::<bool>(), prop_oneof![
            (0u8..11, any::<u8>(), 0u32..8, proptest::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
            (0u32..8).prop_map(|stream| frame(HEADERS, END_HEADERS, stream, &call())),
            (0u32..8).prop_map(|stream| frame(HEADERS, END_HEADERS | END, stream, &response())),
            (0u32..8, any::<u8>()).prop_map(|(stream, flags)| frame(DATA, flags & END, stream, MESSAGE)),
            proptest::collection::vec(any::<u8>(), 0..20),
        ]), 0..30),
        budget in 0usize..8192,
    ) {
        let (client, server) = hello();
        let mut script = vec![Client(client.as_slice()), Server(&server)];
        script.extend(pieces.iter().map(|(is_client, bytes)| if *is_client { Client(bytes) } else { Server(bytes) }));
        read_with(&limits(budget, 8), &script).1.ok();
    }
}
