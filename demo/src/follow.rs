//! Following along: one line for each thing that happens.

use std::time::Duration;

use indicatif::ProgressBar;
use reqwest::Client;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Event {
    id: i64,
    kind: String,
    text: String,
}

/// Shows what happens, until the task is stopped.
pub(crate) async fn events(page: String, bar: ProgressBar) {
    let client = Client::new();
    let mut after = 0;
    loop {
        let url = format!("{page}/api/v1/events?after={after}&wait_ms=5000");
        let events = async { client.get(url).send().await?.json::<Vec<Event>>().await };
        match events.await {
            Ok(events) => {
                for event in events {
                    after = event.id;
                    show(&bar, &line(&event.kind, &event.text));
                }
            }
            // The collector is starting or stopping.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Shows a line above the progress bar, or on its own where there is no terminal.
pub(crate) fn show(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() {
        eprintln!("{line}");
    } else {
        bar.println(line);
    }
}

fn line(kind: &str, text: &str) -> String {
    let word = match kind {
        "alert_fired" => "ALERT",
        "alert_resolved" => "RESOLVED",
        "archived" => "file",
        other => other,
    };
    format!("{word:<9} {text}")
}
