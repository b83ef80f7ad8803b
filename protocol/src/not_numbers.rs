//! `NaN` and `Infinity` in JSON: no JSON at all, but what Python's `json` writes where a data frame lacks a value, and what
//! TensorFlow Serving reads and writes.

use std::borrow::Cow;

use crate::json::Value;
use crate::rows::Cell;

/// The words, each with its number.
const WORDS: [(&str, f64); 3] = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];
/// What stands before a word that was made a text. A text that begins like this by itself is as much a number.
const MARK: char = '\0';

/// Reads a body that has such words, and is JSON otherwise.
pub(crate) fn read(body: &[u8]) -> Option<Value<'static>> {
    let quoted = quoted(body)?;
    serde_json::from_slice(&quoted).ok().map(unquoted)
}

/// The body with the words as texts; none when it has none.
fn quoted(body: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = Vec::new();
    let (mut copied, mut at) = (0, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    while let Some(byte) = body.get(at) {
        let word = || WORDS.iter().map(|(word, _)| *word).find(|word| body[at..].starts_with(word.as_bytes()));
        match (byte, is_text) {
            (_, true) if is_escaped => is_escaped = false,
            (b'\\', true) => is_escaped = true,
            (b'"', _) => is_text = !is_text,
            (b'N' | b'I' | b'-', false) => {
                if let Some(word) = word() {
                    quoted.extend_from_slice(&body[copied..at]);
                    quoted.extend_from_slice(format!("\"\\u0000{word}\"").as_bytes());
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    quoted.extend_from_slice(&body[copied..]);
    (copied > 0).then_some(quoted)
}

fn unquoted(value: Value<'_>) -> Value<'static> {
    let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    match value {
        Value::Scalar(cell) => Value::Scalar(number(&cell).unwrap_or_else(|| cell.into_owned())),
        Value::Array(values) => Value::Array(values.into_iter().map(unquoted).collect()),
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(name, value)| (owned(name), unquoted(value))).collect())
        }
    }
}

fn number(cell: &Cell<'_>) -> Option<Cell<'static>> {
    let Cell::Text(text) = cell else { return None };
    let word = text.strip_prefix(MARK)?;
    WORDS.iter().find(|(own, _)| *own == word).map(|(_, number)| Cell::Number(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rows::Role;

    #[test]
    fn words_are_numbers_outside_of_texts_only() {
        let body = br#"{"a": [NaN, -Infinity, Infinity, -1.5, 7], "b": "NaN \\\" NaN", "c": [null, true]}"#;
        let value = format!("{:?}", crate::json::read(body, Role::Feature).unwrap());
        assert!(value.contains("[Scalar(Number(NaN)), Scalar(Number(-inf)), Scalar(Number(inf)), Scalar(Number(-1.5)), Scalar(Integer(7))]"), "{value}");
        assert!(value.contains(r#"Text("NaN \\\" NaN")"#), "{value}");
        for wrong in ["[NaN", "[nan]", "[NaNs]", "[+Infinity]", "[-NaN]", "NaN NaN", "{NaN: 1}x"] {
            assert!(crate::json::read(wrong.as_bytes(), Role::Feature).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(body in "([\\[\\],\"\\\\-]|NaN|Infinity|[0-9]){0,40}") {
            if let Some(value) = read(body.as_bytes()) {
                prop_assert!(format!("{value:?}").contains("Number"), "{:?}", value);
            }
        }
    }
}
