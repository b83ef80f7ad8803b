//! What an alert rests on: each fact with its name, of scores, of indicators and of expressions.

use std::time::Duration;

use driftline_alerts::{
    Condition, Counts, FewEvents, LastEvents, Member, Micros, Objective, Pace, Pair, Reading, Rule,
};

use super::evidence::{Context, label, segment, since_of, values, what};
use super::{cells, current, no_verdict};
use crate::causes;
use crate::numbers::{percent, significant, thousands};
use crate::pipeline::earlier::{Against, Standing};
use crate::pipeline::over_time::{Of, OverTime};
use crate::pipeline::series::ClosedWindow;
use crate::times;

/// Causes that an alert names.
const MAX_CAUSES: usize = 2;

/// Puts facts in the order in which a person wants them: whom it concerns, since when and what was changed before, then what it
/// looks like, and last how it was measured. What else there is stays in between, as it came.
pub(crate) fn put_in_order(facts: &mut [(String, String)]) {
    const FIRST: [&str; 9] = [
        no_verdict::FACT,
        current::NOW,
        "Severity",
        "Details",
        "Owner",
        "Affected",
        "Since",
        "Changed before",
        "Also moved",
    ];
    const LAST: [&str; 4] = ["Limit", "Sample", "Version", "Rows"];
    let place = |name: &str| {
        let first = FIRST.iter().position(|known| *known == name);
        let last = || LAST.iter().position(|known| *known == name).map(|place| FIRST.len() + 1 + place);
        first.or_else(last).unwrap_or(FIRST.len())
    };
    facts.sort_by_key(|(name, _)| place(name));
}

impl Context<'_> {
    /// What the budget of false pages allows a member, where there is one in force.
    fn budget_of(&self, member: &Member, condition: &Condition) -> Option<f64> {
        let Condition::Score { score: name, .. } = condition else { return None };
        let column = self.window?.column(segment(member), label(member, "column"))?;
        column.scores.iter().find(|score| score.detector.name() == name)?.noise.budget
    }
}

/// What the worst member is held against and what is known of its change, as it came.
pub(super) fn facts(rule: &Rule, members: &[&Member], context: &Context<'_>) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(window) = context.window {
        let span = times::span(window.starts, window.ends);
        fact(
            "Window",
            format!("{span}, {} rows, {} of {} panes filled", thousands(window.rows), window.filled, window.panes),
        );
    }
    if let Some(worst) = members.first() {
        fact_of_what_is_new(rule, worst, context, &mut fact);
        facts_of_the_change(rule, worst, context, &mut fact);
        let stream = match &rule.condition {
            Condition::Score { score, .. } => OverTime::named(score),
            Condition::Sli { .. } | Condition::Budget { .. } | Condition::Expression { .. } => None,
        };
        match (worst.last, stream) {
            (Reading::Score { .. }, Some(stream)) => facts_of_the_rise(stream, rule, worst, context, &mut fact),
            (Reading::Score { threshold, noise, n, .. }, None) => {
                let own = match &rule.condition {
                    Condition::Score { above: Some(above), .. } => *above,
                    _ => threshold,
                };
                let chance = if context.budget_of(worst, &rule.condition).is_some() {
                    let is_more = if noise > own { ", so that is the limit" } else { "" };
                    format!("{} is what the budget of false pages allows{is_more}", significant(noise))
                } else if noise > own {
                    format!(
                        "{} is what chance or the reference's own stretches of time reach, so that is the limit",
                        significant(noise)
                    )
                } else {
                    format!("chance reaches {}", significant(noise))
                };
                fact("Limit", format!("from {} on it matters; {chance}", significant(own)));
                fact("Sample", format!("{} rows of {}", thousands(n), what(worst)));
            }
            (Reading::Ratio { good, valid, unknown }, _) => {
                fact("Events", events(Counts { good, valid, unknown }));
            }
            (Reading::Burn { period, long, short }, _) => {
                if let Condition::Budget { objective, pace, .. } = &rule.condition {
                    burn_facts((objective, *pace), period, long, short, context.now)
                        .into_iter()
                        .for_each(|(name, value)| fact(&name, value));
                }
            }
            (Reading::Few(events), _) => {
                if let Condition::Sli { few: Some(few), .. } = &rule.condition {
                    fact("Evidence", evidence_of_few(&few.events, events));
                }
            }
            (Reading::Expression { .. }, _) => {
                if let Condition::Expression { expression, .. } = &rule.condition {
                    fact("Values", values(expression, worst.last));
                }
            }
            (Reading::NotEnoughData, _) => {}
        }
        if !label(worst, "version").is_empty() {
            fact("Version", label(worst, "version").to_owned());
        }
    }
    facts
}

/// How many bad ones of the last events are allowed, and how often so many come by chance.
fn evidence_of_few(few: &FewEvents, events: LastEvents) -> String {
    let LastEvents { last, newest, per_year } = events;
    let of = last.valid.max(few.last());
    let said = |needed: u64| {
        let chance = significant(per_year * few.begins_by_chance(needed, of));
        format!(
            "{needed} of {} tell, which is so {chance} times a year while the objective is only just met",
            thousands(of)
        )
    };
    format!(
        "{} of the newest {} were bad; {}",
        thousands(newest.bad()),
        thousands(newest.valid),
        few.needed(of, per_year).map_or_else(|| "at this traffic all of them would not tell".to_owned(), said)
    )
}

/// How many were good, and between which shares the true one lies where some are unknown.
fn events(counts: Counts) -> String {
    let judged = format!("{} of {} were good", thousands(counts.good), thousands(counts.valid));
    if counts.unknown == 0 {
        return judged;
    }
    let share = |counts: Counts| percent(counts.good as f64 / counts.valid.max(1) as f64);
    format!(
        "{judged}, and {} are unknown: between {} and {} of all were good",
        thousands(counts.unknown),
        share(counts.at_worst()),
        share(counts.at_best())
    )
}

/// Between which rates the true one lies, of the first window in which some events are unknown; none where all were judged.
fn unknown_fact(objective: &Objective, windows: impl Iterator<Item = (Pair, Counts)>) -> Option<(String, String)> {
    let (pair, counts) = windows.into_iter().find(|(_, counts)| counts.unknown > 0)?;
    let (best, worst) = objective.burn_bounds(counts)?;
    let text = format!(
        "of the last {} h {} good, {} bad, {} unknown: the burn rate is {} if all of these were good, and {} if they were bad",
        pair.long.as_secs() / 3600,
        thousands(counts.good),
        thousands(counts.bad()),
        thousands(counts.unknown),
        significant(best),
        significant(worst)
    );
    Some(("Unknown".to_owned(), text))
}

/// How fast a budget burns in each window, how sure that is, and how long what is left lasts.
fn burn_facts(
    (objective, pace): (&Objective, Pace),
    period: Counts,
    long: [Counts; 2],
    short: [Counts; 2],
    now: Micros,
) -> Vec<(String, String)> {
    let rate = |counts: Counts| objective.burn_rate(counts).map_or_else(|| "no traffic".to_owned(), significant);
    let mut facts = Vec::new();
    for (pair, (long, short)) in objective.pairs(pace).into_iter().zip(long.into_iter().zip(short)) {
        let (hours, minutes) = (pair.long.as_secs() / 3600, pair.short.as_secs() / 60);
        let chance = significant(objective.chance(long));
        facts.push((
            format!("Burn rate over {hours} h and {minutes} min"),
            format!(
                "{} and {}, limit {}; {} of {} were bad, by chance with probability {chance}",
                rate(long),
                rate(short),
                significant(pair.rate),
                thousands(long.bad()),
                thousands(long.valid)
            ),
        ));
    }
    facts.extend(unknown_fact(objective, objective.pairs(pace).into_iter().zip(long)));
    let budget = objective.budget(period);
    let lasts = objective.burn_rate(long[0]).and_then(|rate| objective.lasts(budget.left, rate, now));
    let lasts =
        lasts.map_or_else(String::new, |time| format!("; at the rate of the first window it lasts {}", in_words(time)));
    facts.push((
        "Budget".to_owned(),
        format!(
            "{} left over {}: {} of {} bad events that it allows are spent{lasts}",
            percent(budget.left),
            objective.period().in_words(),
            thousands(budget.spent),
            thousands(budget.allowed.round() as u64),
        ),
    ));
    facts
}

fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 172_800 => format!("{} days", seconds / 86_400),
        seconds if seconds >= 7200 => format!("{} hours", seconds / 3600),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// Whether it is new, or the reference is what is old, where the worst member is held against both.
fn fact_of_what_is_new(rule: &Rule, worst: &Member, context: &Context<'_>, fact: &mut impl FnMut(&str, String)) {
    let (Some(window), Condition::Score { score, .. }) = (context.window, &rule.condition) else { return };
    let detector = Against::of_score(score).map_or(score.as_str(), |(_, detector)| detector.name());
    let column = window.columns.iter().find(|column| column.column == label(worst, "column"));
    if let Some((standing, recent)) = column.and_then(|column| Standing::of_score(column, detector)) {
        fact("Is it new", standing.in_words(recent));
    }
}

/// What the worst member's change looks like, and since when.
fn facts_of_the_change(rule: &Rule, worst: &Member, context: &Context<'_>, fact: &mut impl FnMut(&str, String)) {
    let Some(window) = context.window else { return };
    let name = label(worst, "column");
    let Some(column) = window.column(segment(worst), name) else { return };
    let causes: Vec<String> = column
        .causes
        .iter()
        .take(MAX_CAUSES)
        .map(|cause| format!("{} ({} of the change)", causes::in_words(cause), percent(cause.share)))
        .collect();
    if causes.is_empty() {
        return;
    }
    fact("Looks like", format!("{}, in {}", causes.join("; and "), what(worst)));
    if let Some(cells) = cells::that_moved(column) {
        fact("Cells that moved", cells);
    }
    if let Some(segments) = cells::segments_that_moved(worst, window) {
        fact("Worst segments", segments);
    }
    fact_of_the_beginning(rule, worst, (context, window), fact);
}

fn fact_of_the_beginning(
    rule: &Rule,
    worst: &Member,
    (context, window): (&Context<'_>, &ClosedWindow),
    fact: &mut impl FnMut(&str, String),
) {
    if let Some(since) = since_of(rule, worst, context) {
        let starts = |ends: i64| ends - (window.ends - window.starts);
        let mut text = format!("the window {}", times::span(starts(since.first), since.first));
        if since.earliest < since.latest {
            let between = times::span(starts(since.earliest), since.latest);
            text.push_str(&format!("; with a certainty of 95% within {between}"));
        }
        fact("Since", text);
    }
}

/// Beside what the worst member has risen, and since when.
fn facts_of_the_rise(
    stream: OverTime,
    rule: &Rule,
    worst: &Member,
    context: &Context<'_>,
    fact: &mut impl FnMut(&str, String),
) {
    let Reading::Score { threshold, n, .. } = worst.last else { return };
    let values = match stream.of {
        Of::Score(_) => "windows side by side",
        Of::Sli(_) => "days",
    };
    let limit = significant(threshold);
    fact(
        "Limit",
        format!("{limit}, where the detector says that it has changed; it has seen {} {values}", thousands(n)),
    );
    if let Some(window) = context.window {
        fact_of_the_beginning(rule, worst, (context, window), fact);
    }
}
