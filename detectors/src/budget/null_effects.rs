//! What a detector says of histories that could have been: the null distribution of its effect, with the order of windows
//! in time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dependence::block_length;
use super::draws::World;
use super::few_blocks::{FEW, FewBlocks, mean_excesses, reached, unseen};
use super::timeline::Timeline;
use crate::blocks::RareCategory;
use crate::build::WindowShape;
use crate::detector::Detector;
use crate::reference::{Normal, Profile, Reference};

/// Windows that one world's history holds.
pub(crate) const HISTORY: u32 = 128;
/// Worlds that are drawn, at the least and at the most; more where windows overlap more, since these say less new.
const WORLDS: std::ops::RangeInclusive<u32> = 20..=64;
/// The part of the windows that is kept: those with the largest effects. No limit lies lower than that.
const KEPT: f64 = 0.05;
/// Of a segment so many windows: segments are many, and each has a small part of the budget.
const KEPT_OF_SEGMENT: u32 = 64;
/// So many windows above a level are needed to say where it lies.
const ENOUGH: f64 = 5.0;
/// So many windows that do not overlap are behind a tail: those that share nine days of ten say one thing ten times. Carried on
/// from five windows that nearly were the same one, as if they knew it exactly, it let limits for three windows in ten thousand be
/// exceeded by eight.
const BEHIND: f64 = 10.0;
/// However few blocks a window is made of, this share of them can be seen.
const LEAST_TRUSTED: f64 = 0.2;
/// A reference of fewer units says too little of how they differ.
const MIN_UNITS: usize = 6;
/// One window in so many is small.
const SMALL: usize = 10;
/// An effect that is rounding's.
const NOTHING: f64 = 1e-12;
/// Digits that an effect is kept with.
const DIGITS: i32 = 6;

/// The largest effects of one detector on one column in histories in which nothing drifts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NullEffects {
    /// How many windows were drawn: histories of 128 each, of one world each.
    pub windows: u32,
    /// Panes from one of them to the next.
    pub every: u32,
    /// Units of the reference (panes, or days of them) that were drawn together.
    pub block: u32,
    /// The share of windows down to which drawing says what the reference knows. Beyond it the tail is extrapolated.
    pub trusted: f64,
    /// The effect that this share exceeds.
    pub at_trusted: f64,
    /// By how much more on the mean, on the scale of squares: the tails of distances fall like those of sums of squares,
    /// exponentially on that scale, so that this is also what a share smaller by a factor of e exceeds it by.
    pub slope: f64,
    /// In the place of both where one block decides a window's effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub few_blocks: Option<FewBlocks>,
    /// The noise of independent rows for windows with as few rows as one in ten of these has.
    pub independent: f64,
    /// Numbers of the windows with the largest effects, by falling effect.
    pub at: Vec<u32>,
    /// Their effects.
    pub effects: Vec<f64>,
    /// How many are kept, where that is not one in twenty: of a segment's column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<u32>,
    /// The effect that the budget allows, once it is known (see [`Reference::allow`]).
    #[serde(skip)]
    allowed: Option<f64>,
}

impl NullEffects {
    /// Whether a file's numbers fit each other.
    pub(crate) fn is_consistent(&self) -> bool {
        let descends = self.effects.windows(2).all(|pair| pair[0] >= pair[1]);
        let positive = self.effects.iter().all(|effect| *effect > 0.0 && effect.is_finite());
        let most = *WORLDS.end() * HISTORY;
        let in_range = self.windows >= HISTORY && self.windows <= most && self.at.iter().all(|at| *at < self.windows);
        let tail = [self.trusted, self.at_trusted, self.slope, self.independent];
        let tail = self.trusted > 0.0
            && tail.iter().all(|number| number.is_finite() && *number >= 0.0)
            && self.few_blocks.iter().all(FewBlocks::is_consistent);
        let kept = self.kept.is_none_or(|kept| (1..=self.windows).contains(&kept));
        in_range && kept && tail && descends && positive && self.at.len() == self.effects.len()
    }

    /// The effect that this share of windows exceeds; of a larger share than the windows whose effects are kept, what these reach.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Detector, ReferenceBuilder, WindowShape};
    /// let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    /// // Forty days of fifty rows, around levels of their own.
    /// (0..2000).for_each(|i| builder.number(Some(i / 50), ((i * 37) % 50 + (i / 50 * 17) % 30) as f64));
    /// let week = WindowShape { panes: 7, min_filled: 4, every: 1, season: 1 };
    /// let reference = builder.build(Some(week)).unwrap();
    /// let null = &reference.nulls[&Detector::Psi];
    /// assert!(null.quantile(Detector::Psi, 0.001) > null.quantile(Detector::Psi, 0.01));
    /// ```
    pub fn quantile(&self, detector: Detector, share: f64) -> f64 {
        // Where drawing vouches for no share of which windows are kept, nothing is known of larger ones than these.
        let share = if self.trusted > self.kept_share() { share.min(self.kept_share()) } else { share };
        if share >= self.trusted {
            return self.drawn(share);
        }
        let power = scale(detector);
        if let Some(few) = &self.few_blocks {
            return few.beyond(share, power).max(self.drawn(share));
        }
        let beyond = self.slope * mean_excesses(self.trusted / share, BEHIND);
        // What is carried on begins a rank below what is drawn.
        let drawn = if self.trusted <= self.kept_share() { self.drawn(self.trusted) } else { 0.0 };
        (self.at_trusted.powi(power) + beyond).powf(1.0 / f64::from(power)).min(f64::MAX).max(drawn)
    }

    /// Of what was drawn itself. Windows of one and the same day share an effect; of B days and one more, the k-th largest is
    /// exceeded by k of B + 1. So it is the limit for the share of windows that reach it, themselves included, and what lies
    /// between two such is the limit for what lies between.
    fn drawn(&self, share: f64) -> f64 {
        let rank = share * f64::from(self.windows);
        let is_last = |(place, effect): &(usize, &f64)| self.effects.get(place + 1).is_none_or(|next| next < effect);
        let (mut reached, mut limit) = (0.0, self.effects.first().copied().unwrap_or(0.0));
        for (place, effect) in self.effects.iter().enumerate().filter(is_last) {
            let reach = (place + 1) as f64;
            if reach >= rank {
                let part = if reached > 0.0 { (rank - reached) / (reach - reached) } else { 0.0 };
                return limit + part * (effect - limit);
            }
            (reached, limit) = (reach, *effect);
        }
        // All others are not larger, or, where there was room for more, none.
        if self.effects.len() > (self.kept_share() * f64::from(self.windows)) as usize { limit } else { 0.0 }
    }

    /// The share of windows whose effects are kept. No limit lies lower than what it exceeds.
    pub(crate) fn kept_share(&self) -> f64 {
        self.kept.map_or(KEPT, |kept| f64::from(kept) / f64::from(self.windows))
    }

    /// From now on, this share of windows may exceed what is allowed.
    pub(crate) fn allow(&mut self, detector: Detector, share: f64) {
        self.allowed = Some(self.quantile(detector, share));
    }

    /// Without a budget.
    pub(crate) fn allow_nothing(&mut self) {
        self.allowed = None;
    }

    /// What a window may reach whose rows, were they independent, would reach so much. Fewer rows than small stretches of the
    /// reference have are more noise, which comes on top.
    ///
    /// A kind of rows that the reference hardly has has no spread to draw from; there the exact limit for independent rows
    /// is the least.
    pub(crate) fn allowance(&self, detector: Detector, independent: f64) -> Option<f64> {
        let allowed = self.allowed?;
        if comes_in_bursts(detector) {
            return Some(allowed.max(independent));
        }
        let power = scale(detector);
        let more = (independent.powi(power) - self.independent.powi(power)).max(0.0);
        // A tenth more or fewer rows are the same.
        let more = if more > 0.2 * self.independent.powi(power) { more } else { 0.0 };
        Some((allowed.powi(power) + more).powf(1.0 / f64::from(power)).min(f64::MAX))
    }

    /// Windows whose effects are known. Of all others it is known that theirs are not larger.
    pub(crate) fn known(&self) -> impl Iterator<Item = (u32, f64)> {
        self.at.iter().copied().zip(self.effects.iter().copied())
    }

    /// What the effect of a window that is not among the known ones does not exceed.
    pub(crate) fn most_of_others(&self) -> f64 {
        self.effects.last().copied().unwrap_or_default()
    }

    /// The limit is not below this when so many of the largest effects may be over it.
    pub(crate) fn least_limit(&self, detector: Detector, largest: usize) -> f64 {
        let least = if comes_in_bursts(detector) { self.independent } else { 0.0 };
        self.effects.get(largest).copied().unwrap_or_default().max(least)
    }

    /// The windows of a world that are over when so many of the largest effects may be, ascending, counted from its first.
    pub(crate) fn over(&self, detector: Detector, largest: usize, world: u32) -> Vec<u32> {
        let begins = world * HISTORY;
        let least = if comes_in_bursts(detector) { self.independent } else { 0.0 };
        let inside = |(at, effect): &(&u32, &f64)| (begins..begins + HISTORY).contains(*at) && **effect > least;
        let largest = self.at.iter().zip(&self.effects).take(largest);
        let mut over: Vec<u32> = largest.filter(inside).map(|(at, _)| at - begins).collect();
        over.sort_unstable();
        over
    }
}

/// Whether what is scored is rare, and comes in bursts: one day of a storm, and none else of the month. Such a limit is never
/// below the noise of independent rows, and one block decides it however many a window has.
pub(super) fn comes_in_bursts(detector: Detector) -> bool {
    matches!(detector, Detector::MissingShare | Detector::NewCategoryShare)
}

/// The power of a detector's effect in which sums of squares add up.
fn scale(detector: Detector) -> i32 {
    match detector {
        Detector::Psi | Detector::CramerVonMises | Detector::MissingShare | Detector::NewCategoryShare => 1,
        _ => 2,
    }
}

/// Draws histories from the reference's panes, and scores their windows against it.
pub(crate) fn null_effects(
    reference: &Reference,
    panes: &BTreeMap<i64, Profile>,
    rare: &[RareCategory],
    shape: WindowShape,
) -> BTreeMap<Detector, NullEffects> {
    let timeline = Timeline::of_panes(panes.keys().copied(), shape);
    timeline.map_or_else(BTreeMap::new, |timeline| draw(reference, panes, rare, &timeline, None))
}

/// The same of one column of a segment, whose panes are some of the whole's: it lives through the days of all rows, be it on
/// them or not, so that all segments are drawn together.
pub(crate) fn null_effects_of_segment(
    reference: &Reference,
    panes: &BTreeMap<i64, Profile>,
    timeline: &Timeline,
) -> BTreeMap<Detector, NullEffects> {
    // None of a segment's scores asks for rare categories.
    draw(reference, panes, &[], timeline, Some(KEPT_OF_SEGMENT))
}

fn draw(
    reference: &Reference,
    panes: &BTreeMap<i64, Profile>,
    rare: &[RareCategory],
    timeline: &Timeline,
    kept: Option<u32>,
) -> BTreeMap<Detector, NullEffects> {
    let units = Units::of(panes, timeline);
    if units.filled < MIN_UNITS || reference.blocks.is_empty() {
        return BTreeMap::new();
    }
    let shape = timeline.shape;
    let block = units.block(reference);
    let novel = units.novel_rows(reference, rare, block);
    let whole = reference.profile();
    let worlds = (2 * shape.panes / shape.every).clamp(*WORLDS.start(), *WORLDS.end());
    let mut effects: BTreeMap<Detector, Vec<(u32, f64)>> = BTreeMap::new();
    let mut sizes: Vec<Profile> = Vec::new();
    for world in 0..worlds {
        // Each world's windows begin at another time of the day.
        let phase = world * shape.season / worlds;
        let needed = phase + (HISTORY - 1) * shape.every + shape.panes;
        let history =
            World::draw(units.count, block, u64::from(world)).history(needed.div_ceil(shape.season.max(1)) as usize);
        let mut window = reference.empty_profile();
        let (mut from, mut to, mut filled) = (phase as usize, phase as usize, 0);
        for number in 0..HISTORY {
            let begins = (phase + number * shape.every) as usize;
            let ends = begins + shape.panes as usize;
            for pane in units.along(&history, from..begins.min(to)) {
                window.remove(pane);
                filled -= 1;
            }
            for pane in units.along(&history, to.max(begins)..ends) {
                window.merge(pane);
                filled += 1;
            }
            (from, to) = (begins, ends);
            if filled < shape.min_filled {
                continue;
            }
            if sizes.len() < HISTORY as usize && window.usable() > 0 {
                sizes.push(window.clone());
            }
            let season = units.season;
            let new: f64 = (begins..ends).map(|pane| novel[history[pane / season]] / season as f64).sum();
            let of_window = match kept {
                Some(_) => reference.effects_in_segment(&whole, &window),
                None => reference.effects(&whole, &window, new.round() as u64),
            };
            for (detector, effect) in of_window {
                effects.entry(detector).or_default().push((world * HISTORY + number, effect));
            }
        }
    }
    // Small windows are among those that are drawn, and what they make of it is in the limits.
    sizes.sort_by_key(Profile::usable);
    let small = sizes.get(sizes.len() / SMALL).map(|window| reference.independent_noise(window)).unwrap_or_default();
    let blocks = units.filled as f64 / block as f64;
    let mut in_window = f64::from(shape.panes) / (units.season * block) as f64;
    if kept.is_some() {
        // A segment may have rows on few of the days.
        in_window *= units.filled as f64 / units.count as f64;
    }
    let by_many = (4.0 * blocks.powf(-in_window.max(1.0))).min(1.0);
    let windows = worlds * HISTORY;
    let of_a_world = f64::from(HISTORY * shape.every) / f64::from(shape.panes);
    let side_by_side = f64::from(worlds) * of_a_world.clamp(1.0, f64::from(HISTORY));
    let kept = kept.map(|kept| kept.min((KEPT * f64::from(windows)) as u32));
    let null = |(detector, effects): (Detector, Vec<(u32, f64)>)| {
        let effects = largest_first(detector, effects, blocks);
        let power = scale(detector);
        let few_blocks = (comes_in_bursts(detector) || in_window < FEW)
            .then(|| FewBlocks::of(&effects, windows, blocks, in_window, power));
        let trusted = if few_blocks.is_some() { unseen(blocks, in_window) } else { by_many };
        let least = if few_blocks.is_some() { ENOUGH / f64::from(windows) } else { BEHIND / side_by_side };
        let trusted = trusted.max(least).min(LEAST_TRUSTED);
        let (at_trusted, slope) = reached(&effects, trusted * f64::from(windows), power);
        let independent = small.get(&detector).copied()?;
        let most = kept.map_or((KEPT * f64::from(windows)).ceil() as usize, |kept| kept as usize) + 1;
        let (at, effects) = effects.iter().take(most).map(|(at, effect)| (*at, rounded(*effect))).unzip();
        let null = NullEffects {
            windows,
            every: shape.every,
            block: block as u32,
            trusted,
            at_trusted: rounded(at_trusted),
            slope: rounded(slope),
            few_blocks,
            independent,
            at,
            effects,
            kept,
            allowed: None,
        };
        null.is_consistent().then_some((detector, null))
    };
    effects.into_iter().filter_map(null).collect()
}

/// The effects, by falling size, without what is none. A sample's own spread is too small by a part: the draws from B blocks
/// spread as (B − 1)/(B + 1) of what a new sample's lie apart from this one.
fn largest_first(detector: Detector, mut effects: Vec<(u32, f64)>, blocks: f64) -> Vec<(u32, f64)> {
    let wider = ((blocks + 1.0) / (blocks - 1.0)).powf(1.0 / f64::from(scale(detector)));
    effects.retain_mut(|(_, effect)| {
        *effect *= wider;
        *effect > NOTHING
    });
    effects.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    effects
}

pub(super) fn rounded(value: f64) -> f64 {
    if value <= NOTHING {
        return 0.0;
    }
    let digits = 10f64.powi(DIGITS - 1 - value.log10().floor() as i32);
    (value * digits).round() / digits
}

/// A reference's panes by the unit of time in which they are drawn: a day's panes together, so that its course is kept, or
/// each pane alone.
struct Units<'a> {
    panes: BTreeMap<i64, &'a Profile>,
    first: i64,
    count: usize,
    /// Of these, how many hold rows.
    filled: usize,
    season: usize,
}

impl<'a> Units<'a> {
    fn of(panes: &'a BTreeMap<i64, Profile>, timeline: &Timeline) -> Self {
        let panes: BTreeMap<i64, &Profile> =
            panes.range(timeline.panes()).map(|(pane, profile)| (*pane, profile)).collect();
        let mut filled: Vec<i64> = panes.keys().map(|pane| timeline.unit(*pane)).collect();
        filled.dedup();
        let (first, count, filled) = (timeline.first, timeline.units, filled.len());
        Self { panes, first, count, filled, season: timeline.season() as usize }
    }

    /// The pane at a place of the history, if it holds rows.
    fn along<'b>(
        &'b self,
        history: &'b [usize],
        places: std::ops::Range<usize>,
    ) -> impl Iterator<Item = &'a Profile> + 'b {
        places.filter_map(|place| {
            let unit = self.first + history[place / self.season] as i64;
            self.panes.get(&(unit * self.season as i64 + (place % self.season) as i64)).copied()
        })
    }

    fn unit(&self, pane: i64) -> i64 {
        pane.div_euclid(self.season as i64) - self.first
    }

    /// How many units are drawn together.
    fn block(&self, reference: &Reference) -> usize {
        let mut counts: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for (pane, profile) in &self.panes {
            let of_pane = reference.share_counts(profile);
            let unit = counts.entry(self.unit(*pane)).or_insert_with(|| vec![0; of_pane.len()]);
            unit.iter_mut().zip(of_pane).for_each(|(sum, count)| *sum += count);
        }
        block_length(&counts.into_values().collect::<Vec<_>>()).min(self.count / MIN_UNITS).max(1)
    }

    /// In each unit, the rows in categories that are found in its own block of time only: what is new in a time like it.
    /// Against the whole reference, none of its own rows would be.
    fn novel_rows(&self, reference: &Reference, rare: &[RareCategory], block: usize) -> Vec<f64> {
        let mut novel = vec![0.0; self.count];
        if !matches!(reference.normal, Normal::Categorical { .. }) {
            return novel;
        }
        // Of each cell: the units between which it is found.
        let mut spans: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
        for (pane, profile) in &self.panes {
            for (cell, _) in reference.share_counts(profile).iter().enumerate().filter(|(_, count)| **count > 0) {
                let unit = self.unit(*pane);
                spans.entry(cell).and_modify(|(_, last)| *last = unit).or_insert((unit, unit));
            }
        }
        let is_short = |first: i64, last: i64| last - first < block as i64;
        for (pane, profile) in &self.panes {
            let counts = reference.share_counts(profile);
            let of_short = spans.iter().filter(|(_, (first, last))| is_short(*first, *last));
            let rows: u64 = of_short.map(|(cell, _)| counts[*cell]).sum();
            novel[self.unit(*pane) as usize] += rows as f64;
        }
        for category in rare {
            let (first, last) = (self.unit(category.first).max(0), self.unit(category.last));
            if is_short(first, last) {
                let each = category.rows as f64 / (last - first + 1) as f64;
                (first..=last).filter_map(|unit| usize::try_from(unit).ok()).for_each(|unit| {
                    if let Some(rows) = novel.get_mut(unit) {
                        *rows += each;
                    }
                });
            }
        }
        novel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_beyond_what_was_drawn_are_exceeded_as_often_as_they_say() {
        const SIDE_BY_SIDE: usize = 256;
        const REFERENCES: u32 = 20_000;
        let mut uniform = crate::budget::draws::Uniform::seeded(3);
        let above = BEHIND as usize;
        for share in [1e-2, 1e-3, 1e-4] {
            let mut exceeded = 0.0;
            for _ in 0..REFERENCES {
                let mut effects: Vec<f64> = (0..SIDE_BY_SIDE).map(|_| -uniform.next().ln()).collect();
                effects.sort_by(|a, b| b.total_cmp(a));
                let mean = effects[..above].iter().map(|effect| effect - effects[above]).sum::<f64>() / BEHIND;
                let limit = effects[above] + mean * mean_excesses(BEHIND / SIDE_BY_SIDE as f64 / share, BEHIND);
                exceeded += (-limit).exp();
            }
            let realised = exceeded / f64::from(REFERENCES) / share;
            assert!((0.8..1.25).contains(&realised), "{share}: {realised} times as often");
        }
    }

    #[test]
    fn a_limit_between_days_lies_between_them_by_how_many_windows_reach_each() {
        let effects = [vec![0.9; 40], vec![0.5; 20], vec![0.4; 69]].concat();
        let null = NullEffects {
            windows: 2560,
            every: 1,
            block: 1,
            trusted: 1.0 / 2560.0,
            at_trusted: 0.9,
            slope: 0.0,
            few_blocks: None,
            independent: 0.1,
            at: (0..effects.len() as u32).collect(),
            effects,
            kept: None,
            allowed: None,
        };
        let limit = |windows: f64| null.quantile(Detector::Psi, windows / 2560.0);
        assert_eq!([limit(20.0), limit(40.0), limit(60.0)], [0.9, 0.9, 0.5]);
        assert!((limit(50.0) - 0.7).abs() < 1e-9, "{}", limit(50.0));
        assert_eq!(limit(200.0), 0.4, "no limit is lower than what is kept");
        let few = NullEffects { at: vec![0, 1], effects: vec![0.9, 0.8], ..null };
        assert_eq!(few.quantile(Detector::Psi, 3.0 / 2560.0), 0.0, "all others are none");
    }
}
