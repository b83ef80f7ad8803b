//! Rows of files as they come: in pieces, each value with the type that its format knows.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value<'a> {
    Missing,
    Number(f64),
    Boolean(bool),
    #[serde(borrow)]
    Text(Cow<'a, str>),
    /// Of a file without types; its numbers are as they are spelled there.
    #[serde(borrow)]
    Field(Cow<'a, str>),
    /// Microseconds since the Unix epoch.
    Time(i64),
    Vector(Vec<f32>),
    /// Nothing that is scored.
    Other,
}

/// A piece of a file: its columns, each with a value for every row.
#[derive(Debug, Default)]
pub(crate) struct Chunk<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<(Cow<'a, str>, Vec<Value<'a>>)>,
}

impl Chunk<'_> {
    /// A column's values.
    pub(crate) fn column(&self, name: &str) -> Option<&[Value<'_>]> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, values)| values.as_slice())
    }
}

/// Rows that are handed on at once.
pub(super) const CHUNK_ROWS: usize = 8192;

/// What takes the pieces of a file, one after the other.
pub(crate) type Take<'t> = dyn FnMut(&Chunk<'_>) -> Result<(), String> + 't;
