//! What is to be said of the alerts that fire, by what people have said of them.

use std::collections::BTreeSet;

use driftline_alerts::{Maintenance, Micros, Mute, Muting, Open, Rule, Saying, Silence};
use rusqlite::Connection;

use super::book::Book;
use super::silences;

/// What people have said: what is to be silent, and what somebody is on.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    silences: Vec<Silence>,
    /// Episodes.
    acknowledged: BTreeSet<String>,
}

impl Wishes {
    /// Reads them. They are read whenever they are needed: what was accepted a moment ago is in force.
    pub(crate) fn load(db: &Connection, now: Micros) -> rusqlite::Result<Self> {
        let acknowledged = db
            .prepare_cached("SELECT id FROM episodes WHERE resolved_at IS NULL AND acknowledged_at IS NOT NULL")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { silences: silences::to_keep(db, now)?, acknowledged })
    }
}

/// What changed in how an episode is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) episode: String,
    /// By what it is muted, if that has changed.
    pub(crate) muted_by: Option<Vec<Mute>>,
    pub(crate) sayings: Vec<Saying>,
}

/// Whether the indicators were not looked at since an alert began that they may explain.
fn may_be_explained_yet(rule: &Rule, open: &Open, evaluated_at: Micros) -> bool {
    !rule.explained_by.is_empty() && evaluated_at <= open.since
}

impl Book {
    /// Whether an alert waits for the indicators to be looked at.
    pub(crate) fn holds(&self, evaluated_at: Micros) -> bool {
        let waits = |rule, open: &Open| open.told.first.is_none() && may_be_explained_yet(rule, open, evaluated_at);
        self.firing().any(|(rule, alert)| alert.open().is_some_and(|open| waits(rule, open)))
    }

    /// Decides what is to be said by now of each alert that fires, and takes it as said. An alert that others may explain is
    /// held until the indicators were looked at after it began, which was last at `evaluated_at`.
    pub(crate) fn tell(
        &mut self,
        wishes: &Wishes,
        maintenance: &[Maintenance],
        evaluated_at: Micros,
        now: Micros,
    ) -> Vec<Told> {
        let firing: Vec<_> = self.firing().collect();
        let muting = Muting { silences: &wishes.silences, maintenance, firing: &firing, now };
        let mutes: Vec<Vec<Mute>> = firing.iter().map(|(rule, alert)| muting.of(rule, alert)).collect();
        let mut told = Vec::new();
        self.for_each_open(|rule, open, index| {
            let mutes = &mutes[index];
            let muted_by = (open.told.muted_by != *mutes).then(|| mutes.clone());
            open.told.muted_by.clone_from(mutes);
            let is_held = may_be_explained_yet(rule, open, evaluated_at);
            let sayings = open.say(rule, is_held, wishes.acknowledged.contains(&open.episode), now);
            let changed = muted_by.is_some() || !sayings.is_empty();
            if changed {
                told.push(Told { episode: open.episode.clone(), muted_by, sayings });
            }
            changed
        });
        told
    }
}
