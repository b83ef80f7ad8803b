//! Fields of bodies without types, as CSV is: what they spell.

use crate::config::ColumnType;

/// What a field seems to be.
pub(super) fn type_of_field(field: &str) -> ColumnType {
    if number_of_field(field).is_some() {
        ColumnType::Number
    } else if boolean_of_field(field).is_some() {
        ColumnType::Boolean
    } else {
        ColumnType::Text
    }
}

/// The number that a field spells.
pub(super) fn number_of_field(field: &str) -> Option<f64> {
    field.trim().parse().ok()
}

/// Whether a field says true or false, in any case: pandas writes `True`, R writes `TRUE`.
pub(super) fn boolean_of_field(field: &str) -> Option<bool> {
    let says = |word: &str| field.trim().eq_ignore_ascii_case(word);
    if says("true") { Some(true) } else { says("false").then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_what_it_spells() {
        let types = ["39.02", " 7", "nan", "TRUE", "UA", "1,5"].map(type_of_field);
        let (number, boolean, text) = (ColumnType::Number, ColumnType::Boolean, ColumnType::Text);
        assert_eq!(types, [number, number, number, boolean, text, text]);
    }
}
