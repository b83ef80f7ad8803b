//! A frame made exchange by exchange, in buffers that are used again.

use std::io;

use prost::Message;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use crate::batch::Batch;
use crate::exchange::Exchange;
use crate::frame::{self, FrameError, HEADER_BYTES, ZSTD_LEVEL};

/// How far back, and in how many places, the compressor looks: 256 KiB, and 4,096 places that stay in the first cache.
/// On a megabyte of JSON that takes a seventh less CPU than level 1's own for a hundredth more bytes; requests of one model
/// are alike, and the last few say it all. See `examples/frame_cost.rs`.
const WINDOW_LOG: u32 = 18;
const HASH_LOG: u32 = 12;
/// How much is encoded before it is compressed. What is compressed in one go stays in the second cache, and takes a few
/// tenths of a millisecond: a whole megabyte at once took two, in which the pump had to wait for its core.
const BLOCK_BYTES: usize = 64 << 10;
/// How much room the compressor is given at a time.
const ROOM_BYTES: usize = 32 << 10;
/// The key of `Batch.exchanges`: field 8, length-delimited.
const EXCHANGES_KEY: u8 = 8 << 3 | 2;

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
    encoder: Encoder<'static>,
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
            let mut encoder = Encoder::new(ZSTD_LEVEL)?;
            encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
            encoder.set_parameter(CParameter::HashLog(HASH_LOG))?;
            Ok(encoder)
        };
        let encoder = make().map_err(|error: io::Error| FrameError::Compress(error.to_string()))?;
        Ok(Self { encoder, block: Vec::new(), compressed: Vec::new(), raw_bytes: 0, failed: None })
    }

    /// Adds an exchange to the batch that is being made.
    pub fn add(&mut self, exchange: &Exchange) {
        let before = self.block.len();
        self.block.push(EXCHANGES_KEY);
        let length = exchange.encoded_len();
        self.block.reserve(length + prost::length_delimiter_len(length));
        exchange.encode_length_delimited(&mut self.block).unwrap_or_else(|_| unreachable!("a vector grows"));
        self.raw_bytes += self.block.len() - before;
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
        let ended = self.end().map_err(|error| FrameError::Compress(error.to_string()));
        let raw_bytes = std::mem::take(&mut self.raw_bytes);
        let result = match self.failed.take() {
            Some(failed) => Err(failed),
            None => ended.and_then(|()| frame::check_raw_length(raw_bytes)).and_then(|()| {
                let mut frame = Vec::with_capacity(HEADER_BYTES + self.compressed.len());
                frame::put(&mut frame, raw_bytes, &self.compressed)?;
                Ok(frame)
            }),
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
        if self.failed.is_none()
            && let Err(error) = self.try_compress_block()
        {
            self.failed = Some(FrameError::Compress(error.to_string()));
        }
        self.block.clear();
    }

    fn try_compress_block(&mut self) -> io::Result<()> {
        let mut input = InBuffer::around(&self.block);
        while input.pos() < self.block.len() {
            self.compressed.reserve(ROOM_BYTES);
            let at = self.compressed.len();
            self.encoder.run(&mut input, &mut OutBuffer::around_pos(&mut self.compressed, at))?;
        }
        Ok(())
    }

    /// Ends the compressed stream, and makes the compressor ready for the next.
    fn end(&mut self) -> io::Result<()> {
        loop {
            self.compressed.reserve(ROOM_BYTES);
            let at = self.compressed.len();
            let left = self.encoder.finish(&mut OutBuffer::around_pos(&mut self.compressed, at), true);
            match left {
                Ok(0) => return self.encoder.reinit(),
                Ok(_) => {}
                Err(error) => {
                    self.encoder.reinit()?;
                    return Err(error);
                }
            }
        }
    }
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
                exchanges.iter().for_each(|exchange| framer.add(exchange));
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
