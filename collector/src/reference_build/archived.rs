//! Rows of an archive as those of a reference: only calls that windows count, under the names that the model's callers use.

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use driftline_detectors::{ReferenceFile, Source};
use sha2::{Digest, Sha256};

use super::gathering::Gathering;
use super::values::Take;
use super::{ReferenceError, ReferencePlan, finish, hexadecimal, parquet};
use crate::pipeline::columns::{is_ours, name_of_archived};
use crate::pipeline::rebuild::counted;

/// Gathers the files of an archive, one after the other.
#[derive(Debug)]
pub(crate) struct ArchivedRows<'p> {
    plan: &'p ReferencePlan,
    gathering: Gathering<'p>,
    sources: Vec<Source>,
}

impl<'p> ArchivedRows<'p> {
    pub(crate) fn new(plan: &'p ReferencePlan) -> Self {
        Self { plan, gathering: Gathering::new(plan), sources: Vec::new() }
    }

    /// Begins a file: it is what the rows that come next are from.
    pub(crate) fn begin_file(&mut self, path: &str, contents: &[u8]) {
        self.gathering.end_source();
        let sha256 = hexadecimal(Sha256::new_with_prefix(contents));
        self.sources.push(Source { path: path.to_owned(), bytes: contents.len() as u64, sha256 });
    }

    /// Takes rows of the file that was begun last.
    ///
    /// # Errors
    /// When they are no rows of an archive, or cannot be set aside.
    pub(crate) fn take(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let time = self.plan.time.as_ref().map(|(column, _)| column.as_str());
        take_counted(batch, time, &mut |chunk| self.gathering.take(chunk))
    }

    /// The reference of all rows.
    ///
    /// # Errors
    /// See [`ReferenceError`].
    pub(crate) fn finish(mut self) -> Result<ReferenceFile, ReferenceError> {
        self.gathering.end_source();
        finish(self.gathering, self.plan, self.sources)
    }
}

/// Hands on those rows of a batch that windows count, under the names that the model's callers use, and the archive's own
/// column of when they happened where it is named.
///
/// # Errors
/// When they are no rows of an archive; or what `take` said.
pub(crate) fn take_counted(batch: &RecordBatch, time: Option<&str>, take: &mut Take<'_>) -> Result<(), String> {
    let is_counted = counted(batch)?;
    let rows: BooleanArray = (0..batch.num_rows()).map(|row| Some(is_counted(row))).collect();
    let batch = filter_record_batch(batch, &rows).map_err(|error| error.to_string())?;
    let name = |archived| match is_ours(archived) {
        // When a row happened, whatever the caller's own column was called.
        true => (time == Some(archived)).then_some(archived),
        false => Some(name_of_archived(archived)),
    };
    take(&parquet::chunk(&batch, &name))
}
