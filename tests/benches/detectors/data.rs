//! Twenty columns: what flights are made of, drawn again and again, and shapes that are hard to count.

use driftline_tests::month;

use crate::numbers::Numbers;

/// Values of each sample to draw from.
const POOL: usize = 1 << 17;

/// Columns of real flights.
pub(crate) const FLIGHTS: [&str; 9] =
    ["distance", "temp", "humid", "wind_speed", "visib", "air_time", "dep_delay", "arr_delay", "hour"];

/// How a value comes about.
type Draw = fn(&mut Numbers) -> f64;

const SHAPES: [(&str, Draw); 11] = [
    ("uniform", uniform),
    ("normal", normal),
    ("lognormal", |numbers| normal(numbers).exp()),
    ("heavy_lognormal", |numbers| (2.5 * normal(numbers)).exp()),
    ("cauchy", |numbers| normal(numbers) / normal(numbers)),
    ("pareto", |numbers| uniform(numbers).powf(-1.0 / 1.2)),
    ("zeros", |numbers| if numbers.below(10) < 6 { 0.0 } else { normal(numbers).exp() }),
    ("integers", |numbers| numbers.below(50) as f64),
    ("cents", |numbers| (normal(numbers).exp() * 1e4).round() / 100.0),
    ("constant", |_| 7.25),
    ("spikes", |numbers| normal(numbers) * 1e-3 + if numbers.below(2) == 0 { 0.0 } else { 1e4 }),
];

fn uniform(numbers: &mut Numbers) -> f64 {
    (numbers.below(1 << 30) as f64 + 0.5) / f64::from(1 << 30)
}

fn normal(numbers: &mut Numbers) -> f64 {
    (-2.0 * uniform(numbers).ln()).sqrt() * (std::f64::consts::TAU * uniform(numbers)).cos()
}

/// What rows of a column are drawn from.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) reference: Pool,
    pub(crate) window: Pool,
}

/// Values to draw from.
#[derive(Debug)]
pub(crate) struct Pool(Vec<f64>);

impl Pool {
    fn new(numbers: &mut Numbers, mut draw: impl FnMut(&mut Numbers) -> f64) -> Self {
        Self((0..POOL).map(|_| draw(numbers) + 0.0).collect())
    }

    /// Fills rows.
    pub(crate) fn draw(&self, numbers: &mut Numbers, rows: &mut [f64]) {
        rows.iter_mut().for_each(|row| *row = self.0[(numbers.next() >> 33) as usize % POOL]);
    }

    /// So many rows.
    pub(crate) fn rows(&self, numbers: &mut Numbers, rows: usize) -> Vec<f64> {
        let mut drawn = vec![0.0; rows];
        self.draw(numbers, &mut drawn);
        drawn
    }
}

/// January's flights against July's, where they have a value; and shapes against themselves.
pub(crate) fn columns() -> Vec<Column> {
    let mut numbers = Numbers::new(5);
    let (january, july) = (month(1), month(7));
    let mut columns = Vec::new();
    for name in FLIGHTS {
        let [reference, window] = [&january, &july].map(|flights| {
            let values: Vec<f64> = flights.numbers(name).into_iter().flatten().collect();
            Pool::new(&mut numbers, |numbers| values[numbers.below(values.len())])
        });
        columns.push(Column { name, reference, window });
    }
    for (name, draw) in SHAPES {
        let [reference, window] = [(), ()].map(|()| Pool::new(&mut numbers, draw));
        columns.push(Column { name, reference, window });
    }
    columns
}
