//! What a body is, where the protocol leaves that to its content type.

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON value.
    Json,
    /// A JSON value on each line.
    Lines,
    /// Comma-separated values, and whether the first line names the columns, if that is said.
    Csv { header: Option<bool> },
    /// Server-sent events with a JSON value each.
    Events,
    /// Text that is none of these.
    Text,
}

impl Format {
    /// Tells it by the content type; by the body's beginning where the content type says nothing. None for what cannot
    /// be read: images, archives of arrays, forms with parts.
    pub(crate) fn of(content_type: Option<&str>, body: &[u8]) -> Option<Self> {
        let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => Some(Self::Json),
            "application/jsonlines"
            | "application/x-jsonlines"
            | "application/jsonl"
            | "application/ndjson"
            | "application/x-ndjson" => Some(Self::Lines),
            "text/csv" | "application/csv" => Some(Self::Csv { header: parts.find_map(header) }),
            "text/event-stream" => Some(Self::Events),
            _ if essence.ends_with("+json") => Some(Self::Json),
            // curl's own type of `-d`, Flask's of a string, SageMaker's of a call without one, and nothing at all.
            "application/x-www-form-urlencoded" | "text/html" | "application/octet-stream" | "" | "text/plain" => {
                Self::of_beginning(body)
            }
            _ => None,
        }
    }

    fn of_beginning(body: &[u8]) -> Option<Self> {
        let begins = body.trim_ascii_start();
        match begins.first() {
            Some(b'{' | b'[') => Some(Self::Json),
            _ if begins.starts_with(b"data:") || begins.starts_with(b"event:") => Some(Self::Events),
            _ => std::str::from_utf8(body).is_ok().then_some(Self::Text),
        }
    }
}

/// The parameter of RFC 4180.
fn header(parameter: &str) -> Option<bool> {
    let (name, value) = parameter.split_once('=')?;
    match (name.trim().eq_ignore_ascii_case("header"), value.trim().to_ascii_lowercase().as_str()) {
        (true, "present") => Some(true),
        (true, "absent") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_and_where_it_says_nothing_the_beginning_does() {
        let of = |content_type, body: &str| Format::of(content_type, body.as_bytes());
        assert_eq!(of(Some("Application/JSON; charset=utf-8"), ""), Some(Format::Json));
        assert_eq!(of(Some("application/vnd.api+json"), ""), Some(Format::Json));
        assert_eq!(of(Some("application/jsonlines"), ""), Some(Format::Lines));
        assert_eq!(of(Some("text/csv"), "{"), Some(Format::Csv { header: None }));
        assert_eq!(of(Some("text/csv; label_size=0; header=Present"), ""), Some(Format::Csv { header: Some(true) }));
        assert_eq!(of(Some("text/csv;header=absent"), ""), Some(Format::Csv { header: Some(false) }));
        assert_eq!(of(Some("text/html; charset=utf-8"), "0.5,0.25"), Some(Format::Text));
        assert_eq!(of(Some("application/x-www-form-urlencoded"), " {\"a\": 1}"), Some(Format::Json));
        assert_eq!(of(None, "data: {}"), Some(Format::Events));
        assert_eq!(of(None, "\u{feff}caf\u{e9}"), Some(Format::Text));
        for unreadable in ["image/jpeg", "application/x-npy", "multipart/form-data; boundary=x"] {
            assert_eq!(of(Some(unreadable), "{}"), None, "{unreadable}");
        }
        assert_eq!(Format::of(None, b"\xff\xd8\xff\xe0"), None);
    }
}
