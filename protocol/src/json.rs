//! Reading JSON into cells, with numbers exactly as they were written.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::decode::DecodeError;
use crate::not_numbers;
use crate::rows::{Cell, MAX_NAME_BYTES, Role};

/// How deep bodies may nest: serde_json's own limit is 128, and a row has no use for half of it.
pub(crate) const MAX_DEPTH: usize = 16;

/// Cells that a tensor's data begin with room for: a kilobyte, which allocators keep at hand.
const FIRST_CELLS: usize = 32;

/// A JSON value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Scalar(Cell<'a>),
    Array(Vec<Value<'a>>),
    Object(Entries<'a>),
}

/// An object's values with their names, in their order.
pub(crate) type Entries<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// Reads a body that is one JSON value, or would be but for numbers that JSON has not.
pub(crate) fn read(body: &[u8], role: Role) -> Result<Value<'_>, DecodeError> {
    typed(body).or_else(|error| not_numbers::read(body).ok_or_else(|| DecodeError::json(role, &error)))
}

/// Reads a body. One that is text as a whole need not be found to be text string by string.
pub(crate) fn typed<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    }
}

/// Takes a value out of an object; none when it is not there, or null. Of a repeated name it is the last one, as JSON
/// readers have it.
pub(crate) fn take<'a>(entries: &mut Entries<'a>, name: &str) -> Option<Value<'a>> {
    let index = entries.iter().rposition(|(known, _)| known == name)?;
    let (_, value) = entries.swap_remove(index);
    (value != Value::Scalar(Cell::Missing)).then_some(value)
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueAt { depth: 0 }.deserialize(deserializer)
    }
}

struct ValueAt {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for ValueAt {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueAt {
    fn inside<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("values nest deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> Visitor<'de> for ValueAt {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Scalar(Cell::Missing))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Scalar(Cell::Boolean(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Scalar(Cell::Integer(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Scalar(whole(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Scalar(Cell::Number(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Scalar(Cell::Text(Cow::Borrowed(value))))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::Scalar(Cell::Text(Cow::Owned(value.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self.inside()?)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(Text(key)) = map.next_key()? {
            if key.len() > MAX_NAME_BYTES {
                let bytes = key.len();
                return Err(serde::de::Error::custom(format_args!(
                    "a name has {bytes} bytes; {MAX_NAME_BYTES} may be"
                )));
            }
            entries.push((key, map.next_value_seed(self.inside()?)?));
        }
        Ok(Value::Object(entries))
    }
}

/// A whole number; one that is too large for an integer is as near as a double gets.
fn whole<'a>(value: u64) -> Cell<'a> {
    i64::try_from(value).map_or(Cell::Number(value as f64), Cell::Integer)
}

/// The scalars of nested arrays, one after another: a tensor's data.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Flat<'a> {
    pub(crate) cells: Vec<Cell<'a>>,
    /// How many scalars came before the first object, if there is one. An object is no part of a tensor.
    pub(crate) object_after: Option<usize>,
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Flat<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flat = Flat::default();
        FlatAt { flat: &mut flat, depth: 0 }.deserialize(deserializer)?;
        Ok(flat)
    }
}

struct FlatAt<'f, 'de> {
    flat: &'f mut Flat<'de>,
    depth: usize,
}

impl<'de> FlatAt<'_, 'de> {
    fn push<E>(self, cell: Cell<'de>) -> Result<(), E> {
        self.flat.cells.push(cell);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for FlatAt<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FlatAt<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Cell::Missing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(Cell::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(Cell::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(whole(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.push(Cell::Number(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.push(Cell::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.push(Cell::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let ValueAt { depth } = ValueAt { depth: self.depth }.inside()?;
        self.flat.cells.reserve(FIRST_CELLS);
        while seq.next_element_seed(FlatAt { flat: &mut *self.flat, depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.flat.object_after.get_or_insert(self.flat.cells.len());
        ValueAt { depth: self.depth }.visit_map(map).map(drop)
    }
}

/// Text that borrows from the body where it can: a derived `Cow` would always copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(value.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}
