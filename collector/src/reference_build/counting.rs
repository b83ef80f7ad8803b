//! Rows on the cells of references: what some look like beside others.

use driftline_detectors::{Derivation, Normal, Profile, Reference, SourceValue};

use super::RowSource;
use super::columns::{category, number};
use super::joint::{joint_number, name_code};
use super::values::{Chunk, Value};
use crate::pipeline::deriving::Deriving;

/// What was counted.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) rows: u64,
    /// One for each of the references.
    pub(crate) profiles: Vec<Profile>,
}

/// Counts rows on the cells of these references. A column that they lack is missing in every row. Of what is
/// derived, that is counted which columns say together.
///
/// # Errors
/// Why they cannot be read.
pub(crate) fn count(rows: &dyn RowSource, references: &[Reference], derived: &[Derivation]) -> Result<Counted, String> {
    let mut counted = Counted { rows: 0, profiles: references.iter().map(Reference::empty_profile).collect() };
    rows.read(&mut |chunk| {
        counted.rows += chunk.rows as u64;
        for derivation in derived {
            let mut deriving = Deriving::new(derivation, references, &mut counted.profiles);
            let mut take = |row: &[f64]| deriving.take(SourceValue::Row(row), None);
            match derivation {
                Derivation::Joint { joint } => {
                    each_row(chunk, joint.sources(), &|_, value| joint_number(value), &mut take);
                }
                Derivation::Names { names } => {
                    each_row(chunk, names.sources(), &|column, value| name_code(names, column, value), &mut take);
                }
                _ => {}
            }
            deriving.finish();
        }
        for (reference, profile) in references.iter().zip(&mut counted.profiles) {
            if derived.iter().any(|derivation| derivation.gives(&reference.column)) {
                continue;
            }
            match chunk.column(&reference.column) {
                Some(values) => count_column(reference, profile, values),
                None => reference.count_missing(profile, chunk.rows as u64),
            }
        }
        Ok(())
    })?;
    Ok(counted)
}

/// What each row holds in the columns that are looked at together.
fn each_row(
    chunk: &Chunk<'_>,
    sources: &[String],
    read: &dyn Fn(usize, &Value<'_>) -> f64,
    take: &mut dyn FnMut(&[f64]),
) {
    let sources: Vec<_> = sources.iter().map(|name| chunk.column(name)).collect();
    let mut values = vec![f64::NAN; sources.len()];
    for row in 0..chunk.rows {
        for (column, (value, source)) in values.iter_mut().zip(&sources).enumerate() {
            *value = source.map_or(f64::NAN, |values| read(column, &values[row]));
        }
        take(&values);
    }
}

fn count_column(reference: &Reference, profile: &mut Profile, values: &[Value<'_>]) {
    use driftline_detectors::RowValue;
    let mut numbers = Vec::new();
    let mut take = |value: RowValue<'_>| match value {
        RowValue::Number(number) => numbers.push(number),
        RowValue::Category(name) => reference.count_category(profile, name),
        RowValue::Row(row) => reference.count_row(profile, row),
        RowValue::Vector(vector) => reference.count_vector(profile, vector),
        RowValue::Missing => reference.count_missing(profile, 1),
        RowValue::WrongType => reference.count_wrong_type(profile, 1),
    };
    match &reference.normal {
        Normal::Numeric { .. } => values.iter().for_each(|value| take(number(value))),
        Normal::Categorical { dictionary, .. } => {
            let is_boolean = dictionary.categories().iter().all(|name| name == "true" || name == "false");
            values.iter().for_each(|value| category(value, is_boolean, &mut take));
        }
        // What is derived is no column of a file.
        Normal::Associations { .. } | Normal::Contingencies { .. } | Normal::Vectors { .. } => {
            values.iter().for_each(|_| take(RowValue::WrongType))
        }
    }
    reference.count_numbers(profile, &numbers);
}
