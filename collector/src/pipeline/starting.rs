//! What a start has to read again, how long it takes until it has, and what is other than at the start before.
//!
//! Panes are stored at every checkpoint, so counting goes on from the last: a few hundred milliseconds of the journal. Rows
//! that were in no cut yet are read again for the archive: up to `archive.max_age` of them, or what its store left behind.

use std::time::Instant;

use rusqlite::Connection;
use tracing::info;

use super::Pipeline;
use crate::alerting::changes::{ChangeKind, Looked};

/// The part of the journal that a start reads again.
#[derive(Debug)]
pub(super) struct Replay {
    begun: Instant,
    /// The last batch of it.
    through: i64,
}

impl Replay {
    /// What the journal held when the state was loaded.
    pub(super) fn load(db: &Connection, begun: Instant) -> rusqlite::Result<Self> {
        let through = db.query_row("SELECT coalesce(max(position), 0) FROM journal", [], |row| row.get(0))?;
        Ok(Self { begun, through })
    }

    /// How many batches come after a position.
    pub(super) fn after(&self, position: i64) -> i64 {
        (self.through - position).max(0)
    }
}

impl Pipeline {
    /// What may have been changed since the last start.
    pub(super) fn looked_at(&self) -> Vec<Looked> {
        let looked = |model: &str, kind, identity: &str, text: String| Looked {
            model: model.to_owned(),
            kind,
            identity: identity.to_owned(),
            text,
        };
        let version = env!("CARGO_PKG_VERSION");
        let file = &self.parts.config.fingerprint;
        let own = [
            looked("", ChangeKind::Collector, version, format!("the collector became version {version}")),
            looked("", ChangeKind::Configuration, file, "the collector's configuration was changed".to_owned()),
        ];
        let described = self.parts.config.models.iter().filter_map(|model| self.models.get(model.name.as_str()));
        let references = described.map(|model| {
            let text = match self.parts.references.file(&model.name) {
                Some(file) => format!("it is compared with another reference, built {}", file.built_at),
                None => "its reference was taken away".to_owned(),
            };
            looked(&model.name, ChangeKind::Reference, &model.references.identity, text)
        });
        own.into_iter().chain(references).collect()
    }

    /// Says so once everything that the journal held at the start is counted, and archived or left to a slow store.
    pub(super) fn watch_replay(&mut self) {
        let Some(replay) = &self.replay else { return };
        if self.counted_through < replay.through || self.archives_behind() {
            return;
        }
        let elapsed = replay.begun.elapsed();
        self.parts.metrics.start_replay_seconds.set(elapsed.as_secs_f64());
        info!(through = replay.through, ?elapsed, "what the journal held at the start is worked off");
        self.replay = None;
    }
}
