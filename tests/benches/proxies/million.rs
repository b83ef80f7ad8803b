//! A million requests while rules are reloaded and the model's server restarts again and again. The direct way meets the
//! same restarts first: what breaks there may break through the sidecar, and nothing else.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Options;
use crate::compare::upstream;
use crate::load::{Arguments, Report};
use crate::processes::free_address;
use crate::sidecar::{Collector, Sidecar, binaries, metric};
use crate::workload::Workload;

const BETWEEN_RESTARTS: Duration = Duration::from_secs(2);
/// Rules in turn. With both of them everything is captured as it is without.
const RULES: [&str; 2] = ["sample: {keep_one_in: 1}\n", "sample: {keep_one_in: 1, always_keep: {slower_than: 10s}}\n"];
/// How many more requests than directly a restart may cost, as a factor: how long the server is away is not the same twice.
const MORE_FOR_EACH_RESTART: f64 = 2.0;

pub(crate) fn run(options: &Options) -> Value {
    let binaries = binaries(options);
    let folder = tempfile::Builder::new().prefix("driftline-bench-").disable_cleanup(options.keep).tempdir().unwrap();
    let collector = Collector::start(&binaries, folder.path());
    let server = free_address();
    let rules = can_reload(&binaries).then(|| folder.path().join("rules.yaml"));
    let mut more = Vec::new();
    if let Some(rules) = &rules {
        std::fs::write(rules, RULES[0]).unwrap();
        more.push(format!("--rules={}", rules.display()));
    } else {
        println!("this sidecar has no --rules: nothing is reloaded");
    }
    let sidecar = Sidecar::start(&binaries, folder.path(), server, collector.address, &more);
    let (direct, direct_restarts) = under_restarts(options, server, server, None);
    let reloaded = rules.as_deref().map(|rules| (&sidecar, rules));
    let (through, restarts) = under_restarts(options, sidecar.address, server, reloaded);
    let peak = sidecar.process.peak_bytes();
    let reloads = metric(&sidecar.metrics().unwrap(), "driftline_sidecar_rules_reloads_total") as u64;
    let account = sidecar.stop(folder.path());

    let mut wrong: Vec<String> = through
        .errors_by_kind
        .keys()
        .filter(|kind| !direct.errors_by_kind.contains_key(*kind))
        .map(|kind| format!("an error that the direct way does not show: {kind}"))
        .collect();
    if direct_restarts == 0 || restarts == 0 {
        wrong.push("too few requests: no restart fell among them".to_owned());
    }
    let lost = |report: &Report, restarts: u32| {
        report.errors_by_kind.values().sum::<u64>() as f64 / f64::from(restarts.max(1))
    };
    let (lost_directly, lost_through) = (lost(&direct, direct_restarts), lost(&through, restarts));
    if lost_through > MORE_FOR_EACH_RESTART * lost_directly {
        wrong.push(format!("a restart costs {lost_through:.0} requests, directly {lost_directly:.0}"));
    }
    if rules.is_some() && reloads < u64::from(restarts) {
        wrong.push(format!("rules were put in force {reloads} times only"));
    }
    if !account.is_settled() || account.seen < through.requests {
        wrong.push("the account does not add up".to_owned());
    }
    let row = |name: &str, report: &Report, restarts: u32| {
        println!(
            "{name:<8} {:>9} answered, {restarts:>4} restarts, errors: {:?}",
            report.requests, report.errors_by_kind
        );
    };
    row("direct", &direct, direct_restarts);
    row("sidecar", &through, restarts);
    println!(
        "a restart cost {lost_directly:.0} requests directly and {lost_through:.0} through the sidecar; rules were put in force \
         {reloads} times; seen {} = delivered {} + dropped {}; peak {:.1} MB {}",
        account.seen,
        account.delivered,
        account.dropped,
        peak as f64 / 1e6,
        if wrong.is_empty() { String::new() } else { format!("⚠ {}", wrong.join("; ")) }
    );
    let figures = |report: &Report, restarts: u32| json!({ "answered": report.requests, "errors": report.errors_by_kind, "restarts": restarts });
    json!({
        "direct": figures(&direct, direct_restarts), "sidecar": figures(&through, restarts),
        "reloads": reloads, "seen": account.seen, "delivered": account.delivered, "dropped": account.dropped, "peak_bytes": peak,
        "wrong": wrong,
    })
}

/// Whether this sidecar has rules that it can reload. One that has none would end at a SIGHUP.
fn can_reload(binaries: &Path) -> bool {
    let help = std::process::Command::new(binaries.join("driftline-sidecar")).arg("--help").output().unwrap();
    String::from_utf8_lossy(&help.stdout).contains("--rules")
}

/// Sends all requests to a target, while the server behind it restarts. Says what came of it and how many restarts there were.
fn under_restarts(
    options: &Options,
    target: SocketAddr,
    server: SocketAddr,
    reloaded: Option<(&Sidecar, &Path)>,
) -> (Report, u32) {
    let mut running = Some(upstream(Workload::Small, &server.to_string()));
    let load = Arguments {
        target,
        load: Workload::Small,
        path: Workload::Small.path(true).to_owned(),
        connections: options.connections,
        seconds: 3_600.0,
        rate: None,
        requests: Some(options.requests),
        reconnect: true,
    };
    let load = load.start();
    let output = std::thread::spawn(move || load.wait_with_output().unwrap().stdout);
    let mut restarts = 0;
    loop {
        std::thread::sleep(BETWEEN_RESTARTS / 2);
        if let Some((sidecar, rules)) = reloaded {
            std::fs::write(rules, RULES[restarts as usize % 2]).unwrap();
            sidecar.process.signal("-HUP");
        }
        std::thread::sleep(BETWEEN_RESTARTS / 2);
        // Only restarts that the load meets count.
        if output.is_finished() {
            break;
        }
        running.take();
        running = Some(upstream(Workload::Small, &server.to_string()));
        restarts += 1;
    }
    (Report::read(&output.join().unwrap()), restarts)
}
