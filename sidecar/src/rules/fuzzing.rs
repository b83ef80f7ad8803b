//! The redactor as a fuzzer drives it: any bytes as a body, and the laws that hold for what comes out.

use std::path::Path;
use std::sync::LazyLock;

use driftline_protocol::Header;
use serde_json::Value;

use super::{Rules, file, redact};

const TYPES: [&str; 4] = ["application/json", "application/x-ndjson", "text/event-stream", ""];
const RULES: [&str; 3] = [
    "redaction: {rules: [{field: ssn, action: drop}, {field: a.b, action: drop}]}",
    "redaction: {rules: [{field: ssn, action: mask}, {pointer: /inputs/*/data/0, action: drop}]}",
    "redaction: {allow: [age, /instances/*/1], rules: [{field: ssn, action: drop}]}",
];

static PARSED: LazyLock<Vec<Rules>> =
    LazyLock::new(|| RULES.iter().filter_map(|text| file::parse("rules", text, Path::new("")).ok()).collect());

/// Redacts a body; its first byte says by which rules and as what.
///
/// # Panics
/// When a law is broken: what comes out can be read, holds nothing under a dropped name, and has nothing left to redact.
pub(crate) fn redact(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else { return };
    let (by, content_type) = (usize::from(*choice) % RULES.len(), TYPES[usize::from(*choice >> 4) % TYPES.len()]);
    let header = Header { name: "content-type".to_owned(), value: content_type.to_owned() };
    let rewrite = |body: &[u8]| {
        let headers = std::slice::from_ref(&header);
        let rewritten = redact::rewrite(&PARSED[by].policy, body, true, headers, None, &mut |_| true).ok()?;
        Some(rewritten.map_or_else(|| body.to_vec(), |rewritten| rewritten.content))
    };
    let Some(once) = rewrite(body) else { return };
    assert_eq!(rewrite(&once).map(|twice| twice.len()), Some(once.len()), "redacted twice it is as redacted once");
    if matches!(content_type, "application/json" | "") {
        // The reader at the other end may know less: numbers beyond a double are none to it.
        if let Ok(value) = serde_json::from_slice::<Value>(&once) {
            assert!(RULES[by].contains("mask") || !has(&value, "ssn"), "a dropped name is still there");
        }
    }
}

fn has(value: &Value, name: &str) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| has(value, name)),
        Value::Object(members) => members.contains_key(name) || members.values().any(|value| has(value, name)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn laws_hold_for_any_bytes(
            choice in any::<u8>(),
            pieces in prop::collection::vec(prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\"ssn\""), Just("\"\\ud800\""),
                Just("1"), Just("\n"), Just("data: "), Just("\"columns\""), Just("\"data\""), Just("\"inputs\""),
                Just("\r"), Just("null"), Just("\"age\":"), Just("\"a\":{\"b\":1}"), Just("{\"instances\":[[1,2]]}"),
            ], 0..40),
            noise in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            super::redact(&[&[choice], pieces.concat().as_bytes()].concat());
            super::redact(&[&[choice], &noise[..]].concat());
        }
    }
}
