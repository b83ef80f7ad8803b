//! Three million rows of a thousand columns against three hundred thousand: a check that somebody waited six hours for.
//!
//! No such data is written: rows are drawn in groups, as they lie in a file, from the twenty columns over and over, and all
//! references and profiles are in memory. Drawing is no part of the check, and its time is told apart.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use driftline_detectors::{Profile, Reference, Thresholds, Verdict};

use crate::Options;
use crate::beside::build;
use crate::data::{Column, FLIGHTS, columns};
use crate::numbers::Numbers;

/// Rows of all columns that are in memory at a time.
const GROUP: usize = 10_000;

/// What a thread took for its columns.
#[derive(Debug, Default)]
struct Took {
    drawing: Duration,
    building: Duration,
    counting: Duration,
    scoring: Duration,
    scores: usize,
    drifted: usize,
}

pub(crate) fn run(options: &Options) {
    let mut columns = columns();
    if options.flights {
        columns.retain(|column| FLIGHTS.contains(&column.name));
    }
    let began = Instant::now();
    let threads = options.threads.max(1);
    let shares = thread::scope(|scope| {
        let check = |thread: usize| {
            let mine: Vec<&Column> =
                (thread..options.large_columns).step_by(threads).map(|index| &columns[index % columns.len()]).collect();
            scope.spawn(move || check(&mine, thread as u64, options))
        };
        let running: Vec<_> = (0..threads).map(check).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let elapsed = began.elapsed();
    println!(
        "{} rows × {} columns against {} rows, on {threads} threads",
        options.large_rows, options.large_columns, options.large_reference_rows
    );
    let slowest = |of: fn(&Took) -> Duration| shares.iter().map(of).max().unwrap_or_default().as_secs_f64();
    println!("building {:>8.1} s", slowest(|took| took.building));
    println!("counting {:>8.1} s", slowest(|took| took.counting));
    println!("scoring  {:>8.1} s", slowest(|took| took.scoring));
    println!("check    {:>8.1} s", slowest(|took| took.building + took.counting + took.scoring));
    println!("drawing  {:>8.1} s, no part of the check", slowest(|took| took.drawing));
    println!("in all   {:>8.1} s", elapsed.as_secs_f64());
    println!("peak     {:>8} MiB", peak_mib());
    let sum = |of: fn(&Took) -> usize| shares.iter().map(of).sum::<usize>();
    println!("scores   {:>8}, of which {} say drift", sum(|took| took.scores), sum(|took| took.drifted));
}

fn check(columns: &[&Column], seed: u64, options: &Options) -> Took {
    let (mut took, mut numbers) = (Took::default(), Numbers::new(seed + 1));
    let mut rows = vec![0.0; options.large_reference_rows];
    let mut profiles: Vec<(Reference, Profile)> = Vec::new();
    for column in columns {
        timed(&mut took.drawing, || column.reference.draw(&mut numbers, &mut rows));
        let reference = timed(&mut took.building, || build(column.name, &rows));
        let profile = reference.empty_profile();
        profiles.push((reference, profile));
    }
    let mut rows = vec![0.0; GROUP];
    for first in (0..options.large_rows).step_by(GROUP) {
        let rows = &mut rows[..GROUP.min(options.large_rows - first)];
        for (column, (reference, profile)) in columns.iter().zip(&mut profiles) {
            timed(&mut took.drawing, || column.window.draw(&mut numbers, rows));
            timed(&mut took.counting, || reference.count_numbers(profile, rows));
        }
    }
    for (reference, profile) in &profiles {
        let scores = timed(&mut took.scoring, || reference.scores(profile, &Thresholds::default(), true));
        took.scores += scores.len();
        took.drifted += scores.iter().filter(|score| score.verdict == Verdict::Drift).count();
    }
    took
}

fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    *sum += began.elapsed();
    result
}

/// The most memory that this process has had, as the kernel tells it.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
