//! The logs of Delta tables: one table for each version of a model, whose commits say which files are part of it.
//!
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md>, reader version 1 and writer version 2. A commit is decided
//! in the database, with its number and its text, together with the files that it adds and removes; then it is put where
//! nothing is. So it is there once, whenever the process dies: the same text is ours, put before, and any other is somebody
//! else's, which ends our part in that table.

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

use super::super::columns::Columns;
use super::super::layout::{self, Located};
use super::super::place::{Created, Place};
use crate::times::{date_and_hour, rfc3339};

/// The folders of a table, and their types. Where files are laid by day, `hour` is null.
pub(super) const PARTITIONS: [(&str, &str); 2] = [("date", "date"), ("hour", "integer")];
/// The versions of the protocol that a reader and a writer must know.
pub(super) const PROTOCOL: (i32, i32) = (1, 2);
const HOUR_MICROS: i64 = 3_600_000_000;
/// Files of one commit: its text, which is held in memory, is half a kilobyte for each.
const COMMIT_FILES: i64 = 5000;

/// A commit that is to be put.
#[derive(Debug)]
pub(super) struct Commit {
    model: String,
    version: String,
    number: i64,
    actions: String,
}

impl Commit {
    pub(super) fn path(&self) -> String {
        log_file(&self.model, &self.version, self.number, "json")
    }
}

/// A file as a Delta table has it.
#[derive(Debug)]
pub(super) struct TableFile {
    path: String,
    cut: i64,
    rows: i64,
    pub(super) bytes: i64,
    events: (i64, i64),
    made_at: i64,
    schema: String,
}

impl TableFile {
    const COLUMNS: &'static str = "path, cut, rows, bytes, first_event, last_event, made_at, schema";

    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            path: row.get(0)?,
            cut: row.get(1)?,
            rows: row.get(2)?,
            bytes: row.get(3)?,
            events: (row.get(4)?, row.get(5)?),
            made_at: row.get(6)?,
            schema: row.get(7)?,
        })
    }

    /// Its name in the table's folder.
    pub(super) fn name(&self) -> &str {
        self.path.splitn(3, '/').nth(2).unwrap_or(&self.path)
    }

    /// What its folders say, in the order of [`PARTITIONS`].
    pub(super) fn partition_values(&self) -> [Option<String>; 2] {
        let Some(Located { starts, ends, .. }) = layout::parse(&self.path) else { return [None, None] };
        let (date, _) = date_and_hour(starts);
        let hour = starts.rem_euclid(24 * HOUR_MICROS) / HOUR_MICROS;
        [Some(date), (ends - starts == HOUR_MICROS).then(|| hour.to_string())]
    }

    /// In milliseconds, as everything in a log.
    pub(super) fn made_at_millis(&self) -> i64 {
        self.made_at / 1000
    }

    /// Rows and times: what readers skip files by. Of the other columns each file's own footer tells.
    pub(super) fn stats(&self) -> String {
        // They are milliseconds there, and the smallest and the largest must not lie inside.
        let (first, last) = (self.events.0.div_euclid(1000) * 1000, self.events.1.div_euclid(1000) * 1000 + 1000);
        json!({
            "numRecords": self.rows,
            "minValues": {"event_time": rfc3339(first)},
            "maxValues": {"event_time": rfc3339(last)},
            "nullCount": {"event_time": 0},
        })
        .to_string()
    }

    fn add(&self) -> Value {
        json!({"add": {
            "path": self.name(),
            "partitionValues": self.partitions_json(),
            "size": self.bytes,
            "modificationTime": self.made_at_millis(),
            "dataChange": true,
            "stats": self.stats(),
        }})
    }

    fn remove(&self, now: i64) -> Value {
        json!({"remove": {
            "path": self.name(),
            "deletionTimestamp": now / 1000,
            "dataChange": true,
            "extendedFileMetadata": true,
            "partitionValues": self.partitions_json(),
            "size": self.bytes,
        }})
    }

    fn partitions_json(&self) -> Value {
        let named = PARTITIONS.into_iter().zip(self.partition_values());
        named.map(|((name, _), value)| (name.to_owned(), json!(value))).collect()
    }
}

/// A file of a table's log.
pub(super) fn log_file(model: &str, version: &str, number: i64, ending: &str) -> String {
    format!("{}/{number:020}.{ending}", log_folder(model, version))
}

/// The folder of a table's log.
pub(super) fn log_folder(model: &str, version: &str) -> String {
    format!("{}/_delta_log", layout::table_of(model, version))
}

/// Decides on the next commit, if there is anything to commit. `adds`: whether files are added, or only taken out that are
/// too old.
pub(super) fn plan(db: &Connection, place: i64, collector: &str, adds: bool, now: i64) -> rusqlite::Result<bool> {
    let with = |condition: &str| {
        let of_table = format!("SELECT model, version FROM archive_files WHERE place = ?1 AND {condition} LIMIT 1");
        db.prepare_cached(&of_table)?
            .query_row([place], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
            .optional()
    };
    let table = match with("is_expired = 1 AND added_by IS NOT NULL")? {
        None if adds => with("added_by IS NULL AND is_expired = 0")?,
        table => table,
    };
    let Some((model, version)) = table else { return Ok(false) };
    let files = |condition: &str| -> rusqlite::Result<Vec<TableFile>> {
        db.prepare_cached(&format!(
            "SELECT {} FROM archive_files WHERE place = ?1 AND model = ?2 AND version = ?3 AND {condition} LIMIT ?4",
            TableFile::COLUMNS
        ))?
        .query_map(params![place, model, version, COMMIT_FILES], TableFile::of)?
        .collect()
    };
    let removed = files("is_expired = 1 AND added_by IS NOT NULL")?;
    let added = if adds { files("is_expired = 0 AND added_by IS NULL")? } else { Vec::new() };
    let number = write_down(db, (place, &model, &version), (&added, &removed), collector, now)?;
    let mut statement = db.prepare_cached("UPDATE archive_files SET added_by = ?2 WHERE path = ?1")?;
    for file in &removed {
        statement.execute(params![file.path, None::<i64>])?;
    }
    for file in &added {
        statement.execute(params![file.path, number])?;
    }
    Ok(true)
}

/// A table as the database has it.
struct Table {
    id: String,
    made_at: i64,
    cut: i64,
    /// Of the next commit.
    number: i64,
    stored: String,
    is_left: bool,
}

impl Table {
    fn new(now: i64) -> Self {
        let id = uuid::Uuid::now_v7().to_string();
        Self { id, made_at: now, cut: 0, number: 0, stored: String::new(), is_left: false }
    }
}

fn known_table(db: &Connection, table: (i64, &str, &str)) -> rusqlite::Result<Option<Table>> {
    db.prepare_cached(
        "SELECT id, made_at, cut, next_commit, columns, is_left FROM delta_tables
         WHERE place = ?1 AND model = ?2 AND version = ?3",
    )?
    .query_row(table, |row| {
        Ok(Table {
            id: row.get(0)?,
            made_at: row.get(1)?,
            cut: row.get(2)?,
            number: row.get(3)?,
            stored: row.get(4)?,
            is_left: row.get(5)?,
        })
    })
    .optional()
}

/// Writes a commit down, and gives its number; -1 when the table is left alone.
fn write_down(
    db: &Connection,
    table: (i64, &str, &str),
    (added, removed): (&[TableFile], &[TableFile]),
    collector: &str,
    now: i64,
) -> rusqlite::Result<i64> {
    let known = known_table(db, table)?;
    let Table { id, made_at, cut, number, stored, is_left } = known.unwrap_or_else(|| Table::new(now));
    if is_left {
        return Ok(-1);
    }
    let mut columns = Columns::from_stored(&stored);
    for file in added {
        let of_file: String = db
            .prepare_cached("SELECT columns FROM archive_schemas WHERE fingerprint = ?1")?
            .query_row([&file.schema], |row| row.get(0))?;
        columns.add(Columns::from_stored(&of_file));
    }
    let operation = if added.is_empty() { "DELETE" } else { "WRITE" };
    let mut actions = vec![json!({"commitInfo": {
        "timestamp": now / 1000,
        "operation": operation,
        "operationParameters": {},
        "isBlindAppend": removed.is_empty(),
        "engineInfo": concat!("driftline/", env!("CARGO_PKG_VERSION")),
    }})];
    if number == 0 {
        let (reader, writer) = PROTOCOL;
        actions.push(json!({"protocol": {"minReaderVersion": reader, "minWriterVersion": writer}}));
    }
    let text = columns.stored();
    if text != stored {
        actions.push(json!({"metaData": {
            "id": id,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": columns.table_schema(&PARTITIONS),
            "partitionColumns": PARTITIONS.map(|(name, _)| name),
            "configuration": {},
            "createdTime": made_at / 1000,
        }}));
    }
    let cut = added.iter().map(|file| file.cut).fold(cut, i64::max);
    actions.push(json!({"txn": {"appId": collector, "version": cut, "lastUpdated": now / 1000}}));
    actions.extend(added.iter().map(TableFile::add));
    actions.extend(removed.iter().map(|file| file.remove(now)));
    let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
    let (place, model, version) = table;
    db.prepare_cached(
        "INSERT INTO delta_tables (place, model, version, id, made_at, cut, next_commit, columns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET cut = excluded.cut, next_commit = excluded.next_commit, columns = excluded.columns",
    )?
    .execute(params![place, model, version, id, made_at, cut, number + 1, text])?;
    db.prepare_cached(
        "INSERT INTO delta_commits (place, model, version, number, made_at, actions) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![place, model, version, number, now, lines])?;
    Ok(number)
}

/// The files that are part of a table.
pub(super) fn files_of(
    db: &Connection,
    place: i64,
    (model, version): (&str, &str),
) -> rusqlite::Result<Vec<TableFile>> {
    db.prepare_cached(&format!(
        "SELECT {} FROM archive_files
         WHERE place = ?1 AND model = ?2 AND version = ?3 AND added_by IS NOT NULL ORDER BY path",
        TableFile::COLUMNS
    ))?
    .query_map(params![place, model, version], TableFile::of)?
    .collect()
}

/// The next commit that is to be put.
pub(super) fn pending(db: &Connection, place: i64) -> rusqlite::Result<Option<Commit>> {
    db.prepare_cached(
        "SELECT model, version, number, actions FROM delta_commits
         WHERE place = ?1 AND actions IS NOT NULL ORDER BY model, version, number LIMIT 1",
    )?
    .query_row([place], |row| {
        Ok(Commit { model: row.get(0)?, version: row.get(1)?, number: row.get(2)?, actions: row.get(3)? })
    })
    .optional()
}

/// Puts a commit, unless it is there already. False when somebody else's has its number.
pub(super) async fn put(place: &Place, commit: &Commit) -> Result<bool, String> {
    let path = commit.path();
    match place.create(&path, commit.actions.clone().into()).await? {
        Created::New => Ok(true),
        Created::Exists => match place.read(&path).await? {
            Some(found) => Ok(found == commit.actions),
            None => Err(format!("the store says that {path} exists, and has no such file")),
        },
    }
}

/// Notes that a commit is there.
pub(super) fn done(db: &Connection, place: i64, commit: &Commit) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE delta_commits SET actions = NULL WHERE place = ?1 AND model = ?2 AND version = ?3 AND number = ?4",
    )?
    .execute(params![place, commit.model, commit.version, commit.number])?;
    Ok(())
}

/// Notes that a table is somebody else's, too, and forgets what was to be committed to it.
pub(super) fn leave(db: &Connection, place: i64, commit: &Commit) -> rusqlite::Result<()> {
    let table = params![place, commit.model, commit.version];
    db.prepare_cached("UPDATE delta_tables SET is_left = 1 WHERE place = ?1 AND model = ?2 AND version = ?3")?
        .execute(table)?;
    db.prepare_cached("DELETE FROM delta_commits WHERE place = ?1 AND model = ?2 AND version = ?3")?.execute(table)?;
    Ok(())
}

/// The tables of a place that are left alone, by model and version.
pub(super) fn left(db: &Connection, place: i64) -> rusqlite::Result<Vec<(String, String)>> {
    db.prepare_cached("SELECT model, version FROM delta_tables WHERE place = ?1 AND is_left = 1")?
        .query_map([place], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Forgets a table that was left alone, and whose log is gone: it begins anew with all files that there are.
pub(super) fn begin_anew(db: &Connection, place: i64, (model, version): &(String, String)) -> rusqlite::Result<()> {
    for anew in [
        "UPDATE archive_files SET added_by = NULL
         WHERE place = ?1 AND model = ?2 AND version = ?3 AND added_by IS NOT NULL",
        "DELETE FROM delta_tables WHERE place = ?1 AND model = ?2 AND version = ?3",
    ] {
        db.prepare_cached(anew)?.execute(params![place, model, version])?;
    }
    Ok(())
}
