//! Which columns go together otherwise.

use super::{Cause, CauseKind, ChangedPair, MAX_NAMED};
use crate::distances::association::{PairChange, noise};

/// The pairs of these columns that changed by more than chance brings about, of all of them.
pub(super) fn causes(columns: &[String], all: &[PairChange]) -> Option<Cause> {
    let beyond = |change: &PairChange| change.effect / noise(change, all.len());
    let mut changed: Vec<&PairChange> = all.iter().filter(|change| beyond(change) > 1.0).collect();
    changed.sort_by(|a, b| beyond(b).total_cmp(&beyond(a)));
    let named = |change: &&PairChange| ChangedPair {
        first: columns[change.columns.0].clone(),
        second: columns[change.columns.1].clone(),
        before: change.before,
        now: change.now,
    };
    let pairs: Vec<ChangedPair> = changed.iter().take(MAX_NAMED).map(named).collect();
    (!pairs.is_empty()).then_some(Cause { kind: CauseKind::Associations { pairs, count: changed.len() }, share: 1.0 })
}
