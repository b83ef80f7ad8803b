//! What the replay came to, in numbers that must add up.

use std::collections::BTreeMap;
use std::path::Path;

use driftline_sidecar::Account;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pagerduty::Received;

/// A PSI that much of the field calls significant, whatever the sample.
const FIXED_PSI: f64 = 0.2;
/// Windows that end before this are of the quiet stretch.
const QUIET_UNTIL: &str = "2013-03-01";

/// The replay in numbers.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    requests: Requests,
    exchanges: Exchanges,
    rows: Rows,
    windows: usize,
    columns: Vec<ColumnVerdict>,
    alerts: Vec<AlertLine>,
    pagerduty: Vec<Received>,
    mails: Vec<String>,
    archive: ArchiveLine,
    fixed_threshold: FixedThreshold,
    /// What does not add up; empty when everything does.
    unaccounted: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Requests {
    sent: u64,
    answered: u64,
    outcomes: u64,
}

#[derive(Debug, Serialize)]
struct Exchanges {
    seen: u64,
    delivered: u64,
    dropped: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Rows {
    counted: u64,
    late: u64,
    archived: u64,
}

/// A column in the last window.
#[derive(Debug, Serialize)]
struct ColumnVerdict {
    column: String,
    /// Null for a categorical column.
    ks: Option<f64>,
    psi: Option<f64>,
    limit: Option<f64>,
    verdict: String,
    /// Whether it drifted in any window of the quiet stretch, and of summer.
    drifted_in_quiet_stretch: bool,
    drifted_in_summer: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct AlertLine {
    id: String,
    rule: String,
    severity: String,
    state: String,
    summary: String,
    runbook_url: String,
}

#[derive(Debug, Serialize)]
struct ArchiveLine {
    place: String,
    files: u64,
    rows: u64,
    bytes: u64,
}

/// What a threshold that knows neither samples nor time would have said of the quiet stretch.
#[derive(Debug, Serialize)]
struct FixedThreshold {
    psi: f64,
    quiet_windows: usize,
    /// Windows in which at least one column would have been called drifted.
    quiet_windows_with_drift: usize,
    /// Windows in which Driftline called one drifted.
    quiet_windows_with_drift_here: usize,
}

/// What the demo itself counted.
pub(crate) struct Counted<'a> {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) outcomes: u64,
    pub(crate) account: Account,
    pub(crate) pagerduty: Vec<Received>,
    pub(crate) folder: &'a Path,
}

async fn get(page: &str, path: &str) -> Result<Value, String> {
    let url = format!("{page}/api/v1/{path}");
    let answer = async { Client::new().get(&url).send().await?.error_for_status()?.json().await };
    answer.await.map_err(|error: reqwest::Error| format!("{url}: {error}"))
}

impl Summary {
    /// Asks the collector, and compares with what the demo counted.
    pub(crate) async fn gather(page: &str, model: &str, counted: Counted<'_>) -> Result<Self, String> {
        let overview = get(page, &format!("models/{model}")).await?;
        let psi = get(page, &format!("models/{model}/scores?detector=psi&limit=1000")).await?;
        let ks = get(page, &format!("models/{model}/scores?detector=ks&limit=1000")).await?;
        let alerts = get(page, "alerts").await?;
        let archive = get(page, "archive?limit=1").await?;
        let status = get(page, "status").await?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let rows = Rows {
            counted: number(&overview["rows"]),
            late: number(&overview["late_rows"]),
            archived: number(&archive["rows"]),
        };
        let mails = std::fs::read_dir(counted.folder.join("mails"))
            .map(|folder| folder.filter_map(|entry| Some(entry.ok()?.path().display().to_string())).collect())
            .unwrap_or_default();
        let dropped = counted.account.dropped.iter().map(|dropped| (dropped.reason.clone(), dropped.count)).collect();
        let mut summary = Self {
            requests: Requests { sent: counted.sent, answered: counted.answered, outcomes: counted.outcomes },
            exchanges: Exchanges { seen: counted.account.seen, delivered: counted.account.delivered, dropped },
            rows,
            windows: psi["windows"].as_array().map_or(0, Vec::len),
            columns: columns(&psi, &ks),
            alerts: serde_json::from_value(alerts).map_err(|error| error.to_string())?,
            pagerduty: counted.pagerduty,
            mails,
            archive: ArchiveLine {
                place: archive["place"].as_str().unwrap_or_default().to_owned(),
                files: number(&archive["files"]),
                rows: number(&archive["rows"]),
                bytes: number(&archive["bytes"]),
            },
            fixed_threshold: fixed_threshold(&psi),
            unaccounted: Vec::new(),
        };
        summary.mails.sort();
        summary.alerts.reverse();
        summary.unaccounted = summary.check(&status);
        Ok(summary)
    }

    /// Everything that must be equal and is not.
    fn check(&self, status: &Value) -> Vec<String> {
        let (sent, dropped) = (self.requests.sent, self.exchanges.dropped.values().sum::<u64>());
        let durable: u64 = status["sidecars"]
            .as_array()
            .map_or(0, |sidecars| sidecars.iter().filter_map(|sidecar| sidecar["durable"].as_u64()).sum());
        let checks = [
            ("requests sent = requests answered", sent, self.requests.answered),
            ("requests sent = exchanges seen", sent, self.exchanges.seen),
            ("exchanges seen = delivered + dropped", self.exchanges.seen, self.exchanges.delivered + dropped),
            ("exchanges delivered = exchanges durable", self.exchanges.delivered, durable),
            ("rows counted + late = exchanges delivered", self.rows.counted + self.rows.late, self.exchanges.delivered),
            ("rows archived = rows counted + late", self.rows.archived, self.rows.counted + self.rows.late),
        ];
        checks
            .into_iter()
            .filter(|(_, left, right)| left != right)
            .map(|(law, left, right)| format!("{law}: {left} and {right}"))
            .collect()
    }

    /// Whether everything adds up.
    pub(crate) fn adds_up(&self) -> bool {
        self.unaccounted.is_empty()
    }

    /// The summary as a table.
    pub(crate) fn print(&self) {
        let Self { requests, exchanges, rows, archive, fixed_threshold: fixed, .. } = self;
        let dropped: Vec<String> =
            exchanges.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let dropped = if dropped.is_empty() { "0".to_owned() } else { dropped.join(", ") };
        println!();
        println!("requests     {} sent, {} answered; {} outcomes", requests.sent, requests.answered, requests.outcomes);
        println!("exchanges    {} seen = {} delivered + {dropped} dropped", exchanges.seen, exchanges.delivered);
        println!("rows         {} counted in windows, {} late, {} archived", rows.counted, rows.late, rows.archived);
        println!("windows      {} closed", self.windows);
        println!("archive      {} files, {} bytes in {}", archive.files, archive.bytes, archive.place);
        println!();
        println!(
            "{:<18} {:>8} {:>8} {:>8}  {:<16} {:<9} summer",
            "column", "KS", "PSI", "limit", "last window", "quiet"
        );
        for column in &self.columns {
            let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
            let word = |drifted: bool| if drifted { "drift" } else { "-" };
            println!(
                "{:<18} {:>8} {:>8} {:>8}  {:<16} {:<9} {}",
                column.column,
                number(column.ks),
                number(column.psi),
                number(column.limit),
                column.verdict,
                word(column.drifted_in_quiet_stretch),
                word(column.drifted_in_summer)
            );
        }
        println!();
        println!(
            "quiet stretch: a fixed PSI of {} would have cried drift in {} of {} windows, Driftline in {}",
            fixed.psi, fixed.quiet_windows_with_drift, fixed.quiet_windows, fixed.quiet_windows_with_drift_here
        );
        println!();
        for alert in &self.alerts {
            println!("alert        {} ({}, {}): {}", alert.rule, alert.severity, alert.state, alert.summary);
            println!("             runbook {}", alert.runbook_url);
        }
        for event in &self.pagerduty {
            println!("pagerduty    {:<8} {} {}", event.action, event.dedup_key, event.summary);
        }
        for mail in &self.mails {
            println!("mail         {mail}");
        }
        println!();
        if self.adds_up() {
            println!("Every request is accounted for.");
        }
        for problem in &self.unaccounted {
            println!("DOES NOT ADD UP: {problem}");
        }
    }
}

fn ends(matrix: &Value) -> Vec<&str> {
    matrix["windows"].as_array().map_or_else(Vec::new, |windows| {
        windows.iter().map(|window| window["ends"].as_str().unwrap_or_default()).collect()
    })
}

fn columns(psi: &Value, ks: &Value) -> Vec<ColumnVerdict> {
    let ends = ends(psi);
    let find = |matrix: &Value, name: &str| -> Option<Vec<Value>> {
        let column = matrix["columns"].as_array()?.iter().find(|column| column["column"] == name)?.clone();
        column["cells"].as_array().cloned()
    };
    let mut columns = Vec::new();
    for column in psi["columns"].as_array().into_iter().flatten() {
        let Some(name) = column["column"].as_str() else { continue };
        let cells = find(psi, name).unwrap_or_default();
        let drifted = |from: &str, to: &str| {
            cells.iter().zip(&ends).any(|(cell, ends)| (from..to).contains(ends) && cell["verdict"] == "drift")
        };
        let last = cells.last();
        columns.push(ColumnVerdict {
            column: name.to_owned(),
            ks: find(ks, name).and_then(|cells| cells.last()?["value"].as_f64()),
            psi: last.and_then(|cell| cell["value"].as_f64()),
            limit: last.and_then(|cell| cell["limit"].as_f64()),
            verdict: last.and_then(|cell| cell["verdict"].as_str()).unwrap_or("none").replace('_', " "),
            drifted_in_quiet_stretch: drifted("2013-01-01", QUIET_UNTIL),
            drifted_in_summer: drifted("2013-07-01", "2013-11-01"),
        });
    }
    columns
}

fn fixed_threshold(psi: &Value) -> FixedThreshold {
    let ends = ends(psi);
    let (mut windows, mut fixed, mut here) = (0, 0, 0);
    for (index, ends) in ends.iter().enumerate() {
        let cells: Vec<&Value> =
            psi["columns"].as_array().into_iter().flatten().map(|column| &column["cells"][index]).collect();
        let is_judged = cells.iter().any(|cell| matches!(cell["verdict"].as_str(), Some("ok" | "drift")));
        if *ends >= QUIET_UNTIL || !is_judged {
            continue;
        }
        windows += 1;
        fixed += usize::from(cells.iter().any(|cell| cell["effect"].as_f64().is_some_and(|effect| effect > FIXED_PSI)));
        here += usize::from(cells.iter().any(|cell| cell["verdict"] == "drift"));
    }
    FixedThreshold {
        psi: FIXED_PSI,
        quiet_windows: windows,
        quiet_windows_with_drift: fixed,
        quiet_windows_with_drift_here: here,
    }
}
