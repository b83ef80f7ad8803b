//! Texts with places that an alert fills in: `{{ model }}/{{ column }} is odd`.
//!
//! There is nothing to them but names, which are known when the configuration is read: what is written at three in the night
//! was checked in the afternoon. What they make is bounded, and cut between characters.

use std::borrow::Cow;
use std::fmt;

/// Longer templates are refused.
const MAX_BYTES: usize = 4096;
/// What stands at the end of what was cut.
const CUT: char = '…';

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The character at which it is wrong, from 1.
    pub character: usize,
    /// What is wrong.
    pub fault: TemplateFault,
}

/// Kinds of what can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateFault {
    /// It is too long.
    TooLong,
    /// A place that does not end.
    NoEnd,
    /// An end without a place.
    NoBeginning,
    /// A name that is none of those that there are.
    Unknown(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.character;
        match &self.fault {
            TemplateFault::TooLong => write!(formatter, "is longer than {MAX_BYTES} bytes"),
            TemplateFault::NoEnd => write!(formatter, "has no '}}}}' for the '{{{{' at character {at}"),
            TemplateFault::NoBeginning => write!(formatter, "has a '}}}}' at character {at}, and no '{{{{' before it"),
            TemplateFault::Unknown(name) => write!(formatter, "has '{name}' at character {at}, which is no name"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a template whose names are all among those that there are.
    ///
    /// ```
    /// use driftline_alerts::Template;
    ///
    /// let template = Template::parse("{{ model }} has {{value}}", &["model", "value"]).unwrap();
    /// let filled = template.fill(100, |name| if name == "model" { "flights".into() } else { "14.5".into() });
    /// assert_eq!(filled, "flights has 14.5");
    /// let error = Template::parse("{{ modell }}", &["model"]).unwrap_err();
    /// assert_eq!(error.to_string(), "has 'modell' at character 4, which is no name");
    /// ```
    ///
    /// # Errors
    /// What is wrong with it first, and where.
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, TemplateError> {
        let wrong =
            |at: usize, fault: TemplateFault| Err(TemplateError { character: text[..at].chars().count() + 1, fault });
        if text.len() > MAX_BYTES {
            return wrong(0, TemplateFault::TooLong);
        }
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let (before, place) = match text[at..].split_once("{{") {
                None => (&text[at..], None),
                Some((before, rest)) => (before, Some(rest)),
            };
            if let Some(stray) = before.find("}}") {
                return wrong(at + stray, TemplateFault::NoBeginning);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some(place) = place else { break };
            let begins = at + before.len() + 2;
            let Some((inside, _)) = place.split_once("}}") else { return wrong(begins - 2, TemplateFault::NoEnd) };
            let name = inside.trim();
            if !names.contains(&name) {
                let indent = inside.len() - inside.trim_start().len();
                return wrong(begins + indent, TemplateFault::Unknown(name.to_owned()));
            }
            parts.push(Part::Name(name.to_owned()));
            at = begins + inside.len() + 2;
        }
        Ok(Self { parts })
    }

    /// The text with its places filled in, of at most so many bytes. What is filled in is text, whatever it holds.
    pub fn fill<'v>(&self, max_bytes: usize, value: impl Fn(&str) -> Cow<'v, str>) -> String {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Name(name) => filled.push_str(&value(name)),
            }
            if filled.len() > max_bytes {
                return cut(&filled, max_bytes);
            }
        }
        filled
    }
}

/// The beginning of a text, of at most so many bytes, and the sign that it goes on.
fn cut(text: &str, max_bytes: usize) -> String {
    let kept = &text[..text.floor_char_boundary(max_bytes.saturating_sub(CUT.len_utf8()))];
    if max_bytes < CUT.len_utf8() { kept.to_owned() } else { format!("{kept}{CUT}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 2] = ["model", "n"];

    fn fault(text: &str) -> (usize, TemplateFault) {
        let error = Template::parse(text, &NAMES).unwrap_err();
        (error.character, error.fault)
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(fault("é {{ model"), (3, TemplateFault::NoEnd));
        assert_eq!(fault("é }} {{ n }}"), (3, TemplateFault::NoBeginning));
        assert_eq!(fault("{{n}} {{  nn }}"), (11, TemplateFault::Unknown("nn".to_owned())));
        assert_eq!(fault("{{}}"), (3, TemplateFault::Unknown(String::new())));
        assert_eq!(fault(&"x".repeat(MAX_BYTES + 1)), (1, TemplateFault::TooLong));
    }

    #[test]
    fn what_is_filled_in_is_no_template() {
        let template = Template::parse("{{ model }}!", &NAMES).unwrap();
        assert_eq!(template.fill(100, |_| "{{ n }}".into()), "{{ n }}!");
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_none_and_one_without_braces_is_itself(text in "[a-z{} é\n]{0,40}") {
            match Template::parse(&text, &NAMES) {
                Ok(template) => {
                    let filled = template.fill(usize::MAX, |name| name.to_uppercase().into());
                    prop_assert_eq!(filled == text, !text.contains("{{"));
                }
                Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.character)),
            }
        }

        #[test]
        fn what_is_cut_is_whole_characters_of_the_beginning(text in "\\PC{0,30}", value in "\\PC{0,30}", max in 0..80usize) {
            prop_assume!(!text.contains("{{") && !text.contains("}}"));
            let template = Template::parse(&format!("{text}{{{{n}}}}"), &NAMES);
            prop_assume!(template.is_ok());
            let (whole, filled) = (format!("{text}{value}"), template.unwrap().fill(max, |_| value.as_str().into()));
            prop_assert!(filled.len() <= max);
            prop_assert!(filled == whole || whole.starts_with(filled.trim_end_matches(CUT)));
        }
    }
}
