//! Rows of files on the cells of references: what a file looks like beside another.

use std::path::Path;

use driftline_detectors::{Normal, Profile, Reference};

use super::columns::{category, number};
use super::read_rows;
use super::values::Value;

/// What was counted of a file.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) rows: u64,
    /// One for each of the references.
    pub(crate) profiles: Vec<Profile>,
}

/// Counts a file's rows on the cells of these references. A column that it lacks is missing in every row.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn count(path: &Path, references: &[Reference]) -> Result<Counted, String> {
    let mut counted = Counted { rows: 0, profiles: references.iter().map(Reference::empty_profile).collect() };
    read_rows(path, &[], &mut |chunk| {
        counted.rows += chunk.rows as u64;
        for (reference, profile) in references.iter().zip(&mut counted.profiles) {
            match chunk.column(&reference.column) {
                Some(values) => count_column(reference, profile, values),
                None => reference.count_missing(profile, chunk.rows as u64),
            }
        }
        Ok(())
    })?;
    Ok(counted)
}

fn count_column(reference: &Reference, profile: &mut Profile, values: &[Value<'_>]) {
    use driftline_detectors::RowValue;
    let mut numbers = Vec::new();
    let mut take = |value: RowValue<'_>| match value {
        RowValue::Number(number) => numbers.push(number),
        RowValue::Category(name) => reference.count_category(profile, name),
        RowValue::Missing => reference.count_missing(profile, 1),
        RowValue::WrongType => reference.count_wrong_type(profile, 1),
    };
    match &reference.normal {
        Normal::Numeric { .. } => values.iter().for_each(|value| take(number(value))),
        Normal::Categorical { dictionary, .. } => {
            let is_boolean = dictionary.categories().iter().all(|name| name == "true" || name == "false");
            values.iter().for_each(|value| category(value, is_boolean, &mut take));
        }
    }
    reference.count_numbers(profile, &numbers);
}
