//! Planted drifts: whether they are found, and after how many days.

use crate::flights::{Drift, Flights, Kind};
use crate::judges::Judge;
use crate::years::numbers::Numbers;
use crate::years::{Plan, Watching, drawn};

/// Days before the drift, in which windows fill.
pub(crate) const QUIET_DAYS: usize = 14;
/// What is not found by then is not found.
pub(crate) const DAYS: usize = 30;
pub(crate) const SIZES: usize = 3;

/// A kind of drift, the column that it is planted in, and its sizes.
pub(crate) const KINDS: [(Kind, &str, &str, [f64; SIZES]); 5] = [
    (Kind::Shift, "dep_delay", "mean moved, in standard deviations", [0.1, 0.3, 1.0]),
    (Kind::Spread, "distance", "spread, times as wide", [1.1, 1.3, 2.0]),
    (Kind::DefaultFill, "air_time", "share of rows that are zero", [0.02, 0.1, 0.4]),
    (Kind::Missing, "hour", "share of rows that are missing", [0.02, 0.1, 0.4]),
    (Kind::Mix, "carrier", "share of rows that became one carrier", [0.05, 0.15, 0.4]),
];

/// For each kind, size and judge, the days until it was found; none when it was not.
pub(crate) type Found = [[[Option<usize>; Judge::ALL.len()]; SIZES]; KINDS.len()];

/// One draw of days, with each drift in turn. Only its column is watched: what is found is the drift, or was there before.
pub(crate) fn find(flights: &Flights, plan: &Plan, seed: u64) -> Found {
    let mut numbers = Numbers::new(1 + seed);
    let before = drawn(flights.days.len(), plan.reference_days, &mut numbers);
    let after = drawn(flights.days.len(), QUIET_DAYS + DAYS, &mut numbers);
    let watching = Watching::begin(&flights.columns, plan, &flights.days, &before);
    KINDS.map(|(kind, name, _, sizes)| {
        let column = flights.columns.iter().position(|column| column.name == name).unwrap();
        sizes.map(|size| days_until_found(watching.only(column), &after, Drift { kind, size }))
    })
}

fn days_until_found(mut watching: Watching<'_>, after: &[usize], drift: Drift) -> [Option<usize>; Judge::ALL.len()] {
    let mut found = [None; Judge::ALL.len()];
    for (day, drawn) in after.iter().enumerate() {
        if day == QUIET_DAYS {
            watching.plant(drift);
        }
        watching.day(*drawn);
        let since = (day + 1).saturating_sub(QUIET_DAYS);
        for judge in Judge::ALL.into_iter().filter(|judge| since > 0 && watching.fires(*judge)) {
            found[judge as usize].get_or_insert(since);
        }
    }
    found
}
