//! What a body is, as far as it matters for reading it.

use driftline_protocol::Header;

use super::Withheld;

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON value.
    Json,
    /// Not said to be JSON, but callers who forget to say so send it: an object or an array, or it is none.
    JsonOfStructure,
    /// A JSON value on each line.
    Lines,
    /// Server-sent events with a JSON value each.
    ServerSentEvents,
}

impl Format {
    /// Tells it by the headers, all of them: where two content types are claimed, the reader at the other end may follow
    /// either, so both must be readable here.
    pub(super) fn of(headers: &[Header]) -> Result<Self, Withheld> {
        let values = |name: &'static str| {
            headers.iter().filter(move |header| header.name == name).map(|header| header.value.as_str())
        };
        let is_identity = |coding: &str| coding.trim().is_empty() || coding.trim().eq_ignore_ascii_case("identity");
        if !values("content-encoding").chain(values("grpc-encoding")).all(is_identity) {
            return Err(Withheld::Compressed);
        }
        // V2's binary tensors follow the JSON.
        if values("inference-header-content-length").next().is_some() {
            return Err(Withheld::Format);
        }
        let mut format = None;
        for value in values("content-type") {
            let found = Self::of_content_type(value).ok_or(Withheld::Format)?;
            if *format.get_or_insert(found) != found {
                return Err(Withheld::Format);
            }
        }
        Ok(format.unwrap_or(Self::JsonOfStructure))
    }

    fn of_content_type(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            // curl's own type of `-d`, and what clients send that know of none.
            "" | "text/plain" | "application/x-www-form-urlencoded" => Some(Self::JsonOfStructure),
            "application/json" | "text/json" => Some(Self::Json),
            "text/event-stream" => Some(Self::ServerSentEvents),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines" => Some(Self::Lines),
            // application/vnd.cloudevents+json, application/problem+json.
            _ => essence.ends_with("+json").then_some(Self::Json),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&str, &str)]) -> Result<Format, Withheld> {
        let header = |(name, value): &(&str, &str)| Header { name: (*name).to_owned(), value: (*value).to_owned() };
        Format::of(&headers.iter().map(header).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_is_surely_json_is_read() {
        assert_eq!(of(&[("content-type", "application/json; charset=utf-8")]), Ok(Format::Json));
        assert_eq!(of(&[("content-type", "Application/Problem+JSON")]), Ok(Format::Json));
        assert_eq!(of(&[("content-type", "text/event-stream")]), Ok(Format::ServerSentEvents));
        assert_eq!(of(&[("content-type", "application/jsonlines")]), Ok(Format::Lines));
        assert_eq!(of(&[]), Ok(Format::JsonOfStructure));
        for other in ["text/csv", "application/grpc", "application/octet-stream", "multipart/form-data; boundary=x"] {
            assert_eq!(of(&[("content-type", other)]), Err(Withheld::Format), "{other}");
        }
        let json = ("content-type", "application/json");
        assert_eq!(of(&[json, ("inference-header-content-length", "9")]), Err(Withheld::Format));
        assert_eq!(of(&[json, ("content-encoding", "gzip")]), Err(Withheld::Compressed));
        assert_eq!(of(&[json, ("content-encoding", "identity")]), Ok(Format::Json));
        assert_eq!(of(&[json, ("content-type", "application/x-ndjson")]), Err(Withheld::Format));
    }
}
