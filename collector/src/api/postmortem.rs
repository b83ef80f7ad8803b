//! The draft of a postmortem: what the collector knows of an alert's course, and places for what only people know.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use driftline_alerts::{EvidenceRow, Notification};
use rusqlite::{Connection, OptionalExtension, params};

use super::Api;
use super::error::{ApiError, Segments};
use crate::alerting::changes::{self, Change, ChangeKind};
use crate::alerting::reactions::stored::timeline;
use crate::alerting::ticks::{self, Tick};
use crate::times::{self, rfc3339};

/// Lines of the timeline. Of more, the first and the last are shown.
const MAX_LINES: usize = 200;
/// So long before an alert began its causes are looked for.
const BEFORE_MICROS: i64 = 6 * 3_600_000_000;
/// So long after it ended things may still have been said.
const AFTER_MICROS: i64 = 600_000_000;

/// An alert's postmortem as a draft in Markdown: its timeline, evidence and pictures, with places for the rest.
#[utoipa::path(get, path = "/api/v1/alerts/{id}/postmortem", tag = "alerts",
    params(("id" = String, Path, description = "The episode's id")),
    responses((status = 200, content_type = "text/markdown", body = String), (status = 404, body = super::error::Problem)))]
pub(crate) async fn draft(
    State(api): State<Api>,
    Segments(id): Segments<String>,
) -> Result<impl IntoResponse, ApiError> {
    let missing = format!("there is no alert '{id}'; /api/v1/alerts lists those there are");
    let course = api.store.read(move |db| Course::read(db, &id)).await?.ok_or_else(|| ApiError::not_found(missing))?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], course.markdown()))
}

/// What is stored of an episode.
struct Course {
    said: Notification,
    severity: String,
    started_at: i64,
    resolved_at: Option<i64>,
    /// Times and what happened then, in order.
    lines: Vec<(i64, String)>,
}

impl Course {
    fn read(db: &Connection, id: &str) -> rusqlite::Result<Option<Self>> {
        let found: Option<(String, String, i64, Option<i64>)> = db
            .prepare_cached("SELECT notification, severity, started_at, resolved_at FROM episodes WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((text, severity, started_at, resolved_at)) = found else { return Ok(None) };
        let Ok(said) = serde_json::from_str::<Notification>(&text) else { return Ok(None) };
        let model = said.labels.get("model").cloned().unwrap_or_default();
        let until = resolved_at.map_or(i64::MAX, |resolved| resolved.saturating_add(AFTER_MICROS));
        let from = started_at.saturating_sub(BEFORE_MICROS);
        let mut lines: Vec<(i64, String)> = db
            .prepare_cached(
                "SELECT at, text FROM events WHERE at BETWEEN ?1 AND ?2 AND model = ?3
                   AND kind NOT IN ('window', 'archived', 'drill', 'reaction')",
            )?
            .query_map(params![from, until, model], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let reactions = timeline(db, id)?;
        // What it started itself is said among its reactions.
        let is_own = |change: &Change| {
            change.kind == ChangeKind::Reaction && reactions.iter().any(|(settled_at, _)| *settled_at == change.at)
        };
        let changes = changes::between(db, &model, from, until)?.into_iter().filter(|change| !is_own(change));
        lines.extend(changes.map(|change| (change.at, change.text)));
        lines.extend(ticks::of(db, id)?.into_iter().map(|tick| (tick.at, ticked(&tick))));
        lines.push((started_at, format!("**The alert began**: {}", said.summary)));
        lines.extend(resolved_at.map(|at| (at, "**The alert ended.**".to_owned())));
        let told: Vec<(i64, String)> = db
            .prepare_cached("SELECT settled_at, target, action, state, attempts FROM outbox WHERE episode = ?1 AND settled_at IS NOT NULL")?
            .query_map([id], |row| {
                let (target, action): (String, String) = (row.get(1)?, row.get(2)?);
                let (state, attempts): (String, u32) = (row.get(3)?, row.get(4)?);
                Ok((row.get(0)?, format!("{target}: {action} {} after {attempts} attempts", state.replace('_', " "))))
            })?
            .collect::<rusqlite::Result<_>>()?;
        lines.extend(told);
        lines.extend(reactions);
        lines.sort_by_key(|(at, _)| *at);
        Ok(Some(Self { said, severity, started_at, resolved_at, lines }))
    }

    fn markdown(&self) -> String {
        let said = &self.said;
        let mut text = String::new();
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap_or_default();
        line(format_args!("# Postmortem: {}\n", plain(&said.summary)));
        line(format_args!(
            "Draft, made of what Driftline recorded. What stands in *italics* is for people to fill in; blame nobody.\n"
        ));
        line(format_args!("| | |\n|---|---|"));
        line(format_args!("| Date | {} |", &rfc3339(self.started_at)[..10]));
        line(format_args!("| Authors | *names* |"));
        line(format_args!("| Status | {} |", if self.resolved_at.is_some() { "over" } else { "still firing" }));
        line(format_args!("| Severity | {} |", self.severity));
        line(format_args!("| Lasted | {} |", self.lasted()));
        line(format_args!("| Alert | [{}]({}) |", said.episode, said.page_url));
        line(format_args!("| Runbook | [{}]({}) |\n", said.rule, said.runbook_url));
        line(format_args!(
            "## Summary\n\n{}\n\n*Two sentences for somebody who was not there.*\n",
            plain(&said.summary)
        ));
        let affected = said.facts.iter().find(|(name, _)| name == "Affected");
        let affected = affected.map_or_else(String::new, |(_, value)| format!("When it began: {}. ", plain(value)));
        line(format_args!("## Impact\n\n{affected}*Who was hurt, how many predictions in the end, what it cost.*\n"));
        line(format_args!(
            "## Detection\n\nThe rule {} fired: {}. *How long had it been wrong by then? Did anybody notice before?*\n",
            said.rule,
            plain(&said.condition)
        ));
        line(format_args!("## Trigger and root causes\n\n*What set it off, and what made that possible.*\n"));
        line(format_args!("## Resolution\n\n*What ended it.*\n"));
        line(format_args!("## Timeline\n\nIn UTC.\n\n| When | What |\n|---|---|"));
        let skipped = self.lines.len().saturating_sub(MAX_LINES);
        for (index, (at, what)) in self.lines.iter().enumerate() {
            match index.checked_sub(MAX_LINES / 2) {
                Some(0) if skipped > 0 => line(format_args!("| | *{skipped} lines more* |")),
                Some(beyond) if beyond < skipped => {}
                _ => line(format_args!("| {} | {} |", times::second(*at), plain(what))),
            }
        }
        line(format_args!("\n## Evidence\n\n| | |\n|---|---|"));
        said.facts.iter().for_each(|(name, value)| line(format_args!("| {} | {} |", plain(name), plain(value))));
        let figures = EvidenceRow::figures(&said.rows);
        if !said.rows.is_empty() {
            let heads: String = figures.iter().map(|figure| format!(" {} |", figure.name)).collect();
            line(format_args!("\n| What |{heads}\n|---|{}", "---|".repeat(figures.len())));
        }
        for row in &said.rows {
            let cells: String = figures.iter().map(|figure| format!(" {} |", plain(figure.of(row)))).collect();
            line(format_args!("| {} |{cells}", plain(&row.what)));
        }
        if let Some(picture) = &said.picture {
            line(format_args!(
                "\n![{}](data:image/png;base64,{})\n\n{}",
                plain(&picture.caption),
                picture.png_base64,
                plain(&picture.caption)
            ));
        }
        line(format_args!("\n## Lessons\n\n*What went well.*\n\n*What went wrong.*\n\n*Where we were lucky.*\n"));
        line(format_args!(
            "## Action items\n\n| What | Kind | Owner | Where |\n|---|---|---|---|\n| *what* | *prevent, detect, mitigate* | *who* | *ticket* |"
        ));
        text
    }

    fn lasted(&self) -> String {
        match self.resolved_at {
            None => format!("since {}", times::second(self.started_at)),
            Some(resolved) => {
                let minutes = (resolved - self.started_at).max(0) / 60_000_000;
                let (from, to) = (times::second(self.started_at), times::second(resolved));
                format!("{} h {} min, from {from} to {to}", minutes / 60, minutes % 60)
            }
        }
    }
}

/// That somebody did a step of the runbook, or took that back.
fn ticked(Tick { text, is_done, author, note, .. }: &Tick) -> String {
    let what = if *is_done { "done" } else { "not done after all" };
    let note = if note.is_empty() { String::new() } else { format!(": {note}") };
    format!("{author}: {what}: {text}{note}")
}

/// One line of a table that names and values of others cannot break out of.
fn plain(text: &str) -> String {
    let escape = |c: char| match c {
        '|' | '`' | '[' | ']' | '<' | '>' | '\\' => vec!['\\', c],
        c if c.is_control() => vec![' '],
        c => vec![c],
    };
    text.chars().flat_map(escape).collect()
}
