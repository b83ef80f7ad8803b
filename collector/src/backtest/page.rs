//! A backtest as one page: the sentence, the timeline, the alerts, and each column in its worst window.
//!
//! It needs nothing but itself: no script, no font, no address. All that is not ours in it is escaped.

use std::fmt::Write;

use driftline_alerts::{Severity, escape_html};

use super::course::{ColumnCourse, Name, Worst};
use super::difference::Difference;
use super::report::{Report, by_its_rule, counted, labels_text, looked_at, notes, rerouted, when};
use super::{Episode, Reason, Trial, drawing};
use crate::api::ScoreView;
use crate::numbers::{significant, thousands};
use crate::times;

/// Columns whose scores and histogram the page shows, the farthest over their limits first.
const SHOWN_COLUMNS: usize = 60;
/// Alerts that it shows with their reasons; the timeline has all.
const SHOWN_EPISODES: usize = 200;

/// The page.
pub(crate) fn html(report: &Report<'_>) -> String {
    let headline = escape_html(&report.headline());
    let state = if report.is_within_max_pages() { "is-fine" } else { "is-over" };
    let stretch = escape_html(&times::span(report.from, report.to));
    let judged = report.judged();
    let lead: Vec<String> = [looked_at(judged)].into_iter().chain(rerouted(judged)).collect();
    let mut body = format!(
        "<header class=\"report-head {state}\"><p class=\"sub\">Driftline backtest · {stretch}</p><h1>{headline}</h1>\
         <p class=\"lead\">{}.</p></header>",
        escape_html(&lead.join("; "))
    );
    let span = (report.from, report.to);
    let title = if report.proposed.is_some() { "Timeline now" } else { "Timeline" };
    body.push_str(&timeline(title, report.present, span));
    if let Some(proposed) = report.proposed {
        body.push_str(&timeline("Timeline proposed", proposed, span));
    }
    if let Some(Difference { kept, gone, added }) = report.difference() {
        write!(
            body,
            "<section><h2>The difference</h2><p class=\"lead\">{} in both, {} gone, {} new.</p>",
            counted(kept as u64, "alert"),
            gone.len(),
            added.len()
        )
        .ok();
        body.push_str(&episodes("gone", gone.into_iter()));
        body.push_str(&episodes("new", added.into_iter()));
        body.push_str("</section>");
    } else if !report.present.episodes.is_empty() {
        body.push_str("<section><h2>Alerts</h2>");
        body.push_str(&episodes("", report.present.episodes.iter()));
        body.push_str("</section>");
    }
    body.push_str(&columns(judged));
    let notes: String = notes(judged).iter().map(|note| format!("<li>{}</li>", escape_html(note))).collect();
    if !notes.is_empty() {
        write!(body, "<section><h2>Left out</h2><ul class=\"panel notes\">{notes}</ul></section>").ok();
    }
    page("Driftline backtest", &body)
}

/// A page that stands alone, of HTML.
pub(crate) fn page(title: &str, body: &str) -> String {
    // What the pages fetch, this one does without.
    let look = include_str!("../../../dashboards/web/style.css").lines().filter(|line| !line.contains("url("));
    let look = look.collect::<Vec<_>>().join("\n");
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{}</title><style>{look}{}{}</style></head>\n\
         <body class=\"report\"><main>{body}</main></body></html>\n",
        escape_html(title),
        include_str!("../../../dashboards/web/charts.css"),
        include_str!("report.css"),
    )
}

fn timeline(title: &str, trial: &Trial, span: (i64, i64)) -> String {
    let mut lanes: Vec<(&Episode, Vec<&Episode>)> = Vec::new();
    for episode in &trial.episodes {
        match lanes.iter_mut().find(|(first, _)| first.rule == episode.rule && first.labels == episode.labels) {
            Some((_, lane)) => lane.push(episode),
            None => lanes.push((episode, vec![episode])),
        }
    }
    lanes.sort_by(|(a, _), (b, _)| (b.severity, &a.rule, &a.labels).cmp(&(a.severity, &b.rule, &b.labels)));
    let config = escape_html(&trial.config);
    let mut html =
        format!("<section><h2>{title} <span class=\"count\">{config}</span></h2><div class=\"panel lanes\">");
    if lanes.is_empty() {
        html.push_str("<p class=\"sub\">Nobody would have been told of anything.</p>");
    }
    for (first, lane) in lanes {
        let times: Vec<(i64, Option<i64>)> = lane.iter().map(|episode| (episode.fired, episode.resolved)).collect();
        write!(
            html,
            "<div class=\"lane lane-{0}\"><p>{1} <strong>{2}</strong> <span class=\"sub breakable\">{3}</span></p>{4}</div>",
            first.severity.name(),
            badge(first.severity),
            escape_html(&first.rule),
            escape_html(&labels_text(&first.labels)),
            drawing::lane(&times, span)
        ).ok();
    }
    let (from, to) = (day(span.0), day(span.1));
    let middle = day(span.0 + (span.1 - span.0) / 2);
    write!(html, "<p class=\"lane-axis sub\"><span>{from}</span><span>{middle}</span><span>{to}</span></p>").ok();
    html + "</div></section>"
}

fn day(micros: i64) -> String {
    times::date_and_hour(micros).0
}

fn badge(severity: Severity) -> String {
    format!("<span class=\"tag tag-{0}\">{0}</span>", severity.name())
}

/// The first of them one by one, and how many more there are.
fn episodes<'e>(change: &str, episodes: impl ExactSizeIterator<Item = &'e Episode>) -> String {
    let more = episodes.len().saturating_sub(SHOWN_EPISODES);
    let shown: String = episodes.take(SHOWN_EPISODES).map(|episode| episode_html(change, episode)).collect();
    if more > 0 { format!("{shown}<p class=\"sub\">and {} more</p>", thousands(more as u64)) } else { shown }
}

fn episode_html(change: &str, episode: &Episode) -> String {
    let rows: String = episode
        .because
        .iter()
        .map(|Reason { labels, score, value, limit, n }| {
            format!(
                "<tr><td class=\"breakable\">{}</td><td>{score}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape_html(&labels_text(labels)),
                significant(*value),
                significant(*limit),
                thousands(*n)
            )
        })
        .collect();
    let more = if episode.more > 0 { format!("<p class=\"sub\">and {} more</p>", episode.more) } else { String::new() };
    let change = if change.is_empty() { String::new() } else { format!("<span class=\"tag\">{change}</span> ") };
    format!(
        "<article class=\"panel\"><h3>{change}{} {} <span class=\"count breakable\">{}</span></h3><p class=\"sub\">{}{} · window {} · {} · runbook {}</p>\
         <table><thead><tr><th>what</th><th>score</th><th>value</th><th>limit</th><th>rows or events</th></tr></thead><tbody>{rows}</tbody></table>{more}</article>",
        badge(episode.severity),
        escape_html(&episode.rule),
        escape_html(&labels_text(&episode.labels)),
        by_its_rule(episode).map_or_else(String::new, |said| format!("{said} · ")),
        when(episode),
        escape_html(&times::span(episode.window.0, episode.window.1)),
        escape_html(&episode.condition),
        escape_html(&episode.runbook),
    )
}

fn columns(trial: &Trial) -> String {
    let mut shown: Vec<(&Name, &ColumnCourse, &Worst)> =
        trial.course.columns.iter().filter_map(|(name, course)| Some((name, course, course.worst.as_ref()?))).collect();
    shown.sort_by(|a, b| b.2.limits.total_cmp(&a.2.limits));
    let more = shown.len().saturating_sub(SHOWN_COLUMNS);
    shown.truncate(SHOWN_COLUMNS);
    let mut html = "<section><h2>Columns <span class=\"count\">each in the window that lay farthest off, the farthest first</span></h2>\
                    <p class=\"swatches sub\"><span class=\"fill-reference\"></span>reference <span class=\"fill-window\"></span>window</p>"
        .to_owned();
    shown.iter().for_each(|(name, course, worst)| html.push_str(&column(name, course, worst)));
    if more > 0 {
        write!(html, "<p class=\"sub\">{} more columns lay closer to their reference.</p>", thousands(more as u64))
            .ok();
    }
    html + "</section>"
}

fn column(name: &Name, course: &ColumnCourse, worst: &Worst) -> String {
    let rows: String = worst
        .scores
        .iter()
        .map(|score| {
            let view = ScoreView::from(score);
            let line = course.lines.get(&score.detector);
            let drifted = line.map_or(String::new(), |line| format!("{} of {}", line.drifted, line.windows));
            format!(
                "<tr class=\"verdict-{0}\"><td>{1}</td><td>{2}</td><td>{3}</td><td>{4}</td><td>{5}</td><td>{6}</td><td>{7}</td></tr>",
                view.verdict,
                score.detector.name(),
                significant(view.effect),
                significant(view.limit),
                thousands(score.n_window),
                view.verdict.replace('_', " "),
                line.map_or(String::new(), |line| drawing::sparkline(&line.points)),
                drifted
            )
        })
        .collect();
    format!(
        "<article class=\"panel\"><h3 class=\"breakable\">{} <span class=\"count\">{} {}</span></h3><p class=\"sub\">{}, {} rows</p>{}\
         <div class=\"table-scroller\"><table><thead><tr><th>score</th><th>value</th><th>limit</th><th>rows</th><th>verdict</th>\
         <th>all windows</th><th>drifted</th></tr></thead><tbody>{rows}</tbody></table></div></article>",
        escape_html(&name.column),
        escape_html(&name.model),
        escape_html(&name.version),
        escape_html(&times::span(worst.starts, worst.ends)),
        thousands(worst.rows),
        drawing::histogram(&worst.bars),
    )
}
