//! An exchange: one request to the model, and what came back.

use bytes::Bytes;

/// One request and its response, as the sidecar saw them pass. The protobuf message of `driftline.v1.Exchange`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exchange {
    /// Its number among all that this boot of the sidecar delivers, from 1, without gaps.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The caller's `x-request-id`, or one that the sidecar made up.
    #[prost(string, tag = "2")]
    pub request_id: String,
    /// The caller's W3C `traceparent`; empty without one.
    #[prost(string, tag = "3")]
    pub traceparent: String,
    /// Wall-clock time of the request's first byte, in microseconds since the Unix epoch.
    #[prost(int64, tag = "4")]
    pub started_at_micros: i64,
    /// From the request's first byte to its last, in microseconds.
    #[prost(uint64, tag = "5")]
    pub request_micros: u64,
    /// From the request's first byte to the response's first, in microseconds; none when none came.
    #[prost(uint64, optional, tag = "6")]
    pub first_byte_micros: Option<u64>,
    /// From the request's first byte to the end of the exchange, in microseconds: the latency.
    #[prost(uint64, tag = "7")]
    pub duration_micros: u64,
    /// The request's method.
    #[prost(string, tag = "8")]
    pub method: String,
    /// The request's target, path and query, at most [`MAX_TARGET_BYTES`] of it.
    #[prost(string, tag = "9")]
    pub target: String,
    /// The response's status; 0 when none came.
    #[prost(uint32, tag = "10")]
    pub status: u32,
    /// How it ended.
    #[prost(enumeration = "EndState", tag = "11")]
    pub end: i32,
    /// Request headers that are kept, in their order.
    #[prost(message, repeated, tag = "12")]
    pub request_headers: Vec<Header>,
    /// Response headers that are kept, in their order.
    #[prost(message, repeated, tag = "13")]
    pub response_headers: Vec<Header>,
    /// The request's body.
    #[prost(message, optional, tag = "14")]
    pub request: Option<Body>,
    /// The response's body.
    #[prost(message, optional, tag = "15")]
    pub response: Option<Body>,
    /// Name of the bodies' protocol, as the sidecar's routes have it; empty when only the path tells it. See
    /// [`crate::ModelProtocol`].
    #[prost(string, tag = "16")]
    pub protocol: String,
    /// How many exchanges this one stands for: N where one in N is kept, 1 where every one is; 0 is from a sender that
    /// does not sample, and means 1. Sums of weights estimate counts of exchanges without bias.
    #[prost(uint32, tag = "17")]
    pub weight: u32,
    /// Kept for being an error or slow, and not drawn by the sample. Distributions are estimated without these: they
    /// would be over-represented.
    #[prost(bool, tag = "18")]
    pub outside_sample: bool,
    /// The request's messages, where it is a stream of them.
    #[prost(message, optional, tag = "19")]
    pub request_messages: Option<Messages>,
    /// The response's messages, where it is a stream of them: tokens of a language model, answers of a gRPC stream.
    #[prost(message, optional, tag = "20")]
    pub response_messages: Option<Messages>,
    /// Nobody saw it pass: an application or a server's logger told of it afterwards. It has rows and says nothing of
    /// latency and availability.
    #[prost(bool, tag = "21")]
    pub unmeasured: bool,
}

/// Longest target that an exchange carries. Inference paths have a few dozen bytes; the rest is somebody's query.
pub const MAX_TARGET_BYTES: usize = 2048;

/// A header line; the name is in lower case.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Header {
    /// Its name, in lower case.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value; bytes that are not UTF-8 are replaced.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A body with its transfer coding undone; its content coding (gzip and the like) is left as it was.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Body {
    /// What was kept of it, from its beginning.
    #[prost(bytes = "bytes", tag = "1")]
    pub content: Bytes,
    /// How many bytes passed.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// What the owner's rules did to it before it left the pod.
    #[prost(enumeration = "Redaction", tag = "3")]
    pub redaction: i32,
}

impl Body {
    /// Whether more passed than was kept. A body that was rewritten was whole before.
    pub fn is_truncated(&self) -> bool {
        self.redaction() == Redaction::None && self.size > self.content.len() as u64
    }
}

/// What the owner's rules did to a body before it left the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Redaction {
    /// Nothing: no rule speaks of it, or the rules found nothing in it.
    None = 0,
    /// Fields were dropped, masked or replaced; its content is no longer what passed.
    Rewritten = 1,
    /// The whole body stayed in the pod: bodies may not leave, or it could not be parsed to be redacted.
    Withheld = 2,
}

/// The messages of a body that is a stream: where each ends, and when it had passed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Messages {
    /// What tells one message from the next.
    #[prost(enumeration = "Framing", tag = "1")]
    pub framing: i32,
    /// How many passed whole.
    #[prost(uint64, tag = "2")]
    pub count: u64,
    /// Bytes of the body that each of the first [`MAX_MESSAGES`] takes, its framing included.
    #[prost(uint64, repeated, tag = "3")]
    pub sizes: Vec<u64>,
    /// For each of them, in microseconds: of the first, from the request's first byte to its own last one (the time to
    /// the first token); of the others, from the last byte of the one before (the gap between tokens).
    #[prost(uint64, repeated, tag = "4")]
    pub gaps_micros: Vec<u64>,
    /// The longest gap between two messages of all that passed, in microseconds.
    #[prost(uint64, tag = "5")]
    pub longest_gap_micros: u64,
}

/// Most messages of one body that are told apart; past it they are only counted.
pub const MAX_MESSAGES: usize = 4096;

/// What tells one message of a stream from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Framing {
    /// Not said: from a sender newer than this reader.
    Unspecified = 0,
    /// Server-sent events (`text/event-stream`).
    ServerSentEvents = 1,
    /// gRPC: a flag that says whether the message is compressed, a length of four bytes, and the message.
    Grpc = 2,
    /// A line each (`application/x-ndjson`, `application/jsonl`).
    Lines = 3,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum EndState {
    /// Not said: from a sender newer than this reader.
    Unspecified = 0,
    /// Request and response passed whole, and were kept whole.
    Complete = 1,
    /// Both passed whole; a body was longer than the sidecar keeps.
    Truncated = 2,
    /// The caller went away before the response had passed.
    Cancelled = 3,
    /// The model's server went away before the response had passed.
    UpstreamError = 4,
    /// The connection turned to another protocol, such as WebSocket; its bytes are not read.
    Upgraded = 5,
    /// The reader could not follow any further.
    Unreadable = 6,
    /// Request and response passed whole; there was no memory to keep their bodies.
    Budget = 7,
}

impl EndState {
    /// The name by which metrics, archive and API know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Complete => "complete",
            Self::Truncated => "truncated",
            Self::Cancelled => "cancelled",
            Self::UpstreamError => "upstream_error",
            Self::Upgraded => "upgraded",
            Self::Unreadable => "unreadable",
            Self::Budget => "budget",
        }
    }

    /// The end of this name.
    ///
    /// ```
    /// use driftline_protocol::EndState;
    ///
    /// assert_eq!(EndState::named("upstream_error"), Some(EndState::UpstreamError));
    /// assert_eq!(EndState::named("nope"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        let ends = (0..).map_while(|number| Self::try_from(number).ok());
        ends.into_iter().find(|end| end.name() == name)
    }
}

impl Exchange {
    /// The first value of a request header, by its lower-case name.
    pub fn request_header(&self, name: &str) -> Option<&str> {
        value_of(&self.request_headers, name)
    }

    /// The first value of a response header, by its lower-case name.
    pub fn response_header(&self, name: &str) -> Option<&str> {
        value_of(&self.response_headers, name)
    }

    /// What the answer came to, as an HTTP status: its own, or what the code in `grpc-status` stands for. gRPC's failures
    /// have the HTTP status 200. 0 when no answer came.
    ///
    /// ```
    /// use driftline_protocol::{Exchange, Header};
    ///
    /// let unavailable = Header { name: "grpc-status".into(), value: "14".into() };
    /// let exchange = Exchange { status: 200, response_headers: vec![unavailable], ..Exchange::default() };
    /// assert_eq!(exchange.outcome(), 503);
    /// ```
    pub fn outcome(&self) -> u32 {
        let code = self.response_header("grpc-status").map(str::trim);
        // As google/rpc/code.proto maps them.
        match code {
            Some(code) if (200..300).contains(&self.status) => match code {
                "0" => self.status,
                "1" => 499,
                "3" | "9" | "11" => 400,
                "4" => 504,
                "5" => 404,
                "6" | "10" => 409,
                "7" => 403,
                "8" => 429,
                "12" => 501,
                "14" => 503,
                "16" => 401,
                _ => 500,
            },
            _ => self.status,
        }
    }

    /// How many exchanges this one stands for, at least 1.
    pub fn weight(&self) -> u64 {
        u64::from(self.weight.max(1))
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

fn value_of<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
}
