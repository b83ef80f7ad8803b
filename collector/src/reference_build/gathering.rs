//! Rows of all sources, set aside column by column, until each column is made a reference.

use std::collections::{BTreeMap, BTreeSet};

use driftline_detectors::{Derivation, Reference, Segments};

use super::ReferencePlan;
use super::aside::{Aside, Lane, MEMORY_BYTES, no_room};
use super::columns::{Gathered, Kind, build};
use super::joint::Together;
use super::parting::{self, Parted};
use super::values::{Chunk, Value};

/// What was read so far.
#[derive(Debug)]
pub(super) struct Gathering<'p> {
    plan: &'p ReferencePlan,
    /// Columns that rows are parted by.
    parted_by: Vec<String>,
    aside: Aside,
    columns: Vec<Column>,
    /// Places in `columns`, for all columns of all sources; none for those that nobody wants.
    places: BTreeMap<String, Option<usize>>,
    /// When each row happened.
    times: Lane,
    rows: u64,
    /// Rows without a usable time.
    untimed: u64,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Finished {
    /// The references of all columns, in the order in which they first came.
    pub(super) columns: Vec<Reference>,
    /// How some are derived.
    pub(super) derived: Vec<Derivation>,
    /// The same of parts of the rows, if there are to be any.
    pub(super) segments: Option<Segments>,
}

#[derive(Debug)]
struct Column {
    name: String,
    lane: Lane,
    /// As the first source said that had a value.
    kind: Option<Kind>,
    /// What the source that is being read has shown.
    seen: Seen,
}

/// Which types a column's values had.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    numbers: bool,
    texts: bool,
    booleans: bool,
    fields: bool,
    /// Fields that are no numbers.
    words: bool,
    /// Fields that are neither true nor false.
    not_booleans: bool,
    times: bool,
    vectors: bool,
}

impl Seen {
    fn look(&mut self, value: &Value<'_>) {
        match value {
            Value::Number(_) => self.numbers = true,
            Value::Text(_) => self.texts = true,
            Value::Boolean(_) => self.booleans = true,
            Value::Field(field) => {
                self.fields = true;
                self.words |= field.parse::<f64>().is_err();
                self.not_booleans |= !field.eq_ignore_ascii_case("true") && !field.eq_ignore_ascii_case("false");
            }
            Value::Time(_) => self.times = true,
            Value::Vector(_) => self.vectors = true,
            Value::Missing | Value::Other => {}
        }
    }

    /// The kind of a column whose values looked so; none where they say nothing. One with texts among its numbers is one
    /// of names.
    fn kind(self) -> Option<Kind> {
        match self {
            Self { fields: true, words: true, not_booleans: false, .. } => Some(Kind::Boolean),
            Self { texts: true, .. } | Self { words: true, .. } => Some(Kind::Categorical),
            Self { numbers: true, .. } | Self { fields: true, .. } => Some(Kind::Numeric),
            Self { booleans: true, .. } => Some(Kind::Boolean),
            Self { times: true, .. } => Some(Kind::Timestamp),
            Self { vectors: true, .. } => Some(Kind::Embedding),
            _ => None,
        }
    }
}

/// Whether a column is the index of a data frame, which pandas writes beside the columns. It says where a row was, and drifts
/// as files grow.
fn is_row_number(column: &str) -> bool {
    let level = column.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__"));
    level.is_some_and(|level| !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit()))
}

impl<'p> Gathering<'p> {
    pub(super) fn new(plan: &'p ReferencePlan) -> Self {
        Self {
            plan,
            // A condition that cannot be read is said when rows are parted by it.
            parted_by: parting::columns(&plan.segments).unwrap_or_default(),
            aside: Aside::holding(plan.memory_bytes.unwrap_or(MEMORY_BYTES)),
            columns: Vec::new(),
            places: BTreeMap::new(),
            times: Lane::default(),
            rows: 0,
            untimed: 0,
        }
    }

    /// How many rows were read.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether a column is gathered: it is scored, or rows are parted by it.
    fn wants(&self, column: &str) -> bool {
        self.scores(column) || self.parted_by.iter().any(|name| name == column)
    }

    fn scores(&self, column: &str) -> bool {
        let plan = self.plan;
        let is_time = plan.time.as_ref().is_some_and(|(time, _)| time == column);
        !is_time
            && !plan.exclude.iter().any(|excluded| excluded == column)
            && if plan.columns.is_empty() {
                !is_row_number(column)
            } else {
                plan.columns.iter().any(|wanted| wanted == column)
            }
    }

    /// Sets rows aside.
    pub(super) fn take(&mut self, chunk: &Chunk<'_>) -> Result<(), String> {
        self.take_times(chunk)?;
        for (name, values) in &chunk.columns {
            let Some(place) = self.place(name) else { continue };
            let column = &mut self.columns[place];
            column.lane.fill_to(self.rows, &mut self.aside).map_err(no_room)?;
            for value in values {
                column.seen.look(value);
                column.lane.push(value, &mut self.aside).map_err(no_room)?;
            }
        }
        self.rows += chunk.rows as u64;
        Ok(())
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.wants(name).then_some(self.columns.len());
        if place.is_some() {
            self.columns.push(Column {
                name: name.to_owned(),
                lane: Lane::default(),
                kind: self.said(name),
                seen: Seen::default(),
            });
        }
        self.places.insert(name.to_owned(), place);
        place
    }

    /// The kind that the plan gives a column.
    fn said(&self, name: &str) -> Option<Kind> {
        let plan = self.plan;
        let kinds = [
            (&plan.categorical, Kind::Categorical),
            (&plan.text, Kind::Text),
            (&plan.timestamp, Kind::Timestamp),
            (&plan.embedding, Kind::Embedding),
        ];
        kinds.into_iter().find(|(names, _)| names.iter().any(|named| named == name)).map(|(_, kind)| kind)
    }

    /// When each row happened.
    fn take_times(&mut self, chunk: &Chunk<'_>) -> Result<(), String> {
        let Some((column, _)) = &self.plan.time else { return Ok(()) };
        if chunk.rows == 0 {
            return Ok(());
        }
        let values = chunk
            .column(column)
            .ok_or_else(|| format!("there is no time column '{column}'; name another with --time-column"))?;
        for value in values {
            let time = match value {
                Value::Time(time) => Some(*time),
                Value::Text(text) | Value::Field(text) => text.parse().ok().map(jiff::Timestamp::as_microsecond),
                _ => None,
            };
            let is_number = match value {
                Value::Number(_) => true,
                Value::Field(field) => field.parse::<f64>().is_ok(),
                _ => false,
            };
            if is_number {
                return Err(format!("the time column '{column}' holds numbers; times or RFC 3339 texts are needed"));
            }
            self.untimed += u64::from(time.is_none());
            self.times.push(&time.map_or(Value::Missing, Value::Time), &mut self.aside).map_err(no_room)?;
        }
        Ok(())
    }

    /// Notes that a source was read to its end. The first that has a value of a column decides on its kind.
    pub(super) fn end_source(&mut self) {
        for column in &mut self.columns {
            let seen = std::mem::take(&mut column.seen);
            column.kind = column.kind.or_else(|| seen.kind());
        }
    }

    /// Whether every column that was named came.
    fn check_named(&self) -> Result<(), String> {
        let is_absent = |column: &&String| !self.places.contains_key(*column) || !self.scores(column);
        let absent: Vec<&str> = self.plan.columns.iter().filter(is_absent).map(String::as_str).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let there: Vec<&str> = self.places.keys().map(String::as_str).collect();
        Err(format!("no input has a column {}; there are {}", absent.join(", "), there.join(", ")))
    }

    /// The columns, each with a value for every row, and where they were set aside.
    pub(super) fn into_columns(mut self) -> Result<(Vec<Gathered>, Aside), String> {
        Ok((self.columns()?, self.aside))
    }

    fn columns(&mut self) -> Result<Vec<Gathered>, String> {
        let gathered = self.columns.drain(..).map(|mut column| {
            column.lane.fill_to(self.rows, &mut self.aside).map_err(no_room)?;
            // Without any value it is as good as numbers, and said to be empty.
            Ok(Gathered { name: column.name, kind: column.kind.unwrap_or(Kind::Numeric), lane: column.lane })
        });
        gathered.collect()
    }

    /// The references of everything that was gathered.
    pub(super) fn finish(mut self) -> Result<Finished, String> {
        self.check_named()?;
        if self.untimed > 0 {
            tracing::warn!(
                rows = self.untimed,
                "rows without a time are counted, and tell nothing of stretches of time"
            );
        }
        let gathered = self.columns()?;
        let parted = Parted::new(&self.plan.segments, &gathered, &self.aside, self.rows)?;
        let scored: Vec<&Gathered> = gathered.iter().filter(|column| self.scores(&column.name)).collect();
        let (mut references, mut derivations, mut shared) = (Vec::new(), Vec::new(), Vec::new());
        for made in build(&scored, &self.aside, &self.times, &parted, self.plan)? {
            references.extend(made.references);
            derivations.extend(made.derivation);
            shared.extend(made.segments);
        }
        let together = Together { aside: &self.aside, times: &self.times, parted: &parted, plan: self.plan };
        let of_numbers = together.numbers(&scored)?;
        let of_names = together.names(&scored, &references)?;
        for made in of_numbers.into_iter().chain(of_names) {
            references.extend(made.references);
            derivations.extend(made.derivation);
            shared.extend(made.segments);
        }
        if references.is_empty() {
            return Err("no input has a column to take".to_owned());
        }
        let mut names = BTreeSet::new();
        match references.iter().find(|reference| !names.insert(reference.column.as_str())) {
            Some(twice) => {
                Err(format!("a column '{}' is there, and another is derived; leave one out by --exclude", twice.column))
            }
            None => Ok(Finished { segments: parted.finish(shared), columns: references, derived: derivations }),
        }
    }
}
