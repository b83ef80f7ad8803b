//! The command that pulls the rows that an alert rests on, ready to be run where the collector's configuration is.

use std::borrow::Cow;
use std::time::Duration;

use driftline_alerts::{Condition, Member, Micros, Reading, Rule};

use crate::config::{EventTime, FIRST_MESSAGE_SLI, Model, SegmentBy};
use crate::pipeline::columns::archived_name;
use crate::pipeline::evaluating::by_the_clock;
use crate::pipeline::series::ClosedWindow;
use crate::segments::watched_score;
use crate::times::rfc3339;

const SECOND: Micros = 1_000_000;

/// The command for the rows of an alert's worst member: those of its window, or those that came over the rule's time. None
/// where no rows show it: what was lost, was never sent, or is the collector's own; and where rows have a time of their own,
/// which says nothing of when they came.
pub(crate) fn command(
    rule: &Rule,
    worst: &Member,
    (model, window): (&Model, Option<&ClosedWindow>),
    now: Micros,
) -> Option<String> {
    let (from, to) = match window {
        Some(window) => (window.starts, window.ends),
        None if matches!(model.event_time, EventTime::Request) => (now - over(&rule.condition, worst.last)?, now),
        None => return None,
    };
    let mut command = format!("driftline samples --model {}", quoted(&model.name));
    let mut add = |flag: &str, value: &str| command.push_str(&format!(" --{flag} {}", quoted(value)));
    if let Some(version) = worst.labels.get("version") {
        add("version", version);
    }
    add("from", &rfc3339(from.div_euclid(SECOND) * SECOND));
    add("to", &rfc3339((to + SECOND - 1).div_euclid(SECOND) * SECOND));
    let conditions = conditions(rule, worst, model);
    if !conditions.is_empty() {
        add("where", &conditions.join(" and "));
    }
    Some(command)
}

/// How far back the rows lie that a rule looks at by the clock; none where it looks at none.
fn over(condition: &Condition, reading: Reading) -> Option<Micros> {
    let over = match (condition, reading) {
        (Condition::Sli { sli, .. } | Condition::Budget { sli, .. }, _) if !has_rows(sli) => return None,
        (Condition::Sli { few: Some(few), .. }, Reading::Few(_)) => few.within,
        (Condition::Sli { over, .. }, _) => *over,
        (Condition::Budget { objective, pace, .. }, _) => objective.pairs(*pace)[0].long,
        (Condition::Expression { .. }, _) => by_the_clock(condition)?.1,
        (Condition::Score { .. }, _) => return None,
    };
    Some(over.as_micros() as Micros)
}

/// Whether what is bad by an indicator is in the archive.
fn has_rows(sli: &str) -> bool {
    matches!(sli, "latency" | FIRST_MESSAGE_SLI | "availability" | "freshness" | "schema")
}

/// What tells the rows that are bad, or that the member is of, from the others.
fn conditions(rule: &Rule, worst: &Member, model: &Model) -> Vec<String> {
    let sli = match &rule.condition {
        Condition::Sli { sli, .. } | Condition::Budget { sli, .. } => sli.as_str(),
        Condition::Score { .. } | Condition::Expression { .. } => "",
    };
    let slower = |column: &str, limit: Duration| format!("{column} > {}", limit.as_secs_f64() * 1000.0);
    let is_bad = match sli {
        "latency" => Some(slower("latency_ms", model.slis.latency)),
        FIRST_MESSAGE_SLI => model.slis.first_message.map(|limit| slower("first_message_ms", limit)),
        "availability" => Some("(status >= 500 or status = 0)".to_owned()),
        _ => None,
    };
    let is_missing = match &rule.condition {
        Condition::Score { score, .. } if watched_score(score).0 == "missing_share" => {
            worst.labels.get("column").map(|column| format!("{} is null", name(&archived_name(column))))
        }
        _ => None,
    };
    let of_segment = worst.labels.get("segment").and_then(|segment| of_segment(segment, model));
    is_bad.into_iter().chain(is_missing).chain(of_segment).collect()
}

/// The condition by which rows are of a segment; none of what is left over when a column's values have theirs.
fn of_segment(segment: &str, model: &Model) -> Option<String> {
    model.segments.by.iter().find_map(|by| match by {
        SegmentBy::Condition { name, holds } => (name == segment).then(|| format!("({holds})")),
        SegmentBy::Column { name: column, .. } => {
            let value = segment.strip_prefix(column)?.strip_prefix('=').filter(|value| *value != "other")?;
            Some(format!("{} = '{}'", name(&archived_name(column)), value.replace('\'', "''")))
        }
    })
}

/// A column's name in a condition.
fn name(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

/// A word of a command, as a shell takes it.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'/' | b'+');
    if !word.is_empty() && word.bytes().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use driftline_alerts::{Labels, Unjudged};

    use super::*;
    use crate::config::Config;

    const CONFIGURATION: &str = "
models:
  - name: m
    slis: {latency: {below: 250ms}, first_message: {below: 400ms}}
    segments: [{column: origin}, {name: far, where: distance > 1500}]
  - name: of-old-times
    event_time: {column: flown_at, unit: rfc3339}
";
    const NOW: Micros = 1_800_000_000_500_000;

    fn of(model: &str, rule: &str, labels: &[(&str, &str)], of_window: bool) -> Option<String> {
        let config = Config::parse("d.yaml", CONFIGURATION, Path::new("/")).unwrap();
        let rule = config.alerting.rules.iter().find(|own| own.name == rule).unwrap();
        let worst = Member {
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Labels>(),
            recent: vec![true],
            last: Reading::NotEnoughData,
            said_at: 0,
            over: true,
            was_over: true,
            unobserved: 0,
            unjudged: Unjudged::default(),
        };
        let (columns, profiles, segments) = (Vec::new(), Vec::new(), Vec::new());
        let (starts, ends) = (NOW - 86_400 * SECOND - 500_000, NOW - 500_000);
        let window = ClosedWindow { starts, ends, rows: 9, filled: 1, panes: 1, columns, profiles, segments };
        command(rule, &worst, (&config.model(model), of_window.then_some(&window)), NOW)
    }

    #[test]
    fn a_window_s_rows_are_those_of_its_version_and_of_what_is_odd_in_them() {
        let window = "--from 2027-01-14T08:00:00Z --to 2027-01-15T08:00:00Z";
        let of = |rule, labels: &[(&str, &str)]| of("m", rule, labels, true).unwrap();
        let drift = of("FeatureDrift", &[("version", "4 2"), ("column", "temp")]);
        assert_eq!(drift, format!("driftline samples --model m --version '4 2' {window}"));
        let missing = of("MissingValues", &[("version", "1"), ("column", "status")]);
        assert_eq!(
            missing,
            format!("driftline samples --model m --version 1 {window} --where '\"column.status\" is null'")
        );
        let segment = of("SegmentDrift", &[("version", "1"), ("column", "temp"), ("segment", "origin=O'Hare")]);
        assert!(segment.ends_with(r#" --where '"origin" = '\''O'\'''\''Hare'\'''"#), "{segment}");
        let far = of("SegmentDrift", &[("version", "1"), ("column", "temp"), ("segment", "far")]);
        assert!(far.ends_with(" --where '(distance > 1500)'"), "{far}");
    }

    #[test]
    fn an_indicator_s_rows_are_the_bad_ones_of_its_time_and_what_left_none_has_no_command() {
        let of_rule = |rule| of("m", rule, &[("model", "m")], false);
        let slow = "driftline samples --model m --from 2027-01-15T07:55:00Z --to 2027-01-15T08:00:01Z --where 'latency_ms > 250'";
        assert_eq!(of_rule("LatencySlo").unwrap(), slow);
        assert!(of_rule("FirstMessageSlo").unwrap().ends_with("--where 'first_message_ms > 400'"));
        assert!(of_rule("AvailabilityBudget").unwrap().ends_with("--where '(status >= 500 or status = 0)'"));
        assert!(["CaptureLoss", "ModelSilent", "StaleFeed"].into_iter().all(|rule| of_rule(rule).is_none()));
        assert_eq!(of("of-old-times", "LatencySlo", &[], false), None, "its rows' times are not those of requests");
    }

    #[test]
    fn what_is_quoted_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted("2027-01-15T08:00:00Z"), "2027-01-15T08:00:00Z");
        assert_eq!(quoted("a'b; rm -rf $HOME"), "'a'\\''b; rm -rf $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
