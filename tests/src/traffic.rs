//! Requests through a sidecar, and the metrics by which it accounts for them.

use std::ops::Range;

use serde_json::json;
use tokio::task::JoinSet;

use crate::{Sidecar, client};

/// Exchanges that a sidecar saw: all of them are delivered or dropped in the end.
pub const SEEN: &str = "driftline_sidecar_exchanges_seen_total";
/// Exchanges that a collector has acknowledged.
pub const DELIVERED: &str = "driftline_sidecar_exchanges_delivered_total";
/// Exchanges that were lost, by reason.
pub const DROPPED: &str = "driftline_sidecar_exchanges_dropped_total";

/// Text that does not compress, another for each number.
fn noise(number: usize, length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (number as u64) << 17;
    let digit = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from_digit((state >> 40) as u32 % 36, 36).unwrap_or('0')
    };
    (0..length).map(digit).collect()
}

/// Sends requests with these numbers, of one row each and with some padding, one after the other on each of so many
/// connections, and waits for all answers.
///
/// # Panics
/// When one is not answered well.
pub async fn send(sidecar: &Sidecar, numbers: Range<usize>, connections: usize, padding: usize) {
    let url = format!("http://{}/v2/models/m/infer", sidecar.address());
    let mut senders = JoinSet::new();
    for first in numbers.clone().take(connections) {
        let (url, client) = (url.clone(), client());
        let own = (first..numbers.end).step_by(connections);
        senders.spawn(async move {
            for number in own {
                let body = json!({
                    "id": format!("row-{number}"),
                    "inputs": [{ "name": "x", "shape": [1], "datatype": "FP64", "data": [number] }],
                    "parameters": { "padding": noise(number, padding) },
                });
                let answer = client.post(&url).json(&body).send().await.expect("an answer");
                assert_eq!(answer.status(), 200);
                answer.bytes().await.expect("a whole answer");
            }
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent.expect("each sender ends well");
    }
}
