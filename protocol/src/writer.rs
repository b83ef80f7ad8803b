//! An exchange as it lies in a batch, written in one go by the thread that has it in its cache.
//!
//! What prost derives asks every message for its length before it writes it, and each message in it again: an exchange with
//! headers and bodies is walked three times. Here lengths of headers and bodies are sums of what is known of them, and the
//! exchange's own is filled in afterwards. The bytes are the same as prost's, which a test holds.

use prost::Message;

use crate::exchange::{Body, Exchange, Header, Messages};

/// The key of `Batch.exchanges`.
pub(crate) const EXCHANGES_KEY: u8 = delimited(8) as u8;
/// Most that a varint takes.
const VARINT_BYTES: usize = 10;
/// What is left for an exchange's length: what 128 bytes to 16 KiB take.
const LENGTH_BYTES: usize = 2;
/// Most that an exchange takes besides its texts, headers, bodies and messages.
const FIXED_BYTES: usize = 320;
/// Most that a header takes besides its texts.
const HEADER_BYTES: usize = 3 * (1 + VARINT_BYTES);

/// At most so many bytes are written for an exchange. A sum of lengths: most exchanges take a few hundred bytes less.
pub(crate) fn most_bytes(exchange: &Exchange) -> usize {
    let Exchange { request_id, traceparent, method, target, protocol, .. } = exchange;
    let texts = request_id.len() + traceparent.len() + method.len() + target.len() + protocol.len();
    let header = |header: &Header| HEADER_BYTES + header.name.len() + header.value.len();
    let headers: usize = exchange.request_headers.iter().chain(&exchange.response_headers).map(header).sum();
    let body = |body: &Option<Body>| body.as_ref().map_or(0, |body| body.content.len());
    let messages = |messages: &Option<Messages>| messages.as_ref().map_or(0, Message::encoded_len);
    FIXED_BYTES
        + texts
        + headers
        + body(&exchange.request)
        + body(&exchange.response)
        + messages(&exchange.request_messages)
        + messages(&exchange.response_messages)
}

/// Writes an exchange, with the key by which a batch holds it, and says how many bytes that took. None without the room.
pub(crate) fn write(exchange: &Exchange, room: &mut [u8]) -> Option<usize> {
    let mut writer = Writer { room, written: 0 };
    writer.byte(EXCHANGES_KEY)?;
    let begin = writer.written;
    writer.written += LENGTH_BYTES;
    writer.exchange(exchange)?;
    writer.fill_in_length(begin)?;
    Some(writer.written)
}

/// Memory, and how much of it is written. Everything that is written says whether there was room.
struct Writer<'a> {
    room: &'a mut [u8],
    written: usize,
}

impl Writer<'_> {
    /// All fields in the order of their numbers. Those that are as they are by default are left out.
    fn exchange(&mut self, exchange: &Exchange) -> Option<()> {
        // Without `..`, so that a new field is not forgotten here.
        let Exchange {
            sequence,
            request_id,
            traceparent,
            started_at_micros,
            request_micros,
            first_byte_micros,
            duration_micros,
            method,
            target,
            status,
            end,
            request_headers,
            response_headers,
            request,
            response,
            protocol,
            weight,
            outside_sample,
            request_messages,
            response_messages,
            unmeasured,
        } = exchange;
        self.number(1, *sequence)?;
        self.text(2, request_id)?;
        self.text(3, traceparent)?;
        self.number(4, *started_at_micros as u64)?;
        self.number(5, *request_micros)?;
        if let Some(micros) = first_byte_micros {
            self.key(6 << 3)?;
            self.varint(*micros)?;
        }
        self.number(7, *duration_micros)?;
        self.text(8, method)?;
        self.text(9, target)?;
        self.number(10, u64::from(*status))?;
        self.number(11, i64::from(*end) as u64)?;
        request_headers.iter().try_for_each(|header| self.header(12, header))?;
        response_headers.iter().try_for_each(|header| self.header(13, header))?;
        self.body(14, request)?;
        self.body(15, response)?;
        self.text(16, protocol)?;
        self.number(17, u64::from(*weight))?;
        self.number(18, u64::from(*outside_sample))?;
        self.messages(19, request_messages)?;
        self.messages(20, response_messages)?;
        self.number(21, u64::from(*unmeasured))
    }

    fn header(&mut self, field: u32, header: &Header) -> Option<()> {
        let Header { name, value } = header;
        self.key(delimited(field))?;
        self.varint((delimited_bytes(name.len()) + delimited_bytes(value.len())) as u64)?;
        self.text(1, name)?;
        self.text(2, value)
    }

    fn body(&mut self, field: u32, body: &Option<Body>) -> Option<()> {
        let Some(Body { content, size, redaction }) = body else { return Some(()) };
        let redaction = i64::from(*redaction) as u64;
        self.key(delimited(field))?;
        self.varint((delimited_bytes(content.len()) + number_bytes(*size) + number_bytes(redaction)) as u64)?;
        self.bytes(1, content)?;
        self.number(2, *size)?;
        self.number(3, redaction)
    }

    /// Only streams have any, and those pass for longer than prost takes.
    fn messages(&mut self, field: u32, messages: &Option<Messages>) -> Option<()> {
        let Some(messages) = messages else { return Some(()) };
        self.key(delimited(field))?;
        let mut rest = self.room.get_mut(self.written..)?;
        let available = rest.len();
        messages.encode_length_delimited(&mut rest).ok()?;
        self.written += available - rest.len();
        Some(())
    }

    fn text(&mut self, field: u32, text: &str) -> Option<()> {
        self.bytes(field, text.as_bytes())
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) -> Option<()> {
        if bytes.is_empty() {
            return Some(());
        }
        self.key(delimited(field))?;
        self.varint(bytes.len() as u64)?;
        let room = self.room.get_mut(self.written..)?.get_mut(..bytes.len())?;
        room.copy_from_slice(bytes);
        self.written += bytes.len();
        Some(())
    }

    fn number(&mut self, field: u32, number: u64) -> Option<()> {
        if number == 0 {
            return Some(());
        }
        self.key(field << 3)?;
        self.varint(number)
    }

    fn key(&mut self, key: u32) -> Option<()> {
        self.varint(u64::from(key))
    }

    fn varint(&mut self, mut number: u64) -> Option<()> {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80)?;
            number >>= 7;
        }
        self.byte(number as u8)
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        *self.room.get_mut(self.written)? = byte;
        self.written += 1;
        Some(())
    }

    /// Writes the length of what was written since `begin` where room was left for it.
    fn fill_in_length(&mut self, begin: usize) -> Option<()> {
        let message = begin + LENGTH_BYTES..self.written;
        let length = message.len();
        let length_bytes = varint_bytes(length as u64);
        let end = begin + length_bytes + length;
        if length_bytes != LENGTH_BYTES {
            self.room.get(..end)?;
            self.room.copy_within(message, begin + length_bytes);
        }
        self.written = begin;
        self.varint(length as u64)?;
        self.written = end;
        Some(())
    }
}

/// The key of a field that says how long it is.
const fn delimited(field: u32) -> u32 {
    field << 3 | 2
}

/// What bytes take as a field with a number below 16.
fn delimited_bytes(length: usize) -> usize {
    if length == 0 { 0 } else { 1 + varint_bytes(length as u64) + length }
}

/// What a number takes as a field with a number below 16.
fn number_bytes(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + varint_bytes(number) }
}

/// What a number takes, seven bits to a byte.
fn varint_bytes(number: u64) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    fn numbers() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 1_u64..300, any::<u64>()]
    }

    fn headers() -> impl Strategy<Value = Vec<Header>> {
        vec(("[a-zé]{0,9}", "[ -~]{0,200}").prop_map(|(name, value)| Header { name, value }), 0..3)
    }

    fn body() -> impl Strategy<Value = Option<Body>> {
        // Around where lengths take another byte, and the whole exchange's as well.
        let lengths = prop_oneof![0_usize..3, 100_usize..140, 7_000_usize..9_000, 16_000_usize..16_500];
        let body = |(length, size, redaction)| Body { content: vec![b'x'; length].into(), size, redaction };
        of((lengths, numbers(), prop_oneof![0..3, any::<i32>()]).prop_map(body))
    }

    fn messages() -> impl Strategy<Value = Option<Messages>> {
        let parts = (any::<i32>(), numbers(), vec(numbers(), 0..5), vec(numbers(), 0..5), numbers());
        of(parts.prop_map(|(framing, count, sizes, gaps_micros, longest_gap_micros)| Messages {
            framing,
            count,
            sizes,
            gaps_micros,
            longest_gap_micros,
        }))
    }

    fn exchanges() -> impl Strategy<Value = Exchange> {
        let text = || "[!-~é]{0,150}";
        let texts = (text(), text(), text(), text(), text());
        let times = (numbers(), any::<i64>(), numbers(), of(numbers()), numbers());
        let states = (any::<u32>(), any::<i32>(), 0_u32..3, any::<bool>(), any::<bool>());
        let parts = (headers(), headers(), body(), body(), messages(), messages());
        (texts, times, states, parts).prop_map(|(texts, times, states, parts)| {
            let (request_id, traceparent, method, target, protocol) = texts;
            let (sequence, started_at_micros, request_micros, first_byte_micros, duration_micros) = times;
            let (status, end, weight, outside_sample, unmeasured) = states;
            let (request_headers, response_headers, request, response, request_messages, response_messages) = parts;
            Exchange {
                sequence,
                request_id,
                traceparent,
                started_at_micros,
                request_micros,
                first_byte_micros,
                duration_micros,
                method,
                target,
                status,
                end,
                request_headers,
                response_headers,
                request,
                response,
                protocol,
                weight,
                outside_sample,
                request_messages,
                response_messages,
                unmeasured,
            }
        })
    }

    fn as_prost_writes_it(exchange: &Exchange) -> Vec<u8> {
        let mut expected = vec![EXCHANGES_KEY];
        exchange.encode_length_delimited(&mut expected).unwrap();
        expected
    }

    proptest! {
        #[test]
        fn it_writes_what_prost_writes_within_what_it_says_and_nothing_past_its_room(
            exchange in exchanges(), missing in 1_usize..600
        ) {
            let expected = as_prost_writes_it(&exchange);
            let mut room = vec![0; most_bytes(&exchange)];
            prop_assert_eq!(write(&exchange, &mut room), Some(expected.len()));
            prop_assert!(room.starts_with(&expected));
            let too_little = expected.len().saturating_sub(missing);
            prop_assert_eq!(write(&exchange, &mut room[..too_little]), None);
        }
    }

    #[test]
    fn the_smallest_and_the_largest_are_within_what_it_says() {
        assert_eq!(write(&Exchange::default(), &mut [0xff; 8]), Some(2));
        let (text, number) = ("x".repeat(1 << 15), u64::MAX);
        let header = || Header { name: text.clone(), value: text.clone() };
        let body = || Some(Body { content: text.clone().into(), size: number, redaction: -1 });
        let messages = || {
            Some(Messages {
                framing: -1,
                count: number,
                sizes: vec![number; 9],
                gaps_micros: vec![number; 9],
                longest_gap_micros: number,
            })
        };
        let largest = Exchange {
            sequence: number,
            request_id: text.clone(),
            traceparent: text.clone(),
            started_at_micros: -1,
            request_micros: number,
            first_byte_micros: Some(number),
            duration_micros: number,
            method: text.clone(),
            target: text.clone(),
            status: u32::MAX,
            end: -1,
            request_headers: vec![header(), header()],
            response_headers: vec![header()],
            request: body(),
            response: body(),
            protocol: text.clone(),
            weight: u32::MAX,
            outside_sample: true,
            request_messages: messages(),
            response_messages: messages(),
            unmeasured: true,
        };
        let mut room = vec![0; most_bytes(&largest)];
        let written = write(&largest, &mut room).unwrap();
        assert_eq!(room[..written], as_prost_writes_it(&largest));
    }
}
