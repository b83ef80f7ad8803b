//! What the configuration says of segments: parts of a model's rows that are each compared with themselves.

use std::collections::BTreeSet;

use driftline_document::{Node, Section};

use crate::filter::Filter;

/// Values of a column that have a segment of their own, unless the configuration says how many.
const DEFAULT_MOST: u64 = 20;
/// Segments of a model, unless the configuration says how many: each has scores of every column.
const DEFAULT_MAX: u64 = 50;
const LARGEST_MAX: u64 = 1000;

/// A model's segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// In which ways its rows are parted.
    pub by: Vec<SegmentBy>,
    /// How many segments there may be, all ways together.
    pub max: u64,
}

impl Default for Segments {
    fn default() -> Self {
        Self { by: Vec::new(), max: DEFAULT_MAX }
    }
}

impl Segments {
    /// How many segments there may come to be.
    pub(crate) fn at_most(&self) -> u64 {
        self.by.iter().map(SegmentBy::at_most).sum()
    }

    /// What is wrong when there are more than there may be.
    ///
    /// # Errors
    /// That, and what to do.
    pub(crate) fn check_number(&self) -> Result<(), String> {
        if self.at_most() <= self.max {
            return Ok(());
        }
        Err(format!(
            "there may be {} segments, a column's 'most' and its rest together; at most {} are allowed: name fewer, or raise 'max_segments'",
            self.at_most(),
            self.max
        ))
    }
}

/// One way in which rows are parted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentBy {
    /// By the values of a column.
    Column {
        /// The column.
        name: String,
        /// How many of its values have a segment of their own; the rest share one.
        most: u64,
    },
    /// By a condition: the rows for which it holds.
    Condition {
        /// The segment's name.
        name: String,
        /// The condition, which can be read.
        holds: String,
    },
}

impl SegmentBy {
    /// As the command line writes them: a column's name, or a name, `=` and a condition.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text.is_empty() => Err("it is empty; name a column, or give name=condition".to_owned()),
            None => Ok(Self::Column { name: text.to_owned(), most: DEFAULT_MOST }),
            Some((name, holds)) => {
                let name = segment_name(name).ok_or_else(|| format!("'{name}' is no name: {NAMES}"))?;
                Filter::parse(holds)?;
                Ok(Self::Condition { name, holds: holds.to_owned() })
            }
        }
    }

    /// How many segments there may come to be of it.
    fn at_most(&self) -> u64 {
        match self {
            Self::Column { most, .. } => most + 1,
            Self::Condition { .. } => 1,
        }
    }

    /// The column or the segment.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Column { name, .. } | Self::Condition { name, .. } => name,
        }
    }
}

const NAMES: &str = "up to 100 letters, digits, '-', '_' and '.'";

fn segment_name(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!text.is_empty() && text.len() <= 100 && text.bytes().all(plain)).then(|| text.to_owned())
}

pub(super) fn segments(model: &mut Section<'_>) -> Segments {
    let max = model.optional("max_segments").and_then(|node| node.integer(1..=LARGEST_MAX)).unwrap_or(DEFAULT_MAX);
    let Some(list) = model.optional("segments") else { return Segments { by: Vec::new(), max } };
    let mut names = BTreeSet::new();
    let mut by = Vec::new();
    for node in list.list().unwrap_or_default() {
        let Some(one) = entry(&node) else { continue };
        if !names.insert(one.name().to_owned()) {
            node.problem(format!("'{}' is there already; each is named once", one.name()));
        }
        by.push(one);
    }
    let segments = Segments { by, max };
    if let Err(why) = segments.check_number() {
        list.problem(why);
    }
    segments
}

fn entry(node: &Node<'_>) -> Option<SegmentBy> {
    let mut section = node.section()?;
    if let Some(column) = section.optional("column") {
        let most = section.optional("most").and_then(|node| node.integer(1..=LARGEST_MAX)).unwrap_or(DEFAULT_MOST);
        return Some(SegmentBy::Column { name: column.text()?.to_owned(), most });
    }
    if !section.has("name") && !section.has("where") {
        section.problem("needs 'column', or 'name' and 'where'");
        return None;
    }
    let name = section.required("name").and_then(|node| node.parsed(NAMES, segment_name));
    let holds = section.required("where").and_then(|node| {
        let text = node.text()?;
        match Filter::parse(text) {
            Ok(_) => Some(text.to_owned()),
            Err(why) => {
                node.problem(format!("'{text}' is no condition: {why}"));
                None
            }
        }
    });
    Some(SegmentBy::Condition { name: name?, holds: holds? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Segments, driftline_document::Problems> {
        driftline_document::read("driftline.yaml", text, |mut top| segments(&mut top)).result
    }

    #[test]
    fn rows_are_parted_by_columns_and_conditions() {
        let by = read("segments:\n- column: origin\n- {name: long_haul, where: distance > 1500}").unwrap().by;
        let column = SegmentBy::Column { name: "origin".into(), most: 20 };
        let condition = SegmentBy::Condition { name: "long_haul".into(), holds: "distance > 1500".into() };
        assert_eq!(by, [column, condition]);
        assert_eq!(by, ["origin", "long_haul=distance > 1500"].map(|text| SegmentBy::parse(text).unwrap()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, says) in [
            (
                "segments:\n- {name: a, where: distance >}",
                "yaml:2:13: segments[0].where: 'distance >' is no condition: at the end",
            ),
            ("segments:\n- {name: a b, where: x = 1}", "yaml:2:4: segments[0].name: 'a b' is not allowed"),
            ("segments:\n- {most: 3}", "needs 'column', or 'name' and 'where'"),
            ("segments:\n- column: x\n- column: x", "yaml:3:3: segments[1]: 'x' is there already"),
            ("segments:\n- {column: x, most: 50}", "there may be 51 segments"),
        ] {
            let problems = read(text).unwrap_err().to_string();
            assert!(problems.contains(says), "{problems}");
        }
        assert!(read("max_segments: 60\nsegments:\n- {column: x, most: 50}").is_ok());
        assert!(SegmentBy::parse("a b=x = 1").unwrap_err().contains("'a b' is no name"));
    }
}
