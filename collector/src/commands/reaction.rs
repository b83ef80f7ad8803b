//! `driftline reaction`: what is started because of alerts, and who says that it may.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::asking::{Asking, conclude, user};

#[derive(Debug, Subcommand)]
pub(super) enum ReactionCommand {
    /// Lists reactions, those first that came last.
    List {
        #[command(flatten)]
        asking: Asking,
        /// Only those in one state, as in asked, started or failed.
        #[arg(long, value_name = "STATE", default_value = "all")]
        state: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Approves of a reaction: it is started if its guards hold still.
    Approve(Answer),
    /// Declines a reaction: nothing is started for this alert.
    Decline(Answer),
}

#[derive(Debug, Args)]
pub(super) struct Answer {
    #[command(flatten)]
    asking: Asking,
    /// Its id.
    id: String,
    /// What others should know.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Who; whoever is logged in without it.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(super) fn run(command: &ReactionCommand) -> ExitCode {
    conclude(match command {
        ReactionCommand::List { asking, state, json } => list(asking, state, *json),
        ReactionCommand::Approve(given) => answer(given, true),
        ReactionCommand::Decline(given) => answer(given, false),
    })
}

fn list(asking: &Asking, state: &str, as_json: bool) -> Result<(), String> {
    let reactions = asking.look(&["reactions"], &[("state", state)])?;
    if as_json {
        println!("{reactions}");
        return Ok(());
    }
    let reactions: Vec<&Value> = reactions.as_array().into_iter().flatten().collect();
    for reaction in &reactions {
        println!("{}", in_words(reaction));
    }
    if reactions.is_empty() {
        eprintln!("there is no reaction");
    }
    Ok(())
}

fn answer(given: &Answer, approve: bool) -> Result<(), String> {
    let Answer { asking, id, note, by } = given;
    let body = json!({ "approve": approve, "by": by.clone().or_else(user), "note": note });
    let said = asking.change(Method::POST, &["reactions", id, "approval"], Some(body))?;
    eprintln!("{}", in_words(&said));
    Ok(())
}

/// A reaction in a line.
fn in_words(reaction: &Value) -> String {
    let [id, model, state] = ["id", "model", "state"].map(|name| text(&reaction[name]));
    let [by, run] = [&reaction["decided"]["by"], &reaction["reference"]].map(text);
    let [result, why] = [&reaction["result"]["state"], &reaction["why"]].map(text);
    let told = [("by ", by), ("run ", run), ("job ", result), ("", why)].into_iter();
    let told: Vec<String> = told
        .filter(|(_, what)| !what.is_empty())
        .map(|(name, what)| format!("{name}{}", what.replace('\n', " ")))
        .collect();
    format!("{state:<8} {id}  {model}  {}", told.join(", ")).trim_end().to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
