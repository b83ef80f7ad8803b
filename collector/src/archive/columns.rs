//! The columns of archived files, as Delta Lake writes them down: the archive's one description of a schema.

use std::collections::BTreeMap;

use arrow_schema::{DataType, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bytes of a fingerprint. Few schemas are told apart, and nobody gains by two that look alike.
const FINGERPRINT_BYTES: usize = 8;

/// Columns in the order of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns(Vec<Field>);

/// A column, as in a schema of Delta Lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    kind: Value,
    nullable: bool,
    metadata: BTreeMap<String, Value>,
}

impl Field {
    /// Whatever the first file says, a later one may lack it.
    fn new(name: &str, kind: Value) -> Self {
        Self { name: name.to_owned(), kind, nullable: true, metadata: BTreeMap::new() }
    }
}

impl Columns {
    /// None yet.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Those of a file.
    pub(super) fn of(schema: &Schema) -> Self {
        Self(schema.fields().iter().map(|field| Field::new(field.name(), kind(field.data_type()))).collect())
    }

    /// Adds those that are new, at the end. A column that is there already keeps its type.
    pub(super) fn add(&mut self, more: Self) {
        for field in more.0 {
            if self.0.iter().all(|known| known.name != field.name) {
                self.0.push(field);
            }
        }
    }

    /// The same for the same names and types in the same order: a digest of lines of `name type`.
    pub(super) fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        for field in &self.0 {
            let kind = field.kind.as_str().unwrap_or("array<float>");
            digest.update(format!("{} {kind}\n", field.name));
        }
        digest.finalize().iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    /// As the database has it.
    pub(super) fn stored(&self) -> String {
        json!(self.0).to_string()
    }

    /// What the database has. It is our own text; none that cannot be read is taken for columns.
    pub(super) fn from_stored(text: &str) -> Self {
        serde_json::from_str(text).map_or_else(|_| Self::none(), Self)
    }

    /// The schema of a Delta table whose folders are named for these columns, too.
    pub(super) fn table_schema(&self, partitions: &[(&str, &str)]) -> String {
        let folders = partitions.iter().map(|(name, kind)| Field::new(name, json!(kind)));
        let fields: Vec<Field> = self.0.iter().cloned().chain(folders).collect();
        json!({"type": "struct", "fields": fields}).to_string()
    }
}

/// A type of Delta Lake. It has no unsigned ones; the next larger takes them.
fn kind(data_type: &DataType) -> Value {
    match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::UInt16 => json!("integer"),
        DataType::UInt32 | DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Timestamp(..) => json!("timestamp"),
        DataType::List(item) => json!({"type": "array", "elementType": kind(item.data_type()), "containsNull": true}),
        _ => json!("string"),
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{Field as ArrowField, TimeUnit};

    use super::*;

    fn columns(names: &[(&str, DataType)]) -> Columns {
        let fields: Vec<ArrowField> =
            names.iter().map(|(name, kind)| ArrowField::new(*name, kind.clone(), false)).collect();
        Columns::of(&Schema::new(fields))
    }

    #[test]
    fn columns_are_added_at_the_end_and_keep_their_types() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let vector = DataType::List(ArrowField::new("item", DataType::Float32, true).into());
        let mut all = columns(&[("event_time", time.clone()), ("x", DataType::Float64)]);
        all.add(columns(&[("event_time", time.clone()), ("v", vector.clone()), ("x", DataType::Utf8)]));
        assert_eq!(all, columns(&[("event_time", time), ("x", DataType::Float64), ("v", vector)]));
        assert_eq!(Columns::from_stored(&all.stored()), all);
        let schema: Value = serde_json::from_str(&all.table_schema(&[("date", "date")])).unwrap();
        let named: Vec<&str> =
            schema["fields"].as_array().unwrap().iter().filter_map(|field| field["name"].as_str()).collect();
        assert_eq!(named, ["event_time", "x", "v", "date"]);
        assert_eq!(schema["fields"][2]["type"]["elementType"], "float");
    }

    #[test]
    fn a_fingerprint_is_of_names_types_and_order() {
        let [a, b] = [("a", DataType::Float64), ("b", DataType::Utf8)];
        let one = columns(&[a.clone(), b.clone()]).fingerprint();
        assert_eq!(one, columns(&[a.clone(), b.clone()]).fingerprint());
        assert_eq!(one.len(), 16);
        for other in [columns(&[b.clone(), a.clone()]), columns(&[a]), columns(&[b, ("a", DataType::Int64)])] {
            assert_ne!(one, other.fingerprint());
        }
    }
}
