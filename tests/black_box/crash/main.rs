//! The crash harness: the real collector under load, killed at random moments and at named points, with a store that
//! misbehaves, on a full disk, and beside a second collector; and an oracle that knows what must be there afterwards.
//!
//! `tests/crash` runs it; `docs/crash.md` says what it does and what it last found. Each scenario is a file, and draws
//! everything by chance from one seed, which is printed.

#![allow(clippy::unwrap_used, reason = "what fails here fails the harness")]

mod catalogue;
mod deliveries;
mod dice;
mod disk;
mod exact;
mod faults;
mod hearers;
mod kills;
mod oracle;
mod pairs;
mod rows;
mod s3;
mod senders;
mod stores;

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use clap::{Parser, ValueEnum};
use dice::Dice;

/// Kills collectors, and looks whether anything was lost or is there twice.
#[derive(Debug, Clone, Parser)]
#[command(name = "crash", max_term_width = 110)]
pub(crate) struct Options {
    /// How often the collector is killed in each of the scenarios `kills`, `stores` and `deliveries`.
    #[arg(long, default_value_t = 12)]
    pub(crate) kills: u64,
    /// What chance begins with; another each time without it.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Scenarios; all without it.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Scenario>,
    /// SeaweedFS's binary, the S3 server.
    #[arg(long, env = "DRIFTLINE_WEED")]
    pub(crate) weed: Option<PathBuf>,
    /// Leave the folders with databases, archives and logs in place.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// What the collector is put through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Killed at random moments and at every named point, with the archive in a folder.
    Kills,
    /// The archive in an S3 server that is slow, refuses, loses answers and is killed; the collector is killed, too.
    Stores,
    /// The disk of the database is full, then that of the archive.
    Disk,
    /// Two collectors on one folder, on one archive, and on copies of one database.
    Pairs,
    /// Killed in the middle of a thousand notifications to four targets that are slow, and lose answers.
    Deliveries,
}

/// How a scenario ended, in words; or why it did not run.
pub(crate) enum Outcome {
    Passed(String),
    Skipped(String),
}

fn main() {
    let options = Options::parse();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    let seed = options.seed.unwrap_or(now.subsec_nanos().into());
    println!("seed {seed}: repeat with --seed {seed}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for scenario in Scenario::value_variants() {
        if !options.only.is_empty() && !options.only.contains(scenario) {
            continue;
        }
        let begun = Instant::now();
        let mut dice = Dice::new(seed);
        let outcome = match scenario {
            Scenario::Kills => runtime.block_on(kills::run(&options, &mut dice)),
            Scenario::Stores => runtime.block_on(stores::run(&options, &mut dice)),
            Scenario::Disk => runtime.block_on(disk::run(&options, &mut dice)),
            Scenario::Pairs => runtime.block_on(pairs::run(&options, &mut dice)),
            Scenario::Deliveries => runtime.block_on(deliveries::run(&options, &mut dice)),
        };
        let seconds = begun.elapsed().as_secs();
        match outcome {
            Outcome::Passed(says) => println!("{scenario:?}: {says}, in {seconds} s"),
            Outcome::Skipped(why) => println!("skipped: {scenario:?}: {why}"),
        }
    }
}

/// A folder of a scenario's own. A scenario that fails leaves it in place.
pub(crate) struct Folder {
    folder: Option<tempfile::TempDir>,
    keep: bool,
}

impl Folder {
    pub(crate) fn new(options: &Options) -> Self {
        Self { folder: Some(tempfile::tempdir().expect("a folder")), keep: options.keep }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.as_ref().expect("held until it is dropped").path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if (self.keep || std::thread::panicking())
            && let Some(folder) = self.folder.take()
        {
            println!("left in place: {}", folder.keep().display());
        }
    }
}
