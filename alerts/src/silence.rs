//! Silences: for a time, nothing is said of some alerts but their end.

use crate::matching::Matchers;
use crate::state::Micros;

/// A silence, from a time to a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its identity.
    pub id: String,
    /// Which alerts it is of.
    pub matching: Matchers,
    /// When it begins.
    pub from: Micros,
    /// When it ends.
    pub until: Micros,
}

impl Silence {
    /// Whether it is in force.
    pub fn is_on(&self, now: Micros) -> bool {
        self.from <= now && now < self.until
    }
}
