//! Where messages end, in each of the grammars. None looks at when bytes came, or keeps any.

use std::mem;

use memchr::{memchr, memchr2};

/// What feeding bytes came to.
pub(super) enum Fed {
    /// No message ended.
    More,
    /// One ended after so many bytes.
    Message(usize),
}

/// Server-sent events: blocks of lines, each closed by an empty one. A block without data is no event.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Line,
    has_data: bool,
    /// The last byte was a carriage return that ended a line: a line feed behind it belongs to it.
    after_return: bool,
    /// The last line ended in both. Then the empty line that closes an event does, too, and its line feed is waited for.
    ends_in_both: bool,
    /// An event was closed by a carriage return whose line feed is to come.
    closing: bool,
}

/// What the current line has been so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// A byte-order mark at the stream's beginning, of which so many bytes passed.
    Mark(u8),
    /// So many bytes, all of which the word `data` begins with.
    Name(u8),
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Mark(0)
    }
}

impl Events {
    const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
    const DATA: [u8; 4] = *b"data";

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            let after_return = mem::take(&mut self.after_return);
            if after_return {
                self.ends_in_both = byte == b'\n';
                // A line feed that was waited for in vain was none: this byte begins the next line.
                at += usize::from(self.ends_in_both);
                if mem::take(&mut self.closing) {
                    return Fed::Message(at);
                }
                if self.ends_in_both {
                    continue;
                }
            }
            match byte {
                b'\n' | b'\r' => {
                    at += 1;
                    self.after_return = byte == b'\r';
                    self.ends_in_both &= self.after_return;
                    if self.end_line() {
                        if byte == b'\n' || !self.ends_in_both {
                            return Fed::Message(at);
                        }
                        self.closing = true;
                    }
                }
                _ if self.line == Line::Other => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    at += memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
                _ => {
                    self.line = self.line.with(byte);
                    if self.line == Line::Name(5) {
                        self.has_data = true;
                        self.line = Line::Other;
                    }
                    at += 1;
                }
            }
        }
        Fed::More
    }

    /// Whether an event has ended but for a line feed that may come.
    pub(super) fn is_pending(&self) -> bool {
        self.closing
    }

    /// Ends the current line. True when it was empty, and closed an event.
    fn end_line(&mut self) -> bool {
        let line = mem::replace(&mut self.line, Line::Name(0));
        // A field without a colon is one without a value.
        self.has_data |= line == Line::Name(4);
        matches!(line, Line::Name(0) | Line::Mark(0 | 3)) && mem::take(&mut self.has_data)
    }
}

impl Line {
    fn with(self, byte: u8) -> Self {
        match self {
            Self::Mark(seen) if Events::MARK.get(usize::from(seen)) == Some(&byte) => Self::Mark(seen + 1),
            Self::Mark(0 | 3) => Self::Name(0).with(byte),
            Self::Name(4) if byte == b':' => Self::Name(5),
            Self::Name(seen) if Events::DATA.get(usize::from(seen)) == Some(&byte) => Self::Name(seen + 1),
            _ => Self::Other,
        }
    }
}

/// gRPC's length-prefixed messages: a byte of flags, four of length, and the message.
#[derive(Debug, Default)]
pub(super) struct Grpc {
    prefix: [u8; 5],
    prefix_bytes: usize,
    /// Bytes of the message that are to come.
    left: u32,
}

impl Grpc {
    /// By this flag gRPC-Web marks trailers, which are no message.
    const TRAILERS: u8 = 0x80;

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut at = 0;
        loop {
            while self.prefix_bytes < self.prefix.len() {
                let Some(byte) = bytes.get(at) else { return Fed::More };
                self.prefix[self.prefix_bytes] = *byte;
                self.prefix_bytes += 1;
                at += 1;
                let [_, length @ ..] = self.prefix;
                self.left = u32::from_be_bytes(length);
            }
            let take = (self.left as usize).min(bytes.len() - at);
            at += take;
            self.left -= take as u32;
            if self.left > 0 {
                return Fed::More;
            }
            self.prefix_bytes = 0;
            if self.prefix[0] & Self::TRAILERS == 0 {
                return Fed::Message(at);
            }
        }
    }
}

/// Lines, of which empty ones are no message.
#[derive(Debug, Default)]
pub(super) struct Lines {
    has_content: bool,
}

impl Lines {
    /// Whether a line has content and no end.
    pub(super) fn is_pending(&self) -> bool {
        self.has_content
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr(b'\n', rest);
            let line = rest.split_at(end.unwrap_or(rest.len())).0;
            self.has_content = self.has_content || line.iter().any(|byte| !byte.is_ascii_whitespace());
            let Some(end) = end else { break };
            at += end + 1;
            if mem::take(&mut self.has_content) {
                return Fed::Message(at);
            }
        }
        Fed::More
    }
}
