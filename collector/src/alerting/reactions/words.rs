//! Reactions in words: for notifications, the feed, and the timeline of a postmortem.

use super::stored::{State, Stored};
use crate::times;

/// What is asked of whoever is told of an episode: name and value of a fact.
pub(super) fn question(reaction: &str, until: Option<i64>, url: Option<String>) -> (String, String) {
    let by = until.map(|until| format!("by {} UTC", times::second(until))).unwrap_or_default();
    let place = url.unwrap_or_else(|| "on the alert's page".to_owned());
    (format!("Waits for approval: {reaction}"), format!("{by}: {place}"))
}

/// A person's, or a job's, note after what they said.
pub(crate) fn with_note(text: String, note: &str) -> String {
    if note.is_empty() { text } else { format!("{text}: {note}") }
}

/// What became of a reaction, and when.
pub(super) fn moments(stored: &Stored) -> Vec<(i64, String)> {
    let Stored { reaction, .. } = stored;
    let mut moments = Vec::new();
    if stored.good_until.is_some() {
        moments.push((stored.created_at, format!("{reaction}: somebody was asked to approve")));
    }
    if let Some(word) = &stored.decided {
        let what = if stored.state == Some(State::Declined) { "declined" } else { "approved" };
        moments.push((word.at, with_note(format!("{reaction}: {what} by {}", word.by), &word.note)));
    }
    let settled = stored.settled_at.zip(stored.state.and_then(|state| ending(state, stored)));
    moments.extend(settled.map(|(at, ending)| (at, format!("{reaction}: {ending}"))));
    if let Some(word) = &stored.result {
        moments.push((word.at, with_note(format!("{reaction}: the job reports '{}'", word.by), &word.note)));
    }
    moments
}

/// What a reaction came to, by the state that it ended in; nothing for what is said otherwise.
fn ending(state: State, stored: &Stored) -> Option<String> {
    let why = stored.why.clone().unwrap_or_default();
    match state {
        State::Started => Some(started(stored.reference.as_deref())),
        State::Unknown => Some(with_note("it may have been started".to_owned(), &why)),
        State::Failed => Some(with_note("it could not be started".to_owned(), &why)),
        State::Lapsed => Some(with_note("it lapsed".to_owned(), &why)),
        State::Asked | State::Approved | State::Starting | State::Declined => None,
    }
}

/// That it is started, as what.
pub(super) fn started(reference: Option<&str>) -> String {
    reference.map_or_else(|| "started".to_owned(), |reference| format!("started as run {reference}"))
}
