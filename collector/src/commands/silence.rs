//! `driftline silence`: what is not to be told for a time.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use driftline_document::parse_duration;
use reqwest::Method;
use serde_json::{Value, json};

use super::asking::{Asking, conclude, user};
use crate::times::{self, now_micros, rfc3339};

#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Makes a silence, and prints its id. Ends of alerts are told to those who were told of their beginning all the same.
    Add(Box<Add>),
    /// Lists silences that are on or to come.
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
    /// Ends a silence. What still fires is told then.
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
    /// Which alerts: a label (rule, severity, model, version, column, role) and its value, or the beginning of many and '*'.
    /// All that are given must match.
    #[arg(long = "match", value_name = "LABEL=VALUE", value_parser = label_and_value, required = true)]
    matching: Vec<(String, String)>,
    /// For how long, as in 30m, 2h or 3d.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration, required_unless_present = "until", conflicts_with = "until")]
    duration: Option<Duration>,
    /// Until when, as in 2026-03-01T06:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    until: Option<i64>,
    /// From when on; at once without it.
    #[arg(long, value_name = "TIME", value_parser = times::parse)]
    from: Option<i64>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: String,
    /// Who; whoever is logged in without it.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

pub(super) fn run(command: &SilenceCommand) -> ExitCode {
    conclude(match command {
        SilenceCommand::Add(add) => make(add),
        SilenceCommand::List { asking, all, json } => list(asking, *all, *json),
        SilenceCommand::End { asking, id } => end(asking, id),
    })
}

fn make(add: &Add) -> Result<(), String> {
    let from = add.from.unwrap_or_else(now_micros);
    let for_long = add.duration.map(|duration| from.saturating_add(duration.as_micros() as i64));
    let mut matching = serde_json::Map::new();
    for (label, value) in &add.matching {
        if matching.insert(label.clone(), json!(value)).is_some() {
            return Err(format!("--match {label}=… is there twice; make a silence for each"));
        }
    }
    let body = json!({
        "matching": matching,
        "from": add.from.map(rfc3339),
        "until": for_long.or(add.until).map(rfc3339),
        "comment": add.comment,
        "author": add.author.clone().or_else(user),
    });
    let made = add.asking.change(Method::POST, &["silences"], Some(body))?;
    println!("{}", text(&made, "id"));
    eprintln!("{}", in_words(&made));
    Ok(())
}

fn list(asking: &Asking, all: bool, as_json: bool) -> Result<(), String> {
    let state = if all { "all" } else { "current" };
    let silences = asking.look(&["silences"], &[("state", state)])?;
    if as_json {
        println!("{silences}");
        return Ok(());
    }
    let silences: Vec<&Value> = silences.as_array().into_iter().flatten().collect();
    for silence in &silences {
        println!("{}  {}", text(silence, "id"), in_words(silence));
    }
    if silences.is_empty() {
        eprintln!("there is no silence");
    }
    Ok(())
}

fn end(asking: &Asking, id: &str) -> Result<(), String> {
    let ended = asking.change(Method::DELETE, &["silences", id], None)?;
    eprintln!("{}", in_words(&ended));
    Ok(())
}

/// A silence in a line.
fn in_words(silence: &Value) -> String {
    let matching = silence["matching"].as_object().into_iter().flatten();
    let matching: Vec<String> =
        matching.map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default())).collect();
    let [state, from, until] = ["state", "from", "until"].map(|name| text(silence, name));
    let [comment, author] = ["comment", "author"].map(|name| text(silence, name));
    format!("{state:<7} {}  {from} to {until}  {author}: {}", matching.join(" "), comment.replace('\n', " "))
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

pub(super) fn label_and_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(label, value)| !label.is_empty() && !value.is_empty());
    pair.map(|(label, value)| (label.to_owned(), value.to_owned())).ok_or_else(|| "write LABEL=VALUE".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write a whole number and s, m, h or d, as in 2h".to_owned())
}
