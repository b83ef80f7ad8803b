//! HTTP/1.1 messages in one direction of a connection.

use std::mem;
use std::sync::Arc;

use super::chunked::{Chunked, Fed};
use super::head::{Expected, Length};
use crate::budget::Budget;
use crate::reader::buffer::Buffer;
use crate::reader::{Moment, Unreadable};

/// Longest message head that is kept while it arrives. Servers commonly stop at 8 to 64 KiB themselves.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// What a direction's messages are told to.
pub(super) trait Messages {
    /// Bytes that begin with a head, as far as is expected, whose first byte came at this time. Gives what follows it, and
    /// how long it is; None where it is not whole, or none.
    fn head(&mut self, bytes: &[u8], expected: Expected, began: Moment) -> Result<Option<(Next, usize)>, Unreadable>;
    /// Bytes of the body, with the transfer coding undone.
    fn body(&mut self, bytes: &[u8]);
    /// The message is over.
    fn end(&mut self);
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A body of this length.
    Body(Length),
    /// No message any more: HTTP/2.
    Http2,
}

/// Where in its messages a direction is.
#[derive(Debug)]
pub(super) struct Direction {
    state: State,
    /// A head that has not arrived whole, and when it began.
    head: Buffer,
    began: Option<Moment>,
}

#[derive(Debug)]
enum State {
    Head,
    Fixed(u64),
    Chunked(Chunked),
    UntilClose,
    Http2,
}

impl Direction {
    pub(super) fn new() -> Self {
        Self { state: State::Head, head: Buffer::default(), began: None }
    }

    /// Whether the direction is between two messages.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Head) && self.head.is_empty()
    }

    /// Follows bytes. Gives back those that are HTTP/2, once there are such.
    pub(super) fn feed<'a>(
        &mut self,
        mut bytes: &'a [u8],
        now: Moment,
        budget: &Arc<Budget>,
        messages: &mut impl Messages,
    ) -> Result<Option<&'a [u8]>, Unreadable> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Head => bytes = self.feed_head(bytes, now, budget, messages)?,
                State::Fixed(left) => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    messages.body(&bytes[..take]);
                    *left -= take as u64;
                    if *left == 0 {
                        self.end(messages);
                    }
                    bytes = &bytes[take..];
                }
                State::Chunked(chunked) => match chunked.feed(bytes, |data| messages.body(data))? {
                    Fed::More => return Ok(None),
                    Fed::End(at) => {
                        self.end(messages);
                        bytes = &bytes[at..];
                    }
                },
                State::UntilClose => {
                    messages.body(bytes);
                    return Ok(None);
                }
                State::Http2 => return Ok(Some(bytes)),
            }
        }
        Ok(matches!(self.state, State::Http2).then_some(bytes))
    }

    /// The sender is done: where a message goes on until then, it ends.
    pub(super) fn close(&mut self, messages: &mut impl Messages) {
        if matches!(self.state, State::UntilClose) {
            self.end(messages);
        }
    }

    fn feed_head<'a>(
        &mut self,
        bytes: &'a [u8],
        now: Moment,
        budget: &Arc<Budget>,
        messages: &mut impl Messages,
    ) -> Result<&'a [u8], Unreadable> {
        if self.head.is_empty() {
            // Empty lines before a head are allowed (RFC 9112, section 2.2).
            let skip = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let bytes = &bytes[skip..];
            // Nearly all heads come whole. Those are parsed where they lie, without a search for their end before.
            let within = bytes.get(..MAX_HEAD_BYTES).unwrap_or(bytes);
            if let Some((next, end)) = messages.head(within, Expected::Perhaps, now)? {
                self.follow(next, messages);
                return Ok(&bytes[end..]);
            }
            if let Some(end) = end_of_head(bytes, 0).filter(|end| *end <= MAX_HEAD_BYTES) {
                self.begin(&bytes[..end], now, messages)?;
                return Ok(&bytes[end..]);
            }
            if bytes.len() > MAX_HEAD_BYTES {
                return Err(Unreadable::HeadTooLarge);
            }
            self.began = Some(now);
            self.head.extend(bytes, budget)?;
            return Ok(&[]);
        }
        let before = self.head.bytes().len();
        // Only as much as a head may have: a large body behind it is not copied in search of its end.
        let take = bytes.len().min(MAX_HEAD_BYTES + 1 - before);
        self.head.extend(&bytes[..take], budget)?;
        // The end may straddle what was there and what came: three bytes back is enough to see it.
        let end = end_of_head(self.head.bytes(), before.saturating_sub(3)).filter(|end| *end <= MAX_HEAD_BYTES);
        let Some(end) = end else {
            if self.head.bytes().len() > MAX_HEAD_BYTES {
                return Err(Unreadable::HeadTooLarge);
            }
            return Ok(&bytes[take..]);
        };
        let head = mem::take(&mut self.head);
        let began = self.began.take().unwrap_or(now);
        self.begin(&head.bytes()[..end], began, messages)?;
        Ok(&bytes[end - before..])
    }

    fn begin(&mut self, head: &[u8], began: Moment, messages: &mut impl Messages) -> Result<(), Unreadable> {
        let (next, _) = messages.head(head, Expected::Whole, began)?.ok_or(Unreadable::Malformed)?;
        self.follow(next, messages);
        Ok(())
    }

    fn follow(&mut self, next: Next, messages: &mut impl Messages) {
        match next {
            Next::Http2 => self.state = State::Http2,
            Next::Body(Length::None | Length::Fixed(0)) => messages.end(),
            Next::Body(Length::Fixed(length)) => self.state = State::Fixed(length),
            Next::Body(Length::Chunked) => self.state = State::Chunked(Chunked::new()),
            Next::Body(Length::UntilClose) => self.state = State::UntilClose,
        }
    }

    fn end(&mut self, messages: &mut impl Messages) {
        self.state = State::Head;
        messages.end();
    }
}

/// The index after the empty line that ends a head, searched from an index on.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    /// Bytes that are looked at together, without a branch for each line: compilers make a few vector instructions of it.
    const BLOCK: usize = 32;
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<{ BLOCK + 2 }>()) {
        let ends_at = |index: usize| {
            let [first, second, third] = [block[index], block[index + 1], block[index + 2]];
            (first == b'\n') & ((second == b'\n') | (second == b'\r') & (third == b'\n'))
        };
        if (0..BLOCK).fold(false, |found, index| found | ends_at(index)) {
            break;
        }
        at += BLOCK;
    }
    while let Some(found) = memchr::memchr(b'\n', &bytes[at..]) {
        at += found + 1;
        match &bytes[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heads_end_is_found_wherever_it_is() {
        for before in 0..100 {
            for end in ["\n\n", "\n\r\n"] {
                let head = format!("{:x<before$}{end}", "");
                let bytes = format!("{head}body\r\n\r\n");
                assert_eq!(end_of_head(bytes.as_bytes(), 0), Some(head.len()));
                assert_eq!(end_of_head(head.as_bytes(), before), Some(head.len()));
                assert_eq!(end_of_head(&head.as_bytes()[..head.len() - 1], 0), None);
            }
        }
    }
}
