//! A frame made exchange by exchange, in buffers that are used again.

use std::io::{self, Cursor};

use prost::Message;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch, compress_bound};

use crate::batch::Batch;
use crate::exchange::Exchange;
use crate::frame::{self, FrameError, ZSTD_LEVEL};
use crate::writer::{self, EXCHANGES_KEY};

/// How the compressor looks for what it has seen, on top of its level: in 4,096 places, which stay in the first cache, for
/// seven bytes or more, and at two of three positions where nothing matches. Requests of one model are alike in long
/// stretches, and differ in digits that match nowhere, for which counting their frequencies is enough. With blocks that
/// stand for themselves that takes a tenth less CPU than level 1 on a megabyte at once, for a tenth more bytes. See
/// `examples/frame_cost.rs`.
const HASH_LOG: u32 = 12;
const MIN_MATCH: u32 = 7;
const STEP: u32 = 2;
/// How much is encoded before it is compressed: with the exchange that fills it, no more than the 128 KiB that zstd takes as
/// one block. Half as much takes a few hundredths more CPU and bytes, twice as much no less. What is compressed in one go
/// stays in the second cache, and takes a few tenths of a millisecond: a whole megabyte at once took two, in which the pump
/// had to wait for its core.
const BLOCK_BYTES: usize = 120 << 10;
/// What is compressed by itself, rather than with what comes after it, costs its tables.
const LEAST_ALONE_BYTES: usize = 64 << 10;

/// How much the compressor does with what is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// All that pays, so that there is least to send, store and read.
    Full,
    /// It only looks for repetitions. Digits that repeat nothing stay as they are: in a fifth of the time, for twice the bytes.
    Quick,
}

/// Encodes exchanges one by one, as they come, and compresses them as one batch.
///
/// An exchange is encoded when it is added, so its bodies need not be kept, and compressed with its neighbours soon after.
/// Buffers and the compressor's tables are used again by the next batch. What it makes reads like [`frame::encode`]'s:
/// the fields of a protobuf message may come in any order.
///
/// ```
/// use driftline_protocol::{Batch, Exchange, Framer, frame};
///
/// let exchange = Exchange { sequence: 7, status: 200, ..Exchange::default() };
/// let batch = Batch {
///     boot_id: vec![1; 16],
///     model: "flights".into(),
///     first_sequence: 7,
///     last_sequence: 7,
///     ..Batch::default()
/// };
/// let mut framer = Framer::new().unwrap();
/// framer.add(&exchange);
/// let frame = framer.finish(&batch).unwrap();
/// assert_eq!(frame::decode(&frame).unwrap(), Batch { exchanges: vec![exchange], ..batch });
/// ```
pub struct Framer {
    compressor: Compressor<'static>,
    effort: Effort,
    /// Encoded, and not yet compressed.
    block: Vec<u8>,
    compressed: Vec<u8>,
    raw_bytes: usize,
    /// Compressing has failed: what is told when the batch is finished.
    failed: Option<FrameError>,
}

impl Framer {
    /// One that has nothing yet. Its buffers come with the first exchanges.
    ///
    /// # Errors
    /// When the compressor cannot be made: there is no memory.
    pub fn new() -> Result<Self, FrameError> {
        let make = || {
            let mut compressor = Compressor::new(ZSTD_LEVEL)?;
            compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
            compressor.set_parameter(CParameter::MinMatch(MIN_MATCH))?;
            compressor.set_parameter(CParameter::TargetLength(STEP))?;
            compressor.set_parameter(literals(Effort::Full))?;
            Ok(compressor)
        };
        let compressor = make().map_err(|error: io::Error| FrameError::Compress(error.to_string()))?;
        let effort = Effort::Full;
        Ok(Self { compressor, effort, block: Vec::new(), compressed: Vec::new(), raw_bytes: 0, failed: None })
    }

    /// Says how much is done with what is compressed from now on. One batch may hold both kinds.
    pub fn set_effort(&mut self, effort: Effort) {
        // One that refuses compresses as it did.
        if effort != self.effort && self.compressor.set_parameter(literals(effort)).is_ok() {
            self.effort = effort;
        }
    }

    /// Adds an exchange to the batch that is being made.
    pub fn add(&mut self, exchange: &Exchange) {
        let before = self.block.len();
        self.block.push(EXCHANGES_KEY);
        exchange.encode_length_delimited(&mut self.block).unwrap_or_else(|_| unreachable!("a vector grows"));
        self.raw_bytes += self.block.len() - before;
        if self.block.len() >= BLOCK_BYTES {
            self.compress_block();
        }
    }

    /// Bytes that [`Framer::encode`] writes for an exchange at most: a few hundred more than it mostly writes.
    #[must_use]
    pub fn most_encoded_bytes(exchange: &Exchange) -> usize {
        writer::most_bytes(exchange)
    }

    /// Encodes an exchange as it is in a batch, for [`Framer::add_encoded`], and says how many bytes that took. None when
    /// there is no room for it; there is with [`Framer::most_encoded_bytes`].
    #[must_use]
    pub fn encode(exchange: &Exchange, room: &mut [u8]) -> Option<usize> {
        writer::write(exchange, room)
    }

    /// Adds exchanges that [`Framer::encode`] encoded, one after the other. Many at once are compressed from where they lie.
    ///
    /// ```
    /// use driftline_protocol::{Batch, Exchange, Framer, frame};
    ///
    /// let exchange = Exchange { sequence: 7, status: 200, ..Exchange::default() };
    /// let mut memory = vec![0; Framer::most_encoded_bytes(&exchange)];
    /// let bytes = Framer::encode(&exchange, &mut memory).unwrap();
    /// let mut framer = Framer::new().unwrap();
    /// framer.add_encoded(&memory[..bytes]);
    /// let batch = Batch {
    ///     boot_id: vec![1; 16],
    ///     model: "flights".into(),
    ///     first_sequence: 7,
    ///     last_sequence: 7,
    ///     ..Batch::default()
    /// };
    /// let frame = framer.finish(&batch).unwrap();
    /// assert_eq!(frame::decode(&frame).unwrap(), Batch { exchanges: vec![exchange], ..batch });
    /// ```
    pub fn add_encoded(&mut self, exchanges: &[u8]) {
        self.raw_bytes += exchanges.len();
        if exchanges.len() < LEAST_ALONE_BYTES {
            self.block.extend_from_slice(exchanges);
        } else {
            self.compress_block();
            self.compress(exchanges);
        }
        if self.block.len() >= BLOCK_BYTES {
            self.compress_block();
        }
    }

    /// Bytes of the batch so far, before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Bytes that the batch so far takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.block.len() + self.compressed.len()
    }

    /// Bytes that its buffers take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.block.capacity() + self.compressed.capacity()
    }

    /// Ends the batch: `batch` has everything but the exchanges. Whatever comes of it, the next batch begins empty.
    ///
    /// # Errors
    /// When it is larger than [`frame::MAX_RAW_BYTES`] uncompressed, or [`frame::MAX_FRAME_BYTES`] as a frame.
    pub fn finish(&mut self, batch: &Batch) -> Result<Vec<u8>, FrameError> {
        let before = self.block.len();
        batch.encode(&mut self.block).unwrap_or_else(|_| unreachable!("a vector grows"));
        self.raw_bytes += self.block.len() - before;
        self.compress_block();
        let raw_bytes = std::mem::take(&mut self.raw_bytes);
        let result = match self.failed.take() {
            Some(failed) => Err(failed),
            None => frame::check_raw_length(raw_bytes).and_then(|()| frame::put(raw_bytes, &self.compressed)),
        };
        self.compressed.clear();
        result
    }

    /// Gives memory back past so many bytes for each buffer. For between batches: after a huge one, or a quiet time.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.block.shrink_to(bytes);
        self.compressed.shrink_to(bytes);
    }

    fn compress_block(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        self.compress(&block);
        block.clear();
        self.block = block;
    }

    fn compress(&mut self, encoded: &[u8]) {
        if self.failed.is_none()
            && !encoded.is_empty()
            && let Err(error) = self.try_compress(encoded)
        {
            self.failed = Some(FrameError::Compress(error.to_string()));
        }
    }

    /// Adds what is encoded as a zstd frame of its own: decompressors read one after the other. In one go from where it
    /// lies, it is not copied into the compressor's window first, as a stream's pieces are.
    fn try_compress(&mut self, encoded: &[u8]) -> io::Result<()> {
        self.compressed.reserve(compress_bound(encoded.len()));
        let mut out = Cursor::new(std::mem::take(&mut self.compressed));
        out.set_position(out.get_ref().len() as u64);
        let result = self.compressor.compress_to_buffer(encoded, &mut out);
        self.compressed = out.into_inner();
        result.map(|_| ())
    }
}

/// Whether digits are Huffman-coded. With a step, zstd would leave them as they are unless told.
fn literals(effort: Effort) -> CParameter {
    CParameter::LiteralCompressionMode(match effort {
        Effort::Full => ParamSwitch::Enable,
        Effort::Quick => ParamSwitch::Disable,
    })
}

impl std::fmt::Debug for Framer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Framer").field("raw_bytes", &self.raw_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exchange::Body;

    fn encode(exchanges: &[Exchange]) -> Vec<u8> {
        let mut encoded = vec![0; exchanges.iter().map(Framer::most_encoded_bytes).sum()];
        let mut at = 0;
        for exchange in exchanges {
            at += Framer::encode(exchange, &mut encoded[at..]).unwrap();
        }
        encoded.truncate(at);
        encoded
    }

    #[test]
    fn large_blocks_are_compressed_between_what_was_added_before_and_after_them() {
        let exchange = |sequence: u64| {
            let content: Vec<u8> = (0..10_000_u64).map(|at| (at * sequence % 251) as u8).collect();
            Exchange {
                sequence,
                request: Some(Body { content: content.into(), ..Body::default() }),
                ..Exchange::default()
            }
        };
        let exchanges: Vec<Exchange> = (1..=32).map(exchange).collect();
        let mut framer = Framer::new().unwrap();
        framer.add(&exchanges[0]);
        framer.add_encoded(&encode(&exchanges[1..12]));
        framer.add_encoded(&encode(&exchanges[12..15]));
        framer.add_encoded(&encode(&exchanges[15..31]));
        assert!(framer.block.is_empty(), "they were no less than a block");
        framer.add(&exchanges[31]);
        let batch =
            Batch { boot_id: vec![1; 16], model: "m".into(), first_sequence: 1, last_sequence: 32, ..Batch::default() };
        let frame = framer.finish(&batch).unwrap();
        frame::check(&frame).unwrap();
        assert_eq!(frame::decode(&frame).unwrap(), Batch { exchanges, ..batch });
    }

    #[test]
    fn with_less_effort_digits_stay_as_they_are_and_repetitions_do_not() {
        let mut state = 1_u64;
        let mut digit = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'0' + (state >> 32) as u8 % 10
        };
        let digits: Vec<u8> = (0..BLOCK_BYTES).map(|_| digit()).collect();
        let exchange = |sequence: u64, content: &[u8]| Exchange {
            sequence,
            request: Some(Body { content: content.to_vec().into(), ..Body::default() }),
            ..Exchange::default()
        };
        let exchanges = [exchange(1, &digits), exchange(2, &digits), exchange(3, &digits[..60].repeat(1000))];
        let batch =
            Batch { boot_id: vec![1; 16], model: "m".into(), first_sequence: 1, last_sequence: 3, ..Batch::default() };
        let mut framer = Framer::new().unwrap();
        let mut bytes = Vec::new();
        for (exchange, effort) in exchanges.iter().zip([Effort::Full, Effort::Quick, Effort::Quick]) {
            let before = framer.bytes();
            framer.set_effort(effort);
            framer.add(exchange);
            framer.compress_block();
            bytes.push(framer.bytes() - before);
        }
        assert!(bytes[0] < digits.len() / 2 && bytes[1] > digits.len() && bytes[2] < 1000, "{bytes:?}");
        let frame = framer.finish(&batch).unwrap();
        assert_eq!(frame::decode(&frame).unwrap(), Batch { exchanges: exchanges.to_vec(), ..batch });
    }

    proptest! {
        #[test]
        fn batch_after_batch_reads_as_it_was_added(
            batches in proptest::collection::vec(proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6), 1..5)
        ) {
            let mut framer = Framer::new().unwrap();
            let mut sequence = 0;
            for bodies in batches {
                let first_sequence = sequence + 1;
                let exchanges: Vec<Exchange> = bodies.into_iter().map(|body| {
                    sequence += 1;
                    let request = Body { size: body.len() as u64, content: body.into(), ..Body::default() };
                    Exchange { sequence, request: Some(request), ..Exchange::default() }
                }).collect();
                let (encoded, whole) = exchanges.split_at(exchanges.len() / 2);
                framer.add_encoded(&encode(encoded));
                whole.iter().for_each(|exchange| framer.add(exchange));
                let batch = Batch {
                    boot_id: vec![1; 16], model: "m".into(), first_sequence, last_sequence: sequence, ..Batch::default()
                };
                let frame = framer.finish(&batch).unwrap();
                frame::check(&frame).unwrap();
                prop_assert_eq!(frame::decode(&frame).unwrap(), Batch { exchanges, ..batch });
            }
        }
    }

    #[test]
    fn a_batch_that_is_too_large_is_refused_and_the_next_one_begins_empty() {
        let mut framer = Framer::new().unwrap();
        let mut state = 1u64;
        let noise: Vec<u8> = (0..frame::MAX_FRAME_BYTES + 1)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        framer
            .add(&Exchange { request: Some(Body { content: noise.into(), ..Body::default() }), ..Exchange::default() });
        let batch =
            Batch { boot_id: vec![1; 16], model: "m".into(), first_sequence: 2, last_sequence: 2, ..Batch::default() };
        assert!(matches!(framer.finish(&batch), Err(FrameError::FrameTooLarge { .. })));
        framer.add(&Exchange { sequence: 2, ..Exchange::default() });
        assert_eq!(frame::decode(&framer.finish(&batch).unwrap()).unwrap().exchanges.len(), 1);
        framer.shrink_to(1 << 20);
        assert!(framer.held_bytes() <= 2 << 20);
    }
}
