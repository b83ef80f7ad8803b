//! The report's pictures, as SVG that stretches to the width it is given.

use std::fmt::Write;

use driftline_alerts::escape_html;
use driftline_detectors::Bar;

use crate::numbers::{percent, significant};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// Limits up to which a sparkline is in proportion; what is higher stands at its top.
const MOST_LIMITS: f64 = 4.0;
/// Bars that are said in words.
const MOVED_BARS: usize = 3;

fn svg(class: &str, words: &str, contents: &str) -> String {
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{contents}</svg>",
        escape_html(words)
    )
}

/// The times in which an alert fired, on a stretch of time.
pub(super) fn lane(times: &[(i64, Option<i64>)], (from, to): (i64, i64)) -> String {
    let place = |time: i64| ((time - from) as f64 / (to - from).max(1) as f64).clamp(0.0, 1.0) * WIDTH;
    let mut contents = format!("<rect class=\"lane-ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>");
    for (fired, resolved) in times {
        let (left, right) = (place(*fired), place(resolved.unwrap_or(to)));
        // However short it was, it is seen.
        let width = (right - left).max(3.0);
        write!(contents, "<rect class=\"lane-fired\" x=\"{left:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\"/>").ok();
    }
    svg("lane-picture", &format!("fired {} times", times.len()), &contents)
}

/// A score over the windows, in limits, with the limit as a line.
pub(super) fn sparkline(limits: &[f64]) -> String {
    let top = limits.iter().copied().fold(1.25, f64::max).min(MOST_LIMITS);
    let height = |limits: f64| HEIGHT - limits.clamp(0.0, top) / top * HEIGHT;
    let step = WIDTH / limits.len().saturating_sub(1).max(1) as f64;
    let points: String = (0..).zip(limits).fold(String::new(), |mut points, (index, limits)| {
        write!(points, "{:.1},{:.1} ", f64::from(index) * step, height(*limits)).ok();
        points
    });
    let limit = height(1.0);
    let contents = format!(
        "<line class=\"limit-line\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{limit:.1}\" y2=\"{limit:.1}\"/><polyline class=\"score-line\" points=\"{points}\"/>"
    );
    svg("spark", "the score over all windows, and its limit", &contents)
}

/// Reference and window side by side, with what moved most in words. Nothing of what has no bars.
pub(crate) fn histogram(bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let highest = bars.iter().map(|bar| bar.reference.max(bar.window)).fold(0.0, f64::max);
    if highest <= 0.0 {
        return "<p class=\"sub\">There is no usable value to draw.</p>".to_owned();
    }
    let width = WIDTH / bars.len() as f64;
    let mut contents = String::new();
    for (index, bar) in (0..).zip(bars) {
        let left = f64::from(index) * width;
        write!(contents, "<g><title>{}</title>", escape_html(&in_words(bar))).ok();
        for (class, share, left) in
            [("fill-reference", bar.reference, left), ("fill-window", bar.window, left + width * 0.45)]
        {
            let height = share / highest * HEIGHT;
            let (top, width) = (HEIGHT - height, width * 0.45);
            write!(
                contents,
                "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            )
            .ok();
        }
        contents.push_str("</g>");
    }
    let ends = match (bars.first(), bars.last()) {
        (Some(first), Some(last)) => format!(
            "<p class=\"lane-axis sub\"><span class=\"breakable\">{}</span><span class=\"breakable\">{}</span></p>",
            escape_html(&first.from.map_or(first.label.clone(), significant)),
            escape_html(&last.to.map_or(last.label.clone(), significant))
        ),
        _ => String::new(),
    };
    let mut moved: Vec<&Bar> = bars.iter().collect();
    moved.sort_by(|a, b| (b.window - b.reference).abs().total_cmp(&(a.window - a.reference).abs()));
    let moved: Vec<String> = moved.into_iter().take(MOVED_BARS).map(in_words).collect();
    format!(
        "{}{ends}<p class=\"sub breakable\">Moved most: {}.</p>",
        svg("bars", "shares of the reference and of the window", &contents),
        escape_html(&moved.join("; "))
    )
}

fn in_words(bar: &Bar) -> String {
    format!("{}: {} of the reference, {} of the window", bar.label, percent(bar.reference), percent(bar.window))
}
