//! Columns of files as they come: in pieces, and with as many types as their format has.

use driftline_detectors::{ColumnKind, ReferenceBuilder};

use crate::pipeline::table::number_category;

/// A column's values in a piece of a file.
#[derive(Debug)]
pub(super) enum Values {
    Numbers(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    /// Of a file without types; its numbers are as they are spelled there.
    Fields {
        texts: Vec<Option<String>>,
        /// Whether all of them are numbers.
        are_numbers: bool,
    },
    /// Microseconds since the Unix epoch.
    Times(Vec<Option<i64>>),
}

/// A piece of a file: its columns, all of one length.
pub(super) type Chunk = Vec<(String, Values)>;

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) | Self::Fields { texts: values, .. } => values.len(),
            Self::Times(values) => values.len(),
        }
    }
}

/// Adds a column's values to its builder, each with its pane.
pub(super) fn add(builder: &mut ReferenceBuilder, values: &Values, panes: &[Option<i64>]) {
    let kind = builder.kind();
    match values {
        Values::Numbers(values) => {
            for (value, pane) in values.iter().zip(panes) {
                match (value, kind) {
                    (None, _) => builder.missing(*pane),
                    (Some(value), ColumnKind::Numeric) => builder.number(*pane, *value),
                    (Some(value), ColumnKind::Categorical) => {
                        builder.category(*pane, &number_category(*value));
                    }
                }
            }
        }
        Values::Texts(values) => {
            for (value, pane) in values.iter().zip(panes) {
                match value {
                    None => builder.missing(*pane),
                    Some(value) => builder.category(*pane, value),
                }
            }
        }
        Values::Fields { texts, .. } => {
            for (text, pane) in texts.iter().zip(panes) {
                let number = || text.as_ref().and_then(|text| text.parse().ok());
                match (text, (kind == ColumnKind::Numeric).then(number).flatten()) {
                    (None, _) => builder.missing(*pane),
                    (Some(_), Some(number)) => builder.number(*pane, number),
                    (Some(text), None) => builder.category(*pane, text),
                }
            }
        }
        Values::Times(_) => {}
    }
}
