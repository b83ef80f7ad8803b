//! The rules as Prometheus' recording and alerting rules, on the counters of `/metrics`.
//!
//! Rules on indicators are computed by Prometheus itself, from the same good and valid events, over the same windows, by the
//! same arithmetic: whoever does not trust one engine has two. Where ours keeps its mind, so do these: without enough events
//! an alert neither begins nor ends. Scores are of windows of event time, which no scrape knows; rules on them become alerts
//! on what the collector says itself, so that one place lists all.

use std::collections::BTreeSet;
use std::time::Duration;

use driftline_alerts::{Condition, Labels, Objective, Pair, Recovery, Routes, Rule};

use super::quoting::{plain, quoted};
use crate::config::Config;
use crate::metrics::SLI_LABELS;
use crate::vocabulary::LABELS;

/// For how long an alert is held whose counters are gone: the collector remembers what is gone for no less.
const HELD_FOR: &str = "1h";
/// For how long the collector says what Prometheus does not: by then a share that both see is an alert of both.
const SAID_FOR: &str = "2m";
/// For how long no collector may be scraped before that is an alert. A restart is shorter.
const ABSENT_FOR: &str = "5m";

/// The rules' file, as `promtool check rules` accepts it.
pub(crate) fn prometheus(config: &Config) -> String {
    let (rules, interval) = (&config.alerting.rules, config.alerting.evaluation_interval);
    let windows: BTreeSet<Duration> = rules.iter().flat_map(|rule| windows(&rule.condition)).collect();
    let recorded = windows.into_iter().flat_map(recorded);
    let alerts = |is_ours: bool| {
        let of_kind = move |rule: &&Rule| is_computed_here(&rule.condition) == is_ours;
        rules.iter().filter(of_kind).map(|rule| alert(rule, config))
    };
    let indicators: String = recorded.chain(alerts(false)).collect();
    let looks_at_few = |rule: &&Rule| matches!(rule.condition, Condition::Sli { few: Some(_), .. });
    let of_few = rules.iter().filter(looks_at_few).map(|rule| of_few_events(rule, config));
    let collector: String = alerts(true).chain(of_few).chain([absent()]).collect();
    let group = |name: &str, rules: String| {
        format!("  - name: driftline-{name}\n    interval: {}\n    rules:\n{rules}", duration(interval))
    };
    [
        "# Driftline's rules for Prometheus, which has to scrape the collector. Written by:\n".to_owned(),
        "# driftline rules export --format prometheus\n".to_owned(),
        "groups:\n".to_owned(),
        // A group's rules are evaluated one after another: alerts see what was recorded for them.
        group("indicators", indicators),
        group("collector", collector),
    ]
    .concat()
}

/// Whether nobody but the collector knows what a condition looks at.
fn is_computed_here(condition: &Condition) -> bool {
    matches!(condition, Condition::Score { .. } | Condition::Expression { .. })
}

/// The windows over which a condition adds up events.
fn windows(condition: &Condition) -> Vec<Duration> {
    match condition {
        Condition::Score { .. } | Condition::Expression { .. } => Vec::new(),
        Condition::Sli { over, .. } => vec![*over],
        Condition::Budget { objective, pace, .. } => {
            objective.pairs(*pace).into_iter().flat_map(|pair| [pair.long, pair.short]).collect()
        }
    }
}

/// What is recorded for a window: valid events, bad ones, and their share. An increase is extrapolated, and events are whole.
/// The difference is rounded, not its terms: one bad event among many stays one.
fn recorded(window: Duration) -> [String; 3] {
    let increase = |of: &str| format!("sum by ({}) (increase(driftline_sli_{of}_total[{}]))", by(), duration(window));
    let valid = format!("round({})", increase("valid"));
    let bad = format!("round(clamp_min({} - {}, 0))", increase("valid"), increase("good"));
    // Of no events there is no share.
    let ratio = format!("{} / ({} > 0)", series("bad", window, ""), series("valid", window, ""));
    let record = |name: String, expression: String| format!("      - record: {name}\n        expr: {expression}\n");
    [
        record(series("valid", window, ""), valid),
        record(series("bad", window, ""), bad),
        record(ratio_series(window, ""), ratio),
    ]
}

/// A rule as an alert.
fn alert(rule: &Rule, config: &Config) -> String {
    let expression = match &rule.condition {
        Condition::Score { .. } | Condition::Expression { .. } => {
            format!("driftline_alerts_firing{{rule={}}} > 0", quoted(&rule.name))
        }
        Condition::Sli { sli, matching, below, over, min_events, .. } => {
            let selector = selector(sli, matching);
            let (valid, bad) = (series("valid", *over, &selector), series("bad", *over, &selector));
            let judged = format!("{valid} >= {min_events}");
            let is_below = |share: f64| format!("{valid} - {bad} < {share} * {valid}");
            // What is over must come back further.
            let is_over = match rule.recovery.clear_at {
                Some(clear_at) => format!("({}\n or {} and {})", is_below(*below), is_below(clear_at), held(rule)),
                None => is_below(*below),
            };
            format!("{is_over}\n  and {judged}\n{}", unless_judged(rule, &judged, &selector))
        }
        Condition::Budget { sli, matching, objective, pace, min_events } => {
            let selector = selector(sli, matching);
            let pairs = objective.pairs(*pace);
            let longest = pairs.iter().map(|pair| pair.short).max().unwrap_or_default();
            let burns: Vec<String> =
                pairs.iter().map(|pair| burns(rule, (objective, pair), &selector, *min_events)).collect();
            let judged = format!("{} > 0", series("valid", longest, &selector));
            format!("{}\n{}", burns.join("\nor\n"), unless_judged(rule, &judged, &selector))
        }
    };
    let Recovery { keep_firing_for, .. } = rule.recovery;
    let keep = match keep_firing_for {
        Duration::ZERO => String::new(),
        keep => format!("        keep_firing_for: {}\n", duration(keep)),
    };
    let of_what = "{{ with $labels.model }}{{ . }}{{ with $labels.column }}/{{ . }}{{ end }}: {{ end }}{{ with $labels.target }}{{ . }}: {{ end }}";
    [
        format!("      - alert: {}\n        expr: |-\n{}{keep}", quoted(&rule.name), indented(&expression)),
        severity(rule, &config.alerting.routes, is_computed_here(&rule.condition)),
        format!("          summary: {}\n", quoted(&format!("{of_what}{}", plain(&rule.condition.in_words())))),
        runbook(rule, config),
    ]
    .concat()
}

fn runbook(rule: &Rule, config: &Config) -> String {
    let url = format!("{}/runbooks/{}", config.public_url, rule.runbook);
    format!("          runbook_url: {}\n", quoted(&plain(&url)))
}

/// How urgent an alert is once routes are through with it, as its labels and the first of its annotations. What the collector
/// says itself says so. Of what Prometheus computes only that is known which routes make of every alert of the rule.
fn severity(rule: &Rule, routes: &Routes, is_said: bool) -> String {
    let lines = |severity: &str, note: &str| {
        format!("        labels:\n          severity: {severity}\n        annotations:\n{note}")
    };
    if is_said {
        return lines("\"{{ $labels.severity }}\"", "");
    }
    let severities = routes.severities(rule, &LABELS);
    let said = severities.get(&rule.severity).or(severities.last()).unwrap_or(&rule.severity).name();
    if severities.len() == 1 {
        return lines(said, "");
    }
    let all: Vec<&str> = severities.iter().map(|severity| severity.name()).collect();
    let note =
        format!("the collector's routes make it {}, by its labels or the hour; here it is {said}", all.join(" or "));
    lines(said, &format!("          routes: {}\n", quoted(&note)))
}

/// Whether a pair of windows burns a budget, and the bad events are evidence of it: see [`Objective::burns`]. An alert that fires asks
/// for no least number of events: it is not over because fewer ask.
fn burns(rule: &Rule, (objective, pair): (&Objective, &Pair), selector: &str, min_events: u64) -> String {
    let reaches =
        |window| format!("{} / (1 - {}) >= {}", ratio_series(window, selector), objective.target(), pair.rate);
    let (valid, bad) = (series("valid", pair.long, selector), series("bad", pair.long, selector));
    let bound = objective.evidence_bound();
    let (share, spread, offset) = (bound.share, bound.spread, bound.offset);
    let enough = (min_events > 0).then(|| format!("({valid} >= {min_events} or {})", held(rule)));
    let conditions = [
        reaches(pair.long),
        reaches(pair.short),
        format!("{bad} >= {}", Objective::MIN_BAD),
        format!("{bad} >= {share} * {valid} + {spread} * sqrt({valid}) + {offset}"),
    ];
    conditions.into_iter().chain(enough).collect::<Vec<_>>().join("\n  and ")
}

/// An alert that fires stays as it is while its rule has nothing to judge by, and its counters were seen lately.
fn unless_judged(rule: &Rule, judged: &str, selector: &str) -> String {
    let seen = format!("last_over_time(driftline_sli_valid_total{selector}[{HELD_FOR}])");
    format!("or\n{}\n  unless {judged}\n  and on ({}) {seen}", held(rule), by())
}

/// What of a rule fires.
fn held(rule: &Rule) -> String {
    format!("max by ({}) (ALERTS{{alertname={}, alertstate=\"firing\"}})", by(), quoted(&rule.name))
}

/// What events are summed by: the labels of what is recorded, and of alerts.
fn by() -> String {
    SLI_LABELS.join(", ")
}

/// What the collector says of a rule by the last events of what few call. No window holds those, whatever its length, so they are
/// not counted here: where more fires there than is a share here, that is an alert, too. Its metric names no model.
fn of_few_events(rule: &Rule, config: &Config) -> String {
    let name = quoted(&rule.name);
    let said = format!("driftline_alerts_firing{{rule={name}}}");
    // Alerts on shares have the labels of what is recorded, and this one has not.
    let shares = format!("count(ALERTS{{alertname={name}, alertstate=\"firing\", sli!=\"\"}})");
    let expression = format!("{said} > 0\n  and on () sum({said}) > ({shares} or vector(0))");
    let summary = format!("the collector's {} fires, by the last events of what few call", plain(&rule.name));
    [
        "      # By the last events, where too few come for a share: only the collector counts back to them.\n"
            .to_owned(),
        format!("      - alert: {name}\n        expr: |-\n{}        for: {SAID_FOR}\n", indented(&expression)),
        severity(rule, &config.alerting.routes, true),
        format!("          summary: {}\n{}", quoted(&summary), runbook(rule, config)),
    ]
    .concat()
}

/// That nothing is scraped of which the others could tell.
fn absent() -> String {
    [
        "      - alert: DriftlineAbsent\n        expr: absent(driftline_build_info)\n".to_owned(),
        format!("        for: {ABSENT_FOR}\n        labels:\n          severity: page\n        annotations:\n"),
        "          summary: \"no collector is scraped: Driftline's rules see nothing, and its sidecars keep what they have\"\n"
            .to_owned(),
    ]
    .concat()
}

fn series(of: &str, window: Duration, selector: &str) -> String {
    format!("driftline:sli_{of}:increase{}{selector}", duration(window))
}

fn ratio_series(window: Duration, selector: &str) -> String {
    format!("driftline:sli_bad:ratio{}{selector}", duration(window))
}

fn selector(sli: &str, matching: &Labels) -> String {
    let matching = matching.iter().map(|(name, value)| format!(", {name}={}", quoted(value)));
    format!("{{sli={}{}}}", quoted(sli), matching.collect::<String>())
}

/// A duration as Prometheus writes it, in the largest unit that divides it.
fn duration(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let millis = duration.as_millis();
    let unit = UNITS.into_iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}

/// Lines of an expression, in a block of YAML.
fn indented(expression: &str) -> String {
    expression.lines().map(|line| format!("          {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn export(yaml: &str) -> String {
        prometheus(&Config::parse("d.yaml", yaml, Path::new("")).unwrap())
    }

    #[test]
    fn every_rule_becomes_an_alert_and_each_window_is_recorded_once() {
        let yaml = "alerts: {rules: [{name: Own, severity: page, runbook: latency-slo, when: {sli: latency, objective: 0.99, burns: fast}}]}";
        let (file, config) = (export(yaml), Config::parse("d.yaml", yaml, Path::new("")).unwrap());
        for rule in &config.alerting.rules {
            // What looks at the last events is also what the collector says of them.
            let alerts = if matches!(rule.condition, Condition::Sli { few: Some(_), .. }) { 2 } else { 1 };
            assert_eq!(file.matches(&format!("alert: \"{}\"\n", rule.name)).count(), alerts, "{}", rule.name);
        }
        for name in ["sli_valid:increase5m", "sli_bad:increase1h", "sli_bad:ratio6h", "sli_bad:ratio30m"] {
            assert_eq!(file.matches(&format!("record: driftline:{name}\n")).count(), 1, "{name}");
        }
    }

    #[test]
    fn texts_of_the_configuration_stay_texts() {
        let yaml = "public_url: \"http://a/{{ x }}\"\nalerts: {rules: [{name: Own, severity: page, runbook: latency-slo, when: {sli: latency, below: 0.9, matching: {model: \"a\\\"}\\n#\"}}}]}";
        let file = export(yaml);
        assert!(file.contains(r#"{sli="latency", model="a\"}\u000A#"}"#), "{file}");
        assert!(file.contains("\"http://a/{{`{{`}} x }}/runbooks/latency-slo\""), "{file}");
    }

    #[test]
    fn alerts_are_as_urgent_as_routes_make_them_and_say_where_that_is_not_known_here() {
        let file = export(
            "alerts:
  targets: {a: {webhook: {url: {env: A}}}}
  routes:
    - {matching: [team=staging, severity=page], severity: ticket, continue: true}
    - {matching: [model=~test-.*], severity: info, targets: [a]}
    - {targets: [a]}
  rules:
    - {name: Certain, severity: page, runbook: latency-slo, labels: {team: staging}, when: {sli: latency, below: 0.9, matching: {model: m}}}
    - {name: Open, severity: page, runbook: latency-slo, when: {sli: latency, below: 0.9}}
    - {name: Drift, severity: page, runbook: feature-drift, when: {score: psi}}
",
        );
        let of = |name: &str| {
            let (_, alert) = file.split_once(&format!("alert: \"{name}\"")).unwrap();
            let (_, labels) = alert.split_once("labels:\n").unwrap();
            labels.split_once("          summary").unwrap().0
        };
        assert_eq!(of("Certain"), "          severity: ticket\n        annotations:\n");
        let note = "the collector's routes make it info or page, by its labels or the hour; here it is page";
        assert_eq!(
            of("Open"),
            format!("          severity: page\n        annotations:\n          routes: \"{note}\"\n")
        );
        assert_eq!(of("Drift"), "          severity: \"{{ $labels.severity }}\"\n        annotations:\n");
    }

    #[test]
    fn durations_are_whole_in_the_largest_unit() {
        let all = [250, 15_000, 90_000, 300_000, 86_400_000, 90_000_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(all, ["250ms", "15s", "90s", "5m", "1d", "25h"]);
    }
}
