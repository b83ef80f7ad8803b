//! Whether rows still have the form that the model's reference knows: its columns, with values of their types.
//!
//! Windows say it, too, hours later: a column that was renamed is missing, one that became a text is of the wrong type. This
//! says it of the rows as they come, because whoever rolled out the change is still at their desk.

use driftline_alerts::Counts;
use driftline_detectors::{Derivation, Reference};

use super::columns::archived_name;
use super::series::References;
use super::table::Finished;

/// The columns that every row of the reference had. One that was missing in some may be missing again.
pub(crate) fn required(columns: &[Reference], derived: &[Derivation]) -> Vec<String> {
    let is_required = |column: &&Reference| {
        let profile = column.profile();
        profile.rows() > 0 && profile.usable() == profile.rows() && !derived.iter().any(|by| by.gives(&column.column))
    };
    columns.iter().filter(is_required).map(|column| archived_name(&column.column).into_owned()).collect()
}

/// How many of a table's rows have the known form. Of several columns that are wrong the worst counts: they are mostly wrong
/// in the same rows, so that at least so many do not fit.
pub(super) fn fitting(table: &Finished, references: &References) -> Counts {
    let rows = table.batch.num_rows() as u64;
    let worst = misfits(table, references).map(|(_, _, rows)| rows).max().unwrap_or(0);
    Counts { good: rows - worst.min(rows), valid: rows, unknown: 0 }
}

/// How a column's values do not have the known form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Misfit {
    /// There are none.
    Absent,
    WrongType,
}

impl Misfit {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Absent => "is absent in",
            Self::WrongType => "is of another type in",
        }
    }
}

/// The columns of a table that do not have the known form, and in how many rows.
pub(super) fn misfits<'t>(
    table: &'t Finished,
    references: &'t References,
) -> impl Iterator<Item = (&'t str, Misfit, u64)> {
    let rows = table.batch.num_rows() as u64;
    let came = move |name: &str| table.came.get(name).copied().unwrap_or(0).min(rows);
    let absent = references.required.iter().map(move |name| (name.as_str(), Misfit::Absent, rows - came(name)));
    let wrong_type = table.wrong_type.iter().map(|(name, values)| (name.as_str(), Misfit::WrongType, *values));
    absent.chain(wrong_type).filter(|(_, _, rows)| *rows > 0)
}

#[cfg(test)]
mod tests {
    use driftline_detectors::{ColumnKind, ReferenceBuilder};
    use driftline_protocol::{Cell, Column, Role};

    use super::*;
    use crate::config::{ColumnType, TimeUnit};
    use crate::pipeline::table::{RowMeta, Table};

    const META: RowMeta<'_> = RowMeta {
        event_time: 1,
        request_id: "r",
        row_id: "r",
        status: 200,
        end_state: "complete",
        latency_micros: None,
        instance: "pod",
        received_at: 2,
    };

    /// A reference of `always` and `sometimes`, numbers that every row and every other row had.
    fn references() -> References {
        let column = |name: &str, missing: bool| {
            let mut builder = ReferenceBuilder::new(name, ColumnKind::Numeric);
            (0..100u8).for_each(|row| match missing && row % 2 == 0 {
                true => builder.missing(None),
                false => builder.number(None, f64::from(row)),
            });
            builder.build(None).unwrap()
        };
        let columns = vec![column("always", false), column("sometimes", true)];
        References { required: required(&columns, &[]), columns, ..References::default() }
    }

    /// A table of one row for each of the cells, which may be none.
    fn fit(cells: &[(&str, Option<Cell<'static>>)]) -> Counts {
        let mut table = Table::default();
        for (name, cell) in cells {
            table.begin_row(META);
            if let Some(cell) = cell {
                let column = Column { name: (*name).into(), role: Role::Feature, cells: vec![cell.clone()].into() };
                table.push(&column, ColumnType::Number, TimeUnit::Seconds, 0..1);
            }
        }
        fitting(&table.finish().unwrap(), &references())
    }

    #[test]
    fn a_row_fits_with_the_columns_that_the_reference_always_had() {
        assert_eq!(references().required, ["always"]);
        let number = || Some(Cell::Number(1.0));
        assert_eq!(
            fit(&[("always", number()), ("always", Some(Cell::Missing))]),
            Counts { good: 2, valid: 2, unknown: 0 }
        );
        assert_eq!(fit(&[("always", number()), ("renamed", number())]), Counts { good: 1, valid: 2, unknown: 0 });
        assert_eq!(
            fit(&[("always", number()), ("always", Some(Cell::Text("x".into())))]),
            Counts { good: 1, valid: 2, unknown: 0 }
        );
        assert_eq!(fit(&[("sometimes", None)]), Counts { good: 0, valid: 1, unknown: 0 });
    }
}
