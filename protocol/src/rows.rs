//! Rows: what an exchange says about single instances, as columns of typed cells.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::cells::Cells;
use crate::decode::DecodeError;

/// How many columns an exchange may have. Wide tabular models have hundreds; a tensor of pixels is not a table.
pub const MAX_COLUMNS: usize = 1000;
/// How many cells an exchange's rows may have on each side. Rows that lack columns have cells all the same, so a short body
/// can claim many; a body of 16 MiB holds about so many that are really there.
pub const MAX_CELLS: usize = 4_000_000;
/// Most bytes of texts and vectors that a body may have repeated in every row: as short bodies can claim many rows, they could claim
/// gigabytes.
pub(crate) const MAX_SHARED_BYTES: usize = 1024;
/// Longest name that a body may give: names become those of columns, and one is written for each value of a list or tensor.
pub(crate) const MAX_NAME_BYTES: usize = 1000;

/// The rows of one exchange.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows<'a> {
    /// How many rows there are; every column has as many cells.
    pub count: usize,
    /// Features first, then predictions, each in the order of their first appearance.
    pub columns: Vec<Column<'a>>,
    /// The id that the body gives the whole request, if it does.
    pub id: Option<Cow<'a, str>>,
    /// The model version that the response names, if it does.
    pub model_version: Option<Cow<'a, str>>,
    /// The status for which an error stands that the response tells of in the middle, if it does.
    pub(crate) failure: Option<u32>,
}

/// One column of an exchange's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Column<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Whether the request or the response brought it.
    pub role: Role,
    /// One cell for each row.
    pub cells: Cells<'a>,
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// From the request.
    Feature,
    /// From the response.
    Prediction,
}

/// One value of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// Absent or null.
    Missing,
    /// An integer, as a tensor of integers has it.
    Integer(i64),
    /// A number. JSON numbers without a tensor's type are these.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Text.
    Text(Cow<'a, str>),
    /// A field of a body without types, as CSV is: as it is spelled. What it is, its column's type says.
    Field(Cow<'a, str>),
    /// A vector, in single precision: all that a tensor has in the row. What was missing in it is not a number.
    Embedding(Box<[f32]>),
}

impl Cell<'_> {
    /// The cell without what it borrows.
    pub(crate) fn into_owned(self) -> Cell<'static> {
        match self {
            Self::Missing => Cell::Missing,
            Self::Integer(value) => Cell::Integer(value),
            Self::Number(value) => Cell::Number(value),
            Self::Boolean(value) => Cell::Boolean(value),
            Self::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
            Self::Field(field) => Cell::Field(Cow::Owned(field.into_owned())),
            Self::Embedding(vector) => Cell::Embedding(vector),
        }
    }
}

impl Column<'_> {
    /// The column without what it borrows.
    pub(crate) fn into_owned(self) -> Column<'static> {
        Column { name: Cow::Owned(self.name.into_owned()), role: self.role, cells: self.cells.into_owned() }
    }
}

impl Rows<'_> {
    /// The rows without what they borrow: a body that was decompressed goes with its exchange.
    pub(crate) fn into_owned(self) -> Rows<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Rows {
            count: self.count,
            columns: self.columns.into_iter().map(Column::into_owned).collect(),
            id: self.id.map(owned),
            model_version: self.model_version.map(owned),
            failure: self.failure,
        }
    }
}

/// Gathers rows whose columns become known as they come.
#[derive(Debug, Default)]
pub(crate) struct ColumnsByName<'a> {
    columns: Vec<(Cow<'a, str>, Vec<Cell<'a>>)>,
    index: HashMap<Cow<'a, str>, usize, RandomState>,
    rows: usize,
    /// Rows repeat their keys in one order, so the next key is usually the next column.
    guess: usize,
    /// What is the same in every row.
    shared: Vec<(Cow<'a, str>, Cell<'a>)>,
}

impl<'a> ColumnsByName<'a> {
    /// Columns that have a cell for each of so many rows.
    pub(crate) fn of(columns: Vec<(Cow<'a, str>, Vec<Cell<'a>>)>, rows: usize) -> Self {
        Self { columns, rows, ..Self::default() }
    }

    /// Begins the next row.
    pub(crate) fn next_row(&mut self) -> Result<(), DecodeError> {
        self.rows += 1;
        self.guess = 0;
        self.check_cells()
    }

    fn check_cells(&self) -> Result<(), DecodeError> {
        let cells = self.rows.saturating_mul(self.columns.len() + self.shared.len());
        if cells > MAX_CELLS { Err(DecodeError::TooManyCells) } else { Ok(()) }
    }

    /// Sets a cell of the current row. A repeated name keeps its last value, as JSON readers do.
    pub(crate) fn set(&mut self, name: Cow<'a, str>, cell: Cell<'a>) -> Result<(), DecodeError> {
        let index = if self.columns.get(self.guess).is_some_and(|(known, _)| *known == name) {
            self.guess
        } else if let Some(index) = self.index.get(&name) {
            *index
        } else {
            if self.columns.len() == MAX_COLUMNS {
                return Err(DecodeError::TooManyColumns);
            }
            self.index.insert(name.clone(), self.columns.len());
            self.columns.push((name, Vec::new()));
            self.check_cells()?;
            self.columns.len() - 1
        };
        self.guess = index + 1;
        let cells = &mut self.columns[index].1;
        cells.resize(self.rows - 1, Cell::Missing);
        cells.push(cell);
        Ok(())
    }

    /// Adds what all rows share: the cells of one row. A row's own columns come before them. For when all rows are there.
    pub(crate) fn share(&mut self, one_row: Self, role: Role) -> Result<(), DecodeError> {
        let mut bytes = 0;
        for (name, cells) in one_row.columns {
            let Some(cell) = cells.into_iter().next().filter(|_| !self.index.contains_key(&name)) else { continue };
            bytes += match &cell {
                Cell::Text(text) => text.len(),
                Cell::Embedding(vector) => size_of_val(&**vector),
                _ => 0,
            };
            if bytes > MAX_SHARED_BYTES && self.rows > 1 {
                let what = format!("all rows share it, and what they share has more than {MAX_SHARED_BYTES} bytes");
                return Err(DecodeError::Shape { role, column: name.into_owned(), what });
            }
            if self.columns.len() + self.shared.len() == MAX_COLUMNS {
                return Err(DecodeError::TooManyColumns);
            }
            self.shared.push((name, cell));
        }
        self.check_cells()
    }

    /// How many rows there are so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The columns, each as long as there are rows.
    pub(crate) fn finish(self, role: Role) -> Vec<Column<'a>> {
        let rows = self.rows;
        let column = |(name, mut cells): (Cow<'a, str>, Vec<Cell<'a>>)| {
            cells.resize(rows, Cell::Missing);
            Column { name, role, cells: cells.into() }
        };
        let shared = self.shared.into_iter().map(|(name, cell)| Column { name, role, cells: vec![cell; rows].into() });
        self.columns.into_iter().map(column).chain(shared).collect()
    }
}
