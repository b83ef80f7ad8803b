//! The journal: batches become durable here, once each, before anybody is told so.

use driftline_protocol::{Account, Batch};
use rusqlite::{Connection, OptionalExtension, params};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Where it is in the journal; none when nothing of it was new.
    pub(crate) position: Option<i64>,
    /// Exchanges of this boot up to here are durable.
    pub(crate) durable_through: u64,
    /// Exchanges that were new.
    pub(crate) new: u64,
    /// Exchanges that were stored before.
    pub(crate) duplicates: u64,
    /// Exchanges that should have come before these, and never will: the sender has gone past them.
    pub(crate) missing: u64,
    /// Whether it is the first batch of its boot.
    pub(crate) is_first: bool,
    /// How much the sender's own counts grew since its last batch.
    pub(crate) growth: Growth,
}

/// How much a sender's account grew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Exchanges that were acknowledged.
    pub(crate) delivered: u64,
    /// Exchanges that were lost. Those that the sample did not draw are not: their owner wanted it so.
    pub(crate) lost: u64,
}

/// Of a sidecar's version, which is its own to say.
const MAX_VERSION_CHARS: usize = 60;

/// The reason of exchanges that the sample did not draw.
pub(crate) const SAMPLED: &str = "sampled";

/// One batch of the journal; [`frame`] is what it holds.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) position: i64,
    pub(crate) received_at: i64,
    /// Exchanges up to this sequence number were stored before.
    pub(crate) skip_through: u64,
}

struct Sender {
    durable_through: u64,
    delivered: u64,
    lost: u64,
}

/// Stores a batch that was checked, unless it was stored before. `batch` is what `frame` holds.
pub(crate) fn append(db: &Connection, batch: &Batch, frame: &[u8], received_at: i64) -> rusqlite::Result<Appended> {
    let known = db
        .prepare_cached("SELECT durable_through, delivered, dropped FROM senders WHERE boot = ?1")?
        .query_row([&batch.boot_id], |row| {
            let dropped: String = row.get(2)?;
            Ok(Sender {
                durable_through: row.get::<_, i64>(0)? as u64,
                delivered: row.get::<_, i64>(1)? as u64,
                lost: lost(dropped_counts(&dropped)),
            })
        })
        .optional()?;
    let is_first = known.is_none();
    let before = known.as_ref().map_or(0, |sender| sender.durable_through);
    let durable_through = before.max(batch.last_sequence);
    let new = batch.last_sequence.saturating_sub(before.max(batch.first_sequence - 1));
    let duplicates = batch.exchanges.len() as u64 - new;
    let account = batch.account.clone().unwrap_or_default();
    let lost = lost(account.dropped.iter().map(|dropped| (dropped.reason.as_str(), dropped.count)));
    // A boot that is in the middle of its life was known once, here or to another collector, and was forgotten: what it
    // counted by then is not of now.
    let is_baseline = known.is_none() && batch.first_sequence > 1;
    let (missing, growth) = if is_baseline {
        (0, Growth::default())
    } else {
        let known = known.unwrap_or(Sender { durable_through: 0, delivered: 0, lost: 0 });
        let missing = if new > 0 { (batch.first_sequence - 1).saturating_sub(before) } else { 0 };
        let growth = Growth {
            delivered: account.delivered.saturating_sub(known.delivered),
            lost: lost.saturating_sub(known.lost),
        };
        (missing, growth)
    };
    let mut position = None;
    if new > 0 {
        let mut insert =
            db.prepare_cached("INSERT INTO journal (received_at, skip_through, frame) VALUES (?1, ?2, ?3)")?;
        position = Some(insert.insert(params![received_at, before as i64, frame])?);
    }
    db.prepare_cached(
        "INSERT INTO senders (boot, model, instance, durable_through, missing, duplicates, seen, delivered, dropped, clock_offset, heard_at, version, first_heard_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?11)
         ON CONFLICT (boot) DO UPDATE SET
            durable_through = excluded.durable_through,
            missing = missing + excluded.missing,
            duplicates = duplicates + excluded.duplicates,
            -- An older batch that comes again must not turn the counts back.
            dropped = CASE WHEN excluded.seen >= seen THEN excluded.dropped ELSE dropped END,
            seen = max(seen, excluded.seen),
            delivered = max(delivered, excluded.delivered),
            -- One that comes again was made long ago.
            clock_offset = CASE WHEN excluded.durable_through > durable_through THEN excluded.clock_offset ELSE clock_offset END,
            heard_at = excluded.heard_at",
    )?
    .execute(params![
        batch.boot_id,
        batch.model,
        batch.instance,
        durable_through as i64,
        missing as i64,
        duplicates as i64,
        account.seen as i64,
        account.delivered as i64,
        dropped_text(&account),
        clock_offset(batch, received_at),
        received_at,
        version(batch),
    ])?;
    Ok(Appended { position, durable_through, new, duplicates, missing, is_first, growth })
}

/// Whether a boot is known, or one more may be: each leaves a row that is kept for a month.
pub(crate) fn has_room_for(db: &Connection, boot: &[u8], max_senders: u64) -> rusqlite::Result<bool> {
    db.prepare_cached(
        // CASE, for it counts only where the boot is new; OR may do both.
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM senders WHERE boot = ?1) THEN 1
             ELSE (SELECT count(*) FROM (SELECT 1 FROM senders LIMIT ?2)) < ?2 END",
    )?
    .query_row(params![boot, max_senders as i64], |row| row.get(0))
}

/// Stores exchanges that no sidecar numbered: what tells their repetitions apart is kept elsewhere, in the same transaction.
pub(crate) fn append_unnumbered(db: &Connection, frame: &[u8], received_at: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO journal (received_at, skip_through, frame) VALUES (?1, 0, ?2)")?
        .execute(params![received_at, frame])?;
    Ok(())
}

/// By how much the sender's clock was behind ours, in microseconds: when the batch came, less when it was made. What it
/// waited in between is part of it. None from a sender that does not say.
pub(crate) fn clock_offset(batch: &Batch, received_at: i64) -> Option<i64> {
    (batch.sent_at_micros != 0).then(|| received_at.saturating_sub(batch.sent_at_micros))
}

/// The version that a sidecar says of itself, as far as it is kept; empty from one that says none.
pub(crate) fn version(batch: &Batch) -> String {
    batch.sidecar_version.chars().filter(|c| !c.is_control()).take(MAX_VERSION_CHARS).collect()
}

/// How many of the exchanges that were dropped are lost.
fn lost<'a>(dropped: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    dropped.filter(|(reason, _)| *reason != SAMPLED).map(|(_, count)| count).fold(0, u64::saturating_add)
}

/// `reason=count` pairs, one a line: plain to read in the database, and no format to keep compatible.
fn dropped_text(account: &Account) -> String {
    account
        .dropped
        .iter()
        .map(|dropped| format!("{}={}\n", dropped.reason.replace(['\n', '='], "_"), dropped.count))
        .collect()
}

/// The pairs of a stored account.
pub(crate) fn dropped_counts(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (reason, count) = line.split_once('=')?;
        Some((reason, count.parse().ok()?))
    })
}

/// Batches after a position, in order, whose frames have so many bytes (at least one). The frames are not read: hardly one is
/// wanted, see `fresh.rs`.
pub(crate) fn read_after(db: &Connection, position: i64, max_bytes: usize) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = db.prepare_cached(
        "SELECT position, received_at, skip_through, length(frame) FROM journal WHERE position > ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([position])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let entry =
            Entry { position: row.get(0)?, received_at: row.get(1)?, skip_through: row.get::<_, i64>(2)? as u64 };
        bytes += row.get::<_, usize>(3)?;
        entries.push(entry);
        if bytes >= max_bytes {
            break;
        }
    }
    Ok(entries)
}

/// The frame of the batch at a position that [`read_after`] gave.
pub(crate) fn frame(db: &Connection, position: i64) -> rusqlite::Result<Vec<u8>> {
    db.prepare_cached("SELECT frame FROM journal WHERE position = ?1")?.query_row([position], |row| row.get(0))
}

/// When the first batch after a position was received; none when there is none.
pub(crate) fn oldest_after(db: &Connection, position: i64) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT received_at FROM journal WHERE position > ?1 ORDER BY position LIMIT 1")?
        .query_row([position], |row| row.get(0))
        .optional()
}

/// Forgets batches up to a position.
pub(crate) fn forget_through(db: &Connection, position: i64) -> rusqlite::Result<usize> {
    db.prepare_cached("DELETE FROM journal WHERE position <= ?1")?.execute([position])
}

/// Remembers that a model was named.
pub(crate) fn remember_model(db: &Connection, model: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO models (name, first_seen) VALUES (?1, ?2)")?
        .execute(params![model, now])?;
    Ok(())
}

/// When a model was first named, if it ever was.
pub(crate) fn first_seen(db: &Connection, model: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT first_seen FROM models WHERE name = ?1")?.query_row([model], |row| row.get(0)).optional()
}

/// Models that were ever named.
pub(crate) fn known_models(db: &Connection) -> rusqlite::Result<Vec<String>> {
    db.prepare("SELECT name FROM models ORDER BY name")?.query_map([], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use driftline_protocol::{Dropped, Exchange};
    use proptest::prelude::*;

    use super::*;

    fn database() -> Connection {
        super::super::in_memory().unwrap()
    }

    fn batch(first: u64, last: u64) -> Batch {
        Batch {
            boot_id: vec![7; 16],
            model: "m".into(),
            first_sequence: first,
            last_sequence: last,
            account: Some(Account {
                seen: last + 5,
                delivered: first - 1,
                dropped: vec![Dropped { reason: "budget".into(), count: 2 }],
                ..Account::default()
            }),
            exchanges: (first..=last).map(|sequence| Exchange { sequence, ..Exchange::default() }).collect(),
            ..Batch::default()
        }
    }

    #[test]
    fn repetitions_overlaps_and_gaps_are_told_apart() {
        let db = database();
        let send = |first, last| {
            let appended = append(&db, &batch(first, last), b"frame", 0).unwrap();
            (appended.durable_through, appended.new, appended.duplicates, appended.missing)
        };
        assert_eq!(send(1, 10), (10, 10, 0, 0));
        assert_eq!(send(1, 10), (10, 0, 10, 0), "sent twice");
        assert_eq!(send(6, 15), (15, 5, 5, 0), "an overlap");
        assert_eq!(send(21, 22), (22, 2, 0, 5), "a gap");
        assert_eq!(send(3, 4), (22, 0, 2, 0), "an old one");
        let entries = read_after(&db, 0, usize::MAX).unwrap();
        assert_eq!(entries.iter().map(|entry| entry.skip_through).collect::<Vec<_>>(), [0, 10, 15]);
    }

    #[test]
    fn a_boot_more_than_may_be_known_has_no_room_and_the_others_go_on() {
        let db = database();
        assert!(has_room_for(&db, &[7; 16], 1).unwrap());
        append(&db, &batch(1, 10), b"frame", 0).unwrap();
        assert!(!has_room_for(&db, &[8; 16], 1).unwrap());
        assert!(has_room_for(&db, &[7; 16], 1).unwrap());
    }

    #[test]
    fn a_clock_is_judged_by_the_newest_batch_that_was_new() {
        let db = database();
        let send = |first, last, sent_at_micros, received_at| {
            append(&db, &Batch { sent_at_micros, ..batch(first, last) }, b"frame", received_at).unwrap();
            db.query_row("SELECT clock_offset FROM senders", [], |row| row.get::<_, Option<i64>>(0)).unwrap()
        };
        assert_eq!(send(1, 10, 0, 500), None, "it does not say");
        assert_eq!(send(11, 12, 700, 500), Some(-200), "its clock is ahead");
        assert_eq!(send(11, 12, 700, 5_000), Some(-200), "a repetition says nothing");
        assert_eq!(send(13, 13, 900, 1_000), Some(100));
    }

    #[test]
    fn accounts_grow_by_what_is_new_in_them() {
        let db = database();
        let growth = |delivered, lost| Growth { delivered, lost };
        assert_eq!(append(&db, &batch(1, 1), b"", 0).unwrap().growth, growth(0, 2));
        assert_eq!(append(&db, &batch(2, 4), b"", 0).unwrap().growth, growth(1, 0));
        assert_eq!(append(&db, &batch(1, 1), b"", 0).unwrap().growth, Growth::default());
    }

    #[test]
    fn a_boot_that_was_forgotten_begins_a_new_account() {
        let db = database();
        let appended = append(&db, &batch(1000, 1004), b"", 0).unwrap();
        assert_eq!((appended.new, appended.missing, appended.growth), (5, 0, Growth::default()));
        let appended = append(&db, &batch(1007, 1008), b"", 0).unwrap();
        assert_eq!((appended.new, appended.missing), (2, 2));
        assert_eq!(appended.growth, Growth { delivered: 7, lost: 0 });
    }

    #[test]
    fn what_the_sample_did_not_draw_is_no_loss_and_still_shown() {
        let db = database();
        let mut sampled = batch(1, 1);
        let account = sampled.account.as_mut().unwrap();
        account.dropped.push(Dropped { reason: SAMPLED.into(), count: 900 });
        assert_eq!(append(&db, &sampled, b"", 0).unwrap().growth, Growth { delivered: 0, lost: 2 });
        let dropped: String = db.query_row("SELECT dropped FROM senders", [], |row| row.get(0)).unwrap();
        assert_eq!(dropped_counts(&dropped).collect::<Vec<_>>(), [("budget", 2), (SAMPLED, 900)]);
    }

    proptest! {
        #[test]
        fn every_exchange_is_read_once_however_batches_repeat_and_overlap(
            sends in proptest::collection::vec((1u64..40, 0u64..10), 1..30)
        ) {
            let db = database();
            let mut through = 0;
            let mut sent: Vec<u64> = Vec::new();
            for (first, length) in sends {
                let last = first + length;
                append(&db, &batch(first, last), format!("{first} {last}").as_bytes(), 0).unwrap();
                sent.extend((first.max(through + 1))..=last);
                through = through.max(last);
            }
            // What a reader of the journal sees: each batch, less what it is to skip.
            let mut read = Vec::new();
            for entry in read_after(&db, 0, usize::MAX).unwrap() {
                let range = String::from_utf8(frame(&db, entry.position).unwrap()).unwrap();
                let (first, last) = range.split_once(' ').unwrap();
                let all = first.parse::<u64>().unwrap()..=last.parse::<u64>().unwrap();
                read.extend(all.filter(|sequence| *sequence > entry.skip_through));
            }
            prop_assert_eq!(read, sent);
        }
    }
}
