//! The moments of each sample and of both together, for what chance makes of means and deviations.

use crate::steps::{Step, Steps};

/// Means of powers of one sample's values about its mean, where the values are measured from a centre in a unit that keep
/// them near to one: fourth powers of the largest numbers overflow. Values inside a gap count as if they lay at their mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    size: f64,
    /// In the unit, from the centre.
    mean: f64,
    /// In squares, cubes and fourth powers of the unit.
    pub(crate) second: f64,
    pub(crate) third: f64,
    fourth: f64,
}

impl Moments {
    /// Of the reference and of the window, from the same centre and in the same unit.
    pub(crate) fn of_both(steps: &Steps, centre: f64, unit: f64) -> (Self, Self) {
        let reference = |step: &Step| match *step {
            Step::Point { value, reference, .. } => (reference, value),
            Step::Gap { reference, reference_sum, .. } => (reference, reference_sum / reference.max(1) as f64),
        };
        let window = |step: &Step| match *step {
            Step::Point { value, window, .. } => (window, value),
            Step::Gap { window, window_sum, .. } => (window, window_sum / window.max(1) as f64),
        };
        (Self::of(steps, centre, unit, reference), Self::of(steps, centre, unit, window))
    }

    fn of(steps: &Steps, centre: f64, unit: f64, rows: impl Fn(&Step) -> (u64, f64)) -> Self {
        let (mut size, mut sum) = (0.0, 0.0);
        for (count, value) in steps.steps.iter().map(&rows) {
            size += count as f64;
            sum += count as f64 * ((value - centre) / unit);
        }
        let mean = sum / size;
        let (mut second, mut third, mut fourth) = (0.0, 0.0, 0.0);
        for (count, value) in steps.steps.iter().map(&rows).filter(|(count, _)| *count > 0) {
            let from_mean = (value - centre) / unit - mean;
            let square = from_mean * from_mean;
            second += count as f64 * square;
            third += count as f64 * square * from_mean;
            fourth += count as f64 * square * square;
        }
        Self { size, mean, second: second / size, third: third / size, fourth: fourth / size }
    }

    /// By how much the other's mean lies above this one's, in the unit.
    pub(crate) fn to(self, other: Self) -> f64 {
        other.mean - self.mean
    }

    /// Both samples as one.
    pub(crate) fn with(self, other: Self) -> Self {
        let size = self.size + other.size;
        let mean = (self.size * self.mean + other.size * other.mean) / size;
        let about = |moments: Self| {
            let way = moments.mean - mean;
            let square = way * way;
            [
                moments.second + square,
                moments.third + 3.0 * way * moments.second + square * way,
                moments.fourth + 4.0 * way * moments.third + 6.0 * square * moments.second + square * square,
            ]
        };
        let (mine, theirs) = (about(self), about(other));
        let together = |i: usize| (self.size * mine[i] + other.size * theirs[i]) / size;
        Self { size, mean, second: together(0), third: together(1), fourth: together(2) }
    }

    /// Kurtosis of the values about their own sample's mean, of both samples: 3 for normal ones. A shift of the mean alone does
    /// not change it.
    pub(crate) fn kurtosis_within(self, other: Self) -> f64 {
        let size = self.size + other.size;
        let second = (self.size * self.second + other.size * other.second) / size;
        let fourth = (self.size * self.fourth + other.size * other.fourth) / size;
        if second > 0.0 { (fourth / (second * second)).max(1.0) } else { 1.0 }
    }

    /// Of this sample alone.
    pub(crate) fn kurtosis(self) -> f64 {
        self.kurtosis_within(Self { size: 0.0, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_samples_as_one_have_the_moments_of_all_values() {
        let point = |value: f64, reference: u64, window: u64| Step::Point { value, reference, window };
        let steps = Steps {
            steps: vec![point(-2.0, 1, 0), point(0.5, 2, 1), point(3.0, 0, 2), point(11.0, 1, 1)],
            reference: 4,
            window: 4,
        };
        let (reference, window) = Moments::of_both(&steps, 1.0, 2.0);
        let both = reference.with(window);
        let all = [-2.0, 0.5, 0.5, 0.5, 3.0, 3.0, 11.0, 11.0].map(|x: f64| x / 2.0);
        let mean = all.iter().sum::<f64>() / 8.0;
        let moment = |power: i32| all.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / 8.0;
        for (got, power) in [(both.second, 2), (both.third, 3), (both.fourth, 4)] {
            assert!((got - moment(power)).abs() < 1e-12, "{power}: {got} against {}", moment(power));
        }
        // (0.5 + 3 + 3 + 11 − (−2 + 0.5 + 0.5 + 11)) / 4, in units of two.
        assert!((reference.to(window) - 7.5 / 8.0).abs() < 1e-12);
    }
}
