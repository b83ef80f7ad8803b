//! Columns of several messages under each other: what one of them lacks is missing in its rows.

use std::borrow::Cow;

use crate::decode::DecodeError;
use crate::rows::{Cell, Column, MAX_CELLS, MAX_COLUMNS, Role};

/// Columns that grow message by message.
#[derive(Debug)]
pub(crate) struct Stack<'a> {
    role: Role,
    rows: usize,
    columns: Vec<(Cow<'a, str>, Vec<Cell<'a>>)>,
}

impl<'a> Stack<'a> {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, rows: 0, columns: Vec::new() }
    }

    /// Adds a message's columns, each with so many cells. Two columns of one name in a message stay two.
    pub(crate) fn add(&mut self, columns: Vec<Column<'a>>, rows: usize) -> Result<(), DecodeError> {
        if rows == 0 {
            return Ok(());
        }
        let before = self.rows;
        self.rows = before.saturating_add(rows);
        self.check_cells()?;
        for (place, column) in columns.into_iter().enumerate() {
            // Messages repeat their columns in one order, so the next is usually where it was.
            let is_it = |(name, cells): &(Cow<'_, str>, Vec<Cell<'_>>)| *name == column.name && cells.len() <= before;
            let known = match self.columns.get(place) {
                Some(known) if is_it(known) => Some(place),
                _ => self.columns.iter().position(is_it),
            };
            let index = match known {
                Some(index) => index,
                None if self.columns.len() == MAX_COLUMNS => return Err(DecodeError::TooManyColumns),
                None => {
                    self.columns.push((column.name, Vec::new()));
                    self.check_cells()?;
                    self.columns.len() - 1
                }
            };
            let cells = &mut self.columns[index].1;
            cells.resize(before, Cell::Missing);
            cells.extend(column.cells.into_vec());
        }
        Ok(())
    }

    /// Before they are filled up: a wide message behind many rows has cells in all of them.
    fn check_cells(&self) -> Result<(), DecodeError> {
        let cells = self.rows.saturating_mul(self.columns.len().max(1));
        if cells > MAX_CELLS { Err(DecodeError::TooManyCells) } else { Ok(()) }
    }

    /// How many rows there are, and their columns.
    pub(crate) fn finish(self) -> (usize, Vec<Column<'a>>) {
        let (rows, role) = (self.rows, self.role);
        let column = |(name, mut cells): (Cow<'a, str>, Vec<Cell<'a>>)| {
            cells.resize(rows, Cell::Missing);
            Column { name, role, cells: cells.into() }
        };
        (rows, self.columns.into_iter().map(column).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, values: &[i64]) -> Column<'static> {
        let cells = values.iter().map(|value| Cell::Integer(*value)).collect();
        Column { name: name.to_owned().into(), role: Role::Feature, cells }
    }

    fn stacked(messages: Vec<(Vec<Column<'static>>, usize)>) -> Result<Vec<Column<'static>>, DecodeError> {
        let mut stack = Stack::new(Role::Feature);
        for (columns, rows) in messages {
            stack.add(columns, rows)?;
        }
        Ok(stack.finish().1)
    }

    #[test]
    fn what_a_message_lacks_is_missing_in_its_rows() {
        let messages = vec![
            (vec![column("a", &[1, 2])], 2),
            (vec![], 1),
            (vec![column("b", &[3]), column("a", &[4])], 1),
            (vec![], 1),
        ];
        let columns = stacked(messages).unwrap();
        let (one, none) = (Cell::Integer, Cell::Missing);
        assert_eq!(columns[0].cells, [one(1), one(2), none.clone(), one(4), none.clone()]);
        assert_eq!(columns[1].cells, [none.clone(), none.clone(), none.clone(), one(3), none]);
    }

    #[test]
    fn two_columns_of_one_name_stay_two() {
        let both = || (vec![column("a", &[1]), column("a", &[2])], 1);
        let columns = stacked(vec![both(), both()]).unwrap();
        assert_eq!(columns, [column("a", &[1, 1]), column("a", &[2, 2])]);
    }

    #[test]
    fn a_wide_message_behind_many_rows_is_refused_before_it_is_filled_up() {
        let wide: Vec<_> = (0..MAX_COLUMNS).map(|index| column(&index.to_string(), &[1])).collect();
        assert_eq!(stacked(vec![(vec![], MAX_CELLS - 1), (wide.clone(), 1)]), Err(DecodeError::TooManyCells));
        assert_eq!(stacked(vec![(wide, 1), (vec![column("x", &[1])], 1)]), Err(DecodeError::TooManyColumns));
    }
}
