//! What was changed around a model, as far as it shows here: what everybody who is woken asks for first.

use std::collections::BTreeMap;

use driftline_protocol::Batch;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::store::journal;
use crate::times::second;

/// Changes that are kept.
const KEPT: i64 = 10_000;
/// Changes longer ago than this explain nothing that begins now.
const BEFORE_MICROS: i64 = 7 * 86_400_000_000;

/// Of a sidecar's name, which is its own to choose.
const MAX_NAME_CHARS: usize = 100;
/// A version of which no sidecar was heard for so long is gone. A pod that is started again, and its neighbours, are heard within.
const GONE_AFTER_MICROS: i64 = 600_000_000;

/// What kind of thing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChangeKind {
    /// The model itself: a version that was not seen before.
    Version,
    /// What it is compared with.
    Reference,
    /// The collector's configuration.
    Configuration,
    /// A sidecar: it began to send, or was started again.
    Sidecar,
    /// The version of a model's sidecars.
    SidecarVersion,
    /// The collector's own version.
    Collector,
    /// What an alert started, by which the model will be another.
    Reaction,
}

impl ChangeKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Version,
        Self::Reference,
        Self::Configuration,
        Self::Sidecar,
        Self::SidecarVersion,
        Self::Collector,
        Self::Reaction,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Reference => "reference",
            Self::Configuration => "configuration",
            Self::Sidecar => "sidecar",
            Self::SidecarVersion => "sidecar_version",
            Self::Collector => "collector",
            Self::Reaction => "reaction",
        }
    }
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: i64,
    /// Empty when it is every model's.
    pub(crate) model: String,
    pub(crate) kind: ChangeKind,
    /// What happened, as a sentence without its end.
    pub(crate) text: String,
}

/// A change as it is stored, if its kind is known.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<Change>> {
    let kind: String = row.get("kind")?;
    let Some(kind) = ChangeKind::ALL.into_iter().find(|known| known.name() == kind) else { return Ok(None) };
    Ok(Some(Change { at: row.get("at")?, model: row.get("model")?, kind, text: row.get("text")? }))
}

/// Stores a change, and forgets the oldest.
pub(crate) fn store(db: &Connection, change: &Change) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO changes (at, model, kind, text) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        change.at,
        change.model,
        change.kind.name(),
        change.text
    ])?;
    db.prepare_cached("DELETE FROM changes WHERE id <= ?1")?.execute([db.last_insert_rowid() - KEPT])?;
    Ok(())
}

/// That a sidecar, which is known by its batch already, began to send; or did again, from a new start.
pub(crate) fn of_sidecar(db: &Connection, batch: &Batch, at: i64) -> rusqlite::Result<Change> {
    let was_there: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM senders WHERE model = ?1 AND instance = ?2 AND boot != ?3)")?
        .query_row(params![batch.model, batch.instance, batch.boot_id], |row| row.get(0))?;
    let what = if was_there { "was started again" } else { "began to send" };
    let text = format!("the sidecar {} {what}", name(batch));
    Ok(Change { at, model: batch.model.clone(), kind: ChangeKind::Sidecar, text })
}

/// That the sidecars of a model are becoming another version, with this one, which is known by its batch already.
///
/// A rollout is told of once, by its first pod: while a version is heard, another boot of it is nothing new, be it the next pod of
/// the rollout or an old one that was started again meanwhile. One that comes back after it was gone is told of again.
pub(crate) fn of_sidecars_version(db: &Connection, batch: &Batch, at: i64) -> rusqlite::Result<Option<Change>> {
    let version = journal::version(batch);
    let before: Option<String> = db
        .prepare_cached("SELECT version FROM senders WHERE model = ?1 AND boot != ?2 ORDER BY heard_at DESC LIMIT 1")?
        .query_row(params![batch.model, batch.boot_id], |row| row.get(0))
        .optional()?;
    let Some(before) = before.filter(|before| *before != version && !version.is_empty()) else { return Ok(None) };
    let is_heard: bool = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM senders WHERE model = ?1 AND boot != ?2 AND version = ?3 AND heard_at >= ?4)",
        )?
        .query_row(params![batch.model, batch.boot_id, version, at - GONE_AFTER_MICROS], |row| row.get(0))?;
    let before = if before.is_empty() { "an older one".to_owned() } else { before };
    let text = format!("sidecars became version {version}, {} first; it was {before}", name(batch));
    let change = Change { at, model: batch.model.clone(), kind: ChangeKind::SidecarVersion, text };
    Ok((!is_heard).then_some(change))
}

/// Where a batch comes from, fit for a sentence.
fn name(batch: &Batch) -> String {
    batch.instance.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

/// Something that was one way at the last start, and may be another now.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) model: String,
    pub(crate) kind: ChangeKind,
    /// What tells it from any other.
    pub(crate) identity: String,
    pub(crate) text: String,
}

/// Notes what is other than at the last start. What is looked at for the first time has not changed.
pub(crate) fn compare(db: &Connection, all: &[Looked], now: i64) -> rusqlite::Result<()> {
    for Looked { model, kind, identity, text } in all {
        let key = format!("last_{}:{model}", kind.name());
        let before: Option<String> =
            db.query_row("SELECT value FROM meta WHERE key = ?1", [&key], |row| row.get(0)).optional()?;
        if before.as_ref() == Some(identity) {
            continue;
        }
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", [&key, identity])?;
        if before.is_some() {
            store(db, &Change { at: now, model: model.clone(), kind: *kind, text: text.clone() })?;
        }
    }
    Ok(())
}

/// The changes of a model, and those of every model, in a stretch of time; the oldest first.
pub(crate) fn between(db: &Connection, model: &str, from: i64, until: i64) -> rusqlite::Result<Vec<Change>> {
    db.prepare_cached(
        "SELECT at, model, kind, text FROM changes WHERE model IN (?1, '') AND at BETWEEN ?2 AND ?3 ORDER BY at, id",
    )?
    .query_map(params![model, from, until], read)?
    .filter_map(Result::transpose)
    .collect()
}

/// The changes that were stored after one of them, each with its id, the oldest first; none instead of one of a kind that is
/// not known.
pub(crate) fn after(db: &Connection, id: i64, limit: u64) -> rusqlite::Result<Vec<(i64, Option<Change>)>> {
    db.prepare_cached("SELECT id, at, model, kind, text FROM changes WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![id, limit as i64], |row| Ok((row.get("id")?, read(row)?)))?
        .collect()
}

/// The id of the last change; 0 before the first.
pub(crate) fn last(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT coalesce(max(id), 0) FROM changes")?.query_row([], |row| row.get(0))
}

/// The last change of each kind before an alert began, the newest first, in words. `fresh` are not stored yet.
pub(crate) fn last_before(
    db: &Connection,
    model: &str,
    began: i64,
    fresh: &[Change],
) -> rusqlite::Result<Option<String>> {
    let stored = between(db, model, began.saturating_sub(BEFORE_MICROS), began)?;
    let own = fresh.iter().filter(|change| change.model == model && change.at <= began).cloned();
    let mut kinds: BTreeMap<ChangeKind, (Change, usize)> = BTreeMap::new();
    for change in stored.into_iter().chain(own) {
        let count = kinds.get(&change.kind).map_or(0, |(_, count)| *count);
        kinds.insert(change.kind, (change, count + 1));
    }
    let mut last: Vec<(Change, usize)> = kinds.into_values().collect();
    last.sort_by_key(|(change, _)| std::cmp::Reverse(change.at));
    let words: Vec<String> = last.iter().map(|(change, count)| in_words(change, *count, began)).collect();
    Ok((!words.is_empty()).then(|| words.join("; ")))
}

fn in_words(Change { at, text, .. }: &Change, count: usize, began: i64) -> String {
    let more = match count {
        1 => String::new(),
        count => format!(", the last of {count} such in 7 days"),
    };
    format!("{text}, {} before this ({} UTC){more}", length(began - at), second(*at))
}

fn length(micros: i64) -> String {
    match micros / 60_000_000 {
        0 => "less than a minute".to_owned(),
        1 => "a minute".to_owned(),
        minutes @ ..120 => format!("{minutes} minutes"),
        minutes @ ..2880 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn database() -> Connection {
        crate::store::in_memory().unwrap()
    }

    fn change(at: i64, model: &str, kind: ChangeKind, text: &str) -> Change {
        Change { at, model: model.into(), kind, text: text.into() }
    }

    #[test]
    fn the_last_of_each_kind_is_told_and_how_many_there_were() {
        let db = database();
        let began = 10 * 86_400_000_000;
        for (before, model, kind, text) in [
            (8 * 1440, "m", ChangeKind::Version, "version 1 was seen first"),
            (300, "", ChangeKind::Configuration, "the configuration was changed"),
            (40, "m", ChangeKind::Sidecar, "the sidecar a was started again"),
            (39, "m", ChangeKind::Sidecar, "the sidecar b was started again"),
            (5, "n", ChangeKind::Version, "version 9 was seen first"),
            (-5, "m", ChangeKind::Version, "version 3 was seen first"),
        ] {
            store(&db, &change(began - before * MINUTE, model, kind, text)).unwrap();
        }
        let fresh = [change(began - 1, "m", ChangeKind::Version, "version 2 was seen first")];
        let said = last_before(&db, "m", began, &fresh).unwrap().unwrap();
        assert_eq!(
            said,
            "version 2 was seen first, less than a minute before this (1970-01-10 23:59:59 UTC); \
             the sidecar b was started again, 39 minutes before this (1970-01-10 23:21:00 UTC), the last of 2 such in 7 days; \
             the configuration was changed, 5 hours before this (1970-01-10 19:00:00 UTC)"
        );
        assert_eq!(last_before(&db, "x", MINUTE, &[]).unwrap(), None);
    }

    #[test]
    fn a_sidecar_that_was_there_before_was_started_again() {
        let db = database();
        let first = Batch { boot_id: vec![1], model: "m".into(), instance: "pod\u{7}-a".into(), ..Batch::default() };
        let second = Batch { boot_id: vec![2], ..first.clone() };
        let said = |batch: &Batch| of_sidecar(&db, batch, 5).unwrap().text;
        for batch in [&first, &second] {
            db.execute(
                "INSERT INTO senders (boot, model, instance, durable_through, missing, duplicates, seen, delivered, dropped, heard_at)
                 VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, '', 5)",
                params![batch.boot_id, batch.model, batch.instance],
            )
            .unwrap();
            let ending = if batch.boot_id == [1] { "began to send" } else { "was started again" };
            assert_eq!(said(batch), format!("the sidecar pod-a {ending}"));
        }
    }

    #[test]
    fn a_rollout_of_sidecars_is_told_of_once_whichever_pods_come_and_go_in_it() {
        let db = database();
        let mut pods = 0;
        let mut begins = |minute: i64, model: &str, version: &str| {
            pods += 1;
            let batch = Batch {
                boot_id: vec![pods],
                model: model.into(),
                instance: format!("pod-{pods}"),
                sidecar_version: version.into(),
                first_sequence: 1,
                ..Batch::default()
            };
            journal::append(&db, &batch, &[], minute * MINUTE).unwrap();
            of_sidecars_version(&db, &batch, minute * MINUTE).unwrap().map(|change| change.text)
        };
        // The first pods of a model are no change, whatever they run, and neither are those of before the field.
        assert_eq!([begins(0, "m", ""), begins(1, "m", ""), begins(1, "n", "0.1.0")], [None, None, None]);
        let first = begins(2, "m", "0.2.0").unwrap();
        assert_eq!(first, "sidecars became version 0.2.0, pod-4 first; it was an older one");
        assert_eq!([begins(3, "m", "0.2.0"), begins(4, "m", ""), begins(5, "m", "0.2.0")], [None, None, None]);
        assert!(begins(30, "m", "0.3.0").unwrap().contains("0.3.0, pod-8 first; it was 0.2.0"));
        // In the middle of a rollout an old pod is started again, and the rollout goes on.
        assert!(begins(60, "m", "0.4.0").is_some());
        assert!(
            begins(61, "m", "0.3.0").is_some(),
            "none of that version was heard for half an hour: it was rolled back"
        );
        assert_eq!([begins(62, "m", "0.4.0"), begins(63, "m", "0.3.0"), begins(64, "m", "0.4.0")], [None, None, None]);
        assert_eq!(begins(65, "n", "0.1.0"), None, "it is another model's");
    }

    #[test]
    fn what_a_sidecar_says_of_its_version_is_kept_to_its_bound() {
        let db = database();
        let batch = |boot, version: String| Batch {
            boot_id: vec![boot],
            model: "m".into(),
            sidecar_version: version,
            first_sequence: 1,
            ..Batch::default()
        };
        journal::append(&db, &batch(1, "0.1.0".into()), &[], MINUTE).unwrap();
        let hostile = batch(2, format!("1\n{}", "9".repeat(100_000)));
        let text = of_sidecars_version(&db, &hostile, MINUTE).unwrap().unwrap().text;
        assert!(text.len() < 200 && !text.contains('\n'), "{text}");
    }

    #[test]
    fn what_is_other_than_at_the_last_start_has_changed_and_what_is_new_has_not() {
        let db = database();
        let looked = |identity: &str| {
            [Looked {
                model: "m".into(),
                kind: ChangeKind::Reference,
                identity: identity.into(),
                text: format!("the reference is {identity} now"),
            }]
        };
        for (now, identity) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
            compare(&db, &looked(identity), now).unwrap();
        }
        let all = between(&db, "m", 0, 9).unwrap();
        assert_eq!(all, [change(3, "m", ChangeKind::Reference, "the reference is b now")]);
    }

    #[test]
    fn so_many_are_kept() {
        let db = database();
        for at in 0..KEPT + 5 {
            store(&db, &change(at, "m", ChangeKind::Sidecar, "s")).unwrap();
        }
        let kept = between(&db, "m", 0, i64::MAX).unwrap();
        assert_eq!((kept.len() as i64, kept[0].at), (KEPT, 5));
    }
}
