//! What is told of the archive's files beside them: manifests, and the logs of Delta tables.
//!
//! Both are made from the list of files in the database, after a cut is done: that its rows are safe does not wait for
//! them, and what could not be written is written the next time, in this run or another. A file that is too old is first
//! told of nowhere any more, and then deleted.

pub(crate) mod agreement;
mod checkpoint;
mod delta;
mod manifest;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rusqlite::{Connection, Savepoint};
use tracing::{error, info, warn};

use self::delta::Commit;
use super::cuts::{Address, CutLayout};
use super::files;
use super::owner::{self, NotOurs};
use super::place::{Place, Removed};
use super::{Archiver, End, FIRST_PAUSE, LONGEST_PAUSE};
use crate::failpoint::Failpoint;
use crate::store::StoreError;
use crate::times::now_micros;

/// Files that are deleted, and manifests that are written, at a time: cuts wait meanwhile.
const ROUND: i64 = 200;
/// Without anything left to do it is looked again after this for files that have become too old.
const LONGEST_REST: Duration = Duration::from_secs(3600);
const SHORTEST_REST: Duration = Duration::from_millis(500);
/// A file may be deleted so much later than it could be, as a share of its age.
const RESTS_OF_RETENTION: u32 = 24;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Undone {
    /// Not now.
    Retry(String),
    /// It cannot go on.
    Ended(End),
}

impl From<String> for Undone {
    fn from(why: String) -> Self {
        Self::Retry(why)
    }
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Ended(End::Closed),
            error => Self::Retry(error.to_string()),
        }
    }
}

impl Archiver {
    /// Brings what is told of a place's files up to date, and deletes files that are too old. Gives how long it may rest.
    pub(super) async fn keep_catalogue(&mut self, layout: &CutLayout) -> Result<Duration, End> {
        let place = self.place_of(layout)?;
        match self.catalogue(&place, &layout.place).await {
            Ok(true) => {
                self.catalogue_pause = FIRST_PAUSE;
                Ok(SHORTEST_REST)
            }
            Ok(false) => {
                self.catalogue_pause = FIRST_PAUSE;
                let retention = self.config.archive.retention.unwrap_or(LONGEST_REST * RESTS_OF_RETENTION);
                Ok((retention / RESTS_OF_RETENTION).clamp(SHORTEST_REST, LONGEST_REST))
            }
            // Cuts will not be recorded either; whoever makes them says so.
            Err(Undone::Ended(End::Closed)) => Ok(LONGEST_REST),
            Err(Undone::Ended(end)) => Err(end),
            Err(Undone::Retry(why)) => {
                warn!(why, "manifests, Delta logs or files that are too old wait; it will be tried again");
                self.metrics.catalogue_failures.inc();
                let pause = self.catalogue_pause;
                self.catalogue_pause = (pause * 2).min(LONGEST_PAUSE);
                Ok(pause)
            }
        }
    }

    /// True when there is more to do.
    async fn catalogue(&mut self, place: &Place, address: &Address) -> Result<bool, Undone> {
        match owner::keep(place, &self.owner).await {
            Ok(()) => {}
            Err(NotOurs::Refused(why)) => return Err(Undone::Ended(End::Stopped(why))),
            Err(NotOurs::Retry(why)) => return Err(Undone::Retry(why)),
        }
        let address = address.clone();
        let number = self.write(move |db| files::place_number(db, &address)).await?;
        let expired = match self.config.archive.retention {
            Some(retention) => {
                let before = now_micros() - retention.as_micros() as i64;
                self.write(move |db| files::expire(db, number, before, ROUND)).await?
            }
            None => 0,
        };
        self.commit(place, number).await?;
        self.write_checkpoints(place, number).await?;
        let has_more_days = self.write_manifests(place, number).await?;
        // Until then a manifest may name them.
        let has_more_files = !has_more_days && self.delete_expired(place, number).await?;
        Ok(expired as i64 >= ROUND || has_more_days || has_more_files)
    }

    /// Puts what Delta logs lack, in its order.
    async fn commit(&self, place: &Place, number: i64) -> Result<(), Undone> {
        let (adds, collector) = (self.config.archive.delta, self.store.collector_id.clone());
        self.begin_anew(place, number).await?;
        loop {
            let pending = self.store.read(move |db| delta::pending(db, number)).await?;
            let Some(commit) = pending else {
                let collector = collector.clone();
                let plan = move |db: &Savepoint<'_>| delta::plan(db, number, &collector, adds, now_micros());
                if self.write(plan).await? {
                    Failpoint::CommitPlanned.pass();
                    continue;
                }
                return Ok(());
            };
            if delta::put(place, &commit).await? {
                Failpoint::CommitPut.pass();
                self.write(move |db| delta::done(db, number, &commit)).await?;
                self.metrics.delta_commits.inc();
            } else {
                self.leave(number, commit).await?;
            }
        }
    }

    /// Takes up again the tables that were left alone, and whose logs somebody has taken away since.
    async fn begin_anew(&self, place: &Place, number: i64) -> Result<(), Undone> {
        let left = self.store.read(move |db| delta::left(db, number)).await?;
        self.metrics.delta_tables_left.set(left.len() as i64);
        for table in left {
            if place.list(&delta::log_folder(&table.0, &table.1)).await?.is_empty() {
                self.write(move |db| delta::begin_anew(db, number, &table)).await?;
                self.metrics.delta_tables_left.dec();
            }
        }
        Ok(())
    }

    /// Leaves a Delta table alone that somebody else writes to.
    async fn leave(&self, number: i64, commit: Commit) -> Result<(), Undone> {
        let log = commit.path();
        error!(
            log,
            "somebody else has written this commit: the collector does not write to this Delta table any more. Its files are archived as before; docs/archive.md says how to begin anew"
        );
        self.metrics.catalogue_failures.inc();
        self.metrics.delta_tables_left.inc();
        Ok(self.write(move |db| delta::leave(db, number, &commit)).await?)
    }

    /// Sums up logs that have grown long, and takes away what nobody needs of them any more.
    async fn write_checkpoints(&self, place: &Place, number: i64) -> Result<(), Undone> {
        while let Some(table) = self.store.read(move |db| checkpoint::due(db, number)).await? {
            let collector = self.store.collector_id.clone();
            let built = tokio::task::spawn_blocking(move || (checkpoint::build(&table, &collector), table)).await;
            let (contents, table) = built.map_err(|error| error.to_string())?;
            let contents = contents.map_err(|error| format!("a checkpoint cannot be made: {error}"))?;
            checkpoint::put(place, &table, contents).await?;
            self.write(move |db| checkpoint::done(db, number, &table)).await?;
        }
        let now = now_micros();
        let old = self.store.read(move |db| checkpoint::old_commits(db, number, now, ROUND)).await?;
        for commit in old {
            checkpoint::take_away(place, &commit).await?;
            self.write(move |db| checkpoint::forget(db, number, &commit)).await?;
        }
        Ok(())
    }

    /// Writes the manifests that have changed. True when there are more.
    async fn write_manifests(&mut self, place: &Place, number: i64) -> Result<bool, Undone> {
        let collector = self.store.collector_id.clone();
        let due = self.store.read(move |db| manifest::due(db, number, &collector, ROUND)).await?;
        let has_more = due.len() as i64 >= ROUND;
        for manifest in &due {
            match manifest.text.is_empty() {
                true => place.delete(&manifest.path).await?,
                false => place.renew(&manifest.path, manifest.text.clone().into()).await?,
            }
        }
        if !due.is_empty() {
            self.write(move |db| due.iter().try_for_each(|manifest| manifest::written(db, number, manifest))).await?;
        }
        if has_more {
            return Ok(true);
        }
        let collector = self.store.collector_id.clone();
        let index = self.store.read(move |db: &Connection| manifest::index(db, number, &collector)).await?;
        let written = (number, index);
        if self.written_index != written {
            place.renew(manifest::INDEX, written.1.clone().into()).await?;
            self.written_index = written;
        }
        Ok(false)
    }

    /// Deletes files that nothing tells of any more. True when there are more.
    async fn delete_expired(&self, place: &Place, number: i64) -> Result<bool, Undone> {
        let expired = self.store.read(move |db| files::expired(db, number, ROUND)).await?;
        let has_more = expired.len() as i64 >= ROUND;
        if expired.is_empty() {
            return Ok(false);
        }
        let mut gone = Vec::with_capacity(expired.len());
        let mut failed = None;
        for file in expired {
            match place.remove(&file.path, &self.store.collector_id, file.cut).await {
                Removed::Gone => {}
                Removed::Retry(why) => {
                    failed = Some(format!("{} cannot be deleted: {why}", file.path));
                    break;
                }
            }
            Failpoint::FileDeleted.pass();
            self.metrics.archive_files_deleted.inc();
            self.metrics.archive_bytes_deleted.inc_by(file.bytes);
            gone.push(file.path);
        }
        info!(files = gone.len(), "files older than archive.retention are deleted");
        self.write(move |db| files::forget(db, &gone)).await?;
        match failed {
            Some(why) => Err(Undone::Retry(why)),
            None => Ok(has_more),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.store.writer.write(work).await
    }
}
