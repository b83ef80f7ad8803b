//! `driftline rules`: the rules of a configuration, as other systems write them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::{EXIT_USAGE, load};
use crate::config::{Config, Problems};
use crate::interchange;

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Writes the rules of a configuration, the shipped ones among them, in the format of another system.
    Export {
        /// The configuration file.
        #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
        config: PathBuf,
        /// Whose format.
        #[arg(long, value_enum)]
        format: Format,
        /// Where to write them; standard output without it.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Makes rules of OpenSLO's documents (v1) whose indicators are ours, as a part of a configuration.
    Import {
        /// The file with the documents.
        file: PathBuf,
        /// Where to write them; standard output without it.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Recording and alerting rules of Prometheus, on the collector's metrics.
    Prometheus,
    /// Rules on error budgets as documents of OpenSLO.
    Openslo,
}

pub(super) fn run(command: &RulesCommand) -> ExitCode {
    match command {
        RulesCommand::Export { config, format, output } => match load(config) {
            Ok(config) => write(&export(&config, *format), output.as_deref()),
            Err(code) => code,
        },
        RulesCommand::Import { file, output } => match import(file) {
            Ok(rules) => write(&rules, output.as_deref()),
            Err(problems) => {
                eprintln!("{problems}");
                ExitCode::from(EXIT_USAGE)
            }
        },
    }
}

fn export(config: &Config, format: Format) -> String {
    match format {
        Format::Prometheus => interchange::prometheus(config),
        Format::Openslo => {
            interchange::openslo(&config.alerting.rules, &|rule| config.alerting.tells_everyone(rule), &|model| {
                config.model(model).windows
            })
        }
    }
}

fn import(file: &Path) -> Result<String, Problems> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Problems::unreadable(&name, &error, "name a file with documents of OpenSLO"))?;
    interchange::import_openslo(&name, &text)
}

/// Writes rules to a file, or to standard output.
fn write(text: &str, output: Option<&Path>) -> ExitCode {
    let (written, place) = match output {
        Some(path) => (std::fs::write(path, text), path.display().to_string()),
        None => (io::stdout().write_all(text.as_bytes()), "standard output".to_owned()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("driftline: the rules could not be written to {place}: {error}");
            ExitCode::FAILURE
        }
    }
}
