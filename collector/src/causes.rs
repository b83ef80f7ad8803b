//! What a drift looks like and since when, in words and times.

use driftline_detectors::causes::{Cause, CauseKind, ChangedPair, FillValue, Unusable};
use driftline_detectors::change::onset;

use crate::numbers::{and_more, digits, percent, significant};

/// Windows of a score's history in which the beginning of its drift is looked for.
pub(crate) const HISTORY_WINDOWS: u32 = 60;
/// Characters of a category's name that are shown.
const NAME_CHARS: usize = 40;
/// Numbers of a conversion are known by four digits: 0.5556.
const CONVERSION_DIGITS: usize = 4;

/// A window of a score's history: when it ended, and the effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Past {
    pub(crate) ends: i64,
    pub(crate) effect: f64,
}

/// The windows from which a drift began: each by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Since {
    /// The most likely first one.
    pub(crate) first: i64,
    /// The earliest that it may be, and the latest; both bound 95 % of the probability.
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
}

/// Since when a score that is over its limit has been. None when its history, the oldest window first, holds no window from
/// before.
pub(crate) fn since(history: &[Past], limit: f64) -> Option<Since> {
    let effects: Vec<f64> = history.iter().map(|past| past.effect).collect();
    let onset = onset(&effects).filter(|onset| onset.before <= limit && onset.after > onset.before)?;
    let ends = |index: usize| history.get(index).map(|past| past.ends);
    Some(Since { first: ends(onset.first)?, earliest: ends(onset.earliest)?, latest: ends(onset.latest)? })
}

/// A cause in the words that follow "looks like".
pub(crate) fn in_words(cause: &Cause) -> String {
    match &cause.kind {
        CauseKind::UnitChange { factor, offset, known_as, .. } => {
            let named = if known_as.is_empty() { String::new() } else { format!(" ({})", known_as.join(", or ")) };
            format!("a change of unit: × {}{}{named}", conversion(*factor), plus(*offset))
        }
        CauseKind::Shift { by, deviations } => {
            let way = if *by < 0.0 { "down" } else { "up" };
            let scale = deviations
                .map(|deviations| format!(", {} standard deviations", significant(deviations.abs())))
                .unwrap_or_default();
            format!("a shift {way} by {}{scale}", significant(by.abs()))
        }
        CauseKind::Spread { factor } if *factor < 1.0 => {
            format!("values closer together, {} times as wide as before", significant(*factor))
        }
        CauseKind::Spread { factor } => format!("values further apart, {} times as wide", significant(*factor)),
        CauseKind::DefaultFill { value, before, now } => {
            format!(
                "a default in the place of other values: {} is {} of them, {} before",
                name_of(value),
                percent(*now),
                percent(*before)
            )
        }
        CauseKind::StuckValue { value, before, now } => {
            format!("a stuck value: {} is {} of all, {} before", name_of(value), percent(*now), percent(*before))
        }
        CauseKind::NewCategories { names, count, now } => {
            format!("new categories, {} of the values: {}", percent(*now), listed(names, *count))
        }
        CauseKind::RenamedCategories { names, count, now } => {
            let pairs: Vec<String> =
                names.iter().map(|(from, to)| format!("{} is now {}", shown(from), shown(to))).collect();
            let more = count.saturating_sub(pairs.len());
            let more = and_more(more);
            format!("renamed categories, {} of the values: {}{more}", percent(*now), pairs.join(", "))
        }
        CauseKind::GoneCategories { names, count, before } => {
            format!("categories that are gone, {} before: {}", percent(*before), listed(names, Some(*count)))
        }
        CauseKind::Missing { what, before, now } => {
            let what = match what {
                Unusable::Absent => "missing values",
                Unusable::Nan => "values that are NaN",
                Unusable::Infinite => "infinite values",
                Unusable::WrongType => "values of another type",
            };
            format!("{what}: {} of the rows, {} before", percent(*now), percent(*before))
        }
        CauseKind::Associations { pairs, count } => {
            let pair = |pair: &ChangedPair| {
                let (first, second) = (shown(&pair.first), shown(&pair.second));
                format!(
                    "{first} and {second} (association {}, {} before)",
                    association(pair.now),
                    association(pair.before)
                )
            };
            let named: Vec<String> = pairs.iter().map(pair).collect();
            let more = count.saturating_sub(pairs.len());
            let more = if more > 0 { format!(" and {more} more pairs") } else { String::new() };
            format!("columns that go together otherwise: {}{more}", named.join(", "))
        }
        CauseKind::ToldApart { columns, count } => {
            format!("rows that can be told apart by {}", listed(columns, Some(*count)))
        }
        CauseKind::MixShift { by, segments, count } => {
            let moved: Vec<String> = segments
                .iter()
                .map(|(name, before, now)| format!("{} from {} to {}", shown(name), percent(*before), percent(*now)))
                .collect();
            let more = match count.saturating_sub(moved.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("another mix of {}: {} of the rows{more}", shown(by), moved.join(", "))
        }
        CauseKind::Unexplained => "nothing that is known by its shape".to_owned(),
    }
}

fn association(number: f64) -> String {
    format!("{number:.2}").replace('-', "\u{2212}")
}

fn conversion(number: f64) -> String {
    digits(number, CONVERSION_DIGITS).replace('-', "\u{2212}")
}

fn plus(offset: f64) -> String {
    if offset == 0.0 {
        return String::new();
    }
    let sign = if offset < 0.0 { '\u{2212}' } else { '+' };
    format!(" {sign} {}", conversion(offset.abs()))
}

fn name_of(value: &FillValue) -> String {
    match value {
        FillValue::Number(number) => conversion(*number),
        FillValue::Category(name) => shown(name),
    }
}

/// A category's name, as long as it may be.
fn shown(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS {
        return name.to_owned();
    }
    name.chars().take(NAME_CHARS - 1).chain(['…']).collect()
}

fn listed(names: &[(String, f64)], count: Option<usize>) -> String {
    let listed: Vec<String> =
        names.iter().map(|(name, share)| format!("{} ({})", shown(name), percent(*share))).collect();
    match count.map(|count| count.saturating_sub(names.len())) {
        Some(0) => listed.join(", "),
        Some(more) => format!("{} and {more} more", listed.join(", ")),
        None => "too many to name".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: CauseKind) -> String {
        in_words(&Cause { kind, share: 1.0 })
    }

    #[test]
    fn causes_are_said_as_people_say_them() {
        let known_as = vec!["Fahrenheit to Celsius".to_owned()];
        let unit = CauseKind::UnitChange { factor: 1.0 / 1.8, offset: -160.0 / 9.0, known_as, misfit: 0.01 };
        assert_eq!(words(unit), "a change of unit: × 0.5556 − 17.78 (Fahrenheit to Celsius)");
        let unknown = CauseKind::UnitChange { factor: -37.0, offset: 0.0, known_as: Vec::new(), misfit: 0.0 };
        assert_eq!(words(unknown), "a change of unit: × −37");
        let shift = CauseKind::Shift { by: -2.5, deviations: Some(-0.75) };
        assert_eq!(words(shift), "a shift down by 2.5, 0.75 standard deviations");
        let fill = CauseKind::DefaultFill { value: FillValue::Number(-999.0), before: 0.0, now: 0.3 };
        assert_eq!(words(fill), "a default in the place of other values: −999 is 30% of them, 0% before");
        let new = CauseKind::NewCategories { names: vec![("x".repeat(50), 0.2)], count: Some(3), now: 0.25 };
        assert_eq!(words(new), format!("new categories, 25% of the values: {}… (20%) and 2 more", "x".repeat(39)));
        let missing = CauseKind::Missing { what: Unusable::Nan, before: 0.0, now: 0.5 };
        assert_eq!(words(missing), "values that are NaN: 50% of the rows, 0% before");
        let pair = ChangedPair { first: "temp".into(), second: "dewp".into(), before: 0.894, now: -0.12 };
        let pairs = CauseKind::Associations { pairs: vec![pair], count: 3 };
        assert_eq!(
            words(pairs),
            "columns that go together otherwise: temp and dewp (association −0.12, 0.89 before) and 2 more pairs"
        );
    }

    #[test]
    fn a_drift_began_with_the_first_window_of_its_new_level() {
        let history = |effects: &[f64]| -> Vec<Past> {
            effects.iter().zip(1..).map(|(effect, ends)| Past { ends, effect: *effect }).collect()
        };
        let found = since(&history(&[0.05, 0.04, 0.06, 0.05, 0.9, 1.0, 0.95]), 0.2);
        assert_eq!(found, Some(Since { first: 5, earliest: 5, latest: 5 }));
        assert_eq!(since(&history(&[0.9, 1.0, 0.95, 1.3]), 0.2), None, "it began before what is known");
        assert_eq!(since(&history(&[0.05, 0.9]), 0.2), None, "two windows have no spread to tell by");
    }
}
