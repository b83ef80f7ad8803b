//! Lists of answers, of which no more is kept than is wanted: a short body can claim millions of empty choices.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::measured::Single;

/// Values of a list that are looked at; the others are passed over. Nobody asks for more than 128 choices.
const MAX_VALUES: usize = 4096;

/// The first values of a list.
#[derive(Debug)]
pub(super) struct Few<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let add = |few: &mut Vec<T>, value| {
            if few.len() < MAX_VALUES {
                few.push(value);
            }
        };
        fold(deserializer, Vec::new(), add).map(Few)
    }
}

/// Calls of tools. In chunks a call's first piece has its id; the others, more of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calls(pub(super) u64);

#[derive(serde::Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: Option<Single<'a>>,
}

impl<'de> Deserialize<'de> for Calls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let add = |calls: &mut u64, call: Call<'de>| *calls += u64::from(call.id.is_some_and(|id| id.0.is_some()));
        fold(deserializer, 0, add).map(Calls)
    }
}

/// Embeddings: how many, and how many numbers the first has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Embeddings {
    pub(super) count: u64,
    pub(super) dimensions: u64,
}

#[derive(serde::Deserialize)]
struct Embedding {
    embedding: Option<Dimensions>,
}

impl<'de> Deserialize<'de> for Embeddings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let add = |all: &mut Self, one: Embedding| {
            if all.count == 0 {
                all.dimensions = one.embedding.map_or(0, |dimensions| dimensions.0);
            }
            all.count += 1;
        };
        fold(deserializer, Self::default(), add)
    }
}

/// Goes through a list, value by value.
fn fold<'de, D: Deserializer<'de>, T: Deserialize<'de>, S>(
    deserializer: D,
    state: S,
    add: impl FnMut(&mut S, T),
) -> Result<S, D::Error> {
    struct Fold<T, S, F>(S, F, PhantomData<T>);
    impl<'de, T: Deserialize<'de>, S, F: FnMut(&mut S, T)> Visitor<'de> for Fold<T, S, F> {
        type Value = S;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<S, A::Error> {
            while let Some(value) = seq.next_element()? {
                (self.1)(&mut self.0, value);
            }
            Ok(self.0)
        }
    }
    deserializer.deserialize_seq(Fold(state, add, PhantomData))
}

/// How many values a list has; of other values, none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length(pub(super) u64);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match ListOrText::deserialize(deserializer)? {
            ListOrText::List(values) => Self(values),
            ListOrText::Text(_) => Self(0),
        })
    }
}

/// How many numbers an embedding has: a list of them, or single-precision ones in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dimensions(pub(super) u64);

impl<'de> Deserialize<'de> for Dimensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match ListOrText::deserialize(deserializer)? {
            ListOrText::List(values) => Self(values),
            ListOrText::Text(digits) => Self(digits * 3 / 4 / 4),
        })
    }
}

/// How long a list is, or a text without base64's padding.
enum ListOrText {
    List(u64),
    Text(u64),
}

impl<'de> Deserialize<'de> for ListOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LengthVisitor;
        impl<'de> Visitor<'de> for LengthVisitor {
            type Value = ListOrText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list or a text")
            }

            fn visit_unit<E>(self) -> Result<ListOrText, E> {
                Ok(ListOrText::List(0))
            }

            fn visit_str<E>(self, value: &str) -> Result<ListOrText, E> {
                Ok(ListOrText::Text(value.trim_end_matches('=').len() as u64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ListOrText, A::Error> {
                let mut values = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    values += 1;
                }
                Ok(ListOrText::List(values))
            }
        }
        deserializer.deserialize_any(LengthVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_are_measured_as_lists_and_in_base64() {
        let dimensions = |text: &str| serde_json::from_str::<Dimensions>(text).unwrap().0;
        assert_eq!(dimensions("[0.5, -0.25, 1e-3]"), 3);
        for (bytes, expected) in [(4, 1), (8, 2), (12, 3), (1536 * 4, 1536)] {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(vec![0u8; bytes]);
            assert_eq!(dimensions(&format!("\"{text}\"")), expected);
        }
    }
}
