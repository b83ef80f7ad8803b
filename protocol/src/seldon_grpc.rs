//! Seldon Core's protocol, version 1, over gRPC: `seldon.protos.Seldon/Predict`, and `Model/Predict` of its containers.
//!
//! A message is made what its JSON form would have been read as, so that both have the same rows; see [`crate::seldon`].

use std::borrow::Cow;

use crate::decode::{DecodeError, Naming};
use crate::grpc::Messages;
use crate::json::{Entries, MAX_DEPTH, Value};
use crate::protobuf::{self, Fields};
use crate::rows::{Cell, MAX_CELLS, MAX_NAME_BYTES, Role, Rows};
use crate::seldon;

/// The rows of a call. A response without a message has no predictions.
pub(crate) fn rows<'a>(
    mut requests: Messages<'a>,
    responses: Option<Messages<'a>>,
    naming: &'a Naming,
) -> Result<Rows<'a>, DecodeError> {
    let missing = || DecodeError::Malformed { role: Role::Feature, what: "it has no message".to_owned() };
    let request = requests.next().transpose()?.ok_or_else(missing)?;
    let response = responses.and_then(|mut responses| responses.next()).transpose()?;
    match (request, response) {
        (Cow::Borrowed(request), None) => rows_of(request, None, naming),
        (Cow::Borrowed(request), Some(Cow::Borrowed(response))) => rows_of(request, Some(response), naming),
        // What was decompressed goes at this function's end, and the rows must not borrow from it.
        (request, response) => rows_of(&request, response.as_deref(), naming).map(Rows::into_owned),
    }
}

fn rows_of<'a>(request: &'a [u8], response: Option<&'a [u8]>, naming: &'a Naming) -> Result<Rows<'a>, DecodeError> {
    let (request, asked) = Reader::new(Role::Feature).message(request)?;
    let (response, answered) = match response {
        None => (None, None),
        Some(response) => {
            let (response, id) = Reader::new(Role::Prediction).message(response)?;
            (Some(response), id)
        }
    };
    let mut rows = seldon::rows_of_messages(request, response, naming)?;
    rows.id = rows.id.or(answered).or(asked);
    Ok(rows)
}

/// Reads one message.
struct Reader {
    role: Role,
    /// Values that may still be made of it: a null has two bytes.
    left: usize,
}

impl Reader {
    fn new(role: Role) -> Self {
        Self { role, left: MAX_CELLS }
    }

    fn malformed(&self, what: &str) -> DecodeError {
        DecodeError::Malformed { role: self.role, what: what.to_owned() }
    }

    fn fields<'a>(
        &self,
        message: protobuf::Value<'a>,
    ) -> Result<impl Iterator<Item = Result<(u32, protobuf::Value<'a>), DecodeError>> + use<'a>, DecodeError> {
        let role = self.role;
        let fields = Fields(message.bytes().map_err(|what| self.malformed(what))?);
        Ok(fields.map(move |field| field.map_err(|what| DecodeError::Malformed { role, what: what.to_owned() })))
    }

    fn text<'a>(&self, value: protobuf::Value<'a>) -> Result<Cow<'a, str>, DecodeError> {
        let bytes = value.bytes().map_err(|what| self.malformed(what))?;
        std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| self.malformed("a text is no UTF-8"))
    }

    fn name<'a>(&self, value: protobuf::Value<'a>) -> Result<Cow<'a, str>, DecodeError> {
        let name = self.text(value)?;
        if name.len() > MAX_NAME_BYTES {
            return Err(self.malformed(&format!("a name has {} bytes; {MAX_NAME_BYTES} may be", name.len())));
        }
        Ok(name)
    }

    fn scalar<'a>(&mut self, cell: Cell<'a>) -> Result<Value<'a>, DecodeError> {
        self.left = self.left.checked_sub(1).ok_or(DecodeError::TooManyCells)?;
        Ok(Value::Scalar(cell))
    }

    /// A `SeldonMessage` as its JSON form, and the id that it gives the request.
    fn message<'a>(&mut self, message: &'a [u8]) -> Result<(Value<'a>, Option<Cow<'a, str>>), DecodeError> {
        let (mut entries, mut id) = (Entries::new(), None);
        for field in self.fields(protobuf::Value::Bytes(message))? {
            let (name, value) = match field? {
                (2, meta) => {
                    id = self.id(meta)?.or(id);
                    continue;
                }
                (3, data) => ("data", Value::Object(self.data(data)?)),
                (4, bytes) => {
                    let bytes = bytes.bytes().map_err(|what| self.malformed(what))?;
                    ("binData", self.scalar(crate::raw::text(bytes))?)
                }
                (5, text) => ("strData", Value::Scalar(Cell::Text(self.text(text)?))),
                (6, value) => ("jsonData", self.value(value, 0)?),
                _ => continue,
            };
            // There is one of them; of several it is the last one.
            entries = vec![(name.into(), value)];
        }
        Ok((Value::Object(entries), id))
    }

    fn id<'a>(&self, meta: protobuf::Value<'a>) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let mut id = None;
        for field in self.fields(meta)? {
            if let (1, value) = field? {
                id = Some(self.text(value)?).filter(|id| !id.is_empty());
            }
        }
        Ok(id)
    }

    /// A `DefaultData`.
    fn data<'a>(&mut self, data: protobuf::Value<'a>) -> Result<Entries<'a>, DecodeError> {
        let (mut names, mut values) = (Vec::new(), None);
        for field in self.fields(data)? {
            match field? {
                (1, value) => {
                    let name = self.name(value)?;
                    names.push(self.scalar(Cell::Text(name))?);
                }
                (2, value) => values = Some(("tensor", Value::Object(self.tensor(value)?))),
                (3, value) => values = Some(("ndarray", self.list(value, 0)?)),
                _ => {}
            }
        }
        let values = values.map(|(name, value)| (Cow::Borrowed(name), value));
        Ok([("names".into(), Value::Array(names))].into_iter().chain(values).collect())
    }

    /// A `Tensor`.
    fn tensor<'a>(&mut self, tensor: protobuf::Value<'a>) -> Result<Entries<'a>, DecodeError> {
        let (mut shape, mut values) = (Vec::new(), Vec::new());
        let mut refused = None;
        for field in self.fields(tensor)? {
            let mut add = |list: &mut Vec<Value<'a>>, cell| match self.scalar(cell) {
                Ok(value) => {
                    list.push(value);
                    Ok(())
                }
                Err(error) => {
                    refused = Some(error);
                    Err("it has more values than may be")
                }
            };
            let read = match field? {
                (1, value) => value.varints(|size| add(&mut shape, Cell::Integer((size as i32).into()))),
                (2, value) => value.fixed64s(|bits| add(&mut values, Cell::Number(f64::from_bits(bits)))),
                _ => Ok(()),
            };
            if let Some(error) = refused {
                return Err(error);
            }
            read.map_err(|what| self.malformed(what))?;
        }
        Ok(vec![("shape".into(), Value::Array(shape)), ("values".into(), Value::Array(values))])
    }

    /// A `google.protobuf.Value`. One that says nothing is null.
    fn value<'a>(&mut self, value: protobuf::Value<'a>, depth: usize) -> Result<Value<'a>, DecodeError> {
        let mut read = self.scalar(Cell::Missing)?;
        for field in self.fields(value)? {
            read = match field? {
                (1, _) => Value::Scalar(Cell::Missing),
                (2, protobuf::Value::Fixed64(bits)) => Value::Scalar(Cell::Number(f64::from_bits(bits))),
                (3, text) => Value::Scalar(Cell::Text(self.text(text)?)),
                (4, protobuf::Value::Varint(value)) => Value::Scalar(Cell::Boolean(value != 0)),
                (5, entries) => Value::Object(self.entries(entries, depth)?),
                (6, values) => self.list(values, depth)?,
                (2 | 4, _) => return Err(self.malformed("a value is of another type than it says")),
                _ => continue,
            };
        }
        Ok(read)
    }

    /// A `ListValue`.
    fn list<'a>(&mut self, list: protobuf::Value<'a>, depth: usize) -> Result<Value<'a>, DecodeError> {
        let depth = self.inside(depth)?;
        let mut values = Vec::new();
        for field in self.fields(list)? {
            if let (1, value) = field? {
                values.push(self.value(value, depth)?);
            }
        }
        Ok(Value::Array(values))
    }

    /// The entries of a `Struct`.
    fn entries<'a>(&mut self, entries: protobuf::Value<'a>, depth: usize) -> Result<Entries<'a>, DecodeError> {
        let depth = self.inside(depth)?;
        let mut read = Entries::new();
        for field in self.fields(entries)? {
            let (1, entry) = field? else { continue };
            let (mut name, mut value) = (Cow::default(), Value::Scalar(Cell::Missing));
            for field in self.fields(entry)? {
                match field? {
                    (1, key) => name = self.name(key)?,
                    (2, own) => value = self.value(own, depth)?,
                    _ => {}
                }
            }
            self.left = self.left.checked_sub(1).ok_or(DecodeError::TooManyCells)?;
            read.push((name, value));
        }
        Ok(read)
    }

    fn inside(&self, depth: usize) -> Result<usize, DecodeError> {
        if depth == MAX_DEPTH {
            return Err(self.malformed(&format!("values nest deeper than {MAX_DEPTH}")));
        }
        Ok(depth + 1)
    }
}

#[cfg(test)]
mod tests;
