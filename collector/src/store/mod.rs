//! The collector's database: journal and state in one SQLite file.
//!
//! One thread writes. Callers hand it pieces of work; it runs those that wait together in one transaction, commits once
//! (with an fsync), and only then answers them all. Readers have connections of their own and never wait for the writer.

mod fresh;
pub(crate) mod halves;
pub(crate) mod journal;
pub(crate) mod outcomes;
pub(crate) mod received;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

pub(crate) use fresh::Fresh;
pub(crate) use writer::{Begun, Writer};

const SCHEMA: &str = concat!(
    include_str!("schema.sql"),
    include_str!("segments.sql"),
    include_str!("earlier.sql"),
    include_str!("drills.sql"),
    include_str!("changes.sql"),
    include_str!("ticks.sql"),
    include_str!("reactions.sql"),
    include_str!("newest_outcomes.sql"),
    include_str!("maintenance.sql"),
    include_str!("watermarks.sql")
);
/// The version of the schema. A database of an older one is brought to it, step by step, as far back as there are steps;
/// one of any other is refused, never guessed at.
const SCHEMA_VERSION: i64 = 19;
/// What makes each version out of the one before, the oldest first.
const STEPS: [(i64, &str); 14] = [
    (5, include_str!("segments.sql")),
    (6, include_str!("earlier.sql")),
    (7, include_str!("schema_7_to_8.sql")),
    (8, include_str!("drills.sql")),
    (9, include_str!("changes.sql")),
    (10, include_str!("ticks.sql")),
    (11, include_str!("reactions.sql")),
    (12, include_str!("schema_12_to_13.sql")),
    (13, include_str!("newest_outcomes.sql")),
    (14, include_str!("schema_14_to_15.sql")),
    (15, include_str!("schema_15_to_16.sql")),
    (16, include_str!("maintenance.sql")),
    (17, include_str!("schema_17_to_18.sql")),
    (18, include_str!("watermarks.sql")),
];
/// Bytes of a page of a new database; an older one keeps its own. Most of what is written are frames of hundreds of kilobytes,
/// page by page into the write-ahead log, out of it again, and into the database. With SQLite's own 4 KiB the writer takes
/// almost half as much processor time again.
const PAGE_BYTES: i64 = 16 << 10;
/// Readers at once: the API's; more would only queue for the disk.
const MAX_READERS: usize = 4;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it.
    #[error("cannot use {path}: {source}; check data_dir and its owner")]
    Path {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another collector has it.
    #[error("another collector runs on {path}; each needs a data_dir of its own")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A database of another version.
    #[error(
        "{path} has schema version {found}, and this collector reads version {SCHEMA_VERSION}; use the version that wrote it, or another data_dir"
    )]
    Version {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// SQLite's own words.
    #[error("the database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The transaction that it was part of.
    #[error("the database cannot commit: {0}; check the disk of data_dir")]
    NotCommitted(Arc<rusqlite::Error>),
    /// The writer's thread has ended.
    #[error("the database is closed")]
    Closed,
}

/// An open database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) writer: Writer,
    readers: Arc<Readers>,
    /// Batches of the journal that need not be decoded again.
    pub(crate) fresh: Fresh,
    /// Identity of this database, for the names of archived files: 8 hexadecimal digits.
    pub(crate) collector_id: String,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    /// Held for as long as the database is open.
    _lock: File,
}

impl Store {
    /// Opens the database in a folder, or makes it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let Claimed { connection, lock, path } = claim(folder)?;
        let collector_id =
            connection.query_row("SELECT value FROM meta WHERE key = 'collector_id'", [], |row| row.get(0))?;
        let readers = Readers { path, permits: Semaphore::new(MAX_READERS), idle: Mutex::new(Vec::new()), _lock: lock };
        let (writer, readers) = (Writer::start(connection), Arc::new(readers));
        Ok(Self { writer, readers, fresh: Fresh::default(), collector_id })
    }

    /// Reads, on a thread where waiting is allowed.
    ///
    /// # Errors
    /// SQLite's own.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let _permit = self.readers.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let done = tokio::task::spawn_blocking(move || readers.read(read)).await;
        done.map_err(|_| StoreError::Closed)?
    }

    /// Reads from a thread that may wait.
    ///
    /// # Errors
    /// SQLite's own.
    pub(crate) fn read_blocking<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.readers.read(read)
    }
}

/// A database that nobody else writes to for as long as this is held.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) connection: Connection,
    path: PathBuf,
    lock: File,
}

/// Opens the database in a folder for nobody else to write to, or makes it.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn claim(folder: &Path) -> Result<Claimed, StoreError> {
    let path_error = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Path { path, source }
    };
    std::fs::create_dir_all(folder).map_err(path_error(folder))?;
    let lock_path = folder.join("driftline.lock");
    let lock = File::create(&lock_path).map_err(path_error(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::Locked { path: folder.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => return Err(StoreError::Path { path: lock_path, source }),
    }
    let path = folder.join("driftline.db");
    let mut connection = Connection::open(&path)?;
    // Before anything is written: pages of what is there stay as they are.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    // FULL: a commit is on disk when it returns. WAL: readers and the writer do not wait for each other.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        create(&mut connection)?;
    } else if version != SCHEMA_VERSION && !migrate(&mut connection, version)? {
        return Err(StoreError::Version { path, found: version });
    }
    Ok(Claimed { connection, path, lock })
}

/// Opens the database in a folder to read it, beside a collector that runs on it or without one. None where there is none
/// of this version.
///
/// # Errors
/// What the database said.
pub(crate) fn look(folder: &Path) -> rusqlite::Result<Option<Connection>> {
    let path = folder.join("driftline.db");
    if !path.is_file() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(&path, flags)?;
    let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((version == SCHEMA_VERSION).then_some(database))
}

/// Looks at the database in a folder without changing it: which version it has, and whether it is whole.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn examine(folder: &Path) -> Result<String, String> {
    let path = folder.join("driftline.db");
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(format!("{} is not there yet; the first start makes it", path.display())),
        Err(source) => return Err(StoreError::Path { path, source }.to_string()),
    }
    let examined = || -> rusqlite::Result<(i64, String, i64)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(&path, flags)?;
        let version = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let whole = database.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        let waiting = if version == SCHEMA_VERSION {
            database.query_row("SELECT count(*) FROM journal", [], |row| row.get(0))?
        } else {
            0
        };
        Ok((version, whole, waiting))
    };
    let (version, whole, waiting) = examined().map_err(|error| format!("{}: {error}", path.display()))?;
    if version != SCHEMA_VERSION {
        return Err(StoreError::Version { path, found: version }.to_string());
    }
    if whole != "ok" {
        return Err(format!(
            "{} is damaged: {whole}; restore a backup, or begin with another data_dir",
            path.display()
        ));
    }
    Ok(format!("{} is whole; {waiting} batches are in the journal", path.display()))
}

/// A database in memory: for what is counted and thrown away, and for tests.
pub(crate) fn in_memory() -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(SCHEMA)?;
    Ok(db)
}

/// Makes the tables and the collector's identity, in one transaction: a database without an identity would never open
/// again.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let id = uuid::Uuid::now_v7().simple().to_string();
    // The last digits of a UUID v7 are the random ones.
    let id = &id[id.len() - 8..];
    transaction.execute("INSERT INTO meta (key, value) VALUES ('collector_id', ?1)", [id])?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// Brings a database of an older version to this one, in one transaction. False when there is no way from there.
fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<bool> {
    let Some(first) = STEPS.iter().position(|(version, _)| *version == from) else { return Ok(false) };
    let transaction = connection.transaction()?;
    for (_, step) in &STEPS[first..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    tracing::info!(from, to = SCHEMA_VERSION, "the database is of this version now");
    Ok(true)
}

impl Readers {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(&self.path, flags)?
            }
        };
        let result = read(&connection)?;
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < MAX_READERS
        {
            idle.push(connection);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_collector_on_the_same_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Locked { .. })));
        first.writer.close();
        drop(first);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn a_database_is_examined_without_being_made_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(examine(folder.path()).unwrap().contains("not there yet"));
        assert!(!folder.path().join("driftline.db").try_exists().unwrap());
        let store = Store::open(folder.path()).unwrap();
        assert!(examine(folder.path()).unwrap().contains("is whole; 0 batches"), "beside a collector that runs");
        store.writer.close();
        std::fs::write(folder.path().join("driftline.db"), "no database at all, and long enough to be looked at")
            .unwrap();
        assert!(examine(folder.path()).unwrap_err().contains("not a database"));
    }

    #[test]
    fn a_database_has_an_identity_or_is_not_there_at_all() {
        let mut database = Connection::open_in_memory().unwrap();
        // A table that is in the way fails the creation in its middle.
        database.execute_batch("CREATE TABLE outcomes (x INTEGER) STRICT").unwrap();
        assert!(create(&mut database).is_err());
        let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, 0, "it is made again at the next start");
        let mut database = Connection::open_in_memory().unwrap();
        create(&mut database).unwrap();
        let id: String =
            database.query_row("SELECT value FROM meta WHERE key = 'collector_id'", [], |row| row.get(0)).unwrap();
        assert_eq!(id.len(), 8);
    }

    /// All tables with their columns, and all indexes.
    fn shape(db: &Connection) -> Vec<(String, String, String)> {
        db.prepare(
            "SELECT master.name, coalesce(\"column\".name, ''), coalesce(\"column\".type, master.sql, '')
             FROM sqlite_master AS master LEFT JOIN pragma_table_info(master.name) AS \"column\" ON master.type = 'table'
             ORDER BY master.name, \"column\".cid",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
    }

    #[test]
    fn a_database_of_an_older_version_becomes_one_of_this_and_keeps_what_it_holds() {
        let mut database = Connection::open_in_memory().unwrap();
        create(&mut database).unwrap();
        let expected = shape(&database);
        database
            .execute_batch(
                "DROP TABLE reactions; DROP TABLE changes; DROP TABLE ticks; DROP TABLE drills; DROP TABLE silences; DROP TABLE maintenance; DROP TABLE comparisons; DROP TABLE earlier_windows;
                 DROP TABLE segment_panes; DROP TABLE segment_windows; DROP TABLE segment_scores; DROP TABLE segment_causes;
                 INSERT INTO episodes (id, fingerprint, rule, severity, runbook, started_at, notification)
                 VALUES ('e', 'f', 'R', 'page', 'r', 7, '{}');
                 ALTER TABLE episodes DROP COLUMN muted_by; ALTER TABLE episodes DROP COLUMN acknowledged_at;
                 ALTER TABLE episodes DROP COLUMN acknowledged_by; ALTER TABLE episodes DROP COLUMN acknowledged_note;
                 ALTER TABLE episodes DROP COLUMN standing; ALTER TABLE episodes DROP COLUMN is_flapping;
                 ALTER TABLE outbox DROP COLUMN in_doubt; DROP TABLE newest_outcomes; ALTER TABLE senders DROP COLUMN version;
                 DROP TABLE watermarks; DROP TABLE counted_slices;
                 ALTER TABLE senders DROP COLUMN first_heard_at;
                 ALTER TABLE sli_counts DROP COLUMN unknown; ALTER TABLE sli_hours DROP COLUMN unknown;",
            )
            .unwrap();
        assert!(migrate(&mut database, STEPS[0].0).unwrap());
        assert_eq!(shape(&database), expected);
        let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        let started: i64 = database.query_row("SELECT started_at FROM episodes", [], |row| row.get(0)).unwrap();
        assert_eq!((version, started), (SCHEMA_VERSION, 7));
        assert!(!migrate(&mut database, STEPS[0].0 - 1).unwrap(), "there is no step from there");
    }

    #[test]
    fn a_database_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("driftline.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("schema version 99"), "{error}");
    }
}
