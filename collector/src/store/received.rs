//! Requests that were taken under a key of their sender's, so that one that comes again counts once.

use rusqlite::{Connection, OptionalExtension, params};

/// A request that brings rows: its key, and what tells it from another with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: [u8; 32],
    pub(crate) content: [u8; 32],
}

/// Whether a key was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Not before; now it is.
    New,
    /// With the same content, which is stored.
    Same,
    /// With another content.
    Other,
}

/// Remembers a request, unless it was.
pub(crate) fn remember(db: &Connection, request: &Request, rows: u64, now: i64) -> rusqlite::Result<Known> {
    let content: Option<Vec<u8>> = db
        .prepare_cached("SELECT content FROM rows_received WHERE key = ?1")?
        .query_row([&request.key[..]], |row| row.get(0))
        .optional()?;
    if let Some(content) = content {
        return Ok(if content == request.content { Known::Same } else { Known::Other });
    }
    db.prepare_cached("INSERT INTO rows_received (key, content, rows, received_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![&request.key[..], &request.content[..], rows as i64, now])?;
    Ok(Known::New)
}
