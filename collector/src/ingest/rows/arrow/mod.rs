//! Rows as an Arrow stream: a table of typed columns, as pyarrow, Polars and others write it.
//!
//! A table is flat or nested. Nested, it has the fields of a JSON line: `features` is a structure, and so may `prediction`
//! be. Flat, each of its columns is a feature, but for those that are called as a line's other fields are, or that the
//! URL names. Either way a row means what the same row means as a JSON line.

mod cells;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema};
use axum::body::Bytes;

use self::cells::{is_null, push_text, time_micros, word, write_cell};
use super::row::{Gathered, Row, bad};
use super::{EXPECTED, RowParameters};
use crate::ingest::refused::Refused;

/// What a stream's content type is.
pub(super) const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";
/// What a file's is.
pub(super) const FILE_MEDIA_TYPE: &str = "application/vnd.apache.arrow.file";

/// Takes in the rows of a stream.
pub(super) fn read(bytes: &Bytes, parameters: &RowParameters, gathered: &mut Gathered<'_>) -> Result<(), Refused> {
    let mut row = 0;
    stream::read(bytes, |batch| {
        let roles = Roles::of(&batch.schema(), parameters).map_err(bad)?;
        let table = Table::new(batch, &roles);
        for index in 0..batch.num_rows() {
            row += 1;
            table.add(index, format_args!("row {row}"), gathered)?;
        }
        Ok(())
    })
}

/// Which of a table's columns are what, by their places.
#[derive(Debug, Default, PartialEq, Eq)]
struct Roles {
    features: Features,
    prediction: Prediction,
    id: Option<usize>,
    timestamp: Option<usize>,
    model: Option<usize>,
    version: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Features {
    /// A structure.
    Nested(usize),
    Flat(Vec<usize>),
}

impl Default for Features {
    fn default() -> Self {
        Self::Flat(Vec::new())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Prediction {
    #[default]
    None,
    /// A value, or a structure of several.
    Field(usize),
    /// Columns that the URL names.
    Named(Vec<usize>),
}

impl Roles {
    fn of(schema: &Schema, parameters: &RowParameters) -> Result<Self, String> {
        let mut roles = Self::default();
        let id = parameters.id.as_deref().unwrap_or("id");
        let timestamp = parameters.timestamp.as_deref().unwrap_or("timestamp");
        let named: Vec<&str> = parameters.prediction.iter().flat_map(|names| names.split(',')).map(str::trim).collect();
        let (mut flat, mut predictions) = (Vec::new(), Vec::new());
        let mut nested = None;
        for (index, field) in schema.fields().iter().enumerate() {
            let is_struct = matches!(field.data_type(), DataType::Struct(_));
            match field.name().as_str() {
                name if name == id => roles.id = Some(index),
                name if name == timestamp => roles.timestamp = Some(index),
                name if named.contains(&name) => predictions.push(index),
                "prediction" if named.is_empty() => roles.prediction = Prediction::Field(index),
                "model" => roles.model = Some(index),
                "version" => roles.version = Some(index),
                "features" if is_struct => nested = Some(index),
                _ => flat.push(index),
            }
        }
        let has = |name: &str| schema.fields().iter().any(|field| field.name() == name);
        let asked = parameters.id.as_deref().into_iter().chain(parameters.timestamp.as_deref()).chain(named);
        if let Some(missing) = asked.into_iter().find(|name| !has(name)) {
            return Err(format!("the URL names the column '{missing}', and the table has none of that name"));
        }
        if !predictions.is_empty() {
            roles.prediction = Prediction::Named(predictions);
        }
        roles.features = match nested {
            Some(nested) if flat.is_empty() => Features::Nested(nested),
            Some(_) => {
                let name = schema.field(flat[0]).name();
                return Err(format!(
                    "beside 'features' there is a column '{name}', which is no field of a row; {EXPECTED}"
                ));
            }
            None => Features::Flat(flat),
        };
        Ok(roles)
    }
}

/// Columns that are written as an object's values.
struct Object<'b>(Vec<(String, &'b dyn Array)>);

impl<'b> Object<'b> {
    fn of(batch: &'b RecordBatch, places: &[usize]) -> Self {
        let schema = batch.schema();
        let field = |place: &usize| {
            let mut name = String::new();
            push_text(&mut name, schema.field(*place).name());
            (name, batch.column(*place).as_ref())
        };
        Self(places.iter().map(field).collect())
    }

    fn write(&self, row: usize, text: &mut String) -> Result<(), String> {
        text.push('{');
        for (index, (name, column)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(text, "{comma}{name}: ").map_err(|error| error.to_string())?;
            write_cell(*column, row, text).map_err(|why| format!("column {name}: {why}"))?;
        }
        text.push('}');
        Ok(())
    }

    fn is_null(&self, row: usize) -> bool {
        self.0.iter().all(|(_, column)| is_null(*column, row))
    }
}

/// A batch of rows, its columns by what they are.
struct Table<'b> {
    features: Written<'b>,
    prediction: Option<Written<'b>>,
    id: Option<&'b dyn Array>,
    timestamp: Option<&'b dyn Array>,
    model: Option<&'b dyn Array>,
    version: Option<&'b dyn Array>,
}

/// What is written of a row.
enum Written<'b> {
    Cell(&'b dyn Array),
    Object(Object<'b>),
}

impl Written<'_> {
    /// As JSON; none where nothing is.
    fn text(&self, row: usize) -> Result<Option<String>, String> {
        let mut text = String::new();
        match self {
            Self::Cell(column) if is_null(*column, row) => return Ok(None),
            Self::Cell(column) => write_cell(*column, row, &mut text)?,
            Self::Object(object) => object.write(row, &mut text)?,
        }
        Ok(Some(text))
    }
}

impl<'b> Table<'b> {
    fn new(batch: &'b RecordBatch, roles: &Roles) -> Self {
        let column = |place: usize| batch.column(place).as_ref();
        let features = match &roles.features {
            Features::Nested(place) => Written::Cell(column(*place)),
            Features::Flat(places) => Written::Object(Object::of(batch, places)),
        };
        let prediction = match &roles.prediction {
            Prediction::None => None,
            Prediction::Field(place) => Some(Written::Cell(column(*place))),
            Prediction::Named(places) => Some(Written::Object(Object::of(batch, places))),
        };
        Self {
            features,
            prediction,
            id: roles.id.map(column),
            timestamp: roles.timestamp.map(column),
            model: roles.model.map(column),
            version: roles.version.map(column),
        }
    }

    /// Takes a row in.
    fn add(&self, row: usize, place: std::fmt::Arguments<'_>, gathered: &mut Gathered<'_>) -> Result<(), Refused> {
        let at_place = |why: String| bad(format!("{place}: {why}"));
        let features = self.features.text(row).map_err(at_place)?.unwrap_or_default();
        let prediction = match &self.prediction {
            // As a line without one: nothing was answered.
            Some(Written::Object(object)) if object.is_null(row) => None,
            Some(written) => written.text(row).map_err(at_place)?,
            None => None,
        };
        let field = |name: &str, column: Option<&dyn Array>| {
            let word = column.map(|column| word(column, row)).transpose();
            word.map(Option::flatten).map_err(|why| at_place(format!("{name}: {why}")))
        };
        let at = self.timestamp.map(|column| time_micros(column, row)).transpose();
        let row = Row {
            features: &features,
            prediction: prediction.as_deref(),
            id: field("id", self.id)?,
            at_micros: at.map_err(|why| at_place(format!("timestamp: {why}")))?.flatten(),
            model: field("model", self.model)?,
            version: field("version", self.version)?,
        };
        gathered.add(place, row)
    }
}
