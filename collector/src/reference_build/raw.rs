//! Columns value by value, for what cannot be told from counts: other tools' numbers of two samples.

use driftline_detectors::RowValue;

use super::aside::{Aside, Lane};
use super::columns::{Gathered, Kind, category, lost, number};
use super::gathering::Gathering;
use super::{ReferencePlan, RowSource};

/// Rows that were set aside column by column.
#[derive(Debug)]
pub(crate) struct RawRows {
    pub(crate) rows: u64,
    columns: Vec<Gathered>,
    aside: Aside,
}

/// A column of numbers or of names, in the order of the rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RawColumn {
    /// NaN where there is no number.
    Numbers(Vec<f64>),
    Names(Vec<Option<String>>),
}

/// A column of what is normal, and the same of the rows that are held against it.
#[derive(Debug)]
pub(crate) struct RawPair {
    pub(crate) normal: RawColumn,
    pub(crate) rows: RawColumn,
    /// Values of both that are of another type than the column, and so count as missing.
    pub(crate) wrong_type: u64,
}

impl RawColumn {
    fn missing(kind: Kind, rows: u64) -> Self {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        if kind == Kind::Numeric { Self::Numbers(vec![f64::NAN; rows]) } else { Self::Names(vec![None; rows]) }
    }

    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Names(names) => names.len(),
        }
    }

    /// What its rows hold; a number is no name.
    pub(crate) fn names(&self) -> Vec<Option<&str>> {
        match self {
            Self::Numbers(numbers) => vec![None; numbers.len()],
            Self::Names(names) => names.iter().map(Option::as_deref).collect(),
        }
    }
}

impl RawRows {
    /// Sets the columns of a plan aside; those that do not come are not there.
    ///
    /// # Errors
    /// Why the rows cannot be read, or set aside.
    pub(crate) fn read(rows: &dyn RowSource, plan: &ReferencePlan) -> Result<Self, String> {
        let mut gathering = Gathering::new(plan);
        rows.read(&mut |chunk| gathering.take(chunk))?;
        gathering.end_source();
        let rows = gathering.rows();
        let (columns, aside) = gathering.into_columns()?;
        Ok(Self { rows, columns, aside })
    }

    /// The columns of numbers and of names. Times, texts and vectors are neither.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let is_either = |kind| matches!(kind, Kind::Numeric | Kind::Categorical | Kind::Boolean);
        self.columns.iter().filter(move |column| is_either(column.kind)).map(|column| column.name.as_str())
    }

    /// One of [`Self::names`] beside the same column of other rows, read as the same kind; without a value where they have no
    /// such column. Only these two are in memory.
    ///
    /// # Errors
    /// When what was set aside cannot be read.
    pub(crate) fn beside(&self, rows: &Self, name: &str) -> Result<Option<RawPair>, String> {
        let Some(column) = self.columns.iter().find(|column| column.name == name) else { return Ok(None) };
        let mut wrong_type = 0;
        let normal = values(&column.lane, column.kind, &self.aside, &mut wrong_type)?;
        let rows = match rows.columns.iter().find(|column| column.name == name) {
            Some(same) => values(&same.lane, column.kind, &rows.aside, &mut wrong_type)?,
            None => RawColumn::missing(column.kind, rows.rows),
        };
        Ok(Some(RawPair { normal, rows, wrong_type }))
    }
}

fn values(lane: &Lane, kind: Kind, aside: &Aside, wrong_type: &mut u64) -> Result<RawColumn, String> {
    let mut reader = lane.reader(aside);
    if kind == Kind::Numeric {
        let mut numbers = Vec::new();
        while let Some(value) = reader.next().map_err(lost)? {
            let value = number(&value);
            *wrong_type += u64::from(value == RowValue::WrongType);
            numbers.push(if let RowValue::Number(number) = value { number } else { f64::NAN });
        }
        return Ok(RawColumn::Numbers(numbers));
    }
    let mut names = Vec::new();
    while let Some(value) = reader.next().map_err(lost)? {
        category(&value, kind == Kind::Boolean, &mut |value| {
            *wrong_type += u64::from(value == RowValue::WrongType);
            names.push(if let RowValue::Category(name) = value { Some(name.to_owned()) } else { None });
        });
    }
    Ok(RawColumn::Names(names))
}
