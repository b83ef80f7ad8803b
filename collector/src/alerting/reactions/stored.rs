//! Reactions as they are stored, and how they go from one state to the next.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;
use utoipa::ToSchema;

use super::words;

/// Questions that one notification names.
const MAX_QUESTIONS: i64 = 10;

/// How far a reaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Somebody was asked.
    Asked,
    /// Somebody said yes.
    Approved,
    /// It is being started.
    Starting,
    /// It is started.
    Started,
    /// It may have been started.
    Unknown,
    /// It could not be started.
    Failed,
    /// Somebody said no.
    Declined,
    /// The question, or the yes, was not good any more.
    Lapsed,
}

impl State {
    pub(crate) const ALL: [Self; 8] = [
        Self::Asked,
        Self::Approved,
        Self::Starting,
        Self::Started,
        Self::Unknown,
        Self::Failed,
        Self::Declined,
        Self::Lapsed,
    ];

    /// The name by which API and database know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Approved => "approved",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Declined => "declined",
            Self::Lapsed => "lapsed",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a job reported of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    Running,
    Succeeded,
    Failed,
}

impl JobState {
    /// The name by which API and database know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// Somebody's word, or a job's, and when it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Who, or which state of the job.
    pub(crate) by: String,
    pub(crate) note: String,
    pub(crate) at: i64,
}

/// A reaction to an episode.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) reaction: String,
    pub(crate) episode: String,
    pub(crate) model: String,
    /// None when what is stored is no state of this version.
    pub(crate) state: Option<State>,
    pub(crate) created_at: i64,
    pub(crate) good_until: Option<i64>,
    /// Who approved or declined.
    pub(crate) decided: Option<Word>,
    pub(crate) started_at: Option<i64>,
    pub(crate) attempts: u32,
    pub(crate) next_attempt_at: Option<i64>,
    pub(crate) is_in_flight: bool,
    pub(crate) settled_at: Option<i64>,
    pub(crate) why: Option<String>,
    pub(crate) reference: Option<String>,
    /// What the job reported.
    pub(crate) result: Option<Word>,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let word = |prefix: &str, who: &str| -> rusqlite::Result<Option<Word>> {
            let Some(at) = row.get(format!("{prefix}_at").as_str())? else { return Ok(None) };
            let by: Option<String> = row.get(who)?;
            let note: Option<String> = row.get(format!("{prefix}_note").as_str())?;
            Ok(Some(Word { by: by.unwrap_or_default(), note: note.unwrap_or_default(), at }))
        };
        Ok(Self {
            id: row.get("id")?,
            reaction: row.get("reaction")?,
            episode: row.get("episode")?,
            model: row.get("model")?,
            state: State::named(&row.get::<_, String>("state")?),
            created_at: row.get("created_at")?,
            good_until: row.get("good_until")?,
            decided: word("decided", "decided_by")?,
            started_at: row.get("started_at")?,
            attempts: row.get("attempts")?,
            next_attempt_at: row.get("next_attempt_at")?,
            is_in_flight: row.get("is_in_flight")?,
            settled_at: row.get("settled_at")?,
            why: row.get("why")?,
            reference: row.get("reference")?,
            result: word("result", "result")?,
        })
    }
}

/// One, by its id.
pub(crate) fn one(db: &Connection, id: &str) -> rusqlite::Result<Option<Stored>> {
    db.prepare_cached("SELECT * FROM reactions WHERE id = ?1")?.query_row([id], Stored::read).optional()
}

/// Those of an episode, in the order in which they came.
pub(crate) fn of_episode(db: &Connection, episode: &str) -> rusqlite::Result<Vec<Stored>> {
    db.prepare_cached("SELECT * FROM reactions WHERE episode = ?1 ORDER BY created_at, id")?
        .query_map([episode], Stored::read)?
        .collect()
}

/// The newest, of one state or of all.
pub(crate) fn list(db: &Connection, state: Option<State>, limit: u32) -> rusqlite::Result<Vec<Stored>> {
    db.prepare_cached("SELECT * FROM reactions WHERE ?1 IS NULL OR state = ?1 ORDER BY created_at DESC, id LIMIT ?2")?
        .query_map(params![state.map(State::name), limit], Stored::read)?
        .collect()
}

/// What of a reaction is to be started by now.
pub(super) fn due(db: &Connection, reaction: &str, now: i64) -> rusqlite::Result<Vec<Stored>> {
    db.prepare_cached(
        "SELECT * FROM reactions WHERE reaction = ?1 AND state = 'starting' AND next_attempt_at <= ?2
         ORDER BY next_attempt_at, id LIMIT 10",
    )?
    .query_map(params![reaction, now], Stored::read)?
    .collect()
}

/// Records that somebody is asked.
pub(super) fn ask(
    db: &Connection,
    [id, reaction, episode, model]: [&str; 4],
    (until, url): (i64, Option<&str>),
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO reactions (id, reaction, episode, model, state, created_at, good_until, approval_url)
         VALUES (?1, ?2, ?3, ?4, 'asked', ?5, ?6, ?7)",
    )?
    .execute(params![id, reaction, episode, model, now, until, url])?;
    Ok(())
}

/// Records that it is to be started.
pub(super) fn begin(db: &Connection, [id, reaction, episode, model]: [&str; 4], now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO reactions (id, reaction, episode, model, state, created_at, started_at, next_attempt_at)
         VALUES (?1, ?2, ?3, ?4, 'starting', ?5, ?5, ?5)
         ON CONFLICT (id) DO UPDATE SET state = 'starting', started_at = ?5, next_attempt_at = ?5",
    )?
    .execute(params![id, reaction, episode, model, now])?;
    Ok(())
}

/// Records an attempt, before it is made.
pub(super) fn attempt(db: &Connection, id: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE reactions SET attempts = attempts + 1, is_in_flight = 1, started_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    Ok(())
}

/// An attempt started nothing, or its repetition will be recognised; there is another one at `next`.
pub(super) fn postpone(db: &Connection, id: &str, why: &str, next: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE reactions SET is_in_flight = 0, why = ?2, next_attempt_at = ?3 WHERE id = ?1")?
        .execute(params![id, why, next])?;
    Ok(())
}

/// It has come to its last state. What was not started for certain does not count among the starts.
pub(super) fn settle(
    db: &Connection,
    id: &str,
    (state, is_never_started): (State, bool),
    (why, reference): (Option<&str>, Option<&str>),
    now: i64,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE reactions
         SET state = ?2, started_at = CASE WHEN ?3 THEN NULL ELSE started_at END, why = ?4, reference = ?5,
             settled_at = ?6, is_in_flight = 0, next_attempt_at = NULL
         WHERE id = ?1",
    )?
    .execute(params![id, state.name(), is_never_started, why, reference, now])?;
    Ok(())
}

/// Writes somebody's decision down; a yes is good for as long as the question was.
pub(crate) fn decided(db: &Connection, id: &str, is_yes: bool, word: &Word) -> rusqlite::Result<()> {
    let state = if is_yes { State::Approved } else { State::Declined };
    db.prepare_cached(
        "UPDATE reactions
         SET state = ?2, decided_by = ?3, decided_note = ?4, decided_at = ?5,
             good_until = ?5 + good_until - created_at, settled_at = CASE WHEN ?2 = 'declined' THEN ?5 END
         WHERE id = ?1",
    )?
    .execute(params![id, state.name(), word.by, word.note, word.at])?;
    Ok(())
}

/// Writes down what a job reported. One that reports was started.
pub(crate) fn reported(db: &Connection, id: &str, word: &Word) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE reactions
         SET result = ?2, result_note = ?3, result_at = ?4, why = CASE state WHEN 'unknown' THEN NULL ELSE why END,
             state = CASE state WHEN 'unknown' THEN 'started' ELSE state END
         WHERE id = ?1",
    )?
    .execute(params![id, word.by, word.note, word.at])?;
    Ok(())
}

/// What is asked of whoever reads of an episode: what is to be approved, and where.
pub(crate) fn questions(db: &Connection, episode: &str) -> rusqlite::Result<Vec<(String, String)>> {
    db.prepare_cached(
        "SELECT reaction, good_until, approval_url FROM reactions
         WHERE episode = ?1 AND state = 'asked' ORDER BY created_at, id LIMIT ?2",
    )?
    .query_map(params![episode, MAX_QUESTIONS], |row| {
        Ok(words::question(&row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
    })?
    .collect()
}

/// What became of an episode's reactions, and when.
pub(crate) fn timeline(db: &Connection, episode: &str) -> rusqlite::Result<Vec<(i64, String)>> {
    Ok(of_episode(db, episode)?.iter().flat_map(words::moments).collect())
}

/// Ends what waits of reactions that are not configured any more: there is nobody who would start them.
pub(super) fn drop_unconfigured(db: &Connection, configured: &[String], now: i64) -> rusqlite::Result<()> {
    let configured = serde_json::to_string(configured).unwrap_or_default();
    let waiting: Vec<Stored> = db
        .prepare_cached(
            "SELECT * FROM reactions
             WHERE state IN ('asked', 'approved', 'starting') AND reaction NOT IN (SELECT value FROM json_each(?1))",
        )?
        .query_map([configured], Stored::read)?
        .collect::<rusqlite::Result<_>>()?;
    for stored in waiting {
        let was_tried = stored.attempts > 0;
        let state = if was_tried { State::Unknown } else { State::Lapsed };
        let why = (Some("the reaction is not configured any more"), None);
        settle(db, &stored.id, (state, !was_tried), why, now)?;
    }
    Ok(())
}
