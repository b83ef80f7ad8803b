//! Bodies of comma-separated values: SageMaker's own, and MLflow's with a header line.
//!
//! Nothing in them has a type: a field is kept as it is spelled, and an empty one is missing. Whether the first line names
//! the columns is often not said. Where the configuration names features, a header has none but those; otherwise it is a
//! first line of different words above another, with no number among them.

use std::borrow::Cow;
use std::collections::HashSet;

use csv::{ByteRecord, ReaderBuilder, StringRecord};

use crate::decode::{DecodeError, Naming};
use crate::flatten::Unnamed;
use crate::rows::{Cell, ColumnsByName, MAX_CELLS, MAX_COLUMNS, Role};

/// Reads rows, after the first line where that is a header.
pub(crate) fn rows<'a>(body: &[u8], has_header: bool, unnamed: Unnamed<'a>) -> Result<ColumnsByName<'a>, DecodeError> {
    let malformed = |error: csv::Error| DecodeError::Malformed { role: unnamed.role(), what: error.to_string() };
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(body);
    let mut record = StringRecord::new();
    let mut columns: Vec<(Cow<'a, str>, Vec<Cell<'a>>)> = Vec::new();
    let mut rows = 0;
    while reader.read_record(&mut record).map_err(malformed)? {
        if columns.is_empty() {
            if record.len() > MAX_COLUMNS {
                return Err(DecodeError::TooManyColumns);
            }
            columns = names(&record, has_header, unnamed).map(|name| (name, Vec::new())).collect();
            if has_header {
                continue;
            }
        }
        rows += 1;
        if rows * columns.len() > MAX_CELLS {
            return Err(DecodeError::TooManyCells);
        }
        for ((_, cells), field) in columns.iter_mut().zip(&record) {
            cells.push(if field.is_empty() { Cell::Missing } else { Cell::Field(field.to_owned().into()) });
        }
    }
    Ok(ColumnsByName::of(columns, rows))
}

fn names<'r, 'a>(
    first: &'r StringRecord,
    is_header: bool,
    unnamed: Unnamed<'a>,
) -> impl Iterator<Item = Cow<'a, str>> + use<'r, 'a> {
    let is_single = first.len() == 1;
    first.iter().enumerate().map(move |(index, field)| match field {
        name if is_header && !name.is_empty() => name.to_owned().into(),
        _ if is_single => unnamed.single(),
        _ => unnamed.at(index),
    })
}

/// Whether the first line seems to name the columns.
pub(crate) fn seems_to_have_header(body: &[u8], naming: &Naming) -> bool {
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(body);
    let (mut first, mut second) = (StringRecord::new(), ByteRecord::new());
    if !reader.read_record(&mut first).unwrap_or(false) {
        return false;
    }
    if !naming.features.is_empty() {
        return first.iter().all(|field| naming.features.iter().any(|name| name == field));
    }
    let mut different = HashSet::new();
    let is_name = |field: &str| !field.is_empty() && field.trim().parse::<f64>().is_err();
    first.iter().all(|field| is_name(field) && different.insert(field))
        && reader.read_byte_record(&mut second).unwrap_or(false)
}

/// Reads predictions for so many rows: a line for each, with a header above them or without, or all of them in one line,
/// as SageMaker's XGBoost answers.
pub(crate) fn predictions<'a>(body: &[u8], rows: usize) -> Result<ColumnsByName<'a>, DecodeError> {
    let read = self::rows(body, false, Unnamed::Predictions)?;
    if rows > 1 && read.rows() == 1 {
        let columns = read.finish(Role::Prediction);
        if columns.len() != rows {
            return Err(DecodeError::RowMismatch { request: rows, response: columns.len().max(1) });
        }
        let cells = columns.into_iter().filter_map(|column| column.cells.into_vec().pop()).collect();
        return Ok(ColumnsByName::of(vec![(Unnamed::Predictions.single(), cells)], rows));
    }
    if read.rows() == rows + 1 {
        return self::rows(body, true, Unnamed::Predictions);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str, has_header: bool) -> Result<Vec<String>, &'static str> {
        let naming = Naming { features: vec!["a".into(), "b".into()], ..Naming::default() };
        let rows = rows(body.as_bytes(), has_header, Unnamed::Features(&naming)).map_err(|error| error.reason())?;
        let columns = rows.finish(Role::Feature);
        Ok(columns.iter().map(|column| format!("{}={:?}", column.name, column.cells)).collect())
    }

    #[test]
    fn fields_are_as_they_are_spelled() {
        let expected = [r#"a=[Field("007"), Missing]"#, r#"b=[Field("x, \"y\""), Field("1e5")]"#];
        assert_eq!(read("007,\"x, \"\"y\"\"\"\r\n,1e5\r\n", false).unwrap(), expected);
        assert_eq!(
            read("b,,c\n1,2,3", true).unwrap()[1],
            r#"b=[Field("2")]"#,
            "an unnamed column has its place's name"
        );
        assert_eq!(read("", false).unwrap().len(), 0);
        assert_eq!(read("1,2\n3", false), Err("malformed"));
        assert_eq!(read(&",".repeat(1000), false), Err("too_many_columns"));
    }

    #[test]
    fn a_header_is_told_from_a_row() {
        let names = |features: &[&str]| Naming {
            features: features.iter().map(|&name| name.into()).collect(),
            ..Naming::default()
        };
        let seems = |body: &str, features: &[&str]| seems_to_have_header(body.as_bytes(), &names(features));
        assert!(seems("temp,carrier\n39.02,UA\n", &[]));
        assert!(!seems("39.02,UA\n41,DL\n", &[]));
        assert!(!seems("UA,JFK\n", &[]), "there is no row below it");
        assert!(!seems("UA,UA\nDL,DL\n", &[]));
        assert!(seems("carrier,temp", &["temp", "carrier"]));
        assert!(!seems("UA,JFK\nDL,LGA\n", &["carrier", "origin"]));
        assert!(!seems("", &[]));
    }

    #[test]
    fn predictions_may_stand_in_lines_or_in_one() {
        let read = |body: &str, rows| {
            predictions(body.as_bytes(), rows).map(|read| format!("{:?}", read.finish(Role::Prediction)))
        };
        assert_eq!(read("0.1\n0.2\n", 2), read("0.1,0.2", 2));
        assert_eq!(read("score\n0.1\n0.2\n", 2).unwrap().replace("score", "prediction"), read("0.1,0.2", 2).unwrap());
        assert!(read("0.1,0.9", 1).unwrap().contains("prediction_1"));
        assert!(read("0.1,0.2,0.3", 2).is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in proptest::collection::vec(proptest::collection::vec("[a-c0-9\",;é \r\n]{0,8}", 3..4), 1..20)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).unwrap());
            let body = writer.into_inner().unwrap();
            let naming = Naming::default();
            let columns = super::rows(&body, false, Unnamed::Features(&naming)).unwrap().finish(Role::Feature);
            for (index, row) in rows.iter().enumerate() {
                for (column, field) in columns.iter().zip(row) {
                    let expected = if field.is_empty() { Cell::Missing } else { Cell::Field(field.into()) };
                    prop_assert_eq!(&*column.cells.get(index).unwrap(), &expected);
                }
            }
        }
    }
}
