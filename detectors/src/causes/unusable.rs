//! Why more rows have no usable value.

use super::{Cause, CauseKind, Unusable};
use crate::reference::Profile;

/// Shares of the rise that are worth a word.
const MENTIONED: f64 = 0.05;

/// The reasons whose share rose, each with its part of the whole rise.
pub(super) fn causes(reference: &Profile, window: &Profile) -> Vec<Cause> {
    let rises: Vec<(Unusable, f64, f64)> = counts(reference)
        .into_iter()
        .zip(counts(window))
        .map(|((what, before), (_, now))| (what, share(before, reference.rows()), share(now, window.rows())))
        .filter(|(_, before, now)| now > before)
        .collect();
    let rise: f64 = rises.iter().map(|(_, before, now)| now - before).sum();
    let cause = |(what, before, now): (Unusable, f64, f64)| Cause {
        kind: CauseKind::Missing { what, before, now },
        share: (now - before) / rise,
    };
    rises.into_iter().map(cause).filter(|cause| cause.share >= MENTIONED).collect()
}

/// Rows without a usable value by the reason, in its order.
pub(super) fn counts(profile: &Profile) -> [(Unusable, u64); 4] {
    let (absent, nan, infinite, wrong_type) = match profile {
        Profile::Numeric(profile) => (profile.missing, profile.nan, profile.infinite, profile.wrong_type),
        Profile::Categorical(profile) => (profile.missing, 0, 0, profile.wrong_type),
        Profile::Associations(profile) => (profile.missing, 0, 0, profile.wrong_type),
        Profile::Contingencies(profile) => (profile.missing, 0, 0, profile.wrong_type),
        Profile::Vectors(profile) => (profile.missing, profile.nan, 0, profile.wrong_type),
    };
    [
        (Unusable::Absent, absent),
        (Unusable::Nan, nan),
        (Unusable::Infinite, infinite),
        (Unusable::WrongType, wrong_type),
    ]
}

pub(super) fn share(count: u64, size: u64) -> f64 {
    if size == 0 { 0.0 } else { count as f64 / size as f64 }
}
