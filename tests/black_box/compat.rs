//! What Evidently and NannyML say of real flights, and what `compat` says in their place: to 1e-9.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::collections::BTreeMap;

use driftline_detectors::compat::nannyml::{Categories, CategoryMethod, NumberMethod, Numbers};
use driftline_detectors::compat::{Compat, CompatError, evidently};
use driftline_detectors::{ColumnKind, Detector, Profile, Reference, ReferenceBuilder, Score, Thresholds, Verdict};
use driftline_tests::{MonthOfFlights, month};
use serde_json::Value;

/// Their own numbers; `tests/golden/compat.py` makes them.
const GOLDEN: &str = include_str!("../golden/compat.json");

const CATEGORICAL: [&str; 3] = ["carrier", "origin", "dest"];

/// A column that the script makes of another: its name, the other's, and how.
type Made = (&'static str, &'static str, fn(f64) -> f64);

const DERIVED: [Made; 4] = [
    ("third_of_the_day", "hour", |hour| (hour / 8.0).floor()),
    ("afternoon", "hour", |hour| (hour / 12.0).floor()),
    ("zero", "hour", |hour| hour * 0.0),
    // Not below 120: a delay that is missing isn't, either.
    ("delay_without_bound", "dep_delay", |delay| if delay < 120.0 { delay } else { f64::INFINITY }),
];

/// Their way of saying that a number is missing.
fn with_nan(flights: &MonthOfFlights, column: &str) -> impl Iterator<Item = f64> {
    flights.numbers(column).into_iter().map(|value| value.unwrap_or(f64::NAN))
}

fn numbers(flights: &MonthOfFlights, column: &str) -> Vec<f64> {
    match DERIVED.iter().find(|(name, ..)| *name == column) {
        Some((_, of, make)) => with_nan(flights, of).map(make).collect(),
        None => with_nan(flights, column).collect(),
    }
}

fn of_numbers(method: &str, reference: &[f64], window: &[f64]) -> Result<Compat, CompatError> {
    let fitted = |method| Numbers::fit(method, reference)?.score(window);
    match method {
        "evidently" => evidently::numbers(reference, window),
        "evidently_psi" => evidently::psi_of_numbers(reference, window),
        "nannyml_jensen_shannon" => fitted(NumberMethod::JensenShannon),
        "nannyml_kolmogorov_smirnov" => fitted(NumberMethod::KolmogorovSmirnov),
        "nannyml_wasserstein" => fitted(NumberMethod::Wasserstein),
        "nannyml_hellinger" => fitted(NumberMethod::Hellinger),
        _ => panic!("no method {method}"),
    }
}

fn of_names(method: &str, reference: &[Option<&str>], window: &[Option<&str>]) -> Result<Compat, CompatError> {
    let fitted = |method| Categories::fit(method, reference)?.score(window);
    match method {
        "evidently" => evidently::categories(reference, window),
        "evidently_psi" => evidently::psi_of_categories(reference, window),
        "nannyml_jensen_shannon" => fitted(CategoryMethod::JensenShannon),
        "nannyml_hellinger" => fitted(CategoryMethod::Hellinger),
        "nannyml_l_infinity" => fitted(CategoryMethod::LInfinity),
        "nannyml_chi2" => fitted(CategoryMethod::Chi2),
        _ => panic!("no method {method}"),
    }
}

fn first<'a, T>(values: &'a [T], rows: &Value) -> &'a [T] {
    &values[..rows.as_u64().map_or(values.len(), |rows| rows as usize)]
}

fn is_close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0)
}

#[test]
fn numbers_thresholds_and_conclusions_are_theirs() {
    let months: BTreeMap<u64, MonthOfFlights> =
        [1, 2, 7].into_iter().map(|number| (number.into(), month(number))).collect();
    let cases: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
    assert!(cases.len() > 800, "the golden numbers are there");
    let mut wrong = Vec::new();
    for case in &cases {
        let (column, method) = (case["column"].as_str().unwrap(), case["method"].as_str().unwrap());
        let (january, other) = (&months[&1], &months[&case["month"].as_u64().unwrap()]);
        let ours = if CATEGORICAL.contains(&column) {
            let (reference, window) = (january.names(column), other.names(column));
            of_names(method, first(&reference, &case["reference_rows"]), first(&window, &case["window_rows"]))
        } else {
            let (reference, window) = (numbers(january, column), numbers(other, column));
            of_numbers(method, first(&reference, &case["reference_rows"]), first(&window, &case["window_rows"]))
        }
        .unwrap();
        let is_theirs = is_close(ours.value, case["value"].as_f64().unwrap())
            && match (ours.threshold, case["threshold"].as_f64()) {
                (Some(ours), Some(theirs)) => is_close(ours, theirs),
                (ours, theirs) => ours.is_none() && theirs.is_none(),
            }
            && ours.drifted == case["drifted"].as_bool().unwrap();
        if !is_theirs {
            wrong.push(format!("{case}: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Numbers by chance (xorshift64*), the same on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn rows(&mut self, values: &[f64], rows: usize) -> Vec<f64> {
        (0..rows).map(|_| values[self.below(values.len())]).collect()
    }
}

/// January's temperatures, and July's.
fn temperatures() -> (Vec<f64>, Vec<f64>) {
    let of_month = |number| month(number).numbers("temp").into_iter().flatten().collect();
    (of_month(1), of_month(7))
}

fn ours(reference: &[f64], window: &[f64]) -> Vec<Score> {
    let mut builder = ReferenceBuilder::new("column", ColumnKind::Numeric);
    reference.iter().for_each(|value| builder.number(None, *value));
    let reference = builder.build(None).unwrap();
    let mut profile = reference.empty_profile();
    reference.count_numbers(&mut profile, window);
    reference.scores(&profile, &Thresholds::default(), true)
}

fn by(detector: Detector, scores: Vec<Score>) -> Score {
    scores.into_iter().find(|score| score.detector == detector).unwrap()
}

fn is_drift(score: &Score) -> bool {
    score.verdict == Verdict::Drift
}

// What docs/moving-over.md says of each, with its figures.

#[test]
fn two_samples_of_one_month_are_drift_by_a_fixed_limit_and_not_by_ours() {
    let ((january, _), mut chance) = (temperatures(), Chance(1));
    let pairs: Vec<_> = (0..400).map(|_| (chance.rows(&january, 200), chance.rows(&january, 200))).collect();
    let theirs = pairs.iter().filter(|(a, b)| evidently::psi_of_numbers(a, b).unwrap().drifted).count();
    let ours = pairs.iter().filter(|(a, b)| is_drift(&by(Detector::Psi, ours(a, b)))).count();
    println!("PSI of 200 rows against 200: theirs {theirs} of 400, ours {ours}");
    assert!(theirs > 40 && ours <= 2);
}

#[test]
fn a_smaller_window_of_one_month_is_drift_by_stretches_of_another_size_and_not_by_ours() {
    let ((january, _), mut chance) = (temperatures(), Chance(2));
    let reference = chance.rows(&january, 20_000);
    let fitted = Numbers::fit(NumberMethod::JensenShannon, &reference).unwrap();
    let windows: Vec<_> = (0..200).map(|_| chance.rows(&january, 200)).collect();
    let theirs = windows.iter().filter(|window| fitted.score(window).unwrap().drifted).count();
    let ours = windows.iter().filter(|window| is_drift(&by(Detector::JensenShannon, ours(&reference, window)))).count();
    println!("windows of 200 rows, stretches of 2,000: theirs {theirs} of 200, ours {ours}");
    assert!(theirs > 150 && ours <= 2);
}

#[test]
fn an_outlier_hides_july_from_bins_that_it_stretches_and_not_from_ours() {
    let (january, mut july) = temperatures();
    let before = evidently::psi_of_numbers(&january, &july).unwrap();
    july[0] = 1e12;
    let after = evidently::psi_of_numbers(&january, &july).unwrap();
    let ours = by(Detector::Psi, ours(&january, &july)).value;
    println!(
        "PSI of July's temperatures: theirs {:.2}, with an outlier {:.5}, ours {ours:.2}",
        before.value, after.value
    );
    assert!(before.drifted && !after.drifted && ours > 1.0);
}

#[test]
fn one_unseen_category_is_drift_for_a_test_and_a_share_for_ours() {
    let january = month(1);
    let mut names = january.names("origin");
    names.truncate(1300);
    let (reference, window) = names.split_at_mut(1000);
    window[0] = Some("HPN");
    let theirs = evidently::categories(reference, window).unwrap();
    let mut builder = ReferenceBuilder::new("origin", ColumnKind::Categorical);
    reference.iter().flatten().for_each(|name| builder.category(None, name));
    let built: Reference = builder.build(None).unwrap();
    let mut profile: Profile = built.empty_profile();
    window.iter().flatten().for_each(|name| built.count_category(&mut profile, name));
    let scores = built.scores(&profile, &Thresholds::default(), true);
    let ours = by(Detector::NewCategoryShare, scores.clone()).value;
    println!("one new origin in 300 rows: theirs p = {}, ours a share of {ours:.4}", theirs.value);
    assert!(theirs.value == 0.0 && theirs.drifted && !scores.iter().any(is_drift));
}

#[test]
fn heavy_tails_take_the_statistic_from_bins_of_one_width_and_not_from_ours() {
    // Quantiles of a Pareto distribution without a mean, and the same twice as large.
    let reference: Vec<f64> = (0..20_000).map(|i| ((f64::from(i) + 0.5) / 20_000.0).powi(-2)).collect();
    let window: Vec<f64> = reference.iter().map(|value| value * 2.0).collect();
    let fitted = Numbers::fit(NumberMethod::KolmogorovSmirnov, &reference).unwrap();
    let (theirs, ours) = (fitted.score(&window).unwrap().value, by(Detector::Ks, ours(&reference, &window)).value);
    println!("Kolmogorov-Smirnov's statistic of a doubled heavy tail: theirs {theirs:.4}, ours {ours:.4}");
    assert!(theirs < 0.01 && (ours - (1.0 - 0.5f64.sqrt())).abs() < 0.001);
}
