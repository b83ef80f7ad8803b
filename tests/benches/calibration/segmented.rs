//! Simulated years with segments: columns and their parts by airport share one budget.
//!
//! Every effect matters, as in the other years: with thresholds, segments that nothing drifts in would hardly page at all.

use std::collections::{BTreeMap, VecDeque};

use driftline_detectors::{
    Detector, PART_OF_SEGMENTS, Persistence, Profile, Reference, Segments, Thresholds, Timeline, Watch, WindowShape,
    level,
};

use crate::flights::{Column, Flights};
use crate::judges::{Alert, WATCHED};
use crate::years::{DAYS_OF_A_MONTH, DAYS_OF_A_YEAR, Plan, Split, year_of};

/// Which scores of segments rules watch: as shipped, and all that there are.
pub(crate) const RULES: [(&str, &[Detector]); 2] = [
    ("segment_psi", &[Detector::Psi]),
    ("segment_psi, segment_ks and segment_missing_share", &[Detector::Psi, Detector::Ks, Detector::MissingShare]),
];
const TWO_OF_THREE: Persistence = Persistence { k: 2, m: 3 };

/// What a year came to under one of these, in pages a month.
pub(crate) struct Pages {
    pub(crate) whole: f64,
    pub(crate) segments: f64,
    pub(crate) one_window_in: f64,
}

pub(crate) type Year = [Pages; RULES.len()];

/// A column of the rows, or of those of one segment.
struct Watched<'f> {
    column: &'f Column,
    /// The rows of each day that are looked at.
    days: &'f [Vec<usize>],
    reference: Reference,
    profiles: BTreeMap<usize, Profile>,
}

pub(crate) fn year(flights: &Flights, plan: &Plan, split: Split, seed: u64) -> Year {
    let (days, before, after) = year_of(flights, plan, split, seed);
    let places: Vec<Vec<Vec<usize>>> = flights
        .by_name("origin")
        .into_iter()
        .map(|is_of| days.iter().map(|day| day.iter().copied().filter(|row| is_of[*row]).collect()).collect())
        .collect();
    let columns = &flights.columns[..plan.columns];
    let mut whole: Vec<Watched<'_>> = columns.iter().map(|column| Watched::of(column, plan, &days, &before)).collect();
    let mut segments = Vec::new();
    for (column, whole) in columns.iter().zip(&whole) {
        segments.extend(whole.parted(column, plan, &days, &places, &before));
    }
    RULES.map(|(_, watched)| pages(plan, (&mut whole, &mut segments), watched, &after))
}

fn pages(
    plan: &Plan,
    (whole, segments): (&mut [Watched<'_>], &mut [Watched<'_>]),
    watched: &[Detector],
    after: &[usize],
) -> Pages {
    let allowed = plan.per_month / DAYS_OF_A_MONTH;
    allow(whole, &WATCHED, allowed * (1.0 - PART_OF_SEGMENTS));
    let level = allow(segments, watched, allowed * PART_OF_SEGMENTS);
    let mut of_whole = WATCHED.map(|_| Alert::new(TWO_OF_THREE));
    let mut of_segments: Vec<Alert> = watched.iter().map(|_| Alert::new(TWO_OF_THREE)).collect();
    let of_each_column = segments.len() / whole.len();
    let mut window = VecDeque::new();
    for day in after {
        window.push_back(*day);
        if window.len() > plan.window_days as usize {
            window.pop_front();
        }
        if window.len() < plan.window_days as usize {
            continue;
        }
        // Rules see a segment's column only while the whole does not drift by the same score.
        let mut over = Vec::new();
        for (index, column) in whole.iter_mut().enumerate() {
            for (detector, is_over) in column.over(&window, &WATCHED) {
                if let Some(rule) = WATCHED.iter().position(|watched| *watched == detector) {
                    of_whole[rule].take(index, detector, Some(is_over));
                }
                over.extend(is_over.then_some((index, detector)));
            }
        }
        for (index, segment) in segments.iter_mut().enumerate() {
            for (detector, is_over) in segment.over(&window, watched) {
                let rule = watched.iter().position(|watched| *watched == detector).unwrap();
                if !over.contains(&(index / of_each_column, detector)) {
                    of_segments[rule].take(index, detector, Some(is_over));
                }
            }
        }
        of_whole.iter_mut().chain(&mut of_segments).for_each(Alert::step);
    }
    let months = DAYS_OF_A_YEAR as f64 / DAYS_OF_A_MONTH;
    let begun = |alerts: &[Alert]| alerts.iter().map(|alert| alert.begun as f64).sum::<f64>() / months;
    Pages { whole: begun(&of_whole), segments: begun(&of_segments), one_window_in: 1.0 / level }
}

/// Shares a budget of so many alerts for each window over columns; the share of windows in which each may be over.
fn allow(watched: &mut [Watched<'_>], detectors: &[Detector], per_window: f64) -> f64 {
    let watches: Vec<Watch> =
        detectors.iter().map(|detector| Watch { detector: *detector, persistence: TWO_OF_THREE }).collect();
    let references: Vec<&Reference> = watched.iter().map(|watched| &watched.reference).collect();
    let level = level(&references, &watches, &[], per_window).unwrap();
    watched.iter_mut().for_each(|watched| watched.reference.allow(Some(level)));
    level
}

impl<'f> Watched<'f> {
    fn of(column: &'f Column, plan: &Plan, days: &'f [Vec<usize>], before: &[usize]) -> Self {
        let reference = column.builder(panes(days, before)).build(Some(shape(plan))).unwrap();
        Self { column, days, reference, profiles: BTreeMap::new() }
    }

    /// The column in each of the places.
    fn parted<'p>(
        &self,
        column: &'p Column,
        plan: &Plan,
        days: &[Vec<usize>],
        places: &'p [Vec<Vec<usize>>],
        before: &[usize],
    ) -> Vec<Watched<'p>> {
        let rows = column.builder(panes(days, before));
        let shared = self.reference.in_segments(&rows).unwrap().unwrap();
        let timeline = Timeline::of(&rows, shape(plan)).unwrap();
        let file = Segments { columns: vec![shared.clone()], by: Vec::new() };
        let of_place = |days: &'p Vec<Vec<usize>>| {
            let own = shared.of_segment(&column.builder(panes(days, before)), timeline.as_ref()).unwrap();
            Watched { column, days, reference: file.reference(0, &own), profiles: BTreeMap::new() }
        };
        places.iter().map(of_place).collect()
    }

    /// Which of these scores of a window of days are over what the budget allows.
    fn over(&mut self, window: &VecDeque<usize>, detectors: &[Detector]) -> Vec<(Detector, bool)> {
        let Self { column, days, reference, profiles } = self;
        let mut total = reference.empty_profile();
        for day in window {
            total.merge(profiles.entry(*day).or_insert_with(|| column.profile(reference, &days[*day])));
        }
        let scores = reference.scores_of(detectors.iter().copied(), &total, &Thresholds::default(), true);
        scores.iter().map(|score| (score.detector, score.effect > score.noise.level())).collect()
    }
}

fn shape(plan: &Plan) -> WindowShape {
    WindowShape { panes: plan.window_days, min_filled: plan.window_days.div_ceil(2), every: 1, season: 1 }
}

fn panes<'d>(days: &'d [Vec<usize>], drawn: &'d [usize]) -> impl Iterator<Item = (i64, &'d [usize])> {
    drawn.iter().enumerate().map(|(pane, day)| (pane as i64, days[*day].as_slice()))
}
