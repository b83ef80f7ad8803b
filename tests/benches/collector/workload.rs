//! What the exchanges are like.

use clap::ValueEnum;
use driftline_protocol::{Body, EndState, Exchange, Header};

use crate::numbers::Numbers;
use crate::rows;

/// Bodies that exchanges go through in turn. There are more of them than the compressor looks back on.
const SINGLE_VARIANTS: usize = 4096;
const BATCH_VARIANTS: usize = 64;
/// What closes a sidecar's batch, and what it takes an exchange to have besides its bodies.
const BATCH_BYTES: usize = 1 << 20;
const EXCHANGE_BYTES: usize = 512;

/// Exchanges of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// V1, one row as an object.
    V1,
    /// V2, one row as thirty tensors.
    V2,
    /// V2, a hundred rows as thirty tensors.
    V2Batch,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V2Batch => "v2-batch",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::V1 => "V1, one row of 30 features as an object",
            Self::V2 => "V2, one row of 30 features as tensors",
            Self::V2Batch => "V2, 100 rows of 30 features as tensors",
        }
    }

    pub(crate) fn rows_each(self) -> usize {
        if self == Self::V2Batch { 100 } else { 1 }
    }

    fn target(self) -> &'static str {
        if self == Self::V1 { "/v1/models/benchmark:predict" } else { "/v2/models/benchmark/infer" }
    }

    /// Bodies of requests and their answers.
    pub(crate) fn bodies(self) -> Vec<(Body, Body)> {
        let mut numbers = Numbers::new(7);
        let body = |text: String| Body { size: text.len() as u64, content: text.into(), ..Body::default() };
        let variants = if self == Self::V2Batch { BATCH_VARIANTS } else { SINGLE_VARIANTS };
        let pair = |_| {
            let rows: Vec<Vec<String>> = (0..self.rows_each()).map(|_| rows::row(&mut numbers)).collect();
            let predictions: Vec<String> = rows.iter().map(|_| rows::prediction(&mut numbers)).collect();
            match self {
                Self::V1 => (body(rows::v1_request(&rows)), body(rows::v1_response(&predictions))),
                Self::V2 | Self::V2Batch => (body(rows::v2_request(&rows)), body(rows::v2_response(&predictions))),
            }
        };
        (0..variants).map(pair).collect()
    }

    /// An exchange as a sidecar makes it, but for its number, id, time and bodies.
    pub(crate) fn exchange(self) -> Exchange {
        let json = || vec![Header { name: "content-type".into(), value: "application/json".into() }];
        Exchange {
            request_micros: 60,
            first_byte_micros: Some(2_300),
            duration_micros: 2_400,
            method: "POST".into(),
            target: self.target().into(),
            status: 200,
            end: EndState::Complete.into(),
            request_headers: json(),
            response_headers: json(),
            weight: 1,
            ..Exchange::default()
        }
    }
}

/// How many exchanges with such bodies a sidecar puts into one batch when there are many.
pub(crate) fn batch_exchanges(bodies: &[(Body, Body)]) -> u64 {
    let bytes: usize = bodies.iter().map(|(request, response)| request.content.len() + response.content.len()).sum();
    (BATCH_BYTES / (EXCHANGE_BYTES + bytes / bodies.len())).max(1) as u64
}
