//! TensorFlow Serving over gRPC: `Predict`, and the calls with examples.
//!
//! Inputs and outputs are maps, whose order is anybody's; here it is that of their names. A tensor's values are the bytes
//! of its content, or typed fields: where these are fewer than its shape holds, the last of them is meant to be repeated,
//! as TensorFlow reads them. A tensor without a dimension is the same in every row.

mod examples;
mod results;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::cells::Cells;
use crate::decode::DecodeError;
use crate::grpc::Messages;
use crate::naming::{Naming, TensorNaming};
use crate::paths::path_of;
use crate::protobuf::{Fields, varint};
use crate::raw;
use crate::rows::{Cell, ColumnsByName, MAX_CELLS, MAX_COLUMNS, MAX_SHARED_BYTES, Role, Rows};
use crate::tensors::{Assembly, Datatype, Description, Side};

/// TensorFlow has no tensors of more.
const MAX_DIMENSIONS: usize = 254;
/// Pieces that a tensor may come in. Writers make one.
const MAX_PIECES: usize = 16;

/// `tensorflow.DataType`, of those that a column can have, and how V2 calls them.
const DATATYPES: [(u64, &str); 14] = [
    (1, "FP32"),
    (2, "FP64"),
    (3, "INT32"),
    (4, "UINT8"),
    (5, "INT16"),
    (6, "INT8"),
    (7, "BYTES"),
    (9, "INT64"),
    (10, "BOOL"),
    (14, "BF16"),
    (17, "UINT16"),
    (19, "FP16"),
    (22, "UINT32"),
    (23, "UINT64"),
];

/// The field of a `ModelSpec` that names the signature.
const SIGNATURE_NAME: u32 = 3;

/// What is called. All but the first take examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Predict,
    Classify,
    Regress,
    MultiInference,
}

impl Call {
    /// The call that a target names; `Predict` where the owner's route has a path of its own.
    pub(crate) fn of(target: &str) -> Self {
        match path_of(target).rsplit('/').next() {
            Some("Classify") => Self::Classify,
            Some("Regress") => Self::Regress,
            Some("MultiInference") => Self::MultiInference,
            _ => Self::Predict,
        }
    }

    fn read<'a>(self, message: &'a [u8], naming: &'a Naming, role: Role) -> Result<Unshared<'a>, DecodeError> {
        match (self, role) {
            (Self::Predict, _) => message_of(message, naming, role),
            (_, Role::Feature) => examples::request(message, self, naming),
            (_, Role::Prediction) => Ok(Unshared { side: results::response(message, self)?, scalars: Vec::new() }),
        }
    }
}

/// The rows of a call. A response without a message has no predictions.
pub(crate) fn rows<'a>(
    call: Call,
    requests: Messages<'a>,
    responses: Option<Messages<'a>>,
    naming: &'a Naming,
) -> Result<Rows<'a>, DecodeError> {
    let missing = || DecodeError::Malformed { role: Role::Feature, what: "it has no message".to_owned() };
    let request = side(call, requests, naming, Role::Feature)?.ok_or_else(missing)?;
    let response = responses.map(|responses| side(call, responses, naming, Role::Prediction)).transpose()?.flatten();
    let answered = response.as_ref().and_then(|response| response.side.rows);
    let rows = request.side.rows.or(answered).unwrap_or(1);
    let features = request.shared(rows, Role::Feature)?;
    features.join(response.map(|response| response.shared(rows, Role::Prediction)).transpose()?)
}

/// One side, before it is known how many rows there are.
#[derive(Debug, Default)]
struct Unshared<'a> {
    side: Side<'a>,
    /// What is the same in every row.
    scalars: Vec<(Cow<'a, str>, Cell<'a>)>,
}

impl<'a> Unshared<'a> {
    fn into_owned(self) -> Unshared<'static> {
        let own = |(name, cell): (Cow<'_, str>, Cell<'_>)| (Cow::Owned(name.into_owned()), cell.into_owned());
        Unshared { side: self.side.into_owned(), scalars: self.scalars.into_iter().map(own).collect() }
    }

    /// The side with its scalars in each of so many rows.
    fn shared(mut self, rows: usize, role: Role) -> Result<Side<'a>, DecodeError> {
        if self.scalars.is_empty() {
            return Ok(self.side);
        }
        let rows = *self.side.rows.get_or_insert(rows);
        let count = self.side.columns.len() + self.scalars.len();
        if count > MAX_COLUMNS {
            return Err(DecodeError::TooManyColumns);
        }
        if rows.saturating_mul(count) > MAX_CELLS {
            return Err(DecodeError::TooManyCells);
        }
        let mut columns = ColumnsByName::of(Vec::new(), rows);
        let mut scalars = ColumnsByName::default();
        scalars.next_row()?;
        for (name, cell) in self.scalars {
            scalars.set(name, cell)?;
        }
        columns.share(scalars, role)?;
        self.side.columns.extend(columns.finish(role));
        Ok(self.side)
    }
}

/// Reads the one message of a side.
fn side<'a>(
    call: Call,
    mut messages: Messages<'a>,
    naming: &'a Naming,
    role: Role,
) -> Result<Option<Unshared<'a>>, DecodeError> {
    match messages.next().transpose()? {
        None => Ok(None),
        Some(Cow::Borrowed(message)) => call.read(message, naming, role).map(Some),
        Some(Cow::Owned(message)) => call.read(&message, naming, role).map(|side| Some(side.into_owned())),
    }
}

/// Reads a `PredictRequest` or a `PredictResponse`.
fn message_of<'a>(message: &'a [u8], naming: &'a Naming, role: Role) -> Result<Unshared<'a>, DecodeError> {
    let malformed = |what: &str| DecodeError::Malformed { role, what: what.to_owned() };
    let (model_spec, tensors) = match role {
        Role::Feature => (1, 2),
        Role::Prediction => (2, 1),
    };
    let message = Message::read(message, model_spec, tensors).map_err(malformed)?;
    if message.tensors.len() > MAX_COLUMNS {
        return Err(DecodeError::TooManyColumns);
    }
    let mut assembly = Assembly::new(role, naming, message.tensors.len());
    let mut scalars = Vec::new();
    for (name, parts) in message.tensors {
        let tensor = Tensor::read(&parts).map_err(malformed)?;
        let is_ignored = naming.tensors.get(&*name) == Some(&TensorNaming::Ignored);
        let is_scalar = tensor.shape.is_empty() && !is_ignored;
        let values = |datatype, expected| tensor.cells(&parts, datatype, expected);
        if is_scalar {
            // Read as the one value of one row.
            let mut alone = Assembly::new(role, naming, 1);
            alone.add(description(name, tensor.datatype, vec![1]), values)?;
            let columns = alone.finish().columns.into_iter();
            scalars.extend(columns.filter_map(|column| Some((column.name, column.cells.into_vec().pop()?))));
        } else {
            assembly.add(description(name, tensor.datatype, tensor.shape.clone()), values)?;
        }
    }
    let side = Side { model_version: message.version, ..assembly.finish() };
    Ok(Unshared { side, scalars })
}

fn description(name: Cow<'_, str>, datatype: u64, shape: Vec<u64>) -> Description<'_> {
    let known = DATATYPES.into_iter().find(|(number, _)| *number == datatype).map(|(_, name)| Cow::Borrowed(name));
    Description { name, datatype: known.unwrap_or_else(|| format!("DataType {datatype}").into()), shape }
}

/// What is read of a `PredictRequest` or `PredictResponse`.
#[derive(Debug, Default)]
struct Message<'a> {
    version: Option<Cow<'a, str>>,
    /// Tensors by name, each in its parts: a message may be there several times, and its fields then add up.
    tensors: BTreeMap<Cow<'a, str>, Vec<&'a [u8]>>,
}

impl<'a> Message<'a> {
    /// One tensor more is taken than there may be.
    fn read(message: &'a [u8], model_spec: u32, tensors: u32) -> Result<Self, &'static str> {
        let mut read = Self::default();
        for field in Fields(message) {
            match field? {
                (number, value) if number == model_spec => read.version = version(value.bytes()?)?.or(read.version),
                (number, value) if number == tensors && read.tensors.len() <= MAX_COLUMNS => {
                    let (name, parts) = entry(value.bytes()?)?;
                    // Of a repeated name it is the last one.
                    read.tensors.insert(name, parts);
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// The version that a `ModelSpec` names; else its label.
fn version(model_spec: &[u8]) -> Result<Option<Cow<'_, str>>, &'static str> {
    let (mut version, mut label) = (None, None);
    for field in Fields(model_spec) {
        match field? {
            (2, value) => {
                let mut number = 0;
                for field in Fields(value.bytes()?) {
                    if let (1, value) = field? {
                        value.varints(|own| {
                            number = own as i64;
                            Ok(())
                        })?;
                    }
                }
                version = Some(Cow::Owned(number.to_string()));
            }
            (4, value) => label = Some(String::from_utf8_lossy(value.bytes()?)),
            _ => {}
        }
    }
    Ok(version.or(label))
}

/// A map's entry: the name of a tensor, and the tensor.
fn entry(entry: &[u8]) -> Result<(Cow<'_, str>, Vec<&[u8]>), &'static str> {
    let (mut name, mut parts) = (Cow::default(), Vec::new());
    for field in Fields(entry) {
        match field? {
            (1, value) => name = String::from_utf8_lossy(value.bytes()?),
            (2, _) if parts.len() == MAX_PIECES => return Err("a tensor comes in more than 16 pieces"),
            (2, value) => parts.push(value.bytes()?),
            _ => {}
        }
    }
    Ok((name, parts))
}

/// A `TensorProto`, but for its typed values.
#[derive(Debug, Default)]
struct Tensor<'a> {
    datatype: u64,
    shape: Vec<u64>,
    content: &'a [u8],
}

impl<'a> Tensor<'a> {
    fn read(parts: &[&'a [u8]]) -> Result<Self, &'static str> {
        let mut tensor = Self::default();
        for field in parts.iter().flat_map(|part| Fields(part)) {
            match field? {
                (1, value) => value.varints(|datatype| {
                    tensor.datatype = datatype;
                    Ok(())
                })?,
                (2, value) => tensor.add_dimensions(value.bytes()?)?,
                (4, value) => tensor.content = value.bytes()?,
                _ => {}
            }
        }
        Ok(tensor)
    }

    /// Reads a `TensorShapeProto`.
    fn add_dimensions(&mut self, shape: &[u8]) -> Result<(), &'static str> {
        for field in Fields(shape) {
            match field? {
                (2, value) => {
                    if self.shape.len() == MAX_DIMENSIONS {
                        return Err("a tensor has more than 254 dimensions");
                    }
                    let mut size = 0;
                    for field in Fields(value.bytes()?) {
                        if let (1, value) = field? {
                            value.varints(|own| {
                                size = u64::try_from(own as i64).map_err(|_| "a tensor has an unknown dimension")?;
                                Ok(())
                            })?;
                        }
                    }
                    self.shape.push(size);
                }
                (3, value) => value.varints(|unknown| {
                    if unknown == 0 { Ok(()) } else { Err("a tensor has an unknown number of dimensions") }
                })?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Its values, of which there must be so many.
    fn cells(&self, parts: &[&'a [u8]], datatype: Datatype, expected: usize) -> Result<Cells<'a>, String> {
        match (self.content, datatype) {
            ([], _) => filled(typed(parts, datatype, expected)?, datatype, expected).map(Cells::Any),
            (content, Datatype::Bytes) => Ok(texts(content, expected)?.into()),
            (content, datatype) => raw::cells(content, datatype, expected),
        }
    }
}

/// The values of typed fields.
fn typed<'a>(parts: &[&'a [u8]], datatype: Datatype, expected: usize) -> Result<Vec<Cell<'a>>, &'static str> {
    let mut cells = Vec::new();
    let mut add = |cell: Cell<'a>| {
        if cells.len() == expected {
            return Err("it has more values than its shape holds");
        }
        cells.push(datatype.fit(cell).map_err(|_| "its values are of another type than its own")?);
        Ok(())
    };
    for field in parts.iter().flat_map(|part| Fields(part)) {
        match field? {
            (5, value) => value.fixed32s(|value| add(Cell::Number(f32::from_bits(value).into())))?,
            (6, value) => value.fixed64s(|value| add(Cell::Number(f64::from_bits(value))))?,
            (7, value) => value.varints(|value| add(Cell::Integer((value as i32).into())))?,
            (8, value) => add(raw::text(value.bytes()?))?,
            (10, value) => value.varints(|value| add(Cell::Integer(value as i64)))?,
            (11, value) => value.varints(|value| add(Cell::Boolean(value != 0)))?,
            // The bits of a float of two bytes.
            (13, value) => value.varints(|bits| match datatype {
                Datatype::Bf16 => add(Cell::Number(raw::brain(bits as u16))),
                _ => add(Cell::Number(raw::half(bits as u16))),
            })?,
            (16, value) => value.varints(|value| add(Cell::Integer((value as u32).into())))?,
            (17, value) => value.varints(|value| add(raw::unsigned(value)))?,
            _ => {}
        }
    }
    Ok(cells)
}

/// Repeats the last value until there are as many as the shape holds; where there is none, it is zero.
fn filled<'a>(mut cells: Vec<Cell<'a>>, datatype: Datatype, expected: usize) -> Result<Vec<Cell<'a>>, String> {
    let zero = || match datatype {
        Datatype::Bool => Cell::Boolean(false),
        Datatype::Bytes => Cell::Text(Cow::Borrowed("")),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => Cell::Number(0.0),
        _ => Cell::Integer(0),
    };
    let last = cells.last().cloned().unwrap_or_else(zero);
    let is_long = matches!(&last, Cell::Text(text) if text.len() > MAX_SHARED_BYTES);
    if is_long && cells.len() < expected {
        return Err(format!("its last value is to be repeated, and has more than {MAX_SHARED_BYTES} bytes"));
    }
    cells.resize(expected, last);
    Ok(cells)
}

/// Texts as content: the lengths of all, and then the texts.
fn texts(content: &[u8], expected: usize) -> Result<Vec<Cell<'_>>, &'static str> {
    let mut rest = content;
    let mut lengths = Vec::with_capacity(expected.min(content.len()));
    for _ in 0..expected {
        lengths.push(usize::try_from(varint(&mut rest)?).unwrap_or(usize::MAX));
    }
    let mut cells = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (text, behind) = rest.split_at_checked(length).ok_or("it ends inside a text")?;
        cells.push(raw::text(text));
        rest = behind;
    }
    if rest.is_empty() { Ok(cells) } else { Err("it has bytes behind its texts") }
}

#[cfg(test)]
mod tests;
