//! A model's budget of false pages: shared over its columns, its segments and the scores that rules watch.

use driftline_alerts::{Condition, Rule, Severity};
use driftline_detectors::{
    Detector, NullEffects, PART_OF_SEGMENTS, Persistence, ReferenceFile, Watch, begins_by_itself, level, vouched,
};
use tracing::{info, warn};

use crate::config::Model;
use crate::counted_expressions;
use crate::numbers::significant;
use crate::segments::{ModelSegments, watched_score};

/// Shares the model's budget of false pages over its columns and the scores that rules watch, be it by a score of their own or
/// in an expression. Where rules watch segments, these have a part of it to themselves.
///
/// How often a rule's alert begins is counted for all columns together, whichever of them it is about: rules of one score
/// that part the columns among them have one budget.
pub(crate) fn allow_false_pages(
    file: &mut ReferenceFile,
    segments: Option<&mut ModelSegments>,
    model: &Model,
    rules: &[Rule],
) {
    let Some(budget) = model.false_pages else { return };
    let is_other = |null: &NullEffects| null.every != model.windows.every;
    let of_columns = file.columns.iter().flat_map(|column| column.nulls.values());
    if of_columns.chain(segments.iter().flat_map(|segments| segments.nulls())).any(is_other) {
        warn!(
            model = %model.name,
            "the reference was built for windows that end at other times, so the budget of false pages is not kept; build it again with this configuration"
        );
        return;
    }
    let watches = watched(rules, false);
    let every = model.windows.pane * model.windows.every;
    let all = budget.per_window(every);
    let of_segments = watched(rules, true);
    let segments = segments.filter(|segments| !of_segments.is_empty() && segments.nulls().next().is_some());
    let per_window = if segments.is_some() { all * (1.0 - PART_OF_SEGMENTS) } else { all };
    let expressions = counted_expressions::of_rules(rules);
    let mut several = Vec::new();
    for expression in &expressions {
        let counted = expression.counted();
        match begins_by_itself(&file.columns, &counted) {
            Some(often) if often < per_window => several.push(counted),
            None if file.columns.iter().all(|column| column.nulls.is_empty()) => {}
            often => warn!(
                model = %model.name,
                rule = expression.rule,
                false_pages = %budget,
                "the budget of false pages does not count this rule: {}; compare scores with their own limits, as in 'psi > psi.limit', or with larger numbers",
                by_itself(often, per_window)
            ),
        }
    }
    match level(&file.columns, &watches, &several, per_window) {
        Some(level) => {
            let vouched = vouched(&file.columns, &watches, &several);
            file.columns.iter_mut().for_each(|column| column.allow(Some(level)));
            info!(
                model = %model.name,
                false_pages = %budget,
                one_window_in = (1.0 / level).round(),
                "each score of each column may exceed its limit by chance in one window of so many"
            );
            if let Some(vouched) = vouched.filter(|vouched| level < vouched.share) {
                warn!(
                    model = %model.name,
                    false_pages = %budget,
                    blocks = vouched.blocks,
                    one_window_in = (1.0 / vouched.share).round(),
                    "the budget of false pages asks for limits that none of the reference's stretches of time has reached: its own vouch for {} times as many alerts, when one window of so many is over. The limits are carried on from the most extreme ones, with a margin; for such as it has met, build it from a longer time, take longer windows or allow more",
                    significant(vouched.episodes_per_window / per_window)
                );
            }
        }
        None => warn!(
            model = %model.name,
            false_pages = %budget,
            "the budget of false pages is not kept: the reference says nothing of how its own stretches of time differ; build it with --time-column and --config, from rows of at least three windows"
        ),
    }
    if let Some(segments) = segments
        && let Some(level) = segments.allow_false_pages(&of_segments, all * PART_OF_SEGMENTS)
    {
        info!(
            model = %model.name,
            false_pages = %budget,
            part = PART_OF_SEGMENTS,
            one_window_in = (1.0 / level).round(),
            "each watched score of each column of each segment may exceed its limit by chance in one window of so many"
        );
    }
}

/// Refuses rules that would wake somebody for segments whose limits no budget knows.
///
/// # Errors
/// The first such rule, and what to do.
pub(crate) fn check_pages(segments: Option<&ModelSegments>, model: &Model, rules: &[Rule]) -> Result<(), String> {
    if model.segments.by.is_empty() || segments.is_some_and(ModelSegments::is_in_budget) {
        return Ok(());
    }
    let pages = |rule: &&Rule| match &rule.condition {
        Condition::Score { score, matching, .. } => {
            let is_of_model = matching.get("model").is_none_or(|name| *name == model.name);
            rule.severity == Severity::Page && watched_score(score).1 && is_of_model
        }
        _ => false,
    };
    let Some(rule) = rules.iter().find(pages) else { return Ok(()) };
    let why = match model.false_pages {
        None => "'false_pages' of the model is off; allow some",
        Some(_) => {
            "it says nothing of how segments' own stretches of time differ; build it again with --time-column and --config, from rows of at least three windows"
        }
    };
    Err(format!(
        "the rule '{}' pages on segments, whose limits no budget of false pages knows: {why}, or let the rule be a ticket",
        rule.name
    ))
}

/// What rules watch by a score of its own: of the whole's columns, or of segments'.
fn watched(rules: &[Rule], in_segments: bool) -> Vec<Watch> {
    let mut watches: Vec<Watch> = Vec::new();
    for rule in rules {
        let Condition::Score { score, windows, .. } = &rule.condition else { continue };
        let (score, is_of_segments) = watched_score(score);
        let Some(detector) = Detector::named(score).filter(|_| is_of_segments == in_segments) else { continue };
        let watch = Watch { detector, persistence: Persistence { k: windows.k, m: windows.m } };
        if !watches.contains(&watch) {
            watches.push(watch);
        }
    }
    watches
}

/// Why a rule is not counted in a budget of so many alerts for each window.
fn by_itself(often: Option<f64>, per_window: f64) -> String {
    match often {
        Some(often) => {
            let times = significant(often / per_window);
            format!("its expression alone would begin {times} times as often as the budget allows")
        }
        None => {
            "its expression may hold in any window, for all that the reference's own stretches of time say".to_owned()
        }
    }
}
