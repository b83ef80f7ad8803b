//! `driftline-sidecar`: settings, start, wait for a signal, stop.

use std::process::ExitCode;

use clap::Parser;
use driftline_sidecar::{Settings, Sidecar, StartError, Stopped, check};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;

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
    if let Err(why) = driftline_logging::init(LevelFilter::INFO) {
        eprintln!("driftline-sidecar: {why}");
        return ExitCode::from(EXIT_USAGE);
    }
    if settings.check {
        return match check(&settings) {
            Ok(()) => {
                println!("settings and rules are right");
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        };
    }
    // Before anything runs: a signal that nobody handles yet would be lost, or end the process at once.
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("driftline-sidecar: cannot wait for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let sidecar = match Sidecar::start(settings) {
        Ok(sidecar) => sidecar,
        Err(error) => return failed(&error),
    };
    signals.wait(&sidecar);
    let Stopped { account, spooled } = sidecar.stop();
    let dropped: u64 = account.dropped.iter().map(|dropped| dropped.count).sum();
    tracing::info!(seen = account.seen, delivered = account.delivered, dropped, spooled, "sidecar has stopped");
    ExitCode::SUCCESS
}

fn failed(error: &StartError) -> ExitCode {
    eprintln!("driftline-sidecar: {error}");
    let is_usage = matches!(error, StartError::Settings(_) | StartError::Rules(_));
    ExitCode::from(if is_usage { EXIT_USAGE } else { 1 })
}

/// The signals that the sidecar listens to.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hang_up = signal(SignalKind::hangup())?;
        drop(entered);
        Ok(Self { runtime, terminate, interrupt, hang_up })
    }

    /// Waits until it is time to stop. SIGHUP loads the rules again.
    fn wait(mut self, sidecar: &Sidecar) {
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = self.terminate.recv() => return,
                    _ = self.interrupt.recv() => return,
                    _ = self.hang_up.recv() => sidecar.reload(),
                }
            }
        });
    }
}
