//! Simulated years: a reference, the days after it, and the pages that they make.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use driftline_detectors::{Detector, Persistence, Profile, Reference, Thresholds, Watch, WindowShape, level};

use crate::flights::{Column, Drift, Flights};
use crate::judges::{Alert, Context, Judge, WATCHED, jensen_shannon};
#[path = "../proxies/numbers.rs"]
pub(crate) mod numbers;
use numbers::Numbers;

pub(crate) const DAYS_OF_A_YEAR: usize = 365;
pub(crate) const DAYS_OF_A_MONTH: f64 = 365.25 / 12.0;
const JUDGES: usize = Judge::ALL.len();
/// Chunks of the reference, as NannyML makes them.
const CHUNKS: usize = 10;

pub(crate) struct Plan {
    pub(crate) columns: usize,
    pub(crate) reference_days: usize,
    pub(crate) window_days: u32,
    pub(crate) per_month: f64,
}

/// What is shuffled.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Split {
    Rows,
    Days,
}

/// What a year came to.
pub(crate) struct Year {
    pub(crate) months: f64,
    /// For each judge.
    pub(crate) pages: [f64; JUDGES],
    /// The share of the year in which an alert fired, for each judge.
    pub(crate) firing: [f64; JUDGES],
    /// Of the budget's pages, those of each watched score.
    pub(crate) of_score: [f64; WATCHED.len()],
    pub(crate) level: f64,
}

/// Does the work of each seed, on all processors.
pub(crate) fn for_seeds<T: Send>(seeds: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let worker = || {
        let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|seed| *seed < seeds);
        seeds.map(&work).collect::<Vec<T>>()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The rows of each day, the days of the reference, and those of the year after it: none drifts.
pub(crate) fn year_of(
    flights: &Flights,
    plan: &Plan,
    split: Split,
    seed: u64,
) -> (Vec<Vec<usize>>, Vec<usize>, Vec<usize>) {
    let mut numbers = Numbers::new(1 + seed);
    let days = match split {
        Split::Days => flights.days.clone(),
        Split::Rows => shuffled(&flights.days, &mut numbers),
    };
    let before = drawn(days.len(), plan.reference_days, &mut numbers);
    let after = drawn(days.len(), DAYS_OF_A_YEAR, &mut numbers);
    (days, before, after)
}

pub(crate) fn year(flights: &Flights, plan: &Plan, split: Split, seed: u64) -> Year {
    let (days, before, after) = year_of(flights, plan, split, seed);
    let mut watching = Watching::begin(&flights.columns[..plan.columns], plan, &days, &before);
    after.iter().for_each(|day| watching.day(*day));
    let of_judge = |of: &dyn Fn(usize) -> f64| std::array::from_fn(of);
    Year {
        months: DAYS_OF_A_YEAR as f64 / DAYS_OF_A_MONTH,
        pages: of_judge(&|judge| watching.alerts[judge].iter().map(|alert| alert.begun as f64).sum()),
        firing: of_judge(&|judge| watching.firing_days[judge] as f64 / DAYS_OF_A_YEAR as f64),
        of_score: std::array::from_fn(|rule| watching.alerts[Judge::Budget as usize][rule].begun as f64),
        level: watching.level,
    }
}

/// Days by chance, with replacement.
pub(crate) fn drawn(of: usize, count: usize, numbers: &mut Numbers) -> Vec<usize> {
    (0..count).map(|_| numbers.below(of)).collect()
}

/// The rows of all days dealt out anew, to days of the same sizes.
pub(crate) fn shuffled(days: &[Vec<usize>], numbers: &mut Numbers) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = days.iter().flatten().copied().collect();
    for i in (1..rows.len()).rev() {
        rows.swap(i, numbers.below(i + 1));
    }
    let mut rows = rows.into_iter();
    days.iter().map(|day| rows.by_ref().take(day.len()).collect()).collect()
}

/// The days as they came: what is said, and of what.
pub(crate) fn in_order(flights: &Flights, plan: &Plan) {
    let before: Vec<usize> = (0..plan.reference_days).collect();
    let mut watching = Watching::begin(&flights.columns[..plan.columns], plan, &flights.days, &before);
    println!("  level: one window in {:.0} of each column", 1.0 / watching.level);
    for column in &watching.references {
        let null = column.nulls.get(&Detector::Psi);
        let limit = null.map_or(f64::NAN, |null| null.quantile(Detector::Psi, watching.level));
        println!("  {:<12} PSI limit {limit:.4}, blocks of {} days", column.column, null.map_or(0, |null| null.block));
    }
    let mut told = [false; WATCHED.len()];
    for day in plan.reference_days..flights.days.len() {
        watching.day(day);
        for (rule, told) in told.iter_mut().enumerate() {
            let alert = &watching.alerts[Judge::BudgetAndThreshold as usize][rule];
            if alert.firing != *told {
                *told = alert.firing;
                let over: Vec<&str> = alert.over().map(|index| flights.columns[index].name.as_str()).collect();
                let says = if *told { "page:" } else { "resolved" };
                println!("  {}: {} {says} {}", flights.dates[day], WATCHED[rule].name(), over.join(", "));
            }
        }
    }
}

fn quiet_alerts() -> Vec<Vec<Alert>> {
    Judge::ALL.map(|judge| WATCHED.map(|_| Alert::new(judge.persistence())).into()).into()
}

/// Windows of days one after the other, and what each judge makes of them.
pub(crate) struct Watching<'a> {
    columns: &'a [Column],
    plan: &'a Plan,
    pub(crate) references: Vec<Reference>,
    contexts: Vec<Context>,
    pub(crate) level: f64,
    /// Of each column, the profiles of each day that occurs, with and without a drift.
    profiles: Vec<BTreeMap<(usize, bool), Profile>>,
    drift: Option<Drift>,
    days: &'a [Vec<usize>],
    window: VecDeque<(usize, bool)>,
    /// For each judge: ours have one for each rule, all have as many.
    pub(crate) alerts: Vec<Vec<Alert>>,
    /// For each judge, the days on which an alert fired.
    firing_days: [u64; JUDGES],
}

impl<'a> Watching<'a> {
    pub(crate) fn begin(columns: &'a [Column], plan: &'a Plan, days: &'a [Vec<usize>], before: &[usize]) -> Self {
        let shape =
            WindowShape { panes: plan.window_days, min_filled: plan.window_days.div_ceil(2), every: 1, season: 1 };
        let panes = || before.iter().enumerate().map(|(pane, day)| (pane as i64, days[*day].as_slice()));
        let mut references: Vec<Reference> =
            columns.iter().map(|column| column.builder(panes()).build(Some(shape)).unwrap()).collect();
        let watches = WATCHED.map(|detector| Watch { detector, persistence: Persistence { k: 2, m: 3 } });
        let level = level(&references, &watches, &[], plan.per_month / DAYS_OF_A_MONTH).unwrap();
        references.iter_mut().for_each(|reference| reference.allow(Some(level)));
        let context = |(column, reference): (&Column, &Reference)| {
            let chunk = |days_of_chunk: &[usize]| {
                let rows: Vec<usize> = days_of_chunk.iter().flat_map(|day| days[*day].iter().copied()).collect();
                jensen_shannon(&reference.scores(&column.profile(reference, &rows), &Thresholds::default(), true))
            };
            let chunks: Vec<f64> = before.chunks(before.len().div_ceil(CHUNKS)).map(chunk).collect();
            Context::of(reference, columns.len(), &chunks)
        };
        let contexts = columns.iter().zip(&references).map(context).collect();
        let alerts = quiet_alerts();
        let profiles = columns.iter().map(|_| BTreeMap::new()).collect();
        let firing_days = [0; JUDGES];
        Self {
            columns,
            plan,
            references,
            contexts,
            level,
            profiles,
            drift: None,
            days,
            window: VecDeque::new(),
            alerts,
            firing_days,
        }
    }

    /// Another day, and the window that ends with it.
    pub(crate) fn day(&mut self, day: usize) {
        self.window.push_back((day, self.drift.is_some()));
        if self.window.len() > self.plan.window_days as usize {
            self.window.pop_front();
        }
        if self.window.len() < self.plan.window_days as usize {
            return;
        }
        for (index, reference) in self.references.iter().enumerate() {
            let mut window = reference.empty_profile();
            for (day, has_drifted) in &self.window {
                let drift = self.drift.filter(|_| *has_drifted);
                let of_day = || self.columns[index].drifted_profile(reference, &self.days[*day], drift);
                window.merge(self.profiles[index].entry((*day, *has_drifted)).or_insert_with(of_day));
            }
            for score in reference.scores(&window, &Thresholds::default(), true) {
                // What no rule of ours watches is the others', who have one alert for all.
                let rule = WATCHED.iter().position(|watched| *watched == score.detector).unwrap_or(0);
                for (judge, alerts) in Judge::ALL.into_iter().zip(&mut self.alerts) {
                    if let Some(verdict) = judge.verdict(&score, &self.contexts[index]) {
                        alerts[rule].take(index, score.detector, verdict);
                    }
                }
            }
        }
        for (alerts, days) in self.alerts.iter_mut().zip(&mut self.firing_days) {
            alerts.iter_mut().for_each(Alert::step);
            *days += u64::from(alerts.iter().any(|alert| alert.firing));
        }
    }

    /// The same, with no other column looked at, and nothing seen yet.
    pub(crate) fn only(&self, column: usize) -> Self {
        Self {
            columns: &self.columns[column..=column],
            plan: self.plan,
            references: vec![self.references[column].clone()],
            contexts: vec![self.contexts[column]],
            level: self.level,
            profiles: vec![BTreeMap::new()],
            drift: None,
            days: self.days,
            window: VecDeque::new(),
            alerts: quiet_alerts(),
            firing_days: [0; JUDGES],
        }
    }

    /// From now on, days are drifted.
    pub(crate) fn plant(&mut self, drift: Drift) {
        self.drift = Some(drift);
    }

    /// Whether this judge has an alert on.
    pub(crate) fn fires(&self, judge: Judge) -> bool {
        self.alerts[judge as usize].iter().any(|alert| alert.firing)
    }
}
