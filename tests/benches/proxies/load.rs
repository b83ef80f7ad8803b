//! The load generator, and what it found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::workload::Workload;
use crate::{h1_load, h2_load};

#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) target: SocketAddr,
    #[arg(long, value_enum)]
    pub(crate) load: Workload,
    #[arg(long)]
    pub(crate) path: String,
    #[arg(long)]
    pub(crate) connections: usize,
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Requests a second. Without it each connection asks as soon as it was answered.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Stop after so many requests.
    #[arg(long)]
    pub(crate) requests: Option<u64>,
    /// Keep asking when a connection breaks, as a client with a retry does.
    #[arg(long)]
    pub(crate) reconnect: bool,
}

/// What a load generator found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) requests: u64,
    pub(crate) errors_by_kind: BTreeMap<String, u64>,
    pub(crate) seconds: f64,
    /// Latencies in nanoseconds. With a rate, they count from when the request was to be sent.
    pub(crate) latencies: Histogram<u64>,
}

impl Found {
    pub(crate) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1_000, 120_000_000_000, 3).unwrap();
        Self { requests: 0, errors_by_kind: BTreeMap::new(), seconds: 0.0, latencies }
    }

    pub(crate) fn answered(&mut self, latency: Duration) {
        self.requests += 1;
        self.latencies.saturating_record(latency.as_nanos() as u64);
    }

    pub(crate) fn failed(&mut self, why: String) {
        *self.errors_by_kind.entry(why).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        for (kind, count) in other.errors_by_kind {
            *self.errors_by_kind.entry(kind).or_default() += count;
        }
        self.latencies.add(other.latencies).unwrap();
    }
}

/// What a load generator in another process found.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) errors_by_kind: BTreeMap<String, u64>,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) p999_micros: f64,
}

/// Runs as a process of its own.
pub(crate) fn run_and_print(arguments: &Arguments) {
    let found = if arguments.load.is_http2() { h2_load::run(arguments) } else { h1_load::run(arguments) };
    let quantile = |quantile| found.latencies.value_at_quantile(quantile) as f64 / 1e3;
    let report = json!({
        "requests": found.requests,
        "errors_by_kind": found.errors_by_kind,
        "requests_per_second": found.requests as f64 / found.seconds,
        "p50_micros": quantile(0.5),
        "p99_micros": quantile(0.99),
        "p999_micros": quantile(0.999),
    });
    println!("{report}");
}

impl Arguments {
    fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("load").args([
            format!("--target={}", self.target),
            format!("--load={}", self.load.name()),
            format!("--path={}", self.path),
            format!("--connections={}", self.connections),
            format!("--seconds={}", self.seconds),
        ]);
        command.args(self.rate.map(|rate| format!("--rate={rate}")));
        command.args(self.requests.map(|requests| format!("--requests={requests}")));
        command.args(self.reconnect.then_some("--reconnect"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the load in a process of its own, and waits for it.
    pub(crate) fn run(&self) -> Report {
        let output = self.command().stderr(Stdio::inherit()).output().unwrap();
        Report::read(&output.stdout)
    }

    /// Starts the load in a process of its own.
    pub(crate) fn start(&self) -> std::process::Child {
        self.command().stdout(Stdio::piped()).spawn().unwrap()
    }
}

impl Report {
    pub(crate) fn read(output: &[u8]) -> Self {
        let report: Value = serde_json::from_slice(output).expect("the load generator reports");
        let number = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
        Self {
            requests: report["requests"].as_u64().unwrap_or(0),
            errors_by_kind: serde_json::from_value(report["errors_by_kind"].clone()).expect("counts"),
            requests_per_second: number("requests_per_second"),
            p50_micros: number("p50_micros"),
            p99_micros: number("p99_micros"),
            p999_micros: number("p999_micros"),
        }
    }
}
