//! Which columns go together otherwise.

use super::{Cause, CauseKind, ChangedPair, MAX_NAMED};
use crate::associations::{AssociationProfile, Associations};
use crate::distances::association::{PairChange, changes, noise};

/// The pairs that changed by more than chance brings about, of so many.
pub(super) fn causes(
    associations: &Associations,
    reference: &AssociationProfile,
    window: &AssociationProfile,
) -> Option<Cause> {
    let all = changes(associations, reference, window);
    let beyond = |change: &PairChange| change.effect / noise(change, all.len());
    let mut changed: Vec<&PairChange> = all.iter().filter(|change| beyond(change) > 1.0).collect();
    changed.sort_by(|a, b| beyond(b).total_cmp(&beyond(a)));
    let named = |change: &&PairChange| ChangedPair {
        first: associations.columns[change.columns.0].clone(),
        second: associations.columns[change.columns.1].clone(),
        before: change.before,
        now: change.now,
    };
    let pairs: Vec<ChangedPair> = changed.iter().take(MAX_NAMED).map(named).collect();
    (!pairs.is_empty()).then_some(Cause { kind: CauseKind::Associations { pairs, count: changed.len() }, share: 1.0 })
}
