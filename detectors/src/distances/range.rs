//! Out of range: values that are smaller or larger than any that the reference holds.

use super::missing::{reached, share};
use super::{Distance, interval};
use crate::null::extremes;
use crate::numeric::NumericProfile;

/// The share of the window's values that lie outside of the reference's smallest and largest, from 0 to 1.
///
/// Noise and p-value are those of what lies beyond the extremes of a sample (see [`crate::null::extremes`]).
pub(crate) fn distance(outside: u64, sizes: (u64, u64)) -> Distance {
    let (n, m) = sizes;
    let value = share(outside, m);
    Distance {
        value,
        upper: value,
        effect: value,
        // Clopper and Pearson's limit for one value seen is the quantile of what the two extremes leave outside.
        noise: share(reached(1.min(n), sizes).max(1), m),
        null_mean: 2.0 / (n as f64 + 1.0),
        interval: interval::of_share(outside, m),
        p_value: extremes::at_least_beyond(outside, n, m),
    }
}

/// How many of the window's values lie outside of the reference's. Where the grid's outermost cells say nothing of the
/// order within them, values there are taken to be inside.
pub(crate) fn outside(reference: &NumericProfile, window: &NumericProfile) -> u64 {
    let is_filled = |count: &u64| *count > 0;
    let (Some(first), Some(last)) =
        (reference.cells.iter().position(is_filled), reference.cells.iter().rposition(is_filled))
    else {
        return 0;
    };
    window.cells[..first].iter().sum::<u64>() + window.cells[last + 1..].iter().sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_beyond_two_others_in_two_of_three_orders() {
        assert!((distance(1, (2, 1)).p_value - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(distance(0, (100, 50)).p_value, 1.0);
    }
}
