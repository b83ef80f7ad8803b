//! One archived file: typed Parquet, readable as it lies.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::owner::Owner;
use crate::pipeline::table::META_COLUMNS;

/// Rows of a row group: what engines read at once, and skip at once. Until it is full it is held in memory a second time.
const ROW_GROUP_ROWS: usize = 1 << 17;

/// Which cut a file belongs to. It stands in the footer, so that a file that is there already can be told to be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Who made it.
    pub(crate) owner: Owner,
    pub(crate) cut: (i64, i64),
    pub(crate) rows: u64,
}

const COLLECTOR_KEY: &str = "driftline.collector";
const RUN_KEY: &str = "driftline.run";
const CUT_KEY: &str = "driftline.cut";
const ROWS_KEY: &str = "driftline.rows";

impl Identity {
    fn key_values(&self) -> Vec<KeyValue> {
        let key_value = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
        vec![
            key_value(COLLECTOR_KEY, self.owner.collector.clone()),
            key_value(RUN_KEY, self.owner.run.clone()),
            key_value(CUT_KEY, format!("{}-{}", self.cut.0, self.cut.1)),
            key_value(ROWS_KEY, self.rows.to_string()),
        ]
    }

    /// Reads the identity of a file; none when it is no file of ours.
    pub(crate) fn read(file: Bytes) -> Option<Self> {
        Self::read_end(&file, file.len() as u64).ok()?
    }

    /// The same from the end of a file of so many bytes. An error is how many bytes of its end are needed.
    pub(super) fn read_end(end: &Bytes, size: u64) -> Result<Option<Self>, u64> {
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(end, size) {
            Ok(()) => {}
            Err(ParquetError::NeedMoreData(bytes)) => return Err(bytes as u64),
            Err(_) => return Ok(None),
        }
        Ok(reader.finish().ok().as_ref().and_then(Self::of))
    }

    fn of(metadata: &ParquetMetaData) -> Option<Self> {
        let metadata: HashMap<String, String> = metadata
            .file_metadata()
            .key_value_metadata()?
            .iter()
            .filter_map(|entry| Some((entry.key.clone(), entry.value.clone()?)))
            .collect();
        let (first, last) = metadata.get(CUT_KEY)?.split_once('-')?;
        Some(Self {
            owner: Owner {
                collector: metadata.get(COLLECTOR_KEY)?.clone(),
                // Files did not always say it.
                run: metadata.get(RUN_KEY).cloned().unwrap_or_default(),
            },
            cut: (first.parse().ok()?, last.parse().ok()?),
            rows: metadata.get(ROWS_KEY)?.parse().ok()?,
        })
    }
}

/// Makes a file of rows that came in batches, whose columns may differ: what a batch lacks is null.
///
/// Floats and ids are written plain: a dictionary for them is tried by most writers, costs two thirds of the speed and
/// helps nothing. Times are written as differences. A batch is let go as soon as it is written: the file grows beside it.
pub(crate) fn build(batches: Vec<RecordBatch>, identity: &Identity) -> Result<Bytes, ParquetError> {
    let schema = union(&batches);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_dictionary_enabled(false)
        .set_created_by(format!("driftline version {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(identity.key_values()));
    for field in schema.fields() {
        let path = ColumnPath::new(vec![field.name().clone()]);
        let is_id = matches!(field.name().as_str(), "request_id" | "row_id");
        match field.data_type() {
            DataType::Utf8 if !is_id => properties = properties.set_column_dictionary_enabled(path, true),
            DataType::Timestamp(..) => properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            _ => {}
        }
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties.build()))?;
    for batch in batches {
        writer.write(&conform(&batch, &schema)?)?;
    }
    Ok(writer.into_inner()?.into())
}

/// The columns of a file.
pub(crate) fn schema_of(file: Bytes) -> Result<SchemaRef, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    Ok(Arc::clone(ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)?.schema()))
}

/// All columns of all batches: those that every row has first, then the model's by name.
pub(super) fn union(batches: &[RecordBatch]) -> SchemaRef {
    union_of(&batches.iter().map(RecordBatch::schema).collect::<Vec<_>>())
}

/// All columns of all schemas, in that order.
pub(crate) fn union_of(schemas: &[SchemaRef]) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    for schema in schemas {
        for field in schema.fields() {
            if !fields.iter().any(|known| known.name() == field.name()) {
                fields.push(Arc::clone(field));
            }
        }
    }
    let place = |field: &Arc<Field>| {
        let meta = META_COLUMNS.iter().position(|name| *name == field.name());
        (meta.unwrap_or(META_COLUMNS.len()), field.name().clone())
    };
    fields.sort_by_cached_key(place);
    // What one batch lacks is null in its rows.
    let everywhere = |field: &Field| schemas.iter().all(|schema| schema.column_with_name(field.name()).is_some());
    let nullable = |field: Arc<Field>| {
        if field.is_nullable() || everywhere(&field) {
            field
        } else {
            Arc::new(field.as_ref().clone().with_nullable(true))
        }
    };
    Arc::new(Schema::new(fields.into_iter().map(nullable).collect::<Vec<_>>()))
}

/// The columns of a schema, of which a batch may lack some.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ParquetError> {
    let column = |field: &Arc<Field>| -> ArrayRef {
        match batch.column_by_name(field.name()) {
            // A column's type is given once; one of another type can only be from before its configuration changed.
            Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
            _ => new_null_array(field.data_type(), batch.num_rows()),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The smallest and the largest value of the first column, the event time.
pub(crate) fn event_range(batches: &[RecordBatch]) -> (i64, i64) {
    use arrow_array::cast::AsArray;
    use arrow_array::types::TimestampMicrosecondType;
    let times = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().values());
    let fold = times.fold((i64::MAX, i64::MIN), |(first, last), time| (first.min(*time), last.max(*time)));
    if fold.0 > fold.1 { (0, 0) } else { fold }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, StringArray, TimestampMicrosecondArray};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    fn batch(name: &str, value: f64) -> RecordBatch {
        let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![7]).with_timezone("UTC"));
        let id: ArrayRef = Arc::new(StringArray::from(vec!["r"]));
        let column: ArrayRef = Arc::new(Float64Array::from(vec![value]));
        RecordBatch::try_from_iter([("event_time", time), ("request_id", id), (name, column)]).unwrap()
    }

    #[test]
    fn a_file_says_whose_it_is() {
        let owner = Owner { collector: "0badcafe".into(), run: "1".into() };
        let identity = Identity { owner, cut: (3, 9), rows: 2 };
        let file = build(vec![batch("a", 1.0), batch("b", 2.0)], &identity).unwrap();
        assert_eq!(Identity::read(file), Some(identity));
        assert_eq!(Identity::read(Bytes::from_static(b"PAR1 not really")), None);
    }

    #[test]
    fn batches_with_other_columns_become_one_table() {
        let owner = Owner { collector: String::new(), run: String::new() };
        let identity = Identity { owner, cut: (1, 1), rows: 2 };
        let file = build(vec![batch("b", 1.0), batch("a", 2.0)], &identity).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let schema = reader.metadata().file_metadata().schema_descr();
        let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
        assert_eq!(names, ["event_time", "request_id", "a", "b"]);
        assert_eq!(reader.metadata().file_metadata().num_rows(), 2);
    }
}
