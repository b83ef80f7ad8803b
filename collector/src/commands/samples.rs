//! `driftline samples`: the rows of a stretch of time, out of the archive.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt16Type, UInt32Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use clap::{Args, ValueEnum};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use super::{EXIT_USAGE, load};
use crate::archive::file::{conform, schema_of, union_of};
use crate::archive::place::{self, Place};
use crate::archive::read::{self, Stretch};
use crate::config::Config;
use crate::filter::Filter;
use crate::numbers::thousands;
use crate::times;

/// Where rows are: the same for every command that reads the archive.
#[derive(Debug, Args)]
pub(super) struct From {
    /// The collector's configuration: it says where the archive is.
    #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
    pub(super) config: PathBuf,
    /// The model.
    #[arg(long, value_name = "NAME")]
    pub(super) model: String,
    /// Only this version of it.
    #[arg(long, value_name = "VERSION")]
    pub(super) version: Option<String>,
    /// From this event time on, as in 2013-07-01 or 2013-07-01T05:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    pub(super) from: i64,
    /// Up to this event time, which is not part of it.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    pub(super) to: i64,
}

impl From {
    pub(super) fn stretch(&self) -> Stretch {
        Stretch { model: self.model.clone(), version: self.version.clone(), from: self.from, to: self.to }
    }
}

#[derive(Debug, Args)]
pub(super) struct Samples {
    #[command(flatten)]
    from: From,
    /// Only rows for which this holds: temp > 30 and carrier in ('UA', 'DL') and dest is not null.
    #[arg(long = "where", value_name = "CONDITION", value_parser = Filter::parse)]
    filter: Option<Filter>,
    /// Only these columns, in this order; all without it.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    columns: Vec<String>,
    /// At most so many rows.
    #[arg(long, value_name = "ROWS", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Where to write them; standard output without it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated, with a line of names. What is missing is empty.
    Csv,
    /// An object for each row, a row for each line.
    Jsonl,
    Parquet,
}

pub(super) fn run(samples: &Samples) -> ExitCode {
    let config = match load(&samples.from.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if samples.from.from >= samples.from.to {
        eprintln!("driftline: --from is not before --to");
        return ExitCode::from(EXIT_USAGE);
    }
    if samples.format == Format::Parquet && samples.output.is_none() && io::stdout().is_terminal() {
        eprintln!("driftline: Parquet is not for a terminal; name a file with --output");
        return ExitCode::from(EXIT_USAGE);
    }
    match pull(samples, &config) {
        Ok((rows, files)) => {
            eprintln!("{} rows of {} files", thousands(rows), thousands(files));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("driftline: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the rows, and says how many there were, and how many files hold rows of the stretch.
fn pull(samples: &Samples, config: &Config) -> Result<(u64, u64), String> {
    let archive = Archive::open(config)?;
    let stretch = samples.from.stretch();
    let files = archive.runtime.block_on(read::files(&archive.place, &stretch))?;
    let schema = match samples.format {
        // Every line says its own names.
        Format::Jsonl => None,
        Format::Csv | Format::Parquet => Some(chosen(&archive, &files, samples)?),
    };
    let output: Box<dyn Write + Send> = match &samples.output {
        Some(path) => {
            Box::new(File::create(path).map_err(|error| format!("cannot write {}: {error}", path.display()))?)
        }
        None => Box::new(io::stdout()),
    };
    let mut sink = Sink::new(samples.format, schema.as_ref(), BufWriter::new(output))?;
    let mut left = samples.limit;
    for file in &files {
        let contents = archive.get(&file.path)?;
        read::rows(contents, &stretch, &mut |batch| {
            let batch = match &samples.filter {
                Some(filter) => filter_record_batch(&batch, &filter.matches(&batch)).map_err(|e| e.to_string())?,
                None => batch,
            };
            let batch = batch.slice(0, batch.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX)));
            left -= batch.num_rows() as u64;
            if batch.num_rows() == 0 {
                return Ok(());
            }
            match &schema {
                Some(schema) => {
                    same_types(&batch, schema)?;
                    sink.write(&conform(&batch, schema).map_err(|error| error.to_string())?)
                }
                None => sink.write(&picked(&batch, &samples.columns)?),
            }
        })
        .map_err(|why| format!("{}: {why}", file.path))?;
        if left == 0 {
            break;
        }
    }
    sink.finish()?;
    Ok((samples.limit - left, files.len() as u64))
}

/// An archive that is read from a command.
pub(super) struct Archive {
    pub(super) place: Place,
    pub(super) runtime: tokio::runtime::Runtime,
}

impl Archive {
    pub(super) fn open(config: &Config) -> Result<Self, String> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        Ok(Self { place: place::open(&config.archive.place)?, runtime })
    }

    pub(super) fn get(&self, path: &str) -> Result<bytes::Bytes, String> {
        let contents = self.runtime.block_on(self.place.read(path)).map_err(|why| format!("{path}: {why}"))?;
        contents.ok_or_else(|| format!("{path} was taken away while it was read; try again"))
    }
}

/// The columns to write: those that were asked for, of all that any file has.
fn chosen(archive: &Archive, files: &[read::StretchFile], samples: &Samples) -> Result<SchemaRef, String> {
    let mut schemas = Vec::with_capacity(files.len());
    for file in files {
        let schema = schema_of(archive.get(&file.path)?).map_err(|error| format!("{}: {error}", file.path))?;
        if !schemas.contains(&schema) {
            schemas.push(schema);
        }
    }
    let all = union_of(&schemas);
    let named = samples.filter.iter().flat_map(Filter::columns).chain(samples.columns.iter().map(String::as_str));
    let unknown: Vec<&str> = named.filter(|name| all.column_with_name(name).is_none()).collect();
    if !unknown.is_empty() && !files.is_empty() {
        let known: Vec<&str> = all.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(format!("there is no column {}; there are {}", unknown.join(", "), known.join(", ")));
    }
    if samples.columns.is_empty() {
        return Ok(all);
    }
    let fields = samples.columns.iter().filter_map(|name| all.field_with_name(name).ok().cloned());
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// A column that had another type before its configuration changed would be left empty without a word.
fn same_types(batch: &RecordBatch, schema: &Schema) -> Result<(), String> {
    let other = schema
        .fields()
        .iter()
        .find(|field| batch.column_by_name(field.name()).is_some_and(|column| column.data_type() != field.data_type()));
    other.map_or(Ok(()), |field| {
        Err(format!(
            "its column {} has another type than in other files; write --format jsonl, or take a shorter stretch of time",
            field.name()
        ))
    })
}

/// The columns that were asked for, as far as a batch has them.
fn picked(batch: &RecordBatch, columns: &[String]) -> Result<RecordBatch, String> {
    if columns.is_empty() {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let indices: Vec<usize> = columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    batch.project(&indices).map_err(|error| error.to_string())
}

/// Where rows are written.
enum Sink<W: Write + Send> {
    Csv(Box<csv::Writer<W>>),
    Jsonl(W),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Sink<W> {
    fn new(format: Format, schema: Option<&SchemaRef>, output: W) -> Result<Self, String> {
        let schema = schema.cloned().unwrap_or_else(|| Arc::new(Schema::empty()));
        Ok(match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(output);
                writer.write_record(schema.fields().iter().map(|field| field.name())).map_err(|e| e.to_string())?;
                Self::Csv(Box::new(writer))
            }
            Format::Jsonl => Self::Jsonl(output),
            Format::Parquet => {
                Self::Parquet(Box::new(ArrowWriter::try_new(output, schema, None).map_err(|error| error.to_string())?))
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), String> {
        match self {
            Self::Csv(writer) => (0..batch.num_rows()).try_for_each(|row| {
                let cells = batch.columns().iter().map(|column| text(&cell(column, row)));
                writer.write_record(cells).map_err(|error| error.to_string())
            }),
            Self::Jsonl(writer) => (0..batch.num_rows()).try_for_each(|row| {
                let schema = batch.schema();
                let names = schema.fields().iter().map(|field| field.name().clone());
                let object: serde_json::Map<String, Value> =
                    names.zip(batch.columns().iter().map(|column| cell(column, row))).collect();
                serde_json::to_writer(&mut *writer, &object).map_err(|error| error.to_string())?;
                writer.write_all(b"\n").map_err(|error| error.to_string())
            }),
            Self::Parquet(writer) => writer.write(batch).map_err(|error| error.to_string()),
        }
    }

    fn finish(self) -> Result<(), String> {
        match self {
            Self::Csv(mut writer) => writer.flush().map_err(|error| error.to_string()),
            Self::Jsonl(mut writer) => writer.flush().map_err(|error| error.to_string()),
            Self::Parquet(writer) => {
                let mut output = writer.into_inner().map_err(|error| error.to_string())?;
                output.flush().map_err(|error| error.to_string())
            }
        }
    }
}

/// A cell as JSON has it. Numbers that JSON has not are texts: `NaN`, `inf`.
fn cell(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    let number =
        |value: f64| serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number);
    match column.data_type() {
        DataType::Float64 => number(column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => number(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Timestamp(..) => match column.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => times::rfc3339(times.value(row)).into(),
            None => Value::Null,
        },
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            (0..values.len()).map(|index| cell(&values, index)).collect()
        }
        _ => Value::Null,
    }
}

/// A cell as a field of CSV.
fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int64Array};

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("x", column)]).unwrap()
    }

    #[test]
    fn a_column_of_two_types_is_refused_and_not_left_empty() {
        let numbers = batch(Arc::new(Float64Array::from(vec![1.0])));
        assert_eq!(same_types(&numbers, &numbers.schema()), Ok(()));
        let integers = batch(Arc::new(Int64Array::from(vec![1])));
        assert!(same_types(&integers, &numbers.schema()).unwrap_err().contains("column x has another type"));
    }

    #[test]
    fn what_json_has_not_is_a_text_and_what_is_missing_is_empty() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(0.1), None]));
        let texts: Vec<String> = (0..3).map(|row| text(&cell(&column, row))).collect();
        assert_eq!(texts, ["NaN", "0.1", ""]);
    }
}
