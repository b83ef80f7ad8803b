//! Passive readers: state machines that follow a connection's bytes after they were sent on.
//!
//! They do no I/O, know no runtime and read no clock. Whatever they meet, traffic goes on: a reader that can't follow
//! says why, and its connection passes unread from there on.
//!
//! ```text
//!   client bytes ──▶ http1::Messages ──head, body, end──▶ ┐
//!                                                         ├─▶ Reader: pairs them in order ──▶ Captured
//!   upstream bytes ─▶ http1::Messages ──head, body, end──▶ ┘
//! ```

mod capture;
mod chunked;
mod connection;
mod http1;

pub(crate) use capture::{CaptureLimits, Captured};
pub(crate) use connection::{Moment, Reader};

/// Why a reader gave its connection up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unreadable {
    /// HTTP/2 with prior knowledge.
    Http2,
    /// TLS, which ends at the model's server.
    Tls,
    /// Turned to another protocol by `101 Switching Protocols`, or a CONNECT tunnel.
    Upgraded,
    /// Not HTTP, or a head or chunk that breaks its grammar.
    Malformed,
    /// A message head longer than the reader keeps.
    HeadTooLarge,
    /// A message whose length two headers claim differently.
    AmbiguousLength,
    /// More requests in the pipeline than the reader follows.
    PipelineTooDeep,
    /// A response that no request asked for.
    UnexpectedResponse,
    /// The reader panicked.
    Panic,
}

impl Unreadable {
    pub(crate) const ALL: [Self; 9] = [
        Self::Http2,
        Self::Tls,
        Self::Upgraded,
        Self::Malformed,
        Self::HeadTooLarge,
        Self::AmbiguousLength,
        Self::PipelineTooDeep,
        Self::UnexpectedResponse,
        Self::Panic,
    ];

    /// The name by which metrics count it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http2 => "http2",
            Self::Tls => "tls",
            Self::Upgraded => "upgraded",
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::AmbiguousLength => "ambiguous_length",
            Self::PipelineTooDeep => "pipeline_too_deep",
            Self::UnexpectedResponse => "unexpected_response",
            Self::Panic => "panic",
        }
    }
}
