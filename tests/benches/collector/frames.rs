//! Frames of exchanges whose bodies were compressed before the load began.
//!
//! Sidecars compress on other machines than the collector's. Here that would be on its two cores: of 125 µs that an exchange
//! of a hundred rows took the load, 100 were the compressor's. A frame is made of blocks that are decompressed one after the
//! other, so bodies that nearly fill a block can be one by themselves: compressed once, as a sidecar does it, and sent behind
//! the rest of their exchange, of which no two are the same. Smaller bodies share blocks, and are compressed as they are sent.

use driftline_protocol::{Batch, Body, Exchange};
use prost::Message;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch};

/// The key of `Batch.exchanges`: field 8, length-delimited.
const EXCHANGES_KEY: u8 = 8 << 3 | 2;
/// What a frame begins with: version 1, codec 1.
const MAGIC: &[u8; 8] = b"DRFT\x01\x01\0\0";

/// A request's and a response's body, as the fields of an exchange, compressed.
pub(crate) struct Block {
    raw_bytes: usize,
    compressed: Vec<u8>,
}

/// Puts frames together.
pub(crate) struct Frames {
    compressor: Compressor<'static>,
    payload: Vec<u8>,
    raw_bytes: usize,
}

impl Block {
    pub(crate) fn new((request, response): &(Body, Body)) -> Self {
        let (request, response) = (Some(request.clone()), Some(response.clone()));
        let raw = Exchange { request, response, ..Exchange::default() }.encode_to_vec();
        Self { raw_bytes: raw.len(), compressed: compressor().compress(&raw).unwrap() }
    }
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self { compressor: compressor(), payload: Vec::new(), raw_bytes: 0 }
    }

    /// Adds an exchange that has no bodies yet, with these.
    pub(crate) fn add(&mut self, exchange: &Exchange, bodies: &Block) {
        let mut head = vec![EXCHANGES_KEY];
        prost::encode_length_delimiter(exchange.encoded_len() + bodies.raw_bytes, &mut head).unwrap();
        exchange.encode(&mut head).unwrap();
        self.add_block(&head);
        self.payload.extend_from_slice(&bodies.compressed);
        self.raw_bytes += bodies.raw_bytes;
    }

    /// The frame of what was added; `batch` has everything but the exchanges.
    pub(crate) fn finish(&mut self, batch: &Batch) -> Vec<u8> {
        self.add_block(&batch.encode_to_vec());
        let raw_bytes = std::mem::take(&mut self.raw_bytes) as u32;
        let mut frame = [MAGIC.as_slice(), &raw_bytes.to_le_bytes()].concat();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&frame), &self.payload);
        frame.extend(checksum.to_le_bytes());
        frame.append(&mut self.payload);
        frame
    }

    fn add_block(&mut self, raw: &[u8]) {
        self.payload.extend(self.compressor.compress(raw).unwrap());
        self.raw_bytes += raw.len();
    }
}

/// One that is set as the sidecar's is.
fn compressor() -> Compressor<'static> {
    let mut compressor = Compressor::new(1).unwrap();
    let literals = CParameter::LiteralCompressionMode(ParamSwitch::Enable);
    for parameter in [CParameter::HashLog(12), CParameter::MinMatch(7), CParameter::TargetLength(2), literals] {
        compressor.set_parameter(parameter).unwrap();
    }
    compressor
}
