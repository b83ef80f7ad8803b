//! A table that says where in a sorted list to look for a number.
//!
//! Most of a bisection is spent on finding the neighbourhood. A monotone function takes a number to one of a few thousand
//! buckets, and the table knows which numbers of the list are in each: usually none or one. As the same function took the
//! list's numbers there, what is below a bucket is below the number, so the answer is exact, however unevenly they lie.

/// Buckets for each number of the list.
const BUCKETS_PER_NUMBER: usize = 4;

/// Where to look for a number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    spread: Spread,
    /// How many numbers of the list lie in the buckets before each, and in all.
    before: Vec<u32>,
}

/// The function from numbers to buckets. It never decreases.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spread {
    /// Buckets of one width.
    Even { lowest: f64, scale: f64 },
    /// Buckets of one width on the numbers' bits, which order like the numbers: narrow where numbers are small.
    Bits { lowest: i64, shift: u32 },
}

impl Lookup {
    /// A table for a sorted list.
    pub(crate) fn new(sorted: &[f64]) -> Self {
        let (lowest, highest) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let buckets = (BUCKETS_PER_NUMBER * sorted.len()).max(1);
        let scale = buckets as f64 / (highest - lowest);
        let even = Spread::Even { lowest, scale: if scale.is_finite() { scale } else { 0.0 } };
        let range = ordered_bits(highest).wrapping_sub(ordered_bits(lowest)).cast_unsigned();
        let shift = (u64::BITS - range.leading_zeros()).saturating_sub(buckets.ilog2());
        let bits = Spread::Bits { lowest: ordered_bits(lowest), shift };
        let tables = [even, bits].map(|spread| Self::of(spread, sorted, buckets));
        let [even, bits] = tables;
        if even.crowding() <= bits.crowding() { even } else { bits }
    }

    fn of(spread: Spread, sorted: &[f64], buckets: usize) -> Self {
        let mut before = vec![0; buckets + 1];
        for number in sorted {
            before[spread.bucket(*number, buckets) + 1] += 1;
        }
        for bucket in 0..buckets {
            before[bucket + 1] += before[bucket];
        }
        Self { spread, before }
    }

    /// How many numbers of the list share a bucket with one of them, in all.
    fn crowding(&self) -> u64 {
        self.before.windows(2).map(|pair| u64::from(pair[1] - pair[0]).pow(2)).sum()
    }

    /// How many numbers of the list are less than this one.
    pub(crate) fn below(&self, sorted: &[f64], number: f64) -> usize {
        let bucket = self.spread.bucket(number, self.before.len() - 1);
        let (from, to) = (self.before[bucket] as usize, self.before[bucket + 1] as usize);
        from + sorted[from..to].partition_point(|one| *one < number)
    }
}

impl Spread {
    fn bucket(self, number: f64, buckets: usize) -> usize {
        let bucket = match self {
            // What is below the lowest, and what is no number, becomes 0.
            Self::Even { lowest, scale } => ((number - lowest) * scale) as usize,
            Self::Bits { lowest, shift } => match ordered_bits(number) {
                bits if bits <= lowest => 0,
                bits => (bits.wrapping_sub(lowest).cast_unsigned() >> shift) as usize,
            },
        };
        bucket.min(buckets - 1)
    }
}

/// Bits of a finite float as an integer that orders like the float.
pub(crate) fn ordered_bits(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits().cast_signed();
    bits ^ (((bits >> 63).cast_unsigned() >> 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![
            -100.0..100.0f64,
            (-300.0..300.0f64).prop_map(f64::exp2),
            (0i32..50).prop_map(f64::from),
            proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        ]
    }

    proptest! {
        #[test]
        fn it_finds_what_bisection_finds(mut sorted in proptest::collection::vec(any_number(), 0..200), others in proptest::collection::vec(any_number(), 1..50)) {
            sorted.sort_by(f64::total_cmp);
            sorted.dedup();
            let lookup = Lookup::new(&sorted);
            let near = sorted.iter().flat_map(|one| [one.next_down(), *one, one.next_up()]);
            for number in near.chain(others).chain([f64::MAX, f64::MIN]) {
                prop_assert_eq!(lookup.below(&sorted, number), sorted.partition_point(|one| *one < number));
            }
        }
    }

    #[test]
    fn a_list_that_spans_everything_or_nothing_is_searched_all_the_same() {
        for sorted in [vec![], vec![7.0], vec![f64::MIN, 0.0, f64::MAX], vec![0.0, f64::MIN_POSITIVE]] {
            let lookup = Lookup::new(&sorted);
            for number in [f64::MIN, -1.0, 0.0, f64::MIN_POSITIVE, 7.0, 8.0, f64::MAX] {
                assert_eq!(lookup.below(&sorted, number), sorted.partition_point(|one| *one < number), "{sorted:?}");
            }
        }
    }

    #[test]
    fn numbers_that_lie_unevenly_hardly_share_a_bucket() {
        let even: Vec<f64> = (0..1000).map(f64::from).collect();
        let uneven: Vec<f64> = (0..1000).map(|i| (f64::from(i) / 50.0).exp()).collect();
        for sorted in [even, uneven] {
            assert!(Lookup::new(&sorted).crowding() <= 2 * sorted.len() as u64);
        }
    }
}
