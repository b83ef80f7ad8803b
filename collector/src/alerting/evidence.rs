//! What an alert says: numbers, a picture, and where to look.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use driftline_alerts::{
    Action, Condition, Counts, EvidenceRow, Expression, FewEvents, LastEvents, MAX_ROWS, Member, Micros, Notification,
    Objective, Pace, Pair, Picture, Reading, Rule, Severity, Transition, Unit, Variable, share_in_words, sparkline,
};

use super::book::{Change, Orphan};
use super::dashboard::{Dashboard, Shown};
use super::{cells, no_verdict, picture, wording};
use crate::causes::{self, Past, Since};
use crate::numbers::{percent, significant, thousands};
use crate::pipeline::earlier::{Against, Standing};
use crate::pipeline::over_time::{Of, OverTime};
use crate::pipeline::series::ClosedWindow;
use crate::segments::watched_score;
use crate::times;
use crate::vocabulary::{LABELS, Named};

/// Windows that a sparkline shows.
const SPARKLINE_WINDOWS: usize = 20;
/// Causes that an alert names.
const MAX_CAUSES: usize = 2;

/// The last windows of one column's score, the newest last.
pub(crate) type History<'a> = dyn Fn(&Watched<'_>) -> Vec<Past> + 'a;

/// The score that a member is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'m> {
    pub(crate) version: &'m str,
    /// None for all rows.
    pub(crate) segment: Option<&'m str>,
    pub(crate) column: &'m str,
    pub(crate) detector: &'m str,
}

impl<'m> Watched<'m> {
    fn of(member: &'m Member, score: &'m str) -> Self {
        Self {
            version: label(member, "version"),
            segment: segment(member),
            column: label(member, "column"),
            detector: OverTime::named(score).map_or(watched_score(score).0, |stream| stream.of_name()),
        }
    }
}

/// What is known around a change, beyond the alert itself.
pub(crate) struct Context<'a> {
    /// The window whose scores changed it; none for an indicator.
    pub(crate) window: Option<&'a ClosedWindow>,
    pub(crate) history: &'a History<'a>,
    pub(crate) public_url: &'a str,
    /// The owner's dashboard, where one is named.
    pub(crate) dashboard: Option<&'a Dashboard>,
    pub(crate) now: Micros,
}

impl Context<'_> {
    /// What the budget of false pages allows a member, where there is one in force.
    fn budget_of(&self, member: &Member, condition: &Condition) -> Option<f64> {
        let Condition::Score { score: name, .. } = condition else { return None };
        let column = self.window?.column(segment(member), label(member, "column"))?;
        column.scores.iter().find(|score| score.detector.name() == name)?.noise.budget
    }
}

/// The notification of a change.
pub(crate) fn notification(change: &Change, context: &Context<'_>) -> Notification {
    let Change { rule, alert, transition } = change;
    let (action, episode, started_at, members): (_, _, _, Vec<&Member>) = match transition {
        Transition::Fired { episode } => (Action::Trigger, episode, context.now, alert.over().collect()),
        Transition::Resolved { episode, since, members } => {
            (Action::Resolve, episode, *since, members.iter().collect())
        }
    };
    let mut members = members;
    members.sort_by(|a, b| severity_of(b.last).total_cmp(&severity_of(a.last)));
    let about = alert.labels.values().cloned().collect::<Vec<_>>().join(", ");
    let given_up = transition.given_up(rule);
    let headline = match given_up.as_slice() {
        [] => headline(rule, action, &members),
        given_up => no_verdict::headline(given_up, members.len()),
    };
    let plain = if about.is_empty() { headline } else { format!("{about}: {headline}") };
    let rows: Vec<EvidenceRow> = members.iter().take(MAX_ROWS).map(|member| row(rule, member, context)).collect();
    let worded = wording::Worded::of(rule, alert, &members, &rows, &plain);
    let summary = worded.summary().unwrap_or_else(|| plain.clone());
    Notification {
        action,
        episode: episode.clone(),
        rule: rule.name.clone(),
        severity: rule.severity,
        // A resolve takes over its trigger's subject when it is stored.
        subject: summary.clone(),
        summary,
        condition: rule.condition.in_words(),
        labels: worded.labels(),
        started_at,
        resolved_at: (action == Action::Resolve).then_some(context.now),
        acknowledged: None,
        reminder: 0,
        drill: false,
        briefing: Vec::new(),
        facts: worded
            .facts()
            .into_iter()
            .chain(no_verdict::fact(&given_up))
            .chain(facts(rule, &members, context))
            .collect(),
        rows,
        more_rows: members.len().saturating_sub(MAX_ROWS) as u64,
        picture: members.first().and_then(|worst| draw(worst, context)),
        page_url: format!("{}/alerts/{episode}", context.public_url),
        runbook_url: format!("{}/runbooks/{}?alert={episode}", context.public_url, rule.runbook),
        dashboard_url: context.dashboard.and_then(|dashboard| {
            let labels = members.first().map_or(&alert.labels, |worst| &worst.labels);
            let severity = rule.severity.name();
            dashboard.of(Shown { labels, rule: &rule.name, severity, episode, started_at, now: context.now })
        }),
    }
}

/// Puts facts in the order in which a person wants them: whom it concerns, since when and what was changed before, then what it
/// looks like, and last how it was measured. What else there is stays in between, as it came.
pub(crate) fn put_in_order(facts: &mut [(String, String)]) {
    const FIRST: [&str; 8] =
        [no_verdict::FACT, "Severity", "Details", "Owner", "Affected", "Since", "Changed before", "Also moved"];
    const LAST: [&str; 4] = ["Limit", "Sample", "Version", "Rows"];
    let place = |name: &str| {
        let first = FIRST.iter().position(|known| *known == name);
        let last = || LAST.iter().position(|known| *known == name).map(|place| FIRST.len() + 1 + place);
        first.or_else(last).unwrap_or(FIRST.len())
    };
    facts.sort_by_key(|(name, _)| place(name));
}

/// The resolve of an episode whose rule is gone, or whose alert cannot be read any more: what was said when it began, if
/// that can still be read, and that it is over.
pub(crate) fn orphaned(orphan: &Orphan, public_url: &str, now: Micros) -> Notification {
    let Orphan { episode, rule, labels, since, triggered, .. } = orphan;
    let summary = format!("{rule} is not watched any more");
    let mut notification = triggered.clone().unwrap_or_else(|| Notification {
        action: Action::Resolve,
        episode: episode.clone(),
        rule: rule.clone(),
        severity: Severity::Ticket,
        summary: summary.clone(),
        subject: summary.clone(),
        condition: String::new(),
        labels: labels.clone(),
        started_at: *since,
        resolved_at: None,
        acknowledged: None,
        reminder: 0,
        drill: false,
        briefing: Vec::new(),
        facts: Vec::new(),
        rows: Vec::new(),
        more_rows: 0,
        picture: None,
        page_url: format!("{public_url}/alerts/{episode}"),
        runbook_url: String::new(),
        dashboard_url: None,
    });
    notification.action = Action::Resolve;
    notification.resolved_at = Some(now);
    notification
}

/// Since when the worst member of an alert that begins has been over; none where that is not seen.
pub(crate) fn since(change: &Change, context: &Context<'_>) -> Option<Since> {
    since_of(&change.rule, worst(change)?, context)
}

/// The member of an alert that is furthest over.
pub(crate) fn worst(change: &Change) -> Option<&Member> {
    change.alert.over().max_by(|a, b| severity_of(a.last).total_cmp(&severity_of(b.last)))
}

fn since_of(rule: &Rule, member: &Member, context: &Context<'_>) -> Option<Since> {
    let (Condition::Score { score, above, .. }, Reading::Score { threshold, noise, .. }) =
        (&rule.condition, member.last)
    else {
        return None;
    };
    // A rise is one from whatever level there was before.
    let is_rise = OverTime::named(score).is_some();
    let limit = if is_rise { f64::INFINITY } else { above.unwrap_or(threshold).max(noise) };
    causes::since(&(context.history)(&Watched::of(member, score)), limit)
}

/// How far a reading is over, to put the worst first.
fn severity_of(reading: Reading) -> f64 {
    match reading {
        Reading::Score { value, threshold, noise, .. } => value / threshold.max(noise).max(f64::MIN_POSITIVE),
        Reading::Ratio { good, valid, .. } => 1.0 - good as f64 / valid.max(1) as f64,
        Reading::Burn { long, .. } => {
            long.iter().map(|counts| counts.bad() as f64 / counts.valid.max(1) as f64).fold(0.0, f64::max)
        }
        Reading::Few(LastEvents { last, .. }) => last.bad() as f64 / last.valid.max(1) as f64,
        Reading::Expression { holds, .. } => f64::from(u8::from(holds)),
        Reading::NotEnoughData => 0.0,
    }
}

fn label<'a>(member: &'a Member, name: &str) -> &'a str {
    member.labels.get(name).map_or("", String::as_str)
}

/// The segment that a member is about; none for all rows.
fn segment(member: &Member) -> Option<&str> {
    member.labels.get("segment").map(String::as_str)
}

/// What a member is, in the fewest words.
pub(super) fn what(member: &Member) -> Cow<'_, str> {
    if let Some(target) = member.labels.get("target") {
        return target.into();
    }
    match (label(member, "column"), segment(member)) {
        (column, Some(segment)) => format!("{column} in segment {segment}").into(),
        ("", None) if label(member, "model").is_empty() => others(member).map_or("collector".into(), Cow::from),
        ("", None) => label(member, "model").into(),
        (column, None) => column.into(),
    }
}

/// What tells a member apart that is of no model: labels of the collector's own metrics.
fn others(member: &Member) -> Option<String> {
    let others = member.labels.iter().filter(|(name, _)| !LABELS.contains(&name.as_str()));
    let others: Vec<String> = others.map(|(name, value)| format!("{name} {value}")).collect();
    (!others.is_empty()).then(|| others.join(", "))
}

fn headline(rule: &Rule, action: Action, members: &[&Member]) -> String {
    match &rule.condition {
        Condition::Score { score, .. } => {
            let score = watched_score(score).0;
            let (one, many) = match (action, score) {
                (Action::Resolve, _) => ("is back within its limit", "are back within their limits"),
                (_, "missing_share") => ("is missing more often than it was", "are missing more often than they were"),
                (_, "new_category_share") => {
                    ("has categories that the reference never saw", "have categories that the reference never saw")
                }
                (_, score) => match (OverTime::named(score).map(|stream| stream.of), Against::of_score(score)) {
                    (Some(Of::Score(_)), _) => ("has risen above what it was", "have risen above what they were"),
                    (Some(Of::Sli(_)), _) => ("is worse than in the days before", "are worse than in the days before"),
                    (None, Some((Against::Recent, _))) => ("has changed lately", "have changed lately"),
                    (None, Some((Against::SameHour, _))) => {
                        ("is unlike its hour in the weeks before", "are unlike their hour in the weeks before")
                    }
                    (None, None) => ("has drifted", "have drifted"),
                },
            };
            match members {
                [] => "no column is over its limit any more".to_owned(),
                [member] => format!("{} {one} ({score} {})", what(member), reading(member.last)),
                [worst, ..] => {
                    let names: Vec<Cow<'_, str>> = members.iter().take(3).map(|member| what(member)).collect();
                    let more = members.len() - names.len();
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    format!("{}{more} {many} ({score} of {} is {})", names.join(", "), what(worst), reading(worst.last))
                }
            }
        }
        Condition::Expression { expression, .. } => {
            let of = members.first().map_or_else(String::new, |worst| {
                let names = members.iter().take(3).map(|member| what(member)).collect::<Vec<_>>().join(", ");
                let more = members.len().saturating_sub(3);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!(" of {names}{more} ({})", values(expression, worst.last))
            });
            match action {
                Action::Resolve => format!("no longer {}{of}", expression.text()),
                _ => format!("{}{of}", expression.text()),
            }
        }
        Condition::Budget { sli, objective, .. } => {
            let value = members.first().map_or_else(|| "unknown".to_owned(), |member| reading(member.last));
            let period = objective.period().in_words();
            let target = percent(objective.target());
            let verb = match action {
                Action::Resolve => "no longer burns its budget too fast",
                _ => "burns its budget too fast",
            };
            format!("{sli} {verb}: {value}, and {target} in {period} are the objective")
        }
        Condition::Sli { sli, below, over, .. } => {
            let value = members.first().map_or_else(|| "unknown".to_owned(), |member| reading(member.last));
            let of = sli_in_words(sli);
            if let Some(Reading::Few(_)) = members.first().map(|member| member.last) {
                return match action {
                    Action::Resolve => format!("{of}: no longer too many bad ones among the last ({value})"),
                    _ => format!("{of}: {value}, which is no chance where {} are good", percent(*below)),
                };
            }
            let words = share_in_words(of, *below, *over);
            match action {
                Action::Resolve => format!("no longer {words} ({value} were good)"),
                _ => format!("{words} ({value} were good)"),
            }
        }
    }
}

fn sli_in_words(sli: &str) -> &str {
    match sli {
        "latency" => "requests in time",
        "first_message" => "streams begun in time",
        "availability" => "requests answered",
        "freshness" => "fresh features",
        "capture" => "exchanges captured",
        "schema" => "rows of the known form",
        "decoded" => "answers with rows",
        "heard" => "signs of life",
        "sidecars" => "sidecars heard",
        "running" => "collector running",
        "feeds" => "files in time",
        "feeds_listed" => "feeds listed",
        "outcomes" => "outcomes in time",
        "slices" => "windows within their limit",
        "watermark" => "times young enough",
        "archive" => "archiving in time",
        "delivery" => "notifications delivered",
        other => other,
    }
}

fn reading(reading: Reading) -> String {
    match reading {
        Reading::Score { value, .. } => significant(value),
        Reading::Ratio { good, valid, .. } => percent(good as f64 / valid.max(1) as f64),
        Reading::Burn { long: [first, _], .. } => {
            format!("{} of {} were bad", thousands(first.bad()), thousands(first.valid))
        }
        Reading::Few(LastEvents { last, .. }) => {
            format!("{} of the last {} were bad", thousands(last.bad()), thousands(last.valid))
        }
        Reading::Expression { holds, .. } => if holds { "holds" } else { "does not hold" }.to_owned(),
        Reading::NotEnoughData => "not enough data".to_owned(),
    }
}

/// What an expression's names stood for.
fn values(expression: &Expression, reading: Reading) -> String {
    let Reading::Expression { values, .. } = reading else { return self::reading(reading) };
    let said = |variable: &Variable, value: Option<f64>| match (value, Named::of(variable).map(|named| named.unit())) {
        (None, _) => format!("{variable} unknown"),
        (Some(seconds), Ok(Unit::Time)) => format!("{variable} {} s", significant(seconds)),
        (Some(value), _) => format!("{variable} {}", significant(value)),
    };
    let all = expression.variables().iter().zip(values).map(|(variable, value)| said(variable, value));
    all.collect::<Vec<_>>().join(", ")
}

fn facts(rule: &Rule, members: &[&Member], context: &Context<'_>) -> Vec<(String, String)> {
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

fn row(rule: &Rule, member: &Member, context: &Context<'_>) -> EvidenceRow {
    let (threshold, n, line) = match (&rule.condition, member.last) {
        (Condition::Score { score, above, .. }, Reading::Score { threshold, noise, n, .. }) => {
            let limit = above.unwrap_or(threshold).max(noise);
            let history = (context.history)(&Watched::of(member, score));
            let effects: Vec<Option<f64>> = history.iter().map(|past| Some(past.effect)).collect();
            let shown = &effects[effects.len().saturating_sub(SPARKLINE_WINDOWS)..];
            (significant(limit), thousands(n), sparkline(shown))
        }
        (Condition::Sli { below, .. }, Reading::Ratio { valid, .. }) => {
            (percent(*below), thousands(valid), String::new())
        }
        (Condition::Budget { objective, .. }, Reading::Burn { long: [first, _], .. }) => {
            (percent(objective.target()), thousands(first.valid), String::new())
        }
        (Condition::Sli { below, .. }, Reading::Few(LastEvents { last, .. })) => {
            (percent(*below), thousands(last.valid), String::new())
        }
        _ => (String::new(), String::new(), String::new()),
    };
    let version = label(member, "version");
    let what = what(member);
    EvidenceRow {
        what: if version.is_empty() || version == crate::pipeline::UNVERSIONED {
            what.into_owned()
        } else {
            format!("{what} (version {version})")
        },
        value: match &rule.condition {
            Condition::Expression { expression, .. } => values(expression, member.last),
            _ => reading(member.last),
        },
        threshold,
        n,
        sparkline: line,
    }
}

/// The worst member's reference against its window.
fn draw(member: &Member, context: &Context<'_>) -> Option<Picture> {
    let window = context.window?;
    let column = window.column(segment(member), label(member, "column"))?;
    let png = picture::bars(&column.bars)?;
    Some(Picture {
        png_base64: STANDARD.encode(png),
        caption: format!(
            "{}: reference (grey) against {} (blue){}",
            what(member),
            times::span(window.starts, window.ends),
            picture::range(&column.bars)
        ),
    })
}
