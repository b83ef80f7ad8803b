//! Shares of rows that hold no usable value: what has no distribution to compare, but must not stay silent.

use super::{Distance, NOISE_TAIL, inverse_sizes};
use crate::null::tails::{normal_quantile, normal_tail};

/// How much larger the window's share of rows without a usable value is than the reference's; zero when it is not
/// larger. From 0 to 1. The p-value is that of the one-sided two-proportion z-test with the pooled share.
pub(crate) fn missing_share(unusable: (u64, u64), rows: (u64, u64)) -> Distance {
    let share = |i: u64, n: u64| i as f64 / n as f64;
    let value = (share(unusable.1, rows.1) - share(unusable.0, rows.0)).max(0.0);
    let pooled = (unusable.0 + unusable.1) as f64 / (rows.0 + rows.1) as f64;
    let deviation = (pooled * (1.0 - pooled) * inverse_sizes(rows.0, rows.1)).sqrt();
    let p_value = if value == 0.0 { 1.0 } else { normal_tail(value / deviation) };
    // At the smallest, the noise is that of one row: a share of nothing has no deviation to speak of.
    let noise = (normal_quantile(NOISE_TAIL) * deviation).max(1.0 / rows.1 as f64);
    Distance { value, upper: value, effect: value, noise, p_value }
}

/// The share of the window's rows whose category the reference never saw. From 0 to 1.
///
/// A sample says how much it has not seen: by Good and Turing, the chance that the next row brings a new category is
/// about the share of categories seen once, `(f₁ + 1)/(n + 1)`. Noise and p-value are those of a binomial with that
/// chance, by the normal approximation.
pub(crate) fn new_category_share(new_rows: u64, seen_once: u64, sizes: (u64, u64)) -> Distance {
    let (n, m) = (sizes.0 as f64, sizes.1 as f64);
    let value = new_rows as f64 / m;
    let expected = (seen_once as f64 + 1.0) / (n + 1.0);
    let deviation = (expected * (1.0 - expected) * (1.0 / n + 1.0 / m)).sqrt();
    let p_value = if deviation > 0.0 { normal_tail((value - expected) / deviation) } else { 1.0 };
    let noise = (expected + normal_quantile(NOISE_TAIL) * deviation).max(1.0 / m);
    Distance { value, upper: value, effect: value, noise, p_value }
}
