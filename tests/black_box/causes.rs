//! What is done to real flights is named rightly, and nothing is named where nothing was done.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::causes::{Cause, CauseKind, FillValue, SegmentPair, Unusable, mix};
use driftline_detectors::{ColumnKind, Profile, Reference, ReferenceBuilder, Thresholds};
use driftline_tests::{MonthOfFlights, month};

/// Columns of numbers, of all kinds: whole and not, skewed, heavy-tailed, with most of their mass at one value.
const NUMERIC: [&str; 9] =
    ["distance", "temp", "humid", "wind_speed", "visib", "air_time", "dep_delay", "arr_delay", "hour"];
const CATEGORICAL: [&str; 3] = ["carrier", "origin", "dest"];

/// A column of January: every other row is the reference, the others are what is changed.
struct Column {
    reference: Reference,
    others: Vec<Option<f64>>,
}

fn halves<T: Clone>(values: &[T]) -> (Vec<T>, Vec<T>) {
    (values.iter().step_by(2).cloned().collect(), values.iter().skip(1).step_by(2).cloned().collect())
}

fn numeric(flights: &MonthOfFlights, name: &str) -> Column {
    let (first, others) = halves(&flights.numbers(name));
    let mut builder = ReferenceBuilder::new(name, ColumnKind::Numeric);
    for value in first {
        match value {
            Some(value) => builder.number(None, value),
            None => builder.missing(None),
        }
    }
    Column { reference: builder.build(None).unwrap(), others }
}

fn counted(reference: &Reference, values: impl IntoIterator<Item = Option<f64>>) -> Profile {
    let mut window = reference.empty_profile();
    for value in values {
        match value {
            Some(value) => reference.count_numbers(&mut window, &[value]),
            None => reference.count_missing(&mut window, 1),
        }
    }
    window
}

fn causes_of(reference: &Reference, window: &Profile) -> Vec<Cause> {
    reference.causes(window, &reference.scores(window, &Thresholds::default(), true))
}

fn causes(column: &Column, change: impl FnMut(Option<f64>) -> Option<f64>) -> Vec<Cause> {
    causes_of(&column.reference, &counted(&column.reference, column.others.iter().copied().map(change)))
}

#[test]
fn changes_of_unit_are_named() {
    let flights = month(1);
    let conversions: [(&str, &[&str], f64, f64); 11] = [
        ("Fahrenheit to Celsius", &["temp"], 1.0 / 1.8, -32.0 / 1.8),
        ("Fahrenheit to kelvin", &["temp"], 1.0 / 1.8, 273.15 - 32.0 / 1.8),
        ("miles to kilometres", &["distance", "visib"], 1.609_344, 0.0),
        ("miles an hour to metres a second", &["wind_speed"], 0.447_04, 0.0),
        ("miles an hour to kilometres an hour", &["wind_speed"], 1.609_344, 0.0),
        ("minutes to seconds", &["air_time", "dep_delay", "arr_delay"], 60.0, 0.0),
        ("minutes to hours", &["air_time", "dep_delay", "arr_delay"], 1.0 / 60.0, 0.0),
        ("per cent to shares", &["humid"], 0.01, 0.0),
        ("euros to cents", &NUMERIC, 100.0, 0.0),
        ("metres to kilometres", &NUMERIC, 1e-3, 0.0),
        ("sign flipped", &NUMERIC, -1.0, 0.0),
    ];
    for (name, columns, factor, offset) in conversions {
        for column in columns {
            for decimals in [None, Some(1000.0)] {
                let round = |value: f64| decimals.map_or(value, |scale: f64| (value * scale).round() / scale);
                let found = causes(&numeric(&flights, column), |value| Some(round(value? * factor + offset)));
                let CauseKind::UnitChange { factor: by, offset: plus, known_as, .. } = &found[0].kind else {
                    panic!("{column}, {name}, {decimals:?}: {found:?}")
                };
                assert!(known_as.iter().any(|known| known == name), "{column}, {name}, {decimals:?}: {found:?}");
                assert!((by - factor).abs() < 1e-12 && (plus - offset).abs() < 1e-9 && found[0].share > 0.9);
            }
        }
    }
}

#[test]
fn a_season_is_no_change_of_unit() {
    let january = month(1);
    for other in [2, 7] {
        let flights = month(other);
        for name in NUMERIC {
            let Column { reference, .. } = numeric(&january, name);
            let found = causes_of(&reference, &counted(&reference, flights.numbers(name)));
            let is_claimed =
                |cause: &Cause| matches!(cause.kind, CauseKind::UnitChange { .. } | CauseKind::StuckValue { .. });
            assert!(!found.iter().any(is_claimed), "{name} in month {other}: {found:?}");
            if (name, other) == ("temp", 7) {
                assert!(
                    matches!(found[0].kind, CauseKind::Shift { by, .. } if (30.0..60.0).contains(&by)),
                    "{found:?}"
                );
            }
        }
    }
}

#[test]
fn where_nothing_was_done_nothing_is_named() {
    let flights = month(1);
    for name in NUMERIC {
        let found = causes(&numeric(&flights, name), |value| value);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    for name in CATEGORICAL {
        let (reference, others) = categorical(&flights, name);
        let found = causes_of(&reference, &counted_names(&reference, others));
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

/// True for three rows in ten.
fn three_in_ten() -> impl FnMut() -> bool {
    let mut row = 0;
    move || {
        row += 7;
        row % 10 < 3
    }
}

#[test]
fn fills_stuck_values_and_missing_rows_are_named() {
    let flights = month(1);
    for name in NUMERIC {
        let column = numeric(&flights, name);
        for fill in [-999.0, 0.0, 12_345.0] {
            let mut is_filled = three_in_ten();
            let found = causes(&column, |value| if is_filled() { Some(fill) } else { value });
            let CauseKind::DefaultFill { value: FillValue::Number(value), now, .. } = found[0].kind else {
                panic!("{name}, {fill}: {found:?}")
            };
            assert!(value == fill && (0.29..0.36).contains(&now) && found[0].share > 0.8, "{name}, {fill}: {found:?}");
        }
        let stuck = column.others.iter().flatten().next().copied();
        let found = causes(&column, |_| stuck);
        let CauseKind::StuckValue { value: FillValue::Number(value), now, .. } = found[0].kind else {
            panic!("{name}: {found:?}")
        };
        assert_eq!((Some(value), now, found.len()), (stuck, 1.0, 1), "{name}");

        for (nothing, expected) in [(None, Unusable::Absent), (Some(f64::NAN), Unusable::Nan)] {
            let mut is_missing = three_in_ten();
            let found = causes(&column, |value| if is_missing() { nothing } else { value });
            let CauseKind::Missing { what, now, .. } = found[0].kind else { panic!("{name}: {found:?}") };
            assert!(what == expected && now > 0.29 && found[0].share > 0.95, "{name}: {found:?}");
        }
    }
}

#[test]
fn shifts_and_spreads_are_named_with_their_size() {
    let flights = month(1);
    for name in ["temp", "humid", "wind_speed", "air_time", "hour"] {
        let column = numeric(&flights, name);
        let known: Vec<f64> = column.others.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let variance = known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / known.len() as f64;
        for deviations in [0.8, -1.5] {
            let found = causes(&column, |value| Some(value? + deviations * variance.sqrt()));
            let CauseKind::Shift { deviations: Some(shift), .. } = found[0].kind else { panic!("{name}: {found:?}") };
            assert!((shift - deviations).abs() < 0.15, "{name}, {deviations}: {found:?}");
        }
        let found = causes(&column, |value| Some(mean + 2.2 * (value? - mean)));
        let CauseKind::Spread { factor } = found[0].kind else { panic!("{name}: {found:?}") };
        assert!((factor / 2.2 - 1.0).abs() < 0.1 && found[0].share > 0.8, "{name}: {found:?}");
    }
}

fn categorical(flights: &MonthOfFlights, name: &str) -> (Reference, Vec<String>) {
    let (first, others) = halves(&flights.texts(name));
    let mut builder = ReferenceBuilder::new(name, ColumnKind::Categorical);
    first.iter().for_each(|category| builder.category(None, category));
    (builder.build(None).unwrap(), others)
}

fn counted_names(reference: &Reference, names: impl IntoIterator<Item = String>) -> Profile {
    let mut window = reference.empty_profile();
    names.into_iter().for_each(|name| reference.count_category(&mut window, &name));
    window
}

#[test]
fn what_is_done_to_categories_is_named() {
    let flights = month(1);
    for name in CATEGORICAL {
        let (reference, others) = categorical(&flights, name);
        let causes = |change: &mut dyn FnMut(String) -> Option<String>| {
            causes_of(&reference, &counted_names(&reference, others.iter().cloned().filter_map(change)))
        };

        let mut is_new = three_in_ten();
        let found = causes(&mut |category| Some(if is_new() { "unknown".to_owned() } else { category }));
        let CauseKind::NewCategories { names, now, .. } = &found[0].kind else { panic!("{name}: {found:?}") };
        assert_eq!(names[0].0, "unknown", "{name}");
        assert!((0.29..0.31).contains(now) && found[0].share > 0.8, "{name}: {found:?}");

        let found = causes(&mut |category| Some(category.to_lowercase()));
        let CauseKind::RenamedCategories { names, .. } = &found[0].kind else { panic!("{name}: {found:?}") };
        assert!(names[0].0.to_lowercase() == names[0].1 && found[0].share > 0.9, "{name}: {found:?}");

        let mut is_filled = three_in_ten();
        let default = others[0].clone();
        let found = causes(&mut |category| Some(if is_filled() { default.clone() } else { category }));
        let CauseKind::DefaultFill { value, .. } = &found[0].kind else { panic!("{name}: {found:?}") };
        assert!(*value == FillValue::Category(default.clone()) && found[0].share > 0.7, "{name}: {found:?}");

        let found = causes(&mut |_| Some(default.clone()));
        assert!(matches!(&found[0].kind, CauseKind::StuckValue { now: 1.0, .. }), "{name}: {found:?}");
    }
    let (reference, others) = categorical(&flights, "origin");
    let without = counted_names(&reference, others.into_iter().filter(|origin| origin != "EWR"));
    let found = causes_of(&reference, &without);
    let CauseKind::GoneCategories { names, count: 1, .. } = &found[0].kind else { panic!("{found:?}") };
    assert_eq!(names[0].0, "EWR");
}

/// Distances by the airport of departure: the long flights leave from JFK.
#[test]
fn a_mix_of_segments_is_told_from_a_change_within_them() {
    let flights = month(1);
    let Column { reference, .. } = numeric(&flights, "distance");
    let rows: Vec<(f64, String)> =
        flights.numbers("distance").into_iter().flatten().zip(flights.texts("origin")).collect();
    let share_of_mix = |keep: &dyn Fn(usize, &str) -> bool, change: &dyn Fn(f64) -> f64| {
        let profiles = ["EWR", "JFK", "LGA"].map(|origin| {
            let of =
                |odd: usize| rows.iter().enumerate().filter(move |(row, (_, from))| row % 2 == odd && from == origin);
            let before = of(0).map(|(_, (distance, _))| Some(*distance));
            let now = of(1).filter(|(row, _)| keep(*row, origin)).map(|(_, (distance, _))| Some(change(*distance)));
            (origin, counted(&reference, before), counted(&reference, now))
        });
        let pairs = profiles.each_ref().map(|(name, reference, window)| SegmentPair { name, reference, window });
        mix(&reference, &pairs).unwrap()
    };
    let fewer = share_of_mix(&|row, origin| origin != "JFK" || row % 7 == 0, &|distance| distance);
    assert!(fewer.share > 0.8 && fewer.mix > 0.05 && fewer.segments[0].name == "JFK", "{fewer:?}");
    let longer = share_of_mix(&|_, _| true, &|distance| distance * 1.3);
    assert!(longer.share < 0.1 && longer.within > 0.1, "{longer:?}");
}
