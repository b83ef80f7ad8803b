//! The Open Inference Protocol, V2, over HTTP: named tensors with a shape and a datatype, in JSON or behind it.
//!
//! ```json
//! {"id": "7", "inputs": [{"name": "temp", "shape": [2], "datatype": "FP64", "data": [39.02, 41.0]},
//!                        {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": ["UA", "DL"]}]}
//! ```
//!
//! Data may be flat or nested; `tensors.rs` says which columns come of it. With the binary tensor extension the body goes on
//! behind the JSON, whose length a header gives: there lie the values of the tensors that say how many bytes they have, in
//! their order.
//!
//! The numbers of an FP32 tensor are what the model gets: rounded to single precision, however many digits they were sent
//! with. So `39.02` and `39.02000045776367` are one value, and the one that a Parquet file's FLOAT column holds.

use serde::Deserialize;

use crate::cells::Cells;
use crate::decode::DecodeError;
use crate::json::{self, Flat, Text};
use crate::naming::Naming;
use crate::raw;
use crate::rows::{Cell, Role};
use crate::tensors::{Assembly, Datatype, Description, Side};
use crate::v2_plain::{self, Document, Tensor as PlainTensor};

/// The header that says how long the JSON is, in lower case; what follows it is binary.
pub(crate) const JSON_LENGTH_HEADER: &str = "inference-header-content-length";

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
    data: Option<Flat<'a>>,
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    binary_data_size: Option<u64>,
}

/// Reads a request's body. `json_length` is what [`JSON_LENGTH_HEADER`] says.
pub(crate) fn request<'a>(
    body: &'a [u8],
    json_length: Option<&str>,
    naming: &'a Naming,
) -> Result<Side<'a>, DecodeError> {
    let role = Role::Feature;
    let (json, binary) = parts(body, json_length, role)?;
    if let Some(Document { id, tensors, .. }) = plain(json, binary, "inputs") {
        return Ok(Side { id, ..side_of_plain(tensors, naming, role)? });
    }
    request_of_any(json, binary, naming)
}

/// Reads a request of any JSON.
pub(crate) fn request_of_any<'a>(
    json: &'a [u8],
    binary: &'a [u8],
    naming: &'a Naming,
) -> Result<Side<'a>, DecodeError> {
    let role = Role::Feature;
    let request: Request<'_> = json::typed(json).map_err(|error| DecodeError::json(role, &error))?;
    let side = side(request.inputs, binary, naming, role)?;
    Ok(Side { id: request.id.map(|id| id.0), ..side })
}

/// Reads a response's body.
pub(crate) fn response<'a>(
    body: &'a [u8],
    json_length: Option<&str>,
    naming: &'a Naming,
) -> Result<Side<'a>, DecodeError> {
    let role = Role::Prediction;
    let (json, binary) = parts(body, json_length, role)?;
    if let Some(Document { id, model_version, tensors }) = plain(json, binary, "outputs") {
        return Ok(Side { id, model_version, ..side_of_plain(tensors, naming, role)? });
    }
    let response: Response<'_> = json::typed(json).map_err(|error| DecodeError::json(role, &error))?;
    let side = side(response.outputs, binary, naming, role)?;
    Ok(Side { id: response.id.map(|id| id.0), model_version: response.model_version.map(|version| version.0), ..side })
}

/// The JSON, and what lies behind it.
fn parts<'a>(body: &'a [u8], json_length: Option<&str>, role: Role) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    let Some(said) = json_length else { return Ok((body, &[])) };
    let parts = said.trim().parse().ok().and_then(|length| body.split_at_checked(length));
    parts.ok_or_else(|| {
        let what = format!("{JSON_LENGTH_HEADER} is '{said}', which is no length within its {} bytes", body.len());
        DecodeError::Malformed { role, what }
    })
}

/// A body that is nothing but plain JSON.
fn plain<'a>(json: &'a [u8], binary: &[u8], tensors: &str) -> Option<Document<'a>> {
    if binary.is_empty() { v2_plain::read(json, tensors) } else { None }
}

fn side_of_plain<'a>(tensors: Vec<PlainTensor<'a>>, naming: &'a Naming, role: Role) -> Result<Side<'a>, DecodeError> {
    let mut assembly = Assembly::new(role, naming, tensors.len());
    for PlainTensor { description, data } in tensors {
        assembly.add(description, |_, _| Ok(data))?;
    }
    Ok(assembly.finish())
}

fn side<'a>(
    tensors: Vec<Tensor<'a>>,
    mut binary: &'a [u8],
    naming: &'a Naming,
    role: Role,
) -> Result<Side<'a>, DecodeError> {
    let mut assembly = Assembly::new(role, naming, tensors.len());
    for tensor in tensors {
        let Tensor { name: Text(name), shape, datatype: Text(datatype), data, parameters } = tensor;
        let size = parameters.and_then(|parameters| parameters.binary_data_size);
        let bytes = size.map(|size| take(&mut binary, size).ok_or(size));
        assembly.add(Description { name, datatype, shape }, |datatype, expected| match (bytes, data) {
            (Some(_), Some(_)) => Err("it has data both in the JSON and behind it".to_owned()),
            (Some(Ok(bytes)), None) => raw::cells(bytes, datatype, expected),
            (Some(Err(size)), None) => Err(format!("its {size} bytes are not there: the body ends before")),
            (None, Some(data)) => fit(data, datatype).map(Cells::Any),
            (None, None) => Err("it has no data: neither in the JSON, nor a binary_data_size".to_owned()),
        })?;
    }
    if !binary.is_empty() {
        let what = format!("{} bytes behind the JSON belong to no tensor", binary.len());
        return Err(DecodeError::Malformed { role, what });
    }
    Ok(assembly.finish())
}

fn take<'a>(binary: &mut &'a [u8], size: u64) -> Option<&'a [u8]> {
    let (taken, rest) = binary.split_at_checked(usize::try_from(size).ok()?)?;
    *binary = rest;
    Some(taken)
}

/// The cells of a tensor's data as its datatype has them.
fn fit(data: Flat<'_>, datatype: Datatype) -> Result<Vec<Cell<'_>>, String> {
    let Flat { mut cells, object_after } = data;
    let unfit = |cell: &&mut Cell<'_>| !datatype.has(cell);
    for cell in cells.iter_mut().take(object_after.unwrap_or(usize::MAX)).filter(unfit) {
        match datatype.fit(std::mem::replace(cell, Cell::Missing)) {
            Ok(fitting) => *cell = fitting,
            Err(found) => return Err(format!("its data holds {found:?}, which its datatype does not")),
        }
    }
    if object_after.is_some() { Err("its data holds an object".to_owned()) } else { Ok(cells) }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::raw::writing;

    /// A value that its datatype holds exactly.
    fn value(datatype: Datatype) -> BoxedStrategy<Cell<'static>> {
        let float = prop_oneof![Just(0.0), Just(-1.5), Just(f64::INFINITY), Just(1024.0), Just(-0.000_061_035_156_25)];
        let integer = |range: std::ops::RangeInclusive<i64>| range.prop_map(Cell::Integer).boxed();
        match datatype {
            Datatype::Bool => any::<bool>().prop_map(Cell::Boolean).boxed(),
            Datatype::Uint8 => integer(0..=255),
            Datatype::Int8 => integer(-128..=127),
            Datatype::Uint16 => integer(0..=65_535),
            Datatype::Int16 => integer(-32_768..=32_767),
            Datatype::Uint32 => integer(0..=i64::from(u32::MAX)),
            Datatype::Int32 => integer(i64::from(i32::MIN)..=i64::from(i32::MAX)),
            Datatype::Uint64 => integer(0..=i64::MAX),
            Datatype::Int64 => integer(i64::MIN..=i64::MAX),
            Datatype::Fp16 | Datatype::Bf16 => float.prop_map(Cell::Number).boxed(),
            Datatype::Fp32 => any::<f32>().prop_map(|value| Cell::Number(value.into())).boxed(),
            Datatype::Fp64 => any::<f64>().prop_map(Cell::Number).boxed(),
            Datatype::Bytes => ".{0,8}".prop_map(|text| Cell::Text(text.into())).boxed(),
        }
    }

    /// A tensor to be written.
    #[derive(Debug, Clone)]
    pub(crate) struct Written {
        pub(crate) datatype_name: &'static str,
        pub(crate) datatype: Datatype,
        pub(crate) width: usize,
        pub(crate) cells: Vec<Cell<'static>>,
    }

    /// A number of rows, and tensors that have so many.
    pub(crate) fn tensors() -> impl Strategy<Value = (usize, Vec<Written>)> {
        let tensor = |rows: usize| {
            let kind = (prop::sample::select(&Datatype::CHOICES[..]), 1usize..4);
            kind.prop_flat_map(move |((datatype_name, datatype), width)| {
                let cells = vec(value(datatype), rows * width);
                cells.prop_map(move |cells| Written { datatype_name, datatype, width, cells })
            })
        };
        (1usize..4).prop_flat_map(move |rows| (Just(rows), vec(tensor(rows), 1..5)))
    }

    /// The columns that tensors `t0`, `t1`, … give.
    pub(crate) fn expected(tensors: &[Written]) -> Vec<(String, Vec<Cell<'static>>)> {
        let columns = |(index, tensor): (usize, &Written)| {
            let column = |at: usize| {
                let name = if tensor.width == 1 { format!("t{index}") } else { format!("t{index}_{at}") };
                (name, tensor.cells.iter().skip(at).step_by(tensor.width).cloned().collect())
            };
            (0..tensor.width).map(column).collect::<Vec<_>>()
        };
        tensors.iter().enumerate().flat_map(columns).collect()
    }

    pub(crate) fn columns(side: Side<'_>) -> Vec<(String, Vec<Cell<'static>>)> {
        let columns = side.columns.into_iter().map(crate::rows::Column::into_owned);
        columns.map(|column| (column.name.into_owned(), column.cells.into_vec())).collect()
    }

    fn json(cell: &Cell<'_>) -> serde_json::Value {
        match cell {
            Cell::Boolean(value) => (*value).into(),
            Cell::Integer(value) => (*value).into(),
            Cell::Number(value) => (*value).into(),
            Cell::Text(text) => text.as_ref().into(),
            Cell::Missing | Cell::Field(_) | Cell::Embedding(_) => serde_json::Value::Null,
        }
    }

    /// JSON has no infinity.
    fn is_json(cells: &[Cell<'_>]) -> bool {
        cells.iter().all(|cell| !matches!(cell, Cell::Number(value) if !value.is_finite()))
    }

    const BINARY: &[u8] = b"\x01\0\0\0\x02\0\0\0";

    fn reason(json: &str, binary: &[u8], length: &str) -> String {
        let body = [json.as_bytes(), binary].concat();
        request(&body, Some(length), &Naming::default())
            .map(|_| "none")
            .unwrap_or_else(|error| error.reason())
            .to_owned()
    }

    #[test]
    fn binary_parts_that_do_not_add_up_are_refused_with_a_reason() {
        let tensor = |more: &str| {
            let json = format!(r#"{{"inputs": [{{"name": "x", "shape": [2], "datatype": "INT32", {more}}}]}}"#);
            reason(&json, BINARY, &json.len().to_string())
        };
        assert_eq!(tensor(r#""parameters": {"binary_data_size": 8, "other": [1]}"#), "none");
        assert_eq!(tensor(r#""parameters": {"binary_data_size": 4}"#), "shape");
        assert_eq!(tensor(r#""parameters": {"binary_data_size": 9}"#), "shape");
        assert_eq!(tensor(r#""parameters": {"binary_data_size": 18446744073709551615}"#), "shape");
        assert_eq!(tensor(r#""parameters": {"binary_data_size": -1}"#), "malformed");
        assert_eq!(tensor(r#""parameters": {}"#), "shape");
        assert_eq!(tensor(r#""data": [1, 2], "parameters": {"binary_data_size": 8}"#), "shape");
        // What belongs to no tensor is a sender's mistake, and so is a length that is none.
        assert_eq!(tensor(r#""data": [1, 2]"#), "malformed");
        for length in ["", "-1", "1000", "99999999999999999999", "0"] {
            assert_eq!(reason(r#"{"inputs": []}"#, BINARY, length), "malformed");
        }
    }

    proptest! {
        #[test]
        fn tensors_come_back_from_json_and_from_behind_it_mixed(
            (rows, tensors) in tensors(), in_json in vec(any::<bool>(), 5)
        ) {
            let (mut inputs, mut binary) = (Vec::new(), Vec::new());
            for (index, Written { datatype_name, datatype, width, cells }) in tensors.iter().enumerate() {
                let shape = if *width == 1 { vec![rows] } else { vec![rows, *width] };
                let mut tensor =
                    serde_json::json!({"name": format!("t{index}"), "datatype": datatype_name, "shape": shape});
                if in_json[index] && is_json(cells) {
                    tensor["data"] = cells.iter().map(json).collect();
                } else {
                    let bytes = writing::bytes(cells, *datatype);
                    tensor["parameters"] = serde_json::json!({"binary_data_size": bytes.len()});
                    binary.extend(bytes);
                }
                inputs.push(tensor);
            }
            let json = serde_json::json!({"inputs": inputs}).to_string();
            let body = [json.as_bytes(), &binary].concat();
            let (length, naming) = (json.len().to_string(), Naming::default());
            let side = request(&body, Some(&length), &naming).unwrap();
            prop_assert_eq!(side.rows, Some(rows));
            prop_assert_eq!(columns(side), expected(&tensors));
            if !binary.is_empty() {
                prop_assert!(request(&body[..body.len() - 1], Some(&length), &naming).is_err());
            }
        }
    }
}
