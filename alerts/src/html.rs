//! Text in HTML.

/// Text as it may stand between tags and in quoted attributes: nothing in it is markup.
///
/// ```
/// assert_eq!(driftline_alerts::escape_html("<a & 'b'>"), "&lt;a &amp; &#39;b&#39;&gt;");
/// ```
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
