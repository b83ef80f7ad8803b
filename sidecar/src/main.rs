//! `driftline-sidecar`: settings, start, wait for a signal, stop.

use std::process::ExitCode;

use clap::Parser;
use driftline_sidecar::{Settings, Sidecar, StartError, Stopped};
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

    let sidecar = match Sidecar::start(settings) {
        Ok(sidecar) => sidecar,
        Err(error) => {
            eprintln!("driftline-sidecar: {error}");
            return ExitCode::from(if matches!(error, StartError::Settings(_)) { EXIT_USAGE } else { 1 });
        }
    };
    if let Err(error) = wait_for_signal() {
        eprintln!("driftline-sidecar: cannot wait for signals: {error}");
        return ExitCode::FAILURE;
    }
    let Stopped { account, spooled } = sidecar.stop();
    let dropped: u64 = account.dropped.iter().map(|dropped| dropped.count).sum();
    tracing::info!(seen = account.seen, delivered = account.delivered, dropped, spooled, "sidecar has stopped");
    ExitCode::SUCCESS
}

fn wait_for_signal() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
