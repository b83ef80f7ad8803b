//! The budget of false pages, kept: how often alerts begin in histories in which nothing drifts.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::{
    ColumnKind, Detector, Known, PART_OF_SEGMENTS, Persistence, Profile, Reference, ReferenceBuilder, Segments,
    Several, Thresholds, Timeline, Watch, WindowShape, begins_by_itself, level,
};

const REFERENCE_DAYS: usize = 40;
const YEAR: usize = 365;
const COLUMNS: usize = 5;
const SHAPE: WindowShape = WindowShape { panes: 5, min_filled: 3, every: 1, season: 1 };
const TWO_OF_THREE: Persistence = Persistence { k: 2, m: 3 };
const PER_WINDOW: f64 = 1.0 / 30.0;

/// The rows of each column on one day.
type Day = Vec<Vec<f64>>;

/// A generator of uniform numbers from 0 to 1 (xorshift64*): the same on every machine.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number of about a normal distribution with deviation 1.
    fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }

    /// A day of each column: fifty rows around a level of the day's own, part of which all columns share.
    fn day(&mut self) -> Day {
        let shared = self.bell();
        let level = |uniform: &mut Self| 0.4 * shared + 0.4 * uniform.bell();
        (0..COLUMNS)
            .map(|_| {
                let level = level(self);
                (0..50).map(|_| ((level + self.bell()) * 8.0).round()).collect()
            })
            .collect()
    }
}

fn references(days: &[Day], shape: WindowShape) -> Vec<Reference> {
    let build = |column: usize| {
        let mut builder = ReferenceBuilder::new(format!("x{column}"), ColumnKind::Numeric);
        for (pane, day) in days.iter().enumerate() {
            day[column].iter().for_each(|value| builder.number(Some(pane as i64), *value));
        }
        builder.build(Some(shape)).unwrap()
    };
    (0..COLUMNS).map(build).collect()
}

/// The same rows as those of segments of one column, which share its cells.
fn segments(days: &[Day], shape: WindowShape) -> Vec<Reference> {
    let builder = |of: &dyn Fn(usize) -> bool| {
        let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
        for (pane, day) in days.iter().enumerate() {
            let values = day.iter().enumerate().filter(|(segment, _)| of(*segment)).flat_map(|(_, values)| values);
            values.for_each(|value| builder.number(Some(pane as i64), *value));
        }
        builder
    };
    let all = builder(&|_| true);
    let shared = Reference::of_rows("x", ColumnKind::Numeric, &all, None).unwrap().in_segments(&all).unwrap().unwrap();
    let timeline = Timeline::of(&all, shape).unwrap();
    let file = Segments { columns: vec![shared.clone()], by: Vec::new() };
    let of_segment = |segment: usize| {
        let own = shared.of_segment(&builder(&|of| of == segment), timeline.as_ref()).unwrap();
        file.reference(0, &own)
    };
    (0..COLUMNS).map(of_segment).collect()
}

/// How often an alert of PSI on all columns begins in a year of days like those of the reference, with so many allowed for
/// each window.
fn pages(uniform: &mut Uniform, shape: WindowShape, per_window: f64) -> u32 {
    pages_of(references, uniform, shape, per_window)
}

/// What is made of the reference's days.
type OfDays = fn(&[Day], WindowShape) -> Vec<Reference>;

/// The same of the references that are made of its days.
fn pages_of(of_days: OfDays, uniform: &mut Uniform, shape: WindowShape, per_window: f64) -> u32 {
    let mut references = of_days(&(0..REFERENCE_DAYS).map(|_| uniform.day()).collect::<Vec<_>>(), shape);
    let watch = Watch { detector: Detector::Psi, persistence: TWO_OF_THREE };
    let level = level(&references, &[watch], &[], per_window).unwrap();
    references.iter_mut().for_each(|reference| reference.allow(Some(level)));
    let every_difference_matters = Thresholds([(Detector::Psi, 0.0)].into());
    let mut panes: Vec<Vec<Profile>> = Vec::new();
    let mut over = [(0u8, false); COLUMNS];
    let (mut begun, mut firing) = (0, false);
    for _ in 0..YEAR {
        let day = uniform.day();
        panes.push(references.iter().zip(&day).map(|(reference, rows)| counted(reference, rows)).collect());
        let Some(first) = panes.len().checked_sub(shape.panes as usize) else { continue };
        for (column, (recent, is_over)) in over.iter_mut().enumerate() {
            let mut window = references[column].empty_profile();
            panes[first..].iter().for_each(|pane| window.merge(&pane[column]));
            let scores = references[column].scores_of([Detector::Psi], &window, &every_difference_matters, true);
            let psi = &scores[0];
            // The last three windows, the newest in the lowest bit.
            *recent = (*recent << 1 | u8::from(psi.effect > psi.threshold_in_force())) & 0b111;
            *is_over = if *is_over { *recent & 0b11 != 0 } else { recent.count_ones() >= 2 };
        }
        let now = over.iter().any(|(_, is_over)| *is_over);
        begun += u32::from(now && !firing);
        firing = now;
    }
    begun
}

fn counted(reference: &Reference, rows: &[f64]) -> Profile {
    let mut profile = reference.empty_profile();
    reference.count_numbers(&mut profile, rows);
    profile
}

#[test]
fn alerts_begin_about_as_often_as_the_budget_says_though_rows_of_a_day_belong_together() {
    const YEARS: u32 = 12;
    let mut uniform = Uniform(17);
    let begun: u32 = (0..YEARS).map(|_| pages(&mut uniform, SHAPE, PER_WINDOW)).sum();
    let ratio = f64::from(begun) / (f64::from(YEARS) * YEAR as f64 * PER_WINDOW);
    assert!((1.0 / 1.5..1.5).contains(&ratio), "{ratio} times the budget");
}

#[test]
fn segments_keep_to_their_part_of_a_budget() {
    const YEARS: u32 = 24;
    let per_window = PER_WINDOW * PART_OF_SEGMENTS;
    let ratio = |shape: WindowShape| {
        let mut uniform = Uniform(19);
        let begun: u32 = (0..YEARS).map(|_| pages_of(segments, &mut uniform, shape, per_window)).sum();
        f64::from(begun) / (f64::from(YEARS) * YEAR as f64 * per_window)
    };
    let (of_days, of_one) = (ratio(SHAPE), ratio(WindowShape { panes: 1, min_filled: 1, ..SHAPE }));
    assert!((1.0 / 1.5..1.5).contains(&of_days), "{of_days} times the budget");
    // Beyond what the reference's days have met, limits have a margin.
    assert!((0.25..1.5).contains(&of_one), "{of_one} times the budget in windows of a day");
}

#[test]
fn windows_of_one_day_keep_a_budget_that_no_day_of_the_reference_vouches_for() {
    let day = WindowShape { panes: 1, min_filled: 1, ..SHAPE };
    let ratio = |per_window: f64, years: u32| {
        let mut uniform = Uniform(37);
        let begun: u32 = (0..years).map(|_| pages(&mut uniform, day, per_window)).sum();
        f64::from(begun) / (f64::from(years) * YEAR as f64 * per_window)
    };
    let (monthly, yearly) = (ratio(1.0 / 30.0, 12), ratio(1.0 / 365.0, 24));
    assert!((1.0 / 1.5..1.5).contains(&monthly), "{monthly} times the budget of one a month");
    assert!(yearly < 1.5, "{yearly} times the budget of one a year");
}

#[test]
fn a_smaller_budget_is_a_higher_limit_and_none_is_as_before() {
    let mut uniform = Uniform(23);
    let days: Vec<_> = (0..REFERENCE_DAYS).map(|_| uniform.day()).collect();
    let mut references = references(&days, SHAPE);
    let window = counted(&references[0], &days[0][0]);
    let watch = [Watch { detector: Detector::Psi, persistence: TWO_OF_THREE }];
    let mut limits = |per_window: Option<f64>| -> Vec<f64> {
        let share = per_window.map(|per_window| level(&references, &watch, &[], per_window).unwrap());
        references[0].allow(share);
        let scores = references[0].scores(&window, &Thresholds::default(), true);
        scores.iter().map(|score| score.noise.level()).collect()
    };
    let before = limits(None);
    let (monthly, yearly) = (limits(Some(1.0 / 30.0)), limits(Some(1.0 / 365.0)));
    assert!(monthly.iter().zip(&yearly).all(|(monthly, yearly)| monthly <= yearly), "{monthly:?} {yearly:?}");
    assert!(monthly.iter().zip(&yearly).any(|(monthly, yearly)| monthly < yearly));
    assert_eq!(limits(None), before);
}

#[test]
fn a_small_day_has_a_higher_limit_only_where_the_reference_has_none_as_small() {
    let mut uniform = Uniform(43);
    let mut days: Vec<_> = (0..REFERENCE_DAYS).map(|_| uniform.day()).collect();
    for day in days.iter_mut().step_by(5) {
        day.iter_mut().for_each(|rows| rows.truncate(25));
    }
    let day = WindowShape { panes: 1, min_filled: 1, ..SHAPE };
    let mut reference = references(&days, day).remove(0);
    reference.allow(Some(0.02));
    let limit = |rows: usize| {
        let scores = reference.scores(&counted(&reference, &days[1][0][..rows]), &Thresholds::default(), true);
        scores.iter().find(|score| score.detector == Detector::Psi).and_then(|score| score.noise.budget).unwrap()
    };
    assert_eq!(limit(25), limit(50));
    assert!(limit(10) > limit(50));
}

#[test]
fn the_course_of_a_day_is_no_chance() {
    let mut uniform = Uniform(29);
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    for hour in 0..24 * 20 {
        let level = 10.0 * (f64::from(hour) / 24.0 * std::f64::consts::TAU).sin();
        (0..10).for_each(|_| builder.number(Some(i64::from(hour)), level + uniform.bell()));
    }
    let day = WindowShape { panes: 24, min_filled: 12, every: 1, season: 24 };
    let reference = builder.build(Some(day)).unwrap();
    // Of 240 independent rows, one window in a hundred exceeds 0.1. Hours drawn apart from their days would make more.
    let limit = reference.nulls[&Detector::Psi].quantile(Detector::Psi, 0.01);
    assert!((0.05..0.2).contains(&limit), "{limit}");
}

#[test]
fn a_reference_without_times_has_no_budget_to_keep() {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    (0..1000).for_each(|i| builder.number(None, f64::from(i % 50)));
    let reference = builder.build(None).unwrap();
    let watch = Watch { detector: Detector::Psi, persistence: TWO_OF_THREE };
    assert_eq!(level(&[reference], &[watch], &[], PER_WINDOW), None);
}

/// The share of windows that may exceed with this rule on PSI and KS.
fn level_with(references: &[Reference], may_hold: &dyn Fn(&[Option<Known>]) -> bool) -> f64 {
    let rule = Several { detectors: vec![Detector::Psi, Detector::Ks], may_hold, persistence: TWO_OF_THREE };
    level(references, &[], &[rule], PER_WINDOW).unwrap()
}

fn may_exceed(known: &Option<Known>) -> bool {
    known.as_ref().is_some_and(|known| known.effect.end() > known.limit.start())
}

#[test]
fn a_rule_on_several_scores_is_counted_by_what_they_say_together() {
    let mut uniform = Uniform(29);
    let references = references(&(0..REFERENCE_DAYS).map(|_| uniform.day()).collect::<Vec<_>>(), SHAPE);
    let alone =
        |detector| level(&references, &[Watch { detector, persistence: TWO_OF_THREE }], &[], PER_WINDOW).unwrap();
    let [psi, ks] = [Detector::Psi, Detector::Ks].map(alone);
    // That PSI is over its limit is the same, whoever says it.
    assert!((level_with(&references, &|known| may_exceed(&known[0])) / psi - 1.0).abs() < 1e-9);
    let either = level_with(&references, &|known| may_exceed(&known[0]) || may_exceed(&known[1]));
    let both = level_with(&references, &|known| may_exceed(&known[0]) && may_exceed(&known[1]));
    assert!(either <= psi.min(ks) && psi.max(ks) <= both, "{either} {psi} {ks} {both}");
    // Beside a rule on PSI it takes its part of the budget.
    let watch = [Watch { detector: Detector::Psi, persistence: TWO_OF_THREE }];
    let may_hold = |known: &[Option<Known>]| may_exceed(&known[0]);
    let again = Several { detectors: vec![Detector::Ks], may_hold: &may_hold, persistence: TWO_OF_THREE };
    assert!(level(&references, &watch, &[again], PER_WINDOW).unwrap() < psi);
}

#[test]
fn a_rule_with_numbers_of_its_own_is_counted_by_them_or_may_hold_always() {
    let mut uniform = Uniform(31);
    let references = references(&(0..REFERENCE_DAYS).map(|_| uniform.day()).collect::<Vec<_>>(), SHAPE);
    let by_itself = |least: f64| {
        let may_hold = |known: &[Option<Known>]| known[0].as_ref().is_some_and(|known| *known.effect.end() > least);
        begins_by_itself(
            &references,
            &Several { detectors: vec![Detector::Psi], may_hold: &may_hold, persistence: TWO_OF_THREE },
        )
    };
    let effects = &references[0].nulls[&Detector::Psi].effects;
    assert_eq!(by_itself(effects[0] * 100.0), Some(0.0));
    let (few, more) = (by_itself(effects[2]).unwrap(), by_itself(effects[40]).unwrap());
    assert!(0.0 < few && few < more, "{few} {more}");
    assert_eq!(by_itself(0.0), None, "every window differs from the reference");
    // A score that no histories know may be anything.
    let may_hold = |known: &[Option<Known>]| known[0].as_ref().is_some_and(|known| *known.effect.end() > 0.2);
    let unknown = Several {
        detectors: vec![Detector::Association, Detector::Psi],
        may_hold: &may_hold,
        persistence: TWO_OF_THREE,
    };
    assert_eq!(begins_by_itself(&references, &unknown), None);
}
