//! Logs on standard error, the same way in every binary.
//!
//! * `DRIFTLINE_LOG` says what is logged: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or levels of parts, as
//!   in `info,driftline_collector::archive=debug`.
//! * `DRIFTLINE_LOG_FORMAT` says how: `text`, or `json` with one object for each line.

use std::env::{self, VarError};
use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// What is logged.
const LEVELS: &str = "DRIFTLINE_LOG";
/// How it is written.
const FORMAT: &str = "DRIFTLINE_LOG_FORMAT";

/// Begins to log, as the environment says, or from this level on if it says nothing.
///
/// # Errors
/// When a variable holds what cannot be read: which, and what is allowed.
pub fn init(default: LevelFilter) -> Result<(), String> {
    let targets = targets(read(LEVELS)?.as_deref(), default)?;
    let is_json = is_json(read(FORMAT)?.as_deref())?;
    let layer = if is_json {
        fmt::layer().json().flatten_event(true).with_writer(stderr).boxed()
    } else {
        // Colours are for people.
        fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr).boxed()
    };
    // Whoever logs already goes on: tests start several parts in one process.
    registry().with(targets).with(layer).try_init().ok();
    Ok(())
}

fn read(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is no text")),
    }
}

fn targets(value: Option<&str>, default: LevelFilter) -> Result<Targets, String> {
    let Some(value) = value else { return Ok(Targets::new().with_default(default)) };
    value.parse().map_err(|error| {
        format!(
            "{LEVELS}: '{value}': {error}; allowed is a level, or several as in info,driftline_sidecar::shipper=debug"
        )
    })
}

fn is_json(value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(value) => Err(format!("{FORMAT}: '{value}' is not allowed; allowed is text or json")),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_of_everything_or_of_parts() {
        let by_default = targets(None, LevelFilter::INFO).unwrap();
        assert!(by_default.would_enable("any", &Level::INFO) && !by_default.would_enable("any", &Level::DEBUG));
        let parts = targets(Some("warn,driftline_sidecar::shipper=debug"), LevelFilter::INFO).unwrap();
        assert!(parts.would_enable("driftline_sidecar::shipper::sender", &Level::DEBUG));
        assert!(!parts.would_enable("driftline_sidecar::pump", &Level::INFO));
        assert!(!targets(Some("off"), LevelFilter::INFO).unwrap().would_enable("any", &Level::ERROR));
        let error = targets(Some("info,pump=loud"), LevelFilter::INFO).unwrap_err();
        assert!(error.starts_with("DRIFTLINE_LOG: 'info,pump=loud'"), "{error}");
    }

    #[test]
    fn the_format_is_one_of_two() {
        assert_eq!((is_json(None), is_json(Some("json"))), (Ok(false), Ok(true)));
        assert!(is_json(Some("xml")).unwrap_err().contains("allowed is text or json"));
    }
}
