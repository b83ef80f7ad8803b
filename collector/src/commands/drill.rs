//! `driftline drill`: whether everybody whom an alert tells would hear of it.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use driftline_document::parse_duration;
use reqwest::Method;
use serde_json::{Value, json};

use super::asking::{Asking, conclude, user};

/// How often it is looked how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Drill {
    #[command(flatten)]
    asking: Asking,
    /// The rule's name, as in FeatureDrift; or its runbook's id, as in feature-drift.
    alert: String,
    /// The model that it is to be about; the only one without it.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// After how long its end is told, from 1s to 1h.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    resolve_after: String,
    /// Tells only this one of the rule's targets; may be given several times.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// For how long targets are waited for after its end.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2m")]
    wait: Duration,
    /// Who; whoever is logged in without it.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// As JSON, once it is over.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(drill: &Drill) -> ExitCode {
    conclude(follow(drill))
}

/// Begins it, and says of each target how it took the beginning and the end, as soon as that is known.
fn follow(drill: &Drill) -> Result<(), String> {
    let targets = (!drill.targets.is_empty()).then_some(&drill.targets);
    let mut body =
        json!({ "alert": drill.alert, "resolve_after": drill.resolve_after, "by": drill.by.clone().or_else(user) });
    body["model"] = json!(drill.model);
    body["targets"] = json!(targets);
    let mut state = drill.asking.change(Method::POST, &["drills"], Some(body))?;
    let episode = text(&state, "episode").to_owned();
    eprintln!("{episode} ends at {}", text(&state, "resolves_at"));
    let ends_in = parse_duration(&drill.resolve_after).unwrap_or_default();
    let deadline = Instant::now() + ends_in + drill.wait;
    let mut told = BTreeSet::new();
    while text(&state, "outcome") == "running" && Instant::now() < deadline {
        std::thread::sleep(LOOK_INTERVAL);
        state = drill.asking.look(&["drills", &episode], &[])?;
        if !drill.json {
            settled(&state).filter(|step| told.insert(name(step))).for_each(|step| println!("{}", in_words(step)));
        }
    }
    if drill.json {
        println!("{state}");
    } else {
        steps(&state).filter(|step| !told.contains(&name(step))).for_each(|step| println!("{}", in_words(step)));
    }
    match text(&state, "outcome") {
        "passed" => Ok(()),
        "failed" => Err("not everybody was reached".to_owned()),
        _ => Err(format!("not everybody was reached in time; see how it goes on at its page, /alerts/{episode}")),
    }
}

fn steps(state: &Value) -> impl Iterator<Item = &Value> {
    state["steps"].as_array().into_iter().flatten()
}

fn settled(state: &Value) -> impl Iterator<Item = &Value> {
    steps(state).filter(|step| text(step, "state") != "pending")
}

fn name(step: &Value) -> (String, String) {
    (text(step, "target").to_owned(), text(step, "action").to_owned())
}

/// What a target was told, whether it took it, and how long that was.
fn in_words(step: &Value) -> String {
    let [target, action, error] = ["target", "action", "last_error"].map(|name| text(step, name));
    let tries = match step["attempts"].as_u64().unwrap_or_default() {
        0 | 1 => String::new(),
        attempts => format!(", at attempt {attempts}"),
    };
    let seconds = step["seconds"].as_f64().unwrap_or_default();
    let said = match text(step, "state") {
        "delivered" if error.is_empty() => format!("accepted after {seconds:.1} s{tries}"),
        "delivered" => format!("NOT ALL OF IT accepted after {seconds:.1} s{tries}: {error}"),
        "given_up" => format!("GIVEN UP after {seconds:.1} s{tries}: {error}"),
        "cancelled" => "not sent: the beginning was not taken".to_owned(),
        _ if error.is_empty() => "WAITS".to_owned(),
        _ => format!("WAITS{tries}: {error}"),
    };
    format!("{target:<16} {action:<8} {said}")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a whole number and s, m or h, as in 2m".to_owned())
}
