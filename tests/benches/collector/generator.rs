//! The load generator: senders that frame exchanges as sidecars do, each with a boot and a connection of its own.
//!
//! With a rate it is an open loop: batches are due at fixed times, whether or not earlier ones were acknowledged, and their
//! latency counts from when they were due. Without one it finds the collector's own pace: senders hold back while more than
//! a bounded number of exchanges is acknowledged and not yet counted.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use driftline_protocol::{Batch, Body, Exchange, Framer};
use driftline_tests::metric;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::frames::{Block, Frames};
use crate::http::Connection;
use crate::workload::{Workload, batch_exchanges};

/// Batches that may be acknowledged and not yet counted, when the collector sets the pace.
const HELD_BATCHES: u64 = 64;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a sender waits that has to hold back, or was told to come again.
const PAUSE: Duration = Duration::from_millis(5);
/// Event time goes by so much faster than the wall clock, so that panes fill and windows close in a short run.
pub(crate) const EVENT_SPEED: i64 = 60;

#[derive(Debug, Clone, Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(crate) target: SocketAddr,
    #[arg(long, value_enum)]
    pub(crate) load: Workload,
    #[arg(long)]
    pub(crate) seconds: f64,
    /// Exchanges a second. Without it, as many as the collector counts.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    #[arg(long)]
    pub(crate) senders: u64,
    /// When the first exchange happened, in microseconds since the Unix epoch.
    #[arg(long)]
    pub(crate) begin: i64,
    /// Send exchanges as JSON lines, to what is no collector of ours.
    #[arg(long)]
    pub(crate) lines: bool,
    /// Send each body once, all at the time of the first, instead of for so long.
    #[arg(long)]
    pub(crate) once: bool,
}

/// What the generator found.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// Exchanges that were acknowledged.
    pub(crate) exchanges: u64,
    pub(crate) seconds: f64,
    /// Bytes of the frames.
    pub(crate) frame_bytes: u64,
    /// Batches that were to come again later.
    pub(crate) deferred: u64,
    /// From when a batch was due to its acknowledgement.
    pub(crate) p50_millis: f64,
    pub(crate) p99_millis: f64,
    /// Exchanges that were acknowledged and not counted, every [`LOOK_INTERVAL`].
    pub(crate) lags: Vec<u64>,
}

/// What the senders share.
struct Load {
    arguments: Arguments,
    bodies: Vec<(Body, Body)>,
    /// The bodies once more, where they are compressed beforehand.
    blocks: Vec<Block>,
    batch_exchanges: u64,
    began: Instant,
    /// The next batch.
    next: AtomicU64,
    acknowledged: AtomicU64,
    /// Exchanges that the collector has counted since the load began.
    counted: AtomicU64,
    is_over: AtomicBool,
}

/// What one sender did.
struct Sent {
    frame_bytes: u64,
    deferred: u64,
    latencies: Histogram<u64>,
}

impl Sent {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, 600_000_000, 3).unwrap();
        Self { frame_bytes: 0, deferred: 0, latencies }
    }
}

/// Runs as a process of its own.
pub(crate) fn run_and_print(arguments: &Arguments) {
    let bodies = arguments.load.bodies();
    let is_prepared = arguments.load.rows_each() > 1 && !arguments.lines;
    let blocks = if is_prepared { bodies.iter().map(Block::new).collect() } else { Vec::new() };
    let batch_exchanges = batch_exchanges(&bodies);
    let load = Arc::new(Load {
        arguments: arguments.clone(),
        bodies,
        blocks,
        batch_exchanges,
        began: Instant::now(),
        next: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        counted: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
    });
    let watching = Arc::clone(&load);
    let watcher = std::thread::spawn(move || watching.watch());
    let senders: Vec<_> = (0..arguments.senders)
        .map(|number| {
            let load = Arc::clone(&load);
            std::thread::spawn(move || load.send(number))
        })
        .collect();
    let mut all = Sent::new();
    for sender in senders {
        let sent = sender.join().unwrap();
        all.frame_bytes += sent.frame_bytes;
        all.deferred += sent.deferred;
        all.latencies.add(sent.latencies).unwrap();
    }
    let seconds = load.began.elapsed().as_secs_f64();
    load.is_over.store(true, Ordering::Relaxed);
    let report = json!({
        "exchanges": load.acknowledged.load(Ordering::Relaxed),
        "seconds": seconds,
        "frame_bytes": all.frame_bytes,
        "deferred": all.deferred,
        "p50_millis": all.latencies.value_at_quantile(0.5) as f64 / 1e3,
        "p99_millis": all.latencies.value_at_quantile(0.99) as f64 / 1e3,
        "lags": watcher.join().unwrap(),
    });
    println!("{report}");
}

impl Load {
    /// Looks at what the collector has counted, until the load is over.
    fn watch(&self) -> Vec<u64> {
        let mut connection = Connection::open(self.arguments.target).unwrap();
        let before = counted(&mut connection);
        let mut lags = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_INTERVAL);
            // Read first: what is acknowledged after it is not behind.
            let acknowledged = self.acknowledged.load(Ordering::Relaxed);
            let counted = counted(&mut connection) - before;
            self.counted.store(counted, Ordering::Relaxed);
            lags.push(acknowledged.saturating_sub(counted));
        }
        lags
    }

    fn send(&self, number: u64) -> Sent {
        let mut connection = Connection::open(self.arguments.target).unwrap();
        let (mut framer, mut frames) = (Framer::new().unwrap(), Frames::new());
        let mut exchange = self.arguments.load.exchange();
        let boot = ((std::process::id() as u128) << 64 | u128::from(number + 1)).to_be_bytes();
        let mut batch = Batch {
            boot_id: boot.to_vec(),
            model: "benchmark".into(),
            instance: format!("benchmark-{number}"),
            ..Batch::default()
        };
        let (mut sent, mut lines) = (Sent::new(), Vec::new());
        while let Some((ticket, due)) = self.next_batch() {
            let since = if self.arguments.once { Duration::ZERO } else { due.duration_since(self.began) };
            let happened = self.arguments.begin + since.as_micros() as i64 * EVENT_SPEED;
            let exchanges = self.exchanges_in(ticket);
            batch.first_sequence = batch.last_sequence + 1;
            batch.last_sequence += exchanges;
            for sequence in batch.first_sequence..=batch.last_sequence {
                let number = ticket * self.batch_exchanges + sequence - batch.first_sequence;
                exchange.sequence = sequence;
                exchange.request_id = format!("{:08x}-{number:012x}", std::process::id());
                exchange.started_at_micros = happened + (sequence - batch.first_sequence) as i64;
                let place = number as usize % self.bodies.len();
                if let Some(block) = self.blocks.get(place) {
                    frames.add(&exchange, block);
                    continue;
                }
                let (request, response) = &self.bodies[place];
                (exchange.request, exchange.response) = (Some(request.clone()), Some(response.clone()));
                match self.arguments.lines {
                    true => lines.extend(line(&exchange)),
                    false => framer.add(&exchange),
                }
            }
            let frame = match self.arguments.lines {
                true => std::mem::take(&mut lines),
                false if self.blocks.is_empty() => framer.finish(&batch).unwrap(),
                false => frames.finish(&batch),
            };
            sent.frame_bytes += frame.len() as u64;
            sent.deferred += deliver(&mut connection, &frame);
            self.acknowledged.fetch_add(exchanges, Ordering::Relaxed);
            sent.latencies.saturating_record(due.elapsed().as_micros() as u64);
        }
        sent
    }

    /// How many exchanges a batch has; none when each body was sent that is to be sent once.
    fn exchanges_in(&self, ticket: u64) -> u64 {
        let left = (self.bodies.len() as u64).saturating_sub(ticket * self.batch_exchanges);
        if self.arguments.once { left.min(self.batch_exchanges) } else { self.batch_exchanges }
    }

    /// Waits for the next batch: its number, and when it was due. None when the time is over.
    fn next_batch(&self) -> Option<(u64, Instant)> {
        let ends = self.began + Duration::from_secs_f64(self.arguments.seconds);
        let held = HELD_BATCHES * self.batch_exchanges;
        let is_held = || self.acknowledged.load(Ordering::Relaxed) > self.counted.load(Ordering::Relaxed) + held;
        while self.arguments.rate.is_none() && is_held() && Instant::now() < ends {
            std::thread::sleep(PAUSE);
        }
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.arguments.rate {
            Some(rate) => self.began + Duration::from_secs_f64((ticket * self.batch_exchanges) as f64 / rate),
            None => Instant::now(),
        };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let is_one = if self.arguments.once { self.exchanges_in(ticket) > 0 } else { due < ends };
        is_one.then_some((ticket, due))
    }
}

/// An exchange as a line of JSON.
fn line(exchange: &Exchange) -> Vec<u8> {
    let text = |body: &Option<Body>| body.as_ref().map(|body| String::from_utf8_lossy(&body.content).into_owned());
    let line = json!({
        "request_id": exchange.request_id,
        "started_at_micros": exchange.started_at_micros,
        "duration_micros": exchange.duration_micros,
        "status": exchange.status,
        "request": text(&exchange.request),
        "response": text(&exchange.response),
    });
    format!("{line}\n").into_bytes()
}

/// Sends a frame until it is taken, and gives how often it was not.
fn deliver(connection: &mut Connection, frame: &[u8]) -> u64 {
    let mut deferred = 0;
    loop {
        match connection.ask("POST", "/v1/exchanges", frame).unwrap() {
            (200, _) => return deferred,
            (503, _) => {
                deferred += 1;
                std::thread::sleep(PAUSE);
            }
            (status, why) => panic!("{status}: {}", String::from_utf8_lossy(&why)),
        }
    }
}

/// Exchanges that a collector has counted.
pub(crate) fn counted(connection: &mut Connection) -> u64 {
    metric(&metrics(connection), "driftline_exchanges_received_total", &[]) as u64
}

pub(crate) fn metrics(connection: &mut Connection) -> String {
    String::from_utf8(connection.ask("GET", "/metrics", b"").unwrap().1).unwrap()
}

impl Arguments {
    /// Runs the load in a process of its own, and waits for it.
    pub(crate) fn run(&self) -> Report {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("load").args([
            format!("--target={}", self.target),
            format!("--load={}", self.load.name()),
            format!("--seconds={}", self.seconds),
            format!("--senders={}", self.senders),
            format!("--begin={}", self.begin),
        ]);
        command.args(self.rate.map(|rate| format!("--rate={rate}")));
        command.args(self.lines.then_some("--lines"));
        command.args(self.once.then_some("--once"));
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
        Report::read(&output.stdout)
    }
}

impl Report {
    fn read(output: &[u8]) -> Self {
        let report: Value = serde_json::from_slice(output).expect("the load generator reports");
        let count = |name: &str| report[name].as_u64().expect("a count");
        let number = |name: &str| report[name].as_f64().expect("a number");
        Self {
            exchanges: count("exchanges"),
            seconds: number("seconds"),
            frame_bytes: count("frame_bytes"),
            deferred: count("deferred"),
            p50_millis: number("p50_millis"),
            p99_millis: number("p99_millis"),
            lags: serde_json::from_value(report["lags"].clone()).expect("counts"),
        }
    }
}
