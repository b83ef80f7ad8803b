//! `driftline deliveries`: dead letters, and what is to become of them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::asking::{Asking, conclude};

#[derive(Debug, Subcommand)]
pub(super) enum DeliveriesCommand {
    /// Lists dead letters: notifications that were given up. Or those in another state.
    List {
        #[command(flatten)]
        asking: Asking,
        /// pending, delivered, given_up or cancelled.
        #[arg(long, default_value = "given_up")]
        state: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sends dead letters again, as if they were new. Beginnings of alerts that are over are left alone.
    Resend(Which),
    /// Dismisses dead letters: nothing is to be done about them.
    Dismiss(Which),
}

/// One dead letter, or all of a target's.
#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    asking: Asking,
    /// Its id.
    #[arg(required_unless_present = "target", conflicts_with = "target")]
    id: Option<String>,
    /// All that were given up for this target.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

pub(super) fn run(command: &DeliveriesCommand) -> ExitCode {
    conclude(match command {
        DeliveriesCommand::List { asking, state, json } => list(asking, state, *json),
        DeliveriesCommand::Resend(which) => {
            which.each(|asking, id| asking.change(Method::POST, &["deliveries", id, "resend"], None))
        }
        DeliveriesCommand::Dismiss(which) => {
            which.each(|asking, id| asking.change(Method::DELETE, &["deliveries", id], None))
        }
    })
}

fn list(asking: &Asking, state: &str, as_json: bool) -> Result<(), String> {
    let found = asking.look(&["deliveries"], &[("state", state)])?;
    if as_json {
        println!("{found}");
        return Ok(());
    }
    let found: Vec<&Value> = found.as_array().into_iter().flatten().collect();
    for delivery in &found {
        println!("{}", in_words(delivery));
    }
    if found.is_empty() {
        eprintln!("there is none");
    }
    Ok(())
}

impl Which {
    /// Does it with each of them, and says of each what became of it. One that cannot be does not keep the others back.
    fn each(&self, decide: impl Fn(&Asking, &str) -> Result<Value, String>) -> Result<(), String> {
        if let Some(id) = &self.id {
            eprintln!("{}", in_words(&decide(&self.asking, id)?));
            return Ok(());
        }
        let dead = self.asking.look(&["deliveries"], &[("target", self.target.as_deref().unwrap_or_default())])?;
        for delivery in dead.as_array().into_iter().flatten() {
            match decide(&self.asking, &delivery["id"].to_string()) {
                Ok(decided) => eprintln!("{}", in_words(&decided)),
                Err(why) => eprintln!("{}  {why}", delivery["id"]),
            }
        }
        Ok(())
    }
}

/// A delivery in a line.
fn in_words(delivery: &Value) -> String {
    let [state, action, target, episode, created_at, last_error, summary] =
        ["state", "action", "target", "episode", "created_at", "last_error", "summary"]
            .map(|name| delivery[name].as_str().unwrap_or_default());
    let (id, attempts) = (&delivery["id"], &delivery["attempts"]);
    // A change belongs to no episode.
    let what = if episode.is_empty() { summary } else { episode };
    let why = last_error.replace('\n', " ");
    format!("{id}  {state:<9} {action:<11} {target}  {what}  {created_at}  {attempts} attempts: {why}")
}
