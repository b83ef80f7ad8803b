//! How often each of a few thousand numbers occurs: a hash table that does one thing, and that fast.
//!
//! A window of a warmer month looks up nearly every row. The standard library's table probes groups of sixteen and may remove
//! one by one; here a key is never taken out alone, so a slot is found by one multiplication and mostly one comparison, with a
//! third of the instructions.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Slots of the smallest table that holds anything.
const LEAST_SLOTS: usize = 16;
/// One slot in so many is taken at the most, so that hardly a look-up meets a stranger …
const ROOMY: usize = 4;
/// … until the table has so many slots (128 KiB). From then on it may be half full.
const MOST_ROOMY: usize = 8192;

/// Counts by key. Equal when the counts are, whatever the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// None, or a power of two. One without a count is free.
    slots: Vec<Slot>,
    keys: usize,
    /// Keys are others' to choose: which of them meet is not.
    seed: Seed,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seed {
    mixed_in: u64,
    factor: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key: i64,
    count: u64,
}

impl Tally {
    /// How many keys have a count.
    pub(crate) fn len(&self) -> usize {
        self.keys
    }

    /// Counts a key once more. Whether it is new.
    #[inline]
    pub(crate) fn count(&mut self, key: i64) -> bool {
        if let Some(slot) = self.find(key).and_then(|slot| self.slots.get_mut(slot))
            && slot.count > 0
        {
            slot.count += 1;
            return false;
        }
        self.add_new(key, 1);
        true
    }

    /// Counts a key so many times more.
    pub(crate) fn add(&mut self, key: i64, count: u64) {
        match self.find(key) {
            _ if count == 0 => {}
            Some(slot) if self.slots[slot].count > 0 => self.slots[slot].count += count,
            _ => self.add_new(key, count),
        }
    }

    /// Takes counts back that were added before.
    pub(crate) fn subtract(&mut self, other: &Self) {
        let left: Vec<(i64, u64)> = self.iter().map(|(key, count)| (key, count - other.get(key).min(count))).collect();
        *self = Self { seed: self.seed, ..Self::default() };
        left.into_iter().for_each(|(key, count)| self.add(key, count));
    }

    /// How often a key was counted.
    fn get(&self, key: i64) -> u64 {
        self.find(key).map_or(0, |slot| self.slots[slot].count)
    }

    /// Keys with their counts, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.slots.iter().filter(|slot| slot.count > 0).map(|slot| (slot.key, slot.count))
    }

    /// The slot that a key has, or would have; none while there are none.
    #[inline]
    fn find(&self, key: i64) -> Option<usize> {
        let last = self.slots.len().checked_sub(1)?;
        let mut slot = hash(key, self.seed) as usize & last;
        // One slot in two is free, so there is an end.
        while self.slots[slot].key != key && self.slots[slot].count > 0 {
            slot = (slot + 1) & last;
        }
        Some(slot)
    }

    #[cold]
    fn add_new(&mut self, key: i64, count: u64) {
        if self.slots.len() < ROOMY * (self.keys + 1)
            && (self.slots.len() < MOST_ROOMY || self.slots.len() < 2 * (self.keys + 1))
        {
            self.grow();
        }
        if let Some(slot) = self.find(key) {
            self.slots[slot] = Slot { key, count };
            self.keys += 1;
        }
    }

    fn grow(&mut self) {
        if self.slots.is_empty() {
            let random = RandomState::default();
            self.seed = Seed { mixed_in: random.hash_one(0u64), factor: random.hash_one(1u64) | 1 };
        }
        let larger = vec![Slot::default(); (2 * self.slots.len()).max(LEAST_SLOTS)];
        for old in std::mem::replace(&mut self.slots, larger).into_iter().filter(|slot| slot.count > 0) {
            if let Some(slot) = self.find(old.key) {
                self.slots[slot] = old;
            }
        }
    }
}

/// Both halves of a product, as foldhash has it: each bit of the key reaches the low ones.
#[inline]
fn hash(key: i64, seed: Seed) -> u64 {
    let product = u128::from(key.cast_unsigned() ^ seed.mixed_in) * u128::from(seed.factor);
    product as u64 ^ (product >> 64) as u64
}

impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && self.iter().all(|(key, count)| other.get(key) == count)
    }
}

impl FromIterator<(i64, u64)> for Tally {
    fn from_iter<T: IntoIterator<Item = (i64, u64)>>(counts: T) -> Self {
        let mut tally = Self::default();
        counts.into_iter().for_each(|(key, count)| tally.add(key, count));
        tally
    }
}

/// In order, so that the same rows make the same bytes.
impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<i64, u64>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn of(keys: &[i64]) -> Tally {
        let mut tally = Tally::default();
        for key in keys {
            tally.count(*key);
        }
        tally
    }

    proptest! {
        #[test]
        fn it_counts_as_a_map_does_and_takes_back(
            keys in proptest::collection::vec(prop_oneof![-20i64..20, any::<i64>()], 0..600), part in 0usize..600
        ) {
            let mut expected: HashMap<i64, u64> = HashMap::new();
            keys.iter().for_each(|key| *expected.entry(*key).or_default() += 1);
            let tally = of(&keys);
            prop_assert_eq!(tally.len(), expected.len());
            prop_assert_eq!(tally.iter().collect::<HashMap<_, _>>(), expected);
            let (first, second) = keys.split_at(part.min(keys.len()));
            let mut sum = of(second);
            of(first).iter().for_each(|(key, count)| sum.add(key, count));
            prop_assert_eq!(&sum, &tally);
            sum.subtract(&of(second));
            prop_assert_eq!(&sum, &of(first));
        }
    }

    #[test]
    fn it_is_the_same_however_it_is_written_and_read() {
        let tally = of(&[5, -7, 5, i64::MAX, 0]);
        let text = serde_json::to_string(&tally).unwrap();
        assert_eq!(text, r#"{"-7":1,"0":1,"5":2,"9223372036854775807":1}"#);
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
        assert_eq!(serde_json::from_str::<Tally>(r#"{"3":0}"#).unwrap(), Tally::default(), "no count is no key");
    }

    #[test]
    fn neighbouring_keys_lie_apart() {
        // Doubles of two decimals, whose bits have much in common.
        let tally: Tally = (0..2000).map(|i| ((f64::from(i) / 100.0).to_bits().cast_signed(), 1)).collect();
        let last = tally.slots.len() - 1;
        let apart = |key: i64| (tally.find(key).unwrap().wrapping_sub(hash(key, tally.seed) as usize)) & last;
        let steps: usize = tally.iter().map(|(key, _)| apart(key)).sum();
        assert!(steps < 2000, "{steps} steps beyond the first slot for 2,000 keys");
    }
}
