//! What the configuration says of maintenance windows.

use std::collections::BTreeMap;

use driftline_alerts::{Maintenance, Matchers, Pattern};
use driftline_document::{Node, Section};
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

/// Windows that there may be: each is held against every alert that fires.
const MAX_WINDOWS: usize = 100;

/// The days of the week by their names.
pub(crate) const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

pub(super) fn windows(nodes: Vec<Node<'_>>) -> Vec<Maintenance> {
    if let Some(surplus) = nodes.get(MAX_WINDOWS) {
        surplus.problem(format!("there are {} windows; allowed are {MAX_WINDOWS}", nodes.len()));
    }
    let mut windows: Vec<Maintenance> = Vec::new();
    for node in nodes {
        let Some(window) = node.section().and_then(window) else { continue };
        if windows.iter().any(|other| other.name == window.name) {
            node.problem(format!("there is another window '{}'", window.name));
        }
        windows.push(window);
    }
    windows
}

fn window(mut section: Section<'_>) -> Option<Maintenance> {
    let name = section.required("name").and_then(|node| Some(node.text()?.to_owned()));
    let matching = section.required("matching").and_then(|node| matchers(&node));
    let days = days(&mut section);
    let from = section.required("from").and_then(|node| time(&node));
    let until = section.required("until").and_then(|node| time(&node));
    let zone = zone(&mut section);
    Some(Maintenance { name: name?, matching: matching?, days, from: from?, until: until?, zone: zone? })
}

/// Days of the week; all of them unless they are given.
pub(super) fn days(section: &mut Section<'_>) -> Vec<Weekday> {
    let days = section.optional("days").and_then(|node| node.list());
    let days = days.map(|days| days.iter().filter_map(|node| node.one_of(&DAYS)).collect());
    days.unwrap_or_else(|| DAYS.map(|(_, day)| day).to_vec())
}

/// Whose clocks; UTC's unless they are given.
pub(super) fn zone(section: &mut Section<'_>) -> Option<TimeZone> {
    section.optional("time_zone").map_or(Some(TimeZone::UTC), |node| {
        node.parsed("the IANA name of a time zone, as in Europe/Berlin", |name| TimeZone::get(name).ok())
    })
}

/// Labels and patterns, as a silence has them.
pub(super) fn matchers(node: &Node<'_>) -> Option<Matchers> {
    let pattern = |node: Node<'_>| node.parsed("a value, or the beginning of many and '*', as in team-*", Pattern::new);
    let patterns: BTreeMap<String, Pattern> =
        node.entries()?.into_iter().filter_map(|(name, node)| Some((name, pattern(node)?))).collect();
    Matchers::try_from(patterns).map_err(|why| node.problem(why)).ok()
}

pub(super) fn time(node: &Node<'_>) -> Option<Time> {
    node.parsed("a time of the day, as in 02:30", clock)
}

/// A time of the day, as in 02:30.
pub(crate) fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| if digits.len() == 2 { digits.parse().ok() } else { None };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

/// The same as a text.
pub(crate) fn clock_text(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

/// A day of the week by its name.
pub(crate) fn day(name: &str) -> Option<Weekday> {
    DAYS.into_iter().find(|(known, _)| *known == name).map(|(_, day)| day)
}

/// The name of a day of the week.
pub(crate) fn day_name(day: Weekday) -> &'static str {
    DAYS.into_iter().find(|(_, known)| *known == day).map_or("monday", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parsed;

    fn parse(window: &str) -> Result<Vec<Maintenance>, String> {
        let text = format!("alerts:\n  maintenance:\n    - {window}\n");
        let config = parsed(&text)?;
        Ok(config.alerting.maintenance)
    }

    #[test]
    fn a_window_is_every_day_and_in_utc_unless_it_says_otherwise() {
        let window = parse("{name: a, matching: {model: m*}, from: 02:30, until: 04:00}").unwrap().remove(0);
        assert_eq!((window.days.len(), window.zone), (7, TimeZone::UTC));
        assert_eq!(window.from, Time::constant(2, 30, 0, 0));
        let zoned =
            "{name: a, matching: {rule: '*'}, days: [friday], from: 22:00, until: 06:00, time_zone: Asia/Kolkata}";
        let window = parse(zoned).unwrap().remove(0);
        assert_eq!((window.days, window.zone.iana_name()), (vec![Weekday::Friday], Some("Asia/Kolkata")));
    }

    #[test]
    fn what_is_wrong_with_a_window_is_said_with_its_line() {
        for (window, says) in [
            ("{name: a, matching: {}, from: 02:30, until: 04:00}", "every alert"),
            ("{name: a, matching: {model: m}, from: 2:30, until: 04:00}", "'2:30' is not allowed"),
            ("{name: a, matching: {model: m}, from: 24:00, until: 04:00}", "a time of the day"),
            ("{name: a, matching: {model: m}, from: 02:00, until: 04:00, time_zone: Europe/Bern}", "IANA name"),
            ("{name: a, matching: {model: m}, days: [fri], from: 02:00, until: 04:00}", "one of monday"),
            ("{name: a, matching: {'a b': m}, from: 02:00, until: 04:00}", "no label's name"),
        ] {
            let error = parse(window).unwrap_err();
            assert!(error.contains("d.yaml:3:") && error.contains(says), "{error}");
        }
    }
}
