//! Where numbers lie in a sorted list, many at a time.
//!
//! Most of a bisection is spent on finding the neighbourhood. A monotone function takes a number to one of a few thousand
//! buckets, and a table says of each which numbers of the list are in it: none, one or two. As the same function took the
//! list's numbers there, what is below a bucket is below the number, so the answer is exact, however they lie.
//!
//! Which function it is, the list decides: buckets of one width where the list is even; else of one width within each power
//! of two, as narrow as the list is dense there, seen from its middle or from zero; else, where the list is a few clusters
//! far apart, of one width within each cluster. A list of which all of these take three numbers to one bucket is bisected.
//! Nothing is searched in a bucket, and nothing guessed: what is counted may all lie where the list is densest.

use crate::bisection::Bisection;

/// Buckets for each number of the list.
const BUCKETS_PER_NUMBER: usize = 4;
/// The same in a cluster: its numbers crowd its middle, and only this keeps them apart there.
const BUCKETS_PER_NUMBER_OF_A_CLUSTER: usize = 2 * BUCKETS_PER_NUMBER;
/// Signs with exponents of a double.
const CLASSES: usize = 1 << 12;
const MANTISSA_BITS: u32 = 52;

/// Where to look for a number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lookup {
    spread: Spread,
    /// One for each place that the function knows, unless the list is bisected.
    buckets: Vec<Bucket>,
    /// The second number of the list in each of them, infinite where there is none; empty when no bucket has a second.
    seconds: Vec<f64>,
}

/// What is in a bucket: side by side, so that one look at memory tells all.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    /// The smallest number of the list in it; infinite when there is none.
    first: f64,
    /// Twice how many numbers of the list are in the buckets before it, which is the place of what is less than its first.
    before: u32,
}

/// The function from numbers to buckets. It never decreases.
#[derive(Debug, Clone, PartialEq)]
enum Spread {
    Even(Even),
    Exponents(Exponents),
    Clusters(Clusters),
    Bisected(Bisection),
}

/// Buckets of one width.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Even {
    lowest: f64,
    scale: f64,
    /// The last bucket: what lies beyond it lies in it.
    last: f64,
}

/// Buckets of one width for each sign and exponent of the distance from the middle.
#[derive(Debug, Clone, PartialEq)]
struct Exponents {
    /// Negative zero where it is zero: subtracting that leaves no zero with a sign, which would be of another class.
    middle: f64,
    classes: Box<[Class; CLASSES]>,
    /// The bucket of what lies beyond all that have any.
    last: u32,
}

/// The buckets of one sign and exponent.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Class {
    /// The first of them, less the class's own bits: shifted bits are added to it as they are, without the mantissa being cut
    /// out of them first.
    first: u32,
    /// By how much the bits of a distance are shifted to count from there.
    shift: u32,
}

/// Buckets of one width in each stretch of one width, from its first number to its last.
#[derive(Debug, Clone, PartialEq)]
struct Clusters {
    outer: Even,
    /// One for each place that the outer knows.
    stretches: Vec<Stretch>,
    /// The bucket of what lies beyond all.
    last: u32,
}

/// The buckets of one stretch.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    even: Even,
    first: u32,
}

impl Lookup {
    /// A table for a sorted list of finite numbers.
    pub(crate) fn new(sorted: &[f64]) -> Self {
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let even = Even::of(sorted, BUCKETS_PER_NUMBER);
        let from = |middle| Self::table(sorted, Spread::Exponents(Exponents::of(sorted, middle)));
        let in_clusters = || Self::table(sorted, Spread::Clusters(Clusters::of(sorted)));
        let bisected =
            || Self { spread: Spread::Bisected(Bisection::of(sorted)), buckets: Vec::new(), seconds: Vec::new() };
        let table = Self::table(sorted, Spread::Even(even));
        table.or_else(|| from(middle)).or_else(|| from(0.0)).or_else(in_clusters).unwrap_or_else(bisected)
    }

    /// The table of a spread; none when it takes more than two numbers to one bucket. What is read from a file may be no sorted
    /// list: its places are wrong then, but places.
    fn table(sorted: &[f64], spread: Spread) -> Option<Self> {
        let mut buckets = vec![Bucket { first: f64::INFINITY, before: 0 }; spread.last()? as usize + 1];
        let mut of_numbers = vec![0; sorted.len()];
        spread.fill(sorted, &mut of_numbers);
        if of_numbers.windows(3).any(|three| three[0] == three[2]) {
            return None;
        }
        let has_pairs = of_numbers.windows(2).any(|two| two[0] == two[1]);
        let mut seconds = if has_pairs { vec![f64::INFINITY; buckets.len()] } else { Vec::new() };
        for (number, bucket) in sorted.iter().zip(of_numbers) {
            let entry = &mut buckets[bucket as usize];
            entry.before += 2;
            if entry.first == f64::INFINITY {
                entry.first = *number;
            } else if let Some(second) = seconds.get_mut(bucket as usize) {
                *second = *number;
            }
        }
        let mut before = 0;
        for bucket in &mut buckets {
            let inside = std::mem::replace(&mut bucket.before, before);
            before += inside;
        }
        Some(Self { spread, buckets, seconds })
    }

    /// The places of finite numbers: twice how many numbers of the list are less, and one more where the list has it.
    pub(crate) fn places(&self, numbers: &[f64], places: &mut [u32]) {
        match &self.spread {
            Spread::Bisected(bisection) => bisection.places(numbers, places),
            _ if self.seconds.is_empty() => {
                self.places_in_table(numbers, places, |number, bucket| self.buckets[bucket].place(number))
            }
            _ => self.places_in_table(numbers, places, |number, bucket| {
                self.buckets[bucket].place(number) + twice_less(self.seconds[bucket], number)
            }),
        }
    }

    /// The same by a table, with what the place of a number in a bucket is.
    #[inline(always)]
    fn places_in_table(&self, numbers: &[f64], places: &mut [u32], place: impl Fn(f64, usize) -> u32) {
        match &self.spread {
            // A table that is looked up first leaves nothing to do several at a time, and one loop costs less than two.
            Spread::Exponents(exponents) => {
                for (number, found) in numbers.iter().zip(places) {
                    *found = place(*number, exponents.bucket(*number) as usize);
                }
            }
            spread => {
                spread.fill(numbers, places);
                for (number, found) in numbers.iter().zip(places) {
                    *found = place(*number, *found as usize);
                }
            }
        }
    }
}

impl Spread {
    /// The last bucket of all; none when there are none.
    fn last(&self) -> Option<u32> {
        match self {
            Self::Even(even) => Some(even.last as u32),
            Self::Exponents(exponents) => Some(exponents.last),
            Self::Clusters(clusters) => Some(clusters.last),
            Self::Bisected(_) => None,
        }
    }

    /// The buckets of numbers, in a loop of its own: several at a time where the function has no table.
    fn fill(&self, numbers: &[f64], buckets: &mut [u32]) {
        fn all(numbers: &[f64], buckets: &mut [u32], bucket: impl Fn(f64) -> u32) {
            numbers.iter().zip(buckets).for_each(|(number, place)| *place = bucket(*number));
        }
        match self {
            Self::Even(even) => all(numbers, buckets, |number| even.bucket(number)),
            Self::Exponents(exponents) => all(numbers, buckets, |number| exponents.bucket(number)),
            Self::Clusters(clusters) => all(numbers, buckets, |number| clusters.bucket(number)),
            Self::Bisected(_) => {}
        }
    }
}

impl Bucket {
    /// The place of a number that is in this bucket, as far as its first tells.
    #[inline]
    fn place(&self, number: f64) -> u32 {
        self.before + twice_less(self.first, number)
    }
}

/// What one number of the list adds to a place: two where it is less, one where it is equal.
#[inline]
fn twice_less(one: f64, number: f64) -> u32 {
    u32::from(one < number) + u32::from(one <= number)
}

impl Even {
    fn of(sorted: &[f64], buckets_per_number: usize) -> Self {
        let (lowest, highest) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let scale = (buckets_per_number * sorted.len()) as f64 / (highest - lowest);
        let even = Self { lowest, scale: if scale.is_finite() { scale } else { 0.0 }, last: f64::from(u32::MAX) };
        // One more than the list fills, for what lies beyond it.
        Self { last: f64::from(even.bucket(highest) + 1), ..even }
    }

    /// What is below the lowest is in the first. A number that 2⁵² is added to has its nearest whole number in its last bits:
    /// there is no instruction that converts several to integers.
    fn bucket(&self, number: f64) -> u32 {
        const WHOLE: f64 = (1u64 << MANTISSA_BITS) as f64;
        let place = (number - self.lowest) * self.scale;
        let place = if place > 0.0 { place } else { 0.0 };
        let place = if place < self.last { place } else { self.last };
        (place + WHOLE).to_bits() as u32
    }
}

impl Exponents {
    fn of(sorted: &[f64], middle: f64) -> Self {
        let middle = if middle == 0.0 { -0.0 } else { middle };
        let mut inside = vec![0usize; CLASSES];
        for number in sorted {
            inside[class((number - middle).to_bits())] += 1;
        }
        let mut classes = Box::new([Class { first: 0, shift: MANTISSA_BITS }; CLASSES]);
        let mut first = 0u32;
        // From the lowest distances to the highest: those below the middle by falling exponent.
        for class in (CLASSES / 2..CLASSES).rev().chain(0..CLASSES / 2) {
            // A class without any shares the first bucket of the next.
            let inside = inside[class];
            let bits = if inside == 0 { None } else { Some((BUCKETS_PER_NUMBER * inside).next_power_of_two().ilog2()) };
            let shift = MANTISSA_BITS - bits.unwrap_or(0);
            let begins = (class as u64) << MANTISSA_BITS;
            let last = begins | ((1 << MANTISSA_BITS) - 1);
            let lowest = if class < CLASSES / 2 { begins } else { last };
            classes[class] = Class { first: first.wrapping_sub(shifted(lowest, shift)), shift };
            first += bits.map_or(0, |bits| 1 << bits);
        }
        Self { middle, classes, last: first }
    }

    fn bucket(&self, number: f64) -> u32 {
        let bits = (number - self.middle).to_bits();
        let Class { first, shift } = self.classes[class(bits)];
        first.wrapping_add(shifted(bits, shift))
    }
}

impl Clusters {
    fn of(sorted: &[f64]) -> Self {
        let outer = Even::of(sorted, 1);
        let (mut rest, mut first) = (sorted, 0);
        let stretch = |index: u32| {
            let (inside, after) = rest.split_at(rest.partition_point(|number| outer.bucket(*number) <= index));
            rest = after;
            let even = Even::of(inside, BUCKETS_PER_NUMBER_OF_A_CLUSTER);
            // One without any shares the first bucket of the next.
            let even = if inside.is_empty() { Even { last: 0.0, ..even } } else { even };
            let stretch = Stretch { even, first };
            first += if inside.is_empty() { 0 } else { even.last as u32 + 1 };
            stretch
        };
        let stretches = (0..=outer.last as u32).map(stretch).collect();
        Self { outer, stretches, last: first }
    }

    fn bucket(&self, number: f64) -> u32 {
        let Stretch { even, first } = self.stretches[self.outer.bucket(number) as usize];
        first + even.bucket(number)
    }
}

/// The bits of a distance, shifted, so that they order like it within a sign and exponent. Below the middle they would order
/// the other way round.
fn shifted(bits: u64, shift: u32) -> u32 {
    (bits >> shift) as u32 ^ (bits.cast_signed() >> 63) as u32
}

/// Sign and exponent.
fn class(bits: u64) -> usize {
    (bits >> MANTISSA_BITS) as usize
}

/// Bits of a finite float as an integer that orders like the float.
#[inline]
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

    /// Every table that there is for a list, and its bisection.
    fn lookups(sorted: &[f64]) -> Vec<Lookup> {
        let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let even = Even::of(sorted, BUCKETS_PER_NUMBER);
        let tables = [middle, 0.0].map(|middle| {
            let exponents = Exponents::of(sorted, middle);
            Lookup::table(sorted, Spread::Exponents(exponents))
        });
        let bisected =
            Lookup { spread: Spread::Bisected(Bisection::of(sorted)), buckets: Vec::new(), seconds: Vec::new() };
        let even = Lookup::table(sorted, Spread::Even(even));
        let in_clusters = Lookup::table(sorted, Spread::Clusters(Clusters::of(sorted)));
        tables.into_iter().chain([even, in_clusters]).flatten().chain([bisected, Lookup::new(sorted)]).collect()
    }

    fn check(sorted: &[f64], numbers: &[f64]) {
        for lookup in lookups(sorted) {
            let mut places = vec![u32::MAX; numbers.len()];
            lookup.places(numbers, &mut places);
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
        assert!(matches!(Lookup::new(&within).spread, Spread::Bisected(_)));
    }

    #[test]
    fn a_bucket_may_hold_two_numbers_but_not_three() {
        let pair: Vec<f64> = (0..1000).map(f64::from).chain([300.01]).collect();
        let mut sorted = pair.clone();
        sorted.sort_by(f64::total_cmp);
        let lookup = Lookup::new(&sorted);
        assert!(matches!(lookup.spread, Spread::Even(_)));
        assert_eq!(lookup.seconds.iter().filter(|second| second.is_finite()).collect::<Vec<_>>(), [&300.01]);
        check(&sorted, &[299.9, 300.0, 300.005, 300.01, 300.02, 300.2, 301.0, 999.0, 1000.0]);
        let mut three: Vec<f64> = pair.into_iter().chain([300.02]).collect();
        three.sort_by(f64::total_cmp);
        assert!(!matches!(Lookup::new(&three).spread, Spread::Even(_)));
        check(&three, &[299.9, 300.0, 300.005, 300.01, 300.015, 300.02, 300.2, 301.0]);
    }
}
