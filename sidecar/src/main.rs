//! `driftline-sidecar`: settings, start, wait for a signal, stop.

use std::process::ExitCode;

use clap::Parser;
use driftline_sidecar::{Settings, Sidecar, StartError, check};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// `EX_USAGE` of sysexits.h: the settings are wrong, and starting again will not help.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) => {
            // Help and version are asked for, and are no errors.
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    let filter = EnvFilter::try_from_env("DRIFTLINE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    if settings.check {
        return match check(&settings) {
            Ok(()) => {
                println!("settings and rules are right");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        };
    }
    let sidecar = match Sidecar::start(settings) {
        Ok(sidecar) => sidecar,
        Err(error) => return failed(&error),
    };
    if let Err(error) = wait_for_signal(&sidecar) {
        eprintln!("driftline-sidecar: cannot wait for signals: {error}");
        return ExitCode::FAILURE;
    }
    let account = sidecar.stop();
    let dropped: u64 = account.dropped.iter().map(|dropped| dropped.count).sum();
    tracing::info!(seen = account.seen, delivered = account.delivered, dropped, "sidecar has stopped");
    ExitCode::SUCCESS
}

fn failed(error: &StartError) -> ExitCode {
    eprintln!("driftline-sidecar: {error}");
    let is_usage = matches!(error, StartError::Settings(_) | StartError::Rules(_));
    ExitCode::from(if is_usage { EXIT_USAGE } else { 1 })
}

/// Waits until it is time to stop. SIGHUP loads the rules again.
fn wait_for_signal(sidecar: &Sidecar) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hang_up.recv() => sidecar.reload(),
            }
        }
    })
}
