//! What ties make of the spread of Anderson and Darling's statistic.
//!
//! Given the pooled values, each split into the two samples is as likely as any other under no drift. The gap at a value is then a
//! sum over a random split, so with many rows the gaps of all values are normal together, and A² is `Σ w·Z²` over correlated
//! standard normal Z, where w is the share of the pooled rows that a value has. With B the share of rows below a value, half of its
//! own included, and `V = B(1 − B) − w/4`, two values i below k have the correlation
//!
//! ```text
//!   ρ² = B_i²·(1 − B_k)² / (V_i·V_k)          (Scholz & Stephens 1987 divide by the same V)
//! ```
//!
//! so that A² has the cumulants `Σ w = 1`, `2·Σ w·w·ρ²` and `8·Σ w·w·w·ρ·ρ·ρ` (over all pairs and triples). Correlations of three values
//! in their order are products of those of neighbours, but for what ties take from V in the middle; so all sums are found in one walk.
//! Without ties they are the limit's, 1, 2·(π²/3 − 3) and 8·(10 − π²). Ties concentrate A² on fewer gaps: where half of the rows share
//! a value its variance is twice as large, and a p-value from the limit is a fifth of what it should be at one in a hundred.

use std::f64::consts::PI;

/// A value with a smaller share of the pooled rows is as good as untied: were all so small, the variance were half of a hundredth larger.
const UNTIED: f64 = 1.0 / 1024.0;
/// What is untied is summed in pieces of at most this share.
const PIECE: f64 = 1.0 / 256.0;

/// The sums of the second and the third cumulant, without their factors of 2 and 8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Traces {
    pub(crate) squares: f64,
    pub(crate) cubes: f64,
}

impl Traces {
    /// Those of the limit without ties: `Σ λ²` and `Σ λ³` for `λ = 1/(j(j + 1))`.
    pub(crate) const LIMIT: Self = Self { squares: PI * PI / 3.0 - 3.0, cubes: 10.0 - PI * PI };

    /// Of pooled rows in the order of their values: how many each step has, and whether they share one value. Those of the limit
    /// when no value has many.
    pub(crate) fn of(steps: impl Iterator<Item = (u64, bool)>, total: u64) -> Self {
        let (mut walk, mut untied, mut has_ties) = (Walk::default(), 0.0, false);
        for (rows, share_a_value) in steps {
            let share = rows as f64 / total as f64;
            if share_a_value && share > UNTIED {
                walk.untied(untied);
                walk.step(share, true);
                (untied, has_ties) = (0.0, true);
                continue;
            }
            untied += share;
            if untied >= PIECE {
                walk.untied(untied);
                untied = 0.0;
            }
        }
        walk.untied(untied);
        // All in one value: nothing is compared.
        if has_ties && walk.squares > 0.0 { Self { squares: walk.squares, cubes: walk.cubes } } else { Self::LIMIT }
    }
}

/// What is known of the values up to one.
#[derive(Debug, Default)]
struct Walk {
    below: f64,
    squares: f64,
    cubes: f64,
    /// `Σ w·B²/V`.
    first: f64,
    /// The same, each by its own w.
    first_squared: f64,
    /// `Σ` over pairs of the first, and `w·B(1 − B)/V` of the second.
    second: f64,
}

impl Walk {
    fn untied(&mut self, share: f64) {
        let pieces = (share / PIECE).ceil();
        (0..pieces as u32).for_each(|_| self.step(share / pieces, false));
    }

    fn step(&mut self, share: f64, is_tied: bool) {
        let middle = self.below + share / 2.0;
        let variance = middle * (1.0 - middle) - if is_tied { share / 4.0 } else { 0.0 };
        self.below += share;
        if variance <= f64::EPSILON {
            return;
        }
        let of = |product: f64| share * product / variance;
        let (first, second, third) = (of(middle * middle), of(middle * (1.0 - middle)), of((1.0 - middle).powi(2)));
        self.squares += share * share + 2.0 * self.first * third;
        self.cubes +=
            share.powi(3) + 3.0 * third * (self.first_squared + share * self.first) + 6.0 * third * self.second;
        self.second += second * self.first;
        self.first += first;
        self.first_squared += share * first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(steps: &[(u64, bool)]) -> Traces {
        Traces::of(steps.iter().copied(), steps.iter().map(|(rows, _)| rows).sum())
    }

    /// By all pairs and triples of values, from their correlations.
    fn by_definition(shares: &[f64]) -> Traces {
        let mut below = 0.0;
        let values: Vec<(f64, f64, f64)> = shares
            .iter()
            .map(|share| {
                let middle = below + share / 2.0;
                below += share;
                (*share, middle, middle * (1.0 - middle) - share / 4.0)
            })
            .collect();
        let correlation = |i: usize, k: usize| {
            let ((_, low, v), (_, high, w)) = (values[i.min(k)], values[i.max(k)]);
            if i == k { 1.0 } else { low * (1.0 - high) / (v * w).sqrt() }
        };
        let all = 0..values.len();
        let mut traces = Traces { squares: 0.0, cubes: 0.0 };
        for i in all.clone() {
            for j in all.clone() {
                let pair = values[i].0 * values[j].0 * correlation(i, j);
                traces.squares += pair * correlation(i, j);
                traces.cubes +=
                    all.clone().map(|k| pair * values[k].0 * correlation(j, k) * correlation(k, i)).sum::<f64>();
            }
        }
        traces
    }

    #[test]
    fn the_walk_finds_what_all_pairs_and_triples_say() {
        for rows in [vec![300, 700], vec![10, 20, 30, 40], (1..40).collect(), vec![500, 1, 400, 99]] {
            let total: u64 = rows.iter().sum();
            let steps: Vec<(u64, bool)> = rows.iter().map(|rows| (*rows, true)).collect();
            let shares: Vec<f64> = rows.iter().map(|rows| *rows as f64 / total as f64).collect();
            let (walked, expected) = (traces(&steps), by_definition(&shares));
            assert!((walked.squares / expected.squares - 1.0).abs() < 1e-12, "{rows:?}: {walked:?} {expected:?}");
            assert!((walked.cubes / expected.cubes - 1.0).abs() < 1e-12, "{rows:?}: {walked:?} {expected:?}");
        }
    }

    #[test]
    fn two_values_are_one_gap_and_none_are_the_limit() {
        let two = traces(&[(3, true), (4, true)]);
        assert!((two.squares - 1.0).abs() < 1e-12 && (two.cubes - 1.0).abs() < 1e-12, "{two:?}");
        assert_eq!(traces(&[(5000, false), (1, true), (4000, false)]), Traces::LIMIT);
        assert_eq!(traces(&[(5000, true)]), Traces::LIMIT, "one value has nothing to compare");
        // What is untied is summed well: a tie that hardly counts leaves nearly the limit.
        let nearly = traces(&[(500_000, false), (1100, true), (498_900, false)]);
        assert!((nearly.squares / Traces::LIMIT.squares - 1.0).abs() < 3e-4, "{nearly:?}");
        assert!((nearly.cubes / Traces::LIMIT.cubes - 1.0).abs() < 3e-4, "{nearly:?}");
    }

    #[test]
    fn half_of_the_rows_at_one_value_double_the_variance() {
        // By the eigenvalues of the correlations of five hundred values.
        let half = traces(&[(500, true), (500, false)]);
        assert!((2.0 * half.squares - 1.1016).abs() < 1e-4, "{half:?}");
    }
}
