//! There and back, and what is refused on the way.

use std::collections::BTreeSet;
use std::path::Path;

use driftline_alerts::{Condition, Labels, Rule, Severity};
use proptest::prelude::*;

use super::*;
use crate::config::{Config, Windows};

const TARGETS: &str = "  targets: {a: {webhook: {url: {env: A}}}, 'b \"é': {webhook: {url: {env: B}}}}\n";

fn config(yaml: &str) -> Vec<Rule> {
    let config = Config::parse("d.yaml", yaml, Path::new("/")).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
    config.alerting.rules
}

/// The rules that come back as themselves.
fn there_and_back(rules: &[Rule]) -> Vec<Rule> {
    let exported = export(rules, &|_| false, &|_| Windows::default());
    let imported = import("o.yaml", &exported).unwrap_or_else(|problems| panic!("{problems}\n{exported}"));
    config(&imported.replacen("alerts:\n", &format!("alerts:\n{TARGETS}"), 1))
}

/// A rule on a budget, of what OpenSLO holds of one.
fn rules() -> impl Strategy<Value = Rule> {
    let over = prop::sample::select(vec![
        "7d",
        "28d",
        "30d",
        "90d",
        "week",
        "month, time_zone: Europe/Berlin",
        "quarter, time_zone: Asia/Kathmandu",
    ]);
    let objective = prop::sample::select(vec!["0.95", "0.99", "0.999", "0.99995"]);
    let sli = prop::sample::select(SLIS_WITH_RUNBOOKS.to_vec());
    let name = prop_oneof!["[A-Za-z][A-Za-z0-9_-]{0,12}", "[A-Z]{60}[_a-z-]{0,40}"];
    let matching = prop::option::of("[a-z \"é{}]{1,8}");
    let targets = prop::collection::vec(prop::sample::select(vec!["a", "b \"é"]), 0..3);
    let more = (prop::bool::ANY, 0..2000u64, prop::sample::select(Severity::ALL.to_vec()), prop::bool::ANY);
    (name, sli, objective, over, matching, targets, more).prop_map(
        |(
            name,
            (sli, runbook),
            objective,
            over,
            matching,
            mut targets,
            (is_fast, min_events, severity, is_grouped),
        )| {
            targets.dedup();
            let burns = if is_fast { "fast" } else { "slow" };
            let min_events = if min_events == 0 { String::new() } else { format!(", min_events: {min_events}") };
            let when = format!("sli: {sli}, objective: {objective}, over: {over}, burns: {burns}{min_events}");
            let head =
                format!("alerts:\n{TARGETS}  rules:\n    - name: Template\n      severity: {}\n", severity.name());
            let rest = format!("      runbook: {runbook}\n      when: {{{when}}}\n      targets: []\n");
            let mut rule = config(&(head + &rest)).into_iter().find(|rule| rule.name == "Template").unwrap();
            rule.name = name;
            rule.targets = targets.into_iter().map(str::to_owned).collect();
            rule.group_by = if is_grouped { vec!["model".to_owned(), "column".to_owned()] } else { Vec::new() };
            if let (Some(model), Condition::Budget { matching, .. }) = (matching, &mut rule.condition) {
                *matching = Labels::from([("model".to_owned(), model)]);
            }
            rule
        },
    )
}

const SLIS_WITH_RUNBOOKS: [(&str, &str); 5] = [
    ("latency", "latency-slo"),
    ("first_message", "first-message-slo"),
    ("availability", "availability-budget"),
    ("freshness", "stale-features"),
    ("slices", "feature-drift"),
];

/// All names in documents that were exported.
fn names(exported: &str) -> Vec<String> {
    let fields = ["name: ", "alertPolicyRef: ", "conditionRef: ", "targetRef: "];
    let value = |line: &str| {
        fields.iter().find_map(|field| Some(line.trim_start_matches([' ', '-']).strip_prefix(field)?.to_owned()))
    };
    exported.lines().filter_map(value).collect()
}

/// Whether every implementation takes a name (RFC 1123).
fn is_small_label(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_allowed) && name.trim_matches('-') == name
}

#[test]
fn names_that_are_cut_or_stripped_to_the_same_stay_apart() {
    let twice = "x".repeat(70);
    let rule = |name: &str, target: &str| {
        format!(
            "    - {{name: {name}, severity: page, runbook: latency-slo, targets: [{target}], when: {{sli: first_message, objective: 0.99, burns: fast}}}}\n"
        )
    };
    let targets = "  targets: {a_b: {webhook: {url: {env: A}}}, a-b: {webhook: {url: {env: A}}}, every-target: {webhook: {url: {env: A}}}, '!': {webhook: {url: {env: A}}}}\n";
    let own = [(twice.as_str(), "a_b"), (&twice[1..], "a-b, '!'"), ("A-B", "every-target"), ("a_b", "")];
    let yaml = format!("alerts:\n{targets}  rules:\n{}", own.map(|(name, target)| rule(name, target)).concat());
    let rules: Vec<Rule> =
        config(&yaml).into_iter().filter(|rule| own.iter().any(|(name, _)| rule.name == *name)).collect();
    let exported = export(&rules, &|_| false, &|_| Windows::default());
    assert!(names(&exported).iter().all(|name| is_small_label(name)), "{exported}");
    let documents: BTreeSet<(&str, &str)> = exported
        .split("---\n")
        .skip(1)
        .map(|text| {
            let field = |name: &str| text.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap();
            (field("kind: "), field("name: "))
        })
        .collect();
    // Four rules with two pairs each, and five targets.
    assert_eq!(documents.len(), 4 * (1 + 2 * 2) + 5, "{exported}");
    let imported = import("o.yaml", &exported).unwrap_or_else(|problems| panic!("{problems}\n{exported}"));
    let back = config(&imported.replacen("alerts:\n", &format!("alerts:\n{targets}"), 1));
    for rule in &rules {
        let same = back.iter().find(|other| other.name == rule.name).unwrap_or_else(|| panic!("{} is gone", rule.name));
        assert_eq!(same.targets, rule.targets, "{}", rule.name);
    }
}

#[test]
fn who_is_told_by_no_name_is_everybody_or_nobody_there_and_back() {
    let shows = "{name: Shows, severity: info, runbook: latency-slo, targets: [], when: {sli: latency, objective: 0.99, burns: fast}}";
    let yaml = format!("alerts:\n{TARGETS}  routes: [{{targets: [a]}}]\n  rules: [{shows}]\n");
    let alerting = Config::parse("d.yaml", &yaml, Path::new("/")).unwrap().alerting;
    let exported = export(&alerting.rules, &|rule| alerting.tells_everyone(rule), &|_| Windows::default());
    let imported = import("o.yaml", &exported).unwrap_or_else(|problems| panic!("{problems}\n{exported}"));
    let back = format!("alerts:\n{TARGETS}  routes: [{{targets: [a]}}]\n");
    let back = Config::parse("d.yaml", &imported.replacen("alerts:\n", &back, 1), Path::new("/")).unwrap().alerting;
    for name in ["LatencyBudget", "AvailabilityBudget", "Shows"] {
        let told = |alerting: &crate::config::Alerting| {
            let rule = alerting.rules.iter().find(|rule| rule.name == name).unwrap();
            (alerting.tells_everyone(rule), rule.targets.clone())
        };
        assert_eq!(told(&alerting), (name != "Shows", Vec::new()), "{name}");
        assert_eq!(told(&back), told(&alerting), "{name}");
    }
    let wrong = exported.replacen("driftline.dev/targets: all", "driftline.dev/targets: some", 1);
    let error = import("o.yaml", &wrong).unwrap_err().to_string();
    assert!(error.contains("driftline.dev/targets: 'some' is not allowed"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn rules_on_budgets_come_back_as_they_were(mut rules in prop::collection::vec(rules(), 1..4)) {
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        rules.dedup_by(|a, b| a.name == b.name);
        for name in names(&export(&rules, &|_| false, &|_| Windows::default())) {
            prop_assert!(is_small_label(&name), "{}", name);
        }
        let back = there_and_back(&rules);
        for rule in &rules {
            let same = back.iter().find(|other| other.name == rule.name).unwrap();
            prop_assert_eq!(&same.condition, &rule.condition);
            prop_assert_eq!((&same.severity, &same.runbook), (&rule.severity, &rule.runbook));
            prop_assert_eq!((&same.group_by, &same.targets), (&rule.group_by, &rule.targets));
        }
    }
}

#[test]
fn what_ships_goes_there_and_back() {
    let shipped = config("");
    let back = there_and_back(&shipped);
    for name in ["LatencyBudget", "AvailabilityBudget"] {
        let of = |rules: &[Rule]| rules.iter().find(|rule| rule.name == name).unwrap().condition.clone();
        assert_eq!(of(&back), of(&shipped));
    }
    assert!(
        export(&shipped, &|_| false, &|_| Windows::default())
            .contains("# Rules that are no objectives, and not here: FeatureDrift, ")
    );
}

/// An SLO as somebody else would write it, without our annotations.
const FOREIGN: &str = "apiVersion: openslo/v1
kind: SLI
metadata: {name: fast-answers, displayName: Fast answers}
spec:
  description: Requests in time.
  ratioMetric:
    counter: true
    good: {metricSource: {type: Driftline, spec: {indicator: latency, events: good}}}
    total: {metricSource: {type: Driftline, spec: {indicator: latency, events: valid}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout-latency, labels: {team: a}}
spec:
  service: checkout
  indicatorRef: fast-answers
  timeWindow:
    - {duration: 4w, isRolling: true}
  budgetingMethod: Occurrences
  objectives:
    - {displayName: Good enough, targetPercent: 99.5}
";

const POLICY: &str = "  alertPolicies: [quick, slower]
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: quick}
spec:
  alertWhenNoData: false
  conditions: [{conditionRef: quick}]
  notificationTargets: [{targetRef: a}]
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: slower}
spec:
  conditions: [{conditionRef: slower}]
  notificationTargets: [{targetRef: a}]
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: quick}
spec:
  severity: page
  condition: {kind: burnrate, op: gte, threshold: 13.4, lookbackWindow: 1h, alertAfter: 0m}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: slower}
spec:
  severity: page
  condition: {kind: burnrate, op: gte, threshold: 5.6, lookbackWindow: 6h}
";

#[test]
fn an_objective_from_elsewhere_becomes_rules() {
    let conditions = |text: &str| -> Vec<String> {
        let rules = config(&import("o.yaml", text).unwrap().replacen("alerts:\n", &format!("alerts:\n{TARGETS}"), 1));
        let own = rules.iter().filter(|rule| rule.name.starts_with("CheckoutLatency"));
        own.map(|rule| format!("{} {} {}", rule.name, rule.severity.name(), rule.condition.in_words())).collect()
    };
    assert_eq!(
        conditions(FOREIGN),
        [
            "CheckoutLatencyFast page latency burns the budget of 99.5% in 28 days too fast: 13.44 times over 1 h and 5 min, or 5.6 times over 6 h and 30 min",
            "CheckoutLatencySlow ticket latency burns the budget of 99.5% in 28 days too fast: 2.8 times over 1 d and 2 h, or 1.0267 times over 3 d and 6 h",
        ]
    );
    assert_eq!(
        conditions(&format!("{FOREIGN}{POLICY}")),
        [
            "CheckoutLatency page latency burns the budget of 99.5% in 28 days too fast: 13.44 times over 1 h and 5 min, or 5.6 times over 6 h and 30 min"
        ]
    );
}

#[test]
fn what_our_rules_cannot_say_is_refused_with_its_line() {
    let whole = format!("{FOREIGN}{POLICY}");
    for (from, to, says) in [
        ("openslo/v1\nkind: SLI", "openslo/v2\nkind: SLI", "o.yaml:1:1: apiVersion: 'openslo/v2' is not allowed"),
        ("type: Driftline", "type: Prometheus", "o.yaml:8:27: spec.ratioMetric.good.metricSource.type: 'Prometheus'"),
        ("indicator: latency", "indicator: speed", "'speed' is not allowed; allowed is one of latency, first_message"),
        ("events: good", "events: valid", "allowed is one of good"),
        ("indicator: latency, events: good", "indicator: capture, events: good", "is of another indicator"),
        ("ratioMetric:\n", "thresholdMetric: {}\n  ratioMetric:\n", "needs either 'ratioMetric' or 'thresholdMetric'"),
        (
            "fast-answers\n  timeWindow",
            "slow-answers\n  timeWindow",
            "o.yaml:16:3: spec.indicatorRef: there is no SLI 'slow-answers'",
        ),
        (
            "budgetingMethod: Occurrences",
            "budgetingMethod: Timeslices",
            "is for the indicator slices, whose events are windows; the events of latency are counted one by one",
        ),
        (
            "budgetingMethod: Occurrences",
            "budgetingMethod: RatioTimeslices",
            "allowed is one of Occurrences, Timeslices",
        ),
        (
            "targetPercent: 99.5",
            "targetPercent: 99.5, timeSliceTarget: 1, timeSliceWindow: 1h",
            "timeSliceWindow: is for Timeslices",
        ),
        ("4w, isRolling: true", "4w, isRolling: false", "allowed is 1w, 1M or 1Q"),
        ("4w, isRolling: true", "1M, isRolling: false", "needs 'calendar' where it does not roll"),
        (
            "4w, isRolling: true",
            "1M, isRolling: false, calendar: {startTime: '2024-01-02 00:00:00', timeZone: UTC}",
            "is no beginning of a month",
        ),
        ("targetPercent: 99.5", "targetPercent: 99.5, op: lte", "'op' and 'value' go together"),
        ("targetPercent: 99.5", "targetPercent: 99.5, op: lte, value: 1", "is for a thresholdMetric"),
        ("isRolling: true", "isRoling: true", "needs 'isRolling', or a 'calendar'"),
        ("type: Driftline, spec", "metricSourceRef: ours, spec", "the name of a DataSource of the type Driftline"),
        ("type: Driftline, spec", "spec", "needs 'type', or a 'metricSourceRef'"),
        ("    total:", "    bad:", "needs 'total' and one of 'good' and 'bad', or 'raw' alone"),
        ("    counter: true", "    rawType: success", "rawType: is for 'raw'"),
        ("conditions: [{conditionRef: quick}]", "conditions: [{kind: AlertCondition}]", "conditions[0].spec"),
        (
            "threshold: 13.4,",
            "threshold: 10,",
            "no rule has a burn rate of 10 over 1h; of an objective of 99.5% there are 13.44 over 1h",
        ),
        ("[quick, slower]", "[quick]", "has no policy with a burn rate of 5.6 over 6h"),
        ("[quick, slower]", "[quick, slow]", "there is no AlertPolicy 'slow'"),
        ("conditionRef: slower", "conditionRef: slow", "there is no AlertCondition 'slow'"),
        ("severity: page", "severity: ticket", "tells others, or as something else"),
        ("op: gte", "op: lte", "a rule fires at its burn rate and above"),
        ("alertAfter: 0m", "alertAfter: 5m", "allowed is a duration from 0ms to 0ms"),
        ("alertWhenNoData: false", "alertWhenNoData: true", "without events an alert stays as it is"),
        ("name: checkout-latency", "name: '--'", "has no letter or digit"),
        ("kind: SLO", "kind: Slo", "allowed is one of SLO, SLI"),
        ("{name: slower}", "{name: quick}", "metadata.name: there is another 'quick' of this kind"),
    ] {
        assert!(whole.contains(from), "{from}");
        let error = import("o.yaml", &whole.replacen(from, to, 1)).expect_err(to).to_string();
        assert!(error.contains(says), "{to}: {error}");
    }
    assert_eq!(import("o.yaml", "").unwrap_err().to_string(), "o.yaml:1:1: the file: holds no SLO");
}

const ONE: &str = "    - {displayName: Good enough, targetPercent: 99.5}\n";

/// The SLO from elsewhere with these objectives in place of its own.
fn with_objectives(objectives: &[&str], policies: &str) -> String {
    let lines: String = objectives.iter().map(|objective| format!("    - {{{objective}}}\n")).collect();
    assert!(FOREIGN.ends_with(ONE));
    format!("{}{policies}", FOREIGN.replacen(ONE, &lines, 1))
}

#[test]
fn each_of_several_objectives_becomes_rules_of_its_own_name_that_go_there_and_back() {
    let rules = |text: &str| {
        let imported = import("o.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
        config(&imported.replacen("alerts:\n", &format!("alerts:\n{TARGETS}"), 1))
    };
    let told = |rules: &[Rule]| -> Vec<(String, Severity, Condition)> {
        let own = rules.iter().filter(|rule| rule.name.starts_with("CheckoutLatency"));
        own.map(|rule| (rule.name.clone(), rule.severity, rule.condition.clone())).collect()
    };
    let both = with_objectives(&["displayName: Good enough, targetPercent: 99.5", "target: 0.995001"], "");
    let of_both = rules(&both);
    let names = ["GoodEnoughFast", "GoodEnoughSlow", "99_5001Fast", "99_5001Slow"];
    assert_eq!(
        told(&of_both).iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(),
        names.map(|name| format!("CheckoutLatency{name}"))
    );
    let back = there_and_back(&of_both);
    for (name, severity, condition) in told(&of_both) {
        let Condition::Budget { objective, .. } = &condition else { panic!("{condition:?}") };
        assert_eq!(objective.target(), if name.contains("Good") { 0.995 } else { 0.995_001 }, "{name}");
        assert!(told(&back).contains(&(name, severity, condition)));
    }
    // A policy is one of each of them.
    let policed = rules(&with_objectives(&["target: 0.99", "target: 0.999"], POLICY));
    let pages: Vec<_> = told(&policed).into_iter().map(|(name, severity, _)| (name, severity)).collect();
    assert_eq!(pages, [("CheckoutLatency99".into(), Severity::Page), ("CheckoutLatency99_9".into(), Severity::Page)]);
}

#[test]
fn what_is_wrong_with_one_of_several_objectives_is_said_at_its_place_and_once() {
    for (objectives, policies, says) in [
        (vec!["target: 0.99", "target: 0.3"], "", "o.yaml:22:8: spec.objectives[1].target: 0.3 is not allowed"),
        (
            vec!["target: 0.99", "target: 0.990"],
            "",
            "spec.objectives[1]: would be another rule 'CheckoutLatency99Fast'; give it a displayName",
        ),
        (vec!["target: 0.99", "target: 0.9"], POLICY, "of an objective of 90% there are 5.6 over 6h"),
        (vec!["target: 0.99", "target: 0.999, op: lte, value: 1"], "", "is for a thresholdMetric"),
    ] {
        let error = import("o.yaml", &with_objectives(&objectives, policies)).expect_err(says).to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    let twice = with_objectives(
        &["target: 0.99", "target: 0.999"],
        &POLICY.replacen("conditionRef: slower", "conditionRef: slow", 1),
    );
    let error = import("o.yaml", &twice).unwrap_err().to_string();
    assert_eq!(error.matches("there is no AlertCondition 'slow'").count(), 1, "{error}");
    let none = import("o.yaml", &FOREIGN.replacen(&format!("  objectives:\n{ONE}"), "  objectives: []\n", 1));
    assert!(none.unwrap_err().to_string().contains("has no entries; an SLO has an objective"));
}

/// The rules of the objective from elsewhere, with something else in it.
fn rules_with(from: &str, to: &str) -> String {
    assert!(FOREIGN.contains(from), "{from}");
    import("o.yaml", &FOREIGN.replacen(from, to, 1)).unwrap_or_else(|problems| panic!("{to}: {problems}"))
}

const GOOD: &str = "    good: {metricSource: {type: Driftline, spec: {indicator: latency, events: good}}}
    total: {metricSource: {type: Driftline, spec: {indicator: latency, events: valid}}}
";

#[test]
fn a_ratio_may_be_of_bad_events_made_already_and_of_a_source_by_its_name() {
    let usual = import("o.yaml", FOREIGN).unwrap();
    let source = |of: &str, events: &str| {
        format!("    {of}: {{metricSource: {{type: Driftline, spec: {{indicator: latency, events: {events}}}}}}}\n")
    };
    let bad = format!("{}{}", source("bad", "bad"), source("total", "valid"));
    assert_eq!(rules_with(GOOD, &bad), usual);
    for (kind, events) in [("success", "good"), ("failure", "bad")] {
        assert_eq!(rules_with(GOOD, &format!("    rawType: {kind}\n{}", source("raw", events))), usual);
    }
    let named = FOREIGN.replace("type: Driftline", "metricSourceRef: ours");
    let declared = "---\napiVersion: openslo/v1\nkind: DataSource\nmetadata: {name: ours}\nspec: {type: Driftline, connectionDetails: {}}\n";
    assert_eq!(import("o.yaml", &format!("{named}{declared}")).unwrap(), usual, "wherever it stands");
    let elsewhere = declared.replace("type: Driftline", "type: Prometheus");
    let error = import("o.yaml", &format!("{named}{elsewhere}")).unwrap_err().to_string();
    assert!(error.contains("queries of other systems cannot be imported"), "{error}");
    for (to, says) in [
        (source("raw", "good"), "needs a 'rawType'"),
        (format!("    rawType: success\n{}", source("raw", "bad")), "allowed is one of good"),
        (format!("{}{GOOD}", source("bad", "bad")), "needs 'total' and one of"),
    ] {
        let error = import("o.yaml", &FOREIGN.replacen(GOOD, &to, 1)).expect_err(&to).to_string();
        assert!(error.contains(says), "{to}: {error}");
    }
}

#[test]
fn a_value_to_compare_becomes_the_bound_of_its_model() {
    let metric = "  ratioMetric:\n    counter: true\n";
    let compared = |spec: &str, objective: &str| {
        let indicator = format!("  thresholdMetric: {{metricSource: {{type: Driftline, spec: {{{spec}}}}}}}\n");
        let text = FOREIGN.replacen(&format!("{metric}{GOOD}"), &indicator, 1);
        import("o.yaml", &text.replacen("targetPercent: 99.5", &format!("targetPercent: 99.5, {objective}"), 1))
    };
    let of_m = "indicator: latency, matching: {model: m}";
    let text = compared(of_m, "op: lte, value: 0.25").unwrap();
    assert!(text.starts_with("models:\n  - name: \"m\"\n    slis: {latency: {below: 250ms}}\n"), "{text}");
    let of_model = |rule: &Rule| rule.condition.matching().get("model").map(String::as_str) == Some("m");
    assert_eq!(config(&text).iter().filter(|rule| of_model(rule)).count(), 2);
    assert_eq!(compared(&format!("{of_m}, unit: milliseconds"), "op: lte, value: 250").unwrap(), text);
    let begun = compared("indicator: first_message, matching: {model: m}", "op: lte, value: 0.5").unwrap();
    assert!(begun.starts_with("models:\n  - name: \"m\"\n    slis: {first_message: {below: 500ms}}\n"), "{begun}");
    assert!(begun.contains("runbook: \"first-message-slo\""), "{begun}");
    for (spec, objective, says) in [
        ("indicator: latency", "op: lte, value: 0.25", "needs a model under 'matching'"),
        ("indicator: freshness, matching: {model: m}", "op: lte, value: 60", "so write a ratioMetric"),
        (of_m, "op: gt, value: 0.25", "allowed is lte"),
        (of_m, "op: lte, value: 0.00025", "is no whole number of milliseconds"),
        (of_m, "op: lte, value: 1e300", "is no whole number of milliseconds"),
        (of_m, "", "needs 'op' and 'value'"),
        (
            of_m,
            "op: lte, value: 1}\n    - {target: 0.9, op: lte, value: 2",
            "and a model has one: leave objectives of one value of m",
        ),
    ] {
        let error = compared(spec, objective).expect_err(objective).to_string();
        assert!(error.contains(says), "{objective}: {error}");
    }
}

#[test]
fn policies_conditions_and_targets_may_stand_where_they_are_used() {
    let whole = format!("{FOREIGN}{POLICY}");
    let by_name = import("o.yaml", &whole).unwrap();
    let referenced = whole.replace("[quick, slower]", "[{alertPolicyRef: quick}, {alertPolicyRef: slower}]");
    assert_eq!(import("o.yaml", &referenced).unwrap(), by_name);
    let here = |name: &str, rate: f64, window: &str| {
        format!(
            "    - kind: AlertPolicy
      metadata: {{name: {name}}}
      spec:
        alertWhenBreaching: true
        conditions:
          - kind: AlertCondition
            metadata: {{name: {name}}}
            spec:
              description: too fast
              severity: page
              condition: {{op: gte, threshold: {rate}, lookbackWindow: {window}}}
        notificationTargets:
          - kind: AlertNotificationTarget
            metadata: {{name: a}}
            spec: {{target: email}}
"
        )
    };
    let inline = format!("{FOREIGN}  alertPolicies:\n{}{}", here("quick", 13.44, "1h"), here("slower", 5.6, "6h"));
    assert_eq!(import("o.yaml", &inline).unwrap(), by_name);
    let twice = format!("{FOREIGN}  alertPolicies:\n{}{}", here("quick", 13.44, "1h"), here("quick", 5.6, "6h"));
    assert!(import("o.yaml", &twice).unwrap_err().to_string().contains("there is another 'quick' of this kind"));
}

#[test]
fn a_window_of_the_calendar_need_not_say_that_it_does_not_roll() {
    let of_month = |more: &str| {
        rules_with(
            "{duration: 4w, isRolling: true}",
            &format!("{{duration: 1M{more}, calendar: {{startTime: 2024-01-01 00:00:00, timeZone: UTC}}}}"),
        )
    };
    assert_eq!(of_month(""), of_month(", isRolling: false"));
}

#[test]
fn slices_are_windows_there_as_here() {
    let rule = "{name: Drift, severity: ticket, runbook: feature-drift, targets: [], when: {sli: slices, matching: {model: m, column: drift}, objective: 0.95, over: 90d, burns: slow}}";
    let rules: Vec<Rule> = config(&format!("alerts: {{rules: [{rule}]}}"));
    let rules: Vec<Rule> = rules.into_iter().filter(|rule| rule.name == "Drift").collect();
    let windows = |model: &str| {
        assert_eq!(model, "m");
        Windows { pane: std::time::Duration::from_secs(600), panes: 6, ..Windows::default() }
    };
    let exported = export(&rules, &|_| false, &windows);
    let slices = "budgetingMethod: Timeslices\n  objectives:\n    - target: 0.95\n      timeSliceTarget: 1\n      timeSliceWindow: 1h\n";
    assert!(exported.contains(slices), "{exported}");
    let seconds = Windows { pane: std::time::Duration::from_secs(45), panes: 2, ..Windows::default() };
    let without = export(&rules, &|_| false, &|_| seconds.clone());
    assert!(
        without.contains("which OpenSLO cannot write, and not here: Drift.") && !without.contains("kind:"),
        "{without}"
    );
    let imported = import("o.yaml", &exported).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(imported.contains("    # Of windows of 1h: those of its models must be so long.\n"), "{imported}");
    let back = config(&imported).into_iter().find(|rule| rule.name == "Drift").unwrap();
    assert_eq!(back.condition, rules[0].condition);
    for (from, to, says) in [
        ("timeSliceTarget: 1", "timeSliceTarget: 0.9", "timeSliceTarget"),
        ("      timeSliceWindow: 1h\n", "", "go together"),
        ("      timeSliceTarget: 1\n      timeSliceWindow: 1h\n", "", "Timeslices need a timeSliceTarget of 1"),
    ] {
        let problems = import("o.yaml", &exported.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(problems.contains(says), "{problems}");
    }
}
