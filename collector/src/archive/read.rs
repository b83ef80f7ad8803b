//! Reading the archive back: which files hold a stretch of time, and their rows.
//!
//! Files are found by listing, though manifests would do with fewer requests. A store lists what it has; a manifest follows a
//! cut, and nobody can tell from the archive that the newest ones could not be written, or that files of a collector before
//! this one are in none. Rows that are left out in silence are worse than a list that takes a second. What the two say of
//! each other is the doctor's; see [`super::agreement`].

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::statistics::Statistics;

use super::layout::{self, Located};
use super::place::Place;

/// Rows that are read at once.
const BATCH_ROWS: usize = 8192;

/// What is wanted of an archive. Times are microseconds since the Unix epoch; the end is not part of it.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) model: String,
    /// Only this version.
    pub(crate) version: Option<String>,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// A file that may hold rows of a stretch.
#[derive(Debug, Clone)]
pub(crate) struct StretchFile {
    pub(crate) path: String,
    pub(crate) version: String,
    /// Its partition. The end is not part of it.
    pub(crate) starts: i64,
    pub(crate) ends: i64,
}

/// The files whose partition touches a stretch, in the order of their partitions, versions and cuts.
///
/// # Errors
/// What the store said.
pub(crate) async fn files(place: &Place, stretch: &Stretch) -> Result<Vec<StretchFile>, String> {
    let listed = match &stretch.version {
        Some(version) => place.list(&layout::table_of(&stretch.model, version)).await?,
        None => place.list(&layout::folder_of(&stretch.model)).await?,
    };
    let mut found: Vec<StretchFile> = Vec::new();
    for path in listed {
        // What else lies in the bucket is nobody's business.
        let Some(Located { model, version, starts, ends }) = layout::parse(&path) else { continue };
        let is_version = stretch.version.as_ref().is_none_or(|wanted| *wanted == version);
        if model == stretch.model && is_version && starts < stretch.to && ends > stretch.from {
            found.push(StretchFile { path, version, starts, ends });
        }
    }
    let key = |file: &StretchFile| (file.starts, file.version.clone(), file.path.clone());
    found.sort_by_cached_key(key);
    Ok(found)
}

/// The times of a file's rows, as its footer says them: the end is not part of it. None where it does not.
pub(crate) fn times(file: &Bytes) -> Option<(i64, i64)> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file).ok()?;
    let mut times: Option<(i64, i64)> = None;
    for group in metadata.row_groups() {
        let column = group.columns().iter().find(|column| column.column_path().string() == "event_time")?;
        let Statistics::Int64(of_group) = column.statistics()? else { return None };
        let (first, last) = (*of_group.min_opt()?, of_group.max_opt()?.saturating_add(1));
        times = Some(times.map_or((first, last), |(from, to)| (from.min(first), to.max(last))));
    }
    times
}

/// Reads the rows of a file that lie in a stretch, batch by batch.
///
/// # Errors
/// When it is no Parquet file of an archive, with what is wrong; or what `take` said.
pub(crate) fn rows(
    file: Bytes,
    stretch: &Stretch,
    take: &mut dyn FnMut(RecordBatch) -> Result<(), String>,
) -> Result<(), String> {
    // Texts as plain texts, whatever the writer's own types were.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(|error| format!("not a Parquet file that can be read: {error}"))?;
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        let times = batch.column_by_name("event_time").and_then(|times| times.as_primitive_opt());
        let Some(times) = times else { return Err("it has no column event_time of microseconds".to_owned()) };
        let times: &arrow_array::PrimitiveArray<TimestampMicrosecondType> = times;
        let within: BooleanArray =
            times.iter().map(|time| time.map(|time| (stretch.from..stretch.to).contains(&time))).collect();
        if within.true_count() > 0 {
            take(filter_record_batch(&batch, &within).map_err(|error| error.to_string())?)?;
        }
    }
    Ok(())
}
