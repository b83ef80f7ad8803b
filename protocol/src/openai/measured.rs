//! Values of which only the outline is kept: how many, how long.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json::Text;
use crate::rows::Cell;

/// A parameter that is one value; nothing of lists and objects.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Single<'a>(pub(super) Option<Cell<'a>>);

impl<'a> Single<'a> {
    /// A number that is written without a fraction as one all the same: 0 and 0.7 are temperatures.
    pub(super) fn number(self) -> Option<Cell<'a>> {
        match self.0? {
            Cell::Integer(value) => Some(Cell::Number(value as f64)),
            cell @ Cell::Number(_) => Some(cell),
            _ => None,
        }
    }

    pub(super) fn count(&self) -> Option<u64> {
        match self.0.as_ref()? {
            Cell::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A text that says something.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self.0? {
            Cell::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Single<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SingleVisitor;
        impl<'de> Visitor<'de> for SingleVisitor {
            type Value = Single<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Single(None))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Single(Some(Cell::Boolean(value))))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Single(Some(Cell::Integer(value))))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Single(i64::try_from(value).ok().map(Cell::Integer)))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Single(Some(Cell::Number(value))))
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Single(Some(Cell::Text(value.into()))))
            }

            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Single(Some(Cell::Text(value.to_owned().into()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Single(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Single(None))
            }
        }
        deserializer.deserialize_any(SingleVisitor)
    }
}

/// How long what people and models say is: a text, or a list of texts, messages, parts of messages and tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measured {
    /// How many there are in the list; one where it is no list, or a list of tokens.
    pub(super) items: u64,
    /// Characters of all its texts.
    pub(super) chars: u64,
    /// Parts that are no text: images, sound, files.
    pub(super) attachments: u64,
    /// Numbers: the tokens of a text.
    pub(super) tokens: u64,
}

/// Names of a message's or a part's texts, or of what holds them.
const TEXTS: [&str; 5] = ["content", "text", "arguments", "output", "summary"];

impl<'de> Deserialize<'de> for Measured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MeasuredVisitor;
        impl<'de> Visitor<'de> for MeasuredVisitor {
            type Value = Measured;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Measured, E> {
                Ok(Measured::default())
            }

            fn visit_bool<E>(self, _: bool) -> Result<Measured, E> {
                Ok(Measured::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Measured, E> {
                Ok(Measured { tokens: 1, ..Measured::default() })
            }

            fn visit_u64<E>(self, _: u64) -> Result<Measured, E> {
                Ok(Measured { tokens: 1, ..Measured::default() })
            }

            fn visit_f64<E>(self, _: f64) -> Result<Measured, E> {
                Ok(Measured::default())
            }

            fn visit_str<E>(self, value: &str) -> Result<Measured, E> {
                Ok(Measured { items: 1, chars: value.chars().count() as u64, ..Measured::default() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Measured, A::Error> {
                let (mut sum, mut singles) = (Measured::default(), 0);
                while let Some(one) = seq.next_element::<Measured>()? {
                    singles += u64::from(one.items == 0 && one.tokens > 0);
                    sum.add(one);
                    sum.items += 1;
                }
                if singles > 0 && singles == sum.items {
                    sum.items = 1;
                }
                Ok(sum)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Measured, A::Error> {
                let (mut sum, mut has_text) = (Measured { items: 1, ..Measured::default() }, false);
                while let Some(Text(key)) = map.next_key()? {
                    if TEXTS.contains(&&*key) {
                        sum.add(map.next_value()?);
                        has_text = true;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                sum.attachments += u64::from(!has_text);
                Ok(sum)
            }
        }
        deserializer.deserialize_any(MeasuredVisitor)
    }
}

impl Measured {
    /// Adds what another measures, as a part of this.
    fn add(&mut self, part: Self) {
        self.chars += part.chars;
        self.attachments += part.attachments;
        self.tokens += part.tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(text: &str) -> (u64, u64, u64, u64) {
        let Measured { items, chars, attachments, tokens } = serde_json::from_str(text).unwrap();
        (items, chars, attachments, tokens)
    }

    #[test]
    fn prompts_are_measured_in_whatever_form_they_come() {
        assert_eq!(measured(r#""caf\u00e9""#), (1, 4, 0, 0));
        assert_eq!(measured(r#"["ab", "c"]"#), (2, 3, 0, 0));
        assert_eq!(measured("[1, 2, 3]"), (1, 0, 0, 3));
        assert_eq!(measured("[[1, 2], [3]]"), (2, 0, 0, 3));
        assert_eq!(measured("null"), (0, 0, 0, 0));
        let messages = r#"[{"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "a"}]}]"#;
        assert_eq!(measured(messages), (3, 13, 1, 0));
    }
}
