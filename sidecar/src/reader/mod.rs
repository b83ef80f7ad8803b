//! Passive readers: state machines that follow a connection's bytes after they were sent on.
//!
//! They do no I/O, know no runtime and read no clock. Whatever they meet, traffic goes on: a reader that can't follow
//! says why, and its connection passes unread from there on.
//!
//! ```text
//!                      ┌─▶ http1: heads, bodies, paired in order ─▶ ┐
//!   bytes ─▶ Reader ───┤                                            ├─▶ Capture ─▶ Captured
//!                      └─▶ http2: frames, header lists, streams ──▶ ┘      │
//!                                                                          └─▶ messages: SSE, gRPC, lines
//! ```
//!
//! A reader sees every byte, so that it keeps its place; only what it keeps is subject to the budget.

mod body;
mod buffer;
mod capture;
mod connection;
mod http1;
mod http2;
mod messages;
mod names;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod script;

pub(crate) use capture::{CaptureLimits, Captured, Finished};
pub(crate) use connection::{Over, Reader};
#[cfg(feature = "fuzzing")]
pub(crate) use messages::cutting;
pub(crate) use names::is_named;

/// A side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who calls the model.
    Client,
    /// The model's server.
    Upstream,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

/// A point in time, on both clocks. Readers are told it; they never ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Microseconds since some moment of this process, which no step of the wall clock changes.
    pub(crate) micros: u64,
    /// Microseconds since the Unix epoch.
    pub(crate) wall_micros: i64,
}

/// Why a reader gave its connection up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unreadable {
    /// TLS, which ends at the model's server.
    Tls,
    /// Turned to another protocol by `101 Switching Protocols`, or a CONNECT tunnel.
    Upgraded,
    /// Not HTTP, or a head, chunk, frame or header block that breaks its grammar.
    Malformed,
    /// A message head, or a table of header fields, larger than the reader keeps.
    HeadTooLarge,
    /// A message whose length two headers claim differently.
    AmbiguousLength,
    /// More requests in the pipeline than the reader follows.
    PipelineTooDeep,
    /// A response that no request asked for.
    UnexpectedResponse,
    /// The memory budget had no room for what a reader must keep to find its place: part of a head.
    Budget,
    /// The reader panicked.
    Panic,
}

impl Unreadable {
    pub(crate) const ALL: [Self; 9] = [
        Self::Tls,
        Self::Upgraded,
        Self::Malformed,
        Self::HeadTooLarge,
        Self::AmbiguousLength,
        Self::PipelineTooDeep,
        Self::UnexpectedResponse,
        Self::Budget,
        Self::Panic,
    ];

    /// The name by which metrics count it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Upgraded => "upgraded",
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::AmbiguousLength => "ambiguous_length",
            Self::PipelineTooDeep => "pipeline_too_deep",
            Self::UnexpectedResponse => "unexpected_response",
            Self::Budget => "budget",
            Self::Panic => "panic",
        }
    }
}
