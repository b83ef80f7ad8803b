//! Columns of numbers and names that come of one column that is neither: a time, a text, an embedding; and of several at once.
//!
//! ```text
//!   signup   ─▶ signup.age, signup.hour, signup.weekday
//!   comment  ─▶ comment.length, comment.words, comment.letters, …, comment.new_words
//!   vector   ─▶ vector.norm, vector.cosine, vector.pc1, vector.pc2, …, vector.features
//!   a, b, c  ─▶ joint.pca_error, joint.associations
//!   x, y, z  ─▶ names.associations
//! ```
//!
//! They are columns like any others, so that every score, its noise, alerts and pages hold for them. What must be known to
//! derive them, the reference's words and the axes of its embeddings, is learnt while it is built and kept in its file.

mod axes;
mod joint;
mod names;
mod space;
mod text;
mod time;

use serde::{Deserialize, Serialize};

pub use self::joint::{Joint, JointRows, MAX_JOINT_COLUMNS};
pub use self::names::{MAX_NAMES_COLUMNS, Names};
use self::space::SpaceSurvey;
pub use self::space::{AXES, MAX_AXES_DIMENSIONS, Space};
use self::text::VocabularySurvey;
pub use self::text::{MAX_WORDS, Vocabulary};
use crate::reference::ColumnKind;

/// How columns are derived from one, and what must be known for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Derivation {
    /// Of a column of times.
    Timestamp {
        /// The column.
        column: String,
    },
    /// Of a column of texts that are no names.
    Text {
        /// The column.
        column: String,
        /// The words of the reference.
        vocabulary: Vocabulary,
    },
    /// Of a column of vectors.
    Embedding {
        /// The column.
        column: String,
        /// Where the reference's vectors lie.
        space: Space,
    },
    /// Of all columns of numbers together.
    Joint {
        /// How the reference's rows lie in them.
        joint: Joint,
    },
    /// Of columns of names together.
    Names {
        /// Which of them have codes.
        names: Names,
    },
}

/// A value that columns are derived from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SourceValue<'a> {
    /// Nothing; what is derived is missing too.
    Missing,
    /// A text.
    Text(&'a str),
    /// A time, in microseconds since the Unix epoch.
    Time(i64),
    /// A vector.
    Vector(&'a [f32]),
    /// What a row holds in several columns, NaN where it holds no number; of names, their codes.
    Row(&'a [f64]),
    /// Something else; what is derived is of the wrong type.
    Other,
}

/// A value that was derived.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Derived {
    /// A number.
    Number(f64),
    /// A name.
    Name(&'static str),
    /// What it is derived of, as it is.
    Itself,
    /// Nothing.
    Missing,
    /// The source was of another type.
    WrongType,
}

impl Derivation {
    /// The column that others are derived from; of several, what they are called together.
    ///
    /// ```
    /// use driftline_detectors::Derivation;
    /// let signup = Derivation::Timestamp { column: "signup".into() };
    /// assert_eq!(signup.column(), "signup");
    /// ```
    pub fn column(&self) -> &str {
        match self {
            Self::Timestamp { column } | Self::Text { column, .. } | Self::Embedding { column, .. } => column,
            Self::Joint { .. } => joint::NAME,
            Self::Names { .. } => names::NAME,
        }
    }

    /// The names and kinds of the derived columns, in their order.
    ///
    /// ```
    /// use driftline_detectors::{ColumnKind, Derivation};
    /// let signup = Derivation::Timestamp { column: "signup".into() };
    /// let [age, hour, weekday] = &signup.columns()[..] else { panic!() };
    /// assert_eq!(age, &("signup.age".to_owned(), ColumnKind::Numeric));
    /// assert_eq!(hour, &("signup.hour".to_owned(), ColumnKind::Categorical));
    /// assert_eq!(weekday, &("signup.weekday".to_owned(), ColumnKind::Categorical));
    /// ```
    pub fn columns(&self) -> Vec<(String, ColumnKind)> {
        let named = |names: &[(&str, ColumnKind)]| {
            names.iter().map(|(name, kind)| (format!("{}.{name}", self.column()), *kind)).collect()
        };
        match self {
            Self::Timestamp { .. } => named(&time::COLUMNS),
            Self::Text { .. } => named(&text::COLUMNS.map(|name| (name, ColumnKind::Numeric))),
            Self::Embedding { space, .. } => {
                let named = |(name, kind)| (format!("{}.{name}", self.column()), kind);
                space.columns().map(named).collect()
            }
            Self::Joint { .. } => named(&joint::COLUMNS),
            Self::Names { .. } => named(&names::COLUMNS),
        }
    }

    /// Whether it gives a column of this name.
    ///
    /// ```
    /// use driftline_detectors::Derivation;
    /// let signup = Derivation::Timestamp { column: "signup".into() };
    /// assert!(signup.gives("signup.hour"));
    /// assert!(!signup.gives("signup") && !signup.gives("signup.minute") && !signup.gives("login.hour"));
    /// ```
    pub fn gives(&self, column: &str) -> bool {
        let is_of_it = column.strip_prefix(self.column()).is_some_and(|rest| rest.starts_with('.'));
        is_of_it && self.columns().iter().any(|(name, _)| name == column)
    }

    /// Derives one value for each of [`Self::columns`]. The event's time is that of the row, in microseconds since the
    /// Unix epoch.
    ///
    /// ```
    /// use driftline_detectors::{Derivation, Derived, SourceValue};
    ///
    /// let signup = Derivation::Timestamp { column: "signup".into() };
    /// let hour = 3_600_000_000;
    /// let [age, of_day, of_week] = signup.derive(SourceValue::Time(7 * hour), Some(9 * hour))[..] else { panic!() };
    /// assert_eq!((age, of_day, of_week), (Derived::Number(7200.0), Derived::Name("07"), Derived::Name("thursday")));
    /// ```
    pub fn derive(&self, value: SourceValue<'_>, event_time: Option<i64>) -> Vec<Derived> {
        match (self, value) {
            (Self::Timestamp { .. }, SourceValue::Time(time)) => time::derive(time, event_time).to_vec(),
            (Self::Text { vocabulary, .. }, SourceValue::Text(text)) => text::derive(text, vocabulary).to_vec(),
            (Self::Embedding { space, .. }, SourceValue::Vector(vector)) => space.derive(vector),
            (Self::Joint { joint }, SourceValue::Row(row)) => joint.derive(row).to_vec(),
            (Self::Names { names }, SourceValue::Row(row)) => names.derive(row).to_vec(),
            (_, SourceValue::Missing) => vec![Derived::Missing; self.columns().len()],
            _ => vec![Derived::WrongType; self.columns().len()],
        }
    }
}

/// Learns from a column's values what must be known to derive columns from it.
#[derive(Debug)]
pub enum Learning {
    /// Nothing to learn.
    Timestamp,
    /// The words of texts.
    Text(VocabularySurvey),
    /// Where vectors lie.
    Embedding(SpaceSurvey),
}

impl Learning {
    /// For texts.
    ///
    /// ```
    /// use driftline_detectors::{Derivation, Derived, Learning, SourceValue};
    ///
    /// let mut learning = Learning::text();
    /// learning.add(0, SourceValue::Text("late again"));
    /// let (_, of_others) = learning.finish("comment");
    /// let derived = of_others.derive(SourceValue::Text("Late, sadly"), None);
    /// let new_words = of_others.columns().iter().position(|(name, _)| name == "comment.new_words").unwrap();
    /// assert_eq!(derived[new_words], Derived::Number(0.5), "one word of two");
    /// ```
    pub fn text() -> Self {
        Self::Text(VocabularySurvey::default())
    }

    /// For vectors.
    ///
    /// ```
    /// use driftline_detectors::{Derived, Learning, SourceValue};
    ///
    /// let mut learning = Learning::embedding();
    /// for (row, vector) in [[3.0, 0.0], [5.0, 0.0], [4.0, 1.0], [4.0, -1.0]].iter().enumerate() {
    ///     learning.add(row as u64, SourceValue::Vector(vector));
    /// }
    /// let (_, of_others) = learning.finish("photo");
    /// let derived = of_others.derive(SourceValue::Vector(&[0.0, 2.0]), None);
    /// assert_eq!(derived[..2], [Derived::Number(2.0), Derived::Number(0.0)], "its length, and its angle to their middle");
    /// ```
    pub fn embedding() -> Self {
        Self::Embedding(SpaceSurvey::default())
    }

    /// Learns from a row. What is of another type teaches nothing.
    ///
    /// ```
    /// use driftline_detectors::{Learning, SourceValue};
    /// let (mut one, mut other) = (Learning::text(), Learning::text());
    /// one.add(0, SourceValue::Text("late again"));
    /// other.add(0, SourceValue::Text("late again"));
    /// other.add(1, SourceValue::Time(0));
    /// assert_eq!(one.finish("comment"), other.finish("comment"));
    /// ```
    pub fn add(&mut self, row: u64, value: SourceValue<'_>) {
        match (self, value) {
            (Self::Text(survey), SourceValue::Text(text)) => survey.add(row, text),
            (Self::Embedding(survey), SourceValue::Vector(vector)) => survey.add(row, vector),
            _ => {}
        }
    }

    /// How columns are derived: of the rows that this was learnt from, and of all others.
    ///
    /// They differ for texts. A word is new where nobody wrote it before; to a row of the reference, the others did. Were it
    /// held against a vocabulary that it is part of itself, it would have no new word, and every window would have drifted.
    ///
    /// ```
    /// use driftline_detectors::{Derived, Learning, SourceValue};
    ///
    /// let mut learning = Learning::text();
    /// [(0, "late again"), (1, "late")].map(|(row, text)| learning.add(row, SourceValue::Text(text)));
    /// let (of_rows, of_others) = learning.finish("comment");
    /// let new_words = |derivation: &driftline_detectors::Derivation| {
    ///     let derived = derivation.derive(SourceValue::Text("late again"), None);
    ///     derived.last().copied()
    /// };
    /// assert_eq!(new_words(&of_rows), Some(Derived::Number(0.5)), "nobody else wrote \"again\"");
    /// assert_eq!(new_words(&of_others), Some(Derived::Number(0.0)));
    /// ```
    pub fn finish(self, column: &str) -> (Derivation, Derivation) {
        let column = column.to_owned();
        match self {
            Self::Timestamp => {
                let derivation = Derivation::Timestamp { column };
                (derivation.clone(), derivation)
            }
            Self::Text(survey) => {
                let (of_others, all) = survey.finish();
                (
                    Derivation::Text { column: column.clone(), vocabulary: of_others },
                    Derivation::Text { column, vocabulary: all },
                )
            }
            Self::Embedding(survey) => {
                let derivation = Derivation::Embedding { column, space: survey.finish() };
                (derivation.clone(), derivation)
            }
        }
    }
}
