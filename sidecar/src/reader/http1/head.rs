//! Message heads: parsed whole, and what they say of their bodies' lengths.

use std::mem::MaybeUninit;

use crate::reader::body::content_length;
use crate::reader::capture::Fields;
use crate::reader::{Unreadable, is_named};

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
    lines: &'a [httparse::Header<'a>],
}

impl Fields for Headers<'_> {
    fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|line| (line.name, line.value))
    }
}

impl<'a> Headers<'a> {
    /// Whether a header has this value, in any case.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        let is_name = |line: &&httparse::Header<'_>| line.name.eq_ignore_ascii_case(name);
        self.lines.iter().filter(is_name).any(|line| line.value.trim_ascii().eq_ignore_ascii_case(value.as_bytes()))
    }

    /// What the headers alone say of the body's length; `otherwise` when they say nothing.
    fn length(&self, otherwise: Length) -> Result<Length, Unreadable> {
        let mut length = None;
        let mut coding = None;
        for line in self.lines {
            match line.name.len() {
                14 if is_named(line.name, "content-length") => {
                    let bytes = content_length(line.value).ok_or(Unreadable::AmbiguousLength)?;
                    if *length.get_or_insert(bytes) != bytes {
                        return Err(Unreadable::AmbiguousLength);
                    }
                }
                17 if is_named(line.name, "transfer-encoding") => coding = Some(line.value),
                _ => {}
            }
        }
        match (coding, length) {
            // Two claims are how requests are smuggled. Who is right depends on the server, so the reader stands aside.
            (Some(_), Some(_)) => Err(Unreadable::AmbiguousLength),
            (Some(codings), None) => {
                let last = codings.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
                if last.eq_ignore_ascii_case(b"chunked") {
                    Ok(Length::Chunked)
                } else {
                    Err(Unreadable::AmbiguousLength)
                }
            }
            (None, Some(bytes)) => Ok(Length::Fixed(bytes)),
            (None, None) => Ok(otherwise),
        }
    }
}

/// What is to be read of bytes that begin with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// A head that is known to be whole.
    Whole,
    /// Perhaps a whole head, and what comes after it. What is none is not judged yet: it may be one when more has come.
    Perhaps,
}

impl Expected {
    /// What to do about a head that was not read.
    fn otherwise<T>(self, why: Unreadable) -> Result<Option<T>, Unreadable> {
        match self {
            Self::Whole => Err(why),
            Self::Perhaps => Ok(None),
        }
    }
}

/// Parses a request head, and hands it on. Gives what that came to, and how many bytes the head has; None where none was
/// [expected](Expected) for certain and there is none.
pub(super) fn parse_request<T>(
    bytes: &[u8],
    expected: Expected,
    then: impl FnOnce(RequestHead<'_>) -> Result<T, Unreadable>,
) -> Result<Option<(T, usize)>, Unreadable> {
    // Left as they are until the parser writes them: clearing them costs as much as parsing a short head.
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    let end = match request.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete(end)) => end,
        Err(httparse::Error::TooManyHeaders) => return expected.otherwise(Unreadable::HeadTooLarge),
        _ => return expected.otherwise(Unreadable::Malformed),
    };
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Unreadable::Malformed) };
    let headers = Headers { lines: request.headers };
    let length = headers.length(Length::None)?;
    then(RequestHead { method, target, headers, length }).map(|came_to| Some((came_to, end)))
}

/// Parses a response head as [`parse_request`] does a request's.
pub(super) fn parse_response<T>(
    bytes: &[u8],
    expected: Expected,
    then: impl FnOnce(ResponseHead<'_>) -> Result<T, Unreadable>,
) -> Result<Option<(T, usize)>, Unreadable> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let end = match config.parse_response_with_uninit_headers(&mut response, bytes, &mut lines) {
        Ok(httparse::Status::Complete(end)) => end,
        Err(httparse::Error::TooManyHeaders) => return expected.otherwise(Unreadable::HeadTooLarge),
        _ => return expected.otherwise(Unreadable::Malformed),
    };
    let Some(status) = response.code else { return Err(Unreadable::Malformed) };
    let headers = Headers { lines: response.headers };
    let length = headers.length(Length::UntilClose)?;
    then(ResponseHead { status, headers, length }).map(|came_to| Some((came_to, end)))
}
