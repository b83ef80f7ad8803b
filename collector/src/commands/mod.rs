//! The command line: `driftline serve`, `check`, `reference build`, `reference show`, `samples`, `backfill`,
//! `backtest`, `compare`, `rules export`, `rules import`, `runbooks lint`, `doctor`, `silence`, `maintenance`,
//! `acknowledge`, `deliveries`, `drill`, `reaction`, `routes test`.

mod acknowledge;
mod asking;
mod backfill;
mod backtest;
mod compare;
mod deliveries;
mod doctor;
mod drill;
mod heaps;
mod maintenance;
mod reaction;
mod reference;
mod routes;
mod rules;
mod runbooks;
mod samples;
mod silence;
mod windows;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::{Collector, Config, StartError, failpoint};

/// `EX_USAGE` of sysexits.h: the configuration is wrong, and starting again will not help.
const EXIT_USAGE: u8 = 64;

/// Watches machine-learning models in production: drift, freshness, latency; archives what they saw; and says so.
#[derive(Debug, Parser)]
#[command(name = "driftline", version, max_term_width = 110)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the collector.
    Serve {
        /// The configuration file.
        #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
        config: PathBuf,
    },
    /// Checks a configuration and the references that it names, without starting anything.
    Check {
        /// The configuration file.
        #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
        config: PathBuf,
    },
    /// Builds and shows references: what normal looks like.
    Reference {
        #[command(subcommand)]
        command: reference::ReferenceCommand,
    },
    /// Checks what a collector stands on: database, disk, archive, manifests, clocks, secrets. Leaves nothing behind.
    Doctor(doctor::Doctor),
    /// Writes rules for other systems, and reads theirs.
    Rules {
        #[command(subcommand)]
        command: rules::RulesCommand,
    },
    /// Checks runbooks.
    Runbooks {
        #[command(subcommand)]
        command: runbooks::RunbooksCommand,
    },
    /// Pulls the rows of a stretch of time out of the archive, as CSV, JSON lines or Parquet.
    Samples(Box<samples::Samples>),
    /// Makes the scores of past windows again from the archive, as they were, or under another reference or configuration:
    /// of all windows that end after --from, and by --to at the latest.
    Backfill(Box<backfill::Backfill>),
    /// Says when the rules would have told somebody, from archived rows, and under a proposed configuration. Exits with 0;
    /// with 1 when there are more pages than --max-pages, with 2 when no window could be judged.
    Backtest(Box<backtest::Backtest>),
    /// Compares rows of files or of the archive, or a reference with them: each column's scores, and whether they say drift.
    /// Exits with 0 without drift, with 1 with it, and with 2 when there were too few rows to tell.
    Compare(Box<compare::Compare>),
    /// Says of some alerts that nobody is to be told of them for a time.
    Silence {
        #[command(subcommand)]
        command: silence::SilenceCommand,
    },
    /// Says of some alerts that nobody is to be told of them at some hours, again and again.
    Maintenance {
        #[command(subcommand)]
        command: maintenance::MaintenanceCommand,
    },
    /// Says that somebody is on an alert: nobody is reminded of it any more, or called besides.
    Acknowledge(acknowledge::Acknowledge),
    /// Lists notifications that were given up, sends them again, or dismisses them.
    Deliveries {
        #[command(subcommand)]
        command: deliveries::DeliveriesCommand,
    },
    /// Says who would be told of what.
    Routes {
        #[command(subcommand)]
        command: routes::RoutesCommand,
    },
    /// Makes an alert up, which is told to everybody like a real one and ends after a while, and says of each target whether
    /// it took both and how long that took. Exits with 0 when all did, else with 1.
    Drill(Box<drill::Drill>),
    /// Shows what is started because of alerts, and decides on what waits for it.
    Reaction {
        #[command(subcommand)]
        command: reaction::ReactionCommand,
    },
}

/// Whether words after `driftline` are a command line that it takes.
pub(crate) fn parses(words: &[&str]) -> Result<(), String> {
    let all = std::iter::once("driftline").chain(words.iter().copied());
    CommandLine::try_parse_from(all).map(|_| ()).map_err(|error| error.to_string())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            // Help and version are asked for, and are no errors.
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    if let Err(why) = driftline_logging::init(LevelFilter::INFO) {
        eprintln!("driftline: {why}");
        return ExitCode::from(EXIT_USAGE);
    }
    match command_line.command {
        Command::Serve { config } => serve(&config),
        Command::Check { config } => check(&config),
        Command::Reference { command } => reference::run(command),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Rules { command } => rules::run(&command),
        Command::Runbooks { command } => runbooks::run(&command),
        Command::Samples(samples) => samples::run(&samples),
        Command::Backfill(backfill) => backfill::run(&backfill),
        Command::Backtest(backtest) => backtest::run(&backtest),
        Command::Compare(compare) => compare::run(&compare),
        Command::Silence { command } => silence::run(&command),
        Command::Maintenance { command } => maintenance::run(&command),
        Command::Routes { command } => routes::run(&command),
        Command::Drill(drill) => drill::run(&drill),
        Command::Acknowledge(acknowledge) => acknowledge::run(&acknowledge),
        Command::Deliveries { command } => deliveries::run(&command),
        Command::Reaction { command } => reaction::run(&command),
    }
}

fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    Config::load(path).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::from(EXIT_USAGE)
    })
}

fn serve(path: &std::path::Path) -> ExitCode {
    heaps::limit();
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(why) = failpoint::arm() {
        eprintln!("driftline: {why}");
        return ExitCode::from(EXIT_USAGE);
    }
    let orders = match Orders::listen() {
        Ok(orders) => orders,
        Err(error) => {
            eprintln!("driftline: cannot wait for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let collector = match Collector::start(config) {
        Ok(collector) => collector,
        Err(error) => {
            eprintln!("driftline: {error}");
            use StartError::{Access, Metadata, References, Runbooks};
            let is_usage = matches!(error, References(_) | Metadata(_) | Runbooks(_) | Access(_));
            return ExitCode::from(if is_usage { EXIT_USAGE } else { 1 });
        }
    };
    let failure = orders.wait_for_end(&collector);
    collector.stop();
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("driftline: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &std::path::Path) -> ExitCode {
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let references = crate::references::LoadedReferences::load(&config).map(drop);
    let metadata = crate::model_metadata::ModelMetadata::load(&config).map(drop);
    if let Err(problems) = references.and(metadata) {
        problems.iter().for_each(|problem| eprintln!("{}: {problem}", path.display()));
        return ExitCode::from(EXIT_USAGE);
    }
    if let Err(problem) = crate::runbooks::Runbooks::load(&config.alerting) {
        eprintln!("{}: {problem}", path.display());
        return ExitCode::from(EXIT_USAGE);
    }
    if let Err(problem) = crate::server::Access::load(&config) {
        eprintln!("{}: {problem}", path.display());
        return ExitCode::from(EXIT_USAGE);
    }
    println!(
        "{}: right. {} models, {} rules, {} targets; served on {}",
        path.display(),
        config.models.len(),
        config.alerting.rules.len(),
        config.alerting.targets.len(),
        config.listen
    );
    ExitCode::SUCCESS
}

/// Orders to stop. They are listened for before anything starts, so that one that comes meanwhile is followed as well.
struct Orders {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Orders {
    fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (terminate, interrupt) = {
            let _inside = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        Ok(Self { runtime, terminate, interrupt })
    }

    /// Waits for the order to stop, or for a failure, which it returns.
    fn wait_for_end(self, collector: &Collector) -> Option<String> {
        let Self { runtime, mut terminate, mut interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
                failure = collector.failed() => Some(failure),
            }
        })
    }
}
