//! Feeds a reader 10,000 exchanges, to be counted:
//!
//! ```text
//! cargo build --profile ci -p driftline-sidecar --features fuzzing --example reader_cost
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/ci/examples/reader_cost
//! ```

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10_000);
    driftline_sidecar::fuzzing::keep_alive_exchanges(count);
}
