//! The Open Inference Protocol, V2, in JSON: named tensors with a shape and a datatype.
//!
//! ```json
//! {"id": "7", "inputs": [{"name": "temp", "shape": [2], "datatype": "FP64", "data": [39.02, 41.0]},
//!                        {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": ["UA", "DL"]}]}
//! ```
//!
//! The first dimension counts the rows. A tensor of one value a row is a column of its name; one with k values a row is
//! k columns, `name_0` to `name_{k-1}`. Data may be flat or nested.
//!
//! The numbers of an FP32 tensor are what the model gets: rounded to single precision, however many digits they were sent
//! with. So `39.02` and `39.02000045776367` are one value, and the one that a Parquet file's FLOAT column holds.

use std::borrow::Cow;

use serde::Deserialize;

use crate::decode::DecodeError;
use crate::json::{Text, Value};
use crate::rows::{Cell, Column, MAX_COLUMNS, Role};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    inputs: Vec<Tensor<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model_version: Option<Text<'a>>,
    #[serde(borrow)]
    outputs: Vec<Tensor<'a>>,
}

#[derive(Deserialize)]
struct Tensor<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    shape: Vec<u64>,
    #[serde(borrow)]
    datatype: Text<'a>,
    #[serde(borrow)]
    data: Value<'a>,
}

/// One side of an exchange.
pub(crate) struct Side<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: Vec<Column<'a>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) model_version: Option<Cow<'a, str>>,
}

pub(crate) fn request(body: &[u8]) -> Result<Side<'_>, DecodeError> {
    let request: Request<'_> =
        serde_json::from_slice(body).map_err(|error| DecodeError::json(Role::Feature, &error))?;
    let (rows, columns) = columns(request.inputs, Role::Feature)?;
    Ok(Side { rows, columns, id: request.id.map(|id| id.0), model_version: None })
}

pub(crate) fn response(body: &[u8]) -> Result<Side<'_>, DecodeError> {
    let response: Response<'_> =
        serde_json::from_slice(body).map_err(|error| DecodeError::json(Role::Prediction, &error))?;
    let (rows, columns) = columns(response.outputs, Role::Prediction)?;
    Ok(Side { rows, columns, id: response.id.map(|id| id.0), model_version: response.model_version.map(|v| v.0) })
}

fn columns(tensors: Vec<Tensor<'_>>, role: Role) -> Result<(usize, Vec<Column<'_>>), DecodeError> {
    let mut columns = Vec::with_capacity(tensors.len());
    let mut rows = None;
    for tensor in tensors {
        let name = tensor.name.0;
        let shape_error = |what: String| DecodeError::Shape { role, column: name.to_string(), what };
        let datatype = Datatype::named(&tensor.datatype.0)
            .ok_or_else(|| shape_error(format!("datatype '{}' is not one of V2's", tensor.datatype.0)))?;
        let Some((&count, rest)) = tensor.shape.split_first() else {
            return Err(shape_error("the shape is empty, and its first number should count the rows".to_owned()));
        };
        let width = rest.iter().try_fold(1u64, |product, size| product.checked_mul(*size)).unwrap_or(u64::MAX);
        if width > MAX_COLUMNS as u64 || columns.len() + width as usize > MAX_COLUMNS {
            return Err(DecodeError::TooManyColumns);
        }
        if width == 0 && count > 0 {
            return Err(shape_error(format!("shape {:?} counts rows and holds no value", tensor.shape)));
        }
        let width = width as usize;
        let mut cells = Vec::new();
        flatten(tensor.data, datatype, &mut cells).map_err(&shape_error)?;
        if Some(cells.len() as u64) != count.checked_mul(width as u64) {
            return Err(shape_error(format!("shape {:?} does not hold {} values", tensor.shape, cells.len())));
        }
        let count = count as usize;
        if *rows.get_or_insert(count) != count {
            return Err(shape_error(format!("it has {count} rows, and the tensors before it {}", rows.unwrap_or(0))));
        }
        if width == 1 {
            columns.push(Column { name, role, cells });
        } else {
            let mut split: Vec<Vec<Cell<'_>>> = (0..width).map(|_| Vec::with_capacity(count)).collect();
            for (i, cell) in cells.into_iter().enumerate() {
                split[i % width].push(cell);
            }
            let column = |(i, cells)| Column { name: format!("{name}_{i}").into(), role, cells };
            columns.extend(split.into_iter().enumerate().map(column));
        }
    }
    Ok((rows.unwrap_or(0), columns))
}

#[derive(Clone, Copy)]
enum Datatype {
    Boolean,
    Integer,
    Float,
    Single,
    Bytes,
}

impl Datatype {
    fn named(name: &str) -> Option<Self> {
        match name {
            "BOOL" => Some(Self::Boolean),
            "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" => Some(Self::Integer),
            "FP16" | "FP64" | "BF16" => Some(Self::Float),
            "FP32" => Some(Self::Single),
            "BYTES" => Some(Self::Bytes),
            _ => None,
        }
    }

    /// The cell as the datatype has it; none when it does not fit.
    fn fit(self, cell: Cell<'_>) -> Option<Cell<'_>> {
        match (self, cell) {
            (_, Cell::Missing) => Some(Cell::Missing),
            (Self::Boolean, Cell::Integer(value @ (0 | 1))) => Some(Cell::Boolean(value == 1)),
            (Self::Float, Cell::Integer(value)) => Some(Cell::Number(value as f64)),
            (Self::Single, Cell::Integer(value)) => Some(Cell::Number(f64::from(value as f32))),
            (Self::Single, Cell::Number(value)) => Some(Cell::Number(f64::from(value as f32))),
            // Some servers write whole floats for integer tensors.
            (Self::Integer, Cell::Number(value)) if value.fract() == 0.0 => Some(Cell::Number(value)),
            (Self::Boolean, cell @ Cell::Boolean(_))
            | (Self::Integer, cell @ Cell::Integer(_))
            | (Self::Float, cell @ Cell::Number(_))
            | (Self::Bytes, cell @ Cell::Text(_)) => Some(cell),
            _ => None,
        }
    }
}

fn flatten<'a>(data: Value<'a>, datatype: Datatype, cells: &mut Vec<Cell<'a>>) -> Result<(), String> {
    match data {
        Value::Scalar(cell) => {
            let found = format!("{cell:?}");
            cells.push(
                datatype.fit(cell).ok_or_else(|| format!("its data holds {found}, which its datatype does not"))?,
            );
        }
        Value::Array(values) => {
            cells.reserve(values.len());
            for value in values {
                flatten(value, datatype, cells)?;
            }
        }
        Value::Object(_) => return Err("its data holds an object".to_owned()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(datatype: &str, data: &str) -> String {
        let body =
            format!(r#"{{"inputs": [{{"name": "x", "shape": [3], "datatype": "{datatype}", "data": {data}}}]}}"#);
        format!("{:?}", request(body.as_bytes()).unwrap().columns[0].cells)
    }

    #[test]
    fn single_precision_is_what_a_parquet_column_of_it_holds() {
        let of_parquet = format!("{:?}", [39.02f32, 0.1, 16_777_216.0].map(|value| Cell::Number(f64::from(value))));
        assert_eq!(cells("FP32", "[39.02, 0.1, 16777217]"), of_parquet);
        assert_eq!(cells("FP32", "[39.02000045776367, 0.10000000149011612, 16777216.0]"), of_parquet);
        let as_sent = format!("{:?}", [39.02, 0.1, 16_777_217.0].map(Cell::Number));
        assert_eq!(cells("FP64", "[39.02, 0.1, 16777217]"), as_sent);
    }
}
