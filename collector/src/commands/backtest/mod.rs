//! `driftline backtest`: which alerts the past would have brought, and which a change would have.
//!
//! ```text
//!   archived rows ─▶ windows ─▶ scores ─▶ rules ─▶ alerts, at the time at which each window ended
//! ```
//!
//! Everything from the rows on is what the collector runs; nobody is told, and nothing is written.

mod history;
mod html;
mod said;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use self::history::History;
use super::samples::{Archive, From};
use super::{EXIT_USAGE, load};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Backtest {
    #[command(flatten)]
    from: From,
    /// A configuration with a change: the same rows go through it as well, and what differs is shown.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Exit with 1 when more pages than this would have gone out; with --against, of the changed configuration.
    #[arg(long, value_name = "PAGES")]
    max_pages: Option<usize>,
    /// The same for tickets.
    #[arg(long, value_name = "TICKETS")]
    max_tickets: Option<usize>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to write it; standard output without it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for a person.
    Text,
    /// One object.
    Json,
    /// A page with pictures that needs nothing else.
    Html,
}

pub(super) fn run(backtest: &Backtest) -> ExitCode {
    let config = match load(&backtest.from.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let changed = match backtest.against.as_deref().map(load).transpose() {
        Ok(changed) => changed,
        Err(code) => return code,
    };
    if backtest.from.from >= backtest.from.to {
        eprintln!("driftline: --from is not before --to");
        return ExitCode::from(EXIT_USAGE);
    }
    match replay(backtest, &config, changed.as_ref()) {
        Ok(is_within) if is_within => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("driftline: {why}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// It could not be said: 1 says that there were too many alerts.
const EXIT_FAILED: u8 = 2;

/// Whether there were no more alerts than are allowed.
fn replay(backtest: &Backtest, config: &Config, changed: Option<&Config>) -> Result<bool, String> {
    let archive = Archive::open(config)?;
    let history = History::of(config, config, &archive, &backtest.from)?;
    let changed = changed.map(|changed| History::of(changed, config, &archive, &backtest.from)).transpose()?;
    let said = match backtest.format {
        Format::Text => said::text(&history, changed.as_ref()),
        Format::Json => said::json(&history, changed.as_ref())?,
        Format::Html => html::page(&history, changed.as_ref()),
    };
    match &backtest.output {
        Some(path) => std::fs::write(path, said).map_err(|error| format!("{}: {error}", path.display()))?,
        None => std::io::stdout().write_all(said.as_bytes()).map_err(|error| error.to_string())?,
    }
    let judged = changed.as_ref().unwrap_or(&history);
    let limits = [("page", judged.pages(), backtest.max_pages), ("ticket", judged.tickets(), backtest.max_tickets)];
    let mut is_within = true;
    for (what, found, allowed) in limits {
        if let Some(allowed) = allowed.filter(|allowed| found > *allowed) {
            eprintln!("driftline: {found} {what}s are more than the {allowed} that are allowed");
            is_within = false;
        }
    }
    Ok(is_within)
}
