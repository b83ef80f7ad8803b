//! Cuts as they are recorded: which there are, how their files lie, and which files those are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rusqlite::types::Type;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::config::{Archive, ArchivePlace, DEFAULT_REQUEST_TIMEOUT, Partition};

/// How and where the files of a cut lie. It is recorded with the cut: the configuration may say something else by the
/// time that the cut is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CutLayout {
    pub(crate) partition: Partition,
    pub(crate) place: Address,
}

/// Where an archive lies, without what only its owner may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Address {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String, endpoint: Option<String>, region: String },
}

impl CutLayout {
    /// What the configuration says.
    pub(crate) fn of(archive: &Archive) -> Self {
        let place = match &archive.place {
            ArchivePlace::Folder(folder) => Address::Folder(folder.clone()),
            ArchivePlace::S3 { bucket, prefix, endpoint, region, .. } => Address::S3 {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                endpoint: endpoint.clone(),
                region: region.clone(),
            },
        };
        Self { partition: archive.partition, place }
    }
}

impl Address {
    /// As the database has it.
    pub(super) fn stored(&self) -> rusqlite::Result<String> {
        serde_json::to_string(self).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    }

    /// The place itself. Where both are buckets, it is opened with the credentials and the patience that are configured now.
    pub(crate) fn with_credentials_of(self, configured: &ArchivePlace) -> ArchivePlace {
        match self {
            Self::Folder(folder) => ArchivePlace::Folder(folder),
            Self::S3 { bucket, prefix, endpoint, region } => {
                let (credentials, request_timeout) = match configured {
                    ArchivePlace::S3 { credentials, request_timeout, .. } => (credentials.clone(), *request_timeout),
                    ArchivePlace::Folder(_) => (None, DEFAULT_REQUEST_TIMEOUT),
                };
                ArchivePlace::S3 { bucket, prefix, endpoint, region, credentials, request_timeout }
            }
        }
    }
}

/// A cut that was recorded and whose files may not all be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfinished {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) layout: CutLayout,
}

/// Records that a cut was made.
pub(crate) fn record(db: &Connection, cut: &Unfinished, now: i64) -> rusqlite::Result<()> {
    let place = cut.layout.place.stored()?;
    db.prepare_cached("INSERT INTO cuts (first, last, partition, place, made_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![cut.first, cut.last, cut.layout.partition.name(), place, now])?;
    Ok(())
}

/// Cuts that were recorded and not finished, in their order.
pub(crate) fn unfinished(db: &Connection) -> rusqlite::Result<Vec<Unfinished>> {
    db.prepare("SELECT first, last, partition, place FROM cuts WHERE done_at IS NULL ORDER BY first")?
        .query_map([], |row| {
            let (partition, place): (String, String) = (row.get(2)?, row.get(3)?);
            let place = serde_json::from_str(&place)
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, Box::new(error)))?;
            let partition = Partition::named(&partition).unwrap_or(Partition::Hour);
            Ok(Unfinished { first: row.get(0)?, last: row.get(1)?, layout: CutLayout { partition, place } })
        })?
        .collect()
}

/// The last position of any cut; 0 before the first.
pub(crate) fn cut_through(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT coalesce(max(last), 0) FROM cuts", [], |row| row.get(0))
}

/// Every row up to this position is in a file.
pub(crate) fn archived_through(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row(
        "SELECT coalesce((SELECT min(first) - 1 FROM cuts WHERE done_at IS NULL), (SELECT max(last) FROM cuts), 0)",
        [],
        |row| row.get(0),
    )
}

/// The names of the files that earlier attempts at a cut were going to put.
pub(super) fn planned(db: &Connection, last: i64) -> rusqlite::Result<BTreeSet<String>> {
    db.prepare_cached("SELECT path FROM cut_files WHERE cut = ?1")?.query_map([last], |row| row.get(0))?.collect()
}

/// Records the files that a cut is going to have, besides those that earlier attempts were going to put.
pub(super) fn plan(db: &Connection, last: i64, files: &[(String, u64)]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("INSERT OR REPLACE INTO cut_files (cut, path, rows) VALUES (?1, ?2, ?3)")?;
    for (path, rows) in files {
        statement.execute(params![last, path, *rows as i64])?;
    }
    Ok(())
}

/// Records that a file is not going to be put: what has its name is somebody else's.
pub(super) fn give_up(db: &Connection, last: i64, path: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM cut_files WHERE cut = ?1 AND path = ?2")?.execute(params![last, path])?;
    Ok(())
}

/// Records that every file of a cut is there.
pub(super) fn record_done(db: &Connection, last: i64, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM cut_files WHERE cut = ?1")?.execute([last])?;
    db.prepare_cached("UPDATE cuts SET done_at = ?2 WHERE last = ?1")?.execute(params![last, now])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_remembers_how_its_files_lie_whatever_is_configured_later() {
        let db = crate::store::in_memory().unwrap();
        let s3 = Address::S3 { bucket: "b".into(), prefix: "p".into(), endpoint: None, region: "r".into() };
        let cuts = [
            Unfinished {
                first: 1,
                last: 4,
                layout: CutLayout { partition: Partition::Day, place: Address::Folder("/a".into()) },
            },
            Unfinished { first: 5, last: 5, layout: CutLayout { partition: Partition::Hour, place: s3 } },
        ];
        for cut in &cuts {
            record(&db, cut, 0).unwrap();
        }
        assert_eq!(unfinished(&db).unwrap(), cuts);
        assert_eq!((cut_through(&db).unwrap(), archived_through(&db).unwrap()), (5, 0));
        plan(&db, 4, &[("x".into(), 3)]).unwrap();
        plan(&db, 4, &[("y".into(), 2), ("z".into(), 1)]).unwrap();
        assert_eq!(planned(&db, 4).unwrap(), ["x".to_owned(), "y".to_owned(), "z".to_owned()].into());
        give_up(&db, 4, "y").unwrap();
        assert_eq!(planned(&db, 4).unwrap(), ["x".to_owned(), "z".to_owned()].into());
        record_done(&db, 4, 1).unwrap();
        assert_eq!(planned(&db, 4).unwrap(), BTreeSet::new());
        assert_eq!(archived_through(&db).unwrap(), 4);
    }
}
