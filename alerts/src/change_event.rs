//! Changes, told to whoever shows them beside what went wrong after them.

use serde::{Deserialize, Serialize};

use crate::state::Micros;

/// Something that was changed. Nobody is woken for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEvent {
    /// What tells it from all others: a receiver may see it twice.
    pub id: i64,
    /// One line: where, and what.
    pub summary: String,
    /// What was changed: a model, or the whole.
    pub source: String,
    /// What kind of thing was changed.
    pub kind: String,
    /// When.
    pub at: Micros,
    /// Where there is more about it.
    pub page_url: String,
}

impl ChangeEvent {
    /// The name by which API and outbox know that something was changed: what [`crate::Action::name`] is for an episode.
    pub const ACTION: &str = "change";
}
