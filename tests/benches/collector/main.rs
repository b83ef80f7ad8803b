//! The collector under load: how many exchanges it takes, counts and archives, and what of the machine that costs.
//!
//! `tests/bench-collector` builds and runs it; `docs/benchmarks.md` says what is measured and how to read it. Load and
//! collector are processes of their own, on one machine.

#![allow(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

mod agreement;
mod collector;
mod frames;
mod generator;
mod http;
mod measure;
#[path = "../proxies/numbers.rs"]
mod numbers;
#[path = "../proxies/processes.rs"]
#[allow(dead_code, reason = "the proxies' benchmark uses the rest")]
mod processes;
mod rows;
mod workload;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Loads a collector, and says what it took.
#[derive(Debug, Clone, Parser)]
#[command(name = "collector", max_term_width = 110)]
pub(crate) struct Options {
    /// Workloads; all without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) workload: Vec<workload::Workload>,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) seconds: f64,
    /// Exchanges a second of the open loop; without it the collector's own pace, a little less, and a billion a day.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rate: Vec<f64>,
    /// Senders: sidecars that have a batch under way at a time.
    #[arg(long, default_value_t = 4)]
    pub(crate) senders: u64,
    /// Also load a collector written in Python: this interpreter has what it needs.
    #[arg(long, env = "DRIFTLINE_BENCH_PYTHON")]
    pub(crate) beside: Option<PathBuf>,
    /// Where the collector's folder is made; the system's place for temporary files without it.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// Also write all figures to this file, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Where `driftline` is; beside this program without it.
    #[arg(long, env = "DRIFTLINE_BINARIES")]
    binaries: Option<PathBuf>,
    /// Leave the collector's folder in place.
    #[arg(long)]
    pub(crate) keep: bool,
    /// `cargo bench` passes this.
    #[arg(long, hide = true)]
    bench: bool,
    /// `cargo test` passes this: only see that it starts.
    #[arg(long, hide = true)]
    test: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// The parts that run as processes of their own.
#[derive(Debug, Clone, Subcommand)]
enum Part {
    /// Sends.
    #[command(hide = true)]
    Load(generator::Arguments),
}

fn main() {
    let options = Options::parse();
    match &options.part {
        Some(Part::Load(arguments)) => return generator::run_and_print(arguments),
        None if options.test => return,
        None => {}
    }
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.to_owned());
    let binaries = options.binaries.clone().or_else(beside).unwrap();
    assert!(
        binaries.join("driftline").is_file(),
        "{} has no driftline; run 'cargo build --release --workspace --bins' first, or set DRIFTLINE_BINARIES",
        binaries.display()
    );
    let figures = measure::run(&options, &binaries);
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures).unwrap()).unwrap();
    }
}
