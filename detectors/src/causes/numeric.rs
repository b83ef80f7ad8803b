//! What a numeric column's change looks like.
//!
//! A change of unit is read off matched quantiles, but not believed for fitting well: two free numbers bring any bell onto
//! any other. A conversion that people know has none. So a known one is claimed when it fits about as well as the best that
//! free numbers can do and clearly better than a plain shift or spread; an unknown one only where it fits nearly perfectly,
//! and multiplies by more than a column does by itself. One that mirrors a column is believed where it is all that happened, or
//! where it takes shares from one: nobody's unit mirrors and moves besides.

use super::conversions::{CONVERSIONS, Conversion};
use super::shape::{Affine, Shape};
use super::{Cause, CauseKind, FillValue, explained, with_the_rest};
use crate::distances::inverse_sizes;
use crate::grid::Grid;
use crate::numeric::NumericProfile;
use crate::steps::{Step, Steps};

/// Mean of Kolmogorov's distribution, `√(π/2)·ln 2`: what the gap is by chance, for samples of size one.
const MEAN_GAP: f64 = 0.868_7;
/// A window in which one value has so large a share is stuck.
const STUCK: f64 = 0.99;
/// A standard deviation below this part of another is rounding.
const ROUNDING: f64 = 1e-9;
/// A value fills gaps from this share of the rows on.
const MIN_FILL: f64 = 0.05;
/// Values of an open cell that lie closer together than this part of the standard deviation are as good as one.
const NARROW: f64 = 0.25;
/// What a cause must account for to be claimed at all.
const MIN_SHARE: f64 = 0.5;
/// A known conversion must account for so much.
const MIN_KNOWN: f64 = 0.8;
/// By how much two numbers must account for more than one, to be worth the second.
const MARGIN: f64 = 0.1;
/// A column hardly shifts by more standard deviations than this, and by just what a conversion adds.
const LARGE_SHIFT: f64 = 2.0;
/// An unknown factor must account for so much, and be larger than this or smaller than its inverse.
const MIN_UNKNOWN: f64 = 0.97;
const LARGE_FACTOR: f64 = 3.0;
/// A factor that lies so close to -1 takes something from a whole: one less the share, a hundred less the per cent.
const COMPLEMENT: f64 = 0.05;
/// An offset below this part of the standard deviation is none.
const NO_OFFSET: f64 = 0.1;
/// Fits that account for as much as the best but this are as good.
const AS_GOOD: f64 = 0.05;
/// Quantiles that are matched: so many between these two.
const MATCHED: usize = 39;
const OUTERMOST: f64 = 0.025;

/// The causes of a drift between these two profiles.
pub(super) fn causes(grid: &Grid, reference: &NumericProfile, window: &NumericProfile) -> Vec<Cause> {
    let steps = Steps::new(grid, reference, window);
    if steps.reference == 0 || steps.window == 0 {
        return Vec::new();
    }
    let heaps = heaps(&steps, Moments::of(grid, reference), Moments::of(grid, window));
    if let Some(heap) = heaps.iter().find(|heap| heap.now >= STUCK && heap.before < STUCK) {
        let Heap { value, before, now } = *heap;
        let kind = CauseKind::StuckValue { value: FillValue::Number(value), before, now };
        return vec![Cause { kind, share: 1.0 }];
    }
    let before = Shape::new(&steps, reference, |step| (step.reference(), in_step(step).0));
    let now = Shape::new(&steps, window, |step| (step.window(), in_step(step).1));
    let chance = MEAN_GAP * inverse_sizes(steps.reference, steps.window).sqrt();
    let whole = Whole { gap: now.misfit(&before, Affine::SAME), chance };
    if whole.gap <= chance {
        return Vec::new();
    }
    let fill = heaps.iter().max_by(|a, b| a.excess().total_cmp(&b.excess())).filter(|heap| heap.excess() >= MIN_FILL);
    let filled = fill.map(|heap| {
        let rest = now.without(heap.value, heap.excess());
        (heap, whole.explained(rest.misfit(&before, Affine::SAME)), rest)
    });
    let moved = moved(&before, &now, whole);
    let share_of = |causes: &[Cause]| causes.iter().map(|cause| cause.share).sum::<f64>();
    match filled {
        Some((heap, share, rest)) if share >= MIN_SHARE && share > share_of(&moved) => {
            let Heap { value, before: was, now } = *heap;
            let kind = CauseKind::DefaultFill { value: FillValue::Number(value), before: was, now };
            let mut causes = vec![Cause { kind, share }];
            // What the fill leaves may have moved, too.
            let left = Whole { gap: rest.misfit(&before, Affine::SAME), chance };
            let parts = moved_of_the_rest(&before, &rest, left);
            causes.extend(parts.into_iter().map(|cause| Cause { share: cause.share * (1.0 - share), ..cause }));
            with_the_rest(causes)
        }
        _ => with_the_rest(moved),
    }
}

/// A gap between distribution functions, and what chance makes of it.
#[derive(Debug, Clone, Copy)]
struct Whole {
    gap: f64,
    chance: f64,
}

impl Whole {
    /// The share of the gap that goes away when so much is left.
    fn explained(&self, left: f64) -> f64 {
        explained(self.gap, left, self.chance)
    }

    /// Whether the gap is hardly what chance makes of it, so that fitting it would fit chance.
    fn is_small(&self) -> bool {
        self.gap < 3.0 * self.chance
    }
}

/// Sums of both samples in a step.
fn in_step(step: &Step) -> (f64, f64) {
    match *step {
        Step::Point { value, reference, window } => (value * reference as f64, value * window as f64),
        Step::Gap { reference_sum, window_sum, .. } => (reference_sum, window_sum),
    }
}

/// A value that many rows share: its shares before and now.
#[derive(Debug, Clone, Copy)]
struct Heap {
    value: f64,
    before: f64,
    now: f64,
}

impl Heap {
    /// The share of all rows that were given this value, if the others are as they were.
    fn excess(&self) -> f64 {
        if self.before >= 1.0 { 0.0 } else { (self.now - self.before) / (1.0 - self.before) }
    }
}

/// The values of the window that are commoner than before, as far as its counts tell them apart.
fn heaps(steps: &Steps, before: Moments, now: Moments) -> Vec<Heap> {
    let sizes = (steps.reference as f64, steps.window as f64);
    let heap = |step: &Step| {
        let (was, is) = (step.reference() as f64 / sizes.0, step.window() as f64 / sizes.1);
        let value = match *step {
            Step::Point { value, .. } => value,
            Step::Gap { lower, upper, window, reference_sum, window_sum, .. } => {
                let mean = window_sum / window as f64;
                if mean <= lower || mean >= upper {
                    return (is > was).then_some(Heap { value: mean, before: was, now: is });
                }
                // What came, if what was there before still is: a share of all rows, with a mean and a spread of its own.
                let share = Heap { value: mean, before: was, now: is }.excess();
                let added = (window_sum / sizes.1 - (1.0 - share) * reference_sum / sizes.0) / share;
                let spread = (now.squares_about(added) - (1.0 - share) * before.squares_about(added)) / share;
                let width = NARROW * before.deviation;
                let is_narrow = upper - lower <= width || spread <= width * width;
                // All of a window in one cell may be another scale of everything; only without a spread it is one value.
                let is_one_value = if is < STUCK { is_narrow } else { now.deviation <= ROUNDING * before.deviation };
                if !is_one_value || !(lower..=upper).contains(&added) {
                    return None;
                }
                added
            }
        };
        (is > was).then_some(Heap { value, before: was, now: is })
    };
    steps.steps.iter().filter_map(heap).collect()
}

/// Mean and standard deviation of a sample.
#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    fn of(grid: &Grid, profile: &NumericProfile) -> Self {
        let (mean, deviation) = (profile.mean(grid), profile.standard_deviation());
        Self { mean: mean.unwrap_or(0.0), deviation: deviation.unwrap_or(0.0) }
    }

    /// Mean squared distance from a value.
    fn squares_about(&self, value: f64) -> f64 {
        self.deviation * self.deviation + (self.mean - value).powi(2)
    }
}

/// One way in which all values may have moved.
#[derive(Debug, Clone, Copy)]
struct Fit {
    change: Affine,
    misfit: f64,
    share: f64,
}

/// The causes that move all values, with the shares that they account for.
fn moved(before: &Shape, now: &Shape, whole: Whole) -> Vec<Cause> {
    if whole.is_small() {
        return Vec::new();
    }
    let fit = |change: Affine| {
        let misfit = if change.is_sound() { now.misfit(before, change) } else { 1.0 };
        Fit { change, misfit, share: whole.explained(misfit) }
    };
    let best = |changes: &[Affine]| {
        let fits = changes.iter().copied().map(fit);
        fits.max_by(|a, b| a.share.total_cmp(&b.share).then(b.misfit.total_cmp(&a.misfit)))
    };
    let (Some(shift), Some(spread), Some(free)) =
        (best(&shifts(before, now)), best(&spreads(before, now)), best(&free_fits(before, now)))
    else {
        return Vec::new();
    };
    let plain = shift.misfit.min(spread.misfit);
    let is_clearly_better = |fit: Fit| fit.misfit * 2.0 <= plain && fit.misfit + whole.chance <= plain;
    let known = known_conversion(before, now, fit).filter(|(conversion, known)| {
        let is_as_good_as_any = known.share >= free.share.max(shift.share) - MARGIN;
        // One that only adds is itself a shift, and of a bell a flipped sign is one, too; but of just this length.
        let is_such_a_shift =
            conversion.factor.abs() == 1.0 && shift.change.offset.abs() > LARGE_SHIFT * before.deviation;
        known.share >= MIN_KNOWN && is_as_good_as_any && (is_such_a_shift || is_clearly_better(*known))
    });
    if let Some((conversion, fit)) = known {
        let known_as = conversion.names.iter().map(|name| (*name).to_owned()).collect();
        return vec![unit_change(fit, known_as)];
    }
    let factor = free.change.factor;
    let is_mirrored =
        factor < 0.0 && ((factor + 1.0).abs() <= COMPLEMENT || free.change.offset.abs() <= NO_OFFSET * now.deviation);
    let is_large = is_mirrored || factor.abs().ln().abs() >= LARGE_FACTOR.ln();
    // Of values that lie in one open cell only mean and spread are known, which any two free numbers fit. A factor alone has one.
    let is_told_apart = now.is_known() || factor > 0.0 && free.change.offset.abs() <= NO_OFFSET * now.deviation;
    if is_large && is_told_apart && free.share >= MIN_UNKNOWN && is_clearly_better(free) {
        return vec![unit_change(free, Vec::new())];
    }
    plain_causes(before, shift, spread, free)
}

/// The same of what a fill leaves: a conversion would have come with it, and is not looked for.
fn moved_of_the_rest(before: &Shape, rest: &Shape, left: Whole) -> Vec<Cause> {
    moved(before, rest, left).into_iter().filter(|cause| !matches!(cause.kind, CauseKind::UnitChange { .. })).collect()
}

fn unit_change(fit: Fit, known_as: Vec<String>) -> Cause {
    let Affine { factor, offset } = fit.change;
    Cause { kind: CauseKind::UnitChange { factor, offset, known_as, misfit: fit.misfit }, share: fit.share }
}

/// Shift and spread: one alone where it accounts for about as much as both, otherwise each with its part.
fn plain_causes(before: &Shape, shift: Fit, spread: Fit, both: Fit) -> Vec<Cause> {
    let shift_cause = |by: f64, share: f64| Cause {
        kind: CauseKind::Shift { by, deviations: (before.deviation > 0.0).then(|| by / before.deviation) },
        share,
    };
    let spread_cause = |factor: f64, share: f64| Cause { kind: CauseKind::Spread { factor }, share };
    let alone = shift.share.max(spread.share);
    let Affine { factor, offset } = both.change;
    if both.share >= MIN_SHARE && both.share > alone + MARGIN && factor > 0.0 {
        let middle = before.quantile(0.5);
        let by = factor * middle + offset - middle;
        let part = if alone > 0.0 { shift.share / (shift.share + spread.share) } else { 0.5 };
        return vec![shift_cause(by, both.share * part), spread_cause(factor, both.share * (1.0 - part))];
    }
    if alone < MIN_SHARE {
        Vec::new()
    } else if shift.share >= spread.share {
        vec![shift_cause(shift.change.offset, shift.share)]
    } else {
        vec![spread_cause(spread.change.factor, spread.share)]
    }
}

fn shifts(before: &Shape, now: &Shape) -> [Affine; 2] {
    [now.quantile(0.5) - before.quantile(0.5), now.mean - before.mean].map(|offset| Affine { factor: 1.0, offset })
}

fn spreads(before: &Shape, now: &Shape) -> [Affine; 4] {
    let about = |factor: f64, middle: f64| Affine { factor, offset: middle * (1.0 - factor) };
    let [whole, middle] = factors(before, now);
    let median = before.quantile(0.5);
    [about(whole, median), about(middle, median), about(whole, before.mean), about(middle, before.mean)]
}

/// How much wider the window is: by its standard deviation, and by its middle half.
fn factors(before: &Shape, now: &Shape) -> [f64; 2] {
    [now.deviation / before.deviation, now.middle_deviation() / before.middle_deviation()]
}

/// Factors and offsets as they fit best, and as the moments have them; in both directions.
fn free_fits(before: &Shape, now: &Shape) -> [Affine; 5] {
    let [whole, middle] = factors(before, now);
    let through = |factor: f64, from: f64, to: f64| Affine { factor, offset: to - factor * from };
    [
        matched(before, now, 1.0),
        matched(before, now, -1.0),
        through(whole, before.mean, now.mean),
        through(middle, before.quantile(0.5), now.quantile(0.5)),
        through(-whole, before.mean, now.mean),
    ]
}

/// Least squares through matched quantiles.
fn matched(before: &Shape, now: &Shape, sign: f64) -> Affine {
    let pairs = matched_quantiles(before, now, sign);
    let mean = |values: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(values).sum::<f64>() / MATCHED as f64;
    let (from, to) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
    let products = mean(&|pair| (pair.0 - from) * (pair.1 - to));
    let squares = mean(&|pair| (pair.0 - from).powi(2));
    let factor = products / squares;
    Affine { factor, offset: to - factor * from }
}

/// Quantiles side by side: the reference's lowest with the window's lowest, or with its highest when the sign is flipped.
fn matched_quantiles(before: &Shape, now: &Shape, sign: f64) -> Vec<(f64, f64)> {
    let step = (1.0 - 2.0 * OUTERMOST) / (MATCHED - 1) as f64;
    let shares = (0..MATCHED).map(|index| OUTERMOST + step * index as f64);
    shares.map(|share| (before.quantile(share), now.quantile(if sign > 0.0 { share } else { 1.0 - share }))).collect()
}

/// The conversion that accounts for most. Some are so close to others, such as 57.3 and 60, that they account for as much:
/// of these the one that takes quantiles closest to where they are.
fn known_conversion(before: &Shape, now: &Shape, fit: impl Fn(Affine) -> Fit) -> Option<(&'static Conversion, Fit)> {
    if before.deviation <= 0.0 || now.deviation <= 0.0 {
        return None;
    }
    let change = |conversion: &Conversion| Affine { factor: conversion.factor, offset: conversion.offset };
    let fits: Vec<(&Conversion, Fit)> =
        CONVERSIONS.iter().map(|conversion| (conversion, fit(change(conversion)))).collect();
    let best = fits.iter().map(|(_, fit)| fit.share).fold(0.0, f64::max);
    let is_known = before.is_known() && now.is_known();
    let distance =
        |change: Affine| if is_known { of_quantiles(before, now, change) } else { of_moments(before, now, change) };
    fits.into_iter()
        .filter(|(_, fit)| fit.share > 0.0 && fit.share >= best - AS_GOOD)
        .min_by(|a, b| distance(a.1.change).total_cmp(&distance(b.1.change)))
}

/// By how much a change misses the window's quantiles. The median, for those of a heavy tail are anywhere.
fn of_quantiles(before: &Shape, now: &Shape, change: Affine) -> f64 {
    let pairs = matched_quantiles(before, now, change.factor);
    let mut misses: Vec<f64> =
        pairs.into_iter().map(|(from, to)| (change.factor * from + change.offset - to).abs()).collect();
    misses.sort_by(f64::total_cmp);
    misses[misses.len() / 2]
}

/// By how much it misses the window's mean and spread, in standard deviations.
fn of_moments(before: &Shape, now: &Shape, change: Affine) -> f64 {
    let place = (change.factor * before.mean + change.offset - now.mean).abs() / now.deviation;
    place + (change.factor.abs() * before.deviation / now.deviation).ln().abs()
}
