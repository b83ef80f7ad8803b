//! Runbooks as pages, with the values of the alert that led to them.

use axum::extract::{Path, Query, State};
use axum::response::{Html, Response};
use driftline_alerts::{EvidenceRow, Figure, Notification, escape_html};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde::Deserialize;

use super::{no_such_page, secured};
use crate::alerting::{drills, entries};
use crate::api::Api;
use crate::runbooks::values::Values;
use crate::runbooks::{Runbook, lint};
use crate::times::{day, second};

#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    /// The episode whose values are filled in.
    alert: Option<String>,
}

/// `GET /runbooks`: all of them.
pub(super) async fn list(State(api): State<Api>) -> Response {
    let drilled = api.store.read(drills::last_passed).await.unwrap_or_default();
    let mut items = String::new();
    for runbook in api.runbooks.iter() {
        items.push_str(&format!(
            "<li><a href=\"/runbooks/{id}\">{title}</a> <span class=\"muted\">{rule}, {severity}{drilled}</span></li>",
            id = runbook.id,
            title = escape_html(runbook.title()),
            rule = escape_html(runbook.field("rule").unwrap_or_default()),
            severity = escape_html(runbook.field("severity").unwrap_or_default()),
            drilled = drilled.get(&*runbook.id).map_or_else(String::new, |at| format!(", drilled {}", day(*at))),
        ));
    }
    secured(Html(document("Runbooks", &format!("<h1>Runbooks</h1><ul class=\"runbooks\">{items}</ul>"))))
}

/// `GET /runbooks/{id}?alert=…`: one, with the alert's own values where it has places for them.
pub(super) async fn page(State(api): State<Api>, Path(id): Path<String>, Query(query): Query<PageQuery>) -> Response {
    let Some(runbook) = api.runbooks.find(&id) else { return no_such_page().await };
    let alert = match query.alert {
        Some(episode) => api.store.read(move |db| entries::triggered(db, &episode)).await.ok().flatten(),
        None => None,
    };
    let drilled = api.store.read(drills::last_passed).await.unwrap_or_default();
    let drilled = drilled.get(&*runbook.id).map_or_else(
        || "Never drilled here.".to_owned(),
        |at| format!("Last drilled {}: everybody was reached.", day(*at)),
    );
    let values = Values::new(&api.config.public_url, alert.as_ref());
    let banner = alert.as_ref().map(banner).unwrap_or_default();
    let body = render(runbook, &values);
    let meta = format!(
        "<p class=\"muted\">For the rule {} ({}). Owner: {}. {drilled}</p>",
        escape_html(runbook.field("rule").unwrap_or_default()),
        escape_html(runbook.field("severity").unwrap_or_default()),
        escape_html(runbook.field("owner").unwrap_or_default()),
    );
    secured(Html(document(runbook.title(), &format!("{banner}<article class=\"runbook\">{body}</article>{meta}"))))
}

/// Markdown to HTML. Raw HTML is shown as text: runbooks need none.
fn render(runbook: &Runbook, values: &Values) -> String {
    let text = values.fill(runbook.body());
    let options = Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let mut heading: Option<String> = None;
    let mut events: Vec<Event<'_>> = Vec::new();
    for event in Parser::new_ext(&text, options) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => events.push(Event::Text(html)),
            Event::Start(Tag::Heading { .. }) => {
                heading = Some(String::new());
                events.push(event);
            }
            Event::End(TagEnd::Heading(_)) => {
                let id = lint::anchor(&heading.take().unwrap_or_default());
                // Headings can be linked to.
                if let Some(Event::Start(Tag::Heading { id: slot, .. })) =
                    events.iter_mut().rev().find(|event| matches!(event, Event::Start(Tag::Heading { .. })))
                {
                    *slot = Some(id.into());
                }
                events.push(event);
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = served(&dest_url).map_or(dest_url, Into::into);
                events.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
            }
            Event::Text(ref text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(text);
                }
                events.push(event);
            }
            event => events.push(event),
        }
    }
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events.into_iter());
    // Text is escaped, so these are tags. What scrolls can be reached, and scrolled, by keyboard.
    html.replace("<pre>", "<pre tabindex=\"0\">").replace("<table>", TABLE).replace("</table>", TABLE_END)
}

/// Where a link to another runbook's file leads on these pages; none of any other link.
fn served(target: &str) -> Option<String> {
    let (file, anchor) = target.split_at(target.find('#').unwrap_or(target.len()));
    let id = file.strip_suffix(".md").filter(|id| !id.contains('/'))?;
    Some(format!("/runbooks/{id}{anchor}"))
}

const TABLE: &str = "<div class=\"table-scroller\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table>";
const TABLE_END: &str = "</table></div>";

fn banner(alert: &Notification) -> String {
    let figures = EvidenceRow::figures(&alert.rows);
    let heads: String = figures.iter().map(|figure| format!("<th scope=\"col\">{}</th>", figure.name)).collect();
    let mut rows = String::new();
    for row in alert.rows.iter().take(5) {
        let cell = |figure: &Figure| {
            let class = if figure.is_line { " class=\"sparkline\"" } else { "" };
            format!("<td{class}>{}</td>", escape_html(figure.of(row)))
        };
        let cells: String = figures.iter().map(cell).collect();
        rows.push_str(&format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escape_html(&row.what)));
    }
    let table = if rows.is_empty() {
        String::new()
    } else {
        format!("{TABLE}<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody>{TABLE_END}")
    };
    format!(
        "<aside class=\"banner {severity}\"><p><strong>{summary}</strong></p><p class=\"muted\">Fired {fired} UTC. <a href=\"/alerts/{episode}\">The alert</a> says whether it still holds.</p>{table}</aside>",
        severity = alert.severity.name(),
        summary = escape_html(&alert.summary),
        fired = second(alert.started_at),
        episode = escape_html(&alert.episode),
    )
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
<meta name=\"color-scheme\" content=\"light dark\"><title>{title} · Driftline</title><link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\">\
<link rel=\"stylesheet\" href=\"/assets/style.css\"><script src=\"/assets/theme.js\"></script></head>\
<body><a class=\"skip\" href=\"#main\">Skip to the content</a><header class=\"bar\"><a class=\"brand\" href=\"/\">Driftline</a>\
<nav aria-label=\"Pages\"><a href=\"/\">Models</a><a href=\"/alerts\">Alerts</a><a href=\"/archive\">Archive</a>\
<a href=\"/runbooks\" aria-current=\"page\">Runbooks</a></nav><div class=\"bar-tools\">\
<button class=\"quiet-button\" id=\"theme\" type=\"button\">Theme</button></div></header>\
<main class=\"text\" id=\"main\" tabindex=\"-1\">{body}</main></body></html>",
        title = escape_html(title),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbooks::Runbooks;

    #[test]
    fn values_are_filled_in() {
        let values = Values::new("http://driftline:4600", None);
        let shipped = Runbooks::shipped();
        let html = render(shipped.find("feature-drift").unwrap(), &values);
        assert!(html.contains("http://driftline:4600/api/v1/models/MODEL"), "{html}");
        assert!(html.contains("<h2 id=\"in-30-seconds\">"));
    }

    #[test]
    fn links_between_files_lead_to_pages() {
        let (own, elsewhere) = (served("stale-features.md#verify"), served("https://example.com/a.md"));
        assert_eq!((own.as_deref(), elsewhere), (Some("/runbooks/stale-features#verify"), None));
        let shipped = Runbooks::shipped();
        for runbook in shipped.iter() {
            let html = render(runbook, &Values::new("http://driftline:4600", None));
            let links = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
            let to_files: Vec<&str> = links.filter(|link| !link.contains("://") && link.contains(".md")).collect();
            assert!(to_files.is_empty(), "{}: {to_files:?}", runbook.id);
        }
    }
}
