//! Which alerts are meant: labels, and what their values must be.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rule::{Labels, Rule, Severity};

/// A label's value, or the beginning of many: `flights`, `team-*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// In bytes.
    pub const MAX_LENGTH: usize = 500;

    /// A value, or the beginning of many and `*`; none when it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        let is_pattern = !text.is_empty() && text.len() <= Self::MAX_LENGTH && !text.contains(char::is_control);
        is_pattern.then(|| Self(text.to_owned()))
    }

    /// Whether a value is meant.
    pub fn matches(&self, value: &str) -> bool {
        self.0.strip_suffix('*').map_or(self.0 == value, |prefix| value.starts_with(prefix))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("a value is 1 to {} bytes without control characters", Self::MAX_LENGTH))
    }
}

/// Labels and the patterns that all of them must match. A label that is not there matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Pattern>", into = "BTreeMap<String, Pattern>")]
pub struct Matchers(BTreeMap<String, Pattern>);

impl Matchers {
    /// Labels that one of them may name.
    pub const MAX_LABELS: usize = 20;
    /// Of a label's name, in bytes.
    pub const MAX_NAME: usize = 100;

    /// Whether a member of a rule's alert is meant: by its labels, and by `rule` and how urgent it is, `severity`.
    pub fn matches(&self, rule: &Rule, severity: Severity, labels: &Labels) -> bool {
        self.0.iter().all(|(name, pattern)| {
            let value = match name.as_str() {
                "rule" => Some(rule.name.as_str()),
                "severity" => Some(severity.name()),
                name => labels.get(name).map(String::as_str),
            };
            value.is_some_and(|value| pattern.matches(value))
        })
    }

    /// Whether alerts of a rule may be meant, by its name alone: how urgent one is depends on routes, too.
    pub fn may_match(&self, rule: &Rule) -> bool {
        self.0.get("rule").is_none_or(|pattern| pattern.matches(&rule.name))
    }

    /// Each label and its pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Pattern)> {
        self.0.iter()
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.iter().map(|(name, pattern)| format!("{name}={pattern}")).collect();
        formatter.write_str(&all.join(", "))
    }
}

impl From<Matchers> for BTreeMap<String, Pattern> {
    fn from(matchers: Matchers) -> Self {
        matchers.0
    }
}

impl TryFrom<BTreeMap<String, Pattern>> for Matchers {
    type Error = String;

    fn try_from(patterns: BTreeMap<String, Pattern>) -> Result<Self, String> {
        let is_name = |name: &String| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !name.is_empty() && name.len() <= Self::MAX_NAME && name.bytes().all(plain)
        };
        if patterns.is_empty() {
            return Err("needs a label at least; rule: '*' means every alert".to_owned());
        }
        if patterns.len() > Self::MAX_LABELS {
            return Err(format!("has {} labels; allowed are {}", patterns.len(), Self::MAX_LABELS));
        }
        match patterns.keys().find(|name| !is_name(name)) {
            Some(name) => Err(format!("'{}' is no label's name", name.escape_debug())),
            None => Ok(Self(patterns)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::state::tests::rule;

    pub(crate) fn matchers(pairs: &[(&str, &str)]) -> Matchers {
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), Pattern::new(text).unwrap()));
        Matchers::try_from(pairs.collect::<BTreeMap<_, _>>()).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_patterns_must_match_and_a_missing_label_matches_nothing() {
        let (rule, temp) = (rule(1, 1), labels(&[("model", "flights"), ("column", "temp")]));
        for (pairs, is_meant) in [
            (&[("model", "flights")][..], true),
            (&[("model", "fl*"), ("column", "temp")], true),
            (&[("model", "flight")], false),
            (&[("model", "flights"), ("column", "dewp")], false),
            (&[("rule", "Feature*"), ("severity", "ticket")], true),
            (&[("severity", "page")], false),
            (&[("version", "*")], false),
        ] {
            assert_eq!(matchers(pairs).matches(&rule, rule.severity, &temp), is_meant, "{pairs:?}");
        }
        assert!(matchers(&[("rule", "Feature*"), ("model", "other")]).may_match(&rule));
        assert!(!matchers(&[("rule", "Latency*")]).may_match(&rule));
        assert!(matchers(&[("severity", "page")]).may_match(&rule), "a route may make it one");
        assert!(matchers(&[("severity", "page")]).matches(&rule, Severity::Page, &temp));
    }

    #[test]
    fn what_would_mean_everything_by_mistake_or_nothing_is_refused() {
        for (json, says) in [
            ("{}", "every alert"),
            (r#"{"model": ""}"#, "1 to 500 bytes"),
            (r#"{"model": "a\nb"}"#, "control characters"),
            (r#"{"a b": "c"}"#, "no label's name"),
        ] {
            let error = serde_json::from_str::<Matchers>(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
        let matchers: Matchers = serde_json::from_str(r#"{"model": "flights*"}"#).unwrap();
        assert_eq!(matchers.to_string(), "model=flights*");
    }
}
