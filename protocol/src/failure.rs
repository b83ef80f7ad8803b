//! Answers of success that tell of an error.
//!
//! Some servers answer every request with 200, and a stream's status has gone out long before anything fails in it. What
//! failed is then in the body: `{"error": …}` of Triton, KServe, TensorFlow Serving and OpenAI's API, `{"code": …, "type": …,
//! "message": …}` of TorchServe, `{"error_code": …}` of MLflow, `{"status": {"status": "FAILURE", …}}` of Seldon.
//!
//! A model may say `error` and mean a number. An answer is an error only if it holds what errors hold and nothing else.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::json::{Entries, Text, Value};
use crate::mapping::Mapping;
use crate::rows::Cell;

/// An answer of more bytes is none that only tells of an error, traces of the stack included.
const MAX_BYTES: usize = 64 << 10;
/// What it is when nothing says so: the server's doing.
pub(crate) const SERVERS_DOING: u32 = 500;
const CALLERS_DOING: u32 = 400;
const OVERLOAD: u32 = 429;

/// Names with which an answer that tells of an error may begin. Every answer is held against them.
const BEGINNINGS: [&str; 9] =
    ["error", "error_code", "error_type", "code", "status", "message", "object", "type", "stack_trace"];
/// Names beside them that say more of an error, and nothing of a result.
const BESIDE: [&str; 15] = [
    "detail",
    "details",
    "error_message",
    "status_code",
    "reason",
    "param",
    "traceback",
    "trace",
    "request_id",
    "sequence_number",
    "timestamp",
    "path",
    "success",
    "meta",
    "id",
];
/// Kinds of errors that are the caller's doing: OpenAI's and vLLM's, MLflow's, TorchServe's.
const OF_CALLERS: [&str; 10] = [
    "invalid_request_error",
    "invalid_prompt",
    "context_length_exceeded",
    "BadRequestError",
    "NotFoundError",
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "MALFORMED_REQUEST",
    "RESOURCE_DOES_NOT_EXIST",
    "BadRequestException",
];
const OF_OVERLOAD: [&str; 3] = ["rate_limit_error", "rate_limit_exceeded", "overloaded_error"];

/// The status for which an answer stands that is nothing but an error; none of every other body, and of what is a result by
/// the model's mapping.
pub(crate) fn reported(body: &[u8], mapping: Option<&Mapping>) -> Option<u32> {
    if body.len() > MAX_BYTES || !begins_like_an_error(body) {
        return None;
    }
    let OfErrors(answer) = serde_json::from_slice(body).ok()?;
    let status = is_error(&answer).then(|| status_of_entries(&answer))?;
    let answer = Value::Object(answer);
    (!mapping.is_some_and(|mapping| mapping.finds_results(&answer))).then_some(status)
}

/// The status for which an error stands: what it gives as its code, or what its kind means.
pub(crate) fn status_of(error: &Value<'_>) -> u32 {
    if let Value::Object(error) = error { status_of_entries(error) } else { SERVERS_DOING }
}

/// Looks at a body's first name, and at no more.
fn begins_like_an_error(body: &[u8]) -> bool {
    let name = || {
        let inside = body.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
        let longest = BEGINNINGS.iter().map(|name| name.len()).max()?;
        let end = inside.iter().take(longest + 1).position(|byte| *byte == b'"')?;
        inside.get(..end)
    };
    name().is_some_and(|name| BEGINNINGS.iter().any(|known| known.as_bytes() == name))
}

/// An object of nothing but an error's names. The first other name ends the reading, so no result is read twice.
struct OfErrors<'a>(Entries<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for OfErrors<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfErrorsVisitor;
        impl<'de> Visitor<'de> for OfErrorsVisitor {
            type Value = OfErrors<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an error")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Entries::new();
                while let Some(Text(name)) = map.next_key()? {
                    if !BEGINNINGS.contains(&&*name) && !BESIDE.contains(&&*name) {
                        return Err(A::Error::custom("it holds what is no error's"));
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(OfErrors(entries))
            }
        }
        deserializer.deserialize_map(OfErrorsVisitor)
    }
}

/// Whether an object of nothing but an error's names tells of one.
fn is_error(answer: &Entries<'_>) -> bool {
    let has_text = |name: &str| text(answer, name).is_some_and(|text| !text.is_empty());
    let is_said = match get(answer, "error") {
        Some(Value::Object(error)) => !error.is_empty(),
        Some(Value::Scalar(Cell::Text(text))) => !text.is_empty(),
        Some(Value::Scalar(Cell::Boolean(true))) => has_text("message"),
        _ => false,
    };
    let is_torch_serves = code(answer).is_some() && has_text("type") && has_text("message");
    let is_ml_flows = has_text("error_code") && has_text("message");
    let is_kind = |name: &str| text(answer, name) == Some("error") && get(answer, "message").is_some();
    let is_seldons = match get(answer, "status") {
        Some(Value::Object(status)) => text(status, "status") == Some("FAILURE"),
        _ => false,
    };
    is_said || is_torch_serves || is_ml_flows || is_kind("object") || is_kind("type") || is_seldons
}

fn status_of_entries(error: &Entries<'_>) -> u32 {
    let inside = ["error", "status"].into_iter().find_map(|name| match get(error, name) {
        Some(Value::Object(inside)) => Some(inside),
        _ => None,
    });
    let said = |error: &Entries<'_>| code(error).or_else(|| kind(error));
    inside.and_then(said).or_else(|| said(error)).unwrap_or(SERVERS_DOING)
}

/// The status of HTTP that an error gives as its code.
fn code(error: &Entries<'_>) -> Option<u32> {
    ["code", "status", "status_code"].into_iter().find_map(|name| {
        let code = match get(error, name)? {
            Value::Scalar(Cell::Integer(code)) => u32::try_from(*code).ok()?,
            Value::Scalar(Cell::Text(code)) => code.parse().ok()?,
            _ => return None,
        };
        (400..600).contains(&code).then_some(code)
    })
}

/// The status that stands for an error's kind.
fn kind(error: &Entries<'_>) -> Option<u32> {
    ["code", "error_code", "type"].into_iter().find_map(|name| match text(error, name)? {
        kind if OF_CALLERS.contains(&kind) => Some(CALLERS_DOING),
        kind if OF_OVERLOAD.contains(&kind) => Some(OVERLOAD),
        _ => None,
    })
}

fn get<'v, 'a>(entries: &'v Entries<'a>, name: &str) -> Option<&'v Value<'a>> {
    entries.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn text<'v>(entries: &'v Entries<'_>, name: &str) -> Option<&'v str> {
    match get(entries, name)? {
        Value::Scalar(Cell::Text(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_as_servers_write_them_are_told_and_whose_doing_they_are() {
        for (body, status) in [
            // Triton, KServe and TensorFlow Serving.
            (r#"{"error":"failed to allocate memory for output 'y'"}"#, 500),
            ("{ \"error\": \"The second input must be a scalar\"\n}", 500),
            // OpenAI's API; vLLM, before and after it nested them; what gateways write.
            (
                r#"{"error": {"message": "The server had an error", "type": "server_error", "param": null, "code": null}}"#,
                500,
            ),
            (
                r#"{"error": {"message": "no", "type": "invalid_request_error", "code": "context_length_exceeded"}}"#,
                400,
            ),
            (
                r#"{"object":"error","message":"EngineCore died","type":"InternalServerError","param":null,"code":500}"#,
                500,
            ),
            (r#"{"object":"error","message":"too long","type":"BadRequestError","code":400}"#, 400),
            (r#"{"error": {"message": "slower", "type": "rate_limit_error"}}"#, 429),
            (r#"{"error": {"code": 503, "message": "no healthy upstream"}}"#, 503),
            (r#"{"type":"error","sequence_number":3,"code":"ERR","message":"it broke","param":null}"#, 500),
            (r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}"#, 429),
            // TorchServe.
            (r#"{"code": 503, "type": "InternalServerException", "message": "Worker died."}"#, 503),
            (r#"{"code": 404, "type": "ModelNotFoundException", "message": "Model not found: m"}"#, 404),
            // MLflow.
            (r#"{"error_code": "INTERNAL_ERROR", "message": "died", "stack_trace": "Traceback"}"#, 500),
            (r#"{"error_code": "BAD_REQUEST", "message": "Failed to predict: missing inputs ['x']"}"#, 400),
            // Seldon.
            (
                r#"{"status":{"code":-1,"info":"list index out of range","reason":"MICROSERVICE_INTERNAL_ERROR","status":"FAILURE"}}"#,
                500,
            ),
            (r#"{"status":{"code":400,"info":"no","status":"FAILURE"},"meta":{"puid":"a"}}"#, 400),
            // Others.
            (r#"{"error": true, "message": "out of memory", "request_id": "7"}"#, 500),
            (r#"{"status": 502, "error": "Bad Gateway", "path": "/invocations", "timestamp": 1}"#, 502),
        ] {
            assert_eq!(reported(body.as_bytes(), None), Some(status), "{body}");
        }
    }

    #[test]
    fn results_are_no_errors_whatever_they_are_called() {
        let long = format!(r#"{{"error": "{}"}}"#, "x".repeat(MAX_BYTES));
        for body in [
            "",
            "{}",
            "0.5",
            "[1]",
            r#"["error"]"#,
            // A forecast of an error, and an answer that says that there was none.
            r#"{"error": 0.12}"#,
            r#"{"error": [0.1, 0.2]}"#,
            r#"{"error": null, "message": null}"#,
            r#"{"error": ""}"#,
            r#"{"error": {}}"#,
            r#"{"error": false, "message": "ok"}"#,
            r#"{"error": "none", "predictions": [1]}"#,
            r#"{"error": {"message": "in part"}, "outputs": []}"#,
            r#"{"code": 200, "type": "label", "message": "ok"}"#,
            r#"{"code": 450, "message": "a class"}"#,
            r#"{"type": "error"}"#,
            r#"{"object": "list", "data": []}"#,
            r#"{"status": {"status": "SUCCESS"}, "meta": {}}"#,
            r#"{"message": "hello"}"#,
            r#"{"error": "cut"#,
            r#"{"predictions": ["error"]}"#,
            &long,
        ] {
            assert_eq!(reported(body.as_bytes(), None), None, "{body}");
        }
    }

    #[test]
    fn what_a_mapping_names_is_a_result() {
        let answer = br#"{"error": "timeout", "code": 504}"#;
        let with = |results: &str, predictions: &[&str]| {
            let at = |pointer: &str| pointer.parse().unwrap();
            let predictions = predictions.iter().map(|pointer| ("kind".to_owned(), at(pointer))).collect();
            reported(answer, Some(&Mapping { results: at(results), predictions, ..Mapping::default() }))
        };
        assert_eq!(with("", &[]), Some(504));
        assert_eq!(with("/scores", &[]), Some(504));
        assert_eq!(with("", &["/kind"]), Some(504));
        assert_eq!(with("", &["/error"]), None);
        assert_eq!(with("/error", &[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic_and_stand_for_a_failure(
            begins in prop::sample::select(&["", "{", "{\"error\"", "{\"type\":\"error\"", "{\"code\":500,"][..]),
            rest in "[\\x00-\\x7f]{0,60}",
        ) {
            if let Some(status) = reported(format!("{begins}{rest}").as_bytes(), None) {
                prop_assert!((400..600).contains(&status));
            }
        }
    }
}
