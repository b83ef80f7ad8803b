//! Objectives as OpenSLO (v1) writes them: <https://openslo.com>.
//!
//! A rule on an error budget is an SLO on an indicator of ours, with one policy and one condition for each of its pairs of
//! windows: OpenSLO's conditions have one window, which is the long one; the short one is always a twelfth of it. What OpenSLO
//! has no field for stands in annotations. Rules on anything else are no objectives, and stay here.
//!
//! An SLO may have several objectives, and each becomes rules of its own. Rules never become one SLO: its policies are those of
//! all of its objectives, and a rule has its own severity, targets and runbook.

mod export;
mod import;
mod indicators;
mod objectives;
mod reading;
#[cfg(test)]
mod tests;

use std::time::Duration;

use driftline_alerts::{CalendarUnit, Pace, Period};

pub(crate) use export::export;
pub(crate) use import::import;

const API_VERSION: &str = "openslo/v1";
/// What metric sources of ours are called.
const SOURCE: &str = "Driftline";
/// Annotations of what OpenSLO has no field for.
const RULE: &str = "driftline.dev/rule";
const RUNBOOK: &str = "driftline.dev/runbook";
const MIN_EVENTS: &str = "driftline.dev/min-events";
const GROUP_BY: &str = "driftline.dev/group-by";
/// What a target is called here.
const TARGET: &str = "driftline.dev/target";
/// That a target stands for all of them, or for none: OpenSLO's policies have one or more.
const TARGETS: &str = "driftline.dev/targets";
/// What stands for all of them, and for none: what the annotation says, and the target is called.
const ALL_OR_NONE: [(Whom, &str, &str); 2] = [(Whom::All, "all", "every-target"), (Whom::Nobody, "none", "no-target")];

/// Whom a target of OpenSLO stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    /// All targets, or those that the routes choose.
    All,
    /// Nobody: the rule is shown, and not told.
    Nobody,
    /// The target that the configuration calls so.
    One(String),
}
/// The service of objectives that are of every model.
const EVERY_MODEL: &str = "every-model";

/// A first moment of each part of the calendar: 1 January 2024 was a Monday.
const CALENDAR_BEGINS: &str = "2024-01-01 00:00:00";

/// How OpenSLO calls a part of the calendar.
fn calendar_name(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Week => "1w",
        CalendarUnit::Month => "1M",
        CalendarUnit::Quarter => "1Q",
    }
}

/// A pace, and what a rule of an objective that has one for each is called by.
const PACES: [(Pace, &str); 2] = [(Pace::Fast, "Fast"), (Pace::Slow, "Slow")];

/// The pace's name in our configuration.
fn pace_name(pace: Pace) -> &'static str {
    match pace {
        Pace::Fast => "fast",
        Pace::Slow => "slow",
    }
}

/// The method of budgets whose events are slices of time.
const TIMESLICES: &str = "Timeslices";

/// A length that has passed, as both write it.
fn rolling_name(length: Duration) -> String {
    driftline_document::in_units(length)
}

/// The fields of our own configuration that say over how long a time.
fn period_fields(period: &Period) -> String {
    match period {
        Period::Rolling(length) => format!("over: {}", rolling_name(*length)),
        Period::Calendar { unit, zone } => {
            format!("over: {}, time_zone: {}", unit.name(), zone.iana_name().unwrap_or("UTC"))
        }
    }
}
