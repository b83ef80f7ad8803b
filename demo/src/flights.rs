//! The flights: what left New York City's airports in four months of 2013, with the weather. See `data/prepare.py`.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The data is part of the program: the demo needs no file beside it.
const FLIGHTS: &[u8] = include_bytes!("../data/flights.parquet");

/// The weather columns, in the order of [`Flight::weather`].
pub(crate) const WEATHER: [&str; 7] = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"];

/// One flight.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) id: String,
    /// The local date of departure, `2013-01-31`.
    pub(crate) date: String,
    /// The scheduled departure, in microseconds since the Unix epoch: the event time.
    pub(crate) scheduled_at: i64,
    /// When the weather was observed; none when it was not.
    pub(crate) weather_at: Option<i64>,
    pub(crate) carrier: String,
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) distance: i32,
    pub(crate) hour: i32,
    pub(crate) weather: [Option<f64>; 7],
    pub(crate) arr_delay: Option<f64>,
    /// Whether it arrived more than fifteen minutes late; none when it never did.
    pub(crate) late: Option<bool>,
}

impl Flight {
    /// Month and day of the local date.
    pub(crate) fn month_and_day(&self) -> (u32, u32) {
        let number =
            |range: std::ops::Range<usize>| self.date.get(range).and_then(|text| text.parse().ok()).unwrap_or(0);
        (number(5..7), number(8..10))
    }
}

/// All flights, in the order of their time.
pub(crate) fn load() -> Result<Vec<Flight>, String> {
    let read = |error: &dyn std::fmt::Display| format!("the flights cannot be read: {error}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes_of_flights())
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| read(&error))?;
    let mut flights = Vec::new();
    for batch in reader {
        add(&batch.map_err(|error| read(&error))?, &mut flights).ok_or_else(|| read(&"a column is missing"))?;
    }
    Ok(flights)
}

fn bytes_of_flights() -> axum::body::Bytes {
    axum::body::Bytes::from_static(FLIGHTS)
}

fn add(batch: &RecordBatch, flights: &mut Vec<Flight>) -> Option<()> {
    let text = |name: &str| Some(batch.column_by_name(name)?.as_string_opt::<i32>()?.clone());
    let time = |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?.clone());
    let int = |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<Int32Type>()?.clone());
    let float = |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<Float64Type>()?.clone());
    let (ids, dates) = (text("flight_id")?, text("date")?);
    let (carriers, origins, dests) = (text("carrier")?, text("origin")?, text("dest")?);
    let (scheduled_at, weather_at) = (time("scheduled_at")?, time("weather_at")?);
    let (distances, hours, arr_delays) = (int("distance")?, int("hour")?, float("arr_delay")?);
    let weather: Vec<_> = WEATHER.iter().map(|name| float(name)).collect::<Option<_>>()?;
    let late = batch.column_by_name("late")?.as_boolean_opt()?;
    for row in 0..batch.num_rows() {
        flights.push(Flight {
            id: ids.value(row).to_owned(),
            date: dates.value(row).to_owned(),
            scheduled_at: scheduled_at.value(row),
            weather_at: weather_at.is_valid(row).then(|| weather_at.value(row)),
            carrier: carriers.value(row).to_owned(),
            origin: origins.value(row).to_owned(),
            dest: dests.value(row).to_owned(),
            distance: distances.value(row),
            hour: hours.value(row),
            weather: std::array::from_fn(|i| weather[i].is_valid(row).then(|| weather[i].value(row))),
            arr_delay: arr_delays.is_valid(row).then(|| arr_delays.value(row)),
            late: late.is_valid(row).then(|| late.value(row)),
        });
    }
    Some(())
}
