//! `driftline routes test`: who would be told of an alert.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use driftline_alerts::{Labels, Micros, Route, Routed, Rule, Severity};
use serde_json::json;

use super::{EXIT_USAGE, load, silence};
use crate::config::Alerting;
use crate::times::{self, now_micros, rfc3339};

#[derive(Debug, Subcommand)]
pub(super) enum RoutesCommand {
    /// Says who would be told of an alert with these labels, by which routes, and when. Exits with 0 when somebody would be, else
    /// with 1.
    Test {
        /// The configuration file.
        #[arg(long, env = "DRIFTLINE_CONFIG", value_name = "FILE", default_value = "driftline.yaml")]
        config: PathBuf,
        /// Labels of the alert, as in model=flights. 'rule' is one of the configuration's rules; without it, 'severity' is wanted.
        #[arg(value_name = "LABEL=VALUE", value_parser = silence::label_and_value)]
        labels: Vec<(String, String)>,
        /// When it begins, as in 2026-03-01T06:00:00Z; now without it.
        #[arg(long, value_name = "TIME", value_parser = times::parse)]
        at: Option<i64>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &RoutesCommand) -> ExitCode {
    let RoutesCommand::Test { config: path, labels, at, json } = command;
    let config = match load(path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let (alerting, at) = (&config.alerting, at.unwrap_or_else(now_micros));
    let (routed, severity) = match routed(alerting, labels.iter().cloned().collect(), at) {
        Ok(routed) => routed,
        Err(why) => {
            eprintln!("driftline: {why}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if *json {
        println!("{}", as_json(alerting, &routed, severity, at));
    } else {
        print!("{}", in_words(alerting, &routed, severity, at));
    }
    if routed.now.is_empty() && routed.later.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Who is told of an alert with these labels, and how urgent it is before routes make something else of it.
fn routed(alerting: &Alerting, mut labels: Labels, at: Micros) -> Result<(Routed, Severity), String> {
    let severity = labels.remove("severity");
    let named = |name: &str| Severity::ALL.into_iter().find(|severity| severity.name() == name);
    let severity = severity.map(|name| named(&name).ok_or(format!("severity is '{name}'; it is page, ticket or info")));
    let severity = severity.transpose()?;
    let Some(name) = labels.remove("rule") else {
        let severity = severity.ok_or("say which 'rule' it is of, or its 'severity'")?;
        if alerting.routes.routes.is_empty() {
            let now = alerting.targets.keys().cloned().collect();
            return Ok((Routed { now, ..Routed::default() }, severity));
        }
        return Ok((alerting.routes.along("", severity, &labels, at), severity));
    };
    let rule: &Rule = alerting.rules.iter().find(|rule| rule.name == name).ok_or_else(|| {
        let names: Vec<&str> = alerting.rules.iter().map(|rule| rule.name.as_str()).collect();
        format!("there is no rule '{name}'; there are {}", names.join(", "))
    })?;
    if severity.is_some_and(|severity| severity != rule.severity) {
        return Err(format!("the rule {name} is a {}", rule.severity.name()));
    }
    Ok((alerting.routes.of(rule, &labels, at), rule.severity))
}

/// When somebody who waits is told; none when that is not in sight.
fn told_at(alerting: &Alerting, schedule: &str, at: Micros) -> Option<String> {
    alerting.routes.schedules.get(schedule)?.next_on(at).map(rfc3339)
}

fn in_words(alerting: &Alerting, routed: &Routed, severity: Severity, at: Micros) -> String {
    let mut text = String::new();
    for place in &routed.by {
        let route = alerting.routes.routes.get(*place).map(asks).unwrap_or_default();
        text.push_str(&format!("by route {}: {route}\n", place + 1));
    }
    if routed.by.is_empty() {
        text.push_str("by no route: what the rule itself tells\n");
    }
    if let Some(made) = routed.severity.filter(|made| *made != severity) {
        text.push_str(&format!("as {}, which was {}\n", made.name(), severity.name()));
    }
    for target in &routed.now {
        text.push_str(&format!("{:<22} {target}\n", rfc3339(at)));
    }
    for (target, schedule) in &routed.later {
        let when = told_at(alerting, schedule, at).unwrap_or_else(|| "not in sight".to_owned());
        text.push_str(&format!("{when:<22} {target}, who waits for {schedule}\n"));
    }
    if routed.now.is_empty() && routed.later.is_empty() {
        text.push_str("nobody\n");
    }
    text
}

/// What a route asks for, and what it makes of that.
fn asks(route: &Route) -> String {
    let mut asked: Vec<String> = route.matching.iter().map(ToString::to_string).collect();
    asked.extend(route.during.iter().map(|schedule| format!("during {schedule}")));
    let asked = if asked.is_empty() { "everything".to_owned() } else { asked.join(", ") };
    match route.severity {
        Some(severity) => format!("{asked}: severity {}", severity.name()),
        None => asked,
    }
}

fn as_json(alerting: &Alerting, routed: &Routed, severity: Severity, at: Micros) -> serde_json::Value {
    let later = routed.later.iter().map(
        |(target, schedule)| json!({ "target": target, "schedule": schedule, "at": told_at(alerting, schedule, at) }),
    );
    json!({
        "at": rfc3339(at),
        "severity": routed.severity.unwrap_or(severity).name(),
        "routes": routed.by.iter().map(|place| place + 1).collect::<Vec<_>>(),
        "now": routed.now,
        "later": later.collect::<Vec<_>>(),
    })
}
