//! What a model says of itself: the types of its columns, before any row has come.
//!
//! Three documents are read: V2's metadata, as `GET /v2/models/{model}` answers; TensorFlow Serving's, as
//! `GET /v1/models/{model}/metadata` does; and the signature that MLflow stores with a model, whose inputs and outputs are
//! JSON inside of a string. Each describes tensors; their columns are called as the decoders call them.
//!
//! ```
//! use driftline_protocol::{Metadata, Naming, ValueType};
//!
//! let document = r#"{"name": "m", "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1, 2]}]}"#;
//! let types = Metadata::parse(document).unwrap().column_types(&Naming::default());
//! assert_eq!(types["x_1"], ValueType::Integer);
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::repeat_n;

use serde_json::Value;

use crate::flatten::Unnamed;
use crate::naming::{Naming, TensorNaming};
use crate::rows::{MAX_COLUMNS, Role};
use crate::tensors::{Assembly, Datatype, Kept};

/// The signature of TensorFlow Serving's that requests mean when they name none.
const DEFAULT_SIGNATURE: &str = "serving_default";

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// Floats.
    Number,
    /// Integers.
    Integer,
    /// True or false.
    Boolean,
    /// Texts.
    Text,
    /// Vectors.
    Embedding,
}

impl From<Datatype> for ValueType {
    fn from(datatype: Datatype) -> Self {
        match datatype {
            Datatype::Bool => Self::Boolean,
            Datatype::Bytes => Self::Text,
            Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => Self::Number,
            Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 | Datatype::Uint64 => Self::Integer,
            Datatype::Int8 | Datatype::Int16 | Datatype::Int32 | Datatype::Int64 => Self::Integer,
        }
    }
}

/// A model's inputs and outputs, as it describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    inputs: Side,
    outputs: Side,
}

/// The tensors of requests, or those of answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Side {
    tensors: Vec<Tensor>,
    /// Whether they are described in the order that values without names have.
    is_ordered: bool,
}

/// A tensor, as far as what is said of it is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tensor {
    name: Option<String>,
    datatype: Option<Datatype>,
    /// Values in each row.
    width: Option<usize>,
}

impl Metadata {
    /// Reads a document, whichever of the three it is. What is not understood in it is left out.
    ///
    /// # Errors
    /// One sentence: why it describes nothing.
    pub fn parse(document: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(document).map_err(|error| format!("it is no JSON: {error}"))?;
        let signatures = &document["metadata"]["signature_def"]["signature_def"];
        let [inputs, outputs] = match signatures.is_object() {
            true => tensorflow(signatures)?,
            false => [side(&document["inputs"])?, side(&document["outputs"])?],
        };
        if inputs.tensors.is_empty() && outputs.tensors.is_empty() {
            return Err(
                "it names no inputs and no outputs; expected is V2's metadata, that of TensorFlow Serving, or the \
                        signature of MLflow"
                    .to_owned(),
            );
        }
        Ok(Self { inputs, outputs })
    }

    /// The columns that these tensors become, in every form in which a protocol has them, and their types.
    #[must_use]
    pub fn column_types(&self, naming: &Naming) -> BTreeMap<String, ValueType> {
        let mut types = self.inputs.column_types(Role::Feature, Unnamed::Features(naming), naming);
        for (name, kind) in self.outputs.column_types(Role::Prediction, Unnamed::Predictions, naming) {
            // As decoders tell the two apart.
            let name = if types.contains_key(&name) { format!("prediction.{name}") } else { name };
            types.insert(name, kind);
        }
        types
    }
}

impl Side {
    fn column_types(&self, role: Role, unnamed: Unnamed<'_>, naming: &Naming) -> BTreeMap<String, ValueType> {
        let assembly = Assembly::new(role, naming, self.tensors.len());
        let named = self.tensors.iter().flat_map(|tensor| tensor.columns(&assembly, naming));
        // A document names columns by the thousand in a few bytes.
        named.chain(self.by_place(unnamed)).take(2 * MAX_COLUMNS).collect()
    }

    /// The columns of rows that come without names.
    fn by_place(&self, unnamed: Unnamed<'_>) -> Vec<(String, ValueType)> {
        let mut types: Vec<ValueType> = Vec::new();
        for tensor in &self.tensors {
            let (Some(datatype), Some(width)) = (tensor.datatype, tensor.width) else { return Vec::new() };
            if !self.is_ordered || width > MAX_COLUMNS - types.len() {
                return Vec::new();
            }
            types.extend(repeat_n(ValueType::from(datatype), width));
        }
        let single = (types.len() == 1).then(|| (unnamed.single().into_owned(), types[0]));
        let of_place = |(place, kind)| (unnamed.at(place).into_owned(), kind);
        types.into_iter().enumerate().map(of_place).chain(single).collect()
    }
}

impl Tensor {
    fn columns(&self, assembly: &Assembly<'_>, naming: &Naming) -> Vec<(String, ValueType)> {
        let (Some(name), Some(datatype)) = (&self.name, self.datatype) else { return Vec::new() };
        let width = match naming.tensors.get(name) {
            Some(TensorNaming::Ignored) => None,
            Some(TensorNaming::Columns(names)) => Some(names.len()),
            Some(TensorNaming::Embedding) => self.width.or(Some(1)),
            None => self.width,
        };
        let kept = width.and_then(|width| assembly.kept(&Cow::Owned(name.clone()), datatype, width).ok());
        match kept {
            Some(Kept::Columns(names)) => names.into_iter().map(|name| (name.into_owned(), datatype.into())).collect(),
            Some(Kept::Embedding) => vec![(name.clone(), ValueType::Embedding)],
            None => Vec::new(),
        }
    }
}

/// The tensors of V2's metadata, or of MLflow's signature: that is JSON inside of a string.
fn side(described: &Value) -> Result<Side, String> {
    let tensors = match described {
        Value::Array(tensors) => tensors.iter().map(v2).collect(),
        Value::String(text) => {
            let columns: Vec<Value> =
                serde_json::from_str(text).map_err(|error| format!("its signature is no list in JSON: {error}"))?;
            columns.iter().map(mlflow).collect()
        }
        _ => Vec::new(),
    };
    Ok(Side { tensors, is_ordered: true })
}

fn v2(tensor: &Value) -> Tensor {
    Tensor {
        name: tensor["name"].as_str().map(str::to_owned),
        datatype: tensor["datatype"].as_str().and_then(Datatype::named),
        width: width(&tensor["shape"], Value::as_i64),
    }
}

/// A column of a frame, or a tensor, which may have no name.
fn mlflow(column: &Value) -> Tensor {
    let name = column["name"].as_str().map(str::to_owned);
    let datatype = |name: &Value| name.as_str().and_then(datatype);
    match &column["tensor-spec"] {
        Value::Object(spec) => {
            let part = |name| spec.get(name).unwrap_or(&Value::Null);
            Tensor { name, datatype: datatype(part("dtype")), width: width(part("shape"), Value::as_i64) }
        }
        _ => Tensor { name, datatype: datatype(&column["type"]), width: Some(1) },
    }
}

/// The inputs and outputs of the signature that is meant where requests name none.
fn tensorflow(signatures: &Value) -> Result<[Side; 2], String> {
    let signatures = signatures.as_object().into_iter().flatten().collect::<BTreeMap<_, _>>();
    let only = || signatures.values().next().filter(|_| signatures.len() == 1);
    let signature = signatures.get(&DEFAULT_SIGNATURE.to_owned()).or_else(only).ok_or_else(|| {
        format!("of its {} signatures none is '{DEFAULT_SIGNATURE}', which requests mean", signatures.len())
    })?;
    let side = |described: &Value| {
        let tensors: Vec<Tensor> = described.as_object().into_iter().flatten().map(tensorflow_tensor).collect();
        // Names have no order; a single tensor needs none.
        Side { is_ordered: tensors.len() == 1, tensors }
    };
    Ok([side(&signature["inputs"]), side(&signature["outputs"])])
}

fn tensorflow_tensor((name, described): (&String, &Value)) -> Tensor {
    // JSON of protobuf writes 64-bit integers as strings.
    let size = |dimension: &Value| dimension["size"].as_str()?.parse().ok();
    Tensor {
        name: Some(name.clone()),
        datatype: described["dtype"].as_str().and_then(|name| datatype(name.strip_prefix("DT_")?)),
        width: width(&described["tensor_shape"]["dim"], size),
    }
}

/// Values in each row: all dimensions but the first, which counts the rows. None where one may be of any size.
fn width(shape: &Value, size: impl Fn(&Value) -> Option<i64>) -> Option<usize> {
    let (_, rest) = shape.as_array()?.split_first()?;
    let width = rest.iter().try_fold(1usize, |width, dimension| {
        let size = usize::try_from(size(dimension)?).ok()?;
        width.checked_mul(size)
    });
    width.filter(|width| *width > 0)
}

/// A type by its name in TensorFlow, numpy or MLflow. How wide numbers are makes no difference to a column.
fn datatype(name: &str) -> Option<Datatype> {
    match name.to_ascii_lowercase().as_str() {
        "bool" | "boolean" => Some(Datatype::Bool),
        "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64" | "integer" | "long" => {
            Some(Datatype::Int64)
        }
        "half" | "float16" | "bfloat16" | "float" | "float32" | "float64" | "double" => Some(Datatype::Fp64),
        "string" | "str" | "binary" | "bytes" => Some(Datatype::Bytes),
        // Times come in as many spellings as there are clients; and of nested types no column is made as a whole.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn types(document: &Value, naming: &Naming) -> Result<String, String> {
        let types = Metadata::parse(&document.to_string())?.column_types(naming);
        let types: Vec<String> = types.iter().map(|(name, kind)| format!("{name}: {kind:?}")).collect();
        Ok(types.join(", "))
    }

    fn of(document: &Value) -> String {
        types(document, &Naming::default()).unwrap()
    }

    #[test]
    fn v2_names_columns_as_its_tensors_do() {
        let document = json!({"name": "m", "versions": ["1"], "platform": "", "inputs": [
            {"name": "age", "datatype": "INT32", "shape": [-1]},
            {"name": "plan", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "w", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "text", "datatype": "FP32", "shape": [-1, 384]},
            {"name": "any", "datatype": "FP32", "shape": [-1, -1]},
            {"name": "odd", "datatype": "COMPLEX", "shape": [-1, 2]}],
            "outputs": [{"name": "age", "datatype": "BOOL", "shape": [-1, 1]}]});
        let expected = "age: Integer, plan: Text, prediction: Boolean, prediction.age: Boolean, prediction_0: Boolean, \
                        text: Embedding, w_0: Number, w_1: Number";
        assert_eq!(of(&document), expected);
    }

    #[test]
    fn the_configuration_names_what_metadata_describes() {
        let told = |naming| [("w".to_owned(), naming)].into();
        let document = json!({"inputs": [{"name": "w", "datatype": "INT64", "shape": [-1, -1]}]});
        let names = TensorNaming::Columns(vec!["a".into(), "b".into()]);
        let columns = |tensors| types(&document, &Naming { tensors, ..Naming::default() }).unwrap();
        assert_eq!(columns(told(names)), "a: Integer, b: Integer");
        assert_eq!(columns(told(TensorNaming::Embedding)), "w: Embedding");
        assert_eq!(columns(told(TensorNaming::Ignored)), "");
        assert_eq!(columns(BTreeMap::new()), "", "as many as there are");
        let features = Naming { features: vec!["a".into(), "b".into()], ..Naming::default() };
        let two = json!({"inputs": [{"name": "w", "datatype": "INT64", "shape": [-1, 2]}]});
        assert_eq!(types(&two, &features).unwrap(), "a: Integer, b: Integer");
    }

    #[test]
    fn tensorflow_says_which_signature_is_meant() {
        let tensor = |dtype: &str, sizes: &[&str]| {
            let dim: Vec<Value> = sizes.iter().map(|size| json!({"size": size, "name": ""})).collect();
            json!({"dtype": dtype, "tensor_shape": {"dim": dim, "unknown_rank": false}, "name": "x:0"})
        };
        let of_signatures = |signatures: Value| json!({"model_spec": {"name": "m"}, "metadata": {"signature_def": {"signature_def": signatures}}});
        let signature = |dtype| {
            json!({"inputs": {"x": tensor(dtype, &["-1", "2"])},
            "outputs": {"classes": tensor("DT_STRING", &["-1"]), "scores": tensor("DT_FLOAT", &["-1", "2"])}})
        };
        let expected = "classes: Text, feature_0: Integer, feature_1: Integer, scores_0: Number, scores_1: Number, \
                        x_0: Integer, x_1: Integer";
        let several = json!({"serving_default": signature("DT_INT64"), "other": signature("DT_BOOL")});
        assert_eq!(of(&of_signatures(several)), expected);
        assert_eq!(of(&of_signatures(json!({"predict": signature("DT_UINT8")}))), expected);
        let unclear = json!({"a": signature("DT_BOOL"), "b": signature("DT_BOOL")});
        let why = types(&of_signatures(unclear), &Naming::default()).unwrap_err();
        assert!(why.contains("of its 2 signatures none is 'serving_default'"), "{why}");
    }

    #[test]
    fn mlflow_names_the_columns_of_frames_and_tensors_without_names() {
        let inputs = json!([{"type": "long", "name": "age", "required": true}, {"type": "string", "name": "plan"},
            {"type": "boolean", "name": "new"}, {"type": "datetime", "name": "since"}]);
        let outputs = json!([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]);
        let document = json!({"inputs": inputs.to_string(), "outputs": outputs.to_string(), "params": null});
        let expected = "age: Integer, new: Boolean, plan: Text, prediction: Number, prediction_0: Number";
        assert_eq!(of(&document), expected);
        let nested =
            json!({"inputs": json!([{"type": "array", "items": {"type": "double"}, "name": "x"}]).to_string()});
        assert_eq!(of(&nested), "");
        let why = types(&json!({"inputs": "[{"}), &Naming::default()).unwrap_err();
        assert!(why.contains("its signature is no list in JSON"), "{why}");
    }

    #[test]
    fn a_short_document_names_no_more_columns_than_a_model_may_have() {
        let tensor = |index| json!({"name": format!("{index}"), "datatype": "BYTES", "shape": [-1, MAX_COLUMNS]});
        let tensors: Vec<Value> = (0..100).map(tensor).collect();
        let metadata = Metadata::parse(&json!({"inputs": tensors}).to_string()).unwrap();
        assert_eq!(metadata.column_types(&Naming::default()).len(), 2 * MAX_COLUMNS);
    }

    #[test]
    fn what_describes_nothing_says_so() {
        for (document, why) in
            [("", "no JSON"), ("[1]", "no inputs"), ("{\"inputs\": 5}", "no inputs"), ("null", "no inputs")]
        {
            let error = Metadata::parse(document).unwrap_err();
            assert!(error.contains(why), "{document}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_shape_and_no_name_panics(
            shape in proptest::collection::vec(any::<i64>(), 0..4),
            name in ".*",
            datatype in prop_oneof![Just("FP32"), Just("BYTES"), Just("int64")],
        ) {
            let tensor = json!({"name": name, "datatype": datatype, "shape": shape});
            let spec = json!([{"type": "tensor", "tensor-spec": {"dtype": datatype, "shape": shape}}]).to_string();
            for document in [json!({"inputs": [tensor.clone()], "outputs": [tensor]}), json!({"inputs": spec})] {
                let metadata = Metadata::parse(&document.to_string()).unwrap();
                prop_assert!(metadata.column_types(&Naming::default()).len() <= 4 * MAX_COLUMNS);
            }
        }
    }
}
