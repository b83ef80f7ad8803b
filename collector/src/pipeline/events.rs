//! What happened, one line each, for people who follow along.

use rusqlite::{Connection, params};

/// Lines that are kept.
const KEPT: i64 = 10_000;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A window closed.
    Window,
    /// A column began to drift, or stopped.
    Drift,
    /// An alert began.
    AlertFired,
    /// An alert ended.
    AlertResolved,
    /// Somebody is on an alert.
    Acknowledged,
    /// Somebody made a silence, or ended one.
    Silence,
    /// Somebody made a maintenance window, or ended one.
    Maintenance,
    /// Somebody sent a notification again that was given up, or dismissed it.
    Delivery,
    /// A drill began, or was over.
    Drill,
    /// Something is to be started because of an alert, or was, or came to its end.
    Reaction,
    /// A column held a value that is not of its type.
    TypeChange,
    /// A file was archived.
    Archived,
}

impl EventKind {
    /// The name by which the API knows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Drift => "drift",
            Self::AlertFired => "alert_fired",
            Self::AlertResolved => "alert_resolved",
            Self::Acknowledged => "acknowledged",
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
            Self::Delivery => "delivery",
            Self::Drill => "drill",
            Self::Reaction => "reaction",
            Self::TypeChange => "type_change",
            Self::Archived => "archived",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    pub(crate) model: String,
    pub(crate) text: String,
}

/// Stores events, and forgets the oldest.
pub(crate) fn store(db: &Connection, events: &[Event], now: i64) -> rusqlite::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut statement = db.prepare_cached("INSERT INTO events (at, kind, model, text) VALUES (?1, ?2, ?3, ?4)")?;
    for event in events {
        statement.execute(params![now, event.kind.name(), event.model, event.text])?;
    }
    let newest = db.last_insert_rowid();
    db.prepare_cached("DELETE FROM events WHERE id <= ?1")?.execute([newest - KEPT])?;
    Ok(())
}
