//! A history as a page with pictures.

use std::fmt::Write;

use driftline_alerts::escape_html as escape;

use super::history::{Column, Episode, History};
use super::said;
use crate::numbers::significant;
use crate::pipeline::{HEADLINE, UNVERSIONED};
use crate::report;
use crate::times::rfc3339;

/// Columns that are shown with pictures, those that went furthest beyond their limits.
const MAX_COLUMNS: usize = 60;

pub(super) fn page(history: &History, changed: Option<&History>) -> String {
    let mut body = String::new();
    let title = match changed {
        None => format!("{}: {}", history.model, said::headline(history)),
        Some(changed) => format!(
            "{}: {} pages and {} tickets as it is, {} and {} with the change",
            history.model,
            history.pages(),
            history.tickets(),
            changed.pages(),
            changed.tickets()
        ),
    };
    put(&mut body, format_args!("<h1>{}</h1>\n", escape(&title)));
    put(
        &mut body,
        format_args!(
            "<p>What the rules would have said of archived rows, at the end of each window. Nobody was told.</p>\n"
        ),
    );
    if let Some(left_out) = said::left_out(history) {
        put(&mut body, format_args!("<p>{}</p>\n", escape(&left_out)));
    }
    if let Some(changed) = changed {
        put(
            &mut body,
            format_args!(
                "<p>{}</p>\n<p>{}</p>\n",
                escape(&format!("As it is: {}", said::headline(history))),
                escape(&format!("With the change: {}", said::headline(changed)))
            ),
        );
        difference(&mut body, "Only as it is", &history.only_here(changed).collect::<Vec<_>>());
        difference(&mut body, "Only with the change", &changed.only_here(history).collect::<Vec<_>>());
    }
    let shown = changed.unwrap_or(history);
    alerts(&mut body, shown, if changed.is_some() { "Alerts with the change" } else { "Alerts" });
    columns(&mut body, shown);
    report::page(&title, &body)
}

fn put(body: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    body.write_fmt(text).unwrap_or_default();
}

fn difference(body: &mut String, title: &str, episodes: &[&Episode]) {
    put(body, format_args!("<h2>{title}</h2>\n"));
    if episodes.is_empty() {
        put(body, format_args!("<p>Nothing.</p>\n"));
    }
    for episode in episodes {
        put(body, format_args!("<p>{}: {}</p>\n", escape(&said::lasted(episode)), escape(&episode.said.summary)));
    }
}

fn alerts(body: &mut String, history: &History, title: &str) {
    put(body, format_args!("<h2>{title}</h2>\n"));
    if history.episodes.is_empty() {
        put(body, format_args!("<p>None: no rule on scores would have fired.</p>\n"));
        return;
    }
    timeline(body, history);
    for episode in &history.episodes {
        let said = &episode.said;
        put(
            body,
            format_args!(
                "<article>\n<h3><span class=\"severity {0}\">{0}</span> {1}</h3>\n<p>{2}</p>\n<p class=\"key\">{3}: {4}</p>\n",
                said.severity.name(),
                escape(&said.rule),
                escape(&said.summary),
                escape(&said::lasted(episode)),
                escape(&said.condition)
            ),
        );
        if !said.rows.is_empty() {
            put(
                body,
                format_args!(
                    "<table>\n<tr><th>column</th><th>value</th><th>limit</th><th>rows</th><th>last windows</th></tr>\n"
                ),
            );
            for row in &said.rows {
                put(
                    body,
                    format_args!(
                        "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
                        escape(&row.what),
                        escape(&row.value),
                        escape(&row.threshold),
                        escape(&row.n),
                        escape(&row.sparkline)
                    ),
                );
            }
            put(body, format_args!("</table>\n"));
        }
        if said.more_rows > 0 {
            put(body, format_args!("<p>and {} more</p>\n", said.more_rows));
        }
        put(body, format_args!("</article>\n"));
    }
}

/// When each alert was open, a line for each rule.
fn timeline(body: &mut String, history: &History) {
    const WIDTH: f64 = 720.0;
    const NAME: f64 = 130.0;
    const LINE: f64 = 22.0;
    let mut rules: Vec<&str> = history.episodes.iter().map(|episode| episode.said.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let (from, to) = history.span;
    let x = |at: i64| NAME + (at - from) as f64 / (to - from) as f64 * (WIDTH - NAME);
    put(
        body,
        format_args!(
            "<svg class=\"when\" style=\"max-width:none\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"When each alert was open\">",
            rules.len() as f64 * LINE + 18.0
        ),
    );
    for (index, rule) in rules.iter().enumerate() {
        let top = index as f64 * LINE;
        put(body, format_args!("<text x=\"0\" y=\"{:.1}\">{}</text>", top + 14.0, escape(rule)));
        put(body, format_args!("<line x1=\"{NAME}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>", top + 10.0));
        for episode in history.episodes.iter().filter(|episode| episode.said.rule == *rule) {
            let (left, right) = (x(episode.began), x(episode.ended.unwrap_or(to).min(to)));
            put(
                body,
                format_args!(
                    "<rect class=\"{}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"12\" rx=\"2\"><title>{}</title></rect>",
                    episode.said.severity.name(),
                    top + 4.0,
                    (right - left).max(3.0),
                    escape(&format!("{}: {}", said::lasted(episode), episode.said.summary))
                ),
            );
        }
    }
    let bottom = rules.len() as f64 * LINE + 13.0;
    let day = |at: i64| rfc3339(at).chars().take(10).collect::<String>();
    put(
        body,
        format_args!(
            "<text x=\"{NAME}\" y=\"{bottom:.1}\">{}</text><text x=\"{WIDTH}\" y=\"{bottom:.1}\" text-anchor=\"end\">{}</text></svg>\n",
            day(from),
            day(to)
        ),
    );
}

fn columns(body: &mut String, history: &History) {
    put(
        body,
        format_args!(
            "<h2>Columns</h2>\n<p class=\"key\">Left the shares of reference (grey) and window (blue) in the window that went furthest; right {} over time with its limit (dashed).</p>\n",
            HEADLINE.name()
        ),
    );
    let mut columns: Vec<_> = history.columns.iter().collect();
    columns.sort_by(|a, b| b.1.worst.ratio.total_cmp(&a.1.worst.ratio));
    for ((version, name), column) in columns.iter().take(MAX_COLUMNS) {
        let name = if version == UNVERSIONED { name.clone() } else { format!("{name} (version {version})") };
        self::column(body, &name, column);
    }
    if columns.len() > MAX_COLUMNS {
        put(
            body,
            format_args!("<p>and {} columns more, none of which went further.</p>\n", columns.len() - MAX_COLUMNS),
        );
    }
}

fn column(body: &mut String, name: &str, column: &Column) {
    let points: Vec<_> = column.course.iter().map(|point| (point.effect, point.limit)).collect();
    put(
        body,
        format_args!(
            "<section>\n<h3>{}</h3>\n<p class=\"key\">Window that ended {}</p>\n{}{}",
            escape(name),
            rfc3339(column.worst.ends),
            report::bars(&column.worst.bars),
            report::course(&points)
        ),
    );
    put(
        body,
        format_args!("<table>\n<tr><th>score</th><th>effect</th><th>limit</th><th>rows</th><th>verdict</th></tr>\n"),
    );
    for score in &column.worst.scores {
        put(
            body,
            format_args!(
                "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"{}\">{}</td></tr>\n",
                escape(&score.detector),
                significant(score.effect),
                significant(score.limit),
                score.n_window,
                escape(&score.verdict),
                escape(&score.verdict.replace('_', " "))
            ),
        );
    }
    put(body, format_args!("</table>\n</section>\n"));
}
