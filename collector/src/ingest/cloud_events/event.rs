//! CloudEvents 1.0 over HTTP, in its three forms: attributes in headers (binary), an event as JSON (structured), and a list
//! of those (batch).

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::store::halves::Side;

/// Events in one batch.
const MAX_EVENTS: usize = 1000;
/// Longest attribute that is taken.
const MAX_ATTRIBUTE_BYTES: usize = 512;

/// What tells an inference's events from others: KServe's names, then Seldon's.
const TYPES: [(&str, Side); 4] = [
    ("org.kubeflow.serving.inference.request", Side::Request),
    ("org.kubeflow.serving.inference.response", Side::Response),
    ("io.seldon.serving.inference.request", Side::Request),
    ("io.seldon.serving.inference.response", Side::Response),
];

/// An event of an inference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) side: Side,
    /// What a request and its response have in common.
    pub(super) joined_by: String,
    /// The caller's id, or the logger's.
    pub(super) request_id: String,
    pub(super) source: String,
    /// What the event says that the model is called.
    pub(super) model: Option<String>,
    /// When it happened, in microseconds since the Unix epoch.
    pub(super) time: Option<i64>,
    /// How the data is compressed, if it is.
    pub(super) encoding: Option<String>,
    pub(super) data: Bytes,
}

/// The attributes of an event, in headers or as JSON. Others are left alone: everybody may add some.
#[derive(Debug, Deserialize)]
struct Attributes {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    time: Option<String>,
    inferenceservicename: Option<String>,
    /// Seldon: the node of the graph.
    modelid: Option<String>,
    /// Seldon: the id that all events of a request have.
    requestid: Option<String>,
}

/// The data of an event as JSON, as it was written.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
}

/// Reads the events of a request. None for each that is not an inference's.
///
/// # Errors
/// What is wrong, and with which of them.
pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Vec<Option<Event>>, String> {
    let content_type = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    match media_type {
        "application/cloudevents+json" => {
            let raw: &RawValue = serde_json::from_slice(body).map_err(|error| format!("the event: {error}"))?;
            structured(raw).map(|event| vec![event])
        }
        "application/cloudevents-batch+json" => {
            let all: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| format!("the batch: {error}"))?;
            if all.len() > MAX_EVENTS {
                return Err(format!("the batch has {} events; at most {MAX_EVENTS} are taken", all.len()));
            }
            let read = |(number, raw): (usize, &&RawValue)| {
                structured(raw).map_err(|why| format!("event {} of the batch: {why}", number + 1))
            };
            all.iter().enumerate().map(read).collect()
        }
        other if other.starts_with("application/cloudevents") => Err(format!(
            "events as {other} cannot be read; send application/cloudevents+json, or attributes in headers"
        )),
        _ => binary(headers, body).map(|event| vec![event]),
    }
}

fn binary(headers: &HeaderMap, body: &Bytes) -> Result<Option<Event>, String> {
    let optional = |name: &str| text(headers, &format!("ce-{name}")).map(percent_decoded);
    let required = |name: &str| {
        optional(name).ok_or_else(|| format!("the header ce-{name} is missing; this is no CloudEvent in binary mode"))
    };
    let attributes = Attributes {
        specversion: required("specversion")?,
        id: required("id")?,
        source: required("source")?,
        r#type: required("type")?,
        time: optional("time"),
        inferenceservicename: optional("inferenceservicename"),
        modelid: optional("modelid"),
        requestid: optional("requestid"),
    };
    let encoding = text(headers, header::CONTENT_ENCODING.as_str()).map(str::to_owned);
    event(attributes, encoding, || Ok(body.clone()))
}

fn structured(raw: &RawValue) -> Result<Option<Event>, String> {
    let attributes: Attributes = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    event(attributes, None, || {
        let data: Data<'_> = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
        match (data.data, data.data_base64) {
            (Some(_), Some(_)) => Err("it has both data and data_base64".to_owned()),
            (None, None) => Ok(Bytes::new()),
            (None, Some(data)) => {
                BASE64_STANDARD.decode(data).map(Bytes::from).map_err(|error| format!("data_base64: {error}"))
            }
            // A text is what a body that is not JSON comes as.
            (Some(data), None) => Ok(match serde_json::from_str::<String>(data.get()) {
                Ok(text) => Bytes::from(text),
                Err(_) => Bytes::copy_from_slice(data.get().as_bytes()),
            }),
        }
    })
}

fn event(
    attributes: Attributes,
    encoding: Option<String>,
    data: impl FnOnce() -> Result<Bytes, String>,
) -> Result<Option<Event>, String> {
    let Attributes { specversion, id, source, r#type, time, inferenceservicename, modelid, requestid } = attributes;
    if specversion != "1.0" {
        return Err(format!("specversion '{specversion}' cannot be read; 1.0 can"));
    }
    let Some((_, side)) = TYPES.into_iter().find(|(name, _)| *name == r#type) else { return Ok(None) };
    let request_id = requestid.filter(|id| !id.is_empty()).unwrap_or(id);
    let modelid = modelid.filter(|id| !id.is_empty());
    // Every node of a graph has a request and a response of its own.
    let joined_by = format!("{request_id}/{}", modelid.as_deref().unwrap_or_default());
    for (name, value, length) in [("id", &request_id, joined_by.len()), ("source", &source, source.len())] {
        if value.is_empty() || length > MAX_ATTRIBUTE_BYTES {
            return Err(format!("the attribute {name} is empty, or has more than {MAX_ATTRIBUTE_BYTES} bytes"));
        }
    }
    let time = time.map(|time| time.parse::<jiff::Timestamp>().map_err(|error| format!("time: {error}")));
    let time = time.transpose()?.map(jiff::Timestamp::as_microsecond);
    let model = inferenceservicename.filter(|name| !name.is_empty()).or(modelid);
    Ok(Some(Event { side, joined_by, request_id, source, model, time, encoding, data: data()? }))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Headers carry what is not plain ASCII, and '%' itself, as %XX.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex {
            Some(hex) if *byte == b'%' => {
                decoded.push(hex);
                rest = &after[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SELDON: &str = "io.seldon.serving.inference.response";

    fn in_headers(more: &[(&str, &str)]) -> HeaderMap {
        let all = [("ce-specversion", "1.0"), ("ce-id", "i"), ("ce-source", "http://s/"), ("ce-type", SELDON)];
        let pair = |(name, value): &(&str, &str)| {
            (header::HeaderName::try_from(*name).unwrap(), header::HeaderValue::try_from(*value).unwrap())
        };
        all.iter().chain(more).map(pair).collect()
    }

    #[test]
    fn the_three_forms_say_the_same() {
        let body = Bytes::from_static(br#"{"outputs": [1.10]}"#);
        let more = [("ce-modelid", "node"), ("ce-requestid", "r%C3%A9"), ("ce-time", "2013-01-01T05:00:00Z")];
        let binary = read(&in_headers(&more), &body).unwrap();
        let event = r#"{"specversion": "1.0", "id": "i", "source": "http://s/", "type": "io.seldon.serving.inference.response",
            "modelid": "node", "requestid": "ré", "time": "2013-01-01T05:00:00Z", "data": {"outputs": [1.10]}, "more": 1}"#;
        let json = |kind: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        let structured = read(&json("application/cloudevents+json; charset=utf-8"), &Bytes::from(event)).unwrap();
        assert_eq!(binary, structured, "the data to the byte");
        let batch = Bytes::from(format!("[{event}]"));
        assert_eq!(read(&json("application/cloudevents-batch+json"), &batch).unwrap(), binary);
        let event = binary[0].as_ref().unwrap();
        assert_eq!(
            (event.side, event.joined_by.as_str(), event.model.as_deref()),
            (Side::Response, "ré/node", Some("node"))
        );
    }

    #[test]
    fn what_is_no_event_says_why_and_what_is_no_inference_is_left_out() {
        let wrong = |headers: &HeaderMap, body: &'static [u8]| read(headers, &Bytes::from_static(body)).unwrap_err();
        assert!(wrong(&HeaderMap::new(), b"{}").contains("ce-specversion is missing"));
        let mut old = in_headers(&[]);
        old.insert("ce-specversion", "0.3".parse().unwrap());
        assert!(wrong(&old, b"").contains("1.0 can"));
        assert!(wrong(&in_headers(&[("ce-time", "soon")]), b"").starts_with("time"));
        let avro = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/cloudevents+avro".parse().unwrap())]);
        assert!(wrong(&avro, b"").contains("cannot be read"));
        let mut feedback = in_headers(&[]);
        feedback.insert("ce-type", "io.seldon.serving.feedback".parse().unwrap());
        assert_eq!(read(&feedback, &Bytes::new()).unwrap(), [None]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(body in ".{0,200}", value in "[ -~]{0,40}", kind in 0usize..3) {
            let kind = ["application/cloudevents+json", "application/cloudevents-batch+json", "application/json"][kind];
            let headers = in_headers(&[("content-type", kind), ("ce-time", &value), ("ce-requestid", &value)]);
            read(&headers, &Bytes::from(body)).ok();
        }
    }
}
