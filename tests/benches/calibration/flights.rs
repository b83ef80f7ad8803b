//! Twenty columns of the demo's flights, by the day of each.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use driftline_detectors::{ColumnKind, Profile, Reference, ReferenceBuilder};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const NUMBERS: [&str; 12] = [
    "distance",
    "hour",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "air_time",
    "dep_delay",
    "arr_delay",
];
const NAMES: [&str; 3] = ["carrier", "origin", "dest"];

/// All flights.
pub(crate) struct Flights {
    pub(crate) columns: Vec<Column>,
    /// The rows of each day, the days in their order.
    pub(crate) days: Vec<Vec<usize>>,
    /// Their dates.
    pub(crate) dates: Vec<String>,
}

/// One column.
pub(crate) struct Column {
    pub(crate) name: String,
    values: Values,
    mean: f64,
    deviation: f64,
}

/// What becomes of a column.
#[derive(Clone, Copy)]
pub(crate) struct Drift {
    pub(crate) kind: Kind,
    pub(crate) size: f64,
}

/// Five kinds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// All values moved by a part of the standard deviation.
    Shift,
    /// All values so many times as far from the mean.
    Spread,
    /// A share of the rows is zero, as a default would be.
    DefaultFill,
    /// A share of the rows is missing.
    Missing,
    /// A share of the rows has one category.
    Mix,
}

/// What a row holds.
enum Drifted<'c> {
    Missing,
    Number(f64),
    Name(&'c str),
}

enum Values {
    Numbers(Vec<Option<f64>>),
    /// Places in the names.
    Names(Vec<u32>, Vec<String>),
}

impl Flights {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/data/flights.parquet");
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let batch = reader.with_batch_size(1 << 20).build().unwrap().next().unwrap().unwrap();
        let number = |name: &str| numbers(&batch, name);
        let mut columns: Vec<Column> = NUMBERS.iter().map(|name| Column::numbers(name, number(name))).collect();
        let both = |a: &str, b: &str, of: &dyn Fn(f64, f64) -> f64| -> Vec<Option<f64>> {
            number(a).into_iter().zip(number(b)).map(|(a, b)| Some(of(a?, b?))).collect()
        };
        // What teams derive from such columns.
        columns.push(Column::numbers("speed", both("distance", "air_time", &|d, t| d / t * 60.0)));
        columns.push(Column::numbers("made_up", both("dep_delay", "arr_delay", &|d, a| d - a)));
        columns.push(Column::numbers("dew_gap", both("temp", "dewp", &|t, d| t - d)));
        let text = |name: &str| -> Vec<String> {
            batch.column_by_name(name).unwrap().as_string::<i32>().iter().map(|v| v.unwrap_or("").to_owned()).collect()
        };
        columns.extend(NAMES.iter().map(|name| Column::names(name, text(name))));
        let routes = text("origin").into_iter().zip(text("dest")).map(|(from, to)| format!("{from}-{to}"));
        columns.push(Column::names("route", routes.collect()));
        let late = batch.column_by_name("late").unwrap().as_boolean().iter();
        columns.push(Column::names("late", late.map(|late| format!("{late:?}")).collect()));
        let mut by_date: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (row, date) in text("date").into_iter().enumerate() {
            by_date.entry(date).or_default().push(row);
        }
        let (dates, days) = by_date.into_iter().unzip();
        Self { columns, days, dates }
    }

    /// Of each name of a column of names, which rows have it.
    pub(crate) fn by_name(&self, column: &str) -> Vec<Vec<bool>> {
        let column = self.columns.iter().find(|known| known.name == column).unwrap();
        let Values::Names(places, names) = &column.values else { panic!("{} is a column of numbers", column.name) };
        (0..names.len() as u32).map(|name| places.iter().map(|place| *place == name).collect()).collect()
    }

    pub(crate) fn rows(&self) -> usize {
        self.days.iter().map(Vec::len).sum()
    }
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    let column = batch.column_by_name(name).unwrap();
    match column.as_primitive_opt::<Float64Type>() {
        Some(column) => column.iter().collect(),
        None => column.as_primitive::<Int32Type>().iter().map(|value| value.map(f64::from)).collect(),
    }
}

impl Column {
    fn numbers(name: &str, values: Vec<Option<f64>>) -> Self {
        let present: Vec<f64> = values.iter().flatten().copied().collect();
        let mean = present.iter().sum::<f64>() / present.len() as f64;
        let squares = present.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let deviation = (squares / present.len() as f64).sqrt();
        Self { name: name.to_owned(), values: Values::Numbers(values), mean, deviation }
    }

    fn names(name: &str, values: Vec<String>) -> Self {
        let (mut names, mut places) = (Vec::new(), HashMap::new());
        let place = |text: String| {
            *places.entry(text.clone()).or_insert_with(|| {
                names.push(text);
                names.len() as u32 - 1
            })
        };
        let of_rows = values.into_iter().map(place).collect();
        Self { name: name.to_owned(), values: Values::Names(of_rows, names), mean: 0.0, deviation: 0.0 }
    }

    /// The values of these rows with what a drift makes of them, as a file has them.
    pub(crate) fn array(&self, rows: &[usize], drift: Option<Drift>) -> ArrayRef {
        let values = rows.iter().map(|row| self.value(*row, drift));
        match &self.values {
            Values::Numbers(_) => {
                let number = |value| if let Drifted::Number(number) = value { Some(number) } else { None };
                Arc::new(values.map(number).collect::<Float64Array>())
            }
            Values::Names(..) => {
                let name = |value| if let Drifted::Name(name) = value { Some(name) } else { None };
                Arc::new(values.map(name).collect::<StringArray>())
            }
        }
    }

    /// What a row holds, with what a drift makes of it.
    fn value(&self, row: usize, drift: Option<Drift>) -> Drifted<'_> {
        let is_hit = |size: f64| (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 < (size * 16_777_216.0) as u64;
        match (&self.values, drift) {
            (_, Some(Drift { kind: Kind::Missing, size })) if is_hit(size) => Drifted::Missing,
            (Values::Numbers(values), drift) => match (values[row], drift) {
                (None, _) => Drifted::Missing,
                (Some(_), Some(Drift { kind: Kind::DefaultFill, size })) if is_hit(size) => Drifted::Number(0.0),
                (Some(value), Some(Drift { kind, size })) => Drifted::Number(self.moved(value, kind, size)),
                (Some(value), None) => Drifted::Number(value),
            },
            (Values::Names(places, names), drift) => {
                let place = if drift.is_some_and(|drift| is_hit(drift.size)) { 0 } else { places[row] };
                Drifted::Name(&names[place as usize])
            }
        }
    }

    /// A builder that holds these days' rows, a pane for each.
    pub(crate) fn builder<'a>(&self, days: impl Iterator<Item = (i64, &'a [usize])>) -> ReferenceBuilder {
        let kind = match self.values {
            Values::Numbers(_) => ColumnKind::Numeric,
            Values::Names(..) => ColumnKind::Categorical,
        };
        let mut builder = ReferenceBuilder::new(&self.name, kind);
        for (pane, rows) in days {
            for row in rows {
                match &self.values {
                    Values::Numbers(values) => match values[*row] {
                        Some(value) => builder.number(Some(pane), value),
                        None => builder.missing(Some(pane)),
                    },
                    Values::Names(places, names) => builder.category(Some(pane), &names[places[*row] as usize]),
                }
            }
        }
        builder
    }

    /// The profile of these rows, with what a drift makes of them.
    pub(crate) fn drifted_profile(&self, reference: &Reference, rows: &[usize], drift: Option<Drift>) -> Profile {
        if drift.is_none() {
            return self.profile(reference, rows);
        }
        let mut profile = reference.empty_profile();
        for row in rows {
            match self.value(*row, drift) {
                Drifted::Missing => reference.count_missing(&mut profile, 1),
                Drifted::Number(number) => reference.count_numbers(&mut profile, &[number]),
                Drifted::Name(name) => reference.count_category(&mut profile, name),
            }
        }
        profile
    }

    fn moved(&self, value: f64, kind: Kind, size: f64) -> f64 {
        match kind {
            Kind::Shift => value + size * self.deviation,
            Kind::Spread => self.mean + (value - self.mean) * size,
            _ => value,
        }
    }

    /// The profile of these rows.
    pub(crate) fn profile(&self, reference: &Reference, rows: &[usize]) -> Profile {
        let mut profile = reference.empty_profile();
        match &self.values {
            Values::Numbers(values) => {
                let present: Vec<f64> = rows.iter().filter_map(|row| values[*row]).collect();
                reference.count_numbers(&mut profile, &present);
                reference.count_missing(&mut profile, (rows.len() - present.len()) as u64);
            }
            Values::Names(places, names) => {
                rows.iter().for_each(|row| reference.count_category(&mut profile, &names[places[*row] as usize]));
            }
        }
        profile
    }
}
