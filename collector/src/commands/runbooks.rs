//! `driftline runbooks lint`: whether runbooks are fit to be opened at night.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Zoned;
use jiff::civil::Date;

use super::{EXIT_USAGE, load};
use crate::alerting::drills;
use crate::runbooks::Runbooks;
use crate::runbooks::lint::{Age, lint};
use crate::{store, times};

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
        /// So many days after its last test ('tested' in its head, or a drill that data_dir's
        /// database knows of) one of your own wants another.
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
    let drilled = drilled(&config.data_dir);
    let age = Age { today: Zoned::now().date(), max_days: i32::from(*max_age_days), drilled: &drilled };
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

/// The days of the last drills that reached everybody, as far as there is a collector's database here.
fn drilled(folder: &Path) -> BTreeMap<String, Date> {
    let found = store::look(folder).and_then(|db| db.map_or(Ok(BTreeMap::new()), |db| drills::last_passed(&db)));
    let drilled = found.unwrap_or_else(|error| {
        eprintln!("driftline: drills are left out: the database in {}: {error}", folder.display());
        BTreeMap::new()
    });
    drilled.into_iter().map(|(runbook, at)| (runbook, times::date(at))).collect()
}
