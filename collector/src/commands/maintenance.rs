//! `driftline maintenance`: what is not to be told again and again, at some hours of some days.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::asking::{Asking, conclude, user};
use super::silence::{label_and_value, text};
use crate::times::{self, rfc3339};

#[derive(Debug, Subcommand)]
pub(super) enum MaintenanceCommand {
    /// Makes a window that comes again, and prints its id. For one stretch of time, make a silence.
    Add(Box<Add>),
    /// Lists windows that come again: the configuration's, which are changed there, and those that were made since.
    List {
        #[command(flatten)]
        asking: Asking,
        /// Those that have ended, too.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ends a window. What still fires is told then.
    End {
        #[command(flatten)]
        asking: Asking,
        /// Its id.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    asking: Asking,
    /// What it is called: up to 100 letters, digits, '-' and '_'.
    #[arg(value_name = "NAME")]
    name: String,
    /// Which alerts: a label (rule, severity, model, version, column, role) and its value, or the beginning of many and '*'.
    /// All that are given must match.
    #[arg(long = "match", value_name = "LABEL=VALUE", value_parser = label_and_value, required = true)]
    matching: Vec<(String, String)>,
    /// On which days it begins, as in monday,tuesday; every day without it.
    #[arg(long, value_name = "DAY", value_delimiter = ',')]
    days: Vec<String>,
    /// When it begins, as in 22:00.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// When it ends, as in 02:30; on the next day if that is not after --from.
    #[arg(long, value_name = "TIME")]
    until: String,
    /// Whose clocks, as in Europe/Berlin; UTC without it.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// When it comes no more, as in 2026-03-01T06:00:00Z; never without it.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    ends_at: Option<i64>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: String,
    /// Who; whoever is logged in without it.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

pub(super) fn run(command: &MaintenanceCommand) -> ExitCode {
    conclude(match command {
        MaintenanceCommand::Add(add) => make(add),
        MaintenanceCommand::List { asking, all, json } => list(asking, *all, *json),
        MaintenanceCommand::End { asking, id } => end(asking, id),
    })
}

fn make(add: &Add) -> Result<(), String> {
    let mut matching = Map::new();
    for (label, value) in &add.matching {
        if matching.insert(label.clone(), json!(value)).is_some() {
            return Err(format!("--match {label}=… is there twice; make a window for each"));
        }
    }
    let body = json!({
        "name": add.name,
        "matching": matching,
        "days": Some(&add.days).filter(|days| !days.is_empty()),
        "from": add.from,
        "until": add.until,
        "time_zone": add.time_zone,
        "ends_at": add.ends_at.map(rfc3339),
        "comment": add.comment,
        "author": add.author.clone().or_else(user),
    });
    let made = add.asking.change(Method::POST, &["maintenance"], Some(body))?;
    println!("{}", text(&made, "id"));
    eprintln!("{}", in_words(&made));
    Ok(())
}

fn list(asking: &Asking, all: bool, as_json: bool) -> Result<(), String> {
    let state = if all { "all" } else { "current" };
    let windows = asking.look(&["maintenance"], &[("state", state)])?;
    if as_json {
        println!("{windows}");
        return Ok(());
    }
    let windows: Vec<&Value> = windows.as_array().into_iter().flatten().collect();
    for window in &windows {
        let id = window["id"].as_str().unwrap_or("by the configuration");
        println!("{id:<36}  {}", in_words(window));
    }
    if windows.is_empty() {
        eprintln!("there is no maintenance window");
    }
    Ok(())
}

fn end(asking: &Asking, id: &str) -> Result<(), String> {
    let ended = asking.change(Method::DELETE, &["maintenance", id], None)?;
    eprintln!("{}", in_words(&ended));
    Ok(())
}

/// A window in a line.
fn in_words(window: &Value) -> String {
    let texts = |values: &Value| -> Vec<String> {
        values.as_array().into_iter().flatten().filter_map(|value| Some(value.as_str()?.to_owned())).collect()
    };
    let matching = window["matching"].as_object().into_iter().flatten();
    let matching: Vec<String> =
        matching.map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default())).collect();
    let days = texts(&window["days"]);
    let days = if days.len() == 7 { "every day".to_owned() } else { days.join(",") };
    let [name, state, from, until] = ["name", "state", "from", "until"].map(|field| text(window, field));
    let [zone, comment, author] = ["time_zone", "comment", "author"].map(|field| text(window, field));
    let ends = window["ends_at"].as_str().map_or_else(String::new, |at| format!(", to {at} at the latest"));
    let why = if author.is_empty() { String::new() } else { format!("  {author}: {}", comment.replace('\n', " ")) };
    format!("{state:<5}  {name}  {}  {days} {from} to {until} ({zone}){ends}{why}", matching.join(" "))
}
