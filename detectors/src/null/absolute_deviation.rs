//! How far a binomial variable lies from its mean, without the sign.
//!
//! A sum over points that are several counts apart finds moments of what is smooth, and this has a corner: at three points on a
//! standard deviation its mean came out a hundredth too large or too small, and what a hundred cells add up to a tenth of their
//! standard deviation. The part beyond the mean has moments in closed form.

use super::binomial::{at_least, mass};

/// Moments of `D = X − tπ` and of its magnitude, for X successes in t trials of chance π.
#[derive(Debug, Clone, Copy)]
pub(super) struct AbsoluteDeviation {
    /// `E |D|`.
    pub(super) mean: f64,
    /// `E |D|·D`.
    pub(super) with_sign: f64,
    /// `E |D|³`.
    pub(super) cube: f64,
    /// `E D²`.
    pub(super) variance: f64,
    /// `E D³`.
    pub(super) third: f64,
}

impl AbsoluteDeviation {
    /// By Stein's identity `E (X − tπ)·h(X) = (1 − π)·E X·(h(X) − h(X − 1))`, of the powers of D from the first count above the
    /// mean on, and nothing before; the first is de Moivre's.
    pub(super) fn of(trials: u64, chance: f64) -> Self {
        let (rest, centre) = (1.0 - chance, trials as f64 * chance);
        let variance = centre * rest;
        let third = variance * (rest - chance);
        let first = centre.floor() as u64 + 1;
        let (mut one, mut two, mut three) = (0.0, 0.0, 0.0);
        if first <= trials {
            let beyond = at_least(trials, chance, first);
            let step = first as f64 - centre - 1.0;
            one = first as f64 * rest * mass(trials, chance, first);
            two = rest * (one + centre * beyond) + step * one;
            three = rest * (2.0 * two + (2.0 * centre - 1.0) * one - centre * beyond) + step * step * one;
        }
        // What is not beyond the mean is before it: D, D² and D³ have known means.
        Self { mean: 2.0 * one, with_sign: 2.0 * two - variance, cube: 2.0 * three - third, variance, third }
    }
}

/// Half of the difference of a cell's shares less its mean, f, with the window's rows there less theirs, D.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) mean: f64,
    /// `E f²` and `E f³`.
    pub(super) squared: f64,
    pub(super) cubed: f64,
    /// `E f·D`, `E f²·D` and `E f·D²`.
    pub(super) with_rows: f64,
    pub(super) squared_with_rows: f64,
    pub(super) with_squares: f64,
    /// `E D²` and `E D³`.
    pub(super) rows_squared: f64,
    pub(super) rows_cubed: f64,
}

impl Part {
    /// Of a difference that is so many times `|D|`.
    pub(super) fn of_deviation(times: f64, of: AbsoluteDeviation) -> Self {
        let centre = of.mean;
        Self {
            mean: times * centre,
            squared: times * times * (of.variance - centre * centre),
            cubed: times.powi(3) * (of.cube - 3.0 * centre * of.variance + 2.0 * centre.powi(3)),
            with_rows: times * of.with_sign,
            squared_with_rows: times * times * (of.third - 2.0 * centre * of.with_sign),
            with_squares: times * (of.cube - centre * of.variance),
            rows_squared: of.variance,
            rows_cubed: of.third,
        }
    }

    /// Of one that is so many times the window's rows, which have these moments.
    pub(super) fn of_line(times: f64, mean: f64, second: f64, third: f64) -> Self {
        Self {
            mean: times * mean,
            squared: times * times * second,
            cubed: times.powi(3) * third,
            with_rows: times * second,
            squared_with_rows: times * times * third,
            with_squares: times * third,
            rows_squared: second,
            rows_cubed: third,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_all_counts_added_up() {
        for (trials, chance) in
            [(1u64, 0.3), (2, 0.5), (7, 0.9), (40, 0.02), (300, 0.55), (5_000, 0.48), (200_000, 0.0625)]
        {
            let deviation = AbsoluteDeviation::of(trials, chance);
            let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
                (0..=trials).map(|x| mass(trials, chance, x) * of(x as f64 - trials as f64 * chance)).sum()
            };
            for (got, expected) in [
                (deviation.mean, sum(&|d| d.abs())),
                (deviation.with_sign, sum(&|d| d.abs() * d)),
                (deviation.cube, sum(&|d| d.abs().powi(3))),
                (deviation.variance, sum(&|d| d * d)),
                (deviation.third, sum(&|d| d.powi(3))),
            ] {
                let scale = deviation.variance.powf(1.5).max(deviation.variance);
                assert!((got - expected).abs() < 1e-10 * scale, "{trials} {chance}: {got}, not {expected}");
            }
        }
    }
}
