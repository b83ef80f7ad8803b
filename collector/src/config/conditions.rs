//! What the configuration says of when a rule fires.

use std::time::Duration;

use driftline_alerts::{Condition, KofM, Labels};
use driftline_detectors::{Detector, SEGMENT_DETECTORS};
use driftline_document::{Node, Section};

use super::budgets::budget;
use super::few::few;
use super::indicators::{OWN_SLIS, SLIS};
use super::wording::expression;
use crate::pipeline::earlier::{Against, COMPARED};
use crate::pipeline::over_time::{Of, OverTime};
use crate::segments::segment_score;

/// What a rule looks at, and from when on that is too much.
pub(super) fn condition(mut section: Section<'_>) -> Option<Condition> {
    let written = section.optional("expression");
    let score = section.optional("score");
    let sli = section.optional("sli");
    let matching = section.optional("matching").and_then(|node| node.entries()).unwrap_or_default();
    let matching = matching.into_iter().filter_map(|(name, node)| Some((name, node.text()?.to_owned()))).collect();
    if let Some(node) = written {
        return expression_of_windows(&node, section, matching, score.is_some() || sli.is_some());
    }
    match (score, sli) {
        (Some(score), None) => {
            let names = score_names();
            let names: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
            let score = score.one_of(&names)?.to_owned();
            let above = section.optional("above").and_then(|node| node.number(0.0..=1e9));
            let counted = section.optional("windows");
            let windows = counted.as_ref().and_then(|node| node.parsed("'k of m', as in 2 of 3", k_of_m));
            if let (Some(node), Some(Of::Sli(_))) = (&counted, OverTime::named(&score).map(|watched| watched.of)) {
                node.problem("is for scores of windows; an indicator's days are looked at all the time");
            }
            let windows = windows.or(KofM::new(1, 1))?;
            Some(Condition::Score { score, matching, above, windows })
        }
        (None, Some(sli)) => {
            let names: Vec<(&str, &str)> = SLIS.into_iter().chain(OWN_SLIS).map(|name| (name, name)).collect();
            let sli = sli.one_of(&names)?.to_owned();
            if let Some(objective) = section.optional("objective") {
                return budget(section, objective, sli, matching);
            }
            let below = section.required("below").and_then(|node| node.number(0.0..=1.0))?;
            let hour = Duration::from_secs(3600);
            let over = section.optional("over").and_then(|node| node.duration(Duration::from_secs(10)..=24 * hour));
            let min_events = section.optional("min_events").and_then(|node| node.integer(1..=1_000_000_000));
            let over = over.unwrap_or(Duration::from_secs(300));
            let few = section.optional("few").and_then(|node| few(&node, below, over));
            // One bad request among a few is no reason to wake anybody.
            Some(Condition::Sli { sli, matching, below, over, min_events: min_events.unwrap_or(100), few })
        }
        _ => {
            section.problem("needs either 'score' or 'sli', or is an expression");
            None
        }
    }
}

/// An expression, and in how many of its windows it has to hold.
fn expression_of_windows(
    node: &Node<'_>,
    mut section: Section<'_>,
    matching: Labels,
    has_more: bool,
) -> Option<Condition> {
    if has_more {
        section.problem("needs either an expression, a score or an indicator");
    }
    let windows = section.optional("windows");
    let k_of_m = windows.as_ref().and_then(|node| node.parsed("'k of m', as in 2 of 3", k_of_m));
    let condition = expression(node, matching, k_of_m.unwrap_or(KofM { k: 1, m: 1 }))?;
    if let (Some(node), false) = (windows, condition.is_of_windows()) {
        node.problem("is for what windows say, and this expression is looked at by the clock");
    }
    Some(condition)
}

/// What rules may look at: scores against the reference, those of segments, those beside earlier windows, and how scores
/// and indicators stand beside their own past.
fn score_names() -> Vec<String> {
    let beside = |against: Against| COMPARED.map(|detector| against.score_name(detector));
    let all = Detector::ALL.map(|detector| detector.name().to_owned()).into_iter();
    all.chain(SEGMENT_DETECTORS.into_iter().map(segment_score))
        .chain(Against::ALL.into_iter().flat_map(beside))
        .chain(OverTime::names())
        .collect()
}

fn k_of_m(text: &str) -> Option<KofM> {
    let (k, m) = text.split_once(" of ")?;
    KofM::new(k.trim().parse().ok()?, m.trim().parse().ok()?)
}
