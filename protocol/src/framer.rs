//! A frame made exchange by exchange, in buffers that are used again.

use prost::Message;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::batch::Batch;
use crate::exchange::Exchange;
use crate::frame::{self, FrameError, HEADER_BYTES, ZSTD_LEVEL};

/// How far back, and in how many places, the compressor looks: 256 KiB, and 4,096 places that stay in the first cache.
/// On a megabyte of JSON that takes a seventh less CPU than level 1's own for a hundredth more bytes; requests of one model
/// are alike, and the last few say it all. See `examples/frame_cost.rs`.
const WINDOW_LOG: u32 = 18;
const HASH_LOG: u32 = 12;
/// The key of `Batch.exchanges`: field 8, length-delimited.
const EXCHANGES_KEY: u8 = 8 << 3 | 2;

/// Encodes exchanges one by one, as they come, and compresses them as one batch.
///
/// An exchange is encoded when it is added, so its bodies need not be kept, and it is copied once before compression.
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
    raw: Vec<u8>,
    compressed: Vec<u8>,
}

impl Framer {
    /// One that has nothing yet. Its buffers come with the first exchanges.
    ///
    /// # Errors
    /// When the compressor cannot be made: there is no memory.
    pub fn new() -> Result<Self, FrameError> {
        let make = || {
            let mut compressor = Compressor::new(ZSTD_LEVEL)?;
            compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
            compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
            Ok(compressor)
        };
        let compressor = make().map_err(|error: std::io::Error| FrameError::Compress(error.to_string()))?;
        Ok(Self { compressor, raw: Vec::new(), compressed: Vec::new() })
    }

    /// Adds an exchange to the batch that is being made.
    pub fn add(&mut self, exchange: &Exchange) {
        self.raw.push(EXCHANGES_KEY);
        let length = exchange.encoded_len();
        self.raw.reserve(length + prost::length_delimiter_len(length));
        exchange.encode_length_delimited(&mut self.raw).unwrap_or_else(|_| unreachable!("a vector grows"));
    }

    /// Bytes of the batch so far, before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// Bytes that its buffers take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.raw.capacity() + self.compressed.capacity()
    }

    /// Ends the batch: `batch` has everything but the exchanges. Whatever comes of it, the next batch begins empty.
    ///
    /// # Errors
    /// When it is larger than [`frame::MAX_RAW_BYTES`] uncompressed, or [`frame::MAX_FRAME_BYTES`] as a frame.
    pub fn finish(&mut self, batch: &Batch) -> Result<Vec<u8>, FrameError> {
        batch.encode(&mut self.raw).unwrap_or_else(|_| unreachable!("a vector grows"));
        let frame = self.compress();
        self.raw.clear();
        frame
    }

    /// Gives memory back past so many bytes for each buffer. For between batches: after a huge one, or a quiet time.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.raw.shrink_to(bytes);
        self.compressed.clear();
        self.compressed.shrink_to(bytes);
    }

    fn compress(&mut self) -> Result<Vec<u8>, FrameError> {
        frame::check_raw_length(self.raw.len())?;
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.raw.len()));
        self.compressor
            .compress_to_buffer(&self.raw, &mut self.compressed)
            .map_err(|error| FrameError::Compress(error.to_string()))?;
        let mut frame = Vec::with_capacity(HEADER_BYTES + self.compressed.len());
        frame::put(&mut frame, self.raw.len(), &self.compressed)?;
        Ok(frame)
    }
}

impl std::fmt::Debug for Framer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Framer").field("raw_bytes", &self.raw.len()).finish_non_exhaustive()
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
