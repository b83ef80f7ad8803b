//! From scores and indicators to alerts, and from alerts to people.

pub(crate) mod book;
pub(crate) mod drills;
pub(crate) mod entries;
pub(crate) mod evidence;
pub(crate) mod heartbeat;
pub(crate) mod news;
pub(crate) mod outbox;
mod picture;
pub(crate) mod silences;
pub(crate) mod telling;
