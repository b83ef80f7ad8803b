//! What NannyML, scikit-learn, SciPy and pandas say of several columns of real flights together, and what references say of them.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::{
    ColumnKind, Derivation, Derived, Detector, Joint, Names, Normal, Profile, Reference, ReferenceBuilder, RowValue,
    Rows, Score, SourceValue, Thresholds,
};
use driftline_tests::{MonthOfFlights, month};
use serde_json::{Value, json};

/// Their own numbers; `tests/golden/multivariate.py` makes them.
const GOLDEN: &str = include_str!("../golden/multivariate.json");

fn golden() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn assert_close(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1e-3), "{what}: {ours} is not {theirs}");
}

/// A month's flights in some columns, row by row.
struct Columns {
    names: Vec<String>,
    rows: Vec<Vec<f64>>,
}

impl Columns {
    fn of(flights: &MonthOfFlights, names: &[String]) -> Self {
        let columns: Vec<Vec<Option<f64>>> = names.iter().map(|name| flights.numbers(name)).collect();
        let row = |row: usize| columns.iter().map(|column| column[row].unwrap_or(f64::NAN)).collect();
        Self { names: names.to_vec(), rows: (0..columns[0].len()).map(row).collect() }
    }

    fn joint(&self) -> Joint {
        let rows = |take: &mut dyn FnMut(&[f64])| {
            self.rows.iter().for_each(|row| take(row));
            Ok(())
        };
        Joint::of_rows(self.names.clone(), &rows).unwrap()
    }
}

impl Rows for Columns {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        self.rows.iter().for_each(|row| take(None, RowValue::Row(row)));
        Ok(())
    }

    fn columns(&self) -> Vec<String> {
        self.names.clone()
    }
}

#[test]
fn reconstruction_errors_are_nannymls() {
    let golden = golden();
    let names = texts(&golden["columns"]);
    let derivation = Derivation::Joint { joint: Columns::of(&month(1), &names).joint() };
    for (number, theirs) in golden["months"].as_object().unwrap() {
        let columns = Columns::of(&month(number.parse().unwrap()), &names);
        let error = |row: &Vec<f64>| match derivation.derive(SourceValue::Row(row), None)[0] {
            Derived::Number(error) => error,
            other => panic!("{other:?}"),
        };
        let errors: Vec<f64> = columns.rows.iter().map(error).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert_close(number, mean, theirs["nannyml_reconstruction_error"].as_f64().unwrap(), 1e-9);
        assert_close(number, mean, theirs["pca_error_mean"].as_f64().unwrap(), 1e-9);
        for (ours, theirs) in errors.iter().zip(numbers(&theirs["pca_error_first"])) {
            assert_close(number, *ours, theirs, 1e-9);
        }
    }
}

#[test]
fn correlations_are_those_of_pandas() {
    let golden = golden();
    let names = texts(&golden["columns"]);
    let january = Columns::of(&month(1), &names);
    let reference = Reference::of_rows("joint.associations", ColumnKind::Associations, &january, None).unwrap();
    for (number, theirs) in golden["months"].as_object().unwrap() {
        let mut window = reference.empty_profile();
        let columns = Columns::of(&month(number.parse().unwrap()), &names);
        columns.rows.iter().for_each(|row| reference.count_row(&mut window, row));
        let Profile::Associations(sums) = window else { panic!() };
        let pairs = (0..names.len()).flat_map(|i| (i + 1..names.len()).map(move |j| (i, j)));
        for ((sums, theirs), (i, j)) in sums.pairs.iter().zip(numbers(&theirs["correlations"])).zip(pairs) {
            let [n, x, y, xx, xy, yy] = sums.map(|sum| sum as f64);
            let ours = (n * xy - x * y) / ((n * xx - x * x) * (n * yy - y * y)).sqrt();
            // Delays lie further off than eight standard deviations, and count as eight.
            let tolerance = if [i, j].iter().any(|column| names[*column] == "dep_delay") { 0.05 } else { 1e-5 };
            let pair = (&names[i], &names[j]);
            assert!((ours - theirs).abs() < tolerance, "{number}, {pair:?}: {ours} is not {theirs}");
        }
    }
}

/// A month's flights in some columns of names, as codes.
struct Coded {
    names: Names,
    rows: Vec<Vec<f64>>,
}

impl Coded {
    fn of(flights: &MonthOfFlights, names: &Names) -> Self {
        let columns: Vec<Vec<Option<&str>>> = names.sources().iter().map(|name| flights.names(name)).collect();
        let code = |(place, column): (usize, &Vec<Option<&str>>), row: usize| {
            column[row].map_or(f64::NAN, |name| names.code(place, name))
        };
        let row = |row: usize| columns.iter().enumerate().map(|column| code(column, row)).collect();
        Self { names: names.clone(), rows: (0..flights.rows()).map(row).collect() }
    }
}

impl Rows for Coded {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        self.rows.iter().for_each(|row| take(None, RowValue::Row(row)));
        Ok(())
    }

    fn columns(&self) -> Vec<String> {
        self.names.sources().to_vec()
    }
}

#[test]
fn associations_of_names_are_those_of_scipy() {
    let golden = golden();
    let january = month(1);
    let of_column = |name: &String| {
        let mut builder = ReferenceBuilder::new(name.as_str(), ColumnKind::Categorical);
        january.names(name).into_iter().flatten().for_each(|name| builder.category(None, name));
        builder.build(None).unwrap()
    };
    let columns: Vec<Reference> = texts(&golden["named"]).iter().map(of_column).collect();
    let names = Names::of(&columns.iter().collect::<Vec<_>>());
    let rows = Coded::of(&january, &names);
    let reference = Reference::of_rows("names.associations", ColumnKind::Contingencies, &rows, None).unwrap();
    let Normal::Contingencies { contingencies, .. } = &reference.normal else { panic!() };
    for (number, theirs) in golden["months"].as_object().unwrap() {
        let mut window = reference.empty_profile();
        let coded = Coded::of(&month(number.parse().unwrap()), &names);
        coded.rows.iter().for_each(|row| reference.count_row(&mut window, row));
        let Profile::Contingencies(tables) = window else { panic!() };
        for (pair, theirs) in numbers(&theirs["cramers_v"]).into_iter().enumerate() {
            assert_close(number, contingencies.cramers_v(&tables, pair).unwrap(), theirs, 1e-9);
        }
    }
}

/// Vectors of what a month's flights have in some columns, as the script makes them.
fn vectors(golden: &Value, number: u32) -> Vec<Vec<f32>> {
    let (means, deviations) = (numbers(&golden["means"]), numbers(&golden["deviations"]));
    let place = |row: &[f64]| -> Vec<f32> {
        let standardised = row.iter().zip(&means).zip(&deviations).map(|((x, mean), deviation)| (x - mean) / deviation);
        standardised.map(|z| ((z * 256.0).round_ties_even() / 256.0) as f32).collect()
    };
    let columns = Columns::of(&month(number), &texts(&golden["embedded"]));
    columns.rows.iter().filter(|row| row.iter().all(|x| x.is_finite())).map(|row| place(row)).collect()
}

/// A reference whose kernel has this bandwidth.
fn of_bandwidth(bandwidth: &Value, vectors: &[Vec<f32>]) -> Reference {
    let dimensions = vectors[0].len();
    let none = json!({"rows": 0, "missing": 0, "nan": 0, "wrong_type": 0, "sums": vec![0; 128]});
    let kernel =
        json!({"dimensions": dimensions, "frequencies": 64, "bandwidth": bandwidth, "traces": [0.5, 0.1, 0.01]});
    let normal = json!({"kind": "vectors", "kernel": kernel, "profile": none});
    let mut reference: Reference =
        serde_json::from_value(json!({"column": "v.features", "normal": normal, "blocks": {}})).unwrap();
    let mut counted = reference.empty_profile();
    vectors.iter().for_each(|vector| reference.count_vector(&mut counted, vector));
    let (Normal::Vectors { profile, .. }, Profile::Vectors(counted)) = (&mut reference.normal, counted) else {
        panic!()
    };
    *profile = counted;
    reference
}

fn mmd(reference: &Reference, window: &[Vec<f32>]) -> Score {
    let mut profile = reference.empty_profile();
    window.iter().for_each(|vector| reference.count_vector(&mut profile, vector));
    reference.scores_of([Detector::Mmd], &profile, &Thresholds::default(), true).remove(0)
}

#[test]
fn the_kernel_distance_is_that_of_scikit_learns_random_features() {
    let golden = golden();
    let january = vectors(&golden, 1);
    for (number, theirs) in golden["months"].as_object().unwrap() {
        let reference = of_bandwidth(&theirs["bandwidth"], &january);
        let score = mmd(&reference, &vectors(&golden, number.parse().unwrap()));
        // Features are rounded to the billionth part.
        assert_close(number, score.value, theirs["mmd"].as_f64().unwrap(), 1e-6);
        assert!((score.effect - score.value.sqrt()).abs() < 1e-12);
    }
}
