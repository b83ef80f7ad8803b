//! What a cause can have hurt, where that is known.
//!
//! An alert on one of several feeds says nothing of the columns that the others bring. Where it is known which columns a part
//! of an indicator brings, its alerts explain what is of these columns, and nothing else: what is of another column, and what is
//! of no column, may have another cause, and somebody has to be told. Where it is not known they may explain anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::rule::{Condition, Labels, Rule};

/// The label that says of which column a member is; of an indicator's member, of which part.
const COLUMN: &str = "column";
const MODEL: &str = "model";

/// Which columns parts of indicators bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// By indicator, model and part.
    columns: BTreeMap<[String; 3], BTreeSet<String>>,
}

impl Reach {
    /// Nothing is known: every cause may have hurt anything.
    pub const EVERYTHING: Self = Self { columns: BTreeMap::new() };

    /// Notes that a part of an indicator of a model brings these columns, and no others.
    #[must_use]
    pub fn limited(
        mut self,
        (sli, model, part): (&str, &str, &str),
        columns: impl IntoIterator<Item = String>,
    ) -> Self {
        self.columns.insert([sli, model, part].map(str::to_owned), columns.into_iter().collect());
        self
    }

    /// Whether what a member of a cause tells of can have hurt what has such labels.
    pub(crate) fn has(&self, cause: &Rule, member: &Labels, explained: &Labels) -> bool {
        let Some(columns) = self.of(cause, member) else { return true };
        explained.get(COLUMN).is_some_and(|column| columns.contains(column))
    }

    /// The columns that a member of a cause tells of; none where that is not known.
    fn of(&self, cause: &Rule, member: &Labels) -> Option<&BTreeSet<String>> {
        let (Condition::Sli { sli, .. } | Condition::Budget { sli, .. }) = &cause.condition else { return None };
        self.columns.get(&[sli, member.get(MODEL)?, member.get(COLUMN)?].map(String::clone))
    }
}
