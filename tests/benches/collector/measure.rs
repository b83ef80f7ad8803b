//! One workload on one collector: as fast as it goes, at a little less, and at a billion exchanges a day.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::Options;
use crate::agreement::Agreement;
use crate::collector::{Collector, Stages, WINDOW_MICROS};
use crate::generator::{Arguments, EVENT_SPEED, Report};
use crate::workload::Workload;

/// Exchanges begin a day ago: their time goes faster than the clock, and must not pass it.
const DAY_MICROS: i64 = 86_400_000_000;
/// A billion exchanges a day.
const BILLION_A_DAY: f64 = 11_600.0;
/// The open loop's rate, as a share of what the collector took at its own pace.
const SUSTAINED_SHARE: f64 = 0.9;
/// The lag is bounded when it is, at the end, no more than the load of so many seconds.
const BOUNDED_SECONDS: f64 = 2.0;

/// One load, and what it took.
struct Phase {
    title: String,
    report: Report,
    /// Processor time of the collector in seconds, until everything was counted: in all, and by stage.
    cpu: f64,
    stages: BTreeMap<String, f64>,
    peak_bytes: u64,
    written_bytes: u64,
    /// Windows that were scored.
    windows: u64,
    /// Exchanges that were acknowledged and not counted when the load ended.
    last_lag: u64,
}

pub(crate) fn run(options: &Options, binaries: &Path) -> Value {
    let workloads = if options.workload.is_empty() { Workload::value_variants() } else { &options.workload };
    let figures = workloads.iter().map(|workload| (workload.name().to_owned(), one(options, binaries, *workload)));
    Value::Object(figures.collect())
}

fn one(options: &Options, binaries: &Path, workload: Workload) -> Value {
    let mut folder = tempfile::Builder::new();
    folder.prefix("driftline-bench-").disable_cleanup(options.keep);
    let folder = options.folder.as_ref().map_or_else(|| folder.tempdir(), |parent| folder.tempdir_in(parent)).unwrap();
    let collector = Collector::start(binaries, folder.path());
    println!("\n{}", workload.title());
    let mut begin = send_once(&collector, workload, false);
    let mut load = |title: &str, rate: Option<f64>| {
        let (target, seconds, senders) = (collector.address, options.seconds, options.senders);
        let (lines, once) = (false, false);
        let arguments = Arguments { target, load: workload, seconds, rate, senders, begin, lines, once };
        let phase = phase(title, &collector, &arguments);
        begin += phase.report.seconds.max(seconds).ceil() as i64 * 1_000_000 * EVENT_SPEED;
        print(&phase, workload, rate);
        phase
    };
    let mut phases = Vec::new();
    let rates = match &options.rate {
        rates if !rates.is_empty() => rates.clone(),
        _ => {
            let full = load("at its own pace", None);
            let sustained = full.report.exchanges as f64 / full.report.seconds * SUSTAINED_SHARE;
            phases.push(full);
            [Some(sustained), (workload.rows_each() == 1).then_some(BILLION_A_DAY)].into_iter().flatten().collect()
        }
    };
    for rate in rates {
        phases.push(load(&format!("{rate:.0} exchanges/s"), Some(rate)));
    }
    let (database, archive) = collector.stored_bytes();
    println!("  database {:.0} MB, archive {:.0} MB", database as f64 / 1e6, archive as f64 / 1e6);
    let python = options.beside.as_ref().filter(|_| options.rate.is_empty());
    let scores = python.map(|_| Agreement::ours(&collector));
    drop(collector);
    let beside =
        python.zip(scores).map(|(python, ours)| beside(options, python, folder.path(), workload, (&phases[0], ours)));
    let phases: Vec<Value> = phases.iter().map(|phase| figures(phase, workload)).collect();
    json!({ "phases": phases, "database_bytes": database, "archive_bytes": archive, "beside": beside })
}

/// Sends every body once, all into one window, which is then the same for every collector. Gives when what follows begins: in
/// a window behind it.
fn send_once(collector: &Collector, workload: Workload, lines: bool) -> i64 {
    let yesterday = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64 - DAY_MICROS;
    let begin = (yesterday / WINDOW_MICROS + 1) * WINDOW_MICROS;
    let (target, senders) = (collector.address, 1);
    let once = Arguments { target, load: workload, seconds: 0.0, rate: None, senders, begin, lines, once: true };
    collector.wait_until_counted(once.run().exchanges);
    begin + 2 * WINDOW_MICROS
}

/// The same rows to a collector in Python, at its own pace, and how it compares to ours at its own.
fn beside(
    options: &Options,
    python: &Path,
    folder: &Path,
    workload: Workload,
    (ours, scores): (&Phase, Agreement),
) -> Value {
    let collector = Collector::start_beside(python, folder);
    let begin = send_once(&collector, workload, true);
    let (target, seconds, senders) = (collector.address, options.seconds, options.senders);
    let arguments = Arguments { target, load: workload, seconds, rate: None, senders, begin, lines: true, once: false };
    let theirs = phase("FastAPI, pyarrow and Evidently, at its own pace", &collector, &arguments);
    print(&theirs, workload, None);
    let agreement = scores.with_theirs(&collector);
    let cpu = |phase: &Phase| phase.cpu / phase.report.exchanges as f64;
    let ratios = json!({
        "exchanges_per_second": ours.exchanges_per_second() / theirs.exchanges_per_second(),
        "cpu": cpu(ours) / cpu(&theirs),
        "peak_bytes": ours.peak_bytes as f64 / theirs.peak_bytes as f64,
    });
    println!(
        "    the collector takes {:.1} times as many exchanges, with {:.3} of the CPU for each and {:.2} of the memory",
        ratios["exchanges_per_second"].as_f64().unwrap(),
        ratios["cpu"].as_f64().unwrap(),
        ratios["peak_bytes"].as_f64().unwrap(),
    );
    println!("    {agreement}");
    json!({ "figures": figures(&theirs, workload), "agreement": agreement.figures(), "ratios": ratios })
}

fn phase(title: &str, collector: &Collector, arguments: &Arguments) -> Phase {
    let counted = |metrics: &str| driftline_tests::metric(metrics, "driftline_exchanges_received_total", &[]) as u64;
    let windows = |metrics: &str| driftline_tests::metric(metrics, "driftline_windows_closed_total", &[]) as u64;
    let metrics = collector.metrics();
    let (before, windows_before) = (counted(&metrics), windows(&metrics));
    let (cpu, written) = (collector.process.cpu_seconds(), collector.written_bytes());
    let stages = Stages::watch(collector.process.id());
    let report = arguments.run();
    let last_lag = (before + report.exchanges).saturating_sub(counted(&collector.metrics()));
    collector.wait_until_counted(before + report.exchanges);
    Phase {
        title: title.to_owned(),
        last_lag,
        cpu: collector.process.cpu_seconds() - cpu,
        stages: stages.end(),
        peak_bytes: collector.process.peak_bytes(),
        written_bytes: collector.written_bytes() - written,
        windows: windows(&collector.metrics()) - windows_before,
        report,
    }
}

impl Phase {
    fn exchanges_per_second(&self) -> f64 {
        self.report.exchanges as f64 / self.report.seconds
    }

    /// What did not go as it should.
    fn remarks(&self, rate: Option<f64>) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(rate) = rate
            && self.exchanges_per_second() < 0.97 * rate
        {
            remarks.push(format!("{:.0} of {rate:.0} exchanges/s were taken", self.exchanges_per_second()));
        }
        if rate.is_some() && self.last_lag as f64 > BOUNDED_SECONDS * self.exchanges_per_second() {
            remarks.push(format!("the lag grew to {} exchanges", self.last_lag));
        }
        if self.report.deferred > 0 {
            remarks.push(format!("{} batches had to come again", self.report.deferred));
        }
        remarks
    }
}

fn print(phase: &Phase, workload: Workload, rate: Option<f64>) {
    let exchanges = phase.report.exchanges as f64;
    let per_million = 1e6 / exchanges;
    println!(
        "  {}: {:.0} exchanges/s, {:.0} rows/s; {:.2} cores",
        phase.title,
        phase.exchanges_per_second(),
        phase.exchanges_per_second() * workload.rows_each() as f64,
        phase.cpu / phase.report.seconds,
    );
    let stages = phase.stages.iter().filter(|(_, seconds)| **seconds * per_million >= 0.05);
    let stages: Vec<String> = stages.map(|(stage, seconds)| format!("{stage} {:.1}", seconds * per_million)).collect();
    println!("    CPU s for a million exchanges: {:.1} ({})", phase.cpu * per_million, stages.join(", "));
    println!(
        "    acknowledged after p50 {:.0} ms, p99 {:.0} ms; not yet counted: at most {} exchanges, {} at the end",
        phase.report.p50_millis,
        phase.report.p99_millis,
        phase.report.lags.iter().max().unwrap_or(&0),
        phase.last_lag,
    );
    println!(
        "    peak memory {:.0} MB; bytes for an exchange: {:.0} received, {:.0} written; {} windows scored",
        phase.peak_bytes as f64 / 1e6,
        phase.report.frame_bytes as f64 / exchanges,
        phase.written_bytes as f64 / exchanges,
        phase.windows,
    );
    for remark in phase.remarks(rate) {
        println!("    ⚠ {remark}");
    }
}

fn figures(phase: &Phase, workload: Workload) -> Value {
    json!({
        "title": phase.title,
        "exchanges": phase.report.exchanges,
        "exchanges_per_second": phase.exchanges_per_second(),
        "rows_per_second": phase.exchanges_per_second() * workload.rows_each() as f64,
        "cpu_seconds": phase.cpu,
        "cpu_seconds_by_stage": phase.stages,
        "cores": phase.cpu / phase.report.seconds,
        "p50_millis": phase.report.p50_millis,
        "p99_millis": phase.report.p99_millis,
        "lags": phase.report.lags,
        "last_lag": phase.last_lag,
        "peak_bytes": phase.peak_bytes,
        "received_bytes": phase.report.frame_bytes,
        "written_bytes": phase.written_bytes,
        "windows": phase.windows,
        "deferred": phase.report.deferred,
    })
}
