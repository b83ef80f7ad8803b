//! A history in lines, and as JSON.

use std::fmt::Write;

use driftline_alerts::EvidenceRow;
use serde::Serialize;

use super::history::{Episode, History};
use crate::numbers::thousands;
use crate::times::{rfc3339, span};

/// The sentence that says it all.
pub(super) fn headline(history: &History) -> String {
    let days = (history.span.1 - history.span.0) / 86_400_000_000;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    format!(
        "{} and {} in {days} days ({}): {} windows of {} rows",
        count(history.pages(), "page"),
        count(history.tickets(), "ticket"),
        span(history.span.0, history.span.1),
        thousands(history.windows),
        thousands(history.rows.counted)
    )
}

/// What could not be tried.
pub(super) fn left_out(history: &History) -> Option<String> {
    (!history.left_out.is_empty()).then(|| {
        format!("Not tried, because an archive does not hold what was not captured: {}.", history.left_out.join(", "))
    })
}

/// How long an episode took, in words.
pub(super) fn lasted(episode: &Episode) -> String {
    match episode.ended {
        Some(ended) => format!("{} to {}", rfc3339(episode.began), rfc3339(ended)),
        None => format!("{} and on", rfc3339(episode.began)),
    }
}

pub(super) fn text(history: &History, changed: Option<&History>) -> String {
    let mut text = String::new();
    of_one(&mut text, history, if changed.is_some() { "As it is: " } else { "" });
    if let Some(changed) = changed {
        text.push('\n');
        of_one(&mut text, changed, "With the change: ");
        text.push('\n');
        let difference = |text: &mut String, title: &str, episodes: Vec<&Episode>| {
            line(text, &format!("{title}: {}", if episodes.is_empty() { "none" } else { "" }));
            episodes.iter().for_each(|episode| line(text, &format!("  {}  {}", lasted(episode), episode.said.summary)));
        };
        difference(&mut text, "Only as it is", history.only_here(changed).collect());
        difference(&mut text, "Only with the change", changed.only_here(history).collect());
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{}", line.trim_end()).unwrap_or_default();
}

fn of_one(text: &mut String, history: &History, title: &str) {
    line(text, &format!("{title}{}", headline(history)));
    for episode in &history.episodes {
        let said = &episode.said;
        line(text, "");
        line(text, &format!("{:<7} {}  {}", said.severity.name(), said.rule, lasted(episode)));
        line(text, &format!("        {}", said.summary));
        for EvidenceRow { what, value, threshold, n, sparkline } in &said.rows {
            line(text, &format!("        {what:<24} {value:>9}  limit {threshold}, n = {n}  {sparkline}"));
        }
        if said.more_rows > 0 {
            line(text, &format!("        and {} more", said.more_rows));
        }
    }
    if let Some(left_out) = left_out(history) {
        line(text, "");
        line(text, &left_out);
    }
}

#[derive(Serialize)]
struct Both<'h> {
    model: &'h str,
    from: String,
    to: String,
    #[serde(flatten)]
    as_it_is: One<'h>,
    changed: Option<One<'h>>,
}

#[derive(Serialize)]
struct One<'h> {
    pages: usize,
    tickets: usize,
    windows: u64,
    rows: u64,
    alerts: Vec<Alert<'h>>,
    rules_left_out: &'h [String],
}

#[derive(Serialize)]
struct Alert<'h> {
    rule: &'h str,
    severity: &'static str,
    runbook_url: &'h str,
    labels: &'h driftline_alerts::Labels,
    /// The end of the window that began it.
    began: String,
    ended: Option<String>,
    summary: &'h str,
    condition: &'h str,
    members: &'h [EvidenceRow],
    more_members: u64,
}

impl<'h> One<'h> {
    fn of(history: &'h History) -> Self {
        let alert = |episode: &'h Episode| Alert {
            rule: &episode.said.rule,
            severity: episode.said.severity.name(),
            runbook_url: &episode.said.runbook_url,
            labels: &episode.said.labels,
            began: rfc3339(episode.began),
            ended: episode.ended.map(rfc3339),
            summary: &episode.said.summary,
            condition: &episode.said.condition,
            members: &episode.said.rows,
            more_members: episode.said.more_rows,
        };
        Self {
            pages: history.pages(),
            tickets: history.tickets(),
            windows: history.windows,
            rows: history.rows.counted,
            alerts: history.episodes.iter().map(alert).collect(),
            rules_left_out: &history.left_out,
        }
    }
}

pub(super) fn json(history: &History, changed: Option<&History>) -> Result<String, String> {
    let both = Both {
        model: &history.model,
        from: rfc3339(history.span.0),
        to: rfc3339(history.span.1),
        as_it_is: One::of(history),
        changed: changed.map(One::of),
    };
    serde_json::to_string_pretty(&both).map(|text| text + "\n").map_err(|error| error.to_string())
}
