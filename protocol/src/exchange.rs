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
}

impl Body {
    /// Whether more passed than was kept.
    pub fn is_truncated(&self) -> bool {
        self.size > self.content.len() as u64
    }
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
        }
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

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

fn value_of<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|header| header.name == name).map(|header| header.value.as_str())
}
