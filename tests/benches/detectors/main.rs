//! References, counts and scores of whole data sets: what they cost, beside the libraries that people take for it.
//!
//! `tests/bench-detectors` builds and runs it; `docs/benchmarks.md` says what is measured and how to read it.

#![allow(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

mod beside;
mod data;
mod large;
#[path = "../proxies/numbers.rs"]
mod numbers;
mod segments;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Counts and scores, and says what that took.
#[derive(Debug, Clone, Parser)]
#[command(name = "detectors", max_term_width = 110)]
pub(crate) struct Options {
    /// What to measure; all without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Rows of the window that is set beside other libraries.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) rows: usize,
    /// Rows of its reference.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) reference_rows: usize,
    /// Rows of the large window.
    #[arg(long, default_value_t = 3_000_000)]
    pub(crate) large_rows: usize,
    /// Rows of the large reference.
    #[arg(long, default_value_t = 300_000)]
    pub(crate) large_reference_rows: usize,
    /// Columns of both.
    #[arg(long, default_value_t = 1000)]
    pub(crate) large_columns: usize,
    /// Only columns of flights among the large ones, over and over, and none of drawn shapes.
    #[arg(long)]
    pub(crate) flights: bool,
    /// Threads that share the large columns.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Also measure other libraries: this interpreter has them.
    #[arg(long, env = "DRIFTLINE_BENCH_PYTHON")]
    pub(crate) beside: Option<PathBuf>,
    /// `cargo bench` passes this.
    #[arg(long, hide = true)]
    bench: bool,
    /// `cargo test` passes this: only see that it starts.
    #[arg(long, hide = true)]
    test: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// As many rows and columns as somebody waited six hours for.
    Large,
    /// Twenty columns, beside other libraries.
    Beside,
    /// Twenty columns in fifty segments, beside pandas and SciPy.
    Segments,
}

fn main() {
    let options = Options::parse();
    if options.test {
        return;
    }
    let is_wanted = |workload| options.workload.is_empty() || options.workload.contains(&workload);
    // First, for its peak of memory is that of the process.
    if is_wanted(Workload::Large) {
        large::run(&options);
    }
    if is_wanted(Workload::Beside) {
        beside::run(&options);
    }
    if is_wanted(Workload::Segments) {
        segments::run(&options);
    }
}
