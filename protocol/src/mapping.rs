//! Where bodies of no known protocol have their rows: a mapping of names to JSON Pointers (RFC 6901).

use std::fmt;
use std::str::FromStr;

use crate::json::Value;

/// Where a request has its features, and a response its predictions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// The request's list of rows; what is no list is one row.
    pub rows: Pointer,
    /// Columns, each with its place in a row. Without any, a row is taken field by field.
    pub features: Vec<(String, Pointer)>,
    /// Columns that all rows of a request share, each with its place in the request.
    pub shared: Vec<(String, Pointer)>,
    /// The response's list of results, one for each row; what is no list is the result of one row.
    pub results: Pointer,
    /// Columns, each with its place in a result. Without any, a result is taken field by field.
    pub predictions: Vec<(String, Pointer)>,
    /// The request's id in the request, or in the response.
    pub id: Option<Pointer>,
    /// The model's version in the response.
    pub model_version: Option<Pointer>,
}

impl Mapping {
    /// Whether an answer has something at a place that is named, so that it is a result whatever it looks like.
    pub(crate) fn finds_results(&self, answer: &Value<'_>) -> bool {
        let Some(results) = self.results.of(answer) else { return false };
        let is_named = !self.results.0.is_empty();
        if self.predictions.is_empty() {
            is_named
        } else {
            self.predictions.iter().any(|(_, at)| at.of(results).is_some())
        }
    }
}

/// A place in a JSON value; the empty one is the value itself.
///
/// ```
/// use driftline_protocol::Pointer;
///
/// assert!("/data/items/0/a~1b".parse::<Pointer>().is_ok());
/// assert!("data".parse::<Pointer>().is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

/// A text is no JSON Pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a JSON Pointer begins with '/', and writes '~' as '~0' and a '/' in a name as '~1'")]
pub struct NoPointer;

impl FromStr for Pointer {
    type Err = NoPointer;

    fn from_str(text: &str) -> Result<Self, NoPointer> {
        let Some(tokens) = text.strip_prefix('/') else {
            return if text.is_empty() { Ok(Self::default()) } else { Err(NoPointer) };
        };
        tokens.split('/').map(unescaped).collect::<Option<_>>().map(Self).ok_or(NoPointer)
    }
}

fn unescaped(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        name.push(match part.as_bytes().first()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        name.push_str(&part[1..]);
    }
    Some(name)
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| write!(formatter, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

impl Pointer {
    /// What is at this place.
    pub(crate) fn of<'v, 'a>(&self, value: &'v Value<'a>) -> Option<&'v Value<'a>> {
        self.0.iter().try_fold(value, |value, token| match value {
            Value::Object(entries) => entries.iter().rev().find(|(name, _)| name == token).map(|(_, value)| value),
            Value::Array(values) => values.get(index(token)?),
            Value::Scalar(_) => None,
        })
    }
}

/// A place in a list: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_plain = token == "0" || !token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| token.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Role;

    #[test]
    fn the_examples_of_the_standard_point_where_it_says() {
        let document = br#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6,
                            " ": 7, "m~n": 8}"#;
        let document = crate::json::read(document, Role::Feature).unwrap();
        let at = |pointer: &str| pointer.parse::<Pointer>().unwrap().of(&document).cloned();
        assert_eq!(at(""), Some(document.clone()));
        let number = |value: i64| Some(Value::Scalar(crate::rows::Cell::Integer(value)));
        let examples = ["/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", "/k\"l", "/ ", "/m~0n"];
        for (value, pointer) in examples.into_iter().enumerate() {
            assert_eq!(at(pointer), number(value as i64), "{pointer}");
            assert_eq!(pointer.parse::<Pointer>().unwrap().to_string(), pointer);
        }
        assert_eq!(at("/foo/0"), Some(Value::Scalar(crate::rows::Cell::Text("bar".into()))));
        for nothing in [
            "/foo/2",
            "/foo/-",
            "/foo/00",
            "/foo/01",
            "/foo/+1",
            "/foo/",
            "/foo/0/x",
            "/none",
            "/foo/99999999999999999999",
        ] {
            assert_eq!(at(nothing), None, "{nothing}");
        }
        for wrong in ["foo", "#/foo", "/~", "/~2", "/a~", "/~é"] {
            assert_eq!(wrong.parse::<Pointer>(), Err(NoPointer), "{wrong}");
        }
    }
}
