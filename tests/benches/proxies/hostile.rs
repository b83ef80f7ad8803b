//! Collectors that are dead, slow or lying. The model's latencies must not know.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftline_protocol::Acknowledgement;
use prost::Message;
use serde_json::{Value, json};

use crate::Options;
use crate::compare::{median, upstream};
use crate::load::{Arguments, Report};
use crate::numbers::Numbers;
use crate::processes::free_address;
use crate::sidecar::{Account, Collector, Sidecar, binaries};
use crate::workload::Workload;

/// What the sidecar may have besides its budget, at full load with the collector dead.
const BESIDES_BUDGET_BYTES: u64 = 16_000_000;
const HEALTHY: &str = "healthy";
/// Another sidecar before the same healthy collector: what the two differ by is noise.
const HEALTHY_TOO: &str = "healthy-too";
const KINDS: [&str; 9] = [
    HEALTHY,
    HEALTHY_TOO,
    "refusing",
    "black-holed",
    "never-reads",
    "garbage",
    "not-http",
    "after-10-s",
    "out-of-disk",
];

/// A sidecar with its collector, and what was measured of it.
#[derive(Debug)]
struct Case {
    kind: &'static str,
    workload: Workload,
    sidecar: Sidecar,
    requests: u64,
    reports: Vec<Report>,
    /// Whatever has to live as long as the collector is what it is.
    _held: Held,
}

#[derive(Debug)]
enum Held {
    Nothing,
    Queue { _listener: TcpListener, _full_with: Vec<TcpStream> },
    Disk { _disk: Disk },
}

pub(crate) fn run(options: &Options) -> Value {
    let binaries = binaries(options);
    let folder = tempfile::Builder::new().prefix("driftline-bench-").disable_cleanup(options.keep).tempdir().unwrap();
    let healthy = Collector::start(&binaries, folder.path());
    let workload = options.workload.first().copied().unwrap_or(Workload::Small);
    let (_upstream, address) = upstream(workload, "127.0.0.1:0");
    let wanted = |kind: &&'static str| {
        options.only.is_empty() || [HEALTHY, HEALTHY_TOO].contains(kind) || options.only.iter().any(|only| only == kind)
    };
    let mut cases: Vec<Case> = Vec::new();
    for kind in KINDS.into_iter().filter(wanted) {
        let (collector, held) = match hostile(kind, &healthy, &binaries, folder.path()) {
            Ok(hostile) => hostile,
            Err(why) => {
                println!("without {kind}: {why}");
                continue;
            }
        };
        let mut more = vec![format!("--capture-budget={}MiB", options.budget_mib), "--flush-budget=1s".to_owned()];
        if options.spool {
            more.push(format!("--spool-dir={}", folder.path().join(format!("spool-{kind}")).display()));
        }
        let sidecar = Sidecar::start(&binaries, folder.path(), address, collector, &more);
        cases.push(Case { kind, workload, sidecar, requests: 0, reports: Vec::new(), _held: held });
    }
    let mut chance = Numbers::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    let rate = options.rate.unwrap_or(workload.usual_rate());
    for _ in 0..options.rounds {
        let mut order: Vec<usize> = (0..cases.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, chance.below(last + 1));
        }
        for at in order {
            let report = cases[at].load(options, Some(rate));
            cases[at].reports.push(report);
        }
    }
    // At full load, for the memory.
    for case in &mut cases {
        case.load(options, None);
    }
    println!(
        "{:<12} {:>7} {:>6} {:>7} {:>6} {:>8} {:>6} {:>9}  account",
        "", "p50 µs", "×", "p99 µs", "×", "p99.9 µs", "×", "peak MB"
    );
    let healthy: Vec<Report> = cases[0].reports.clone();
    let noise =
        cases.iter().find(|case| case.kind == HEALTHY_TOO).map_or(f64::INFINITY, |too| noise(&healthy, &too.reports));
    println!("two healthy ones differ in their p99 by up to {noise:.2} times in a round");
    let bounds = Bounds { noise, peak_bytes: (options.budget_mib << 20) + BESIDES_BUDGET_BYTES };
    let figures: serde_json::Map<String, Value> =
        cases.into_iter().map(|case| (case.kind.to_owned(), case.finish(&healthy, bounds, folder.path()))).collect();
    Value::Object(figures)
}

/// What a case has to keep to.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The factor by which two that are the same differ.
    noise: f64,
    peak_bytes: u64,
}

/// The largest factor between the p99 of two in the same round.
fn noise(one: &[Report], other: &[Report]) -> f64 {
    let ratios = one.iter().zip(other).map(|(one, other)| one.p99_micros / other.p99_micros);
    ratios.map(|ratio| ratio.max(1.0 / ratio)).fold(1.0, f64::max)
}

impl Case {
    fn load(&mut self, options: &Options, rate: Option<f64>) -> Report {
        let load = Arguments {
            target: self.sidecar.address,
            load: self.workload,
            path: self.workload.path(true).to_owned(),
            connections: options.connections,
            seconds: options.seconds,
            rate,
            requests: None,
            reconnect: false,
        };
        let report = load.run();
        assert!(report.errors_by_kind.is_empty(), "{}: no request may fail: {report:?}", self.kind);
        self.requests += report.requests;
        report
    }

    /// Stops the sidecar, checks its account and prints a row.
    fn finish(self, healthy: &[Report], bounds: Bounds, folder: &Path) -> Value {
        let Self { kind, sidecar, requests, reports, .. } = self;
        let peak = sidecar.process.peak_bytes();
        let account = sidecar.stop(folder);
        let mut wrong = Vec::new();
        if account.seen != requests {
            wrong.push(format!("saw {} of {requests}", account.seen));
        }
        if !account.is_settled() {
            wrong.push("the account does not add up".to_owned());
        }
        if peak > bounds.peak_bytes {
            wrong.push("too much memory".to_owned());
        }
        let quantile = |of: fn(&Report) -> f64| {
            let value = median(reports.iter().map(of).collect()).unwrap_or(f64::NAN);
            let ratios = reports.iter().zip(healthy).map(|(report, healthy)| of(report) / of(healthy)).collect();
            (value, median(ratios).unwrap_or(f64::NAN))
        };
        let p50 = quantile(|report| report.p50_micros);
        let p99 = quantile(|report| report.p99_micros);
        let p999 = quantile(|report| report.p999_micros);
        if p99.1 > bounds.noise {
            wrong.push("the model's p99 is beyond the noise".to_owned());
        }
        println!(
            "{kind:<12} {:>7.0} {:>6.2} {:>7.0} {:>6.2} {:>8.0} {:>6.2} {:>9.1}  {} seen = {} delivered + {} dropped + {} spooled {}",
            p50.0,
            p50.1,
            p99.0,
            p99.1,
            p999.0,
            p999.1,
            peak as f64 / 1e6,
            account.seen,
            account.delivered,
            account.dropped,
            account.spooled,
            if wrong.is_empty() { String::new() } else { format!("⚠ {}", wrong.join("; ")) }
        );
        let figure = |(median, ratio): (f64, f64)| json!({ "median": median, "ratio": ratio });
        json!({
            "p50_micros": figure(p50), "p99_micros": figure(p99), "p999_micros": figure(p999), "peak_bytes": peak,
            "seen": account.seen, "delivered": account.delivered, "dropped": account.dropped,
            "spooled": account.spooled, "wrong": wrong,
        })
    }
}

impl Sidecar {
    /// Stops it, and gives the account that it closes with.
    pub(crate) fn stop(self, folder: &Path) -> Account {
        let log = folder.join(format!("sidecar-{}.log", self.address.port()));
        let code = self.process.stop();
        assert_eq!(code, Some(0), "the sidecar stops as it was asked to; see {}", log.display());
        let text = std::fs::read_to_string(&log).unwrap();
        let last = text.lines().rfind(|line| line.contains("sidecar has stopped")).expect("it says its account");
        let count = |name: &str| {
            let value = last.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).expect("a count")
        };
        Account {
            seen: count("seen"),
            delivered: count("delivered"),
            dropped: count("dropped"),
            spooled: count("spooled"),
        }
    }
}

fn hostile(kind: &str, healthy: &Collector, binaries: &Path, folder: &Path) -> Result<(SocketAddr, Held), String> {
    match kind {
        HEALTHY | HEALTHY_TOO => Ok((healthy.address, Held::Nothing)),
        "refusing" => Ok((free_address(), Held::Nothing)),
        "black-holed" => Ok(black_hole()),
        "never-reads" => Ok((answering(|_| Vec::new(), false), Held::Nothing)),
        "garbage" => Ok((
            answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n<html>hello!\r\n".to_vec(), true),
            Held::Nothing,
        )),
        "not-http" => Ok((answering(|number| vec![number as u8 ^ 0x5a; 300], true), Held::Nothing)),
        "after-10-s" => {
            let late = |_| {
                std::thread::sleep(Duration::from_secs(10));
                let body = Acknowledgement { durable_through: u64::MAX }.encode_to_vec();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                [head.into_bytes(), body].concat()
            };
            Ok((answering(late, true), Held::Nothing))
        }
        "out-of-disk" => {
            let mut disk = Disk::mount(folder)?;
            let collector = disk.collector.insert(Collector::start_on(&disk.path, binaries, &disk.path));
            Ok((collector.address, Held::Disk { _disk: disk }))
        }
        _ => Err("nobody knows it".to_owned()),
    }
}

/// A socket that never accepts and whose queue is full: the kernel drops whoever knocks.
fn black_hole() -> (SocketAddr, Held) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        socket.listen(1).unwrap().into_std().unwrap()
    });
    let address = listener.local_addr().unwrap();
    let mut full_with = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        full_with.push(stream);
    }
    (address, Held::Queue { _listener: listener, _full_with: full_with })
}

/// Accepts, reads each request if it `reads`, and answers with whatever it is given. It runs until the benchmark ends.
fn answering(answer: impl Fn(u64) -> Vec<u8> + Clone + Send + 'static, reads: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            if !reads {
                held.push(stream);
                continue;
            }
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut number = 0;
                while read_request(&mut stream).is_ok_and(|read| read) {
                    number += 1;
                    if stream.get_mut().write_all(&answer(number)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Reads a request. False when there is no more.
fn read_request(stream: &mut BufReader<TcpStream>) -> std::io::Result<bool> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
    Ok(true)
}

/// A disk of four megabytes with a collector on it.
#[derive(Debug)]
struct Disk {
    path: std::path::PathBuf,
    collector: Option<Collector>,
}

impl Disk {
    fn mount(folder: &Path) -> Result<Self, String> {
        let path = folder.join("disk");
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "driftline"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self { path, collector: None }),
            _ => Err("a small disk cannot be mounted here; it takes root".to_owned()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.collector.take());
        Command::new("umount").arg(&self.path).status().ok();
    }
}
