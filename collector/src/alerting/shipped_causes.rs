//! What the shipped rules say of each other: every cause is made to fire, and keeps back what it explains for as long as it
//! should.

use std::path::Path;

use driftline_alerts::{Condition, Counts, Labels, Micros, Mute, Observation, Reading, Routes, Rule};

use super::book::Book;
use super::telling::Wishes;
use crate::config::Config;
use crate::feeds::reach;

const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;
const START: Micros = 1_000 * DAY;

/// What may keep features from being what they are: who explains it, and for how many hours after its end.
const OF_DRIFT: [(&str, i64); 8] = [
    ("SchemaChange", 6),
    ("StaleFeatures", 6),
    ("StaleFeed", 6),
    ("CaptureLoss", 6),
    ("UndecodableBodies", 6),
    ("SidecarSilent", 6),
    ("ModelSilent", 6),
    ("CollectorDown", 6),
];

/// All edges: what is explained, by what, and for how many hours after its end.
fn edges() -> Vec<(&'static str, &'static str, i64)> {
    let drift = ["FeatureDrift", "PredictionDrift", "NewChange", "SegmentDrift"];
    let of_drift = drift.iter().flat_map(|rule| OF_DRIFT.map(|(cause, hours)| (*rule, cause, hours)));
    let others = [
        ("FeatureDrift", "MissingValues", 0),
        ("NewChange", "MissingValues", 0),
        ("SegmentDrift", "MissingValues", 0),
        ("SegmentDrift", "FeatureDrift", 0),
        ("SegmentDrift", "PredictionDrift", 0),
        ("MissingValues", "SchemaChange", 6),
        ("MissingValues", "StaleFeed", 6),
        ("NewCategory", "SchemaChange", 6),
        ("NewCategory", "StaleFeatures", 6),
        ("NewCategory", "StaleFeed", 6),
        ("StaleFeed", "StaleFeatures", 0),
        ("StaleWatermark", "StaleFeatures", 0),
        ("StaleWatermark", "StaleFeed", 0),
        ("StaleWatermark", "ModelSilent", 1),
        ("StaleWatermark", "CollectorDown", 1),
        ("LateOutcomes", "ModelSilent", 1),
        ("LateOutcomes", "CollectorDown", 1),
        ("LatencySlo", "FirstMessageSlo", 0),
        ("LatencyBudget", "LatencySlo", 6),
        ("AvailabilityBudget", "AvailabilitySlo", 6),
        ("AvailabilityBudget", "ModelSilent", 6),
        ("SidecarSilent", "ModelSilent", 1),
        ("SidecarSilent", "CollectorDown", 1),
        ("CaptureLoss", "SidecarSilent", 1),
        ("CaptureLoss", "ModelSilent", 1),
        ("CaptureLoss", "CollectorDown", 1),
        ("CaptureLoss", "RoomFull", 1),
        ("RoomLow", "RoomFull", 1),
        ("ModelSilent", "RoomFull", 1),
        ("SidecarSilent", "RoomFull", 1),
        ("LateOutcomes", "RoomFull", 1),
        ("LateRows", "CaptureLoss", 1),
        ("LateRows", "CollectorDown", 1),
        ("MetadataUnreadable", "ModelSilent", 1),
        ("CatalogueFailing", "ArchiveLag", 1),
    ];
    of_drift.chain(others).collect()
}

fn shipped() -> Vec<Rule> {
    Config::parse("driftline.yaml", "", Path::new("/")).unwrap().alerting.rules
}

/// What a rule is told of something that is as bad, or as good, as can be.
fn observed(rule: &Rule, is_bad: bool) -> Observation {
    let all = |valid: u64| Counts { good: if is_bad { 0 } else { valid }, valid, unknown: 0 };
    let (name, matching, reading) = match &rule.condition {
        Condition::Score { score, matching, .. } => {
            let value = if is_bad { 9.0 } else { 0.0 };
            (score.as_str(), matching, Reading::Score { value, threshold: 0.2, noise: 0.1, n: 10_000 })
        }
        Condition::Sli { sli, matching, min_events, .. } => {
            let Counts { good, valid, unknown } = all(*min_events);
            (sli.as_str(), matching, Reading::Ratio { good, valid, unknown })
        }
        Condition::Budget { sli, matching, min_events, .. } => {
            let counts = all(*min_events * 10);
            (sli.as_str(), matching, Reading::Burn { period: counts, long: [counts; 2], short: [counts; 2] })
        }
        Condition::Expression { expression, matching, .. } => {
            (expression.text(), matching, Reading::Expression { holds: is_bad, values: Default::default() })
        }
    };
    let labels = [("model", "m"), ("version", "1"), ("column", "x")].map(|(name, value)| (name.into(), value.into()));
    let labels = Labels::from(labels).into_iter().chain(matching.clone());
    let is_grouped = !rule.group_by.is_empty();
    Observation { name: name.to_owned(), labels: labels.filter(|_| is_grouped).collect(), reading }
}

struct Shipped {
    book: Book,
    rules: Vec<Rule>,
    now: Micros,
}

impl Shipped {
    fn new() -> Self {
        Self { book: Book::new(shipped()), rules: shipped(), now: START }
    }

    /// With a feed x of the model that brings these columns.
    fn with_feed_of(columns: &str) -> Self {
        let feed = format!("{{name: x, folder: in, max_age: 1h{columns}}}");
        let yaml = format!("models: [{{name: m, slis: {{feeds: [{feed}]}}}}]");
        let config = Config::parse("driftline.yaml", &yaml, Path::new("/")).unwrap();
        let rules = config.alerting.rules.clone();
        Self { book: Book::new(rules.clone()).reaching(reach(&config)), rules, now: START }
    }

    /// Has a rule see three bad, or good, windows or looks.
    fn sees(&mut self, name: &str, is_bad: bool) {
        let index = self.rules.iter().position(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"));
        let observed = observed(&self.rules[index], is_bad);
        for _ in 0..3 {
            self.now += 1_000_000;
            self.book.observe(index, std::slice::from_ref(&observed), self.now, DAY);
        }
    }

    /// By which rules' episodes a rule's alert is muted once so much time has gone by.
    fn muted_after(&mut self, name: &str, time: Micros) -> Vec<String> {
        let now = self.now + time;
        self.book.tell(&Wishes::default(), (&[], &Routes::default()), now, &|_, _| DAY, now);
        let open = self.book.firing().find(|(rule, _)| rule.name == name).and_then(|(_, alert)| alert.open().cloned());
        let open = open.unwrap_or_else(|| panic!("{name} does not fire"));
        let rule_of = |mute: Mute| match mute {
            Mute::Alert(episode) => episode.split('-').next().unwrap_or_default().to_owned(),
            other => panic!("{name} is muted by {other:?}"),
        };
        open.told.muted_by.into_iter().map(rule_of).collect()
    }
}

#[test]
fn every_cause_keeps_back_what_it_explains_and_for_so_long_after_its_end() {
    for (explained, cause, hours) in edges() {
        let mut shipped = Shipped::new();
        shipped.sees(explained, true);
        assert_eq!(shipped.muted_after(explained, 0), [""; 0], "{explained} alone is told");
        shipped.sees(cause, true);
        let by_cause = [cause.to_lowercase()];
        assert_eq!(shipped.muted_after(explained, 0), by_cause, "{explained} while {cause} fires");
        shipped.sees(cause, false);
        let lasting = hours * HOUR;
        if hours > 0 {
            assert_eq!(shipped.muted_after(explained, lasting - 60_000_000), by_cause, "{explained} after {cause}");
        }
        assert_eq!(shipped.muted_after(explained, lasting), [""; 0], "{explained} long after {cause}");
    }
}

#[test]
fn a_stale_feed_that_names_its_columns_keeps_back_what_is_of_these_and_nothing_else() {
    let by_feeds: Vec<&str> =
        edges().into_iter().filter(|(_, cause, _)| *cause == "StaleFeed").map(|(rule, ..)| rule).collect();
    assert!(by_feeds.contains(&"MissingValues") && by_feeds.contains(&"StaleWatermark"), "{by_feeds:?}");
    for explained in by_feeds {
        let muted = |columns: &str, is_over: bool| {
            let mut shipped = Shipped::with_feed_of(columns);
            shipped.sees(explained, true);
            shipped.sees("StaleFeed", true);
            if is_over {
                shipped.sees("StaleFeed", false);
            }
            !shipped.muted_after(explained, 0).is_empty()
        };
        let lasts = explained != "StaleWatermark";
        for (columns, is_cause) in [("", true), (", columns: [fare, x]", true), (", columns: [fare]", false)] {
            assert_eq!(muted(columns, false), is_cause, "{explained} of x while a feed is stale{columns}");
            assert_eq!(muted(columns, true), is_cause && lasts, "{explained} of x when it is back{columns}");
        }
    }
}

#[test]
fn no_rule_names_a_cause_that_is_not_looked_at_here() {
    let mut named: Vec<(String, String)> = Vec::new();
    for rule in shipped() {
        named.extend(rule.explained_by.iter().map(|cause| (rule.name.clone(), cause.rule.clone())));
    }
    let mut edges: Vec<(String, String)> =
        edges().into_iter().map(|(rule, cause, _)| (rule.to_owned(), cause.to_owned())).collect();
    named.sort();
    edges.sort();
    assert_eq!(named, edges);
}

#[test]
fn a_burn_that_its_own_page_has_told_of_is_no_ticket_when_the_page_ends() {
    let mut shipped = Shipped::new();
    shipped.sees("LatencySlo", true);
    shipped.sees("LatencyBudget", true);
    shipped.sees("LatencySlo", false);
    assert_eq!(shipped.muted_after("LatencyBudget", 0), ["latencyslo"]);
    shipped.sees("AvailabilityBudget", true);
    assert_eq!(shipped.muted_after("AvailabilityBudget", 0), [""; 0], "of another budget nobody has told");
}
