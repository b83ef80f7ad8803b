//! What a route, or an expression, asks of labels, written as Alertmanager writes it: `severity=page`, `team!=fraud`,
//! `model=~fraud-.*`, `model!~test-.*`.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

/// What is asked of one label. A label that is not there is empty, so `team!=fraud` is true of alerts without a team.
#[derive(Debug, Clone)]
pub struct Selector {
    label: String,
    wanted: Wanted,
    /// As it was written.
    text: String,
}

#[derive(Debug, Clone)]
enum Wanted {
    Is(String),
    IsNot(String),
    Like(Regex),
    Unlike(Regex),
}

impl Selector {
    /// In bytes.
    pub const MAX_LENGTH: usize = 500;
    /// Of an expression that is ready to be used, in bytes: `(a{1000}){1000}` is short, and large.
    const MAX_PROGRAM: usize = 64 << 10;

    /// Reads one. Values may stand in double quotes; expressions are held against the whole value.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > Self::MAX_LENGTH || text.contains(char::is_control) {
            return Err(format!("is longer than {} bytes, or has control characters", Self::MAX_LENGTH));
        }
        let form = "write LABEL=VALUE, LABEL!=VALUE, LABEL=~EXPRESSION or LABEL!~EXPRESSION";
        let begins = text.find(['=', '!']).ok_or(form)?;
        let (label, rest) = (text[..begins].trim(), &text[begins..]);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if label.is_empty() || !label.bytes().all(is_plain) {
            return Err(format!("'{}' is no label's name; {form}", label.escape_debug()));
        }
        let after = |operator: &str| rest.strip_prefix(operator).map(value);
        let wanted = if let Some(value) = after("=~") {
            Wanted::Like(expression(value?)?)
        } else if let Some(value) = after("!~") {
            Wanted::Unlike(expression(value?)?)
        } else if let Some(value) = after("!=") {
            Wanted::IsNot(value?.to_owned())
        } else if let Some(value) = after("=") {
            Wanted::Is(value?.to_owned())
        } else {
            return Err(form.to_owned());
        };
        Ok(Self { label: label.to_owned(), wanted, text: text.to_owned() })
    }

    /// The label that it asks about.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it asks for one value, and not for any of several.
    pub fn is_one_value(&self) -> bool {
        self.one_value().is_some()
    }

    /// The one value that it asks for; none where it may be any of several.
    pub fn one_value(&self) -> Option<&str> {
        match &self.wanted {
            Wanted::Is(value) => Some(value),
            _ => None,
        }
    }

    /// Whether a value of the label is what it asks for.
    pub fn accepts(&self, value: &str) -> bool {
        match &self.wanted {
            Wanted::Is(wanted) => wanted == value,
            Wanted::IsNot(unwanted) => unwanted != value,
            Wanted::Like(expression) => expression.is_match(value),
            Wanted::Unlike(expression) => !expression.is_match(value),
        }
    }
}

/// Two that are written alike ask for the same.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// A value, without its quotes.
fn value(text: &str) -> Result<&str, String> {
    let text = text.trim();
    match text.strip_prefix('"') {
        None if text.contains('"') => Err("has a quote in its value".to_owned()),
        None => Ok(text),
        Some(rest) => rest
            .strip_suffix('"')
            .filter(|inner| !inner.contains('"'))
            .ok_or_else(|| "has a value whose quotes do not end, or are in its middle".to_owned()),
    }
}

/// An expression for a whole value. It takes time by its own length and the value's, whatever it says.
fn expression(text: &str) -> Result<Regex, String> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(Selector::MAX_PROGRAM).build();
    // By itself first: `a)(b` is none, and would be one between brackets.
    build(text)
        .and_then(|_| build(&format!("^(?s:{text})$")))
        .map_err(|error| format!("'{text}' is no expression that can be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str, value: &str) -> bool {
        Selector::parse(text).unwrap().accepts(value)
    }

    #[test]
    fn each_operator_asks_what_alertmanagers_does() {
        assert!(accepts("severity=page", "page") && !accepts("severity=page", "pages"));
        assert!(accepts("team != \"fraud\"", "") && !accepts("team!=fraud", "fraud"));
        assert!(accepts("model=~fraud-.*", "fraud-2") && !accepts("model=~fraud-.*", "my-fraud-2"));
        assert!(accepts("model=~a|b", "b") && !accepts("model=~a|b", "ab"), "of the whole value");
        assert!(accepts("model!~test-.*", "fraud") && accepts("team=\"\"", ""));
        assert_eq!(Selector::parse("a.b-c=x=y").unwrap().label(), "a.b-c");
        assert!(accepts("a=x=y", "x=y"));
    }

    #[test]
    fn what_is_none_is_refused_and_what_would_be_large_too() {
        let nested = "model=~".to_owned() + &"(a{100}){100}".repeat(9);
        for (text, says) in [
            ("severity", "write LABEL=VALUE"),
            ("=page", "no label's name"),
            ("a b=c", "no label's name"),
            ("a!b", "write LABEL=VALUE"),
            ("a=\"b", "quotes"),
            ("a=b\"c", "quote"),
            ("a=~(", "no expression"),
            ("a=~b)(c", "no expression"),
            (nested.as_str(), "no expression"),
            ("a=\u{7}", "control characters"),
        ] {
            let why = Selector::parse(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        assert!(Selector::parse(&format!("a={}", "x".repeat(Selector::MAX_LENGTH))).is_err());
    }
}
