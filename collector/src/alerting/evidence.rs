//! What an alert says: numbers, a picture, and where to look.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use driftline_alerts::{
    Action, Condition, EvidenceRow, Expression, LastEvents, MAX_ROWS, Member, Micros, Notification, Picture, Reading,
    Rule, Severity, Transition, Unit, Variable, share_in_words, span_in_words, sparkline,
};

use super::book::{Change, Orphan};
use super::dashboard::{Dashboard, Shown};
use super::facts::facts;
use super::{no_verdict, picture, wording};
use crate::causes::{self, Past, Since};
use crate::numbers::{and_more, percent, significant, thousands};
use crate::pipeline::earlier::Against;
use crate::pipeline::over_time::{Of, OverTime};
use crate::pipeline::series::ClosedWindow;
use crate::segments::watched_score;
use crate::times;
use crate::vocabulary::{LABELS, Named};

/// Windows that a sparkline shows.
const SPARKLINE_WINDOWS: usize = 20;

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

pub(super) fn since_of(rule: &Rule, member: &Member, context: &Context<'_>) -> Option<Since> {
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

pub(super) fn label<'a>(member: &'a Member, name: &str) -> &'a str {
    member.labels.get(name).map_or("", String::as_str)
}

/// The segment that a member is about; none for all rows.
pub(super) fn segment(member: &Member) -> Option<&str> {
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
                    let more = and_more(more);
                    format!("{}{more} {many} ({score} of {} is {})", names.join(", "), what(worst), reading(worst.last))
                }
            }
        }
        Condition::Expression { expression, .. } => {
            let of = members.first().map_or_else(String::new, |worst| {
                let names = members.iter().take(3).map(|member| what(member)).collect::<Vec<_>>().join(", ");
                let more = members.len().saturating_sub(3);
                let more = and_more(more);
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
            if let Some(words) = looks_in_words(sli, action, members, *over) {
                return words;
            }
            let words = share_in_words(of, *below, *over);
            match action {
                Action::Resolve => format!("no longer {words} ({value} were good)"),
                _ => format!("{words} ({value} were good)"),
            }
        }
    }
}

/// What is so, and for how much of the time, of an indicator whose events are looks by the clock: shares of looks say nothing to
/// who was just woken.
fn looks_in_words(sli: &str, action: Action, members: &[&Member], over: Duration) -> Option<String> {
    let names = || members.iter().take(3).map(|member| what(member)).collect::<Vec<_>>().join(", ");
    let (of, state) = match sli {
        "heard" => (String::new(), "silent"),
        "sidecars" => (String::new(), "a sidecar silent"),
        "running" => (String::new(), "the collector down"),
        "archive" => (String::new(), "the archive behind"),
        "outcomes" => (String::new(), "outcomes late"),
        "delivery" => (String::new(), "not reached"),
        "feeds" => (names() + " ", "without files in time"),
        "feeds_listed" => (names() + " ", "not to be listed"),
        "watermark" => (names() + " ", "too old"),
        _ => return None,
    };
    let Reading::Ratio { good, valid, .. } = members.first()?.last else { return None };
    let bad = percent((valid - good) as f64 / valid.max(1) as f64);
    let over = span_in_words(over);
    Some(match action {
        Action::Resolve => format!("{of}no longer {state} (for {bad} of the last {over})"),
        _ => format!("{of}{state} for {bad} of the last {over}"),
    })
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
pub(super) fn values(expression: &Expression, reading: Reading) -> String {
    let Reading::Expression { values, .. } = reading else { return self::reading(reading) };
    let said = |variable: &Variable, value: Option<f64>| match (value, Named::of(variable).map(|named| named.unit())) {
        (None, _) => format!("{variable} unknown"),
        (Some(seconds), Ok(Unit::Time)) => format!("{variable} {} s", significant(seconds)),
        (Some(value), _) => format!("{variable} {}", significant(value)),
    };
    let all = expression.variables().iter().zip(values).map(|(variable, value)| said(variable, value));
    all.collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use driftline_alerts::Unjudged;

    use super::*;

    #[test]
    fn what_is_looked_at_by_the_clock_is_told_as_a_state_and_not_as_a_share_of_looks() {
        let member = |column: &str| Member {
            labels: [("model", "flights"), ("column", column)]
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            recent: Vec::new(),
            last: Reading::Ratio { good: 9, valid: 20, unknown: 0 },
            said_at: 0,
            over: true,
            was_over: true,
            unobserved: 0,
            unjudged: Unjudged::default(),
        };
        let (model, fares, weather) = (member(""), member("fares"), member("weather"));
        let said =
            |sli: &str, action, members: &[&Member]| looks_in_words(sli, action, members, Duration::from_secs(300));
        let begins = |sli: &str, members: &[&Member]| said(sli, Action::Trigger, members).unwrap();
        assert_eq!(begins("heard", &[&model]), "silent for 55% of the last 5 min");
        assert_eq!(begins("archive", &[&model]), "the archive behind for 55% of the last 5 min");
        assert_eq!(
            begins("feeds", &[&fares, &weather]),
            "fares, weather without files in time for 55% of the last 5 min"
        );
        assert_eq!(
            said("feeds", Action::Resolve, &[&fares]).unwrap(),
            "fares no longer without files in time (for 55% of the last 5 min)"
        );
        assert_eq!(said("latency", Action::Trigger, &[&model]), None, "its events are requests");
        assert_eq!(said("heard", Action::Trigger, &[]), None);
    }
}
