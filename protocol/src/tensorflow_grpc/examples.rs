//! The examples of `Classify`, `Regress` and `MultiInference`.
//!
//! An example is a row, and a feature of examples a tensor: as wide as the widest of its lists, so that what one example
//! lacks is missing in its row.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Call, Unshared, version};
use crate::decode::DecodeError;
use crate::naming::{Naming, TensorNaming};
use crate::protobuf::Fields;
use crate::raw;
use crate::rows::{Cell, MAX_CELLS, MAX_COLUMNS, Role};
use crate::tensors::{Assembly, Description, Side};

/// The lists of a `Feature`; it has one of them. The third holds integers.
const TEXTS: u32 = 1;
const FLOATS: u32 = 2;
const INTEGERS: u32 = 3;

/// Reads a `ClassificationRequest`, a `RegressionRequest` or a `MultiInferenceRequest`.
pub(super) fn request<'a>(message: &'a [u8], call: Call, naming: &'a Naming) -> Result<Unshared<'a>, DecodeError> {
    let (mut examples, mut context, mut model_version) = (Examples::new(naming), None, None);
    for field in Fields(message) {
        match field.map_err(malformed)? {
            (1, value) => {
                let value = value.bytes().map_err(malformed)?;
                let own = if call == Call::MultiInference { version_of_task(value) } else { version(value) };
                model_version = own.map_err(malformed)?.or(model_version);
            }
            (2, value) => context = examples.add_input(value.bytes().map_err(malformed)?)?.or(context),
            _ => {}
        }
    }
    let mut shared = Examples::new(naming);
    if let Some(context) = context {
        shared.add(context)?;
    }
    // Of a feature that examples have themselves, the context's is none of theirs.
    shared.features.retain(|name, _| !examples.features.contains_key(name));
    let columns = shared.finish()?.columns.into_iter();
    let scalars =
        columns.filter_map(|column| Some((column.name, column.cells.into_vec().into_iter().next()?))).collect();
    Ok(Unshared { side: Side { model_version, ..examples.finish()? }, scalars })
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed { role: Role::Feature, what: what.to_owned() }
}

/// The version that an `InferenceTask` asks for.
fn version_of_task(task: &[u8]) -> Result<Option<Cow<'_, str>>, &'static str> {
    let mut asked = None;
    for field in Fields(task) {
        if let (1, value) = field? {
            asked = version(value.bytes()?)?;
        }
    }
    Ok(asked)
}

/// Examples under each other, feature by feature.
#[derive(Debug)]
struct Examples<'a> {
    naming: &'a Naming,
    count: usize,
    /// Values of all features so far.
    cells: usize,
    features: BTreeMap<Cow<'a, str>, Feature<'a>>,
}

/// What examples have of one feature.
#[derive(Debug, Default)]
struct Feature<'a> {
    /// The examples that have it, by their place, and how many values each has.
    lists: Vec<(usize, usize)>,
    cells: Vec<Cell<'a>>,
}

impl<'a> Examples<'a> {
    fn new(naming: &'a Naming) -> Self {
        Self { naming, count: 0, cells: 0, features: BTreeMap::new() }
    }

    /// Adds the examples of an `Input`; what it gives is their context.
    fn add_input(&mut self, input: &'a [u8]) -> Result<Option<&'a [u8]>, DecodeError> {
        let mut context = None;
        for list in Fields(input) {
            let (1 | 2, list) = list.map_err(malformed)? else { continue };
            for field in Fields(list.bytes().map_err(malformed)?) {
                match field.map_err(malformed)? {
                    (1, example) => self.add(example.bytes().map_err(malformed)?)?,
                    (2, value) => context = Some(value.bytes().map_err(malformed)?),
                    _ => {}
                }
            }
        }
        Ok(context)
    }

    fn add(&mut self, example: &'a [u8]) -> Result<(), DecodeError> {
        if self.count == MAX_CELLS {
            return Err(DecodeError::TooManyCells);
        }
        for features in Fields(example) {
            let (1, features) = features.map_err(malformed)? else { continue };
            for entry in Fields(features.bytes().map_err(malformed)?) {
                let (1, entry) = entry.map_err(malformed)? else { continue };
                let (name, feature) = entry.bytes().and_then(self::entry).map_err(malformed)?;
                self.set(name, feature)?;
            }
        }
        self.count += 1;
        Ok(())
    }

    /// Sets a feature of the example that is being read. Of a repeated name it is the last one.
    fn set(&mut self, name: Cow<'a, str>, value: &'a [u8]) -> Result<(), DecodeError> {
        if self.naming.tensors.get(&*name) == Some(&TensorNaming::Ignored) {
            return Ok(());
        }
        if self.features.len() == MAX_COLUMNS && !self.features.contains_key(&name) {
            return Err(DecodeError::TooManyColumns);
        }
        let feature = self.features.entry(name).or_default();
        if let Some((_, count)) = feature.lists.pop_if(|(example, _)| *example == self.count) {
            feature.cells.truncate(feature.cells.len() - count);
            self.cells -= count;
        }
        let (before, most) = (feature.cells.len(), MAX_CELLS - self.cells);
        values(value, |cell| {
            feature.cells.push(cell);
            if feature.cells.len() - before > most { Err(DecodeError::TooManyCells) } else { Ok(()) }
        })?;
        let count = feature.cells.len() - before;
        feature.lists.push((self.count, count));
        self.cells += count;
        Ok(())
    }

    fn finish(self) -> Result<Side<'a>, DecodeError> {
        let mut assembly = Assembly::new(Role::Feature, self.naming, self.features.len());
        let rows = self.count;
        for (name, feature) in self.features {
            let width = feature.width();
            let description =
                Description { name, datatype: feature.datatype().into(), shape: vec![rows as u64, width as u64] };
            assembly.add(description, |_, _| Ok(feature.filled_up(rows, width).into()))?;
        }
        Ok(Side { rows: Some(rows), ..assembly.finish() })
    }
}

impl<'a> Feature<'a> {
    /// Values of the longest list. A feature whose lists are all empty is a column in which every value is missing.
    fn width(&self) -> usize {
        self.lists.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1)
    }

    /// What V2 calls a tensor of such values.
    fn datatype(&self) -> &'static str {
        let has = |kind: fn(&Cell<'_>) -> bool| self.cells.iter().any(kind);
        match () {
            () if has(|cell| matches!(cell, Cell::Text(_))) => "BYTES",
            () if has(|cell| matches!(cell, Cell::Number(_))) => "FP32",
            () => "INT64",
        }
    }

    /// As many values for each row, of which those that are not there are missing.
    fn filled_up(self, rows: usize, width: usize) -> Vec<Cell<'a>> {
        let expected = rows * width;
        if self.cells.len() == expected {
            return self.cells;
        }
        let mut filled = Vec::with_capacity(expected);
        let mut cells = self.cells.into_iter();
        for (row, count) in self.lists {
            filled.resize(row * width, Cell::Missing);
            filled.extend(cells.by_ref().take(count));
        }
        filled.resize(expected, Cell::Missing);
        filled
    }
}

/// A map's entry: the name of a feature, and the feature.
fn entry(entry: &[u8]) -> Result<(Cow<'_, str>, &[u8]), &'static str> {
    let (mut name, mut feature) = (Cow::default(), None);
    for field in Fields(entry) {
        match field? {
            (1, value) => name = String::from_utf8_lossy(value.bytes()?),
            (2, _) if feature.is_some() => return Err("a feature comes in pieces"),
            (2, value) => feature = Some(value.bytes()?),
            _ => {}
        }
    }
    Ok((name, feature.unwrap_or_default()))
}

/// Gives the values of a `Feature`, one by one. Of several lists it is the last one.
fn values<'a>(feature: &'a [u8], mut each: impl FnMut(Cell<'a>) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
    let mut list = None;
    for field in Fields(feature) {
        if let (kind @ TEXTS..=INTEGERS, value) = field.map_err(malformed)? {
            list = Some((kind, value.bytes().map_err(malformed)?));
        }
    }
    let Some((kind, list)) = list else { return Ok(()) };
    let mut refused = Ok(());
    let mut add = |cell: Cell<'a>| {
        each(cell).map_err(|error| {
            refused = Err(error);
            "it has more values than may be"
        })
    };
    let read = Fields(list).try_for_each(|field| match (kind, field?) {
        (TEXTS, (1, value)) => add(raw::text(value.bytes()?)),
        (FLOATS, (1, value)) => value.fixed32s(|bits| add(Cell::Number(f32::from_bits(bits).into()))),
        (_, (1, value)) => value.varints(|value| add(Cell::Integer(value as i64))),
        _ => Ok(()),
    });
    refused.and(read.map_err(malformed))
}

#[cfg(test)]
mod tests;
