//! The law of all that is kept, for the tests of each kind of profile: what parts count adds up to the whole, in any order, and
//! can be taken back.

use std::fmt::Debug;

/// Holds rows that are counted in two parts, to the bit, against the same rows counted at once.
pub(crate) fn parts_make_the_whole<R, P: Clone + PartialEq + Debug>(
    rows: &[R],
    at: usize,
    counted: impl Fn(&[R]) -> P,
    (merge, remove): (impl Fn(&mut P, &P), impl Fn(&mut P, &P)),
) {
    let (first, rest) = rows.split_at(at.min(rows.len()));
    let (first, rest, whole) = (counted(first), counted(rest), counted(rows));
    for (one, other) in [(&first, &rest), (&rest, &first)] {
        let mut sum = one.clone();
        merge(&mut sum, other);
        assert_eq!(sum, whole);
        remove(&mut sum, other);
        assert_eq!(sum, *one);
    }
}
