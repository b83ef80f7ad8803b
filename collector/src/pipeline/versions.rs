//! The versions of a model that are told apart.
//!
//! At most so many at a time; one that was silent for long makes room. Which there were at which journal position is
//! stored: rows that are archived again get the names that they had the first time.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{OTHER_VERSIONS, UNVERSIONED};

/// Versions of one model that are told apart at a time; the others share a name.
const MAX_VERSIONS: usize = 50;
/// A version of which nothing came for so long makes room for another, when there is none left.
const IDLE_MICROS: i64 = 7 * 86_400_000_000;
/// How exactly it is stored when something came last: not every batch is a write.
const HEARD_STEP_MICROS: i64 = 3_600_000_000;
/// Longest name of a version; longer ones are none.
const MAX_NAME_BYTES: usize = 100;

/// A version, from one journal position to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) version: Arc<str>,
    pub(crate) first: i64,
    /// Batches from here on are not its own any more.
    pub(crate) until: Option<i64>,
    pub(crate) heard_at: i64,
}

/// The versions of one model.
#[derive(Debug, Default)]
pub(super) struct Versions {
    spans: Vec<Span>,
    /// Indices of spans that changed since this was last asked.
    changed: Vec<usize>,
}

/// What a version that was read for the first time is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) version: Arc<str>,
    /// It was not told apart before.
    pub(super) is_new: bool,
    /// The version that made room for it.
    pub(super) expired: Option<Arc<str>>,
    /// There was no room.
    pub(super) is_refused: bool,
}

impl Versions {
    /// The versions as they were stored.
    pub(super) fn load(db: &Connection, model: &str) -> rusqlite::Result<Self> {
        let spans = db
            .prepare(
                "SELECT version, first_position, until_position, heard_at FROM versions
                 WHERE model = ?1 ORDER BY first_position, version",
            )?
            .query_map([model], |row| {
                Ok(Span {
                    version: row.get::<_, String>(0)?.into(),
                    first: row.get(1)?,
                    until: row.get(2)?,
                    heard_at: row.get(3)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { spans, changed: Vec::new() })
    }

    /// Whether a version is told apart now.
    pub(super) fn is_active(&self, version: &str) -> bool {
        version == OTHER_VERSIONS || self.spans.iter().any(|span| span.until.is_none() && *span.version == *version)
    }

    /// What a version was called at a position that was read before.
    pub(super) fn at(&self, named: Option<&str>, position: i64) -> Arc<str> {
        let name = plain(named);
        let is_in = |span: &&Span| span.first <= position && span.until.is_none_or(|until| position < until);
        let span = self.spans.iter().filter(is_in).find(|span| *span.version == *name);
        span.map_or_else(|| Arc::from(OTHER_VERSIONS), |span| Arc::clone(&span.version))
    }

    /// What a version is called at the position that is read for the first time.
    pub(super) fn call(&mut self, named: Option<&str>, position: i64, received_at: i64) -> Called {
        let name = plain(named);
        let mut called = Called { version: Arc::from(OTHER_VERSIONS), is_new: false, expired: None, is_refused: false };
        if name == OTHER_VERSIONS {
            return called;
        }
        let active = || self.spans.iter().enumerate().filter(|(_, span)| span.until.is_none());
        if let Some((index, span)) = active().find(|(_, span)| *span.version == *name) {
            called.version = Arc::clone(&span.version);
            if received_at - span.heard_at >= HEARD_STEP_MICROS {
                self.spans[index].heard_at = received_at;
                self.changed.push(index);
            }
            return called;
        }
        if active().count() >= MAX_VERSIONS {
            let idlest = active().min_by_key(|(_, span)| span.heard_at);
            let Some((index, _)) = idlest.filter(|(_, span)| received_at - span.heard_at >= IDLE_MICROS) else {
                called.is_refused = true;
                return called;
            };
            self.spans[index].until = Some(position);
            self.changed.push(index);
            called.expired = Some(Arc::clone(&self.spans[index].version));
        }
        called.version = Arc::from(name);
        called.is_new = true;
        self.changed.push(self.spans.len());
        let version = Arc::clone(&called.version);
        self.spans.push(Span { version, first: position, until: None, heard_at: received_at });
        called
    }

    /// Spans that changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> Vec<Span> {
        self.changed.sort_unstable();
        self.changed.dedup();
        self.changed.drain(..).map(|index| self.spans[index].clone()).collect()
    }
}

fn plain(named: Option<&str>) -> &str {
    named.filter(|version| !version.is_empty() && version.len() <= MAX_NAME_BYTES).unwrap_or(UNVERSIONED)
}

/// Stores spans that changed.
pub(crate) fn store(db: &Connection, model: &str, spans: &[Span]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO versions (model, version, first_position, until_position, heard_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for span in spans {
        statement.execute(params![model, &*span.version, span.first, span.until, span.heard_at])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn rows_that_are_read_again_have_the_versions_that_they_had() {
        let db = crate::store::in_memory().unwrap();
        let mut versions = Versions::default();
        let mut first = Vec::new();
        for position in 1..=60i64 {
            // From the 51st on there is no room, until the first of them were silent for a week.
            let received_at = if position <= 55 { 0 } else { 8 * DAY };
            let name = position.to_string();
            first.push((name.clone(), position, versions.call(Some(&name), position, received_at).version));
        }
        store(&db, "m", &versions.take_changed()).unwrap();
        let again = Versions::load(&db, "m").unwrap();
        for (name, position, version) in &first {
            assert_eq!(again.at(Some(name), *position), *version, "{name}");
        }
        let others = first.iter().filter(|(_, _, version)| **version == *OTHER_VERSIONS).count();
        assert_eq!(others, 5, "those in between");
        assert_eq!(again.at(Some("51"), 51), OTHER_VERSIONS.into());
        assert_eq!(again.at(None, 3), OTHER_VERSIONS.into(), "it was not named by then");
    }

    #[test]
    fn a_silent_version_makes_room_and_a_busy_one_does_not() {
        let mut versions = Versions::default();
        for number in 0..MAX_VERSIONS {
            versions.call(Some(&number.to_string()), 1, 0);
        }
        let refused = versions.call(Some("new"), 2, DAY);
        assert_eq!(refused, Called { version: OTHER_VERSIONS.into(), is_new: false, expired: None, is_refused: true });
        versions.call(Some("0"), 3, 6 * DAY);
        let called = versions.call(Some("new"), 4, 7 * DAY);
        assert_eq!(
            called,
            Called { version: "new".into(), is_new: true, expired: Some("1".into()), is_refused: false }
        );
        assert!(versions.is_active("0") && !versions.is_active("1"));
    }

    #[test]
    fn what_is_no_name_is_unversioned() {
        let mut versions = Versions::default();
        for named in [None, Some(""), Some("x".repeat(101).as_str())] {
            assert_eq!(versions.call(named, 1, 0).version, UNVERSIONED.into());
        }
    }
}
