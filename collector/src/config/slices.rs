//! What the configuration says of slices: windows that are good or bad by a score of theirs.

use std::time::Duration;

use driftline_alerts::{Condition, Counts, Labels};
use driftline_detectors::Detector;
use driftline_document::{Node, Section, in_units};

use super::indicators::SLICES_SLI;
use super::models::{Model, Windows};
use crate::pipeline::slis::SLICE_MICROS;

/// Windows as events of an indicator: good while a score of their columns is below a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Slices {
    /// By which rules and metrics know them.
    pub name: String,
    /// The score that decides.
    pub score: Detector,
    /// From which effect on a column makes its window bad; where its verdict is drift, without it.
    pub below: Option<f64>,
    /// The columns that are looked at; all of them when there are none here.
    pub columns: Vec<String>,
}

/// Slices of one model. Each is a row in every window.
const MAX_SLICES: usize = 20;

pub(super) fn slices(node: &Node<'_>) -> Vec<Slices> {
    let nodes = node.list().unwrap_or_default();
    if nodes.len() > MAX_SLICES {
        node.problem(format!("has {} entries; a model may have {MAX_SLICES}", nodes.len()));
    }
    let mut all: Vec<Slices> = Vec::new();
    for node in nodes {
        let Some(slices) = node.section().and_then(one) else { continue };
        if all.iter().any(|other| other.name == slices.name) {
            node.problem(format!("there are other slices '{}'", slices.name));
        }
        all.push(slices);
    }
    all
}

fn one(mut section: Section<'_>) -> Option<Slices> {
    let name = section.required("name").and_then(|node| {
        node.parsed("up to 100 letters, digits, '-', '_' and '.'", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (!text.is_empty() && text.len() <= 100 && text.bytes().all(plain)).then(|| text.to_owned())
        })
    });
    let scores = Detector::ALL.map(|detector| (detector.name(), detector));
    let score = section.required("score").and_then(|node| node.one_of(&scores));
    let below = section.optional("below").map(|node| node.number(0.0..=1e9));
    let columns = section.optional("columns").and_then(|node| node.list()).unwrap_or_default();
    let columns = columns.iter().filter_map(|node| Some(node.text()?.to_owned())).collect();
    Some(Slices { name: name?, score: score?, below: below.map_or(Some(None), |below| below.map(Some))?, columns })
}

/// Windows that end so many times in a stretch of time, at the most, and are counted already when it ends: a window is as soon as
/// nothing may come late any more. Of one version; where several run side by side each has its own.
fn most_counted(windows: &Windows, within: Duration) -> u64 {
    // A stretch begins with its first slice.
    let micros = within.as_micros() as i64 + SLICE_MICROS;
    let counted = micros - windows.lateness.as_micros() as i64;
    if counted < 0 { 0 } else { (counted / windows.every_micros()) as u64 + 1 }
}

/// A rule on slices must find some, and be able to fire for each model whose slices it looks at.
pub(super) fn check_reach(node: &Node<'_>, condition: &Condition, models: &[Model]) {
    let (Condition::Budget { sli, .. } | Condition::Sli { sli, .. }) = condition else { return };
    if sli != SLICES_SLI {
        return;
    }
    let is_looked_at = |model: &Model, slices: &Slices| {
        let labels = [("model", &model.name), ("column", &slices.name)];
        let labels: Labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        condition.matches(SLICES_SLI, &labels)
    };
    let looked_at = models.iter().filter(|model| model.slis.slices.iter().any(|slices| is_looked_at(model, slices)));
    let mut looked_at = looked_at.peekable();
    // Rules may stand in a file of their own, without any model.
    if looked_at.peek().is_none() && models.iter().any(|model| !model.slis.slices.is_empty()) {
        node.problem("can never fire: no model has such slices; models name theirs under slis.slices");
    }
    for model in looked_at {
        if let Some(why) = never_fires(condition, &model.windows) {
            let Model { name, windows, .. } = model;
            let (every, lateness) = (in_units(windows.pane * windows.every), in_units(windows.lateness));
            node.problem(format!(
                "can never fire for model '{name}', of which a window ends every {every} and is counted {lateness} later: {why}; name the models that it is for under matching"
            ));
        }
    }
}

/// Why a condition cannot be met even if every window is bad; none if it can.
fn never_fires(condition: &Condition, windows: &Windows) -> Option<String> {
    let all_bad = |within| Counts { good: 0, valid: most_counted(windows, within), unknown: 0 };
    match condition {
        Condition::Budget { objective, pace, min_events, .. } => {
            let pairs = objective.pairs(*pace);
            let can_fire = pairs.iter().any(|pair| {
                let (long, short) = (all_bad(pair.long), all_bad(pair.short));
                long.valid >= *min_events && objective.burns(pair, long, short)
            });
            let held = |pair: &driftline_alerts::Pair| {
                let [long, short] = [pair.long, pair.short].map(|within| (all_bad(within).valid, in_units(within)));
                format!("{} in {} and {} in {}", long.0, long.1, short.0, short.1)
            };
            let held = || pairs.iter().map(held).collect::<Vec<_>>().join(", or ");
            let slower = if *pace == driftline_alerts::Pace::Fast { "; let it be burns: slow" } else { "" };
            (!can_fire).then(|| format!("it looks at {} of them at most, which are too few{slower}", held()))
        }
        Condition::Sli { over, min_events, few: None, .. } => {
            let most = all_bad(*over).valid;
            (most < *min_events).then(|| {
                format!(
                    "{most} of them at most are counted in {}, and min_events asks for {min_events}",
                    in_units(*over)
                )
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn read(slices: &str) -> Result<Vec<Slices>, String> {
        let text = format!("models: [{{name: m, slis: {{slices: [{slices}]}}}}]");
        let config = parsed(&text)?;
        Ok(config.model("m").slis.slices)
    }

    #[test]
    fn slices_are_of_a_score_and_its_limit_or_its_verdict() {
        let slices =
            read("{name: drift, score: psi}, {name: gaps, score: missing_share, below: 0.05, columns: [temp]}");
        let drift = Slices { name: "drift".into(), score: Detector::Psi, below: None, columns: vec![] };
        let columns = vec!["temp".to_owned()];
        let gaps = Slices { name: "gaps".into(), score: Detector::MissingShare, below: Some(0.05), columns };
        assert_eq!(slices.unwrap(), [drift, gaps]);
    }

    /// What is said of a rule on slices of a model with such windows; nothing where it is accepted.
    fn said(windows: &str, when: &str) -> String {
        let text = format!(
            "models: [{{name: m, windows: {{{windows}}}, slis: {{slices: [{{name: drift, score: psi}}]}}}}]
alerts: {{rules: [{{name: A, severity: ticket, runbook: feature-drift, when: {{sli: slices, {when}}}}}]}}"
        );
        parsed(&text).err().unwrap_or_default()
    }

    #[test]
    fn a_budget_whose_windows_never_hold_enough_ends_is_refused() {
        let [fast, slow] = ["fast", "slow"].map(|pace| format!("objective: 0.95, burns: {pace}"));
        // Hours: six or seven end in six hours, and the last of them can be seen in the last half an hour.
        assert_eq!(said("window: 1h, pane: 1h", &fast), "");
        // It is counted after the half hour.
        let late = said("window: 1h, pane: 1h, lateness: 31m", &fast);
        assert!(
            late.contains("can never fire for model 'm', of which a window ends every 1h and is counted 31m later"),
            "{late}"
        );
        assert!(late.contains("it looks at 1 in 1h and 0 in 5m, or 6 in 6h and 0 in 30m of them at most"), "{late}");
        assert!(late.contains("let it be burns: slow"), "{late}");
        assert_eq!(said("window: 1h, pane: 1h, lateness: 31m", &slow), "");
        // Half a day: two in six hours are one too few, and of three days there are enough.
        assert!(said("window: 12h, pane: 12h", &fast).contains("can never fire"));
        assert_eq!(said("window: 12h, pane: 12h", &slow), "");
        let weeks = said("window: 7d, pane: 1d, every: 7d", &slow);
        assert!(weeks.contains("can never fire") && !weeks.contains("let it be"), "{weeks}");
        assert!(
            said("window: 1h, pane: 1h", "objective: 0.95, burns: slow, min_events: 100").contains("can never fire")
        );
    }

    #[test]
    fn a_rule_on_slices_that_finds_none_or_never_enough_of_them_is_refused() {
        let hours = "window: 1h, pane: 1h";
        assert!(
            said(hours, "objective: 0.95, burns: slow, matching: {column: drfit}").contains("no model has such slices")
        );
        assert_eq!(said(hours, "objective: 0.95, burns: slow, matching: {column: drift, model: m}"), "");
        let few = said(hours, "below: 0.9, over: 24h");
        assert!(few.contains("24 of them at most are counted in 1d, and min_events asks for 100"), "{few}");
        assert_eq!(said(hours, "below: 0.9, over: 24h, min_events: 20"), "");
    }

    #[test]
    fn what_is_no_slices_is_said() {
        for (slices, problem) in [
            ("{name: a, score: psy}", "psy"),
            ("{name: 'a b', score: psi}", "letters, digits"),
            ("{score: psi}", "name"),
            ("{name: a, score: psi, below: -1}", "below"),
            ("{name: a, score: psi}, {name: a, score: ks}", "there are other slices 'a'"),
        ] {
            let said = read(slices).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
}
