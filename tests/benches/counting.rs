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

fn lognormal(numbers: &mut Numbers) -> f64 {
    normal(numbers).exp()
}

fn heavy_lognormal(numbers: &mut Numbers) -> f64 {
    (2.5 * normal(numbers)).exp()
}

fn cauchy(numbers: &mut Numbers) -> f64 {
    normal(numbers) / normal(numbers)
}

fn zeros(numbers: &mut Numbers) -> f64 {
    if numbers.below(10) < 6 { 0.0 } else { normal(numbers).exp() }
}

fn integers(numbers: &mut Numbers) -> f64 {
    numbers.below(50) as f64
}

fn constant(_: &mut Numbers) -> f64 {
    7.25
}

fn spikes(numbers: &mut Numbers) -> f64 {
    normal(numbers) * 1e-3 + if numbers.below(2) == 0 { 0.0 } else { 1e4 }
}

/// One of 1,024 values, doubly exponential in groups of sixteen neighbours: no table tells them apart.
fn doubly_exponential(numbers: &mut Numbers) -> f64 {
    let index = numbers.below(1024);
    ((index / 16) as f64 / 6.4 - 5.0).exp().exp() * (1.0 + 1e-9 * (index % 16) as f64)
}

/// A reference of which a fiftieth are two values side by side, …
fn with_a_pair(numbers: &mut Numbers) -> f64 {
    match numbers.below(100) {
        0 => 5.0,
        1 => 5.0 + 1e-9,
        _ => normal(numbers).exp(),
    }
}

/// … and a window of which half are these, or between them.
fn half_in_the_pair(numbers: &mut Numbers) -> f64 {
    if numbers.below(2) == 0 { 5.0 + 5e-10 * numbers.below(3) as f64 } else { normal(numbers).exp() }
}

/// What the reference and the window draw.
const SHAPES: [(&str, Draw, Draw); 10] = [
    ("normal", normal, normal),
    ("lognormal", lognormal, lognormal),
    ("heavy lognormal, σ 2.5", heavy_lognormal, heavy_lognormal),
    ("Cauchy", cauchy, cauchy),
    ("60 % zeros", zeros, zeros),
    ("integers 0 to 49", integers, integers),
    ("constant", constant, constant),
    ("two narrow spikes", spikes, spikes),
    ("half in a narrow pair", with_a_pair, half_in_the_pair),
    ("doubly exponential", doubly_exponential, doubly_exponential),
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
    for (name, reference, window) in SHAPES {
        let mut numbers = Numbers::new(7);
        let grid = grid(reference, &mut numbers);
        let values: Vec<f64> = (0..BATCH * BATCHES).map(|_| window(&mut numbers)).collect();
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
