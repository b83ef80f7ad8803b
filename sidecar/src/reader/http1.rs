//! HTTP/1.1 messages in one direction of a connection.

use super::Unreadable;
use super::chunked::{Chunked, Fed};

/// Longest message head that is kept while it arrives. Servers commonly stop at 8 to 64 KiB themselves.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Most header lines of one head.
const MAX_HEADERS: usize = 128;

/// How long a message's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// There is no body.
    None,
    /// So many bytes.
    Fixed(u64),
    /// In chunks.
    Chunked,
    /// Whatever comes until the connection closes.
    UntilClose,
}

/// What a direction's messages are told to.
pub(super) trait Messages {
    /// A head has arrived. Answers how long the body is; `None` when no body follows and the connection passes to another
    /// protocol.
    fn head(&mut self, head: &[u8]) -> Result<Option<Length>, Unreadable>;
    /// Bytes of the body, with the transfer coding undone.
    fn body(&mut self, bytes: &[u8]);
    /// The message is over.
    fn end(&mut self);
}

/// Where in its messages a direction is.
#[derive(Debug)]
pub(super) struct Http1 {
    state: State,
    /// A head that has not arrived whole.
    head: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Head,
    Fixed(u64),
    Chunked(Chunked),
    UntilClose,
}

impl Http1 {
    pub(super) fn new() -> Self {
        Self { state: State::Head, head: Vec::new() }
    }

    /// Whether the direction is between two messages.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Head) && self.head.is_empty()
    }

    /// Follows bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8], messages: &mut impl Messages) -> Result<(), Unreadable> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Head => bytes = self.feed_head(bytes, messages)?,
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
                    Fed::More => return Ok(()),
                    Fed::End(at) => {
                        self.end(messages);
                        bytes = &bytes[at..];
                    }
                },
                State::UntilClose => {
                    messages.body(bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The sender is done. True when that is where its message ended.
    pub(super) fn close(&mut self, messages: &mut impl Messages) -> bool {
        let at_an_end = matches!(self.state, State::UntilClose);
        if at_an_end {
            self.end(messages);
        }
        at_an_end
    }

    fn feed_head<'a>(&mut self, bytes: &'a [u8], messages: &mut impl Messages) -> Result<&'a [u8], Unreadable> {
        if self.head.is_empty() {
            // Empty lines before a head are allowed (RFC 9112, section 2.2).
            let skip = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let bytes = &bytes[skip..];
            return match end_of_head(bytes, 0) {
                Some(end) => {
                    self.begin(&bytes[..end], messages)?;
                    Ok(&bytes[end..])
                }
                None => {
                    self.keep(bytes)?;
                    Ok(&[])
                }
            };
        }
        let before = self.head.len();
        // Only as much as a head may have: a large body behind it is not copied in search of its end.
        let take = bytes.len().min(MAX_HEAD_BYTES + 1 - before);
        self.head.extend_from_slice(&bytes[..take]);
        // The end may straddle what was there and what came: three bytes back is enough to see it.
        let Some(end) = end_of_head(&self.head, before.saturating_sub(3)) else {
            if self.head.len() > MAX_HEAD_BYTES {
                return Err(Unreadable::HeadTooLarge);
            }
            return Ok(&bytes[take..]);
        };
        let head = std::mem::take(&mut self.head);
        self.begin(&head[..end], messages)?;
        Ok(&bytes[end - before..])
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(Unreadable::HeadTooLarge);
        }
        self.head.extend_from_slice(bytes);
        Ok(())
    }

    fn begin(&mut self, head: &[u8], messages: &mut impl Messages) -> Result<(), Unreadable> {
        match messages.head(head)? {
            None => return Err(Unreadable::Upgraded),
            Some(Length::None | Length::Fixed(0)) => messages.end(),
            Some(Length::Fixed(length)) => self.state = State::Fixed(length),
            Some(Length::Chunked) => self.state = State::Chunked(Chunked::new()),
            Some(Length::UntilClose) => self.state = State::UntilClose,
        }
        Ok(())
    }

    fn end(&mut self, messages: &mut impl Messages) {
        self.state = State::Head;
        messages.end();
    }
}

/// The index after the empty line that ends a head, searched from an index on.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
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

/// A parsed request head.
#[derive(Debug)]
pub(super) struct RequestHead<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: Headers<'a>,
    pub(super) length: Length,
}

/// A parsed response head, whose body's length depends on the request too.
#[derive(Debug)]
pub(super) struct ResponseHead<'a> {
    pub(super) status: u16,
    pub(super) headers: Headers<'a>,
    pub(super) length: Length,
}

/// Header lines as they stand.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    lines: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Headers<'a> {
    fn new(lines: &[httparse::Header<'a>]) -> Self {
        Self { lines: lines.iter().map(|line| (line.name, line.value)).collect() }
    }

    /// All lines.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.lines.iter().copied()
    }

    fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.iter().filter(move |(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of a header.
    pub(super) fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// What the headers alone say of the body's length; `otherwise` when they say nothing.
    fn length(&self, otherwise: Length) -> Result<Length, Unreadable> {
        let mut length = None;
        for value in self.values("content-length") {
            let text = std::str::from_utf8(value).map_err(|_| Unreadable::Malformed)?.trim();
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Unreadable::AmbiguousLength);
            }
            let bytes: u64 = text.parse().map_err(|_| Unreadable::AmbiguousLength)?;
            if *length.get_or_insert(bytes) != bytes {
                return Err(Unreadable::AmbiguousLength);
            }
        }
        let mut codings = self.values("transfer-encoding").peekable();
        match (codings.peek().is_some(), length) {
            // Two claims are how requests are smuggled. Who is right depends on the server, so the reader stands aside.
            (true, Some(_)) => Err(Unreadable::AmbiguousLength),
            (true, None) => {
                let last = codings.last().unwrap_or_default();
                let last = last.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
                if last.eq_ignore_ascii_case(b"chunked") {
                    Ok(Length::Chunked)
                } else {
                    Err(Unreadable::AmbiguousLength)
                }
            }
            (false, Some(bytes)) => Ok(Length::Fixed(bytes)),
            (false, None) => Ok(otherwise),
        }
    }
}

/// Parses a whole request head and hands it on.
pub(super) fn parse_request<T>(
    head: &[u8],
    then: impl FnOnce(RequestHead<'_>) -> Result<T, Unreadable>,
) -> Result<T, Unreadable> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::HeadTooLarge),
        _ => return Err(Unreadable::Malformed),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Unreadable::Malformed) };
    let headers = Headers::new(request.headers);
    let length = headers.length(Length::None)?;
    then(RequestHead { method, target, headers, length })
}

/// Parses a whole response head and hands it on.
pub(super) fn parse_response<T>(
    head: &[u8],
    then: impl FnOnce(ResponseHead<'_>) -> Result<T, Unreadable>,
) -> Result<T, Unreadable> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut lines);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::HeadTooLarge),
        _ => return Err(Unreadable::Malformed),
    }
    let Some(status) = response.code else { return Err(Unreadable::Malformed) };
    let headers = Headers::new(response.headers);
    let length = headers.length(Length::UntilClose)?;
    then(ResponseHead { status, headers, length })
}
