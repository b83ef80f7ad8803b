//! An SLO's objectives: what each of them asks for, and what its rules are called by.

use std::time::Duration;

use driftline_alerts::{Objective, Period};
use driftline_document::{Node, Section};

use super::reading::Placed;

/// One of them.
pub(super) struct SloObjective {
    pub(super) objective: Placed<Objective>,
    /// What values are compared with, for an indicator that is one.
    pub(super) value: Option<Placed<f64>>,
    /// How long the slices are that are its events, where it says so.
    pub(super) slice: Option<Placed<Duration>>,
    /// What its rules are called by after the SLO's name; empty when there is no other.
    pub(super) name: String,
}

/// An objective whose SLO says over how long a time it is.
pub(super) struct Asked {
    share: Placed<f64>,
    value: Option<Placed<f64>>,
    slice: Option<Placed<Duration>>,
    display_name: Option<String>,
}

/// All of an SLO's.
pub(super) fn asked(node: &Node<'_>) -> Option<Vec<Asked>> {
    let entries = node.list()?;
    if entries.is_empty() {
        node.problem("has no entries; an SLO has an objective");
        return None;
    }
    // What is wrong with one of them is told of all.
    let all: Vec<Option<Asked>> = entries.iter().map(|entry| one(entry, entry.section()?)).collect();
    all.into_iter().collect()
}

fn one(node: &Node<'_>, mut section: Section<'_>) -> Option<Asked> {
    let display_name = section.optional("displayName").and_then(|node| Some(node.text()?.to_owned()));
    let (op, value) = (section.optional("op"), section.optional("value"));
    if op.is_some() != value.is_some() {
        section.problem("'op' and 'value' go together");
    }
    let op = op.map(|node| node.parsed("lte: what is no slower is good", |op| (op == "lte").then_some(())));
    let value = value.map(|node| Some(Placed::of(&node, node.number(0.0..=f64::MAX)?)));
    let slice = slice(&mut section);
    let (share, percent) = (section.optional("target"), section.optional("targetPercent"));
    let share = match (share, percent) {
        (Some(share), None) => share.number(0.5..=0.999_999),
        (None, Some(percent)) => percent.number(50.0..=99.9999).map(|percent| percent / 100.0),
        _ => {
            section.problem("needs either 'target' or 'targetPercent'");
            None
        }
    };
    // What is there and wrong is a problem already.
    op.is_none_or(|op| op.is_some()).then_some(())?;
    let value = match value {
        Some(value) => Some(value?),
        None => None,
    };
    Some(Asked { share: Placed::of(node, share?), value, slice, display_name })
}

/// How long slices of time are. A window of ours is good or bad as a whole.
fn slice(section: &mut Section<'_>) -> Option<Placed<Duration>> {
    let whole = section.optional("timeSliceTarget").map(|node| node.number(1.0..=1.0));
    let window = section.optional("timeSliceWindow");
    if whole.is_some() != window.is_some() {
        section.problem("'timeSliceTarget' and 'timeSliceWindow' go together");
    }
    let window = window?;
    let length = window.duration(Duration::from_secs(1)..=Duration::from_secs(366 * 86_400))?;
    whole?.map(|_| Placed::of(&window, length))
}

/// The objectives over their SLO's period, each with a name where there are several.
pub(super) fn over(period: &Period, asked: Vec<Asked>) -> Option<Vec<SloObjective>> {
    let is_alone = asked.len() == 1;
    let named = |Asked { share, value, slice, display_name }: Asked| {
        let own = display_name.map(|name| camel_case(&name)).filter(|name| !name.is_empty());
        let name = own.unwrap_or_else(|| in_percent(share.value).replace('.', "_"));
        let objective = Objective::new(share.value, period.clone())?;
        let objective = Placed { value: objective, place: share.place };
        Some(SloObjective { objective, value, slice, name: if is_alone { String::new() } else { name } })
    };
    asked.into_iter().map(named).collect()
}

/// A share as so many of a hundred, with all of its digits.
pub(super) fn in_percent(share: f64) -> String {
    format!("{:.4}", share * 100.0).trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A name of OpenSLO's as ours are.
pub(super) fn camel_case(name: &str) -> String {
    let words = name.split(|char: char| !char.is_ascii_alphanumeric());
    let capitalised = words.filter(|word| !word.is_empty()).map(|word| {
        let (first, rest) = word.split_at(1);
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    capitalised.collect()
}
