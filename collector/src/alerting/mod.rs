//! From scores and indicators to alerts, and from alerts to people.

pub(crate) mod around;
pub(crate) mod book;
mod cells;
mod change_events;
pub(crate) mod changes;
pub(crate) mod confidence;
pub(crate) mod current;
pub(crate) mod dashboard;
pub(crate) mod dead_letters;
pub(crate) mod drills;
pub(crate) mod entries;
pub(crate) mod evidence;
pub(crate) mod facts;
pub(crate) mod heartbeat;
#[cfg(test)]
mod histories;
pub(crate) mod maintenance;
pub(crate) mod news;
mod no_verdict;
pub(crate) mod outbox;
#[cfg(test)]
mod partial_histories;
mod picture;
pub(crate) mod pulling;
pub(crate) mod reactions;
#[cfg(test)]
mod shipped_causes;
pub(crate) mod silences;
pub(crate) mod telling;
pub(crate) mod ticks;
pub(crate) mod wording;
