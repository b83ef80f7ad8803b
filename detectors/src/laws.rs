//! The laws of all that is kept, for the tests of each kind of profile: what parts count adds up to the whole, in whatever order
//! and however they are put together; nothing changes nothing; and what was added can be taken back.

use std::fmt::Debug;

/// Holds rows that are counted in three parts, to the bit, against the same rows counted at once.
pub(crate) fn parts_make_the_whole<R, P: Clone + PartialEq + Debug>(
    rows: &[R],
    at: (usize, usize),
    counted: impl Fn(&[R]) -> P,
    (merge, remove): (impl Fn(&mut P, &P), impl Fn(&mut P, &P)),
) {
    let (first, rest) = rows.split_at(at.0.min(rows.len()));
    let (second, third) = rest.split_at(at.1.min(rest.len()));
    let (a, b, c) = (counted(first), counted(second), counted(third));
    let (nothing, whole) = (counted(&[]), counted(rows));
    let merged = |one: &P, other: &P| {
        let mut sum = one.clone();
        merge(&mut sum, other);
        sum
    };
    assert_eq!(merged(&a, &b), merged(&b, &a), "merging is commutative");
    assert_eq!(merged(&merged(&a, &b), &c), whole, "parts make the whole");
    assert_eq!(merged(&a, &merged(&b, &c)), whole, "merging is associative");
    assert_eq!(merged(&merged(&c, &a), &b), whole, "parts come in any order");
    assert_eq!(merged(&a, &nothing), a, "nothing changes nothing");
    assert_eq!(merged(&nothing, &a), a, "nothing is changed by what comes first");
    let mut taken_back = whole;
    remove(&mut taken_back, &merged(&b, &c));
    assert_eq!(taken_back, a, "what was added can be taken back");
}
