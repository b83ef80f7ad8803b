//! The cells of a column: numbers as they are counted and kept, or cells of any kind.
//!
//! Most columns of most models are numbers in every row. One of these is a list of doubles from the body to the archive:
//! nothing asks of each value what it is.

use std::borrow::Cow;
use std::fmt;

use crate::rows::Cell;

/// One cell for each row. However they are held, the same cells are equal, and look the same.
#[derive(Clone)]
pub enum Cells<'a> {
    /// A number in every row.
    Numbers(Vec<f64>),
    /// Of any kind.
    Any(Vec<Cell<'a>>),
}

impl<'a> Cells<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Any(cells) => cells.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of a row; none when there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Cow<'_, Cell<'a>>> {
        match self {
            Self::Numbers(numbers) => numbers.get(row).map(|number| Cow::Owned(Cell::Number(*number))),
            Self::Any(cells) => cells.get(row).map(Cow::Borrowed),
        }
    }

    /// All of them, row by row.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, Cell<'a>>> {
        (0..self.len()).filter_map(|row| self.get(row))
    }

    /// All of them as cells of any kind.
    #[must_use]
    pub fn into_vec(self) -> Vec<Cell<'a>> {
        match self {
            Self::Numbers(numbers) => numbers.into_iter().map(Cell::Number).collect(),
            Self::Any(cells) => cells,
        }
    }

    /// The cells without what they borrow.
    pub(crate) fn into_owned(self) -> Cells<'static> {
        match self {
            Self::Numbers(numbers) => Cells::Numbers(numbers),
            Self::Any(cells) => cells.into_iter().map(Cell::into_owned).collect(),
        }
    }

    /// Values row by row, so many in each, as one column for each of them.
    pub(crate) fn split(self, width: usize) -> Vec<Self> {
        match self {
            cells if width == 1 => vec![cells],
            Self::Numbers(numbers) => split(numbers, width).into_iter().map(Self::Numbers).collect(),
            Self::Any(cells) => split(cells, width).into_iter().map(Self::Any).collect(),
        }
    }
}

fn split<T>(values: Vec<T>, width: usize) -> Vec<Vec<T>> {
    let rows = values.len() / width.max(1);
    let mut columns: Vec<Vec<T>> = (0..width).map(|_| Vec::with_capacity(rows)).collect();
    for (index, value) in values.into_iter().enumerate() {
        columns[index % width].push(value);
    }
    columns
}

impl<'a> From<Vec<Cell<'a>>> for Cells<'a> {
    fn from(cells: Vec<Cell<'a>>) -> Self {
        Self::Any(cells)
    }
}

impl<'a> FromIterator<Cell<'a>> for Cells<'a> {
    fn from_iter<I: IntoIterator<Item = Cell<'a>>>(cells: I) -> Self {
        Self::Any(cells.into_iter().collect())
    }
}

impl fmt::Debug for Cells<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Cells<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(mine, theirs)| *mine == *theirs)
    }
}

impl<const N: usize> PartialEq<[Cell<'_>; N]> for Cells<'_> {
    fn eq(&self, other: &[Cell<'_>; N]) -> bool {
        self.len() == N && self.iter().zip(other).all(|(mine, theirs)| *mine == *theirs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_the_cells_that_they_stand_for(numbers in proptest::collection::vec(-9.0..9.0f64, 0..20), width in 1usize..5) {
            let any: Vec<Cell<'_>> = numbers.iter().map(|number| Cell::Number(*number)).collect();
            let numbers = Cells::Numbers(numbers);
            prop_assert_eq!(&numbers, &Cells::Any(any.clone()));
            prop_assert_eq!(numbers.get(numbers.len()), None);
            prop_assert_eq!(numbers.clone().into_vec(), any.clone());
            prop_assert_eq!(numbers.split(width), Cells::Any(any).split(width));
        }
    }

    #[test]
    fn other_cells_are_not_equal() {
        let numbers = Cells::Numbers(vec![1.0, 2.0]);
        assert_eq!(numbers, [Cell::Number(1.0), Cell::Number(2.0)]);
        assert_ne!(numbers, [Cell::Number(1.0), Cell::Integer(2)]);
        assert_ne!(numbers, [Cell::Number(1.0)]);
        assert_ne!(numbers, Cells::Numbers(vec![1.0, 2.0, 3.0]));
    }
}
