//! Stuck: rows that all hold one and the same value, as a sensor's do that hangs, or a default's that is filled in.

use super::missing::{excess_effect, mean_excess, reached, share, split_tail};
use super::{Distance, interval};
use crate::categorical::{CategoricalProfile, Dictionary};
use crate::numeric::NumericProfile;
use crate::steps::{Step, Steps};

/// Rows that hold the most frequent value of a sample: at least, and at most.
pub(crate) type MostFrequent = (u64, u64);

/// By how much the share of the window's most frequent value exceeds that of the reference's most frequent value, whichever
/// these are; zero when it does not. From 0 to 1; a constant window reaches `1 −` the reference's.
///
/// Noise and p-value are those of a share of rows ([`super::missing`]), with Bonferroni's bound for the choice of the value:
/// of shares that are at most p there are at most `1/p` as large. Where a gap hides which of its values are alike, they
/// count as different in `value`, and as one in `upper`.
pub(crate) fn distance(reference: MostFrequent, window: MostFrequent, sizes: (u64, u64)) -> Distance {
    let (n, m) = sizes;
    let counts = (reference.0, window.0);
    let value = excess_effect(counts, sizes);
    let chosen_of = n as f64 / counts.0.max(1) as f64;
    // A value that is there once is the most frequent one of some, and is no repetition.
    let repeated = (counts.0, counts.1.saturating_sub(1));
    let reached = reached(counts.0, sizes);
    Distance {
        value,
        upper: excess_effect((reference.0, window.1), sizes).max(value),
        effect: value,
        noise: (share(reached, m) - share(counts.0, n)).max(share(1, m)),
        null_mean: mean_excess(counts, sizes).max(share(1, m) - share(1, n)),
        interval: (interval::of_excess(repeated, sizes).0, interval::of_excess(counts, sizes).1),
        p_value: if value == 0.0 { 1.0 } else { (chosen_of * split_tail(counts, sizes)).min(1.0) },
    }
}

/// The most frequent value of both samples of a numeric column. All values are one when the smallest is the largest.
pub(crate) fn of_numbers(
    steps: &Steps,
    (reference, window): (&NumericProfile, &NumericProfile),
) -> (MostFrequent, MostFrequent) {
    let most = |profile: &NumericProfile, rows: fn(&Step) -> u64| {
        if profile.range.is_some_and(|(low, high)| low == high) {
            return (profile.finite(), profile.finite());
        }
        let points = steps.steps.iter().filter(|step| matches!(step, Step::Point { .. })).map(rows).max();
        (points.unwrap_or(0), steps.steps.iter().map(rows).max().unwrap_or(0))
    };
    (most(reference, Step::reference), most(window, Step::window))
}

/// The most frequent category of a profile; those that share a tail's cell are rarer than it.
pub(crate) fn of_categories(dictionary: &Dictionary, profile: &CategoricalProfile) -> MostFrequent {
    let named = profile.cells.iter().take(dictionary.categories().len());
    let known = named.copied().max().unwrap_or(0);
    match &profile.new {
        Some(new) => {
            let most = known.max(new.values().copied().max().unwrap_or(0));
            (most, most)
        }
        None => (known, known.max(profile.new_rows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_one_value_is_far_from_a_reference_of_many() {
        let stuck = distance((30, 30), (200, 200), (1000, 200));
        assert!((stuck.value - 0.97).abs() < 1e-12 && stuck.effect > stuck.noise && stuck.p_value < 1e-9, "{stuck:?}");
        let free = distance((30, 30), (9, 9), (1000, 200));
        assert!(free.effect < free.noise && free.p_value == 1.0, "{free:?}");
    }

    #[test]
    fn a_window_of_one_row_is_not_stuck() {
        let one = distance((30, 30), (1, 1), (1000, 1));
        assert!(one.effect <= one.noise, "{one:?}");
    }
}
