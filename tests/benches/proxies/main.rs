//! The sidecar beside the proxies that one would use instead: the same upstream, the same load, in one run.
//!
//! `tests/bench` installs the others and runs it; `docs/benchmarks.md` says what is measured and how to read it. Load,
//! upstream, proxies and collector are processes of their own, so that each one's processor time and memory can be read
//! from `/proc`.

#![allow(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

mod acknowledger;
mod bodies;
mod compare;
mod contenders;
mod h1_load;
mod h2_load;
mod hostile;
mod idle;
mod load;
mod million;
mod numbers;
mod processes;
mod sidecar;
mod upstream;
mod workload;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::{Parser, Subcommand, ValueEnum};

/// Compares the sidecar with other proxies, or puts it in a situation.
#[derive(Debug, Clone, Parser)]
#[command(name = "proxies", max_term_width = 110)]
pub(crate) struct Options {
    /// What is done.
    #[arg(long, value_enum, default_value = "compare")]
    pub(crate) scenario: Scenario,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// How often each contender is measured; the contenders' order is another in each round.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Workloads; all without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) workload: Vec<workload::Workload>,
    /// Contenders or hostile collectors, by name; all that can be had without it.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Requests a second of the open loop; without it what suits the workload.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Requests of the scenario `million`.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) requests: u64,
    /// The sidecar's budget for captures in the scenario `hostile`: small, so that it is full within seconds.
    #[arg(long, default_value_t = 8)]
    pub(crate) budget_mib: u64,
    /// Gives the sidecars of the scenario `hostile` a spool.
    #[arg(long)]
    pub(crate) spool: bool,
    /// Also write all figures to this file, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Where `driftline-sidecar` and `driftline` are; beside this program without it.
    #[arg(long, env = "DRIFTLINE_BINARIES")]
    pub(crate) binaries: Option<PathBuf>,
    /// Envoy's binary.
    #[arg(long, env = "DRIFTLINE_ENVOY")]
    pub(crate) envoy: Option<PathBuf>,
    /// Leave the folder with configurations and logs in place.
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

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// The sidecar and other proxies side by side.
    Compare,
    /// What it costs while nothing happens: memory, memory for each connection, size of the binary.
    Idle,
    /// Collectors that are dead, slow or lying.
    Hostile,
    /// A million requests while rules are reloaded and the upstream restarts.
    Million,
}

/// The parts that run as processes of their own.
#[derive(Debug, Clone, Subcommand)]
enum Part {
    /// Answers.
    #[command(hide = true)]
    Upstream(upstream::Arguments),
    /// Asks.
    #[command(hide = true)]
    Load(load::Arguments),
}

fn main() {
    let options = Options::parse();
    match &options.part {
        Some(Part::Upstream(arguments)) => return upstream::serve(arguments),
        Some(Part::Load(arguments)) => return load::run_and_print(arguments),
        None if options.test => return,
        None => {}
    }
    raise_open_files_limit();
    let figures = match options.scenario {
        Scenario::Compare => compare::run(&options),
        Scenario::Idle => idle::run(&options),
        Scenario::Hostile => hostile::run(&options),
        Scenario::Million => million::run(&options),
    };
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures).unwrap()).unwrap();
    }
}

/// Begins again with as many open files as this user may have. A process cannot raise its limit without a foreign call, a
/// shell can.
fn raise_open_files_limit() {
    const RAISED: &str = "DRIFTLINE_BENCH_LIMITS_RAISED";
    if std::env::var_os(RAISED).is_none() {
        let error = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(std::env::args_os().skip(1))
            .env(RAISED, "1")
            .exec();
        panic!("the benchmark cannot begin again: {error}");
    }
}

/// How many files a process may have open.
pub(crate) fn open_files_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(1 << 20)
}
