//! The counting kernel beside the search of the standard library, on data of many shapes.
//!
//! ```console
//! $ cargo bench -p driftline-tests --bench counting
//! ```
//!
//! A value is counted on a grid of a thousand quantiles, in batches of a thousand, each contender in turn. What is printed is
//! the least of many rounds, in nanoseconds for a value: on shared machines the least is what the code costs.

#![allow(clippy::unwrap_used, reason = "what fails here fails the benchmark")]

use std::hint::black_box;
use std::time::Instant;

use driftline_detectors::{Grid, NumericProfile};

#[path = "proxies/numbers.rs"]
mod numbers;
use numbers::Numbers;

const CUTS: usize = 1024;
const BATCH: usize = 1000;
const BATCHES: usize = 100;
const ROUNDS: usize = 30;

/// How a value comes about.
type Draw = fn(&mut Numbers) -> f64;

fn uniform(numbers: &mut Numbers) -> f64 {
    (numbers.below(1 << 30) as f64 + 0.5) / f64::from(1 << 30)
}

fn normal(numbers: &mut Numbers) -> f64 {
    (-2.0 * uniform(numbers).ln()).sqrt() * (std::f64::consts::TAU * uniform(numbers)).cos()
}

const SHAPES: [(&str, Draw); 8] = [
    ("normal", normal),
    ("lognormal", |numbers| normal(numbers).exp()),
    ("heavy lognormal, σ 2.5", |numbers| (2.5 * normal(numbers)).exp()),
    ("Cauchy", |numbers| normal(numbers) / normal(numbers)),
    ("60 % zeros", |numbers| if numbers.below(10) < 6 { 0.0 } else { normal(numbers).exp() }),
    ("integers 0 to 49", |numbers| numbers.below(50) as f64),
    ("constant", |_| 7.25),
    ("two narrow spikes", |numbers| normal(numbers) * 1e-3 + if numbers.below(2) == 0 { 0.0 } else { 1e4 }),
];

/// A grid of quantiles, as references have: each value of the sample once.
fn grid(draw: Draw, numbers: &mut Numbers) -> Grid {
    let mut sample: Vec<f64> = (0..200_000).map(|_| draw(numbers) + 0.0).collect();
    sample.sort_by(f64::total_cmp);
    let mut cuts: Vec<f64> = (0..CUTS).map(|i| sample[i * (sample.len() - 1) / (CUTS - 1)]).collect();
    cuts.dedup();
    Grid::new(cuts).unwrap()
}

/// Counts a batch in its own way.
type Contender<'a> = &'a mut dyn FnMut(&[f64]);

/// Nanoseconds for a value, the least of the rounds, of each contender in turn.
fn measure(values: &[f64], contenders: &mut [Contender<'_>]) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; contenders.len()];
    for _ in 0..ROUNDS {
        for (contender, least) in contenders.iter_mut().zip(&mut least) {
            let began = Instant::now();
            values.chunks(BATCH).for_each(&mut *contender);
            *least = least.min(began.elapsed().as_nanos() as f64 / values.len() as f64);
        }
    }
    least
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("ns for a value: {CUTS} quantiles, batches of {BATCH}, the least of {ROUNDS} rounds");
    println!("{:<24} {:>8} {:>8} {:>16} {:>6}", "", "kernel", "profile", "partition_point", "×");
    for (name, draw) in SHAPES {
        let mut numbers = Numbers::new(7);
        let grid = grid(draw, &mut numbers);
        let values: Vec<f64> = (0..BATCH * BATCHES).map(|_| draw(&mut numbers)).collect();
        let (mut counts, mut theirs) = (vec![0u64; grid.cells()], vec![0u64; grid.cells()]);
        let mut profile = NumericProfile::empty(&grid, false);
        let mut cells = [0; BATCH];
        let mut kernel = |batch: &[f64]| {
            grid.find_cells(batch, &mut cells);
            cells.iter().for_each(|cell| counts[*cell as usize] += 1);
        };
        let mut whole = |batch: &[f64]| profile.count(&grid, batch);
        let mut searched = |batch: &[f64]| {
            for value in batch {
                let below = grid.cuts().partition_point(|cut| cut < value);
                let is_atom = grid.cuts().get(below) == Some(value);
                theirs[2 * below + usize::from(is_atom)] += 1;
            }
        };
        let least = measure(black_box(&values), &mut [&mut kernel, &mut whole, &mut searched]);
        assert!(counts == theirs && profile.cells == theirs, "all of them count alike");
        let [kernel, whole, searched] = least[..] else { unreachable!("three contenders") };
        println!("{name:<24} {kernel:>8.2} {whole:>8.2} {searched:>16.2} {:>6.1}", searched / kernel);
    }
}
