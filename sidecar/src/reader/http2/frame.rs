//! HTTP/2 frames in one direction of a connection (RFC 9113, section 4).

use std::mem;
use std::sync::Arc;

use crate::budget::Budget;
use crate::reader::buffer::Buffer;
use crate::reader::{Moment, Unreadable};

/// The largest frame until a receiver allows more.
pub(super) const FIRST_MAX_FRAME_BYTES: u32 = 16 << 10;
/// Longest header block, over all its frames, and longest payload of another frame that is kept while it arrives.
const MAX_BLOCK_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// END_STREAM, and ACK of settings.
const END_OR_ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
const SETTINGS_MAX_FRAME_SIZE: u16 = 5;

/// What a direction's frames are told to.
pub(super) trait Events {
    /// A header block has arrived, whose first byte came at this time.
    fn headers(&mut self, stream: u32, block: &[u8], began: Moment) -> Result<(), Unreadable>;
    /// The header block of a promised stream. Only the header table needs it.
    fn push_promise(&mut self, block: &[u8]) -> Result<(), Unreadable>;
    fn data(&mut self, stream: u32, bytes: &[u8]);
    /// The sender's side of a stream is over.
    fn end(&mut self, stream: u32);
    fn reset(&mut self, stream: u32, error: u32);
    /// No stream after this one is answered.
    fn go_away(&mut self, last_stream: u32);
    fn settings(&mut self, settings: Settings) -> Result<(), Unreadable>;
    fn settings_acknowledged(&mut self);
}

/// What a SETTINGS frame says that a reader needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) header_table_bytes: Option<u32>,
    pub(super) max_frame_bytes: Option<u32>,
}

/// Where in its frames a direction is.
#[derive(Debug, Default)]
pub(super) struct Frames {
    state: State,
    /// A frame's header that has not arrived whole.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// When the current header block, or what may be its frame, began.
    began: Option<Moment>,
    /// A payload that has not arrived whole.
    payload: Buffer,
    /// A header block whose end is to come.
    block: Option<Block>,
    /// The first frame, which must be SETTINGS, has come.
    any_frames: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Header,
    /// A payload that is read whole.
    Whole(Frame),
    /// The byte that says how much of a DATA frame is padding.
    PadLength(Frame),
    /// So many bytes of data, then so many of padding.
    Data { frame: Frame, left: u32, padding: u32 },
    /// So many bytes that say nothing here.
    Skip(u32),
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: u32,
}

#[derive(Debug)]
struct Block {
    stream: u32,
    is_promise: bool,
    ends_stream: bool,
    bytes: Buffer,
}

impl Frames {
    /// Whether no frame and no header block is on its way.
    pub(super) fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Header) && self.header_bytes == 0 && self.block.is_none()
    }

    /// Follows bytes, in frames of at most this length.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        now: Moment,
        max_frame_bytes: u32,
        budget: &Arc<Budget>,
        events: &mut impl Events,
    ) -> Result<(), Unreadable> {
        loop {
            match self.state {
                State::Header => {
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    if self.header_bytes == 0 && self.block.is_none() {
                        self.began = Some(now);
                    }
                    let missing = &mut self.header[self.header_bytes..];
                    let take = missing.len().min(bytes.len());
                    missing[..take].copy_from_slice(&bytes[..take]);
                    self.header_bytes += take;
                    bytes = &bytes[take..];
                    if self.header_bytes < HEADER_BYTES {
                        return Ok(());
                    }
                    self.header_bytes = 0;
                    self.state = self.begin(Frame::parse(self.header), max_frame_bytes)?;
                }
                State::Whole(frame) => {
                    let missing = frame.length as usize - self.payload.bytes().len();
                    let take = missing.min(bytes.len());
                    let (part, rest) = bytes.split_at(take);
                    if take < missing {
                        self.payload.extend(part, budget)?;
                        return Ok(());
                    }
                    self.state = State::Header;
                    bytes = rest;
                    if self.payload.is_empty() {
                        self.whole(frame, part, now, budget, events)?;
                    } else {
                        self.payload.extend(part, budget)?;
                        let payload = mem::take(&mut self.payload);
                        self.whole(frame, payload.bytes(), now, budget, events)?;
                    }
                }
                State::PadLength(frame) => {
                    let Some((padding, rest)) = bytes.split_first() else { return Ok(()) };
                    bytes = rest;
                    let padding = u32::from(*padding);
                    let left = (frame.length - 1).checked_sub(padding).ok_or(Unreadable::Malformed)?;
                    self.state = State::Data { frame, left, padding };
                }
                State::Data { frame, left: 0, padding: 0 } => {
                    self.state = State::Header;
                    if frame.has(END_OR_ACK) {
                        events.end(frame.stream);
                    }
                }
                State::Data { frame, left, padding } => {
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    let (data, rest) = bytes.split_at(bytes.len().min(left as usize));
                    if !data.is_empty() {
                        events.data(frame.stream, data);
                    }
                    let skip = rest.len().min(padding as usize);
                    let left = left - data.len() as u32;
                    let skip = if left == 0 { skip } else { 0 };
                    bytes = &rest[skip..];
                    self.state = State::Data { frame, left, padding: padding - skip as u32 };
                }
                State::Skip(0) => self.state = State::Header,
                State::Skip(left) => {
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    let take = bytes.len().min(left as usize);
                    bytes = &bytes[take..];
                    self.state = State::Skip(left - take as u32);
                }
            }
        }
    }

    /// What to do with a frame whose header is there.
    fn begin(&mut self, frame: Frame, max_frame_bytes: u32) -> Result<State, Unreadable> {
        let is_first = !mem::replace(&mut self.any_frames, true);
        let continues = self.block.as_ref().map(|block| block.stream);
        let is_in_place = match continues {
            // Nothing may come between the frames of a header block (RFC 9113, section 4.3).
            Some(stream) => frame.kind == CONTINUATION && frame.stream == stream,
            None => frame.kind != CONTINUATION && (!is_first || frame.kind == SETTINGS),
        };
        // Some frames speak of a stream, some of the connection.
        let has_its_place = match frame.kind {
            DATA | HEADERS | RST_STREAM | PUSH_PROMISE => frame.stream != 0,
            SETTINGS | GOAWAY => frame.stream == 0,
            _ => true,
        };
        if !is_in_place || !has_its_place || frame.length > max_frame_bytes {
            return Err(Unreadable::Malformed);
        }
        Ok(match frame.kind {
            DATA if frame.has(PADDED) && frame.length == 0 => return Err(Unreadable::Malformed),
            DATA if frame.has(PADDED) => State::PadLength(frame),
            DATA => State::Data { frame, left: frame.length, padding: 0 },
            HEADERS | RST_STREAM | SETTINGS | PUSH_PROMISE | GOAWAY | CONTINUATION => {
                if frame.length as usize > MAX_BLOCK_BYTES {
                    return Err(Unreadable::HeadTooLarge);
                }
                State::Whole(frame)
            }
            _ => State::Skip(frame.length),
        })
    }

    fn whole(
        &mut self,
        frame: Frame,
        payload: &[u8],
        now: Moment,
        budget: &Arc<Budget>,
        events: &mut impl Events,
    ) -> Result<(), Unreadable> {
        match frame.kind {
            HEADERS | PUSH_PROMISE => {
                let fragment = frame.fragment(payload).ok_or(Unreadable::Malformed)?;
                let is_promise = frame.kind == PUSH_PROMISE;
                let ends_stream = !is_promise && frame.has(END_OR_ACK);
                let mut block = Block { stream: frame.stream, is_promise, ends_stream, bytes: Buffer::default() };
                if frame.has(END_HEADERS) {
                    return self.block(&block, fragment, now, events);
                }
                block.bytes.extend(fragment, budget)?;
                self.block = Some(block);
            }
            CONTINUATION => {
                let Some(mut block) = self.block.take() else { return Err(Unreadable::Malformed) };
                if block.bytes.bytes().len() + payload.len() > MAX_BLOCK_BYTES {
                    return Err(Unreadable::HeadTooLarge);
                }
                block.bytes.extend(payload, budget)?;
                if frame.has(END_HEADERS) {
                    return self.block(&block, block.bytes.bytes(), now, events);
                }
                self.block = Some(block);
            }
            RST_STREAM => {
                let error = payload.try_into().map_err(|_| Unreadable::Malformed)?;
                events.reset(frame.stream, u32::from_be_bytes(error));
            }
            SETTINGS if frame.has(END_OR_ACK) => events.settings_acknowledged(),
            SETTINGS => events.settings(Settings::parse(payload)?)?,
            GOAWAY => {
                let last = payload.first_chunk().ok_or(Unreadable::Malformed)?;
                events.go_away(u32::from_be_bytes(*last) & 0x7fff_ffff);
            }
            _ => {}
        }
        Ok(())
    }

    fn block(&self, block: &Block, bytes: &[u8], now: Moment, events: &mut impl Events) -> Result<(), Unreadable> {
        if block.is_promise {
            return events.push_promise(bytes);
        }
        events.headers(block.stream, bytes, self.began.unwrap_or(now))?;
        if block.ends_stream {
            events.end(block.stream);
        }
        Ok(())
    }
}

impl Frame {
    fn parse(header: [u8; HEADER_BYTES]) -> Self {
        let [high, middle, low, kind, flags, stream @ ..] = header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        Self { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, length }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The header block's part of a HEADERS or PUSH_PROMISE payload.
    fn fragment<'a>(&self, mut payload: &'a [u8]) -> Option<&'a [u8]> {
        if self.has(PADDED) {
            let (padding, rest) = payload.split_first()?;
            payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        let before = match self.kind {
            // The promised stream's number.
            PUSH_PROMISE => 4,
            // The stream's dependency and weight.
            _ if self.has(PRIORITY) => 5,
            _ => 0,
        };
        payload.get(before..)
    }
}

impl Settings {
    fn parse(payload: &[u8]) -> Result<Self, Unreadable> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Unreadable::Malformed);
        }
        let mut parsed = Self::default();
        for [name_high, name_low, value @ ..] in settings {
            let value = Some(u32::from_be_bytes(*value));
            match u16::from_be_bytes([*name_high, *name_low]) {
                SETTINGS_HEADER_TABLE_SIZE => parsed.header_table_bytes = value,
                SETTINGS_MAX_FRAME_SIZE => parsed.max_frame_bytes = value,
                _ => {}
            }
        }
        Ok(parsed)
    }
}
