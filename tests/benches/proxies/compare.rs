//! Side by side: every contender in every round, in another order each time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::Options;
use crate::contenders::{Contender, NAMES, Runs, Stage, YARDSTICK};
use crate::load::{Arguments, Report};
use crate::numbers::Numbers;
use crate::processes::Process;
use crate::sidecar::{Account, Collector, binaries};
use crate::workload::Workload;

/// One contender in one round.
#[derive(Debug, Clone, Default)]
struct Measured {
    requests_per_second: f64,
    /// Processor time of the proxy, at full load and at the fixed rate.
    cpu_millis_per_1000: Option<f64>,
    cpu_millis_per_1000_at_rate: Option<f64>,
    p50_micros: f64,
    p99_micros: f64,
    p999_micros: f64,
    remarks: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Value {
    let binaries = binaries(options);
    let folder = tempfile::Builder::new().prefix("driftline-bench-").disable_cleanup(options.keep).tempdir().unwrap();
    let collector = Collector::start(&binaries, folder.path());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut chance = Numbers::new(seed);
    let workloads = if options.workload.is_empty() { Workload::value_variants() } else { &options.workload };
    let mut all = serde_json::Map::new();
    for workload in workloads {
        let figures = one_workload(options, &binaries, folder.path(), *workload, &collector, &mut chance);
        all.insert(workload.name().to_owned(), figures);
    }
    Value::Object(all)
}

/// Starts an upstream of a workload.
pub(crate) fn upstream(workload: Workload, listen: &str) -> (Process, SocketAddr) {
    let mut arguments = vec!["upstream".to_owned(), format!("--listen={listen}")];
    arguments.extend(workload.is_http2().then(|| "--http2".to_owned()));
    let (process, address) = Process::start_part(&arguments);
    (process, address.parse().expect("the upstream says where it listens"))
}

fn one_workload(
    options: &Options,
    binaries: &Path,
    folder: &Path,
    workload: Workload,
    collector: &Collector,
    chance: &mut Numbers,
) -> Value {
    let (_upstream, address) = upstream(workload, "127.0.0.1:0");
    let (_sink, sink) = upstream(workload, "127.0.0.1:0");
    let stage = Stage { options, binaries, folder, workload, upstream: address, sink, collector };
    let is_wanted = |name: &&'static str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut contenders = Vec::new();
    println!("\n{} ({} connections)", workload.title(), options.connections);
    for name in NAMES.into_iter().filter(is_wanted) {
        match stage.start(name) {
            Ok(contender) => contenders.push(contender),
            Err(why) => println!("  without {name}: {why}"),
        }
    }
    let mut rounds: Vec<BTreeMap<&str, Measured>> = Vec::new();
    for _ in 0..options.rounds {
        let mut round = BTreeMap::new();
        let mut order: Vec<&Contender> = contenders.iter().collect();
        for last in (1..order.len()).rev() {
            order.swap(last, chance.below(last + 1));
        }
        for contender in order {
            round.insert(contender.name, measure(options, workload, contender, collector));
        }
        rounds.push(round);
    }
    table(&contenders, &rounds, options.rate.unwrap_or(workload.usual_rate()))
}

fn measure(options: &Options, workload: Workload, contender: &Contender, collector: &Collector) -> Measured {
    let mut remarks = Vec::new();
    let rate = options.rate.unwrap_or(workload.usual_rate());
    collector.wait_until_idle();
    let (full, cpu_millis_per_1000) = one_load(options, workload, contender, None, &mut remarks);
    collector.wait_until_idle();
    let (paced, cpu_millis_per_1000_at_rate) = one_load(options, workload, contender, Some(rate), &mut remarks);
    if paced.requests_per_second < 0.97 * rate {
        remarks.push(format!("{:.0} of {rate} requests/s", paced.requests_per_second));
    }
    Measured {
        requests_per_second: full.requests_per_second,
        cpu_millis_per_1000,
        cpu_millis_per_1000_at_rate,
        p50_micros: paced.p50_micros,
        p99_micros: paced.p99_micros,
        p999_micros: paced.p999_micros,
        remarks,
    }
}

/// Loads a contender once, and gives the processor time that it took in milliseconds for each 1,000 requests. The
/// sidecar's includes what it does until everything is delivered.
fn one_load(
    options: &Options,
    workload: Workload,
    contender: &Contender,
    rate: Option<f64>,
    remarks: &mut Vec<String>,
) -> (Report, Option<f64>) {
    let load = Arguments {
        target: contender.address,
        load: workload,
        path: workload.path(contender.captured).to_owned(),
        connections: options.connections,
        seconds: options.seconds,
        rate,
        requests: None,
        reconnect: false,
    };
    let account = || match &contender.runs {
        Runs::Sidecar(sidecar) => sidecar.settled(),
        _ => Account::default(),
    };
    let account_before = account();
    let cpu = || contender.process().map(Process::cpu_seconds);
    let cpu_before = cpu();
    let report = load.run();
    let account = account().since(account_before);
    let millis = cpu().zip(cpu_before).map(|(after, before)| (after - before) * 1e6 / report.requests as f64);
    remarks.extend(report.errors_by_kind.iter().map(|(kind, count)| format!("{count} errors: {kind}")));
    if let Runs::Sidecar(_) = contender.runs {
        let expected = if contender.captured { report.requests } else { 0 };
        if account.seen != expected {
            remarks.push(format!("saw {} of {expected} exchanges", account.seen));
        }
        if !account.is_settled() {
            remarks.push(format!("{} on their way", account.seen - account.delivered - account.dropped));
        }
        if account.dropped > 0 {
            remarks.push(format!("dropped {} of {}", account.dropped, account.seen));
        }
    }
    (report, millis)
}

/// Prints the table, and gives its figures.
fn table(contenders: &[Contender], rounds: &[BTreeMap<&str, Measured>], rate: f64) -> Value {
    type Column = (&'static str, fn(&Measured) -> Option<f64>);
    const COLUMNS: [Column; 6] = [
        ("requests_per_second", |measured| Some(measured.requests_per_second)),
        ("cpu_millis_per_1000", |measured| measured.cpu_millis_per_1000),
        ("cpu_millis_per_1000_at_rate", |measured| measured.cpu_millis_per_1000_at_rate),
        ("p50_micros", |measured| Some(measured.p50_micros)),
        ("p99_micros", |measured| Some(measured.p99_micros)),
        ("p999_micros", |measured| Some(measured.p999_micros)),
    ];
    println!("  median of {} rounds; × is the median of the rounds' ratios to {YARDSTICK}", rounds.len());
    println!("  {:<13} {:^62} | at {rate} requests/s, from the time they were due", "", "as fast as it goes");
    println!(
        "  {:<13} {:>8} {:>6} {:>9} {:>6} {:>8} | {:>9} {:>6} {:>8} {:>6} {:>8} {:>6} {:>8} {:>6}",
        "", "req/s", "×", "CPU ms/1k", "×", "peak MB", "CPU ms/1k", "×", "p50 µs", "×", "p99 µs", "×", "p99.9 µs", "×"
    );
    let mut figures = serde_json::Map::new();
    for contender in contenders {
        let values = |of: fn(&Measured) -> Option<f64>| {
            median(rounds.iter().filter_map(|round| of(&round[contender.name])).collect())
        };
        let ratios = |of: fn(&Measured) -> Option<f64>| {
            let ratio =
                |round: &BTreeMap<&str, Measured>| Some(of(&round[contender.name])? / of(round.get(YARDSTICK)?)?);
            median(rounds.iter().filter_map(ratio).collect())
        };
        let peak = contender.process().map(Process::peak_bytes);
        let mut remarks: Vec<String> = rounds.iter().flat_map(|round| round[contender.name].remarks.clone()).collect();
        remarks.dedup();
        let [full, cpu, cpu_at_rate, p50, p99, p999] = COLUMNS.map(|(_, of)| (values(of), ratios(of)));
        println!(
            "  {:<13} {:>8} {:>6} {:>9} {:>6} {:>8} | {:>9} {:>6} {:>8} {:>6} {:>8} {:>6} {:>8} {:>6}  {}",
            contender.name,
            text(full.0, 0),
            text(full.1, 2),
            text(cpu.0, 1),
            text(cpu.1, 2),
            text(peak.map(|bytes| bytes as f64 / 1e6), 1),
            text(cpu_at_rate.0, 1),
            text(cpu_at_rate.1, 2),
            text(p50.0, 0),
            text(p50.1, 2),
            text(p99.0, 0),
            text(p99.1, 2),
            text(p999.0, 0),
            text(p999.1, 2),
            if remarks.is_empty() { String::new() } else { format!("⚠ {}", remarks.join("; ")) },
        );
        let mut row = serde_json::Map::new();
        for (name, of) in COLUMNS {
            let every: Vec<Option<f64>> = rounds.iter().map(|round| of(&round[contender.name])).collect();
            row.insert(name.to_owned(), json!({ "median": values(of), "ratio": ratios(of), "rounds": every }));
        }
        row.insert("peak_bytes".to_owned(), json!(peak));
        row.insert("remarks".to_owned(), json!(remarks));
        figures.insert(contender.name.to_owned(), Value::Object(row));
    }
    Value::Object(figures)
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn text(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}
