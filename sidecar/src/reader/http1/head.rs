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
            if is_named(line.name, "content-length") {
                let bytes = content_length(line.value).ok_or(Unreadable::AmbiguousLength)?;
                if *length.get_or_insert(bytes) != bytes {
                    return Err(Unreadable::AmbiguousLength);
                }
            } else if is_named(line.name, "transfer-encoding") {
                coding = Some(line.value);
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

/// Parses a whole request head and hands it on.
pub(super) fn parse_request<T>(
    head: &[u8],
    then: impl FnOnce(RequestHead<'_>) -> Result<T, Unreadable>,
) -> Result<T, Unreadable> {
    // Left as they are until the parser writes them: clearing them costs as much as parsing a short head.
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut lines) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::HeadTooLarge),
        _ => return Err(Unreadable::Malformed),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Unreadable::Malformed) };
    let headers = Headers { lines: request.headers };
    let length = headers.length(Length::None)?;
    then(RequestHead { method, target, headers, length })
}

/// Parses a whole response head and hands it on.
pub(super) fn parse_response<T>(
    head: &[u8],
    then: impl FnOnce(ResponseHead<'_>) -> Result<T, Unreadable>,
) -> Result<T, Unreadable> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, head, &mut lines) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::HeadTooLarge),
        _ => return Err(Unreadable::Malformed),
    }
    let Some(status) = response.code else { return Err(Unreadable::Malformed) };
    let headers = Headers { lines: response.headers };
    let length = headers.length(Length::UntilClose)?;
    then(ResponseHead { status, headers, length })
}
