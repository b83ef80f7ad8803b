//! Where numbers lie in a sorted list, many at a time.
//!
//! Most of a bisection is spent on finding the neighbourhood. A monotone function takes a number to one of a few thousand
//! buckets, and a table says of each which numbers of the list are in it: usually none or one. As the same function took
//! the list's numbers there, what is below a bucket is below the number, so the answer is exact, however they lie.
//!
//! Which function it is, the list decides: buckets of one width where the list is even; else of one width within each power
//! of two, as narrow as the list is dense there, seen from its middle or from zero; else, where the list is a few clusters
//! far apart, of one width within each cluster. A list that crowds even those is bisected, for sixteen numbers side by side,
//! so that their waits overlap.

use std::hint::select_unpredictable;

/// Buckets for each number of the list.
const BUCKETS_PER_NUMBER: usize = 4;
/// The same in a cluster: its numbers crowd its middle, and only this keeps them apart there.
const BUCKETS_PER_NUMBER_OF_A_CLUSTER: usize = 2 * BUCKETS_PER_NUMBER;
/// Share of the list that may lie in a bucket with a smaller number before another function is tried: there it is searched.
const FEW: f64 = 0.01;
/// Numbers that are searched for side by side.
const LANES: usize = 16;
/// Signs with exponents of a double.
const CLASSES: usize = 1 << 12;
const MANTISSA_BITS: u32 = 52;

/// Where to look for a number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    spread: Spread,
    /// At least one, unless the list is bisected. What lies beyond the last lies in it.
    buckets: Vec<Bucket>,
    /// Whether a bucket holds more than one number of the list.
    is_crowded: bool,
}

/// What is in a bucket: side by side, so that one look at memory tells all.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    /// The smallest number of the list in it; infinite when there is none.
    first: f64,
    /// How many numbers of the list are in the buckets before it.
    before: u32,
    /// How many are in it.
    inside: u32,
}

/// The function from numbers to buckets. It never decreases.
#[derive(Debug, Clone, PartialEq)]
enum Spread {
    Even(Even),
    Exponents(Exponents),
    Clusters(Clusters),
    Bisected,
}

/// Buckets of one width.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Even {
    lowest: f64,
    scale: f64,
}

/// Buckets of one width for each sign and exponent of the distance from the middle.
#[derive(Debug, Clone, PartialEq)]
struct Exponents {
    middle: f64,
    classes: Vec<Class>,
}

/// The buckets of one sign and exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Class {
    first: u32,
    /// By how much a mantissa is shifted to count from there.
    shift: u32,
}

/// Buckets of one width in each stretch of one width, from its first number to its last.
#[derive(Debug, Clone, PartialEq)]
struct Clusters {
    outer: Even,
    /// At least one. What lies beyond the last lies in it.
    stretches: Vec<Stretch>,
}

/// The buckets of one stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    even: Even,
    first: u32,
    /// The bucket of its last number, counted from its first.
    last: u32,
}

impl Lookup {
    /// A table for a sorted list of finite numbers.
    pub(crate) fn new(sorted: &[f64]) -> Self {
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let even = Even::of(sorted, BUCKETS_PER_NUMBER);
        let table = Self::table(sorted, |number| even.bucket(number), Spread::Even(even));
        let from = |middle| {
            let exponents = Exponents::of(sorted, middle);
            Self::table(sorted, |number| exponents.bucket(number), Spread::Exponents(exponents.clone()))
        };
        let in_clusters = || {
            let clusters = Clusters::of(sorted);
            Self::table(sorted, |number| clusters.bucket(number), Spread::Clusters(clusters.clone()))
        };
        let bisected = Self { spread: Spread::Bisected, buckets: Vec::new(), is_crowded: false };
        table.or_else(|| from(middle)).or_else(|| from(0.0)).or_else(in_clusters).unwrap_or(bisected)
    }

    /// The table of a spread; none when it crowds the list.
    fn table(sorted: &[f64], bucket: impl Fn(f64) -> u32, spread: Spread) -> Option<Self> {
        let bucket = |number: f64| bucket(number) as usize;
        let last = sorted.last().map_or(0, |number| bucket(*number));
        // One more, for what lies beyond the list.
        let mut buckets = vec![Bucket { first: f64::INFINITY, before: 0, inside: 0 }; last + 2];
        for number in sorted.iter().rev() {
            let bucket = &mut buckets[bucket(*number)];
            bucket.first = *number;
            bucket.inside += 1;
        }
        let (mut before, mut shared) = (0, 0);
        for bucket in &mut buckets {
            bucket.before = before;
            before += bucket.inside;
            shared += bucket.inside.saturating_sub(1);
        }
        let is_crowded = shared > 0;
        (f64::from(shared) <= FEW * sorted.len() as f64).then_some(Self { spread, buckets, is_crowded })
    }

    /// The places of finite numbers: twice how many numbers of the list are less, and one more where the list has it.
    pub(crate) fn places(&self, sorted: &[f64], numbers: &[f64], places: &mut [u32]) {
        match &self.spread {
            Spread::Even(even) => fill(numbers, places, |number| even.bucket(number)),
            Spread::Exponents(exponents) => fill(numbers, places, |number| exponents.bucket(number)),
            Spread::Clusters(clusters) => fill(numbers, places, |number| clusters.bucket(number)),
            Spread::Bisected => return bisect(sorted, numbers, places),
        }
        self.look_up(sorted, numbers, places);
    }

    /// From buckets to places, without choices inside the loops.
    fn look_up(&self, sorted: &[f64], numbers: &[f64], places: &mut [u32]) {
        let last = self.buckets.len() - 1;
        let bucket = |place: u32| &self.buckets[(place as usize).min(last)];
        if self.is_crowded {
            for (number, place) in numbers.iter().zip(places) {
                *place = bucket(*place).place_among(sorted, *number);
            }
        } else {
            for (number, place) in numbers.iter().zip(places) {
                *place = bucket(*place).place(*number);
            }
        }
    }
}

/// The buckets of numbers, in a loop of its own: several at a time where their function has no table.
fn fill(numbers: &[f64], buckets: &mut [u32], bucket: impl Fn(f64) -> u32) {
    for (number, place) in numbers.iter().zip(buckets) {
        *place = bucket(*number);
    }
}

impl Bucket {
    /// The place of a number that is in this bucket, where it has the company of one at most.
    fn place(&self, number: f64) -> u32 {
        2 * self.before + u32::from(self.first < number) + u32::from(self.first <= number)
    }

    /// The same among any company.
    fn place_among(&self, sorted: &[f64], number: f64) -> u32 {
        if self.inside < 2 || number <= self.first {
            return self.place(number);
        }
        let company = &sorted[self.before as usize..][..self.inside as usize];
        let less = company.partition_point(|one| *one < number);
        let is_there = company.get(less).is_some_and(|one| *one == number);
        2 * (self.before + less as u32) + u32::from(is_there)
    }
}

impl Even {
    fn of(sorted: &[f64], buckets_per_number: usize) -> Self {
        let (lowest, highest) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let scale = (buckets_per_number * sorted.len()) as f64 / (highest - lowest);
        Self { lowest, scale: if scale.is_finite() { scale } else { 0.0 } }
    }

    /// What is below the lowest is in the first. A number that 2⁵² is added to has its nearest whole number in its last bits:
    /// there is no instruction that converts several to integers.
    fn bucket(&self, number: f64) -> u32 {
        const WHOLE: f64 = (1u64 << MANTISSA_BITS) as f64;
        const MOST: f64 = u32::MAX as f64;
        let place = (number - self.lowest) * self.scale;
        let place = if place > 0.0 { place } else { 0.0 };
        let place = if place < MOST { place } else { MOST };
        (place + WHOLE).to_bits() as u32
    }
}

impl Exponents {
    fn of(sorted: &[f64], middle: f64) -> Self {
        let mut inside = vec![0usize; CLASSES];
        for number in sorted {
            inside[class(distance_bits(*number, middle))] += 1;
        }
        let mut first = 0;
        let class = |inside: usize| {
            // A class without any shares the first bucket of the next.
            let bits = if inside == 0 { None } else { Some((BUCKETS_PER_NUMBER * inside).next_power_of_two().ilog2()) };
            let class = Class { first, shift: MANTISSA_BITS - bits.unwrap_or(0) };
            first += bits.map_or(0, |bits| 1 << bits);
            class
        };
        Self { middle, classes: inside.into_iter().map(class).collect() }
    }

    fn bucket(&self, number: f64) -> u32 {
        let bits = distance_bits(number, self.middle);
        let Class { first, shift } = self.classes[class(bits)];
        first + ((bits & ((1 << MANTISSA_BITS) - 1)) >> shift) as u32
    }
}

impl Clusters {
    fn of(sorted: &[f64]) -> Self {
        let outer = Even::of(sorted, 1);
        let count = sorted.last().map_or(0, |number| outer.bucket(*number)) + 1;
        let (mut rest, mut first) = (sorted, 0);
        let stretch = |index: u32| {
            let (inside, after) = rest.split_at(rest.partition_point(|number| outer.bucket(*number) <= index));
            rest = after;
            let even = Even::of(inside, BUCKETS_PER_NUMBER_OF_A_CLUSTER);
            let last = inside.last().map_or(0, |number| even.bucket(*number));
            let stretch = Stretch { even, first, last };
            // One without any shares the first bucket of the next.
            first += if inside.is_empty() { 0 } else { last + 1 };
            stretch
        };
        Self { outer, stretches: (0..count).map(stretch).collect() }
    }

    fn bucket(&self, number: f64) -> u32 {
        let stretch = (self.outer.bucket(number) as usize).min(self.stretches.len() - 1);
        let Stretch { even, first, last } = self.stretches[stretch];
        first + even.bucket(number).min(last)
    }
}

/// Bits of a distance that order like it.
fn distance_bits(number: f64, middle: f64) -> u64 {
    ordered_bits(number - middle).cast_unsigned() ^ (1 << 63)
}

/// Sign and exponent.
fn class(bits: u64) -> usize {
    (bits >> MANTISSA_BITS) as usize
}

/// The places of numbers, without a table.
fn bisect(sorted: &[f64], numbers: &[f64], places: &mut [u32]) {
    for (numbers, places) in numbers.chunks(LANES).zip(places.chunks_mut(LANES)) {
        let mut lanes = [f64::NAN; LANES];
        lanes[..numbers.len()].copy_from_slice(numbers);
        let mut begins = [0; LANES];
        let mut length = sorted.len();
        while length > 1 {
            let half = length / 2;
            for (begin, number) in begins.iter_mut().zip(lanes) {
                *begin = select_unpredictable(sorted[*begin + half] < number, *begin + half, *begin);
            }
            length -= half;
        }
        for ((place, begin), number) in places.iter_mut().zip(begins).zip(lanes) {
            let less = begin + usize::from(sorted.get(begin).is_some_and(|one| *one < number));
            *place = 2 * less as u32 + u32::from(sorted.get(less).is_some_and(|one| *one == number));
        }
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
            (0u32..50).prop_map(|ulps| f64::from_bits(1e4f64.to_bits() + u64::from(ulps))),
            proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        ]
    }

    fn expected(sorted: &[f64], number: f64) -> u32 {
        let less = sorted.partition_point(|one| *one < number);
        2 * less as u32 + u32::from(sorted.get(less) == Some(&number))
    }

    /// Every table that there is for a list, crowded or not.
    fn lookups(sorted: &[f64]) -> Vec<Lookup> {
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let even = Even::of(sorted, BUCKETS_PER_NUMBER);
        let tables = [middle, 0.0].map(|middle| {
            let exponents = Exponents::of(sorted, middle);
            Lookup::table(sorted, |number| exponents.bucket(number), Spread::Exponents(exponents.clone()))
        });
        let bisected = Lookup { spread: Spread::Bisected, buckets: Vec::new(), is_crowded: false };
        let even = Lookup::table(sorted, |number| even.bucket(number), Spread::Even(even));
        let clusters = Clusters::of(sorted);
        let in_clusters = Lookup::table(sorted, |number| clusters.bucket(number), Spread::Clusters(clusters.clone()));
        tables.into_iter().chain([even, in_clusters]).flatten().chain([bisected, Lookup::new(sorted)]).collect()
    }

    fn check(sorted: &[f64], numbers: &[f64]) {
        for lookup in lookups(sorted) {
            let mut places = vec![u32::MAX; numbers.len()];
            lookup.places(sorted, numbers, &mut places);
            for (number, place) in numbers.iter().zip(places) {
                assert_eq!(place, expected(sorted, *number), "{number} among {sorted:?} by {:?}", lookup.spread);
            }
        }
    }

    proptest! {
        #[test]
        fn they_find_what_bisection_finds(
            mut sorted in proptest::collection::vec(any_number(), 0..200), others in proptest::collection::vec(any_number(), 1..50)
        ) {
            sorted.iter_mut().for_each(|one| *one += 0.0);
            sorted.sort_by(f64::total_cmp);
            sorted.dedup();
            let near = sorted.iter().flat_map(|one| [one.next_down(), *one, one.next_up()]);
            let all: Vec<f64> = near.chain(others).chain([-0.0, f64::MAX, f64::MIN]).filter(|one| one.is_finite()).collect();
            check(&sorted, &all);
        }
    }

    #[test]
    fn a_list_that_spans_everything_or_nothing_is_searched_all_the_same() {
        for sorted in [vec![], vec![7.0], vec![f64::MIN, 0.0, f64::MAX], vec![0.0, f64::MIN_POSITIVE]] {
            check(&sorted, &[f64::MIN, -1.0, -0.0, 0.0, f64::MIN_POSITIVE, 7.0, 8.0, f64::MAX]);
        }
    }

    #[test]
    fn a_list_takes_the_spread_that_it_fits() {
        let even: Vec<f64> = (0..1000).map(f64::from).collect();
        assert!(matches!(Lookup::new(&even).spread, Spread::Even(_)));
        let uneven: Vec<f64> = even.iter().map(|i| (i / 50.0).exp()).collect();
        assert!(matches!(Lookup::new(&uneven).spread, Spread::Exponents(_)));
        // Two spikes far apart: neither width nor exponent tells their numbers from each other.
        let spikes: Vec<f64> = even.iter().map(|i| i * 1e-6 + if *i < 500.0 { 0.0 } else { 1e4 } + 1e3).collect();
        assert!(matches!(Lookup::new(&spikes).spread, Spread::Clusters(_)));
        // Spikes within spikes.
        let within: Vec<f64> = spikes.iter().map(|one| if *one < 5e3 { one * 1e-9 } else { *one }).collect();
        let within: Vec<f64> = within.iter().chain(&[1e9, 1e9 + 1.0]).copied().collect();
        assert!(matches!(Lookup::new(&within).spread, Spread::Bisected));
    }
}
