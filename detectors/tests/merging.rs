//! Profiles of every kind of column, and of all that is derived from texts, times, vectors and several columns: what parts count
//! adds up to the whole, in any order and however it is put together, and nothing changes nothing.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use driftline_detectors::{
    ColumnKind, Derivation, Derived, Joint, Learning, Names, NumericProfile, Profile, Reference, ReferenceBuilder,
    RowValue, Rows, SourceValue, Thresholds,
};
use proptest::prelude::*;

/// What one row holds in every column.
#[derive(Debug, Clone)]
struct Row {
    /// A number, or NaN, an infinite one, none, or something else.
    number: Value,
    place: Option<&'static str>,
    text: Option<String>,
    /// Hours since the epoch, when it was signed and when it came.
    times: (i64, i64),
    vector: Vec<f32>,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Number(f64),
    Missing,
    Other,
}

fn any_row() -> impl Strategy<Value = Row> {
    let number = prop_oneof![
        6 => (-40i32..40).prop_map(|quarters| Value::Number(f64::from(quarters) / 4.0)),
        2 => (-9.0..9.0f64).prop_map(Value::Number),
        1 => Just(Value::Number(f64::NAN)),
        1 => Just(Value::Number(f64::INFINITY)),
        1 => Just(Value::Missing),
        1 => Just(Value::Other),
    ];
    let place = proptest::option::weighted(0.9, proptest::sample::select(vec!["JFK", "LGA", "EWR", "HPN", "SWF"]));
    let word = proptest::sample::select(vec!["late", "again", "Gate", "7", "¡ay!", "飛行機", "très", " ", "…"]);
    let text = proptest::collection::vec(word, 0..6).prop_map(|words| words.join(" "));
    let vector = proptest::collection::vec(-2.0..2.0f32, 3);
    (number, place, proptest::option::weighted(0.9, text), (0i64..400, 0i64..400), vector)
        .prop_map(|(number, place, text, times, vector)| Row { number, place, text, times, vector })
}

/// A column as rows bring it: of what is there itself, or of what is derived.
struct Column<'r> {
    name: String,
    kind: ColumnKind,
    columns: Vec<String>,
    values: Vec<Owned<'r>>,
}

#[derive(Debug, Clone)]
enum Owned<'r> {
    Number(f64),
    Name(&'r str),
    Row(Vec<f64>),
    Vector(&'r [f32]),
    Missing,
    Other,
}

impl Owned<'_> {
    fn borrowed(&self) -> RowValue<'_> {
        match self {
            Self::Number(number) => RowValue::Number(*number),
            Self::Name(name) => RowValue::Category(name),
            Self::Row(row) => RowValue::Row(row),
            Self::Vector(vector) => RowValue::Vector(vector),
            Self::Missing => RowValue::Missing,
            Self::Other => RowValue::WrongType,
        }
    }
}

impl Rows for Column<'_> {
    fn each(&self, take: &mut dyn FnMut(Option<i64>, RowValue<'_>)) -> Result<(), String> {
        self.values.iter().for_each(|value| take(None, value.borrowed()));
        Ok(())
    }

    fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }
}

impl<'r> Column<'r> {
    fn new(name: &str, kind: ColumnKind, values: Vec<Owned<'r>>) -> Self {
        Self { name: name.to_owned(), kind, columns: Vec::new(), values }
    }

    /// Counts of some of its rows.
    fn counted(&self, reference: &Reference, rows: std::ops::Range<usize>) -> Profile {
        let mut profile = reference.empty_profile();
        for value in &self.values[rows] {
            match value.borrowed() {
                RowValue::Number(number) => reference.count_numbers(&mut profile, &[number]),
                RowValue::Category(name) => reference.count_category(&mut profile, name),
                RowValue::Row(row) => reference.count_row(&mut profile, row),
                RowValue::Vector(vector) => reference.count_vector(&mut profile, vector),
                RowValue::Missing => reference.count_missing(&mut profile, 1),
                RowValue::WrongType => reference.count_wrong_type(&mut profile, 1),
            }
        }
        profile
    }
}

/// All columns that come of these rows.
fn columns(rows: &[Row]) -> Vec<Column<'_>> {
    let number = |row: &Row| match row.number {
        Value::Number(number) => Owned::Number(number),
        Value::Missing => Owned::Missing,
        Value::Other => Owned::Other,
    };
    let mut all = vec![
        Column::new("number", ColumnKind::Numeric, rows.iter().map(number).collect()),
        Column::new(
            "place",
            ColumnKind::Categorical,
            rows.iter().map(|row| row.place.map_or(Owned::Missing, Owned::Name)).collect(),
        ),
    ];
    let (mut texts, mut vectors) = (Learning::text(), Learning::embedding());
    for (place, row) in (0..).zip(rows) {
        texts.add(place, row.text.as_deref().map_or(SourceValue::Missing, SourceValue::Text));
        vectors.add(place, SourceValue::Vector(&row.vector));
    }
    let of_row = |row: &Row| {
        let number = if let Value::Number(number) = row.number { number } else { f64::NAN };
        vec![number, f64::from(row.vector[0]), row.times.0 as f64]
    };
    let each = |take: &mut dyn FnMut(&[f64])| {
        rows.iter().for_each(|row| take(&of_row(row)));
        Ok(())
    };
    let joint = Joint::of_rows(["number", "first", "time"].map(str::to_owned).to_vec(), &each).unwrap();
    let mut places = ReferenceBuilder::new("place", ColumnKind::Categorical);
    for row in rows {
        match row.place {
            Some(name) => places.category(None, name),
            None => places.missing(None),
        }
    }
    let places = places.build(None).unwrap();
    let names = Names::of(&[&places, &places]);
    let codes = |row: &Row, names: &Names| -> Vec<f64> {
        (0..2).map(|column| row.place.map_or(f64::NAN, |name| names.code(column, name))).collect()
    };
    let derivations = [
        texts.finish("text").0,
        vectors.finish("vector").1,
        Derivation::Timestamp { column: "time".to_owned() },
        Derivation::Joint { joint },
        Derivation::Names { names: names.clone() },
    ];
    for derivation in derivations {
        let sources = match &derivation {
            Derivation::Joint { joint } => joint.sources().to_vec(),
            Derivation::Names { names } => names.sources().to_vec(),
            _ => Vec::new(),
        };
        let mut derived: Vec<Column<'_>> = derivation
            .columns()
            .into_iter()
            .map(|(name, kind)| Column { name, kind, columns: sources.clone(), values: Vec::new() })
            .collect();
        for row in rows {
            let together = match derivation {
                Derivation::Names { .. } => codes(row, &names),
                _ => of_row(row),
            };
            let source = match derivation {
                Derivation::Text { .. } => row.text.as_deref().map_or(SourceValue::Missing, SourceValue::Text),
                Derivation::Embedding { .. } => SourceValue::Vector(&row.vector),
                Derivation::Timestamp { .. } => SourceValue::Time(row.times.0 * 3_600_000_000),
                Derivation::Joint { .. } | Derivation::Names { .. } => SourceValue::Row(&together),
            };
            let values = derivation.derive(source, Some(row.times.1 * 3_600_000_000));
            for (column, value) in derived.iter_mut().zip(values) {
                column.values.push(match value {
                    Derived::Number(number) => Owned::Number(number),
                    Derived::Name(name) => Owned::Name(name),
                    Derived::Itself if column.kind == ColumnKind::Vectors => Owned::Vector(&row.vector),
                    Derived::Itself => Owned::Row(together.clone()),
                    Derived::Missing => Owned::Missing,
                    Derived::WrongType => Owned::Other,
                });
            }
        }
        all.extend(derived);
    }
    all
}

fn merged(one: &Profile, other: &Profile) -> Profile {
    let mut sum = one.clone();
    sum.merge(other);
    sum
}

/// What adds up to the bit. Sums of floating-point numbers depend on their order in the last digits; all else is counted.
fn exact_part(profile: &Profile) -> Profile {
    match profile {
        Profile::Numeric(profile) => Profile::Numeric(NumericProfile {
            open_sums: vec![0.0; profile.open_sums.len()],
            shifted_sum: 0.0,
            shifted_squares: 0.0,
            ..profile.clone()
        }),
        exact => exact.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn of_every_column_parts_make_the_whole_however_they_are_put_together(
        rows in proptest::collection::vec(any_row(), 40..120),
        at in (0usize..40, 40usize..80),
    ) {
        let columns = columns(&rows);
        prop_assert!(columns.len() > 18, "{} columns", columns.len());
        for column in columns {
            let Ok(reference) = Reference::of_rows(&column.name, column.kind, &column, None) else {
                // Such as a share of nothing but empty texts.
                continue;
            };
            let (first, second) = (at.0, at.1.min(rows.len()));
            let [a, b, c] = [0..first, first..second, second..rows.len()].map(|part| column.counted(&reference, part));
            let (whole, nothing) = (column.counted(&reference, 0..rows.len()), reference.empty_profile());
            let orders = [
                merged(&merged(&a, &b), &c),
                merged(&a, &merged(&b, &c)),
                merged(&merged(&c, &b), &a),
                merged(&b, &merged(&nothing, &merged(&c, &a))),
            ];
            for sum in &orders {
                prop_assert_eq!(exact_part(sum), exact_part(&whole), "{}", &column.name);
            }
            prop_assert_eq!(exact_part(&whole), exact_part(&reference.profile()), "{}", &column.name);
            prop_assert_eq!(&merged(&a, &nothing), &a);
            prop_assert_eq!(&merged(&nothing, &a), &a);
            prop_assert_eq!(whole.rows(), rows.len() as u64);
            // And so says every score.
            let values = |window: &Profile| -> Vec<f64> {
                reference.scores(window, &Thresholds::default(), true).iter().map(|score| score.value).collect()
            };
            for (one, other) in values(&orders[1]).into_iter().zip(values(&whole)) {
                prop_assert!((one - other).abs() <= 1e-9 * (1.0 + other.abs()), "{}: {one} {other}", &column.name);
            }
        }
    }
}
