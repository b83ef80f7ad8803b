//! Where numbers lie in a sorted list that no table tells apart: all of them are searched for with the same few steps, eight
//! side by side.
//!
//! Eight cuts are compared with every number first, several numbers at a time, which says in which of nine sections of the list
//! it lies. The steps within a section are of fixed lengths, so that nothing is guessed and no index is checked, and compare
//! integers that order like the numbers: a processor waits half as long for them. Of longer lists the steps see every second,
//! fourth, … number only, and what lies between is bisected after that, side by side, too.

use std::hint::select_unpredictable;

use crate::lookup::ordered_bits;

/// Numbers that are searched for side by side: of fewer each waits for its own steps, many more do not fit in registers, and a
/// block is a whole number of them.
const LANES: usize = 8;
/// Numbers whose sections are found in one go.
const BLOCK: usize = 256;
/// Cuts between sections.
const SPLITS: usize = 8;
/// Steps within a section, at most: a list of 1,151 numbers takes no more.
const MOST_STEPS: u32 = 7;
/// Room for the sections of the most steps, as a power of two: what is cut off to that needs no check.
const ROOM: usize = (SPLITS + 1).next_power_of_two() << MOST_STEPS;

/// A sorted list, laid out for the search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bisection {
    /// The first number of each section but the first; infinite where there is none.
    splits: [f64; SPLITS],
    /// Steps within a section.
    steps: u32,
    /// Every so many numbers one is among the coarse; a power of two.
    stride: usize,
    /// The numbers that the steps see, as [`ordered_bits`].
    coarse: Box<[i64; ROOM]>,
    /// All of them, behind one that is below all and before some that are above all; none when all are among the coarse.
    all: Vec<i64>,
}

impl Bisection {
    /// The layout of an ascending list of finite numbers.
    pub(crate) fn of(sorted: &[f64]) -> Self {
        // With one below all before them, a number's index is how many are not above it.
        let steps = [1, 4].into_iter().find(|steps| sorted.len() < (SPLITS + 1) << steps).unwrap_or(MOST_STEPS);
        let width = 1 << steps;
        let stride = (sorted.len() + 1).div_ceil((SPLITS + 1) * width).next_power_of_two();
        let first_of = |section: usize| sorted.get(section * width * stride - 1).copied().unwrap_or(f64::INFINITY);
        let numbers = sorted.iter().map(|number| ordered_bits(*number));
        let mut all: Vec<i64> = [i64::MIN].into_iter().chain(numbers).collect();
        let mut coarse = Box::new([i64::MAX; ROOM]);
        for (place, number) in coarse.iter_mut().zip(all.iter().step_by(stride)) {
            *place = *number;
        }
        // A stride from the last of the coarse may lead beyond the list.
        all.resize(if stride == 1 { 0 } else { all.len() + stride }, i64::MAX);
        Self { splits: std::array::from_fn(|split| first_of(split + 1)), steps, stride, coarse, all }
    }

    /// The places of finite numbers: twice how many numbers of the list are less, and one more where the list has it.
    pub(crate) fn places(&self, numbers: &[f64], places: &mut [u32]) {
        for (numbers, places) in numbers.chunks(BLOCK).zip(places.chunks_mut(BLOCK)) {
            match self.steps {
                1 => self.places_of_block::<1>(numbers, places),
                4 => self.places_of_block::<4>(numbers, places),
                _ => self.places_of_block::<MOST_STEPS>(numbers, places),
            }
        }
    }

    fn places_of_block<const STEPS: u32>(&self, numbers: &[f64], places: &mut [u32]) {
        let (mut keys, mut sections) = ([0; BLOCK], [0; BLOCK]);
        for (key, number) in keys.iter_mut().zip(numbers) {
            *key = ordered_bits(*number);
        }
        for (section, number) in sections.iter_mut().zip(numbers) {
            // What is infinite lies beyond all, too, and not in a section that is not there.
            let number = if *number > f64::MAX { f64::MAX } else { *number };
            *section = self.splits.iter().map(|split| u64::from(*split <= number)).sum();
        }
        let lanes = keys.as_chunks::<LANES>().0.iter().zip(sections.as_chunks().0);
        for ((keys, sections), places) in lanes.zip(places.chunks_mut(LANES)) {
            let coarse = self.among_coarse::<STEPS>(keys, sections);
            let found = if self.stride == 1 {
                std::array::from_fn(|lane| place(coarse[lane], self.coarse[coarse[lane]], keys[lane]))
            } else {
                self.among_all(keys, coarse)
            };
            match places.as_chunks_mut::<LANES>() {
                ([whole], _) => *whole = found,
                (_, part) => part.copy_from_slice(&found[..part.len()]),
            }
        }
    }

    /// Of each key the last of the coarse that is not above it.
    #[inline(always)]
    fn among_coarse<const STEPS: u32>(&self, keys: &[i64; LANES], sections: &[u64; LANES]) -> [usize; LANES] {
        let mut at = sections.map(|section| (section as usize) << STEPS & (ROOM - 1));
        // Written one by one: a loop would not be unrolled, and every index checked.
        if STEPS == MOST_STEPS {
            self.step::<64>(keys, &mut at);
            self.step::<32>(keys, &mut at);
            self.step::<16>(keys, &mut at);
        }
        if STEPS > 1 {
            self.step::<8>(keys, &mut at);
            self.step::<4>(keys, &mut at);
            self.step::<2>(keys, &mut at);
        }
        self.step::<1>(keys, &mut at);
        at
    }

    #[inline(always)]
    fn step<const LENGTH: usize>(&self, keys: &[i64; LANES], at: &mut [usize; LANES]) {
        for (at, key) in at.iter_mut().zip(keys) {
            let next = *at | LENGTH;
            *at = select_unpredictable(self.coarse[next] <= *key, next, *at);
        }
    }

    /// The places of keys, from the last of the coarse that are not above them.
    fn among_all(&self, keys: &[i64; LANES], coarse: [usize; LANES]) -> [u32; LANES] {
        let mut at = coarse.map(|coarse| coarse * self.stride);
        let mut half = self.stride / 2;
        while half > 0 {
            for (at, key) in at.iter_mut().zip(keys) {
                *at = select_unpredictable(self.all[*at + half] <= *key, *at + half, *at);
            }
            half /= 2;
        }
        std::array::from_fn(|lane| place(at[lane], self.all[at[lane]], keys[lane]))
    }
}

/// The place of a key, from how many are not above it, and the last of these.
#[inline(always)]
fn place(not_above: usize, last: i64, key: i64) -> u32 {
    2 * not_above as u32 - u32::from(last == key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(sorted: &[f64], numbers: &[f64]) {
        let mut places = vec![u32::MAX; numbers.len()];
        Bisection::of(sorted).places(numbers, &mut places);
        for (number, place) in numbers.iter().zip(places) {
            let less = sorted.partition_point(|one| one < number);
            let expected = 2 * less as u32 + u32::from(sorted.get(less) == Some(number));
            assert_eq!(place, expected, "{number} among {} numbers", sorted.len());
        }
    }

    /// All of a list and its neighbours, in any number: what does not fill all lanes, or a block, is searched as well.
    fn near(sorted: &[f64], skip: usize) -> Vec<f64> {
        let near = sorted.iter().flat_map(|one| [one.next_down(), *one, one.next_up()]);
        let all =
            [f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, -0.0, 0.0, 5e-324, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY]
                .into_iter()
                .chain(near);
        // What is infinite lies beyond all, too.
        all.filter(|number| !number.is_nan()).skip(skip).collect()
    }

    #[test]
    fn lists_of_every_length_around_each_layout_are_searched() {
        let lengths = (0..40)
            .chain(140..150)
            .chain(1020..1030)
            .chain(1148..1156)
            .chain(2300..2306)
            .chain([4096, 4607, 4608, 10_000]);
        for length in lengths {
            let even: Vec<f64> = (0..length).map(|i| f64::from(i) - 0.25 * f64::from(length)).collect();
            check(&even, &near(&even, length as usize % 11));
        }
    }

    #[test]
    fn doubly_exponential_lists_with_neighbours_side_by_side_are_searched() {
        for per_group in [2, 16, 128] {
            let groups = 1024 / per_group;
            let value = |i: u32| {
                (f64::from(i / per_group) / f64::from(groups) * 10.0 - 5.0).exp().exp()
                    * (1.0 + 1e-9 * f64::from(i % per_group))
            };
            let mut sorted: Vec<f64> = (0..1024).map(value).flat_map(|one| [one, -1.0 / one]).collect();
            sorted.sort_by(f64::total_cmp);
            sorted.dedup();
            check(&sorted, &near(&sorted, 0));
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_partition_point_finds(
            bits in proptest::collection::btree_set(any::<u64>(), 0..1300), others in proptest::collection::vec(any::<f64>(), 0..300)
        ) {
            let mut sorted: Vec<f64> = bits.into_iter().map(f64::from_bits).filter(|one| one.is_finite()).map(|one| one + 0.0).collect();
            sorted.sort_by(f64::total_cmp);
            sorted.dedup();
            let others = others.into_iter().filter(|one| one.is_finite());
            let all: Vec<f64> = near(&sorted, 0).into_iter().chain(others).collect();
            check(&sorted, &all);
        }
    }
}
