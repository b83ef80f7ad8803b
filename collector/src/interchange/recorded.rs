//! Our engine on requests that a real sidecar recorded, stretched over two weeks and over a hundred days: budgets of 7 and 90 days, of
//! weeks and months of the calendar, burn rates, and which rules burn and fire. `tests/python/test_burn.py` holds what is said
//! here to a direct computation in numpy, and Prometheus, with the rules that are exported, to both.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use driftline_alerts::{Alert, Condition, Labels, Observation, Reading, Rule};
use driftline_protocol::{EndState, Exchange};
use rusqlite::Connection;

use crate::config::{Config, Slis};
use crate::pipeline::calls::{Call, count_call, weight};
use crate::pipeline::slis::{SliCounts, burn};
use crate::pipeline::tidying;
use crate::store::in_memory;

const REQUESTS: &str = include_str!("../../../tests/golden/burn/recorded.csv");
const RULES: &str = include_str!("../../../tests/golden/burn/recorded.yaml");
/// What our engine said.
const SAID: &str = "../tests/golden/burn/recorded_said.csv";

const MINUTE: i64 = 60_000_000;
/// 2026-02-26T07:23:00Z: within an hour, and before clocks go forward.
const BEGINS: i64 = 1_772_090_580_000_000;
/// What the recording is stretched to, by how many times, and how many minutes lie between two looks.
const STRETCHES: [(&str, i64, i64); 2] = [("fortnight", 3_600, 60), ("quarter", 25_920, 360)];
/// Of so many looks one is written down, and those at which something began or ended.
const WRITTEN: i64 = 6;

/// When each request came, in microseconds since the first, and what became of it.
fn requests() -> Vec<(i64, Exchange)> {
    let request = |line: &str| {
        let [at, status, end, took] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let exchange = Exchange {
            status: status.parse().unwrap(),
            end: EndState::named(end).unwrap().into(),
            duration_micros: took.parse().unwrap(),
            ..Exchange::default()
        };
        (at.parse::<i64>().unwrap() * 1000, exchange)
    };
    REQUESTS.lines().skip(1).map(request).collect()
}

fn labels() -> Labels {
    Labels::from([("model".to_owned(), "m".to_owned())])
}

/// What a rule is told, and whether it burns by that alone.
fn read(db: &Connection, rule: &Rule, now: i64) -> (Reading, bool, String) {
    let Condition::Budget { sli, objective, pace, min_events, .. } = &rule.condition else { panic!("{}", rule.name) };
    let readings = burn(db, "m", sli, (objective, *pace), now).unwrap();
    let Some((_, reading)) = readings.first() else { return (Reading::NotEnoughData, false, "0,0,1,,,,".to_owned()) };
    let Reading::Burn { period, long, short } = *reading else { panic!("{reading:?}") };
    let pairs: Vec<_> = objective.pairs(*pace).into_iter().zip(long.into_iter().zip(short)).collect();
    let burns =
        pairs.iter().any(|(pair, (long, short))| long.valid >= *min_events && objective.burns(pair, *long, *short));
    let mut line = format!("{},{},{}", period.good, period.bad(), objective.budget(period).left);
    for index in 0..2 {
        for counts in pairs.get(index).map_or([None; 2], |(_, (long, short))| [Some(*long), Some(*short)]) {
            let rate = counts.and_then(|counts| objective.burn_rate(counts));
            write!(line, ",{}", rate.map_or_else(String::new, |rate| rate.to_string())).unwrap();
        }
    }
    (*reading, burns, line)
}

#[test]
fn recorded_requests_burn_budgets_of_weeks_and_quarters_as_is_written_down() {
    let config = Config::parse("recorded.yaml", RULES, Path::new("")).unwrap();
    let of_file = |rule: &&Rule| RULES.contains(&format!("name: {}", rule.name));
    let rules: Vec<&Rule> = config.alerting.rules.iter().filter(of_file).collect();
    let limits = Slis { latency: Duration::from_millis(150), ..Slis::default() };
    let requests = requests();
    let mut said = "stretch,minute,rule,good,bad,left,long_1,short_1,long_2,short_2,burns,firing\n".to_owned();
    for (stretch, factor, step) in STRETCHES {
        let db = in_memory().unwrap();
        let mut alerts: Vec<Alert> = rules.iter().map(|rule| Alert::new(rule, labels())).collect();
        let mut next = requests.iter().peekable();
        let last = requests.last().unwrap().0 * factor / MINUTE + 1;
        let mut before = Vec::new();
        for look in 1..=last / step {
            let minute = look * step;
            let now = BEGINS + minute * MINUTE;
            let mut counts = SliCounts::default();
            while let Some((at, exchange)) = next.next_if(|(at, _)| BEGINS + at * factor < now) {
                let call = ("m", Call::archived(exchange), &limits);
                count_call(&mut counts, call, (BEGINS + at * factor, weight(exchange)), |_, _| ());
            }
            counts.store(&db).unwrap();
            // Slices of more than a week ago are not kept.
            while tidying::tidy(&db, now).unwrap() {}
            let mut lines = Vec::new();
            for (rule, alert) in rules.iter().zip(&mut alerts) {
                let (reading, burns, line) = read(&db, rule, now);
                let Condition::Budget { sli, .. } = &rule.condition else { continue };
                alert.observe(rule, &[Observation { name: sli.clone(), labels: labels(), reading }], now, i64::MAX);
                let is_firing = alert.open().is_some();
                lines.push((format!("{stretch},{minute},{},{line}", rule.name), burns, is_firing));
            }
            let firing: Vec<bool> = lines.iter().map(|(_, _, is_firing)| *is_firing).collect();
            if firing != before || look % WRITTEN == 0 {
                for (line, burns, is_firing) in lines {
                    writeln!(said, "{line},{},{}", u8::from(burns), u8::from(is_firing)).unwrap();
                }
            }
            before = firing;
        }
    }
    for rule in &rules {
        let of_rule = said.lines().filter(|line| line.contains(&format!(",{},", rule.name)));
        let (fires, rests): (Vec<_>, Vec<_>) = of_rule.partition(|line| line.ends_with(",1"));
        assert!(
            !fires.is_empty() && !rests.is_empty(),
            "{} fires and rests: {} {}",
            rule.name,
            fires.len(),
            rests.len()
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SAID);
    if std::env::var_os("DRIFTLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, said).unwrap();
    } else {
        assert_eq!(std::fs::read_to_string(path).unwrap(), said, "run the test with DRIFTLINE_UPDATE_DOCS=1");
    }
}
