//! Pages that stand alone: their style and their pictures are in them, and they ask for nothing.

use driftline_alerts::escape_html;
use driftline_detectors::Bar;

use crate::numbers::{percent, significant};

/// The look of the collector's own pages, as far as a report needs it.
const STYLE: &str = include_str!("report.css");

/// A whole page. Title and body are HTML already, but for the title's text.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape_html(title)
    )
}

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 120.0;
const MARGIN: f64 = 4.0;
/// Room for the scale below.
const SCALE: f64 = 16.0;

/// Reference against window, a pair of bars for each cell, with what the first and the last stand for below.
pub(crate) fn bars(bars: &[Bar]) -> String {
    let highest = bars.iter().map(|bar| bar.reference.max(bar.window)).fold(0.0, f64::max);
    if highest <= 0.0 {
        return String::new();
    }
    let width = (WIDTH - 2.0 * MARGIN) / bars.len() as f64;
    let mut svg = format!(
        "<svg class=\"bars\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Shares of reference and window\">",
        HEIGHT + SCALE
    );
    for (index, bar) in bars.iter().enumerate() {
        let left = MARGIN + index as f64 * width;
        let half = (width - 1.0).max(1.0) / 2.0;
        let title = escape_html(&format!(
            "{}: reference {}, window {}",
            bar.label,
            percent(bar.reference),
            percent(bar.window)
        ));
        svg.push_str(&format!("<g><title>{title}</title>"));
        for (class, share, x) in [("reference", bar.reference, left), ("window", bar.window, left + half)] {
            let height = share / highest * (HEIGHT - MARGIN);
            svg.push_str(&format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{half:.1}\" height=\"{height:.1}\"/>",
                HEIGHT - height
            ));
        }
        svg.push_str("</g>");
    }
    let text = |label: &str| escape_html(&label.chars().take(24).collect::<String>());
    let end = |bar: Option<&Bar>, number: fn(&Bar) -> Option<f64>| {
        bar.map_or(String::new(), |bar| number(bar).map_or_else(|| text(&bar.label), significant))
    };
    let y = HEIGHT + SCALE - 4.0;
    svg.push_str(&format!(
        "<line x1=\"{MARGIN}\" x2=\"{}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/><text x=\"{MARGIN}\" y=\"{y}\">{}</text><text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text></svg>\n",
        WIDTH - MARGIN,
        end(bars.first(), |bar| bar.from),
        WIDTH - MARGIN,
        end(bars.last(), |bar| bar.to)
    ));
    svg
}

/// A score over windows: the effect as a line, its limit as another, and dots where it went beyond.
pub(crate) fn course(points: &[(Option<f64>, Option<f64>)]) -> String {
    let highest = points.iter().flat_map(|(effect, limit)| [*effect, *limit]).flatten().fold(0.0, f64::max);
    if highest <= 0.0 || points.len() < 2 {
        return String::new();
    }
    let x = |index: usize| MARGIN + index as f64 * (WIDTH - 2.0 * MARGIN) / (points.len() - 1) as f64;
    // By the square root: one large drift must not press the rest flat.
    let y = |value: f64| HEIGHT - MARGIN - (value.max(0.0) / highest).sqrt() * (HEIGHT - 2.0 * MARGIN);
    let line = |class: &str, value: fn(&(Option<f64>, Option<f64>)) -> Option<f64>| {
        let mut path = String::new();
        let mut pen = 'M';
        for (index, point) in points.iter().enumerate() {
            match value(point) {
                Some(value) => path.push_str(&format!("{pen}{:.1} {:.1}", x(index), y(value))),
                None => {
                    pen = 'M';
                    continue;
                }
            }
            pen = 'L';
        }
        format!("<path class=\"{class}\" d=\"{path}\"/>")
    };
    let beyond = points.iter().enumerate().filter_map(|(index, point)| match point {
        (Some(effect), Some(limit)) if effect > limit => {
            Some(format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(index), y(*effect)))
        }
        _ => None,
    });
    format!(
        "<svg class=\"course\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"The score over time, with its limit\">{}{}{}</svg>\n",
        line("limit", |point| point.1),
        line("effect", |point| point.0),
        beyond.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_are_text() {
        let bar = Bar { label: "<script>alert(1)</script>".into(), from: None, to: None, reference: 0.5, window: 1.0 };
        let page = page("<b>", &bars(&[bar]));
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;") && page.contains("&lt;b&gt;"), "{page}");
    }

    #[test]
    fn a_course_has_a_dot_wherever_it_is_beyond_its_limit_and_gaps_where_nothing_is_known() {
        let course = course(&[(Some(0.1), Some(0.2)), (None, None), (Some(0.3), Some(0.2)), (Some(0.2), Some(0.2))]);
        assert_eq!(course.matches("<circle").count(), 1);
        assert_eq!(course.matches('M').count(), 4, "{course}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(bars(&[]) + &course(&[(None, None), (None, None)]), "");
    }
}
