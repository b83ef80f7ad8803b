//! Checkpoints of Delta logs: what all commits so far come to, as Parquet, so that readers need not read them all.
//!
//! Tombstones are left out: they tell whoever cleans a table up which files readers may still hold, and ours are deleted
//! when their removal is committed.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, MapArray, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow_schema::{ArrowError, Field, Fields};
use arrow_select::concat::concat;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::super::columns::Columns;
use super::super::place::Place;
use super::delta::{self, PARTITIONS, PROTOCOL, TableFile};

/// A checkpoint is made after so many commits: as many are read besides it, at the most.
const COMMITS: i64 = 100;
/// Commits that a checkpoint sums up are kept for so long, for those who look back: Delta's own default.
const KEEP_COMMITS_MICROS: i64 = 30 * 86_400_000_000;
/// Files that are turned to columns at a time.
const BATCH_FILES: usize = 8192;

/// A table whose checkpoint is due.
#[derive(Debug)]
pub(super) struct DueTable {
    model: String,
    version: String,
    id: String,
    /// The last commit of the table.
    number: i64,
    columns: String,
    files: Vec<TableFile>,
    cut: i64,
    made_at: i64,
}

/// A commit that nobody needs any more.
#[derive(Debug)]
pub(super) struct OldCommit {
    model: String,
    version: String,
    number: i64,
}

/// A table that has grown by enough commits since its last checkpoint, all of which are there.
pub(super) fn due(db: &Connection, place: i64) -> rusqlite::Result<Option<DueTable>> {
    let table = db
        .prepare_cached(
            "SELECT model, version, id, next_commit - 1, columns, cut, made_at FROM delta_tables
             WHERE place = ?1 AND is_left = 0 AND next_commit - 1 - checkpoint >= ?2 LIMIT 1",
        )?
        .query_row([place, COMMITS], |row| {
            Ok(DueTable {
                model: row.get(0)?,
                version: row.get(1)?,
                id: row.get(2)?,
                number: row.get(3)?,
                columns: row.get(4)?,
                cut: row.get(5)?,
                made_at: row.get(6)?,
                files: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut table) = table else { return Ok(None) };
    table.files = delta::files_of(db, place, (&table.model, &table.version))?;
    Ok(Some(table))
}

/// A checkpoint's contents.
pub(super) fn build(table: &DueTable, collector: &str) -> Result<Bytes, ParquetError> {
    let head = head(table, collector)?;
    let schema = head.schema();
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    writer.write(&head)?;
    for files in table.files.chunks(BATCH_FILES) {
        let added = added(files)?;
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            "add" => Arc::clone(&added),
            _ => new_null_array(field.data_type(), files.len()),
        });
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)?;
    }
    Ok(writer.into_inner()?.into())
}

/// A table's protocol, metadata and transaction: a row for each.
fn head(table: &DueTable, collector: &str) -> Result<RecordBatch, ArrowError> {
    let protocol = row_of(vec![("minReaderVersion", number(PROTOCOL.0)), ("minWriterVersion", number(PROTOCOL.1))])?;
    let format = row_of(vec![("provider", text("parquet")), ("options", Arc::new(map(&[vec![]])?))])?;
    let mut partitions = ListBuilder::new(StringBuilder::new());
    partitions.append_value(PARTITIONS.map(|(name, _)| Some(name)));
    let schema = Columns::from_stored(&table.columns).table_schema(&PARTITIONS);
    let metadata = row_of(vec![
        ("id", text(&table.id)),
        ("format", format),
        ("schemaString", text(&schema)),
        ("partitionColumns", Arc::new(partitions.finish())),
        ("configuration", Arc::new(map(&[vec![]])?)),
        ("createdTime", Arc::new(Int64Array::from(vec![table.made_at / 1000]))),
    ])?;
    let transaction =
        row_of(vec![("appId", text(collector)), ("version", Arc::new(Int64Array::from(vec![table.cut])))])?;
    let removed = row_of(vec![
        ("path", text("")),
        ("deletionTimestamp", Arc::new(Int64Array::from(vec![0]))),
        ("dataChange", Arc::new(BooleanArray::from(vec![true]))),
    ])?;
    let null = |column: &ArrayRef, rows| new_null_array(column.data_type(), rows);
    // Each in its row, and nothing in the others'.
    let placed = |column: ArrayRef, row: usize| concat(&[&null(&column, row), &column, &null(&column, 2 - row)]);
    RecordBatch::try_from_iter_with_nullable([
        ("protocol", placed(protocol, 0)?, true),
        ("metaData", placed(metadata, 1)?, true),
        ("txn", placed(transaction, 2)?, true),
        ("add", null(&added(&[])?, 3), true),
        ("remove", null(&removed, 3), true),
    ])
}

/// The add actions of files.
fn added(files: &[TableFile]) -> Result<ArrayRef, ArrowError> {
    let partitions: Vec<_> = files
        .iter()
        .map(|file| PARTITIONS.map(|(name, _)| name).into_iter().zip(file.partition_values()).collect())
        .collect();
    row_of(vec![
        ("path", Arc::new(StringArray::from_iter_values(files.iter().map(TableFile::name)))),
        ("partitionValues", Arc::new(map(&partitions)?)),
        ("size", Arc::new(Int64Array::from_iter_values(files.iter().map(|file| file.bytes)))),
        ("modificationTime", Arc::new(Int64Array::from_iter_values(files.iter().map(TableFile::made_at_millis)))),
        ("dataChange", Arc::new(BooleanArray::from(vec![false; files.len()]))),
        ("stats", Arc::new(StringArray::from_iter_values(files.iter().map(TableFile::stats)))),
    ])
}

/// A column of structures, all of whose parts may be missing.
fn row_of(parts: Vec<(&str, ArrayRef)>) -> Result<ArrayRef, ArrowError> {
    let field = |(name, part): &(&str, ArrayRef)| Field::new(*name, part.data_type().clone(), true);
    let fields: Fields = parts.iter().map(field).collect();
    let parts = parts.into_iter().map(|(_, part)| part).collect();
    Ok(Arc::new(StructArray::try_new(fields, parts, None)?))
}

fn map(rows: &[Vec<(&str, Option<String>)>]) -> Result<MapArray, ArrowError> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row {
            builder.keys().append_value(key);
            builder.values().append_option(value.as_deref());
        }
        builder.append(true)?;
    }
    Ok(builder.finish())
}

fn text(text: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![text]))
}

fn number(number: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![number]))
}

/// Puts a checkpoint, and says to readers that it is there. One that is there already is of the same commits.
pub(super) async fn put(place: &Place, table: &DueTable, contents: Bytes) -> Result<(), String> {
    let path = delta::log_file(&table.model, &table.version, table.number, "checkpoint.parquet");
    place.create(&path, contents).await?;
    // Protocol, metadata and transaction, and the files.
    let last = json!({"version": table.number, "size": table.files.len() + 3});
    let last_path = format!("{}/_last_checkpoint", delta::log_folder(&table.model, &table.version));
    place.renew(&last_path, last.to_string().into()).await
}

/// Notes that a checkpoint is there.
pub(super) fn done(db: &Connection, place: i64, table: &DueTable) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE delta_tables SET checkpoint = ?4 WHERE place = ?1 AND model = ?2 AND version = ?3")?
        .execute(params![place, table.model, table.version, table.number])?;
    Ok(())
}

/// Commits before their table's checkpoint that were kept long enough.
pub(super) fn old_commits(db: &Connection, place: i64, now: i64, limit: i64) -> rusqlite::Result<Vec<OldCommit>> {
    db.prepare_cached(
        "SELECT model, version, number FROM delta_commits JOIN delta_tables USING (place, model, version)
         WHERE place = ?1 AND delta_commits.made_at < ?2 AND number < checkpoint AND is_left = 0 ORDER BY number LIMIT ?3",
    )?
    .query_map([place, now - KEEP_COMMITS_MICROS, limit], |row| {
        Ok(OldCommit { model: row.get(0)?, version: row.get(1)?, number: row.get(2)? })
    })?
    .collect()
}

/// Takes a commit out of a log, and the checkpoint that may have been made after it.
pub(super) async fn take_away(place: &Place, commit: &OldCommit) -> Result<(), String> {
    for ending in ["json", "checkpoint.parquet"] {
        place.delete(&delta::log_file(&commit.model, &commit.version, commit.number, ending)).await?;
    }
    Ok(())
}

/// Forgets a commit that is gone.
pub(super) fn forget(db: &Connection, place: i64, commit: &OldCommit) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM delta_commits WHERE place = ?1 AND model = ?2 AND version = ?3 AND number = ?4")?
        .execute(params![place, commit.model, commit.version, commit.number])?;
    Ok(())
}
