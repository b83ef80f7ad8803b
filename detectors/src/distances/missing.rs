//! Shares of rows that hold no usable value: what has no distribution to compare, but must not stay silent.
//!
//! Noise is that of a binomial whose chance is the reference's share at its upper confidence limit: half of the noise's
//! tail for the reference to have shown less than there is, half for the window to show more.

use super::{Distance, MEAN_MAGNITUDE, NOISE_TAIL, interval, inverse_sizes};
use crate::null::binomial;

/// How much larger the window's share of rows of some kind is than the reference's; zero when it is not larger. From 0 to
/// 1. The kinds are what a row can hold instead of a usable value, each on its own and all together.
pub(crate) fn excess(of_a_kind: (u64, u64), rows: (u64, u64)) -> Distance {
    let value = excess_effect(of_a_kind, rows);
    // At the smallest, the noise is that of one row.
    let noise = (share(reached(of_a_kind.0, rows), rows.1) - share(of_a_kind.0, rows.0)).max(share(1, rows.1));
    Distance {
        value,
        upper: value,
        effect: value,
        noise,
        null_mean: mean_excess(of_a_kind, rows),
        interval: interval::of_excess(of_a_kind, rows),
        p_value: if value == 0.0 { 1.0 } else { split_tail(of_a_kind, rows) },
    }
}

/// The same without what chance makes of it.
pub(crate) fn excess_effect(of_a_kind: (u64, u64), rows: (u64, u64)) -> f64 {
    (share(of_a_kind.1, rows.1) - share(of_a_kind.0, rows.0)).max(0.0)
}

/// The share of the window's rows whose category the reference never saw. From 0 to 1.
///
/// A sample says how much it has not seen: by Good and Turing (Good 1953), the chance that the next row brings a new
/// category is about the share of categories seen once. So these take the place of the reference's new rows.
pub(crate) fn new_category_share(new_rows: u64, seen_once: u64, sizes: (u64, u64)) -> Distance {
    let value = share(new_rows, sizes.1);
    Distance {
        value,
        upper: value,
        effect: value,
        noise: share(reached(seen_once, sizes).max(1), sizes.1),
        null_mean: share(seen_once, sizes.0),
        interval: interval::of_share(new_rows, sizes.1),
        p_value: if new_rows == 0 { 1.0 } else { split_tail((seen_once, new_rows), sizes) },
    }
}

pub(super) fn share(i: u64, n: u64) -> f64 {
    i as f64 / n as f64
}

/// The mean of how much the window's share exceeds the reference's when both are one: of the half of a normal variable.
pub(super) fn mean_excess(of_a_kind: (u64, u64), rows: (u64, u64)) -> f64 {
    let together = share(of_a_kind.0 + of_a_kind.1, rows.0 + rows.1);
    MEAN_MAGNITUDE / 2.0 * (together * (1.0 - together) * inverse_sizes(rows.0, rows.1)).sqrt()
}

/// How many of the window's rows chance reaches, when the reference has so many.
pub(super) fn reached(in_reference: u64, rows: (u64, u64)) -> u64 {
    let chance = binomial::upper_limit(in_reference, rows.0, NOISE_TAIL / 2.0);
    binomial::quantile(rows.1, chance, NOISE_TAIL / 2.0)
}

/// The probability that, of the rows that both samples have of a kind, so many fall to the window by chance: Przyborowski
/// & Wilenski's test (1940) of two Poisson rates, on the kind or on the rest of the rows, whichever are fewer. It takes
/// rows as drawn with replacement, and is a little larger than Fisher's exact test for that.
pub(super) fn split_tail(of_a_kind: (u64, u64), rows: (u64, u64)) -> f64 {
    let chance = rows.1 as f64 / (rows.0 + rows.1) as f64;
    let of_the_rest = (rows.0 - of_a_kind.0.min(rows.0), rows.1 - of_a_kind.1.min(rows.1));
    let (kind, rest) = (of_a_kind.0 + of_a_kind.1, of_the_rest.0 + of_the_rest.1);
    if kind <= rest {
        binomial::at_least(kind, chance, of_a_kind.1)
    } else {
        binomial::at_most(rest, chance, of_the_rest.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a window shows more than its noise, exactly: over all that reference and window may hold.
    fn exceedance(chance: f64, rows: (u64, u64)) -> f64 {
        let exactly = |trials: u64, i: u64| {
            let at_least = |i: u64| i.checked_sub(1).map_or(1.0, |below| binomial::above(trials, chance, below));
            at_least(i) - at_least(i + 1)
        };
        let likely = |i: &u64| exactly(rows.0, *i) > 1e-9;
        (0..=rows.0)
            .filter(likely)
            .map(|in_reference| {
                let distance = |in_window| excess((in_reference, in_window), rows);
                let exceeds = |in_window: &u64| distance(*in_window).effect > distance(*in_window).noise;
                let first = (0..=rows.1).find(exceeds);
                exactly(rows.0, in_reference)
                    * first.map_or(0.0, |first| binomial::above(rows.1, chance, first.saturating_sub(1)))
            })
            .sum()
    }

    #[test]
    fn small_windows_are_not_cried_early() {
        for chance in [0.0005, 0.004, 0.02, 0.1] {
            for rows in [(2000, 20), (2000, 60), (300, 40), (300, 300)] {
                let rate = exceedance(chance, rows);
                assert!(rate <= NOISE_TAIL, "a share of {chance} in {rows:?} rows is exceeded {rate} of the time");
            }
        }
    }

    #[test]
    fn a_column_that_vanishes_is_found_in_few_rows() {
        let distance = excess((10, 12), (2000, 20));
        assert!(distance.effect > 3.0 * distance.noise && distance.p_value < 1e-9, "{distance:?}");
        let distance = new_category_share(6, 2, (2000, 60));
        assert!(distance.effect > distance.noise && distance.p_value < 1e-3, "{distance:?}");
    }

    #[test]
    fn p_values_are_one_for_what_is_sure_and_small_for_what_is_not() {
        // scipy.stats.binomtest(5, 5, 100/1100, alternative="greater")
        let expected = (100.0f64 / 1100.0).powi(5);
        assert!((excess((0, 5), (1000, 100)).p_value / expected - 1.0).abs() < 1e-9);
        assert_eq!(excess((1000, 100), (1000, 100)).p_value, 1.0);
        assert!(excess((900, 100), (1000, 100)).p_value < 1e-3);
        assert_eq!(new_category_share(0, 3, (1000, 100)).p_value, 1.0);
    }
}
