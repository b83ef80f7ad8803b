//! Whether an expression may hold when its values are known only to lie within bounds.

use std::ops::RangeInclusive;

use super::{Calculation, Comparison, Expression, Node};

/// What a condition may turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Possible {
    holds: bool,
    fails: bool,
}

impl Possible {
    /// It may be either.
    const OPEN: Self = Self { holds: true, fails: true };
    /// It is not known, and decides nothing.
    const UNKNOWN: Self = Self { holds: false, fails: false };
}

/// Every number there is.
const ANY: RangeInclusive<f64> = f64::NEG_INFINITY..=f64::INFINITY;

impl Expression {
    /// Whether it may hold when each of its names lies within these bounds, in their order; a name of which there is no value at
    /// all has none. It is never said not to hold where it does; where a name comes twice it may be said to hold though it
    /// cannot, because each time is taken for itself.
    ///
    /// ```
    /// use driftline_alerts::{Expression, Unit};
    ///
    /// let expression = Expression::parse("psi > 0.2 and missing_share < 5%", |_| Ok(Unit::Number)).unwrap();
    /// assert!(expression.may_hold(&[Some(0.1..=0.3), Some(0.0..=1.0)]));
    /// assert!(!expression.may_hold(&[Some(0.0..=0.2), Some(0.0..=1.0)]));
    /// assert!(!expression.may_hold(&[Some(0.1..=0.3), None]));
    /// ```
    pub fn may_hold(&self, bounds: &[Option<RangeInclusive<f64>>]) -> bool {
        self.root.possible(bounds).holds
    }

    /// What it says whatever its names are within these bounds; none where that depends on what they are, or is not known.
    ///
    /// ```
    /// use driftline_alerts::{Expression, Unit};
    ///
    /// let expression = Expression::parse("failures > 3", |_| Ok(Unit::Number)).unwrap();
    /// // At least so many: what came before is not known.
    /// assert_eq!(expression.decides(&[Some(4.0..=f64::INFINITY)]), Some(true));
    /// assert_eq!(expression.decides(&[Some(2.0..=f64::INFINITY)]), None);
    /// assert_eq!(expression.decides(&[Some(2.0..=2.0)]), Some(false));
    /// ```
    pub fn decides(&self, bounds: &[Option<RangeInclusive<f64>>]) -> Option<bool> {
        let is_known =
            |range: &Option<RangeInclusive<f64>>| range.as_ref().is_none_or(|range| range.start() == range.end());
        if bounds.iter().all(is_known) {
            let values: Vec<Option<f64>> = bounds.iter().map(|range| Some(*range.as_ref()?.start())).collect();
            return self.holds(&values);
        }
        match self.root.possible(bounds) {
            Possible { holds: true, fails: false } => Some(true),
            Possible { holds: false, fails: true } => Some(false),
            Possible { .. } => None,
        }
    }
}

impl Node {
    fn possible(&self, bounds: &[Option<RangeInclusive<f64>>]) -> Possible {
        match self {
            Self::Not(node) => {
                let Possible { holds, fails } = node.possible(bounds);
                Possible { holds: fails, fails: holds }
            }
            Self::And(a, b) => {
                let (a, b) = (a.possible(bounds), b.possible(bounds));
                Possible { holds: a.holds && b.holds, fails: a.fails || b.fails }
            }
            Self::Or(a, b) => {
                let (a, b) = (a.possible(bounds), b.possible(bounds));
                Possible { holds: a.holds || b.holds, fails: a.fails && b.fails }
            }
            Self::Compare(a, comparison, b) => match (a.range(bounds), b.range(bounds)) {
                (Some(a), Some(b)) => comparison.possible(&a, &b),
                _ => Possible::UNKNOWN,
            },
            Self::Number(_) | Self::Variable(_) | Self::Negative(_) | Self::Calculate(..) => Possible::UNKNOWN,
        }
    }

    /// Between which numbers it lies; none when it is not known.
    fn range(&self, bounds: &[Option<RangeInclusive<f64>>]) -> Option<RangeInclusive<f64>> {
        Some(match self {
            Self::Number(number) => *number..=*number,
            Self::Variable(index) => bounds.get(*index)?.clone()?,
            Self::Negative(node) => {
                let range = node.range(bounds)?;
                -range.end()..=-range.start()
            }
            Self::Calculate(a, calculation, b) => calculation.range(&a.range(bounds)?, &b.range(bounds)?),
            Self::Not(_) | Self::And(..) | Self::Or(..) | Self::Compare(..) => return None,
        })
    }
}

impl Calculation {
    /// What comes out lies between what comes out at the ends. A divisor that may be zero leaves nothing to say.
    fn range(self, a: &RangeInclusive<f64>, b: &RangeInclusive<f64>) -> RangeInclusive<f64> {
        if matches!(self, Self::Divided) && b.contains(&0.0) {
            return ANY;
        }
        let ends = [(a.start(), b.start()), (a.start(), b.end()), (a.end(), b.start()), (a.end(), b.end())];
        let ends = ends.map(|(a, b)| self.of(*a, *b));
        if ends.iter().any(|end| end.is_nan()) {
            return ANY;
        }
        ends.into_iter().fold(f64::INFINITY, f64::min)..=ends.into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
}

impl Comparison {
    fn possible(self, a: &RangeInclusive<f64>, b: &RangeInclusive<f64>) -> Possible {
        let is_same = a.start() == a.end() && a == b;
        let may_meet = a.start() <= b.end() && b.start() <= a.end();
        let (holds, fails) = match self {
            Self::Less => (a.start() < b.end(), a.end() >= b.start()),
            Self::LessOrEqual => (a.start() <= b.end(), a.end() > b.start()),
            Self::Greater => (a.end() > b.start(), a.start() <= b.end()),
            Self::GreaterOrEqual => (a.end() >= b.start(), a.start() < b.end()),
            Self::Equal => (may_meet, !is_same),
            Self::NotEqual => (!is_same, may_meet),
        };
        match (holds, fails) {
            // Bounds that are no numbers.
            (false, false) => Possible::OPEN,
            _ => Possible { holds, fails },
        }
    }
}
