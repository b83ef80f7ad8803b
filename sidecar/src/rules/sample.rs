//! Which exchanges are kept: one in N, drawn by the request's id, so that all pods agree.
//!
//! The draw is fixed, over versions and pods: an exchange is drawn for N when the first eight bytes of the SHA-256 of its
//! id, as a big-endian number, are at most `(2^64 - 1) / N`. Whatever is drawn for ten is therefore drawn for five, too:
//! pods with different rates agree as far as they can.
//!
//! The id is the caller's `x-request-id`; without one the trace-id of its `traceparent`; without that, one that is made
//! here and travels with the exchange.
//!
//! Sums of weights estimate counts without bias: what would be drawn one time in N stands for N, and what is always kept
//! (errors, slow ones) stands for itself, drawn or not. Of the latter, those that were not drawn are marked: without them
//! the kept exchanges are a fair sample.

use std::num::NonZeroU32;
use std::time::Duration;

use driftline_protocol::{EndState, Exchange};
use sha2::{Digest, Sha256};

/// Most exchanges that one may stand for.
pub(super) const MAX_KEEP_ONE_IN: u64 = 1_000_000;

/// Which exchanges are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sampling {
    /// One in so many is kept.
    pub(super) keep_one_in: NonZeroU32,
    /// Errors are always kept.
    pub(super) keep_errors: bool,
    /// What took longer is always kept.
    pub(super) keep_slower_than: Option<Duration>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { keep_one_in: NonZeroU32::MIN, keep_errors: true, keep_slower_than: None }
    }
}

impl Sampling {
    /// Decides whether an exchange is kept, and writes into it what it stands for.
    pub(super) fn keeps(&self, exchange: &mut Exchange, keep_one_in: NonZeroU32) -> bool {
        exchange.weight = 1;
        if keep_one_in == NonZeroU32::MIN {
            return true;
        }
        let drawn = is_drawn(id(exchange), keep_one_in);
        if self.always_keeps(exchange) {
            exchange.outside_sample = !drawn;
            return true;
        }
        exchange.weight = keep_one_in.get();
        drawn
    }

    fn always_keeps(&self, exchange: &Exchange) -> bool {
        let failed = exchange.status >= 400
            || matches!(exchange.end(), EndState::UpstreamError | EndState::Cancelled)
            || exchange.response_header("grpc-status").is_some_and(|status| status.trim() != "0");
        let is_slow = |limit: Duration| u128::from(exchange.duration_micros) > limit.as_micros();
        self.keep_errors && failed || self.keep_slower_than.is_some_and(is_slow)
    }
}

/// What the draw goes by. An exchange that has nothing to go by gets an id.
fn id(exchange: &mut Exchange) -> &str {
    if exchange.request_id.is_empty() && trace_id(&exchange.traceparent).is_none() {
        exchange.request_id = uuid::Uuid::now_v7().simple().to_string();
    }
    match trace_id(&exchange.traceparent) {
        Some(trace_id) if exchange.request_id.is_empty() => trace_id,
        _ => &exchange.request_id,
    }
}

/// The trace-id of a W3C `traceparent`: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
fn trace_id(traceparent: &str) -> Option<&str> {
    let trace_id = traceparent.split('-').nth(1)?;
    let is_id = trace_id.len() == 32
        && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit())
        && trace_id.bytes().any(|byte| byte != b'0');
    is_id.then_some(trace_id)
}

fn is_drawn(id: &str, keep_one_in: NonZeroU32) -> bool {
    let hash = Sha256::digest(id.as_bytes());
    let first = hash.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    first <= u64::MAX / u64::from(keep_one_in.get())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_in(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    fn exchange(id: &str) -> Exchange {
        Exchange { request_id: id.to_owned(), status: 200, end: EndState::Complete.into(), ..Exchange::default() }
    }

    fn keeps(sampling: &Sampling, n: u32, exchange: &mut Exchange) -> bool {
        sampling.keeps(exchange, one_in(n))
    }

    /// The draw is a promise to other pods, other versions and whoever repeats it: these never change.
    #[test]
    fn the_draw_is_fixed_for_all_time() {
        let drawn: Vec<u32> = (0..200).filter(|id| is_drawn(&format!("request-{id}"), one_in(10))).collect();
        // python3 -c 'import hashlib; print([i for i in range(200) if
        //   int.from_bytes(hashlib.sha256(f"request-{i}".encode()).digest()[:8], "big") <= (2**64-1)//10])'
        assert_eq!(drawn, EXPECTED_DRAW);
    }
    const EXPECTED_DRAW: [u32; 14] = [11, 27, 49, 55, 65, 68, 70, 95, 122, 154, 165, 172, 192, 197];

    #[test]
    fn the_trace_decides_where_the_caller_gave_no_id_and_an_id_is_made_where_there_is_neither() {
        let sampling = Sampling::default();
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        let mut traced = Exchange { traceparent, ..exchange("") };
        let expected = is_drawn("0af7651916cd43dd8448eb211c80319c", one_in(2));
        assert_eq!(keeps(&sampling, 2, &mut traced), expected);
        assert_eq!(traced.request_id, "");
        let mut ids = std::collections::BTreeSet::new();
        for traceparent in ["", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "junk", "a-b-c"] {
            let mut anonymous = Exchange { traceparent: traceparent.to_owned(), ..exchange("") };
            let kept = keeps(&sampling, 2, &mut anonymous);
            assert_eq!(kept, is_drawn(&anonymous.request_id, one_in(2)), "the record holds the id that decided");
            ids.insert(anonymous.request_id);
        }
        assert_eq!(ids.len(), 4);
        // Where everything is kept, nobody needs an id here.
        let mut kept = exchange("");
        assert!(keeps(&sampling, 1, &mut kept));
        assert_eq!((kept.request_id.as_str(), kept.weight), ("", 1));
    }

    #[test]
    fn errors_and_slow_ones_are_kept_and_stand_for_themselves() {
        let sampling = Sampling { keep_slower_than: Some(Duration::from_millis(500)), ..Sampling::default() };
        let grpc = driftline_protocol::Header { name: "grpc-status".to_owned(), value: "13".to_owned() };
        for id in 0..100 {
            let id = format!("request-{id}");
            let drawn = is_drawn(&id, one_in(10));
            for mut kept in [
                Exchange { status: 503, ..exchange(&id) },
                Exchange { status: 404, ..exchange(&id) },
                Exchange { end: EndState::Cancelled.into(), ..exchange(&id) },
                Exchange { end: EndState::UpstreamError.into(), status: 0, ..exchange(&id) },
                Exchange { duration_micros: 500_001, ..exchange(&id) },
                Exchange { response_headers: vec![grpc.clone()], ..exchange(&id) },
            ] {
                assert!(keeps(&sampling, 10, &mut kept));
                assert_eq!((kept.weight, kept.outside_sample), (1, !drawn));
            }
            let mut fine = Exchange { duration_micros: 500_000, ..exchange(&id) };
            assert_eq!(keeps(&sampling, 10, &mut fine), drawn);
            assert_eq!((fine.weight, fine.outside_sample), (10, false));
            let nothing_special = Sampling { keep_errors: false, keep_slower_than: None, ..sampling.clone() };
            let mut error = Exchange { status: 500, ..exchange(&id) };
            assert_eq!(keeps(&nothing_special, 10, &mut error), drawn);
        }
    }

    #[test]
    fn weights_add_up_to_what_passed_without_bias() {
        // 200,000 exchanges, 1 % errors: the sum of weights has a standard deviation of sqrt(n (N - 1)), and is within
        // four of them. Errors are counted exactly.
        let (exchanges, n) = (200_000u32, 20u32);
        let sampling = Sampling::default();
        let (mut total, mut errors) = (0u64, 0u64);
        for number in 0..exchanges {
            let status = if number % 100 == 0 { 500 } else { 200 };
            let mut exchange = Exchange { status, ..exchange(&format!("id-{number}")) };
            if keeps(&sampling, n, &mut exchange) {
                total += exchange.weight();
                errors += if status == 500 { exchange.weight() } else { 0 };
            }
        }
        let deviation = f64::from(exchanges * (n - 1)).sqrt();
        assert!((total as f64 - f64::from(exchanges)).abs() < 4.0 * deviation, "{total}");
        assert_eq!(errors, u64::from(exchanges / 100));
    }

    proptest! {
        #[test]
        fn pods_agree_and_a_thinner_sample_lies_inside_a_denser_one(
            id in "[!-~]{1,40}", dense in 1u32..100, more in 0u32..1000, status in 200u32..400, took in 0u64..10_000_000
        ) {
            let sampling = Sampling::default();
            let at = |n: u32| keeps(&sampling, n, &mut Exchange { status, duration_micros: took, ..exchange(&id) });
            prop_assert_eq!(at(dense), keeps(&sampling, dense, &mut exchange(&id)));
            prop_assert!(!at(dense + more) || at(dense));
        }
    }
}
