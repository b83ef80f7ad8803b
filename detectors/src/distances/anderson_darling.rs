//! Anderson-Darling: the squared gap between the two distribution functions, each against what chance makes of it there.

use super::{Distance, interval, inverse_sizes};
use crate::null::anderson_darling::{self, Chance};
use crate::null::tied_ranks::Traces;
use crate::steps::{Step, Steps};

/// The two-sample statistic A² with mid-ranks for ties (Scholz & Stephens 1987, equation 7), from 0 up, as SciPy's
/// `anderson_ksamp` has it before it subtracts 1 and divides by the deviation:
///
/// ```text
///   A² = (N − 1)/N · Σ l/N · x²·N/(n·m) / (B·(N − B) − N·l/4)
/// ```
///
/// over the distinct values, of which the pooled N values hold l, with B of them below and half of its own, and
/// `x = m·A − n·B'` from what the reference and the window have below, half of their own included. It weighs the tails
/// as much as the middle, which Cramér-von Mises' does not.
///
/// In a gap, order and ties are unknown; both bounds then follow from the ends of the gap. Of one sample alone there the mean of
/// x is known, however its values are tied, and its squares add up to no less than that of the mean (Jensen). The effect is `A²·(1/n + 1/m)`, about `∫ (F − G)²/(H(1 − H)) dH`.
/// None for less than four values.
///
/// Noise and p-value know which rows are tied ([`tied_ranks`](crate::null::tied_ranks)); those in a gap are taken as untied.
pub(crate) fn distance(steps: &Steps) -> Option<Distance> {
    let (n, m) = (steps.reference, steps.window);
    if n + m < 4 {
        return None;
    }
    let (value, upper) = bounds(steps);
    let to_effect = inverse_sizes(n, m);
    let tied = |step: &Step| (step.reference() + step.window(), matches!(step, Step::Point { .. }));
    let chance = Chance::of(n, m, Traces::of(steps.steps.iter().map(tied), n + m));
    let chance_reaches = |limiting: f64| chance.as_rare_as(limiting) * to_effect;
    Some(Distance {
        value,
        upper,
        effect: value * to_effect,
        noise: chance_reaches(anderson_darling::QUANTILE_999),
        null_mean: to_effect,
        interval: interval::around_square(
            (value * to_effect, upper * to_effect),
            chance_reaches(anderson_darling::QUANTILE_95),
        ),
        p_value: chance.tail(value),
    })
}

/// The same without what chance makes of it.
pub(crate) fn effect(steps: &Steps) -> f64 {
    bounds(steps).0 * inverse_sizes(steps.reference, steps.window)
}

fn bounds(steps: &Steps) -> (f64, f64) {
    let (n, m) = (steps.reference as f64, steps.window as f64);
    let total = n + m;
    let (mut lowest, mut highest, mut x, mut below) = (0.0, 0.0, 0.0, 0.0);
    for step in &steps.steps {
        let (a, b) = (step.reference() as f64, step.window() as f64);
        let after = x + a * m - b * n;
        let rows = Rows { below, count: a + b, total };
        // All rows alike have no distribution to compare.
        let (least, most) = match step {
            _ if rows.count >= total => (0.0, 0.0),
            Step::Point { .. } => {
                let exact = rows.count * ((x + after) / 2.0).powi(2) / rows.weight();
                (exact, exact)
            }
            Step::Gap { .. } => {
                let (low, high) = (x - b * n, x + a * m);
                let least = if a == 0.0 || b == 0.0 { rows.least_of_one(x, after) } else { rows.least(low, high) };
                (least, rows.most(low, high))
            }
        };
        lowest += least;
        highest += most;
        x = after;
        below += rows.count;
    }
    let scale = (total - 1.0) / (total * n * m);
    (lowest * scale, highest * scale)
}

/// Rows of both samples that follow each other, those below them, and all.
#[derive(Clone, Copy)]
struct Rows {
    below: f64,
    count: f64,
    total: f64,
}

impl Rows {
    /// What their squared gap is divided by when all share one value.
    fn weight(self) -> f64 {
        let middle = self.below + self.count / 2.0;
        middle * (self.total - middle) - self.total * self.count / 4.0
    }

    /// The least that they add while x goes from one end to the other, when they are of one sample.
    fn least_of_one(self, from: f64, to: f64) -> f64 {
        let mean = (from + to) / 2.0;
        self.least(mean, mean)
    }

    /// The least that they add while x stays between these: at the largest weight, that of the row nearest to the middle.
    fn least(self, low: f64, high: f64) -> f64 {
        let nearest = if low <= 0.0 && high >= 0.0 { 0.0 } else { low.abs().min(high.abs()) };
        let last = self.below + (self.count - 1.0).max(0.0);
        let nearest_to_middle = (self.total / 2.0 - 0.5).clamp(self.below, last);
        self.count * nearest * nearest / Self { below: nearest_to_middle, count: 1.0, ..self }.weight()
    }

    /// The most: the weight is concave in where a value lies and in how many rows share it, so least at one of the ends.
    fn most(self, low: f64, high: f64) -> f64 {
        let first = Self { count: 1.0, ..self };
        let last = Self { below: self.below + self.count - 1.0, ..first };
        let weight = self.weight().min(first.weight()).min(last.weight());
        self.count * low.abs().max(high.abs()).powi(2) / weight
    }
}
