//! From scores and indicators to alerts, and from alerts to people.

pub(crate) mod book;
pub(crate) mod evidence;
pub(crate) mod heartbeat;
pub(crate) mod outbox;
mod picture;
