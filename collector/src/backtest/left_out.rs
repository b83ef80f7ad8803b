//! Which rules cannot be tried on archived rows, and why; and what was looked at and had nothing to see.

use driftline_alerts::{Condition, Rule};

use super::indicators::{Indicators, OF_ROWS};
use crate::config::{DECODED_SLI, SCHEMA_SLI, SLICES_SLI};
use crate::pipeline::over_time::{Of, OverTime};
use crate::vocabulary::Named;

/// Why a rule cannot be tried, if it cannot. `has_calls`: rows say when the model was called.
pub(super) fn why_left_out(rule: &Rule, models: usize, has_calls: bool) -> Option<String> {
    let slis = indicators_of(&rule.condition);
    let why = if let Some(metric) = metric_of(&rule.condition) {
        format!("{metric} is the collector's own metric, which no archive keeps: of the past there is no data")
    } else if let Some(sli) = slis.iter().find(|sli| !OF_ROWS.contains(&sli.as_str())) {
        match sli.as_str() {
            SCHEMA_SLI => "the archive keeps as missing what was of another type, or not there".to_owned(),
            DECODED_SLI => "the archive has what gave rows, and nothing of what gave none".to_owned(),
            sli => {
                format!("the indicator {sli} is not of rows: it is counted while sidecars, feeds and the collector run")
            }
        }
    } else if let (Some(sli), false) = (slis.iter().find(|sli| *sli != SLICES_SLI), has_calls) {
        format!("rows say when things happened, and nothing says when the model was called, which {sli} is counted by")
    } else if models > 1 && !rule.group_by.iter().any(|label| label == "model") {
        "its alerts span models; name one model with --model to try it on that alone".to_owned()
    } else {
        return None;
    };
    Some(format!("rule {} is not tried: {why}", rule.name))
}

/// What is to be known of rules on indicators that were tried on a model.
pub(super) fn nothing_counted(rules: &[Rule], model: &str, indicators: &Indicators) -> Vec<String> {
    let mut notes: Vec<String> = rules
        .iter()
        .filter_map(|rule| {
            let slis = indicators_of(&rule.condition);
            let unseen = slis.iter().find(|sli| !indicators.knows(sli))?;
            Some(format!("rule {} saw no events of {unseen}: no row of {model} says any", rule.name))
        })
        .collect();
    if rules.iter().any(|rule| !indicators_of(&rule.condition).is_empty()) {
        let seconds = indicators.every() / 1_000_000;
        let counted = if indicators.has_calls() { "calls that have rows" } else { "windows that close" };
        notes.push(format!(
            "indicators are counted from {counted}, and looked at every {seconds} s; what came before the first row is not known"
        ));
    }
    notes
}

/// A metric that a condition looks at.
fn metric_of(condition: &Condition) -> Option<String> {
    let Condition::Expression { expression, .. } = condition else { return None };
    let named = expression.variables().iter().filter_map(|variable| Named::of(variable).ok());
    named.into_iter().find_map(|named| match named {
        Named::Metric(metric) => Some(metric.name),
        _ => None,
    })
}

/// The indicators that a condition looks at.
fn indicators_of(condition: &Condition) -> Vec<String> {
    match condition {
        Condition::Sli { sli, .. } | Condition::Budget { sli, .. } => vec![sli.clone()],
        Condition::Score { score, .. } => match OverTime::named(score).map(|watched| watched.of) {
            Some(Of::Sli(sli)) => vec![sli.to_owned()],
            _ => Vec::new(),
        },
        Condition::Expression { expression, .. } => {
            let named = expression.variables().iter().filter_map(|variable| Named::of(variable).ok());
            named
                .filter_map(|named| match named {
                    Named::Indicator(sli, _) => Some(sli.to_owned()),
                    Named::Latency(_) => Some("latency".to_owned()),
                    Named::Score(..) | Named::Rows | Named::Metric(_) => None,
                })
                .collect()
        }
    }
}
