//! `driftline rules`: the rules of a configuration, as other systems write them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::load;
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Recording and alerting rules of Prometheus, on the collector's metrics.
    Prometheus,
}

pub(super) fn run(command: &RulesCommand) -> ExitCode {
    let RulesCommand::Export { config, format, output } = command;
    let config = match load(config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let text = match format {
        Format::Prometheus => interchange::prometheus(&config),
    };
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
