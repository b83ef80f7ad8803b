//! `driftline acknowledge`: somebody is on an alert.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::asking::{Asking, conclude, user};

#[derive(Debug, Args)]
pub(super) struct Acknowledge {
    #[command(flatten)]
    asking: Asking,
    /// The alert's episode: the last part of its page's address.
    episode: String,
    /// What others should know.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Who; whoever is logged in without it.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

pub(super) fn run(acknowledge: &Acknowledge) -> ExitCode {
    let Acknowledge { asking, episode, note, by } = acknowledge;
    let body = json!({ "by": by.clone().or_else(user), "note": note });
    let said = asking.change(Method::POST, &["alerts", episode, "acknowledgement"], Some(body));
    conclude(said.map(|said| eprintln!("{} is on it", said["by"].as_str().unwrap_or_default())))
}
