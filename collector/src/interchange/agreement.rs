//! Our engine on a recorded day of requests, beside a direct computation. `tests/python/test_rules.py` holds Prometheus, with
//! the rules that are exported, against the same file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use driftline_alerts::{Alert, Condition, Counts, Labels, Observation, Reading, Rule};
use rusqlite::Connection;

use crate::config::Config;
use crate::pipeline::slis::{SliCounts, burn, sums};
use crate::store::in_memory;

const REQUESTS: &str = include_str!("../../../tests/golden/burn/requests.csv");
const RULES: &str = include_str!("../../../tests/golden/burn/driftline.yaml");
/// What our engine said, as Prometheus is held to it.
const SAID: &str = "../tests/golden/burn/said.csv";

/// Minutes from one look to the next.
const STEP: usize = 4;
const MINUTE: i64 = 60_000_000;
/// Within an hour and within a slice, so that neither begins with the log.
const BEGINS: i64 = 1_772_324_220_000_000;

/// Valid and bad requests by the minute.
fn requests() -> Vec<Counts> {
    let counts = |line: &str| {
        let fields: Vec<u64> = line.split(',').map(|field| field.parse().unwrap()).collect();
        Counts { good: fields[1] - fields[2], valid: fields[1], unknown: 0 }
    };
    REQUESTS.lines().skip(1).map(counts).collect()
}

/// Puts a minute's requests into the database, spread over the minute.
fn store(db: &Connection, minute: usize, of_minute: Counts) {
    let mut counts = SliCounts::default();
    for index in 0..of_minute.valid {
        let good = u64::from(index < of_minute.good);
        let within = MINUTE * index as i64 / of_minute.valid as i64;
        counts.count("m", "latency", "", time(minute) + within, Counts { good, valid: 1, unknown: 0 });
    }
    counts.store(db).unwrap();
}

fn time(minute: usize) -> i64 {
    BEGINS + minute as i64 * MINUTE
}

/// Requests of the last minutes before one.
fn direct(requests: &[Counts], minute: usize, window: u64) -> Counts {
    let from = minute.saturating_sub(window as usize / 60);
    requests[from..minute].iter().fold(Counts::default(), |mut sum, counts| {
        sum += *counts;
        sum
    })
}

/// What a rule is told at a time.
fn reading(db: &Connection, rule: &Rule, now: i64) -> Reading {
    match &rule.condition {
        Condition::Budget { sli, objective, pace, .. } => {
            let readings = burn(db, "m", sli, (objective, *pace), now).unwrap();
            readings.first().map_or(Reading::NotEnoughData, |(_, reading)| *reading)
        }
        Condition::Sli { sli, over, .. } => {
            let sums = sums(db, "m", sli, now - over.as_micros() as i64, now).unwrap();
            let sum = sums.get("").copied().unwrap_or_default();
            Reading::Ratio { good: sum.good, valid: sum.valid, unknown: sum.unknown }
        }
        Condition::Score { .. } | Condition::Expression { .. } => Reading::NotEnoughData,
    }
}

/// Holds what was read against the direct computation, and gives the burn rates by window.
fn rates(rule: &Rule, read: Reading, requests: &[Counts], minute: usize) -> BTreeMap<u64, Option<f64>> {
    let (Condition::Budget { objective, pace, .. }, Reading::Burn { period, long, short }) = (&rule.condition, read)
    else {
        return BTreeMap::new();
    };
    assert_eq!(period, direct(requests, minute, 30 * 86_400));
    let pairs = objective.pairs(*pace).into_iter().zip(long.into_iter().zip(short));
    pairs
        .flat_map(|(pair, (long, short))| [(pair.long, long), (pair.short, short)])
        .map(|(window, counts)| {
            assert_eq!(counts, direct(requests, minute, window.as_secs()), "{window:?} before minute {minute}");
            (window.as_secs(), objective.burn_rate(counts))
        })
        .collect()
}

#[test]
fn a_recorded_day_burns_as_a_direct_computation_says() {
    let config = Config::parse("driftline.yaml", RULES, Path::new("")).unwrap();
    let rules: Vec<&Rule> = ["Shortly", "Fast", "Slow"]
        .map(|name| config.alerting.rules.iter().find(|rule| rule.name == name).unwrap())
        .into();
    let labels = Labels::from([("model".to_owned(), "m".to_owned())]);
    let mut alerts: Vec<Alert> = rules.iter().map(|rule| Alert::new(rule, labels.clone())).collect();
    let requests = requests();
    let db = in_memory().unwrap();
    let mut said = "minute,300,1800,3600,7200,21600,86400,259200,firing\n".to_owned();
    let mut firing_before = Vec::new();
    for minute in (STEP..requests.len()).step_by(STEP) {
        (minute - STEP..minute).for_each(|minute| store(&db, minute, requests[minute]));
        let now = time(minute);
        let mut all_rates = BTreeMap::new();
        for (rule, alert) in rules.iter().zip(&mut alerts) {
            let read = reading(&db, rule, now);
            all_rates.extend(rates(rule, read, &requests, minute));
            let observation = Observation { name: "latency".to_owned(), labels: labels.clone(), reading: read };
            alert.observe(rule, &[observation], now, 86_400_000_000);
        }
        let firing: Vec<&str> = rules
            .iter()
            .zip(&alerts)
            .filter(|(_, alert)| alert.open().is_some())
            .map(|(rule, _)| &*rule.name)
            .collect();
        if firing != firing_before || minute.is_multiple_of(3 * STEP) {
            write!(said, "{minute}").unwrap();
            for rate in all_rates.into_values() {
                write!(said, ",{}", rate.map_or_else(String::new, |rate| rate.to_string())).unwrap();
            }
            writeln!(said, ",{}", firing.join(" ")).unwrap();
        }
        firing_before = firing;
    }
    let changes = said
        .lines()
        .map(|line| line.rsplit(',').next())
        .fold((0, None), |(count, before), firing| (count + usize::from(firing != before), firing));
    assert!(changes.0 > 8, "each of them begins and ends: {said}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SAID);
    if std::env::var_os("DRIFTLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, said).unwrap();
    } else {
        assert_eq!(std::fs::read_to_string(path).unwrap(), said, "run the test with DRIFTLINE_UPDATE_DOCS=1");
    }
}
