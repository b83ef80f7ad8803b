//! Contributions add up to their scores, whatever the data; and causes take any.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::causes::{Cause, CauseKind, FillValue, TAKEN_APART};
use driftline_detectors::{ColumnKind, Profile, Reference, ReferenceBuilder, Score, Thresholds};
use proptest::prelude::*;

fn numeric(values: &[f64]) -> Option<Reference> {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Numeric);
    values.iter().for_each(|value| builder.number(None, *value));
    builder.build(None).ok()
}

fn counted(reference: &Reference, values: &[f64]) -> Profile {
    let mut window = reference.empty_profile();
    reference.count_numbers(&mut window, values);
    window
}

fn categorical(names: &[String]) -> Reference {
    let mut builder = ReferenceBuilder::new("x", ColumnKind::Categorical);
    names.iter().for_each(|name| builder.category(None, name));
    builder.build(None).unwrap()
}

/// Holds every score that is a sum to its parts; others have none.
fn adds_up(reference: &Reference, window: &Profile) -> Result<(), TestCaseError> {
    let scores = reference.scores(window, &Thresholds::default(), true);
    for Score { detector, value, .. } in &scores {
        let parts = reference.contributions(window, *detector);
        let sum: f64 = parts.iter().map(|part| part.amount).sum();
        if !TAKEN_APART.contains(detector) {
            prop_assert!(parts.is_empty(), "{:?}", detector);
            continue;
        }
        prop_assert!((sum - value).abs() <= 1e-9 * value.abs().max(1.0), "{:?}: {} is not {}", detector, sum, value);
        prop_assert!(parts.is_sorted_by(|a, b| a.amount >= b.amount));
    }
    let causes = reference.causes(window, &scores);
    prop_assert!(causes.iter().all(|cause| (0.0..=1.0).contains(&cause.share)), "{:?}", causes);
    prop_assert_eq!(&causes, &reference.causes(window, &scores));
    serde_json::to_string(&causes).unwrap();
    Ok(())
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-40..40i32).prop_map(|value| f64::from(value) / 4.0),
        2 => -10.0..10.0f64,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(1e100), Just(-1e99), Just(-999.0)],
    ]
}

fn any_name() -> impl Strategy<Value = String> {
    (0..30u32).prop_map(|name| format!("name {name}"))
}

proptest! {
    #[test]
    fn of_numbers(
        reference in proptest::collection::vec(any_value(), 1..200),
        window in proptest::collection::vec(any_value(), 0..200),
        stretch in prop_oneof![Just(1.0), Just(100.0), Just(-1.0), Just(0.0)],
    ) {
        if let Some(reference) = numeric(&reference) {
            let window: Vec<f64> = window.into_iter().map(|value| value * stretch).collect();
            adds_up(&reference, &counted(&reference, &window))?;
        }
    }

    #[test]
    fn of_categories(
        reference in proptest::collection::vec(any_name(), 1..200),
        window in proptest::collection::vec(any_name(), 0..200),
        strange in 0..200usize,
    ) {
        let reference = categorical(&reference);
        let mut profile = reference.empty_profile();
        window.iter().for_each(|name| reference.count_category(&mut profile, name));
        // More new names than are kept.
        (0..strange).for_each(|name| reference.count_category(&mut profile, &format!("strange {name}")));
        adds_up(&reference, &profile)?;
    }
}

/// A grid of quantiles only: values inside its cells are not known one by one.
#[test]
fn of_numbers_of_which_only_cells_are_known() {
    let curve = |i: u32, scale: f64| (f64::from(i) * 0.754_877_666).fract().powi(2) * scale;
    let reference = numeric(&(0..20_000).map(|i| curve(i, 100.0)).collect::<Vec<_>>()).unwrap();
    let window = counted(&reference, &(0..9000).map(|i| curve(i, 130.0) - 3.0).collect::<Vec<_>>());
    adds_up(&reference, &window).unwrap();
}

#[test]
fn of_a_dictionary_with_a_tail() {
    let customer = |i: u32| format!("customer {}", if i.is_multiple_of(3) { i % 7 } else { i % 2999 });
    let names: Vec<String> = (0..6000).map(customer).collect();
    let reference = categorical(&names);
    let mut window = reference.empty_profile();
    (0..900).for_each(|i| reference.count_category(&mut window, &customer(i + 2700)));
    (0..90).for_each(|i| reference.count_category(&mut window, &format!("stranger {i}")));
    adds_up(&reference, &window).unwrap();
}

/// The values of a bell and of a skewed column, all different: more than a grid keeps one by one.
const CURVES: [(&str, Curve); 2] =
    [("bell", |i| 60.0 + 6.0 * (uniform(i) / (1.0 - uniform(i))).ln()), ("skewed", |i| 20.0 / (1.05 - uniform(i)))];

type Curve = fn(u32) -> f64;

/// Evenly spread between 0 and 1, whichever stretch of them is taken.
fn uniform(i: u32) -> f64 {
    (f64::from(i) + 0.5) * 0.618_033_988_749_894_9 % 1.0
}

fn kinds(reference: &Reference, window: &Profile) -> Vec<Cause> {
    reference.causes(window, &reference.scores(window, &Thresholds::default(), true))
}

#[test]
fn where_only_cells_are_known_changes_of_unit_and_fills_are_named_too() {
    for (shape, curve) in CURVES {
        let reference = numeric(&(0..20_000).map(curve).collect::<Vec<_>>()).unwrap();
        for (name, factor, offset) in [
            ("Fahrenheit to Celsius", 1.0 / 1.8, -32.0 / 1.8),
            ("minutes to seconds", 60.0, 0.0),
            ("per cent to shares", 0.01, 0.0),
            ("seconds to milliseconds", 1000.0, 0.0),
            ("miles to kilometres", 1.609_344, 0.0),
            ("sign flipped", -1.0, 0.0),
        ] {
            let window: Vec<f64> = (30_000..38_000).map(|i| factor * curve(i) + offset).collect();
            let found = kinds(&reference, &counted(&reference, &window));
            let is_named = matches!(&found[0].kind, CauseKind::UnitChange { known_as, .. } if known_as.iter().any(|known| known == name));
            assert!(is_named, "{shape}, {name}: {found:?}");
        }
        for fill in [-999.0, 0.0, curve(7)] {
            let window: Vec<f64> = (30_000..38_000).map(|i| if i % 10 < 3 { fill } else { curve(i) }).collect();
            let found = kinds(&reference, &counted(&reference, &window));
            let CauseKind::DefaultFill { value: FillValue::Number(value), .. } = found[0].kind else {
                panic!("{shape}, {fill}: {found:?}")
            };
            assert!((value - fill).abs() < 0.05 && found[0].share > 0.8, "{shape}, {fill}: {found:?}");
        }
    }
}
