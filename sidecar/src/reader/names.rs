//! Names of header fields, which may come in any case.

/// Whether a name is this one, which is given in lower case. Many come like this, and are then known in a few instructions;
/// of the others the first letter tells. Who looks for several asks for their lengths first.
#[inline]
pub(crate) fn is_named(name: &str, lower: &str) -> bool {
    name == lower || name.eq_ignore_ascii_case(lower)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_compares_as_the_standard_library_does(name in "[cCoONtTeE-]{0,13}|(?i)content-type|[ -~é]{12}") {
            prop_assert_eq!(is_named(&name, "content-type"), name.eq_ignore_ascii_case("content-type"));
        }
    }
}
