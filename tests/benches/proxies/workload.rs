//! What is asked and answered.

use clap::ValueEnum;

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// HTTP/1.1, 700 bytes of JSON both ways: one row of a tabular model.
    Small,
    /// HTTP/1.1, 64 KB of JSON both ways.
    Large,
    /// HTTP/2 with prior knowledge, 700 bytes both ways.
    H2c,
    /// gRPC, unary, 700 bytes both ways, with trailers.
    Grpc,
    /// Server-sent events: 700 bytes up, fifty events down, each written for itself.
    Sse,
}

/// Events of a stream.
pub(crate) const EVENTS: usize = 50;

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Sse => "sse",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Small => "HTTP/1.1, 700 B both ways",
            Self::Large => "HTTP/1.1, 64 KB both ways",
            Self::H2c => "HTTP/2 with prior knowledge, 700 B both ways",
            Self::Grpc => "gRPC unary, 700 B both ways",
            Self::Sse => "server-sent events, 50 a request",
        }
    }

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::Grpc)
    }

    pub(crate) fn body_bytes(self) -> usize {
        if self == Self::Large { 64 << 10 } else { 700 }
    }

    /// Different bodies, so that compression does not find one batch to be all the same.
    pub(crate) fn variants(self) -> usize {
        if self == Self::Large { 64 } else { 2048 }
    }

    /// Where requests go. Outside of inference the sidecar captures nothing.
    pub(crate) fn path(self, captured: bool) -> &'static str {
        match (self, captured) {
            (Self::Small | Self::H2c, true) => "/v2/models/small/infer",
            (Self::Small | Self::H2c, false) => "/plain/small",
            (Self::Large, true) => "/v2/models/large/infer",
            (Self::Large, false) => "/plain/large",
            (Self::Grpc, true) => "/inference.GRPCInferenceService/ModelInfer",
            (Self::Grpc, false) => "/plain.Service/Call",
            (Self::Sse, true) => "/v1/chat/completions",
            (Self::Sse, false) => "/plain/sse",
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        if self == Self::Grpc { "application/grpc" } else { "application/json" }
    }

    /// Requests a second in the open loop: far below what two cores can do.
    pub(crate) fn usual_rate(self) -> f64 {
        match self {
            Self::Small => 2_000.0,
            Self::Large => 200.0,
            Self::H2c | Self::Grpc => 1_000.0,
            Self::Sse => 100.0,
        }
    }
}
