//! Space on disk: senders are told to wait before it runs out, while there is still room to work off what was taken.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::warn;

use super::refused::Refused;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// How often it is measured. At 100 MB a second this much comes in between, and is added by hand.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// What stays free unless it is configured: this share of the disk …
const FREE_SHARE: u64 = 20;
/// … and no more than this. Checkpoints, cuts and the database's own log work in it.
const DEFAULT_MIN_FREE_BYTES: u64 = 256 << 20;

/// How much space there is.
#[derive(Debug)]
pub(crate) struct Space {
    folder: PathBuf,
    max_database_bytes: u64,
    min_free_bytes: Option<u64>,
    database_bytes: AtomicU64,
    free_bytes: AtomicU64,
    /// What must stay free.
    floor_bytes: AtomicU64,
}

impl Space {
    /// Measures for the first time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn new(
        store: &Store,
        folder: PathBuf,
        max_database_bytes: u64,
        min_free_bytes: Option<u64>,
    ) -> Result<Self, StoreError> {
        let space = Self {
            folder,
            max_database_bytes,
            min_free_bytes,
            database_bytes: AtomicU64::new(store.read_blocking(used_bytes)?),
            free_bytes: AtomicU64::new(u64::MAX),
            floor_bytes: AtomicU64::new(0),
        };
        space.measure_disk();
        Ok(space)
    }

    /// Whether more may be taken in.
    pub(super) fn look(&self) -> Result<(), Refused> {
        let (used, free) = (self.database_bytes.load(Ordering::Relaxed), self.free_bytes.load(Ordering::Relaxed));
        let floor = self.floor_bytes.load(Ordering::Relaxed);
        if free < floor {
            return Err(Refused::Full {
                reason: "disk_full",
                why: format!(
                    "the disk of {} is full: {} are free, and {} stay free (ingest.min_free_bytes)",
                    self.folder.display(),
                    in_mebibytes(free),
                    in_mebibytes(floor)
                ),
            });
        }
        if used >= self.max_database_bytes {
            return Err(Refused::Full {
                reason: "database_full",
                why: format!(
                    "the database is full: it holds {} of {} (ingest.max_database_bytes), most of it batches that wait to be counted and archived; /api/v1/status says how far they are",
                    in_mebibytes(used),
                    in_mebibytes(self.max_database_bytes)
                ),
            });
        }
        Ok(())
    }

    /// What there is no room for, in a sentence; none while there is.
    pub(crate) fn problem(&self) -> Option<String> {
        match self.look() {
            Err(Refused::Full { why, .. }) => Some(why),
            _ => None,
        }
    }

    /// Notes what was written since it was measured last.
    pub(super) fn grew(&self, bytes: usize) {
        self.database_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Measures from time to time, for as long as it is polled.
    pub(crate) async fn keep_measuring(self: Arc<Self>, store: Store, metrics: Arc<Metrics>) {
        loop {
            match store.read(used_bytes).await {
                Ok(bytes) => self.database_bytes.store(bytes, Ordering::Relaxed),
                Err(error) => warn!(%error, "the database cannot be measured"),
            }
            // One call to the system; it waits for a disk only where that is a network's.
            self.measure_disk();
            metrics.database_bytes.set(self.database_bytes.load(Ordering::Relaxed) as i64);
            let shown = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            metrics.database_limit_bytes.set(shown(self.max_database_bytes));
            metrics.disk_floor_bytes.set(shown(self.floor_bytes.load(Ordering::Relaxed)));
            metrics.disk_free_bytes.set(shown(self.free_bytes.load(Ordering::Relaxed)));
            tokio::time::sleep(MEASURE_INTERVAL).await;
        }
    }

    fn measure_disk(&self) {
        match free_and_floor(&self.folder, self.min_free_bytes) {
            Ok((free, floor)) => {
                self.floor_bytes.store(floor, Ordering::Relaxed);
                self.free_bytes.store(free, Ordering::Relaxed);
            }
            Err(error) => warn!(%error, folder = %self.folder.display(), "the disk cannot be measured"),
        }
    }
}

/// Bytes that are free on a folder's disk, and how many of them stay free.
///
/// # Errors
/// The system's own.
pub(crate) fn free_and_floor(folder: &Path, min_free_bytes: Option<u64>) -> io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(folder)?;
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    let floor = min_free_bytes.unwrap_or(DEFAULT_MIN_FREE_BYTES.min(total / FREE_SHARE));
    Ok((disk.f_bavail.saturating_mul(disk.f_frsize), floor))
}

/// Bytes of the database that are in use. Pages that were freed are used again, so they count as room.
fn used_bytes(db: &rusqlite::Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages.max(0) as u64).saturating_mul(pragma("page_size")?.max(0) as u64))
}

fn in_mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_is_said_with_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let space = |database, free| Space::new(&store, folder.path().to_owned(), database, free).unwrap();
        assert!(space(1 << 30, None).look().is_ok());
        let full = |space: &Space| match space.look() {
            Err(Refused::Full { reason, why }) => format!("{reason}: {why}"),
            other => panic!("{other:?}"),
        };
        let said = full(&space(1 << 30, Some(1 << 60)));
        assert!(said.starts_with("disk_full") && said.contains("ingest.min_free_bytes"), "{said}");
        let small = space(2 << 20, None);
        assert!(small.look().is_ok(), "a new database is small");
        small.grew(2 << 20);
        assert!(full(&small).contains("of 2 MiB (ingest.max_database_bytes)"));
    }
}
