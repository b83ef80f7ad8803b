//! The messages of a body that is a stream of them: events, gRPC messages, lines.
//!
//! A cutter sees all of a body, also what is not kept, and tells where messages end however the bytes are cut. What is
//! no message (comments that keep a connection alive, empty lines) counts with the message that follows: so the sizes add up
//! to where each ends.

mod grammar;

use std::mem;

use driftline_protocol::{Framing, MAX_MESSAGES, Messages};

use self::grammar::{Events, Fed, Grpc, Lines};
use crate::budget::Reservation;

/// Messages for which there is room at first: most gRPC bodies have one.
const FIRST_MESSAGES: usize = 4;
/// What each costs: its size and its gap.
const MESSAGE_BYTES: usize = 2 * size_of::<u64>();

/// Cuts one body, and keeps when its messages passed.
#[derive(Debug)]
pub(super) struct Cutter {
    grammar: Grammar,
    /// Bytes since the last message ended.
    current: u64,
    /// When the last message ended, from the request's first byte.
    last_micros: u64,
    /// Messages that may be told apart.
    room: usize,
    messages: Messages,
}

#[derive(Debug)]
enum Grammar {
    Events(Events),
    Grpc(Grpc),
    Lines(Lines),
}

impl Cutter {
    /// The cutter for a content type; None where a body is one message, or a coding hides its messages.
    pub(super) fn new(content_type: &[u8], content_encoding: Option<&[u8]>) -> Option<Self> {
        let framing = framing(content_type);
        let grammar = match framing {
            Framing::ServerSentEvents => Grammar::Events(Events::default()),
            Framing::Grpc => Grammar::Grpc(Grpc::default()),
            Framing::Lines => Grammar::Lines(Lines::default()),
            Framing::Unspecified => return None,
        };
        if content_encoding.is_some_and(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
            return None;
        }
        let messages = Messages { framing: framing.into(), ..Messages::default() };
        Some(Self { grammar, current: 0, last_micros: 0, room: MAX_MESSAGES, messages })
    }

    /// Bytes of the body that passed so many microseconds after the request's first byte.
    pub(super) fn feed(&mut self, mut bytes: &[u8], micros: u64, memory: &mut Reservation) {
        while !bytes.is_empty() {
            let fed = match &mut self.grammar {
                Grammar::Events(events) => events.feed(bytes),
                Grammar::Grpc(grpc) => grpc.feed(bytes),
                Grammar::Lines(lines) => lines.feed(bytes),
            };
            let (consumed, ended) = match fed {
                Fed::More => (bytes.len(), false),
                Fed::Message(consumed) => (consumed, true),
            };
            self.current += consumed as u64;
            bytes = bytes.get(consumed..).unwrap_or_default();
            if ended {
                self.message(micros, memory);
            }
        }
    }

    /// The body passed whole: a last line need not have an end.
    pub(super) fn end(&mut self, micros: u64, memory: &mut Reservation) {
        let is_pending = match &self.grammar {
            Grammar::Events(events) => events.is_pending(),
            Grammar::Lines(lines) => lines.is_pending(),
            Grammar::Grpc(_) => false,
        };
        if is_pending {
            self.message(micros, memory);
        }
    }

    pub(super) fn into_messages(self) -> Messages {
        self.messages
    }

    fn message(&mut self, micros: u64, memory: &mut Reservation) {
        let size = mem::take(&mut self.current);
        let gap = micros.saturating_sub(mem::replace(&mut self.last_micros, micros));
        let messages = &mut self.messages;
        messages.count += 1;
        if messages.count > 1 {
            messages.longest_gap_micros = messages.longest_gap_micros.max(gap);
        }
        let kept = messages.sizes.len();
        if kept == messages.sizes.capacity() && kept < self.room {
            let growth = kept.max(FIRST_MESSAGES).min(self.room - kept);
            if memory.grow(growth * MESSAGE_BYTES) {
                messages.sizes.reserve_exact(growth);
                messages.gaps_micros.reserve_exact(growth);
            } else {
                // Those after it are only counted: a later one beside a gap would belong to no place in the body.
                self.room = kept;
            }
        }
        if kept < self.room {
            messages.sizes.push(size);
            messages.gaps_micros.push(gap);
        }
    }
}

/// What a content type says of a body's messages.
fn framing(content_type: &[u8]) -> Framing {
    const LINES: [&str; 6] = ["x-ndjson", "jsonl", "json-lines", "x-jsonlines", "x-jsonl", "jsonlines"];
    // Nearly all bodies end here.
    if content_type == b"application/json" {
        return Framing::Unspecified;
    }
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if media_type.eq_ignore_ascii_case(b"text/event-stream") {
        return Framing::ServerSentEvents;
    }
    let Some((kind, subtype)) = media_type.split_at_checked("application/".len()) else { return Framing::Unspecified };
    if subtype.eq_ignore_ascii_case(b"json") || !kind.eq_ignore_ascii_case(b"application/") {
        return Framing::Unspecified;
    }
    let is = |name: &str| subtype.eq_ignore_ascii_case(name.as_bytes());
    if LINES.into_iter().any(is) {
        return Framing::Lines;
    }
    // `grpc`, `grpc+proto`, `grpc-web` and so on; not `grpc-web-text`, which is in base64.
    let subtype = subtype.to_ascii_lowercase();
    match subtype.strip_prefix(b"grpc") {
        Some(b"" | b"-web" | [b'+', ..] | [b'-', b'w', b'e', b'b', b'+', ..]) => Framing::Grpc,
        _ => Framing::Unspecified,
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod cutting {
    //! Cutting whole bodies, for tests and fuzzers.

    use super::*;
    use crate::budget::Budget;

    /// The messages of a body that comes in these pieces, a millisecond apart.
    pub(crate) fn messages<'a>(content_type: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<Messages> {
        let budget = Budget::new(1 << 20);
        let mut memory = budget.reserve(0)?;
        let mut cutter = Cutter::new(content_type.as_bytes(), None)?;
        let mut micros = 0;
        for piece in pieces {
            micros += 1000;
            cutter.feed(piece, micros, &mut memory);
        }
        cutter.end(micros, &mut memory);
        Some(cutter.into_messages())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::cutting::messages;
    use super::*;
    use crate::budget::Budget;

    const SSE: &str = "text/event-stream; charset=utf-8";

    fn sizes(content_type: &str, body: &[u8]) -> Vec<u64> {
        messages(content_type, [body]).unwrap().sizes
    }

    /// The events of a body in two ways: at once, and split after each byte.
    fn events(body: &[u8]) -> Vec<u64> {
        let split = messages(SSE, body.chunks(1)).unwrap().sizes;
        assert_eq!(split, sizes(SSE, body));
        split
    }

    #[test]
    fn events_end_at_empty_lines_whatever_ends_a_line() {
        assert_eq!(events(b"data: a\n\ndata: b\n\n"), [9, 9]);
        assert_eq!(events(b"data: a\r\n\r\nid: 7\r\ndata: b\r\n\r\n"), [11, 18]);
        assert_eq!(events(b"data: a\r\rdata: b\r\r"), [9, 9]);
        // Mixed: a line feed that was not expected counts with the next event; one that was waited for may not come.
        assert_eq!(events(b"data: a\r\r\ndata: b\n\n"), [9, 10]);
        assert_eq!(events(b"data: a\r\n\rdata: b\r\n\r"), [10, 10]);
        assert_eq!(events(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"), [12]);
        assert_eq!(events(b"data\n\n"), [6]);
    }

    #[test]
    fn comments_and_blocks_without_data_are_no_messages() {
        assert_eq!(events(b": keep-alive\n\n\n: and again\n\nevent: ping\n\ndatabase: x\n\ndata: a\n\n"), [63]);
        assert_eq!(events(b"data: not closed\n"), [0; 0]);
    }

    #[test]
    fn grpc_messages_end_where_their_length_says() {
        let body = b"\x00\x00\x00\x00\x02ab\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01";
        assert_eq!(sizes("application/grpc+proto", body), [7, 5]);
        let web = b"\x00\x00\x00\x00\x01a\x80\x00\x00\x00\x03x:1\x00\x00\x00\x00\x00";
        assert_eq!(sizes("application/grpc-web+proto", web), [6, 13]);
        for other in ["application/grpcx", "application/grpc-web-text", "application/json", ""] {
            assert_eq!(messages(other, []), None);
        }
    }

    #[test]
    fn lines_end_at_line_feeds_and_with_the_body() {
        assert_eq!(sizes("application/x-ndjson", b"{}\n\r\n\n{ }\r\n{}"), [3, 8, 2]);
        assert_eq!(sizes("application/jsonl", b"{}\n \n"), [3]);
    }

    #[test]
    fn a_coding_hides_messages() {
        assert!(Cutter::new(b"text/event-stream", Some(b"gzip")).is_none());
        assert!(Cutter::new(b"text/event-stream", Some(b"identity")).is_some());
    }

    #[test]
    fn gaps_are_between_last_bytes_and_the_first_is_from_the_requests_beginning() {
        let pieces: [&[u8]; 5] = [b"data: a\n\nda", b"ta: b", b"\n", b"\n: \n\n", b"data: c\n\n"];
        let messages = messages(SSE, pieces).unwrap();
        assert_eq!((&*messages.gaps_micros, messages.longest_gap_micros), (&[1000, 3000, 1000][..], 3000));
        assert_eq!((messages.count, messages.framing()), (3, Framing::ServerSentEvents));
    }

    #[test]
    fn past_the_most_and_past_the_budget_messages_are_counted_only() {
        let body = b"{}\n".repeat(MAX_MESSAGES + 10);
        let many = messages("application/jsonl", [body.as_slice()]).unwrap();
        assert_eq!((many.count, many.sizes.len(), many.sizes.capacity()), (4106, MAX_MESSAGES, MAX_MESSAGES));
        let budget = Budget::new(200);
        let mut memory = budget.reserve(0).unwrap();
        let mut cutter = Cutter::new(b"application/jsonl", None).unwrap();
        cutter.feed(&body, 5, &mut memory);
        let few = cutter.into_messages();
        assert_eq!((few.count, few.sizes.len(), few.gaps_micros.len(), budget.used()), (4106, 8, 8, 128));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            tokens in proptest::collection::vec(prop_oneof![
                Just(b"data: x".to_vec()), Just(b"\n".to_vec()), Just(b"\r".to_vec()), Just(b"\r\n".to_vec()),
                Just(b": c".to_vec()), Just(b"\xef\xbb\xbf".to_vec()), Just(b"data".to_vec()), Just(vec![0, 0, 0, 0, 3]),
                proptest::collection::vec(any::<u8>(), 0..5),
            ], 0..40),
            content_type in prop_oneof![Just(SSE), Just("application/grpc"), Just("application/jsonl")],
            after in 1usize..9,
        ) {
            let body = tokens.concat();
            let whole = messages(content_type, [body.as_slice()]).unwrap();
            let split = messages(content_type, body.chunks(after)).unwrap();
            prop_assert_eq!(&split.sizes, &whole.sizes);
            prop_assert_eq!(split.count, whole.count);
            prop_assert!(whole.sizes.iter().sum::<u64>() <= body.len() as u64);
        }
    }
}
