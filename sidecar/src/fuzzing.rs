//! What the fuzz targets in `fuzz/` call: any bytes go in, and whatever must hold is asserted.
//!
//! Behind a feature, so that private types can be tried where they are, and nothing of this ships.

#![allow(missing_docs, reason = "each is a fuzz target of the same name")]

use std::hint::black_box;
use std::sync::{Arc, LazyLock};

use crate::account::Accounts;
use crate::reader::script::{self, Piece};
use crate::reader::{CaptureLimits, Reader, Side, cutting};

/// Room for whatever a fuzzer's script may hold: what the budget refuses depends on how bytes were cut.
const AMPLE_BYTES: usize = 64 << 20;
/// Room for few exchanges and small bodies.
const TIGHT_BYTES: usize = 4 << 10;
const MAX_BODY_BYTES: usize = 4 << 10;

pub fn http1(script: &[u8]) {
    conversation(&script::parse(script));
}

pub fn http2(script: &[u8]) {
    conversation(&script::parse(script));
}

pub fn grpc_messages(body: &[u8]) {
    messages("application/grpc", body);
    messages("application/grpc-web", body);
}

pub fn sse(body: &[u8]) {
    messages("text/event-stream", body);
    messages("application/x-ndjson", body);
}

pub fn redact(body: &[u8]) {
    crate::rules::fuzzing::redact(body);
}

/// Messages end at the same places however the body is cut, and none ends behind it.
fn messages(content_type: &str, body: &[u8]) {
    let whole = cutting::messages(content_type, [body]).expect("a type that has messages");
    assert!(whole.sizes.iter().sum::<u64>() <= body.len() as u64);
    assert!(whole.sizes.len() == whole.gaps_micros.len() && whole.sizes.len() as u64 <= whole.count);
    for after in [1, 3, 64] {
        let cut = cutting::messages(content_type, body.chunks(after)).expect("a type that has messages");
        assert_eq!((cut.count, cut.sizes), (whole.count, whole.sizes.clone()), "cut after every {after} bytes");
    }
}

/// A conversation reads the same however its bytes are cut, and whatever happens, the account adds up.
fn conversation(pieces: &[Piece<'_>]) {
    let whole = script::read(&limits(AMPLE_BYTES), pieces);
    for after in [1, 7] {
        let cut = script::read(&limits(AMPLE_BYTES), &script::cut(pieces, after));
        assert_eq!(cut, whole, "cut after every {after} bytes");
    }
    let tight = limits(TIGHT_BYTES);
    script::read(&tight, pieces);
    script::assert_accounted(&tight);
}

/// One account for all that is ever tried: making one costs more than a conversation, and it must always add up.
fn limits(budget_bytes: usize) -> CaptureLimits {
    static ACCOUNTS: LazyLock<Arc<Accounts>> = LazyLock::new(script::accounts);
    script::limits_with(Arc::clone(&ACCOUNTS), budget_bytes, MAX_BODY_BYTES)
}

/// Lets a reader read so many keep-alive exchanges of 700 bytes each way, for measuring.
pub fn keep_alive_exchanges(count: usize) {
    let request = message(
        "POST /v2/models/delays/infer HTTP/1.1\r\nHost: delays.models.svc:8080\r\nUser-Agent: python-httpx/0.28.1\r\n\
         Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\
         X-Request-Id: 0198c1f2-7c1e-7000-8000-000000000001\r\nContent-Type: application/json\r\n",
    );
    let response = message(
        "HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 15:00:00 GMT\r\nServer: uvicorn\r\nContent-Type: application/json\r\n",
    );
    let limits = script::limits(AMPLE_BYTES, 64 << 10);
    let mut reader = Reader::new(limits);
    let now = script::moment(0);
    let mut finished = Vec::new();
    for _ in 0..count {
        black_box(reader.bytes(Side::Client, &request, now, &mut finished)).ok();
        black_box(reader.bytes(Side::Upstream, &response, now, &mut finished)).ok();
        for captured in finished.drain(..) {
            captured.ticket.delivered();
        }
    }
}

fn message(head: &str) -> Vec<u8> {
    const BODY_BYTES: usize = 700;
    let mut message = format!("{head}Content-Length: {BODY_BYTES}\r\n\r\n").into_bytes();
    message.resize(message.len() + BODY_BYTES, b'1');
    message
}

/// A segment of the spool, read as after a crash. Whatever it holds, no more frames come out than fit into it.
pub fn spool(segment: &[u8]) {
    let (whole, _) = crate::shipper::spool::read_segment(segment);
    assert!(whole <= segment.len() as u64 / 40, "a record has a header of its own, and one of its frame");
}

/// A frame, as a collector reads it: what is taken reads the same when it is framed again.
pub fn batch(bytes: &[u8]) {
    use driftline_protocol::frame;
    // The fuzzer finds no checksums; with them right it gets past them.
    let mut frame = bytes.to_vec();
    if frame.len() >= 16 {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame[..12]), &frame[16..]);
        frame[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
    for bytes in [bytes, frame.as_slice()] {
        let is_whole = frame::check(bytes).is_ok();
        if let Ok(batch) = frame::decode(bytes) {
            assert!(is_whole);
            let again = frame::encode(&batch).expect("it was a frame before");
            assert_eq!(frame::decode(&again).as_ref(), Ok(&batch));
        }
    }
}
