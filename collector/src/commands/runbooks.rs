//! `driftline runbooks lint`: whether runbooks are fit to be opened at night.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Zoned;

use super::{EXIT_USAGE, load};
use crate::runbooks::Runbooks;
use crate::runbooks::lint::{Age, lint};

/// Something is to be put right.
const EXIT_FOUND: u8 = 1;

#[derive(Debug, Subcommand)]
pub(super) enum RunbooksCommand {
    /// Holds the runbooks of a configuration against its rules, against the commands and metrics that there are, and against
    /// the form in runbooks/README.md. Exits with 0 when there is nothing to find, else with 1.
    Lint {
        /// The configuration file.
        #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
        config: PathBuf,
        /// So many days after its last test ('tested' in its head) one of your own wants another.
        #[arg(long, value_name = "DAYS", default_value_t = 180)]
        max_age_days: u16,
    },
}

pub(super) fn run(command: &RunbooksCommand) -> ExitCode {
    let RunbooksCommand::Lint { config: path, max_age_days } = command;
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let runbooks = match Runbooks::load(&config.alerting) {
        Ok(runbooks) => runbooks,
        Err(problem) => {
            eprintln!("{}: {problem}", path.display());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let age = Age { today: Zoned::now().date(), max_days: i32::from(*max_age_days) };
    let findings = lint(&runbooks, &config.alerting.rules, age);
    for finding in &findings {
        println!("{}.md:{}: {}", finding.runbook, finding.line, finding.what);
    }
    if findings.is_empty() {
        println!("{} runbooks, nothing to find", runbooks.iter().count());
        return ExitCode::SUCCESS;
    }
    ExitCode::from(EXIT_FOUND)
}
