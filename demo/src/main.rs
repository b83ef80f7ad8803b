//! Driftline on one machine: real flights of 2013, a real model, real HTTP through the sidecar, a collector, alerts.
//!
//! The model was trained on the even days of January. The replay shows it the odd ones, which are quiet, then summer,
//! which is not, then winter again.

mod flights;
mod follow;
mod model;
mod model_server;
mod pagerduty;
mod replay;
mod stage;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use replay::{Course, Tally};
use stage::Stage;
use summary::{Counted, Summary};

/// How long everything may take to settle after the replay.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(180);

/// Runs Driftline on real flights, a real model and real HTTP, all on this machine.
#[derive(Debug, Parser)]
#[command(name = "demo", version, max_term_width = 110)]
struct Arguments {
    /// Replay, wait for everything to settle, print a summary, and end.
    #[arg(long)]
    once: bool,
    /// With --once: print the summary as JSON.
    #[arg(long, requires = "once")]
    json: bool,
    /// Port of the page; 0 for any that is free.
    #[arg(long, default_value_t = 4600, value_name = "PORT")]
    port: u16,
    /// Seconds that a day of flights takes.
    #[arg(long, default_value_t = 1.3, value_name = "SECONDS")]
    seconds_per_day: f64,
    /// Folder for the database, the archive and the mails. It is emptied first.
    #[arg(long, default_value = "driftline-demo", value_name = "FOLDER")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !(0.01..=3600.0).contains(&arguments.seconds_per_day) {
        eprintln!("demo: --seconds-per-day: allowed is 0.01 to 3600");
        return ExitCode::from(64);
    }
    if let Err(why) = driftline_logging::init(LevelFilter::WARN) {
        eprintln!("demo: {why}");
        return ExitCode::from(64);
    }
    rustls::crypto::ring::default_provider().install_default().ok();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The collector and the sidecar have runtimes of their own, which may not be made or ended inside this one.
    match run(&arguments, &runtime) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, runtime: &tokio::runtime::Runtime) -> Result<bool, String> {
    let flights = flights::load()?;
    let stage = {
        let _inside = runtime.enter();
        Stage::set(&arguments.folder, arguments.port, &flights)?
    };
    let page = stage.page();
    eprintln!("Open {page}");
    eprintln!("Everything lies in {}; mails land in {}", stage.folder.display(), stage.folder.join("mails").display());

    let replayed: Vec<_> = flights.into_iter().filter(replay::is_replayed).collect();
    let bar = progress_bar(replayed.len() as u64);
    let follow = runtime.spawn(follow::events(page.clone(), bar.clone()));
    let tally = Arc::new(Tally::default());
    let course = Course {
        sidecar: stage.sidecar.listen(),
        collector: stage.collector.address(),
        model: stage.model.name.clone(),
        seconds_per_day: arguments.seconds_per_day,
    };
    let interrupted = runtime.block_on(async {
        let progress = |done: u64, flight: &flights::Flight| {
            bar.set_position(done);
            bar.set_message(flight.date.clone());
        };
        tokio::select! {
            done = replay::run(replayed, course, Arc::clone(&tally), progress) => done.map(|()| false),
            _ = tokio::signal::ctrl_c() => Ok(true),
        }
    })?;
    bar.set_message("the replay is over");
    bar.tick();
    let Stage { folder, model, collector, sidecar, pagerduty } = stage;
    if arguments.once && !interrupted {
        let account = sidecar.stop().account;
        let summary = runtime.block_on(async {
            settle(&page, &model.name).await?;
            let counted = Counted {
                sent: tally.sent.load(Ordering::Relaxed),
                answered: tally.answered.load(Ordering::Relaxed),
                outcomes: tally.outcomes.load(Ordering::Relaxed),
                account,
                pagerduty: pagerduty.events(),
                folder: &folder,
            };
            // The last lines are on their way.
            tokio::time::sleep(Duration::from_millis(500)).await;
            Summary::gather(&page, &model.name, counted).await
        });
        follow.abort();
        bar.finish_and_clear();
        collector.stop();
        let summary = summary?;
        if arguments.json {
            println!("{}", serde_json::to_string_pretty(&summary).map_err(|error| error.to_string())?);
        } else {
            summary.print();
        }
        return Ok(summary.adds_up());
    }
    if !interrupted {
        follow::show(&bar, &format!("The replay is over. {page} stays up until Ctrl-C."));
        runtime.block_on(async { tokio::signal::ctrl_c().await }).map_err(|error| error.to_string())?;
    }
    follow.abort();
    bar.finish_and_clear();
    sidecar.stop();
    collector.stop();
    Ok(true)
}

fn progress_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} flights  {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Waits until everything that was delivered is counted and archived, the last window has closed, and everybody is told.
async fn settle(page: &str, model: &str) -> Result<(), String> {
    let client = reqwest::Client::new();
    let get = async |path: &str| -> Result<Value, reqwest::Error> {
        client.get(format!("{page}/api/v1/{path}")).send().await?.json().await
    };
    let deadline = tokio::time::Instant::now() + SETTLE_TIMEOUT;
    loop {
        let (status, model) = (get("status").await, get(&format!("models/{model}")).await);
        if let (Ok(status), Ok(model)) = (status, model) {
            let journal = &status["journal_position"];
            let is_settled = *journal == status["counted_position"]
                && *journal == status["archived_position"]
                && status["notifications_pending"] == 0
                && model["window"]["ends"].as_str() > model["newest_event"].as_str();
            if is_settled {
                return Ok(());
            }
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("things did not settle within {SETTLE_TIMEOUT:?}; see {page}/api/v1/status"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
