//! A sample's distribution function as far as its counts tell it, and how badly another one fits it.

use crate::numeric::NumericProfile;
use crate::steps::{Step, Steps};

/// Part of a sample's spread by which values may be off: what was converted was often rounded, too.
const TOLERANCE: f64 = 0.05;
/// Part of the values that may lie in open cells before the moments have a say in what fits.
const MAX_UNKNOWN: f64 = 0.1;

/// What is known of the distribution function at one value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Knot {
    at: f64,
    /// Share of the values below it.
    below: f64,
    /// Share of the values up to it.
    through: f64,
}

/// A distribution function, known at its knots. Between two of them it lies between what both say.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    knots: Vec<Knot>,
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
    /// Share of the values that lie in open cells, of which neither place nor number is known.
    unknown: f64,
}

/// A change of scale and place, `y = factor·x + offset`; the factor is not zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Affine {
    pub(crate) factor: f64,
    pub(crate) offset: f64,
}

impl Affine {
    pub(crate) const SAME: Self = Self { factor: 1.0, offset: 0.0 };

    pub(crate) fn is_sound(&self) -> bool {
        self.factor != 0.0 && self.factor.is_finite() && self.offset.is_finite() && (1.0 / self.factor).is_finite()
    }
}

impl Shape {
    /// One of the samples of these steps: its count and sum in each.
    pub(crate) fn new(steps: &Steps, profile: &NumericProfile, of_step: impl Fn(&Step) -> (u64, f64)) -> Self {
        let size = profile.finite().max(1) as f64;
        let (low, high) = profile.range.unwrap_or((0.0, 0.0));
        let mut shape = Self { knots: Vec::new(), mean: 0.0, deviation: 0.0, unknown: 0.0 };
        let (mut seen, mut mean) = (0u64, 0.0);
        for step in &steps.steps {
            let (count, sum) = of_step(step);
            if count == 0 {
                continue;
            }
            let before = seen as f64 / size;
            seen += count;
            let after = seen as f64 / size;
            mean += sum / size;
            match *step {
                Step::Point { value, .. } => shape.push(value, before, after),
                Step::Gap { lower, upper, .. } => {
                    let (lower, upper) = (lower.max(low), upper.min(high));
                    if let Some(value) = only_value(lower, upper, sum / count as f64) {
                        shape.push(value, before, after);
                        continue;
                    }
                    shape.unknown += after - before;
                    shape.push(lower, before, before);
                    shape.push(upper, after, after);
                }
            }
        }
        shape.mean = mean;
        shape.deviation = profile.standard_deviation().unwrap_or(0.0);
        shape
    }

    fn push(&mut self, at: f64, below: f64, through: f64) {
        match self.knots.last_mut() {
            Some(last) if last.at >= at => last.through = through,
            _ => self.knots.push(Knot { at, below, through }),
        }
    }

    /// The value below which this share of the values lies; between knots on the straight line.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let index = self.knots.partition_point(|knot| knot.through < share).min(self.knots.len().saturating_sub(1));
        let Some(knot) = self.knots.get(index) else { return 0.0 };
        if share >= knot.below || index == 0 {
            return knot.at;
        }
        let before = self.knots[index - 1];
        let part = (share - before.through) / (knot.below - before.through);
        before.at + part.clamp(0.0, 1.0) * (knot.at - before.at)
    }

    /// Width of the middle half of the values, as the standard deviation of a normal distribution.
    pub(crate) fn middle_deviation(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / 1.349
    }

    /// Whether most values are known one by one, or cell by cell with little in each.
    pub(crate) fn is_known(&self) -> bool {
        let widest = self.knots.windows(2).map(|pair| pair[1].below - pair[0].through).fold(0.0, f64::max);
        self.unknown <= MAX_UNKNOWN || widest <= MAX_UNKNOWN
    }

    /// The least and the greatest share of the values up to here, or below here.
    fn up_to(&self, value: f64, with_it: bool) -> (f64, f64) {
        let index = self.knots.partition_point(|knot| knot.at <= value);
        let next = self.knots.get(index).map_or(1.0, |knot| knot.below);
        match index.checked_sub(1).map(|last| self.knots[last]) {
            None => (0.0, 0.0),
            Some(last) if last.at == value && !with_it => (last.below, last.below),
            Some(last) if last.at == value => (last.through, last.through),
            Some(last) => (last.through, next.max(last.through)),
        }
    }

    /// The same of the values after a change.
    fn changed_up_to(&self, change: Affine, value: f64, with_it: bool) -> (f64, f64) {
        let value = (value - change.offset) / change.factor;
        if change.factor > 0.0 {
            return self.up_to(value, with_it);
        }
        let (least, most) = self.up_to(value, !with_it);
        (1.0 - most, 1.0 - least)
    }

    /// The smallest gap between this distribution function and a reference's after a change that the counts allow, from 0
    /// to 1, where values may be off by a twentieth of the spread. Where most of a sample lies in open cells, its mean and its
    /// spread must fit as well; by how much they do not counts as the gap that it would make between normal distributions.
    pub(crate) fn misfit(&self, reference: &Self, change: Affine) -> f64 {
        let spread = [self.deviation, self.middle_deviation()].into_iter().filter(|spread| *spread > 0.0);
        let tolerance = TOLERANCE * spread.fold(f64::INFINITY, f64::min);
        let tolerance = if tolerance.is_finite() { tolerance } else { 0.0 };
        let gaps = self.knots.iter().flat_map(|knot| {
            let most = reference.changed_up_to(change, knot.at + tolerance, true).1;
            let least = reference.changed_up_to(change, knot.at - tolerance, false).0;
            [knot.through - most, least - knot.below]
        });
        let gap = gaps.fold(0.0, f64::max);
        if self.is_known() && reference.is_known() { gap } else { gap.max(self.moments_misfit(reference, change)) }
    }

    fn moments_misfit(&self, reference: &Self, change: Affine) -> f64 {
        let deviation = reference.deviation * change.factor.abs();
        if self.deviation <= 0.0 || deviation <= 0.0 {
            return 0.0;
        }
        let place = (change.factor * reference.mean + change.offset - self.mean).abs() / self.deviation;
        (0.4 * place).max(0.24 * (deviation / self.deviation).ln().abs()).min(1.0)
    }

    /// What is left when a share of all values, at one value, is taken out. The moments are not known then, and not asked for.
    pub(crate) fn without(&self, value: f64, share: f64) -> Self {
        let left = 1.0 - share;
        let taken = |at: f64, held: f64| (if at > value { held - share } else { held }).max(0.0) / left;
        let knots = self.knots.iter().map(|knot| Knot {
            at: knot.at,
            below: taken(knot.at, knot.below),
            through: if knot.at == value {
                (knot.through - share).max(0.0) / left
            } else {
                taken(knot.at, knot.through)
            },
        });
        let knots: Vec<Knot> = knots.collect();
        let mean = (self.mean - share * value) / left;
        let squares = self.deviation * self.deviation + self.mean * self.mean - share * value * value;
        let deviation = (squares / left - mean * mean).max(0.0).sqrt();
        Self { knots, mean, deviation, unknown: self.unknown.min(left) / left }
    }
}

/// The value that all of an open cell share, when its ends and mean leave no other way.
fn only_value(lower: f64, upper: f64, mean: f64) -> Option<f64> {
    let rounding = 1e-9 * lower.abs().max(upper.abs());
    if mean <= lower + rounding {
        Some(lower)
    } else if mean >= upper - rounding {
        Some(upper)
    } else {
        None
    }
}
