//! The Open Inference Protocol, V2, over gRPC: `ModelInfer`, and `ModelStreamInfer` with a request in each message.
//!
//! A tensor's values are typed fields (`contents`), or raw bytes beside all tensors (`raw_input_contents`). The messages of a
//! stream are put under each other. Answers belong to the requests of the same id where all ids are told apart, else they
//! are in the requests' order.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::cells::Cells;
use crate::decode::DecodeError;
use crate::grpc::Messages;
use crate::naming::Naming;
use crate::protobuf::{Fields, Value};
use crate::raw;
use crate::rows::{Cell, MAX_COLUMNS, Role, Rows};
use crate::stack::Stack;
use crate::tensors::{Assembly, Datatype, Description, Side};

/// More dimensions than any tensor has.
const MAX_DIMENSIONS: usize = 32;
/// Pieces that a tensor's contents may come in. Writers make one.
const MAX_PIECES: usize = 16;

/// The rows of a call. A response without any message has no predictions.
pub(crate) fn rows<'a>(
    requests: Messages<'a>,
    responses: Option<Messages<'a>>,
    naming: &'a Naming,
) -> Result<Rows<'a>, DecodeError> {
    let requests = sides(requests, naming, Role::Feature)?;
    let responses = responses.map(|responses| sides(responses, naming, Role::Prediction)).transpose()?;
    let mut responses = responses.unwrap_or_default();
    sort_like(&requests, &mut responses);
    let has_pairs = requests.len() == responses.len();
    // An answer that is an error has no rows of its own.
    let rows_of = |own: &[Side<'_>], others: &[Side<'_>], index: usize| {
        let other = if has_pairs { others.get(index).and_then(|side| side.rows) } else { None };
        own[index].rows.or(other).unwrap_or(0)
    };
    let request_rows: Vec<usize> = (0..requests.len()).map(|at| rows_of(&requests, &responses, at)).collect();
    let response_rows: Vec<usize> = (0..responses.len()).map(|at| rows_of(&responses, &requests, at)).collect();
    let is_answered = !responses.is_empty();
    let features = stacked(requests, &request_rows, Role::Feature)?;
    let predictions = stacked(responses, &response_rows, Role::Prediction)?;
    features.join(is_answered.then_some(predictions))
}

/// Reads every message of one side.
fn sides<'a>(messages: Messages<'a>, naming: &'a Naming, role: Role) -> Result<Vec<Side<'a>>, DecodeError> {
    let side = |message: Result<Cow<'a, [u8]>, DecodeError>| match message? {
        Cow::Borrowed(message) => side(message, naming, role),
        Cow::Owned(message) => side(&message, naming, role).map(Side::into_owned),
    };
    messages.map(side).collect()
}

/// Brings answers in the order of the requests that they name, if each request has an id of its own and each answer names
/// one of them.
fn sort_like(requests: &[Side<'_>], responses: &mut [Side<'_>]) {
    let mut order = HashMap::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let Some(id) = request.id.as_deref().filter(|id| !id.is_empty()) else { return };
        if order.insert(id, index).is_some() {
            return;
        }
    }
    let place = |side: &Side<'_>| order.get(side.id.as_deref().unwrap_or_default()).copied();
    if responses.iter().all(|side| place(side).is_some()) {
        responses.sort_by_key(place);
    }
}

/// The messages of one side under each other. Several requests have no id together.
fn stacked<'a>(mut sides: Vec<Side<'a>>, rows: &[usize], role: Role) -> Result<Side<'a>, DecodeError> {
    if sides.len() == 1 {
        return Ok(sides.pop().unwrap_or_default());
    }
    let model_version = sides.iter().rev().find_map(|side| side.model_version.clone());
    // One error among answers may be any one caller's doing.
    let is_error = !sides.is_empty() && sides.iter().all(|side| side.is_error);
    let mut stack = Stack::new(role);
    for (side, rows) in sides.into_iter().zip(rows) {
        stack.add(side.columns, *rows)?;
    }
    let (rows, columns) = stack.finish();
    Ok(Side { rows: Some(rows), columns, id: None, model_version, is_error })
}

/// Reads a `ModelInferRequest`, a `ModelInferResponse`, or a `ModelStreamInferResponse` with one in it.
fn side<'a>(message: &'a [u8], naming: &'a Naming, role: Role) -> Result<Side<'a>, DecodeError> {
    let malformed = |what: &str| DecodeError::Malformed { role, what: what.to_owned() };
    let infer = match role {
        Role::Feature => Infer::read(message, 7),
        Role::Prediction => inside(message).and_then(|message| Infer::read(message, 6)),
    };
    let infer = infer.map_err(malformed)?;
    let is_error = role == Role::Prediction && is_error(message);
    if infer.tensors.len() > MAX_COLUMNS {
        return Err(DecodeError::TooManyColumns);
    }
    let mut raw = infer.raw.iter();
    if !infer.raw.is_empty() && infer.raw.len() != infer.tensors.len() {
        return Err(malformed(&format!(
            "it has {} tensors and raw contents of {}",
            infer.tensors.len(),
            infer.raw.len()
        )));
    }
    let mut assembly = Assembly::new(role, naming, infer.tensors.len());
    for tensor in infer.tensors {
        let Tensor { description, contents } = Tensor::read(tensor).map_err(malformed)?;
        let raw = raw.next();
        assembly.add(description, |datatype, expected| match raw {
            Some(_) if contents.iter().any(|contents| !contents.is_empty()) => {
                Err("it has contents of its own beside raw ones".to_owned())
            }
            Some(raw) => raw::cells(raw, datatype, expected),
            None => typed(&contents, datatype, expected).map(Cells::Any).map_err(str::to_owned),
        })?;
    }
    Ok(Side { id: infer.id, model_version: infer.model_version, is_error, ..assembly.finish() })
}

/// The answer inside a message of a stream. Triton wraps it (`error_message = 1`, `infer_response = 2`); MLServer does not,
/// and has a text in field 2, its version. Only an answer of its own has further fields, and a version is no message.
fn inside(message: &[u8]) -> Result<&[u8], &'static str> {
    let mut inner = None;
    for field in Fields(message) {
        match field? {
            (1, Value::Bytes(_)) => {}
            (2, Value::Bytes(bytes)) if Fields(bytes).all(|field| field.is_ok()) => inner = Some(bytes),
            _ => return Ok(message),
        }
    }
    Ok(inner.unwrap_or_default())
}

/// Whether a message of a stream is Triton's with an error in it and no answer.
fn is_error(message: &[u8]) -> bool {
    let is_text = |field| matches!(field, Ok((1, Value::Bytes(text))) if !text.is_empty());
    let is_nothing = |field| matches!(field, Ok((2, Value::Bytes([]))));
    Fields(message).any(is_text) && Fields(message).all(|field| is_text(field) || is_nothing(field))
}

/// What is read of a `ModelInferRequest` or `ModelInferResponse`.
#[derive(Debug, Default)]
struct Infer<'a> {
    model_version: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    tensors: Vec<&'a [u8]>,
    raw: Vec<&'a [u8]>,
}

impl<'a> Infer<'a> {
    /// Reads one whose raw contents have this number. One tensor more is taken than there may be.
    fn read(message: &'a [u8], raw_contents: u32) -> Result<Self, &'static str> {
        let mut infer = Self::default();
        for field in Fields(message) {
            match field? {
                (2, value) => infer.model_version = Some(String::from_utf8_lossy(value.bytes()?)),
                (3, value) => infer.id = Some(String::from_utf8_lossy(value.bytes()?)),
                (5, value) if infer.tensors.len() <= MAX_COLUMNS => infer.tensors.push(value.bytes()?),
                (number, value) if number == raw_contents && infer.raw.len() <= MAX_COLUMNS => {
                    infer.raw.push(value.bytes()?);
                }
                _ => {}
            }
        }
        Ok(infer)
    }
}

struct Tensor<'a> {
    description: Description<'a>,
    /// The message may be there several times; its fields then add up.
    contents: Vec<&'a [u8]>,
}

impl<'a> Tensor<'a> {
    fn read(tensor: &'a [u8]) -> Result<Self, &'static str> {
        let mut description = Description { name: Cow::default(), datatype: Cow::default(), shape: Vec::new() };
        let mut contents = Vec::new();
        for field in Fields(tensor) {
            match field? {
                (1, value) => description.name = String::from_utf8_lossy(value.bytes()?),
                (2, value) => description.datatype = String::from_utf8_lossy(value.bytes()?),
                (3, value) => value.varints(|size| {
                    if description.shape.len() == MAX_DIMENSIONS {
                        return Err("a tensor has more than 32 dimensions");
                    }
                    let size = i64::from_ne_bytes(size.to_ne_bytes());
                    description.shape.push(u64::try_from(size).map_err(|_| "a tensor has a negative dimension")?);
                    Ok(())
                })?,
                (5, _) if contents.len() == MAX_PIECES => {
                    return Err("a tensor's contents come in more than 16 pieces");
                }
                (5, value) => contents.push(value.bytes()?),
                _ => {}
            }
        }
        Ok(Self { description, contents })
    }
}

/// The values of an `InferTensorContents`, of which there must be so many.
fn typed<'a>(contents: &[&'a [u8]], datatype: Datatype, expected: usize) -> Result<Vec<Cell<'a>>, &'static str> {
    let mut cells = Vec::new();
    let mut add = |cell: Cell<'a>| {
        if cells.len() == expected {
            return Err("it has more values than its shape holds");
        }
        cells.push(datatype.fit(cell).map_err(|_| "its contents are of another type than its datatype")?);
        Ok(())
    };
    for field in contents.iter().flat_map(|contents| Fields(contents)) {
        match field? {
            (1, value) => value.varints(|value| add(Cell::Boolean(value != 0)))?,
            (2, value) => value.varints(|value| add(Cell::Integer((value as i32).into())))?,
            (3, value) => value.varints(|value| add(Cell::Integer(value as i64)))?,
            (4, value) => value.varints(|value| add(Cell::Integer((value as u32).into())))?,
            (5, value) => value.varints(|value| add(raw::unsigned(value)))?,
            (6, value) => value.fixed32s(|value| add(Cell::Number(f32::from_bits(value).into())))?,
            (7, value) => value.fixed64s(|value| add(Cell::Number(f64::from_bits(value))))?,
            (8, value) => add(raw::text(value.bytes()?))?,
            _ => {}
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests;
